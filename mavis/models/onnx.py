"""A classifier as an ONNX file, a black box; needs the extra ``onnx``."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mavis.core import hashing
from mavis.core.errors import ModelError
from mavis.core.registry import model
from mavis.core.types import Model
from mavis.models.loading import wrappers
from mavis.models.preparation.isolation import BlackBox

FLOAT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
"""Types of images and logits in a file, and those of the arrays."""


@model("onnx", about="onnx:FILE[@SIZE], with the extra onnx; black box: predictions only")
def onnx(spec: str) -> wrappers.DeferredModel:
    """The classifier of a file: images ``(N,3,H,W)`` float32 in [0,1] -> logits, normalisation inside.

    Args:
        spec: ``FILE[@SIZE]``: the file, and the side of the images where the file leaves it open (else 64 px).

    Raises:
        ModelError: onnxruntime is not installed; the file cannot be read, or takes something else than images.
    """
    path, size = _split_spec(spec)
    session = _Session(path)
    side = session.size or size or wrappers.DEFAULT_SIZE
    if size not in (None, side):
        raise ModelError(f"'{path}' takes images of {side} px; write onnx:{path}.")
    return wrappers.DeferredModel(path.stem, lambda classes: _build_model(session, path, side, classes), side)


def _split_spec(spec: str) -> tuple[Path, int | None]:
    match = re.fullmatch(r"(.+)@(\d+)", spec)
    if match is None or Path(spec).is_file():
        return Path(spec), None
    return Path(match[1]), int(match[2])


def _build_model(session: "_Session", path: Path, size: int, classes: tuple[str, ...]) -> Model:
    return Model(
        name=path.stem,
        net=BlackBox(session),
        classes=classes,
        revision=_content_hash(path),
        capabilities=frozenset({"forward"}),
        size=size,
        card={"about": f"ONNX file {path.name}"},
    )


def _content_hash(path: Path) -> str:
    """Hash of a file and of the files of weights beside it that it names."""
    content = path.read_bytes()
    files = [path.parent / name for name in sorted(set(_external_names(content)))]
    return hashing.digest(content, *(file.read_bytes() for file in files if file.is_file()))[:32]


def _external_names(content: bytes) -> Iterator[str]:
    """Names of files with weights: the values of the key ``location`` in the file's ``external_data`` (protobuf)."""
    for match in re.finditer(rb"\x0a\x08location\x12([\x80-\xff]*[\x00-\x7f])", content):
        length = sum((byte & 0x7F) << 7 * index for index, byte in enumerate(match[1]))
        yield content[match.end() : match.end() + length].decode("utf-8", "replace")


class _Session:
    """An onnxruntime session as a function.

    Attributes:
        size: side of the images that the file takes, or None for any.
        batch_size: number of images that it takes at once, or None for any.
    """

    def __init__(self, path: Path) -> None:
        runtime = _import_onnxruntime()
        if not path.is_file():
            raise ModelError(f"There is no file '{path}'; write --model onnx:FILE.")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session: Any = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelError(f"'{path}' is not a model that onnxruntime can run: {error}") from error
        inputs = self._session.get_inputs()
        _check_input(inputs, path)
        _check_output(self._session.get_outputs()[0], path)
        shape = inputs[0].shape
        self._name, self._dtype = inputs[0].name, FLOAT_TYPES[inputs[0].type]
        self.batch_size = shape[0] if isinstance(shape[0], int) else None
        self.size = shape[2] if isinstance(shape[2], int) else None

    def __call__(self, images: Tensor) -> np.ndarray:
        """``(N,3,H,W)`` -> ``(N,K)``."""
        pixels = images.detach().cpu().numpy().astype(self._dtype, copy=False)
        step = self.batch_size or len(pixels)
        return np.concatenate(
            [self._predict_batch(pixels[start : start + step], step) for start in range(0, len(pixels), step)]
        )

    def _predict_batch(self, pixels: np.ndarray, batch_size: int) -> np.ndarray:
        """Outputs for at most ``batch_size`` images; the last image fills up a shorter batch."""
        full = np.concatenate([pixels, np.repeat(pixels[-1:], batch_size - len(pixels), axis=0)])
        logits: np.ndarray = self._session.run(None, {self._name: full})[0]
        return logits[: len(pixels)]


def _check_input(inputs: list[Any], path: Path) -> None:
    """Refuses everything but one input of square images in floating-point numbers."""
    shape, kind = inputs[0].shape, inputs[0].type
    if len(inputs) != 1 or len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
        raise ModelError(f"'{path}' must take images (N,3,H,W), got {[(node.name, node.shape) for node in inputs]}.")
    height, width = shape[2:]
    if isinstance(height, int) and isinstance(width, int) and height != width:
        raise ModelError(f"'{path}' must take square images, got {height} x {width} px; put a resize in front of it.")
    if kind not in FLOAT_TYPES:
        raise ModelError(
            f"'{path}' must take images in [0,1] as one of {', '.join(FLOAT_TYPES)}, got {kind}; put the conversion "
            f"into the file."
        )


def _check_output(output: Any, path: Path) -> None:
    """Refuses a first output that is no tensor of floating-point numbers, as a label is not."""
    if output.type not in FLOAT_TYPES:
        raise ModelError(
            f"'{path}' must return logits as its first output, got '{output.name}' of {output.type}; export the logits "
            f"alone or first."
        )


def _import_onnxruntime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError("ONNX models need the package onnxruntime: pip install 'mavis-xai[onnx]'.") from error
    return onnxruntime  # type: ignore[no-any-return]
