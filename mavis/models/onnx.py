"""A classifier as an ONNX file, a black box; needs the extra ``onnx``."""

import re
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
        revision=hashing.digest_file(path)[:32],
        capabilities=frozenset({"forward"}),
        size=size,
        card={"about": f"ONNX file {path.name}"},
    )


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
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
            raise ModelError(
                f"'{path}' must take images (N,3,H,W), got {[(node.name, node.shape) for node in inputs]}."
            )
        self._name = inputs[0].name
        self.batch_size = shape[0] if isinstance(shape[0], int) else None
        self.size = shape[2] if isinstance(shape[2], int) else None

    def __call__(self, images: Tensor) -> np.ndarray:
        """``(N,3,H,W)`` -> ``(N,K)``."""
        pixels = images.detach().cpu().numpy()
        step = self.batch_size or len(pixels)
        return np.concatenate(
            [self._predict_batch(pixels[start : start + step], step) for start in range(0, len(pixels), step)]
        )

    def _predict_batch(self, pixels: np.ndarray, batch_size: int) -> np.ndarray:
        """Logits of at most ``batch_size`` images; the last image fills up a shorter batch."""
        full = np.concatenate([pixels, np.repeat(pixels[-1:], batch_size - len(pixels), axis=0)])
        logits: np.ndarray = self._session.run(None, {self._name: full})[0]
        return logits[: len(pixels)]


def _import_onnxruntime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError("ONNX models need the package onnxruntime: pip install 'mavis-xai[onnx]'.") from error
    return onnxruntime  # type: ignore[no-any-return]
