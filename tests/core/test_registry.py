"""Names find their factories, and every wrong name, parameter or registration says what is right."""

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from mavis.core import registry
from mavis.core.errors import BadParameter, MavisError, UnknownName
from mavis.core.registry import Entry, Registry
from mavis.core.traits import DatasetTraits, ExplainerTraits, MetricTraits, PlainTraits


@pytest.fixture(autouse=True)
def only_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Empty registries that count as loaded, in an empty working folder; imports of a test are forgotten after it."""
    fresh = {kind: Registry(kind) for kind in registry.REGISTRIES}
    monkeypatch.setattr(registry, "REGISTRIES", fresh)
    for kind, plural in (("model", "models"), ("dataset", "datasets"), ("imputer", "imputers")):
        monkeypatch.setattr(registry, plural, fresh[kind])
    monkeypatch.setattr(registry, "explainers", fresh["explainer"])
    monkeypatch.setattr(registry, "metrics", fresh["metric"])
    monkeypatch.setattr(registry, "_loaded", {"built-in"})
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def _entry(factory: Callable[..., object]) -> Entry:
    return Entry("thing", factory, PlainTraits(), "test")


def _plain(strength: float, kind: str = "soft") -> tuple[float, str]:
    """Makes a thing.

    And more about it.
    """
    return strength, kind


class TestNames:
    """Registering and looking up."""

    def test_a_decorated_factory_is_found_by_its_name(self) -> None:
        """The decorator returns the function unchanged and records its traits and origin."""
        decorated = registry.dataset("dots", about="dots on a line")(_plain)
        entry = registry.REGISTRIES["dataset"]["dots"]
        assert decorated is _plain
        assert entry.factory is _plain
        assert entry.traits == DatasetTraits("dots on a line")
        assert entry.origin == "this program"
        assert entry.summary == "Makes a thing."

    def test_each_kind_has_its_own_names(self) -> None:
        """The same name may be a model and an imputer."""
        registry.model("plain")(_plain)
        registry.imputer("plain")(lambda: None)
        assert registry.REGISTRIES["model"].names() == registry.REGISTRIES["imputer"].names() == ["plain"]

    def test_a_taken_name_raises_and_names_its_owner(self) -> None:
        """A second factory under a taken name is refused; the first stays."""
        names = Registry("metric")
        names.add("gini", _plain, PlainTraits(), "package a")
        with pytest.raises(MavisError, match="metric name 'gini' is taken by package a"):
            names.add("gini", lambda: None, PlainTraits(), "package b")
        assert names["gini"].factory is _plain

    def test_the_same_factory_again_does_nothing(self) -> None:
        """A factory that its own decorator registered keeps the traits declared there."""
        names = Registry("imputer")
        names.add("blur", _plain, PlainTraits("declared"), "mavis")
        names.add("blur", _plain, PlainTraits("later"), "elsewhere")
        assert (names["blur"].traits, names["blur"].origin) == (PlainTraits("declared"), "mavis")

    def test_an_unknown_name_suggests_the_nearest(self) -> None:
        """A slip of the pen is answered with the name that was meant."""
        names = Registry("explainer")
        names.add("saliency", _plain, None, "mavis")
        with pytest.raises(UnknownName, match="No explainer is named 'salincy'; did you mean 'saliency'"):
            names["salincy"]

    def test_an_unlike_name_lists_all(self) -> None:
        """Where nothing is near, all names are listed; where there are none, it says none."""
        names = Registry("model")
        with pytest.raises(UnknownName, match="there are: none"):
            names["zzz"]
        names.add("b", _plain, None, "mavis")
        names.add("a", _plain, None, "mavis")
        with pytest.raises(UnknownName, match=r"there are: a, b\."):
            names["zzz"]

    def test_iteration_is_in_alphabetical_order(self) -> None:
        """The order of names does not depend on the order of imports."""
        names = Registry("model")
        for name in "cab":
            names.add(name, _plain, None, "mavis")
        assert names.names() == ["a", "b", "c"]
        assert [entry.name for entry in names] == ["a", "b", "c"]
        assert "a" in names
        assert "d" not in names


class TestOptions:
    """Options of data sets: declared, or read from the factory's signature."""

    def test_declared_options_are_kept(self) -> None:
        """In their order, though the factory has more parameters."""
        registry.dataset("dots", options=["size", "root"])(lambda root, target="a", size=64: None)
        assert registry.REGISTRIES["dataset"]["dots"].traits.options == ("size", "root")

    def test_without_a_declaration_they_are_those_of_the_signature(self) -> None:
        """The five known names only; nothing is read from open-ended parameters."""
        registry.dataset("dots")(lambda colour, size=64, root=".", **more: None)
        assert registry.REGISTRIES["dataset"]["dots"].traits.options == ("root", "size")

    def test_an_empty_declaration_hides_parameters(self) -> None:
        """A factory with a parameter ``size`` of another meaning declares no option."""
        registry.dataset("dots", options=())(lambda size=64: None)
        assert registry.REGISTRIES["dataset"]["dots"].traits.options == ()

    def test_an_open_ended_factory_takes_any_option(self) -> None:
        """Its ``**parameters`` get it."""
        registry.dataset("dots", options=("root",))(lambda **parameters: None)
        assert registry.REGISTRIES["dataset"]["dots"].traits.options == ("root",)

    def test_an_option_without_parameter_is_refused(self) -> None:
        """In one line that names the factory's parameters; nothing is registered."""
        with pytest.raises(
            MavisError,
            match=r"^The dataset 'dots' declares the option 'split', but its factory has no such parameter; "
            r"it takes: root, size\.$",
        ):
            registry.dataset("dots", options=("root", "split"))(lambda root, size=64: None)
        assert "dots" not in registry.REGISTRIES["dataset"]

    def test_an_unknown_option_is_refused(self) -> None:
        """With the nearest known one, even where the factory has such a parameter."""
        with pytest.raises(UnknownName, match="option of a data set is named 'roots'; did you mean 'root'"):
            registry.dataset("dots", options=("roots",))(lambda roots: None)


