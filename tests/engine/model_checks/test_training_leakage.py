"""Whether evaluated images were trained on: planted copies are counted, the shipped models saw none."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from mavis.analysis.groups import BootstrapSettings
from mavis.analysis.model_validity import assess_leak
from mavis.core.perceptual_hash import Fingerprints
from mavis.core.registry import models
from mavis.core.types import Model
from mavis.datasets.synthetic_faces import synthetic_faces
from mavis.engine.model_checks.training_leakage import COLUMNS, measure_leakage
from mavis.protocol import loading
from mavis.protocol.schema import LeakRules

from ...toys import Pooled, make_model

FACES = synthetic_faces()
IDS = tuple(FACES.table().index[:40])
SAMPLE = SimpleNamespace(ids=IDS, data=FACES)
QUICK = loading.load_protocol("quick")
RULES = BootstrapSettings(("race",), 2, 100, 0.95, 0)


def trained_on(images: object) -> Model:
    """A model that saw these images."""
    return replace(make_model(Pooled()), training_fingerprints=Fingerprints.from_images(images))  # type: ignore[arg-type]


def found(made: Model, limits: LeakRules | None = QUICK.data.leak, chunk: int = 64):
    rows = measure_leakage(made, SAMPLE, QUICK, chunk)  # type: ignore[arg-type]
    return assess_leak(rows, FACES.table().loc[list(IDS)], RULES, limits)


def test_planted_copies_are_counted() -> None:
    """Two images of the training set and a darkened third: 3 of 40, per group where they are."""
    images = FACES.load(IDS[:3]).images
    images[2] = images[2] * 0.98
    one = found(trained_on(images))
    assert (one.known, one.exact, one.near, one.rate, one.excessive) == (True, 2, 1, pytest.approx(3 / 40), True)
    races = FACES.table().loc[list(IDS), "race"]
    assert one.groups == pytest.approx((pd.Series([1.0] * 3 + [0.0] * 37, races.index).groupby(races).mean()).to_dict())
    assert found(trained_on(images), chunk=7) == one


def test_a_rate_within_the_limit_is_not_excessive() -> None:
    """One of forty is allowed where five of a hundred are."""
    one = found(trained_on(FACES.load(IDS[:1]).images), LeakRules(max_rate=0.05))
    assert (one.rate, one.excessive) == (0.025, False)


def test_an_unknown_training_set_is_said_to_be_unknown() -> None:
    """No rate is made up."""
    one = found(make_model(Pooled()))
    assert (one.known, one.rate, one.groups, one.excessive) == (False, None, {}, False)


def test_nothing_is_looked_at_unless_asked_for() -> None:
    """Without the rule an empty table with the same columns, and no finding."""
    rules = QUICK.model_copy(update={"data": QUICK.data.model_copy(update={"leak": None})})
    rows = measure_leakage(trained_on(FACES.load(IDS[:1]).images), SAMPLE, rules, 8)  # type: ignore[arg-type]
    assert list(rows.columns) == COLUMNS
    assert rows.empty
    assert assess_leak(rows, FACES.table(), RULES, None) is None


@pytest.mark.parametrize(("name", "recipe"), [("race_resnet", "balanced"), ("race_resnet_biased", "biased")])
def test_the_shipped_models_know_their_training_images_and_saw_no_other(name: str, recipe: str) -> None:
    """All of the first training images are found; no evaluation image is, nor is any near."""
    made = models[name].create()
    known = made.training_fingerprints
    assert known is not None
    train = synthetic_faces(split="train", recipe=recipe)
    same, _ = Fingerprints.from_images(train.load(list(train.table().index[:50])).images).nearest_distances(known)
    assert same.all()
    assert len(known) == made.card["data"]["images"]
    one = found(made)
    assert (one.known, one.exact, one.near, one.excessive) == (True, 0, 0, False)
    assert np.isclose(one.rate, 0)
