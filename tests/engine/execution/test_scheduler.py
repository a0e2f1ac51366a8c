"""The scheduler: blocks that are left, the local loop, and workers in processes of their own."""

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from mavis.core.errors import ModelError
from mavis.core.registry import explainers, load_plugins
from mavis.engine.execution import scheduler
from mavis.engine.execution.scheduler import LocalExecutor, Progress, Worker, execute_blocks
from mavis.engine.execution.task import build_task, make_task_spec
from mavis.engine.planning.request import Request
from mavis.engine.planning.setup import plan_run
from mavis.engine.provenance import run_identity
from mavis.engine.store import Store
from mavis.workflows.run import measure_models

from ...light import write_light_protocol

MY_MAPS = '''
def brightness():
    """Brightness of each pixel."""
    return lambda model_pass, targets: model_pass.images.mean(1, keepdim=True)
'''

# What a worker process runs. With one thread it rounds as the local loop does.
WORKER = """
import pickle
import torch
from mavis.engine.execution.scheduler import Worker

def start(pickled_specs):
    global worker
    torch.set_num_threads(1)
    worker = Worker(pickle.loads(pickled_specs))

def run(block):
    return worker.run(block)
"""


class PoolExecutor:
    """One spawned process, which inherits nothing from this one."""

    def __call__(self, blocks, tasks, started):
        worker = import_module("scheduler_worker")
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, context, worker.start, (pickle.dumps(tasks),)) as pool:
            for block, result in zip(blocks, pool.map(worker.run, blocks), strict=True):
                started(block)
                yield block, result


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A plan in a working folder with a plug-in of its own, its specifications and open tasks."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "scheduler_maps.py").write_text(MY_MAPS)
    code = tmp_path_factory.mktemp("code")
    (code / "scheduler_worker.py").write_text(WORKER)
    (folder / "mavis.toml").write_text(
        '[explainer.brightness]\nfactory = "scheduler_maps:brightness"\nneeds = ["forward"]\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(code)
        load_plugins()
        request = Request(
            ("race_resnet",),
            explainers=("saliency", "brightness"),
            metrics=("nsrg", "gini", "mprt"),
            protocol=str(write_light_protocol(code)),
            limit=7,
        )
        plan = plan_run(request)
        store = Store.open_or_create(Path("run"), run_identity(plan))
        measure_models(plan, store)
        specs, tasks = {}, {}
        for name, (model, _) in plan.models.items():
            specs[name] = make_task_spec(plan, name, store.images(), ("eyes", "nose"))
            tasks[name] = build_task(specs[name], model, plan.sample.data, plan.components)
        yield plan, specs, tasks, folder
    explainers.entries.pop("brightness")


def execute(planned, folder: Path, executor, progress=scheduler.SILENT):
    plan, specs, _, _ = planned
    store = Store.open_or_create(folder, run_identity(plan))
    costs = {name: of_model.cost for name, of_model in plan.by_model.items()}
    execute_blocks(plan.blocks, specs, store, executor, costs=costs, progress=progress)
    return store


def scores(store: Store):
    key = ["model", "image", "explainer", "metric"]
    return store.scores().set_index(key)[["value", "status", "forwards"]].sort_index()


@pytest.fixture(scope="module")
def local(planned, tmp_path_factory) -> Path:
    """The folder of a run by the local loop."""
    folder = tmp_path_factory.mktemp("local")
    execute(planned, folder, LocalExecutor(planned[2]))
    return folder


def test_a_worker_process_gives_the_scores_of_the_local_loop(planned, local, tmp_path) -> None:
    """A spawned process opens model, data and the plug-in of mavis.toml by name; scores are bit-equal."""
    here = scores(Store.open_existing(local))
    remote = scores(execute(planned, tmp_path / "remote", PoolExecutor()))
    assert "brightness" in set(here.index.get_level_values("explainer"))
    assert len(here) > 0
    assert remote.equals(here)


def test_a_specification_holds_names_and_values_only(planned) -> None:
    """It survives pickling unchanged, and is small: no weights and no images are inside."""
    specs = planned[1]
    pickled = pickle.dumps(specs)
    assert pickle.loads(pickled) == specs
    assert len(pickled) < 10_000


def test_blocks_that_are_stored_are_not_executed_again(planned, local) -> None:
    """The second time nothing is left, and all work counts as done before."""
    begun = []

    def fails(blocks, tasks, started):
        assert not blocks
        return iter(())

    execute(planned, local, fails, Progress(begin=lambda *values: begun.append(values)))
    ((work, done, n_blocks, n_done),) = begun
    assert 0 < work == done
    assert n_blocks == n_done == len(planned[0].blocks)


def test_another_model_under_the_same_name_is_refused(planned, monkeypatch) -> None:
    """A worker that finds other weights behind a name says so instead of mixing two models' scores."""
    plan, specs, _, folder = planned
    monkeypatch.chdir(folder)
    changed = {name: replace(spec, model_revision="another") for name, spec in specs.items()}
    with pytest.raises(ModelError, match="expected revision another"):
        Worker(changed).run(plan.blocks[0])
