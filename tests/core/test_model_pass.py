"""What explainers share is computed once, counted exactly, and leaves nothing behind."""

import itertools
from collections.abc import Sequence
from contextlib import suppress

import pytest
import torch
from torch import Tensor, nn

from mavis.core import devices
from mavis.core.compute import Cost
from mavis.core.errors import MavisError, ModelError
from mavis.core.model_pass import Pass
from mavis.core.registry import explainers
from mavis.models.loading.architectures import CAM_LAYER, build_race_resnet

from ..toys import Linear, Pooled, explain, make_model, make_pass, measure_cost, random_images, targets

SHARING = ("saliency", "input_x_gradient", "gradcam", "cam")


def pooled_pass(count: int = 6, **settings: object) -> Pass:
    return make_pass(make_model(Pooled(), cam_layer="relu"), random_images(count), **settings)


def explain_all(model_pass: Pass, names: Sequence[str]) -> dict[str, Cost]:
    costs = {}
    with model_pass.meter.attach(model_pass.model.net):
        for name in names:
            with model_pass.measure_cost() as cost:
                explain(name, model_pass)
            costs[name] = cost
    return costs


# Counts.


def test_four_explainers_share_one_forward_and_one_backward() -> None:
    """Gradients, Grad-CAM and CAM of 6 images take 6 samples forward and 6 backward altogether."""
    model_pass = pooled_pass()
    explain_all(model_pass, SHARING)
    assert (model_pass.meter.forwards, model_pass.meter.backwards) == (6, 6)


@pytest.mark.parametrize("names", list(itertools.permutations(SHARING, 4))[::5])
def test_the_account_does_not_depend_on_who_ran_before(names: tuple[str, ...]) -> None:
    """Each is charged what it needs alone: a forward, and a backward unless it reads weights only."""
    costs = explain_all(pooled_pass(), names)
    assert {name: (cost.forwards, cost.backwards) for name, cost in costs.items()} == {
        name: (6, 0 if name == "cam" else 6) for name in SHARING
    }


def test_shared_work_is_charged_in_time_too() -> None:
    """Who gets a tensor for nothing still has the seconds that it took on the account."""
    model_pass = pooled_pass()
    first, second = (explain_all(model_pass, [name])[name] for name in ("saliency", "input_x_gradient"))
    shared_seconds = sum(part.cost.seconds for part in model_pass._computed.values())
    assert 0 < shared_seconds <= first.seconds
    assert second.seconds >= shared_seconds


def test_what_explainers_share_is_computed_once_and_charged_to_each() -> None:
    """Under one key the model is asked once, and who asks second is charged the same; another key asks again."""
    model_pass = pooled_pass(5)
    tensors: list[Tensor] = []
    charged: list[int] = []
    with model_pass.meter.attach(model_pass.model.net):
        for key in ("a", "a", "b"):
            with model_pass.measure_cost() as cost:
                tensors += model_pass.compute_once((key,), lambda: (model_pass.predict(model_pass.images),))
            charged.append(cost.forwards)
    assert charged == [5, 5, 5]
    assert model_pass.meter.forwards == 10
    assert tensors[0] is tensors[1]
    assert tensors[0].equal(tensors[2])


def test_two_target_vectors_take_one_forward_and_two_backwards() -> None:
    """The graph is kept: another target costs one more backward, the same one none."""
    model_pass = pooled_pass()
    with model_pass.meter.attach(model_pass.model.net):
        for target in (0, 1, 0):
            model_pass.input_gradient(targets(model_pass, target))
    assert (model_pass.meter.forwards, model_pass.meter.backwards) == (6, 12)


