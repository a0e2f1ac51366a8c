"""Gaps by hand and by statsmodels, a paradox resolved, noise taken out."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from mavis.analysis.disparity import estimators
from mavis.analysis.statistics import bootstrap
from mavis.core.errors import BadParameter
from mavis.workflows.meta_evaluation.simulated_disparities import COVARIATES, STRATA, SimulatedDisparity

ONES = np.ones((1, 6))
NOTHING = np.zeros(6, dtype=np.intp)
SCORES, GROUPS = np.array([1.0, 3.0, 4.0, 8.0, 5.0, 5.0]), ["a", "a", "b", "b", "c", "c"]


def stones() -> pd.DataFrame:
    """Charig et al. 1986: open surgery and nephrolithotomy, by size of the stone; success is the score."""
    counts = {("open", "small"): (81, 87), ("open", "large"): (192, 263)}
    counts |= {("closed", "small"): (234, 270), ("closed", "large"): (55, 80)}
    rows = [(g, s, float(k < good)) for (g, s), (good, n) in counts.items() for k in range(n)]
    return pd.DataFrame(rows, columns=["group", "size", "score"])


def weights_of(table: pd.DataFrame, draws: int = 200) -> np.ndarray:
    """Bootstrap weights within groups."""
    return bootstrap.bootstrap_weights(table["group"].tolist(), None, draws, 0)


def test_strata_are_cells_of_equal_values_and_bins() -> None:
    """Two predictions × two halves of the confidence, where equal confidences share a half."""
    table = pd.DataFrame({"predicted": [0, 0, 1, 1, 0], "confidence": [0.1, 0.9, 0.1, 0.8, 0.9]})
    code = estimators.assign_strata(table, exact=["predicted"], coarsened={"confidence": 2})
    assert code[1] == code[4]
    assert len({int(c) for c in code}) == 4
    assert estimators.assign_strata(table).tolist() == [0] * 5


def test_bins_hold_equal_counts() -> None:
    """Quintiles of a hundred different values hold twenty each, in order."""
    table = pd.DataFrame({"confidence": np.random.default_rng(0).permutation(100)})
    code = estimators.assign_strata(table, coarsened={"confidence": 5})
    assert np.bincount(code).tolist() == [20] * 5
    assert (code == table["confidence"] // 20).all()


def test_covariates_are_standardised_columns() -> None:
    """A number, its square about the mean, two of three categories; a constant is nought."""
    table = pd.DataFrame({"c": [1.0, 2, 3, 6], "k": [5, 5, 5, 5], "p": ["x", "y", "z", "x"]})
    covariates = estimators.covariate_matrix(table, numeric=["c", "k"], squared=["c"], categorical=["p"])
    assert covariates.shape == (4, 5)
    np.testing.assert_allclose(covariates.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(covariates.std(axis=0), [1, 0, 1, 1, 1])
    assert np.corrcoef(covariates[:, 2], (table["c"] - 3) ** 2)[0, 1] == pytest.approx(1)
    assert np.corrcoef(covariates[:, 3], table["p"] == "y")[0, 1] == pytest.approx(1)
    assert estimators.covariate_matrix(table).shape == (4, 0)


def test_missing_values_are_named() -> None:
    """A column with gaps is an error that says which and how many."""
    table = pd.DataFrame({"c": [1.0, np.nan], "d": [1.0, 2.0]})
    for call in (
        lambda: estimators.assign_strata(table, coarsened={"c": 2}),
        lambda: estimators.covariate_matrix(table, numeric=["c", "d"]),
    ):
        with pytest.raises(BadParameter, match=r"missing: \{'c': 1\}; drop these images"):
            call()


def test_raw_gaps_by_hand() -> None:
    """Means 2, 6 and 5 lie −4, −3 and 1 apart, first minus second."""
    gaps = estimators.raw_gaps(SCORES, GROUPS, ONES)
    assert gaps.pairs == (("a", "b"), ("a", "c"), ("b", "c"))
    assert gaps.gap.tolist() == [-4, -3, 1]
    assert gaps.matched_share.tolist() == [1, 1, 1]
    names, means = estimators.group_means(SCORES, GROUPS, ONES)
    assert (names, means.tolist()) == (("a", "b", "c"), [[2, 6, 5]])


def test_simpsons_paradox_is_resolved() -> None:
    """Open surgery succeeds less often overall, .780 against .826, and more often at equal size, .833 against .779."""
    table = stones()
    scores, groups, weights = table["score"].to_numpy(), table["group"].tolist(), weights_of(table)
    raw = estimators.raw_gaps(scores, groups, weights)
    matched = estimators.stratum_matched_gaps(scores, groups, estimators.assign_strata(table, exact=["size"]), weights)
    adjusted = estimators.covariate_adjusted_gaps(
        scores, groups, estimators.covariate_matrix(table, categorical=["size"]), weights
    )
    assert raw.pairs == (("closed", "open"),)
    assert raw.gap[0] == pytest.approx(289 / 350 - 273 / 350)
    small, large = 357 / 700, 343 / 700
    by_hand = small * (234 / 270 - 81 / 87) + large * (55 / 80 - 192 / 263)
    assert matched.gap[0] == pytest.approx(by_hand)
    assert round(by_hand, 3) == -0.054
    assert adjusted.gap[0] == pytest.approx(by_hand, abs=0.005)
    assert matched.matched_share[0] == 1


def test_matched_gap_is_on_common_support() -> None:
    """Strata without one of the two groups do not count, and the share of images that remain is told."""
    stratum = np.array([0, 1, 0, 0, 1, 2])
    gaps = estimators.stratum_matched_gaps(SCORES, GROUPS, stratum, ONES)
    # a, b share stratum 0: 1 against 6; a, c stratum 1: 3 against 5; b and c none
    np.testing.assert_array_equal(gaps.gap, [-5, -2, np.nan])
    np.testing.assert_allclose(gaps.matched_share, [3 / 4, 2 / 4, 0])
    assert np.isnan(gaps.draws[0, 2])


def test_strata_weigh_as_in_all_groups_together() -> None:
    """A stratum with two thirds of all images has two thirds of the weight, whichever of the two fills it."""
    scores = np.array([1.0, 0, 0, 0, 0, 5])
    gaps = estimators.stratum_matched_gaps(scores, ["a", "a", "b", "b", "c", "c"], np.array([0, 1, 0, 1, 0, 0]), ONES)
    assert gaps.gap[0] == pytest.approx(4 / 6 * 1 + 2 / 6 * 0)


def test_adjusted_gap_is_statsmodels_g_computation() -> None:
    """It is the mean of predictions with every image in the one group minus in the other, by an independent fit."""
    world = SimulatedDisparity(sizes=(80, 60, 50), gap=0.1, shift=0.2, slope=0.5)
    table = world.table(3)
    fit = smf.ols("score ~ group + confidence + I(confidence ** 2) + correct + C(predicted)", table).fit()
    everybody = {g: fit.predict(table.assign(group=g)).mean() for g in ("g0", "g1", "g2")}
    gaps = estimators.covariate_adjusted_gaps(
        table["score"].to_numpy(),
        table["group"].tolist(),
        estimators.covariate_matrix(table, **COVARIATES),
        np.ones((1, len(table))),
    )
    for (a, b), gap in zip(gaps.pairs, gaps.gap, strict=True):
        assert gap == pytest.approx(everybody[a] - everybody[b], abs=1e-10)


def test_groups_that_covariates_tell_apart_have_no_adjusted_gap() -> None:
    """Where c alone is ever predicted as c, its gap at equal prediction is unknown; that of a and b stays."""
    table = pd.DataFrame({"predicted": ["x", "y", "x", "y", "z", "z"]})
    held = estimators.covariate_matrix(table, categorical=["predicted"])
    gaps = estimators.covariate_adjusted_gaps(SCORES, GROUPS, held, ONES)
    np.testing.assert_allclose(gaps.gap, [-4, np.nan, np.nan], atol=1e-9)
    assert gaps.matched_share.tolist() == [1, 0, 0]


def test_a_draw_is_the_estimate_on_the_table_drawn() -> None:
    """Repeating rows as the weights say and estimating anew gives each draw, for every kind of gap."""
    table = SimulatedDisparity(sizes=(40, 30, 30), shift=0.2, slope=0.5).table(1)
    table = table.assign(stratum=estimators.assign_strata(table, **STRATA))
    weights = weights_of(table, 3)
    held = estimators.covariate_matrix(table, **COVARIATES)

    def three(rows: np.ndarray, draw_weights: np.ndarray) -> list[estimators.PairGaps]:
        scores, groups = table["score"].to_numpy()[rows], table["group"].to_numpy()[rows].tolist()
        stratum = table["stratum"].to_numpy()[rows]
        return [
            estimators.raw_gaps(scores, groups, draw_weights),
            estimators.stratum_matched_gaps(scores, groups, stratum, draw_weights),
            estimators.covariate_adjusted_gaps(scores, groups, held[rows], draw_weights),
        ]

    drawn = three(np.arange(len(table)), weights)
    for index, weight in enumerate(weights):
        rows = np.repeat(np.arange(len(table)), weight.astype(int))
        for gaps, expected in zip(drawn, three(rows, np.ones((1, len(rows)))), strict=True):
            np.testing.assert_allclose(gaps.draws[index], expected.gap, atol=1e-9)


def test_columns_are_estimated_as_if_alone() -> None:
    """Several columns of scores at once give each column's own gaps and draws, and the same share retained."""
    table = SimulatedDisparity(sizes=(40, 30, 30), shift=0.2, slope=0.5).table(1)
    groups, weights = table["group"].tolist(), weights_of(table, 30)
    scores = np.stack([table["score"], 3 * table["confidence"]], axis=1)
    third = {
        "raw": (),
        "stratum_matched": (estimators.assign_strata(table, **STRATA),),
        "covariate_adjusted": (estimators.covariate_matrix(table, **COVARIATES),),
    }
    for name, arguments in third.items():
        estimate = getattr(estimators, f"{name}_gaps")
        together = estimate(scores, groups, *arguments, weights)
        for index in range(2):
            alone = estimate(scores[:, index], groups, *arguments, weights)
            np.testing.assert_allclose(together.column(index, unit=2.0).gap, alone.gap / 2, atol=1e-12)
            np.testing.assert_allclose(together.column(index).draws, alone.draws, atol=1e-12)
            np.testing.assert_array_equal(together.matched_share, alone.matched_share)


def test_gaps_do_not_depend_on_the_unit_of_covariates() -> None:
    """Brightness in 0…1 or 0…255 adjusts alike."""
    table = SimulatedDisparity(shift=0.2, slope=0.5).table(2)
    scores, groups, weights = table["score"].to_numpy(), table["group"].tolist(), weights_of(table, 5)
    large = table.assign(confidence=255 * table["confidence"] + 1000)
    draws, rescaled = (
        estimators.covariate_adjusted_gaps(scores, groups, estimators.covariate_matrix(t, **COVARIATES), weights).draws
        for t in (table, large)
    )
    np.testing.assert_allclose(draws, rescaled, atol=1e-8)


def test_bad_tables_are_refused() -> None:
    """A missing score and a single group are errors that say what to do."""
    with pytest.raises(BadParameter, match="1 have none; drop them"):
        estimators.raw_gaps(np.array([1.0, np.nan]), ["a", "b"], np.ones((1, 2)))
    with pytest.raises(BadParameter, match="at least two groups"):
        estimators.raw_gaps(np.ones(3), ["a"] * 3, np.ones((1, 3)))
