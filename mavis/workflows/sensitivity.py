"""Sensitivity of rankings to the settings of the metrics: the protocol's grid of settings, run and compared.

Source: protocol 2.7; Maier-Hein et al. 2018: even a Kendall tau of .74 to .85 hides changes of the winner.
"""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mavis.analysis.groups import macro_means, pivot_scores
from mavis.core import files
from mavis.core.errors import ProtocolError
from mavis.core.group_attributes import group_labels
from mavis.core.process_state import standard_settings
from mavis.core.registry import explainers, metrics
from mavis.engine.execution.scheduler import SILENT, Progress
from mavis.engine.planning import setup
from mavis.engine.planning.request import Request
from mavis.engine.provenance import run_identity
from mavis.engine.store import Store
from mavis.protocol import loading
from mavis.protocol.schema import Protocol, SensitivityRules
from mavis.workflows import run


@dataclass(frozen=True)
class Setting:
    """One setting of a metric and its results.

    Attributes:
        grid: cells per side.
        params: the varied parameters.
        means: per method the macro mean, or None without a value.
    """

    grid: int
    params: Mapping[str, Any]
    means: Mapping[str, float | None]


@dataclass(frozen=True)
class Stability:
    """Stability of a metric's ranking of the methods under other settings, on one model.

    Attributes:
        model: name.
        metric: name.
        higher_is_better: its direction.
        settings: everything that was tried.
        tau: mean Kendall tau-b over all pairs of settings; None with fewer than two methods or settings.
        winners: every method that leads under some setting.
        stable: whether tau reaches the protocol's minimum; None where there is no tau.
    """

    model: str
    metric: str
    higher_is_better: bool
    settings: tuple[Setting, ...]
    tau: float | None
    winners: tuple[str, ...]
    stable: bool | None


@standard_settings()
def run_sensitivity(request: Request, folder: Path, progress: Progress = SILENT) -> tuple[Stability, ...]:
    """Runs every setting and compares the rankings; one run directory per grid, each continued where it stopped.

    Args:
        request: as for a run; its protocol's ``sensitivity`` says what is varied.
        folder: where the run directories go, and ``sensitivity.json``.
        progress: told what goes on, grid by grid.

    Raises:
        MavisError: before anything is written; ProtocolError where the protocol varies nothing.
    """
    protocol = request.protocol if isinstance(request.protocol, Protocol) else loading.load_protocol(request.protocol)
    if protocol.sensitivity is None:
        raise ProtocolError(f"The protocol {protocol.protocol} has no 'sensitivity'; say there which settings to vary.")
    tables = [
        _run_grid(request, protocol, protocol.sensitivity, grid, folder, progress)
        for grid in protocol.sensitivity.grids
    ]
    stabilities = tuple(
        _stability(model, metric, [s for table in tables for s in table[model, metric]], protocol.sensitivity)
        for model, metric in tables[0]
    )
    text = json.dumps([asdict(stability) for stability in stabilities], indent=2)
    files.write_text(folder / "sensitivity.json", text)
    return stabilities


def label_settings(rules: SensitivityRules) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every metric with every combination of its varied parameters: label, metric, parameters."""
    for metric, varied in rules.metrics.items():
        for number, values in enumerate(itertools.product(*varied.values())):
            yield f"{metric}@{number}", metric, dict(zip(varied, values, strict=True))


def mean_kendall_tau(settings: Sequence[Setting]) -> float | None:
    """Mean Kendall tau-b of the methods' means over all pairs of settings; a setting that ties all methods counts 0."""
    taus = []
    for a, b in itertools.combinations(settings, 2):
        common = [name for name in a.means if a.means[name] is not None and b.means.get(name) is not None]
        if len(common) < 2:
            continue
        tau = stats.kendalltau([a.means[name] for name in common], [b.means[name] for name in common]).statistic
        taus.append(0.0 if np.isnan(tau) else float(tau))
    return float(np.mean(taus)) if taus else None


def _run_grid(
    request: Request, protocol: Protocol, varied: SensitivityRules, grid: int, folder: Path, progress: Progress
) -> dict[tuple[str, str], list[Setting]]:
    """One grid's settings per model and metric."""
    labelled_settings = list(label_settings(varied))
    body = protocol.model_dump(mode="json", by_alias=True) | {
        "grid": grid,
        "metrics": {label: params for label, _, params in labelled_settings},
        "explainers": {**protocol.explainers.model_dump(mode="json"), "controls": [], "oracles": []},
        "agreement": None,
        "reliability": None,
    }
    grid_folder = folder / f"grid{grid}"
    plan = setup.plan_run(replace(request, protocol=loading.parse_protocol(body, str(grid_folder))))
    store = Store.open_or_create(grid_folder, run_identity(plan))
    run.measure_models(plan, store)
    run.execute_run(plan, store, progress)
    images, scores = store.images(), store.scores()
    settings: dict[tuple[str, str], list[Setting]] = {}
    for model in plan.models:
        means = _macro_means(
            scores[scores["model"] == model], images[images["model"] == model], protocol.data.groups[0]
        )
        for label, metric, params in labelled_settings:
            setting = Setting(grid, params, means.get(label, {}))
            settings.setdefault((model, metric), []).append(setting)
    return settings


def _macro_means(scores: pd.DataFrame, images: pd.DataFrame, attribute: str) -> dict[str, dict[str, float | None]]:
    """Per label and method the macro mean."""
    methods = [e for e in scores["explainer"].unique() if explainers[e].traits.role == "method"]
    shown = images.set_index("image")
    table = pivot_scores(scores[scores["explainer"].isin(methods)], shown)
    means = macro_means(table.to_numpy(dtype=np.float64), group_labels(shown, attribute).tolist())
    means_by_label: dict[str, dict[str, float | None]] = {}
    for pair, mean in zip(table.columns.to_list(), means, strict=True):
        means_by_label.setdefault(pair[1], {})[pair[0]] = None if np.isnan(mean) else float(mean)
    return means_by_label


def _stability(model: str, metric: str, settings: Sequence[Setting], rules: SensitivityRules) -> Stability:
    tau = mean_kendall_tau(settings)
    higher_is_better = metrics[metric].traits.higher_is_better is not False
    leaders = []
    for setting in settings:
        scores = {name: mean if higher_is_better else -mean for name, mean in setting.means.items() if mean is not None}
        leaders += [name for name, mean in scores.items() if mean == max(scores.values())]
    return Stability(
        model=model,
        metric=metric,
        higher_is_better=higher_is_better,
        settings=tuple(settings),
        tau=tau,
        winners=tuple(dict.fromkeys(leaders)),
        stable=None if tau is None else tau >= rules.min_tau,
    )
