"""Which images are evaluated: the same ones whatever the table's order, and more of them when more are asked for."""

import numpy as np
import pandas as pd
import pytest

from mavis.core.errors import DataError, UnknownName
from mavis.core.group_attributes import group_labels
from mavis.datasets.loading.sampling import first_per_group, stratified_sample


def made(sizes: dict[str, int], shares: tuple[float, ...] = (0.5, 0.3, 0.2)) -> pd.DataFrame:
    """Images per race, labels drawn with these shares."""
    generator = np.random.default_rng(0)
    rows = [(f"{race}/{k}", race, "ab"[k % 2]) for race, n in sizes.items() for k in range(n)]
    table = pd.DataFrame(rows, columns=["id", "race", "form"]).set_index("id")
    return table.assign(label=generator.choice(len(shares), len(table), p=shares))


TABLE = made({"alder": 200, "birch": 150, "cedar": 20})


def test_the_sample_does_not_depend_on_the_order_of_the_table() -> None:
    """Shuffled rows give the same ids in the same order."""
    assert stratified_sample(TABLE, "race", 50, None, 1) == stratified_sample(
        TABLE.sample(frac=1, random_state=0), "race", 50, None, 1
    )


def test_another_seed_is_another_sample() -> None:
    """Seeds decide which images are taken."""
    assert set(stratified_sample(TABLE, "race", 50, None, 1)) != set(stratified_sample(TABLE, "race", 50, None, 2))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_larger_sample_contains_the_smaller(seed: int) -> None:
    """Every step from 1 to all images of a group only adds, also where the labels' shares are awkward."""
    labels = [0] * 6 + [1] * 6 + [2] * 2  # largest remainders take a seat from label 2 between 10 and 11 images
    awkward = pd.DataFrame({"label": labels, "race": "alder"}, index=[f"i{k}" for k in range(14)])
    for table in (awkward, TABLE):
        before: set[str] = set()
        for count in range(1, 60):
            now = set(stratified_sample(table, "race", count, None, seed))
            assert before <= now
            before = now


def test_groups_get_equal_numbers_and_small_ones_are_taken_whole() -> None:
    """Thirty each, and all twenty of the group that has no more; no image twice."""
    ids = stratified_sample(TABLE, "race", 30, None, 0)
    assert TABLE.loc[ids, "race"].value_counts().to_dict() == {"alder": 30, "birch": 30, "cedar": 20}
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("count", [10, 24, 60])
def test_label_shares_are_kept_within_a_group(count: int) -> None:
    """Each label's number differs from its exact share by at most one."""
    ids = stratified_sample(TABLE, "race", count, None, 0)
    for race in ("alder", "birch"):
        whole = TABLE.loc[TABLE["race"] == race, "label"].value_counts(normalize=True)
        taken = TABLE.loc[[i for i in ids if i.startswith(race)], "label"].value_counts().reindex(whole.index)
        assert (taken - whole * count).abs().max() <= 1


def test_label_shares_are_rounded_to_the_nearest() -> None:
    """Of 90 and 10, four images are 3.6 and 0.4: four and none."""
    table = pd.DataFrame({"label": [0] * 90 + [1] * 10, "race": "alder"}, index=[f"i{k}" for k in range(100)])
    assert table.loc[stratified_sample(table, "race", 4, None, 0), "label"].tolist() == [0, 0, 0, 0]


def test_a_limit_is_shared_between_the_groups() -> None:
    """Eleven images in three groups are 4, 4 and 3; the smaller limit's images are among the larger's."""
    ids = stratified_sample(TABLE, "race", 30, 11, 0)
    assert TABLE.loc[ids, "race"].value_counts().to_dict() == {"alder": 4, "birch": 4, "cedar": 3}
    assert set(ids) <= set(stratified_sample(TABLE, "race", 30, 12, 0))


def test_a_limit_above_the_target_changes_nothing() -> None:
    """The protocol's number per group still holds."""
    assert stratified_sample(TABLE, "race", 5, 1000, 0) == stratified_sample(TABLE, "race", 5, None, 0)


def test_a_limit_below_the_number_of_groups_is_refused() -> None:
    """A group would be without an image."""
    with pytest.raises(DataError, match="--limit 2 leaves groups without an image; race has 3 groups"):
        stratified_sample(TABLE, "race", 30, 2, 0)


def test_intersections_are_sampled_like_groups() -> None:
    """Every pair of labels gets the number."""
    ids = stratified_sample(TABLE, "race*form", 5, None, 0)
    assert set(group_labels(TABLE, "race*form").loc[ids].value_counts()) == {5}
    assert group_labels(TABLE, "race*form").iloc[0] == "alder*a"


def test_an_unknown_attribute_suggests() -> None:
    """Also inside an intersection; the label is not offered as a group."""
    with pytest.raises(UnknownName, match="'rase'; did you mean 'race'"):
        group_labels(TABLE, "form*rase")
    with pytest.raises(UnknownName, match="there are: form, race"):
        group_labels(TABLE, "zzz")


def test_first_per_group_takes_the_same_few_of_a_larger_sample() -> None:
    """Three of each group, by hash, so that they depend neither on order nor on how many were sampled before."""
    ids = stratified_sample(TABLE, "race", 50, None, 0)
    few = first_per_group(ids, TABLE["race"], 3, 0)
    assert TABLE.loc[sorted(few), "race"].value_counts().to_dict() == {"alder": 3, "birch": 3, "cedar": 3}
    assert few == first_per_group(ids[::-1], TABLE["race"], 3, 0)
    assert few <= first_per_group(ids, TABLE["race"], 4, 0)
    assert first_per_group(ids, TABLE["race"], None, 0) == set(ids)
