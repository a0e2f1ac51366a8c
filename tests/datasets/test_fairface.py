"""FairFace folders as they are met: complete, partial, damaged by spreadsheets, and wrong."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mavis.core.errors import DataError
from mavis.datasets.fairface import fairface

RACES = ("White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern")
AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
HEADER = "file,age,gender,race,service_test"

Write = Callable[..., Path]


@pytest.fixture
def write(fairface_folder: Path) -> Write:
    """Puts another val table into the folder and returns the folder."""

    def put(*lines: str, encoding: str = "utf-8") -> Path:
        (fairface_folder / "fairface_label_val.csv").write_text("\n".join(lines) + "\n", encoding=encoding)
        return fairface_folder

    return put


def test_names_are_the_official_ones_in_their_order(fairface_folder: Path) -> None:
    """Group names and their order are those of the authors' predict.py, present in the folder or not."""
    data = fairface(fairface_folder)
    assert dict(data.attributes) == {"race": RACES, "gender": ("Male", "Female"), "age": AGES}
    assert (data.target, data.classes) == ("race", RACES)
    assert data.name == f"fairface:{fairface_folder}:val"
    assert "perceived" in data.provenance
    assert data.notes == ()


@pytest.mark.parametrize(("target", "labels"), [("race", [0, 0, 1]), ("gender", [0, 1, 0]), ("age", [0, 8, 0])])
def test_every_attribute_can_be_the_target(fairface_folder: Path, target: str, labels: list[int]) -> None:
    """A label is the position of the target's value in the official order."""
    data = fairface(str(fairface_folder), target=target)
    table = data.table()
    assert data.classes == data.attributes[target]
    assert table["label"].tolist()[:3] == labels
    assert list(table.columns) == ["label", "race", "gender", "age"]
    assert table.index.name == "id"


def test_ids_are_the_paths_of_the_table(fairface_folder: Path) -> None:
    """``train/1.jpg`` and ``val/1.jpg`` are two images, each in its split."""
    assert fairface(fairface_folder, split="train").table().index.tolist() == [f"train/{n}.jpg" for n in (1, 2, 3)]
    assert fairface(fairface_folder).table().index.tolist() == [f"val/{n}.jpg" for n in range(1, 15)]


def test_a_batch_holds_the_planted_colours_and_groups(fairface_folder: Path) -> None:
    """Pixels, labels and groups come back as they were written, in the order asked for."""
    batch = fairface(fairface_folder, size=32).load(["val/4.jpg", "val/1.jpg"])
    assert batch.images.shape == (2, 3, 32, 32)
    planted = torch.tensor([[40, 160, 100], [10, 190, 100]]) / 255
    torch.testing.assert_close(batch.images.mean((2, 3)), planted, atol=2 / 255, rtol=0)
    assert batch.labels.tolist() == [1, 0]
    assert batch.groups["race"] == ("Black", "White")
    assert batch.groups["gender"] == ("Female", "Male")
    assert batch.groups["age"] == ("more than 70", "0-2")


def test_the_mean_is_that_of_the_split(fairface_folder: Path) -> None:
    """The mean colour of a split is the mean of its planted colours, and is taken once."""
    data = fairface(fairface_folder)
    planted = torch.tensor([10 * 7.5, 200 - 10 * 7.5, 100]) / 255
    torch.testing.assert_close(data.mean, planted, atol=2 / 255, rtol=0)
    assert data.mean is data.mean


def test_a_truncated_image_is_listed_and_named(fairface_folder: Path) -> None:
    """`unreadable` decodes fully and says why; loading that image names the file."""
    path = fairface_folder / "val" / "2.jpg"
    path.write_bytes(path.read_bytes()[:-20])
    data = fairface(fairface_folder)
    assert len(data.table()) == 14
    faults = data.unreadable(["val/1.jpg", "val/2.jpg"])
    assert list(faults) == ["val/2.jpg"]
    assert "truncated" in faults["val/2.jpg"]
    with pytest.raises(DataError, match=r"2\.jpg.*truncated"):
        data.load(["val/1.jpg", "val/2.jpg"])