class TestParameters:
    """A factory's parameters are checked before it is called."""

    def test_good_parameters_reach_the_factory(self) -> None:
        """Given parameters are passed on, the others keep their defaults."""
        assert _entry(_plain).create({"strength": 2.0}) == (2.0, "soft")

    def test_an_unknown_parameter_lists_the_known(self) -> None:
        """The message names the parameter and those that there are."""
        with pytest.raises(BadParameter, match="no parameter 'stength'; it takes: strength, kind"):
            _entry(_plain).check({"stength": 2.0})

    def test_a_factory_without_parameters_says_none(self) -> None:
        """A parameter for a factory that takes none is refused as such."""
        with pytest.raises(BadParameter, match="it takes: none"):
            _entry(lambda: None).check({"x": 1})

    def test_a_required_parameter_left_out_is_named(self) -> None:
        """A parameter without default must be given."""
        with pytest.raises(BadParameter, match="'thing' needs the parameter 'strength'"):
            _entry(_plain).create({"kind": "hard"})

    def test_an_open_parameter_list_takes_any_name(self) -> None:
        """A factory with ``*args`` and ``**kwargs`` needs neither and takes all."""

        def anything(*args: object, **kwargs: object) -> object:
            return args, kwargs

        assert _entry(anything).create() == ((), {})
        assert _entry(anything).create({"x": 1}) == ((), {"x": 1})

    def test_a_named_parameter_beside_open_ones_is_still_required(self) -> None:
        """``**kwargs`` does not excuse a parameter without default."""
        with pytest.raises(BadParameter, match="needs the parameter 'strength'"):
            _entry(lambda strength, **kwargs: None).check({"x": 1})

    @pytest.mark.parametrize("error", [TypeError("not a number"), ValueError("too large")])
    def test_a_refused_value_is_shown_with_the_reason(self, error: Exception) -> None:
        """A factory that refuses a value gives one line with the value and the factory's words."""

        def refusing(strength: float) -> None:
            raise error

        with pytest.raises(BadParameter, match=f"'thing' does not accept strength=9: {error}"):
            _entry(refusing).create({"strength": 9})

    def test_mavis_errors_of_a_factory_pass_through(self) -> None:
        """A factory's own clear message is not wrapped in another."""

        def refusing() -> None:
            raise UnknownName("model", "x", [])

        with pytest.raises(UnknownName):
            _entry(refusing).create()


