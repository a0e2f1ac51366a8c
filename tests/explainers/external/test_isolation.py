"""External code runs on copies, in silence, with random numbers that belong to the image."""

import random
import sys
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mavis.core.compute import Meter
from mavis.core.errors import ContractError, ModelError
from mavis.core.model_pass import Pass
from mavis.explainers.external.isolation import ExternalCall, explainer_of, suppress_output, watch_seeded_generators

from ...toys import Linear, Pooled, make_model, make_pass, random_images, targets

WEIGHT = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(7))

AttributionFunction = Callable[[nn.Module, Tensor, Tensor], object]

DRAWS = {
    "torch": torch.rand,
    "numpy": lambda shape: torch.from_numpy(np.random.rand(*shape)),
    "python": lambda shape: torch.full(shape, random.random()),
}
"""One draw from each of the three generators."""


def isolated(function: AttributionFunction, model_pass: Pass, target: int | Tensor = 0) -> Tensor:
    """The map of a function of model, images and targets; its name is the label."""
    explainer = explainer_of(lambda call: function(call.net, call.images, call.targets), function.__name__)
    return explainer(model_pass, targets(model_pass, target))


def pooled_pass(count: int = 5, **settings: object) -> Pass:
    """A pass of a network with a CAM layer."""
    return make_pass(make_model(Pooled(), cam_layer="relu"), random_images(count), **settings)