DAMAGED = ["9-Mar", "09-Mar", "Mar-9", "Mar-09", "3-Sep", "03-Sep", "Sep-03", "sep-3", "MAR-09"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *((age, "3-9") for age in DAMAGED),
        *((age, "10-19") for age in ("19-Oct", "Oct-19", "10-Oct", "01-Oct")),
        ("70+", "more than 70"),
    ],
)
def test_damaged_ages_are_repaired_and_said(write: Write, written: str, meant: str) -> None:
    """Ages that a spreadsheet took for dates are read as what they were, and the notes say which and how many."""
    data = fairface(write(HEADER, f"val/1.jpg,{written},Male,White,True", "val/2.jpg,20-29,Male,White,True"))
    assert data.table()["age"].tolist() == [meant, "20-29"]
    assert data.notes == (f"Ages repaired in fairface_label_val.csv: '{written}' read as '{meant}' (1).",)


def test_untouched_ages_are_not_repaired(write: Write) -> None:
    """Every official age group is read as written."""
    lines = [f"val/{n}.jpg,{age},Male,White,True" for n, age in enumerate(AGES, start=1)]
    data = fairface(write(HEADER, *lines))
    assert tuple(data.table()["age"]) == AGES
    assert data.notes == ()


@pytest.mark.parametrize("age", ["5-Mar", "19-Sep", "4-Oct", "12-Dec", "2-Jan", "35", "3-9 years", ""])
def test_other_ages_are_not_guessed(write: Write, age: str) -> None:
    """A date or number that is no known damage is an error with the value, its row and what is allowed."""
    with pytest.raises(DataError) as caught:
        fairface(write(HEADER, "val/1.jpg,3-9,Male,White,True", f"val/2.jpg,{age},Male,White,True"))
    message = str(caught.value)
    assert f"line 3 (val/2.jpg): age is '{age or 'nothing'}'" in message
    assert all(known in message for known in AGES)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("val/1.jpg,3-9,Male,Asian,True", "race is 'Asian'"),
        ("val/1.jpg,3-9,male,White,True", "gender is 'male'"),
        ("val/1.jpg,3-9", "race is 'nothing'"),
    ],
)
def test_an_unknown_group_names_value_row_and_choices(write: Write, row: str, said: str) -> None:
    """A value that FairFace does not have is never read as another one."""
    with pytest.raises(DataError, match=rf"line 2 \(val/1\.jpg\): {said}; expected one of"):
        fairface(write(HEADER, row))


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("file_name,age,gender,race,service_test", "val/1.jpg,3-9,Female,East Asian,TRUE"),
        ("file,age,gender,race", "val/1.jpg,3-9,Female,East Asian"),
        ("service_test,race,gender,age,file", "FALSE,East Asian,Female,3-9,val/1.jpg"),
        (" file , age,gender ,race,service_test", " val/1.jpg , 3-9,Female , East Asian ,True"),
        (",file,age,gender,race,service_test", "0,val/1.jpg,3-9,Female,East Asian,True"),
    ],
    ids=["file_name", "no service_test", "other order", "spaces", "pandas index"],
)
def test_headers_of_other_copies_are_read(write: Write, header: str, row: str) -> None:
    """Copies of the table with other columns, orders and spaces give the same row."""
    table = fairface(write(header, row)).table()
    assert table.reset_index().to_numpy().tolist() == [["val/1.jpg", 3, "East Asian", "Female", "3-9"]]


@pytest.mark.parametrize(
    ("header", "row", "name"),
    [
        ("race,file,age,gender,race", "Black,val/1.jpg,3-9,Male,White", "race"),
        ("file,file_name,age,gender,race", "val/1.jpg,val/2.jpg,3-9,Male,White", "file"),
    ],
)
def test_a_column_that_is_there_twice_is_refused(write: Write, header: str, row: str, name: str) -> None:
    """Nobody can say which of the two is meant."""
    with pytest.raises(DataError, match=f"has 2 columns '{name}'; leave one of them"):
        fairface(write(header, row))