@pytest.mark.parametrize(
    ("name", "params", "forwards", "backwards"),
    [
        ("saliency", {}, 1, 1),
        ("smoothgrad", {"samples": 5}, 5, 5),
        ("integrated_gradients", {"steps": 6}, 6, 6),
        ("guided_backprop", {}, 1, 1),
        ("gradcam_plus_plus", {}, 1, 1),
        ("occlusion", {"window": 0.5, "stride": 0.25}, 10, 0),
        ("rise", {"masks": 12}, 12, 0),
        ("sobel", {}, 0, 0),
    ],
)
@pytest.mark.parametrize("chunk", [4, 64])
def test_every_sample_is_counted(name: str, params: dict, forwards: int, backwards: int, chunk: int) -> None:
    """Per image: SmoothGrad its copies, IG its steps, occlusion 3 × 3 squares and the whole image, RISE its masks."""
    model_pass = pooled_pass(4, chunk=chunk)
    with model_pass.meter.attach(model_pass.model.net), model_pass.measure_cost() as cost:
        explain(name, model_pass, **params)
    assert (cost.forwards, cost.backwards) == (4 * forwards, 4 * backwards)
    assert (model_pass.meter.forwards, model_pass.meter.backwards) == (4 * forwards, 4 * backwards)


def test_work_on_a_single_image_is_on_the_same_account() -> None:
    """What the pass of one image asks for is charged to whoever asked."""
    model_pass = pooled_pass()
    with model_pass.meter.attach(model_pass.model.net), model_pass.measure_cost() as cost:
        assert torch.equal(model_pass.single_image(2).logits, model_pass.single_image(2).logits)
    assert cost.forwards == 2


# Where the graph ends.


class Traced(nn.Module):
    """Two convolutions; notes how often a gradient passes the first."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Conv2d(4, 5, 3)
        self.head = nn.Linear(5, 2)
        self.passed = 0

    def forward(self, images: Tensor) -> Tensor:
        low = self.first(images)
        if low.requires_grad:
            low.register_hook(self._note)
        out: Tensor = self.head(self.second(low).relu().mean((2, 3)))
        return out

    def _note(self, _: Tensor) -> None:
        self.passed += 1


@pytest.mark.parametrize("frozen", [True, False])
def test_gradcam_alone_stops_at_the_cam_layer(frozen: bool) -> None:
    """No gradient goes below the CAM layer, whether the weights are frozen or not, and the backward counts as one."""
    net = Traced()
    model_pass = make_pass(make_model(net, cam_layer="second"), random_images(3), input_requires_grad=False)
    net.requires_grad_(not frozen)
    with model_pass.meter.attach(net):
        low = model_pass.activation_gradients(targets(model_pass))
    assert net.passed == 0
    assert (model_pass.meter.forwards, model_pass.meter.backwards) == (3, 3)
    torch.testing.assert_close(
        low, make_pass(model_pass.model, random_images(3)).activation_gradients(targets(model_pass))
    )


def test_the_image_s_gradient_is_right_after_a_pass_that_ended_earlier() -> None:
    """Asked for the image's gradient, a pass that ended at the CAM layer runs again; both gradients are as before."""
    model_pass = pooled_pass(input_requires_grad=False)
    full_pass = pooled_pass()
    with model_pass.meter.attach(model_pass.model.net):
        low = model_pass.activation_gradients(targets(model_pass))
        torch.testing.assert_close(
            model_pass.input_gradient(targets(model_pass)), full_pass.input_gradient(targets(model_pass))
        )
        torch.testing.assert_close(model_pass.activation_gradients(targets(model_pass)), low)
    torch.testing.assert_close(full_pass.activation_gradients(targets(model_pass)), low)
    torch.testing.assert_close(model_pass.activations, full_pass.activations)
    assert (model_pass.meter.forwards, model_pass.meter.backwards) == (12, 12)


def test_the_gradients_are_those_of_autograd() -> None:
    """Each image's gradient is that of its own target, as autograd gives it for the image alone."""
    model_pass = pooled_pass(4)
    classes = torch.tensor([0, 2, 1, 2])
    gradient = model_pass.input_gradient(classes)
    for row, target in enumerate(classes):
        image = model_pass.images[row : row + 1].clone().requires_grad_()
        model_pass.model.net(image)[0, target].backward()
        torch.testing.assert_close(gradient[row : row + 1], image.grad)


