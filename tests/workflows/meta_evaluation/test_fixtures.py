"""The bench: directions, categories and imputers of the deciding metrics, and the names of its maps."""

from mavis.workflows.meta_evaluation import fixtures, reference_maps

from .helpers import planted_pass


def test_the_ladder_runs_from_the_oracle_to_noise(bench: fixtures.Bench) -> None:
    """Equal steps from share 0, the oracle itself, to 1; the other names are those of the mixtures."""
    assert list(bench.ladder) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert bench.ladder[0.0] == "oracle"
    assert all(name == fixtures.mixture_name(share) for share, name in bench.ladder.items() if share > 0)
    assert [component.name for component in bench._mixtures(lambda *_: None)] == list(bench.ladder.values())[1:]


def test_metrics_are_selected_by_category_and_have_a_sign(bench: fixtures.Bench) -> None:
    """Lower sensitivity is better; without a category all metrics are named."""
    assert bench.labels("robustness") == ["avg_sensitivity_normalised", "flip_equivariance"]
    assert bench.labels() == list(bench.protocol.decide.metrics)
    assert [bench.sign(label) for label in bench.labels("robustness")] == [-1, 1]
    assert list(bench.select(bench.metric_params, "complexity")) == ["gini"]


def test_the_hand_wired_truth_is_relative_to_the_mean_colour(bench: fixtures.Bench) -> None:
    """Only imputers are replaced."""
    params = bench.mean_imputer_params
    assert params["nsrg"] == {**bench.metric_params["nsrg"], "imputers": ["mean"]}
    assert params["road_gap"] == {**bench.metric_params["road_gap"], "imputer": "mean"}
    assert params["gini"] == bench.metric_params["gini"]


def test_map_names_are_unique_and_every_map_can_be_computed(bench: fixtures.Bench) -> None:
    """Two maps of one name would share a column of the table."""
    components = bench._hand_wired_maps()
    names = [component.name for component in components]
    assert len(set(names)) == len(names)
    assert {"oracle", "anti_oracle", "elsewhere", "random"} <= set(names)
    model_pass = planted_pass()
    exact = reference_maps.cache_map(components[0])(model_pass, model_pass.logits.argmax(1))
    for component in components:
        if component.name.startswith("oracle ") and "redrawn" not in component.name:
            assert component.plugin(model_pass, model_pass.logits.argmax(1)).shape == exact.shape
