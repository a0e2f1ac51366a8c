"""The images that stand for a data set: balanced, apart from those that are explained, readable."""

import pandas as pd
import pytest
import torch

from mavis.core.errors import DataError, UnknownName
from mavis.core.group_attributes import NO_GROUP, OWN_COLUMNS, data_column, group_labels
from mavis.core.types import Dataset
from mavis.datasets.loading.checked_data import complete_dataset
from mavis.datasets.loading.image_statistics import image_statistics
from mavis.datasets.loading.open import open_data
from mavis.engine.sample import REFERENCE_SIZE, Sample, draw_sample, prediction_table
from mavis.models.loading.open import open_model, open_models
from mavis.protocol import loading
from mavis.protocol.schema import Protocol

from ..memory_data import MeanShade, MemoryData


@pytest.fixture(scope="module")
def data() -> Dataset:
    return open_data("synthetic_faces", target="race", split=None, size=32)


def test_reference_images_are_balanced_and_none_of_them_is_explained(data: Dataset) -> None:
    """Equally many of every group; the same for every run of one seed, others for another."""
    rules = loading.load_protocol("quick")
    drawn = draw_sample(data, rules, 70)
    assert not set(drawn.reference_ids) & set(drawn.ids)
    counts = data.table().loc[list(drawn.reference_ids), "race"].value_counts()
    assert counts.tolist() == [REFERENCE_SIZE // 7] * 7
    assert draw_sample(data, rules, 70).reference_ids == drawn.reference_ids
    assert draw_sample(data, loading.with_overrides(rules, seed=1), 70).reference_ids != drawn.reference_ids


def test_a_small_data_set_refers_to_what_it_has() -> None:
    """Where nearly every image is explained, reference images may be among them, and there are some."""
    small = open_data("planted_square", target=None, split=None, size=32)
    rules = loading.with_overrides(loading.load_protocol("quick"), data__groups=["shade"])
    drawn = draw_sample(small, rules, None)
    assert 0 < len(drawn.reference_ids) <= REFERENCE_SIZE
    assert set(drawn.reference_ids) <= set(small.table().index)


def test_what_cannot_be_read_is_left_out(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreadable reference image is dropped without a word: nothing is scored on it."""
    rules = loading.load_protocol("quick")
    first = draw_sample(data, rules, 70).reference_ids[0]
    monkeypatch.setattr(data, "unreadable", lambda ids: {i: "gone" for i in ids if i == first})
    assert first not in draw_sample(data, rules, 70).reference_ids


def by_person() -> Protocol:
    """The preview with a column that names who is shown."""
    rules = loading.load_protocol("quick")
    return rules.model_copy(update={"data": rules.data.model_copy(update={"identity": "person"})})


def test_what_gaps_are_held_equal_in_is_stored_with_the_prediction(data: Dataset) -> None:
    """Right or wrong, how the image looks, and for how many of the data set's group it stands, in any batch size."""
    drawn = draw_sample(data, loading.load_protocol("quick"), 14)
    model, _ = open_model("race_resnet", torch.device("cpu"))
    found = prediction_table(model, drawn, 5)
    assert (found["correct"] == (found["label"] == found["predicted"])).all()
    assert found.groupby("data:race")["weight"].sum().to_dict() == pytest.approx(
        data.table()["race"].value_counts().to_dict()
    )
    looks = image_statistics(data.load(list(drawn.ids)).images, data.mean)
    for name, values in looks.items():
        assert found[name].tolist() == pytest.approx(values.tolist())
    whole = prediction_table(model, drawn, 64)
    pd.testing.assert_frame_equal(found, whole)


def test_a_group_that_is_sampled_whole_stands_for_itself(data: Dataset) -> None:
    """Weights are the data set's images over the sample's, group by group."""
    rules = loading.with_overrides(loading.load_protocol("quick"), data__n_per_group__target=200)
    table = data.table()
    drawn = draw_sample(data, rules, None)
    counts = table["race"].value_counts()
    expected = drawn.table["data:race"].map(counts / 200)
    assert drawn.table["weight"].tolist() == pytest.approx(expected.tolist())


def test_who_is_shown_comes_from_the_data(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The column that the protocol names is kept; one that is not there, or has holes, ends the run at once."""
    with pytest.raises(UnknownName, match=r"data.identity\) is named 'person'; there are: age, gender, race"):
        draw_sample(data, by_person(), 14)
    table = data.table()
    named = table.assign(person=[f"p{k // 3}" for k in range(len(table))])
    monkeypatch.setattr(data, "table", lambda: named)
    drawn = draw_sample(data, by_person(), 14)
    assert drawn.table["data:person"].equals(named.loc[list(drawn.ids), "person"])
    holes = named.assign(person=named["person"].where(named["person"] != "p0"))
    monkeypatch.setattr(data, "table", lambda: holes)
    with pytest.raises(DataError, match="3 have none"):
        draw_sample(data, by_person(), 14)


def sample_of(data: MemoryData, *groups: str, limit: int | None = None) -> Sample:
    """The sample of the preview by these attributes."""
    rules = loading.with_overrides(loading.load_protocol("quick"), data__groups=list(groups))
    return draw_sample(complete_dataset(data), rules, limit)


def test_images_without_a_group_are_left_out_and_counted() -> None:
    """Of the first attribute out of the sample; of another one out of its groups only."""
    columns = {"race": [None, float("nan"), *["x", "y"] * 15], "hat": ["yes", "no"] * 15 + ["", None]}
    drawn = sample_of(MemoryData(32, columns), "race", "hat", "race*hat")
    assert set(drawn.table["data:race"]) == {"x", "y"}
    assert set(drawn.table["data:hat"]) == {"yes", "no", NO_GROUP}
    assert drawn.notes == (
        "2 of 32 images have no value in 'race' and were left out.",
        "2 of 30 sampled images have no value in 'hat', so no group of it.",
    )


def test_an_attribute_without_a_value_is_refused() -> None:
    """In all of the data."""
    with pytest.raises(DataError, match="No image has a value in 'hat': all 16 are empty"):
        sample_of(MemoryData(16, {"hat": [None] * 16}), "side", "hat")


@pytest.mark.parametrize(
    "name", ["brightness", "weight", "model", "correct", "image", "cue", "predicted", "index", "id"]
)
def test_attributes_are_apart_from_own_columns(name: str) -> None:
    """The groups are the data's, and the columns of MAVIS have its own values."""
    data = MemoryData(16, {name: ["a", "b"] * 8})
    drawn = sample_of(data, name)
    model = open_models([MeanShade()], torch.device("cpu"), data, target=None, split=None)[0]["MeanShade"][0]
    table = prediction_table(model, drawn, 5)
    assert set(table.columns) == {*OWN_COLUMNS, data_column(name)}
    assert group_labels(table, name).value_counts().to_dict() == {"a": 8, "b": 8}
    assert (table["correct"] == 1).all()
    assert table["brightness"].is_unique


def test_an_attribute_called_label_is_the_label() -> None:
    """By the names of its classes; anything else of that name is refused."""
    data = MemoryData()
    data.attributes = {"label": ("dark", "bright")}
    assert sample_of(data, "label").table["data:label"].value_counts().to_dict() == {"dark": 8, "bright": 8}
    data.attributes = {"label": ("good", "bad")}
    with pytest.raises(DataError, match="can only have the classes as its groups; rename the attribute"):
        sample_of(data, "label")


def test_one_image_under_two_ids_is_noted_or_refused() -> None:
    """Noted under one label, refused under two."""
    data = MemoryData()
    data.pixels[4] = data.pixels[0]
    assert sample_of(data, "side").notes == (
        "1 of 16 images equal another one, and count as independent: i004 equals i000.",
    )
    data.pixels[5] = data.pixels[0]
    with pytest.raises(DataError, match=r"'i00[045]' and 'i00[045]' are the same image, labelled"):
        sample_of(data, "side")


@pytest.mark.parametrize("broken", ["i000", "i001", "i031"])
def test_a_broken_image_costs_itself(broken: str) -> None:
    """Also where only loading it shows that it is, and the model takes any size."""
    data = MemoryData(32, broken={broken})
    drawn = sample_of(data, "side")
    assert len(drawn.ids) == 31
    assert broken not in drawn.ids
    assert broken not in drawn.reference_ids
    assert drawn.notes == (
        f"{broken} could not be read and was left out: 'memory': load() failed: OSError: image file is truncated",
    )
