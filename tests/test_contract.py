"""Every registered explainer and metric keeps its contract: shape, finite, inputs unchanged, the same in any batch."""

import copy
from dataclasses import replace

import pandas as pd
import pytest
import torch

from mavis import execute, explaining, kinds, plan, registry
from mavis.errors import ModelError
from mavis.maps import Maps, pooled
from mavis.passes import Meter, Pass
from mavis.protocol import changed, load
from mavis.subjects import open_data, open_model
from mavis.types import Reference

IMAGES = 8
LIGHT = {
    "anti_oracle": {"draws": 1},
    "blur_ig": {"steps": 3},
    "deeplift_shap": {"baselines": 2},
    "expected_gradients": {"samples": 3},
    "feature_ablation": {"cells": 4},
    "guided_ig": {"steps": 4},
    "integrated_gradients": {"steps": 3},
    "kernel_shap": {"samples": 32, "cells": 4},
    "lime": {"samples": 32, "cells": 4},
    "occlusion": {"window": 0.5, "stride": 0.25},
    "oracle": {"draws": 1},
    "rise": {"masks": 8},
    "shapley_sampling": {"permutations": 2, "cells": 4},
    "smoothgrad": {"samples": 3},
    "smoothgrad_squared": {"samples": 3},
    "vargrad": {"samples": 3},
}
LIGHT_METRICS = {
    "faithfulness_correlation": {"subsets": 10},
    "infidelity": {"subsets": 10},
    "sensitivity_n": {"subsets": 10},
    "monotonicity_nguyen": {"draws": 1},
    "part_faithfulness": {"draws": 1},
    "smooth_mprt": {"samples": 2},
}
UNSUPPORTED = {
    "attention_rollout": "attention layers",
    "attention_x_gradient": "attention layers",
    "gradient_rollout": "attention layers",
}
"""What the model here lacks for some explainers; they keep the contract on a model of their own, in their tests."""
GRID = 8
EXPLAINERS = [name for name in registry.explainers.names() if name not in UNSUPPORTED]
METRICS = [m.name for m in registry.metrics if m.traits.category != "cost" and m.origin != "Quantus"]


@pytest.fixture(scope="module")
def model():
    return open_model("race_resnet", torch.device("cpu"))[0]


@pytest.fixture(scope="module")
def batch(model):
    data = open_data("synthetic_faces", target="race", split=None, model=model)
    return data.load(list(data.table().index[:IMAGES]))


def a_pass(model, batch, chunk=64, meter=None):
    others = torch.rand((3, *batch.images.shape[1:]), generator=torch.Generator().manual_seed(9))
    reference = Reference(others, ("other/0", "other/1", "other/2"))
    return Pass(model, batch, torch.full((3,), 0.5), 7, chunk, meter=meter or Meter(), reference=reference)


def explained(name, run):
    targets = torch.arange(len(run)) % len(run.model.classes)
    return registry.explainers[name].make(LIGHT.get(name, {}))(run, targets)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_map_has_the_shape_and_is_finite(name, model, batch):
    """An explainer returns finite floats of shape (B,3,H,W) or (B,1,H,W)."""
    run = a_pass(model, batch)
    raw = explained(name, run)
    assert pooled(raw, run.images, registry.explainers[name].traits.pooling).isfinite().all()


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_an_explainer_says_what_the_model_lacks(name, model, batch):
    """Where a model lacks what a method needs, the error names it."""
    with pytest.raises(ModelError, match=f"has no {UNSUPPORTED[name]}"):
        explained(name, a_pass(model, batch))


@pytest.mark.parametrize("name", EXPLAINERS)
def test_model_and_images_are_unchanged(name, model, batch):
    """An explainer leaves no hook, no gradient and no changed number behind."""
    images, state = batch.images.clone(), copy.deepcopy(model.net.state_dict())
    explained(name, a_pass(model, batch))
    assert torch.equal(batch.images, images)
    assert all(torch.equal(state[k], v) for k, v in model.net.state_dict().items())
    assert not any(m._forward_hooks or m._backward_hooks or m._forward_pre_hooks for m in model.net.modules())
    assert all(p.grad is None for p in model.net.parameters())


@pytest.mark.parametrize("name", EXPLAINERS)
def test_map_is_the_same_in_any_batch(name, model, batch):
    """A map does not depend on the batch that the image came in, nor on the chunk, nor on its place."""
    whole = explained(name, a_pass(model, batch))
    for size in (2, 7):
        parts = []
        for start in range(0, IMAGES, size):
            rows = range(start, min(start + size, IMAGES))
            run = a_pass(model, _rows(batch, rows), chunk=size)
            targets = torch.tensor(rows) % len(model.classes)
            parts.append(registry.explainers[name].make(LIGHT.get(name, {}))(run, targets))
        _close(torch.cat(parts), whole)
    order = list(reversed(range(IMAGES)))
    targets = torch.tensor(order) % len(model.classes)
    turned = registry.explainers[name].make(LIGHT.get(name, {}))(a_pass(model, _rows(batch, order)), targets)
    _close(turned[torch.tensor(order)], whole)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_map_is_repeatable(name, model, batch):
    """The same seed gives the same map, whatever torch's own generator does."""
    first = explained(name, a_pass(model, batch))
    torch.rand(3)
    assert torch.equal(first, explained(name, a_pass(model, batch)))


