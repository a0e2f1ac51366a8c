"""Layer-wise relevance propagation: the target's logit, shared out backwards from layer to layer."""

from typing import get_args

import torch
from torch import Tensor

from mavis.core.errors import BadParameter
from mavis.core.metric_types import Explainer
from mavis.core.model_pass import Pass
from mavis.core.registry import explainer
from mavis.explainers.lrp_graph import RelevanceTracer
from mavis.explainers.lrp_rules import Composite, LrpRules


@explainer(
    "lrp",
    source="Bach et al. 2015, equations 58 and 60; Montavon et al. 2019, chapter 10 (gamma, composites); "
    "Kohlbrenner et al. 2020, arXiv 1910.09840 (epsilon_plus)",
)
def lrp(rule: Composite = "epsilon_plus", epsilon: float = 1e-6, gamma: float = 0.25, alpha: float = 2.0) -> Explainer:
    """The target's logit shared out among the pixels, layer by layer, in proportion to what each input contributed.

    The values add up to the logit less what biases took: their share is not passed on. Fully connected layers,
    averages and sums (a residual connection) follow the epsilon rule, activations hand on what they get, maximum
    pooling gives it to the winner. Batch normalisation is part of the convolution before it; where there is none, it
    is one itself, and under ``alpha_beta`` follows the epsilon rule.

    Args:
        rule: for convolutions: ``epsilon``, the inputs' contributions as they are; ``gamma``, the positive ones
            favoured; ``alpha_beta``, positive and negative ones apart; ``epsilon_plus``, the positive ones only.
        epsilon: added to every denominator, with its sign; > 0.
        gamma: share by which positive contributions grow under ``gamma``; ≥ 0.
        alpha: of ``alpha_beta``: the weight of the positive contributions, the negative ones have alpha − 1; ≥ 1.

    Raises:
        ModelError: the network has an operation without a rule, such as GELU, layer normalisation or attention.

    Differs: the overview's own rules for the first layer and the last ones are left out. Captum has no rule for a sum
    that is not a module, and takes every batch normalisation for a layer: on an untrained ResNet-18 its values add up
    to 1e11. zennit lets a batch normalisation that follows no convolution hand on all that it gets, and so do we where
    the image itself is scaled and shifted; within DenseNet values would grow. They would also if
    ``alpha_beta`` gave all the negative relevance to a batch normalisation's one input, however small; there it follows
    the epsilon rule, as in Captum and in iNNvestigate (Alber et al. 2019). A constant that the network adds is a bias
    under ``epsilon``; under the other rules it takes nothing.
    """
    _check_parameters(rule, epsilon, gamma, alpha)
    rules = LrpRules(rule, epsilon, gamma, alpha)

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        parts = zip(model_pass.images.split(model_pass.chunk), targets.split(model_pass.chunk), strict=True)
        return torch.cat([_relevance(model_pass, rules, images, chosen) for images, chosen in parts])

    return explain


def _check_parameters(rule: str, epsilon: float, gamma: float, alpha: float) -> None:
    if rule not in get_args(Composite):
        raise BadParameter(f"lrp: rule must be one of {', '.join(get_args(Composite))}, got '{rule}'.")
    if not (epsilon > 0 and gamma >= 0 and alpha >= 1):
        raise BadParameter(
            "lrp: expected epsilon > 0, gamma >= 0 and alpha >= 1, "
            f"got epsilon={epsilon}, gamma={gamma}, alpha={alpha}."
        )


def _relevance(model_pass: Pass, rules: LrpRules, images: Tensor, targets: Tensor) -> Tensor:
    """``(N,3,H,W)``: the relevance of every value of N images."""
    images = images.detach().requires_grad_()
    with RelevanceTracer(model_pass.model, rules, images) as followed:
        logits = model_pass.net(images)
    followed.check(logits)
    chosen = logits.detach().gather(1, targets[:, None])
    start = torch.zeros_like(logits).scatter(1, targets[:, None], chosen)
    return torch.autograd.grad(logits, images, start)[0]
