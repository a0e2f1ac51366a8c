"""Score tables: the engine's scores of maps, and access to them by map and metric."""

from dataclasses import replace

import numpy as np
import pytest

from mavis.core.attribution_maps import Maps
from mavis.core.errors import MavisError
from mavis.core.registry import metrics
from mavis.workflows.meta_evaluation import reference_maps
from mavis.workflows.meta_evaluation.scoring import MapScores, Subject, load_subject, score_maps

from .helpers import planted_scores


@pytest.fixture(scope="module")
def subject() -> Subject:
    return load_subject("part_sum", "planted_parts", {"size": 32, "count": 16}, per_group=4, attribute="shade", seed=0)


def test_scores_are_those_of_the_metric_itself(subject: Subject) -> None:
    """A table's column equals the metric on the same maps; a map that raises is a failure with a reason."""

    def raise_error(*_: object) -> None:
        raise ValueError("broken on purpose")

    exact = reference_maps.as_component("oracle", reference_maps.exact_contributions)
    broken = reference_maps.as_component("broken", raise_error)
    scores = score_maps(subject, [exact, broken], {"gini": {}}, grid=16)
    model_pass = subject._model_pass(subject.ids)
    maps = Maps.from_values(reference_maps.exact_contributions(model_pass, model_pass.logits.argmax(1))[:, 0], 16)
    expected = metrics["gini"].create({}).score(maps, model_pass.batch)
    np.testing.assert_allclose(scores.values("oracle", "gini"), expected, rtol=1e-5)
    assert list(scores.table.index) == list(subject.ids)
    assert not scores.has("broken", "gini")
    assert "broken on purpose" in scores.failures["broken", "gini"]


def test_edited_images_keep_the_explained_classes(subject: Subject) -> None:
    """Predictions are those of the unedited images, whatever the edit does to the model's output."""
    edited = subject.with_transform("black", lambda batch: replace(batch, images=0 * batch.images))
    assert edited.load(subject.ids).images.max() == 0
    assert edited.predictions is subject.predictions
    assert subject.subset(4).ids == subject.ids[::2]


def test_missing_values_are_left_out_of_means() -> None:
    """A mean is over images with a value; a map that was not scored is an error that names both."""
    scores = planted_scores({("a", "nsrg"): [0.2, np.nan, 0.4], ("b", "gini"): [np.nan] * 3})
    assert scores.mean("a", "nsrg") == pytest.approx(0.3)
    assert np.isnan(scores.mean("b", "gini"))
    assert (scores.has("a", "nsrg"), scores.has("b", "gini"), scores.has("b", "nsrg")) == (True, False, False)
    assert (scores.map_names("nsrg"), scores.metric_labels("g")) == (["a"], ["gini"])
    with pytest.raises(MavisError, match="no nsrg of b; failures: none"):
        scores.values("b", "nsrg")
    with pytest.raises(MavisError, match="out of memory"):
        MapScores(scores.table, {("b", "nsrg"): "out of memory"}).values("b", "nsrg")
