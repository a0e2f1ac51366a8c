"""Public functions under drawn contexts and settings of the caller: the results of a plain call, and nothing left."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import mavis
from mavis.core.guards.guarded_plugins import GuardedExplainer
from mavis.core.registry import metrics
from mavis.engine.execution.block import run_block
from mavis.engine.execution.explain import ModelTask
from mavis.engine.execution.plugin_check import reason_unusable
from mavis.engine.planning.plan import Block, Cell, Component, Components
from tests.generated.callers import CONTEXTS, changed_setting
from tests.generated.process_settings import SETTINGS, read_settings
from tests.light import write_light_protocol
from tests.memory_data import MeanShade, MemoryData
from tests.toys import GREY, Pooled, StoredBatch, make_batch, make_explainer, make_model, random_images

STATES = [
    (name, value)
    for name, setting in SETTINGS.items()
    for value in range(len(setting.values))
    if name != "import path"  # without one, nothing can be imported
]
NESTS = st.lists(st.sampled_from([*CONTEXTS, *STATES]), min_size=1, max_size=4, unique=True)
"""Contexts and settings of a caller, the outermost first."""

SALIENCY = make_explainer("saliency")
FOREIGN = Component(
    "foreign",
    {},
    SALIENCY.traits,
    GuardedExplainer("foreign", lambda model_pass, targets: model_pass.input_gradient(targets) + model_pass.images),
    "this program",
)
METRICS = tuple(Component(name, {}, metrics[name].traits, metrics[name].create({})) for name in ("gini", "deletion"))
BATCH = make_batch(random_images(3))
TASK = ModelTask(
    model=make_model(Pooled(), cam_layer="relu"),
    data=StoredBatch(BATCH),  # type: ignore[arg-type]
    components=Components((SALIENCY, FOREIGN), METRICS),
    targets=dict.fromkeys(BATCH.ids, 0),
    mean_colour=GREY,
    seed=0,
    grid=4,
    chunk=64,
)
CELLS = tuple(Cell(f"{e.name} {m.name}", e.name, m.name, None) for e in (SALIENCY, FOREIGN) for m in METRICS)


def score_block() -> pd.DataFrame:
    """Scores of one block, as a worker computes them."""
    result = run_block(TASK, Block("block", TASK.model.name, BATCH.ids, CELLS, has_variants=True))
    assert result.log.failures == []
    return result.scores.drop(columns="seconds")


def check_plugin() -> str | None:
    """The reason why a plug-in is not scored: there is none."""
    return reason_unusable(TASK, "foreign")


def call_in(nest: list[Any], function: Callable[[], Any]) -> tuple[Any, list[str]]:
    """What a function returns in a nest of contexts and settings, and what it has changed there."""
    with ExitStack() as opened:
        try:
            for context in nest:
                opened.enter_context(open_context(context))
            before = read_surroundings()
        except RuntimeError:
            reject()  # torch itself cannot compute in this nest, whoever asks
        result = function()
        after = read_surroundings()
    return result, [name for name, value in after.items() if value != before[name]]


def open_context(context: Any) -> AbstractContextManager[Any]:
    """A context by its name, or a setting by its name and the number of an odd value."""
    if isinstance(context, str):
        return CONTEXTS[context]()
    name, number = context
    return changed_setting(name, SETTINGS[name].values[number])


def read_surroundings() -> dict[str, Any]:
    """What the caller must find as it was."""
    return read_settings() | {
        "inference mode": torch.is_inference_mode_enabled(),
        "default device": torch.get_default_device(),
        "function modes": torch.overrides._get_current_function_mode_stack(),
        "dispatch modes": torch._C._len_torch_dispatch_stack(),
        "hooks of saved tensors": torch._C._autograd._top_saved_tensors_default_hooks(True),
        "hooks": len(torch.nn.modules.module._global_forward_hooks),
        "training": [module.training for module in TASK.model.net.modules()],
    }


@pytest.fixture(scope="module")
def plain() -> pd.DataFrame:
    """The scores of a plain call."""
    return score_block()


@given(NESTS)
def test_a_block_is_scored_alike_in_every_context(plain: pd.DataFrame, nest: list[Any]) -> None:
    """Bit for bit; the caller finds its own settings afterwards."""
    table, changed = call_in(nest, score_block)
    assert changed == [], changed
    pd.testing.assert_frame_equal(table, plain, check_exact=True)


@settings(max_examples=settings.default.max_examples // 3)
@given(NESTS)
def test_a_plug_in_is_checked_alike_in_every_context(nest: list[Any]) -> None:
    """A usable one is usable everywhere."""
    reason, changed = call_in(nest, check_plugin)
    assert changed == [], changed
    assert reason is None


@pytest.fixture(scope="module")
def evaluate(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    """A run of one explainer and two metrics on eight images."""
    protocol, net, data = write_light_protocol(tmp_path_factory.mktemp("protocol")), MeanShade(), MemoryData(8)

    def evaluate() -> tuple[pd.DataFrame, str, str]:
        folder: Path = tmp_path_factory.mktemp("run")
        result = mavis.evaluate(
            net,
            data,
            explainers=["saliency"],
            metrics=["gini", "valid"],
            groups=["side"],
            protocol=str(protocol),
            limit=8,
            out=folder / "run",
        )
        table = result.to_frame().drop(columns="seconds")
        return table, result.summary().replace(str(folder), "FOLDER"), str(result.findings.models)

    return evaluate


@pytest.fixture(scope="module")
def plain_evaluation(evaluate: Callable[[], Any]) -> Any:
    """The result of a plain call."""
    return evaluate()


@settings(max_examples=max(3, settings.default.max_examples // 10))
@given(NESTS)
def test_a_run_is_the_same_in_every_context(evaluate, plain_evaluation, nest: list[Any]) -> None:
    """Scores, summary and findings."""
    result, changed = call_in(nest, evaluate)
    assert changed == [], changed
    pd.testing.assert_frame_equal(result[0], plain_evaluation[0], check_exact=True)
    assert result[1] == plain_evaluation[1]
