"""M3 and M4: swaps within the ROPE do not count, and corrupted maps must score worse."""

import numpy as np
import pytest

from mavis.workflows.meta_evaluation import fixtures, resilience

from .helpers import planted_scores


def test_small_swaps_are_no_change_of_order() -> None:
    """Two methods within the ROPE may swap; beyond it both ranks are lost."""
    before = np.array([[0.50, 0.51, 0.9], [0.5, 0.7, 0.9]])
    after = np.array([[0.51, 0.50, 0.9], [0.7, 0.5, 0.9]])
    assert resilience._rank_agreement_by_rope(before, after, 0.02) == pytest.approx(4 / 6)
    assert resilience.rank_agreement(before, after) == pytest.approx(2 / 6)
    assert resilience.cliffs_delta(np.array([1.0, 2.0]), np.array([0.0, 1.5])) == pytest.approx(0.5)


def test_a_corruption_that_scores_as_well_is_seen(bench: fixtures.Bench) -> None:
    """All images worse passes; as good on half of the images fails."""
    for corrupted, share, verdict in (([0.1, 0.2], 1.0, "passed"), ([0.1, 0.6], 0.75, "failed")):
        columns = {(name, "nsrg"): [0.5, 0.6] for name in fixtures.INFORMATIVE_MAPS}
        columns |= {(f"{name} shuffled", "nsrg"): corrupted for name in fixtures.INFORMATIVE_MAPS}
        bench.__dict__["faces"] = planted_scores(columns)
        check = resilience._adversary_check(bench, "nsrg", "shuffled", 0.95, required=True)
        assert (check.value, check.verdict) == (share, verdict)


def test_noise_that_moves_nothing_agrees_fully(bench: fixtures.Bench) -> None:
    """Equal scores before and after have agreement 1 in all figures; no common image gives NaN."""
    methods = ["a", "b", "c"]
    scores = planted_scores({(name, "nsrg"): [0.1 * k, 0.2 + 0.1 * k] for k, name in enumerate(methods)})
    agreement = resilience._noise_agreement(scores, scores, methods, "nsrg", bench)
    assert agreement == pytest.approx(dict.fromkeys(("means", "images", "exact", "icc"), 1.0))
    empty = planted_scores({(name, "nsrg"): [np.nan, np.nan] for name in methods})
    assert np.isnan(list(resilience._noise_agreement(scores, empty, methods, "nsrg", bench).values())).all()
