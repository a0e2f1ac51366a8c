"""Attention explainers of vision transformers: attention multiplied through the layers, or weighted by its gradient.

Each runs a forward pass of its own in which every attention call also computes its probabilities; the model is neither
hooked nor changed, and its logits are the same up to rounding. All return a map ``(B,1,H,W)``: how much the class token
takes from each patch, enlarged bilinearly. For a model without class token, or one that averages its patches, it is the
mean over the rows of all patches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from mavis.core import devices
from mavis.core.attribution_maps import upsample
from mavis.core.errors import ModelError
from mavis.core.metric_types import Explainer
from mavis.core.model_pass import Pass
from mavis.core.registry import explainer
from mavis.explainers.cam import patch_grid

_SOFTMAX = (torch.softmax, torch.Tensor.softmax, functional.softmax)


@explainer(
    "attention_rollout",
    source="Abnar and Zuidema 2020, section 3, arXiv 2005.00928",
    needs={"activations"},
    signed=False,
)
def attention_rollout() -> Explainer:
    """Attention averaged over heads and with the identity, multiplied through all layers; one map for every class."""

    def explain(model_pass: Pass, _: Tensor) -> Tensor:
        with torch.no_grad(), _AttentionRecorder() as recorder:
            model_pass.net(model_pass.images)
        layers = [call.by_head(call.source, model_pass) for call in _global_attention_calls(model_pass, recorder)]
        identity = torch.eye(layers[0].shape[-1], device=model_pass.images.device)
        product = identity
        for attention in layers:
            product = (attention.mean(1) + identity) / 2 @ product
        return _patch_map(model_pass, product)

    return explain


@explainer(
    "gradient_rollout",
    source="Chefer, Gur and Wolf 2021, ICCV, equations 5 and 6, arXiv 2103.15679",
    needs={"activations", "gradient"},
    signed=False,
)
def gradient_rollout() -> Explainer:
    """Attention times its gradient, positive part, averaged over heads, carried through all layers.

    From R = I, every layer updates the relevance: R ← R + mean over heads of (∇A ⊙ A)⁺ · R. The map is read from
    R − I: for a class token that is the same map, and where patches are averaged I only adds a constant.
    """

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        layers = _attention_times_gradient(model_pass, targets)
        relevance = torch.zeros_like(layers[0])  # R − I, so that the identity need not be subtracted at the end
        for attention in layers:
            relevance = relevance + attention + attention @ relevance
        return _patch_map(model_pass, relevance)

    return explain


@explainer(
    "attention_x_gradient",
    source="Barkan et al. 2021 (Grad-SAM), arXiv 2204.11073, of the last layer",
    needs={"activations", "gradient"},
    signed=False,
)
def attention_x_gradient() -> Explainer:
    """Attention of the last layer times its gradient, positive part, averaged over heads.

    Differs: Grad-SAM averages over all layers and over the rows of all tokens. Here only the rows that the logits read
    count: in the last layer other rows than the class token's have no gradient.
    """
    return lambda model_pass, targets: _patch_map(model_pass, _attention_times_gradient(model_pass, targets)[-1])


@dataclass(frozen=True)
class _AttentionCall:
    """Attention probabilities of one call.

    Attributes:
        source: the tensor from which the call's output was computed.
        shape: B', heads, queries, keys.
    """

    source: Tensor
    shape: torch.Size

    def by_head(self, values: Tensor, model_pass: Pass) -> Tensor:
        """``(B,heads,N,N)`` from the source's values or its gradient."""
        return values.detach().reshape(self.shape)[: len(model_pass)]


