"""Does a method tell a model that leans on a cue from one that does not? Two models, the same images."""

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
    """How well each explainer's mass on the cue tells every two models apart of which one leans on it more.

    A model leans on the cue as far as it is more often right where the cue agrees with the label than where it
    disagrees. The figure is the area under the ROC curve over images, leaning model against the other: 1 where every
    image has more mass on the cue under the leaning model than any has under the other, 0.5 where the two cannot be
    told apart.

    Args:
        scores: all rows: ``model, image, explainer, metric, value``.
        images: one row per model and image; attributes as columns.
        models: what was found on each model.
        settings: how means are taken; the interval resamples images within groups.

    Source: protocol L3, after Adebayo et al. 2022: a clean twin shows the false positives; interval after DeLong et
    al. 1988.
    """
    leaning = {
        m.model: m.validity.cue["agrees"] - m.validity.cue["disagrees"] for m in models if _has_cue_accuracies(m)
    }
    masses = scores[(scores["metric"] == CUE_METRIC) & scores["value"].notna()]
    groups = group_labels(images.drop_duplicates("image").set_index("image").sort_index(), settings.attributes[0])
    found = []
    for first, second in permutations(leaning, 2):
        if leaning[first] > leaning[second]:
            for explainer in masses["explainer"].unique():
                rows = masses[masses["explainer"] == explainer].pivot(index="image", columns="model", values="value")
                if {first, second} <= set(rows.columns):
                    pair = rows[[first, second]].dropna().sort_index()
                    own = settings.for_images(groups.index.isin(pair.index))
                    one = _auroc_interval(pair.to_numpy(dtype=np.float64), groups.loc[pair.index].tolist(), own)
                    found.append(
                        CueDetection(
                            leaning=first,
                            other=second,
                            explainer=str(explainer),
                            reliance=(leaning[first], leaning[second]),
                            auroc=to_estimate(*one, len(pair)),
                        )
                    )
    return tuple(found)


def auroc_influences(leaning: bootstrap.Floats, less_leaning: bootstrap.Floats) -> bootstrap.Floats:
    """Per image ``(n,)`` a value whose mean is the area under the ROC curve and whose scatter gives its error.

    Args:
        leaning: ``(n,)`` masses under the leaning model.
        less_leaning: ``(n,)`` masses of the same images under the other.
    """
    above = (leaning[:, None] > less_leaning[None]) + 0.5 * (leaning[:, None] == less_leaning[None])
    placed: bootstrap.Floats = above.mean(1) + above.mean(0) - above.mean()
    return placed


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
