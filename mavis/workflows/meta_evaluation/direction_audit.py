"""M13: every registered metric that has a direction orders a better and a worse map by it."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from mavis.core.registry import Entry, metrics
from mavis.engine.planning.plan import Part
from mavis.protocol.schema import Params
from mavis.workflows.meta_evaluation import reference_maps
from mavis.workflows.meta_evaluation.fixtures import Bench
from mavis.workflows.meta_evaluation.results import Check, asked
from mavis.workflows.meta_evaluation.scoring import Scores, Subject, scored, subject


@dataclass(frozen=True)
class Pair:
    """A better and a worse map, and on what.

    Attributes:
        on: name of the stage.
        better: name of the map.
        worse: name of the map.
    """

    on: str
    better: str
    worse: str


PAIRS: Mapping[str, Pair] = {
    "faithfulness": Pair("part_sum", "oracle", "random"),
    "localisation": Pair("part_sum", "oracle", "random"),
    "axioms": Pair("part_sum", "oracle", "random"),
    "complexity": Pair("part_sum", "one cell", "random"),
    "robustness": Pair("mask_mean", "oracle", "random"),
    "randomisation": Pair("race_resnet", "input_x_gradient", "sobel"),
    "hygiene": Pair("part_sum", "oracle", "constant"),
}
"""Per category the pair that its metrics are to order."""

OWN: Mapping[str, Pair] = {
    "input_invariance": Pair("part_sum", "gradient", "gradient times image"),
    "relative_representation_stability": Pair("race_resnet", "centre_gaussian", "random"),
}
"""Metrics whose category's pair says nothing to them."""

FREE = Pair("mask_mean", "centre_gaussian", "oracle")
"""For robustness metrics of other libraries: their copies of an image do not say that they are copies, so a random map
is not drawn anew; a map that never moves stands against one that moves with the image."""

COST = "it counts what a map cost; no map is more right for it"
WITHOUT: Mapping[str, str] = {
    "monotonicity_arya": "where all parts speak for the class every order passes, where one speaks against it the "
    "exact order does not: there is no example on which the truth is shown to pass more often than noise",
    "average_increase": "fading what does not matter raises the answer of a model only where that speaks against the "
    "class; on no stage here does it",
    "average_gain": "as average_increase",
    "repeatability": "every map made here is the same under the same seed: no worse one is at hand",
    "consistency": "it has a value only where noisy copies keep the map's top cells; a map drawn anew keeps none",
}
"""Metrics for which no pair is known, and why."""

LIGHT: Mapping[str, Params] = {
    "faithfulness_correlation": {"subsets": 30},
    "infidelity": {"subsets": 30},
    "sensitivity_n": {"subsets": 30},
    "smooth_mprt": {"samples": 2},
    "efficient_mprt": {"repeats": 1},
}


def checks(bench: Bench, *, quick: bool) -> Iterator[Check]:
    """The direction of every registered metric; the reduced form leaves those of other libraries out."""
    wanted = [m for m in metrics if m.traits.higher_is_better is not None]
    wanted = [m for m in wanted if m.origin == "mavis" or not quick]
    why = {m.name: _without(m) for m in wanted}
    pairs = {m.name: _pair(m) for m in wanted if not why[m.name]}
    own = {m.name for m in wanted if m.origin == "mavis"}
    tables: dict[tuple[str, bool], Scores] = {}
    for stage, ours in itertools.product(_STAGES, (True,) if quick else (True, False)):
        names = [n for n, pair in pairs.items() if pair.on == stage and (n in own) == ours]
        tables[stage, ours] = _table(bench, stage, names, FEW if ours else FOREIGN)
    for entry in wanted:
        if entry.name in pairs:
            pair = pairs[entry.name]
            table = tables[pair.on, entry.name in own]
            yield _one(entry.name, pair, table, 1 if entry.traits.higher_is_better else -1)
        else:
            yield _none(entry.name, why[entry.name])


def _pair(entry: Entry) -> Pair:
    if entry.origin != "mavis" and entry.traits.category == "robustness":
        return FREE
    return OWN.get(entry.name) or PAIRS[entry.traits.category]


def _without(entry: Entry) -> str:
    """Why a metric has no pair; empty where it has one."""
    return WITHOUT.get(entry.name) or entry.traits.faulty or (COST if entry.traits.category == "cost" else "")


def _none(label: str, why: str) -> Check:
    return Check(
        id="M13", test="direction", metric=label, subject="", statistic="", value=None, criterion="",
        verdict="not applicable", note=why,
    )  # fmt: skip


def _one(label: str, pair: Pair, table: Scores, sign: int) -> Check:
    first, second = (table.mean(e, label) if table.has(e, label) else float("nan") for e in (pair.better, pair.worse))
    note = f"{pair.better} {first:.4g}, {pair.worse} {second:.4g}"
    gap = sign * (first - second)
    if np.isnan(gap):
        why = next((text for (_, m), text in table.failed.items() if m == label), "it has no value there")
        return _none(label, f"on {pair.on}: {why}")
    return asked(
        "M13", "direction", label, pair.on, "better − worse, in the declared direction", value=gap, criterion="> 0",
        passed=gap > 0, note=note,
    )  # fmt: skip


def _stages(bench: Bench, name: str) -> Subject:
    if name == "race_resnet":
        return bench.faces_subject
    if name == "mask_mean":
        options = {"size": 32, "count": 40}
        return subject("mask_mean", "planted_square", options, per_group=4, attribute="shade", seed=bench.seed)
    return bench.wired_subject("part_sum")


def _maps(bench: Bench, stage: str) -> list[Part]:
    if stage == "race_resnet":
        return [bench.part(name) for name in ("input_x_gradient", "sobel", "random", "centre_gaussian")]
    exact = reference_maps.named("oracle", reference_maps.exact)
    one = reference_maps.changed("one cell", reference_maps.exact, lambda values, _: _one_cell(values))
    flat = reference_maps.named("gradient", lambda run, targets: run.input_gradient(targets))
    times = reference_maps.named("gradient times image", lambda run, targets: run.images * run.input_gradient(targets))
    controls = [bench.part(name) for name in ("random", "constant", "centre_gaussian")]
    return [exact, *controls, one, flat, times]


def _one_cell(values: torch.Tensor) -> torch.Tensor:
    found = torch.zeros_like(values)
    found[..., :2, :2] = 1
    return found


FEW, FOREIGN = 8, 2
"""Images for MAVIS's own metrics, and for those of other libraries, which share no work."""

_STAGES = ("part_sum", "mask_mean", "race_resnet")


def _table(bench: Bench, stage: str, names: list[str], images: int) -> Scores:
    bench.tell(f"directions: {len(names)} metrics on {stage}")
    on = _stages(bench, stage).first(images)
    asked_of = {name: LIGHT.get(name, {}) for name in names if metrics[name].traits.needs <= on.model.can}
    if not asked_of:
        return Scores(pd.DataFrame(columns=pd.MultiIndex.from_arrays([[], []])))
    return scored(on, _maps(bench, stage), asked_of, grid=bench.rules.grid, variants=True)
