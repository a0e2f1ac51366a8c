"""A user's plug-ins without a package: the lines of a ``mavis.toml`` and the functions that they name."""

import importlib
import sys
import tomllib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mavis.core.errors import MavisError, UnknownName
from mavis.core.files import read_bytes
from mavis.core.foreign_code import contain_exits
from mavis.core.process_state import preserve_process


def read_user_plugins(path: Path, kinds: Collection[str]) -> list[tuple[str, str, str, dict[str, Any]]]:
    """The registrations in a ``mavis.toml``: kind, name, factory path, traits.

    Args:
        path: the file.
        kinds: the tables that it may hold: model, dataset, explainer, metric, imputer.

    Raises:
        MavisError: the file is no TOML, or a table has another shape or lacks its ``factory``.
    """
    try:
        tables = tomllib.loads(read_bytes(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MavisError(f"{path} is not valid TOML: {error}") from error
    lines = []
    for kind, names in tables.items():
        if kind not in kinds:
            raise UnknownName("table in mavis.toml", kind, kinds)
        if not isinstance(names, dict):
            raise MavisError(f"{path}: '{kind}' must be followed by a name, as in [{kind}.NAME], got {names!r}.")
        for name, line in names.items():
            if not isinstance(line, dict) or not isinstance(line.get("factory"), str):
                raise MavisError(f"{path}: [{kind}.{name}] has no 'factory'; expected 'package.module:function'.")
            lines.append((kind, name, line["factory"], {k: v for k, v in line.items() if k != "factory"}))
    return lines


def import_factory(path: str, folder: Path | None = None) -> Callable[..., Any]:
    """The object at ``package.module:name``. What its module sets, the import path and environment apart, is undone.

    Args:
        path: module and name.
        folder: searched first, by default the working folder.

    Raises:
        MavisError: the path has another form, the module does not import or ends the process, or the name is not in it.
    """
    module_name, colon, name = path.partition(":")
    if not colon or not module_name or not name:
        raise MavisError(f"A factory is written 'package.module:function', got '{path}'.")
    with _first_on_path(folder or Path.cwd()), preserve_process(but_not=("import path", "environment")):
        try:
            with contain_exits(module_name):
                module = importlib.import_module(module_name)
        except Exception as error:
            raise MavisError(f"Cannot import '{module_name}': {type(error).__name__}: {error}") from error
    if not hasattr(module, name):
        raise MavisError(f"The module '{module_name}' has no '{name}'.")
    factory = getattr(module, name)
    if not callable(factory):
        raise MavisError(f"'{path}' is not callable; a factory is a function.")
    return factory  # type: ignore[no-any-return]


@contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    """Modules of the folder can be imported while the context is open; ``sys.path`` is then as before."""
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        if entry in sys.path:  # the module may have set it anew
            sys.path.remove(entry)
