"""Four squares as parts: their levels, their codes, and what drawing one anew changes."""

import pytest
import torch

from mavis.core.errors import DataError, UnknownName
from mavis.core.registry import datasets
from mavis.core.types import PART_CODES

SIDE = 32


def made(**options: object) -> object:
    return datasets["planted_parts"].create({"size": SIDE, "count": 8, **options})


def batch(**options: object) -> object:
    data = made(**options)
    return data.load(list(data.table().index))


def level(images: torch.Tensor, parts: torch.Tensor, part: str) -> torch.Tensor:
    """Mean brightness of a part."""
    mask = parts == PART_CODES[part]
    return (images.mean(1) * mask).sum((1, 2)) / mask.sum((1, 2))


def test_parts_carry_the_shade() -> None:
    """Eyes, nose and mouth are bright where the label is 0, dark where it is 1; each is a sixteenth of the image."""
    found = batch()
    for part in ("eyes", "nose", "mouth"):
        assert ((level(found.images, found.parts, part) > 0.6) == (found.labels == 0)).all()
        assert ((found.parts == PART_CODES[part]).sum((1, 2)) == SIDE**2 // 16).all()


def test_a_side_is_bright() -> None:
    """The parts of the label's side are bright, the others dark; that side is the region."""
    found = batch(target="side")
    for part, side in (("eyes", 0), ("mouth", 0), ("nose", 1), ("ears", 1)):
        assert ((level(found.images, found.parts, part) > 0.6) == (found.labels == side)).all()
    assert (found.regions[:, :, : SIDE // 2].any((1, 2)) == (found.labels == 0)).all()


def test_a_redraw_changes_one_part() -> None:
    """Another draw of the nose moves the nose alone; a part that is not there changes nothing."""
    found = batch()
    outside = (found.parts != PART_CODES["nose"])[:, None]
    again = found.rerender("nose", 0)
    assert (again * outside).equal(found.images * outside)
    assert (level(again, found.parts, "nose") - level(found.images, found.parts, "nose")).abs().min() > 1e-4
    assert not again.equal(found.rerender("nose", 1))
    assert found.rerender("hair", 0).equal(found.images)


def test_an_image_is_its_own() -> None:
    """Alone, among others and redrawn, an image is the same."""
    data = made()
    ids = list(data.table().index)
    whole, alone = data.load(ids), data.load(ids[3:4])
    assert whole.images[3:4].equal(alone.images)
    assert whole.rerender("eyes", 2)[3:4].equal(alone.rerender("eyes", 2))


@pytest.mark.parametrize(
    ("options", "error"),
    [({"target": "hue"}, UnknownName), ({"reads": ["hair"]}, UnknownName), ({"size": 40}, DataError)],
)
def test_options_are_checked(options: dict[str, object], error: type[Exception]) -> None:
    """An unknown target or part, or a size that does not fit the cells, is named."""
    with pytest.raises(error):
        made(**options)
