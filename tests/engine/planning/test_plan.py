"""Names are checked before any work; cells are called by their content; blocks share out the images once."""

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mavis.core import registry
from mavis.core.errors import BadParameter, UnknownName
from mavis.engine.planning.plan import (
    Cell,
    Components,
    ModelUnderTest,
    build_components,
    check_names,
    make_blocks,
    make_cells,
    resolve_components,
    shard_blocks,
    with_reference,
)
from mavis.protocol.loading import with_overrides
from mavis.protocol.schema import Protocol

from ...tables import make_protocol

SMALL = make_protocol(
    metrics={"nsrg": {}, "gini": {}, "pointing_game": {}},
    explainers={"controls": ["random"], "oracles": ["oracle"], "settings": {"rise": {"masks": 32}}},
)
SUBJECT = ModelUnderTest(
    "m", "weights1", "pixels1", frozenset({"forward", "gradient", "activations", "weights"}), has_truth=True
)


def line(rules: Protocol = SMALL, chosen: tuple[str, ...] = ("saliency", "rise", "gradcam")) -> Components:
    """The explainers and metrics of a run."""
    return resolve_components(rules, chosen)


def ids(subject: ModelUnderTest = SUBJECT, rules: Protocol = SMALL) -> dict[tuple[str, str], str]:
    """Cell ids by explainer and metric."""
    return {(c.explainer, c.metric): c.id for c in make_cells(subject, line(rules), rules)}


def test_controls_and_oracles_join_those_chosen() -> None:
    """Each once, with the protocol's parameters, whatever was asked for."""
    found = line(chosen=("rise", "random", "rise"))
    assert [(p.name, p.params) for p in found.explainers] == [("rise", {"masks": 32}), ("random", {}), ("oracle", {})]


def test_all_is_every_method() -> None:
    """No control is among the methods, and no method is left out."""
    every = line(chosen=("all",)).explainers
    assert [p.name for p in every] == [p.name for p in resolve_components(SMALL, None).explainers]
    assert {p.traits.role for p in every if p.name not in {"random", "oracle"}} == {"method"}
    assert {"saliency", "integrated_gradients", "rise"} <= {p.name for p in every}
    assert "cell_occlusion" not in {p.name for p in every}


SALIENT = {"controls": ["random"], "settings": {"salienzy": {}}}
UNUSED = {"controls": ["random"], "settings": {"smoothgrad": {"sample": 3}}}
AGAINST = {"metric": "nsrg", "against": ["randon"], "margin": 0.0}
TWO = {
    "decide__metrics": {"nsrg": "always", "gini": "always"},
    "decide__weights": {"faithfulness": 1, "complexity": 1},
}
JUDGED = {"metric": "nsgr", "against": ["random"], "margin": 0.0}


