"""Explainer-model compatibility: explainers that look inside are run on a few images before anything is scored.

A map that fails, that is the same everywhere, or that is another method's map under this name is never scored as if it
were the method.
"""

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mavis.core import devices
from mavis.core.attribution_maps import pool_channels
from mavis.core.compute import Cost, Meter
from mavis.core.errors import MavisError, describe_error
from mavis.core.metric_types import Explainer
from mavis.core.model_pass import Pass
from mavis.core.objects.network_copy import copy_network
from mavis.core.process_state import standard_settings
from mavis.core.registry import explainers
from mavis.core.traits import ExplainerTraits
from mavis.core.types import Batch, Dataset, Model, ReferenceImages
from mavis.datasets.loading.checked_data import readable_ids
from mavis.datasets.loading.open import DEFAULT_DATA
from mavis.engine.planning.plan import Component, resolve_components
from mavis.engine.sample import REFERENCE_SIZE
from mavis.models.loading.open import open_models
from mavis.protocol import loading

Status = Literal["supported", "unsupported", "degenerate"]
N_IMAGES = 8
"""At hand for trying explainers."""
N_FIRST = 2
"""On which each is tried; on the others one by one, as long as its maps are the same everywhere."""
TOLERANCE = 1e-5
"""Relative difference up to which two maps are one, and one map is the same everywhere.

Two ways to compute one map in single precision part by up to 1e-6 where terms of both signs nearly cancel.
"""


@dataclass(frozen=True)
class Compatibility:
    """Compatibility of one explainer with a model.

    Attributes:
        status: ``supported``; ``unsupported``, it fails or its map is no map; ``degenerate``, its map says nothing that
            is its own.
        reason: why it is not supported, as what comes after the explainer's name.
        figures: what was measured, to two digits: ``completeness``, the error of what claims to add up to the change of
            the logit, as a share of that change, in the worse of the images.
        cost: of one map, alone; None where the explainer was not run.
        traceback: where it fails in a way that it does not explain itself.
    """

    status: Status
    reason: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    cost: Cost | None = None
    traceback: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        cost = None if self.cost is None else {"forwards": self.cost.forwards, "backwards": self.cost.backwards}
        figures, trace = dict(self.figures), self.traceback
        return {"status": self.status, "reason": self.reason, "figures": figures, "cost": cost, "traceback": trace}


@dataclass(frozen=True)
class CompatibilityReport:
    """Compatibility of every explainer of a run with a model.

    Attributes:
        explainers: per explainer.
        cost: of finding it out, for all images together.
    """

    explainers: Mapping[str, Compatibility]
    cost: Cost

    @property
    def incompatible(self) -> dict[str, str]:
        """Per explainer that must not be scored, the reason."""
        return {
            name: compatibility.reason
            for name, compatibility in self.explainers.items()
            if compatibility.status != "supported"
        }

    @property
    def costs(self) -> dict[str, Cost]:
        """Cost of one map, per explainer that was run."""
        return {
            name: compatibility.cost
            for name, compatibility in self.explainers.items()
            if compatibility.cost is not None
        }

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        explainers = {name: support.as_json() for name, support in self.explainers.items()}
        return {"explainers": explainers, "forwards": self.cost.forwards, "backwards": self.cost.backwards}


@dataclass(frozen=True)
class CompatibilityMatrix:
    """A model, its preparation and the compatibility of every explainer.

    Attributes:
        model: the model, made explainable.
        preparation: by preflight.
        report: which explainers work.
    """

    model: Model
    preparation: tuple[str, ...]
    report: CompatibilityReport


