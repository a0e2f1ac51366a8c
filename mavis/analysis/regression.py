"""Did explanations get worse? Two tables of per-image scores, paired. Pure, but for reading and writing a baseline."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from mavis.analysis.groups import Rules, macro_draws, macro_means
from mavis.analysis.statistics import bootstrap
from mavis.core.errors import StoreError
from mavis.core.group_attributes import joined
from mavis.core.registry import metric_of, metrics

KEY = ["model", "explainer", "metric", "image"]
NOT_COMPARED = ("cost", "hygiene")

Verdict = Literal["worse", "better", "same", "missing"]


@dataclass(frozen=True)
class Change:
    """One explainer and metric, before and now.

    Attributes:
        n: images with a value both times.
        before: macro mean of the baseline over these images.
        difference: now minus before, positive where it got better, whatever the metric's direction.
        low: lower end of its interval.
        high: upper end.
        verdict: worse where the whole interval lies below −margin; missing where a value is gone.
    """

    model: str
    explainer: str
    metric: str
    n: int
    before: float
    difference: float
    low: float
    high: float
    verdict: Verdict


def write_baseline(scores: pd.DataFrame, path: Path) -> None:
    """Keeps the per-image scores of a run: one parquet file to commit."""
    kept = scores.loc[scores["status"] == "ok", [*KEY, "value"]].sort_values(KEY)
    kept = kept[~kept["metric"].map(_left_out)]
    path.parent.mkdir(parents=True, exist_ok=True)
    kept.to_parquet(path, index=False, compression="zstd")


def read_baseline(path: Path) -> pd.DataFrame:
    """A baseline file.

    Raises:
        StoreError: it is not there, or no baseline.
    """
    try:
        found = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is no baseline; mavis check RUN --write {path} makes one. ({error})") from error
    if missing := sorted({*KEY, "value"} - set(found.columns)):
        raise StoreError(f"{path} is no baseline: it has no column {', '.join(missing)}.")
    return found


def compare(
    before: pd.DataFrame, now: pd.DataFrame, images: pd.DataFrame, *, margin: float, rules: Rules
) -> list[Change]:
    """Every explainer and metric of the baseline, paired per image, for the models that the run has too.

    Args:
        before: ``model, explainer, metric, image, value``.
        now: the same of the run, with ``status``.
        images: of the run: ``image`` and the attributes.
        margin: differences up to this size do not matter, in the metric's own unit.
        rules: how means are taken.

    Raises:
        StoreError: no image is in both.
    """
    if not set(before["image"]) & set(now["image"]):
        raise StoreError(
            "The run and the baseline have no image in common; was the seed, the data or the size another?"
        )
    groups = joined(images.drop_duplicates("image").set_index("image"), rules.attributes[0])
    current = now[now["status"] == "ok"].set_index(KEY)["value"]
    current = current[~current.index.duplicated()]
    changes = []
    before = before[before["model"].isin(set(now["model"]))]
    for (model, explainer, metric), rows in before.groupby(KEY[:3], sort=True):
        if not _left_out(str(metric)):
            pair = rows.set_index(KEY)["value"].to_frame("before").assign(now=current)
            changes.append(_one((str(model), str(explainer), str(metric)), pair, groups, margin, rules))
    return changes


def _one(names: tuple[str, str, str], pair: pd.DataFrame, groups: pd.Series, margin: float, rules: Rules) -> Change:
    common = pair.dropna().sort_index()
    common = common[common.index.get_level_values("image").isin(groups.index)]
    lost = len(pair) - len(common)
    if common.empty:
        return Change(*names, 0, float(pair["before"].mean()), np.nan, np.nan, np.nan, "missing")
    strata = groups.loc[common.index.get_level_values("image")].tolist()
    sign = 1.0 if metrics[metric_of(names[2])].traits.higher_is_better else -1.0
    gains = sign * (common["now"] - common["before"]).to_numpy(dtype=np.float64)[:, None]
    low, high = bootstrap.percentiles(macro_draws(gains, strata, rules)[:, 0], rules.confidence)
    before = float(macro_means(common[["before"]].to_numpy(dtype=np.float64), strata)[0])
    mean = float(macro_means(gains, strata)[0])
    verdict: Verdict = "worse" if high < -margin else "better" if low > margin else "missing" if lost else "same"
    return Change(*names, len(common), before, mean, float(low), float(high), verdict)


def _left_out(metric: str) -> bool:
    if metric_of(metric) not in metrics:
        return False
    traits = metrics[metric_of(metric)].traits
    return traits.category in NOT_COMPARED or traits.higher_is_better is None
