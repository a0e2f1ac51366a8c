"""Ranking of methods over several blocks: Friedman, Nemenyi, Kendall's W, Borda, SMAA, Bayesian signed rank. Pure.

A block is one comparison of all methods: a metric, an image, or a model seed on a data set and task. The tests need
blocks that are independent of each other; checkpoints of one training run are not. Rank 1 is the best.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats as scipy_stats

from mavis.analysis.statistics.bootstrap import Floats, percentile_interval
from mavis.core.errors import BadParameter

TIE_DECIMALS = 12
"""Decimals to which values must be equal to be a tie."""


@dataclass(frozen=True)
class FriedmanResult:
    """Friedman's test that k methods do not differ over N blocks.

    Attributes:
        n_blocks: N.
        mean_ranks: ``(k,)``.
        statistic: chi-squared with k − 1 degrees of freedom; NaN if every block ties all and ties are corrected for.
        p_value: p-value of the statistic.
        f_statistic: Iman and Davenport's F with k − 1 and (k − 1)(N − 1) degrees of freedom; infinite if all blocks
            agree.
        f_p_value: p-value of F.
    """

    n_blocks: int
    mean_ranks: Floats
    statistic: float
    p_value: float
    f_statistic: float
    f_p_value: float


@dataclass(frozen=True)
class SignedRankPosterior:
    """Posterior probabilities of a difference between two methods; they sum to 1.

    Attributes:
        below: the first is worse by more than the region of practical equivalence.
        within: the two are practically equivalent.
        above: the first is better by more.
    """

    below: float
    within: float
    above: float


def rank_rows(scores: ArrayLike, *, higher_is_better: bool) -> Floats:
    """Ranks within each row, from 1 for the best; values equal to 1e-12 share their mean rank.

    Args:
        scores: ``(N,k)``, NaN for a missing value.
        higher_is_better: direction, the same for all rows.

    Returns:
        ``(N,k)`` in [1,k]; NaN for a missing score.
    """
    rounded = np.round(np.asarray(scores, dtype=np.float64), TIE_DECIMALS)
    ranks = scipy_stats.rankdata(-rounded if higher_is_better else rounded, axis=1, nan_policy="omit")
    return np.asarray(ranks, dtype=np.float64)


def friedman(ranks: Floats, *, correct_ties: bool) -> FriedmanResult:
    """Friedman's test, and Iman and Davenport's less conservative one.

    Args:
        ranks: ``(N,k)`` of complete blocks, as `rank_rows` returns them; N ≥ 2, k ≥ 2.
        correct_ties: true uses the observed variance of the ranks, which ties reduce; false that of untied ranks.

    Raises:
        BadParameter: a block is incomplete, or there are too few.

    Source: Demšar 2006, JMLR 7, section 3.2.2; with ties Conover 1999, section 5.8, as scipy.
    """
    n, k = _complete_shape(ranks, "Friedman's test")
    mean_ranks = ranks.mean(axis=0)
    between = n * np.square(mean_ranks - (k + 1) / 2).sum()
    spread = np.square(ranks - (k + 1) / 2).sum() / n if correct_ties else k * (k * k - 1) / 12
    statistic = float((k - 1) * between / spread) if spread > 0 else float("nan")
    remainder = n * (k - 1) - statistic
    f = float("inf") if remainder < 1e-9 else (n - 1) * statistic / remainder
    return FriedmanResult(
        n_blocks=n,
        mean_ranks=mean_ranks,
        statistic=statistic,
        p_value=float(scipy_stats.chi2.sf(statistic, k - 1)),
        f_statistic=f,
        f_p_value=float(scipy_stats.f.sf(f, k - 1, (k - 1) * (n - 1))),
    )


def kendall_w(ranks: Floats) -> float:
    """Kendall's coefficient of concordance, corrected for ties: 1 if all blocks rank alike, 0 for equal mean ranks.

    Args:
        ranks: ``(N,k)`` of complete blocks, e.g. metrics × methods without the controls; N ≥ 2, k ≥ 2.

    Returns:
        In [0,1]; NaN if every block ties all.

    Raises:
        BadParameter: a block is incomplete, or there are too few.

    Source: Kendall and Babington Smith 1939; it is Friedman's statistic over its largest value.
    """
    n, k = _complete_shape(ranks, "Kendall's W")
    return friedman(ranks, correct_ties=True).statistic / (n * (k - 1))


def nemenyi_critical_difference(n_methods: int, n_blocks: int, alpha: float) -> float:
    """Smallest significant difference of two mean ranks when all pairs of methods are compared.

    Args:
        n_methods: k ≥ 2.
        n_blocks: N.
        alpha: error rate of all comparisons together.

    Source: Demšar 2006, section 3.2.2: the studentised range over √2, times the standard error of a difference.
    """
    q = scipy_stats.studentized_range.ppf(1 - alpha, n_methods, np.inf) / np.sqrt(2)
    return float(q * _rank_difference_error(n_methods, n_blocks))


def weighted_mean(scores: ArrayLike, weights: ArrayLike) -> Floats:
    """Weighted mean over criteria; an absent criterion is left out and the other weights are scaled to sum to 1.

    Args:
        scores: ``(C,k)`` in one unit, higher always better; a row of NaN is an absent criterion.
        weights: ``(C,)``, not negative.

    Returns:
        ``(k,)``.

    Raises:
        BadParameter: some methods have a criterion that others do not have.

    Source: protocol S11.6.
    """
    values = np.asarray(scores, dtype=np.float64)
    is_present = _present_criteria(values)
    present_weights = np.asarray(weights, dtype=np.float64)[is_present]
    return np.asarray(present_weights @ values[is_present] / present_weights.sum(), dtype=np.float64)


def borda_points(scores: ArrayLike, weights: ArrayLike) -> Floats:
    """Borda points: weighted mean over criteria of the number of methods that each beats, a tie counting half.

    The weighted mean rank is k minus these points, so it orders the methods alike.

    Args:
        scores: ``(C,k)``, higher always better; a row of NaN is an absent criterion.
        weights: ``(C,)``, not negative.

    Returns:
        ``(k,)`` in [0, k − 1].

    Raises:
        BadParameter: some methods have a criterion that others do not have.

    Source: de Borda 1781; ties as in Black 1976.
    """
    ranks = rank_rows(scores, higher_is_better=True)
    return weighted_mean(ranks.shape[1] - ranks, weights)


def smaa_acceptability(scores: ArrayLike, *, n_draws: int, seed: int) -> Floats:
    """Stochastic multicriteria acceptability (SMAA): share of random criterion weights under which each method leads.

    Args:
        scores: ``(C,k)`` in one unit, higher always better; a row of NaN is an absent criterion.
        n_draws: number of weight vectors, uniform on the simplex.
        seed: equal seeds give equal draws.

    Returns:
        ``(k,)``, sums to 1; tied methods share a draw.

    Raises:
        BadParameter: some methods have a criterion that others do not have.

    Source: Lahdelma, Hokkanen and Salminen 1998: the acceptability index without preference information.
    """
    values = np.asarray(scores, dtype=np.float64)
    present = values[_present_criteria(values)]
    return leader_shares(np.random.default_rng(seed).dirichlet(np.ones(len(present)), n_draws) @ present)


def leader_shares(draws: Floats) -> Floats:
    """Share of draws in which each method leads; methods equal to 1e-12 share a draw.

    Args:
        draws: ``(draws,k)``, higher always better, e.g. bootstrap draws of an overall score.

    Returns:
        ``(k,)``, sums to 1.
    """
    leads = draws >= draws.max(axis=1, keepdims=True) - 10.0**-TIE_DECIMALS
    return np.asarray((leads / leads.sum(axis=1, keepdims=True)).mean(axis=0), dtype=np.float64)


def rank_intervals(draws: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Percentile interval of each method's rank.

    Args:
        draws: ``(draws,k)`` paired bootstrap draws, higher always better.
        confidence: confidence of each interval, e.g. .95.

    Returns:
        Twice ``(k,)``: the better and the worse end, in [1,k].

    Source: Maier-Hein et al. 2018: rankings are to be resampled; percentile bootstrap.
    """
    return percentile_interval(rank_rows(draws, higher_is_better=True), confidence)