def test_a_byte_order_mark_and_blank_lines_are_passed_over(write: Write) -> None:
    """A table saved by a spreadsheet, with BOM and empty rows, reads like any other."""
    root = write(HEADER, "", "val/1.jpg,3-9,Male,White,True", ",,,,", encoding="utf-8-sig")
    assert fairface(root).table().index.tolist() == ["val/1.jpg"]


def test_rows_without_image_are_left_out_and_counted(fairface_folder: Path) -> None:
    """A part of FairFace under its full table holds what is there, and says how much is not."""
    for number in (3, 5, 14):
        (fairface_folder / "val" / f"{number}.jpg").unlink()
    data = fairface(fairface_folder)
    assert len(data.table()) == 11
    assert "val/3.jpg" not in data.table().index
    assert data.notes == ("Rows of fairface_label_val.csv left out because their image is not there: 3 of 14.",)


def test_companions_of_macos_are_no_images(write: Write, fairface_folder: Path) -> None:
    """A ``._1.jpg`` is neither picked up from the folder nor taken from the table."""
    (fairface_folder / "val" / "._1.jpg").write_bytes(b"\0\5\26\7")
    assert len(fairface(fairface_folder).table()) == 14
    data = fairface(write(HEADER, "val/1.jpg,3-9,Male,White,True", "val/._1.jpg,3-9,Male,White,True"))
    assert data.table().index.tolist() == ["val/1.jpg"]


def test_equal_repetitions_are_kept_once(write: Write) -> None:
    """The same row twice, or once damaged and once not, is one image and a note."""
    row = "val/1.jpg,3-9,Male,White,True"
    data = fairface(write(HEADER, row, row, "val/1.jpg,9-Mar,Male,White,False"))
    assert len(data.table()) == 1
    assert data.notes == ("Rows of fairface_label_val.csv left out because they repeat an earlier one: 2.",)


def test_contradicting_repetitions_are_an_error(write: Write) -> None:
    """Two rows that label one file differently are named, both of them."""
    root = write(HEADER, "val/1.jpg,3-9,Male,White,True", "val/1.jpg,3-9,Male,Black,True")
    with pytest.raises(
        DataError, match=r"'val/1\.jpg': White / Male / 3-9 \(line 2\) and Black / Male / 3-9 \(line 3\)"
    ):
        fairface(root)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The message says which folder, and what it should hold."""
    with pytest.raises(DataError, match=r"no folder '.*nowhere'; expected one with fairface_label_val\.csv"):
        fairface(tmp_path / "nowhere")


def test_a_missing_table_says_what_is_there(tmp_path: Path) -> None:
    """The message names the table that was expected, and the files that are there instead."""
    (tmp_path / "archive").mkdir()
    (tmp_path / "labels.csv").touch()
    with pytest.raises(DataError, match=r"has no fairface_label_train\.csv; there is: archive/, labels\.csv\."):
        fairface(tmp_path, split="train")


def test_a_missing_table_in_a_full_folder_lists_the_first(tmp_path: Path) -> None:
    """A folder of thousands of images does not fill the screen."""
    for number in range(20):
        (tmp_path / f"{number:02}.jpg").touch()
    with pytest.raises(DataError, match=r"07\.jpg and 12 more\."):
        fairface(tmp_path)


def test_a_missing_column_is_named_with_its_nearest(write: Write) -> None:
    """The message names the column, the one it may have been, and all that are there."""
    root = write("file,age,sex,race", "val/1.jpg,3-9,Male,White")
    with pytest.raises(DataError, match="no column 'gender'; its columns are: file, age, sex, race"):
        fairface(root)
    root = write("file,age,gender,races", "val/1.jpg,3-9,Male,White")
    with pytest.raises(DataError, match=r"no column 'race' \(did you mean 'races'\?\)"):
        fairface(root)


def test_an_empty_table_says_so(write: Write, fairface_folder: Path) -> None:
    """A table without a header, and one without rows, are two clear errors."""
    with pytest.raises(DataError, match="the table has no rows"):
        fairface(write(HEADER))
    (fairface_folder / "fairface_label_val.csv").write_bytes(b"")
    with pytest.raises(DataError, match="no column 'file'; its columns are: none"):
        fairface(fairface_folder)


def test_a_table_in_another_encoding_says_so(write: Write) -> None:
    """A table that is not UTF-8 is an error, never a wrong letter."""
    with pytest.raises(DataError, match=r"Cannot read .*; expected a comma-separated table in UTF-8"):
        fairface(write(HEADER, "val/é.jpg,3-9,Male,White,True", encoding="latin-1"))


def test_no_image_at_all_is_an_error(fairface_folder: Path) -> None:
    """A table whose every image is missing names the first and where it was looked for."""
    for path in (fairface_folder / "val").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"None of the 14 images .* the first, 'val/1\.jpg', is not in"):
        fairface(fairface_folder)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"target": "rase"}, r"no target 'rase' \(did you mean 'race'\?\); expected race, gender, age"),
        ({"target": "Gender"}, r"no target 'Gender' \(did you mean 'gender'\?\)"),
        ({"split": "validation"}, r"no split 'validation' \(did you mean 'val'\?\); expected train, val"),
        ({"split": "quux"}, r"no split 'quux'; expected train, val"),
        ({"size": 8}, "16 to 1024, got 8"),
    ],
)
def test_a_wrong_option_is_refused_with_the_right_ones(fairface_folder: Path, option: dict, said: str) -> None:
    """Target, split and size are checked before anything is read."""
    with pytest.raises(DataError, match=said):
        fairface(fairface_folder, **option)


def test_revision_follows_labels_and_repairs(write: Write) -> None:
    """Another label is another revision; a damaged spelling of the same one is not."""
    revisions = [
        fairface(write(HEADER, f"val/1.jpg,{age},Male,White,True")).revision(["val/1.jpg"])
        for age in ("3-9", "9-Mar", "10-19")
    ]
    assert revisions[0] == revisions[1]
    assert revisions[0] != revisions[2]


def half_renamed(root: Path, change: Callable[[str], str]) -> Path:
    """Every second row of the folder's val table names its file in another way."""
    path = root / "fairface_label_val.csv"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    cells = [row.split(",") for row in rows]
    renamed = [",".join([change(c[0]) if k % 2 else c[0], *c[1:]]) for k, c in enumerate(cells)]
    path.write_text("\n".join([header, *renamed]) + "\n", encoding="utf-8")
    return root