class _AttentionRecorder(TorchFunctionMode):
    """Records the attention probabilities of every attention call while it is open, with their gradient graph."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[_AttentionCall] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            return self._record_scaled_dot_product(*args, **kwargs)
        if func is functional.multi_head_attention_forward:
            return self._record_multi_head(func, *args, **kwargs)
        result = func(*args, **kwargs)
        if func in _SOFTMAX and result.dim() == 4 and result.shape[2] == result.shape[3]:
            self.calls.append(_AttentionCall(result, result.shape))
        return result

    def _record_scaled_dot_product(self, *args: Any, **kwargs: Any) -> Tensor:
        output, probabilities = _attend(*args, **kwargs)
        self.calls.append(_AttentionCall(probabilities, probabilities.shape))
        return output

    def _record_multi_head(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        output, probabilities = func(*args, **{**kwargs, "need_weights": True, "average_attn_weights": False})
        # The output is computed from the base of this view, so only the base receives a gradient.
        source = probabilities if probabilities._base is None else probabilities._base
        self.calls.append(_AttentionCall(source, probabilities.shape))
        if not kwargs.get("need_weights", True):
            return output, None
        return output, probabilities.mean(1) if kwargs.get("average_attn_weights", True) else probabilities


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[Tensor, Tensor]:
    """``torch.nn.functional.scaled_dot_product_attention``, and its probabilities."""
    if dropout_p or is_causal or enable_gqa:
        raise ModelError("Attention that is random, causal or grouped is not read; leave out the attention explainers.")
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    probabilities = scores.softmax(-1)
    return probabilities @ value, probabilities


def _attention_times_gradient(model_pass: Pass, targets: Tensor) -> tuple[Tensor, ...]:
    """Per layer ``(B,N,N)``: the mean over heads of attention times its gradient, positive part."""
    key = ("attention x gradient", *targets.tolist())
    return model_pass.compute_once(key, lambda: _compute_attention_times_gradient(model_pass, targets))


def _compute_attention_times_gradient(model_pass: Pass, targets: Tensor) -> tuple[Tensor, ...]:
    images = model_pass.images.detach().requires_grad_()
    with torch.enable_grad(), _AttentionRecorder() as recorder:
        target_logits = model_pass.net(images).gather(1, targets[:, None]).sum()
    calls = _global_attention_calls(model_pass, recorder)
    gradients = torch.autograd.grad(target_logits, [call.source for call in calls])
    pairs = zip(calls, gradients, strict=True)
    return tuple(
        (call.by_head(gradient, model_pass) * call.by_head(call.source, model_pass)).relu().mean(1)
        for call, gradient in pairs
    )


def _global_attention_calls(model_pass: Pass, recorder: _AttentionRecorder) -> list[_AttentionCall]:
    """The recorded calls, one per layer.

    Raises:
        ModelError: there are none, or a layer does not attend from all tokens of an image to all of them.
    """
    name, batch = model_pass.model.name, len(model_pass) + -len(model_pass) % devices.batch_multiple()
    if not recorder.calls:
        raise ModelError(f"'{name}' has no attention layers; leave out the explainers that read attention.")
    if any(call.shape[0] != batch for call in recorder.calls):
        raise ModelError(f"'{name}' attends to a part of the image at a time, which cannot be followed; use gradcam.")
    if len({n_tokens for call in recorder.calls for n_tokens in call.shape[2:]}) > 1:
        raise ModelError(f"'{name}' attends to other tokens in one layer than in another; use gradcam.")
    return recorder.calls


def _patch_map(model_pass: Pass, relevance: Tensor) -> Tensor:
    """Map ``(B,1,H,W)`` from the class token's row, or the mean of the patches' rows, of a relevance ``(B,N,N)``."""
    size = (model_pass.images.shape[2], model_pass.images.shape[3])
    h, w = patch_grid(relevance.shape[-1], size)
    n_extra = relevance.shape[-1] - h * w
    averages_patches = any(getattr(module, "global_pool", "") == "avg" for module in model_pass.model.net.modules())
    token_relevance = relevance[:, 0] if n_extra and not averages_patches else relevance[:, n_extra:].mean(1)
    return upsample(token_relevance[:, n_extra:].unflatten(1, (h, w))[:, None], size)
