"""Foreign plug-ins beside MAVIS's own: nothing that they do changes or loses a score of another."""

import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from mavis.core.errors import ModelError, PluginError
from mavis.core.guards.guarded_plugins import GuardedExplainer, guard_metric
from mavis.core.metric_types import MapMetric
from mavis.core.registry import ENTRY_POINT_ORIGIN, metrics
from mavis.engine.execution import isolation
from mavis.engine.execution.explain import ModelTask
from mavis.engine.execution.isolation import IsolatingExecutor, are_loadable
from mavis.engine.execution.scheduler import LocalExecutor
from mavis.engine.planning.plan import Block, Cell, Component, Components
from mavis.engine.store import BlockResult

from ...toys import Pooled, StoredBatch, make_batch, make_explainer, make_model, random_images

N_IMAGES = 5
KEY = ["image", "explainer", "metric"]


def own_metric(name: str) -> Component:
    return Component(name, {}, metrics[name].traits, metrics[name].create({}))


OWN = Components(
    (make_explainer("saliency"), make_explainer("input_x_gradient")),
    (own_metric("gini"), own_metric("avg_sensitivity"), own_metric("nsrg")),
)


def foreign_explainer(name: str, explain: Callable) -> Component:
    return Component(name, {}, OWN.explainers[0].traits, GuardedExplainer(name, explain), "this program")


def foreign_metric(name: str, score: Callable) -> Component:
    return Component(name, {}, OWN.metrics[0].traits, guard_metric(name, MapMetric(score)), "this program")


def make_task(*foreign: Component) -> ModelTask:
    """A task of MAVIS's own components and foreign ones."""
    batch = make_batch(random_images(N_IMAGES))
    explainers = [part for part in foreign if isinstance(part.plugin, GuardedExplainer)]
    others = [part for part in foreign if part not in explainers]
    return ModelTask(
        model=make_model(Pooled(), cam_layer="relu"),
        data=StoredBatch(batch),  # type: ignore[arg-type]
        components=Components((*OWN.explainers, *explainers), (*OWN.metrics, *others)),
        targets=dict.fromkeys(batch.ids, 0),
        mean_colour=torch.full((3,), 0.5),
        seed=0,
        grid=4,
        chunk=64,
        gallery_ids=frozenset(batch.ids[:1]),
        agreement_top=0.2,
    )


def make_block(task: ModelTask) -> Block:
    cells = tuple(
        Cell(f"{e.name} {m.name}", e.name, m.name, None)
        for e in task.components.explainers
        for m in task.components.metrics
    )
    return Block("block", task.model.name, tuple(task.targets), cells, has_variants=True)


def execute(task: ModelTask) -> BlockResult:
    executor = IsolatingExecutor({task.model.name: task}, by_name=False, timeout=60)
    ((_, result),) = executor([make_block(task)], {}, lambda _: None)
    return result


def table(scores: pd.DataFrame) -> pd.DataFrame:
    return scores.set_index(KEY)[["value", "status", "forwards", "backwards"]].sort_index()


@pytest.fixture(scope="module")
def plain() -> BlockResult:
    """The block without foreign plug-ins."""
    task = make_task()
    ((_, result),) = LocalExecutor({task.model.name: task})([make_block(task)], {}, lambda _: None)
    return result


def good(model_pass, targets):
    return model_pass.images * model_pass.input_gradient(targets).abs()


def default_dtype(model_pass, targets):
    torch.set_default_dtype(torch.float64)
    return good(model_pass, targets).float()


def no_gradients(model_pass, targets):
    maps = good(model_pass, targets)
    torch.set_grad_enabled(False)
    return maps


def other_folder(model_pass, targets):
    os.chdir("/")
    return good(model_pass, targets)


def weights(model_pass, targets):
    maps = good(model_pass, targets)
    for parameter in model_pass.model.net.parameters():
        parameter.data.zero_()
    return maps


def other_threads(model_pass, targets):
    maps = good(model_pass, targets)
    torch.set_num_threads(3)
    return maps


MEDDLERS = [good, default_dtype, no_gradients, other_folder, weights, other_threads]


def replaced(model_pass, targets):
    torch.abs = torch.neg
    return good(model_pass, targets)


def images_changed(model_pass, targets):
    model_pass.images.zero_()
    return good(model_pass, targets)


def exits(model_pass, targets):
    raise SystemExit(0)


def starves(model_pass, targets):
    raise MemoryError


