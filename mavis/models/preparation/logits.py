"""Logits of a network that returns something else: its final softmax or sigmoid is removed, or undone."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.core.types import Model
from mavis.models.preparation import graph_rewriting, outputs, probe_images
from mavis.models.preparation.answers import TOLERANCE, evaluate_network, is_close
from mavis.models.preparation.outputs import Recognition


@dataclass
class Conversion:
    """A network during its conversion to logits.

    Attributes:
        model: names network and classes.
        net: is changed, or put into another module as its ``net``.
        images: ``(N,3,S,S)``, varied, on which a change is compared with the network before.
        prefix: of the names of the original network's layers, ``net.`` for each module around it.
        notes: on each change, and on what remains open.
        doubts: the notes on what remains open.
    """

    model: Model
    net: nn.Module
    images: Tensor
    prefix: str = ""
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def outputs(self) -> Tensor:
        """Outputs of the network for the images."""
        return evaluate_network(self.model, self.net, self.images)

    def doubt(self, note: str) -> None:
        """Notes something that remains open."""
        self.notes.append(note)
        self.doubts.append(note)

    def wrap(self, wrapper: nn.Module) -> None:
        """Puts a module around the network, whose inner modules are then named ``net.…``."""
        self.net, self.prefix = wrapper, f"net.{self.prefix}"

    def remove_end(self, to_outputs: Callable[[Tensor], Tensor], tolerance: float = TOLERANCE) -> bool:
        """Removes the softmax or sigmoid at the end; False where the outputs are not ``to_outputs`` of what is left."""
        if "gradient" not in self.model.capabilities:
            return False
        before = self.outputs()
        return graph_rewriting.remove_final_probabilities(
            self.net, self.images, lambda: is_close(to_outputs(self.outputs()), before, tolerance)
        )


def convert_to_logits(model: Model, net: nn.Module, images: Tensor, answers: Tensor) -> Conversion:
    """Makes one logit per class of what a network returns.

    Args:
        model: with the user's word on the outputs, if any.
        net: images -> outputs ``(B,K)``, or ``(B,1)`` for two classes; is changed.
        images: ``(N,3,S,S)``, varied, on which a change is compared with the network before.
        answers: outputs for these images, from which they are recognised.

    Raises:
        ModelError: the outputs are not what the user says.
    """
    conversion = Conversion(model, net, images)
    recognition = _recognise(conversion, answers)
    undo = _CONVERSIONS.get(recognition.kind)
    if undo is not None:
        undo(conversion, recognition)
    if recognition.kind.startswith("one_"):
        conversion.wrap(outputs.BinaryLogits(conversion.net))
        first, second = model.classes
        conversion.notes.append(f"one logit z made two: −z/2 for '{first}', z/2 for '{second}'")
    return conversion


def _recognise(conversion: Conversion, answers: Tensor) -> Recognition:
    """The meaning of the outputs: by the user's word, else by measurement; notes what remains open."""
    model, n_classes = conversion.model, len(conversion.model.classes)
    if model.output_kind is not None:
        conversion.notes.append(f"outputs are read as output={model.output_kind} says")
        return outputs.check_kind(model, answers, model.output_kind)
    if model.output == "logit":
        return Recognition("logits" if answers.shape[1] > 1 else "one_logit")
    recognition = outputs.recognise(answers, n_classes)
    if recognition.kind in ("logits", "one_logit") and (answers < 0).any():
        return recognition
    recognition = outputs.recognise(torch.cat([answers, _ask_beyond(conversion)]), n_classes)
    if recognition.kind == "one_logit":
        conversion.doubt(
            f"one output, {answers.min():.2g} to {answers.max():.2g} on images, is taken as a logit, so positive is "
            f"'{model.classes[1]}'; if it is a probability, write output=one_probability or output=percent"
        )
    return recognition


def _ask_beyond(conversion: Conversion) -> Tensor:
    """Outputs for noise far beyond [0,1]; none where the network does not take it."""
    images = probe_images.extreme_images(conversion.images.shape[3]).to(conversion.images.device)
    try:
        return evaluate_network(conversion.model, conversion.net, images)
    except ModelError:
        return conversion.outputs()[:0]


def _undo_log_softmax(conversion: Conversion, _: Recognition) -> None:
    if conversion.remove_end(lambda logits: logits.log_softmax(1)):
        conversion.notes.append(SOFTMAX_REMOVED)
    else:
        conversion.notes.append("the log-softmax at the end cannot be removed: log-probabilities are taken as logits")


def _undo_softmax(conversion: Conversion, recognition: Recognition) -> None:
    """Removes the softmax; where it cannot be found, the logarithm of the probabilities is taken as logits.

    Logits, because a saturated softmax has gradients near zero and couples the classes.
    """
    tolerance = outputs.ROUNDING if recognition.is_rounded else TOLERANCE
    if recognition.total == 1 and conversion.remove_end(lambda logits: logits.softmax(1), tolerance):
        conversion.notes.append(SOFTMAX_REMOVED)
        return
    fact = "the softmax at the end cannot be removed"
    if recognition.total != 1:
        fact = f"outputs are probabilities that add up to {recognition.total:g}"
    elif recognition.is_rounded:
        fact = "outputs are rounded probabilities, which nearly add up to 1"
    conversion.wrap(outputs.LogProbabilities(conversion.net, recognition.floor))
    conversion.notes.append(f"{fact}: log-probabilities are taken as logits")


def _undo_sigmoids(conversion: Conversion, recognition: Recognition) -> None:
    """Removes the sigmoid; where it cannot be found, takes the logits of the probabilities."""
    if recognition.total == 1 and conversion.remove_end(torch.sigmoid):
        conversion.notes.append(SIGMOID_REMOVED)
        return
    conversion.wrap(outputs.LogOdds(conversion.net, recognition.total, recognition.floor))
    fact, otherwise = "outputs are taken as one sigmoid per class", "logits"
    if recognition.kind == "one_probability":
        fact, otherwise = f"the output is taken as the probability of '{conversion.model.classes[1]}'", "one_logit"
    note = f"{fact} (0 to {recognition.total:g}), the logit is log(p/(1−p))"
    if conversion.model.output_kind is None:
        conversion.doubt(f"{note}; if it is a logit, write output={otherwise}")
    else:
        conversion.notes.append(note)


SOFTMAX_REMOVED = "softmax at the end removed: its input are the logits"
SIGMOID_REMOVED = "sigmoid at the end removed: its input is the logit"

_CONVERSIONS: dict[str, Callable[[Conversion, Recognition], None]] = {
    "log_probabilities": _undo_log_softmax,
    "probabilities": _undo_softmax,
    "one_probability": _undo_sigmoids,
    "sigmoids": _undo_sigmoids,
}
