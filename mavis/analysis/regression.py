"""Regression of scores against a stored baseline, paired per image. Pure, except that it reads and writes baselines."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mavis.analysis.groups import BootstrapSettings, macro_draws, macro_means
from mavis.analysis.score_origin import ScoreOrigin
from mavis.analysis.statistics import bootstrap
from mavis.core import files
from mavis.core.errors import StoreError
from mavis.core.group_attributes import group_labels
from mavis.core.registry import metric_name, metrics

KEY_COLUMNS = ["model", "explainer", "metric", "image"]
EXCLUDED_CATEGORIES = ("cost", "hygiene")
ORIGIN_KEY = b"mavis.origin"
"""Key of the file's metadata under which the origin of the scores stands."""

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
        verdict: worse if the interval lies below −margin; else missing if a value is gone; else better if the interval
            lies above the margin.
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


@dataclass(frozen=True)
class Baseline:
    """Scores that a run is compared with.

    Attributes:
        scores: ``model, explainer, metric, image, value``, one row per value.
        origin: what they belong to; None in the files of older versions.
    """

    scores: pd.DataFrame
    origin: ScoreOrigin | None


def write_baseline(scores: pd.DataFrame, path: Path, origin: ScoreOrigin) -> None:
    """Writes the per-image scores of a run and their origin to one parquet file, to be committed.

    Raises:
        StoreError: no score can be compared later.
        FileError: the file cannot be written.
    """
    rows = comparable_scores(scores).sort_values(KEY_COLUMNS)
    if rows.empty:
        raise StoreError(
            "This run has no score that a later one can be compared with: its metrics "
            f"({', '.join(sorted(set(scores['metric']))[:3]) if len(scores) else 'none'}) only check maps, count "
            "costs, describe, or have no value."
        )
    table = pa.Table.from_pandas(rows, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), ORIGIN_KEY: origin.to_json().encode()})
    files.make_folder(path.parent)
    files.write_file(path, lambda file: pq.write_table(table, file, compression="zstd"))


def read_baseline(path: Path) -> Baseline:
    """Reads a baseline file.

    Raises:
        StoreError: the file does not exist, or is no baseline.
    """
    try:
        scores, metadata = pd.read_parquet(path), pq.read_schema(path).metadata or {}
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise StoreError(
            f"{path} is no baseline; mavis check RUN --save-baseline {path} makes one. ({' '.join(reason.split())})"
        ) from error
    if missing := sorted({*KEY_COLUMNS, "value"} - set(scores.columns)):
        raise StoreError(f"{path} is no baseline: it has no column {', '.join(missing)}.")
    if not pd.api.types.is_numeric_dtype(scores["value"]):
        raise StoreError(f"{path} is no baseline: its values are not numbers.")
    return Baseline(scores, ScoreOrigin.from_json(metadata[ORIGIN_KEY]) if ORIGIN_KEY in metadata else None)


def comparable_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows with a value, of metrics with a direction that are neither costs nor checks of the maps.

    Args:
        scores: ``model, explainer, metric, image, value``, and ``status`` where there are rows without a value.
    """
    if not len(scores):
        return pd.DataFrame(columns=[*KEY_COLUMNS, "value"])
    rows = scores[scores["status"] == "ok"] if "status" in scores else scores
    rows = rows.loc[~rows["metric"].map(_is_excluded).astype(bool), [*KEY_COLUMNS, "value"]].dropna(subset=["value"])
    return rows.drop_duplicates(KEY_COLUMNS)


def compare_to_baseline(
    baseline: pd.DataFrame, scores: pd.DataFrame, images: pd.DataFrame, *, margin: float, settings: BootstrapSettings
) -> list[ScoreChange]:
    """Changes of every model, explainer and metric of the baseline, paired per image.

    Args:
        baseline: see `comparable_scores`.
        scores: those of the run; what they lack is missing.
        images: images of the run: ``image`` and the attributes.
        margin: largest difference without a verdict, in the metric's own unit.
        settings: settings of means.

    Raises:
        StoreError: the run and the baseline have no image in common.
    """
    current = comparable_scores(scores)
    if len(current) and not set(baseline["image"]) & set(current["image"]):
        raise StoreError(
            "The run and the baseline have no image in common; was the seed, the data or the size another?"
        )
    groups = group_labels(images.drop_duplicates("image").set_index("image"), settings.attributes[0])
    values = current.set_index(KEY_COLUMNS)["value"]
    changes = []
    for (model, explainer, metric), rows in comparable_scores(baseline).groupby(KEY_COLUMNS[:3], sort=True):
        pair = rows.set_index(KEY_COLUMNS)["value"].to_frame("before").assign(now=values)
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
    has_interval = bool(np.isfinite([low, high]).all())
    verdict: ChangeVerdict = (
        "worse"
        if high < -margin
        else "missing"
        if n_missing or not has_interval
        else "better"
        if low > margin
        else "same"
    )
    return ScoreChange(*names, len(common), before, mean, float(low), float(high), verdict)


def _is_excluded(metric: str) -> bool:
    if metric_name(metric) not in metrics:
        return False
    traits = metrics[metric_name(metric)].traits
    return traits.category in EXCLUDED_CATEGORIES or traits.higher_is_better is None
