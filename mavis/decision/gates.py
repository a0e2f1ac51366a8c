"""Gates G0 to G6: conditions that a method must meet before it is ranked. Pure: tables and rules in, gates out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from mavis.analysis.findings import Estimate, Gate
from mavis.analysis.groups import BootstrapSettings, macro_draws, macro_means
from mavis.analysis.statistics import bootstrap, multiple_testing
from mavis.core.group_attributes import group_labels
from mavis.core.traits import ExplainerTraits, MetricTraits
from mavis.protocol import schema

REMARK_BELOW = 0.99
"""Share of valid maps below which G0 remarks on it, though it passes."""

HARDLY_CHANGED_ABOVE = 0.8
"""Similarity above which maps hardly change when the weights are randomised; from the limit up to it they change in
part."""

MAX_UNSIGNED_SIMILARITY = 0.99
"""Similarity from which two classes' maps without sign are one map."""

SAMPLE_PARAMETERS = ("samples", "masks", "permutations")
"""Parameters of which a higher value makes maps of two seeds more alike."""


@dataclass(frozen=True)
class GateInput:
    """One method and its measurements.

    Attributes:
        explainer: its name.
        traits: what it declares.
        values: one model's scores, a row per image and a column per (explainer, metric).
        images: index image id, in the order of the values; the attributes as columns.
        means: macro mean per (explainer, metric).
        metrics: what the run's metrics declare.
        missing: why a pair (explainer, metric), or an explainer with the empty metric, was not run.
        n_classes: how many the model tells apart.
        parameter_names: names of the explainer's parameters.
    """

    explainer: str
    traits: ExplainerTraits
    values: pd.DataFrame
    images: pd.DataFrame
    means: Mapping[tuple[str, str], Estimate]
    metrics: Mapping[str, MetricTraits] = field(default_factory=dict)
    missing: Mapping[tuple[str, str], str] = field(default_factory=dict)
    n_classes: int = 0
    parameter_names: Sequence[str] = ()

    def mean(self, metric: str) -> Estimate | None:
        """The macro mean, where there is one."""
        estimate = self.means.get((self.explainer, metric))
        return estimate if estimate is not None and estimate.mean is not None else None

    def median(self, metric: str) -> float | None:
        """The median over all images that have a value."""
        pair = (self.explainer, metric)
        present = self.values[pair].dropna() if pair in self.values.columns else ()
        return float(np.median(present)) if len(present) else None

    def paired_leads(self, metric: str, opponents: Sequence[str]) -> bootstrap.Floats:
        """``(n, opponents)``: the difference to each opponent on each image; positive where this method is better."""
        traits = self.metrics.get(metric)
        sign = -1 if traits is not None and traits.higher_is_better is False else 1
        scores, *opposing = (
            self.values[name, metric].to_numpy(dtype=np.float64) for name in (self.explainer, *opponents)
        )
        return np.asarray(sign * (scores[:, None] - np.stack(opposing, axis=1)), dtype=np.float64)

    def explainers_without(self, metric: str, opponents: Sequence[str]) -> list[str]:
        """Those of the opponents, and this method, that have no value of a metric on any image."""
        pairs = [(name, metric) for name in (self.explainer, *opponents)]
        return [pair[0] for pair in pairs if pair not in self.values.columns or self.values[pair].isna().all()]

    def unavailable_reason(self, metric: str) -> str | None:
        """Recorded reason where the model lacks what the metric needs, though the explainer has maps; else None."""
        traits = self.metrics.get(metric)
        if traits is None or not traits.needs or (self.explainer, "") in self.missing:
            return None
        return self.missing.get((self.explainer, metric))


def evaluate_gates(gate_input: GateInput, settings: BootstrapSettings, gates: schema.Gates) -> tuple[Gate, ...]:
    """All gates of one method that the protocol asks and that apply to it, in the order of their numbers.

    Args:
        gate_input: the method.
        settings: how means are taken.
        gates: the thresholds.
    """
    results = [
        _validity_gate(gate_input, gates.valid),
        gates.determinism and _determinism_gate(gate_input, gates.determinism),
        gates.completeness and gate_input.traits.complete and _completeness_gate(gate_input, gates.completeness),
        _randomisation_gate(gate_input, gates.randomisation),
        gates.classes and _class_gate(gate_input, gates.classes),
        _control_gate(gate_input, settings, gates.controls),
        gates.groups and _group_gate(gate_input, settings, gates.groups),
    ]
    return tuple(gate for gate in results if isinstance(gate, Gate))


