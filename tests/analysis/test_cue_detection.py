"""Telling two models apart by the mass on the cue: scikit-learn's area, DeLong's error, and who leans on what."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from mavis.analysis.cue_detection import auroc_influences, score_cue_detection
from mavis.analysis.groups import BootstrapSettings

RULES = BootstrapSettings(attributes=("race",), min_report=2, n_bootstrap=2000, confidence=0.95, seed=0)


def model(name: str, agrees: float, disagrees: float) -> SimpleNamespace:
    return SimpleNamespace(model=name, validity=SimpleNamespace(cue={"agrees": agrees, "disagrees": disagrees}))


def table(**masses: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of one explainer and the images, by model."""
    rows, images = [], []
    for name, values in masses.items():
        ids = [f"i{k}" for k in range(len(values))]
        rows.append(
            pd.DataFrame({"image": ids, "value": values, "model": name, "explainer": "e", "metric": "cue_mass"})
        )
        images.append(pd.DataFrame({"image": ids, "race": "x", "model": name, "label": 0, "predicted": 0, "cue": 0}))
    return pd.concat(rows), pd.concat(images)


LEANS, CLEAN = model("leans", 0.95, 0.75), model("clean", 0.9, 0.89)


def test_the_mean_is_scikit_learn_s_area() -> None:
    """Ties included, the mean over images is the area under the ROC curve."""
    draw = np.random.default_rng(0)
    a, b = draw.normal(0.5, 1, 80).round(1), draw.normal(0, 1, 80).round(1)
    expected = roc_auc_score([1] * 80 + [0] * 80, np.concatenate([a, b]))
    assert auroc_influences(a, b).mean() == pytest.approx(expected, abs=1e-12)


def test_the_interval_is_that_of_fresh_samples() -> None:
    """The half width of the interval is about 1.96 standard deviations of the area over 400 simulated data sets."""
    draw = np.random.default_rng(1)

    def sample() -> tuple[np.ndarray, np.ndarray]:
        common = draw.normal(0, 1, 100)
        return common + draw.normal(0.7, 1, 100), common + draw.normal(0, 1, 100)

    spread = np.std([auroc_influences(*sample()).mean() for _ in range(400)])
    widths = []
    for _ in range(20):
        a, b = sample()
        scores, images = table(leans=a, clean=b)
        (detection,) = score_cue_detection(scores, images, [LEANS, CLEAN], RULES)
        widths.append((detection.auroc.high - detection.auroc.low) / 2)
    assert np.mean(widths) == pytest.approx(1.96 * spread, rel=0.15)


def test_the_leaning_model_is_the_one_that_the_cue_helps_more() -> None:
    """The order of the models does not matter; separated masses give 1, equal ones 0.5."""
    high, low = np.linspace(0.5, 0.9, 10), np.linspace(0.0, 0.4, 10)
    for order in ([LEANS, CLEAN], [CLEAN, LEANS]):
        scores, images = table(leans=high, clean=low)
        (detection,) = score_cue_detection(scores, images, order, RULES)
        assert (detection.leaning, detection.other, detection.auroc.mean, detection.auroc.n) == (
            "leans",
            "clean",
            1.0,
            10,
        )
        assert detection.reliance == pytest.approx((0.2, 0.01))
    scores, images = table(leans=low, clean=low)
    assert score_cue_detection(scores, images, [LEANS, CLEAN], RULES)[0].auroc.mean == pytest.approx(0.5)


