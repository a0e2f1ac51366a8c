"""Copies of networks: complete, separate, and of networks that deepcopy refuses."""

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.core.objects.network_copy import copy_network


class Net(nn.Module):
    """One layer; what else it holds is put in by a test."""

    def __init__(self, **held: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        vars(self).update(held)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out


class _Refusing:
    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("no copies")


class _WithNet(_Refusing):
    def __init__(self) -> None:
        self.net = nn.Linear(2, 2)


def _keeping() -> Net:
    """A network that keeps an activation with its graph, in an attribute, a list and a dict of a hook."""
    net, store = Net(), {}  # type: ignore[var-annotated]
    net.layer.register_forward_hook(lambda module, inputs, output: store.update(last=output))
    vars(net).update(kept=net(torch.rand(1, 2)), history=[net(torch.rand(1, 2))], store=store)
    return net


def _weight_normed() -> Net:
    net = Net()
    nn.utils.weight_norm(net.layer)
    net(torch.rand(1, 2))
    return net


def _spectral_normed() -> Net:
    net = Net()
    nn.utils.spectral_norm(net.layer)
    net(torch.rand(1, 2))
    return net


UNCOPYABLE: dict[str, Callable[[], nn.Module]] = {
    "weight norm": _weight_normed,
    "spectral norm": _spectral_normed,
    "kept activation": _keeping,
    "lock": lambda: Net(lock=threading.Lock()),
    "generator": lambda: Net(numbers=(n for n in range(3)), module=threading),
    "thread": lambda: Net(thread=threading.Thread(target=print)),
    "object that refuses": lambda: Net(thing=_Refusing(), things=[_Refusing()]),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", UNCOPYABLE)
def test_a_network_that_deepcopy_refuses_is_copied(name: str) -> None:
    """With the same answers and weights of its own; the original is as it was, what it keeps too."""
    net, x = UNCOPYABLE[name](), torch.rand(3, 2)
    with pytest.raises(Exception, match=r"."):
        copy.deepcopy(net)
    attributes = dict(vars(net))
    copied = copy_network(net)
    assert vars(net) == attributes
    net.eval()
    copied.eval()
    answers = net(x).detach()
    torch.testing.assert_close(copied(x).detach(), answers, rtol=0, atol=0)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.add_(1)
    assert not copied(x).equal(answers)
    assert net(x).equal(answers)


def test_kept_activations_lose_their_graph() -> None:
    """In the copy, which can then be copied again."""
    net = _keeping()
    copied = copy_network(net)
    assert vars(copied)["kept"].grad_fn is None
    assert vars(net)["kept"].grad_fn is not None
    copied(torch.rand(1, 2))
    copy_network(copied)


def test_closures_get_copies_of_what_they_close_over() -> None:
    """A function that calls its own network, and one over another module that torch does not know."""
    inner = nn.Linear(2, 2)
    net = Net()
    net.own = lambda x: net.layer(x)  # type: ignore[assignment] # noqa: PLW0108 (the closure is the point)
    net.other = lambda x: inner(x)  # type: ignore[assignment] # noqa: PLW0108 (the closure is the point)
    copied: Any = copy_network(net)
    with torch.no_grad():
        copied.layer.weight.zero_()
        copied.layer.bias.zero_()
    assert not copied.own(torch.rand(1, 2)).any()
    assert net.own(torch.rand(1, 2)).any()
    assert copied.other.__closure__[0].cell_contents is not inner


def test_what_a_class_holds_is_copied_into_the_object() -> None:
    """A module in a list of the class; the class stays as it is."""

    class Shared(Net):
        members = (nn.Linear(2, 2),)

    copied: Any = copy_network(Shared())
    assert copied.members[0] is not Shared.members[0]
    assert copied.members[0].weight.equal(Shared.members[0].weight)


def _closing_class() -> nn.Module:
    inner = nn.Linear(2, 2)

    class Closing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = inner(x)
            return out

    return Closing()


class _NoCopies(Net):
    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("no copies\nof this")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_closing_class, r"A Closing cannot be copied: 'forward.inner' would be shared with the original"),
        (lambda: Net(holder=_WithNet()), r"A Net cannot be copied: 'holder.net' would be shared with the original"),
        (_NoCopies, r"A _NoCopies cannot be copied: TypeError: no copies$"),
    ],
)
def test_a_network_that_cannot_be_copied_says_why(make: Callable[[], nn.Module], message: str) -> None:
    """In one line: nothing that is randomised in a copy may be the original's."""
    with pytest.raises(ModelError, match=message):
        copy_network(make())


def test_weights_made_in_inference_mode_become_ordinary() -> None:
    """Whatever the mode in which the copy is made."""
    with torch.inference_mode():
        net = Net()
        copied = copy_network(net)
    assert not any(parameter.is_inference() for parameter in copied.parameters())
    assert isinstance(copied.layer.weight, nn.Parameter)
    assert copied.layer.weight.equal(net.layer.weight)
