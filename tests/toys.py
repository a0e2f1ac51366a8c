"""Hand-wired nets whose every number can be written down, and short ways to explain and to score with them."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mavis.core.attribution_maps import Maps, cell_means, cell_pixels, pooled
from mavis.core.compute import Cost
from mavis.core.metric_types import CurveValues, Fade, MapMetric, ProbeMetric, Question, SweepMetric
from mavis.core.model_pass import Pass
from mavis.core.registry import explainers, metrics
from mavis.core.types import WHITE_BOX, Batch, Model
from mavis.engine.execution import block
from mavis.engine.execution import explain as explaining
from mavis.engine.planning.plan import Block, Cell, Line, Part
from mavis.engine.removal import Scene, together

GREY = torch.full((3,), 0.5)


class Linear(nn.Module):
    """Logit k is the sum of weight ``(K,3,H,W)`` times image: its gradient is the weight row everywhere."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("bchw,kchw->bk", images, self.weight)


class Cells(nn.Module):
    """Logits ``(f, 0)`` of which cells are there: a cell is 1 where the image is white, 0 where it is grey."""

    def __init__(self, f: Callable[[Tensor], Tensor], grid: int = 2) -> None:
        super().__init__()
        self.f = f
        self.grid = grid

    def forward(self, images: Tensor) -> Tensor:
        there = 2 * cell_means(images.mean(1), self.grid) - 1
        answer = self.f(there)
        return torch.stack([answer, torch.zeros_like(answer)], dim=1)


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


def additive(contributions: Tensor) -> Cells:
    """Logit 0 is the sum of the contributions ``(n,)`` of the cells that are there."""
    return Cells(lambda there: there @ contributions, round(len(contributions) ** 0.5))


def both(first: int, second: int) -> Cells:
    """Logit 0 is 1 while two cells of a 2 × 2 grid are there, else 0."""
    return Cells(lambda there: there[:, first] * there[:, second])


def model(net: nn.Module, **traits: object) -> Model:
    """A frozen model around a net, as a run has it; curves are taken on the logit unless ``output`` says otherwise."""
    traits = {"output": "logit", "classes": ("yes", "no", "other"), "can": WHITE_BOX, **traits}
    return Model(name=type(net).__name__, net=net.eval().requires_grad_(False), revision="toy", **traits)  # type: ignore[arg-type]


def noise(count: int, size: int = 8, seed: int = 0) -> Tensor:
    """``(count,3,size,size)``, uniform in [0,1]."""
    return torch.rand((count, 3, size, size), generator=torch.Generator().manual_seed(seed))


def white(count: int = 1, size: int = 4) -> Tensor:
    """White images: every cell of `Cells` is there."""
    return torch.ones(count, 3, size, size)


def batch_of(images: Tensor, **truth: object) -> Batch:
    """A batch with labels 0 and ids ``toy/0``, ``toy/1`` …"""
    labels = torch.zeros(len(images), dtype=torch.int64)
    return Batch(images, labels, tuple(f"toy/{i}" for i in range(len(images))), **truth)  # type: ignore[arg-type]


def a_pass(net: nn.Module | Model, images: Tensor | Batch, **settings: object) -> Pass:
    """A pass with a grey data set, seed 0 and chunks of 64."""
    made = net if isinstance(net, Model) else model(net)
    batch = images if isinstance(images, Batch) else batch_of(images)
    settings = {"mean": GREY, "seed": 0, "chunk": 64, **settings}
    return Pass(made, batch, **settings)  # type: ignore[arg-type]


def targets(run: Pass, target: int | Tensor = 0) -> Tensor:
    """``(B,)``: one class for all images, or the classes as given."""
    return target if isinstance(target, Tensor) else torch.full((len(run),), target)


def explain(name: str, run: Pass, target: int = 0, **params: object) -> Tensor:
    """The raw map of a registered explainer."""
    raw: Tensor = explainers[name].make(params)(run, targets(run, target))
    return raw


