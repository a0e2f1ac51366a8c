"""Regression of scores against a stored baseline, paired per image. Pure, except that it reads and writes baselines."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from mavis.analysis.groups import BootstrapSettings, macro_draws, macro_means
from mavis.analysis.statistics import bootstrap
from mavis.core.errors import StoreError
from mavis.core.group_attributes import group_labels
from mavis.core.registry import metric_name, metrics

KEY_COLUMNS = ["model", "explainer", "metric", "image"]
EXCLUDED_CATEGORIES = ("cost", "hygiene")

ChangeVerdict = Literal["worse", "better", "same", "missing"]


@dataclass(frozen=True)
class ScoreChange:
    """Change of one explainer's scores on one metric.

    Attributes:
        model: name of the model.
        explainer: name of the explainer.
        metric: label of the metric.
        n: images with a value in both tables.
        baseline_mean: macro mean of the baseline over these images.
        difference: current minus baseline, in the direction of the metric: positive is better.
        low: lower end of its interval.
        high: upper end.
        verdict: worse if the interval lies below −margin, better if above the margin; missing if a value is gone.
    """

    model: str
    explainer: str
    metric: str
    n: int
    baseline_mean: float
    difference: float
    low: float
    high: float
    verdict: ChangeVerdict


def write_baseline(scores: pd.DataFrame, path: Path) -> None:
    """Writes the per-image scores of a run to one parquet file, to be committed."""
    rows = scores.loc[scores["status"] == "ok", [*KEY_COLUMNS, "value"]].sort_values(KEY_COLUMNS)
    rows = rows[~rows["metric"].map(_is_excluded)]
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(path, index=False, compression="zstd")


def read_baseline(path: Path) -> pd.DataFrame:
    """Reads a baseline file.

    Raises:
        StoreError: the file does not exist, or is no baseline.
    """
    try:
        baseline = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} is no baseline; mavis check RUN --save-baseline {path} makes one. ({error})"
        ) from error
    if missing := sorted({*KEY_COLUMNS, "value"} - set(baseline.columns)):
        raise StoreError(f"{path} is no baseline: it has no column {', '.join(missing)}.")
    return baseline


def compare_to_baseline(
    baseline: pd.DataFrame, scores: pd.DataFrame, images: pd.DataFrame, *, margin: float, settings: BootstrapSettings
) -> list[ScoreChange]:
    """Changes of every explainer and metric of the baseline, paired per image, for models that the run has too.

    Args:
        baseline: ``model, explainer, metric, image, value``.
        scores: the same columns of the run, with ``status``.
        images: images of the run: ``image`` and the attributes.
        margin: largest difference without a verdict, in the metric's own unit.
        settings: settings of means.

    Raises:
        StoreError: the run and the baseline have no image in common.
    """
    if not set(baseline["image"]) & set(scores["image"]):
        raise StoreError(
            "The run and the baseline have no image in common; was the seed, the data or the size another?"
        )
    groups = group_labels(images.drop_duplicates("image").set_index("image"), settings.attributes[0])
    current = scores[scores["status"] == "ok"].set_index(KEY_COLUMNS)["value"]
    current = current[~current.index.duplicated()]
    changes = []
    baseline = baseline[baseline["model"].isin(set(scores["model"]))]
    for (model, explainer, metric), rows in baseline.groupby(KEY_COLUMNS[:3], sort=True):
        if not _is_excluded(str(metric)):
            pair = rows.set_index(KEY_COLUMNS)["value"].to_frame("before").assign(now=current)
            changes.append(_score_change((str(model), str(explainer), str(metric)), pair, groups, margin, settings))
    return changes


def _score_change(
    names: tuple[str, str, str], pair: pd.DataFrame, groups: pd.Series, margin: float, settings: BootstrapSettings
) -> ScoreChange:
    common = pair.dropna().sort_index()
    common = common[common.index.get_level_values("image").isin(groups.index)]
    n_missing = len(pair) - len(common)
    if common.empty:
        return ScoreChange(*names, 0, float(pair["before"].mean()), np.nan, np.nan, np.nan, "missing")
    strata = groups.loc[common.index.get_level_values("image")].tolist()
    sign = 1.0 if metrics[metric_name(names[2])].traits.higher_is_better else -1.0
    gains = sign * (common["now"] - common["before"]).to_numpy(dtype=np.float64)[:, None]
    low, high = bootstrap.percentile_interval(macro_draws(gains, strata, settings)[:, 0], settings.confidence)
    before = float(macro_means(common[["before"]].to_numpy(dtype=np.float64), strata)[0])
    mean = float(macro_means(gains, strata)[0])
    verdict: ChangeVerdict = (
        "worse" if high < -margin else "better" if low > margin else "missing" if n_missing else "same"
    )
    return ScoreChange(*names, len(common), before, mean, float(low), float(high), verdict)


def _is_excluded(metric: str) -> bool:
    if metric_name(metric) not in metrics:
        return False
    traits = metrics[metric_name(metric)].traits
    return traits.category in EXCLUDED_CATEGORIES or traits.higher_is_better is None
