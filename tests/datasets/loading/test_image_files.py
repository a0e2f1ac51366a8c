"""Image files become the tensors they should, and broken ones say why."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mavis.core.errors import DataError
from mavis.datasets.loading import image_files
from mavis.datasets.loading.image_files import LabelledImages

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def _save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def _noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _colour(path: Path) -> tuple[int, ...]:
    """The one colour of an image without structure, in 0..255."""
    pixels = image_files.read_image(path, 16)
    assert pixels.amax((1, 2)).equal(pixels.amin((1, 2)))
    return tuple((pixels[:, 0, 0] * 255).round().int().tolist())


def test_pixels_at_their_own_size_are_untouched(tmp_path: Path) -> None:
    """An image of the size asked for comes back exactly, as float32 in [0,1]."""
    pixels = _noise(32, 32)
    read = image_files.read_image(_save(tmp_path / "a.png", pixels), 32)
    assert read.dtype == torch.float32
    np.testing.assert_array_equal(read.numpy(), np.moveaxis(pixels, 2, 0).astype(np.float32) / 255)


def test_shrinking_averages(tmp_path: Path) -> None:
    """Resizing is antialiased and bilinear: it agrees with Pillow's own filter within one of 256 levels."""
    path = _save(tmp_path / "a.png", _noise(96, 96))
    own = np.asarray(Image.open(path).resize((32, 32), Image.Resampling.BILINEAR), dtype=np.float32) / 255
    np.testing.assert_allclose(image_files.read_image(path, 32).numpy(), np.moveaxis(own, 2, 0), atol=1.01 / 255)


@pytest.mark.parametrize("shape", [(32, 64), (64, 32), (32, 65)])
def test_the_centre_square_is_kept(tmp_path: Path, shape: tuple[int, int]) -> None:
    """A longer side loses both its ends; the shape is never squeezed."""
    pixels = _noise(*shape)
    top, left = (shape[0] - 32) // 2, (shape[1] - 32) // 2
    read = image_files.read_image(_save(tmp_path / "a.png", pixels), 32)
    expected = np.moveaxis(pixels[top : top + 32, left : left + 32], 2, 0).astype(np.float32) / 255
    np.testing.assert_array_equal(read.numpy(), expected)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    """Orientation 6 (turn by 90 degrees clockwise) brings the left column to the top row."""
    pixels = np.zeros((32, 32, 3), dtype=np.uint8)
    pixels[:, :16] = RED
    pixels[:, 16:] = BLUE
    exif = Image.Exif()
    exif[0x0112] = 6
    read = image_files.read_image(_save(tmp_path / "a.png", pixels, exif=exif), 32)
    assert read[:, 0, :].T.eq(torch.tensor([1.0, 0, 0])).all()
    assert read[:, -1, :].T.eq(torch.tensor([0, 0, 1.0])).all()