def test_the_cam_layer_s_gradient_is_the_head_s_weight_over_the_area() -> None:
    """After average pooling over 4 × 4 places and one linear layer, each place has a sixteenth of the weight."""
    model_pass = pooled_pass(2)
    expected = model_pass.model.net.head.weight[1].view(1, 5, 1, 1).expand(2, 5, 4, 4) / 16
    torch.testing.assert_close(model_pass.activation_gradients(targets(model_pass, 1)), expected.detach())


def test_a_model_without_gradient_answers_without_graph() -> None:
    """Where only predictions are allowed, logits come without any graph."""
    model_pass = make_pass(make_model(Pooled(), capabilities=frozenset({"forward"})), random_images(3))
    torch.testing.assert_close(model_pass.logits, model_pass.predict(model_pass.images))
    assert not model_pass._forward(True)[1].requires_grad


def test_a_cam_layer_that_is_not_there_is_named() -> None:
    """A wrong layer name is an error that names it."""
    model_pass = make_pass(make_model(Pooled(), cam_layer="nowhere"), random_images(1))
    with pytest.raises(ModelError, match="no module 'nowhere'"):
        _ = model_pass.logits


@pytest.mark.parametrize("through_input", [True, False])
def test_without_a_cam_layer_there_is_nothing_for_cam_to_read(through_input: bool) -> None:
    """Asked for activations of a model without a CAM layer, a pass says so; it never hands out the image's gradient."""
    model_pass = make_pass(make_model(Pooled()), random_images(1), input_requires_grad=through_input)
    with pytest.raises(ModelError, match="has no CAM layer"):
        model_pass.activation_gradients(targets(model_pass))
    with pytest.raises(ModelError, match="has no CAM layer"):
        _ = model_pass.activations


# Nothing stays behind.


def test_no_hook_stays_behind() -> None:
    """After every method has run, or has refused, no module holds a hook, and the images are what they were."""
    model_pass = pooled_pass(3)
    before = model_pass.images.clone()
    for entry in explainers:
        if not entry.traits.truth:
            with suppress(MavisError):
                measure_cost(model_pass, entry.name)
    for module in model_pass.model.net.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
    assert model_pass.images.equal(before)
    assert not model_pass.images.requires_grad


def test_the_meter_leaves_when_the_model_raises() -> None:
    """An error inside the context still removes the meter and the CAM hook."""

    class Broken(Pooled):
        def forward(self, images: Tensor) -> Tensor:
            super().forward(images)
            raise ValueError("broken")

    model_pass = make_pass(make_model(Broken(), cam_layer="relu"), random_images(1))
    with pytest.raises(ValueError, match="broken"), model_pass.meter.attach(model_pass.model.net):
        _ = model_pass.logits
    assert not model_pass.model.net._forward_hooks
    assert not model_pass.model.net.relu._forward_hooks


def test_parameters_gather_no_gradients() -> None:
    """Explaining writes no gradient into the model."""
    model_pass = pooled_pass(2)
    model_pass.model.net.requires_grad_(True)
    explain_all(model_pass, ("saliency", "gradcam", "smoothgrad", "integrated_gradients", "guided_backprop"))
    assert all(parameter.grad is None for parameter in model_pass.model.net.parameters())


# Chunks.


