"""Rows, failures and kept maps of a block: an exception costs the cells of its scope and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mavis.core.compute import Cost
from mavis.core.errors import ContractError
from mavis.core.metric_types import MapMetric, VariantMetric
from mavis.core.registry import metrics
from mavis.engine.execution.records import BlockRecords, FailureScope, OutOfMemoryError
from mavis.engine.planning.plan import Block, Cell, Component, Components

from ...toys import make_explainer

IDS = ("a", "b")


def metric(name: str) -> Component:
    return Component(name, {}, metrics[name].traits, metrics[name].create({}))


def records(*, has_variants: bool = False, skipped: str | None = None) -> BlockRecords:
    """Records of two explainers and two metrics, one of which needs variants."""
    explainers = tuple(make_explainer(name) for name in ("saliency", "sobel"))
    measured = (metric("gini"), metric("avg_sensitivity"))
    cells = tuple(
        Cell(f"{e.name} {m.name}", e.name, m.name, "left out" if e.name == skipped else None)
        for e in explainers
        for m in measured
    )
    return BlockRecords(Block("block", "net", IDS, cells, has_variants), Components(explainers, measured))


def test_values_that_are_not_finite_have_a_reason() -> None:
    """A number is ok; NaN is undefined, for the reason that the metric declares."""
    block = records()
    block.record("saliency", metric("gini"), IDS, torch.tensor([0.5, torch.nan]), Cost(4, 2))
    table, _, _ = block.frames()
    assert table["status"].tolist() == ["ok", "undefined"]
    assert table["reason"].tolist() == ["", metrics["gini"].traits.undefined]
    assert table["forwards"].tolist() == [2, 2]
    assert table["backwards"].tolist() == [1, 1]


def test_an_exception_costs_the_cells_of_its_scope() -> None:
    """The named metric of the named explainer fails for these images; the other explainer is scored as ever."""
    block = records()
    with block.guard(FailureScope("metric", IDS, ("saliency",), ("gini",))):
        raise ValueError("broken on purpose")
    block.record("saliency", metric("gini"), IDS, torch.ones(2))
    block.record("sobel", metric("gini"), IDS, torch.ones(2))
    table, _, _ = block.frames()
    assert table.groupby("explainer")["status"].unique().map(list).to_dict() == {"saliency": ["error"], "sobel": ["ok"]}
    assert table.loc[table["status"] == "error", "value"].isna().all()
    (failure,) = block.failures.values()
    assert (failure["type"], failure["message"], failure["images"]) == ("ValueError", "broken on purpose", 2)
    assert "test_records" in failure["traceback"]


def test_the_next_batch_is_tried_again() -> None:
    """A cell that failed in one batch is scored in the next; its failure counts the images of both."""
    block, scope = records(), FailureScope("metric", IDS, ("saliency",), ("gini",))
    with block.guard(scope):
        raise ValueError("once")
    assert not block.should_score("saliency", metric("gini"))
    block.start_batch()
    assert block.should_score("saliency", metric("gini"))


def test_full_memory_is_no_failure_of_a_cell() -> None:
    """It ends the block, which begins again with a smaller batch."""
    block = replace(records(), chunk=2)
    with pytest.raises(OutOfMemoryError), block.guard(FailureScope("explain", IDS, ("saliency",))):
        raise RuntimeError("CUDA out of memory")
    assert not block.failures
    assert not block.rows


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), MemoryError(), RuntimeError("not enough memory")])
def test_full_memory_with_one_sample_at_a_time_costs_the_cells(error: Exception) -> None:
    """Nothing is left to halve: the explainer fails, and the others go on."""
    block = replace(records(), chunk=1)
    with block.guard(FailureScope("explain", IDS, ("saliency",))):
        raise error
    assert [failure["type"] for failure in block.failures.values()] == [type(error).__name__]
    assert block.should_score("sobel", metric("gini"))


@pytest.mark.parametrize("values", [np.ones(2), [1.0, 2.0], torch.ones(2) * 1j])
def test_values_of_another_kind_are_refused(values: object) -> None:
    """An array, a list and complex numbers are no scores."""
    with pytest.raises(ContractError, match="A metric must return a tensor of real numbers, got"):
        records().record("saliency", metric("gini"), IDS, values)


def test_variant_metrics_are_scored_where_there_are_variants() -> None:
    """In a block without variants they have no rows."""
    assert isinstance(metric("gini").plugin, MapMetric)
    assert isinstance(metric("avg_sensitivity").plugin, VariantMetric)
    assert not records().should_score("saliency", metric("avg_sensitivity"))
    assert records(has_variants=True).should_score("saliency", metric("avg_sensitivity"))


def test_skipped_explainers_are_not_run() -> None:
    """An explainer all of whose cells are skipped is not among those that are scored."""
    block = records(skipped="sobel")
    assert [part.name for part in block.scored_explainers()] == ["saliency"]
    block.record("sobel", metric("gini"), IDS, torch.ones(2))
    assert not block.rows


def test_values_of_another_shape_are_refused() -> None:
    """The message says what is expected and what came."""
    with pytest.raises(ContractError, match=r"must return \(B,\) = \(2,\), got \(3,\)"):
        records().record("saliency", metric("gini"), IDS, torch.ones(3))


def test_agreement_keeps_a_row_per_image_and_measure() -> None:
    """Pairs, measures and images in full; NaN stays NaN."""
    block = records()
    block.record_agreement(IDS, {("saliency", "sobel"): {"rank": torch.tensor([1.0, torch.nan])}})
    _, _, table = block.frames()
    assert table[["first", "second", "measure"]].drop_duplicates().to_numpy().tolist() == [
        ["saliency", "sobel", "rank"]
    ]
    np.testing.assert_array_equal(table["value"].to_numpy(), [1.0, np.nan])