def drawing(source: str) -> AttributionFunction:
    """A function that draws from one of the three generators."""

    def draw(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        return DRAWS[source](images.shape)

    return draw


def draw_from_all() -> tuple[float, float, float]:
    """The next number of each generator."""
    return torch.rand(1).item(), np.random.rand(), random.random()


def seed_all(seed: int) -> None:
    """Seeds the three generators."""
    for set_seed in (torch.manual_seed, np.random.seed, random.seed):
        set_seed(seed)


# Copies.


def test_the_model_and_the_images_are_out_of_reach() -> None:
    """Code that ruins its arguments ruins a copy, each time anew: every image gets the model as it is."""

    def ruinous(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        sums = model(images).sum(1)[:, None, None].expand(-1, 8, 8).clone()
        model.register_forward_hook(lambda *_: torch.zeros(1, 3))
        model.train()
        with torch.no_grad():
            model.conv.weight.zero_()
        images.zero_()
        targets.zero_()
        return sums

    model_pass = pooled_pass(chunk=2)
    images, classes = model_pass.images.clone(), targets(model_pass, 1)
    state = {name: tensor.clone() for name, tensor in model_pass.model.net.state_dict().items()}
    maps = isolated(ruinous, model_pass, classes)
    torch.testing.assert_close(maps[:, 0, 0, 0], model_pass.model.net(images).sum(1))
    assert model_pass.images.equal(images)
    assert classes.tolist() == [1] * 5
    assert not model_pass.model.net.training
    assert not model_pass.model.net._forward_hooks
    assert all(tensor.equal(state[name]) for name, tensor in model_pass.model.net.state_dict().items())


def test_samples_are_counted_and_bounded_by_the_chunk() -> None:
    """Each image costs the samples that the method sends, and no call holds more images than the chunk."""
    sizes = []

    def twice(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        sizes.append(len(images))
        images.requires_grad_()
        (model(images).sum() + model(images).sum()).backward()
        return images.grad

    meter = Meter()
    model_pass = pooled_pass(count=7, chunk=3, meter=meter)
    with meter.attach(model_pass.model.net):
        isolated(twice, model_pass)
    assert (meter.forwards, meter.backwards) == (14, 14)
    assert sum(sizes) == 7
    assert max(sizes) == 3


def test_the_cam_layer_is_that_of_the_copy() -> None:
    """A hook on it sees the copy's forward, and not the model's."""
    model_pass = pooled_pass()
    net = Pooled()
    layer = ExternalCall(net, model_pass, model_pass.images, targets(model_pass)).cam_layer
    assert layer is net.relu
    assert layer is not model_pass.model.net.relu


def test_a_model_without_cam_layer_is_named() -> None:
    """The message names the model and the way out."""
    model_pass = make_pass(Linear(WEIGHT), random_images(2))
    call = ExternalCall(model_pass.model.net, model_pass, model_pass.images, targets(model_pass))
    with pytest.raises(ModelError, match="'Linear' has no CAM layer; leave out"):
        _ = call.cam_layer


# Returned maps.


@pytest.mark.parametrize(
    "convert",
    [
        lambda images: images[:, 0],
        lambda images: images[:, :1].double().numpy(),
        lambda images: (images[:, :1].requires_grad_(),),
    ],
    ids=["three dimensions", "an array of doubles", "a tuple of one"],
)
def test_maps_are_floats_with_a_channel(convert: Callable[[Tensor], object]) -> None:
    """Each accepted form becomes ``(N,1,H,W)`` float32 without graph."""

    def returns(model: nn.Module, images: Tensor, targets: Tensor) -> object:
        return convert(images)

    model_pass = pooled_pass()
    maps = isolated(returns, model_pass)
    assert maps.dtype == torch.float32
    assert not maps.requires_grad
    assert maps.equal(model_pass.images[:, :1])


@pytest.mark.parametrize(
    ("convert", "message"),
    [
        (lambda images: images[0], r"must return \(3, 8, 8\) or \(3, 3, 8, 8\), got \(3, 1, 8, 8\)"),
        (lambda images: images[:2], r"must return .*, got \(2, 3, 8, 8\)"),
        (lambda images: images.mean((1, 2, 3)), r"must return .*, got \(3,\)"),
        (lambda images: "a map", "must return a tensor or an array, got str"),
        (lambda images: (images, images), "must return a tensor or an array, got tuple"),
    ],
)
def test_other_shapes_and_types_are_refused(convert: Callable[[Tensor], object], message: str) -> None:
    """The error has the function's own name."""

    def wrong(model: nn.Module, images: Tensor, targets: Tensor) -> object:
        return convert(images.expand(3, -1, -1, -1) if len(images) == 1 else images)

    model_pass = make_pass(Linear(WEIGHT), random_images(1).expand(3, -1, -1, -1).contiguous())
    with pytest.raises(ContractError, match=f"'wrong' {message}|'wrong' must return"):
        isolated(wrong, model_pass)


# Random numbers.


@pytest.mark.parametrize("source", DRAWS)
def test_random_numbers_belong_to_the_image(source: str) -> None:
    """They follow the run's seed and the image, not the batch, the chunk or earlier draws."""
    expected = isolated(drawing(source), pooled_pass(chunk=64))
    draw_from_all()
    assert isolated(drawing(source), pooled_pass(chunk=2)).equal(expected)
    assert isolated(drawing(source), pooled_pass(chunk=1)).equal(expected)
    assert not isolated(drawing(source), pooled_pass(seed=1)).equal(expected)
    assert not expected[0].equal(expected[1])


def test_numbers_drawn_late_are_noticed() -> None:
    """Code that draws for some images only is called image by image from there on."""

    def sometimes(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        return images + (torch.rand(images.shape) if (targets > 0).any() else 0)

    classes = torch.tensor([0, 0, 1, 0, 1])
    first, second = (isolated(sometimes, pooled_pass(chunk=chunk), classes) for chunk in (1, 64))
    assert first.equal(second)
    assert first[[0, 1, 3]].equal(pooled_pass().images[[0, 1, 3]])


@pytest.mark.parametrize("source", DRAWS)
def test_a_draw_is_noticed(source: str) -> None:
    """The yielded function is true after a draw from any of the three generators, and not before."""
    with watch_seeded_generators(3, torch.device("cpu")) as has_drawn:
        assert not has_drawn()
        DRAWS[source]((1,))
        assert has_drawn()


def test_a_seed_fixes_all_three_generators() -> None:
    """Equal seeds give equal numbers, others give others; a seed may be larger than NumPy allows."""
    draws = []
    for seed in (2**40 + 1, 2**40 + 1, 2):
        with watch_seeded_generators(seed, torch.device("cpu")):
            draws.append(draw_from_all())
    assert draws[0] == draws[1]
    assert all(first != second for first, second in zip(draws[0], draws[2], strict=True))


def test_the_caller_s_generators_are_restored() -> None:
    """Neither the seeds nor the draws of external code show in the caller's numbers, also after an error."""
    model_pass = pooled_pass()
    seed_all(3)
    expected = draw_from_all()
    seed_all(3)
    for source in DRAWS:
        isolated(drawing(source), model_pass)
    assert draw_from_all() == expected
    seed_all(3)
    with pytest.raises(ZeroDivisionError), watch_seeded_generators(5, torch.device("cpu")):
        raise ZeroDivisionError(draw_from_all())
    assert draw_from_all() == expected


# Output and errors.


def test_external_code_is_silent(capfd: pytest.CaptureFixture) -> None:
    """Prints, progress bars and warnings of other libraries do not appear."""

    def loud(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        sys.stdout.write("look")
        sys.stderr.write("here")
        warnings.warn("careful", stacklevel=1)
        return images

    isolated(loud, pooled_pass())
    assert capfd.readouterr() == ("", "")


def test_output_returns_afterwards(capfd: pytest.CaptureFixture) -> None:
    """Only output inside the context is suppressed."""
    with suppress_output():
        sys.stdout.write("inside")
    sys.stdout.write("after")
    assert capfd.readouterr().out == "after"


def test_errors_are_passed_on() -> None:
    """Exceptions of external code reach the run, which records them."""

    def broken(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError):
        isolated(broken, pooled_pass())
