"""Memory on the CPU: a long job at 224 px, and integrated gradients beside Captum's.

    python benchmarks/bench_memory.py --json reports/memory.json

Each job runs in a process of its own, whose highest resident memory the kernel reports. The memory in use before the
job begins (torch, pandas, the network, the data set) is printed beside it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import mavis  # noqa: F401 (first, so that its torchvision hook is there before a peer imports torchvision)

# isort: split
import pytest
import torch
from harness import one_thread, table, write
from subject import Subject, make_explainers, make_metrics
from torch import nn

from mavis.core import devices
from mavis.core.types import Model
from mavis.datasets.synthetic_faces import synthetic_faces
from mavis.engine.execution import block
from mavis.engine.execution.explain import ModelTask
from mavis.engine.planning.plan import Block, Cell, Components

LIMIT = 2000
"""MiB that the long job stays below."""

METHODS = {"saliency": {}, "gradcam": {}, "integrated_gradients": {}}
METRICS = {"nsrg": {"points": 21}, "deletion": {"points": 21}, "insertion": {"points": 21}, "avg_sensitivity": {}}
IMAGES, SIZE, BLOCK, STEPS = 256, 224, 32, 32


def sweeps(images: int) -> Callable[[], None]:
    """Sweeps of 21 points over faces of 224 px, three explainers, in blocks of 32, as a run does it."""
    data = synthetic_faces(size=SIZE)
    ids = tuple(data.table().index[:images])
    model = Model("small", _small(len(data.classes)), data.classes, "benchmark", cam_layer="3", size=SIZE)
    components = Components(tuple(make_explainers(METHODS)), tuple(make_metrics(METRICS)))
    cells = tuple(
        Cell(f"{explainer.name} {metric.name}", explainer.name, metric.name, None)
        for explainer in components.explainers
        for metric in components.metrics
    )
    chunk = devices.default_chunk(torch.device("cpu"), 3 * SIZE * SIZE * 4)
    task = ModelTask(model, data, components, dict.fromkeys(ids, 0), data.mean, seed=0, grid=16, chunk=chunk)

    def work() -> None:
        for start in range(0, images, BLOCK):
            result = block.run_block(
                task, Block(str(start), "small", ids[start : start + BLOCK], cells, has_variants=True)
            )
            if result.log.failures:
                raise RuntimeError(result.log.failures[0]["traceback"])

    return work


def mavis_gradients(images: int) -> Callable[[], object]:
    """Integrated gradients by MAVIS: 32 steps at 64 px."""
    subject = Subject(images)
    (method,) = make_explainers({"integrated_gradients": {"steps": STEPS}})
    return lambda: method.plugin(subject.make_pass(), subject.targets)


def captum_gradients(images: int, batch: int | None = None) -> Callable[[], object]:
    """The same by Captum, whose default is one batch of everything."""
    from captum.attr import IntegratedGradients

    subject = Subject(images)
    explainer = IntegratedGradients(subject.peer)
    return lambda: explainer.attribute(subject.images, target=subject.targets, n_steps=STEPS, internal_batch_size=batch)


JOBS: dict[str, tuple[int, Callable[[int], Callable[[], object]]]] = {
    "256 faces at 224 px, sweeps of 21 points": (IMAGES, sweeps),
    "integrated gradients, MAVIS": (32, mavis_gradients),
    "integrated gradients, Captum's default": (32, captum_gradients),
    "integrated gradients, Captum in batches of 128": (32, lambda images: captum_gradients(images, 128)),
}


def _small(classes: int) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 7, stride=4, padding=3),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, classes),
    )
    return net.eval().requires_grad_(False)  # type: ignore[return-value]


def peak_mib() -> float:
    """Highest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2 ** (20 if sys.platform == "darwin" else 10)


def alone(job: str, images: int | None = None) -> dict[str, float]:
    """A job in its own process: MiB before it and at its highest, and seconds."""
    command = [sys.executable, __file__, "--job", job, *(["--images", str(images)] if images else [])]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.run(command, env=os.environ | path, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return figures


def here(job: str, images: int | None) -> dict[str, float]:
    """A job in this process."""
    count, make = JOBS[job]
    work = make(images or count)
    before, start = peak_mib(), time.perf_counter()
    work()
    return {"before": before, "peak": peak_mib(), "seconds": time.perf_counter() - start}


@pytest.mark.benchmark(group="memory of sweeps at 224 px, 8 images")
def bench_memory_of_sweeps(benchmark):
    figures = benchmark.pedantic(lambda: alone(next(iter(JOBS)), 8), rounds=1)
    assert figures["peak"] < LIMIT


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory on the CPU.")
    parser.add_argument("--job", choices=JOBS, help="this one only, in this process; prints JSON")
    parser.add_argument("--images", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    one_thread()
    if options.job:
        warnings.simplefilter("ignore")
        print(json.dumps(here(options.job, options.images)))
        return
    figures = {job: alone(job, options.images) for job in JOBS}
    lines = [[job, *(f"{values[key]:,.0f}" for key in ("before", "peak"))] for job, values in figures.items()]
    print(table(("job", "MiB before", "MiB at most"), lines))
    write(options.json, "memory", {"jobs": figures, "limit": LIMIT})


if __name__ == "__main__":
    main()