@pytest.mark.parametrize(
    ("changes", "chosen", "error", "message"),
    [
        ({}, "salienzy", UnknownName, "explainer is named 'salienzy'; did you mean 'saliency'"),
        ({"metrics": {"nsgr": {}}}, "rise", UnknownName, "metric is named 'nsgr'; did you mean 'nsrg'"),
        ({"metrics": {"nsrg": {"imputers": ["blurr"]}}}, "rise", UnknownName, "'blurr'; did you mean 'blur'"),
        ({"metrics": {"single_deletion": {"imputer": "blurr"}}}, "rise", UnknownName, "imputer is named 'blurr'"),
        ({"metrics": {"nsrg": {"pionts": 3}}}, "rise", BadParameter, "no parameter 'pionts'; it takes: imputers"),
        ({"metrics": {"nsrg": {"points": 2}}}, "rise", BadParameter, "at least 3 points"),
        ({"explainers": SALIENT}, "rise", UnknownName, "explainer is named 'salienzy'"),
        ({"explainers": UNUSED}, "rise", BadParameter, "'smoothgrad' has no parameter 'sample'"),
        ({"gates__controls": AGAINST}, "rise", UnknownName, "explainer is named 'randon'; did you mean 'random'"),
        ({"gates__controls": JUDGED}, "rise", UnknownName, "metric is named 'nsgr'"),
        ({"gates__randomisation__metric": "mptr"}, "rise", UnknownName, "metric is named 'mptr'; did you mean 'mprt'"),
        ({"decide__primary": "nsgr"}, "rise", UnknownName, "metric is named 'nsgr'"),
        ({"decide__primary": "deletion"}, "rise", BadParameter, "decide.metrics must hold decide.primary, 'deletion'"),
        ({"decide__metrics": {"nsrg": "always", "gini": "always"}}, "rise", BadParameter, "has no 'complexity'"),
        ({"decide__metrics": {"nsrg": "always", "ginny": "always"}}, "rise", UnknownName, "metric is named 'ginny'"),
        ({"decide__metrics": {"nsrg": "always", "seconds": "always"}}, "rise", BadParameter, "has no 'cost'"),
        ({"decide__metrics": {"nsrg": "always", "cue_mass": "always"}}, "rise", BadParameter, "'cue_mass' only"),
        ({"decide__alike": [["nsrg", "nsgr"]]}, "rise", UnknownName, "decide.alike is named 'nsgr'"),
        ({"decide__alike": [["nsrg"], ["nsrg"]]}, "rise", BadParameter, "every metric once, got 'nsrg' 2 times"),
        ({**TWO, "decide__alike": [["nsrg", "gini"]]}, "rise", BadParameter, "nsrg, gini are of complexity and faith"),
        ({"decide__imputers": ["nsgr@mean"]}, "rise", UnknownName, "metric is named 'nsgr'"),
        ({"decide__weights": {"faithfulness": 1, "worst": 1}}, "rise", UnknownName, "decide.weights is named 'worst'"),
        ({"decide__weights": {"faithfulness": 1, "cost": -1}}, "rise", BadParameter, "numbers from 0, got cost: -1"),
        ({"decide__weights": {"faithfulness": 0}}, "rise", BadParameter, "a weight above 0"),
        ({"explainers": {"controls": [], "reference": {"zero": "randon"}}}, "rise", UnknownName, "named 'randon'"),
        ({"gates__determinism": {"metric": "nsgr"}}, "rise", UnknownName, "metric is named 'nsgr'"),
        ({"gates__determinism": {"replicate": "nsgr"}}, "rise", UnknownName, "metric is named 'nsgr'"),
        ({"gates__completeness": {"metric": "nsgr"}}, "rise", UnknownName, "metric is named 'nsgr'"),
        ({"gates__classes": {"metric": "nsgr"}}, "rise", UnknownName, "metric is named 'nsgr'"),
        ({"gates__groups": {"metric": "nsgr"}}, "rise", UnknownName, "metric is named 'nsgr'"),
        ({"gates__groups": {"against": "randon"}}, "rise", UnknownName, "explainer is named 'randon'"),
    ],
)  # fmt: skip
def test_every_name_and_parameter_is_checked(
    changes: dict[str, Any], chosen: str, error: type[Exception], message: str
) -> None:
    """A typing error anywhere in a protocol is told before the run, those of the decision included."""
    with pytest.raises(error, match=message):
        resolve_components(with_overrides(SMALL, **changes), [chosen])


def test_models_and_data_are_checked_by_name_unless_they_are_paths() -> None:
    """An unknown name suggests; a folder is looked at when it is opened."""
    check_names(["race_resnet", "./folder", "C:\\folder"], "synthetic_faces")
    check_names(["mask_mean"], "fairface:/somewhere")
    with pytest.raises(UnknownName, match="model is named 'race_resne'; did you mean 'race_resnet'"):
        check_names(["race_resne"], "synthetic_faces")
    with pytest.raises(UnknownName, match="dataset is named 'fairfase'; did you mean 'fairface'"):
        check_names(["race_resnet"], "fairfase:./x")


def test_cells_are_every_pair_and_keep_their_ids() -> None:
    """One per explainer and metric, all ids different, the same ids in every process."""
    found = ids()
    assert set(found) == {
        (e, m) for e in ("saliency", "rise", "gradcam", "random", "oracle") for m in ("nsrg", "gini", "pointing_game")
    }
    assert len(set(found.values())) == len(found)
    assert found == ids()


@pytest.mark.parametrize(
    ("subject", "changes"),
    [
        ({"model_revision": "weights2"}, {}),
        ({"data_revision": "pixels2"}, {}),
        ({}, {"seed": 8}),
        ({}, {"grid": 8}),
        ({}, {"target": {"policy": "label"}}),
    ],
)
def test_another_model_image_seed_or_rule_is_another_cell(subject: dict[str, str], changes: dict[str, Any]) -> None:
    """Everything that decides all scores changes all ids."""
    before, after = ids(), ids(replace(SUBJECT, **subject), with_overrides(SMALL, **changes))
    assert not set(before.values()) & set(after.values())


def test_another_parameter_changes_its_own_cells_only() -> None:
    """Of an explainer, its row; of a metric, its column."""
    before = ids()
    rise = {"explainers__settings": {"rise": {"masks": 64}}}
    nsrg = {"metrics": {"nsrg": {"points": 7}, "gini": {}, "pointing_game": {}}}
    for changes, name in ((rise, "rise"), (nsrg, "nsrg")):
        after = ids(rules=with_overrides(SMALL, **changes))
        assert {pair for pair in before if before[pair] != after[pair]} == {pair for pair in before if name in pair}


