"""Attribution maps of a batch: model passes, explainers run and checked, model calls counted."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mavis.core.attribution_maps import Maps, pool_channels
from mavis.core.compute import Meter
from mavis.core.errors import ContractError
from mavis.core.model_pass import Pass
from mavis.core.perturbation.variants import Variant
from mavis.core.types import Batch, Dataset, Model, ReferenceImages
from mavis.engine.execution.records import FailureScope
from mavis.engine.planning.plan import Component, Components


class VariantModelCache:
    """Models of variants, kept from block to block while they are small enough."""

    def __init__(self, max_bytes: int = 512 * 2**20) -> None:
        self.free_bytes = max_bytes
        self.models: dict[str, Model] = {}

    def get(self, variant: Variant, model: Model, seed: int) -> Model:
        """The model of a variant; the model itself where the variant does not change it."""
        key = variant.model_key
        if key in self.models:
            return self.models[key]
        variant_model = variant.model(model, seed)
        if variant_model is model:
            return model
        shared_ids = {id(tensor) for tensor in _tensors(model)}
        size = sum(tensor.nbytes for tensor in _tensors(variant_model) if id(tensor) not in shared_ids)
        if size <= self.free_bytes:
            self.free_bytes -= size
            self.models[key] = variant_model
        return variant_model


def _tensors(model: Model) -> Iterator[Tensor]:
    yield from model.net.parameters()
    yield from model.net.buffers()


@dataclass(frozen=True)
class ModelTask:
    """The task of one model: shared by all of its blocks.

    Attributes:
        model: what is explained, on its device.
        data: where images come from.
        components: explainers and metrics.
        targets: per image id the explained class.
        mean_colour: ``(3,)``, the data set's mean colour.
        seed: the run's.
        grid: cells per side.
        chunk: most samples in one model call.
        gallery_ids: ids of the images whose maps are kept for the gallery.
        reference: other images of the data set, on the device.
        used_parts: face parts that the model was shown to use: what localisation is scored against; None for what the
            data
            say.
        variant_models: models of variants.
        other_maps: per explainer that is run elsewhere and image id the map ``(H,W)``; methods are compared with these.
        agreement_top: share of cells that count as top ones where methods are compared with each other; None for not.
        tick: called with the work that was done, in forwards (a backward counts as two).
    """

    model: Model
    data: Dataset
    components: Components
    targets: Mapping[str, int]
    mean_colour: Tensor
    seed: int
    grid: int
    chunk: int
    gallery_ids: frozenset[str] = frozenset()
    agreement_top: float | None = None
    reference: ReferenceImages | None = None
    used_parts: tuple[str, ...] | None = None
    variant_models: VariantModelCache = field(default_factory=VariantModelCache)
    other_maps: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    tick: Callable[[float], None] = lambda _: None


@dataclass(frozen=True)
class ExplainedBatch:
    """One batch, explained: what the metrics work on.

    Attributes:
        model_pass: the pass of the original images.
        targets: ``(B,)``, the explained classes.
        maps: per explainer that succeeded.
    """

    model_pass: Pass
    targets: Tensor
    maps: Mapping[str, Maps]

    def failure_scope(self, stage: str, *metrics: Component, explainer: str | None = None) -> FailureScope:
        """The scope of a failure in a stage; all explainers unless one is named."""
        names = (explainer,) if explainer else tuple(self.maps)
        return FailureScope(stage, self.model_pass.ids, names, tuple(m.name for m in metrics) or None)


class MapProducer:
    """Passes and maps of one block.

    Attributes:
        task: what all blocks have in common.
        meter: counts what passes any model.
    """

    def __init__(self, task: ModelTask) -> None:
        self.task, self.meter = task, Meter()

    def make_pass(self, model: Model, batch: Batch, variant: str = "", mean: Tensor | None = None) -> Pass:
        """A pass; its graph reaches the image only where an explainer will ask for it."""
        needs = [e.traits.needs for e in self.task.components.explainers]
        through_input = any("gradient" in n and "activations" not in n for n in needs)
        mean = self.task.mean_colour if mean is None else mean
        return Pass(
            model, batch, mean, self.task.seed, self.task.chunk, variant, through_input, self.meter, self.task.reference
        )

    def pixel_values(self, component: Component, model_pass: Pass, targets: Tensor) -> Tensor:
        """One number per pixel, ``(B,H,W)``.

        Raises:
            ContractError: the explainer changed the images, or returned something else than a map.
        """
        before = model_pass.images._version
        raw = component.plugin(model_pass, targets)
        if model_pass.images._version != before:
            raise ContractError(f"'{component.name}' changed the images it was given; work on a copy.")
        return pool_channels(raw, model_pass.images, component.traits.pooling)

    def other_maps(self, model_pass: Pass) -> dict[str, Maps]:
        """Maps of explainers that are run elsewhere, where all images of the batch have one."""
        return {
            name: Maps.from_values(
                torch.stack([torch.from_numpy(maps[i]) for i in model_pass.ids]).to(model_pass.images.device),
                self.task.grid,
            )
            for name, maps in self.task.other_maps.items()
            if all(i in maps for i in model_pass.ids)
        }

    def as_function(self, component: Component) -> Callable[[Model, Tensor, Tensor], Tensor]:
        """An explainer as a function of model, images and targets; these images have no truth and no names."""

        def explain(model: Model, images: Tensor, targets: Tensor) -> Tensor:
            ids = tuple(str(row) for row in range(len(images)))
            with self.meter.attach(model.net):
                return self.pixel_values(component, self.make_pass(model, Batch(images, targets, ids), "free"), targets)

        return explain
