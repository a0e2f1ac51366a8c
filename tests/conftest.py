"""What several tests share: the folder of real faces, and a tiny FairFace of plain colours."""

import mavis  # noqa: F401 (first, so that its torchvision hook is there before anything imports torchvision)

# isort: split
import csv
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

torch.set_num_threads(1)  # tiny batches: a second thread costs more than it brings, above all beside other work

RACES = ("White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern")


@pytest.fixture(autouse=True)
def same_weights() -> None:
    """Nets that a test makes have the same weights every time."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_faces() -> Path:
    """The folder ``fairface_sample``, wherever MAVIS_TEST_DATA says; skips where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MAVIS_TEST_DATA", beside)) / "fairface_sample"
    if not folder.is_dir():
        pytest.skip(
            f"no real faces: {folder} is not there; set MAVIS_TEST_DATA to the folder that holds fairface_sample"
        )
    return folder


@pytest.fixture
def fairface_folder(tmp_path: Path) -> Path:
    """FairFace's layout with 3 train and 14 val images: every race as Male and Female, 40 px squares of one colour."""
    root = tmp_path / "fairface"
    rows = {
        "train": [("20-29", "Male", "White"), ("3-9", "Female", "Black"), ("60-69", "Female", "Indian")],
        "val": [(age, gender, race) for race in RACES for age, gender in (("0-2", "Male"), ("more than 70", "Female"))],
    }
    for split, people in rows.items():
        (root / split).mkdir(parents=True)
        with (root / f"fairface_label_{split}.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["file", "age", "gender", "race", "service_test"])
            for number, person in enumerate(people, start=1):
                table.writerow([f"{split}/{number}.jpg", *person, number % 2 == 0])
                colour = (10 * number, 200 - 10 * number, 100)
                Image.new("RGB", (40, 40), colour).save(root / split / f"{number}.jpg", "JPEG", quality=95)
    return root
