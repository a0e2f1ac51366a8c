"""Runs external explainers on copies of the network, without output, with random numbers that belong to the image.

Each call gets a fresh copy of the network, since it may hook layers or change weights. The copy is not wrapped in
`BatchPadding`: methods that send batches of their own, as DeepLift does, must find exactly these in the layers. The
samples are counted by a hook on the copy.
"""

import io
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mavis.core.errors import ContractError, ModelError
from mavis.core.metric_types import Explainer
from mavis.core.model_pass import Pass
from mavis.core.objects.network_copy import copy_network
from mavis.core.seeding import derive_seed, seeded_generators


@dataclass(frozen=True)
class ExternalCall:
    """Arguments of one call of external code; it may change all of them but the pass.

    Attributes:
        net: a copy of the network.
        model_pass: the pass to which the images belong.
        images: ``(N,3,H,W)``, at most the run's chunk.
        targets: ``(N,)`` int64.
    """

    net: nn.Module
    model_pass: Pass
    images: Tensor
    targets: Tensor

    @property
    def cam_layer(self) -> nn.Module:
        """The copy's CAM layer."""
        name = self.model_pass.model.cam_layer
        if not name:
            raise ModelError(
                f"'{self.model_pass.model.name}' has no CAM layer; leave out the explainers that read one."
            )
        return self.net.get_submodule(name)


def explainer_of(attribute: Callable[[ExternalCall], Any], label: str) -> Explainer:
    """An explainer that calls the code with a chunk of images, or image by image if it draws random numbers.

    Args:
        attribute: returns a tensor or an array, ``(N,C,H,W)`` or ``(N,H,W)``.
        label: its name in errors, and part of the seed.
    """

    def explain_rows(model_pass: Pass, targets: Tensor, rows: slice) -> tuple[Tensor, bool]:
        net = copy_network(model_pass.model.net)
        call = ExternalCall(net, model_pass, model_pass.images[rows].detach().clone(), targets[rows].clone())
        seed = derive_seed(model_pass.seed, model_pass.ids[rows.start], label)
        with (
            model_pass.meter.attach(net),
            watch_seeded_generators(seed, model_pass.images.device) as drawn,
            suppress_output(),
        ):
            return _as_maps(attribute(call), model_pass.images[rows], label), drawn()

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        chunks: list[Tensor] = []
        start, step = 0, 1  # the first call is for one image: it tells whether random numbers are drawn
        while start < len(model_pass):
            maps, drawn = explain_rows(model_pass, targets, slice(start, start + step))
            if not drawn or step == 1:  # a chunk that drew numbers after all is repeated image by image
                chunks.append(maps)
                start += step
            step = 1 if drawn else model_pass.chunk
        return torch.cat(chunks)

    return explain


def _as_maps(attributions: Any, images: Tensor, label: str) -> Tensor:
    """Returned attributions as floats ``(N,C,H,W)`` on the device of the images.

    Raises:
        ContractError: they are not one map per image.
    """
    values = attributions[0] if isinstance(attributions, tuple) and len(attributions) == 1 else attributions
    if not isinstance(values, Tensor | np.ndarray):
        raise ContractError(f"'{label}' must return a tensor or an array, got {type(attributions).__name__}.")
    values = torch.as_tensor(values).detach().to(images.device, torch.float32)
    values = values[:, None] if values.dim() == 3 else values
    if values.dim() != 4 or len(values) != len(images):
        N, _, H, W = images.shape
        raise ContractError(f"'{label}' must return {(N, H, W)} or {(N, 3, H, W)}, got {tuple(values.shape)}.")
    return values


@contextmanager
def watch_seeded_generators(seed: int, device: torch.device) -> Iterator[Callable[[], bool]]:
    """Global generators start from a seed (`seeding.seeded_generators`).

    Yields:
        A function that returns True if a number has been drawn since.
    """
    with seeded_generators(seed, device):
        start = _generator_state(device)
        yield lambda: _generator_state(device) != start


def _generator_state(device: torch.device) -> tuple[object, ...]:
    numpy = np.random.get_state(legacy=False)["state"]
    kinds = [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]
    return random.getstate(), numpy["key"].tobytes(), numpy["pos"], *(state.numpy().tobytes() for state in kinds)


@contextmanager
def suppress_output() -> Iterator[None]:
    """Suppresses prints, progress bars and warnings."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