def test_what_pillow_remarks_is_no_reason_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the user made warnings errors too."""
    real = Image.open

    def remark(file: object) -> Image.Image:
        warnings.warn("Corrupt EXIF data", stacklevel=1)
        return real(file)

    path = _save(tmp_path / "a.png", _noise(32, 32))
    monkeypatch.setattr(Image, "open", remark)
    assert image_files.decoding_error(path) is None


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_files_are_turned_as_png_files_are(tmp_path: Path, mode: str, orientation: int) -> None:
    """Also raw pixels that Pillow can map into memory."""
    picture = Image.fromarray(_noise(32, 48)).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.tif", exif=exif)
    picture.convert("RGB").save(tmp_path / "a.png", exif=exif)
    read = [image_files.read_image(tmp_path / name, 32) for name in ("a.tif", "a.png")]
    assert read[0].equal(read[1])


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "RGBA"])
def test_every_8_bit_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    """Grey, palette, two-level, CMYK and RGBA files of white read as white."""
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new("RGB", (20, 20), "white").convert(mode).save(path)
    assert _colour(path) == (255, 255, 255)


def test_grey_fills_three_channels(tmp_path: Path) -> None:
    """A grey level is the same number in all three channels."""
    Image.new("L", (20, 20), 77).save(tmp_path / "a.png")
    assert _colour(tmp_path / "a.png") == (77, 77, 77)


def test_transparency_shows_white(tmp_path: Path) -> None:
    """A see-through pixel is white, a half see-through one lies half way, whatever colour hides under it."""
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("RGBA", (20, 20), (0, 0, 0, 128)).save(tmp_path / "half.png")
    assert _colour(tmp_path / "clear.png") == (255, 255, 255)
    assert _colour(tmp_path / "half.png") == (127, 127, 127)


def test_a_palette_with_transparency_shows_white(tmp_path: Path) -> None:
    """The transparent entry of a palette is white too."""
    image = Image.new("P", (20, 20), 0)
    image.putpalette([*RED, *GREEN])
    image.save(tmp_path / "a.png", transparency=0)
    assert _colour(tmp_path / "a.png") == (255, 255, 255)


def test_the_content_counts_not_the_ending(tmp_path: Path) -> None:
    """A WebP named .jpg reads like any other image."""
    Image.new("RGB", (20, 20), GREEN).save(tmp_path / "a.jpg", "WEBP", lossless=True)
    assert _colour(tmp_path / "a.jpg") == GREEN


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    """A 16-bit grey image, which Pillow would clip to white, is an error and not a white image."""
    path = _save(tmp_path / "a.png", np.full((20, 20), 30000, dtype=np.uint16))
    with pytest.raises(DataError, match="more than 8 bits"):
        image_files.read_image(path, 16)


def _truncated(path: Path) -> None:
    _save(path, _noise(64, 64), format="JPEG")
    path.write_bytes(path.read_bytes()[:-800])


BROKEN_FILES = {
    "truncated": (_truncated, "truncated"),
    "text": (lambda path: path.write_text("not an image"), "not an image that Pillow knows"),
    "empty": (lambda path: path.write_bytes(b""), "not an image that Pillow knows"),
    "absent": (lambda path: None, "No such file"),
    "folder": (lambda path: path.mkdir(), "directory"),
}


@pytest.mark.parametrize("kind", BROKEN_FILES)
def test_a_broken_file_is_named_with_its_reason(tmp_path: Path, kind: str) -> None:
    """Reading raises one line with the file and why; `decoding_error` gives the same reason without raising."""
    make, reason = BROKEN_FILES[kind]
    path = tmp_path / "face 1.jpg"
    make(path)
    with pytest.raises(DataError, match=reason) as caught:
        image_files.read_image(path, 16)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(image_files.decoding_error(path)) in str(caught.value)


def test_a_broken_png_is_named(tmp_path: Path) -> None:
    """A PNG whose compressed data were overwritten is a fault, not a crash."""
    path = _save(tmp_path / "a.png", _noise(64, 64))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    path.write_bytes(data)
    assert image_files.decoding_error(path)


def test_a_full_memory_is_no_broken_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Running out of memory while decoding is not blamed on the file."""
    monkeypatch.setattr(image_files, "_upright_rgb", lambda path: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError):
        image_files.decoding_error(tmp_path / "a.png")


def test_a_good_file_has_no_fault(tmp_path: Path) -> None:
    """`decoding_error` is None for a file that decodes."""
    assert image_files.decoding_error(_save(tmp_path / "a.png", _noise(8, 8))) is None


def test_companions_of_macos_are_known_by_their_name() -> None:
    """``._5.jpg`` in any folder is no image; ``.5.jpg`` and ``_5.jpg`` may be."""
    assert image_files.is_companion("val/._5.jpg")
    assert not image_files.is_companion("._folder/5.jpg")
    assert not image_files.is_companion("val/.5.jpg")
    assert not image_files.is_companion("val/_5.jpg")


