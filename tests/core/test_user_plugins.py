"""Lines of mavis.toml and functions by their path; what does not hold is one line that says what is right."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mavis.core import user_plugins
from mavis.core.errors import MavisError, UnknownName


@pytest.fixture(autouse=True)
def working_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty working folder; imports of a test are forgotten after it."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


class TestImportFactory:
    """``package.module:function`` becomes a function."""

    def test_a_module_of_the_working_folder_is_found(self, tmp_path: Path) -> None:
        """A file beside mavis.toml can be named without installing it, and the path is left as it was."""
        (tmp_path / "beside_mavis.py").write_text("def make(): return 7\n")
        before = list(sys.path)
        assert user_plugins.import_factory("beside_mavis:make")() == 7
        assert sys.path == before

    @pytest.mark.parametrize("path", ["pathlib.Path", "pathlib:", ":Path", ""])
    def test_another_form_is_refused(self, path: str) -> None:
        """The form is told together with what was given."""
        with pytest.raises(MavisError, match=f"written 'package.module:function', got '{path}'"):
            user_plugins.import_factory(path)

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("no_such_module_here:make", "Cannot import 'no_such_module_here'"),
            ("pathlib:Pth", "'pathlib' has no 'Pth'"),
            ("string:digits", "'string:digits' is not callable"),
        ],
    )
    def test_what_is_not_there_is_named(self, path: str, message: str) -> None:
        """A missing module, a missing name and a value that is no function are told apart."""
        with pytest.raises(MavisError, match=message):
            user_plugins.import_factory(path)

    def test_a_folder_given_is_searched_first(self, tmp_path: Path) -> None:
        """A module of that folder hides one of the same name in the working folder."""
        (tmp_path / "plugins").mkdir()
        (tmp_path / "plugins" / "in_two_places.py").write_text("def make(): return 'given'\n")
        (tmp_path / "in_two_places.py").write_text("def make(): return 'working'\n")
        assert user_plugins.import_factory("in_two_places:make", tmp_path / "plugins")() == "given"

    @pytest.mark.parametrize("fault", ["1/0", "def broken(:", "[].nothing"])
    def test_a_module_that_breaks_is_named_with_its_error(self, tmp_path: Path, fault: str) -> None:
        """Whatever a module raises on import is one line that names the module."""
        (tmp_path / "breaking_module.py").write_text(fault + "\n")
        with pytest.raises(MavisError, match=r"Cannot import 'breaking_module': (Zero|Syntax|Attribute)"):
            user_plugins.import_factory("breaking_module:make")


class TestReadUserPlugins:
    """The registrations of a file."""

    def test_lines_are_kind_name_factory_and_traits(self, tmp_path: Path) -> None:
        """Every table is a line, in the order of the file; all that is not the factory is a trait."""
        (tmp_path / "mavis.toml").write_text(
            '[metric.mine]\nfactory = "my:make"\nrange = [0, 1]\n[model.net]\nfactory = "my:net"\n'
        )
        assert user_plugins.read_user_plugins(tmp_path / "mavis.toml", ["metric", "model"]) == [
            ("metric", "mine", "my:make", {"range": [0, 1]}),
            ("model", "net", "my:net", {}),
        ]

    def test_an_empty_file_has_no_lines(self, tmp_path: Path) -> None:
        """A file of comments registers nothing."""
        (tmp_path / "mavis.toml").write_text("# nothing yet\n")
        assert user_plugins.read_user_plugins(tmp_path / "mavis.toml", []) == []

    def test_a_table_of_another_kind_suggests(self, tmp_path: Path) -> None:
        """Only the kinds that the caller knows are tables."""
        (tmp_path / "mavis.toml").write_text('[metrics.mine]\nfactory = "my:make"\n')
        with pytest.raises(UnknownName, match=r"No table in mavis\.toml is named 'metrics'; did you mean 'metric'"):
            user_plugins.read_user_plugins(tmp_path / "mavis.toml", ["metric"])

    def test_bytes_that_are_no_text_are_refused(self, tmp_path: Path) -> None:
        """A file in another encoding is named."""
        (tmp_path / "mavis.toml").write_bytes(b"\xff\xfe")
        with pytest.raises(MavisError, match=r"mavis\.toml is not valid TOML"):
            user_plugins.read_user_plugins(tmp_path / "mavis.toml", [])
