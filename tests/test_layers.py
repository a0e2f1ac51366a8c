"""Imports point downwards: one order of packages, and plug-ins that see core and their own folder only."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mavis

ORDER = (
    "cli > workflows > report, decision > analysis, engine > protocol > models > datasets, explainers, metrics > core"
)
RANK = {name: rank for rank, row in enumerate(ORDER.split(" > ")) for name in row.split(", ")}
PLUGINS = ("models", "datasets", "explainers", "metrics")
ROOT = Path(mavis.__file__).parent
MODULES = {
    ".".join(p.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__") for p in ROOT.rglob("*.py")
}


def imports() -> Iterator[tuple[list[str], list[str]]]:
    """Per import, late ones and module names in strings too: the parts of the importing and of the imported module."""
    for path in ROOT.rglob("*.py"):
        importer = path.relative_to(ROOT.parent).with_suffix("").parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.ImportFrom(module=str(base), names=names):
                    found = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in names]
                case ast.Import(names=names):
                    found = [alias.name for alias in names]
                case ast.Constant(value=str(text)):
                    found = [text] if text in MODULES else []
                case _:
                    continue
            yield from ((list(importer[1:]), name.split(".")[1:]) for name in found if name.startswith("mavis."))


def is_plugin(module: list[str]) -> bool:
    """Whether a module lies directly in the folder of models, data sets, explainers or metrics."""
    return len(module) == 2 and module[0] in PLUGINS and module[1] != "__init__"


def test_imports_point_downwards() -> None:
    """A package imports only packages of a lower rank."""
    wrong = [(a, b) for a, b in imports() if len(a) > 1 and a[0] != b[0] and RANK[a[0]] >= RANK[b[0]]]
    assert wrong == []


def test_plugins_see_core_and_their_folder_and_nobody_sees_a_plugin() -> None:
    """A plug-in imports core and its own folder; only its own folder imports it."""
    assert [(a, b) for a, b in imports() if is_plugin(a) and b[0] not in ("core", a[0])] == []
    assert [(a, b) for a, b in imports() if is_plugin(b) and a[0] != b[0]] == []


def test_help_does_not_wait_for_torch() -> None:
    """Neither the package nor the command line imports torch, nor anything else as slow."""
    code = "import sys, mavis, mavis.cli; print(sorted({'torch', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_module_has_its_tests_at_the_same_path() -> None:
    """``mavis/a/b.py`` is tested in ``tests/a/test_b.py``."""
    modules = [p.relative_to(ROOT) for p in ROOT.rglob("*.py") if p.name not in ("__init__.py", "__main__.py")]
    tests = Path(__file__).parent
    assert [m for m in modules if not (tests / m.parent / f"test_{m.name}").is_file()] == []
