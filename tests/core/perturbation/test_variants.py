"""What each variant changes, what it leaves, and that no image's draw depends on the others."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mavis.core import seeding
from mavis.core.model_pass import Pass
from mavis.core.perturbation.variants import (
    Flip,
    Noise,
    OtherClass,
    Randomised,
    Replicate,
    Shifted,
    Smoothed,
    Variant,
    cascade,
)
from mavis.core.types import PART_CODES, Batch, Model

from ...toys import Pooled, make_batch, make_model, make_pass, random_images, targets

SMOOTH = Smoothed(Variant(), 3, 0.1)
EVERY = (Variant(), Noise(0.1, 0), Flip(), Replicate(0), OtherClass(0), Shifted(0.5), Randomised(0), SMOOTH)


class Deep(nn.Sequential):
    """Two convolutions of one shape, batch normalisation and a linear layer: three steps of randomisation."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        body = [nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1)]
        super().__init__(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))


def some(count: int = 4, size: int = 8) -> Pass:
    return make_pass(make_model(Pooled(), cam_layer="relu"), random_images(count, size))


def images_of(variant: Variant, model_pass: Pass) -> Tensor:
    """All of the variant's images, ``(N,B,3,H,W)``."""
    return torch.stack([batch.images for batch in variant.batches(model_pass)])


def truthful(images: Tensor) -> Batch:
    """A batch whose left half is the eyes, and the region; drawn anew it is as light as the draw's number."""
    left = torch.zeros(images[:, 0].shape, dtype=torch.bool)
    left[..., : left.shape[-1] // 2] = True
    return make_batch(
        images,
        parts=left.to(torch.uint8) * PART_CODES["eyes"],
        regions=left,
        rerender=lambda _, draw: torch.where(left[:, None], float(draw), images),
    )


def weights(model: Model) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.net.state_dict().items()}


# What all have in common.


@pytest.mark.parametrize("variant", EVERY, ids=str)
def test_a_variant_leaves_the_run_as_it_is(variant: Variant) -> None:
    """Neither images, targets, model nor truth of the original change."""
    model_pass = some()
    images, state = model_pass.images.clone(), weights(model_pass.model)
    target = targets(model_pass)
    list(variant.batches(model_pass))
    variant.model(model_pass.model, 0)
    variant.targets(model_pass, target)
    variant.mean(model_pass.mean)
    assert model_pass.images.equal(images)
    assert all(tensor.equal(state[name]) for name, tensor in model_pass.model.net.state_dict().items())
    assert target.equal(targets(model_pass))
    assert model_pass.mean.equal(torch.full((3,), 0.5))


@pytest.mark.parametrize("variant", EVERY, ids=str)
def test_no_image_s_variant_depends_on_the_others(variant: Variant) -> None:
    """Alone, an image gets the same images and the same class."""
    model_pass = some()
    for row in (0, 3):
        assert images_of(variant, model_pass.single_image(row)).equal(images_of(variant, model_pass)[:, row : row + 1])
        assert (
            variant.targets(model_pass.single_image(row), torch.zeros(1, dtype=torch.int64))
            == variant.targets(model_pass, targets(model_pass))[row]
        )


@pytest.mark.parametrize("variant", EVERY, ids=str)
def test_equal_variants_have_equal_keys(variant: Variant) -> None:
    """What is built from equal settings is computed once; any other setting has another key."""
    assert copy.deepcopy(variant).key == variant.key
    assert len({v.key for v in EVERY}) == len(EVERY)


def test_every_setting_is_in_the_key() -> None:
    """Radius, number, order, layers, shift, samples, noise and what is smoothed tell variants apart."""
    variants = [
        Noise(0.1, 1), Noise(0.2, 0), Replicate(1), OtherClass(1), Shifted(-0.5), Randomised(1),
        Randomised(0, "top_down", 1), Randomised(0, "bottom_up", 1), Randomised(0, "top_down", 2),
        Smoothed(Variant(), 4, 0.1), Smoothed(Variant(), 3, 0.2), Smoothed(Randomised(0), 3, 0.1),
    ]  # fmt: skip
    assert len({v.key for v in (*EVERY, *variants)}) == len(EVERY) + len(variants)