def full_accelerator(model_pass, targets):
    raise torch.OutOfMemoryError("CUDA out of memory")


def interrupts(model_pass, targets):
    raise KeyboardInterrupt


def recurses(model_pass, targets):
    return recurses(model_pass, targets)


def swaps(model_pass, targets):
    return good(model_pass, targets).flip(0)


def batch_scaled(model_pass, targets):
    return good(model_pass, targets) * len(targets)


def noise(model_pass, targets):
    return torch.rand_like(model_pass.images)


def complex_maps(model_pass, targets):
    return good(model_pass, targets) * 1j


def arrays(model_pass, targets):
    return np.ones((len(targets), 1, 8, 8), dtype=np.float32)


def other_shape(model_pass, targets):
    return good(model_pass, targets)[:, 0]


def not_finite(model_pass, targets):
    return good(model_pass, targets) * float("nan")


def constant(model_pass, targets):
    return torch.ones_like(model_pass.images)


def unfit(model_pass, targets):
    raise ModelError("has no attention layers; leave it out")


FAULTS = {
    replaced: "replaced torch.abs",
    images_changed: "changed the images it was given",
    exits: "raised SystemExit: 0",
    starves: "raised MemoryError",
    full_accelerator: "OutOfMemoryError: CUDA out of memory",
    interrupts: "raised KeyboardInterrupt",
    recurses: "RecursionError",
    swaps: "another map among others than alone",
    batch_scaled: "another map among others than alone",
    noise: "another map among others than alone",
    complex_maps: "must return floats",
    arrays: "must return a tensor, got ndarray",
    other_shape: "must return (B,3,H,W) or (B,1,H,W)",
    not_finite: "NaN or infinite",
    constant: "the same value everywhere",
    unfit: "has no attention layers",
}


@pytest.fixture(scope="module")
def meddled() -> BlockResult:
    """One block with every explainer that meddles and every one that fails."""
    return execute(make_task(*(foreign_explainer(explain.__name__, explain) for explain in (*MEDDLERS, *FAULTS))))


def test_scores_of_the_others_are_those_of_a_run_without_plug_ins(plain, meddled) -> None:
    """Every score, curve, agreement and kept map of MAVIS's own is there and bit-equal."""
    own = [part.name for part in OWN.explainers]
    scores = meddled.scores[meddled.scores["explainer"].isin(own)]
    assert table(scores).equals(table(plain.scores))
    curves = meddled.curves[meddled.curves["explainer"].isin(own)].reset_index(drop=True)
    assert curves[plain.curves.columns].equals(plain.curves)
    agreement = meddled.agreement[meddled.agreement[["first", "second"]].isin(own).all(axis=1)]
    assert agreement.reset_index(drop=True)[plain.agreement.columns].equals(plain.agreement)
    assert all(np.array_equal(meddled.maps[key], values) for key, values in plain.maps.items())


@pytest.mark.parametrize("explain", MEDDLERS)
def test_a_plug_in_that_only_meddles_keeps_its_own_scores(meddled, explain: Callable) -> None:
    """It has those of the well-behaved twin; its maps are in the gallery and are compared with the others'."""
    scores = meddled.scores.set_index("explainer")
    twin, own = scores.loc["good"], scores.loc[explain.__name__]
    columns = ["image", "metric", "value", "status"]
    assert own[columns].reset_index(drop=True).equals(twin[columns].reset_index(drop=True))
    assert "error" not in set(own["status"])
    assert f"{explain.__name__}|toy/0" in meddled.maps
    assert f"{explain.__name__}|toy/1" not in meddled.maps
    assert ((meddled.agreement["first"] == "saliency") & (meddled.agreement["second"] == explain.__name__)).any()


@pytest.mark.parametrize("explain", FAULTS)
def test_a_plug_in_that_fails_is_named_with_its_fault(meddled, explain: Callable) -> None:
    """It costs all of its cells and no other, with one line of reason and no traceback."""
    name = explain.__name__
    rows = meddled.scores[meddled.scores["explainer"] == name]
    assert len(rows) == N_IMAGES * len(OWN.metrics)
    assert set(rows["status"]) == {"error"}
    (failure,) = [failure for failure in meddled.log.failures if failure["explainer"] == name]
    assert f"'{name}'" in failure["message"]
    assert FAULTS[explain] in failure["message"]
    assert failure["traceback"] == ""
    assert failure["images"] == N_IMAGES


