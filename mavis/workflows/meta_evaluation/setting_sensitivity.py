"""M7: do a metric's settings decide who wins? Methods on faces, and the exact map on a hand-wired model."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mavis.core.registry import metric_name
from mavis.engine.planning.plan import Component
from mavis.protocol.schema import Params
from mavis.workflows.meta_evaluation import reference_maps
from mavis.workflows.meta_evaluation.applicability import REQUIREMENTS, is_applicable
from mavis.workflows.meta_evaluation.fixtures import TRAINED, Bench
from mavis.workflows.meta_evaluation.known_order import TOLERANCE
from mavis.workflows.meta_evaluation.results import Check, criterion_check
from mavis.workflows.meta_evaluation.scoring import MapScores, MetricParams, Subject, score_maps
from mavis.workflows.sensitivity import Setting, mean_kendall_tau

GRIDS = (8, 16, 32)
IMPUTERS = ("mean", "blur", "linear")
VARIED_PARAMS: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "nsrg": {"imputers": [[name] for name in IMPUTERS], "points": [11, 21, 41]},
    "road_gap": {"imputer": IMPUTERS, "points": [11, 21]},
    "single_deletion": {"imputer": IMPUTERS},
    "part_faithfulness": {"draws": [4, 8], "min_range": [0.05, 0.1, 0.2]},
    "avg_sensitivity_normalised": {"radius": [4 / 255, 8 / 255, 16 / 255], "draws": [5]},
    "flip_equivariance": {"max_prob_diff": [0.02, 0.05, 0.1]},
}
"""Per metric what is varied beside the grid."""

SINGLE_MAP_CATEGORIES = ("faithfulness", "localisation", "complexity")
"""Categories whose metrics take one map per image."""

PIXEL_METRICS = frozenset({"part_faithfulness", "avg_sensitivity_normalised"})
"""Metrics that do not read cells: the grid says nothing to them."""


def setting_checks(bench: Bench) -> Iterator[Check]:
    """Stability of the ranking under other settings, per deciding metric."""
    methods = [bench.explainer(name) for name in bench.sizes.methods]
    fixed = _score_grids(bench, bench.faces_subject, methods, bench.select(bench.metric_params, *SINGLE_MAP_CATEGORIES))
    again = _score_grids(
        bench, bench.reexplained_subject, methods, bench.select(bench.metric_params, "robustness"), variants=True
    )
    wired = _score_hand_wired(bench)
    for label in bench.labels():
        category = bench.traits(label).category
        if not is_applicable(category, "M7"):
            yield Check(
                id="M7", test="hyper-parameters", metric=label, subject=TRAINED, statistic="", value=None, criterion="",
                verdict="not applicable", note=REQUIREMENTS[category]["M7"],
            )  # fmt: skip
            continue
        yield _stability_check(bench, label, again if category == "robustness" else fixed)
        if label in metrics_with_fixed_truth(bench):
            yield _oracle_check(label, wired)


def variations(label: str, params: Params) -> dict[str, Params]:
    """A metric's settings under labels: ``nsrg@m7.3``."""
    varied = VARIED_PARAMS.get(metric_name(label), {})
    return {
        f"{label}@m7.{number}": {**params, **dict(zip(varied, values, strict=True))}
        for number, values in enumerate(itertools.product(*varied.values()))
    }


ScoresByGrid = Mapping[int, MapScores]


def metrics_with_fixed_truth(bench: Bench) -> list[str]:
    """Metrics whose truth does not depend on their settings; where parts are drawn anew, every draw has its own."""
    return [label for label in bench.labels("faithfulness") if not bench.traits(label).rerender]


def _score_grids(
    bench: Bench,
    subject: Subject,
    explainers: Sequence[Component],
    metric_params: MetricParams,
    *,
    variants: bool = False,
) -> ScoresByGrid:
    """Per grid the scores under every setting."""
    found = {}
    for grid in GRIDS:
        bench.notify(f"settings: {subject.name}, {grid} × {grid} cells")
        asked_of = {
            key: params
            for label in metric_params
            if grid == bench.protocol.grid or metric_name(label) not in PIXEL_METRICS
            for key, params in variations(label, metric_params[label]).items()
            if is_applicable(bench.traits(label).category, "M7")
        }
        found[grid] = score_maps(subject, explainers, asked_of, grid=grid, variants=variants)
    return found


def _score_hand_wired(bench: Bench) -> ScoresByGrid:
    """The exact map and the methods on the hand-wired sum, the mean colour being what it is exact for."""
    on = bench.hand_wired_subject("part_sum")
    maps = [reference_maps.as_component("oracle", reference_maps.exact_contributions), *bench.hand_wired_methods(on)]
    found = {}
    for grid in GRIDS:
        asked_of = {
            key: params
            for label in metrics_with_fixed_truth(bench)
            for key, params in variations(label, bench.mean_imputer_params[label]).items()
            if not _imputer_names(params) - {"mean"}
        }
        found[grid] = score_maps(on, maps, asked_of, grid=grid)
    return found


def _imputer_names(params: Params) -> set[str]:
    return {*params.get("imputers", ()), *([params["imputer"]] if "imputer" in params else ())}


def setting_means(label: str, tables: ScoresByGrid, methods: Sequence[str]) -> list[Setting]:
    """Means of the methods under every setting that was scored."""
    found = []
    for grid, scores in tables.items():
        for key in scores.metric_labels(f"{label}@m7."):
            means = {e: scores.mean(e, key) for e in methods if scores.has(e, key)}
            found.append(Setting(grid, {"setting": key.partition("@")[2]}, means))
    return found


def _stability_check(bench: Bench, label: str, tables: ScoresByGrid) -> Check:
    found = setting_means(label, tables, bench.sizes.methods)
    tau = mean_kendall_tau(found)
    least = bench.protocol.sensitivity.min_tau if bench.protocol.sensitivity else 0.7
    sign = bench.sign(label)
    known = [{name: mean for name, mean in one.means.items() if mean is not None} for one in found]
    leaders = {max(means, key=lambda name: sign * means[name]) for means in known if means}
    value = float("nan") if tau is None else tau
    return criterion_check(
        "M7", "hyper-parameters", label, TRAINED, "mean Kendall tau of the methods", value=value,
        criterion=f"≥ {least:g}", passed=value >= least,
        note=f"{len(found)} settings; leads under some: {', '.join(sorted(leaders))}",
    )  # fmt: skip


def _oracle_check(label: str, tables: ScoresByGrid) -> Check:
    """The exact map leads under every grid and number of points, the mean colour being what it is exact for."""
    worst, count = float("inf"), 0
    for scores in tables.values():
        for key in scores.metric_labels(f"{label}@m7."):
            others = [e for e in scores.map_names(key) if e != "oracle" and scores.has(e, key)]
            worst = min([worst, *(scores.mean("oracle", key) - scores.mean(e, key) for e in others)])
            count += 1
    return criterion_check(
        "M7", "hyper-parameters: the truth leads", label, "part_sum", "oracle − best method, the least", value=worst,
        criterion=f"≥ {-TOLERANCE:g}", passed=worst >= -TOLERANCE and np.isfinite(worst), note=f"{count} settings",
    )  # fmt: skip
