"""The subject of all benchmarks: a small ResNet with random weights, smooth random images, a square as true region."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
        is_same_shape = channels == out and stride == 1
        projection = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.shortcut = nn.Identity() if is_same_shape else projection

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
    def chunk(self) -> int:
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
        """The part of a data set that a block uses: images by id."""
        rows = [self.ids.index(name) for name in ids]
        return Batch(self.images[rows], self.targets[rows], ids, regions=self.region[rows])

    def make_pass(self) -> Pass:
        """A new pass of all images."""
        return Pass(self.model, self.batch, torch.full((3,), 0.5), 0, self.chunk)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images, targets and masks ``(B,1,H,W)`` as Quantus wants them."""
        return self.images.numpy(), self.targets.numpy(), self.region[:, None].numpy()

    def fixed_explainer(self, name: str, maps: Tensor) -> Component:
        """An explainer that returns precomputed maps ``(B,1,H,W)``, so that only the metrics are timed."""

        def explain(model_pass: Pass, _: Tensor) -> Tensor:
            return maps[[self.ids.index(name) for name in model_pass.ids]]

        return Component(name, {}, ExplainerTraits("benchmark", needs=frozenset()), explain)

    def score(
        self, methods: Sequence[Component], metric_components: Sequence[Component], grid: int = 16
    ) -> BlockResult:
        """MAVIS's scores of all images as one block; raises if any cell failed."""
        task = ModelTask(
            model=self.model,
            data=self,  # type: ignore[arg-type]
            components=Components(tuple(methods), tuple(metric_components)),
            targets=dict(zip(self.ids, self.targets.tolist(), strict=True)),
            mean_colour=torch.full((3,), 0.5),
            seed=0,
            grid=grid,
            chunk=self.chunk,
        )
        cells = tuple(
            Cell(f"{explainer.name} {metric.name}", explainer.name, metric.name, None)
            for explainer in methods
            for metric in metric_components
        )
        result = block.run_block(task, Block("block", "resnet", self.ids, cells, has_variants=True))
        for failure in result.log.failures:
            raise RuntimeError(failure["traceback"])
        return result


def make_explainers(params: Mapping[str, Mapping[str, Any]]) -> list[Component]:
    """Registered explainers by name with their parameters."""
    return [Component(name, p, explainers[name].traits, explainers[name].create(p)) for name, p in params.items()]


def make_metrics(params: Mapping[str, Mapping[str, Any]]) -> list[Component]:
    """Registered metrics by name with their parameters; a name may carry a label: ``nsrg@fine``."""
    entries = {name: metrics[metric_name(name)] for name in params}
    return [Component(name, p, entries[name].traits, entries[name].create(p)) for name, p in params.items()]


def values(result: BlockResult, explainer: str, metric: str) -> np.ndarray:
    """``(B,)`` of one cell, in the order of the images."""
    scores: pd.DataFrame = result.scores
    rows = scores[(scores.explainer == explainer) & (scores.metric == metric)]
    return rows.value.to_numpy()
