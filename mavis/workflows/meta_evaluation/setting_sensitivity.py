"""M7: stability of the ranking under other metric settings: methods on faces, the exact map on a hand-wired model."""

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
"""Parameters varied per metric, beside the grid."""

SINGLE_MAP_CATEGORIES = ("faithfulness", "localisation", "complexity")
"""Categories whose metrics take one map per image."""

PIXEL_METRICS = frozenset({"part_faithfulness", "avg_sensitivity_normalised"})
"""Metrics that do not read cells, so the grid has no effect on them."""


def setting_checks(bench: Bench) -> Iterator[Check]:
    """Checks of every deciding metric that applies: stability of the ranking under other settings."""
    methods = [bench.explainer(name) for name in bench.sizes.methods]
    single_map = _score_grids(
        bench, bench.faces_subject, methods, bench.select(bench.metric_params, *SINGLE_MAP_CATEGORIES)
    )
    reexplained = _score_grids(
        bench, bench.reexplained_subject, methods, bench.select(bench.metric_params, "robustness"), variants=True
    )
    hand_wired = _score_hand_wired(bench)
    for label in bench.labels():
        category = bench.traits(label).category
        if not is_applicable(category, "M7"):
            yield Check(
                id="M7", test="hyper-parameters", metric=label, subject=TRAINED, statistic="", value=None, criterion="",
                verdict="not applicable", note=REQUIREMENTS[category]["M7"],
            )  # fmt: skip
            continue
        yield _stability_check(bench, label, reexplained if category == "robustness" else single_map)
        if label in metrics_with_fixed_truth(bench):
            yield _oracle_check(label, hand_wired)


def variations(label: str, params: Params) -> dict[str, Params]:
    """A metric's settings under labels: ``nsrg@m7.3``."""
    varied = VARIED_PARAMS.get(metric_name(label), {})
    return {
        f"{label}@m7.{number}": {**params, **dict(zip(varied, values, strict=True))}
        for number, values in enumerate(itertools.product(*varied.values()))
    }


ScoresByGrid = Mapping[int, MapScores]


def metrics_with_fixed_truth(bench: Bench) -> list[str]:
    """Metrics whose exact map is the same under all settings; those that redraw parts have one per draw."""
    return [label for label in bench.labels("faithfulness") if not bench.traits(label).rerender]


def _score_grids(
    bench: Bench,
    subject: Subject,
    explainers: Sequence[Component],
    metric_params: MetricParams,
    *,
    variants: bool = False,
) -> ScoresByGrid:
    """Scores under every setting, by grid."""
    tables = {}
    for grid in GRIDS:
        bench.notify(f"settings: {subject.name}, {grid} × {grid} cells")
        varied = {
            key: params
            for label in metric_params
            if grid == bench.protocol.grid or metric_name(label) not in PIXEL_METRICS
            for key, params in variations(label, metric_params[label]).items()
            if is_applicable(bench.traits(label).category, "M7")
        }
        tables[grid] = score_maps(subject, explainers, varied, grid=grid, variants=variants)
    return tables


def _score_hand_wired(bench: Bench) -> ScoresByGrid:
    """Scores of the exact map and the methods on the hand-wired sum; the map is exact for the mean colour."""
    subject = bench.hand_wired_subject("part_sum")
    maps = [
        reference_maps.as_component("oracle", reference_maps.exact_contributions),
        *bench.hand_wired_methods(subject),
    ]
    tables = {}
    for grid in GRIDS:
        varied = {
            key: params
            for label in metrics_with_fixed_truth(bench)
            for key, params in variations(label, bench.mean_imputer_params[label]).items()
            if not _imputer_names(params) - {"mean"}
        }
        tables[grid] = score_maps(subject, maps, varied, grid=grid)
    return tables


def _imputer_names(params: Params) -> set[str]:
    return {*params.get("imputers", ()), *([params["imputer"]] if "imputer" in params else ())}


def setting_means(label: str, tables: ScoresByGrid, methods: Sequence[str]) -> list[Setting]:
    """Means of the methods under each scored setting."""
    settings = []
    for grid, scores in tables.items():
        for key in scores.metric_labels(f"{label}@m7."):
            means = {method: scores.mean(method, key) for method in methods if scores.has(method, key)}
            settings.append(Setting(grid, {"setting": key.partition("@")[2]}, means))
    return settings


def _stability_check(bench: Bench, label: str, tables: ScoresByGrid) -> Check:
    settings = setting_means(label, tables, bench.sizes.methods)
    tau = mean_kendall_tau(settings)
    min_tau = bench.protocol.sensitivity.min_tau if bench.protocol.sensitivity else 0.7
    sign = bench.sign(label)
    defined_means = [{name: mean for name, mean in setting.means.items() if mean is not None} for setting in settings]
    leaders = {max(means, key=lambda name: sign * means[name]) for means in defined_means if means}
    value = float("nan") if tau is None else tau
    return criterion_check(
        "M7", "hyper-parameters", label, TRAINED, "mean Kendall tau of the methods", value=value,
        criterion=f"≥ {min_tau:g}", passed=value >= min_tau,
        note=f"{len(settings)} settings; leads under some: {', '.join(sorted(leaders))}",
    )  # fmt: skip


def _oracle_check(label: str, tables: ScoresByGrid) -> Check:
    """The exact map leads under all grids and numbers of points, with the mean colour, for which it is exact."""
    worst, count = float("inf"), 0
    for scores in tables.values():
        for key in scores.metric_labels(f"{label}@m7."):
            rivals = [name for name in scores.map_names(key) if name != "oracle" and scores.has(name, key)]
            worst = min([worst, *(scores.mean("oracle", key) - scores.mean(name, key) for name in rivals)])
            count += 1
    return criterion_check(
        "M7", "hyper-parameters: the truth leads", label, "part_sum", "oracle − best method, the least", value=worst,
        criterion=f"≥ {-TOLERANCE:g}", passed=worst >= -TOLERANCE and np.isfinite(worst), note=f"{count} settings",
    )  # fmt: skip
