"""Specs."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from mavis.core.errors import BadParameter
from mavis.core.registry import models

SPEC_PATTERN = re.compile(r"(?P<name>[^@:]+)(?:@(?P<size>\d+))?(?::(?P<weights>.+))?")


FUNCTION_PATTERN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(@\d+)?(:.+)?")


@dataclass(frozen=True)
class Spec:
    """``NAME[@SIZE][:WEIGHTS]``, taken apart.

    Attributes:
        name: in the family.
        size: side of the images in pixels, or None.
        weights: a file, or None for random weights.
    """

    name: str
    size: int | None = None
    weights: Path | None = None

    @property
    def label(self) -> str:
        """What the model is called: its name, and which weights and size if they are not the usual ones."""
        size = f"@{self.size}" if self.size else ""
        return self.name + size + (f":{self.weights.stem}" if self.weights else "")


def split_family(name: str) -> tuple[str, str] | None:
    """The family that a spec names, and the rest of the spec; None where it names none."""
    head, colon, rest = name.partition(":")
    if colon and rest and head in models and "spec" in models[head].parameters():
        return head, rest
    mistyped = difflib.get_close_matches(head, models.names(), n=1, cutoff=0.8)
    return ("factory", name) if FUNCTION_PATTERN.fullmatch(name) and not mistyped else None


def parse_spec(spec: str) -> Spec:
    """Takes ``NAME[@SIZE][:WEIGHTS]`` apart.

    Raises:
        BadParameter: it has another form.
    """
    found = SPEC_PATTERN.fullmatch(spec)
    if found is None:
        raise BadParameter(f"A model is named as NAME[@SIZE][:WEIGHTS], e.g. resnet18@96:weights.pt, got '{spec}'.")
    size, weights = found["size"], found["weights"]
    return Spec(found["name"], int(size) if size else None, Path(weights) if weights else None)