@pytest.mark.parametrize("name", [name for name in EXPLAINERS if registry.explainers[name].traits.stochastic])
def test_stochastic_explainers_follow_the_seed(name, model, batch):
    """An explainer that declares to draw numbers gives another map under another seed."""
    first = explained(name, a_pass(model, batch))
    assert not torch.allclose(first, explained(name, replace(a_pass(model, batch), seed=8)))


@pytest.mark.parametrize("name", [name for name in EXPLAINERS if not registry.explainers[name].traits.stochastic])
def test_other_explainers_do_not(name, model, batch):
    """An explainer that declares no randomness gives the same map under another seed."""
    assert torch.equal(explained(name, a_pass(model, batch)), explained(name, replace(a_pass(model, batch), seed=8)))


@pytest.mark.parametrize("name", EXPLAINERS)
def test_explainer_asks_only_for_what_it_declares(name, model, batch):
    """Without a declared need for gradients no backward is counted, without any need no forward."""
    meter = Meter()
    with meter.on(model.net):
        explained(name, a_pass(model, batch, meter=meter))
    needs = registry.explainers[name].traits.needs
    assert (meter.backwards > 0) == ("gradient" in needs)
    assert (meter.forwards > 0) == bool(needs)


@pytest.fixture(scope="module")
def scores(model, batch):
    """Scores of all metrics for three explainers, as the engine computes them, by batch size and in two blocks."""
    found = {chunk: scores_of(model, batch, chunk=chunk, backwards=chunk == 7) for chunk in (64, 1, 2, 7)}
    halves = [scores_of(model, batch, chunk=64, rows=range(first, first + 4)) for first in (4, 0)]
    return {**found, "blocks": pd.concat(halves)}


@pytest.mark.parametrize("name", METRICS)
def test_metric_is_within_its_range(name, scores):
    """A metric's values lie in the range that it declares."""
    low, high = registry.metrics[name].traits.range
    values = scores[64][name].dropna()
    assert len(values)
    assert low is None or (values >= low - 1e-6).all()
    assert high is None or (values <= high + 1e-6).all()


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("way", [1, 2, 7, "blocks"])
def test_metric_is_the_same_in_any_batch(name, way, scores):
    """A metric's values do not depend on the batch size, the images of the block, or (at 7) their order.

    A shard and a resumed run execute the blocks of a whole run, some of them later or elsewhere.
    """
    whole, again = scores[64][name], scores[way][name]
    assert (whole.isna() == again.reindex(whole.index).isna()).all()
    assert (whole - again.reindex(whole.index)).abs().max() < 1e-5


@pytest.mark.parametrize("name", METRICS)
def test_metric_survives_degenerate_maps(name, model, batch):
    """Constant, zero, NaN and infinite maps get a value or none, never an error or a number out of range."""
    made = registry.metrics[name].make()
    flat = torch.stack(
        [torch.ones(64, 64), torch.zeros(64, 64), torch.full((64, 64), torch.nan), torch.full((64, 64), torch.inf)]
    )
    maps = Maps.of(flat, 16)
    assert maps.valid.tolist() == [False] * 4
    small = _rows(batch, range(4))
    if isinstance(made, kinds.MapMetric):
        values = made.score(maps, small)
        assert values.shape == (4,)
        assert not values.isinf().any()
        low, high = registry.metrics[name].traits.range
        there = values[~values.isnan()]
        assert low is None or bool((there >= low).all())
        assert high is None or bool((there <= high).all())


def scores_of(model, batch, *, chunk, backwards=False, rows=range(IMAGES)):
    """A column per metric; index explainer and image."""
    rules = changed(load("quick"), metrics={name: LIGHT_METRICS.get(name, {}) for name in METRICS})
    chosen = ["saliency", "gradcam", "random"]
    line = plan.line_up(rules, chosen)
    line = replace(line, explainers=tuple(part for part in line.explainers if part.name in chosen))
    subject = plan.Subject(model.name, model.revision, "data", model.can, truth=True, rerender=True)
    ids = tuple(reversed(batch.ids)) if backwards else tuple(batch.ids[row] for row in rows)
    block = plan.Block("block", model.name, ids, plan.cells(subject, line, rules), variants=True)
    targets = dict(zip(batch.ids, (i % 7 for i in range(IMAGES)), strict=True))
    job = explaining.Job(model, _Held(batch), line, targets, torch.full((3,), 0.5), 7, GRID, chunk)
    result = execute.run(job, block)
    assert not result.log.failures
    return result.scores.pivot(index=["explainer", "image"], columns="metric", values="value")


class _Held:
    """A data set of one batch that is at hand."""

    def __init__(self, batch):
        self.batch = batch

    def load(self, ids):
        return _rows(self.batch, [self.batch.ids.index(i) for i in ids])


def _rows(batch, rows):
    rows = list(rows)
    again = batch.rerender
    return replace(
        batch,
        images=batch.images[rows],
        labels=batch.labels[rows],
        ids=tuple(batch.ids[r] for r in rows),
        groups={a: tuple(v[r] for r in rows) for a, v in batch.groups.items()},
        parts=batch.parts[rows],
        regions=batch.regions[rows],
        rerender=lambda part, number: again(part, number)[rows],
    )


def _close(a, b):
    scale = b.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
    assert ((a - b).abs() / scale).max() < 1e-4
