"""Every metric of Quantus as a plug-in, named ``quantus:<class>``; refused where it is known to be wrong.

Each image is scored alone, with a generator of its own, so no score depends on the batch. Quantus takes seconds to
import and is imported when a metric is made; what must be known before stands in `mavis.metrics.quantus_catalogue`.
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
from mavis.core.metric_types import CustomMetric, ExplainFunction, Explanation
from mavis.core.registry import metrics
from mavis.core.seeding import derive_seed
from mavis.core.types import Model
from mavis.metrics.quantus_catalogue import QUANTUS_METRICS, QuantusEntry

FIXED_ARGUMENTS = {"disable_warnings": True, "display_progressbar": False, "return_aggregate": False}
EXCLUDED_PARAMETERS = {*FIXED_ARGUMENTS, "aggregate_func", "default_plot_func", "return_sample_correlation"}
"""Parameters of all metrics that cannot be set: they print, plot or take means over images."""


class _UnusableMap(Exception):  # noqa: N818 (not an error: the image has no value)
    """A map that Quantus does not take."""


@dataclass(frozen=True)
class _QuantusCall:
    """One Quantus metric with its parameters, asked about a batch."""

    entry: QuantusEntry
    arguments: Mapping[str, Any]
    explained: Explanation
    explain: ExplainFunction

    def scores(self) -> Tensor:
        """``(B,)``; NaN where Quantus has no value.

        Raises:
            Exception: Quantus's first, where it has no value for any image and raised.
        """
        found = [self._score_or_error(row) for row in range(len(self.explained.model_pass))]
        errors = [one for one in found if isinstance(one, Exception) and not isinstance(one, _UnusableMap)]
        if errors and not any(isinstance(one, float) for one in found):
            raise errors[0]
        numbers = [one if isinstance(one, float) else float("nan") for one in found]
        return torch.tensor(numbers, device=self.explained.model_pass.images.device)

    def _score_or_error(self, row: int) -> float | Exception:
        try:
            return self._score(row)
        except Exception as error:
            if devices.is_out_of_memory(error):
                raise
            return error

    def _score(self, row: int) -> float:
        run = self.explained.model_pass
        images, targets = _to_numpy(run.images[row : row + 1]), _to_numpy(self.explained.targets[row : row + 1])
        maps = _to_numpy(self.explained.maps.values[row : row + 1, None])
        _check_map(maps)
        region = None if run.batch.regions is None else _to_numpy(run.batch.regions[row : row + 1, None])
        if self.entry.truth and (region is None or region.all() or not region.any()):
            raise _UnusableMap
        with (
            _suppress_output(),
            _seed_generators(derive_seed(run.seed, run.ids[row], self.entry.label), run.images.device),
        ):
            try:
                if (
                    self.entry.re_explains
                ):  # as nameless as the changed images, so that an explainer draws alike for both
                    maps = self._explain(run.model.net, images, targets)
                found = _quantus_class(self.entry.name)(**self.arguments, **FIXED_ARGUMENTS)(
                    model=run.model.net,
                    x_batch=images,
                    y_batch=targets,
                    a_batch=maps,
                    s_batch=region,
                    channel_first=True,
                    explain_func=self._explain,
                    device=str(run.images.device),
                )
                return _to_number(found)
            finally:
                _clear_model_caches()

    def _explain(self, model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
        """The explainer as Quantus calls it, perhaps with a randomised copy of the network."""
        of: Model = self.explained.model_pass.model
        of = of if model is of.net else replace(of, net=model)
        where = self.explained.model_pass.images.device
        images = torch.tensor(np.asarray(inputs), dtype=torch.float32, device=where)
        try:
            found = self.explain(of, images, torch.tensor(np.asarray(targets), dtype=torch.int64, device=where))
        except DataError as error:  # an oracle: changed images have no planted truth
            raise _UnusableMap from error
        made = _to_numpy(found)
        for one in made:
            _check_map(one)
        return made[:, None]


def _to_numpy(tensor: Tensor) -> np.ndarray:
    """A copy, since Quantus writes into what it is given."""
    return tensor.detach().cpu().numpy().copy()


def _check_map(values: np.ndarray) -> None:
    """Raises `_UnusableMap` for maps that Quantus refuses, and for invalid maps that it would score."""
    if not np.isfinite(values).all() or values.min() == values.max() or values.max() < 0:
        raise _UnusableMap


def _to_number(result: Any) -> float:
    """One image's value: curves are averaged over steps, layer by layer results over layers.

    Differs: what Quantus returns for the model before it was randomised is left out.
    """
    if isinstance(result, Mapping):
        result = [value for name, value in result.items() if name != "original"]
    return float(np.asarray(result, dtype=np.float64).mean())


def _register(entry: QuantusEntry) -> None:
    def factory(**params: Any) -> CustomMetric:
        arguments = _arguments(entry, params)
        _check_accepted(entry, arguments)
        return CustomMetric(lambda explained, explain: _QuantusCall(entry, arguments, explained, explain).scores())

    factory.__doc__ = entry.summary
    metrics.add(entry.label, factory, entry.traits, "Quantus")


for _entry in QUANTUS_METRICS:
    _register(_entry)


def _arguments(entry: QuantusEntry, params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as the class takes them; functions of Quantus may be given by name.

    Raises:
        BadParameter: the class does not take one, or Quantus has no function of that name.
    """
    signature = inspect.signature(_quantus_class(entry.name)).parameters
    takes = {
        n: p
        for n, p in signature.items()
        if p.kind is not p.VAR_KEYWORD and n not in EXCLUDED_PARAMETERS | entry.excluded_parameters
    }
    for name in params:
        if name not in takes:
            raise BadParameter(f"'{entry.label}' has no parameter '{name}'; it takes: {', '.join(takes)}.")
    return {name: _resolve_function(entry, takes[name], value) for name, value in params.items()}


