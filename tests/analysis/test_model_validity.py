"""Is the model worth explaining: accuracy against chance, overall and per group, and what it never says."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import balanced_accuracy_score, recall_score
from statsmodels.stats.proportion import proportion_confint

from mavis.analysis.findings import make_note
from mavis.analysis.groups import BootstrapSettings
from mavis.analysis.model_validity import assess_validity, expected_calibration_error

from ..tables import BOOTSTRAP, CLASSES, make_images


def test_balanced_accuracy_agrees_with_scikit_learn() -> None:
    """Mean recall over classes of unequal size, where plain accuracy is another number."""
    table = make_images({"alder": 100, "birch": 20, "cedar": 20})
    table.loc[table["race"] == "birch", "predicted"] = 0
    validity = assess_validity(table, CLASSES, BOOTSTRAP)
    assert validity.balanced_accuracy.mean == pytest.approx(balanced_accuracy_score(table["label"], table["predicted"]))
    assert validity.accuracy.mean == pytest.approx((table["label"] == table["predicted"]).mean())
    assert validity.chance == pytest.approx(1 / 3)
    assert validity.better_than_chance
    assert validity.balanced_accuracy.low < 0.6 < validity.balanced_accuracy.high


def test_accuracy_has_wilson_intervals() -> None:
    """Overall and per group, as an independent implementation has them."""
    table = make_images(accuracy=0.8)
    validity = assess_validity(table, CLASSES, BOOTSTRAP)
    hits = int((table["label"] == table["predicted"]).sum())
    expected = proportion_confint(hits, len(table), method="wilson")
    assert (validity.accuracy.low, validity.accuracy.high) == pytest.approx(expected)
    assert [(g.group, g.correct, g.estimate.n) for g in validity.groups] == [
        ("alder", 32, 40),
        ("birch", 32, 40),
        ("cedar", 32, 40),
    ]
    assert validity.groups[0].estimate.low == pytest.approx(proportion_confint(32, 40, method="wilson")[0])


def test_a_coin_is_not_better_than_chance() -> None:
    """In at most a few of forty models that guess is the interval above chance."""
    table, generator = make_images(), np.random.default_rng(0)
    validities = [
        assess_validity(table.assign(predicted=generator.integers(0, 3, len(table))), CLASSES, BOOTSTRAP)
        for _ in range(40)
    ]
    assert sum(validity.better_than_chance for validity in validities) <= 4
    assert np.mean([validity.balanced_accuracy.mean for validity in validities]) == pytest.approx(1 / 3, abs=0.03)


def test_one_class_alone_says_nothing_of_the_model() -> None:
    """Chance is 1, which nothing is better than; the remark says why."""
    validity = assess_validity(make_images({"alder": 30}), CLASSES, BOOTSTRAP)
    assert (validity.chance, validity.better_than_chance) == (1.0, False)
    assert validity.remarks[0] == make_note("remark.one_class")


def test_chance_is_that_of_the_classes_that_occur() -> None:
    """Two of three classes in the sample make chance one half."""
    assert assess_validity(make_images({"alder": 30, "birch": 30}), CLASSES, BOOTSTRAP).chance == 0.5


def test_weak_groups_are_named() -> None:
    """A group of one label is weak where its accuracy may be 1/3; too small a group is not judged."""
    table = make_images({"alder": 40, "birch": 40, "cedar": 9})
    table.loc[table["race"].isin(["birch", "cedar"]), "predicted"] = 0
    assert assess_validity(table, CLASSES, BOOTSTRAP).weak_groups == (("race", "birch"),)


def test_a_group_of_several_labels_must_beat_its_commonest() -> None:
    """Among forms three labels are equally common; a model that always says one of them is weak in both."""
    rules = BootstrapSettings(("race", "gender", "race*gender"), 10, 200, 0.95, 0)
    validity = assess_validity(make_images().assign(predicted=0), CLASSES, rules)
    assert validity.weak_groups == (
        ("race", "birch"),
        ("race", "cedar"),
        ("gender", "form_a"),
        ("gender", "form_b"),
    )
    assert {g.attribute for g in validity.groups} == {"race", "gender"}
    assert assess_validity(make_images(), CLASSES, rules).weak_groups == ()


def test_a_group_is_compared_with_its_own_commonest_label() -> None:
    """Two thirds of a group's images share a label: to answer that always, and be right so often, is weak."""
    table = make_images({"alder": 80, "birch": 40}).assign(district="north", predicted=0)
    validity = assess_validity(table, CLASSES[:2], BootstrapSettings(("district",), 10, 200, 0.95, 0))
    assert validity.groups[0].estimate.mean == pytest.approx(2 / 3)
    assert validity.weak_groups == (("district", "north"),)


def test_accuracy_is_split_by_the_cue() -> None:
    """Where the cue speaks for the label, against it, and where there is none."""
    table = make_images({"alder": 6, "birch": 4})
    right = (table["label"] == table["predicted"]).to_numpy()
    table["cue"] = np.where(right, table["label"], 1 - table["label"])
    table.loc["alder/000", "cue"] = -1
    assert assess_validity(table, CLASSES[:2], BOOTSTRAP).cue == {"agrees": 1.0, "disagrees": 0.0, "absent": 1.0}


