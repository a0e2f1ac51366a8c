"""What a vision transformer attends to: attention maps multiplied through the layers, or weighted by their gradient.

They ask the model in a forward of their own, in which every attention call also computes its probabilities; the model
is neither hooked nor changed, and its logits are the same up to rounding. All return a map ``(B,1,H,W)``:
how much the class token takes from each patch, enlarged bilinearly. A model without class token, or one that averages
its patches, has the mean over what its patches take.
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
    """Attention, averaged over heads and with the identity, multiplied through all layers: the same for every class."""

    def explain(model_pass: Pass, _: Tensor) -> Tensor:
        with torch.no_grad(), _AttentionRecorder() as recorder:
            model_pass.net(model_pass.images)
        layers = [kept.by_head(kept.source, model_pass) for kept in _global_attention_calls(model_pass, recorder)]
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

    From R = I, every layer adds its share of what came before: R ← R + mean over heads of (∇A ⊙ A)⁺ · R. The map is
    read from R − I; a class token takes the same from both, and where patches are averaged I only adds a constant.
    """

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        layers = _attention_times_gradient(model_pass, targets)
        beyond = torch.zeros_like(layers[0])
        for attention in layers:
            beyond = beyond + attention + attention @ beyond
        return _patch_map(model_pass, beyond)

    return explain


@explainer(
    "attention_x_gradient",
    source="Barkan et al. 2021 (Grad-SAM), arXiv 2204.11073, of the last layer",
    needs={"activations", "gradient"},
    signed=False,
)
def attention_x_gradient() -> Explainer:
    """Attention of the last layer times its gradient, positive part, averaged over heads.

    Differs: Grad-SAM averages over all layers and over the rows of all tokens. Here only what the logits read counts:
    in the last layer other rows than the class token's have no gradient.
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
    """Keeps the attention probabilities of every call while it is open, where gradients reach them."""

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
        output, each = func(*args, **{**kwargs, "need_weights": True, "average_attn_weights": False})
        source = each if each._base is None else each._base  # the output was computed from what `each` is a view of
        self.calls.append(_AttentionCall(source, each.shape))
        if not kwargs.get("need_weights", True):
            return output, None
        return output, each.mean(1) if kwargs.get("average_attn_weights", True) else each


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
        chosen = model_pass.net(images).gather(1, targets[:, None]).sum()
    kept = _global_attention_calls(model_pass, recorder)
    gradients = torch.autograd.grad(chosen, [one.source for one in kept])
    pairs = zip(kept, gradients, strict=True)
    return tuple(
        (one.by_head(gradient, model_pass) * one.by_head(one.source, model_pass)).relu().mean(1)
        for one, gradient in pairs
    )


def _global_attention_calls(model_pass: Pass, recorder: _AttentionRecorder) -> list[_AttentionCall]:
    """What was kept, if every layer attends from all tokens of an image to all."""
    name, batch = model_pass.model.name, len(model_pass) + -len(model_pass) % devices.batch_multiple()
    if not recorder.calls:
        raise ModelError(f"'{name}' has no attention layers; leave out the explainers that read attention.")
    if any(one.shape[0] != batch for one in recorder.calls):
        raise ModelError(f"'{name}' attends to a part of the image at a time, which cannot be followed; use gradcam.")
    if len({side for one in recorder.calls for side in one.shape[2:]}) > 1:
        raise ModelError(f"'{name}' attends to other tokens in one layer than in another; use gradcam.")
    return recorder.calls


def _patch_map(model_pass: Pass, relevance: Tensor) -> Tensor:
    """``(B,1,H,W)`` from what tokens take from tokens, ``(B,N,N)``."""
    size = (model_pass.images.shape[2], model_pass.images.shape[3])
    h, w = patch_grid(relevance.shape[-1], size)
    extra = relevance.shape[-1] - h * w
    averages = any(getattr(module, "global_pool", "") == "avg" for module in model_pass.model.net.modules())
    row = relevance[:, 0] if extra and not averages else relevance[:, extra:].mean(1)
    return upsample(row[:, extra:].unflatten(1, (h, w))[:, None], size)
