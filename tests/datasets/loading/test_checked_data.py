"""Every data set passes one door: completed, and each member checked when it is asked for."""

import copy
import pickle
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from mavis.core.errors import MAX_LETTERS, DataError, UnreadableImage
from mavis.core.types import Batch, Dataset
from mavis.datasets.loading.checked_data import complete_dataset, readable_ids

from ...memory_data import MemoryData, OldSquares


def test_a_subclass_inherits_the_defaults() -> None:
    """Whatever it sets itself counts."""

    class NewSquares(OldSquares, Dataset):
        identity = "person"

    data = complete_dataset(NewSquares())
    assert (data.notes, data.identity, data.has_parts, data.cues(["a"])) == ((), "person", False, None)


def test_missing_members_get_their_defaults() -> None:
    """The required ones are those of the user's object, bit for bit."""
    old = OldSquares()
    data = complete_dataset(old)
    assert (data.notes, data.identity, data.has_parts, data.cues(["a", "b"])) == ((), None, False, None)
    assert (data.name, data.classes, data.target) == (old.name, old.classes, old.target)
    assert data.table().equals(old.table())
    assert data.load(["b"]).images.equal(old.load(["b"]).images)
    assert complete_dataset(data) is data


def test_members_that_are_there_are_kept() -> None:
    """Also those that `Dataset` does not know."""

    class Noted(OldSquares):
        notes = ("one row left out",)
        size = 32

        def cues(self, ids: Sequence[str]) -> list[int]:
            return [-1] * len(ids)

    data = complete_dataset(Noted())
    assert (data.notes, data.cues(["a", "b"]), data.size, data.identity) == (("one row left out",), [-1, -1], 32, None)


def test_parts_that_are_not_declared_are_seen_in_the_first_image() -> None:
    """An older data set with face parts says nothing of them outside its batches."""
    old = OldSquares()
    old.parts = torch.zeros(1, 32, 32, dtype=torch.uint8)
    assert complete_dataset(old).has_parts


def test_the_data_set_that_was_handed_over_is_known() -> None:
    """Its class says whose code reads the images."""
    data = OldSquares()
    assert complete_dataset(data).wrapped is data


@pytest.mark.parametrize("thing", [SimpleNamespace(name="x"), [1, 2], pd.DataFrame({"label": [0]}), None, 3])
def test_what_is_no_data_set_is_refused(thing: Any) -> None:
    """The line names what is missing."""
    with pytest.raises(DataError, match=r"the members of mavis.Dataset; this \w+ has no .*revision\(\)"):
        complete_dataset(thing)


def test_a_completed_data_set_can_be_copied_and_pickled() -> None:
    """As a run that is sent to another process does."""
    data = complete_dataset(OldSquares())
    for other in (copy.deepcopy(data), copy.copy(data), pickle.loads(pickle.dumps(data))):
        assert other.notes == ()
        assert other.table().equals(data.table())


DECLARATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "classes as a text": ({"classes": "ab"}, "classes must be a tuple of names"),
    "classes as numbers": ({"classes": (0, 1)}, r"got 0; write tuple\(map\(str, classes\)\)"),
    "a class twice": ({"classes": ("dark", "dark")}, "'dark' occurs more than once"),
    "a class without a name": ({"classes": ("", "bright")}, "a class has no name"),
    "no class": ({"classes": ()}, "classes must be a tuple of names"),
    "attributes as a list": ({"attributes": ["side"]}, "attributes must be a mapping"),
    "a star in an attribute": ({"attributes": {"a*b": ("x",)}}, "without \\*, which marks intersections"),
    "groups as a text": ({"attributes": {"side": "ab"}}, "groups of 'side' must be a tuple"),
}


@pytest.mark.parametrize("case", DECLARATIONS)
def test_other_declarations_are_refused(case: str) -> None:
    """When the data set is opened."""
    members, said = DECLARATIONS[case]
    with pytest.raises(DataError, match=said):
        complete_dataset(MemoryData(**members))


