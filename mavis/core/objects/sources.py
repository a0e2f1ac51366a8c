"""Source files of a user's code: the file of a function or class, and all files of the user that it imports.

A user's code is what lies neither in the standard library, nor among installed packages, nor in MAVIS itself: those
have versions.
"""

import ast
import os
import sys
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import FunctionType

from mavis.core import hashing

_INSTALLED_FOLDERS = {Path(folder).resolve() for name, folder in sysconfig.get_paths().items() if name.endswith("lib")}
_MAVIS_FOLDER = Path(__file__).resolve().parents[2]
_PACKAGE_FOLDERS = frozenset({"site-packages", "dist-packages"})


def is_user_file(path: Path | str) -> bool:
    """True for an existing file that is neither installed nor a part of MAVIS."""
    return Path(path).is_file() and not _is_installed(Path(path).resolve())


@lru_cache(maxsize=4096)
def _is_installed(path: Path) -> bool:
    in_folder = not {*_INSTALLED_FOLDERS, _MAVIS_FOLDER}.isdisjoint(path.parents)
    return in_folder or not _PACKAGE_FOLDERS.isdisjoint(path.parts)


def user_file(function: FunctionType) -> Path | None:
    """The file of a user's function; None for an installed one and for one that was typed in, as in a notebook."""
    path = Path(function.__code__.co_filename)
    return path.resolve() if is_user_file(path) else None


def is_user_function(function: FunctionType) -> bool:
    """True for a function that is not installed; it may have no file."""
    if Path(function.__code__.co_filename).is_file():
        return is_user_file(function.__code__.co_filename)
    name = function.__globals__.get("__name__")
    file = getattr(sys.modules.get(str(name)), "__file__", None)
    return file is None or is_user_file(file)


def class_file(kind: type) -> Path | None:
    """The file of a user's class; None for an installed one and for one that was typed in."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return Path(file).resolve() if file is not None and is_user_file(file) else None


@lru_cache(maxsize=4096)
def is_user_class(kind: type) -> bool:
    """True for a class that is not installed; it may have no file."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    if file is not None:
        return is_user_file(file)
    return any(is_user_function(member) for member in vars(kind).values() if isinstance(member, FunctionType))


def source_digest(path: Path, module: str) -> str:
    """Digest of a module's source and of all the user's modules that it imports, directly or through others.

    Args:
        path: the file.
        module: its dotted name; its packages are the folders above the file.
    """
    depth = module.count(".") + (path.name == "__init__.py")
    root = path.parents[depth] if depth < len(path.parents) else path.parent
    digests: dict[str, str] = {}
    waiting = [(module, path)]
    while waiting:
        name, file = waiting.pop()
        if name not in digests:
            digests[name], imported = _read_module(file, name)
            waiting += [module for target in imported for module in _find_modules(target, root)]
    return hashing.digest_json(sorted(digests.items()))


def _read_module(path: Path, name: str) -> tuple[str, tuple[str, ...]]:
    """Digest of a file, and the names of the modules that it imports."""
    try:
        status = path.stat()
        return _parse_module(path, name, status.st_mtime_ns, status.st_size)
    except OSError:
        return "", ()


@lru_cache(maxsize=1024)
def _parse_module(path: Path, name: str, _modified: int, _size: int) -> tuple[str, tuple[str, ...]]:
    content = path.read_bytes()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    try:
        imported = tuple(dict.fromkeys(_list_imports(ast.parse(content), package)))
    except (SyntaxError, ValueError):
        imported = ()
    return hashing.digest(content.replace(b"\r\n", b"\n")), imported


def _list_imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Dotted names that may be modules, late imports and calls of ``import_module`` too."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=base, names=names, level=level):
                parents = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                start = ".".join([*filter(None, parents), *([base] if base else [])])
                yield from (name for alias in names for name in (start, f"{start}.{alias.name}".lstrip(".")) if name)
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__")):
                yield from (
                    arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
                )


def _find_modules(name: str, root: Path) -> Iterator[tuple[str, Path]]:
    """The user's files of a module and of the packages above it."""
    parts = name.split(".")
    if parts[0] in sys.stdlib_module_names or parts[0] == "mavis":
        return
    for count in range(1, len(parts) + 1):
        file = _find_file(parts[:count], root)
        if file is not None:  # a folder without __init__.py is a package without a file
            if not is_user_file(file):
                return
            yield ".".join(parts[:count]), Path(file).resolve()


def _find_file(parts: list[str], root: Path) -> str | None:
    """The file that an import would find first, in the module's own folder, the working folder, or on Python's path."""
    for folder in dict.fromkeys((str(root), str(Path.cwd()), *sys.path)):
        base = os.path.join(folder, *parts)  # noqa: PTH118 (a hundred times as often as anything else here)
        for file in (os.path.join(base, "__init__.py"), f"{base}.py"):  # noqa: PTH118
            if os.path.isfile(file):  # noqa: PTH113
                return file
    return None
