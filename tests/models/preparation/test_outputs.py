"""Recognition of outputs by their numbers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.core.types import OutputKind
from mavis.models.preparation.outputs import BinaryLogits, LogOdds, LogProbabilities, check_kind, recognise

from .networks import as_model, small_network

Z = 6 * torch.randn((32, 5), generator=torch.Generator().manual_seed(0))
"""Logits of five classes for varied images."""


@pytest.mark.parametrize(
    ("outputs", "kind", "total"),
    [
        (Z, "logits", 1),
        (Z.relu(), "logits", 1),
        (Z.softmax(1), "probabilities", 1),
        (Z.softmax(1).half().float(), "probabilities", 1),
        (Z.softmax(1).bfloat16().float(), "probabilities", 1),
        ((Z.softmax(1) * 256).round() / 256, "probabilities", 1),
        ((Z.softmax(1) * 100).round() / 100, "probabilities", 1),
        (Z.softmax(1) - 1e-6, "probabilities", 1),
        (100 * Z.softmax(1), "probabilities", 100),
        ((255 * Z.softmax(1)).round(), "probabilities", 255),
        (nn.functional.one_hot(Z.argmax(1), 5), "probabilities", 1),
        (Z.log_softmax(1), "log_probabilities", 1),
        (Z.sigmoid(), "sigmoids", 1),
        (Z.sigmoid().half().float(), "sigmoids", 1),
        (100 * Z.sigmoid(), "sigmoids", 100),
        (torch.full((32, 5), 0.3), "logits", 1),
        (Z[:, :2].softmax(1) * 1.3 - 0.15, "logits", 1),
    ],
)
def test_outputs_are_recognised(outputs: Tensor, kind: OutputKind, total: float) -> None:
    """By sums and ranges; rows that are not finite say nothing."""
    recognition = recognise(torch.cat([outputs, torch.full_like(outputs[:1], 0).float() / 0]), outputs.shape[1])
    assert recognition.kind == kind
    assert recognition.total == pytest.approx(total, rel=0.01)


@pytest.mark.parametrize(
    ("outputs", "kind"),
    [
        (Z[:, :1], "one_logit"),
        (Z[:, :1].sigmoid(), "one_probability"),
        (Z[:, :1].sigmoid() * 100, "one_probability"),
        (Z[:, :1].relu(), "one_logit"),
        (Z[:, :1].clamp(0, 6), "one_logit"),
    ],
)
def test_one_output_for_two_classes_is_recognised(outputs: Tensor, kind: OutputKind) -> None:
    """A logit, a probability, a percentage, or a positive logit."""
    assert recognise(outputs, 2).kind == kind


def test_logits_and_their_probabilities_invert_each_other() -> None:
    """log(p/(1−p)) of a sigmoid, the logarithm of a softmax; what is rounded to 0 stays in reach of the rest."""
    torch.testing.assert_close(LogOdds(nn.Sigmoid())(Z / 4), Z / 4, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(LogProbabilities(nn.Softmax(1))(Z).softmax(1), Z.softmax(1))
    assert LogOdds(nn.Identity())(torch.tensor([[0.0, 1.0]])).abs().max() < 17
    assert LogProbabilities(nn.Identity(), 2.0**-25)(torch.tensor([[0.0, 1.0]])).abs().max() < 18
    assert torch.equal(BinaryLogits(nn.Identity())(torch.tensor([[4.0]])), torch.tensor([[-2.0, 2.0]]))


def test_rounded_probabilities_have_a_floor() -> None:
    """Half a step; none for exact ones, and none for votes."""
    p = Z.softmax(1)
    assert recognise(p, 5).floor == 0
    assert recognise(p.half().float(), 5).floor == 2.0**-25
    assert recognise((p * 256).round() / 256, 5).floor == 0.5 / 256
    assert recognise(nn.functional.one_hot(Z.argmax(1), 5), 5).floor == 0


@pytest.mark.parametrize(
    ("kind", "outputs", "kind_recognised"),
    [
        ("logits", Z.softmax(1), "logits"),
        ("sigmoids", Z.softmax(1), "sigmoids"),
        ("probabilities", Z.softmax(1), "probabilities"),
        ("log_probabilities", Z.log_softmax(1), "log_probabilities"),
        ("percent", 100 * Z.softmax(1), "probabilities"),
        ("percent", 100 * Z.sigmoid(), "sigmoids"),
        ("percent", 30 * Z[:, :1].sigmoid(), "one_probability"),
        ("one_probability", Z[:, :1].sigmoid(), "one_probability"),
        ("one_logit", Z[:, :1].sigmoid(), "one_logit"),
    ],
)
def test_the_user_decides(kind: OutputKind, outputs: Tensor, kind_recognised: OutputKind) -> None:
    """Also where the numbers could be something else."""
    assert check_kind(as_model(small_network(), None), outputs, kind).kind == kind_recognised


REFUSED: list[tuple[OutputKind, Callable[[Tensor], Tensor], str]] = [
    ("probabilities", lambda z: z, r"does not fit outputs from -\d.* to \d"),
    ("probabilities", torch.sigmoid, ".*whose sums per image are"),
    ("log_probabilities", lambda z: z.softmax(1), "does not fit"),
    ("percent", lambda z: z.softmax(1), "does not fit"),
    ("sigmoids", lambda z: 100 * z.sigmoid(), "does not fit"),
    ("one_logit", lambda z: z, r"needs one output per image, got 5; write output= with one of logits"),
    ("logits", lambda z: z[:, :1], "needs 2 outputs per image, got 1"),
]


@pytest.mark.parametrize(("kind", "end", "text"), REFUSED)
def test_what_cannot_be_is_refused(kind: OutputKind, end: Callable[[Tensor], Tensor], text: str) -> None:
    """With the range or the number that was met."""
    with pytest.raises(ModelError, match=f"'tiny': output={kind} {text}"):
        check_kind(as_model(small_network(), None), end(Z), kind)
