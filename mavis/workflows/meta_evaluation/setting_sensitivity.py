"""M7: do a metric's settings decide who wins? Methods on faces, and the exact map on a hand-wired model."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mavis.core.registry import metric_of
from mavis.engine.planning.plan import Part
from mavis.protocol.schema import Params
from mavis.workflows.meta_evaluation import reference_maps
from mavis.workflows.meta_evaluation.applicability import APPLIES, applies
from mavis.workflows.meta_evaluation.fixtures import TRAINED, Bench
from mavis.workflows.meta_evaluation.known_order import SLACK
from mavis.workflows.meta_evaluation.results import Check, asked
from mavis.workflows.meta_evaluation.scoring import Scores, Settings, Subject, scored
from mavis.workflows.sensitivity import Setting, kendall

GRIDS = (8, 16, 32)
IMPUTERS = ("mean", "blur", "linear")
VARIED: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "nsrg": {"imputers": [[name] for name in IMPUTERS], "points": [11, 21, 41]},
    "road_gap": {"imputer": IMPUTERS, "points": [11, 21]},
    "single_deletion": {"imputer": IMPUTERS},
    "part_faithfulness": {"draws": [4, 8], "min_range": [0.05, 0.1, 0.2]},
    "avg_sensitivity_normalised": {"radius": [4 / 255, 8 / 255, 16 / 255], "draws": [5]},
    "flip_equivariance": {"max_prob_diff": [0.02, 0.05, 0.1]},
}
"""Per metric what is varied beside the grid."""

FIXED = ("faithfulness", "localisation", "complexity")
"""Categories whose metrics take one map per image."""

READS_PIXELS = frozenset({"part_faithfulness", "avg_sensitivity_normalised"})
"""Metrics that do not read cells: the grid says nothing to them."""


def checks(bench: Bench) -> Iterator[Check]:
    """Stability of the ranking under other settings, per deciding metric."""
    methods = [bench.part(name) for name in bench.sizes.methods]
    fixed = _tables(bench, bench.faces_subject, methods, bench.asked(bench.settings, *FIXED))
    again = _tables(bench, bench.again_subject, methods, bench.asked(bench.settings, "robustness"), variants=True)
    wired = _wired(bench)
    for label in bench.labels():
        category = bench.traits(label).category
        if not applies(category, "M7"):
            yield Check(
                id="M7", test="hyper-parameters", metric=label, subject=TRAINED, statistic="", value=None, criterion="",
                verdict="not applicable", note=APPLIES[category]["M7"],
            )  # fmt: skip
            continue
        yield _stability(bench, label, again if category == "robustness" else fixed)
        if label in exact_for(bench):
            yield _oracle_first(label, wired)


def variations(label: str, params: Params) -> dict[str, Params]:
    """A metric's settings under labels: ``nsrg@m7.3``."""
    varied = VARIED.get(metric_of(label), {})
    return {
        f"{label}@m7.{number}": {**params, **dict(zip(varied, values, strict=True))}
        for number, values in enumerate(itertools.product(*varied.values()))
    }


Tables = Mapping[int, Scores]


def exact_for(bench: Bench) -> list[str]:
    """Metrics whose truth does not depend on their settings; where parts are drawn anew, every draw has its own."""
    return [label for label in bench.labels("faithfulness") if not bench.traits(label).rerender]


def _tables(bench: Bench, on: Subject, maps: Sequence[Part], given: Settings, *, variants: bool = False) -> Tables:
    """Per grid the scores under every setting."""
    found = {}
    for grid in GRIDS:
        bench.tell(f"settings: {on.name}, {grid} × {grid} cells")
        asked_of = {
            key: params
            for label in given
            if grid == bench.rules.grid or metric_of(label) not in READS_PIXELS
            for key, params in variations(label, given[label]).items()
            if applies(bench.traits(label).category, "M7")
        }
        found[grid] = scored(on, maps, asked_of, grid=grid, variants=variants)
    return found


def _wired(bench: Bench) -> Tables:
    """The exact map and the methods on the hand-wired sum, the mean colour being what it is exact for."""
    on = bench.wired_subject("part_sum")
    maps = [reference_maps.named("oracle", reference_maps.exact), *bench.wired_methods(on)]
    found = {}
    for grid in GRIDS:
        asked_of = {
            key: params
            for label in exact_for(bench)
            for key, params in variations(label, bench.grey[label]).items()
            if not _imputers(params) - {"mean"}
        }
        found[grid] = scored(on, maps, asked_of, grid=grid)
    return found


def _imputers(params: Params) -> set[str]:
    return {*params.get("imputers", ()), *([params["imputer"]] if "imputer" in params else ())}


def settings_of(label: str, tables: Tables, names: Sequence[str]) -> list[Setting]:
    """Means of the methods under every setting that was scored."""
    found = []
    for grid, scores in tables.items():
        for key in scores.labels(f"{label}@m7."):
            means = {e: scores.mean(e, key) for e in names if scores.has(e, key)}
            found.append(Setting(grid, {"setting": key.partition("@")[2]}, means))
    return found


def _stability(bench: Bench, label: str, tables: Tables) -> Check:
    found = settings_of(label, tables, bench.sizes.methods)
    tau = kendall(found)
    least = bench.rules.sensitivity.min_tau if bench.rules.sensitivity else 0.7
    sign = bench.sign(label)
    known = [{name: mean for name, mean in one.means.items() if mean is not None} for one in found]
    leaders = {max(means, key=lambda name: sign * means[name]) for means in known if means}
    value = float("nan") if tau is None else tau
    return asked(
        "M7", "hyper-parameters", label, TRAINED, "mean Kendall tau of the methods", value=value,
        criterion=f"≥ {least:g}", passed=value >= least,
        note=f"{len(found)} settings; leads under some: {', '.join(sorted(leaders))}",
    )  # fmt: skip


def _oracle_first(label: str, tables: Tables) -> Check:
    """The exact map leads under every grid and number of points, the mean colour being what it is exact for."""
    worst, count = float("inf"), 0
    for scores in tables.values():
        for key in scores.labels(f"{label}@m7."):
            others = [e for e in scores.maps(key) if e != "oracle" and scores.has(e, key)]
            worst = min([worst, *(scores.mean("oracle", key) - scores.mean(e, key) for e in others)])
            count += 1
    return asked(
        "M7", "hyper-parameters: the truth leads", label, "part_sum", "oracle − best method, the least", value=worst,
        criterion=f"≥ {-SLACK:g}", passed=worst >= -SLACK and np.isfinite(worst), note=f"{count} settings",
    )  # fmt: skip
