"""Weights of networks: read from a file, or random ones that tell images apart."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path, PosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mavis.core import seeding
from mavis.core.errors import ModelError
from mavis.models.loading import checkpoint, state_dicts
from mavis.models.preparation import probe_images

SEED = 0
"""Seed of random weights."""

_NUMPY_SCALAR = np.float64(0).__reduce__()[0]

HARMLESS_CLASSES: list[Any] = [
    argparse.Namespace, SimpleNamespace, PosixPath, np.dtype, _NUMPY_SCALAR,
    (_NUMPY_SCALAR, "numpy.core.multiarray.scalar"),  # its name before NumPy 2
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")),
]  # fmt: skip
"""Classes of what training scripts write beside the weights; reading them runs no code of the file."""


def load_weights(net: nn.Module, path: Path, ignored_prefixes: tuple[str, ...] = ()) -> None:
    """Puts weights from a file into a network.

    Args:
        net: takes the weights.
        path: ``.safetensors``, or a file of `torch.save` as training scripts write it: a state dict, alone or under a
            key such as ``model_state_dict`` beside an epoch and the like, with or without a prefix such as ``module.``
            before every name.
        ignored_prefixes: tensors whose names begin with one of these are left out.

    Raises:
        ModelError: no such file; it is damaged, could run code, does not fit, or holds several state dicts that fit.
    """
    try:
        if not path.is_file():
            raise ModelError(f"The weights '{path}' are not there; write NAME:FILE, or NAME alone for random weights.")
        content = read_tensors(path.read_bytes()) if path.suffix == ".safetensors" else _read_pickle(path)
    except SafetensorError as error:
        raise ModelError(f"'{path}' is not a safetensors file: {error}.") from error
    except OSError as error:
        raise ModelError(f"The weights '{path}' cannot be read: {error.strerror or error}.") from error
    checkpoint.load_state(net, state_dicts.select_state(content, net.state_dict(), path, ignored_prefixes), path)


def _read_pickle(path: Path) -> Any:
    """The content of a file of `torch.save`: tensors, plain values and containers of these."""
    try:
        with torch.serialization.safe_globals(HARMLESS_CLASSES):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # damaged bytes make the reader raise almost anything
        raise ModelError(f"The weights '{path}' cannot be read as tensors only: {_reason(error, path)}") from error


def _reason(error: Exception, path: Path) -> str:
    """The reason for which a file cannot be read; where it holds objects, the command that writes a readable one."""
    foreign = re.search(r"GLOBAL (\S+)", str(error))
    if foreign is None:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    command = state_dicts.extraction_command(path, "['state_dict'] or .state_dict()")
    return f"it holds a {foreign[1]}, which could run code; if you trust the file, write its state dict once: {command}"


def random_network(build: Callable[[], nn.Module], size: int) -> nn.Module:
    """A network with random weights, always the same ones, whose logits differ from image to image.

    A network fresh from its library gives the same logits for every image: zeros (a head of zeros), 1e-10 or 1e8
    (batch normalisation with initial statistics). Here the statistics are measured on images unlike each other: with
    those of similar images, a flat dark one gives logits of 1,000 that are mostly rounding. A head of zeros is drawn,
    and the last layer is scaled so that a logit's standard deviation over the images is one.

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
    images = _calibration_images(size)
    _measure_norm_statistics(net, images)
    images = images[::5]
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


def _calibration_images(size: int) -> Tensor:
    """``(80,3,size,size)``: random colours at several scales, from flat to pixel noise; and varied images."""
    stream = seeding.make_generator(SEED, "random weights")
    scales = [torch.rand((64, 3, side, side), generator=stream) for side in (1, 4, 16, size)]
    enlarged = torch.stack([nn.functional.interpolate(scale, size=size, mode="bilinear") for scale in scales])
    shares = torch.rand((4, 64, 1, 1, 1), generator=stream) ** 3
    return torch.cat([(enlarged * shares / shares.sum(0)).sum(0), probe_images.varied_images(size)])
