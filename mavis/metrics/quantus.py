"""Registers every metric of Quantus as a plug-in ``quantus:<class>``; metrics known to be wrong are refused.

Each image is scored alone, with its own seed, so no score depends on the batch. Quantus takes seconds to import and is
imported when a metric is created; the metrics' traits are declared in `mavis.metrics.quantus_catalogue`.
"""

import importlib
import inspect
import io
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
from mavis.core.seeding import derive_seed, seeded_generators
from mavis.core.types import Model
from mavis.metrics.quantus_catalogue import QUANTUS_METRICS, QuantusEntry

FIXED_ARGUMENTS = {"disable_warnings": True, "display_progressbar": False, "return_aggregate": False}
EXCLUDED_PARAMETERS = {*FIXED_ARGUMENTS, "aggregate_func", "default_plot_func", "return_sample_correlation"}
"""Parameters of all metrics that users cannot set: they print, plot or take means over images."""


class _UnusableMap(Exception):  # noqa: N818 (not an error: the image has no value)
    """A map that Quantus does not accept: the image has no score."""


@dataclass(frozen=True)
class _QuantusCall:
    """One Quantus metric with its parameters, applied to a batch."""

    entry: QuantusEntry
    arguments: Mapping[str, Any]
    explained: Explanation
    explain: ExplainFunction

    def scores(self) -> Tensor:
        """``(B,)``; NaN where Quantus has no value.

        Raises:
            Exception: Quantus's first error, if no image has a score.
        """
        results = [self._score_or_error(row) for row in range(len(self.explained.model_pass))]
        errors = [
            result for result in results if isinstance(result, Exception) and not isinstance(result, _UnusableMap)
        ]
        if errors and not any(isinstance(result, float) for result in results):
            raise errors[0]
        numbers = [result if isinstance(result, float) else float("nan") for result in results]
        return torch.tensor(numbers, device=self.explained.model_pass.images.device)

    def _score_or_error(self, row: int) -> float | Exception:
        try:
            return self._score(row)
        except Exception as error:
            if devices.is_out_of_memory(error):
                raise
            return error

    def _score(self, row: int) -> float:
        model_pass = self.explained.model_pass
        images, targets = _to_numpy(model_pass.images[row : row + 1]), _to_numpy(self.explained.targets[row : row + 1])
        maps = _to_numpy(self.explained.maps.values[row : row + 1, None])
        _check_map(maps)
        region = None if model_pass.batch.regions is None else _to_numpy(model_pass.batch.regions[row : row + 1, None])
        if self.entry.truth and (region is None or region.all() or not region.any()):
            raise _UnusableMap
        with (
            _suppress_output(),
            seeded_generators(
                derive_seed(model_pass.seed, model_pass.ids[row], self.entry.label), model_pass.images.device
            ),
        ):
            try:
                if self.entry.re_explains:  # without ids, as the changed images are, so that both draw the same numbers
                    maps = self._explain(model_pass.model.net, images, targets)
                result = _quantus_class(self.entry.name)(**self.arguments, **FIXED_ARGUMENTS)(
                    model=model_pass.model.net,
                    x_batch=images,
                    y_batch=targets,
                    a_batch=maps,
                    s_batch=region,
                    channel_first=True,
                    explain_func=self._explain,
                    device=str(model_pass.images.device),
                )
                return _to_number(result)
            finally:
                _clear_model_caches()

    def _explain(self, model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
        """The explainer as Quantus calls it, perhaps with a randomised copy of the network."""
        explained_model: Model = self.explained.model_pass.model
        explained_model = explained_model if model is explained_model.net else replace(explained_model, net=model)
        device = self.explained.model_pass.images.device
        images = torch.tensor(np.asarray(inputs), dtype=torch.float32, device=device)
        try:
            attributions = self.explain(
                explained_model, images, torch.tensor(np.asarray(targets), dtype=torch.int64, device=device)
            )
        except DataError as error:  # an oracle: changed images have no planted truth
            raise _UnusableMap from error
        maps = _to_numpy(attributions)
        for values in maps:
            _check_map(values)
        return maps[:, None]


def _to_numpy(tensor: Tensor) -> np.ndarray:
    """The tensor as a new array, since Quantus writes into its arguments."""
    return tensor.detach().cpu().numpy().copy()


def _check_map(values: np.ndarray) -> None:
    """Raises `_UnusableMap` for maps that Quantus refuses, and for invalid maps that it would score."""
    if not np.isfinite(values).all() or values.min() == values.max() or values.max() < 0:
        raise _UnusableMap


def _to_number(result: Any) -> float:
    """One image's value: curves are averaged over steps, layer by layer results over layers.

    Differs: the value that Quantus returns for the model before randomisation is left out.
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
    """Keyword arguments of the class; functions of Quantus may be given by name.

    Raises:
        BadParameter: the class has no such parameter, or Quantus no function of that name.
    """
    signature = inspect.signature(_quantus_class(entry.name)).parameters
    settable = {
        name: parameter
        for name, parameter in signature.items()
        if parameter.kind is not parameter.VAR_KEYWORD and name not in EXCLUDED_PARAMETERS | entry.excluded_parameters
    }
    for name in params:
        if name not in settable:
            raise BadParameter(f"'{entry.label}' has no parameter '{name}'; it takes: {', '.join(settable)}.")
    return {name: _resolve_function(entry, settable[name], value) for name, value in params.items()}


def _resolve_function(entry: QuantusEntry, parameter: inspect.Parameter, value: Any) -> Any:
    if not parameter.name.endswith("_func") or not isinstance(value, str) or isinstance(parameter.default, str):
        return value
    function = getattr(_import_quantus(), value, None)
    if not callable(function):
        raise BadParameter(f"'{entry.label}': {parameter.name} names a function of Quantus, got '{value}'.")
    return function


def _check_accepted(entry: QuantusEntry, arguments: Mapping[str, Any]) -> None:
    """Creates the metric once, so that a value that Quantus refuses is refused before any work."""
    with _suppress_output():
        try:
            _quantus_class(entry.name)(**arguments, **FIXED_ARGUMENTS)
        except AssertionError as error:
            raise ValueError(str(error) or "Quantus allows other values only") from error


def _quantus_class(name: str) -> Callable[..., Any]:
    metric_class: Callable[..., Any] | None = getattr(_import_quantus(), name, None)
    if metric_class is None:
        raise MavisError(f"Quantus {_import_quantus().__version__} has no metric '{name}'; install quantus>=0.6.")
    return metric_class


def _import_quantus() -> ModuleType:
    with _suppress_output():
        return importlib.import_module("quantus")


def _clear_model_caches() -> None:
    """Clears Quantus's caches, which would hold every randomised copy of the model for ever."""
    wrapper = _import_quantus().PyTorchModel
    wrapper._get_last_softmax_layer_index.cache_clear()
    wrapper._get_model_with_linear_top.cache_clear()


@contextmanager
def _suppress_output() -> Iterator[None]:
    """Suppresses prints and warnings."""
    with redirect_stdout(io.StringIO()), catch_warnings():
        simplefilter("ignore")
        yield
