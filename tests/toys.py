"""Hand-wired nets whose every number can be written down, and short ways to explain and to score with them."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mavis.core.attribution_maps import Maps, cell_means, cells_to_pixels, pool_channels
from mavis.core.compute import Cost
from mavis.core.metric_types import CurveQuery, CurveValues, MapMetric, ProbeMetric, SoftMasking, SweepMetric
from mavis.core.model_pass import Pass
from mavis.core.registry import explainers, metrics
from mavis.core.types import WHITE_BOX, Batch, Model
from mavis.engine.execution import block
from mavis.engine.execution import explain as explaining
from mavis.engine.planning.plan import Block, Cell, Component, Components
from mavis.engine.removal import RemovalSession, shared_sweeps

GREY = torch.full((3,), 0.5)


class Linear(nn.Module):
    """Logit k is the sum of weight ``(K,3,H,W)`` times image: its gradient is the weight row everywhere."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("bchw,kchw->bk", images, self.weight)


class CellModel(nn.Module):
    """Logits ``(f, 0)``, f a function of which cells are present: 1 where the image is white, 0 where it is grey."""

    def __init__(self, f: Callable[[Tensor], Tensor], grid: int = 2) -> None:
        super().__init__()
        self.f = f
        self.grid = grid

    def forward(self, images: Tensor) -> Tensor:
        present = 2 * cell_means(images.mean(1), self.grid) - 1
        logit = self.f(present)
        return torch.stack([logit, torch.zeros_like(logit)], dim=1)


class Pooled(nn.Module):
    """Convolution, ReLU (the CAM layer, named ``relu``), global average pooling and one linear layer."""

    def __init__(self, classes: int = 3, channels: int = 5) -> None:
        super().__init__()
        stream = torch.Generator().manual_seed(5)
        self.conv = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        self.relu = nn.ReLU()
        self.head = nn.Linear(channels, classes)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=stream))

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.head(self.relu(self.conv(images)).mean((2, 3)))
        return out


class Clamped(nn.Module):
    """Two convolutions; the first ReLU is a module, the second is written as a clamp."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.last = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.last(self.first(self.relu(images - 0.5)).clamp(min=0)).mean((2, 3))
        return out


def additive(contributions: Tensor) -> CellModel:
    """Logit 0 is the sum of the contributions ``(n,)`` of the cells that are present."""
    return CellModel(lambda present: present @ contributions, round(len(contributions) ** 0.5))


def conjunction(first: int, second: int) -> CellModel:
    """Logit 0 is 1 while two cells of a 2 × 2 grid are present, else 0."""
    return CellModel(lambda present: present[:, first] * present[:, second])


def make_model(net: nn.Module, **traits: object) -> Model:
    """A frozen model around a net, as a run has it; curves are taken on the logit unless ``output`` says otherwise."""
    traits = {"output": "logit", "classes": ("yes", "no", "other"), "capabilities": WHITE_BOX, **traits}
    return Model(name=type(net).__name__, net=net.eval().requires_grad_(False), revision="toy", **traits)  # type: ignore[arg-type]


def random_images(count: int, size: int = 8, seed: int = 0) -> Tensor:
    """``(count,3,size,size)``, uniform in [0,1]."""
    return torch.rand((count, 3, size, size), generator=torch.Generator().manual_seed(seed))


def white_images(count: int = 1, size: int = 4) -> Tensor:
    """White images: every cell of `CellModel` is present."""
    return torch.ones(count, 3, size, size)


def make_batch(images: Tensor, **truth: object) -> Batch:
    """A batch with labels 0 and ids ``toy/0``, ``toy/1`` …"""
    labels = torch.zeros(len(images), dtype=torch.int64)
    return Batch(images, labels, tuple(f"toy/{i}" for i in range(len(images))), **truth)  # type: ignore[arg-type]


def make_pass(net: nn.Module | Model, images: Tensor | Batch, **settings: object) -> Pass:
    """A pass with a grey data set, seed 0 and chunks of 64."""
    model = net if isinstance(net, Model) else make_model(net)
    batch = images if isinstance(images, Batch) else make_batch(images)
    settings = {"mean": GREY, "seed": 0, "chunk": 64, **settings}
    return Pass(model, batch, **settings)  # type: ignore[arg-type]


def targets(model_pass: Pass, target: int | Tensor = 0) -> Tensor:
    """``(B,)``: one class for all images, or the classes as given."""
    return target if isinstance(target, Tensor) else torch.full((len(model_pass),), target)


def explain(name: str, model_pass: Pass, target: int = 0, **params: object) -> Tensor:
    """The raw map of a registered explainer."""
    raw: Tensor = explainers[name].create(params)(model_pass, targets(model_pass, target))
    return raw


def pooled_maps(name: str, model_pass: Pass, target: int = 0, *, grid: int = 2, **params: object) -> Maps:
    """The pooled maps of a registered explainer."""
    raw = explain(name, model_pass, target, **params)
    return Maps.from_values(pool_channels(raw, model_pass.images, explainers[name].traits.pooling), grid)


def maps_from_cells(cells: Tensor, size: int = 4) -> Maps:
    """Maps whose cell values are ``(B,n)``."""
    return Maps.from_values(cells_to_pixels(cells.float(), (size, size)), round(cells.shape[1] ** 0.5))


def removal_session(model_pass: Pass, cells: int, target: int | Tensor = 0) -> RemovalSession:
    """The batch ready for any imputer, in so many cells."""
    return RemovalSession(model_pass, targets(model_pass, target), round(cells**0.5))


def sweep_curves(
    model_pass: Pass, maps: Maps, questions: Sequence[CurveQuery], target: int | Tensor = 0
) -> dict[CurveQuery, CurveValues]:
    """Model outputs along the queried curves of maps of this pass."""
    session, answers = removal_session(model_pass, maps.grid**2, target), {}
    for group in shared_sweeps(questions):
        if isinstance(group[0], SoftMasking):
            answers[group[0]] = session.soft_mask(maps, group[0])
        else:
            answers |= session.sweep(session.removal_order(maps, group[0].unit), group)
    return answers


def score(name: str, maps: Maps, model_pass: Pass, target: int | Tensor = 0, **params: object) -> Tensor:
    """A registered map, sweep or probe metric's score for maps of this pass, ``(B,)``."""
    metric = metrics[name].create(params)
    match metric:
        case MapMetric():
            return metric.score(maps, model_pass.batch)
        case SweepMetric():
            return metric.score(sweep_curves(model_pass, maps, metric.curves, target))
        case ProbeMetric():
            session = removal_session(model_pass, maps.grid**2, target)
            return metric.score(maps, {probe: session.probe_outputs(probe) for probe in metric.probes})
    raise TypeError(f"'{name}' is no map, sweep or probe metric.")