SPELLINGS: dict[str, Callable[[Path, str], str]] = {
    "./": lambda root, name: f"./{name}",
    "backslash": lambda root, name: name.replace("/", "\\"),
    "up and down": lambda root, name: f"val/../{name}",
    "absolute": lambda root, name: str(root.resolve() / name),
    "slashes": lambda root, name: name.replace("/", "//"),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_a_file_is_found_however_it_is_spelled(fairface_folder: Path, case: str) -> None:
    """With the same ids, and so the same sample, as for the plain names."""
    plain = fairface(fairface_folder).table()
    data = fairface(half_renamed(fairface_folder, lambda name: SPELLINGS[case](fairface_folder, name)))
    assert data.table().equals(plain)
    assert data.notes == ()


def test_normal_forms_of_unicode_are_one_name(write: Write, fairface_folder: Path) -> None:
    """A table from Linux beside files from macOS."""
    (fairface_folder / "val" / "1.jpg").rename(fairface_folder / "val" / unicodedata.normalize("NFD", "é.jpg"))
    data = fairface(write(HEADER, unicodedata.normalize("NFC", "val/é.jpg") + ",3-9,Male,White,True"))
    assert len(data.load(list(data.table().index))) == 1


ONE_FILE = ("val/../val/1.jpg", "./val/1.jpg", "val\\1.jpg", "ABSOLUTE", "val/link.jpg", "val/hard.jpg")


@pytest.mark.parametrize("name", ONE_FILE)
def test_one_file_under_two_names_is_a_repetition(write: Write, fairface_folder: Path, name: str) -> None:
    """Kept once where the rows agree, refused where they do not, as for the plain name."""
    (fairface_folder / "val" / "link.jpg").symlink_to("1.jpg")
    (fairface_folder / "val" / "hard.jpg").hardlink_to(fairface_folder / "val" / "1.jpg")
    name = str(fairface_folder / "val" / "1.jpg") if name == "ABSOLUTE" else name
    data = fairface(write(HEADER, "val/1.jpg,3-9,Male,White,True", f"{name},3-9,Male,White,True"))
    assert data.table().index.tolist() == ["val/1.jpg"]
    assert data.notes == ("Rows of fairface_label_val.csv left out because they repeat an earlier one: 1.",)
    write(HEADER, "val/1.jpg,3-9,Male,White,True", f"{name},3-9,Female,White,True")
    with pytest.raises(DataError, match=r"contradicts itself on 'val/1\.jpg' and '.*', which are one file: White / M"):
        fairface(fairface_folder)


def test_names_that_are_written_otherwise_are_told(fairface_folder: Path) -> None:
    """Not as images that are not there."""
    data = fairface(half_renamed(fairface_folder, lambda name: name.replace(".jpg", ".JPG")))
    (note,) = data.notes
    assert note.endswith("the name is written otherwise in the folder: 7 of 14, as 'val/2.JPG' for 'val/2.jpg'.")


def test_nothing_outside_the_folder_is_read(write: Write, fairface_folder: Path) -> None:
    """A name that leads out is told; so it is where every name does."""
    (fairface_folder.parent / "1.jpg").write_bytes((fairface_folder / "val" / "1.jpg").read_bytes())
    row = "../1.jpg,3-9,Male,White,True"
    data = fairface(write(HEADER, "val/1.jpg,3-9,Male,White,True", row))
    assert data.table().index.tolist() == ["val/1.jpg"]
    assert data.notes == (
        "Rows of fairface_label_val.csv left out because their path leads out of the folder: 1 of 2, as '../1.jpg'.",
    )
    with pytest.raises(DataError, match=r"the first, '\.\./1\.jpg', lies outside"):
        fairface(write(HEADER, row))


def test_no_name_as_it_is_written(write: Write) -> None:
    """The refusal names the file that is meant."""
    with pytest.raises(DataError, match=r"the first, 'val/1\.png', is not in .*, where it is written 'val/1\.jpg'"):
        fairface(write(HEADER, "val/1.png,3-9,Male,White,True"))


@pytest.mark.data
class TestRealFaces:
    """The sample of 643 FairFace images; the counts are those of its README."""

    def test_counts_are_those_of_the_readme(self, real_faces: Path) -> None:
        """Both splits hold what the README counts, by race, gender and age."""
        train, val = (fairface(real_faces, split=split) for split in ("train", "val"))
        assert (len(train.table()), len(val.table())) == (468, 175)
        assert (train.notes, val.notes) == ((), ())
        by_race = {"Middle Eastern": (26, 34)} | dict.fromkeys(set(RACES) - {"Middle Eastern"}, (34, 34))
        counts = train.table().value_counts(["race", "gender"])
        assert {race: (counts[race, "Female"], counts[race, "Male"]) for race in RACES} == by_race
        assert [val.table()["age"].value_counts()[age] for age in AGES] == [13, 11, 10, 26, 25, 27, 19, 21, 23]

    def test_nine_images_are_official_validation_images(self, real_faces: Path) -> None:
        """Official validation numbers are below 100000; there are nine."""
        ids = fairface(real_faces).table().index
        assert sum(int(name.removeprefix("val/").removesuffix(".jpg")) < 100000 for name in ids) == 9

    def test_every_image_can_be_read(self, real_faces: Path) -> None:
        """No image of the sample is broken, and a batch of it has a face's range of grey levels."""
        data = fairface(real_faces, size=32)
        ids = data.table().index.tolist()
        assert data.unreadable(ids) == {}
        images = data.load(ids[:16]).images
        assert images.shape == (16, 3, 32, 32)
        assert ((images >= 0) & (images <= 1)).all()
        assert images.flatten(1).std(1).min() > 0.05

    def test_the_mean_colour_is_that_of_skin(self, real_faces: Path) -> None:
        """Faces are redder than green and greener than blue, on the mean; at any size nearly the same."""
        small, large = (fairface(real_faces, size=size).mean for size in (32, 64))
        red, green, blue = large.tolist()
        assert 0.6 > red > green > blue > 0.2
        torch.testing.assert_close(small, large, atol=2e-3, rtol=0)