@pytest.mark.parametrize("size", [0, -64, 15, 1025, 64.0, "64", True, None])
def test_a_size_out_of_range_is_refused(size: object) -> None:
    """Only whole numbers from 16 to 1024 are sizes."""
    with pytest.raises(DataError, match="16 to 1024"):
        image_files.check_size(size)


@pytest.fixture
def palette(tmp_path: Path) -> LabelledImages:
    """Three PNGs of one colour each, labelled by two attributes."""
    for name, colour in {"r": RED, "g": GREEN, "b": BLUE}.items():
        Image.new("RGB", (20, 20), colour).save(tmp_path / f"{name}.png")
    groups = pd.DataFrame(
        {"shade": ["warm", "cold", "cold"], "size": ["big", "big", "small"]},
        index=pd.Index(["r.png", "g.png", "b.png"], name="id"),
    )
    attributes = {"shade": ("cold", "warm"), "size": ("small", "big")}
    return LabelledImages("palette", "shade", attributes, "made up", tmp_path, groups, size=16)


def test_labels_index_the_classes(palette: LabelledImages) -> None:
    """A label is the position of the target's value in `classes`, in the table as in a batch."""
    assert palette.classes == ("cold", "warm")
    assert palette.table()["label"].to_dict() == {"r.png": 1, "g.png": 0, "b.png": 0}
    assert palette.load(["b.png", "r.png"]).labels.tolist() == [0, 1]


def test_images_come_in_the_order_asked_for(palette: LabelledImages) -> None:
    """Pixels, ids and groups of a batch follow the ids, repetitions included."""
    batch = palette.load(["b.png", "r.png", "b.png"])
    assert batch.ids == ("b.png", "r.png", "b.png")
    assert batch.images[:, :, 0, 0].tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1]]
    assert batch.groups == {"shade": ("cold", "warm", "cold"), "size": ("small", "big", "small")}
    assert batch.parts is None
    assert batch.regions is None


def test_no_ids_give_an_empty_batch(palette: LabelledImages) -> None:
    """An empty list of ids is a batch of none, not an error."""
    batch = palette.load([])
    assert batch.images.shape == (0, 3, 16, 16)
    assert batch.groups == {"shade": (), "size": ()}


def test_the_table_is_a_copy(palette: LabelledImages) -> None:
    """Writing into a table does not change the data set."""
    table = palette.table()
    table.loc["r.png", "shade"] = "cold"
    assert palette.table().loc["r.png", "shade"] == "warm"


@pytest.mark.parametrize("ask", ["load", "unreadable", "revision"])
def test_an_unknown_id_is_named(palette: LabelledImages, ask: str) -> None:
    """Every question about an id that is not there names it."""
    with pytest.raises(DataError, match=r"no image 'x\.png'"):
        getattr(palette, ask)(["r.png", "x.png"])


