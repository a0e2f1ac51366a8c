"""Every registered explainer and metric keeps its contract: shape, sign, inputs unchanged, the same in any batch."""

import copy
import ctypes
import gc
from dataclasses import replace
from functools import cache

import pandas as pd
import pytest
import torch
from torch import nn

from mavis.core import metric_types, registry
from mavis.core.attribution_maps import Maps, pool_channels
from mavis.core.compute import Meter
from mavis.core.errors import ModelError
from mavis.core.model_pass import Pass
from mavis.core.types import ReferenceImages
from mavis.datasets.loading.open import open_data
from mavis.engine.execution import block as execute
from mavis.engine.execution import explain
from mavis.engine.planning import plan
from mavis.models.loading.open import open_model
from mavis.protocol.loading import load_protocol, with_overrides

from . import toys

IMAGES, MANY = 8, 64
LIGHT = {
    "anti_oracle": {"draws": 1},
    "blur_ig": {"steps": 3},
    "cell_occlusion": {"cells": 4},
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
    "nsrg": {"min_headroom": 0.001},
    "part_faithfulness": {"draws": 1},
    "smooth_mprt": {"samples": 2},
}
UNSUPPORTED = {
    "attention_rollout": "attention layers",
    "attention_x_gradient": "attention layers",
    "gradient_rollout": "attention layers",
}
"""What the model here lacks for some explainers; they keep the contract on a model of their own, in their tests."""
SILENT = {
    "eigencam": "of activations behind a ReLU",
    "mean_map": "of saliency, whose maps are lengths",
}
"""Explainers whose values may be negative, and are not on the model here."""
GRID = 8
EXPLAINERS = [name for name in registry.explainers.names() if name not in UNSUPPORTED]
METRICS = [m.name for m in registry.metrics if m.traits.category != "cost" and m.origin != "Quantus"]


@pytest.fixture(scope="module")
def model():
    return open_model("race_resnet", torch.device("cpu"))[0]


@pytest.fixture(scope="module")
def many(model):
    """Faces of 32 × 32 pixels: every second one of their rows and columns."""
    data = open_data("synthetic_faces", target="race", split=None, model=model)
    whole = data.load(list(data.table().index[:MANY]))
    again = whole.rerender
    return replace(
        whole,
        images=whole.images[..., ::2, ::2].contiguous(),
        parts=whole.parts[..., ::2, ::2].contiguous(),
        regions=whole.regions[..., ::2, ::2].contiguous(),
        rerender=cache(lambda part, number: again(part, number)[..., ::2, ::2]),  # drawing takes longest
    )


@pytest.fixture(scope="module")
def batch(many):
    return _rows(many, range(IMAGES))


@pytest.fixture(scope="module")
def toy():
    """Two convolutions and a linear layer: cheap to ask often."""
    torch.manual_seed(5)
    first, last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, stride=2, padding=1)
    layers = (first, nn.ReLU(), last, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3))
    return toys.make_model(nn.Sequential(*layers), cam_layer="3")


def a_pass(model, batch, chunk=64, meter=None):
    others = torch.rand((3, *batch.images.shape[1:]), generator=torch.Generator().manual_seed(9))
    reference = ReferenceImages(others, ("other/0", "other/1", "other/2"))
    return Pass(model, batch, torch.full((3,), 0.5), 7, chunk, meter=meter or Meter(), reference=reference)


def explained(name, run):
    targets = torch.arange(len(run)) % len(run.model.classes)
    return registry.explainers[name].create(LIGHT.get(name, {}))(run, targets)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_map_has_the_shape_and_is_finite(name, model, batch):
    """An explainer returns finite floats of shape (B,3,H,W) or (B,1,H,W)."""
    run = a_pass(model, batch)
    raw = explained(name, run)
    assert pool_channels(raw, run.images, registry.explainers[name].traits.pooling).isfinite().all()