def dominance_shares(draws: Floats, rope: float) -> Floats:
    """Share of draws in which one method dominates another: better in some category and worse in none, beyond the ROPE.

    Args:
        draws: ``(draws,C,k)`` paired bootstrap draws of C category scores, higher always better.
        rope: half the width of the region of practical equivalence.

    Returns:
        ``(k,k)``: share of draws in which the row dominates the column; 0 on the diagonal if the ROPE is not 0.

    Source: protocol S12.
    """
    ahead = draws[:, :, :, None] - draws[:, :, None, :]
    return np.asarray(((ahead >= -rope).all(axis=1) & (ahead >= rope).any(axis=1)).mean(axis=0), dtype=np.float64)


def bayesian_signed_rank(
    differences: ArrayLike, *, rope: float, n_draws: int = 50_000, seed: int, prior: float = 0.5
) -> SignedRankPosterior:
    """Bayesian signed-rank test: share of posterior draws in which worse, equivalent or better has the largest mass.

    Args:
        differences: ``(q,)``, first minus second, one per independent block.
        rope: half the width of the region of practical equivalence, ≥ 0.
        n_draws: number of posterior draws.
        seed: equal seeds give equal draws.
        prior: weight of the pseudo-observation 0, in observations.

    Source: Benavoli, Corani, Demšar and Zaffalon 2017, JMLR 18(77), section 4.2.1.
    """
    shares = posterior_region_shares(differences, rope=rope, n_draws=n_draws, seed=seed, prior=prior)
    below, within, above = leader_shares(shares).tolist()
    return SignedRankPosterior(below=below, within=within, above=above)


