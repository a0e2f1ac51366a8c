"""How far groups lie apart, beside what no gap looks like."""

import numpy as np
import pytest

from mavis.disparity import flipped, gap
from mavis.findings import Gap
from mavis.groups import Rules, summarise

from .tables import RULES, images, scores

SIZES = {"alder": 60, "birch": 60, "cedar": 60, "elm": 60}


def found(
    planted: dict[str, float], sizes: dict[str, int] = SIZES, *, seed: int = 0, rules: Rules = RULES
) -> Gap | None:
    """The gap between races whose means are moved by the planted amounts, noise 0.1."""
    table = images(sizes)
    column = np.random.default_rng(seed).normal(0.5, 0.1, len(table)) + table["race"].map(planted).fillna(0).to_numpy()
    groups = summarise(scores(table, {("saliency", "nsrg"): column}), table, rules).groups[0]
    return gap(column, table, "race", groups, rules=rules, min_claim=50, permutations=300)


def test_a_planted_gap_is_found() -> None:
    """A group 0.2 below the others is named worst, with a small p and a range far above the null."""
    one = found({"cedar": -0.2})
    assert one is not None
    assert one.worst_group == "cedar"
    assert one.range.mean == pytest.approx(0.2, abs=0.05)
    assert one.range.low > 0.1
    assert one.p == pytest.approx(1 / 301)
    assert one.null_mean < 0.05
    assert one.worst.mean == pytest.approx(0.3, abs=0.03)
    assert one.range.n == 240


def test_no_gap_has_the_range_of_shuffled_labels() -> None:
    """Over twelve tables without a gap the mean range is the mean null range, which is not zero."""
    gaps = [found({}, seed=seed) for seed in range(12)]
    null = np.mean([g.null_mean for g in gaps])
    assert null == pytest.approx(2.059 * 0.1 / np.sqrt(60), rel=0.1)  # d₂ of four groups
    assert np.mean([g.range.mean for g in gaps]) == pytest.approx(null, rel=0.35)
    assert np.median([g.p for g in gaps]) > 0.2


def test_lower_is_better_turns_best_and_worst_round() -> None:
    """The group with the highest mean is the worst, with its own estimate; the range stays."""
    table = images(SIZES)
    column = np.full(len(table), 0.5) + 0.2 * (table["race"] == "elm").to_numpy()
    groups = summarise(scores(table, {("saliency", "deletion"): column}), table, RULES).groups[0]
    upright = gap(column, table, "race", groups, rules=RULES, min_claim=50, permutations=100)
    turned = flipped(upright, groups)
    assert (upright.best_group, turned.worst_group) == ("elm", "elm")
    assert turned.best_group == upright.worst_group
    assert turned.worst.mean == pytest.approx(0.7)
    assert turned.range == upright.range


def test_suppressed_groups_are_not_compared() -> None:
    """A group of nine that lies far off neither widens the range nor is named."""
    one = found({"elm": -0.9}, {"alder": 60, "birch": 60, "elm": 9})
    assert one.worst_group in {"alder", "birch"}
    assert one.range.mean < 0.1
    assert one.range.n == 120


def test_one_group_has_no_gap() -> None:
    """Fewer than two groups large enough to report are nothing to compare."""
    assert found({}, {"alder": 60, "birch": 9}) is None


def test_a_claim_needs_enough_images_in_every_group() -> None:
    """One compared group below the minimum for a claim takes the claim away."""
    assert found({}, {"alder": 60, "birch": 50}).claimable
    assert not found({}, {"alder": 60, "birch": 49}).claimable


def test_images_without_a_value_are_left_out() -> None:
    """NaN neither counts nor moves the range."""
    table = images({"alder": 30, "birch": 30})
    column = np.where(table["race"] == "alder", 0.2, 0.6)
    column[:5] = np.nan
    groups = summarise(scores(table, {("saliency", "nsrg"): column}), table, RULES).groups[0]
    one = gap(column, table, "race", groups, rules=RULES, min_claim=20, permutations=100)
    assert one.range.mean == pytest.approx(0.4)
    assert one.range.n == 55
    assert (one.best_group, one.worst_group) == ("birch", "alder")
