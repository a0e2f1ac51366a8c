"""Recognition of what a network returns, from its numbers; and the modules that make logits of it.

Logits are asked for. Probabilities, their logarithms, percentages, one logit or one probability for two classes, and
one sigmoid per class are recognised on varied images; what looks like probabilities is asked again far beyond [0,1],
where a logit leaves [0,1] and a probability does not. What remains open is said in a note. ``output=KIND`` decides.
"""

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.core.types import Model, OutputKind

KINDS: tuple[OutputKind, ...] = get_args(OutputKind)

EXACT = 1e-4
"""Largest departure of a sum of probabilities from 1 that float32 explains."""

ROUNDED = 0.03
"""Largest departure where probabilities are rounded, e.g. to half precision, 8 bits or two decimals."""

ROUNDING = 0.01
"""Largest change of a probability by such rounding."""

BELOW_ZERO = 1e-3
"""Largest departure of a probability from [0,1]."""

SMALLEST = 2.0**-24
"""Smallest distance from 0 and 1 at which a probability has log-odds of its own: float32's near 1."""


@dataclass(frozen=True)
class Recognition:
    """A meaning of outputs.

    Attributes:
        kind: see `OutputKind`; never ``percent``.
        total: what stands for certainty: 1, or 100 for percentages.
        floor: probabilities below this are not told apart from 0.
        is_rounded: true where the sums depart from the total by more than float32's rounding.
    """

    kind: OutputKind
    total: float = 1.0
    floor: float = 0.0
    is_rounded: bool = False


class BinaryLogits(nn.Module):
    """One logit z of the second of two classes as the two logits (−z/2, z/2): their softmax is z's sigmoid.

    A gradient or relevance of one class is exactly the negative of that of the other.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,2)``."""
        half = self.net(images) / 2
        return torch.cat([-half, half], dim=1)


class LogProbabilities(nn.Module):
    """Logarithm of a network's probabilities, whose softmax is these probabilities.

    Args:
        net: images -> probabilities.
        floor: smaller probabilities are taken for this; 0: the smallest normal number.
    """

    def __init__(self, net: nn.Module, floor: float = 0.0) -> None:
        super().__init__()
        self.net, self.floor = net, floor

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,K)``."""
        probabilities: Tensor = self.net(images)
        return probabilities.clamp_min(max(self.floor, torch.finfo(probabilities.dtype).tiny)).log()


class LogOdds(nn.Module):
    """Logit log(p / (1 − p)) of every probability that a network returns, the inverse of a sigmoid.

    Args:
        net: images -> probabilities, in units of 1 / total.
        total: 100 for percentages.
        floor: smallest distance of a probability from 0 and 1.
    """

    def __init__(self, net: nn.Module, total: float = 1.0, floor: float = 0.0) -> None:
        super().__init__()
        self.net, self.total, self.floor = net, total, max(floor, SMALLEST)

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,K)``."""
        p = (self.net(images) / self.total).clamp(self.floor, 1 - self.floor)
        logits: Tensor = p.log() - (1 - p).log()
        return logits


def recognise(outputs: Tensor, n_classes: int) -> Recognition:
    """The meaning of outputs for varied images, by their range and their sums.

    Args:
        outputs: ``(N,K)``, or ``(N,1)`` for two classes; rows that are not finite are left out.
        n_classes: number of the data's classes.
    """
    outputs = outputs[outputs.isfinite().all(1)].cpu().double()
    is_single = outputs.shape[1] == 1 and n_classes == 2
    if not len(outputs):
        return Recognition("one_logit" if is_single else "logits")
    total = _total(outputs)
    if total is not None and not is_single:
        return _probabilities(outputs, total)
    if not is_single and outputs.max() <= BELOW_ZERO and _add_up(outputs.exp(), 1.0):
        return Recognition("log_probabilities")
    for unit in (1.0, 100.0, 255.0):
        if _in_unit(outputs / unit) and (unit == 1 or outputs.max() > unit / 4) and _spread(outputs) > EXACT * unit:
            return Recognition("one_probability" if is_single else "sigmoids", unit, _floor(outputs / unit))
    return Recognition("one_logit" if is_single else "logits")


