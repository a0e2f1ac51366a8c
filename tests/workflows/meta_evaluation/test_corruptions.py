"""M2: scores that do not fall with noise are seen."""

import numpy as np

from mavis.workflows.meta_evaluation import corruptions, fixtures

from .helpers import planted_scores


def test_rises_are_counted() -> None:
    """Steps of a series that go up; equal neighbours are no rise."""
    assert [corruptions.count_rises(means) for means in ([3, 2, 1], [3, 2, 2], [1, 2, 1, 2])] == [0, 0, 2]


def test_a_ladder_that_rises_is_seen(bench: fixtures.Bench) -> None:
    """Scores that rise with noise fail M2; for a metric whose low values are good, those that fall."""
    for label, values, verdict in (
        ("nsrg", (0.9, 0.7, 0.5, 0.3, 0.0), "passed"),
        ("nsrg", (0.9, 0.7, 0.95, 0.3, 0.97), "failed"),
        ("avg_sensitivity_normalised", (0.9, 0.7, 0.5, 0.3, 0.0), "failed"),
    ):
        table = planted_scores({(name, label): [v] for name, v in zip(bench.ladder.values(), values, strict=True)})
        assert corruptions._monotonicity_check(bench, table, label, bench.ladder, "here").verdict == verdict


def test_pure_noise_off_chance_is_seen(bench: fixtures.Bench) -> None:
    """Values around 0 pass; the same values moved by ten standard errors fail."""
    values = np.linspace(-1, 1, 40)
    error = values.std(ddof=1) / 40**0.5
    for offset, verdict in ((0.0, "passed"), (10 * error, "failed")):
        bench.__dict__["faces"] = planted_scores({(bench.ladder[1.0], "nsrg"): values + offset})
        check = corruptions._pure_noise_check(bench, "nsrg")
        assert check.verdict == verdict
        np.testing.assert_allclose(check.value, offset / error, atol=1e-5)