def test_the_plain_variant_changes_nothing() -> None:
    """Images, model, classes, mean and seed are the run's own objects."""
    model_pass, target, plain = some(), torch.tensor([2, 1, 0, 0]), Variant()
    assert [batch is model_pass.batch for batch in plain.batches(model_pass)] == [True]
    assert plain.model(model_pass.model, 0) is model_pass.model
    assert plain.targets(model_pass, target) is target
    assert plain.mean(model_pass.mean) is model_pass.mean
    assert plain.seed(5) == 5


# Noise.


def test_noise_stays_within_its_radius() -> None:
    """Every value moves by at most the radius, in both directions, and nothing leaves [0,1]."""
    model_pass = make_pass(Pooled(), torch.cat([random_images(20), torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)]))
    change = images_of(Noise(0.2, 0), model_pass)[0] - model_pass.images
    assert change.abs().max() <= 0.2 + 1e-6
    assert change.min() < -0.19
    assert change.max() > 0.19
    assert images_of(Noise(0.2, 0), model_pass).min() == 0
    assert images_of(Noise(0.2, 0), model_pass).max() == 1


def test_draws_of_noise_differ() -> None:
    """By number, by image and by channel; a larger radius scales the same noise."""
    model_pass = make_pass(Pooled(), torch.full((2, 3, 8, 8), 0.5))
    first, second = (images_of(Noise(0.1, number), model_pass)[0] - 0.5 for number in (0, 1))
    assert not torch.isclose(first, second).all()
    assert not torch.isclose(first[0], first[1]).all()
    assert not torch.isclose(first[0, 0], first[0, 1]).all()
    torch.testing.assert_close(images_of(Noise(0.2, 0), model_pass)[0] - 0.5, 2 * first, rtol=0, atol=1e-6)


# Mirror.


def test_the_mirror_turns_the_truth_too() -> None:
    """What was the left half of the image, its parts and its region is the right one, also when drawn anew."""
    model_pass = make_pass(Pooled(), truthful(random_images(2)))
    (seen,) = Flip().batches(model_pass)
    assert seen.images.equal(model_pass.images.flip(-1))
    assert seen.regions.equal(model_pass.batch.regions.flip(-1))
    assert seen.parts.equal(model_pass.batch.parts.flip(-1))
    assert (seen.rerender("eyes", 7)[..., 4:] == 7).all()
    assert seen.rerender("eyes", 7)[..., :4].equal(seen.images[..., :4])
    assert seen.ids == model_pass.ids


# Replicates.


def test_a_replicate_only_draws_anew() -> None:
    """Each number has a seed of its own, which follows the run's; images, model and classes stay."""
    model_pass, first, two = some(), Replicate(0), Replicate(1)
    assert len({first.seed(0), two.seed(0), first.seed(1), two.seed(1), 0, 1}) == 6
    assert first.seed(0) == Replicate(0).seed(0)
    assert [batch is model_pass.batch for batch in first.batches(model_pass)] == [True]
    assert first.model(model_pass.model, 0) is model_pass.model
    assert first.targets(model_pass, targets(model_pass)).equal(targets(model_pass))


# Classes.


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_other_class_is_any_but_the_explained_one(classes: int) -> None:
    """Each of the K−1 others comes up, equally often within 4 standard errors; K is the model's, not 1000."""
    names = tuple(str(k) for k in range(classes))
    model_pass = make_pass(make_model(Pooled(), classes=names), random_images(700, 2))
    for target in {0, classes - 1}:
        other_class = OtherClass(0).targets(model_pass, targets(model_pass, target))
        share = torch.bincount(other_class, minlength=classes) / 700
        p = 1 / (classes - 1)
        assert share[target] == 0
        assert ((share - p).abs() <= 4 * (p * (1 - p) / 700) ** 0.5)[torch.arange(classes) != target].all()


