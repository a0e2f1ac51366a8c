"""Randomisation metrics: similarity of maps before and after the model's parameters or the class are changed.

They serve as gates, never for ranking, since random maps pass them trivially. Metrics that read the same randomised
model share it, and every explainer's map of it.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from mavis.core.attribution_maps import Maps, spearman
from mavis.core.errors import BadParameter
from mavis.core.metric_types import Explanation, Metric, VariantMetric
from mavis.core.perturbation.variants import OtherClass, Randomised, Smoothed, Variant, cascade
from mavis.core.registry import metric
from mavis.core.types import Model
from mavis.metrics.map_similarity import histogram_entropy, hog_similarity, ssim

Similarity = Literal["spearman", "ssim", "hog"]
Compare = Callable[[Explanation, Explanation], Tensor]

SAME_ANSWER = 1e-5
"""Largest change of a logit, as a share of the largest one, with which an answer counts as unchanged."""

_UNCHANGED = "the answer for the image did not change when the weights were randomised"
_CONSTANT_MAP = f"the map, or that of the randomised model, is constant; or {_UNCHANGED}"
_CONSTANT_MAPS = f"the map, or those of all randomised models, are constant; or {_UNCHANGED}"


@metric(
    "mprt",
    source="Adebayo et al. 2018, section 3, arXiv 1810.03292; Binder et al. 2023, arXiv 2211.12486",
    category="randomisation",
    higher_is_better=False,
    range=(-1, 1),
    needs={"weights"},
    undefined=_CONSTANT_MAP,
)
def mprt(repeats: int = 1, similarity: Similarity = "spearman") -> Metric:
    """Similarity of absolute values before and after all parameters are randomised; by default Spearman's over cells.

    Near 1 the map does not depend on the learnt parameters (an edge detector scores exactly 1).

    Args:
        repeats: randomised models, at least 1.
        similarity: ``spearman`` over cells; ``ssim`` or ``hog`` over pixels, maps first divided by the root of their
            mean square.

    Differs: full randomisation only; Quantus averages the original model in.
    """
    _check_at_least("mprt", "repeats", repeats, 1)
    compare = _where_answers_change(_compare_by(similarity, absolute=True))
    return VariantMetric([Randomised(number) for number in range(repeats)], compare)


@metric(
    "mprt_top_down",
    source="Adebayo et al. 2018, section 3 (cascading), arXiv 1810.03292; protocol 2.10",
    category="randomisation",
    higher_is_better=False,
    range=(-1, 1),
    needs={"weights"},
    undefined=_CONSTANT_MAPS,
)
def mprt_top_down(repeats: int = 1, similarity: Similarity = "spearman") -> Metric:
    """Similarity as in `mprt`, averaged over models whose last one, two … and finally all layers are randomised.

    It costs a map per layer and repeat; the last step is that of `mprt`, and shared with it.

    Args:
        repeats: randomised models per step, at least 1.
        similarity: as in `mprt`.

    Differs: Quantus averages the original model in, and re-seeds every layer alike.
    """
    return _cascading_metric("mprt_top_down", "top_down", repeats, similarity)


@metric(
    "mprt_bottom_up",
    source="Binder et al. 2023, arXiv 2211.12486; protocol 2.10",
    category="randomisation",
    higher_is_better=False,
    range=(-1, 1),
    needs={"weights"},
    undefined=_CONSTANT_MAPS,
)
def mprt_bottom_up(repeats: int = 1, similarity: Similarity = "spearman") -> Metric:
    """Similarity as in `mprt`, averaged over models whose first one, two … and finally all layers are randomised.

    It costs a map per layer and repeat; the last step is that of `mprt`, and shared with it.

    Args:
        repeats: randomised models per step, at least 1.
        similarity: as in `mprt`.

    Differs: Quantus averages the original model in, and re-seeds every layer alike.
    """
    return _cascading_metric("mprt_bottom_up", "bottom_up", repeats, similarity)


@metric(
    "smooth_mprt",
    source="Hedström et al. 2023 (sMPRT), arXiv 2401.06465",
    category="randomisation",
    higher_is_better=False,
    range=(-1, 1),
    needs={"weights"},
    undefined=_CONSTANT_MAP,
)
def smooth_mprt(samples: int = 8, noise: float = 0.1, repeats: int = 1, similarity: Similarity = "spearman") -> Metric:
    """Similarity as in `mprt`, of maps averaged over noisy copies of the image.

    It costs a map per sample, once for the model and once per repeat, for every explainer.

    Args:
        samples: noisy copies per image, the same for all models, at least 1; the paper has 50.
        noise: standard deviation of the normal noise, as a share of each image's range of values, above 0.
        repeats: randomised models, at least 1.
        similarity: as in `mprt`.

    Differs: full randomisation only, as in `mprt`; averaged are maps, their channels already pooled.
    """
    _check_at_least("smooth_mprt", "repeats", repeats, 1)
    if samples < 1 or not 0 < noise < float("inf"):
        raise BadParameter(f"smooth_mprt: samples >= 1 and noise > 0 expected, got samples={samples}, noise={noise}.")
    variants = [Smoothed(Randomised(number), samples, noise) for number in range(repeats)]
    base_variant = Smoothed(Variant(), samples, noise)
    compare = _where_answers_change(_compare_by(similarity, absolute=True))
    return VariantMetric(variants, compare, base_variant=base_variant)


@metric(
    "efficient_mprt",
    source="Hedström et al. 2023 (eMPRT), arXiv 2401.06465",
    category="randomisation",
    higher_is_better=True,
    range=(-1, None),
    needs={"weights"},
    undefined=_CONSTANT_MAP,
)
def efficient_mprt(repeats: int = 1, bins: int = 100) -> Metric:
    """Relative rise of the entropy of the map's histogram when all parameters are randomised.

    At 0 or below the map of the randomised model is not more complex than that of the trained one.

    Args:
        repeats: randomised models, at least 1.
        bins: of the histogram, from a map's lowest value to its highest, at least 2.

    Differs: Quantus by default chooses the number of bins for each batch.
    """
    _check_at_least("efficient_mprt", "repeats", repeats, 1)
    _check_at_least("efficient_mprt", "bins", bins, 2)

    def rise(before: Explanation, after: Explanation) -> Tensor:
        entropy_before, entropy_after = (
            histogram_entropy(explanation.maps.values, bins) for explanation in (before, after)
        )
        return torch.where(
            before.maps.valid & after.maps.valid, (entropy_after - entropy_before) / entropy_before, torch.nan
        )

    return VariantMetric([Randomised(number) for number in range(repeats)], _where_answers_change(rise))


@metric(
    "random_logit",
    source="Sixt et al. 2020, arXiv 1912.09818; protocol G4",
    category="randomisation",
    higher_is_better=False,
    range=(-1, 1),
    undefined="a map is constant, or the model has one class only",
)
def random_logit(draws: int = 1, similarity: Similarity = "spearman") -> Metric:
    """Similarity of the signed maps of the explained class and of another one, drawn per image.

    Near 1 the map does not depend on the class. An explainer that draws random numbers draws the same ones for both.
    With two classes whose logits are opposite, unsigned maps are necessarily equal: read it for three classes or more.

    Args:
        draws: other classes per image, with replacement, at least 1.
        similarity: as in `mprt`, but of signed values.

    Differs: the paper and Quantus compare by SSIM. Quantus assumes 1000 classes by default, and draws one for each
    position in the batch.
    """
    _check_at_least("random_logit", "draws", draws, 1)
    compare_maps = _compare_by(similarity, absolute=False)

    def compare(before: Explanation, after: Explanation) -> Tensor:
        return torch.where(before.targets != after.targets, compare_maps(before, after), torch.nan)

    return VariantMetric([OtherClass(number) for number in range(draws)], compare)


def _cascading_metric(
    name: str, order: Literal["top_down", "bottom_up"], repeats: int, similarity: Similarity
) -> Metric:
    _check_at_least(name, "repeats", repeats, 1)

    def steps(model: Model) -> list[Randomised]:
        return [step for number in range(repeats) for step in cascade(model, number, order)]

    return VariantMetric(steps, _where_answers_change(_compare_by(similarity, absolute=True)))


def _where_answers_change(compare: Compare) -> Compare:
    """A comparison with no value for images whose logits the randomisation left as they were, whatever the cause.

    Weights that torch does not know, that are kept elsewhere or are frozen into a script are not randomised; the maps
    of such a model stay, and say nothing of the explainer.
    """

    def compare_changed(before: Explanation, after: Explanation) -> Tensor:
        logits, randomised = before.model_pass.logits, after.model_pass.logits
        change = (logits - randomised).abs().amax(1)
        return torch.where(change > SAME_ANSWER * logits.abs().amax(1), compare(before, after), torch.nan)

    return compare_changed


def _compare_by(similarity: Similarity, *, absolute: bool) -> Compare:
    """The comparison of two maps by a similarity, of their absolute values if ``absolute``."""
    if similarity not in get_args(Similarity):
        raise BadParameter(f"similarity must be one of {', '.join(get_args(Similarity))}, got '{similarity}'.")
    transform = torch.abs if absolute else torch.clone
    if similarity == "spearman":
        return lambda before, after: spearman(transform(before.maps.cells), transform(after.maps.cells))
    return partial(_compare_pixels, {"ssim": ssim, "hog": hog_similarity}[similarity], transform)


def _compare_pixels(
    similarity: Callable[[Tensor, Tensor], Tensor],
    transform: Callable[[Tensor], Tensor],
    before: Explanation,
    after: Explanation,
) -> Tensor:
    a, b = (transform(_rms_normalise(explanation.maps)) for explanation in (before, after))
    return torch.where(_has_variation(a) & _has_variation(b), similarity(a, b), torch.nan)


def _rms_normalise(maps: Maps) -> Tensor:
    """``(B,H,W)``, divided by the root of the mean square."""
    return maps.rms_normalised.view_as(maps.values)


def _has_variation(values: Tensor) -> Tensor:
    flat = values.flatten(1)
    return flat.amax(1) > flat.amin(1)


def _check_at_least(name: str, parameter: str, value: int, min_value: int) -> None:
    if value < min_value:
        raise BadParameter(f"{name}: {parameter} must be at least {min_value}, got {value}.")
