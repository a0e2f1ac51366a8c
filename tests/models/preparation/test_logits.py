"""Logits of networks and functions that return something else, through the whole preparation."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.core.types import Model, OutputKind
from mavis.models.preparation.isolation import BlackBox
from mavis.models.preparation.prepare import prepare_model

from .networks import Probable, as_model, noise_images, seeded

CPU = torch.device("cpu")
End = Callable[[Tensor], Tensor]


def network(end: End, n_outputs: int = 2) -> Probable:
    """Logits of some ten units, and a function of them."""

    def build() -> Probable:
        net = Probable(end, n_outputs)
        net.head.weight.data *= 20
        return net

    return seeded(build)


def as_box(net: nn.Module) -> Model:
    """A model of which only the outputs are available."""
    return replace(as_model(BlackBox(net), None), capabilities=frozenset({"forward"}))


ENDS: dict[str, tuple[End, float, str]] = {
    "logits": (lambda z: z, 1e-6, ""),
    "softmax": (lambda z: z.softmax(1), 1e-6, "softmax at the end"),
    "log-softmax": (lambda z: z.log_softmax(1), 1e-6, "softmax at the end"),
    "half precision": (lambda z: z.softmax(1).half(), 1e-3, "softmax at the end|rounded probabilities"),
    "half precision inside": (lambda z: z.softmax(1).half().float(), 1e-3, "softmax at the end|rounded probabilities"),
    "percent": (lambda z: 100 * z.softmax(1), 1e-6, "probabilities that add up to 100"),
    "eight bits": (lambda z: (255 * z.softmax(1)).round().to(torch.uint8), 4e-3, "that add up to 255"),
    "tiny negatives": (lambda z: z.softmax(1) + torch.tensor([1e-6, -1e-6]), 1e-5, "softmax at the end"),
    "sigmoids": (torch.sigmoid, 1e-6, "sigmoid at the end removed|one sigmoid per class"),
    "sigmoids by hand": (lambda z: 1 / (1 + (-z).exp()), 1e-6, "one sigmoid per class"),
    "float16 logits": (lambda z: z.half(), 1e-2, ""),
}


@pytest.mark.parametrize("as_kind", [lambda net: as_model(net, None), as_box], ids=["network", "black box"])
@pytest.mark.parametrize(("end", "tolerance", "note"), ENDS.values(), ids=ENDS)
def test_outputs_become_logits(end: End, tolerance: float, note: str, as_kind: Callable[[nn.Module], Model]) -> None:
    """Their softmax is that of the network's own logits, and a note says what they were."""
    net = network(end)
    prepared, changes = prepare_model(as_kind(net), CPU)
    expected = net.logits(noise_images()).softmax(1)
    torch.testing.assert_close(prepared.net(noise_images()).softmax(1), expected, rtol=0, atol=tolerance)
    if note:
        assert any(part in line for line in changes for part in note.split("|"))


@pytest.mark.parametrize("as_kind", [lambda net: as_model(net, None), as_box], ids=["network", "black box"])
@pytest.mark.parametrize(
    "end",
    [lambda z: z, torch.sigmoid, lambda z: 1 / (1 + (-z).exp()), lambda z: z.sigmoid().half().float()],
    ids=["logit", "sigmoid", "by hand", "half"],
)
def test_one_output_becomes_two_logits(end: End, as_kind: Callable[[nn.Module], Model]) -> None:
    """The softmax is (1 − p, p), whether the sigmoid can be found or not."""
    net = network(end, 1)
    p = net.logits(noise_images()).sigmoid()
    prepared, changes = prepare_model(as_kind(net), CPU)
    torch.testing.assert_close(prepared.net(noise_images()).softmax(1), torch.cat([1 - p, p], 1), rtol=0, atol=1e-3)
    assert "one logit z made two: −z/2 for 'a', z/2 for 'b'" in changes


def test_logits_in_the_unit_interval_stay_logits() -> None:
    """Mean colours are in [0,1] on images, and beyond on stronger noise, where no probability is."""
    means = lambda images: images.mean((2, 3))[:, :2]  # noqa: E731
    prepared, changes = prepare_model(as_box(means), CPU)
    assert torch.equal(prepared.net(noise_images()), means(noise_images()))
    assert changes == ("put into evaluation mode",)


def test_one_output_that_is_never_negative_is_doubted() -> None:
    """The note says what it is taken for, and what to write."""
    prepared, changes = prepare_model(as_box(lambda images: images.mean((1, 2, 3))[:, None]), CPU)
    assert any("is taken as a logit, so positive is 'b'; if it is a probability, write output=" in c for c in changes)
    assert set(prepared.card["doubts"]) < set(changes)


@pytest.mark.parametrize(
    ("kind", "end", "logits"),
    [
        ("logits", lambda z: z.softmax(1), lambda z: z.softmax(1)),
        ("sigmoids", lambda z: z.softmax(1), lambda z: z.softmax(1).log() - (1 - z.softmax(1)).log()),
    ],
)
def test_the_option_overrides_what_is_measured(kind: OutputKind, end: End, logits: End) -> None:
    """And a note says so."""
    net = network(lambda z: end(z / 10))
    prepared, changes = prepare_model(replace(as_box(net), output_kind=kind), CPU)
    torch.testing.assert_close(prepared.net(noise_images()), logits(net.logits(noise_images()) / 10))
    assert f"outputs are read as output={kind} says" in changes


def test_an_option_that_does_not_fit_is_refused() -> None:
    """In one line."""
    with pytest.raises(ModelError, match="output=probabilities does not fit outputs from"):
        prepare_model(replace(as_box(network(lambda z: z)), output_kind="probabilities"), CPU)