def posterior_region_shares(
    differences: ArrayLike, *, rope: float, n_draws: int, seed: int, prior: float = 0.5
) -> Floats:
    """Posterior draws of the probabilities that the mean of two new differences is below, in and above the ROPE.

    Args:
        differences: ``(q,)``, first minus second, one per independent block.
        rope: half the width of the region, ≥ 0; its ends belong to it.
        n_draws: number of posterior draws.
        seed: equal seeds give equal draws.
        prior: weight of the pseudo-observation 0, in observations.

    Returns:
        ``(draws,3)``: below, within, above; each row sums to 1.

    Source: Benavoli et al. 2014, ICML, equation 9; 2017, section 4.2.1: weights from a Dirichlet process.
    Differs: baycomp counts a mean on the ROPE's end half within and half beyond.
    """
    values = np.append(np.asarray(differences, dtype=np.float64), 0.0)
    sums = np.round(values[:, None] + values[None], TIE_DECIMALS)
    ends = np.round(2 * rope, TIE_DECIMALS)
    weights = np.random.default_rng(seed).dirichlet(np.append(np.ones(len(values) - 1), prior), n_draws)
    below, above = (((weights @ is_beyond) * weights).sum(axis=1) for is_beyond in (sums < -ends, sums > ends))
    return np.stack([below, 1 - below - above, above], axis=1)


def _rank_difference_error(n_methods: int, n_blocks: int) -> float:
    """Standard error of the difference of two mean ranks."""
    return float(np.sqrt(n_methods * (n_methods + 1) / (6 * n_blocks)))


def _complete_shape(ranks: Floats, test_name: str) -> tuple[int, int]:
    """N and k of a table of complete blocks."""
    n, k = ranks.shape
    if n < 2 or k < 2 or np.isnan(ranks).any():
        raise BadParameter(
            f"{test_name} needs complete blocks, at least 2 of at least 2 methods; got {n} × {k} with "
            f"{int(np.isnan(ranks).sum())} missing; leave incomplete blocks out."
        )
    return n, k


def _present_criteria(scores: Floats) -> NDArray[np.bool_]:
    """``(C,)``, true for criteria that are present."""
    missing = np.isnan(scores)
    partly = np.flatnonzero(missing.any(axis=1) & ~missing.all(axis=1))
    if len(partly) or missing.all():
        raise BadParameter(
            f"A criterion must be present for all methods or for none, and at least one for all; criteria "
            f"{partly.tolist()} are present for some of {scores.shape[1]}; compare only methods that have them."
        )
    return np.logical_not(missing.any(axis=1))


def average_ranks(values: Sequence[float], *, higher_is_better: bool) -> list[float | None]:
    """Ranks from 1 for the best; values equal to 1e-12 share their mean rank; None for NaN."""
    numbers = np.asarray(values, dtype=np.float64)
    is_present = ~np.isnan(numbers)
    signed = np.round((-numbers if higher_is_better else numbers)[is_present], 12)
    ranks = iter(scipy_stats.rankdata(signed, method="average"))
    return [float(next(ranks)) if has_value else None for has_value in is_present]
