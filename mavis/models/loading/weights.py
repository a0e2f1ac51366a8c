"""Weights of networks: read from a file, or random ones that tell images apart."""

from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as tensor_bytes
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mavis.core import seeding
from mavis.core.errors import ModelError
from mavis.models.loading import checkpoint

SEED = 0
"""Seed of random weights."""


def load_weights(net: nn.Module, path: Path, ignored_prefixes: tuple[str, ...] = ()) -> None:
    """Puts weights from a file into a network.

    Args:
        net: takes the weights.
        path: ``.safetensors``, or a ``.pt`` or ``.pth`` that holds tensors only: a state dict, alone or under
            ``state_dict`` or ``model``.
        ignored_prefixes: tensors whose names begin with one of these are left out.

    Raises:
        ModelError: no such file; it is damaged, holds more than tensors, or does not fit.
    """
    if not path.is_file():
        raise ModelError(f"The weights '{path}' are not there; write NAME:FILE, or NAME alone for random weights.")
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    # Copies, because safetensors writes no tensors that share memory, as tied weights do.
    copies = {
        name: tensor.clone().contiguous() for name, tensor in state.items() if not name.startswith(ignored_prefixes)
    }
    checkpoint.load_safetensors(net, tensor_bytes(copies), path)


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        return read_tensors(path.read_bytes())
    except SafetensorError as error:
        raise ModelError(f"'{path}' is not a safetensors file: {error}.") from error


def _read_pickle(path: Path) -> Mapping[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"The weights '{path}' cannot be read as tensors only: {reason}") from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise ModelError(f"The weights '{path}' must be a state dict, names to tensors, got {type(content).__name__}.")
    return content


def random_network(build: Callable[[], nn.Module], size: int) -> nn.Module:
    """A network with random weights, always the same ones, whose logits differ from image to image.

    A network fresh from its library gives the same logits for every image: zeros (a head of zeros), 1e-10 or 1e8
    (batch normalisation with initial statistics). Here the statistics are measured on random images, a head of zeros
    is drawn, and the last layer is scaled so that a logit's standard deviation over the images is one.

    Args:
        build: makes the network, normalisation inside.
        size: side of the random images.

    Raises:
        ModelError: the network takes no images of this size.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        net = build().eval()
        try:
            with torch.no_grad():
                _calibrate_outputs(net, size)
        except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
            reason = next(iter(str(error).strip().splitlines()), "no reason given")
            raise ModelError(
                f"The network takes no images of {size} × {size} px ({type(error).__name__}: {reason}); write the size "
                "that it takes behind its name: NAME@SIZE."
            ) from error
    return net


def _calibrate_outputs(net: nn.Module, size: int) -> None:
    images = _random_images(size)
    _measure_norm_statistics(net, images)
    images = images[:16]
    head = [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    if not head.weight.any():
        nn.init.normal_(head.weight, std=0.02)
    _scale_layer(head, 1 / net(images).std(0).mean().clamp_min(1e-20))
    if isinstance(head, nn.Linear) and head.bias is not None:
        head.bias.sub_(net(images).mean(0))


def _measure_norm_statistics(net: nn.Module, images: Tensor) -> None:
    """Puts the statistics of the images into the batch normalisations."""
    # With momentum None, torch takes the plain mean over all batches since reset: here, the statistics of this one.
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None
        norm.train()
    if norms:
        net(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _scale_layer(layer: nn.Linear | nn.Conv2d, factor: Tensor) -> None:
    layer.weight *= factor
    if layer.bias is not None:
        layer.bias *= factor


def _random_images(size: int) -> Tensor:
    """``(64,3,size,size)``: random colours at several scales, from flat to pixel noise."""
    stream = seeding.make_generator(SEED, "random weights")
    scales = [torch.rand((64, 3, side, side), generator=stream) for side in (1, 4, 16, size)]
    enlarged = torch.stack([nn.functional.interpolate(scale, size=size, mode="bilinear") for scale in scales])
    shares = torch.rand((4, 64, 1, 1, 1), generator=stream) ** 3
    return (enlarged * shares / shares.sum(0)).sum(0)
