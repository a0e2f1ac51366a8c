"""Rewriting of networks: one module per activation, nothing in place, no softmax at the end; the outputs stay."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mavis.models.preparation.graph_rewriting import (
    CallRecorder,
    disable_in_place,
    remove_final_probabilities,
    separate_activations,
)

from .networks import (
    Aliased,
    Branching,
    Functional,
    Nested,
    Probable,
    Shared,
    called_modules,
    noise_images,
    seeded,
    small_network,
)


@pytest.fixture
def images() -> Tensor:
    """Three images of noise."""
    return noise_images()


def is_close(first: Tensor, second: Tensor) -> bool:
    """True where two outputs agree to the last digits of a float32."""
    return torch.allclose(first, second, rtol=0, atol=1e-6)


def separate(network: nn.Module, images: Tensor) -> tuple[nn.Module, list[str]]:
    """A rewritten copy of a network, and the notes on it."""
    rewritten = copy.deepcopy(network)
    disable_in_place(rewritten)
    notes = separate_activations(rewritten, images, lambda: is_close(rewritten(images), network(images)))
    return rewritten, notes


def test_calls_are_recorded_in_order(images: Tensor) -> None:
    """Modules by name, functions as they are; each with the module whose forward calls it."""
    recorder = CallRecorder(seeded(Shared)).record(images)
    assert recorder.call_counts["relu"] == 2
    callees = [call.callee if isinstance(call.callee, str) else call.callee.__name__ for call in recorder.calls]
    assert callees == ["relu", "add_", "relu", "relu", "relu", "relu_"]
    assert {call.caller for call in recorder.calls} == {""}


def test_dropout_is_recorded_only_where_it_is_always_on(images: Tensor) -> None:
    """``training=False`` does nothing and is no call of interest."""

    class Dropping(Probable):
        def logits(self, images: Tensor) -> Tensor:
            x = self.pool(images).flatten(1)
            return self.head(F.dropout(F.dropout(x, 0.5, training=False), 0.5))

    recorder = CallRecorder(seeded(lambda: Dropping(lambda z: z))).record(images)
    assert [call.callee for call in recorder.calls] == ["pool", F.dropout]


def test_in_place_modules_are_switched() -> None:
    """All of them, and nothing else is noted."""
    network = small_network()
    assert disable_in_place(network) == ["2 in-place activations made ordinary"]
    assert [module.inplace for module in network if isinstance(module, nn.ReLU)] == [False, False]
    assert disable_in_place(network) == []


def test_every_activation_becomes_a_module_of_its_own(images: Tensor) -> None:
    """Five calls of ReLU, two of them of one module and three of functions, are five modules; the outputs stay."""
    network = seeded(Shared)
    rewritten, notes = separate(network, images)
    modules = called_modules(rewritten, images)
    assert len(modules) == len({id(module) for module in modules}) == 5
    assert len(called_modules(network, images)) == 2
    assert is_close(rewritten(images), network(images))
    assert set(notes) == {
        "1 shared activations given a module for each place",
        "3 functional activations made modules",
        "1 steps in place made ordinary",
    }


def test_a_hooked_tensor_is_not_overwritten(images: Tensor) -> None:
    """Nothing works in place afterwards: what a hook saw is what it still holds at the end of the forward."""
    rewritten, _ = separate(seeded(Shared), images)
    seen: list[tuple[Tensor, Tensor]] = []
    for module in rewritten.modules():
        module.register_forward_hook(lambda _, __, output: seen.append((output, output.clone())))
    rewritten(images)
    assert seen
    assert all(torch.equal(output, at_return) for output, at_return in seen)


def test_a_rewritten_module_stays_what_it_was(images: Tensor) -> None:
    """Type, names of the weights and of the children, and that it can be copied."""
    rewritten, _ = separate(seeded(Shared), images)
    assert isinstance(rewritten, Shared)
    assert rewritten.state_dict().keys() == Shared().state_dict().keys()
    copied = copy.deepcopy(rewritten)
    with torch.no_grad():
        copied.head.bias += 1
    torch.testing.assert_close(copied(images), rewritten(images) + 1)


def test_an_activation_with_two_names_is_two(images: Tensor) -> None:
    """One ReLU object at two places of a Sequential."""
    relu = nn.ReLU()
    network = seeded(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), relu, nn.Conv2d(4, 2, 3), relu, nn.Flatten(), nn.Linear(1568, 2))
    )
    rewritten, notes = separate(network, images)
    assert rewritten[1] is not rewritten[3]
    assert notes == ["1 shared activations given a module for each place"]
    assert is_close(rewritten(images), network(images))


def test_a_module_that_cannot_be_traced_is_left_and_noted(images: Tensor) -> None:
    """A forward that looks at values; the network is as it was."""
    network = seeded(Branching)
    rewritten, notes = separate(network, images)
    assert len({id(module) for module in called_modules(rewritten, images)}) == 1
    assert notes == ["hooks do not see every activation of the network itself: called more than once, or not traceable"]
    assert type(rewritten) is Branching
    assert is_close(rewritten(images), network(images))


class BranchingReLU(nn.Module):
    """A functional activation in a forward that looks at values."""

    def forward(self, images: Tensor) -> Tensor:
        return F.relu(images - 0.5) if images.mean() < 2 else images


def test_one_module_that_cannot_be_traced_does_not_prevent_the_others(images: Tensor) -> None:
    """Each forward is traced alone: five modules for the five ReLUs of the second; the first is noted."""
    network = seeded(lambda: nn.Sequential(BranchingReLU(), nn.Sequential(Shared())))
    rewritten, notes = separate(network, images)
    assert len({id(module) for module in called_modules(rewritten, images)}) == 5
    assert notes[-1] == "hooks do not see every activation of 0: called more than once, or not traceable"
    assert is_close(rewritten(images), network(images))


def test_a_change_that_alters_outputs_is_undone(images: Tensor) -> None:
    """Code that reads a tensor under its old name after a change in place keeps the change."""
    network = seeded(Aliased)
    rewritten, notes = separate(network, images)
    assert is_close(rewritten(images), network(images))
    assert called_modules(rewritten, images) == []
    assert notes[0].startswith("hooks do not see every activation of the network itself")
    assert type(rewritten) is Aliased


def test_dropout_that_is_always_on_is_turned_off(images: Tensor) -> None:
    """A function whose ``training`` was left out; afterwards the outputs are always the same."""

    class Dropping(Probable):
        def logits(self, images: Tensor) -> Tensor:
            return self.head(F.dropout(self.pool(images).flatten(1), 0.5))

    network = seeded(lambda: Dropping(lambda z: z))
    assert separate_activations(network, images, lambda: True) == ["1 dropouts that were always on turned off"]
    assert torch.equal(network(images), network(images))


@pytest.mark.parametrize(
    "end",
    [
        nn.Softmax(1), nn.LogSoftmax(1), nn.Sigmoid(), Nested(nn.Softmax(-1)), Functional(), torch.sigmoid,
        lambda z: z.softmax(1), lambda z: z.log_softmax(-1),
    ],
    ids=["softmax", "log", "sigmoid", "nested", "in a module", "sigmoid function", "method", "log as a method"],
)  # fmt: skip
def test_the_probabilities_at_the_end_are_removed(end: Callable[[Tensor], Tensor], images: Tensor) -> None:
    """The logits come out, wherever and however the softmax or sigmoid was written."""
    network = seeded(lambda: Probable(end))
    rewritten = copy.deepcopy(network)
    logits = network.logits(images)
    assert remove_final_probabilities(rewritten, images, lambda: is_close(rewritten(images), logits))
    assert is_close(rewritten(images), logits)


def test_a_softmax_whose_input_is_not_correct_stays(images: Tensor) -> None:
    """The check decides; the network is as it was."""
    network = seeded(lambda: Probable(nn.Softmax(1)))
    before = network(images)
    assert not remove_final_probabilities(network, images, lambda: False)
    assert torch.equal(network(images), before)
    assert isinstance(network.end, nn.Softmax)


def test_without_a_softmax_nothing_is_removed(images: Tensor) -> None:
    """A network of logits is left alone, and the check is never asked."""
    network = seeded(lambda: Probable(lambda z: z))
    assert not remove_final_probabilities(network, images, lambda: pytest.fail("asked"))
