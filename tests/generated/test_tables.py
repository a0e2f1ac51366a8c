"""Hostile data sets: seen as their well-behaved twins are, or refused in a line."""

import io
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mavis.datasets.loading.checked_data import complete_dataset
from mavis.engine.sample import draw_sample, load_reference, prediction_table
from mavis.models.loading.open import open_models
from mavis.protocol import loading
from mavis.protocol.loading import with_overrides

from ..memory_data import MeanShade, MemoryData
from .hostile_batches import OF_IMAGES
from .hostile_tables import TABLES, Edit, N
from .refusals import try_to

EDITS = {(kind, name): edit for kind, edits in {**TABLES, **OF_IMAGES}.items() for name, edit in edits.items()}
RULES = with_overrides(loading.load_protocol("quick"), data__groups=["side"], data__max_unreadable=0.2)


@dataclass(frozen=True)
class Sight:
    """What a run sees of a data set: every value that comes into its tables, and every pixel."""

    ids: tuple[str, ...]
    table: dict[str, list[Any]]
    mean: list[float]
    n_left_out: int
    pixels: torch.Tensor
    reference: torch.Tensor


@pytest.fixture(scope="module")
def model() -> Any:
    return open_models([MeanShade()], torch.device("cpu"), MemoryData(N), target=None, split=None)[0]["MeanShade"][0]


def look_at(data: MemoryData, model: Any) -> Sight:
    """What a run does with a data set before it explains anything; batches are held while others are loaded."""
    checked = complete_dataset(data)
    checked.has_parts, checked.identity  # noqa: B018 (asked for, as a run does)
    sample = draw_sample(checked, RULES, None)
    reference = load_reference(checked, sample.reference_ids, torch.device("cpu"))
    held = [checked.load(sample.ids[start : start + 5]) for start in range(0, len(sample.ids), 5)]
    file = io.BytesIO()
    prediction_table(model, sample, 5).to_parquet(file, index=False)
    return Sight(
        ids=sample.ids,
        table=pd.read_parquet(file).to_dict("list"),
        mean=checked.mean.tolist(),
        n_left_out=sum(note.count("left out") for note in sample.notes),
        pixels=torch.cat([batch.images for batch in held]),
        reference=reference.images,
    )


def assert_equal(first: Sight, second: Sight) -> None:
    """Value for value and bit for bit."""
    for name, value in vars(first).items():
        other = getattr(second, name)
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other, name


def judge(edits: list[Edit], model: Any) -> None:
    """The property: as the twin, or one line; and no more than the edits allow."""
    hostile, twin = MemoryData(N), MemoryData(N)
    for edit in edits:  # those of members first: some of them keep what the table says now
        edit.change(hostile)
        edit.twin(twin)
    outcomes = {edit.outcome for edit in edits}
    sight, refusal = try_to(lambda: look_at(hostile, model))
    if sight is None:
        assert outcomes != {"same"}, refusal
    else:
        assert "refused" not in outcomes
        assert_equal(sight, look_at(twin, model))


@given(name=st.sampled_from(list(EDITS)))
def test_each_edit_alone_is_seen_as_meant_or_refused(model: Any, name: tuple[str, str]) -> None:
    judge([EDITS[name]], model)


@given(names=st.lists(st.sampled_from(list(EDITS)), min_size=1, max_size=3, unique_by=lambda name: name[0]))
def test_edits_together_are_seen_as_meant_or_refused(model: Any, names: list[tuple[str, str]]) -> None:
    judge([EDITS[name] for name in sorted(names, key=lambda name: name[0] in TABLES)], model)
