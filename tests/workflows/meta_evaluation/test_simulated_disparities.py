"""Simulated tables hold the planted gap, and the analysis finds it."""

import pytest

from mavis.core.errors import BadParameter
from mavis.workflows.meta_evaluation.simulated_disparities import SimulatedDisparity, analyse_table, regroup_at_random


def test_the_planted_gap_is_in_the_table() -> None:
    """Of 20 000 images the groups' means differ by the gap; equal seeds give equal tables."""
    disparity = SimulatedDisparity((10_000, 10_000), gap=0.1, shift=0.15)
    table = disparity.table(0)
    means = table.groupby("group")[["score", "confidence"]].mean()
    assert means["score"]["g0"] - means["score"]["g1"] == pytest.approx(0.1, abs=0.01)
    assert means["confidence"]["g0"] - means["confidence"]["g1"] == pytest.approx(0.14, abs=0.02)  # cut at 1
    assert table.equals(disparity.table(0))
    assert not table.equals(disparity.table(1))


def test_images_of_a_person_share_noise_and_groups_may_be_labels() -> None:
    """A person's images correlate by the declared share of variance; correct predictions are the label."""
    table = SimulatedDisparity((4000,), per_person=2, person_share=0.5).table(0)
    pairs = table["score"].to_numpy().reshape(-1, 2)
    assert float(((pairs[:, 0] - pairs[:, 1]) ** 2).mean()) == pytest.approx(2 * 0.5 * 0.04, rel=0.1)
    labelled = SimulatedDisparity((50, 50), groups_are_labels=True).table(0)
    assert (labelled["group"] == "g" + labelled["label"].astype(str)).all()
    assert ((labelled["predicted"] == labelled["label"]) == labelled["correct"].astype(bool)).all()


def test_a_large_planted_gap_is_found_and_random_groups_have_none() -> None:
    """All three estimates are near the gap; images assigned at random lose it."""
    table = SimulatedDisparity((100, 100), gap=0.3).table(0)
    outcome = analyse_table(table, 0.3, draws=100, permutations=100, seed=0)
    assert outcome.significant
    assert outcome.gaps == pytest.approx((0.3,) * 3, abs=0.08)
    (regrouped,) = regroup_at_random(table, [0], draws=100, permutations=100)
    assert abs(regrouped.gaps[0]) < 0.1
    assert not regrouped.significant


def test_a_table_needs_two_groups() -> None:
    """One group has nothing to be compared with."""
    with pytest.raises(BadParameter, match="at least two groups; it has 1"):
        analyse_table(SimulatedDisparity((50,)).table(0), 0.0, draws=50, permutations=50, seed=0)