def check_explainers(
    components: Sequence[Component],
    model: Model,
    batch: Batch,
    mean_colour: Tensor,
    *,
    seed: int,
    chunk: int,
    reference: ReferenceImages | None = None,
) -> CompatibilityReport:
    """Tries explainers on a model.

    Those that need predictions at most are not run: they work on any model that answers. Every other one is run once
    with the parameters of the run, on the first images, on copies of the model; one that reads activations without
    gradients on the first image only. A map that is the same everywhere, as Grad-CAM's is where nothing speaks for the
    class, is no proof: the next images are tried until one has another map, or none is left.

    Args:
        components: explainers with their parameters.
        model: made explainable.
        batch: a few images, on the model's device.
        mean_colour: ``(3,)``, the data set's mean colour.
        seed: the run's.
        chunk: most samples in one model call; less where they do not fit.
        reference: other images of the data set.
    """
    meter = Meter()

    def supports(chunk: int) -> dict[str, Compatibility]:
        trial = _Trial(Pass(model, batch, mean_colour, seed, chunk, meter=meter, reference=reference))
        return {part.name: trial.check(part) for part in components}

    return CompatibilityReport(devices.halve_until_it_fits(chunk, supports), Cost(meter.forwards, meter.backwards))


@standard_settings()
def compatibility_matrix(
    model_name: str, data: str | Dataset = DEFAULT_DATA, *, device: torch.device, protocol: str = "quick"
) -> CompatibilityMatrix:
    """Tries every explainer on a model that is named, with the parameters of a protocol, on the first images of data.

    Args:
        model_name: the model, as for ``mavis run``.
        data: likewise.
        device: the device.
        protocol: the protocol.
    """
    models, dataset = open_models([model_name], device, data, target=None, split=None)
    model, changes = next(iter(models.values()))
    ids = readable_ids(dataset, N_IMAGES + REFERENCE_SIZE)
    reference = ReferenceImages(dataset.load(ids[N_IMAGES:]).images.to(model.device), tuple(ids[N_IMAGES:]))
    settings = loading.load_protocol(protocol)
    report = check_explainers(
        resolve_components(settings, ["all"]).explainers,
        model,
        dataset.load(ids[:N_IMAGES]).to(model.device),
        dataset.mean.to(model.device),
        seed=settings.seed,
        chunk=devices.default_chunk(device, reference.images[:1].nbytes),
        reference=reference,
    )
    return CompatibilityMatrix(model, changes, report)


