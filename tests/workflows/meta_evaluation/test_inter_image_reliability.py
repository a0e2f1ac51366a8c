"""M5 and M6: agreement between images and redundancy between metrics, on planted scores."""

from dataclasses import replace

import numpy as np
import pytest

from mavis.workflows.meta_evaluation import fixtures, inter_image_reliability

from .helpers import planted_scores


def test_images_without_a_value_are_left_out(bench: fixtures.Bench) -> None:
    """A row of the matrix is an image on which all methods have a score."""
    first, second = bench.sizes.methods
    bench.__dict__["faces"] = planted_scores({(first, "nsrg"): [0.1, 0.2, 0.3], (second, "nsrg"): [0.4, np.nan, 0.6]})
    scores, values = inter_image_reliability.score_matrix(bench, "nsrg")
    assert scores is bench.faces
    np.testing.assert_array_equal(values, [[0.1, 0.4], [0.3, 0.6]])


def test_images_that_agree_need_no_more_images() -> None:
    """One image suffices where all say the same; none suffice where methods do not differ."""
    generator = np.random.default_rng(0)
    quality = np.array([0.2, 0.5, 0.8])
    assert inter_image_reliability.images_needed(np.tile(quality, (20, 1))) == 1
    needed = inter_image_reliability.images_needed(quality + generator.normal(0, 0.3, (400, 3)))
    assert needed is not None
    assert needed == pytest.approx(9 * 0.09 / quality.var(ddof=1), rel=0.25)  # Spearman-Brown: 9 noise / signal
    assert inter_image_reliability.images_needed(quality[None]) is None


@pytest.mark.parametrize(("alike", "verdict"), [((), "failed"), ((("nsrg", "road_gap"),), "passed")])
def test_redundant_metrics_must_share_a_weight(
    bench: fixtures.Bench, alike: tuple[tuple[str, str], ...], verdict: str
) -> None:
    """Two faithfulness metrics with the same order count twice unless the protocol declares them alike."""
    names = [*bench.sizes.methods, *(name for name in fixtures.CONTROLS if name != "constant")]
    labels = bench.labels("faithfulness", "localisation", "complexity")
    generator = np.random.default_rng(1)
    orders = {label: generator.permutation(len(names)) for label in labels}
    orders["road_gap"] = orders["nsrg"]
    bench.__dict__["faces"] = planted_scores(
        {(name, label): [float(orders[label][k])] for k, name in enumerate(names) for label in labels}
    )
    decide = bench.protocol.decide.model_copy(update={"alike": alike})
    changed = replace(bench, protocol=bench.protocol.model_copy(update={"decide": decide}))
    changed.__dict__["faces"] = bench.faces
    assert inter_image_reliability.correlations(changed)["nsrg", "road_gap"] == pytest.approx(1)
    check = inter_image_reliability._redundancy_check(changed)
    assert (check.verdict, check.value) == (verdict, float(not alike))
