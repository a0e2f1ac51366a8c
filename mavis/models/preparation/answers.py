"""Answers of a network: the one call of it during preparation, and a line in plain words where the answer is none."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.core.types import Model

TOLERANCE = 1e-5
"""Largest change of an output by rounding, as a share of the largest output where that is above one."""


def evaluate_network(model: Model, net: nn.Module, images: Tensor) -> Tensor:
    """Outputs of a network for images, without graph.

    Args:
        model: names the network and its classes in messages.
        net: the network, or a copy of it in preparation.
        images: ``(N,3,H,W)`` float32; not changed.

    Raises:
        ModelError: the network raises, or returns no tensor.
    """
    try:
        with torch.no_grad():
            outputs = net(images.clone())
    except ModelError as error:
        raise ModelError(f"'{model.name}' cannot be evaluated on images {tuple(images.shape)}: {error}") from error
    except Exception as error:
        raise ModelError(_failure_message(model, net, images, error)) from error
    if not isinstance(outputs, Tensor):
        raise ModelError(
            f"'{model.name}' must return a tensor of logits (B,{len(model.classes)}), got {describe_answer(outputs)}; "
            f"{_remedy(outputs)}."
        )
    return outputs


def check_outputs(model: Model, outputs: Tensor, images: Tensor) -> None:
    """Refuses outputs that are not one finite number per image and class, or one per image for two classes.

    Raises:
        ModelError: another shape, complex numbers, NaN or infinite ones.
    """
    n_images, n_classes = len(images), len(model.classes)
    shapes = [(n_images, n_classes), *([(n_images, 1)] if n_classes == 2 else [])]
    if tuple(outputs.shape) not in shapes or outputs.is_complex():
        raise ModelError(
            f"'{model.name}' must return logits (B,{n_classes}) = ({n_images},{n_classes}), one per class, for images "
            f"{tuple(images.shape)}, got {_describe_numbers(outputs)}{_shape_remedy(outputs, n_images, model.classes)}."
        )
    if not outputs.isfinite().all():
        raise ModelError(f"'{model.name}' returns NaN or infinite logits.")


def is_close(first: Tensor, second: Tensor, tolerance: float = TOLERANCE) -> bool:
    """True for outputs of one shape that differ by no more than rounding."""
    if first.shape != second.shape:
        return False
    scale = second.abs().max().clamp_min(1) if second.numel() else torch.ones(())
    return not bool(((first - second).abs() > tolerance * scale).any())


def describe_answer(answer: Any) -> str:
    """A returned object in a few words: its type, and its keys, fields or length."""
    name, fields = type(answer).__name__, _field_names(answer)
    if isinstance(answer, Tensor):
        return _describe_numbers(answer)
    if isinstance(answer, Mapping):
        return f"{name} with the keys {_join_names(answer)}"
    if fields:
        return f"{name} with the fields {_join_names(fields)}"
    return f"{name} of {len(answer)}" if isinstance(answer, tuple | list) else name


def _remedy(answer: Any) -> str:
    """The expression that takes the logits out of an answer."""
    expressions = [f"output.{field}" for field in _field_names(answer)]
    if isinstance(answer, Mapping):
        expressions = [f"output[{key!r}]" for key in answer]
    elif isinstance(answer, tuple | list) and not expressions:
        expressions = ["output[0]"]
    best = next((text for text in expressions if "logit" in text), expressions[0] if expressions else "the logits")
    return f"wrap it so that forward returns {best}"


def _field_names(answer: Any) -> tuple[str, ...]:
    """Names of the fields of a dataclass's or named tuple's object; none of any other."""
    if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        return tuple(field.name for field in dataclasses.fields(answer))
    return tuple(getattr(answer, "_fields", ())) if isinstance(answer, tuple) else ()


def _describe_numbers(outputs: Tensor) -> str:
    kind = " of complex numbers" if outputs.is_complex() else ""
    return f"{tuple(outputs.shape)}{kind}"


def _shape_remedy(outputs: Tensor, n_images: int, classes: tuple[str, ...]) -> str:
    if outputs.is_complex() or outputs.dim() < 1 or len(outputs) != n_images:
        return ""
    if outputs.dim() == 1:
        return "; return outputs[:, None] if this is one logit per image, or the logits of all classes if it is a label"
    if outputs.dim() == 2:
        return (
            f": {outputs.shape[1]} outputs for {len(classes)} classes ({_join_names(classes)}); give the last layer "
            f"{len(classes)} outputs, or take data with other classes"
        )
    return "; average over all axes but the first two"


def _failure_message(model: Model, net: nn.Module, images: Tensor, error: Exception) -> str:
    """One line on an exception; for weights of another floating type than the images in words of MAVIS."""
    dtypes = {parameter.dtype for parameter in net.parameters() if parameter.is_floating_point()}
    if isinstance(error, RuntimeError) and dtypes and torch.float32 not in dtypes:
        name = str(next(iter(dtypes))).removeprefix("torch.")
        return (
            f"'{model.name}' has weights in {name} and is given images in float32; call .float() on the network, or "
            f"convert images and logits inside its forward."
        )
    reason = next(iter(str(error).strip().splitlines()), "")
    return f"'{model.name}' cannot be evaluated on images {tuple(images.shape)}: {type(error).__name__}: {reason}"


def _join_names(names: Any) -> str:
    names = [f"'{name}'" for name in names]
    return ", ".join(names[:3]) + (f", … ({len(names)})" if len(names) > 3 else "")
