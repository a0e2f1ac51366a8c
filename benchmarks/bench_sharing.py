"""Gain from sharing: explainers run together against each one alone, and a removal sweep against its floor.

Whole jobs are timed, interleaved by pytest-benchmark's groups; read the ratios of the medians within a group.
"""

import pytest
import torch

from mavis.core import registry
from mavis.core.attribution_maps import Maps, pool_channels
from mavis.core.compute import Meter
from mavis.core.model_pass import Pass
from mavis.datasets.loading.open import open_data
from mavis.engine.removal import RemovalSession, shared_sweeps
from mavis.models.loading.open import open_model

IMAGES, GRID = 32, 16
EXPLAINERS = ("saliency", "input_x_gradient", "cam", "gradcam", "gradcam_plus_plus")


@pytest.fixture(scope="module")
def model():
    return open_model("race_resnet", torch.device("cpu"))[0]


@pytest.fixture(scope="module")
def batch(model):
    data = open_data("synthetic_faces", target="race", split=None, model=model)
    return data.load(list(data.table().index[:IMAGES]))


def make_pass(model, batch):
    return Pass(model, batch, torch.full((3,), 0.5), 0, 128, meter=Meter())


def targets(model):
    return torch.arange(IMAGES) % len(model.classes)


@pytest.mark.benchmark(group="five gradient and CAM maps of 32 images")
def bench_maps_together(benchmark, model, batch):
    methods = [registry.explainers[name].create() for name in EXPLAINERS]

    def work():
        model_pass = make_pass(model, batch)
        return [explain(model_pass, targets(model)) for explain in methods]

    benchmark(work)


@pytest.mark.benchmark(group="five gradient and CAM maps of 32 images")
def bench_maps_each_alone(benchmark, model, batch):
    methods = [registry.explainers[name].create() for name in EXPLAINERS]
    benchmark(lambda: [explain(make_pass(model, batch), targets(model)) for explain in methods])


@pytest.mark.benchmark(group="five gradient and CAM maps of 32 images")
def bench_floor_one_forward_and_backward(benchmark, model, batch):
    def work():
        leaf = batch.images.clone().requires_grad_()
        return torch.autograd.grad(model.net(leaf).gather(1, targets(model)[:, None]).sum(), leaf)

    benchmark(work)


@pytest.mark.benchmark(group="SRG sweep of 32 images, 2 orders x 9 points, one imputer")
def bench_sweep(benchmark, model, batch):
    metric = registry.metrics["srg"].create({"imputers": ["mean"]})
    model_pass = make_pass(model, batch)
    raw = registry.explainers["integrated_gradients"].create()(model_pass, targets(model))
    maps = Maps.from_values(pool_channels(raw, model_pass.images, "sum"), GRID)

    def work():
        session = RemovalSession(make_pass(model, batch), targets(model), GRID)
        order = session.removal_order(maps)
        curves = {}
        for group in shared_sweeps(metric.curves):
            curves |= session.sweep(order, group)
        return metric.score(curves)

    benchmark(work)


@pytest.mark.benchmark(group="SRG sweep of 32 images, 2 orders x 9 points, one imputer")
def bench_floor_of_the_sweep(benchmark, model, batch):
    images = batch.images.repeat(20, 1, 1, 1)  # the whole image, the empty one, and 2 x 9 points between

    def work():
        with torch.no_grad():
            return [model.net(part) for part in images.split(128)]

    benchmark(work)