def _total(outputs: Tensor) -> float | None:
    """Sum of the outputs of every image, where it is the same: 1, 100, or another number, as of votes; else None."""
    usual = float(outputs.sum(1).median())
    totals = (1.0, 100.0, *([usual] if 0 < EXACT * usual < _spread(outputs) else []))
    return next((t for t in totals if outputs.min() >= -BELOW_ZERO * t and _add_up(outputs, t)), None)


def check_kind(model: Model, outputs: Tensor, kind: OutputKind) -> Recognition:
    """The meaning of outputs by the user's word, after a look whether they can have it.

    Args:
        model: names the network in messages.
        outputs: ``(N,K)`` for varied images.
        kind: the value of ``output=``.

    Raises:
        ModelError: their number or their range is another.
    """
    outputs = outputs[outputs.isfinite().all(1)].cpu().double()
    total = 100.0 if kind == "percent" else 1.0
    _check_number(model, outputs.shape[1], kind)
    if kind in ("logits", "one_logit"):
        return Recognition(kind)
    values = outputs.exp() if kind == "log_probabilities" else outputs / total
    adds_up = bool(((values.sum(1) - 1).abs() <= ROUNDED).all())
    is_in_percent = kind != "percent" or bool((outputs > 1).any())
    if not (_in_unit(values) and is_in_percent) or (not adds_up and kind in ("probabilities", "log_probabilities")):
        sums = outputs.sum(1)
        raise ModelError(
            f"'{model.name}': output={kind} does not fit outputs from {outputs.min():.3g} to {outputs.max():.3g} whose "
            f"sums per image are {sums.min():.3g} to {sums.max():.3g}; {_CHOICE}."
        )
    if kind == "log_probabilities":
        return Recognition(kind)
    if adds_up and kind in ("probabilities", "percent") and outputs.shape[1] > 1:
        return _probabilities(outputs, total)
    return Recognition("one_probability" if outputs.shape[1] == 1 else "sigmoids", total, _floor(values))


def _check_number(model: Model, n_outputs: int, kind: OutputKind) -> None:
    """Refuses one output where several are meant, and several where one is; percentages may be either."""
    is_single = kind.startswith("one_")
    if kind != "percent" and is_single != (n_outputs == 1):
        number = "one output" if is_single else f"{len(model.classes)} outputs"
        raise ModelError(f"'{model.name}': output={kind} needs {number} per image, got {n_outputs}; {_CHOICE}.")


_CHOICE = f"write output= with one of {', '.join(KINDS)}, or leave it out"


def _probabilities(outputs: Tensor, total: float) -> Recognition:
    is_rounded = bool(((outputs.sum(1) / total - 1).abs() > EXACT).any())
    return Recognition("probabilities", total, total * _floor(outputs / total), is_rounded)


def _in_unit(values: Tensor) -> bool:
    return bool(((values >= -BELOW_ZERO) & (values <= 1 + BELOW_ZERO)).all())


def _add_up(values: Tensor, total: float) -> bool:
    """True where the sums are the total: exactly, or nearly and far closer than values differ between images."""
    departure = (values.sum(1) / total - 1).abs().max()
    return bool(departure <= max(EXACT, min(ROUNDED, _spread(values) / total / 4)))


def _spread(outputs: Tensor) -> float:
    """Largest range of one output over the images."""
    return float((outputs.amax(0) - outputs.amin(0)).max())


def _floor(probabilities: Tensor) -> float:
    """Half a step of rounded probabilities, or the size of the lowest negative one; 0 for exact ones and for votes."""
    if torch.equal(probabilities, probabilities.round()):
        return 0.0
    negative = float(-probabilities.min().clamp_max(0))
    for steps in (100, 255, 256, 1000, 10000):
        if ((probabilities * steps).round() / steps - probabilities).abs().max() < 1e-7:
            return max(negative, 0.5 / steps)
    is_half = torch.equal(probabilities.half().double(), probabilities)
    return max(negative, 2.0**-25 if is_half else 0.0)
