"""Variants: perturbed inputs, models, classes and random draws for which a variant metric computes maps again."""

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
"""Side in pixels of the random images that a model gets whose image size is not fixed."""


@dataclass(frozen=True)
class Variant:
    """Another input, model or class for which a variant metric computes maps again; the base class changes nothing."""

    @cached_property
    def key(self) -> str:
        """Equal keys are computed once for all metrics and explainers."""
        return repr(self)

    @property
    def model_key(self) -> str:
        """Key of the variant's model; variants with equal model keys share it."""
        return self.key

    @property
    def pass_name(self) -> str:
        """Name of its pass; draws that differ between variants depend on it."""
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
        """The seed of the explainers' draws; with the run's seed they draw as for the original maps."""
        return seed


@dataclass(frozen=True)
class Repeated(Variant):
    """The original input and model, computed once more: a pass of its own with the name of the original."""

    @property
    def pass_name(self) -> str:
        """Name of the original pass."""
        return ""

    def batches(self, model_pass: Pass) -> Iterator[Batch]:
        """The same images in another batch object, for which nothing is cached yet."""
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
    """The mirrored image, with its parts and regions mirrored."""

    def batches(self, model_pass: Pass) -> Iterator[Batch]:
        """The mirrored batch."""
        yield model_pass.batch.hflip()


@dataclass(frozen=True)
class Replicate(Variant):
    """The same input with other random draws; a deterministic explainer gives the same map."""

    number: int

    def seed(self, seed: int) -> int:
        """A seed derived from the run's seed and this variant's key."""
        return seeding.derive_seed(seed, self.key)


@dataclass(frozen=True)
class OtherClass(Variant):
    """Another class than the explained one, drawn per image; draw number `number`."""

    number: int

    def targets(self, model_pass: Pass, targets: Tensor) -> Tensor:
        """The drawn class: any of the other K−1, equally likely; the same one if K = 1."""
        n_others = len(model_pass.model.classes) - 1
        if not n_others:
            return targets
        step = model_pass.draw(f"class {self.number}", lambda g: torch.randint(n_others, (), generator=g))
        return (targets + 1 + step) % (n_others + 1)


@dataclass(frozen=True)
class Shifted(Variant):
    """A constant added to every image, and a model that subtracts it first: the outputs are the same.

    Source: Kindermans et al. 2017, arXiv 1711.00867.
    """

    shift: float

    def batches(self, model_pass: Pass) -> Iterator[Batch]:
        """The shifted images; they may leave [0,1]."""
        rerender = model_pass.batch.rerender
        shifted_rerender = None if rerender is None else lambda part, number: rerender(part, number) + self.shift
        yield replace(model_pass.batch, images=model_pass.images + self.shift, rerender=shifted_rerender)

    def model(self, model: Model, seed: int) -> Model:  # noqa: ARG002 (what every variant takes)
        """The model behind a subtraction."""
        net = nn.Sequential(Subtract(self.shift), model.net)
        layer = f"1.{model.cam_layer}" if model.cam_layer else None
        return replace(model, net=net, cam_layer=layer, revision=f"{model.revision}/{self.key}")

    def mean(self, mean: Tensor) -> Tensor:
        """The mean colour of the shifted data set."""
        return mean + self.shift


class Subtract(nn.Module):
    """Subtracts a constant from its input."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, images: Tensor) -> Tensor:
        """Any shape."""
        return images - self.shift


@dataclass(frozen=True)
class Randomised(Variant):
    """The model with randomised parameters; draw number `number`.

    Attributes:
        number: number of the draw.
        order: ``full`` all layers; ``top_down`` the last `layers`, ``bottom_up`` the first.
        layers: number of randomised layers; ignored with ``full``.
    """

    number: int
    order: Order = "full"
    layers: int = 0

    @cached_property
    def key(self) -> str:
        """Key of the variant; with all layers it depends on the number alone."""
        return f"Randomised(number={self.number})" if self.order == "full" else repr(self)

    def model(self, model: Model, seed: int) -> Model:
        """A randomised copy; the model itself is unchanged."""
        stream = seeding.derive_seed(seed, f"weights {self.number}")
        net = randomise_weights(
            model.net, stream, model.size or DEFAULT_IMAGE_SIZE, order=self.order, n_layers=self.layers
        )
        return replace(model, net=net, revision=f"{model.revision}/{self.key}")


def cascade(model: Model, number: int, order: Order) -> list[Randomised]:
    """Cascading randomisation: variants with one, two … and finally all layers randomised, from one end.

    Args:
        model: its layers are counted; without the capability ``weights`` only the last variant is returned.
        number: number of the draw.
        order: ``top_down`` or ``bottom_up``.
    """
    n_layers = len(weight_layers(model.net, model.size or DEFAULT_IMAGE_SIZE)) if "weights" in model.capabilities else 1
    return [*(Randomised(number, order, layers) for layers in range(1, n_layers)), Randomised(number)]


@dataclass(frozen=True)
class Smoothed(Variant):
    """Another variant with maps averaged over noisy copies of its images; all variants use the same noise.

    Attributes:
        of: the variant that is smoothed.
        samples: number of noisy copies.
        noise: standard deviation of the normal noise, as a share of each image's range of values.
    """

    of: Variant
    samples: int
    noise: float

    @property
    def model_key(self) -> str:
        """Model key of the variant that is smoothed."""
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