def measure_cost(model_pass: Pass, name: str, target: int = 0) -> Cost:
    """The cost that this pass charges to an explainer, with its model calls counted."""
    with model_pass.meter.attach(model_pass.model.net), model_pass.measure_cost() as cost:
        explain(name, model_pass, target)
    return cost


class StoredBatch:
    """The part of a data set that a model task uses: images of a batch by id, and grey as their mean."""

    mean = GREY

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def load(self, ids: Sequence[str]) -> Batch:
        rows, rerender = [self.batch.ids.index(i) for i in ids], self.batch.rerender
        parts, regions = (None if truth is None else truth[rows] for truth in (self.batch.parts, self.batch.regions))
        return Batch(
            self.batch.images[rows],
            self.batch.labels[rows],
            tuple(ids),
            parts=parts,
            regions=regions,
            rerender=None if rerender is None else lambda part, number: rerender(part, number)[rows],
        )


def run_block(
    model_pass: Pass, explainer: Component, metric_params: Mapping[str, Mapping[str, object]], grid: int = 4
) -> dict[str, Tensor]:
    """Scores one explainer on one batch as a benchmark run does: per metric ``(B,)``, NaN where undefined."""
    metric_components = [
        Component(name, params, metrics[name].traits, metrics[name].create(params))
        for name, params in metric_params.items()
    ]
    task = explaining.ModelTask(
        model=model_pass.model,
        data=StoredBatch(model_pass.batch),  # type: ignore[arg-type]
        components=Components((explainer,), tuple(metric_components)),
        targets=dict.fromkeys(model_pass.ids, 0),
        mean_colour=model_pass.mean,
        seed=model_pass.seed,
        grid=grid,
        chunk=model_pass.chunk,
    )
    cells = tuple(Cell(name, explainer.name, name, None) for name in metric_params)
    rows = block.run_block(task, Block("block", model_pass.model.name, model_pass.ids, cells, has_variants=True)).scores
    assert set(rows.status) <= {"ok", "undefined"}, rows.reason.unique()
    table = rows.pivot(index="image", columns="metric", values="value").loc[list(model_pass.ids)]
    return {name: torch.tensor(table[name].to_numpy(), dtype=torch.float32) for name in metric_params}


def make_explainer(name: str, **params: object) -> Component:
    """A registered explainer as a component."""
    return Component(name, params, explainers[name].traits, explainers[name].create(params))
