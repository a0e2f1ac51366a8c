"""The embedded data set: same image whatever is around it, labels that know nothing of each other, an honest cue."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest, chi2_contingency

from mavis.core.errors import BadParameter, DataError
from mavis.core.types import PART_CODES, Dataset
from mavis.datasets.synthetic.parameters import LABELS
from mavis.datasets.synthetic.recipe import POPULATIONS
from mavis.datasets.synthetic_faces import MEAN_COLOURS, SyntheticFaces, synthetic_faces

DATA = synthetic_faces()
IDS = list(DATA.table().index[:9])


def test_it_keeps_the_contract_of_a_dataset() -> None:
    """Shapes, types and ranges are those that `Dataset` and `Batch` state."""
    data: Dataset = DATA
    batch = data.load(IDS)
    assert batch.images.shape == (9, 3, 64, 64)
    assert batch.images.dtype == torch.float32
    assert 0 <= float(batch.images.min()) <= float(batch.images.max()) <= 1
    assert batch.labels.dtype == torch.int64
    assert batch.ids == tuple(IDS)
    assert batch.parts is not None
    assert batch.parts.dtype == torch.uint8
    assert batch.regions is not None
    assert batch.regions.dtype == torch.bool
    assert data.mean.shape == (3,)
    assert data.unreadable(IDS) == {}
    assert len(data.table()) == 2100


def test_the_batch_says_what_the_table_says() -> None:
    """Labels and groups of a batch are the table's rows."""
    table, batch = DATA.table().loc[IDS], DATA.load(IDS)
    assert batch.labels.tolist() == table["label"].tolist()
    for name in LABELS:
        assert list(batch.groups[name]) == table[name].tolist()
    assert [DATA.classes[label] for label in table["label"]] == table["race"].tolist()


def test_an_image_does_not_depend_on_batch_order_or_count() -> None:
    """Alone, in another order and in a larger data set, an image is the same to the bit, and so are its truths."""
    together = DATA.load(IDS)
    turned = DATA.load(IDS[::-1])
    larger = synthetic_faces(count=5000).load(IDS)
    for position, name in enumerate(IDS):
        alone = DATA.load([name])
        for other, at in ((turned, -1 - position), (larger, position), (alone, 0)):
            assert torch.equal(together.images[position], other.images[at])
            assert torch.equal(together.parts[position], other.parts[at])
            assert torch.equal(together.regions[position], other.regions[at])


def test_rerendering_does_not_depend_on_the_batch() -> None:
    """A counterfactual is a function of image, part and draw."""
    together = DATA.load(IDS).rerender("nose", 2)
    for position, name in enumerate(IDS):
        assert torch.equal(together[position], DATA.load([name]).rerender("nose", 2)[0])
    assert not torch.equal(together, DATA.load(IDS).rerender("nose", 3))


def test_rerendering_eyes_leaves_the_rest_alone() -> None:
    """Outside a margin around the eyes, the counterfactual is the image itself to the bit."""
    batch = DATA.load(IDS)
    eyes = (batch.parts == PART_CODES["eyes"]).float()[:, None]
    near = torch.nn.functional.max_pool2d(eyes, 15, stride=1, padding=7).bool()
    other = batch.rerender("eyes", 0)
    changed = (other != batch.images).any(1, keepdim=True)
    assert changed.any()
    assert not (changed & ~near).any()


def test_splits_and_seeds_share_no_image() -> None:
    """Ids differ between splits, seeds and training recipes, and so do the pixels."""
    sets = [
        synthetic_faces(split=split, seed=seed, count=40, recipe=recipe)
        for split, seed, recipe in [
            ("train", 0, "balanced"),
            ("train", 0, "biased"),
            ("val", 0, "balanced"),
            ("eval", 0, "balanced"),
            ("eval", 1, "balanced"),
        ]
    ]
    ids = [set(data.table().index) for data in sets]
    pixels = [{image.numpy().tobytes() for image in data.load(list(data.table().index)).images} for data in sets]
    for a, b in itertools.combinations(range(len(sets)), 2):
        assert not ids[a] & ids[b]
        assert not pixels[a] & pixels[b]


def test_the_recipe_shapes_training_only() -> None:
    """The evaluation split of the biased recipe is that of the balanced one."""
    biased = synthetic_faces(recipe="biased")
    assert biased.table().equals(DATA.table())
    assert biased.revision(IDS) == DATA.revision(IDS)
    assert torch.equal(biased.mean, DATA.mean)


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations([*LABELS, "cue"], 2)))
def test_labels_are_independent(first: str, second: str) -> None:
    """Over 2,100 rows no pair of labels, nor the cue and a label, is dependent (chi-square, 1 in 10,000)."""
    table = DATA.table().assign(cue=DATA.cues(list(DATA.table().index)))
    assert chi2_contingency(pd.crosstab(table[first], table[second])).pvalue > 1e-4


