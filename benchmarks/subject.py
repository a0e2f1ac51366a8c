"""What is explained in all benchmarks: a small ResNet with random weights, smooth random images, a square of truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from mavis.core.devices import default_chunk
from mavis.core.model_pass import Pass
from mavis.core.registry import explainers, metric_name, metrics
from mavis.core.traits import ExplainerTraits
from mavis.core.types import Batch, Model
from mavis.engine.execution import block
from mavis.engine.execution.explain import ModelTask
from mavis.engine.planning.plan import Block, Cell, Component, Components
from mavis.engine.store import BlockResult

CLASSES = 7
CAM_LAYER = "6"


class Residual(nn.Module):
    """Two convolutions and a shortcut, a ReLU module at each place."""

    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.first_norm, self.first_relu = nn.BatchNorm2d(out), nn.ReLU()
        self.second = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.second_norm, self.relu = nn.BatchNorm2d(out), nn.ReLU()
        same = channels == out and stride == 1
        short = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.shortcut = nn.Identity() if same else short

    def forward(self, images: Tensor) -> Tensor:
        inside = self.first_relu(self.first_norm(self.first(images)))
        out: Tensor = self.relu(self.second_norm(self.second(inside)) + self.shortcut(images))
        return out


def resnet(channels: int = 3, width: int = 24) -> nn.Sequential:
    """0.34 million parameters, 20 layers with parameters; the last map, module 6, has an eighth of the image's side."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, 2, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        Residual(width, width),
        Residual(width, 2 * width, 2),
        Residual(2 * width, 4 * width, 2),
        Residual(4 * width, 4 * width),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, CLASSES),
    ).eval()


def smooth_images(count: int, size: int) -> Tensor:
    """``(count,3,size,size)`` in [0,1]: coarse random colours, enlarged, with a little noise."""
    stream = torch.Generator().manual_seed(1)
    coarse = torch.rand((count, 3, 8, 8), generator=stream)
    fine = torch.rand((count, 3, size, size), generator=stream)
    return (nn.functional.interpolate(coarse, size=size, mode="bilinear") + 0.05 * fine).clamp(0, 1)


@dataclass(frozen=True)
class Subject:
    """One model and its images, as MAVIS and as its peers see them.

    Attributes:
        count: images.
        size: their side, a multiple of 16.
    """

    count: int
    size: int = 64

    @property
    def most(self) -> int:
        """Samples in one model call of MAVIS: its default."""
        return default_chunk(torch.device("cpu"), 3 * self.size**2 * 4)

    @cached_property
    def net(self) -> nn.Sequential:
        """MAVIS's copy, frozen."""
        return resnet().requires_grad_(False)  # type: ignore[return-value]

    @cached_property
    def peer(self) -> nn.Sequential:
        """The peers' copy, as a user has it: in evaluation mode, its parameters not frozen."""
        return resnet()

    def grey(self) -> nn.Sequential:
        """A network like the peers' for images of one channel."""
        return resnet(channels=1)

    @cached_property
    def images(self) -> Tensor:
        return smooth_images(self.count, self.size)

    @cached_property
    def targets(self) -> Tensor:
        """``(B,)``, the predicted classes."""
        with torch.no_grad():
            return self.net(self.images).argmax(1)

    @cached_property
    def region(self) -> Tensor:
        """``(B,H,W)`` bool: the same square in every image."""
        region = torch.zeros((self.count, self.size, self.size), dtype=torch.bool)
        region[:, 5 * self.size // 16 : 10 * self.size // 16, 5 * self.size // 16 : 11 * self.size // 16] = True
        return region

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(f"image {number}" for number in range(self.count))

    @cached_property
    def batch(self) -> Batch:
        return Batch(self.images, self.targets, self.ids, regions=self.region)

    @cached_property
    def model(self) -> Model:
        return Model(
            name="resnet",
            net=self.net,
            classes=tuple(f"class {number}" for number in range(CLASSES)),
            revision="benchmark",
            cam_layer=CAM_LAYER,
            size=self.size,
        )

    def load(self, ids: tuple[str, ...]) -> Batch:
        """As much of a data set as a block asks for."""
        rows = [self.ids.index(name) for name in ids]
        return Batch(self.images[rows], self.targets[rows], ids, regions=self.region[rows])

    def a_pass(self) -> Pass:
        """A new pass of all images."""
        return Pass(self.model, self.batch, torch.full((3,), 0.5), 0, self.most)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images, targets and masks ``(B,1,H,W)`` as Quantus wants them."""
        return self.images.numpy(), self.targets.numpy(), self.region[:, None].numpy()

    def given(self, name: str, maps: Tensor) -> Component:
        """An explainer that returns maps ``(B,1,H,W)`` made before, so that only the metrics are timed."""

        def made(run: Pass, _: Tensor) -> Tensor:
            return maps[[self.ids.index(name) for name in run.ids]]

        return Component(name, {}, ExplainerTraits("benchmark", frozenset()), made)

    def scored(self, methods: Sequence[Component], wanted: Sequence[Component], grid: int = 16) -> BlockResult:
        """MAVIS's scores of all images as one block; raises if any cell failed."""
        job = ModelTask(
            model=self.model,
            data=self,  # type: ignore[arg-type]
            components=Components(tuple(methods), tuple(wanted)),
            targets=dict(zip(self.ids, self.targets.tolist(), strict=True)),
            mean_colour=torch.full((3,), 0.5),
            seed=0,
            grid=grid,
            chunk=self.most,
        )
        cells = tuple(Cell(f"{e.name} {m.name}", e.name, m.name, None) for e in methods for m in wanted)
        found = block.run_block(job, Block("block", "resnet", self.ids, cells, has_variants=True))
        for failure in found.log.failures:
            raise RuntimeError(failure["traceback"])
        return found


@dataclass(frozen=True)
class Wanted:
    """Explainers or metrics by name with their parameters."""

    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def methods(self) -> list[Component]:
        return [Component(n, p, explainers[n].traits, explainers[n].create(p)) for n, p in self.parts.items()]

    @property
    def metrics(self) -> list[Component]:
        """A name may carry a label: ``nsrg@fine``."""
        entries = {name: metrics[metric_name(name)] for name in self.parts}
        return [Component(n, p, entries[n].traits, entries[n].create(p)) for n, p in self.parts.items()]


def values(found: BlockResult, explainer: str, metric: str) -> np.ndarray:
    """``(B,)`` of one cell, in the order of the images."""
    scores: pd.DataFrame = found.scores
    rows = scores[(scores.explainer == explainer) & (scores.metric == metric)]
    return rows.value.to_numpy()
