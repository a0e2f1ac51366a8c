"""Maps whose quality is known: the truth, and what becomes of it step by step. Explainers, but registered nowhere.

What several of them read is computed once per pass. Whatever is drawn is drawn anew for every noisy copy of an image,
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
    """A registered explainer under its own name."""
    entry = explainers[name]
    return Component(name, dict(params or {}), entry.traits, entry.create(params))


def as_component(name: str, explain: Explainer) -> Component:
    """A map under a name of its own."""
    return Component(name, {}, TRAITS, explain)


def exact_contributions(model_pass: Pass, targets: Tensor) -> Tensor:
    """What a hand-wired model's pixels add to the target logit; its network says so itself."""
    told: list[Any] = [module for module in model_pass.model.net.modules() if hasattr(module, "contributions")]
    if not told:
        raise DataError(f"'{model_pass.model.name}' does not say what its pixels contribute; take a hand-wired model.")
    contributions: Tensor = told[0].contributions(model_pass.images, targets)
    return contributions


def cache_map(component: Component) -> Explainer:
    """The part's pooled map, computed once for everyone who changes it."""

    def explain(run: Pass, targets: Tensor) -> Tensor:
        run.logits  # noqa: B018 (known before anything shared is computed)
        key = ("meta-evaluation", component.name, tuple(targets.tolist()))

        def compute() -> tuple[Tensor, ...]:
            return (pool_channels(component.plugin(run, targets), run.images, component.traits.pooling)[:, None],)

        return run.compute_once(key, compute)[0]

    return explain


def transform_map(name: str, explain: Explainer, transform: MapTransform) -> Component:
    """A map after a change."""
    return as_component(name, lambda run, targets: transform(explain(run, targets), run))


def mixture(share: float, grid: int) -> MapTransform:
    """``(1 − share)`` of the map and ``share`` of itself with its cells shuffled: noise of the same values."""
    return lambda values, run: values if share == 0 else (1 - share) * values + share * shuffle_cells(values, run, grid)


def shuffle_cells(values: Tensor, model_pass: Pass, grid: int) -> Tensor:
    """Its cells at other places, pixels inside a cell as they were."""
    B, _, H, W = values.shape
    cells = grid * grid
    order = model_pass.draw("shuffled cells", lambda g: torch.randperm(cells, generator=g), per_variant=True)
    blocks = values.reshape(B, grid, H // grid, grid, W // grid).transpose(2, 3).reshape(B, cells, -1)
    moved = blocks.gather(1, order[:, :, None].expand_as(blocks))
    return moved.reshape(B, grid, grid, H // grid, W // grid).transpose(2, 3).reshape(B, 1, H, W)


def flattening(share: float) -> MapTransform:
    """The map drawn towards its own mean size: ``share`` 1 is a constant map."""
    return lambda values, _: (1 - share) * values.abs() + share * values.abs().mean((1, 2, 3), keepdim=True)


def normal_noise(ratio: float, draw: int = 0) -> MapTransform:
    """Plus normal noise whose root mean square is so small a part of the map's (40 dB are 0.01)."""

    def change(values: Tensor, run: Pass) -> Tensor:
        noise = run.draw(f"map noise {draw}", lambda g: torch.randn(values.shape[1:], generator=g), per_variant=True)
        return values + ratio * values.square().mean((1, 2, 3), keepdim=True).sqrt() * noise

    return change


def shift(cells: int, grid: int) -> MapTransform:
    """Moved to the right by so many cells; what leaves on one side comes back on the other."""
    return lambda values, _: values.roll(cells * values.shape[3] // grid, dims=3)


def dilation(cells: int, grid: int) -> MapTransform:
    """Every cell takes the largest value within so many cells."""

    def change(values: Tensor, _: Pass) -> Tensor:
        square = cell_means(values[:, 0], grid).unflatten(1, (grid, grid))[:, None]
        wide = torch.nn.functional.max_pool2d(square, 2 * cells + 1, stride=1, padding=cells)
        H, W = values.shape[2:]
        return cells_to_pixels(wide[:, 0].flatten(1), (H, W))[:, None]

    return change


def drop_top_part(values: Tensor, model_pass: Pass) -> Tensor:
    """Zero where the part lies that has the most."""
    parts = model_pass.batch.parts
    if parts is None:
        raise DataError("Dropping the top part needs data with part codes.")
    codes = torch.tensor(list(PART_CODES.values()), device=parts.device, dtype=parts.dtype)
    member = (parts[:, None] == codes[:, None, None]).float()
    top = (member * values).sum((2, 3)).argmax(1)
    return values * (1 - member[torch.arange(len(values)), top])[:, None]


def scaling(factor: float) -> MapTransform:
    """Times a number above 0."""
    return lambda values, _: factor * values


def offset(share: float) -> MapTransform:
    """Plus a constant, a part of its largest absolute value."""
    return lambda values, _: values + share * values.abs().amax((1, 2, 3), keepdim=True)


def blur(sigma: float) -> MapTransform:
    """Under a Gaussian blur, sigma a share of the image's height."""
    return lambda values, _: gaussian_blur(values, sigma * values.shape[2])


def flip_sign(values: Tensor, _: Pass) -> Tensor:
    """The other sign."""
    return -values


def invert_magnitude(values: Tensor, _: Pass) -> Tensor:
    """Its size turned over: highest where the map says nothing, zero where it says most."""
    size = values.abs()
    return size.amax((1, 2, 3), keepdim=True) - size


def other_image_map(component: Component) -> Explainer:
    """The map of the image before it in the batch: right for another face, for that face's own target."""

    def explain(run: Pass, targets: Tensor) -> Tensor:
        values = cache_map(component)(run, targets)
        return values.roll(1, dims=0) if len(values) > 1 else shuffle_cells(values, run, 1)

    return explain


def randomised_model_map(component: Component) -> Explainer:
    """The map of the model with all its weights drawn anew."""
    variant = Randomised(0)

    def explain(run: Pass, targets: Tensor) -> Tensor:
        other = replace(
            run, model=variant.model(run.model, run.seed), variant_name=variant.key, _computed={}, _used=set()
        )
        return pool_channels(component.plugin(other, targets), run.images, component.traits.pooling)[:, None]

    return explain


def redraw_skin(batch: Batch, draw: int) -> Batch:
    """The same faces with another skin: tone, marks and age lines drawn anew, everything else kept."""
    if batch.rerender is None:
        raise DataError("Another skin needs data whose parts can be drawn anew.")
    return replace(batch, images=batch.rerender("skin", draw))
