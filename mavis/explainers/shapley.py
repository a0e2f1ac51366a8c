"""Explainers that ask what sets of units are worth: LIME, and two estimates of the Shapley values.

All remove units — cells of a grid, superpixels or face parts — and read the target logit. A unit's value is shared out
evenly among its pixels, so that the values of a region add up to what it is worth.
"""

from itertools import product
from math import comb

import torch
from torch import Tensor

from mavis.core.devices import upcast
from mavis.core.errors import BadParameter
from mavis.core.metric_types import Explainer
from mavis.core.model_pass import Pass
from mavis.core.perturbation.feature_groups import (
    FeatureMask,
    Unit,
    build_feature_mask,
    check_unit,
    logits_without_units,
)
from mavis.core.perturbation.imputers import get_imputer
from mavis.core.registry import explainer


@explainer(
    "lime",
    source="Ribeiro et al. 2016, equation 2 and section 3.4, arXiv 1602.04938",
    needs={"forward"},
    stochastic=True,
)
def lime(
    samples: int = 512,
    unit: Unit = "cell",
    cells: int = 8,
    kernel_width: float = 0.25,
    ridge: float = 1.0,
    imputer: str = "mean",
) -> Explainer:
    """Weights of a linear model of which units are there, fitted to the target logit near the image.

    Each unit is kept or removed with equal chance. A sample counts by exp(−d²/(2·width²)), where d is the cosine
    distance between which units it has and all units. Asks the model once per sample, and once for the whole image.

    Args:
        samples: sets of units per image, at least 2.
        unit: ``cell`` of a grid, ``segment`` (superpixel), or ``part``: a face part, where the data know them.
        cells: cells per side, or about the root of the number of superpixels; without meaning for parts.
        kernel_width: how fast samples count less with their distance, above 0.
        ridge: penalty on the sum of squared weights, above 0; the intercept is free.
        imputer: what removed units show, as in `imputers.get_imputer`.

    Differs: the logit is fitted, not the probability, and all units are kept, not only the K largest. Distance, width
    and penalty are those of the authors' program; the paper has the Euclidean distance of the images. The program
    writes a unit's weight on each of its pixels.
    """
    check_unit("lime", unit, cells)
    _check_count("lime", "samples", samples, 2)
    if not kernel_width > 0 or not ridge > 0:
        raise BadParameter(
            f"lime: kernel_width and ridge must be above 0, got kernel_width={kernel_width!r}, ridge={ridge!r}."
        )
    shown = get_imputer(imputer)

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        units = build_feature_mask(model_pass, unit, cells)
        width = units.is_present.shape[1]
        drawn = model_pass.draw("lime", lambda g: torch.rand((samples, units.max_units), generator=g) < 0.5)[
            ..., :width
        ]
        kept = drawn & units.is_present[:, None]
        said = logits_without_units(model_pass, targets, units, shown, ~kept, _all_true(kept))
        answers = torch.cat([_target_logits(model_pass, targets), said], 1)
        kept = torch.cat([units.is_present[:, None], kept], 1)
        share = upcast(kept.sum(2)) / units.n_units[:, None]
        near = torch.exp(-((1 - share.sqrt()) ** 2) / (2 * kernel_width**2))
        return units.to_pixels(ridge_coefficients(kept, answers, near, ridge))

    return explain


@explainer(
    "kernel_shap",
    source="Lundberg and Lee 2017, theorem 2, arXiv 1705.07874; pairs: Covert and Lee 2021, arXiv 2012.01536",
    needs={"forward"},
    stochastic=True,
    complete=True,
)
def kernel_shap(samples: int = 512, unit: Unit = "cell", cells: int = 8, imputer: str = "mean") -> Explainer:
    """Shapley values of the units as the solution of a weighted regression on random sets of units.

    Sets come in complementary pairs. Where there are no more than ``samples`` sets, as with up to 9 face parts, each
    is asked once and the values are exact. The values add up to the logit of the image minus that of the empty image:
    with the imputer ``mean``, the mean colour. Asks the model once per sample, and for the whole and the empty image.

    Args:
        samples: sets of units per image, an even number of at least 2; several times the number of units.
        unit: ``cell`` of a grid, ``segment`` (superpixel), or ``part``: a face part, where the data know them.
        cells: cells per side, or about the root of the number of superpixels; without meaning for parts.
        imputer: what removed units show, as in `imputers.get_imputer`.

    Differs: sets are drawn by the kernel's weights and then count equally, their sizes in fixed proportion, not drawn;
    the values' sum is exact, where Captum gives the whole and the empty image a large weight in the regression.
    """
    check_unit("kernel_shap", unit, cells)
    _check_count("kernel_shap", "samples", samples, 2, even=True)
    shown = get_imputer(imputer)

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        units = build_feature_mask(model_pass, unit, cells)
        kept, weights = _coalitions(model_pass, units, samples)
        nothing = torch.zeros_like(kept[:, :1])
        asked = torch.cat([weights > 0, _all_true(nothing)], 1)
        said = logits_without_units(model_pass, targets, units, shown, ~torch.cat([kept, nothing], 1), asked)
        ends = said[:, -1:], _target_logits(model_pass, targets)
        return units.to_pixels(shapley_regression(kept, said[:, :-1], weights, ends, units))

    return explain


