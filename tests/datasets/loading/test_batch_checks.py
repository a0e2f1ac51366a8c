"""Loaded images are looked at, batch by batch, before anything is computed of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mavis.core.errors import DataError
from mavis.core.types import Batch
from mavis.datasets.loading.batch_checks import check_batch, check_images, check_mean

IDS, LABELS = ("a", "b"), [0, 1]


def good() -> Batch:
    """A batch as it should be."""
    return Batch(torch.rand(2, 3, 32, 32), torch.tensor(LABELS), IDS)


def test_a_good_batch_passes_untouched() -> None:
    """No pixel is changed, one that rounding carried out of [0,1] neither."""
    batch = good()
    batch.images[0, 0, 0, 0] = 1 + 1e-6
    assert check_batch(batch, "memory", list(IDS), LABELS).images.equal(batch.images)


def test_a_batch_is_a_copy_in_the_usual_layout() -> None:
    """The data set may use its memory again, and its layout decides nothing."""
    images = torch.rand(2, 32, 32, 3).permute(0, 3, 1, 2)
    masks = {"parts": torch.zeros(2, 32, 32, dtype=torch.uint8), "regions": torch.ones(2, 32, 32).bool()}
    batch = replace(good(), images=images, rerender=lambda part, number: images, **masks)
    checked, expected = check_batch(batch, "memory", IDS, LABELS), images.clone()
    assert checked.rerender is not None
    redrawn = checked.rerender("nose", 0)
    for tensor in (images, batch.labels, *masks.values()):
        tensor.fill_(1 - int(tensor.flatten()[0]))
    assert checked.images.equal(expected)
    assert redrawn.equal(expected)
    assert checked.images.is_contiguous()
    assert (checked.labels.tolist(), int(checked.parts.sum()), bool(checked.regions.all())) == (LABELS, 0, True)


def test_types_of_one_meaning_are_converted() -> None:
    """A graph is left behind; ids are a tuple, labels int64."""
    batch = replace(good(), images=torch.rand(2, 3, 32, 32, requires_grad=True), labels=torch.tensor([0, 1]).int())
    checked = check_batch(replace(batch, ids=["a", "b"]), "memory", IDS, LABELS)
    assert not checked.images.requires_grad
    assert (checked.ids, checked.labels.dtype) == (IDS, torch.int64)
    assert check_batch(replace(good(), ids=["a", "b"]), "memory", IDS, LABELS).ids == IDS


IMAGES = torch.rand(2, 3, 32, 32)
BAD_IMAGES: dict[str, tuple[Any, str]] = {
    "0 to 255": (IMAGES * 255, r"got values from .* to 25\d.*; write images / 255"),
    "-1 to 1": (IMAGES * 2 - 1, r"got values from -(0.99|1).*; write \(images \+ 1\) / 2"),
    "normalised": ((IMAGES - 0.45) / 0.22, "undo the normalisation"),
    "a resampling filter": (IMAGES * 1.2 - 0.1, r"write images.clamp\(0, 1\)"),
    "uint8": ((IMAGES * 255).byte(), "got uint8; write images.float"),
    "float64": (IMAGES.double(), r"got float64; write images.float\(\)"),
    "half precision": (IMAGES.half(), "got float16"),
    "NaN": (IMAGES.masked_fill(IMAGES > 0.99, float("nan")), "not finite"),
    "infinite": (IMAGES.masked_fill(IMAGES > 0.99, float("inf")), "not finite"),
    "one channel": (IMAGES[:, :1], r"write images.expand\(-1, 3, -1, -1\)"),
    "four channels": (torch.rand(2, 4, 32, 32), r"got \(2, 4, 32, 32\)"),
    "channels last": (IMAGES.permute(0, 2, 3, 1), r"write images.permute\(0, 3, 1, 2\)"),
    "no batch": (IMAGES[0], r"got \(3, 32, 32\)"),
    "one image too few": (IMAGES[:1], r"must have the shape \(2,3,H,H\)"),
    "not square": (IMAGES[:, :, :16], "cut or resize them to squares"),
    "no pixels": (IMAGES[:, :, :0, :0], r"got \(2, 3, 0, 0\)"),
    "sparse": (IMAGES.to_sparse(), "dense tensor with its values, got one in the layout sparse_coo"),
    "without values": (IMAGES.to("meta"), r"got one without values \(meta\)"),
    "numpy": (IMAGES.numpy(), "torch.Tensor, got ndarray"),
    "a list": (list(IMAGES), "torch.Tensor, got list"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_other_images_are_refused_with_what_was_met(case: str) -> None:
    """Type, shape or range, and what to write."""
    images, said = BAD_IMAGES[case]
    with pytest.raises(DataError, match=said) as caught:
        check_images(images, "memory", 2)
    assert "\n" not in str(caught.value)


BAD_BATCHES: dict[str, tuple[Any, str]] = {
    "a dictionary": ({"images": IMAGES}, "must return a mavis.Batch, got dict"),
    "None": (None, "got NoneType"),
    "another order": (replace(good(), ids=("b", "a")), "in the order of the ids"),
    "another id": (replace(good(), ids=("a", "c")), "must answer with the ids that it is given"),
    "an id too few": (replace(good(), ids=("a",)), "got 1: 'a'"),
    "other labels": (
        replace(good(), labels=torch.tensor([1, 2])),
        r"must be those of the table, \[0, 1\] …, got \[1, 2\]",
    ),
    "labels as floats": (replace(good(), labels=torch.tensor([0.0, 1.0])), "labels must be those of the table"),
    "labels as texts": (replace(good(), labels=["x", "y"]), "must be whole numbers"),
    "no labels": (replace(good(), labels=None), "must be whole numbers, got None"),
    "no ids": (replace(good(), ids=None), "must be a tuple of texts, got NoneType"),
    "groups as a list": (replace(good(), groups=["x", "y"]), "are a mapping"),
    "parts of another size": (
        replace(good(), parts=torch.zeros(2, 16, 16, dtype=torch.uint8)),
        r"got uint8 of \(2, 16",
    ),
    "parts of another type": (replace(good(), parts=torch.zeros(2, 32, 32)), "parts must be uint8 of"),
    "regions with a channel": (replace(good(), regions=torch.ones(2, 1, 32, 32).bool()), "regions must be bool of"),
    "regions as numbers": (replace(good(), regions=torch.ones(2, 32, 32)), "got float32"),
}


@pytest.mark.parametrize("case", BAD_BATCHES)
def test_other_batches_are_refused_with_what_was_met(case: str) -> None:
    """Order, ids, labels, masks."""
    batch, said = BAD_BATCHES[case]
    with pytest.raises(DataError, match=said) as caught:
        check_batch(batch, "memory", IDS, LABELS)
    assert "\n" not in str(caught.value)


def test_images_that_are_drawn_anew_are_looked_at_too() -> None:
    """When they are drawn."""
    batch = replace(good(), rerender=lambda part, number: IMAGES * (1 if part == "nose" else 255))
    checked = check_batch(batch, "memory", IDS, LABELS)
    assert checked.rerender is not None
    assert checked.rerender("nose", 0).equal(IMAGES)
    with pytest.raises(DataError, match="write images / 255"):
        checked.rerender("mouth", 0)


def test_a_good_mean_is_kept() -> None:
    """As it is; a list, an array and float64 become float32."""
    mean = torch.tensor([0.1, 0.2, 0.3])
    assert check_mean(mean, "memory").equal(mean)
    for other in ([0.1, 0.2, 0.3], (0.1, 0.2, 0.3), np.array([0.1, 0.2, 0.3]), mean.double()):
        colour = check_mean(other, "memory")
        assert colour.dtype == torch.float32
        assert colour.tolist() == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("mean", "said"),
    [
        ([127.0, 110.0, 90.0], "got 90 to 127; divide by 255"),
        ([-0.1, 0.2, 0.3], r"must be in \[0,1\]"),
        ([0.1, float("nan"), 0.3], r"must be in \[0,1\]"),
        (0.5, r"shape \(3,\), one number per channel, got \(\)"),
        (torch.zeros(3, 1, 1), r"got \(3, 1, 1\)"),
        ("grey", "three numbers"),
        (None, "three numbers"),
    ],
)
def test_another_mean_is_refused(mean: Any, said: str) -> None:
    """Shape and range."""
    with pytest.raises(DataError, match=said):
        check_mean(mean, "memory")