def test_another_number_is_another_draw() -> None:
    """Draws of the class differ from number to number, and follow each image's own target."""
    model_pass = make_pass(make_model(Pooled(), classes=tuple("abcdefg")), random_images(50, 2))
    first, second = (OtherClass(number).targets(model_pass, targets(model_pass)) for number in (0, 1))
    assert not first.equal(second)
    mixed = torch.arange(50) % 7
    assert ((OtherClass(0).targets(model_pass, mixed) - mixed) % 7).equal(first)


def test_one_class_stays_itself() -> None:
    """Where there is no other class, there is nothing to draw."""
    model_pass = make_pass(make_model(Pooled(), classes=("only",)), random_images(3))
    assert OtherClass(0).targets(model_pass, targets(model_pass)).tolist() == [0] * 3


# Shift.


@pytest.mark.parametrize("shift", [-1.0, 0.25])
def test_a_shifted_model_answers_the_shifted_image_alike(shift: float) -> None:
    """Logits and the CAM layer's output stay, also where the model pads; images and mean move by the shift."""
    model_pass, variant = some(), Shifted(shift)
    (seen,) = variant.batches(model_pass)
    shifted_pass = replace(make_pass(variant.model(model_pass.model, 0), seen), mean=variant.mean(model_pass.mean))
    torch.testing.assert_close(shifted_pass.logits, model_pass.logits)
    torch.testing.assert_close(shifted_pass.activations, model_pass.activations)
    assert shifted_pass.images.equal(model_pass.images + shift)
    assert shifted_pass.mean.equal(model_pass.mean + shift)
    assert shifted_pass.model.revision != model_pass.model.revision


def test_what_is_drawn_anew_is_shifted_too() -> None:
    """The counterfactuals of a shifted image are shifted images."""
    (seen,) = Shifted(-1.0).batches(make_pass(Pooled(), truthful(random_images(2))))
    assert seen.rerender("eyes", 7).equal(torch.where(seen.regions[:, None], 6.0, seen.images))


def test_a_model_without_cam_layer_can_be_shifted() -> None:
    """It still has none."""
    assert Shifted(1.0).model(make_model(Pooled()), 0).cam_layer is None


# Randomised models.


def test_a_randomised_model_has_forgotten_everything() -> None:
    """No layer is what it was nor what another is; each draw is new, and a seed always gives the same one."""
    model, layers = make_model(Deep(), size=16), ["0.weight", "3.weight", "6.weight"]
    first, second = (weights(Randomised(0).model(model, 0)) for _ in range(2))
    models = [model, Randomised(1).model(model, 0), Randomised(0).model(model, 1)]
    assert all(first[name].equal(second[name]) for name in first)
    assert not any(first[name].equal(weights(other_model)[name]) for other_model in models for name in layers)
    assert not torch.allclose(*(first[name] / first[name].std() for name in layers[:2]))
    assert Randomised(0).model(model, 0).revision != model.revision


def test_statistics_of_normalisation_are_forgotten() -> None:
    """Batch normalisation has scales, shifts and running statistics of the new weights."""
    net = Deep()
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([1.0, 2, 3]))
        net[1].bias.copy_(torch.tensor([4.0, 5, 6]))
        net[1].running_mean.copy_(torch.tensor([7.0, 8, 9]))
    model = make_model(net, size=16)
    before, after = weights(model), weights(Randomised(0).model(model, 0))
    assert not any(before[f"1.{k}"].equal(after[f"1.{k}"]) for k in ("weight", "bias", "running_mean", "running_var"))