@explainer(
    "shapley_sampling",
    source="Castro et al. 2009, section 3 (ApproShapley), doi 10.1016/j.cor.2008.04.004; antithetic pairs: "
    "Mitchell et al. 2022, arXiv 2104.12199",
    needs={"forward"},
    stochastic=True,
    complete=True,
)
def shapley_sampling(permutations: int = 8, unit: Unit = "cell", cells: int = 8, imputer: str = "mean") -> Explainer:
    """Shapley values of the units as their mean contribution when they join one by one, in random orders.

    Orders come in pairs, each other's reverse. The values add up to the logit of the image minus that of the empty
    image: with the imputer ``mean``, the mean colour. Asks the model (units − 1) times per order, and for the whole and
    the empty image: 506 times by default.

    Args:
        permutations: orders per image, an even number of at least 2.
        unit: ``cell`` of a grid, ``segment`` (superpixel), or ``part``: a face part, where the data know them.
        cells: cells per side, or about the root of the number of superpixels; without meaning for parts.
        imputer: what removed units show, as in `imputers.get_imputer`.

    Differs: orders in pairs; Captum draws each by itself.
    """
    check_unit("shapley_sampling", unit, cells)
    _check_count("shapley_sampling", "permutations", permutations, 2, even=True)
    shown = get_imputer(imputer)

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        units = build_feature_mask(model_pass, unit, cells)
        places = _orders(model_pass, units, permutations)
        steps = torch.arange(places.shape[2], device=places.device)
        kept = places[:, :, None] < steps[:, None]
        asked = ((steps > 0) & (steps < units.n_units[:, None]))[:, None].repeat(1, permutations, 1)
        asked[:, 0, 0] = True
        said = logits_without_units(model_pass, targets, units, shown, ~kept.flatten(1, 2), asked.flatten(1)).view(
            asked.shape
        )
        said[:, :, 0] = said[:, :1, 0]
        asked[:, :, 0] = True
        return units.to_pixels(mean_marginal_contributions(places, said, asked, _target_logits(model_pass, targets)))

    return explain


def ridge_coefficients(coalitions: Tensor, outputs: Tensor, sample_weights: Tensor, ridge: float) -> Tensor:
    """Weights of a linear model with free intercept, per image.

    Args:
        coalitions: ``(B,M,n)`` bool, which units each sample has.
        outputs: ``(B,M)`` float64.
        sample_weights: ``(B,M)`` float64, how much each sample counts.
        ridge: penalty on the sum of squared weights.

    Returns:
        ``(B,n)`` float64.
    """
    share = (sample_weights / sample_weights.sum(1, keepdim=True))[:, None]
    z = upcast(coalitions) - share @ upcast(coalitions)
    y = outputs
    weighted = z.mT * sample_weights[:, None]
    penalty = ridge * torch.eye(z.shape[2], dtype=z.dtype, device=z.device)
    solved: Tensor = torch.linalg.solve(weighted @ z + penalty, (weighted @ y[..., None])[..., 0])
    return solved


def shapley_regression(
    coalitions: Tensor,
    outputs: Tensor,
    sample_weights: Tensor,
    empty_and_full: tuple[Tensor, Tensor],
    units: FeatureMask,
) -> Tensor:
    """Values that add up to the whole and come nearest to the answers, per image.

    The sum is taken out of the unknowns: an even share of the whole, and a rest that adds up to nothing.

    Args:
        coalitions: ``(B,M,n)`` bool, sets of units.
        outputs: ``(B,M)`` float64, what each is worth.
        sample_weights: ``(B,M)`` float64, how much it counts.
        empty_and_full: ``(B,1)`` float64 each, what none and what all units are worth.
        units: of the images.

    Returns:
        ``(B,n)`` float64, 0 for units that an image does not have.
    """
    there, count = upcast(units.is_present), upcast(units.n_units)[:, None]
    even = (empty_and_full[1] - empty_and_full[0]) / count
    size = upcast(coalitions.sum(2))
    z = upcast(coalitions) - there[:, None] * (size / count)[..., None]
    y = outputs - empty_and_full[0] - even * size
    weighted = z.mT * (sample_weights / sample_weights.sum(1, keepdim=True).clamp_min(1e-30))[:, None]
    # The rest is free along none but its own directions; too few samples leave others, and these get nothing.
    nothing = torch.finfo(z.dtype).eps ** (2 / 3) + (1 - there)
    fixed = torch.diag_embed(nothing) + there[:, :, None] * there[:, None] / count[..., None]
    rest: Tensor = torch.linalg.solve(weighted @ z + fixed, (weighted @ y[..., None])[..., 0])
    return (rest + even) * there


