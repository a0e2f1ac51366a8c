"""Maps of known quality: the exact map and its stepwise corruptions, as explainers that are not registered.

Maps that several of them read are computed once per pass. Random draws are made anew for every noisy copy of an image,
so a map that is partly noise is also an unstable one.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mavis.core.attribution_maps import cell_means, cells_to_pixels, pool_channels
from mavis.core.errors import DataError
from mavis.core.metric_types import Explainer
from mavis.core.model_pass import Pass
from mavis.core.perturbation.filters import gaussian_blur
from mavis.core.perturbation.variants import Randomised
from mavis.core.registry import explainers
from mavis.core.traits import ExplainerTraits
from mavis.core.types import PART_CODES, Batch
from mavis.engine.planning.plan import Component

MapTransform = Callable[[Tensor, Pass], Tensor]
"""``(map (B,1,H,W), pass) -> (B,1,H,W)``."""

TRAITS = ExplainerTraits(source="meta-evaluation", needs=frozenset(), role="oracle", stochastic=True)


def from_registry(name: str, params: dict[str, object] | None = None) -> Component:
    """A registered explainer under its registered name."""
    entry = explainers[name]
    return Component(name, dict(params or {}), entry.traits, entry.create(params))


def as_component(name: str, explain: Explainer) -> Component:
    """An unregistered explainer as a component with a name."""
    return Component(name, {}, TRAITS, explain)


def exact_contributions(model_pass: Pass, targets: Tensor) -> Tensor:
    """Exact contributions of a hand-wired model's pixels to the target logit, as its network gives them.

    Raises:
        DataError: the network has no ``contributions``.
    """
    networks: list[Any] = [module for module in model_pass.model.net.modules() if hasattr(module, "contributions")]
    if not networks:
        raise DataError(f"'{model_pass.model.name}' has no exact contributions; use a hand-wired model.")
    contributions: Tensor = networks[0].contributions(model_pass.images, targets)
    return contributions


def cache_map(component: Component) -> Explainer:
    """The component's pooled map, computed once per pass for all transforms of it."""

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        model_pass.logits  # noqa: B018 (computed first: its cost is not charged to the shared map)
        key = ("meta-evaluation", component.name, tuple(targets.tolist()))

        def compute() -> tuple[Tensor, ...]:
            raw = component.plugin(model_pass, targets)
            return (pool_channels(raw, model_pass.images, component.traits.pooling)[:, None],)

        return model_pass.compute_once(key, compute)[0]

    return explain


def transform_map(name: str, explain: Explainer, transform: MapTransform) -> Component:
    """A map after a transform."""
    return as_component(name, lambda model_pass, targets: transform(explain(model_pass, targets), model_pass))


def mixture(share: float, grid: int) -> MapTransform:
    """``(1 − share)`` of the map and ``share`` of itself with its cells shuffled: noise of the same values."""
    return lambda values, model_pass: (
        values if share == 0 else (1 - share) * values + share * shuffle_cells(values, model_pass, grid)
    )


def shuffle_cells(values: Tensor, model_pass: Pass, grid: int) -> Tensor:
    """The map with its cells shuffled; the pixels inside a cell keep their arrangement."""
    B, _, H, W = values.shape
    cells = grid * grid
    order = model_pass.draw("shuffled cells", lambda g: torch.randperm(cells, generator=g), per_variant=True)
    blocks = values.reshape(B, grid, H // grid, grid, W // grid).transpose(2, 3).reshape(B, cells, -1)
    shuffled = blocks.gather(1, order[:, :, None].expand_as(blocks))
    return shuffled.reshape(B, grid, grid, H // grid, W // grid).transpose(2, 3).reshape(B, 1, H, W)


def flattening(share: float) -> MapTransform:
    """The map's absolute values pulled towards their mean: ``share`` 1 is a constant map."""
    return lambda values, _: (1 - share) * values.abs() + share * values.abs().mean((1, 2, 3), keepdim=True)


def normal_noise(ratio: float, draw: int = 0) -> MapTransform:
    """Adds normal noise whose root mean square is ``ratio`` times the map's (40 dB are 0.01)."""

    def transform(values: Tensor, model_pass: Pass) -> Tensor:
        noise = model_pass.draw(
            f"map noise {draw}", lambda g: torch.randn(values.shape[1:], generator=g), per_variant=True
        )
        return values + ratio * values.square().mean((1, 2, 3), keepdim=True).sqrt() * noise

    return transform


def shift(cells: int, grid: int) -> MapTransform:
    """Shifts to the right by ``cells`` cells, with wrap-around."""
    return lambda values, _: values.roll(cells * values.shape[3] // grid, dims=3)


def dilation(cells: int, grid: int) -> MapTransform:
    """Gives every cell the largest value within ``cells`` cells."""

    def transform(values: Tensor, _: Pass) -> Tensor:
        square = cell_means(values[:, 0], grid).unflatten(1, (grid, grid))[:, None]
        dilated = torch.nn.functional.max_pool2d(square, 2 * cells + 1, stride=1, padding=cells)
        H, W = values.shape[2:]
        return cells_to_pixels(dilated[:, 0].flatten(1), (H, W))[:, None]

    return transform


def drop_top_part(values: Tensor, model_pass: Pass) -> Tensor:
    """The map with the part that has the largest sum set to zero."""
    parts = model_pass.batch.parts
    if parts is None:
        raise DataError("Dropping the top part needs data with part codes; this batch has none.")
    codes = torch.tensor(list(PART_CODES.values()), device=parts.device, dtype=parts.dtype)
    member = (parts[:, None] == codes[:, None, None]).float()
    top = (member * values).sum((2, 3)).argmax(1)
    return values * (1 - member[torch.arange(len(values)), top])[:, None]


def scaling(factor: float) -> MapTransform:
    """Multiplies by a number above 0."""
    return lambda values, _: factor * values


def offset(share: float) -> MapTransform:
    """Adds a constant: ``share`` of the map's largest absolute value."""
    return lambda values, _: values + share * values.abs().amax((1, 2, 3), keepdim=True)


def blur(sigma: float) -> MapTransform:
    """Blurs with a Gaussian, sigma a share of the image's height."""
    return lambda values, _: gaussian_blur(values, sigma * values.shape[2])


def flip_sign(values: Tensor, _: Pass) -> Tensor:
    """The map with the other sign."""
    return -values


def invert_magnitude(values: Tensor, _: Pass) -> Tensor:
    """Inverted absolute values: highest where the map is zero, zero where its absolute value is highest."""
    size = values.abs()
    return size.amax((1, 2, 3), keepdim=True) - size


def other_image_map(component: Component) -> Explainer:
    """The map of the previous image in the batch, for that image's target."""

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        values = cache_map(component)(model_pass, targets)
        return values.roll(1, dims=0) if len(values) > 1 else shuffle_cells(values, model_pass, 1)

    return explain


def randomised_model_map(component: Component) -> Explainer:
    """The map of the same model with all weights drawn anew."""
    variant = Randomised(0)

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        randomised = replace(
            model_pass,
            model=variant.model(model_pass.model, model_pass.seed),
            variant_name=variant.key,
            _computed={},
            _used=set(),
        )
        raw = component.plugin(randomised, targets)
        return pool_channels(raw, model_pass.images, component.traits.pooling)[:, None]

    return explain


def redraw_skin(batch: Batch, draw: int) -> Batch:
    """The same faces with another skin: tone, marks and age lines are drawn anew, the rest is unchanged."""
    if batch.rerender is None:
        raise DataError("Redrawing the skin needs data with `rerender`; this batch has none.")
    return replace(batch, images=batch.rerender("skin", draw))