def _validity_gate(gate_input: GateInput, rule: schema.ValidGate) -> Gate:
    estimate = gate_input.mean("valid")
    if estimate is None or estimate.mean is None:
        return _gate_without_values(gate_input, "G0", rule.min, metric="valid")
    share = estimate.mean
    code = "G0.some_invalid" if rule.min <= share < REMARK_BELOW else "G0.valid"
    return _gate("G0", code, share >= rule.min, share, rule.min, {"remark_below": REMARK_BELOW})


def _determinism_gate(gate_input: GateInput, rule: schema.DeterminismGate) -> Gate:
    """The same map under the same seed; of a stochastic method also similar maps under another seed."""
    estimate = gate_input.mean(rule.metric)
    if estimate is None or estimate.mean is None:
        return _gate_without_values(gate_input, "G1", rule.max, metric=rule.metric)
    is_repeatable = estimate.mean <= rule.max
    if not gate_input.traits.stochastic or not is_repeatable:
        return _gate("G1", "G1.repeatability", is_repeatable, estimate.mean, rule.max)
    agreement = gate_input.median(rule.replicate)
    if agreement is None:
        return _gate_without_values(gate_input, "G1", rule.min, metric=rule.replicate, other_seed=True)
    repeatability: dict[str, Any] = {"difference": estimate.mean, "max_difference": rule.max, "other_seed": True}
    if agreement >= rule.min:
        return _gate("G1", "G1.seeds_agree", True, agreement, rule.min, repeatability)
    parameter = next((name for name in SAMPLE_PARAMETERS if name in gate_input.parameter_names), None)
    remedy = {"explainer": gate_input.explainer, "parameter": parameter}
    return _gate("G1", "G1.seeds_differ", False, agreement, rule.min, {**repeatability, **remedy})


def _completeness_gate(gate_input: GateInput, rule: schema.CompletenessGate) -> Gate:
    error = gate_input.median(rule.metric)
    if error is None:
        return _gate_without_values(gate_input, "G2", rule.max, metric=rule.metric)
    return _gate("G2", "G2.error", error <= rule.max, error, rule.max)


def _randomisation_gate(gate_input: GateInput, rule: schema.RandomisationGate) -> Gate:
    estimate = gate_input.mean(rule.metric)
    if estimate is None or estimate.mean is None or estimate.high is None:
        return _gate_without_values(gate_input, "G3", rule.max, metric=rule.metric)
    passed = estimate.mean <= rule.max and estimate.high < rule.max_upper
    failure = "G3.hardly_changed" if estimate.mean > HARDLY_CHANGED_ABOVE else "G3.partly_changed"
    upper = {"high": estimate.high, "max_upper": rule.max_upper}
    return _gate("G3", "G3.changed" if passed else failure, passed, estimate.mean, rule.max, upper)


def _class_gate(gate_input: GateInput, rule: schema.ClassGate) -> Gate | None:
    """Similarity to the maps of another class; None below the protocol's number of classes.

    Of two classes with opposite logits maps are alike by nature. Maps without sign are alike for all classes, and need
    only not be the same.
    """
    if gate_input.n_classes < rule.min_classes:
        return None
    estimate = gate_input.mean(rule.metric)
    is_unsigned = gate_input.traits.magnitude or gate_input.traits.pooling == "l2"
    limit = max(rule.max, MAX_UNSIGNED_SIMILARITY) if is_unsigned else rule.max
    if estimate is None or estimate.mean is None:
        return _gate_without_values(gate_input, "G4", limit, metric=rule.metric)
    passed = estimate.mean <= limit
    code = "G4.class_specific" if passed else "G4.class_agnostic"
    return _gate("G4", code, passed, estimate.mean, limit, {"unsigned": limit > rule.max})