class _Trial:
    """A model on which explainers are tried."""

    def __init__(self, model_pass: Pass) -> None:
        self.original = model_pass
        self.model_pass = _fresh_pass(model_pass, slice(N_FIRST))
        with model_pass.meter.attach(self.model_pass.model.net):
            self.targets = self.model_pass.predict(model_pass.images).argmax(1)
        self._maps: dict[str, Tensor] = {}

    def check(self, component: Component) -> Compatibility:
        """Compatibility of one explainer."""
        missing = sorted(component.traits.needs - self.model_pass.model.capabilities)
        if missing:
            reason = f"needs {', '.join(missing)}, which {self.model_pass.model.name} does not give"
            return Compatibility("unsupported", reason)
        if component.traits.needs <= {"forward"}:
            return Compatibility("supported")
        try:
            return self._check_maps(component, self._pass_for(component))
        except Exception as error:
            if devices.is_out_of_memory(error):
                raise
            self.model_pass = _fresh_pass(self.original, slice(N_FIRST))  # what failed may have left hooks in its copy
            return _failure(error)

    def _pass_for(self, component: Component) -> Pass:
        """One image for what reads activations alone: it may ask as often as the layer has channels."""
        return self.model_pass if "gradient" in component.traits.needs else self.model_pass.single_image(0)

    def _check_maps(self, component: Component, model_pass: Pass) -> Compatibility:
        count = len(model_pass)
        with model_pass.meter.attach(model_pass.model.net), model_pass.measure_cost() as cost:
            raw = component.plugin(model_pass, self.targets[:count])
        values = pool_channels(raw, model_pass.images, component.traits.pooling)
        compatibility = Compatibility("supported", cost=Cost(cost.forwards // count, cost.backwards // count))
        if not values.isfinite().all():
            return replace(compatibility, status="unsupported", reason="gives NaN or infinite values")
        self._maps[component.name] = values
        if component.traits.complete:
            compatibility = replace(compatibility, figures={"completeness": self._completeness_error(raw)})
        if reason := self._reason_degenerate(component, values):
            return replace(compatibility, status="degenerate", reason=reason)
        return compatibility

    def _reason_degenerate(self, component: Component, values: Tensor) -> str | None:
        """The reason why an explainer is degenerate, from its maps of the first images or the next; else None."""
        first, last, same_as = 0, len(values), component.traits.same_as
        while _is_flat(values) and last < len(self.original):
            first, last = last, last + 1
            values = self._maps_of(component.plugin, component.traits, slice(first, last))
        if _is_flat(values):
            return f"gives the same value everywhere ({last} images tried)"
        if same_as and _is_equal(
            values, self._first_maps(same_as)[:last] if first == 0 else self._default_maps(same_as, slice(first, last))
        ):
            no_relu = same_as == "saliency" and not any(
                isinstance(module, nn.ReLU) for module in self.model_pass.model.net.modules()
            )
            return f"equals {same_as} here" + (", since the model has no ReLU" if no_relu else "")
        return None

    def _first_maps(self, name: str) -> Tensor:
        """The map that another explainer has of the first images: the one that was made, or one with its defaults."""
        if name not in self._maps:
            self._maps[name] = self._default_maps(name, slice(N_FIRST))
        return self._maps[name]

    def _default_maps(self, name: str, rows: slice) -> Tensor:
        entry = explainers[name]
        return self._maps_of(entry.create(), entry.traits, rows)

    def _maps_of(self, explainer: Explainer, traits: ExplainerTraits, rows: slice) -> Tensor:
        """Another map, of some of the images."""
        model_pass = replace(self.model_pass, batch=self.original.batch.select(rows), _computed={}, _used=set())
        with model_pass.meter.attach(model_pass.model.net):
            return pool_channels(explainer(model_pass, self.targets[rows]), model_pass.images, traits.pooling)

    def _completeness_error(self, raw: Tensor) -> float:
        """Largest relative completeness error: sum of the values against the logit's change from the mean colour."""
        model_pass, count = self.model_pass, len(raw)
        images = model_pass.images[:count]
        with model_pass.meter.attach(model_pass.model.net):
            logits = model_pass.predict(
                torch.cat([images, model_pass.mean[None, :, None, None].expand_as(images)])
            ).double()
        change = (logits[:count] - logits[count:]).gather(1, self.targets[:count, None])[:, 0]
        error = (raw.detach().double().flatten(1).sum(1) - change).abs() / change.abs().clamp_min(1e-12)
        return float(f"{float(error.max()):.2g}")


def _fresh_pass(model_pass: Pass, rows: slice) -> Pass:
    """The pass of some of its images with a copy of its network, nothing computed yet."""
    model = replace(model_pass.model, net=copy_network(model_pass.model.net))
    return replace(model_pass, model=model, batch=model_pass.batch.select(rows), _computed={}, _used=set())


def _is_flat(values: Tensor) -> bool:
    """True where each of the maps is constant."""
    flat = values.flatten(1)
    return bool((flat.amax(1) - flat.amin(1) <= TOLERANCE * flat.abs().amax(1)).all())


def _is_equal(first: Tensor, second: Tensor) -> bool:
    return bool((first - second).abs().max() <= TOLERANCE * second.abs().max())


def _failure(error: Exception) -> Compatibility:
    """One line: our own errors say what to do, others are named and come with their traceback."""
    if isinstance(error, MavisError):
        return Compatibility("unsupported", f"does not work here: {str(error).strip().partition(chr(10))[0]}")
    trace = "".join(traceback.format_exception(error))
    return Compatibility("unsupported", f"fails here: {describe_error(error)}", traceback=trace)
