"""Compute cost of a run, counted before it begins: each explainer runs once, on the model or on a stand-in network.

Counts do not depend on the weights, so they are exact for the maps; sweeps over tied maps take a second order, which
is only known afterwards.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from mavis.core import metric_types
from mavis.core.compute import Cost, Meter
from mavis.core.devices import synchronise
from mavis.core.model_pass import Pass
from mavis.core.perturbation.variants import Variant
from mavis.core.types import PART_CODES, Batch, Model, ReferenceImages
from mavis.engine.planning.plan import Block, Cell, Component, Components
from mavis.engine.removal import n_inner_points, shared_sweeps
from mavis.engine.sample import REFERENCE_SIZE


@dataclass(frozen=True)
class CostEstimate:
    """Model samples of one model's part of a run.

    Attributes:
        maps: per explainer, per image.
        sweeps: forwards per explainer and image.
        probes: forwards per image, for all explainers together.
        variants: passes per image that gets variants.
        n_images: in all, and those with variants.
        explained_once: explainers whose maps are never made again.
        setup_forwards: forwards before any map is made, in all: predictions, reliability and reliance.
        unknown: explainers whose cost cannot be counted on the stand-in, each with the error that it raised there.
    """

    maps: Mapping[str, Cost]
    sweeps: int
    probes: int
    variants: int
    n_images: tuple[int, int]
    explained_once: frozenset[str] = frozenset()
    setup_forwards: int = 0
    unknown: Mapping[str, str] = field(default_factory=dict)

    def variant_passes(self, explainer: str) -> int:
        """Maps that are made again of an image that gets variants."""
        return 0 if explainer in self.explained_once else self.variants

    def for_explainer(self, explainer: str) -> Cost:
        """Everything one explainer asks of the model, in the whole run."""
        n, varied = self.n_images
        map_cost = self.maps[explainer]
        times = n + varied * self.variant_passes(explainer)
        return Cost(map_cost.forwards * times + self.sweeps * n, map_cost.backwards * times)

    def block_work(self, block: Block) -> float:
        """Work of one block in forwards, before sharing between explainers."""
        per_image = float(self.probes)
        for name, cost in self.maps.items():
            per_image += cost.forward_equivalents * (1 + self.variant_passes(name) * block.has_variants) + self.sweeps
        return per_image * len(block.image_ids)

    @property
    def total(self) -> Cost:
        """The whole run of one model, before sharing between explainers."""
        return sum((self.for_explainer(name) for name in self.maps), self.shared)

    @property
    def shared(self) -> Cost:
        """Work that is done once for all explainers."""
        return Cost(self.setup_forwards + self.probes * self.n_images[0])


def estimate_cost(
    components: Components,
    cells: tuple[Cell, ...],
    model: Model,
    batch: Batch,
    n_images: tuple[int, int],
    grid: int = 16,
    map_costs: Mapping[str, Cost] | None = None,
) -> CostEstimate:
    """Counts for one model.

    Args:
        components: explainers and metrics.
        cells: of the model; skipped ones cost nothing.
        model: whose number of classes and capabilities count.
        batch: one image of the data.
        n_images: how many images there are, and how many of them get variants.
        grid: cells per side, for probes.
        map_costs: per explainer what one map costs, where that is known from the model itself.
    """
    scored = {cell.explainer for cell in cells if not cell.skipped}
    own_metrics = [part for part in components.metrics if not part.is_foreign]  # planning runs no foreign code
    variant_metrics = {part.name for part in own_metrics if isinstance(part.plugin, metric_types.VariantMetric)}
    explained_again = {cell.explainer for cell in cells if not cell.skipped and cell.metric in variant_metrics}
    metrics = [part.plugin for part in own_metrics]
    curves = [c for m in metrics if isinstance(m, metric_types.SweepMetric) for c in m.curves]
    variants = metric_types.collect_variants([m for m in metrics if isinstance(m, metric_types.VariantMetric)], model)
    probes = {probe for m in metrics if isinstance(m, metric_types.ProbeMetric) for probe in m.probes}
    model_pass = _stand_in_pass(model, batch)
    maps, unknown = _count_maps([e for e in components.explainers if e.name in scored], model_pass, map_costs or {})
    return CostEstimate(
        maps=maps,
        sweeps=sum(n_inner_points(group) for group in shared_sweeps(curves)),
        probes=sum(_n_queries(probe, model_pass, grid) for probe in probes),
        variants=sum(_n_passes(variant, model_pass) for variant in variants),
        n_images=n_images,
        explained_once=frozenset(scored - explained_again),
        unknown=unknown,
    )


def _count_maps(
    explainers: Sequence[Component], model_pass: Pass, known_costs: Mapping[str, Cost]
) -> tuple[dict[str, Cost], dict[str, str]]:
    """Per explainer the cost of one map, and the reason where it is not known; what the stand-in cannot run is free."""
    costs, errors = {}, {}
    for explainer in explainers:
        if explainer.is_foreign:
            costs[explainer.name], errors[explainer.name] = Cost(1, 1), "a plug-in, which is not run while planning"
            continue
        try:
            costs[explainer.name] = known_costs.get(explainer.name) or _cost_of_one_map(explainer.plugin, model_pass)
        except Exception as error:
            costs[explainer.name] = Cost()
            errors[explainer.name] = f"{type(error).__name__}: {error}"
    return costs, errors


def _n_queries(probe: metric_types.MaskProbe | metric_types.PartProbe, model_pass: Pass, grid: int) -> int:
    if isinstance(probe, metric_types.PartProbe):
        return probe.n_draws * len(PART_CODES)
    return probe.masks(model_pass, grid**2).shape[-2]


def _n_passes(variant: Variant, model_pass: Pass) -> int:
    return sum(1 for _ in variant.batches(model_pass))


def describe_cost(metric: metric_types.Metric, n_cells: int = 256) -> str:
    """Model calls of a metric per image, in words, and with whom they are shared."""
    match metric:
        case metric_types.SweepMetric(curves=questions):
            ends = len({q.imputer for q in questions})
            return f"{sum(n_inner_points(group) for group in shared_sweeps(questions)) + ends} forwards per map"
        case metric_types.ProbeMetric(probes=probes):
            return f"{sum(_n_queries_of_dummy(probe, n_cells) for probe in probes)} forwards for all maps"
        case metric_types.VariantMetric(variants=variants):
            return "a map per layer" if callable(variants) else f"{len(variants)} more map{'s' * (len(variants) > 1)}"
        case metric_types.CustomMetric():
            return "its own, not shared"
        case _:
            return "nothing"


def _n_queries_of_dummy(probe: metric_types.MaskProbe | metric_types.PartProbe, n_cells: int) -> int:
    """Number of a probe's queries, counted on a dummy image."""
    if isinstance(probe, metric_types.PartProbe):
        return probe.n_draws * len(PART_CODES)
    batch = Batch(torch.zeros(1, 3, 8, 8), torch.zeros(1, dtype=torch.int64), ("",))
    nothing = Model("", nn.Identity(), (), "")
    return probe.masks(Pass(nothing, batch, torch.zeros(3), 0, 1), n_cells).shape[-2]


