"""The first look at the images of a run: those that cannot be loaded, and equal ones under several ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from mavis.core.errors import DataError, UnreadableImage
from mavis.core.types import Dataset

CHUNK = 32
"""Images that are looked at together."""

MAX_NAMES = 3
"""Images that a note names; of more it gives the number."""


@dataclass(frozen=True)
class Inspection:
    """The result of a look at images.

    Attributes:
        unreadable: the ids that cannot be loaded, each with its reason.
        hashes: the content hash of each of the others.
    """

    unreadable: Mapping[str, str]
    hashes: Mapping[str, str]


def inspect_images(data: Dataset, ids: Sequence[str]) -> Inspection:
    """Looks at every image: by the data set's own word, and by what its content hashes touch.

    An image that raises there costs itself alone.

    Raises:
        DataError: a batch is not as `mavis.core.types.Batch` promises.
    """
    unreadable = dict(data.unreadable(ids))
    readable = [name for name in ids if name not in unreadable]
    hashes: dict[str, str] = {}
    for start in range(0, len(readable), CHUNK):
        chunk = readable[start : start + CHUNK]
        try:
            hashes |= _hashes(data, chunk)
        except UnreadableImage:
            for name in chunk:
                try:
                    hashes |= _hashes(data, [name])
                except UnreadableImage as error:
                    unreadable[name] = str(error)
    return Inspection(unreadable, hashes)


def unreadable_notes(unreadable: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence each on the first images that were left out, and the number of the others."""
    names = list(unreadable)
    notes = [f"{name} could not be read and was left out: {unreadable[name]}" for name in names[:MAX_NAMES]]
    more = len(names) - MAX_NAMES
    return (*notes, *([f"{more} more images could not be read and were left out."] if more > 0 else ()))


def equal_image_notes(hashes: Mapping[str, str], labels: pd.Series, classes: Sequence[str]) -> tuple[str, ...]:
    """A sentence on equal images under several ids, where there are some.

    Args:
        hashes: content hash per id.
        labels: label code per id.
        classes: their names.

    Raises:
        DataError: two equal images have different labels.
    """
    first_id: dict[str, str] = {}
    repeated = []
    for name, content in hashes.items():
        first = first_id.setdefault(content, name)
        if first == name:
            continue
        if labels[first] != labels[name]:
            raise DataError(
                f"'{first}' and '{name}' are the same image, labelled {classes[labels[first]]} and "
                f"{classes[labels[name]]}; leave out one of the two, or both."
            )
        repeated.append(f"{name} equals {first}")
    if not repeated:
        return ()
    more = f" and {len(repeated) - MAX_NAMES} more" if len(repeated) > MAX_NAMES else ""
    names = f"{', '.join(repeated[:MAX_NAMES])}{more}"
    return (f"{len(repeated)} of {len(hashes)} images equal another one, and count as independent: {names}.",)


def _hashes(data: Dataset, ids: Sequence[str]) -> dict[str, str]:
    return dict(zip(ids, data.content_hashes(ids), strict=True))