def test_the_mean_is_that_of_the_first_by_hash(palette: LabelledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean colour is taken over a fixed choice, which hashes make and no order of rows changes."""
    assert palette.mean.tolist() == pytest.approx([1 / 3] * 3)
    first, second, _ = sorted(palette.groups.index, key=image_files.digest)
    monkeypatch.setattr(image_files, "N_MEAN_IMAGES", 2)
    turned = LabelledImages(
        "palette", "shade", palette.attributes, "made up", palette.root, palette.groups.iloc[::-1], size=16
    )
    left_out = "rgb".index(({"r.png", "g.png", "b.png"} - {first, second}).pop()[0])
    assert turned.mean.dtype == torch.float32
    assert turned.mean.tolist() == [0.0 if channel == left_out else 0.5 for channel in range(3)]


def test_the_mean_passes_over_broken_files(palette: LabelledImages) -> None:
    """An unreadable image takes no part in the mean colour."""
    (palette.root / "r.png").write_text("broken")
    assert palette.mean.tolist() == [0, 0.5, 0.5]


def test_no_readable_image_has_no_mean(palette: LabelledImages) -> None:
    """A data set of broken files alone says so when it is asked for its mean."""
    for name in "rgb":
        (palette.root / f"{name}.png").write_text("broken")
    with pytest.raises(DataError, match="none of its 3 images can be read"):
        _ = palette.mean


def test_revision_ignores_order_and_repetition(palette: LabelledImages) -> None:
    """The same images give the same hash however they are listed; other images another."""
    assert palette.revision(["r.png", "g.png"]) == palette.revision(["g.png", "r.png", "g.png"])
    assert palette.revision(["r.png", "g.png"]) != palette.revision(["r.png"])


def test_revision_sees_every_byte_group_size_and_target(palette: LabelledImages) -> None:
    """One byte, one group, the size or the target changed is another revision; the name and other images are not."""
    ids = ["r.png", "b.png"]

    def revision(**changes: object) -> str:
        given = {"name": "palette", "target": "shade", "groups": palette.groups, "size": 16} | changes
        return LabelledImages(attributes=palette.attributes, provenance="", root=palette.root, **given).revision(ids)

    before = revision()
    regrouped = palette.groups.copy()
    regrouped.loc["b.png", "size"] = "big"
    others = palette.groups.copy()
    others.loc["g.png", "size"] = "small"
    assert revision(name="other", groups=others) == before
    assert len({before, revision(groups=regrouped), revision(size=17), revision(target="size")}) == 4
    data = bytearray((palette.root / "r.png").read_bytes())
    data[-1] ^= 1
    (palette.root / "r.png").write_bytes(data)
    assert revision() != before


def test_revision_names_a_file_that_is_gone(palette: LabelledImages) -> None:
    """A file deleted since is an error that names it."""
    (palette.root / "r.png").unlink()
    with pytest.raises(DataError, match=r"r\.png: No such file"):
        palette.revision(["r.png"])


def labelled(root: Path, ids: list[str], shades: list[object]) -> LabelledImages:
    """Image files with one attribute."""
    groups = pd.DataFrame({"shade": shades}, index=pd.Index(ids, name="id"))
    return LabelledImages("mine", "shade", {"shade": ("dark", "bright")}, "made up", root, groups)


@pytest.mark.parametrize("name", ["/etc/hostname", "../1.png", "val/../../1.png", ".."])
def test_ids_that_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    """Nothing outside is read."""
    with pytest.raises(DataError, match="leads out of"):
        labelled(tmp_path, ["val/1.png", name], ["dark", "bright"])


def test_two_ids_of_one_path_are_refused(tmp_path: Path) -> None:
    """However they are spelled."""
    with pytest.raises(DataError, match=r"'val/1\.png' and '\./val/1\.png' are one file"):
        labelled(tmp_path, ["val/1.png", "./val/1.png"], ["dark", "bright"])


@pytest.mark.parametrize("value", ["grey", None, float("nan"), 1])
def test_a_value_that_is_no_class_is_refused(tmp_path: Path, value: object) -> None:
    """The first image that has it is named."""
    with pytest.raises(DataError, match=r"1 images have no known shade; the first is 'b\.png' with"):
        labelled(tmp_path, ["a.png", "b.png"], ["dark", value])


def test_hashes_are_those_of_the_files(tmp_path: Path) -> None:
    """Equal for a copy."""
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    Image.new("RGB", (20, 20), GREEN).save(tmp_path / "c.png")
    hashes = labelled(tmp_path, ["a.png", "b.png", "c.png"], ["dark", "dark", "bright"]).content_hashes(
        ["a.png", "b.png", "c.png"]
    )
    assert hashes[0] == hashes[1] != hashes[2]


def test_an_attribute_called_label_is_the_label(tmp_path: Path) -> None:
    """The table keeps the codes under that name."""
    groups = pd.DataFrame({"label": ["bright", "dark"]}, index=pd.Index(["a.png", "b.png"], name="id"))
    data = LabelledImages("mine", "label", {"label": ("dark", "bright")}, "made up", tmp_path, groups)
    assert data.table()["label"].tolist() == [1, 0]
