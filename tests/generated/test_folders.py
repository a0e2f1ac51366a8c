"""Hostile folders of images: seen as their well-behaved twin is, less what is said to be left out, or refused."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mavis.datasets.fairface import fairface
from mavis.datasets.loading.checked_data import complete_dataset
from mavis.datasets.loading.image_inspection import inspect_images, unreadable_notes

from .hostile_folders import ROWS, TEXTS, N, build_layout
from .refusals import try_to

COUNTS = re.compile(r"left out because .*?: (\d+) of \d+|could not be read and (was) left out|(\d+) more images could")


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The well-behaved folder."""
    images = tmp_path_factory.mktemp("images")
    (images / "val").mkdir()
    stream = np.random.default_rng(0)
    for number in range(1, N + 1):
        Image.fromarray(stream.integers(0, 256, (18, 18, 3), dtype=np.uint8)).save(images / f"val/{number}.png")
    folder = images / "twin"
    build_layout(folder, images, {}, "plain")
    return folder


def look_at(root: Path) -> tuple[list[tuple[str, str, str, int, bytes]], int]:
    """Every readable image with its groups, its label and its pixels, and the number of those said to be left out."""
    data = complete_dataset(fairface(root, target="gender", size=16))
    table = data.table()
    look = inspect_images(data, list(table.index))
    items = []
    for name in look.hashes:
        batch, row = data.load([name]), table.loc[name]
        pixels = batch.images.numpy().tobytes()
        items.append((row["race"], row["gender"], row["age"], int(batch.labels[0]), pixels))
    notes = [*data.notes, *unreadable_notes(look.unreadable)]
    counts = [next(filter(None, counts), "0") for note in notes for counts in COUNTS.findall(note)]
    return items, sum(1 if count == "was" else int(count) for count in counts)


folders = itertools.count()
row_edits = st.lists(
    st.tuples(st.integers(0, N - 1), st.sampled_from(list(ROWS))),
    max_size=3,
    unique_by=(lambda pair: pair[0], lambda pair: pair[1]),
)


@given(row_edits=row_edits.map(dict), text_edit=st.sampled_from(list(TEXTS)))
def test_a_folder_is_read_as_meant_or_refused(twin: Path, row_edits: dict[int, str], text_edit: str) -> None:
    root = twin.parent / f"case{next(folders)}"
    layout = build_layout(root, twin, row_edits, text_edit)
    expected, _ = look_at(twin)
    sight, refusal = try_to(lambda: look_at(root))
    if sight is None:
        assert layout.outcomes & {"refused", "either"}, refusal
        return
    items, n_left_out = sight
    assert "refused" not in layout.outcomes
    assert items == [item for number, item in enumerate(expected) if number not in layout.left_out]
    assert n_left_out == len(layout.left_out)
