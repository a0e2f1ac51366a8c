"""A plug-in is asked before its first block whether an image gets the same in any company."""

import pytest
import torch

from mavis.core.metric_types import MapMetric
from mavis.engine.execution.plugin_check import reason_unusable

from .test_isolation import foreign_explainer, foreign_metric, good, make_task


def test_a_well_behaved_explainer_and_metric_are_usable() -> None:
    """Also a metric that has no value, and whatever a metric of another kind does."""
    metric = foreign_metric("nothing", lambda maps, batch: torch.full((len(batch),), torch.nan))
    task = make_task(foreign_explainer("good", good), metric)
    assert reason_unusable(task, "good") is None
    assert reason_unusable(task, "nothing") is None
    assert reason_unusable(task, "nsrg") is None


@pytest.mark.parametrize(
    "explain",
    [
        lambda model_pass, targets: good(model_pass, targets).flip(0),
        lambda model_pass, targets: good(model_pass, targets) / good(model_pass, targets).abs().max(),
        lambda model_pass, targets: good(model_pass, targets).mean(0, keepdim=True).expand_as(model_pass.images),
        lambda model_pass, targets: torch.rand_like(model_pass.images),
    ],
)
def test_maps_that_depend_on_the_other_images_are_noticed(explain) -> None:
    """Another order, a scale or a mean over the batch, and numbers drawn for the batch as a whole."""
    task = make_task(foreign_explainer("mine", explain))
    assert "another map among others than alone" in str(reason_unusable(task, "mine"))


def test_numbers_drawn_from_the_pass_belong_to_the_image() -> None:
    """`Pass.draw` is the source of randomness that a plug-in is told to use."""

    def explain(model_pass, targets):
        return model_pass.draw("mine", lambda g: torch.rand((1, 8, 8), generator=g))

    assert reason_unusable(make_task(foreign_explainer("mine", explain)), "mine") is None


@pytest.mark.parametrize(
    "score", [lambda maps, batch: maps.norm.flip(0), lambda maps, batch: maps.norm / maps.norm.max()]
)
def test_scores_that_depend_on_the_other_images_are_noticed(score) -> None:
    """Another order, and a scale of the batch."""
    task = make_task(foreign_metric("mine", score))
    assert isinstance(task.components.metrics[-1].plugin, MapMetric)
    assert reason_unusable(task, "mine") == "gives an image another score among others than alone"