class TestTraits:
    """What a plug-in declares is checked where it is declared."""

    def test_the_decorators_keep_every_trait(self) -> None:
        """A decorator's arguments become the traits of the same names."""
        registry.metric(
            "m", source="s", category="hygiene", higher_is_better=False, range=(0, 1), chance=0.5,
            needs={"forward"}, truth=True, undefined="u", unit="px",
        )(_plain)  # fmt: skip
        registry.explainer(
            "e", source="s", needs={"weights"}, pooling="l2", role="oracle", stochastic=True, complete=True, truth=True
        )(_plain)
        assert registry.REGISTRIES["metric"]["m"].traits == MetricTraits(
            source="s", category="hygiene", higher_is_better=False, range=(0, 1), chance=0.5,
            needs=frozenset({"forward"}), truth=True, undefined="u", unit="px",
        )  # fmt: skip
        assert registry.REGISTRIES["explainer"]["e"].traits == ExplainerTraits(
            source="s",
            needs=frozenset({"weights"}),
            pooling="l2",
            role="oracle",
            stochastic=True,
            complete=True,
            truth=True,
        )


GOOD_LINES = """
[metric.my_metric]
factory = "my_plugins:make"
category = "complexity"
higher_is_better = false
range = [0, 1]
needs = ["forward"]

[dataset.my_data]
factory = "my_plugins:make"
about = "mine"
"""


class TestUserFile:
    """A working folder's mavis.toml."""

    @pytest.fixture(autouse=True)
    def plugins(self, tmp_path: Path) -> None:
        (tmp_path / "my_plugins.py").write_text("def make(): return 7\n")

    @pytest.fixture
    def user_file(self, tmp_path: Path) -> Callable[[str], Path]:
        def write(text: str) -> Path:
            (tmp_path / "mavis.toml").write_text(text)
            return tmp_path / "mavis.toml"

        return write

    def test_its_lines_are_registered_at_the_first_look(self, user_file: Callable[[str], Path]) -> None:
        """Names of the file are there like built-in ones, with their traits and that file as their origin."""
        user_file(GOOD_LINES)
        entry = registry.REGISTRIES["metric"]["my_metric"]
        assert entry.create() == 7
        assert entry.origin == "mavis.toml"
        assert entry.traits == MetricTraits(
            "registered by the user", "complexity", higher_is_better=False, range=(0, 1), needs=frozenset({"forward"})
        )
        assert registry.REGISTRIES["dataset"]["my_data"].traits == DatasetTraits("mine")

    @pytest.mark.parametrize("options", ['["root", "size"]', '"root,size"'])
    def test_options_of_a_data_set_are_a_trait(
        self, tmp_path: Path, user_file: Callable[[str], Path], options: str
    ) -> None:
        """As a list, or as the text with commas that ``mavis register`` writes; one that does not fit is left out."""
        (tmp_path / "my_plugins.py").write_text("def make(root, size=64, target='shade'): return 7\n")
        user_file(f'[dataset.mine]\nfactory = "my_plugins:make"\noptions = {options}\n')
        assert registry.REGISTRIES["dataset"]["mine"].traits.options == ("root", "size")

    def test_options_that_do_not_fit_leave_the_line_out(self, user_file: Callable[[str], Path]) -> None:
        """The factory has no such parameter."""
        user_file('[dataset.mine]\nfactory = "my_plugins:make"\noptions = ["root"]\n')
        with pytest.warns(
            UserWarning, match="'mine' declares the option 'root', but its factory has no such parameter"
        ):
            registry.load_plugins()

    def test_a_folder_may_be_named(self, tmp_path: Path, user_file: Callable[[str], Path], monkeypatch) -> None:
        """From another working folder its file is read, and its modules are found beside it."""
        user_file(GOOD_LINES)
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert "my_metric" not in registry.REGISTRIES["metric"]
        before = list(sys.path)
        registry.load_plugins(Path(".."))
        assert registry.REGISTRIES["metric"]["my_metric"].create() == 7
        assert sys.path == before

    def test_a_broken_line_is_a_warning_that_names_it(self, user_file: Callable[[str], Path]) -> None:
        """One line that cannot be registered costs nothing but itself."""
        user_file('[model.lost]\nfactory = "nowhere_at_all:make"\n' + GOOD_LINES)
        with pytest.warns(UserWarning, match=r"'lost' \(.*mavis\.toml\) is left out: MavisError: Cannot import"):
            registry.load_plugins()
        assert "my_metric" in registry.REGISTRIES["metric"]
        assert "lost" not in registry.REGISTRIES["model"]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("categroy = 'hygiene'", "cannot have 'categroy'; its traits are: source, category"),
            ("category = 'hygiene'", "needs 'higher_is_better' among its traits"),
            ("category = 'hygeine'\nhigher_is_better = true", "did you mean 'hygiene'"),
            ("category = 'hygiene'\nhigher_is_better = 'no'", "must be true, false or none, got 'no'"),
            ("category = 'hygiene'\nhigher_is_better = true\nneeds = 'gradeint'", "did you mean 'gradient'"),
        ],
    )
    def test_traits_are_checked(self, user_file: Callable[[str], Path], line: str, message: str) -> None:
        """A trait that is unknown, missing or of no known value leaves the line out, with the reason."""
        user_file(f'[metric.mine]\nfactory = "my_plugins:make"\n{line}\n')
        with pytest.warns(UserWarning, match=f"'mine'.*{message}"):
            registry.load_plugins()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[metric.mine", "not valid TOML"),
            ('[metrics.mine]\nfactory = "my_plugins:make"', "did you mean 'metric'"),
            ('[metric.mine]\ncategory = "hygiene"', r"\[metric\.mine\] has no 'factory'"),
            ('[metric]\nmine = "a factory:make"', r"\[metric\.mine\] has no 'factory'"),
            ("[metric.mine]\nfactory = 3", r"\[metric\.mine\] has no 'factory'"),
            ("metric = 3", r"'metric' must be followed by a name, as in \[metric\.NAME\], got 3"),
        ],
    )
    def test_a_file_that_does_not_hold_is_refused_every_time(
        self, user_file: Callable[[str], Path], text: str, message: str
    ) -> None:
        """A faulty file raises one line, and raises it again: it never passes for an empty one."""
        user_file(text)
        for _ in range(2):
            with pytest.raises(MavisError, match=message):
                registry.load_plugins()

    def test_it_is_read_once(self, user_file: Callable[[str], Path]) -> None:
        """A second look does not register, or warn, again."""
        user_file('[model.lost]\nfactory = "nowhere_at_all:make"\n')
        with pytest.warns(UserWarning, match="lost"):
            registry.load_plugins()
        with warnings.catch_warnings(record=True, action="always") as caught:
            registry.load_plugins()
        assert caught == []

    def test_registering_under_an_unknown_kind_suggests(self) -> None:
        """`register_plugin` knows five kinds."""
        with pytest.raises(UnknownName, match="did you mean 'explainer'"):
            registry.register_plugin("explainr", "mine", "my_plugins:make")


