"""Explainers that evaluate coalitions of units: LIME, and two estimates of the Shapley values.

All remove units — cells of a grid, superpixels or face parts — and read the target logit. A coalition is the set of
units that an image keeps. A unit's value is shared evenly among its pixels, so that the values of a region add up to
its units' values.
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
    """Weights of a linear model of the units' presence, fitted to the target logit near the image.

    Each unit is kept or removed with equal chance. A sample's weight is exp(−d²/(2·width²)), where d is the cosine
    distance between the presence of its units and that of all units. Evaluates the model once per sample, and once for
    the whole image.

    Args:
        samples: coalitions per image, at least 2.
        unit: ``cell`` of a grid, ``segment`` (superpixel), or ``part``: a face part, where the data know them.
        cells: cells per side, or about the root of the number of superpixels; without meaning for parts.
        kernel_width: width of the kernel by which samples count less with their distance, above 0.
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
    make_fill = get_imputer(imputer)

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        units = build_feature_mask(model_pass, unit, cells)
        n_columns = units.is_present.shape[1]
        drawn = model_pass.draw("lime", lambda g: torch.rand((samples, units.max_units), generator=g) < 0.5)[
            ..., :n_columns
        ]
        coalitions = drawn & units.is_present[:, None]
        logits = logits_without_units(model_pass, targets, units, make_fill, ~coalitions, _all_true(coalitions))
        outputs = torch.cat([_target_logits(model_pass, targets), logits], 1)
        coalitions = torch.cat([units.is_present[:, None], coalitions], 1)
        kept_share = upcast(coalitions.sum(2)) / units.n_units[:, None]
        sample_weights = torch.exp(-((1 - kept_share.sqrt()) ** 2) / (2 * kernel_width**2))
        return units.to_pixels(ridge_coefficients(coalitions, outputs, sample_weights, ridge))

    return explain


@explainer(
    "kernel_shap",
    source="Lundberg and Lee 2017, theorem 2, arXiv 1705.07874; pairs: Covert and Lee 2021, arXiv 2012.01536",
    needs={"forward"},
    stochastic=True,
    complete=True,
)
def kernel_shap(samples: int = 512, unit: Unit = "cell", cells: int = 8, imputer: str = "mean") -> Explainer:
    """Shapley values of the units as the solution of a weighted regression on random coalitions.

    Coalitions come in complementary pairs. Where there are no more than ``samples`` of them, as with up to 9 face
    parts, each is evaluated once and the values are exact. The values add up to the logit of the image minus that of
    the empty image: with the imputer ``mean``, the mean colour. Evaluates the model once per sample, and for the whole
    and the empty image.

    Args:
        samples: coalitions per image, an even number of at least 2; several times the number of units.
        unit: ``cell`` of a grid, ``segment`` (superpixel), or ``part``: a face part, where the data know them.
        cells: cells per side, or about the root of the number of superpixels; without meaning for parts.
        imputer: what removed units show, as in `imputers.get_imputer`.

    Differs: coalitions are drawn by the kernel's weights and then count equally; their sizes come in fixed proportion,
    not at random. The values' sum is exact, where Captum gives the whole and the empty image a large weight in the
    regression.
    """
    check_unit("kernel_shap", unit, cells)
    _check_count("kernel_shap", "samples", samples, 2, even=True)
    make_fill = get_imputer(imputer)

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        units = build_feature_mask(model_pass, unit, cells)
        coalitions, weights = _coalitions(model_pass, units, samples)
        empty = torch.zeros_like(coalitions[:, :1])
        selected = torch.cat([weights > 0, _all_true(empty)], 1)
        logits = logits_without_units(
            model_pass, targets, units, make_fill, ~torch.cat([coalitions, empty], 1), selected
        )
        empty_and_full = logits[:, -1:], _target_logits(model_pass, targets)
        return units.to_pixels(shapley_regression(coalitions, logits[:, :-1], weights, empty_and_full, units))

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
    """Shapley values of the units as their mean marginal contribution in random orders.

    Orders come in pairs, each other's reverse. The values add up to the logit of the image minus that of the empty
    image: with the imputer ``mean``, the mean colour. Evaluates the model (units − 1) times per order, and for the
    whole and the empty image: 506 times by default.

    Args:
        permutations: orders per image, an even number of at least 2.
        unit: ``cell`` of a grid, ``segment`` (superpixel), or ``part``: a face part, where the data know them.
        cells: cells per side, or about the root of the number of superpixels; without meaning for parts.
        imputer: what removed units show, as in `imputers.get_imputer`.

    Differs: orders in pairs; Captum draws each by itself.
    """
    check_unit("shapley_sampling", unit, cells)
    _check_count("shapley_sampling", "permutations", permutations, 2, even=True)
    make_fill = get_imputer(imputer)

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        units = build_feature_mask(model_pass, unit, cells)
        positions = _orders(model_pass, units, permutations)
        steps = torch.arange(positions.shape[2], device=positions.device)
        coalitions = positions[:, :, None] < steps[:, None]
        selected = ((steps > 0) & (steps < units.n_units[:, None]))[:, None].repeat(1, permutations, 1)
        selected[:, 0, 0] = True
        logits = logits_without_units(
            model_pass, targets, units, make_fill, ~coalitions.flatten(1, 2), selected.flatten(1)
        ).view(selected.shape)
        # Every order begins with the empty coalition: it is evaluated once per image, in the first order.
        logits[:, :, 0] = logits[:, :1, 0]
        selected[:, :, 0] = True
        return units.to_pixels(
            mean_marginal_contributions(positions, logits, selected, _target_logits(model_pass, targets))
        )

    return explain


