"""What a run will cost is what it does cost, counted in model samples."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mavis.core.compute import Cost
from mavis.core.model_pass import Pass
from mavis.core.registry import explainers, metrics
from mavis.core.types import Model
from mavis.datasets.planted_square import planted_square
from mavis.engine.execution import block as execute
from mavis.engine.execution import explain
from mavis.engine.planning import cost_estimate
from mavis.engine.planning.plan import ModelUnderTest, make_blocks, make_cells, resolve_components
from mavis.protocol.schema import Protocol

from ...tables import make_protocol

DATA = planted_square(count=3, size=32)
IDS = tuple(DATA.table().index)


def made() -> Model:
    """A small network with a CAM layer for the two shades."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    return Model("tiny", net.eval().requires_grad_(False), DATA.classes, "r1", cam_layer="1", size=32)


def rules(explainer: str, params: Mapping[str, Any], metrics: Mapping[str, Any]) -> Protocol:
    """One explainer alone under some metrics."""
    return make_protocol(explainers={"controls": [], "settings": {explainer: dict(params)}}, metrics=dict(metrics))


def both(explainer: str, params: Mapping[str, Any], metrics: Mapping[str, Any], varied: int = 0) -> tuple[Cost, Cost]:
    """Planned and spent by one explainer alone on three images, so many of them with variants."""
    found, model = rules(explainer, params, metrics), made()
    line = resolve_components(found, [explainer])
    subject = ModelUnderTest("tiny", "r1", "p1", model.capabilities, has_truth=True)
    laid = make_cells(subject, line, found)
    planned = cost_estimate.estimate_cost(line, laid, model, DATA.load(IDS[:1]), (len(IDS), varied)).for_explainer(
        explainer
    )
    job = explain.ModelTask(
        model=model,
        data=DATA,
        components=line,
        targets=dict.fromkeys(IDS, 0),
        mean_colour=DATA.mean,
        seed=0,
        grid=16,
        chunk=4,
    )
    logs = [execute.run_block(job, block).log for block in make_blocks(subject, laid, IDS, IDS[:varied])]
    assert not any(log.failures for log in logs)
    return planned, Cost(sum(log.forwards for log in logs), sum(log.backwards for log in logs))


@pytest.mark.parametrize(
    ("explainer", "params", "each"),
    [
        ("saliency", {}, (1, 1)),
        ("gradcam", {}, (1, 1)),
        ("integrated_gradients", {"steps": 5}, None),
        ("smoothgrad", {"samples": 6}, (6, 6)),
        ("rise", {"masks": 8}, (8, 0)),
        ("occlusion", {"window": 0.25, "stride": 0.25}, None),
        ("random", {}, (0, 0)),
    ],
)
def test_maps_cost_what_was_planned(explainer: str, params: Mapping[str, Any], each: tuple[int, int] | None) -> None:
    """Forwards and backwards of three maps, counted by the meter on the real network."""
    planned, spent = both(explainer, params, {"gini": {}})
    assert (planned.forwards, planned.backwards) == (spent.forwards, spent.backwards)
    if each is not None:
        assert (spent.forwards, spent.backwards) == (3 * each[0], 3 * each[1])


def test_variants_cost_their_maps_again() -> None:
    """Two noisy copies of two of the three images are four more maps."""
    planned, _ = both("saliency", {}, {"gini": {}, "avg_sensitivity": {"draws": 2}}, varied=2)
    assert (planned.forwards, planned.backwards) == (7, 7)
    planned, spent = both("saliency", {}, {"gini": {}, "avg_sensitivity": {"draws": 2}}, varied=2)
    assert (planned.forwards, planned.backwards) == (spent.forwards, spent.backwards)


def test_sweeps_cost_the_points_between() -> None:
    """Two imputers in two orders at 11 points are 36 samples an image; the ends, 1 whole and 2 empty, are shared."""
    planned, spent = both("random", {}, {"nsrg": {"points": 11}})
    assert planned == Cost(3 * 36, 0)
    assert spent == Cost(3 * (36 + 1 + 2), 0)


def test_tied_maps_take_a_second_order_where_equal_cells_are_parted() -> None:
    """Cells where Grad-CAM is cut to zero are tied: how many of the points part them is not known beforehand."""
    planned, spent = both("gradcam", {}, {"nsrg": {"points": 11}})
    assert planned == Cost(3 * (1 + 36), 3)
    run = Pass(made(), DATA.load(IDS), DATA.mean, 0, 4)
    pixels = explainers["gradcam"].create()(run, torch.zeros(3, dtype=torch.int64))[:, 0]
    cells = torch.nn.functional.avg_pool2d(pixels, 2).flatten(1).numpy()
    removed = [26, 51, 77, 102, 128, 154, 179, 205, 230]
    parted = sum(row[k - 1] == row[k] for row in np.sort(cells) for k in (*removed, *(256 - k for k in removed)))
    assert 0 < parted < 3 * 18
    assert spent == Cost(3 * (1 + 36 + 2) + 2 * parted, 3)


