"""What a method must pass before it is ranked. Pure: tables and rules in, gates out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mavis.analysis.findings import Estimate, Gate
from mavis.analysis.groups import BootstrapSettings, macro_draws, macro_means
from mavis.analysis.statistics import bootstrap, multiple_testing
from mavis.core.group_attributes import group_labels
from mavis.core.traits import ExplainerTraits, MetricTraits
from mavis.protocol import schema as asked

REMARK_BELOW = 0.99
"""Share of valid maps below which G0 remarks on it, though it passes."""

HARDLY_CHANGED_ABOVE = 0.8
"""Similarity above which maps hardly change at all when the model forgets; between it and the limit they do in part."""

MAX_UNSIGNED_SIMILARITY = 0.99
"""Similarity from which two classes' maps that only show how much are one map."""

SAMPLE_PARAMETERS = ("samples", "masks", "permutations")
"""Parameters of which a higher value makes maps of two seeds more alike."""


@dataclass(frozen=True)
class GateInput:
    """One method and what was measured of it.

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
        found = self.means.get((self.explainer, metric))
        return found if found is not None and found.mean is not None else None

    def median(self, metric: str) -> float | None:
        """The median over all images that have a value."""
        pair = (self.explainer, metric)
        there = self.values[pair].dropna() if pair in self.values.columns else ()
        return float(np.median(there)) if len(there) else None

    def paired_leads(self, metric: str, opponents: Sequence[str]) -> bootstrap.Floats:
        """``(n, others)``: by how much it is better than each of the others on each image."""
        traits = self.metrics.get(metric)
        sign = -1 if traits is not None and traits.higher_is_better is False else 1
        own, *rest = (self.values[name, metric].to_numpy(dtype=np.float64) for name in (self.explainer, *opponents))
        return np.asarray(sign * (own[:, None] - np.stack(rest, axis=1)), dtype=np.float64)

    def explainers_without(self, metric: str, opponents: Sequence[str]) -> list[str]:
        """Which of them, itself included, have no value of a metric on any image."""
        pairs = [(name, metric) for name in (self.explainer, *opponents)]
        return [pair[0] for pair in pairs if pair not in self.values.columns or self.values[pair].isna().all()]

    def unavailable_reason(self, metric: str) -> str | None:
        """Why the model does not give what a metric needs, while its maps can be made; None where it does."""
        traits = self.metrics.get(metric)
        if traits is None or not traits.needs or (self.explainer, "") in self.missing:
            return None
        return self.missing.get((self.explainer, metric))


def evaluate_gates(gate_input: GateInput, settings: BootstrapSettings, gates: asked.Gates) -> tuple[Gate, ...]:
    """All gates of one method that the protocol asks and that apply to it, in the order of their numbers.

    Args:
        gate_input: the method.
        settings: how means are taken.
        gates: the thresholds.
    """
    found = [
        _validity_gate(gate_input, gates.valid),
        gates.determinism and _determinism_gate(gate_input, gates.determinism),
        gates.completeness and gate_input.traits.complete and _completeness_gate(gate_input, gates.completeness),
        _randomisation_gate(gate_input, gates.randomisation),
        gates.classes and _class_gate(gate_input, gates.classes),
        _control_gate(gate_input, settings, gates.controls),
        gates.groups and _group_gate(gate_input, settings, gates.groups),
    ]
    return tuple(gate for gate in found if isinstance(gate, Gate))


def _validity_gate(gate_input: GateInput, rule: asked.ValidGate) -> Gate:
    title, found = "maps are finite and not constant", gate_input.mean("valid")
    if found is None or found.mean is None:
        return _gate_without_values(gate_input, "G0", title, rule.min, "valid")
    share = found.mean
    words = f"{share:.1%} of the maps are finite and not constant; {rule.min:.0%} are asked for"
    if rule.min <= share < REMARK_BELOW:
        words += f"; below {REMARK_BELOW:.0%} the missing ones are worth a look"
    return Gate(id="G0", title=title, passed=share >= rule.min, value=share, threshold=rule.min, reason=words)


def _determinism_gate(gate_input: GateInput, rule: asked.DeterminismGate) -> Gate:
    title, found = "the same seed gives the same map", gate_input.mean(rule.metric)
    if found is None or found.mean is None:
        return _gate_without_values(gate_input, "G1", title, rule.max, rule.metric)
    same = found.mean <= rule.max
    words = f"made again, values differ by {found.mean:.1g} of the largest; at most {rule.max:.0e} is allowed"
    if not gate_input.traits.stochastic or not same:
        return Gate(id="G1", title=title, passed=same, value=found.mean, threshold=rule.max, reason=words)
    title, alike = f"{title}, another seed nearly so", gate_input.median(rule.replicate)
    if alike is None:
        return _gate_without_values(gate_input, "G1", title, rule.min, rule.replicate)
    words += f"; maps of two seeds agree to {alike:.2f} in the median, at least {rule.min:.2f} is asked for"
    if alike < rule.min:
        words += f"; raise {_parameter_to_raise(gate_input)}"
    return Gate(id="G1", title=title, passed=alike >= rule.min, value=alike, threshold=rule.min, reason=words)


def _parameter_to_raise(gate_input: GateInput) -> str:
    """What to raise so that maps of two seeds agree."""
    known = [name for name in SAMPLE_PARAMETERS if name in gate_input.parameter_names]
    return f"explainers.settings.{gate_input.explainer}.{known[0]}" if known else "the number of its draws"


def _completeness_gate(gate_input: GateInput, rule: asked.CompletenessGate) -> Gate:
    title, error = "adds up to the change of the logit, as it claims", gate_input.median(rule.metric)
    if error is None:
        return _gate_without_values(gate_input, "G2", title, rule.max, rule.metric)
    words = f"the sum misses the change of the logit by {error:.1%} of it in the median; {rule.max:.0%} is allowed"
    return Gate(id="G2", title=title, passed=error <= rule.max, value=error, threshold=rule.max, reason=words)


def _randomisation_gate(gate_input: GateInput, rule: asked.RandomisationGate) -> Gate:
    title, found = "maps change when the model forgets", gate_input.mean(rule.metric)
    if found is None or found.mean is None or found.high is None:
        return _gate_without_values(gate_input, "G3", title, rule.max, rule.metric)
    passed = found.mean <= rule.max and found.high < rule.max_upper
    words = (
        f"similarity to the maps of randomised weights is {found.mean:.2f} (upper end {found.high:.2f}); "
        f"at most {rule.max:.2f} (upper end below {rule.max_upper:.2f}) is allowed"
    )
    if not passed:
        words += "; they hardly change" if found.mean > HARDLY_CHANGED_ABOVE else "; they change, but not enough"
    return Gate(id="G3", title=title, passed=passed, value=found.mean, threshold=rule.max, reason=words)


def _class_gate(gate_input: GateInput, rule: asked.ClassGate) -> Gate | None:
    """Of two classes with opposite logits maps are alike by nature, so it is asked from so many classes on.

    Maps that only show how much are alike for all classes, and need only not be the same.
    """
    if gate_input.n_classes < rule.min_classes:
        return None
    title, found = "another class gets another map", gate_input.mean(rule.metric)
    most = (
        max(rule.max, MAX_UNSIGNED_SIMILARITY)
        if gate_input.traits.magnitude or gate_input.traits.pooling == "l2"
        else rule.max
    )
    if found is None or found.mean is None:
        return _gate_without_values(gate_input, "G4", title, most, rule.metric)
    passed = found.mean <= most
    words = f"similarity to the maps of another class is {found.mean:.2f}; at most {most:.2f} is allowed"
    if most > rule.max:
        words += " to maps without sign"
    if not passed:
        words += "; it is class-agnostic: it cannot say why this class"
    return Gate(id="G4", title=title, passed=passed, value=found.mean, threshold=most, reason=words)


def _control_gate(gate_input: GateInput, settings: BootstrapSettings, rule: asked.ControlGate) -> Gate:
    title = f"beats {' and '.join(rule.against)} on {rule.metric}"
    cannot = {name: gate_input.missing[name, ""] for name in rule.against if (name, "") in gate_input.missing}
    against = [name for name in rule.against if name not in cannot]
    absent = gate_input.explainers_without(rule.metric, against)
    if absent or not against:
        return _gate_without_values(gate_input, "G5", title, rule.margin, rule.metric, *(absent or cannot))
    leads, strata = gate_input.paired_leads(rule.metric, against), _group_labels(gate_input, settings)
    draws = macro_draws(leads, strata, settings)
    if np.isnan(draws).any():
        return _open_gate("G5", title, rule.margin, f"no image has {rule.metric} of all of them")
    one_sided = 1 - 2 * (1 - settings.confidence)
    better, bounds = multiple_testing.holm_exceeds(draws, rule.margin, one_sided)
    hardest = int(np.argmin(bounds))
    words = (
        f"{rule.metric} is better than that of {against[hardest]} by {macro_means(leads, strata)[hardest]:+.3f}, "
        f"lower bound {bounds[hardest]:+.3f}; the bound must exceed {rule.margin:+.3f}"
    )
    words += "".join(f"; not held against {name}: {why}" for name, why in cannot.items())
    return Gate(
        id="G5",
        title=title,
        passed=bool(better.all()),
        value=float(bounds[hardest]),
        threshold=rule.margin,
        reason=words,
        impossible=bool(cannot),
    )


def _group_gate(gate_input: GateInput, settings: BootstrapSettings, rule: asked.GroupGate) -> Gate:
    """Every group by itself at the full level: all must pass, so that no correction is due."""
    attribute = settings.attributes[0]
    title = f"beats {rule.against} on {rule.metric} in every group of {attribute}"
    absent = gate_input.explainers_without(rule.metric, [rule.against])
    if absent:
        return _gate_without_values(gate_input, "G6", title, rule.margin, rule.metric, *absent)
    leads, strata = gate_input.paired_leads(rule.metric, [rule.against]), _group_labels(gate_input, settings)
    counts = pd.Series(~np.isnan(leads[:, 0])).groupby(strata).sum()
    draws = bootstrap.bootstrap_means(leads, strata, settings.n_bootstrap, settings.seed)
    judged = [name for name in draws if counts[name] >= settings.min_report]
    if not judged:
        why = f"no group has {settings.min_report} images with {rule.metric} of both"
        return _open_gate("G6", title, rule.margin, why)
    bounds = {name: float(np.quantile(draws[name], 1 - settings.confidence)) for name in judged}
    failing = [name for name in judged if not bounds[name] > rule.margin]
    worst = min(judged, key=lambda name: bounds[name])
    words = f"the smallest lower bound is {bounds[worst]:+.3f}, labelled {worst}; it must exceed {rule.margin:+.3f}"
    if failing:
        words += f"; not shown to be better than {rule.against} where labelled {', '.join(failing)}"
    if small := [name for name in draws if name not in judged]:
        words += f"; too few images to judge labelled {', '.join(small)}"
    return Gate(id="G6", title=title, passed=not failing, value=bounds[worst], threshold=rule.margin, reason=words)


def _group_labels(gate_input: GateInput, settings: BootstrapSettings) -> list[str]:
    return group_labels(gate_input.images, settings.attributes[0]).tolist()


def _gate_without_values(
    gate_input: GateInput, gate: str, title: str, threshold: float, metric: str, *explainers: str
) -> Gate:
    """A gate whose metric has no values, of this method or of the others named."""
    refused = gate_input.unavailable_reason(metric)
    if refused is not None:
        return _open_gate(gate, title, threshold, f"'{metric}' {refused}", impossible=True)
    owners = f" of {', '.join(explainers)}" if explainers else ""
    return _open_gate(gate, title, threshold, f"there are no values of '{metric}'{owners}")


def _open_gate(gate: str, title: str, threshold: float, reason: str, *, impossible: bool = False) -> Gate:
    return Gate(
        id=gate,
        title=title,
        passed=None,
        value=None,
        threshold=threshold,
        reason=f"not assessed: {reason}",
        impossible=impossible,
    )
