"""Detection of a planted cue: which of two models relies on it, and which explainers show that.

An explainer is asked on the images whose cue speaks for the class that it explains: there a model that uses the cue has
something to show. Where the cue speaks against the class its influence is negative, and a mass counts what is positive.
"""

from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np
import pandas as pd

from mavis.analysis.findings import CueDetection, Estimate, ModelFindings
from mavis.analysis.groups import BootstrapSettings, macro_draws, macro_means, to_estimate
from mavis.analysis.statistics import bootstrap
from mavis.core.group_attributes import group_labels

CUE_METRIC = "cue_mass"


def score_cue_detection(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    models: Sequence[ModelFindings],
    settings: BootstrapSettings,
    explained: str = "predicted",
) -> tuple[CueDetection, ...]:
    """Discrimination, by each explainer's mass on the cue, of a model that relies on it from one that relies less.

    A model's reliance on the cue is its accuracy where the cue agrees with the label minus that where it disagrees. Per
    pair of models, over the images whose cue speaks for the class that is explained on the model with more reliance:

    - the area under the ROC curve, 1 if every image has more mass on the cue under this model than any has under the
      other, 0.5 if the two cannot be told apart;
    - the share of images with more mass under this model than the same image has under the other, ties half.

    Args:
        scores: all rows: ``model, image, explainer, metric, value``.
        images: one row per model and image: ``model, image, label, predicted, cue``; attributes as columns.
        models: findings of each model.
        settings: settings of means; intervals resample images within groups.
        explained: column of the explained class, ``predicted`` or ``label``.

    Source: protocol L3, after Adebayo et al. 2022: a clean twin shows the false positives; interval after DeLong et
    al. 1988.
    """
    leaning = {
        model.model: model.validity.cue["agrees"] - model.validity.cue["disagrees"]
        for model in models
        if _has_cue_accuracies(model)
    }
    masses = scores[(scores["metric"] == CUE_METRIC) & scores["value"].notna()]
    tables = {name: rows.set_index("image").sort_index() for name, rows in images.groupby("model", sort=False)}
    detections: list[CueDetection] = []
    for first, second in permutations(leaning, 2):
        if leaning[first] > leaning[second]:
            more_reliance = _reliance_difference(tables[first], tables[second], settings)
            speaks = tables[first]["cue"] == tables[first][explained]
            for explainer, values in _paired_masses(masses, first, second):
                chosen = values[speaks.reindex(values.index, fill_value=False)]
                auroc, share = _estimates(chosen, tables[first], settings)
                detections.append(
                    CueDetection(
                        leaning=first,
                        other=second,
                        explainer=explainer,
                        reliance=(leaning[first], leaning[second]),
                        more_reliance=more_reliance,
                        auroc=auroc,
                        higher=share,
                    )
                )
    return tuple(detections)


def _paired_masses(masses: pd.DataFrame, first: str, second: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Per explainer that was run on both models its masses, one column per model, over the images with both."""
    for explainer in masses["explainer"].unique():
        rows = masses[masses["explainer"] == explainer].pivot(index="image", columns="model", values="value")
        if {first, second} <= set(rows.columns):
            yield str(explainer), rows[[first, second]].dropna().sort_index()


def _reliance_difference(first: pd.DataFrame, second: pd.DataFrame, settings: BootstrapSettings) -> Estimate:
    """Reliance of the first model minus that of the second, paired per image; by resampling images with a cue."""
    has_cue, agrees = first["cue"] >= 0, first["cue"] == first["label"]
    right = [(table["predicted"] == table["label"]).astype(float) for table in (first, second.reindex(first.index))]
    lead = (right[0] - right[1])[has_cue]
    columns = np.stack([lead.where(agrees), lead.where(~agrees)], axis=1)
    draws = macro_draws(columns, ["with a cue"] * len(lead), settings.for_images(has_cue.to_numpy()))
    low, high = bootstrap.percentile_interval(draws[:, 0] - draws[:, 1], settings.confidence)
    mean = lead[agrees].mean() - lead[~agrees].mean()
    return to_estimate(float(mean), float(low), float(high), len(lead))


def auroc_influences(leaning: bootstrap.Floats, less_leaning: bootstrap.Floats) -> bootstrap.Floats:
    """Values per image ``(n,)`` with the area under the ROC curve as their mean and its error from their variance.

    Args:
        leaning: ``(n,)`` masses under the leaning model.
        less_leaning: ``(n,)`` masses of the same images under the other.
    """
    above = (leaning[:, None] > less_leaning[None]) + 0.5 * (leaning[:, None] == less_leaning[None])
    influences: bootstrap.Floats = above.mean(1) + above.mean(0) - above.mean()
    return influences


def _estimates(masses: pd.DataFrame, images: pd.DataFrame, settings: BootstrapSettings) -> tuple[Estimate, Estimate]:
    """Area under the ROC curve, and share of images with more mass under the first model; both with an interval."""
    if not len(masses):
        return to_estimate(np.nan, np.nan, np.nan, 0), to_estimate(np.nan, np.nan, np.nan, 0)
    groups = group_labels(images, settings.attributes[0])
    own_settings = settings.for_images(groups.index.isin(masses.index))
    strata = groups.loc[masses.index].tolist()
    first, second = masses.to_numpy(dtype=np.float64).T
    values = np.stack([auroc_influences(first, second), (first > second) + 0.5 * (first == second)], axis=1)
    low, high = bootstrap.percentile_interval(macro_draws(values, strata, own_settings), settings.confidence)
    ends = zip(macro_means(values, strata).tolist(), low.tolist(), high.tolist(), strict=True)
    auroc, share = (to_estimate(*interval, len(masses)) for interval in ends)
    return auroc, share


def _has_cue_accuracies(model: ModelFindings) -> bool:
    return {"agrees", "disagrees"} <= set(model.validity.cue)