class TestDiscovery:
    """Built-ins and installed packages."""

    @staticmethod
    def _breaking() -> None:
        raise RuntimeError("no such library")

    def test_a_broken_entry_point_is_a_warning_that_names_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A package that does not import is left out by name; the next one is loaded, and known as the origin."""

        def good() -> None:
            registry.model("theirs")(_plain)

        points = [
            SimpleNamespace(name="broken_package", value="broken.mod", load=self._breaking),
            SimpleNamespace(name="good_package", value="good.mod", load=good),
        ]
        monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "mavis.plugins" else [])
        monkeypatch.setattr(registry, "_import_all", lambda package: None)
        monkeypatch.setattr(registry, "_loaded", set())
        with pytest.warns(UserWarning, match="'broken_package' .* is left out: RuntimeError: no such library"):
            registry.load_plugins()
        assert registry.REGISTRIES["model"]["theirs"].origin == "entry point good.mod"
        registry.model("after")(lambda: None)
        assert registry.REGISTRIES["model"]["after"].origin == "this program"

    def test_a_broken_module_of_a_package_does_not_stop_the_next(self, tmp_path: Path) -> None:
        """Each module of a package of plug-ins is imported by itself."""
        package = tmp_path / "some_plugins"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "a_broken.py").write_text("import no_such_library_at_all\n")
        (package / "b_good.py").write_text("done = True\n")
        sys.path.insert(0, str(tmp_path))
        try:
            with pytest.warns(UserWarning, match=r"'some_plugins\.a_broken'.*no_such_library_at_all"):
                registry._import_all("some_plugins")
        finally:
            sys.path.remove(str(tmp_path))
        assert sys.modules["some_plugins.b_good"].done
