"""Every sample that passes a network is counted, and what pads a batch is neither counted nor returned."""

import pytest
import torch
from torch import Tensor, nn

from mavis.core.compute import BatchPadding, Cost, Meter


class Recording(nn.Module):
    """A linear layer on images of 2 × 2 pixels that records the sizes of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.sizes = nn.Linear(4, 2), []

    def forward(self, inputs: Tensor) -> Tensor:
        self.sizes.append(len(inputs))
        return self.layer(inputs.flatten(1))


def random_inputs(count: int) -> Tensor:
    return torch.rand((count, 4), generator=torch.Generator().manual_seed(count))


def test_a_backward_counts_as_two() -> None:
    """Work is counted in forwards; costs add up and subtract part by part."""
    cost = Cost(3, 4, 1.0) + Cost(1, 1, 0.5)
    assert cost == Cost(4, 5, 1.5)
    assert cost.forward_equivalents == 14
    assert cost - Cost(3, 4, 1.0) == Cost(1, 1, 0.5)


def test_forwards_and_backwards_are_counted_in_samples() -> None:
    """Two calls of 3 and 5 samples, of which the second is differentiated twice: 8 forward, 10 backward."""
    net, meter = nn.Linear(4, 2), Meter()
    with meter.attach(net):
        net(random_inputs(3))
        outputs = net(random_inputs(5)).sum()
        outputs.backward(retain_graph=True)
        outputs.backward()
    assert (meter.forwards, meter.backwards) == (8, 10)


def test_a_call_without_graph_has_no_backward() -> None:
    """Under no_grad only forwards count."""
    net, meter = nn.Linear(4, 2), Meter()
    with meter.attach(net), torch.no_grad():
        net(random_inputs(3))
    assert (meter.forwards, meter.backwards) == (3, 0)


def test_nothing_is_counted_outside_the_context() -> None:
    """Before and after, and after an error inside, no hook is left."""
    net, meter = nn.Linear(4, 2), Meter()
    with pytest.raises(RuntimeError, match="inside"), meter.attach(net):
        raise RuntimeError("inside")
    net(random_inputs(3))
    meter.subtract_padding(2, random_inputs(2))
    assert (meter.forwards, meter.backwards) == (0, 0)
    assert not net._forward_hooks


def test_reading_is_a_cost_with_the_clock() -> None:
    """The difference of two readings is the cost between them; time passes."""
    net, meter = nn.Linear(4, 2), Meter()
    with meter.attach(net):
        before = meter.read()
        net(random_inputs(7))
        cost = meter.read() - before
    assert (cost.forwards, cost.backwards) == (7, 0)
    assert cost.seconds > 0


@pytest.mark.parametrize(("count", "padded"), [(1, 4), (3, 4), (4, 4), (9, 12)])
def test_batches_are_padded_to_a_multiple(count: int, padded: int) -> None:
    """The network sees the next multiple of 4; outputs, gradients and counts are those of the inputs alone."""
    net, meter = Recording(), Meter()
    inputs = random_inputs(count).view(count, 1, 2, 2).requires_grad_()
    with meter.attach(net):
        outputs = BatchPadding(net, meter, 4)(inputs)
        (gradient,) = torch.autograd.grad(outputs[:, 0].sum(), inputs)
    assert net.sizes == [padded]
    torch.testing.assert_close(outputs, net.layer(inputs.flatten(1)))
    torch.testing.assert_close(gradient.flatten(1), net.layer.weight[:1].expand(count, 4))
    assert (meter.forwards, meter.backwards) == (count, count)