@pytest.mark.parametrize("cue", [None, -1])
def test_no_cue_no_split(cue: int | None) -> None:
    """Without the column, and without any image that carries one, there is nothing to split."""
    table = make_images() if cue is None else make_images().assign(cue=cue)
    assert assess_validity(table, CLASSES, BOOTSTRAP).cue == {}


def test_classes_that_are_never_predicted_are_remarked() -> None:
    """They are named; with all predicted there is no remark."""
    table = make_images()
    assert assess_validity(table, CLASSES, BOOTSTRAP).remarks == ()
    assert assess_validity(table.assign(predicted=1), CLASSES, BOOTSTRAP).remarks == (
        make_note("remark.weak_model", share=0.0),
        make_note("remark.never_predicted", classes=["alder", "cedar"]),
    )


def test_the_order_of_images_changes_nothing() -> None:
    """Shuffled images give the same numbers, intervals included."""
    table = make_images(accuracy=0.6)
    shuffled: pd.DataFrame = table.sample(frac=1, random_state=0)
    assert assess_validity(table, CLASSES, BOOTSTRAP) == assess_validity(shuffled, CLASSES, BOOTSTRAP)


def test_recall_per_class_agrees_with_scikit_learn() -> None:
    """Of each class that occurs, by name, with a Wilson interval; not of one that does not."""
    table = make_images({"alder": 40, "birch": 20}, accuracy=0.8)
    recalls = assess_validity(table, CLASSES, BOOTSTRAP).recall
    expected = recall_score(table["label"], table["predicted"], average=None, labels=[0, 1])
    assert [(recall.attribute, recall.group) for recall in recalls] == [("label", "alder"), ("label", "birch")]
    assert [recall.estimate.mean for recall in recalls] == pytest.approx(list(expected))
    interval = proportion_confint(recalls[1].correct, 20, method="wilson")
    assert (recalls[1].estimate.low, recalls[1].estimate.high) == pytest.approx(interval)


def test_calibration_agrees_with_scikit_learn() -> None:
    """Too unsure below, too sure above; ten bins of equal count, and of 17 images ten bins too, of one or two."""
    generator = np.random.default_rng(0)
    probability = generator.uniform(0.2, 1, 400)
    right = generator.random(400) < np.where(probability < 0.6, probability + 0.3, probability - 0.3)
    true, predicted = calibration_curve(right, probability, n_bins=10, strategy="quantile")
    assert expected_calibration_error(probability, right) == pytest.approx(np.abs(true - predicted).mean(), abs=1e-9)
    few = np.linspace(0.5, 0.9, 17)
    assert expected_calibration_error(few, np.ones(17, bool)) == pytest.approx((1 - few).mean())


def test_a_calibrated_model_errs_less_than_one_that_is_too_sure() -> None:
    """By construction 0, but for noise, and 0.3; per group, where it is large enough, each group's own."""
    table = make_images({"alder": 300, "birch": 300, "cedar": 9})
    generator = np.random.default_rng(1)
    sure = table["race"] == "birch"
    probability = np.where(sure, 0.9, generator.uniform(0.4, 1.0, len(table)))
    right = generator.random(len(table)) < np.where(sure, 0.6, probability)
    table = table.assign(probability=probability, predicted=np.where(right, table["label"], (table["label"] + 1) % 3))
    validity = assess_validity(table, CLASSES, BOOTSTRAP)
    alder, birch = validity.group_calibration["race", "alder"], validity.group_calibration["race", "birch"]
    assert len(validity.group_calibration) == 2
    assert alder < 0.1
    assert birch == pytest.approx(0.3, abs=0.08)
    assert alder < validity.calibration_error < birch


def test_without_probabilities_there_is_no_calibration() -> None:
    """Null, not 0."""
    validity = assess_validity(make_images(), CLASSES, BOOTSTRAP)
    assert (validity.calibration_error, validity.group_calibration) == (None, {})


def test_groups_of_one_name_are_each_their_own() -> None:
    """As glasses and hat, both yes or no: weak and calibrated are the groups of one attribute."""
    table = make_images({"alder": 60, "birch": 60}).assign(probability=0.9)
    table["glasses"] = ["yes" if k < 30 else "no" for k in range(120)]
    table["hat"] = ["yes" if 30 <= k < 60 else "no" for k in range(120)]
    table.loc[table["hat"] == "yes", "predicted"] = 2
    validity = assess_validity(table, CLASSES, BootstrapSettings(("glasses", "hat"), 10, 200, 0.95, 0))
    assert ("hat", "yes") in validity.weak_groups
    assert ("glasses", "yes") not in validity.weak_groups
    assert validity.group_calibration["glasses", "yes"] == pytest.approx(0.1)
    assert validity.group_calibration["hat", "yes"] == pytest.approx(0.9)
    assert len(validity.group_calibration) == 4


def test_images_without_a_group_are_in_no_group() -> None:
    """Neither in accuracy nor in calibration; they count in the whole."""
    table = make_images({"alder": 30, "birch": 30}).assign(probability=0.9)
    table["hat"] = ["yes" if k % 3 else None for k in range(60)]
    validity = assess_validity(table, CLASSES, BootstrapSettings(("race", "hat"), 10, 200, 0.95, 0))
    assert [(g.group, g.estimate.n) for g in validity.groups if g.attribute == "hat"] == [("yes", 40)]
    assert validity.accuracy.n == 60