def found(name: str, run: Pass, target: int = 0, *, grid: int = 2, **params: object) -> Maps:
    """The pooled maps of a registered explainer."""
    raw = explain(name, run, target, **params)
    return Maps.of(pooled(raw, run.images, explainers[name].traits.pooling), grid)


def maps_of_cells(cells: Tensor, size: int = 4) -> Maps:
    """Maps whose cell values are ``(B,n)``."""
    return Maps.of(cell_pixels(cells.float(), (size, size)), round(cells.shape[1] ** 0.5))


def scene(run: Pass, cells: int, target: int | Tensor = 0) -> Scene:
    """The batch ready for any imputer, in so many cells."""
    return Scene(run, targets(run, target), round(cells**0.5))


def swept(
    run: Pass, maps: Maps, questions: Sequence[Question], target: int | Tensor = 0
) -> dict[Question, CurveValues]:
    """The answers to questions about maps of this pass."""
    made, answers = scene(run, maps.grid**2, target), {}
    for group in together(questions):
        if isinstance(group[0], Fade):
            answers[group[0]] = made.faded(maps, group[0])
        else:
            answers |= made.swept(made.ordered(maps, group[0].unit), group)
    return answers


def score(name: str, maps: Maps, run: Pass, target: int | Tensor = 0, **params: object) -> Tensor:
    """A registered map, sweep or probe metric's score for maps of this pass, ``(B,)``."""
    metric = metrics[name].make(params)
    match metric:
        case MapMetric():
            return metric.score(maps, run.batch)
        case SweepMetric():
            return metric.score(swept(run, maps, metric.curves, target))
        case ProbeMetric():
            made = scene(run, maps.grid**2, target)
            return metric.score(maps, {probe: made.answers(probe) for probe in metric.probes})
    raise TypeError(f"'{name}' is of another kind.")


def spent(run: Pass, name: str, target: int = 0) -> Cost:
    """What an explainer costs on this pass by its account, its model calls counted."""
    with run.meter.on(run.model.net), run.account() as cost:
        explain(name, run, target)
    return cost


class Stored:
    """As much of a data set as is asked for: the images of a batch by name, and grey as their mean."""

    mean = GREY

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def load(self, ids: Sequence[str]) -> Batch:
        rows, again = [self.batch.ids.index(i) for i in ids], self.batch.rerender
        parts, regions = (None if one is None else one[rows] for one in (self.batch.parts, self.batch.regions))
        return Batch(
            self.batch.images[rows],
            self.batch.labels[rows],
            tuple(ids),
            parts=parts,
            regions=regions,
            rerender=None if again is None else lambda part, number: again(part, number)[rows],
        )


def run_block(
    run: Pass, explainer: Part, wanted: Mapping[str, Mapping[str, object]], grid: int = 4
) -> dict[str, Tensor]:
    """Scores one explainer on one batch as a benchmark run does: per metric ``(B,)``, NaN where undefined."""
    made = [Part(name, params, metrics[name].traits, metrics[name].make(params)) for name, params in wanted.items()]
    job = explaining.Job(
        model=run.model,
        data=Stored(run.batch),  # type: ignore[arg-type]
        line=Line((explainer,), tuple(made)),
        targets=dict.fromkeys(run.ids, 0),
        mean=run.mean,
        seed=run.seed,
        grid=grid,
        chunk=run.chunk,
    )
    cells = tuple(Cell(name, explainer.name, name, None) for name in wanted)
    rows = block.run(job, Block("block", run.model.name, run.ids, cells, variants=True)).scores
    assert set(rows.status) <= {"ok", "undefined"}, rows.reason.unique()
    table = rows.pivot(index="image", columns="metric", values="value").loc[list(run.ids)]
    return {name: torch.tensor(table[name].to_numpy(), dtype=torch.float32) for name in wanted}


def part(name: str, **params: object) -> Part:
    """A registered explainer, made."""
    return Part(name, params, explainers[name].traits, explainers[name].make(params))