def test_what_decides_nothing_changes_no_id() -> None:
    """The model's name and the rules for means leave the scores as they are."""
    assert ids() == ids(replace(SUBJECT, model="other"), with_overrides(SMALL, aggregate__bootstrap=999))


def test_what_cannot_be_run_is_skipped_with_a_reason() -> None:
    """What the model does not give and what the data do not have, each in words; the rest is run."""
    blind = replace(SUBJECT, capabilities=frozenset({"forward"}), has_truth=False)
    reasons = {(c.explainer, c.metric): c.skipped for c in make_cells(blind, line(), SMALL)}
    assert reasons["saliency", "gini"] == "needs gradient, which m does not give"
    assert reasons["gradcam", "gini"] == "needs activations, gradient, which m does not give"
    assert reasons["rise", "pointing_game"] == "needs planted truth, which these data do not have"
    assert reasons["oracle", "gini"] == "needs planted truth, which these data do not have"
    assert reasons["rise", "nsrg"] is None
    assert {c.skipped for c in make_cells(SUBJECT, line(), SMALL)} == {None}


CELLS = (Cell("c1", "rise", "gini", None),)
IMAGES = [f"i{k:03d}" for k in range(100)]
VARIED = frozenset(IMAGES[::9])


def test_blocks_share_out_the_images_once() -> None:
    """Every image in one block, those with variants apart, none larger than the size, in the order given."""
    made = make_blocks(SUBJECT, CELLS, IMAGES, VARIED, size=16)
    assert Counter(i for b in made for i in b.image_ids) == Counter(IMAGES)
    assert max(len(b.image_ids) for b in made) == 16
    assert {i for b in made if b.has_variants for i in b.image_ids} == VARIED
    assert len({b.id for b in made}) == len(made) == 7
    assert [i for b in made if not b.has_variants for i in b.image_ids] == [i for i in IMAGES if i not in VARIED]


def test_a_block_is_called_by_its_cells_and_images() -> None:
    """The same again for the same; another for another model, other cells, other images, other treatment."""
    first = make_blocks(SUBJECT, CELLS, IMAGES[:5], (), size=16)[0].id
    assert first == make_blocks(SUBJECT, CELLS, IMAGES[:5], (), size=16)[0].id
    others = [
        make_blocks(replace(SUBJECT, model="n"), CELLS, IMAGES[:5], ())[0].id,
        make_blocks(SUBJECT, (replace(CELLS[0], id="c2"),), IMAGES[:5], ())[0].id,
        make_blocks(SUBJECT, CELLS, IMAGES[:6], ())[0].id,
        make_blocks(SUBJECT, CELLS, IMAGES[:5], IMAGES[:5])[0].id,
    ]
    assert len({first, *others}) == 5


def test_an_image_with_variants_in_no_sample_makes_no_block() -> None:
    """Empty shards are not planned."""
    assert [b.has_variants for b in make_blocks(SUBJECT, CELLS, IMAGES[:5], ())] == [False]
    assert make_blocks(SUBJECT, CELLS, [], ()) == []


@pytest.mark.parametrize("n", [1, 2, 3, 50])
def test_shares_hold_every_block_once(n: int) -> None:
    """However many machines there are."""
    made = make_blocks(SUBJECT, CELLS, IMAGES, VARIED, size=16)
    shares = [shard_blocks(made, (k, n)) for k in range(1, n + 1)]
    assert Counter(b.id for part in shares for b in part) == Counter(b.id for b in made)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_what_marks_the_scale_joins() -> None:
    """The zero and, by what the data know, the truth or the other reference, each once and with its parameters."""
    bare = make_protocol(explainers={"controls": [], "settings": {"oracle": {"draws": 2}}})
    given = resolve_components(bare, ["rise"])
    for truth, name, params in ((True, "oracle", {"draws": 2}), (False, "cell_occlusion", {})):
        found = with_reference(given, bare, has_truth=truth).explainers
        assert [(p.name, p.params) for p in found] == [("rise", {}), ("random", {}), (name, params)]
    twice = resolve_components(SMALL, ["rise", "cell_occlusion"])
    assert with_reference(twice, SMALL, has_truth=False) == twice


