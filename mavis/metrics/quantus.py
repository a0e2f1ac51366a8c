"""Every metric of Quantus as a plug-in, named ``quantus:<class>``; refused where it is known to be wrong.

Each image is scored alone, with a generator of its own, so no score depends on the batch. Quantus takes seconds to
import and is imported when a metric is made; what must be known before stands in `mavis.metrics.quantus_known`.
"""

import importlib
import inspect
import io
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
import torch
from torch import Tensor, nn

from mavis.core import devices
from mavis.core.errors import BadParameter, DataError, MavisError
from mavis.core.metric_types import Explain, Explained, FreeMetric
from mavis.core.registry import metrics
from mavis.core.seeding import seed_of
from mavis.core.types import Model
from mavis.metrics.quantus_catalogue import METRICS, Known

OURS = {"disable_warnings": True, "display_progressbar": False, "return_aggregate": False}
CLOSED = {*OURS, "aggregate_func", "default_plot_func", "return_sample_correlation"}
"""Parameters of all metrics that cannot be set: they print, plot or take means over images."""


class _Unusable(Exception):  # noqa: N818 (not an error: the image has no value)
    """A map that Quantus does not take."""


@dataclass(frozen=True)
class _Asked:
    """One Quantus metric with its parameters, asked about a batch."""

    known: Known
    arguments: Mapping[str, Any]
    explained: Explained
    explain: Explain

    def scores(self) -> Tensor:
        """``(B,)``; NaN where Quantus has no value.

        Raises:
            Exception: Quantus's first, where it has no value for any image and raised.
        """
        found = [self._outcome(row) for row in range(len(self.explained.run))]
        errors = [one for one in found if isinstance(one, Exception) and not isinstance(one, _Unusable)]
        if errors and not any(isinstance(one, float) for one in found):
            raise errors[0]
        numbers = [one if isinstance(one, float) else float("nan") for one in found]
        return torch.tensor(numbers, device=self.explained.run.images.device)

    def _outcome(self, row: int) -> float | Exception:
        try:
            return self._one(row)
        except Exception as error:
            if devices.is_out_of_memory(error):
                raise
            return error

    def _one(self, row: int) -> float:
        run = self.explained.run
        images, targets = _array(run.images[row : row + 1]), _array(self.explained.targets[row : row + 1])
        maps = _array(self.explained.maps.values[row : row + 1, None])
        _check(maps)
        region = None if run.batch.regions is None else _array(run.batch.regions[row : row + 1, None])
        if self.known.truth and (region is None or region.all() or not region.any()):
            raise _Unusable
        with _quiet(), _seeded(seed_of(run.seed, run.ids[row], self.known.label), run.images.device):
            try:
                if self.known.again:  # as nameless as the changed images, so that an explainer draws alike for both
                    maps = self._explain(run.model.net, images, targets)
                found = _class(self.known.name)(**self.arguments, **OURS)(
                    model=run.model.net,
                    x_batch=images,
                    y_batch=targets,
                    a_batch=maps,
                    s_batch=region,
                    channel_first=True,
                    explain_func=self._explain,
                    device=str(run.images.device),
                )
                return _number(found)
            finally:
                _forget_models()

    def _explain(self, model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
        """The explainer as Quantus calls it, perhaps with a randomised copy of the network."""
        of: Model = self.explained.run.model
        of = of if model is of.net else replace(of, net=model)
        where = self.explained.run.images.device
        images = torch.tensor(np.asarray(inputs), dtype=torch.float32, device=where)
        try:
            found = self.explain(of, images, torch.tensor(np.asarray(targets), dtype=torch.int64, device=where))
        except DataError as error:  # an oracle: changed images have no planted truth
            raise _Unusable from error
        made = _array(found)
        for one in made:
            _check(one)
        return made[:, None]


def _array(tensor: Tensor) -> np.ndarray:
    """A copy, since Quantus writes into what it is given."""
    return tensor.detach().cpu().numpy().copy()


def _check(values: np.ndarray) -> None:
    """Raises `_Unusable` for the maps that Quantus refuses, and for those that it would give a number in spite of."""
    if not np.isfinite(values).all() or values.min() == values.max() or values.max() < 0:
        raise _Unusable


def _number(found: Any) -> float:
    """One image's value: curves are averaged over steps, layer by layer results over layers.

    Differs: what Quantus returns for the model before it was randomised is left out.
    """
    if isinstance(found, Mapping):
        found = [value for name, value in found.items() if name != "original"]
    return float(np.asarray(found, dtype=np.float64).mean())


def _registered(known: Known) -> None:
    def factory(**params: Any) -> FreeMetric:
        arguments = _arguments(known, params)
        _tried(known, arguments)
        return FreeMetric(lambda explained, explain: _Asked(known, arguments, explained, explain).scores())

    factory.__doc__ = known.about
    metrics.add(known.label, factory, known.traits, "Quantus")


for _known in METRICS:
    _registered(_known)


def _arguments(known: Known, params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as the class takes them; functions of Quantus may be given by name.

    Raises:
        BadParameter: the class does not take one, or Quantus has no function of that name.
    """
    signature = inspect.signature(_class(known.name)).parameters
    takes = {n: p for n, p in signature.items() if p.kind is not p.VAR_KEYWORD and n not in CLOSED | known.closed}
    for name in params:
        if name not in takes:
            raise BadParameter(f"'{known.label}' has no parameter '{name}'; it takes: {', '.join(takes)}.")
    return {name: _function(known, takes[name], value) for name, value in params.items()}


def _function(known: Known, parameter: inspect.Parameter, value: Any) -> Any:
    if not parameter.name.endswith("_func") or not isinstance(value, str) or isinstance(parameter.default, str):
        return value
    found = getattr(_quantus(), value, None)
    if not callable(found):
        raise BadParameter(f"'{known.label}': {parameter.name} names a function of Quantus, got '{value}'.")
    return found


def _tried(known: Known, arguments: Mapping[str, Any]) -> None:
    """Makes the metric once, so that a value which Quantus refuses is refused before any work."""
    with _quiet():
        try:
            _class(known.name)(**arguments, **OURS)
        except AssertionError as error:
            raise ValueError(str(error) or "Quantus allows other values only") from error


def _class(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] | None = getattr(_quantus(), name, None)
    if found is None:
        raise MavisError(f"Quantus {_quantus().__version__} has no metric '{name}'; install quantus>=0.6.")
    return found


def _quantus() -> ModuleType:
    with _quiet():
        return importlib.import_module("quantus")


def _forget_models() -> None:
    """Quantus caches a value per wrapped model, and with it every randomised copy, for ever."""
    wrapper = _quantus().PyTorchModel
    wrapper._get_last_softmax_layer_index.cache_clear()
    wrapper._get_model_with_linear_top.cache_clear()


@contextmanager
def _quiet() -> Iterator[None]:
    """No prints, no warnings."""
    with redirect_stdout(io.StringIO()), catch_warnings():
        simplefilter("ignore")
        yield


@contextmanager
def _seeded(seed: int, place: torch.device) -> Iterator[None]:
    """Python's, NumPy's and torch's generators start from a seed and afterwards go on as if nothing had been."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if place.type == "cuda" else []):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