def _resolve_function(entry: QuantusEntry, parameter: inspect.Parameter, value: Any) -> Any:
    if not parameter.name.endswith("_func") or not isinstance(value, str) or isinstance(parameter.default, str):
        return value
    found = getattr(_import_quantus(), value, None)
    if not callable(found):
        raise BadParameter(f"'{entry.label}': {parameter.name} names a function of Quantus, got '{value}'.")
    return found


def _check_accepted(entry: QuantusEntry, arguments: Mapping[str, Any]) -> None:
    """Makes the metric once, so that a value which Quantus refuses is refused before any work."""
    with _suppress_output():
        try:
            _quantus_class(entry.name)(**arguments, **FIXED_ARGUMENTS)
        except AssertionError as error:
            raise ValueError(str(error) or "Quantus allows other values only") from error


def _quantus_class(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] | None = getattr(_import_quantus(), name, None)
    if found is None:
        raise MavisError(f"Quantus {_import_quantus().__version__} has no metric '{name}'; install quantus>=0.6.")
    return found


def _import_quantus() -> ModuleType:
    with _suppress_output():
        return importlib.import_module("quantus")


def _clear_model_caches() -> None:
    """Quantus caches a value per wrapped model, and with it every randomised copy, for ever."""
    wrapper = _import_quantus().PyTorchModel
    wrapper._get_last_softmax_layer_index.cache_clear()
    wrapper._get_model_with_linear_top.cache_clear()


@contextmanager
def _suppress_output() -> Iterator[None]:
    """No prints, no warnings."""
    with redirect_stdout(io.StringIO()), catch_warnings():
        simplefilter("ignore")
        yield


@contextmanager
def _seed_generators(seed: int, device: torch.device) -> Iterator[None]:
    """Python's, NumPy's and torch's generators start from a seed and afterwards go on as if nothing had been."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device.type == "cuda" else []):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