def ridge_coefficients(coalitions: Tensor, outputs: Tensor, sample_weights: Tensor, ridge: float) -> Tensor:
    """Weights of a linear model with free intercept, per image.

    Args:
        coalitions: ``(B,M,n)`` bool, the units of each sample.
        outputs: ``(B,M)`` float64.
        sample_weights: ``(B,M)`` float64.
        ridge: penalty on the sum of squared weights.

    Returns:
        ``(B,n)`` float64.
    """
    # Subtracting the weighted mean solves for the intercept, so that the penalty does not shrink it; the outputs need
    # no centring, since the weighted columns then add up to zero.
    share = (sample_weights / sample_weights.sum(1, keepdim=True))[:, None]
    centred = upcast(coalitions) - share @ upcast(coalitions)
    weighted = centred.mT * sample_weights[:, None]
    penalty = ridge * torch.eye(centred.shape[2], dtype=centred.dtype, device=centred.device)
    coefficients: Tensor = torch.linalg.solve(weighted @ centred + penalty, (weighted @ outputs[..., None])[..., 0])
    return coefficients


def shapley_regression(
    coalitions: Tensor,
    outputs: Tensor,
    sample_weights: Tensor,
    empty_and_full: tuple[Tensor, Tensor],
    units: FeatureMask,
) -> Tensor:
    """Weighted least-squares fit of unit values to the outputs, with the values' sum fixed, per image.

    The values add up to the full minus the empty output. Each is an even share of that difference plus a remainder; the
    remainders add up to zero and are the unknowns of the regression.

    Args:
        coalitions: ``(B,M,n)`` bool, sets of units.
        outputs: ``(B,M)`` float64, output of each coalition.
        sample_weights: ``(B,M)`` float64, weight of each coalition.
        empty_and_full: ``(B,1)`` float64 each, outputs with no unit and with all units.
        units: of the images.

    Returns:
        ``(B,n)`` float64, 0 for units that an image does not have.
    """
    present, n_units = upcast(units.is_present), upcast(units.n_units)[:, None]
    even_share = (empty_and_full[1] - empty_and_full[0]) / n_units
    size = upcast(coalitions.sum(2))
    centred = upcast(coalitions) - present[:, None] * (size / n_units)[..., None]
    remainders = outputs - empty_and_full[0] - even_share * size
    weighted = centred.mT * (sample_weights / sample_weights.sum(1, keepdim=True).clamp_min(1e-30))[:, None]
    # The remainders add up to zero, so the normal matrix is singular along the vector of present units: their outer
    # product fixes that direction. Absent units get 1 on the diagonal. Too few samples leave further directions
    # undetermined, and the small ridge makes the remainder zero there.
    ridge = torch.finfo(centred.dtype).eps ** (2 / 3) + (1 - present)
    penalty = torch.diag_embed(ridge) + present[:, :, None] * present[:, None] / n_units[..., None]
    remainder: Tensor = torch.linalg.solve(weighted @ centred + penalty, (weighted @ remainders[..., None])[..., 0])
    return (remainder + even_share) * present