def seconds_per_sample(model: Model, side: int, chunk: int) -> tuple[float, float]:
    """Seconds per sample, forward and backward, measured on random images at the batch size that will be used."""
    images = torch.rand((chunk, 3, side, side), device=model.device)
    model_pass = Pass(model, Batch(images, torch.zeros(chunk), ("",) * chunk), torch.zeros(3), 0, chunk)
    targets = torch.zeros(chunk, dtype=torch.int64, device=model.device)
    forward = _time_call(model, lambda: model_pass.predict(images)) / chunk
    if "gradient" not in model.capabilities:
        return forward, 0.0
    forward_backward = _time_call(model, lambda: model_pass.gradient(images, targets)) / chunk
    return forward, max(0.0, forward_backward - forward)


def _time_call(model: Model, work: Callable[[], object]) -> float:
    work()
    start = time.perf_counter()
    for _ in range(2):
        work()
    synchronise(model.device)
    return (time.perf_counter() - start) / 2


def _stand_in_pass(model: Model, batch: Batch) -> Pass:
    """A pass of a tiny network with the model's number of classes, on the CPU."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 8, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, len(model.classes))
    )
    tiny = replace(model, net=net.requires_grad_(False), cam_layer="1" if model.cam_layer else None)
    reference = ReferenceImages(batch.images.expand(REFERENCE_SIZE, -1, -1, -1), ("",) * REFERENCE_SIZE)
    return Pass(tiny, batch, torch.full((3,), 0.5), 0, 64, reference=reference)


def _cost_of_one_map(explain: metric_types.Explainer, model_pass: Pass) -> Cost:
    """Cost of one map alone."""
    meter = Meter()
    fresh = replace(model_pass, meter=meter, _computed={}, _used=set())
    targets: Tensor = torch.zeros(len(model_pass), dtype=torch.int64)
    with meter.attach(model_pass.model.net):
        explain(fresh, targets)
    return Cost(meter.forwards, meter.backwards)
