"""Questions to a foreign plug-in before its first block: does it work on this model, and image by image alike?"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mavis.core import metric_types
from mavis.core.attribution_maps import pool_channels
from mavis.core.model_pass import Pass
from mavis.core.process_state import standard_settings
from mavis.core.registry import BUILT_IN_ORIGINS
from mavis.core.traits import ExplainerTraits
from mavis.core.types import Batch
from mavis.engine.execution.block import run_block
from mavis.engine.execution.explain import ModelTask
from mavis.engine.planning import compatibility
from mavis.engine.planning.plan import Block, Cell, Component, Components

N_ASKED = 3
"""Images that are explained together and alone."""
TOLERANCE = 1e-3
"""Difference up to which two values are one, as a share of the largest."""


@standard_settings()
def reason_unusable(task: ModelTask, name: str) -> str | None:
    """The reason why a plug-in is not scored on a model; None where nothing speaks against it.

    Args:
        task: of the model; its first images are looked at.
        name: of an explainer or a metric.

    Raises:
        Exception: what the plug-in raises.
    """
    ids = list(task.targets)[: compatibility.N_IMAGES]
    batch = task.data.load(ids).to(task.model.device)
    for component in task.components.explainers:
        if component.name == name:
            return _reason_explainer(task, component, batch)
    for component in task.components.metrics:
        if component.name == name and _belongs_to_an_image(component):
            return _reason_metric(task, component, ids[:N_ASKED])
    return None


def _belongs_to_an_image(component: Component) -> bool:
    """True for a metric with a score per image: a cost is one of the batch; Quantus is given one image at a time."""
    return not isinstance(component.plugin, metric_types.CostMetric) and component.origin not in BUILT_IN_ORIGINS


def _reason_explainer(task: ModelTask, component: Component, batch: Batch) -> str | None:
    """It must work as any explainer must, and give an image the same map in any company."""
    report = compatibility.check_explainers(
        [component], task.model, batch, task.mean_colour, seed=task.seed, chunk=task.chunk, reference=task.reference
    )
    if reason := report.incompatible.get(component.name):
        return reason

    def explain(rows: slice) -> Tensor:
        part = batch.select(rows)
        targets = torch.tensor([task.targets[i] for i in part.ids], device=part.images.device)
        model_pass = Pass(task.model, part, task.mean_colour, task.seed, task.chunk, reference=task.reference)
        return pool_channels(component.plugin(model_pass, targets), part.images, component.traits.pooling)

    together = explain(slice(N_ASKED))
    alone = torch.cat([explain(slice(row, row + 1)) for row in range(len(together))])
    if _is_same(together, alone):
        return None
    return (
        "gives an image another map among others than alone (maps in another order, values that depend on the batch, "
        "or random numbers that are not from model_pass.draw)"
    )


def _reason_metric(task: ModelTask, component: Component, ids: Sequence[str]) -> str | None:
    """It must give an image the same score in any company; asked of a map that every model has, the brightness."""
    traits = ExplainerTraits("the image itself", needs=frozenset())
    brightness = Component("brightness", {}, traits, lambda model_pass, _: model_pass.images.mean(1, keepdim=True))
    cell = Cell("", brightness.name, component.name, None)
    block = Block("plug-in check", task.model.name, tuple(ids), (cell,), has_variants=True)
    small_task = replace(
        task,
        components=Components((brightness,), (component,)),
        gallery_ids=frozenset(),
        agreement_top=None,
        tick=lambda _: None,
    )
    values = []
    for chunk in (task.chunk, 1):
        result = run_block(replace(small_task, chunk=chunk), block)
        if result.log.failures:
            failure = result.log.failures[0]
            return f"raised {failure['type']}: {failure['message']}"
        values.append(torch.tensor(result.scores.set_index("image").loc[list(ids), "value"].to_numpy()))
    return None if _is_same(*values) else "gives an image another score among others than alone"


def _is_same(first: Tensor, second: Tensor) -> bool:
    scale = second.nan_to_num().abs().max()
    return torch.allclose(first, second, rtol=0, atol=float(TOLERANCE * scale), equal_nan=True)
