"""Imputers that are not MAVIS's own: they get copies, and what they fill is checked."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mavis.core import seeding
from mavis.core.errors import ContractError
from mavis.core.foreign_code import call_foreign
from mavis.core.guards.input_copies import copy_pass, plain_tensor
from mavis.core.model_pass import Pass

FillFunction = Callable[[Tensor, Tensor], Tensor]
"""``(rows (O,) int64, removed (O,S,H,W) bool) -> (O,S,3,H,W)``: image ``rows[o]`` of the batch without each set of
pixels ``removed[o,s]``. All channels of a pixel are removed together."""

N_ASKED = 2
"""Images that are filled together and alone."""
TOLERANCE = 1e-3
"""Difference up to which two values in [0,1] are one."""


def guard_imputer(name: str, imputer: Any) -> Callable[[Pass], FillFunction]:
    """A foreign imputer whose functions get copies; global generators are seeded by the first image.

    Args:
        name: as registered.
        imputer: what its factory returned.

    Raises:
        ContractError: later, where it prepares no function, fills another shape or with other numbers than finite
            ones, or gives an image another fill among others than alone.
    """

    def prepare(model_pass: Pass) -> FillFunction:
        fill = _prepare(name, imputer, model_pass)
        if len(model_pass) > 1:
            _check_images_alone(name, imputer, model_pass, fill)
        return fill

    return prepare


def _prepare(name: str, imputer: Callable[[Pass], FillFunction], model_pass: Pass) -> FillFunction:
    images = model_pass.images
    seed = seeding.derive_seed(model_pass.seed, model_pass.ids[0], name)

    def call(function: Callable[..., Any], *arguments: Any) -> Any:
        def run() -> Any:
            with seeding.seeded_generators(seed, images.device):
                return function(*arguments)

        return call_foreign(name, run)

    own_pass = copy_pass(model_pass)
    with own_pass.meter.attach(own_pass.model.net):
        fill = call(imputer, own_pass)
    if not callable(fill):
        raise ContractError(f"'{name}' must return a function (rows, removed) -> images, got {type(fill).__name__}.")

    def remove(rows: Tensor, removed: Tensor) -> Tensor:
        with own_pass.meter.attach(own_pass.model.net):
            filled = plain_tensor(call(fill, rows.clone(), removed.clone()))
        return _check_fill(name, filled, (*removed.shape[:2], *images.shape[1:])).to(images)

    return remove


def _check_fill(name: str, filled: Any, shape: tuple[int, ...]) -> Tensor:
    if not isinstance(filled, Tensor) or filled.shape != shape or not filled.is_floating_point():
        got = f"{tuple(filled.shape)} {filled.dtype}" if isinstance(filled, Tensor) else type(filled).__name__
        raise ContractError(f"'{name}' must fill (O,S,3,H,W) = {shape} with floats, got {got}.")
    if filled.is_meta or filled.is_sparse or not filled.isfinite().all():
        raise ContractError(f"'{name}' filled with NaN or infinity; every pixel needs a value.")
    return filled


def _check_images_alone(
    name: str, imputer: Callable[[Pass], FillFunction], model_pass: Pass, fill: FillFunction
) -> None:
    device, (H, W) = model_pass.images.device, model_pass.images.shape[2:]
    every_third = (torch.arange(H * W, device=device) % 3 == 0).view(1, 1, H, W)
    rows = torch.arange(N_ASKED, device=device)
    together = fill(rows, every_third.expand(N_ASKED, -1, -1, -1))
    alone = [_prepare(name, imputer, model_pass.single_image(row))(rows[:1], every_third) for row in range(N_ASKED)]
    if not torch.allclose(together, torch.cat(alone), rtol=0, atol=TOLERANCE):
        raise ContractError(f"'{name}' fills an image otherwise among others than alone.")
