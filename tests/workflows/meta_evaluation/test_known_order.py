"""M1: a wrong order of known groups is seen."""

import numpy as np
import pytest

from mavis.workflows.meta_evaluation import fixtures, known_order

from .helpers import planted_scores


def test_a_wrong_order_of_known_groups_is_seen(bench: fixtures.Bench) -> None:
    """A random map above the oracle, or one control above it, fails M1."""
    ladder = {"oracle": 0.9, "saliency": 0.8, "random": 0.0, "anti_oracle": -0.9}
    for broken, verdict in (({}, "passed"), ({"random": 0.95}, "failed"), ({"sobel": 0.91}, "failed")):
        scores = planted_scores({(name, "nsrg"): [v, v] for name, v in {**ladder, **broken}.items()})
        bench.__dict__["hand_wired"] = {"model": scores}
        assert known_order._hand_wired_order_check(bench, "nsrg").verdict == verdict


def test_superiority_counts_pairs_and_auroc_all_combinations() -> None:
    """Ties count half; images without a value are left out."""
    first, second = np.array([1.0, 2.0, 3.0, np.nan]), np.array([0.0, 2.0, 4.0, 1.0])
    assert known_order.superiority(first, second, 1) == pytest.approx(1.5 / 3)
    assert known_order.superiority(first[:1], second[:1], -1) == 0
    # Of 12 combinations: 1 beats one and ties one, 2 beats two and ties one, 3 beats three.
    assert known_order.auroc(first, second, 1) == pytest.approx((1.5 + 2.5 + 3) / 12)


def test_localisation_is_compared_with_the_other_places(bench: fixtures.Bench) -> None:
    """Metrics that redraw parts have an oracle of their own; place metrics an opposite of their own."""
    assert known_order.oracle_name(bench, "part_faithfulness") == "oracle redrawn"
    assert known_order.oracle_name(bench, "nsrg") == "oracle"
    assert known_order.opposite_name(bench, "relevance_mass_skill") == "elsewhere"
    assert known_order.opposite_name(bench, "nsrg") == "anti_oracle"