@pytest.mark.parametrize("order", ["top_down", "bottom_up"])
def test_a_cascade_draws_one_more_layer_at_each_step(order: str) -> None:
    """Of three layers one, two and three are new, from the right end, and what is new stays so; never none."""
    model = make_model(Deep(), size=16)
    steps = [weights(step.model(model, 0)) for step in cascade(model, 0, order)]  # type: ignore[arg-type]
    before = weights(model)
    ends = ["6.weight", "3.weight", "0.weight"] if order == "top_down" else ["0.weight", "3.weight", "6.weight"]
    assert [[not step[name].equal(before[name]) for name in ends] for step in steps] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
    assert all(step[name].equal(steps[-1][name]) for index, step in enumerate(steps) for name in ends[: index + 1])


@pytest.mark.parametrize("order", ["top_down", "bottom_up"])
def test_a_cascade_ends_in_full_randomisation(order: str) -> None:
    """All layers in order are the full randomisation, bit for bit, statistics included, so it is shared."""
    model = make_model(Deep(), size=16)
    steps = cascade(model, 4, order)  # type: ignore[arg-type]
    assert [step.key for step in steps[-1:]] == [Randomised(4).key]
    in_order = weights(Randomised(4, order, len(steps)).model(model, 0))  # type: ignore[arg-type]
    assert all(tensor.equal(in_order[name]) for name, tensor in weights(steps[-1].model(model, 0)).items())


def test_a_model_that_keeps_its_weights_is_not_looked_into() -> None:
    """Without access to weights its layers are not counted: one step, which such a model is skipped for."""
    model = make_model(Deep(), size=16, capabilities=frozenset({"forward"}))
    assert cascade(model, 0, "top_down") == [Randomised(0)]


# Smoothed.


def test_smoothing_noise_is_a_share_of_each_image_s_range() -> None:
    """Its standard deviation is .1 of an image's range within 5 %, its mean 0; an image of one colour stays."""
    images = torch.cat([random_images(1, 32), random_images(1, 32) / 4, torch.full((1, 3, 32, 32), 0.3)])
    model_pass = make_pass(Pooled(), images)
    change = images_of(Smoothed(Variant(), 4, 0.1), model_pass) - images
    for row, reach in ((0, 1), (1, 0.25)):
        assert change[:, row].std() == pytest.approx(0.1 * reach, rel=0.05)
        assert abs(change[:, row].mean()) < 0.003 * reach
    assert (change[:, 2] == 0).all()
    assert len({round(c[0].sum().item(), 4) for c in change}) == 4


def test_smoothing_uses_the_same_noise_for_every_model() -> None:
    """The trained model's copies are the randomised model's, and fewer copies are the first ones of more."""
    model_pass = some()
    assert images_of(Smoothed(Randomised(0), 3, 0.1), model_pass).equal(images_of(SMOOTH, model_pass))
    assert images_of(Smoothed(Variant(), 5, 0.1), model_pass)[:3].equal(images_of(SMOOTH, model_pass))


def test_smoothing_keeps_what_the_other_variant_changes() -> None:
    """Model, classes, mean, seed and images are those of the variant that is smoothed; its model is shared."""
    model_pass = some()
    assert Smoothed(Randomised(1), 3, 0.1).model_key == Randomised(1).model_key
    drawn = [v.model(model_pass.model, 0) for v in (Smoothed(Randomised(1), 3, 0.1), Randomised(1))]
    assert all(a.equal(b) for a, b in zip(*(weights(drawn_model).values() for drawn_model in drawn), strict=True))
    classes = OtherClass(1).targets(model_pass, targets(model_pass))
    assert Smoothed(OtherClass(1), 3, 0.1).targets(model_pass, targets(model_pass)).equal(classes)
    assert Smoothed(Replicate(1), 3, 0.1).seed(0) == Replicate(1).seed(0) != seeding.derive_seed(0)
    assert Smoothed(Shifted(0.5), 3, 0.1).mean(model_pass.mean).equal(model_pass.mean + 0.5)
    torch.testing.assert_close(
        images_of(Smoothed(Shifted(0.5), 3, 0.1), model_pass), images_of(SMOOTH, model_pass) + 0.5
    )
