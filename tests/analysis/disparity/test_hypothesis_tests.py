"""Tests of gaps: every ground alone withholds a gap; equivalence needs the whole interval within the margin."""

from dataclasses import replace

import numpy as np
import pytest

from mavis.analysis.disparity import estimators, hypothesis_tests


def pair_gaps(gap: list[float], spread: float = 0.01) -> estimators.PairGaps:
    """Pairs of a, b, c with draws spread evenly over the gap ± spread."""
    draws = np.linspace(-spread, spread, 401)[:, None] + np.array(gap)
    return estimators.PairGaps((("a", "b"), ("a", "c"), ("b", "c")), np.array(gap), draws, np.ones(3))


def test_equivalence_needs_the_whole_interval_within() -> None:
    """Around 0 the 90 % interval ends at .0405, around .01 beyond .05; what cannot be compared is not shown."""
    gaps = pair_gaps([0.0, 0.01, 0.0], 0.045)
    unknown = replace(gaps, gap=np.array([0.0, 0.01, np.nan]))
    assert hypothesis_tests.is_equivalent(unknown, 0.05).tolist() == [True, False, False]
    assert hypothesis_tests.is_equivalent(gaps, 0.04).tolist() == [False, False, False]


CLEAR = pair_gaps([0.1, -0.1, 0.0])
SIGNIFICANT = estimators.NullRange(range=0.1, null_mean=0.02, excess=0.08, p=0.01)


def test_beyond_tells_the_direction() -> None:
    """Gaps of ±.1 ± .01 are beyond .02 and none of 0 is; a wide interval or an unknown gap is not shown."""
    assert hypothesis_tests.signs_beyond_rope(CLEAR, 0.02).tolist() == [1, -1, 0]
    assert hypothesis_tests.signs_beyond_rope(pair_gaps([0.1, -0.1, 0.0], 0.09), 0.02).tolist() == [0, 0, 0]
    unknown = replace(CLEAR, gap=np.array([np.nan, -0.1, 0]), draws=CLEAR.draws * [np.nan, 1, 1])
    assert hypothesis_tests.signs_beyond_rope(unknown, 0.02).tolist() == [0, -1, 0]


def test_beyond_corrects_for_the_number_of_pairs() -> None:
    """One pair alone is shown at a level at which three are not."""
    near = pair_gaps([0.029] * 3)  # the lower bound at level a is .019 + .02 a
    assert hypothesis_tests.signs_beyond_rope(near, 0.0193).tolist() == [0, 0, 0]
    alone = estimators.PairGaps(near.pairs[:1], near.gap[:1], near.draws[:, :1], near.matched_share[:1])
    assert hypothesis_tests.signs_beyond_rope(alone, 0.0193).tolist() == [1]


def test_draws_without_common_images_speak_against() -> None:
    """A pair that a tenth of the draws cannot compare is not shown to differ."""
    draws = CLEAR.draws.copy()
    draws[:40, 0] = np.nan
    assert hypothesis_tests.signs_beyond_rope(replace(CLEAR, draws=draws), 0.02).tolist() == [0, -1, 0]


def test_a_gap_is_found_where_everything_agrees() -> None:
    """Both gaps beyond the ROPE in one direction, the range significant, two of three imputers in that direction."""
    imputers = np.array([[0.1, -0.1, 0.1], [0.2, -0.1, 0.1], [-0.1, 0.1, 0.1]])
    assert hypothesis_tests.significant_gaps(SIGNIFICANT, CLEAR, CLEAR, imputers).tolist() == [1, -1, 0]
    assert hypothesis_tests.significant_gaps(SIGNIFICANT, CLEAR, CLEAR, CLEAR.gap).tolist() == [1, -1, 0]


@pytest.mark.parametrize(
    "changed",
    [
        {"null": replace(SIGNIFICANT, p=0.05)},
        {"matched": pair_gaps([0.02, -0.1, 0])},
        {"adjusted": pair_gaps([0.02, -0.1, 0])},
        {"adjusted": pair_gaps([-0.1, -0.1, 0])},
        {"per_imputer": np.array([[0.1, -0.1, 0], [-0.1, -0.1, 0], [np.nan, -0.1, 0]])},
        {"rope": 0.095},
    ],
    ids=["p", "matched", "adjusted", "opposite", "imputers", "rope"],
)
def test_each_ground_alone_withholds_the_gap(changed: dict) -> None:
    """With one condition not met the first pair is not found."""
    arguments = {"null": SIGNIFICANT, "matched": CLEAR, "adjusted": CLEAR, "per_imputer": CLEAR.gap} | changed
    assert hypothesis_tests.significant_gaps(**arguments)[0] == 0


def test_p_of_a_gap_is_that_of_its_standard_error() -> None:
    """A gap of two standard errors has p = .0455; one that most draws do not know is none, and NaN stays."""
    draws = np.random.default_rng(0).normal([2.0, 2.0, 0.0], 1, (4000, 3))
    draws[:3999, 1] = np.nan
    p_values = hypothesis_tests.p_values(
        estimators.PairGaps((("a", "b"), ("a", "c"), ("b", "c")), np.array([2, 2, np.nan]), draws, np.ones(3))
    )
    assert p_values[0] == pytest.approx(0.0455, abs=0.004)
    assert p_values[1] > 0.3
    assert np.isnan(p_values[2])