def mean_marginal_contributions(
    positions: Tensor, prefix_outputs: Tensor, is_evaluated: Tensor, full_output: Tensor
) -> Tensor:
    """Mean marginal contribution of each unit, over orders: the change of the output when it joins those before it.

    Args:
        positions: ``(B,P,n)`` int64, position of each unit in each of P orders.
        prefix_outputs: ``(B,P,n)`` float64, output of the units that joined before step 0, 1 ….
        is_evaluated: ``(B,P,n)`` bool, false from the step on at which all units of the image have joined.
        full_output: ``(B,1)`` float64, output of all units.

    Returns:
        ``(B,n)`` float64.
    """
    full_outputs = full_output[:, None].expand(-1, prefix_outputs.shape[1], 1)
    contributions = torch.cat([torch.where(is_evaluated, prefix_outputs, full_outputs), full_outputs], 2).diff(dim=2)
    return contributions.gather(2, positions).mean(1)


def _orders(model_pass: Pass, units: FeatureMask, n_orders: int) -> Tensor:
    """Positions ``(B,n_orders,n)`` int64 of the units; the second half of the orders are the first half reversed."""
    positions = _random_positions(model_pass, "shapley_sampling", units, n_orders // 2)
    reverse = units.n_units[:, None, None] - 1 - positions
    return torch.cat([positions, torch.where(units.is_present[:, None], reverse, positions)], 1)


def _random_positions(model_pass: Pass, component: str, units: FeatureMask, n_orders: int) -> Tensor:
    """Positions ``(B,n_orders,n)`` int64 in random orders of each image's units; absent units come last."""
    drawn = model_pass.draw(component, lambda g: torch.rand((n_orders, units.max_units), generator=g))
    drawn = drawn[..., : units.is_present.shape[1]].masked_fill(~units.is_present[:, None], torch.inf)
    return drawn.argsort(dim=2, stable=True).argsort(2)


def _coalitions(model_pass: Pass, units: FeatureMask, samples: int) -> tuple[Tensor, Tensor]:
    """Every coalition once, or random pairs: ``(B,samples,n)`` bool, and their weights ``(B,samples)``."""
    positions = _random_positions(model_pass, "kernel_shap", units, samples // 2)
    coalitions = torch.zeros((len(model_pass), samples, positions.shape[2]), dtype=torch.bool, device=positions.device)
    weights = upcast(torch.zeros(coalitions.shape[:2], device=positions.device))
    for n in units.n_units.unique().tolist():
        rows = units.n_units == n
        if 2**n - 2 <= samples:
            sets = torch.tensor(list(product((False, True), repeat=n))[1:-1], dtype=torch.bool).view(-1, n)
            coalitions[rows, : len(sets), :n] = sets.to(coalitions.device)
            weights[rows, : len(sets)] = _shapley_kernel(n)[sets.sum(1)].to(weights)
        else:
            half = positions[rows][..., :n] < _coalition_sizes(n, samples // 2).to(coalitions.device)[:, None]
            coalitions[rows, :, :n] = torch.cat([half, ~half], 1)
            weights[rows] = 1.0
    return coalitions, weights


def _shapley_kernel(n_units: int) -> Tensor:
    """The Shapley kernel ``(n_units,)`` of one coalition of 0, 1 … n−1 of n units, equation in theorem 2."""
    return torch.tensor(
        [0.0, *((n_units - 1) / (comb(n_units, s) * s * (n_units - s)) for s in range(1, n_units))], dtype=torch.float64
    )


def _coalition_sizes(n_units: int, n_samples: int) -> Tensor:
    """Coalition sizes ``(n_samples,)`` int64, in proportion to the Shapley kernel of all coalitions of a size."""
    s = torch.arange(1, n_units, dtype=torch.float64)
    shares = (1 / (s * (n_units - s))).cumsum(0)
    return torch.searchsorted(shares / shares[-1], (torch.arange(n_samples, dtype=torch.float64) + 0.5) / n_samples) + 1


def _target_logits(model_pass: Pass, targets: Tensor) -> Tensor:
    """``(B,1)`` float64, the target logit of the images as they are."""
    return upcast(model_pass.logits.gather(1, targets[:, None]))


def _all_true(sets: Tensor) -> Tensor:
    """``(B,M)`` bool: every coalition is selected."""
    return torch.ones(sets.shape[:2], dtype=torch.bool, device=sets.device)


def _check_count(explainer: str, parameter: str, count: int, min_count: int, *, even: bool = False) -> None:
    if not isinstance(count, int) or count < min_count or (even and count % 2):
        kind = "an even number" if even else "a whole number"
        raise BadParameter(f"{explainer}: {parameter} must be {kind}, at least {min_count}, got {count!r}.")