def test_only_images_whose_cue_speaks_for_the_explained_class_count() -> None:
    """By the class that the leaning model predicts; by the label where that is explained."""
    masses = np.array([0.9, 0.8, 0.1, 0.0])
    scores, images = table(leans=masses, clean=np.full(4, 0.5))
    images["predicted"] = [0, 0, 1, 1, 1, 1, 1, 1]
    images["label"] = [0, 1, 1, 1] * 2
    by_prediction = score_cue_detection(scores, images, [LEANS, CLEAN], RULES)[0]
    assert (by_prediction.auroc.mean, by_prediction.higher.mean, by_prediction.higher.n) == (1.0, 1.0, 2)
    by_label = score_cue_detection(scores, images, [LEANS, CLEAN], RULES, "label")[0]
    assert by_label.higher.n == 1
    images["cue"] = 2
    nothing = score_cue_detection(scores, images, [LEANS, CLEAN], RULES)[0]
    assert (nothing.auroc.mean, nothing.higher.low, nothing.higher.n) == (None, None, 0)


def test_the_share_is_paired_by_image() -> None:
    """Where images differ more than models do, the area is near a half and the share is 1; ties count half."""
    spread = np.linspace(0, 0.9, 40)
    scores, images = table(leans=spread + 0.01, clean=spread)
    detection = score_cue_detection(scores, images, [LEANS, CLEAN], RULES)[0]
    assert detection.higher.mean == 1.0
    assert 0.5 < detection.auroc.mean < 0.55
    scores, images = table(leans=np.array([0.2, 0.2]), clean=np.array([0.2, 0.1]))
    assert score_cue_detection(scores, images, [LEANS, CLEAN], RULES)[0].higher.mean == 0.75


def test_the_difference_of_reliance_is_paired_and_has_an_interval() -> None:
    """By hand: the cue costs the leaning model 30 of 60 images where it disagrees, the other none."""
    n = 100
    scores, images = table(leans=np.zeros(n), clean=np.zeros(n))
    images["cue"] = ([0] * 40 + [1] * 60) * 2
    images["predicted"] = [0] * 40 + [1] * 30 + [0] * 30 + [0] * n
    more = score_cue_detection(scores, images, [LEANS, CLEAN], RULES)[0].more_reliance
    assert more.mean == pytest.approx(0.5)
    assert more.low == pytest.approx(0.37, abs=0.03)
    assert more.high == pytest.approx(0.63, abs=0.03)
    assert more.n == n
    images["cue"] = ([-1] * 20 + [0] * 20 + [1] * 60) * 2
    assert score_cue_detection(scores, images, [LEANS, CLEAN], RULES)[0].more_reliance.n == 80


def test_images_without_a_value_on_either_model_are_left_out() -> None:
    """An image that carries no cue says nothing."""
    scores, images = table(leans=np.array([0.9, np.nan, 0.8]), clean=np.array([0.1, 0.2, np.nan]))
    assert score_cue_detection(scores, images, [LEANS, CLEAN], RULES)[0].auroc.n == 1


def test_images_of_one_person_are_resampled_together() -> None:
    """Forty images of ten people, alike within each, have twice the interval; a missing value leaves its person out."""
    draw = np.random.default_rng(0)
    a, b = np.repeat(draw.normal(0.3, 1, 10), 4), np.repeat(draw.normal(0, 1, 10), 4)
    a[:4] = np.nan
    scores, images = table(leans=a, clean=b)
    images["image"] = scores["image"] = [f"i{k:02d}" for k in range(40)] * 2
    people = tuple(f"p{k // 4}" for k in range(40))
    plain, aware = (
        score_cue_detection(scores, images, [LEANS, CLEAN], rules)[0].auroc
        for rules in (RULES, replace(RULES, identities=people))
    )
    assert (plain.mean, plain.n) == (aware.mean, 36)
    assert (aware.high - aware.low) / (plain.high - plain.low) == pytest.approx(2, rel=0.15)


def test_one_model_or_no_cue_gives_nothing() -> None:
    """There is no twin to compare with."""
    scores, images = table(leans=np.array([0.9, 0.8]))
    assert score_cue_detection(scores, images, [LEANS], RULES) == ()
    plain = SimpleNamespace(model="leans", validity=SimpleNamespace(cue={}))
    assert score_cue_detection(scores, images, [plain, plain], RULES) == ()