def mean_marginal_contributions(
    positions: Tensor, prefix_outputs: Tensor, is_evaluated: Tensor, full_output: Tensor
) -> Tensor:
    """What each unit adds when it joins those before it, averaged over orders.

    Args:
        positions: ``(B,P,n)`` int64, when each unit joins in each of P orders.
        prefix_outputs: ``(B,P,n)`` float64, what the units that joined before step 0, 1 … are worth together.
        is_evaluated: ``(B,P,n)`` bool, false from where on all units of the image have joined.
        full_output: ``(B,1)`` float64, what all units are worth.

    Returns:
        ``(B,n)`` float64.
    """
    ends = full_output[:, None].expand(-1, prefix_outputs.shape[1], 1)
    added = torch.cat([torch.where(is_evaluated, prefix_outputs, ends), ends], 2).diff(dim=2)
    return added.gather(2, positions).mean(1)


def _orders(model_pass: Pass, units: FeatureMask, n_orders: int) -> Tensor:
    """``(B,n_orders,n)`` int64: when each unit joins; the second half of the orders are the first half reversed."""
    places = _random_positions(model_pass, "shapley_sampling", units, n_orders // 2)
    reverse = units.n_units[:, None, None] - 1 - places
    return torch.cat([places, torch.where(units.is_present[:, None], reverse, places)], 1)


def _random_positions(model_pass: Pass, component: str, units: FeatureMask, n_orders: int) -> Tensor:
    """``(B,n_orders,n)`` int64: random orders of each image's units; those it does not have come last."""
    drawn = model_pass.draw(component, lambda g: torch.rand((n_orders, units.max_units), generator=g))
    drawn = drawn[..., : units.is_present.shape[1]].masked_fill(~units.is_present[:, None], torch.inf)
    return drawn.argsort(dim=2, stable=True).argsort(2)


def _coalitions(model_pass: Pass, units: FeatureMask, samples: int) -> tuple[Tensor, Tensor]:
    """Every set of units once, or random pairs: sets ``(B,samples,n)`` bool, and what each counts ``(B,samples)``."""
    places = _random_positions(model_pass, "kernel_shap", units, samples // 2)
    kept = torch.zeros((len(model_pass), samples, places.shape[2]), dtype=torch.bool, device=places.device)
    weights = upcast(torch.zeros(kept.shape[:2], device=places.device))
    for n in units.n_units.unique().tolist():
        rows = units.n_units == n
        if 2**n - 2 <= samples:
            sets = torch.tensor(list(product((False, True), repeat=n))[1:-1], dtype=torch.bool).view(-1, n)
            kept[rows, : len(sets), :n] = sets.to(kept.device)
            weights[rows, : len(sets)] = _shapley_kernel(n)[sets.sum(1)].to(weights)
        else:
            first = places[rows][..., :n] < _coalition_sizes(n, samples // 2).to(kept.device)[:, None]
            kept[rows, :, :n] = torch.cat([first, ~first], 1)
            weights[rows] = 1.0
    return kept, weights


def _shapley_kernel(n_units: int) -> Tensor:
    """``(n_units,)``: the Shapley kernel of one set of 0, 1 … n−1 of n units, equation in theorem 2."""
    return torch.tensor(
        [0.0, *((n_units - 1) / (comb(n_units, s) * s * (n_units - s)) for s in range(1, n_units))], dtype=torch.float64
    )


def _coalition_sizes(n_units: int, n_samples: int) -> Tensor:
    """``(n_samples,)`` int64: set sizes in the proportions that the Shapley kernel gives all sets of a size."""
    s = torch.arange(1, n_units, dtype=torch.float64)
    shares = (1 / (s * (n_units - s))).cumsum(0)
    return torch.searchsorted(shares / shares[-1], (torch.arange(n_samples, dtype=torch.float64) + 0.5) / n_samples) + 1


def _target_logits(model_pass: Pass, targets: Tensor) -> Tensor:
    """``(B,1)`` float64, the target logit of the images as they are."""
    return upcast(model_pass.logits.gather(1, targets[:, None]))


def _all_true(sets: Tensor) -> Tensor:
    """``(B,M)`` bool: every set is asked."""
    return torch.ones(sets.shape[:2], dtype=torch.bool, device=sets.device)


def _check_count(explainer: str, parameter: str, count: int, min_count: int, *, even: bool = False) -> None:
    if not isinstance(count, int) or count < min_count or (even and count % 2):
        kind = "an even number" if even else "a whole number"
        raise BadParameter(f"{explainer}: {parameter} must be {kind}, at least {min_count}, got {count!r}.")
