"""Covariates and strata in which images are compared as equal."""

import numpy as np
import pandas as pd

from mavis.analysis.disparity.matching import choose_matching, with_correct
from mavis.protocol.schema import DisparityRules

RULES = DisparityRules(
    exact=("predicted", "correct"), quantiles={"probability": 2}, adjust=("probability", "correct", "age")
)


def table() -> pd.DataFrame:
    """Eight images of two groups and two labels, all of them right."""
    return pd.DataFrame(
        {
            "group": ["a", "a", "b", "b"] * 2,
            "label": [0, 1, 0, 1] * 2,
            "predicted": [0, 1, 0, 1] * 2,
            "correct": [1] * 8,
            "probability": np.arange(8) / 8,
            "age": ["young", "old", "old", "old"] * 2,
        }
    )


def test_names_are_categories_and_numbers_numbers() -> None:
    """Probability enters with its square; a column of names and the predicted class as categories."""
    held = choose_matching(table(), table()["group"].tolist(), "group", RULES)
    assert (held.exact, held.quantiles, held.holds_prediction) == (("predicted", "correct"), {"probability": 2}, True)
    assert held.covariates(table()).shape == (8, 5)  # probability, its square, correct, age, predicted
    assert len(set(held.strata(table()).tolist())) == 4
    assert (held.missing_matching, held.missing_covariates, held.prediction_separates) == ((), (), False)


def test_an_attribute_is_not_held_equal_to_itself() -> None:
    """Nor is a part of an intersection; what is left out for that is not missing."""
    for attribute in ("age", "group*age"):
        held = choose_matching(table(), table()["age"].tolist(), attribute, RULES)
        assert (held.adjust, held.missing_covariates) == (("probability", "correct"), ())


def test_what_the_table_lacks_is_named() -> None:
    """A column that is not there, or not for every image."""
    images = table().drop(columns="age").assign(probability=[np.nan, *range(7)])
    held = choose_matching(images, images["group"].tolist(), "group", RULES)
    assert (held.missing_matching, held.missing_covariates) == (("probability",), ("probability", "age"))
    assert (held.quantiles, held.adjust) == ({}, ("correct",))


def test_groups_that_share_no_label_are_told_apart_by_the_prediction() -> None:
    """Then it is not held equal: groups that are labels, and intersections of labels with another attribute."""
    images = table()
    for groups in (images["label"].astype(str), images["label"].astype(str) + "*" + images["group"]):
        held = choose_matching(images, groups.tolist(), "race", RULES)
        assert (held.prediction_separates, held.holds_prediction, held.exact) == (True, False, ("correct",))
        assert held.covariates(images).shape[1] == 4


def test_a_few_shared_labels_do_not_make_groups_comparable() -> None:
    """One of forty images with the other's label is an error of annotation; ten are a group with both labels."""
    groups = ["a"] * 40 + ["b"] * 40
    for shared, apart in ((1, True), (10, False)):
        images = pd.DataFrame({"label": [0] * 40 + [1] * (40 - shared) + [0] * shared, "predicted": 0, "correct": 1})
        assert choose_matching(images, groups, "group", RULES).prediction_separates is apart


def test_a_persons_stratum_is_that_of_their_images() -> None:
    """The most common prediction, and the mean probability."""
    images = table().assign(predicted=[0, 0, 1, 1, 1, 0, 0, 0])
    held = choose_matching(images, images["group"].tolist(), "group", RULES)
    persons = held.person_table(images, np.array([0, 0, 0, 1, 1, 1, 1, 1]))
    assert persons["predicted"].tolist() == [0, 0]
    assert persons["probability"].tolist() == [images["probability"][:3].mean(), images["probability"][3:].mean()]


def test_right_answers_are_worked_out_where_they_were_not_stored() -> None:
    """From label and prediction; a column that is there stays."""
    bare = table().drop(columns="correct").assign(predicted=[1] * 8)
    assert with_correct(bare)["correct"].tolist() == [0, 1] * 4
    assert with_correct(table())["correct"].tolist() == [1] * 8
    assert "correct" not in with_correct(bare.drop(columns="label"))
