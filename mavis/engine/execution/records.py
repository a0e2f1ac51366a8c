"""The rows, failures and keepsakes of one block, as they come."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mavis.core import devices, metric_types
from mavis.core.attribution_maps import Maps
from mavis.core.compute import Cost
from mavis.core.errors import ContractError, PluginError, describe_error
from mavis.core.types import Batch
from mavis.engine.planning.plan import Block, Component, Components

Columns = dict[str, list[Any]]
"""A table in the making; a data frame per entry would cost more than many a metric."""


class OutOfMemoryError(Exception):
    """The device's memory is full: not a failure of a cell, but a reason to begin the block again with less."""


@dataclass(frozen=True)
class FailureScope:
    """The cells that an exception costs: every metric of every explainer named, for these images.

    Attributes:
        stage: what was going on.
        image_ids: the images.
        explainers: names; more than one where they share the work that failed.
        metrics: names; None for all.
    """

    stage: str
    image_ids: tuple[str, ...]
    explainers: tuple[str, ...]
    metrics: tuple[str, ...] | None = None


@dataclass
class BlockRecords:
    """Rows, curves, maps and failures of a block so far.

    Attributes:
        block: whose.
        components: explainers and metrics of the run.
        chunk: maximum number of samples in one model call.
    """

    block: Block
    components: Components
    chunk: int = 1
    rows: Columns = field(default_factory=dict)
    curves: Columns = field(default_factory=dict)
    agreement: Columns = field(default_factory=dict)
    gallery_maps: dict[str, np.ndarray] = field(default_factory=dict)
    failures: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._skipped_cells = {(cell.explainer, cell.metric) for cell in self.block.cells if cell.skipped}
        self._failed_cells: set[tuple[str, str]] = set()

    def start_batch(self) -> None:
        """The next batch: what failed in the last one is tried again."""
        self._failed_cells.clear()

    def should_score(self, explainer: str, metric: Component) -> bool:
        """True for a cell that is scored in this block and has not failed in this batch."""
        cell = (explainer, metric.name)
        planned = self.block.has_variants or not isinstance(metric.plugin, metric_types.VariantMetric)
        return planned and cell not in self._skipped_cells and cell not in self._failed_cells

    def scored_explainers(self) -> list[Component]:
        """Explainers with at least one cell that is not skipped."""
        names = {cell.explainer for cell in self.block.cells if not cell.skipped}
        return [part for part in self.components.explainers if part.name in names]

    def record(
        self,
        explainer: str,
        metric: Component,
        image_ids: tuple[str, ...],
        values: Tensor,
        cost: Cost | Tensor | None = None,
    ) -> None:
        """One row per image.

        Args:
            explainer: name.
            metric: whose values they are.
            image_ids: B images.
            values: ``(B,)``; what is not finite has no value, for the metric's declared reason.
            cost: what the model was asked for these scores alone: in sum, or the forwards of each image ``(B,)``.

        Raises:
            ContractError: values of another kind or shape.
        """
        if not self.should_score(explainer, metric):
            return
        if not isinstance(values, Tensor) or values.is_complex():
            kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
            raise ContractError(f"A metric must return a tensor of real numbers, got {kind}.")
        if values.shape != (len(image_ids),):
            raise ContractError(f"A metric must return (B,) = ({len(image_ids)},), got {tuple(values.shape)}.")
        numbers = values.detach().cpu().double().numpy()
        is_finite = np.isfinite(numbers)
        total_cost = cost if isinstance(cost, Cost) else Cost()
        forwards = cost.cpu().double().tolist() if isinstance(cost, Tensor) else total_cost.forwards / len(image_ids)
        self._add_rows(
            explainer,
            metric.name,
            image_ids,
            value=np.where(is_finite, numbers, np.nan).tolist(),
            status=np.where(is_finite, "ok", "undefined").tolist(),
            reason=np.where(is_finite, "", metric.traits.undefined).tolist(),
            forwards=forwards,
            backwards=total_cost.backwards / len(image_ids),
            seconds=total_cost.seconds / len(image_ids),
        )

    @contextmanager
    def guard(self, scope: FailureScope) -> Iterator[None]:
        """Turns an exception into a failure record, and an error row for every cell that it costs.

        Raises:
            OutOfMemoryError: where that is what happened, and less samples in a call are left to try.
        """
        try:
            yield
        except OutOfMemoryError:
            raise
        except Exception as error:
            if devices.is_out_of_memory(error) and self.chunk > 1:
                raise OutOfMemoryError(str(error)) from error
            self.record_failure(scope, error)

    def record_failure(self, scope: FailureScope, error: Exception) -> None:
        """Keeps a failure, with an error row for every cell that it costs."""
        self._log_failure(scope, error)
        self._mark_failed(scope, f"{scope.stage}: {describe_error(error)}")

    def record_maps(self, batch: Batch, maps: Mapping[str, Maps], image_ids: frozenset[str]) -> None:
        """Keeps images and maps of the wanted ids, for the gallery."""
        for row, image in enumerate(batch.ids):
            if image in image_ids:
                pixels = (batch.images[row] * 255).round().byte().permute(1, 2, 0)
                self.gallery_maps[f"|{image}"] = pixels.cpu().numpy()
                for explainer, explained in maps.items():
                    self.gallery_maps[f"{explainer}|{image}"] = explained.values[row].cpu().numpy().astype(np.float32)

    def record_curves(
        self,
        explainer: str,
        image_ids: tuple[str, ...],
        curve_values: Mapping[metric_types.CurveQuery, metric_types.CurveValues],
    ) -> None:
        """Keeps every image's curves over cells: of each imputer and order the one with the most points."""
        longest: dict[tuple[str, str], metric_types.Curve] = {}
        for curve in curve_values:
            if isinstance(curve, metric_types.Curve) and curve.unit == "cell":
                key = (curve.imputer, curve.order)
                longest[key] = max(longest.get(key, curve), curve, key=lambda c: len(c.fractions))
        for curve in longest.values():
            values = curve_values[curve]
            _extend_columns(
                self.curves,
                values.x.numel(),
                image=np.repeat(list(image_ids), values.x.shape[1]).tolist(),
                x=values.x.cpu().double().flatten().tolist(),
                y=values.y.cpu().double().flatten().tolist(),
                model=self.block.model,
                explainer=explainer,
                imputer=curve.imputer,
                order=curve.order,
            )

    def record_agreement(
        self, image_ids: tuple[str, ...], pairs: Mapping[tuple[str, str], Mapping[str, Tensor]]
    ) -> None:
        """Keeps how far every two methods agree on every image; NaN where a map is none."""
        for (first, second), measures in pairs.items():
            for measure, values in measures.items():
                _extend_columns(
                    self.agreement,
                    len(image_ids),
                    image=list(image_ids),
                    value=values.cpu().double().tolist(),
                    model=self.block.model,
                    first=first,
                    second=second,
                    measure=measure,
                )

    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Scores, curves and agreement, as the store keeps them."""
        return pd.DataFrame(self.rows), pd.DataFrame(self.curves), pd.DataFrame(self.agreement)

    def _add_rows(self, explainer: str, metric: str, ids: tuple[str, ...], **columns: Any) -> None:
        model = self.block.model
        _extend_columns(
            self.rows, len(ids), image=list(ids), model=model, explainer=explainer, metric=metric, **columns
        )

    def _mark_failed(self, scope: FailureScope, reason: str) -> None:
        lost: dict[str, Any] = {
            "value": np.nan,
            "status": "error",
            "reason": reason,
            "forwards": 0.0,
            "backwards": 0.0,
            "seconds": 0.0,
        }
        for explainer in scope.explainers:
            for metric in self.components.metrics:
                concerned = scope.metrics is None or metric.name in scope.metrics
                if concerned and self.should_score(explainer, metric):
                    self._add_rows(explainer, metric.name, scope.image_ids, **lost)
                    self._failed_cells.add((explainer, metric.name))

    def _log_failure(self, scope: FailureScope, error: Exception) -> None:
        explainer = scope.explainers[0] if len(scope.explainers) == 1 else None
        metric = scope.metrics[0] if scope.metrics and len(scope.metrics) == 1 else None
        key = (scope.stage, str(explainer), str(metric), type(error).__name__)
        fresh = {
            "stage": scope.stage,
            "model": self.block.model,
            "explainer": explainer,
            "metric": metric,
            "images": 0,
            "type": type(error).__name__,
            "message": describe_error(error).removeprefix(f"{type(error).__name__}: "),
            "traceback": "" if isinstance(error, PluginError) else "".join(traceback.format_exception(error)),
        }
        self.failures.setdefault(key, fresh)["images"] += len(scope.image_ids)


def _extend_columns(columns: Columns, n_rows: int, **values: Any) -> None:
    """Adds rows; a value that is no list stands in each of them."""
    for name, value in values.items():
        columns.setdefault(name, []).extend(value if isinstance(value, list) else [value] * n_rows)


def constant_values(value: float, image_ids: tuple[str, ...]) -> Tensor:
    """``(B,)`` of one value, for B ids."""
    return torch.full((len(image_ids),), value)
