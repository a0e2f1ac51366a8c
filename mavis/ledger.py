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

from mavis import device, kinds
from mavis.errors import ContractError
from mavis.maps import Maps
from mavis.passes import Cost
from mavis.plan import Block, Line, Part
from mavis.types import Batch


class OutOfMemoryError(Exception):
    """The device's memory is full: not a failure of a cell, but a reason to begin the block again with less."""


@dataclass(frozen=True)
class Scope:
    """What an exception would cost: every metric of every explainer named, for these images.

    Attributes:
        stage: what was going on.
        ids: the images.
        explainers: names; more than one where they share the work that failed.
        metrics: names; None for all.
    """

    stage: str
    ids: tuple[str, ...]
    explainers: tuple[str, ...]
    metrics: tuple[str, ...] | None = None


@dataclass
class Ledger:
    """What a block has yielded so far.

    Attributes:
        block: whose.
        line: explainers and metrics of the run.
    """

    block: Block
    line: Line
    rows: list[pd.DataFrame] = field(default_factory=list)
    curves: list[pd.DataFrame] = field(default_factory=list)
    agreement: list[pd.DataFrame] = field(default_factory=list)
    kept: dict[str, np.ndarray] = field(default_factory=dict)
    failures: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._skipped = {(cell.explainer, cell.metric) for cell in self.block.cells if cell.skipped}
        self._lost: set[tuple[str, str]] = set()

    def begin(self) -> None:
        """The next batch: what failed in the last one is tried again."""
        self._lost.clear()

    def wants(self, explainer: str, metric: Part) -> bool:
        """Whether a cell is to be scored in this block, and has not failed in this batch."""
        cell = (explainer, metric.name)
        planned = self.block.variants or not isinstance(metric.made, kinds.VariantMetric)
        return planned and cell not in self._skipped and cell not in self._lost

    def able(self) -> list[Part]:
        """Explainers with at least one cell that is not skipped."""
        names = {cell.explainer for cell in self.block.cells if not cell.skipped}
        return [part for part in self.line.explainers if part.name in names]

    def record(
        self, explainer: str, metric: Part, ids: tuple[str, ...], values: Tensor, cost: Cost | Tensor | None = None
    ) -> None:
        """One row per image.

        Args:
            explainer: name.
            metric: whose values they are.
            ids: B images.
            values: ``(B,)``; what is not finite has no value, for the metric's declared reason.
            cost: what the model was asked for these scores alone: in sum, or the forwards of each image ``(B,)``.

        Raises:
            ContractError: values of another shape.
        """
        if not self.wants(explainer, metric):
            return
        if values.shape != (len(ids),):
            raise ContractError(f"A metric must return (B,) = ({len(ids)},), got {tuple(values.shape)}.")
        numbers = values.detach().cpu().double().numpy()
        there = np.isfinite(numbers)
        spent = cost if isinstance(cost, Cost) else Cost()
        each = cost.cpu().double().numpy() if isinstance(cost, Tensor) else spent.forwards / len(ids)
        self.rows.append(
            self._frame(explainer, metric.name, ids).assign(
                value=np.where(there, numbers, np.nan),
                status=np.where(there, "ok", "undefined"),
                reason=np.where(there, "", metric.traits.undefined),
                forwards=each,
                backwards=spent.backwards / len(ids),
                seconds=spent.seconds / len(ids),
            )
        )

    @contextmanager
    def guard(self, scope: Scope) -> Iterator[None]:
        """Turns an exception into a failure record, and an error row for every cell that it costs.

        Raises:
            OutOfMemoryError: where that is what happened.
        """
        try:
            yield
        except OutOfMemoryError:
            raise
        except Exception as error:
            if device.is_out_of_memory(error):
                raise OutOfMemoryError(str(error)) from error
            self._note(scope, error)
            self._lose(scope, f"{scope.stage}: {type(error).__name__}: {error}")

    def keep_maps(self, batch: Batch, maps: Mapping[str, Maps], wanted: frozenset[str]) -> None:
        """Keeps images and maps of the wanted ids, for the gallery."""
        for row, image in enumerate(batch.ids):
            if image in wanted:
                pixels = (batch.images[row] * 255).round().byte().permute(1, 2, 0)
                self.kept[f"|{image}"] = pixels.cpu().numpy()
                for explainer, found in maps.items():
                    self.kept[f"{explainer}|{image}"] = found.values[row].cpu().numpy().astype(np.float32)

    def keep_curves(
        self, explainer: str, ids: tuple[str, ...], found: Mapping[kinds.Question, kinds.CurveValues]
    ) -> None:
        """Keeps every image's curves over cells: of each imputer and order the one with the most points."""
        longest: dict[tuple[str, str], kinds.Curve] = {}
        for curve in found:
            if isinstance(curve, kinds.Curve) and curve.unit == "cell":
                key = (curve.imputer, curve.order)
                longest[key] = max(longest.get(key, curve), curve, key=lambda c: len(c.fractions))
        for curve in longest.values():
            values = found[curve]
            columns = {
                "image": np.repeat(list(ids), values.x.shape[1]),
                "x": values.x.cpu().double().numpy().ravel(),
                "y": values.y.cpu().double().numpy().ravel(),
            }
            names: dict[str, Any] = {"explainer": explainer, "imputer": curve.imputer, "order": curve.order}
            self.curves.append(pd.DataFrame(columns).assign(model=self.block.model, **names))

    def keep_agreement(self, ids: tuple[str, ...], found: Mapping[tuple[str, str], Mapping[str, Tensor]]) -> None:
        """Keeps how far every two methods agree on every image; NaN where a map is none."""
        for (first, second), measures in found.items():
            for measure, values in measures.items():
                columns = {"image": list(ids), "value": values.cpu().double().numpy()}
                names: dict[str, Any] = {"first": first, "second": second, "measure": measure}
                self.agreement.append(pd.DataFrame(columns).assign(model=self.block.model, **names))

    def _frame(self, explainer: str, metric: str, ids: tuple[str, ...]) -> pd.DataFrame:
        names = {"model": self.block.model, "explainer": explainer, "metric": metric}
        return pd.DataFrame({"image": list(ids)}).assign(**names)

    def _lose(self, scope: Scope, reason: str) -> None:
        lost: dict[str, Any] = {
            "value": np.nan,
            "status": "error",
            "reason": reason,
            "forwards": 0.0,
            "backwards": 0.0,
            "seconds": 0.0,
        }
        for explainer in scope.explainers:
            for metric in self.line.metrics:
                concerned = scope.metrics is None or metric.name in scope.metrics
                if concerned and self.wants(explainer, metric):
                    self.rows.append(self._frame(explainer, metric.name, scope.ids).assign(**lost))
                    self._lost.add((explainer, metric.name))

    def _note(self, scope: Scope, error: Exception) -> None:
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
            "message": str(error),
            "traceback": "".join(traceback.format_exception(error)),
        }
        self.failures.setdefault(key, fresh)["images"] += len(scope.ids)


def constant(value: float, like: tuple[str, ...]) -> Tensor:
    """``(B,)`` of one value, for B ids."""
    return torch.full((len(like),), value)
