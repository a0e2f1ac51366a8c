"""Lets ``import torchvision`` succeed beside a torch build without its compiled operators.

A torchvision wheel built for CUDA, beside a CPU torch, cannot load its library ``_C``; the import then fails with
"operator torchvision::nms does not exist", although MAVIS needs none of these operators. `install` puts a finder on
``sys.meta_path`` that, at the first import of torchvision, tries that library and, only if it does not load, declares
the operators which torchvision's own ``_meta_registrations.py`` names. It does nothing on a healthy pair.

To be removed when torchvision publishes CPU wheels on the package index (pytorch/vision issue 8083 and its like).
"""

import importlib.abc
import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_declared_libraries: list[
    Any
] = []  # torch.library.Library objects; a library that is collected takes its operators along


def install() -> None:
    """Puts the finder first on ``sys.meta_path``; does nothing if torchvision is imported or the finder is there."""
    if "torchvision" not in sys.modules and not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 (the protocol of finders)
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "torchvision":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("torchvision")
        if spec is not None and spec.origin is not None:
            _declare_missing_operators(Path(spec.origin).parent)
        return spec


def _declare_missing_operators(folder: Path) -> None:
    if not _can_load(folder):
        _declare_operators(operator_names(folder))


def _can_load(folder: Path) -> bool:
    import torch

    libraries = [*folder.glob("_C*.so"), *folder.glob("_C*.pyd")]
    try:
        for library in libraries:
            torch.ops.load_library(str(library))
    except OSError:
        return False
    return bool(libraries)


def operator_names(folder: Path) -> list[str]:
    """Names of the operators that torchvision registers fakes for without asking whether they exist."""
    source = (folder / "_meta_registrations.py").read_text(encoding="utf-8")
    return sorted(set(re.findall(r"register_fake\(\s*[\"']torchvision::(\w+)", source)))


def _declare_operators(names: Sequence[str]) -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in names:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared_libraries.append(library)
