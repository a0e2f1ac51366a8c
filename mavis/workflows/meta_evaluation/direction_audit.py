"""M13: every registered metric with a direction orders a better and a worse map in that direction."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from mavis.core.registry import Entry, metrics
from mavis.engine.planning.plan import Component
from mavis.protocol.schema import Params
from mavis.workflows.meta_evaluation import reference_maps
from mavis.workflows.meta_evaluation.fixtures import Bench
from mavis.workflows.meta_evaluation.results import Check, criterion_check
from mavis.workflows.meta_evaluation.scoring import MapScores, Subject, load_subject, score_maps


@dataclass(frozen=True)
class MapPair:
    """A better and a worse map, and the subject on which both are scored.

    Attributes:
        subject: name of the model.
        better: name of the map.
        worse: name of the map.
    """

    subject: str
    better: str
    worse: str


CATEGORY_PAIRS: Mapping[str, MapPair] = {
    "faithfulness": MapPair("part_sum", "oracle", "random"),
    "localisation": MapPair("part_sum", "oracle", "random"),
    "axioms": MapPair("part_sum", "oracle", "random"),
    "complexity": MapPair("part_sum", "one cell", "random"),
    "robustness": MapPair("mask_mean", "oracle", "random"),
    "randomisation": MapPair("race_resnet", "input_x_gradient", "sobel"),
    "hygiene": MapPair("part_sum", "oracle", "constant"),
}
"""Per category the pair that its metrics must order."""

METRIC_PAIRS: Mapping[str, MapPair] = {
    "input_invariance": MapPair("part_sum", "gradient", "gradient times image"),
    "relative_representation_stability": MapPair("race_resnet", "centre_gaussian", "random"),
}
"""Metrics for which the pair of their category is no test."""

EXTERNAL_ROBUSTNESS_PAIR = MapPair("mask_mean", "centre_gaussian", "oracle")
"""For robustness metrics of other libraries. Their noisy copies are not marked as copies, so a random map is the same
on all of them and cannot serve as the worse map: a map that never moves is compared with one that follows the image."""

COST_REASON = "it counts what a map cost; no map is more right for it"
METRICS_WITHOUT_PAIR: Mapping[str, str] = {
    "monotonicity_arya": "where all parts speak for the class every order passes, where one speaks against it the "
    "exact order does not: there is no example on which the truth is shown to pass more often than noise",
    "average_increase": "fading what does not matter raises the answer of a model only where that speaks against the "
    "class; on no stage here does it",
    "average_gain": "as average_increase",
    "repeatability": "every map made here is the same under the same seed: no worse one is at hand",
    "consistency": "it has a value only where noisy copies keep the map's top cells; a map drawn anew keeps none",
}
"""Metrics for which no pair is known, with the reason."""

LIGHT_METRIC_PARAMS: Mapping[str, Params] = {
    "faithfulness_correlation": {"subsets": 30},
    "infidelity": {"subsets": 30},
    "sensitivity_n": {"subsets": 30},
    "smooth_mprt": {"samples": 2},
    "efficient_mprt": {"repeats": 1},
}


def direction_checks(bench: Bench, *, quick: bool) -> Iterator[Check]:
    """Direction check of every registered metric; the quick form leaves out those of other libraries."""
    entries = [m for m in metrics if m.traits.higher_is_better is not None]
    entries = [m for m in entries if m.origin == "mavis" or not quick]
    reasons = {m.name: _reason_without_pair(m) for m in entries}
    pairs = {m.name: _pair_of(m) for m in entries if not reasons[m.name]}
    own_names = {m.name for m in entries if m.origin == "mavis"}
    tables: dict[tuple[str, bool], MapScores] = {}
    for subject, is_own in itertools.product(_SUBJECTS, (True,) if quick else (True, False)):
        names = [n for n, pair in pairs.items() if pair.subject == subject and (n in own_names) == is_own]
        tables[subject, is_own] = _score_pairs(bench, subject, names, N_IMAGES if is_own else N_IMAGES_EXTERNAL)
    for entry in entries:
        if entry.name in pairs:
            pair = pairs[entry.name]
            table = tables[pair.subject, entry.name in own_names]
            yield _direction_check(entry.name, pair, table, 1 if entry.traits.higher_is_better else -1)
        else:
            yield _not_applicable(entry.name, reasons[entry.name])


def _pair_of(entry: Entry) -> MapPair:
    if entry.origin != "mavis" and entry.traits.category == "robustness":
        return EXTERNAL_ROBUSTNESS_PAIR
    return METRIC_PAIRS.get(entry.name) or CATEGORY_PAIRS[entry.traits.category]


def _reason_without_pair(entry: Entry) -> str:
    """The reason that a metric has no pair; empty where it has one."""
    return (
        METRICS_WITHOUT_PAIR.get(entry.name)
        or entry.traits.faulty
        or (COST_REASON if entry.traits.category == "cost" else "")
    )


def _not_applicable(label: str, reason: str) -> Check:
    return Check(
        id="M13", test="direction", metric=label, subject="", statistic="", value=None, criterion="",
        verdict="not applicable", note=reason,
    )  # fmt: skip


def _direction_check(label: str, pair: MapPair, table: MapScores, sign: int) -> Check:
    first, second = (table.mean(e, label) if table.has(e, label) else float("nan") for e in (pair.better, pair.worse))
    note = f"{pair.better} {first:.4g}, {pair.worse} {second:.4g}"
    gap = sign * (first - second)
    if np.isnan(gap):
        reason = next((text for (_, m), text in table.failures.items() if m == label), "it has no value there")
        return _not_applicable(label, f"on {pair.subject}: {reason}")
    return criterion_check(
        "M13", "direction", label, pair.subject, "better − worse, in the declared direction", value=gap,
        criterion="> 0", passed=gap > 0, note=note,
    )  # fmt: skip


def _load_subject(bench: Bench, name: str) -> Subject:
    if name == "race_resnet":
        return bench.faces_subject
    if name == "mask_mean":
        options = {"size": 32, "count": 40}
        return load_subject("mask_mean", "planted_square", options, per_group=4, attribute="shade", seed=bench.seed)
    return bench.hand_wired_subject("part_sum")


def _explainers(bench: Bench, subject: str) -> list[Component]:
    if subject == "race_resnet":
        return [bench.explainer(name) for name in ("input_x_gradient", "sobel", "random", "centre_gaussian")]
    exact = reference_maps.as_component("oracle", reference_maps.exact_contributions)
    one_cell = reference_maps.transform_map(
        "one cell", reference_maps.exact_contributions, lambda values, _: _single_cell(values)
    )
    gradient = reference_maps.as_component("gradient", lambda model_pass, targets: model_pass.input_gradient(targets))
    gradient_times_image = reference_maps.as_component(
        "gradient times image", lambda model_pass, targets: model_pass.images * model_pass.input_gradient(targets)
    )
    controls = [bench.explainer(name) for name in ("random", "constant", "centre_gaussian")]
    return [exact, *controls, one_cell, gradient, gradient_times_image]


def _single_cell(values: torch.Tensor) -> torch.Tensor:
    single = torch.zeros_like(values)
    single[..., :2, :2] = 1
    return single


N_IMAGES, N_IMAGES_EXTERNAL = 8, 2
"""Images for MAVIS's own metrics, and for those of other libraries, which share no work."""

_SUBJECTS = ("part_sum", "mask_mean", "race_resnet")


def _score_pairs(bench: Bench, subject_name: str, labels: list[str], n_images: int) -> MapScores:
    bench.notify(f"directions: {len(labels)} metrics on {subject_name}")
    subject = _load_subject(bench, subject_name).subset(n_images)
    metric_params = {
        name: LIGHT_METRIC_PARAMS.get(name, {})
        for name in labels
        if metrics[name].traits.needs <= subject.model.capabilities
    }
    if not metric_params:
        return MapScores(pd.DataFrame(columns=pd.MultiIndex.from_arrays([[], []])))
    return score_maps(subject, _explainers(bench, subject_name), metric_params, grid=bench.protocol.grid, variants=True)
