"""Every two groups, by the pure estimates; families of tests."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control

from mavis.analysis.disparity import estimators
from mavis.analysis.disparity.estimators import NullRange
from mavis.analysis.disparity.matching import choose_matching
from mavis.analysis.disparity.pairwise import GroupComparison, PairwiseRequest, compare_pairs, correct_p_values
from mavis.analysis.findings import Estimate, PairGap
from mavis.analysis.statistics import bootstrap
from mavis.protocol.schema import DisparityRules
from mavis.workflows.meta_evaluation.simulated_disparities import SimulatedDisparity

from ...tables import BOOTSTRAP

NULL = NullRange(range=0.3, null_mean=0.05, excess=0.25, p=0.01)
LIMITS = DisparityRules(adjust=("probability", "correct"))


@pytest.fixture(scope="module")
def case() -> GroupComparison:
    """Three groups, the last one lower by .2 and less confident."""
    table = SimulatedDisparity(sizes=(60, 50, 40), gap=0.2, shift=0.1, slope=0.5, noise=0.1).table(0)
    table = table.rename(columns={"confidence": "probability"})
    groups = tuple(table["group"])
    return GroupComparison(table, groups, choose_matching(table, groups, "group", LIMITS), BOOTSTRAP, LIMITS, 30)


def test_pairs_are_those_of_the_pure_estimates(case: GroupComparison) -> None:
    """Raw, matched and adjusted gaps and intervals are those of `estimators`, over the span; n is what they rest on."""
    scores = case.table["score"].to_numpy()
    result = compare_pairs(scores[:, None], [PairwiseRequest("s", (0.0, 2.0), NULL, np.empty((0, 3)))], case)[0]
    weights = bootstrap.bootstrap_weights(case.groups, None, BOOTSTRAP.n_bootstrap, BOOTSTRAP.seed)
    expected = {
        "raw": estimators.raw_gaps(scores, case.groups, weights),
        "matched": estimators.stratum_matched_gaps(scores, case.groups, case.matching.strata(case.table), weights),
        "adjusted": estimators.covariate_adjusted_gaps(
            scores, case.groups, case.matching.covariates(case.table), weights
        ),
    }
    sizes = {"g0": 60, "g1": 50, "g2": 40}
    for name, gaps in expected.items():
        low, high = bootstrap.percentile_interval(gaps.draws, 0.95)
        for index, pair in enumerate(result.pairs):
            n_images = sizes[pair.first] + sizes[pair.second]
            estimate = getattr(pair, name)
            assert (estimate.mean, estimate.low, estimate.high) == pytest.approx(
                (gaps.gap[index] / 2, low[index] / 2, high[index] / 2)
            )
            assert estimate.n == round(n_images * gaps.matched_share[index])
    assert [p.matched_share for p in result.pairs] == pytest.approx(expected["matched"].matched_share.tolist())
    assert result.signs.tolist() == [0, 1, 1]


def test_many_columns_are_as_one(case: GroupComparison, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few columns at a time give what all at once give."""
    scores = np.stack([case.table["score"], -case.table["score"], case.table["probability"]], axis=1)
    requests = [PairwiseRequest("s", None, NULL, np.empty((0, 3)))] * 3
    results = compare_pairs(scores, requests, case)
    monkeypatch.setattr("mavis.analysis.disparity.pairwise.MAX_CHUNK_DRAWS", 1)
    for result, expected in zip(results, compare_pairs(scores, requests, case), strict=True):
        assert result.signs.tolist() == expected.signs.tolist()
        assert result.pairs[0].adjusted.low == pytest.approx(expected.pairs[0].adjusted.low)
    assert results[1].signs.tolist() == [0, -1, -1]


def test_a_negative_span_turns_the_imputers_too(case: GroupComparison) -> None:
    """A score whose lower values are better is found where its imputers show the same raw sign."""
    scores = -case.table["score"].to_numpy()[:, None]
    raw = -np.array([[0.0, 0.2, 0.2], [0.0, 0.2, -0.2], [0.0, -0.2, -0.2]])
    result = compare_pairs(scores, [PairwiseRequest("s", (0.0, -1.0), NULL, raw)], case)[0]
    assert result.signs.tolist() == [0, 1, 0]


def test_pairs_too_small_for_a_claim_do_not_widen_the_others(case: GroupComparison) -> None:
    """They have their gaps and p, are never found, and the family is that of the others."""
    requests = [PairwiseRequest("s", None, NULL, np.empty((0, 3)))]
    result = compare_pairs(case.table["score"].to_numpy()[:, None], requests, replace(case, min_claim=45))[0]
    assert result.signs.tolist() == [0, 0, 0]
    assert result.n_sufficient.tolist() == [True, False, False]
    assert result.pairs[1].p < 1e-3


def pair(p: float | None) -> PairGap:
    """A pair with this p and nothing else to it."""
    none = Estimate(mean=None, low=None, high=None, n=0)
    return PairGap(first="a", second="b", raw=none, matched=none, adjusted=none, matched_share=0, p=p, equivalent=False)


def test_families_are_corrected_as_a_whole() -> None:
    """By Holm or by BH over all that are given, those without p left out."""
    families = [(pair(0.01), pair(None)), (pair(0.04), pair(0.03))]
    holm = [corrected.p for pairs in correct_p_values(families, use_holm=True) for corrected in pairs]
    assert holm == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
    hochberg = [corrected.p for pairs in correct_p_values(families, use_holm=False) for corrected in pairs]
    expected = false_discovery_control([0.01, 0.04, 0.03])
    assert [hochberg[0], hochberg[2], hochberg[3]] == pytest.approx(expected.tolist())
    assert pd.isna(hochberg[1])
