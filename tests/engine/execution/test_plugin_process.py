"""A process for plug-ins: it opens everything by name, and what ends it or keeps it waiting is named."""

from pathlib import Path

import pytest

from mavis.core.errors import MavisError, PluginError
from mavis.core.registry import explainers, load_plugins
from mavis.engine.execution.block import run_block
from mavis.engine.execution.isolation import _only
from mavis.engine.execution.plugin_process import PluginProcess
from mavis.engine.execution.task import build_task, make_task_spec
from mavis.engine.planning.request import Request
from mavis.engine.planning.setup import plan_run
from mavis.engine.provenance import run_identity
from mavis.engine.store import Store
from mavis.workflows.run import measure_models

PLUGINS = """
import ctypes, sys, time

def good():
    return lambda model_pass, targets: model_pass.images.mean(1, keepdim=True)

def crashes():
    return lambda model_pass, targets: ctypes.string_at(0)

def hangs():
    return lambda model_pass, targets: time.sleep(600)

def prints():
    def explain(model_pass, targets):
        print("on standard output, where replies are")
        sys.stdin.read()
        return model_pass.images.mean(1, keepdim=True)
    return explain
"""
NAMES = ("good", "crashes", "hangs", "prints")


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A run of plug-ins in a working folder, its specification and the task as it is open here."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "process_plugins.py").write_text(PLUGINS, encoding="utf-8")
    lines = [f'[explainer.{name}]\nfactory = "process_plugins:{name}"\nneeds = ["forward"]\n' for name in NAMES]
    (folder / "mavis.toml").write_text("".join(lines), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        load_plugins()
        plan = plan_run(Request(("race_resnet",), explainers=NAMES, metrics=("gini",), limit=7))
        store = Store.open_or_create(Path("run"), run_identity(plan))
        measure_models(plan, store)
        spec = make_task_spec(plan, "race_resnet", store.images(), None)
        task = build_task(spec, plan.models["race_resnet"][0], plan.sample.data, plan.components)
    yield plan, spec, task
    for name in NAMES:
        explainers.entries.pop(name)


def only(block, explainer: str):
    """The block with the cells of one explainer."""
    return _only(block, {(explainer, "gini")})


def test_a_process_answers_until_a_plug_in_ends_it_and_then_another_does(planned) -> None:
    """Scores are those of this process; a crash and a hang are named, and the next request finds a new process."""
    plan, spec, task = planned
    block = plan.blocks[0]
    process = PluginProcess({"race_resnet": spec}, timeout=300)
    try:
        assert process.check("race_resnet", "good") is None
        result, local = process.run(only(block, "good")), run_block(task, only(block, "good"))
        assert len(result.scores) == len(block.image_ids)
        assert result.scores["value"].equals(local.scores["value"])
        assert {f"good|{i}" for i in block.image_ids} <= result.maps.keys()
        assert set(process.run(only(block, "prints")).scores["status"]) == {"ok"}
        with pytest.raises(PluginError, match=r"^ended its process with signal 11 \(SIGSEGV\)$"):
            process.run(only(block, "crashes"))
        process.open("race_resnet")
        process.timeout = 1
        with pytest.raises(PluginError, match=r"^took longer than 1 s \(--block-timeout\)$"):
            process.run(only(block, "hangs"))
    finally:
        process.close()
    assert process._process is None


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import os; os._exit(0)", "ended its process with exit code 0"),
        ("import os; os._exit(3)", "ended its process with exit code 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", r"ended its process with signal 9 \(SIGKILL\)"),
    ],
)
def test_every_end_of_a_process_is_told(monkeypatch, code: str, text: str) -> None:
    """An exit without a word is one too, with 0 as well; the one line says how."""
    monkeypatch.setattr("mavis.engine.execution.plugin_process.COMMAND", code)
    process = PluginProcess({"any": NamedFolder(".")}, timeout=60)  # type: ignore[dict-item]
    with pytest.raises(MavisError, match=f"^{text}$"):
        process.open("any")


class NamedFolder:
    """Stands for a specification; only its folder is read here."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
