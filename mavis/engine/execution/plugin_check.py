"""Questions to a foreign plug-in before its first block: does it work on this model, and image by image alike?"""

import torch
from torch import Tensor

from mavis.core import metric_types
from mavis.core.attribution_maps import Maps, pool_channels
from mavis.core.model_pass import Pass
from mavis.core.process_state import standard_settings
from mavis.core.types import Batch
from mavis.engine.execution.explain import ModelTask
from mavis.engine.planning import compatibility
from mavis.engine.planning.plan import Component

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
        if component.name == name and isinstance(component.plugin, metric_types.MapMetric):
            return _reason_map_metric(task, component.plugin, batch.select(slice(N_ASKED)))
    return None


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


def _reason_map_metric(task: ModelTask, metric: metric_types.MapMetric, batch: Batch) -> str | None:
    """It must give a map the same score in any company; asked of the images' own brightness as maps."""
    maps = Maps.from_values(batch.images.mean(1), task.grid)
    together = metric.score(maps, batch)
    alone = [
        metric.score(Maps.from_values(maps.values[row : row + 1], task.grid), batch.single_image(row))
        for row in range(len(batch))
    ]
    if not isinstance(together, Tensor) or together.shape != (len(batch),) or _is_same(together, torch.cat(alone)):
        return None  # another kind or shape is refused where it is recorded
    return "gives an image another score among others than alone"


def _is_same(first: Tensor, second: Tensor) -> bool:
    scale = second.nan_to_num().abs().max()
    return torch.allclose(first, second, rtol=0, atol=float(TOLERANCE * scale), equal_nan=True)
