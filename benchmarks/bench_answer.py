"""Order of methods by what they attain of the symmetric relevance gain, and its agreement with other grids and fills.

Run as a program: a row per method, with its share of the attainable gain [95 %], and one per setting with Kendall's tau
of its order with that of the primary measure. The gain is taken over grids that each image draws for itself.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from harness import figure, one_thread, table, write
from scipy.stats import kendalltau
from torch import Tensor

from mavis.core.attribution_maps import Maps, pool_channels
from mavis.core.metric_types import SweepMetric
from mavis.core.model_pass import Pass
from mavis.core.registry import explainers, metrics
from mavis.core.types import Dataset, Model
from mavis.engine.attainable_gain import attainable_score
from mavis.engine.removal import RemovalSession, shared_sweeps
from mavis.models.loading.open import open_models

CONTROLS = ("centre_gaussian", "sobel", "random")
METHODS = (
    *("occlusion", "integrated_gradients", "deeplift", "lrp", "input_x_gradient", "saliency", "smoothgrad"),
    *("guided_backprop", "guided_gradcam", "gradcam", "oracle"),
)
IMPUTERS, CELLS, ORDERS, GRID = ("mean", "blur"), (13, 9), 8, 16
SETTINGS: Mapping[str, tuple[Mapping[str, object], int, int]] = {
    "other places of the grids": ({"cells": CELLS}, GRID, 1),
    "cells of about 1/13": ({"cells": CELLS[:1]}, GRID, 0),
    "cells of about 1/9": ({"cells": CELLS[1:]}, GRID, 0),
    "fill: mean": ({"cells": CELLS, "imputers": ("mean",)}, GRID, 0),
    "fill: blur": ({"cells": CELLS, "imputers": ("blur",)}, GRID, 0),
    "fill: linear": ({"cells": CELLS, "imputers": ("linear",)}, GRID, 0),
    "fill: noise": ({"cells": CELLS, "imputers": ("noise",)}, GRID, 0),
    **{f"one regular grid, {n} × {n}": ({}, n, 0) for n in (12, 13, 14, 15, 16, 17, 18, 19, 20)},
}
"""Per setting the parameters of the gain, cells along a side of the run's grid, and the seed of the drawn ones."""


def gain(**params: object) -> SweepMetric:
    """Symmetric relevance gain with other parameters than here."""
    metric = metrics["srg"].create({"imputers": list(IMPUTERS), **{k: list(v) for k, v in params.items()}})  # type: ignore[call-overload]
    assert isinstance(metric, SweepMetric)
    return metric


def choose_images(data: Dataset, per_group: int) -> list[str]:
    """The first images of each class."""
    return [str(i) for _, rows in data.table().groupby("label") for i in rows.index[:per_group]]


def scores(model_pass: Pass, maps: Tensor, metric: SweepMetric, grid: int) -> np.ndarray:
    """``(B,)``, one gain per image."""
    pooled = Maps.from_values(maps, grid)
    session = RemovalSession(model_pass, model_pass.logits.argmax(1), grid)
    curves = {}
    for group in shared_sweeps(metric.curves):
        curves |= session.sweep(session.removal_order(pooled, group[0].unit), group)  # type: ignore[union-attr,arg-type]
    return metric.score(curves).double().numpy()


def make_maps(model_pass: Pass) -> dict[str, Tensor]:
    """The maps of the methods and controls that this model and data allow."""
    maps = {}
    for name in (*METHODS, *CONTROLS):
        try:
            raw = explainers[name].create({})(model_pass, model_pass.logits.argmax(1))
        except Exception as error:
            print(f"{name}: left out ({error})", file=sys.stderr)
            continue
        maps[name] = pool_channels(raw, model_pass.images, explainers[name].traits.pooling)
    return maps


def interval(values: np.ndarray, attainable: np.ndarray) -> tuple[float, float]:
    """Percentile interval of the ratio of means over resampled images."""
    draws = np.random.default_rng(0).integers(0, len(values), (2000, len(values)))
    low, high = np.quantile(values[draws].mean(1) / attainable[draws].mean(1), [0.025, 0.975])
    return float(low), float(high)


def share_rows(gains: Mapping[str, np.ndarray], attainable: np.ndarray) -> list[list[str]]:
    """Methods and controls from the largest share on."""
    rows = []
    for name in sorted(gains, key=lambda name: -gains[name].mean()):
        low, high = interval(gains[name], attainable)
        share = f"{figure(gains[name].mean() / attainable.mean())} [{figure(low)}, {figure(high)}]"
        rows.append([name, figure(gains[name].mean(), 3), share, figure(float((gains[name] > attainable).mean()))])
    return rows


def tau_rows(model: Model, data: Dataset, ids: Sequence[str], order: Mapping[str, float]) -> list[list[str]]:
    """Per setting Kendall's tau of the order of the methods with the order given, and the leader."""
    rows = []
    for setting, (params, grid, seed) in SETTINGS.items():
        model_pass = Pass(model, data.load(ids), data.mean, seed, 128)
        maps = {name: values for name, values in make_maps(model_pass).items() if name in METHODS}
        means = {name: scores(model_pass, values, gain(**params), grid).mean() for name, values in maps.items()}
        tau = float(kendalltau([order[name] for name in means], list(means.values())).statistic)
        rows.append([setting, figure(tau), max(means, key=lambda name: means[name])])
        print(f"{setting}: {rows[-1][1]}", file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description="Shares of the attainable gain, and the order under other settings.")
    parser.add_argument("--model", default="race_resnet")
    parser.add_argument("--data", default="synthetic_faces")
    parser.add_argument("--target")
    parser.add_argument("--per-class", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    one_thread()
    loaded, data = open_models([options.model], torch.device("cpu"), options.data, target=options.target, split=None)
    ((model, _),) = loaded.values()
    ids = choose_images(data, options.per_class)
    model_pass = Pass(model, data.load(ids), data.mean, 0, 128)
    targets, start = model_pass.logits.argmax(1).tolist(), time.process_time()
    attainable = np.array(
        [
            attainable_score(model_pass.single_image(row), target, gain(cells=CELLS), GRID, ORDERS)
            for row, target in enumerate(targets)
        ]
    )
    seconds = (time.process_time() - start) / len(ids)
    gains = {name: scores(model_pass, maps, gain(cells=CELLS), GRID) for name, maps in make_maps(model_pass).items()}
    shares = share_rows(gains, attainable)
    print(f"{len(ids)} images, attainable {attainable.mean():.3f}, {seconds:.1f} CPU s an image\n")
    print(table(("method", "gain", "share of the attainable", "images above it"), shares))
    taus = tau_rows(model, data, ids, {name: float(values.mean()) for name, values in gains.items()})
    print("\n" + table(("setting", "tau", "leader"), taus))
    write(options.json, "answer", {"model": options.model, "images": len(ids), "shares": shares, "taus": taus})


if __name__ == "__main__":
    main()