def test_probes_are_counted_once_for_all() -> None:
    """Each of 256 cells alone is 256 samples an image, however many explainers compare themselves with the answers."""
    found = rules("saliency", {}, {"single_deletion": {}})
    line = resolve_components(found, ["saliency", "random"])
    laid = make_cells(ModelUnderTest("tiny", "r1", "p1", made().capabilities, has_truth=True), line, found)
    planned = cost_estimate.estimate_cost(line, laid, made(), DATA.load(IDS[:1]), (3, 0))
    assert planned.probes == 256
    assert planned.total == Cost(3 * 256 + 3, 3)
    assert planned.total.forward_equivalents == 3 * 256 + 3 + 2 * 3


def test_skipped_explainers_cost_nothing() -> None:
    """What the model cannot do is not in the estimate."""
    found = rules("saliency", {}, {"gini": {}})
    line = resolve_components(found, ["saliency", "rise"])
    blind = make_cells(ModelUnderTest("tiny", "r1", "p1", frozenset({"forward"}), has_truth=True), line, found)
    assert set(cost_estimate.estimate_cost(line, blind, made(), DATA.load(IDS[:1]), (3, 0)).maps) == {"rise"}


def test_the_estimate_leaves_the_model_alone() -> None:
    """The counting is done on a stand-in: the real network is not called and keeps no hook."""
    model, calls = made(), []
    model.net.register_forward_hook(lambda *_: calls.append(1))
    found = rules("gradcam", {}, {"gini": {}})
    line = resolve_components(found, ["gradcam"])
    laid = make_cells(ModelUnderTest("tiny", "r1", "p1", model.capabilities, has_truth=True), line, found)
    cost_estimate.estimate_cost(line, laid, model, DATA.load(IDS[:1]), (3, 0))
    assert calls == []
    assert not model.net[1]._forward_hooks


def test_seconds_are_measured() -> None:
    """Both directions where there are gradients, forward only where there are none."""
    forward, backward = cost_estimate.seconds_per_sample(made(), 32, 4)
    assert forward > 0
    assert backward >= 0


def test_a_metric_says_what_it_asks_of_the_model() -> None:
    """Per map for sweeps, for all maps for probes, maps for variants; the figures are those of the defaults."""
    said = {
        name: cost_estimate.describe_cost(metrics[name].create())
        for name in ("gini", "deletion", "nsrg", "single_deletion", "part_faithfulness", "mprt", "mprt_top_down")
    }
    assert said == {
        "gini": "nothing",
        "deletion": "10 forwards per map",
        "nsrg": "38 forwards per map",
        "single_deletion": "256 forwards for all maps",
        "part_faithfulness": "40 forwards for all maps",
        "mprt": "1 more map",
        "mprt_top_down": "a map per layer",
    }


def test_a_reference_costs_one_map_an_image() -> None:
    """Its map is made once, of images with variants too; a method's is made again."""
    metrics = {"gini": {}, "avg_sensitivity_normalised": {"draws": 2}}
    planned, spent = both("cell_occlusion", {"cells": 4}, metrics, varied=2)
    assert planned == spent
    method, _ = both("feature_ablation", {"unit": "cell", "cells": 4}, metrics, varied=2)
    assert method.forwards - planned.forwards == 2 * 2 * 17


def test_a_cost_that_cannot_be_counted_is_recorded_with_its_error() -> None:
    """An explainer that fails on the stand-in counts as free there, and the estimate says which error it raised."""

    def fails(*_: Any) -> Tensor:
        raise ValueError("needs 224 pixels")

    found, model = rules("rise", {}, {"gini": {}}), made()
    line = resolve_components(found, ["rise"])
    line = replace(line, explainers=(replace(line.explainers[0], plugin=fails),))
    subject = ModelUnderTest("tiny", "r1", "p1", model.capabilities, has_truth=True)
    estimate = cost_estimate.estimate_cost(
        line, make_cells(subject, line, found), model, DATA.load(IDS[:1]), (len(IDS), 0)
    )
    assert estimate.maps["rise"] == Cost()
    assert estimate.unknown == {"rise": "ValueError: needs 224 pixels"}
