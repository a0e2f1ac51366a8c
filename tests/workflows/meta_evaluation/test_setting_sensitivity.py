"""M7: settings that reverse the ranking are seen."""

import pytest

from mavis.workflows.meta_evaluation import fixtures, setting_sensitivity

from .helpers import planted_scores

METHODS = ("input_x_gradient", "integrated_gradients")


def test_variations_are_the_product_of_the_varied_values() -> None:
    """Three imputers times three numbers of points, other parameters as they are; no variation is one setting."""
    varied = setting_sensitivity.variations("nsrg", {"imputers": ["mean", "blur"], "points": 21, "min_headroom": 0.1})
    assert len(varied) == 9
    assert {(params["imputers"][0], params["points"]) for params in varied.values()} == {
        (name, points) for name in ("mean", "blur", "linear") for points in (11, 21, 41)
    }
    assert {params["min_headroom"] for params in varied.values()} == {0.1}
    assert setting_sensitivity.variations("gini", {}) == {"gini@m7.0": {}}


@pytest.mark.parametrize(("second", "tau", "verdict"), [((0.1, 0.3), 1.0, "passed"), ((0.3, 0.1), -1.0, "failed")])
def test_a_setting_that_reverses_the_ranking_is_seen(
    bench: fixtures.Bench, second: tuple[float, float], tau: float, verdict: str
) -> None:
    """Two settings with the same order have tau 1, with reversed order −1."""
    columns = {(name, "nsrg@m7.0"): [mean] for name, mean in zip(METHODS, (0.2, 0.6), strict=True)}
    columns |= {(name, "nsrg@m7.1"): [mean] for name, mean in zip(METHODS, second, strict=True)}
    check = setting_sensitivity._stability_check(bench, "nsrg", {16: planted_scores(columns)})
    assert (check.value, check.verdict) == (tau, verdict)


@pytest.mark.parametrize(("best", "verdict"), [(0.8, "passed"), (0.95, "failed")])
def test_a_method_above_the_exact_map_is_seen(best: float, verdict: str) -> None:
    """The exact map must lead under all settings; one of them suffices to fail."""
    tables = {
        grid: planted_scores({("oracle", "nsrg@m7.0"): [0.9], ("occlusion", "nsrg@m7.0"): [mean]})
        for grid, mean in ((8, 0.5), (16, best))
    }
    check = setting_sensitivity._oracle_check("nsrg", tables)
    assert check.verdict == verdict
    assert check.value == pytest.approx(0.9 - best)
    assert setting_sensitivity._oracle_check("nsrg", {}).verdict == "failed"
