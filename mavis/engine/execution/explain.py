"""Making maps: the passes of a job, its explainers run on them and checked, every model call counted."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from torch import Tensor, nn

from mavis.core.attribution_maps import Maps, pooled
from mavis.core.compute import Meter
from mavis.core.errors import ContractError
from mavis.core.model_pass import Pass
from mavis.core.perturbation.variants import Variant
from mavis.core.types import Batch, Dataset, Model, Reference
from mavis.engine.execution.records import Scope
from mavis.engine.planning.plan import Line, Part


class Others:
    """Models of variants, kept from block to block while they are small enough."""

    def __init__(self, most: int = 512 * 2**20) -> None:
        self.room = most
        self.made: dict[str, Model] = {}

    def of(self, variant: Variant, model: Model, seed: int) -> Model:
        """The variant's model."""
        key = variant.model_key
        if key in self.made:
            return self.made[key]
        made = variant.model(model, seed)
        if made is model:
            return model
        known = {id(tensor) for tensor in _tensors(model)}
        size = sum(tensor.nbytes for tensor in _tensors(made) if id(tensor) not in known)
        if size <= self.room:
            self.room -= size
            self.made[key] = made
        return made


def _tensors(model: Model) -> Iterator[Tensor]:
    yield from model.net.parameters()
    yield from model.net.buffers()


@dataclass(frozen=True)
class Job:
    """What every block of one model has in common.

    Attributes:
        model: what is explained, on its device.
        data: where images come from.
        line: explainers and metrics.
        targets: per image id the explained class.
        mean: ``(3,)``, the data set's mean colour.
        seed: the run's.
        grid: cells per side.
        chunk: most samples in one model call.
        keep: ids of the images whose maps are kept for the gallery.
        reference: other images of the data set, on the device.
        truth: face parts that the model was shown to use: what localisation is scored against; None for what the data
            say.
        others: models of variants.
        agreement: share of cells that count as top ones where methods are compared with each other; None for not.
        tick: called with the work that was done, in forwards (a backward counts as two).
    """

    model: Model
    data: Dataset
    line: Line
    targets: Mapping[str, int]
    mean: Tensor
    seed: int
    grid: int
    chunk: int
    keep: frozenset[str] = frozenset()
    agreement: float | None = None
    reference: Reference | None = None
    truth: tuple[str, ...] | None = None
    others: Others = field(default_factory=Others)
    tick: Callable[[float], None] = lambda _: None


@dataclass(frozen=True)
class Shot:
    """One batch, explained: what the metrics work on.

    Attributes:
        run: the pass of the original images.
        targets: ``(B,)``, the explained classes.
        maps: per explainer that succeeded.
    """

    run: Pass
    targets: Tensor
    maps: Mapping[str, Maps]

    def scope(self, stage: str, *metrics: Part, explainer: str | None = None) -> Scope:
        """What an exception in a stage would cost; all explainers unless one is named."""
        names = (explainer,) if explainer else tuple(self.maps)
        return Scope(stage, self.run.ids, names, tuple(m.name for m in metrics) or None)


class Explaining:
    """Passes and maps of one block.

    Attributes:
        job: what all blocks have in common.
        meter: counts what passes any model.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.meter = job, Meter()

    def pass_of(self, model: Model, batch: Batch, variant: str = "", mean: Tensor | None = None) -> Pass:
        """A pass; its graph reaches the image only where an explainer will ask for it."""
        needs = [e.traits.needs for e in self.job.line.explainers]
        through_input = any("gradient" in n and "activations" not in n for n in needs)
        mean = self.job.mean if mean is None else mean
        return Pass(
            model, batch, mean, self.job.seed, self.job.chunk, variant, through_input, self.meter, self.job.reference
        )

    def values(self, part: Part, run: Pass, targets: Tensor) -> Tensor:
        """One number per pixel, ``(B,H,W)``.

        Raises:
            ContractError: the explainer changed the images, or returned something else than a map.
        """
        before = run.images._version
        raw = part.made(run, targets)
        if run.images._version != before:
            raise ContractError(f"'{part.name}' changed the images it was given; work on a copy.")
        return pooled(raw, run.images, part.traits.pooling)

    def counting(self, net: nn.Module) -> AbstractContextManager[object]:
        """Counts what passes a network, unless the model itself is inside it and counts already."""
        inside = any(module is self.job.model.net for module in net.modules())
        return nullcontext() if inside else self.meter.on(net)

    def anything(self, part: Part) -> Callable[[Model, Tensor, Tensor], Tensor]:
        """An explainer as a function of model, images and targets; these images have no truth and no names."""

        def explain(model: Model, images: Tensor, targets: Tensor) -> Tensor:
            ids = tuple(str(row) for row in range(len(images)))
            with self.counting(model.net):
                return self.values(part, self.pass_of(model, Batch(images, targets, ids), "free"), targets)

        return explain