def test_a_reference_is_explained_once() -> None:
    """Again only for a deciding metric that has no perfect value, and so takes its mark from the reference."""
    rules = make_protocol(
        metrics={"nsrg": {}, "avg_sensitivity": {}, "avg_sensitivity_normalised": {}, "mprt": {}},
        decide__metrics={"nsrg": "always", "avg_sensitivity": "always", "avg_sensitivity_normalised": "always"},
        decide__weights={"faithfulness": 1, "robustness": 1},
    )
    found = make_cells(SUBJECT, resolve_components(rules, ["cell_occlusion", "rise"]), rules)
    run = {
        name: {c.metric for c in found if c.explainer == name and not c.skipped} for name in ("cell_occlusion", "rise")
    }
    assert run == {"cell_occlusion": {"nsrg", "avg_sensitivity"}, "rise": set(rules.metrics)}
    assert {c.skipped for c in found if c.skipped} == {"is a reference, whose map is made once"}


def test_what_localisation_is_scored_against_is_part_of_its_cells() -> None:
    """Another share of reliance is another cell of what reads the truth, and of nothing else; nor where no part can be
    drawn anew."""
    drawn, asked, other = replace(SUBJECT, can_rerender=True), {"min_share": 0.25}, {"min_share": 0.1}
    one, two = (ids(drawn, with_overrides(SMALL, reliance=rules)) for rules in (asked, other))
    assert {cell[1] for cell in one if one[cell] != two[cell]} == {"pointing_game"}
    assert one != ids(drawn)
    assert ids(rules=with_overrides(SMALL, reliance=asked)) == ids()


def test_cells_are_called_by_a_users_code_too() -> None:
    """Of the explainer and of the metric; those of MAVIS's own are called as before."""
    components, before = line(), ids()
    first = replace(components.explainers[0], code="c1")
    changed = replace(components, explainers=(first, *components.explainers[1:]))
    after = {(c.explainer, c.metric): c.id for c in make_cells(SUBJECT, changed, SMALL)}
    assert {explainer for (explainer, _), name in after.items() if name != before[explainer, _]} == {first.name}
    changed = replace(components, metrics=(replace(components.metrics[0], code="c1"), *components.metrics[1:]))
    after = {(c.explainer, c.metric): c.id for c in make_cells(SUBJECT, changed, SMALL)}
    assert {key[1] for key, name in after.items() if name != before[key]} == {components.metrics[0].name}


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with a user's explainer, metric and imputer, registered as from a ``mavis.toml``."""
    monkeypatch.chdir(tmp_path)
    for registered in (registry.explainers, registry.metrics, registry.imputers):
        assert registered.names()
        monkeypatch.setattr(registered, "entries", dict(registered.entries))
    (tmp_path / "my_plugins.py").write_text(PLUGINS, encoding="utf-8")
    return tmp_path


PLUGINS = """
from mavis import MapMetric, SweepMetric, Curve
GAIN = 1
def bright(model, images, targets): return GAIN * images.mean(1)
def sums(): return MapMetric(lambda maps, batch: GAIN * maps.cells.sum(1))
def grey(): return lambda batch, mean, seed: batch.images * 0 + GAIN
def area(curves): return sum(curve.area() for curve in curves.values())
def sweeps(): return SweepMetric((Curve("my_grey", "mif", (0.0, 1.0)),), area)
"""
TRAITS = {"category": "faithfulness", "higher_is_better": True}


def _codes(folder: Path) -> dict[str, str]:
    """Code of each component, registered anew."""
    sys.modules.pop("my_plugins", None)
    for registered, names in ((registry.explainers, ["bright"]), (registry.metrics, ["sums", "sweeps"])):
        for name in names:
            registered.entries.pop(f"my_{name}", None)
    registry.imputers.entries.pop("my_grey", None)
    registry.register_plugin("explainer", "my_bright", "my_plugins:bright", {"needs": ["forward"]}, folder=folder)
    registry.register_plugin("imputer", "my_grey", "my_plugins:grey", {}, folder=folder)
    for name in ("sums", "sweeps"):
        registry.register_plugin("metric", f"my_{name}", f"my_plugins:{name}", TRAITS, folder=folder)
    metrics: list[tuple[str, dict[str, Any]]] = [("my_sums", {}), ("my_sweeps", {}), ("gini", {})]
    components = build_components([("my_bright", {}), ("saliency", {})], metrics)
    return {part.name: part.code for part in (*components.explainers, *components.metrics)}


def test_the_code_of_a_users_plugins_is_known(plugins: Path) -> None:
    """Of explainers and metrics, and the same when they are opened again; MAVIS's own have a version instead."""
    before = _codes(plugins)
    assert before == _codes(plugins)
    assert {name for name, code in before.items() if not code} == {"saliency", "gini"}
    (plugins / "my_plugins.py").write_text(PLUGINS.replace("GAIN = 1", "GAIN = 22"), encoding="utf-8")
    after = _codes(plugins)
    assert {name for name in before if before[name] != after[name]} == {"my_bright", "my_sums", "my_sweeps"}
    sys.modules.pop("my_plugins", None)