@pytest.mark.parametrize("chunk", [1, 2, 7, 64])
def test_the_chunk_does_not_change_the_answers(chunk: int) -> None:
    """13 images, a number that no chunk divides, are answered and differentiated as in one piece."""
    model_pass = pooled_pass(1, chunk=chunk)
    images, classes = random_images(13, seed=4), torch.arange(13) % 3
    torch.testing.assert_close(model_pass.predict(images), model_pass.model.net(images).detach())
    expected = make_pass(model_pass.model, images).input_gradient(classes)
    torch.testing.assert_close(model_pass.gradient(images, classes), expected)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("saliency", {}),
        ("smoothgrad", {"samples": 5}),
        ("integrated_gradients", {"steps": 5}),
        ("occlusion", {"window": 0.5, "stride": 0.25}),
        ("rise", {"masks": 10}),
    ],
)
@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_the_chunk_does_not_change_maps(name: str, params: dict, chunk: int) -> None:
    """A map is the same whether the model sees its questions one by one or all at once."""
    expected = explain(name, pooled_pass(3), **params)
    torch.testing.assert_close(explain(name, pooled_pass(3, chunk=chunk), **params), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("count", [1, 3, 8, 13])
def test_batches_are_filled_up_and_neither_returned_nor_counted(count: int) -> None:
    """The network sees a multiple of the grain; answers, gradients and counts are of the images alone."""
    seen: list[int] = []
    model_pass = pooled_pass(count)
    model_pass.model.net.conv.register_forward_hook(lambda _m, images, _o: seen.append(len(images[0])))
    with model_pass.meter.attach(model_pass.model.net):
        gradient = model_pass.gradient(model_pass.images, targets(model_pass))
    assert seen == [devices.batch_multiple() * -(-count // devices.batch_multiple())]
    assert (model_pass.meter.forwards, model_pass.meter.backwards) == (count, count)
    torch.testing.assert_close(gradient, model_pass.input_gradient(targets(model_pass)))
    assert gradient.shape == model_pass.images.shape
    assert (
        model_pass.activations.shape == model_pass.activation_gradients(targets(model_pass)).shape == (count, 5, 4, 4)
    )


def test_an_answer_is_bit_for_bit_the_same_in_any_batch() -> None:
    """On the shipped architecture, alone, in sevens or all at once: no last bit differs to turn an order of cells."""
    shipped = make_model(build_race_resnet(4, 32), cam_layer=CAM_LAYER)
    model_pass = make_pass(shipped, random_images(13, 32))
    expected, gradient = model_pass.predict(model_pass.images), model_pass.input_gradient(targets(model_pass))
    for size in (1, 2, 7):
        small = make_pass(shipped, random_images(13, 32), chunk=size)
        assert small.predict(model_pass.images).equal(expected)
        assert small.gradient(model_pass.images, targets(model_pass)).equal(gradient)


def test_a_closed_meter_counts_nothing() -> None:
    """Work outside the context leaves the counts at zero, filled-up batches included."""
    model_pass = pooled_pass(3)
    explain_outside = model_pass.input_gradient(targets(model_pass))
    assert explain_outside.shape == model_pass.images.shape
    assert (model_pass.meter.forwards, model_pass.meter.backwards) == (0, 0)


# Draws.


def test_draws_belong_to_image_and_component() -> None:
    """An image has the same numbers alone and in any batch, and others for another component."""
    model_pass = pooled_pass(4)
    numbers = model_pass.draw("a", lambda g: torch.rand(3, generator=g))
    assert model_pass.single_image(2).draw("a", lambda g: torch.rand(3, generator=g)).equal(numbers[2:3])
    assert not model_pass.draw("b", lambda g: torch.rand(3, generator=g)).equal(numbers)
    assert len(numbers.unique()) == 12


def test_variants_share_draws_unless_they_are_to_be_fresh() -> None:
    """Common random numbers are the rule; `per_variant` gives every variant its own."""
    model_pass, variant_pass = pooled_pass(2), pooled_pass(2, variant_name="noise")
    for fresh in (False, True):
        numbers = [
            p.draw("a", lambda g: torch.rand(3, generator=g), per_variant=fresh) for p in (model_pass, variant_pass)
        ]
        assert numbers[0].equal(numbers[1]) is not fresh


def test_the_linear_toy_has_its_weight_as_gradient() -> None:
    """The gradient of a linear model is its weight row, at any image."""
    weight = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    model_pass = make_pass(Linear(weight), random_images(2))
    torch.testing.assert_close(model_pass.input_gradient(torch.tensor([0, 1])), weight)
