"""Memory on the CPU: a long job at 224 px, and integrated gradients beside Captum's.

    python benchmarks/bench_memory.py --json reports/memory.json

Each job runs in a process of its own, whose highest resident memory the kernel tells. What is there before the job
begins (torch, pandas, the network, the data set) is given beside it.
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
from subject import Subject, Wanted
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
    line = Components(tuple(Wanted(METHODS).methods), tuple(Wanted(METRICS).metrics))
    cells = tuple(Cell(f"{e.name} {m.name}", e.name, m.name, None) for e in line.explainers for m in line.metrics)
    chunk = devices.default_chunk(torch.device("cpu"), 3 * SIZE * SIZE * 4)
    job = ModelTask(model, data, line, dict.fromkeys(ids, 0), data.mean, seed=0, grid=16, chunk=chunk)

    def work() -> None:
        for start in range(0, images, BLOCK):
            found = block.run_block(
                job, Block(str(start), "small", ids[start : start + BLOCK], cells, has_variants=True)
            )
            if found.log.failures:
                raise RuntimeError(found.log.failures[0]["traceback"])

    return work


def ours(images: int) -> Callable[[], object]:
    """Integrated gradients by MAVIS: 32 steps at 64 px."""
    subject = Subject(images)
    (method,) = Wanted({"integrated_gradients": {"steps": STEPS}}).methods
    return lambda: method.plugin(subject.a_pass(), subject.targets)


def captum(images: int, batch: int | None = None) -> Callable[[], object]:
    """The same by Captum, whose default is one batch of everything."""
    from captum.attr import IntegratedGradients

    subject = Subject(images)
    line = IntegratedGradients(subject.peer)
    return lambda: line.attribute(subject.images, target=subject.targets, n_steps=STEPS, internal_batch_size=batch)


JOBS: dict[str, tuple[int, Callable[[int], Callable[[], object]]]] = {
    "256 faces at 224 px, sweeps of 21 points": (IMAGES, sweeps),
    "integrated gradients, MAVIS": (32, ours),
    "integrated gradients, Captum's default": (32, captum),
    "integrated gradients, Captum in batches of 128": (32, lambda images: captum(images, 128)),
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
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2 ** (20 if sys.platform == "darwin" else 10)


def alone(job: str, images: int | None = None) -> dict[str, float]:
    """A job in its own process: MiB before it and at its highest, and seconds."""
    command = [sys.executable, __file__, "--job", job, *(["--images", str(images)] if images else [])]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=os.environ | path, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def here(job: str, images: int | None) -> dict[str, float]:
    """A job in this process."""
    count, make = JOBS[job]
    work = make(images or count)
    before, start = peak_mib(), time.perf_counter()
    work()
    return {"before": before, "peak": peak_mib(), "seconds": time.perf_counter() - start}


@pytest.mark.benchmark(group="memory of sweeps at 224 px, 8 images")
def bench_memory_of_sweeps(benchmark):
    found = benchmark.pedantic(lambda: alone(next(iter(JOBS)), 8), rounds=1)
    assert found["peak"] < LIMIT


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory on the CPU.")
    parser.add_argument("--job", choices=JOBS, help="this one only, in this process; prints JSON")
    parser.add_argument("--images", type=int)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    one_thread()
    if given.job:
        warnings.simplefilter("ignore")
        print(json.dumps(here(given.job, given.images)))
        return
    found = {job: alone(job, given.images) for job in JOBS}
    lines = [[job, *(f"{one[key]:,.0f}" for key in ("before", "peak"))] for job, one in found.items()]
    print(table(("job", "MiB before", "MiB at most"), lines))
    write(given.json, "memory", {"jobs": found, "limit": LIMIT})


if __name__ == "__main__":
    main()