def writes(maps, batch):
    maps.values.zero_()
    batch.images.zero_()
    return torch.ones(len(batch))


def fails_late(maps, batch):
    raise SystemExit(1)


def test_foreign_metrics_cost_their_own_cells_only(plain) -> None:
    """One that writes into its maps scores on its copies, one that exits is named; with foreign explainers too."""
    foreign = [foreign_metric("writes", writes), foreign_metric("fails_late", fails_late)]
    result = execute(make_task(*foreign, foreign_explainer("good", good), foreign_explainer("exits", exits)))
    scores = result.scores.set_index(["explainer", "metric"])
    own = result.scores[result.scores["explainer"].isin(["saliency", "input_x_gradient"])]
    assert table(own[~own["metric"].isin(["writes", "fails_late"])]).equals(table(plain.scores))
    for explainer in ("saliency", "good"):
        assert scores.loc[(explainer, "writes"), "value"].eq(1).all()
        assert scores.loc[(explainer, "fails_late"), "status"].eq("error").all()
    assert scores.loc[("exits", "writes"), "status"].eq("error").all()
    assert len(result.scores) == N_IMAGES * 4 * 5
    assert not result.scores.duplicated(KEY).any()


class SilentProcess:
    """A process that a plug-in ends in its second block."""

    def __init__(self, task: ModelTask) -> None:
        self.task, self.n_runs, self.is_closed = task, 0, False

    def open(self, model: str) -> None:
        pass

    def check(self, model: str, plugin: str) -> None:
        return None

    def run(self, block: Block) -> BlockResult:
        self.n_runs += 1
        if self.n_runs == 2:
            raise PluginError("ended its process with signal 11 (SIGSEGV)")
        return isolation.run_block(self.task, block)

    def close(self) -> None:
        self.is_closed = True


def test_a_process_that_ends_costs_the_cells_of_its_block(monkeypatch, plain) -> None:
    """The next block is tried again, and the process is closed at the end."""
    task = make_task(foreign_explainer("good", good))
    process = SilentProcess(task)
    monkeypatch.setattr(isolation, "PluginProcess", lambda specs, timeout: process)
    executor = IsolatingExecutor({task.model.name: task}, by_name=True, timeout=60)
    blocks = [replace(make_block(task), id=str(number)) for number in range(3)]
    results = [result for _, result in executor(blocks, {}, lambda _: None)]
    statuses = [set(result.scores[result.scores["explainer"] == "good"]["status"]) for result in results]
    assert ["ok" in status for status in statuses] == [True, False, True]
    assert statuses[1] == {"error"}
    assert results[1].log.failures[0]["message"] == "'good' ended its process with signal 11 (SIGSEGV)"
    own = results[1].scores[results[1].scores["explainer"] != "good"]
    assert table(own).equals(table(plain.scores))
    assert process.is_closed


def test_a_model_that_is_another_one_elsewhere_is_done_here(monkeypatch) -> None:
    """A function that draws weights makes another model in the other process; the guard here scores its plug-ins."""
    task = make_task(foreign_explainer("good", good))
    process = SilentProcess(task)

    def refuse(model: str) -> None:
        raise ModelError("another model here")

    process.open = refuse  # type: ignore[method-assign]
    monkeypatch.setattr(isolation, "PluginProcess", lambda specs, timeout: process)
    executor = IsolatingExecutor({task.model.name: task}, by_name=True, timeout=60)
    ((_, result),) = executor([make_block(task)], {}, lambda _: None)
    assert "error" not in set(result.scores["status"])
    assert process.n_runs == 0


def test_plug_ins_are_loadable_where_a_file_or_a_package_names_them(tmp_path) -> None:
    """A decorator that ran in a notebook leaves nothing that another process could find."""
    (tmp_path / "mavis.toml").write_text('[explainer.listed]\nfactory = "mine:listed"\n', encoding="utf-8")
    listed, notebook = foreign_explainer("listed", good), foreign_explainer("notebook", good)
    installed = replace(notebook, origin=f"{ENTRY_POINT_ORIGIN}package.module")
    assert are_loadable(Components((listed, installed, *OWN.explainers), OWN.metrics), tmp_path)
    assert not are_loadable(Components((listed, notebook), OWN.metrics), tmp_path)
    assert not are_loadable(Components((listed,), OWN.metrics), tmp_path / "elsewhere")
    assert not isolation.has_foreign(OWN)
