"""Which explainers work on a model: each that looks inside is run once, on a few images, before anything is scored.

A map that fails, that is the same everywhere, or that is another method's map under this name is never scored as if it
were the method.
"""

import copy
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mavis.core import devices
from mavis.core.attribution_maps import pooled
from mavis.core.compute import Cost, Meter
from mavis.core.errors import MavisError
from mavis.core.metric_types import Explainer
from mavis.core.model_pass import Pass
from mavis.core.registry import explainers
from mavis.core.traits import ExplainerTraits
from mavis.core.types import Batch, Dataset, Model, Reference
from mavis.datasets.loading.open import DEFAULT_DATA
from mavis.engine.planning.plan import Part, line_up
from mavis.engine.sample import REFERENCE
from mavis.models.loading.open import open_models
from mavis.protocol import loading

Status = Literal["supported", "unsupported", "degenerate"]
IMAGES = 8
"""At hand for trying explainers."""
FIRST = 2
"""On which each is tried; on the others one by one, as long as its maps are the same everywhere."""
EQUAL = 1e-5
"""Relative difference up to which two maps are one, and one map is the same everywhere.

Two ways to compute one map in single precision part by up to 1e-6 where terms of both signs nearly cancel.
"""


@dataclass(frozen=True)
class Support:
    """Whether an explainer works on a model.

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
class Tried:
    """Which explainers work on a model.

    Attributes:
        supports: per explainer.
        cost: of finding it out, for all images together.
    """

    supports: Mapping[str, Support]
    cost: Cost

    @property
    def unfit(self) -> dict[str, str]:
        """Why each of the explainers that must not be scored must not be."""
        return {name: found.reason for name, found in self.supports.items() if found.status != "supported"}

    @property
    def costs(self) -> dict[str, Cost]:
        """What one map costs, of the explainers that were run."""
        return {name: found.cost for name, found in self.supports.items() if found.cost is not None}

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        found = {name: support.as_json() for name, support in self.supports.items()}
        return {"explainers": found, "forwards": self.cost.forwards, "backwards": self.cost.backwards}


@dataclass(frozen=True)
class Matrix:
    """What was found on a model that was opened for it.

    Attributes:
        model: the model, made explainable.
        changes: by preflight.
        tried: which explainers work.
    """

    model: Model
    changes: tuple[str, ...]
    tried: Tried


def assess(
    parts: Sequence[Part],
    model: Model,
    batch: Batch,
    mean: Tensor,
    *,
    seed: int,
    chunk: int,
    reference: Reference | None = None,
) -> Tried:
    """Tries explainers on a model.

    Those that need predictions at most are not run: they work on any model that answers. Every other one is run once
    with the parameters of the run, on the first images, on copies of the model; one that reads activations without
    gradients on the first image only. A map that is the same everywhere, as Grad-CAM's is where nothing speaks for the
    class, is no proof: the next images are tried until one has another map, or none is left.

    Args:
        parts: explainers with their parameters.
        model: made explainable.
        batch: a few images, on the model's device.
        mean: ``(3,)``, the data set's mean colour.
        seed: the run's.
        chunk: most samples in one model call; less where they do not fit.
        reference: other images of the data set.
    """
    meter = Meter()

    def supports(chunk: int) -> dict[str, Support]:
        trial = _Trial(Pass(model, batch, mean, seed, chunk, meter=meter, reference=reference))
        return {part.name: trial.of(part) for part in parts}

    return Tried(devices.fitting(chunk, supports), Cost(meter.forwards, meter.backwards))


def matrix(given: str, data: str | Dataset = DEFAULT_DATA, *, place: torch.device, rules: str = "quick") -> Matrix:
    """Tries every explainer on a model that is named, with the parameters of a protocol, on the first images of data.

    Args:
        given: the model, as for ``mavis run``.
        data: likewise.
        place: the device.
        rules: the protocol.
    """
    opened, found = open_models([given], place, data, target=None, split=None)
    model, changes = next(iter(opened.values()))
    ids = [str(name) for name in found.table().index[: IMAGES + REFERENCE]]
    others = Reference(found.load(ids[IMAGES:]).images.to(model.device), tuple(ids[IMAGES:]))
    settings = loading.load(rules)
    tried = assess(
        line_up(settings, ["all"]).explainers,
        model,
        found.load(ids[:IMAGES]).to(model.device),
        found.mean.to(model.device),
        seed=settings.seed,
        chunk=devices.default_chunk(place, others.images[:1].nbytes),
        reference=others,
    )
    return Matrix(model, changes, tried)


class _Trial:
    """A model on which explainers are tried."""

    def __init__(self, run: Pass) -> None:
        self.original = run
        self.run = _fresh(run, slice(FIRST))
        with run.meter.on(self.run.model.net):
            self.targets = self.run.predict(run.images).argmax(1)
        self._maps: dict[str, Tensor] = {}

    def of(self, part: Part) -> Support:
        """Whether one explainer works."""
        missing = sorted(part.traits.needs - self.run.model.can)
        if missing:
            reason = f"needs {', '.join(missing)}, which {self.run.model.name} does not give"
            return Support("unsupported", reason)
        if part.traits.needs <= {"forward"}:
            return Support("supported")
        try:
            return self._tried(part, self._run_for(part))
        except Exception as error:
            if devices.is_out_of_memory(error):
                raise
            self.run = _fresh(self.original, slice(FIRST))  # what failed may have left hooks in its copy
            return _failed(error)

    def _run_for(self, part: Part) -> Pass:
        """One image for what reads activations alone: it may ask as often as the layer has channels."""
        return self.run if "gradient" in part.traits.needs else self.run.alone(0)

    def _tried(self, part: Part, run: Pass) -> Support:
        count = len(run)
        with run.meter.on(run.model.net), run.account() as cost:
            raw = part.made(run, self.targets[:count])
        values = pooled(raw, run.images, part.traits.pooling)
        support = Support("supported", cost=Cost(cost.forwards // count, cost.backwards // count))
        if not values.isfinite().all():
            return replace(support, status="unsupported", reason="gives NaN or infinite values")
        self._maps[part.name] = values
        if part.traits.complete:
            support = replace(support, figures={"completeness": self._incompleteness(raw)})
        if reason := self._says_nothing(part, values):
            return replace(support, status="degenerate", reason=reason)
        return support

    def _says_nothing(self, part: Part, values: Tensor) -> str | None:
        """Why an explainer is degenerate, if it is; told by its maps of the first images, or of the next."""
        first, last, other = 0, len(values), part.traits.same_as
        while _is_flat(values) and last < len(self.original):
            first, last = last, last + 1
            values = self._values(part.made, part.traits, slice(first, last))
        if _is_flat(values):
            return f"gives the same value everywhere ({last} images tried)"
        if other and _equal(values, self._map(other)[:last] if first == 0 else self._other(other, slice(first, last))):
            no_relu = other == "saliency" and not any(
                isinstance(module, nn.ReLU) for module in self.run.model.net.modules()
            )
            return f"equals {other} here" + (", since the model has no ReLU" if no_relu else "")
        return None

    def _map(self, name: str) -> Tensor:
        """The map that another explainer has of the first images: the one that was made, or one with its defaults."""
        if name not in self._maps:
            self._maps[name] = self._other(name, slice(FIRST))
        return self._maps[name]

    def _other(self, name: str, rows: slice) -> Tensor:
        entry = explainers[name]
        return self._values(entry.make(), entry.traits, rows)

    def _values(self, made: Explainer, traits: ExplainerTraits, rows: slice) -> Tensor:
        """Another map, of some of the images."""
        run = replace(self.run, batch=self.original.batch.part(rows), _computed={}, _used=set())
        with run.meter.on(run.model.net):
            return pooled(made(run, self.targets[rows]), run.images, traits.pooling)

    def _incompleteness(self, raw: Tensor) -> float:
        """How far the values miss the change of the logit from the mean colour, as a share of it, at worst."""
        run, count = self.run, len(raw)
        images = run.images[:count]
        with run.meter.on(run.model.net):
            logits = run.predict(torch.cat([images, run.mean[None, :, None, None].expand_as(images)])).double()
        change = (logits[:count] - logits[count:]).gather(1, self.targets[:count, None])[:, 0]
        error = (raw.detach().double().flatten(1).sum(1) - change).abs() / change.abs().clamp_min(1e-12)
        return float(f"{float(error.max()):.2g}")


def _fresh(run: Pass, rows: slice) -> Pass:
    """The pass of some of its images with a copy of its network, nothing computed yet."""
    model = replace(run.model, net=copy.deepcopy(run.model.net))
    return replace(run, model=model, batch=run.batch.part(rows), _computed={}, _used=set())


def _is_flat(values: Tensor) -> bool:
    """Whether each of the maps is the same everywhere."""
    flat = values.flatten(1)
    return bool((flat.amax(1) - flat.amin(1) <= EQUAL * flat.abs().amax(1)).all())


def _equal(first: Tensor, second: Tensor) -> bool:
    return bool((first - second).abs().max() <= EQUAL * second.abs().max())


def _failed(error: Exception) -> Support:
    """One line: our own errors say what to do, others are named and come with their traceback."""
    line = str(error).strip().partition("\n")[0]
    if isinstance(error, MavisError):
        return Support("unsupported", f"does not work here: {line}")
    trace = "".join(traceback.format_exception(error))
    return Support("unsupported", f"fails here: {type(error).__name__}: {line}", traceback=trace)
