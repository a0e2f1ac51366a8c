"""Checks of loaded images: shape, number type, range and order, once per batch, before anything is computed of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mavis.core.errors import DataError
from mavis.core.types import Batch

ROUNDING = 1e-5
"""Distance by which rounding may carry a pixel out of [0,1]; such pixels stay as they are."""

OVERSHOOT = 0.25
"""A resampling filter leaves [0,1] by less than this; anything farther is another scale."""


def check_batch(batch: Any, name: str, ids: Sequence[str], labels: Sequence[int]) -> Batch:
    """A batch, once it holds what `mavis.core.types.Batch` promises.

    Args:
        batch: as the data set returned it.
        name: of the data set.
        ids: those that were asked for.
        labels: their labels in the data set's table.

    Returns:
        A copy of the batch, since the data set may use its memory again: images without a graph and in torch's usual
        layout, ids a tuple, labels int64. Images drawn anew are checked and copied when they are drawn.

    Raises:
        DataError: it is no batch, or ids, labels, images, parts or regions are not as promised; the message says what
            was met and what to write.
    """
    if not isinstance(batch, Batch):
        raise DataError(f"'{name}': load() must return a mavis.Batch, got {type(batch).__name__}.")
    _check_ids(batch, name, ids)
    check_images(batch.images, name, len(ids))
    _check_labels(batch, name, labels)
    if not isinstance(batch.groups, Mapping):
        raise DataError(f"'{name}': the groups of a batch are a mapping, attribute to names; got {batch.groups!r:.80}.")
    _check_mask(batch.parts, "parts", torch.uint8, name, batch.images)
    _check_mask(batch.regions, "regions", torch.bool, name, batch.images)
    plain = _with_plain_types(batch)
    draw = plain.rerender
    if draw is None:
        return plain

    def draw_and_check(part: str, number: int) -> Tensor:
        images = draw(part, number)
        check_images(images, name, len(ids))
        return _copy(images)

    return replace(plain, rerender=draw_and_check)


def _with_plain_types(batch: Batch) -> Batch:
    """A copy of the batch in the types that it promises."""
    return replace(
        batch,
        images=_copy(batch.images),
        labels=torch.as_tensor(batch.labels).to(torch.int64, copy=True),
        ids=tuple(map(str, batch.ids)),
        groups=dict(batch.groups),
        parts=None if batch.parts is None else _copy(batch.parts),
        regions=None if batch.regions is None else _copy(batch.regions),
    )


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def check_images(images: Any, name: str, count: int) -> None:
    """Raises DataError unless these are ``(count,3,H,W)`` float32, square, finite, in [0,1] up to `ROUNDING`."""
    if not isinstance(images, Tensor):
        raise DataError(
            f"'{name}': images must be a torch.Tensor, got {type(images).__name__}; write torch.stack(...)."
        )
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[:2] != (count, 3) or shape[2] != shape[3] or not shape[2]:
        raise DataError(
            f"'{name}': images must have the shape ({count},3,H,H), one square image per id in the order of the ids, "
            f"got {shape}{_shape_hint(shape, count)}."
        )
    if images.layout != torch.strided or images.is_meta:
        raise DataError(
            f"'{name}': images must be a dense tensor with its values, got one {_describe_storage(images)}; write "
            "images.to_dense(), or load the values."
        )
    if images.dtype != torch.float32:
        hint = "images.float() / 255" if not images.is_floating_point() else "images.float()"
        raise DataError(f"'{name}': images must be float32 in [0,1], got {_dtype(images)}; write {hint}.")
    if count:
        low, high = (float(end) for end in torch.aminmax(images.detach()))
        _check_range(low, high, name)


def check_mean(mean: Any, name: str) -> Tensor:
    """The mean colour as ``(3,)`` float32 on the CPU; a list, an array or float64 is converted.

    Raises:
        DataError: it has another shape, or is not in [0,1].
    """
    try:
        colour = torch.as_tensor(mean).detach()
        colour = colour.to("cpu", torch.complex64 if colour.is_complex() else torch.float32, copy=True)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"'{name}': mean must be three numbers in [0,1], got {mean!r:.80}.") from error
    if tuple(colour.shape) != (3,):
        raise DataError(f"'{name}': mean must have the shape (3,), one number per channel, got {tuple(colour.shape)}.")
    if colour.is_complex():
        raise DataError(f"'{name}': mean must be three real numbers in [0,1], got complex ones.")
    low, high = (float(end) for end in torch.aminmax(colour))
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        hint = "; divide by 255" if 1 < high <= 255 and low >= 0 else ""
        raise DataError(f"'{name}': mean must be in [0,1], as the images are, got {low:.4g} to {high:.4g}{hint}.")
    return colour


def _check_ids(batch: Batch, name: str, ids: Sequence[str]) -> None:
    if not hasattr(batch.ids, "__len__"):
        raise DataError(f"'{name}': the ids of a batch must be a tuple of texts, got {type(batch.ids).__name__}.")
    if tuple(batch.ids) == tuple(ids):
        return
    if sorted(map(str, batch.ids)) == sorted(ids):
        raise DataError(f"'{name}': load() must answer in the order of the ids that it is given, got another order.")
    raise DataError(
        f"'{name}': load() must answer with the ids that it is given, {len(ids)} from {ids[0] if ids else ''!r} on, "
        f"got {len(batch.ids)}: {', '.join(map(repr, batch.ids[:3]))}."
    )


def _check_labels(batch: Batch, name: str, labels: Sequence[int]) -> None:
    try:
        codes = torch.as_tensor(batch.labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"'{name}': the labels of a batch must be whole numbers, got {batch.labels!r:.80}.") from error
    if codes.is_floating_point() or codes.tolist() != list(labels):
        raise DataError(
            f"'{name}': a batch's labels must be those of the table, {list(labels)[:3]} …, got {codes.tolist()[:3]}."
        )


def _check_mask(mask: Any, member: str, dtype: torch.dtype, name: str, images: Tensor) -> None:
    """Raises DataError unless the mask is None or ``(B,H,W)`` of this type."""
    expected = (len(images), *images.shape[2:])
    if mask is None or (isinstance(mask, Tensor) and mask.dtype == dtype and tuple(mask.shape) == expected):
        return
    met = f"{_dtype(mask)} of {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
    raise DataError(f"'{name}': {member} must be {str(dtype).removeprefix('torch.')} of {expected}, got {met}.")


def _check_range(low: float, high: float, name: str) -> None:
    if low >= -ROUNDING and high <= 1 + ROUNDING:  # false for NaN, which aminmax hands on
        return
    met = f"values from {low:.4g} to {high:.4g}"
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        met, hint = "values that are not finite", "set them, or list these images in unreadable()"
    elif low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        hint = "write images.clamp(0, 1)"
    elif low >= 0 and high <= 255:
        hint = "write images / 255"
    elif low >= -1 and high <= 1:
        hint = "write (images + 1) / 2"
    else:
        hint = "undo the normalisation, images * std + mean, and do it inside the network"
    raise DataError(f"'{name}': images must be float32 in [0,1], got {met}; {hint}.")


def _shape_hint(shape: tuple[int, ...], count: int) -> str:
    if len(shape) != 4 or shape[0] != count:
        return ""
    if shape[3] == 3:
        return "; write images.permute(0, 3, 1, 2)"
    if shape[1] == 1:
        return "; write images.expand(-1, 3, -1, -1)"
    return "; cut or resize them to squares" if shape[1] == 3 else ""


def _describe_storage(tensor: Tensor) -> str:
    return "without values (meta)" if tensor.is_meta else f"in the layout {str(tensor.layout).removeprefix('torch.')}"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
