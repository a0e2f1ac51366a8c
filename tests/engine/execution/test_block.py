"""A block's loops: scores per kind of metric, what a sweep alone would cost, and a batch that is halved."""

from dataclasses import replace

import pytest
import torch

from mavis.core.metric_types import Curve, SweepMetric
from mavis.core.registry import metrics
from mavis.engine.execution import block
from mavis.engine.execution.explain import ModelTask
from mavis.engine.execution.records import OutOfMemoryError
from mavis.engine.planning.plan import Block, Cell, Component, Components

from ...toys import GREY, Pooled, StoredBatch, make_batch, make_explainer, make_model, random_images


def task_and_block(names: tuple[str, ...], *, n_images: int = 6) -> tuple[ModelTask, Block]:
    """Saliency on a small network, with metrics by name."""
    batch = make_batch(random_images(n_images, 8))
    measured = tuple(Component(n, {}, metrics[n].traits, metrics[n].create({})) for n in names)
    components = Components((make_explainer("saliency"),), measured)
    targets = dict.fromkeys(batch.ids, 0)
    task = ModelTask(make_model(Pooled()), StoredBatch(batch), components, targets, GREY, seed=0, grid=4, chunk=4)  # type: ignore[arg-type]
    cells = tuple(Cell(n, "saliency", n, None) for n in names)
    return task, Block("block", "net", batch.ids, cells, has_variants=False)


def test_every_image_has_a_row_per_metric() -> None:
    """Map, sweep, probe and cost metrics; batches of four and two images make one table."""
    names = ("gini", "deletion", "single_deletion", "forwards")
    result = block.run_block(*task_and_block(names))
    assert result.scores.groupby("metric")["image"].nunique().to_dict() == dict.fromkeys(names, 6)
    assert set(result.scores["status"]) == {"ok"}
    assert not result.log.failures


def test_a_batch_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four images do not fit, two do: the scores are those of a batch of two, and the log says so."""
    task, shard = task_and_block(("gini", "deletion"))
    expected = block.run_block(replace(task, chunk=2), shard).scores
    run_batch = block._BlockRunner._run_batch

    def limited(self: block._BlockRunner, image_ids: tuple[str, ...]) -> None:
        if len(image_ids) > 2:
            raise OutOfMemoryError
        run_batch(self, image_ids)

    monkeypatch.setattr(block._BlockRunner, "_run_batch", limited)
    result = block.run_block(task, shard)
    assert result.log.chunk == 2
    assert result.scores["value"].tolist() == expected["value"].tolist()


def test_one_image_that_does_not_fit_ends_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing left to halve."""

    def fails(*_: object) -> None:
        raise OutOfMemoryError

    monkeypatch.setattr(block._BlockRunner, "_run_batch", fails)
    with pytest.raises(OutOfMemoryError):
        block.run_block(*task_and_block(("gini",)))


def test_a_sweep_alone_costs_its_inner_points_and_ends() -> None:
    """Deletion with eleven fractions: the whole image, one empty image and nine points between, per image."""
    fractions = tuple(f / 10 for f in range(11))
    metric = SweepMetric((Curve(imputer="mean", order="mif", fractions=fractions),), lambda values: torch.zeros(2))

    class Order:
        def n_samples(self, curves: object) -> torch.Tensor:
            return torch.full((2,), 9.0)

    cost = block._forwards_alone(metric, dict.fromkeys(metric.curves, Order()), ("a", "b"))  # type: ignore[arg-type]
    assert cost.tolist() == [11, 11]
