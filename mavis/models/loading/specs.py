"""Specs: the text ``FAMILY:NAME[@SIZE][:WEIGHTS]`` that names a model of a library or a user's function.

The families are the model plug-ins with a parameter ``spec``. ``pkg.mod:fn`` alone belongs to the family ``factory``.
Behind any name of a model may stand options, ``?KEY=VALUE&KEY=VALUE`` (`mavis.models.loading.options`).
"""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from mavis.core import files
from mavis.core.errors import BadParameter
from mavis.core.registry import models

SPEC_PATTERN = re.compile(r"(?P<name>[^@:]+)(?:@(?P<size>\d+))?(?::(?P<weights>.+))?")
FUNCTION_PATTERN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(@\d+)?(:.+)?")
OPTIONS_PATTERN = re.compile(r"(?P<name>[^?]+)\?(?P<options>[a-z_]+=[^?&]*(&[a-z_]+=[^?&]*)*)")


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
        """Name of the model: its name in the family, with size and weights where they are given."""
        size = f"@{self.size}" if self.size else ""
        return self.name + size + (f":{self.weights.stem}" if self.weights else "")


def split_options(name: str) -> tuple[str, dict[str, str]]:
    """A model's name without its options, and these by key; no options where there is a file of the whole name."""
    match = None if files.exists(name) else OPTIONS_PATTERN.fullmatch(name)
    if match is None:
        return name, {}
    return match["name"], dict(option.split("=", 1) for option in match["options"].split("&"))


def split_family(name: str) -> tuple[str, str] | None:
    """The family that a spec names, and the spec without it; None where it names none."""
    head, colon, spec = name.partition(":")
    if colon and spec and head in models and "spec" in models[head].parameters():
        return head, spec
    # A near miss of a registered name, such as torchvison:resnet18, is a typing error and no module of the user's.
    mistyped = difflib.get_close_matches(head, models.names(), n=1, cutoff=0.8)
    return ("factory", name) if FUNCTION_PATTERN.fullmatch(name) and not mistyped else None


def is_path(name: str) -> bool:
    """True for a name that is written as a path, and for that of an existing file or folder."""
    return "/" in name or "\\" in name or files.exists(name)


def parse_spec(spec: str) -> Spec:
    """Takes ``NAME[@SIZE][:WEIGHTS]`` apart.

    Raises:
        BadParameter: it has another form.
    """
    match = SPEC_PATTERN.fullmatch(spec)
    if match is None:
        raise BadParameter(f"A model is named as NAME[@SIZE][:WEIGHTS], e.g. resnet18@96:weights.pt, got '{spec}'.")
    size, weights = match["size"], match["weights"]
    return Spec(match["name"], int(size) if size else None, Path(weights) if weights else None)
