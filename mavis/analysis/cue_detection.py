"""Detection of spurious cues: a method's mass on the cue compares two models on the same images."""

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pandas as pd

from mavis.analysis.findings import CueDetection, ModelFindings
from mavis.analysis.groups import BootstrapSettings, macro_draws, macro_means, to_estimate
from mavis.analysis.statistics import bootstrap
from mavis.core.group_attributes import group_labels

CUE_METRIC = "cue_mass"


def score_cue_detection(
    scores: pd.DataFrame, images: pd.DataFrame, models: Sequence[ModelFindings], settings: BootstrapSettings
) -> tuple[CueDetection, ...]:
    """Area under the ROC curve of each explainer's mass on the cue, for every pair of models that differ in reliance.

    A model's reliance on the cue is its accuracy where the cue agrees with the label minus that where it disagrees. The
    curve separates images under the model with more reliance from the same images under the other: 1 if every image
    has more mass on the cue under the first than any has under the second, 0.5 if the two cannot be told apart.

    Args:
        scores: all rows: ``model, image, explainer, metric, value``.
        images: one row per model and image; attributes as columns.
        models: findings of each model.
        settings: settings of means; the interval resamples images within groups.

    Source: protocol L3, after Adebayo et al. 2022: a clean twin shows the false positives; interval after DeLong et
    al. 1988.
    """
    leaning = {
        model.model: model.validity.cue["agrees"] - model.validity.cue["disagrees"]
        for model in models
        if _has_cue_accuracies(model)
    }
    masses = scores[(scores["metric"] == CUE_METRIC) & scores["value"].notna()]
    groups = group_labels(images.drop_duplicates("image").set_index("image").sort_index(), settings.attributes[0])
    detections = []
    for first, second in permutations(leaning, 2):
        if leaning[first] > leaning[second]:
            for explainer in masses["explainer"].unique():
                rows = masses[masses["explainer"] == explainer].pivot(index="image", columns="model", values="value")
                if {first, second} <= set(rows.columns):
                    pair = rows[[first, second]].dropna().sort_index()
                    pair_settings = settings.for_images(groups.index.isin(pair.index))
                    interval = _auroc_interval(
                        pair.to_numpy(dtype=np.float64), groups.loc[pair.index].tolist(), pair_settings
                    )
                    detections.append(
                        CueDetection(
                            leaning=first,
                            other=second,
                            explainer=str(explainer),
                            reliance=(leaning[first], leaning[second]),
                            auroc=to_estimate(*interval, len(pair)),
                        )
                    )
    return tuple(detections)


def auroc_influences(leaning: bootstrap.Floats, less_leaning: bootstrap.Floats) -> bootstrap.Floats:
    """Values per image ``(n,)`` with the area under the ROC curve as their mean and its error from their variance.

    Args:
        leaning: ``(n,)`` masses under the leaning model.
        less_leaning: ``(n,)`` masses of the same images under the other.
    """
    above = (leaning[:, None] > less_leaning[None]) + 0.5 * (leaning[:, None] == less_leaning[None])
    influences: bootstrap.Floats = above.mean(1) + above.mean(0) - above.mean()
    return influences


def _auroc_interval(
    masses: bootstrap.Floats, groups: list[str], settings: BootstrapSettings
) -> tuple[float, float, float]:
    if not len(masses):
        return float("nan"), float("nan"), float("nan")
    values = auroc_influences(masses[:, 0], masses[:, 1])[:, None]
    low, high = bootstrap.percentile_interval(macro_draws(values, groups, settings)[:, 0], settings.confidence)
    return float(macro_means(values, groups)[0]), float(low), float(high)


def _has_cue_accuracies(model: ModelFindings) -> bool:
    return {"agrees", "disagrees"} <= set(model.validity.cue)