@pytest.mark.parametrize("name", EXPLAINERS)
def test_values_have_the_sign_that_is_declared(name, model, batch):
    """An explainer that declares so gives no negative value, and every other one does."""
    raw = explained(name, a_pass(model, batch))
    if registry.explainers[name].traits.signed:
        assert bool(raw.min() < -1e-6 * raw.abs().max()) == (name not in SILENT)
    else:
        assert raw.min() >= 0


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
def test_map_is_the_same_in_any_batch(name, model, many):
    """A map does not depend on the batch of 1, 2, 7 or 64 that the image came in, on the chunk, nor on its place."""
    whole = explained(name, a_pass(model, many, chunk=MANY))
    order = torch.randperm(MANY, generator=torch.Generator().manual_seed(1))
    for rows in order.split([1, 2, 7, MANY - 10])[:3]:
        run = a_pass(model, _rows(many, rows.tolist()), chunk=len(rows))
        found = registry.explainers[name].create(LIGHT.get(name, {}))(run, rows % len(model.classes))
        _close(found, whole[rows])


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
    with meter.attach(model.net):
        explained(name, a_pass(model, batch, meter=meter))
    needs = registry.explainers[name].traits.needs
    assert (meter.backwards > 0) == ("gradient" in needs)
    assert (meter.forwards > 0) == bool(needs)


def in_use():
    """Bytes that this process holds, as its allocator counts them."""
    gc.collect()
    found = ctypes.CDLL(None).mallinfo2
    found.restype = _Mallinfo
    now = found()
    return now.uordblks + now.hblkhd


class _Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")]
    _fields_ += [(name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library does not say what is in use")
@pytest.mark.parametrize("name", EXPLAINERS)
def test_memory_is_flat_over_200_calls(name, toy, batch):
    """A hundred more calls hold not even two images more: no graph, no hook and no cache is left behind by each."""
    method = registry.explainers[name].create(LIGHT.get(name, {}))
    run = a_pass(toy, _rows(batch, [0]))
    held = []
    for call in range(200):
        method(
            replace(run, batch=run.batch.single_image(0), _computed={}, _used=set()), torch.zeros(1, dtype=torch.int64)
        )
        if call in (99, 199):
            held.append(in_use())
    assert held[1] - held[0] < 2 * run.images.nbytes


@pytest.fixture(scope="module")
def scores(model, batch):
    """Scores of all metrics for three explainers, as the engine computes them, by batch size and in two blocks.

    Batches of 1 and 2, which are filled up to eight images, are of three images, which have every part between them.
    """
    found = {chunk: scores_of(model, batch, chunk=chunk, rows=range(2, 5)) for chunk in (1, 2)}
    found |= {64: scores_of(model, batch, chunk=64), 7: scores_of(model, batch, chunk=7, backwards=True)}
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
    again = scores[way][name]
    whole = scores[64][name].reindex(again.index)
    assert again.index.is_unique
    assert len(again) == 3 * (3 if way in (1, 2) else IMAGES)
    assert again.notna().any()
    assert (whole.isna() == again.isna()).all()
    assert (whole - again).abs().max() < 1e-5


@pytest.mark.parametrize("name", METRICS)
def test_metric_survives_degenerate_maps(name, model, batch):
    """Constant, zero, NaN and infinite maps get a value or none, never an error or a number out of range."""
    made = registry.metrics[name].create()
    flat = torch.stack(
        [torch.ones(32, 32), torch.zeros(32, 32), torch.full((32, 32), torch.nan), torch.full((32, 32), torch.inf)]
    )
    maps = Maps.from_values(flat, 16)
    assert maps.valid.tolist() == [False] * 4
    small = _rows(batch, range(4))
    if isinstance(made, metric_types.MapMetric):
        values = made.score(maps, small)
        assert values.shape == (4,)
        assert not values.isinf().any()
        low, high = registry.metrics[name].traits.range
        there = values[~values.isnan()]
        assert low is None or bool((there >= low).all())
        assert high is None or bool((there <= high).all())


def scores_of(model, batch, *, chunk, backwards=False, rows=range(IMAGES)):
    """A column per metric; index explainer and image."""
    rules = with_overrides(load_protocol("quick"), metrics={name: LIGHT_METRICS.get(name, {}) for name in METRICS})
    chosen = ["saliency", "gradcam", "random"]
    line = plan.resolve_components(rules, chosen)
    line = replace(line, explainers=tuple(part for part in line.explainers if part.name in chosen))
    subject = plan.ModelUnderTest(
        model.name, model.revision, "data", model.capabilities, has_truth=True, can_rerender=True
    )
    ids = tuple(reversed(batch.ids)) if backwards else tuple(batch.ids[row] for row in rows)
    block = plan.Block("block", model.name, ids, plan.make_cells(subject, line, rules), has_variants=True)
    targets = dict(zip(batch.ids, (i % 7 for i in range(IMAGES)), strict=True))
    job = explain.ModelTask(model, _Held(batch), line, targets, torch.full((3,), 0.5), 7, GRID, chunk)
    result = execute.run_block(job, block)
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
