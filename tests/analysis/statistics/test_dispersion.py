"""Measures of inequality by hand; noise is taken out without bias."""

import numpy as np
import pytest

from mavis.analysis.disparity import estimators
from mavis.analysis.statistics import bootstrap, dispersion


def test_measures_by_hand() -> None:
    """Of .2, .5 and .8: worst over best .25, shortfall .3, mean difference .4; of the natural mean .6 it is .4."""
    means = [0.5, 0.2, 0.8]
    assert float(dispersion.worst_to_best_ratio(means)) == pytest.approx(0.25)
    assert float(dispersion.shortfall(means)) == pytest.approx(0.3)
    assert float(dispersion.shortfall(means, 0.6)) == pytest.approx(0.4)
    assert float(dispersion.mean_pairwise_difference(means)) == pytest.approx(0.4)


def test_measures_of_draws_are_those_of_each_draw() -> None:
    """They reduce the last axis only."""
    draws = np.random.default_rng(0).normal(0.5, 0.1, (7, 4))
    for measure in (dispersion.worst_to_best_ratio, dispersion.shortfall, dispersion.mean_pairwise_difference):
        np.testing.assert_allclose(measure(draws), [float(measure(draw)) for draw in draws])


def test_a_ratio_needs_a_best_group_above_chance() -> None:
    """There is none where the best is at or below 0; a worst group below chance is negative."""
    assert np.isnan(dispersion.worst_to_best_ratio([[0.0, -0.1], [-0.2, -0.3]])).all()
    assert float(dispersion.worst_to_best_ratio([0.4, -0.1])) == pytest.approx(-0.25)


def test_corrected_variance_by_hand() -> None:
    """Variance 1 of 1, 2 and 3 less the mean of .01, .04 and .25; twice that for draws; below 0 the SD is 0."""
    assert float(dispersion.noise_corrected_variance([1, 2, 3], [0.1, 0.2, 0.5])) == pytest.approx(0.9)
    assert float(dispersion.noise_corrected_variance([1, 2, 3], [0.1, 0.2, 0.5], is_bootstrap=True)) == pytest.approx(
        0.8
    )
    assert float(dispersion.noise_corrected_sd([1, 2, 3], [0.1, 0.2, 0.5])) == pytest.approx(np.sqrt(0.9))
    assert float(dispersion.noise_corrected_sd([1, 1.1, 1], [0.1, 0.2, 0.5])) == 0


@pytest.mark.parametrize("true", [0.0, 0.1])
def test_corrected_variance_is_unbiased(true: float) -> None:
    """Over 600 tables it averages to the true variance between groups, and so do its bootstrap draws."""
    generator, variances = np.random.default_rng(1), []
    levels = true * np.array([-1.0, 0, 1])  # sample variance true²
    groups, n = np.repeat(["a", "b", "c"], [20, 30, 40]), np.array([20, 30, 40])
    for seed in range(600):
        scores = np.repeat(levels, n) + generator.normal(0, 0.3, 90)
        weights = bootstrap.bootstrap_weights(groups.tolist(), None, 60, seed)
        means, draws = (estimators.group_means(scores, groups.tolist(), w)[1] for w in (np.ones((1, 90)), weights))
        errors = np.array([scores[groups == g].std(ddof=1) for g in "abc"]) / np.sqrt(n)
        bootstrap_variance = dispersion.noise_corrected_variance(draws, errors, is_bootstrap=True).mean()
        variances.append((float(dispersion.noise_corrected_variance(means[0], errors)), float(bootstrap_variance)))
    error = np.std(variances, axis=0).max() / np.sqrt(600)
    np.testing.assert_allclose(np.mean(variances, axis=0), true**2, atol=4 * error)


def test_shrunken_means_by_hand() -> None:
    """Variance 1 with errors .5: 3/4 of each mean's distance stays; without true variance all are the whole."""
    np.testing.assert_allclose(dispersion.partial_pooled_means([1, 2, 3], [0.5] * 3), [1.25, 2, 2.75])
    np.testing.assert_allclose(dispersion.partial_pooled_means([1.0, 1.2], [1, 2]), [1.04, 1.04])
