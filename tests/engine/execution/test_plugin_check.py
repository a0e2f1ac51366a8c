"""A plug-in is asked before its first block whether an image gets the same in any company."""

from dataclasses import replace

import pytest
import torch

from mavis.core.guards.guarded_plugins import guard_metric
from mavis.core.metric_types import (
    Curve,
    CustomMetric,
    MapMetric,
    MaskProbe,
    ProbeMetric,
    SweepMetric,
    VariantMetric,
)
from mavis.core.perturbation.variants import Flip
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


CURVE = Curve("mean", "mif", (0.0, 0.5, 1.0))
PROBE = MaskProbe("corners", "mean", lambda model_pass, n: torch.eye(n, dtype=torch.bool)[:2])


def of_kind(kind: str, change) -> object:
    """A metric of a kind; its scores are changed before they are returned."""
    return {
        "sweep": SweepMetric((CURVE,), lambda curves: change(curves[CURVE].area())),
        "probe": ProbeMetric((PROBE,), lambda maps, outputs: change(outputs[PROBE].drops.mean(1))),
        "variant": VariantMetric((Flip(),), lambda before, after: change(before.maps.distance(after.maps))),
        "custom": CustomMetric(lambda explanation, explain: change(explanation.maps.norm)),
    }[kind]


@pytest.mark.parametrize("kind", ["sweep", "probe", "variant", "custom"])
def test_metrics_of_every_kind_are_asked(kind: str) -> None:
    """Right ones are usable; another order, a sum over the batch and numbers drawn for it are noticed."""
    changes = {
        "right": lambda scores: scores,
        "order": lambda scores: scores.flip(0),
        "sum": lambda scores: scores.sum().expand_as(scores),
        "random": lambda scores: scores + torch.rand(scores.shape),
    }
    plugins = {name: guard_metric(name, of_kind(kind, change)) for name, change in changes.items()}
    task = make_task(*(replace(foreign_metric(name, len), plugin=plugin) for name, plugin in plugins.items()))
    reasons = {name: reason_unusable(task, name) for name in changes}
    assert reasons.pop("right") is None
    assert set(reasons.values()) == {"gives an image another score among others than alone"}


def test_a_metric_that_fails_is_quoted() -> None:
    """Once, before any block."""

    def fail(maps, batch):
        raise ValueError("first line\nsecond line")

    assert (
        reason_unusable(make_task(foreign_metric("mine", fail)), "mine") == "raised ValueError: first line second line"
    )