ANSWERS: dict[str, tuple[dict[str, Any], str, str]] = {
    "unreadable as a list": ({"unreadable": lambda ids: []}, "unreadable", "must return a mapping"),
    "unreadable as None": ({"unreadable": lambda ids: None}, "unreadable", "must return a mapping"),
    "revision as a number": ({"revision": lambda ids: 1}, "revision", "must return a text"),
    "no revision": ({"revision": lambda ids: ""}, "revision", "must return a text"),
    "a table that fails": ({"labels": [0, 1, 0]}, "table", r"table\(\) failed: ValueError"),
    "a revision that fails": ({"revision": lambda ids: 1 / 0}, "revision", r"revision\(\) failed: ZeroDivisionError"),
    "cues for others": ({"cues": lambda ids: [0, 1]}, "cues", "one whole number per id, from -1 to 1, got 2 for 1"),
    "cues as texts": ({"cues": lambda ids: ["a"]}, "cues", r"cues\(\) failed: ValueError"),
    "a revision that is no Unicode": ({"revision": lambda ids: "\udc80"}, "revision", "no Unicode text"),
    "cues of no class": ({"cues": lambda ids: [7]}, "cues", "one whole number per id"),
    "images from 0 to 255": ({"pixels": torch.rand(16, 3, 32, 32) * 255}, "load", "write images / 255"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_other_answers_are_refused(case: str) -> None:
    """When they are asked for."""
    members, method, said = ANSWERS[case]
    data = complete_dataset(MemoryData(**members))
    with pytest.raises(DataError, match=said):
        getattr(data, method)(*([["i000"]] if method != "table" else []))


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    """Neither an image nor the mean."""

    class Lazy(MemoryData):
        @property
        def mean(self) -> Tensor:
            raise AssertionError

        @mean.setter
        def mean(self, value: Tensor) -> None:
            pass

        def load(self, ids: Sequence[str]) -> Batch:
            raise AssertionError

    data = complete_dataset(Lazy())
    assert len(data.table()) == 16


def test_every_batch_is_looked_at() -> None:
    """Not only the first."""
    old = MemoryData()
    old.pixels[9] *= 255
    data = complete_dataset(old)
    data.load(["i000", "i001"])
    with pytest.raises(DataError, match="write images / 255"):
        data.load(["i008", "i009"])


CHANGES: dict[str, Any] = {
    "mirrored at random": lambda batch, n: replace(batch, images=batch.images.flip(-1) if n else batch.images),
    "noise": lambda batch, n: replace(batch, images=(batch.images + n * 0.05).clamp(0, 1)),
    "scaled by the batch": lambda batch, n: replace(batch, images=batch.images / batch.images.amax()),
    "in another order": lambda batch, n: replace(batch, images=batch.images.flip(0) if n else batch.images),
}


@pytest.mark.parametrize("case", CHANGES)
def test_an_image_that_changes_is_refused(case: str) -> None:
    """From one time to the next, or with the images beside it."""

    class Changing(MemoryData):
        n = -1

        def load(self, ids: Sequence[str]) -> Batch:
            self.n += 1
            return CHANGES[case](super().load(ids), self.n)

    data = complete_dataset(Changing())
    data.load(["i000", "i002"])
    with pytest.raises(DataError, match="must give the same image each time and in any batch, but 'i000' changed"):
        data.load(["i000", "i003"])


def test_images_of_two_sizes_are_refused() -> None:
    """Even where each batch has one."""

    class Mixed(MemoryData):
        def load(self, ids: Sequence[str]) -> Batch:
            batch = super().load(ids)
            return replace(batch, images=batch.images[:, :, :16, :16]) if "i003" in ids else batch

    data = complete_dataset(Mixed())
    data.load(["i000"])
    with pytest.raises(DataError, match=r"one size, got \(32, 32\) before and \(16, 16\) now"):
        data.load(["i003"])


def test_what_load_raises_is_one_line() -> None:
    """With the exception's own words; out of memory is passed on."""
    with pytest.raises(UnreadableImage, match=r"'memory': load\(\) failed: OSError: image file is truncated"):
        complete_dataset(MemoryData(broken={"i000"})).load(["i000"])

    def too_large(ids: Sequence[str]) -> Batch:
        raise MemoryError

    with pytest.raises(MemoryError):
        complete_dataset(MemoryData(load=too_large)).load(["i000"])


class UnshownError(ValueError):
    """An exception without a text."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SystemExit(0), r"table\(\) failed: SystemExit: 0"),
        (UnshownError(), r"table\(\) failed: UnshownError"),
        (ValueError("a\nb"), r"table\(\) failed: ValueError: a b"),
        (DataError(""), r"table\(\) failed: DataError$"),
        (NotImplementedError("x " * 5000), r"table\(\) failed: .*…$"),
    ],
)
def test_whatever_a_member_raises_is_one_line(error: BaseException, said: str) -> None:
    """An exit does not end the run in silence."""

    def table() -> pd.DataFrame:
        raise error

    with pytest.raises(DataError, match=said) as caught:
        complete_dataset(MemoryData(table=table)).table()
    assert len(str(caught.value)) < MAX_LETTERS + 100


@pytest.mark.parametrize("member", ["name", "target", "provenance", "classes", "attributes"])
def test_a_member_that_fails_when_it_is_read_is_one_line(member: str) -> None:
    """Also before the data set has a name."""

    class Lazy(MemoryData):
        def __getattribute__(self, name: str) -> Any:
            return 1 / 0 if name == member else super().__getattribute__(name)

    with pytest.raises(DataError, match=f"'Lazy|memory': {member} failed: ZeroDivisionError"):
        complete_dataset(Lazy())


@pytest.mark.parametrize("change", [list.reverse, list.clear])
def test_ids_that_a_data_set_changes_are_its_own(change: Any) -> None:
    """Those that were asked for stay as they are."""

    class Changing(MemoryData):
        def load(self, ids: Sequence[str]) -> Batch:
            batch = super().load(ids)
            change(ids)
            return batch

    ids = ["i001", "i000"]
    assert complete_dataset(Changing()).load(ids).ids == ("i001", "i000")
    assert ids == ["i001", "i000"]


def test_a_batch_outlives_the_next_one() -> None:
    """Of a data set that loads into one buffer."""

    class Buffered(MemoryData):
        buffer = torch.zeros(1, 3, 32, 32)

        def load(self, ids: Sequence[str]) -> Batch:
            batch = super().load(ids)
            return replace(batch, images=self.buffer.copy_(batch.images))

    data = complete_dataset(Buffered())
    first = data.load(["i000"])
    data.load(["i001"])
    assert first.images.equal(MemoryData().load(["i000"]).images)


def test_a_name_in_lines_is_one_line() -> None:
    """In every message."""
    assert complete_dataset(MemoryData(name="a\nb")).name == "a b"


@pytest.mark.parametrize(("notes", "read"), [(None, ()), ("one", ("one",)), (["a", 1], ("a", "1"))])
def test_notes_are_texts(notes: Any, read: tuple[str, ...]) -> None:
    """None of them, one, or several; anything else is refused."""
    assert complete_dataset(MemoryData(notes=notes)).notes == read
    with pytest.raises(DataError, match="notes failed: TypeError"):
        _ = complete_dataset(MemoryData(notes=3)).notes


def test_the_first_readable_image_stands_for_the_data() -> None:
    """Whichever is broken, the first one too; parts are looked for there."""
    data = complete_dataset(MemoryData(broken={"i000"}, unreadable=lambda ids: {i: "cut" for i in ids if i == "i000"}))
    assert readable_ids(data, 2) == ["i001", "i002"]
    assert not data.has_parts
    assert readable_ids(complete_dataset(MemoryData(broken={"i000", "i002"})), 2) == ["i001", "i003"]
    with pytest.raises(DataError, match="None of the 16 images of 'memory' can be read; the first is i000: cut"):
        readable_ids(complete_dataset(MemoryData(unreadable=lambda ids: dict.fromkeys(ids, "cut"))), 1)


def test_values_that_have_one_meaning_are_converted() -> None:
    """Lists of classes and groups, numbers as groups, a mean as a list, one note."""
    members = {"classes": ["dark", "bright"], "attributes": {"side": [1, 2]}, "mean": [0.5, 0.5, 0.5], "notes": "one"}
    data = complete_dataset(MemoryData(**members))
    assert (data.classes, data.attributes, data.notes) == (("dark", "bright"), {"side": ("1", "2")}, ("one",))
    assert data.mean.equal(torch.full((3,), 0.5))


def test_hashes_are_those_of_the_pixels() -> None:
    """Equal for equal images, of a data set that says nothing of its content."""
    old = MemoryData()
    old.pixels[3] = old.pixels[1]
    hashes = complete_dataset(old).content_hashes(["i001", "i002", "i003"])
    assert hashes[0] == hashes[2] != hashes[1]