def _control_gate(gate_input: GateInput, settings: BootstrapSettings, rule: schema.ControlGate) -> Gate:
    """The lower bounds of the leads over all controls, at one error rate (Holm)."""
    titled: dict[str, Any] = {"metric": rule.metric, "against": list(rule.against)}
    unavailable = {name: gate_input.missing[name, ""] for name in rule.against if (name, "") in gate_input.missing}
    against = [name for name in rule.against if name not in unavailable]
    absent = gate_input.explainers_without(rule.metric, against)
    if absent or not against:
        return _gate_without_values(gate_input, "G5", rule.margin, absent or [*unavailable], **titled)
    leads, strata = gate_input.paired_leads(rule.metric, against), _group_labels(gate_input, settings)
    draws = macro_draws(leads, strata, settings)
    if np.isnan(draws).any():
        return _gate("G5", "open.no_common_image", None, None, rule.margin, titled)
    one_sided = 1 - 2 * (1 - settings.confidence)
    better, bounds = multiple_testing.holm_exceeds(draws, rule.margin, one_sided)
    hardest = int(np.argmin(bounds))
    lead = {"hardest": against[hardest], "mean": float(macro_means(leads, strata)[hardest])}
    values = {**titled, **lead, "unavailable": unavailable}
    passed, bound = bool(better.all()), float(bounds[hardest])
    return _gate("G5", "G5.lead", passed, bound, rule.margin, values, impossible=bool(unavailable))


def _group_gate(gate_input: GateInput, settings: BootstrapSettings, rule: schema.GroupGate) -> Gate:
    """Every group by itself at the full level: all must pass, so that no correction is due."""
    titled: dict[str, Any] = {"metric": rule.metric, "against": rule.against, "attribute": settings.attributes[0]}
    absent = gate_input.explainers_without(rule.metric, [rule.against])
    if absent:
        return _gate_without_values(gate_input, "G6", rule.margin, absent, **titled)
    leads, strata = gate_input.paired_leads(rule.metric, [rule.against]), _group_labels(gate_input, settings)
    counts = pd.Series(~np.isnan(leads[:, 0])).groupby(strata).sum()
    draws = bootstrap.bootstrap_means(leads, strata, settings.n_bootstrap, settings.seed)
    judged = [name for name in draws if counts[name] >= settings.min_report]
    if not judged:
        return _gate("G6", "open.small_groups", None, None, rule.margin, {**titled, "min_report": settings.min_report})
    bounds = {name: float(np.quantile(draws[name], 1 - settings.confidence)) for name in judged}
    failing = [name for name in judged if not bounds[name] > rule.margin]
    worst = min(judged, key=lambda name: bounds[name])
    groups = {"worst": worst, "failing": failing, "too_small": [name for name in draws if name not in judged]}
    return _gate("G6", "G6.leads", not failing, bounds[worst], rule.margin, {**titled, **groups})


def _group_labels(gate_input: GateInput, settings: BootstrapSettings) -> list[str]:
    return group_labels(gate_input.images, settings.attributes[0]).tolist()


def _gate_without_values(
    gate_input: GateInput, gate_id: str, threshold: float, explainers: Sequence[str] = (), *, metric: str, **values: Any
) -> Gate:
    """A gate whose metric has no values, of this method or of the other explainers named."""
    reason = gate_input.unavailable_reason(metric)
    if reason is not None:
        values |= {"metric": metric, "reason": reason}
        return _gate(gate_id, "open.unavailable", None, None, threshold, values, impossible=True)
    values |= {"metric": metric, "explainers": [*explainers]}
    return _gate(gate_id, "open.no_values", None, None, threshold, values)


def _gate(
    gate_id: str,
    code: str,
    passed: bool | None,
    value: float | None,
    threshold: float,
    values: Mapping[str, Any] = MappingProxyType({}),
    *,
    impossible: bool = False,
) -> Gate:
    return Gate(
        id=gate_id,
        code=code,
        passed=passed,
        value=value,
        threshold=threshold,
        values=dict(values),
        impossible=impossible,
    )
