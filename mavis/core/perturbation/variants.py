"""Under what a variant metric explains again: the same, noisy or flipped inputs, other weights, classes or draws."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from mavis.core import seeding
from mavis.core.model_pass import Pass
from mavis.core.perturbation.filters import uniform_noise
from mavis.core.perturbation.weight_randomisation import Order, randomise_weights, weight_layers
from mavis.core.types import Batch, Model

DEFAULT_IMAGE_SIZE = 64
"""Side of the random images, in pixels, on which a model is measured that takes any size."""


@dataclass(frozen=True)
class Variant:
    """Another input, model or class under which a variant metric explains again; this one changes nothing."""

    @cached_property
    def key(self) -> str:
        """Equal keys are computed once for all metrics and explainers."""
        return repr(self)

    @property
    def model_key(self) -> str:
        """Variants with equal ones share their model."""
        return self.key

    @property
    def pass_name(self) -> str:
        """What its pass is called, on which draws that are fresh for every variant depend."""
        return self.key

    def batches(self, model_pass: Pass) -> Iterator[Batch]:
        """The batches to explain; the variant's map is the mean over them."""
        yield model_pass.batch

    def model(self, model: Model, seed: int) -> Model:  # noqa: ARG002 (what subclasses take)
        """The model to explain."""
        return model

    def targets(self, model_pass: Pass, targets: Tensor) -> Tensor:  # noqa: ARG002 (what subclasses take)
        """The classes to explain, ``(B,)``."""
        return targets

    def mean(self, mean: Tensor) -> Tensor:
        """The data set's mean colour, ``(3,)``."""
        return mean

    def seed(self, seed: int) -> int:
        """The seed of what explainers draw; with the run's own they draw as for the original maps."""
        return seed


@dataclass(frozen=True)
class Repeated(Variant):
    """Nothing changed, and everything computed once more: a pass of its own with the name of the first."""

    @property
    def pass_name(self) -> str:
        """That of the original."""
        return ""

    def batches(self, model_pass: Pass) -> Iterator[Batch]:
        """The same images, in a batch that nothing is known of yet."""
        yield replace(model_pass.batch)


@dataclass(frozen=True)
class Noise(Variant):
    """The image plus uniform noise of ±radius per value, clipped to [0,1]; draw number `number`."""

    radius: float
    number: int

    def batches(self, model_pass: Pass) -> Iterator[Batch]:
        """The noisy images."""
        noise = uniform_noise(model_pass, f"noise {self.number}", self.radius)
        yield replace(model_pass.batch, images=(model_pass.images + noise).clamp(0, 1))


@dataclass(frozen=True)
class Flip(Variant):
    """The mirror image, with its truth mirrored."""

    def batches(self, model_pass: Pass) -> Iterator[Batch]:
        """The mirrored batch."""
        yield model_pass.batch.hflip()


@dataclass(frozen=True)
class Replicate(Variant):
    """The same again with other random draws; a deterministic explainer gives the same map."""

    number: int

    def seed(self, seed: int) -> int:
        """A seed of its own."""
        return seeding.derive_seed(seed, self.key)


@dataclass(frozen=True)
class OtherClass(Variant):
    """Another class than the explained one, drawn per image; draw number `number`."""

    number: int

    def targets(self, model_pass: Pass, targets: Tensor) -> Tensor:
        """The other class: any of the K−1 others, equally likely; the same one where there is no other."""
        others = len(model_pass.model.classes) - 1
        if not others:
            return targets
        step = model_pass.draw(f"class {self.number}", lambda g: torch.randint(others, (), generator=g))
        return (targets + 1 + step) % (others + 1)


@dataclass(frozen=True)
class Shifted(Variant):
    """A constant added to every image, and a model that takes it away again: the answers are the same."""

    shift: float

    def batches(self, model_pass: Pass) -> Iterator[Batch]:
        """The shifted images; they may leave [0,1]."""
        again = model_pass.batch.rerender
        shifted = None if again is None else lambda part, number: again(part, number) + self.shift
        yield replace(model_pass.batch, images=model_pass.images + self.shift, rerender=shifted)

    def model(self, model: Model, seed: int) -> Model:  # noqa: ARG002 (what every variant takes)
        """The model behind a subtraction."""
        net = nn.Sequential(Subtract(self.shift), model.net)
        layer = f"1.{model.cam_layer}" if model.cam_layer else None
        return replace(model, net=net, cam_layer=layer, revision=f"{model.revision}/{self.key}")

    def mean(self, mean: Tensor) -> Tensor:
        """The mean colour of the shifted data set."""
        return mean + self.shift


class Subtract(nn.Module):
    """Takes a constant from its input."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, images: Tensor) -> Tensor:
        """Any shape."""
        return images - self.shift


@dataclass(frozen=True)
class Randomised(Variant):
    """The model with parameters drawn anew; draw number `number`.

    Attributes:
        order: ``full`` all layers; ``top_down`` the last `layers`, ``bottom_up`` the first.
        layers: how many; without meaning where all are.
    """

    number: int
    order: Order = "full"
    layers: int = 0

    @cached_property
    def key(self) -> str:
        """With all layers, the number alone says which."""
        return f"Randomised(number={self.number})" if self.order == "full" else repr(self)

    def model(self, model: Model, seed: int) -> Model:
        """A randomised copy; the given model is unchanged."""
        stream = seeding.derive_seed(seed, f"weights {self.number}")
        net = randomise_weights(
            model.net, stream, model.size or DEFAULT_IMAGE_SIZE, order=self.order, n_layers=self.layers
        )
        return replace(model, net=net, revision=f"{model.revision}/{self.key}")


def cascade(model: Model, number: int, order: Order) -> list[Randomised]:
    """The model with one, two … and at last all layers drawn anew, from one end on; never the model as it is.

    Args:
        model: whose layers count.
        number: of the draw.
        order: ``top_down`` or ``bottom_up``.
    """
    count = len(weight_layers(model.net, model.size or DEFAULT_IMAGE_SIZE)) if "weights" in model.capabilities else 1
    return [*(Randomised(number, order, some) for some in range(1, count)), Randomised(number)]


@dataclass(frozen=True)
class Smoothed(Variant):
    """Another variant, its maps averaged over noisy copies of its images; all variants use the same noise.

    Attributes:
        of: the other variant.
        samples: noisy copies.
        noise: standard deviation of the normal noise, as a share of each image's range of values.
    """

    of: Variant
    samples: int
    noise: float

    @property
    def model_key(self) -> str:
        """That of the variant that is smoothed."""
        return self.of.model_key

    def batches(self, model_pass: Pass) -> Iterator[Batch]:
        """The noisy batches; their values may leave [0,1]."""
        for batch in self.of.batches(model_pass):
            flat = batch.images.flatten(1)
            scale = self.noise * (flat.amax(1) - flat.amin(1))[:, None, None, None]
            for sample in range(self.samples):
                noise = model_pass.draw(
                    f"smooth {sample}", lambda g: torch.randn(model_pass.images.shape[1:], generator=g)
                )
                yield replace(batch, images=batch.images + scale * noise)

    def model(self, model: Model, seed: int) -> Model:
        """The model of the variant that is smoothed."""
        return self.of.model(model, seed)

    def targets(self, model_pass: Pass, targets: Tensor) -> Tensor:
        """The classes of the variant that is smoothed."""
        return self.of.targets(model_pass, targets)

    def mean(self, mean: Tensor) -> Tensor:
        """The mean colour of the variant that is smoothed."""
        return self.of.mean(mean)

    def seed(self, seed: int) -> int:
        """The seed of the variant that is smoothed."""
        return self.of.seed(seed)
