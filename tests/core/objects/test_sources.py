"""Sources of a user's code: its own file and all of the user's files that it imports."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mavis.core.objects import sources
from mavis.core.types import Model

FILES = {
    "main.py": "import math, torch\nimport near, space.part\nfrom pkg.sub import thing\ndef late():\n    import lazy\n",
    "near.py": "from pkg import other\n",
    "lazy.py": "import importlib\nimportlib.import_module('named')\n",
    "named.py": "",
    "space/part.py": "",
    "pkg/__init__.py": "",
    "pkg/sub.py": "from . import sibling\nfrom .deep.deeper import x\n",
    "pkg/sibling.py": "import main\n",
    "pkg/other.py": "",
    "pkg/deep/__init__.py": "",
    "pkg/deep/deeper.py": "",
    "unrelated.py": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of modules that import one another, one of them not."""
    for name, code in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code, encoding="utf-8")
    return tmp_path


def test_every_imported_file_counts(folder: Path) -> None:
    """Late and relative imports, packages, names given as text; not what nobody imports, nor where the folder lies."""
    path = folder / "main.py"
    before = sources.source_digest(path, "main")
    for name, code in FILES.items():
        (folder / name).write_text(code + "# corrected\n", encoding="utf-8")
        assert (sources.source_digest(path, "main") == before) == (name == "unrelated.py"), name
        (folder / name).write_text(code, encoding="utf-8")
    assert sources.source_digest(path, "main") == before


def test_a_module_of_a_package_finds_its_neighbours(folder: Path) -> None:
    """Its packages are the folders above it."""
    before = sources.source_digest(folder / "pkg" / "sub.py", "pkg.sub")
    (folder / "near.py").write_text("x = 1", encoding="utf-8")  # by way of sibling and main
    assert sources.source_digest(folder / "pkg" / "sub.py", "pkg.sub") != before


def test_a_file_that_is_no_python_counts_by_its_text(tmp_path: Path) -> None:
    """A syntax error, and a file that is gone."""
    (tmp_path / "bad.py").write_text("def (", encoding="utf-8")
    before = sources.source_digest(tmp_path / "bad.py", "bad")
    (tmp_path / "bad.py").write_text("def ((", encoding="utf-8")
    assert sources.source_digest(tmp_path / "bad.py", "bad") != before
    assert sources.source_digest(tmp_path / "gone.py", "gone")


def test_what_is_installed_is_no_code_of_the_user() -> None:
    """The standard library, packages, MAVIS; this file is the user's."""
    for installed in (math.__name__, torch.__file__, np.__file__, sources.__file__, Path.__module__):
        assert not sources.is_user_file(installed)
    assert sources.is_user_file(__file__)
    assert not any(map(sources.is_user_class, (Model, torch.nn.Linear, dict, Path)))
    assert not sources.is_user_function(torch.nn.functional.relu)
    assert sources.is_user_function(test_what_is_installed_is_no_code_of_the_user)
    assert sources.user_file(test_what_is_installed_is_no_code_of_the_user) == Path(__file__).resolve()


def test_what_was_typed_in_is_the_users_and_has_no_file() -> None:
    """As in a notebook."""
    space: dict[str, type] = {}
    exec("class Typed:\n    def f(self): return 1", space)
    assert sources.is_user_class(space["Typed"])
    assert sources.class_file(space["Typed"]) is None
