"""What a run will cost, counted before it begins: each explainer is run once, on the model or through a stand-in net.

Counts do not depend on the weights, so they are exact for the maps; sweeps over tied maps take a second order, which
is only known afterwards.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mavis.core import metric_types
from mavis.core.compute import Cost, Meter
from mavis.core.devices import synchronise
from mavis.core.model_pass import Pass
from mavis.core.perturbation.variants import Variant
from mavis.core.types import PART_CODES, Batch, Model, Reference
from mavis.engine.planning.plan import Cell, Line
from mavis.engine.removal import inner_points, together
from mavis.engine.sample import REFERENCE


@dataclass(frozen=True)
class Estimate:
    """Model samples of one model's part of a run.

    Attributes:
        maps: per explainer, per image.
        sweeps: forwards per explainer and image.
        probes: forwards per image, for all explainers together.
        variants: passes per image that gets variants.
        images: in all, and those with variants.
        once: explainers whose maps are never made again.
        before: forwards before any map is made, in all: predictions, reliability and reliance.
    """

    maps: Mapping[str, Cost]
    sweeps: int
    probes: int
    variants: int
    images: tuple[int, int]
    once: frozenset[str] = frozenset()
    before: int = 0

    def passes(self, explainer: str) -> int:
        """Maps that are made again of an image that gets variants."""
        return 0 if explainer in self.once else self.variants

    def of(self, explainer: str) -> Cost:
        """Everything one explainer asks of the model, in the whole run."""
        n, varied = self.images
        one = self.maps[explainer]
        times = n + varied * self.passes(explainer)
        return Cost(one.forwards * times + self.sweeps * n, one.backwards * times)

    @property
    def total(self) -> Cost:
        """The whole run of one model, before sharing between explainers."""
        return sum((self.of(name) for name in self.maps), self.shared)

    @property
    def shared(self) -> Cost:
        """What is asked once, however many explainers there are."""
        return Cost(self.before + self.probes * self.images[0])


def estimate(
    line: Line,
    cells: tuple[Cell, ...],
    model: Model,
    batch: Batch,
    images: tuple[int, int],
    grid: int = 16,
    measured: Mapping[str, Cost] | None = None,
) -> Estimate:
    """Counts for one model.

    Args:
        line: explainers and metrics.
        cells: of the model; skipped ones cost nothing.
        model: whose number of classes and capabilities count.
        batch: one image of the data.
        images: how many images there are, and how many of them get variants.
        grid: cells per side, for probes.
        measured: per explainer what one map costs, where that is known from the model itself.
    """
    able = {cell.explainer for cell in cells if not cell.skipped}
    changing = {part.name for part in line.metrics if isinstance(part.made, metric_types.VariantMetric)}
    again = {cell.explainer for cell in cells if not cell.skipped and cell.metric in changing}
    metrics = [part.made for part in line.metrics]
    questions = [c for m in metrics if isinstance(m, metric_types.SweepMetric) for c in m.curves]
    variants = metric_types.variants_of([m for m in metrics if isinstance(m, metric_types.VariantMetric)], model)
    probes = {probe for m in metrics if isinstance(m, metric_types.ProbeMetric) for probe in m.probes}
    run = _stand_in(model, batch)
    return Estimate(
        maps={p.name: (measured or {}).get(p.name) or _once(p.made, run) for p in line.explainers if p.name in able},
        sweeps=sum(inner_points(group) for group in together(questions)),
        probes=sum(_questions(probe, run, grid) for probe in probes),
        variants=sum(_passes(variant, run) for variant in variants),
        images=images,
        once=frozenset(able - again),
    )


def _questions(probe: metric_types.Probe | metric_types.PartProbe, run: Pass, grid: int) -> int:
    if isinstance(probe, metric_types.PartProbe):
        return probe.draws * len(PART_CODES)
    return probe.masks(run, grid**2).shape[-2]


def _passes(variant: Variant, run: Pass) -> int:
    return sum(1 for _ in variant.batches(run))


def in_words(made: metric_types.Metric, cells: int = 256) -> str:
    """What a metric asks of the model, per image: with which others it shares the work, and how much it is."""
    match made:
        case metric_types.SweepMetric(curves=questions):
            ends = len({q.imputer for q in questions})
            return f"{sum(inner_points(group) for group in together(questions)) + ends} forwards per map"
        case metric_types.ProbeMetric(probes=probes):
            return f"{sum(_asked(probe, cells) for probe in probes)} forwards for all maps"
        case metric_types.VariantMetric(variants=variants):
            return "a map per layer" if callable(variants) else f"{len(variants)} more map{'s' * (len(variants) > 1)}"
        case metric_types.FreeMetric():
            return "its own, not shared"
        case _:
            return "nothing"


def _asked(probe: metric_types.Probe | metric_types.PartProbe, cells: int) -> int:
    """How many questions a probe holds, asked of an image that is not there."""
    if isinstance(probe, metric_types.PartProbe):
        return probe.draws * len(PART_CODES)
    batch = Batch(torch.zeros(1, 3, 8, 8), torch.zeros(1, dtype=torch.int64), ("",))
    nothing = Model("", nn.Identity(), (), "")
    return probe.masks(Pass(nothing, batch, torch.zeros(3), 0, 1), cells).shape[-2]


def seconds(model: Model, side: int, chunk: int) -> tuple[float, float]:
    """Seconds per sample, forward and backward, measured on random images at the batch size that will be used."""
    images = torch.rand((chunk, 3, side, side), device=model.device)
    run = Pass(model, Batch(images, torch.zeros(chunk), ("",) * chunk), torch.zeros(3), 0, chunk)
    targets = torch.zeros(chunk, dtype=torch.int64, device=model.device)
    forward = _timed(model, lambda: run.predict(images)) / chunk
    if "gradient" not in model.can:
        return forward, 0.0
    both = _timed(model, lambda: run.gradient(images, targets)) / chunk
    return forward, max(0.0, both - forward)


def _timed(model: Model, work: Callable[[], object]) -> float:
    work()
    start = time.perf_counter()
    for _ in range(2):
        work()
    synchronise(model.device)
    return (time.perf_counter() - start) / 2


def _stand_in(model: Model, batch: Batch) -> Pass:
    """A pass of a tiny network with the model's number of classes, on the CPU."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 8, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, len(model.classes))
    )
    tiny = replace(model, net=net.requires_grad_(False), cam_layer="1" if model.cam_layer else None)
    reference = Reference(batch.images.expand(REFERENCE, -1, -1, -1), ("",) * REFERENCE)
    return Pass(tiny, batch, torch.full((3,), 0.5), 0, 64, reference=reference)


def _once(explain: metric_types.Explainer, run: Pass) -> Cost:
    """What one map costs alone; zero where the stand-in cannot be explained, as the run itself will tell."""
    meter = Meter()
    fresh = replace(run, meter=meter, _computed={}, _used=set())
    targets: Tensor = torch.zeros(len(run), dtype=torch.int64)
    with meter.on(run.model.net):
        try:
            explain(fresh, targets)
        except Exception:
            return Cost()
    return Cost(meter.forwards, meter.backwards)
