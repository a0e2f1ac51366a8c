"""The images that stand for a data set: balanced, apart from those that are explained, readable."""

import pandas as pd
import pytest
import torch

from mavis.core.errors import DataError, UnknownName
from mavis.core.types import Dataset
from mavis.datasets.loading.image_statistics import image_statistics
from mavis.datasets.loading.open import open_data
from mavis.engine.sample import REFERENCE_SIZE, draw_sample, prediction_table
from mavis.models.loading.open import open_model
from mavis.protocol import loading
from mavis.protocol.schema import Protocol


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
    assert found.groupby("race")["weight"].sum().to_dict() == pytest.approx(
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
    expected = drawn.table["race"].map(counts / 200)
    assert drawn.table["weight"].tolist() == pytest.approx(expected.tolist())


def test_who_is_shown_comes_from_the_data(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The column that the protocol names is kept; one that is not there, or has holes, ends the run at once."""
    with pytest.raises(UnknownName, match=r"data.identity\) is named 'person'; there are: age, gender, race"):
        draw_sample(data, by_person(), 14)
    table = data.table()
    named = table.assign(person=[f"p{k // 3}" for k in range(len(table))])
    monkeypatch.setattr(data, "table", lambda: named)
    drawn = draw_sample(data, by_person(), 14)
    assert drawn.table["person"].equals(named.loc[list(drawn.ids), "person"])
    holes = named.assign(person=named["person"].where(named["person"] != "p0"))
    monkeypatch.setattr(data, "table", lambda: holes)
    with pytest.raises(DataError, match="3 have none"):
        draw_sample(data, by_person(), 14)
