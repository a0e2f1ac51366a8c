"""Explainers and metrics that are not MAVIS's own: each gets copies of everything that it could write into.

The copies are of images, face parts, maps, classes, curves and the network with its hooks, weights and modes; what is
returned is copied as well, since a plug-in may keep it. Calls go through `foreign_code.call_foreign`.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mavis.core import metric_types, seeding
from mavis.core.errors import ContractError
from mavis.core.foreign_code import call_foreign
from mavis.core.guards.guarded_variants import guard_variants
from mavis.core.guards.input_copies import (
    copy_batch,
    copy_explanation,
    copy_maps,
    copy_pass,
    duplicate_model,
    plain_tensor,
)
from mavis.core.model_pass import Pass


@dataclass(frozen=True)
class GuardedExplainer:
    """A foreign explainer.

    Attributes:
        name: as registered.
        explain: its code.
    """

    name: str
    explain: metric_types.Explainer

    def __call__(self, model_pass: Pass, targets: Tensor) -> Tensor:
        """Its attributions, from a pass of its own; global generators are seeded by the first image.

        Raises:
            ContractError: it changed the images, or see `call_foreign`.
        """
        own_pass = copy_pass(model_pass)
        with own_pass.meter.attach(own_pass.model.net):
            raw = call_foreign(self.name, self._explain_seeded, own_pass, targets.clone())
        if not own_pass.images.equal(model_pass.images):
            raise ContractError(f"'{self.name}' changed the images it was given; work on a copy.")
        return plain_tensor(raw)

    def _explain_seeded(self, model_pass: Pass, targets: Tensor) -> Tensor:
        """Global generators start from the first image's seed."""
        seed = seeding.derive_seed(model_pass.seed, model_pass.ids[0], self.name)
        with seeding.seeded_generators(seed, model_pass.images.device):
            return self.explain(model_pass, targets)


def guard_metric(name: str, metric: metric_types.Metric) -> metric_types.Metric:
    """A foreign metric of the same kind whose functions get copies.

    Args:
        name: as registered.
        metric: what its factory returned.

    Raises:
        ContractError: it is no metric.
    """
    call = partial(_call_seeded, name)
    match metric:
        case metric_types.MapMetric(score=of_maps):
            return metric_types.MapMetric(
                lambda maps, batch: plain_tensor(call(of_maps, copy_maps(maps), copy_batch(batch)))
            )
        case metric_types.SweepMetric(score=of_curves):
            return replace(metric, score=lambda curves: plain_tensor(call(of_curves, copy.deepcopy(dict(curves)))))
        case metric_types.ProbeMetric():
            return _guard_probe_metric(call, metric)
        case metric_types.VariantMetric():
            return _guard_variant_metric(call, metric)
        case metric_types.CustomMetric(score=of_explanation):
            return metric_types.CustomMetric(partial(_score_explanation, call, of_explanation))
        case metric_types.CostMetric(score=of_cost):
            return metric_types.CostMetric(lambda cost, mib, n: call(of_cost, replace(cost), mib, n))
    raise ContractError(f"'{name}' must be a metric, e.g. mavis.MapMetric(score), got {type(metric).__name__}.")


Call = Callable[..., Any]


def _call_seeded(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Global generators start from the plug-in's name, so that its numbers do not depend on what was drawn before."""

    def call() -> Any:
        with seeding.seeded_generators(seeding.derive_seed(0, name), torch.device("cpu")):
            return function(*arguments)

    return call_foreign(name, call)


def _guard_probe_metric(call: Call, metric: metric_types.ProbeMetric) -> metric_types.ProbeMetric:
    def guard_masks(probe: metric_types.MaskProbe) -> metric_types.MaskProbe:
        masks = probe.masks
        return replace(probe, masks=lambda model_pass, n: plain_tensor(call(masks, copy_pass(model_pass), n)))

    score = metric.score
    probes = tuple(guard_masks(p) if isinstance(p, metric_types.MaskProbe) else p for p in metric.probes)
    return metric_types.ProbeMetric(
        probes, lambda maps, outputs: plain_tensor(call(score, copy_maps(maps), _copy_outputs(outputs)))
    )


def _copy_outputs(outputs: Any) -> dict[Any, metric_types.ProbeOutputs]:
    return {probe: copy.deepcopy(values) for probe, values in outputs.items()}


def _guard_variant_metric(call: Call, metric: metric_types.VariantMetric) -> metric_types.VariantMetric:
    def compare(before: metric_types.Explanation, after: metric_types.Explanation) -> Tensor:
        own_before, own_after = copy_explanation(before), copy_explanation(after)
        with (
            own_before.model_pass.meter.attach(own_before.model_pass.model.net),
            own_after.model_pass.meter.attach(own_after.model_pass.model.net),
        ):
            return plain_tensor(call(metric.compare, own_before, own_after))

    variants, base = metric.variants, metric.base_variant
    guarded = (
        (lambda model: guard_variants(call, call(variants, duplicate_model(model))))
        if callable(variants)
        else guard_variants(call, variants)
    )
    return replace(
        metric,
        compare=compare,
        variants=guarded,
        base_variant=None if base is None else guard_variants(call, [base])[0],
    )


def _score_explanation(
    call: Call,
    score: Callable[[metric_types.Explanation, metric_types.ExplainFunction], Tensor],
    explanation: metric_types.Explanation,
    explain: metric_types.ExplainFunction,
) -> Tensor:
    copied = copy_explanation(explanation)
    with copied.model_pass.meter.attach(copied.model_pass.model.net):
        return plain_tensor(call(score, copied, explain))