@pytest.mark.parametrize("attribute", list(LABELS))
def test_every_group_has_its_share(attribute: str) -> None:
    """All groups appear, each within the binomial error of an even share."""
    counts = DATA.table()[attribute].value_counts()
    assert set(counts.index) == set(LABELS[attribute])
    for count in counts:
        assert binomtest(int(count), 2100, 1 / len(counts)).pvalue > 1e-4


@pytest.mark.parametrize(("recipe", "agreement", "rare"), [("balanced", 1 / 7, 1 / 7), ("biased", 0.88, 0.01)])
def test_the_training_set_follows_its_recipe(recipe: str, agreement: float, rare: float) -> None:
    """Shares of the rare populations, and how often the cue agrees, are the recipe's within binomial error."""
    data = synthetic_faces(split="train", recipe=recipe, count=6000)
    table = data.table()
    agrees = int((np.array(data.cues(list(table.index))) == table["label"].to_numpy()).sum())
    assert binomtest(agrees, 6000, agreement).pvalue > 1e-4
    for name in ("cedar", "hazel"):
        assert binomtest(int((table["race"] == name).sum()), 6000, rare).pvalue > 1e-4


def test_the_cue_is_where_its_code_says_and_has_its_colour() -> None:
    """Faces with equal cues have equal colours under the code ``cue``; others have others."""
    ids = list(DATA.table().index[:60])
    batch, cues = DATA.load(ids), DATA.cues(ids)
    colours = torch.stack(
        [image[:, parts == PART_CODES["cue"]].mean(1) for image, parts in zip(batch.images, batch.parts, strict=True)]
    )
    distance = torch.cdist(colours, colours)
    same = torch.tensor(cues)[:, None] == torch.tensor(cues)
    assert float(distance[same].max()) < float(distance[~same].min())


@pytest.mark.parametrize("recipe", list(MEAN_COLOURS))
def test_the_stored_mean_is_that_of_the_images(recipe: str) -> None:
    """The constant is the mean colour of training images within sampling error, at any size."""
    data = synthetic_faces(split="train", recipe=recipe, count=300, size=32)
    found = data.load(list(data.table().index)).images.mean((0, 2, 3))
    assert data.mean.tolist() == pytest.approx(found.tolist(), abs=0.02)


def test_the_revision_is_a_hash_of_the_content() -> None:
    """Size, seed, target and ids change it; order does not."""
    same = DATA.revision(IDS)
    assert DATA.revision(IDS[::-1]) == same
    assert DATA.revision(IDS[:-1]) != same
    assert synthetic_faces(size=32).revision(IDS) != same
    assert synthetic_faces(target="gender").revision(IDS) != same


def test_new_drawing_code_changes_the_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing anything otherwise gives another revision, even where the version was forgotten."""
    before = DATA.revision(IDS)
    monkeypatch.setattr("mavis.datasets.synthetic.drawing.FACING_BRIGHTNESS", 1.1)
    assert DATA.revision(IDS) != before


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": "beauty"},
        {"split": "test"},
        {"recipe": "fair"},
        {"size": 16},
        {"size": 448},
        {"count": 0},
        {"seed": 1.5},
        {"size": "64"},
    ],
)
def test_a_wrong_parameter_is_refused(wrong: dict) -> None:
    """Each is named, with what is expected."""
    with pytest.raises(BadParameter, match=str(next(iter(wrong.values())))):
        synthetic_faces(**wrong)


@pytest.mark.parametrize("name", ["synthetic_faces/eval/002100", "synthetic_faces/train/000000", "nothing"])
def test_an_id_of_another_set_is_refused(name: str) -> None:
    """The message names the first and the last id there is."""
    with pytest.raises(DataError, match="expected synthetic_faces/eval/000000 to synthetic_faces/eval/002099"):
        DATA.load([name])


def test_no_ids_give_an_empty_batch() -> None:
    """Zero images have the shapes of images."""
    assert DATA.load([]).images.shape == (0, 3, 64, 64)


@pytest.mark.parametrize("target", list(LABELS))
def test_the_target_names_the_classes(target: str) -> None:
    """The label is the target's value, and every image has a region that carries it."""
    data: SyntheticFaces = synthetic_faces(target=target, count=20)
    batch = data.load(list(data.table().index))
    assert [data.classes[label] for label in batch.labels] == list(batch.groups[target])
    assert batch.regions.flatten(1).any(1).all()


def test_the_populations_bear_no_name_of_a_people() -> None:
    """Seven trees."""
    assert POPULATIONS == ("alder", "birch", "cedar", "elm", "hazel", "maple", "rowan")
