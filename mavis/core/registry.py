"""Registries of plug-ins: names to factories, filled by built-ins, entry points and a folder's ``mavis.toml``.

A plug-in is one function under one decorator:

    @explainer("input_x_gradient", source="Shrikumar et al. 2016", needs={"gradient"})
    def input_x_gradient() -> Explainer:
        return lambda model_pass, targets: model_pass.images * model_pass.input_gradient(targets)

Nothing imports a plug-in by name; `load_plugins` finds them all.
"""

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property, partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from mavis.core.errors import BadParameter, MavisError, UnknownName
from mavis.core.foreign_code import call_foreign, restore_functions
from mavis.core.objects.identity import object_digest
from mavis.core.traits import (
    DATASET_OPTIONS,
    Category,
    DatasetTraits,
    ExplainerTraits,
    MetricTraits,
    PlainTraits,
    Pooling,
    Role,
)
from mavis.core.types import Capability
from mavis.core.user_plugins import import_factory, read_user_plugins

Factory = TypeVar("Factory", bound=Callable[..., Any])
Adapter = Callable[[Callable[..., Any]], Callable[..., Any]]
ENTRY_POINTS = "mavis.plugins"
USER_FILE = "mavis.toml"
ENTRY_POINT_ORIGIN = "entry point "
"""How the origin of an installed package's plug-in begins."""
BUILT_IN_ORIGINS = ("mavis", "Quantus")


@dataclass(frozen=True)
class Entry:
    """One registered plug-in."""

    name: str
    registered: Callable[..., Any]
    traits: Any
    origin: str
    adapt: Adapter = lambda registered: registered

    @property
    def is_foreign(self) -> bool:
        """True for what is not MAVIS's own."""
        return self.origin != "mavis"

    @cached_property
    def factory(self) -> Callable[..., Any]:
        """The factory; an object of another library is wrapped at its first use."""
        return self.adapt(self.registered)

    @property
    def is_built_in(self) -> bool:
        """True for a plug-in that has MAVIS's version."""
        return self.origin in BUILT_IN_ORIGINS

    def code_digest(self, plugin: Any = None) -> str:
        """Hash of the user's code behind the plug-in, its traits, and what it holds; empty for a built-in one.

        Args:
            plugin: what the factory made.
        """
        if self.is_built_in:
            return ""
        return object_digest([self.registered, self.traits, plugin])[:32]

    @property
    def summary(self) -> str:
        """First line of the factory's docstring."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]

    def parameters(self) -> dict[str, inspect.Parameter]:
        """The factory's parameters by name."""
        return dict(inspect.signature(self.factory).parameters)

    def check(self, params: Mapping[str, Any]) -> None:
        """Raises BadParameter for a parameter that the factory does not take, and for a missing required one."""
        declared = self.parameters()
        open_ended = any(p.kind is p.VAR_KEYWORD for p in declared.values())
        declared = {name: p for name, p in declared.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        for name in params:
            if name not in declared and not open_ended:
                raise BadParameter(
                    f"'{self.name}' has no parameter '{name}'; it takes: {', '.join(declared) or 'none'}."
                )
        for name, parameter in declared.items():
            if parameter.default is parameter.empty and name not in params:
                raise BadParameter(f"'{self.name}' needs the parameter '{name}'.")

    def create(self, params: Mapping[str, Any] | None = None) -> Any:
        """Calls the factory with checked parameters.

        Raises:
            BadParameter: the factory does not take these parameters, or refuses their values.
        """
        params = dict(params or {})
        self.check(params)
        try:
            if self.is_foreign and isinstance(self.traits, ExplainerTraits | MetricTraits):
                return call_foreign(self.name, partial(self.factory, **params))
            return self.factory(**params)
        except (TypeError, ValueError) as error:
            arguments = ", ".join(f"{k}={v!r}" for k, v in params.items())
            raise BadParameter(f"'{self.name}' does not accept {arguments or 'its defaults'}: {error}") from error


@dataclass
class Registry:
    """The plug-ins of one kind."""

    kind: str
    entries: dict[str, Entry] = field(default_factory=dict)
    adapters: list[Adapter] = field(default_factory=list)
    """Functions that turn an object of another library into a factory and return any other object unchanged."""

    def add(self, name: str, factory: Callable[..., Any], traits: Any, origin: str) -> None:
        """Registers a factory; the same factory again does nothing.

        Raises:
            MavisError: another factory has the name.
        """
        entry = self.entries.get(name)
        if entry is None:
            self.entries[name] = Entry(name, factory, traits, origin, self.adapt)
        elif inspect.unwrap(entry.registered) is not inspect.unwrap(factory):
            raise MavisError(f"The {self.kind} name '{name}' is taken by {entry.origin}; choose another name.")

    def adapt(self, registered: Callable[..., Any]) -> Callable[..., Any]:
        """Wraps an object of another library as a factory; a factory is returned unchanged."""
        for adapter in self.adapters:
            registered = adapter(registered)
        return registered

    def __getitem__(self, name: str) -> Entry:
        load_plugins()
        if name not in self.entries:
            raise UnknownName(self.kind, name, self.entries)
        return self.entries[name]

    def __iter__(self) -> Iterator[Entry]:
        load_plugins()
        return iter(sorted(self.entries.values(), key=lambda entry: entry.name))

    def __contains__(self, name: str) -> bool:
        load_plugins()
        return name in self.entries

    def names(self) -> list[str]:
        """All names, sorted."""
        return [entry.name for entry in self]


models = Registry("model")
datasets = Registry("dataset")
explainers = Registry("explainer")
metrics = Registry("metric")
imputers = Registry("imputer")

REGISTRIES: Mapping[str, Registry] = {r.kind: r for r in (models, datasets, explainers, metrics, imputers)}

_current_origin = "this program"
_loaded: set[str] = set()


def explainer(
    name: str,
    *,
    source: str,
    needs: set[Capability] | frozenset[Capability] = frozenset({"gradient"}),
    pooling: Pooling = "sum",
    role: Role = "method",
    stochastic: bool = False,
    complete: bool = False,
    truth: bool = False,
    signed: bool = True,
    same_as: str = "",
    reference: bool = False,
    magnitude: bool = False,
) -> Callable[[Factory], Factory]:
    """Registers an explainer factory; the arguments are those of `ExplainerTraits`."""
    traits = ExplainerTraits(
        source=source,
        needs=frozenset(needs),
        pooling=pooling,
        role=role,
        stochastic=stochastic,
        complete=complete,
        truth=truth,
        signed=signed,
        same_as=same_as,
        reference=reference,
        magnitude=magnitude,
    )
    return _register_as(explainers, name, traits)


def metric(
    name: str,
    *,
    source: str,
    category: Category,
    higher_is_better: bool | None,
    range: tuple[float | None, float | None] = (None, None),  # noqa: A002 (the field's own word)
    chance: float | None = None,
    needs: set[Capability] | frozenset[Capability] = frozenset(),
    truth: bool = False,
    rerender: bool = False,
    undefined: str = "the map is not finite",
    unit: str = "",
    faulty: str = "",
    perfect: float | None = None,
) -> Callable[[Factory], Factory]:
    """Registers a metric factory; the arguments are those of `MetricTraits`."""
    traits = MetricTraits(
        source=source,
        category=category,
        higher_is_better=higher_is_better,
        range=range,
        chance=chance,
        needs=frozenset(needs),
        truth=truth,
        rerender=rerender,
        undefined=undefined,
        unit=unit,
        faulty=faulty,
        perfect=perfect,
    )
    return _register_as(metrics, name, traits)


def metric_name(label: str) -> str:
    """Name of the metric in a protocol's label: ``nsrg@fine`` is ``nsrg`` with other parameters."""
    return label.partition("@")[0]


def model(name: str, *, about: str = "") -> Callable[[Factory], Factory]:
    """Registers a model factory: parameters -> `Model`."""
    return _register_as(models, name, PlainTraits(about=about))


def dataset(name: str, *, about: str = "", options: Sequence[str] | None = None) -> Callable[[Factory], Factory]:
    """Registers a data set factory: parameters -> `Dataset`.

    Args:
        name: the name it will have.
        about: one line on what it is.
        options: the parameters that a user sets by name, of `DATASET_OPTIONS`; by default those that the factory's
            signature has.

    Raises:
        UnknownName: no such option.
        MavisError: the factory has no parameter of an option's name.
    """

    def decorate(factory: Factory) -> Factory:
        return _register_as(datasets, name, _dataset_traits(name, factory, {"about": about, "options": options}))(
            factory
        )

    return decorate


def imputer(name: str, *, about: str = "", rerender: bool = False) -> Callable[[Factory], Factory]:
    """Registers an imputer factory: parameters -> `Imputer`; ``rerender`` if it needs data that can be re-rendered."""
    return _register_as(imputers, name, PlainTraits(about=about, rerender=rerender))


def _register_as(registry: Registry, name: str, traits: Any) -> Callable[[Factory], Factory]:
    def decorate(factory: Factory) -> Factory:
        is_built_in = factory.__module__.startswith("mavis.")
        registry.add(name, factory, traits, "mavis" if is_built_in else _current_origin)
        return factory

    return decorate


def load_plugins(folder: Path | None = None) -> None:
    """Fills the registries once: built-ins, entry points, then the ``mavis.toml`` of a folder.

    A plug-in that breaks on import is a warning that names it; everything else goes on.

    Args:
        folder: holds the file and, beside it, the modules that it names; by default the working folder.

    Raises:
        MavisError: the file does not hold; see `read_user_plugins`.
    """
    if "built-in" not in _loaded:
        _loaded.add("built-in")
        for package in ("models", "datasets", "explainers", "metrics"):
            _import_all(f"mavis.{package}")
        _load_plugin(
            "mavis.core.perturbation.imputers",
            "mavis",
            partial(importlib.import_module, "mavis.core.perturbation.imputers"),
        )
        for point in entry_points(group=ENTRY_POINTS):
            _load_plugin(point.name, f"{ENTRY_POINT_ORIGIN}{point.value}", point.load)
    path = (folder or Path.cwd()).resolve() / USER_FILE
    if str(path) not in _loaded and path.is_file():
        lines = read_user_plugins(path, REGISTRIES)
        _loaded.add(str(path))
        for kind, name, factory, traits in lines:
            _load_plugin(name, str(path), partial(register_plugin, kind, name, factory, traits, folder=path.parent))


def register_plugin(
    kind: str,
    name: str,
    factory: str,
    traits: Mapping[str, Any] | None = None,
    origin: str = USER_FILE,
    folder: Path | None = None,
) -> None:
    """Registers ``package.module:function`` under a name.

    Args:
        kind: model, dataset, explainer, metric or imputer.
        name: the name it will have.
        factory: the factory's module and name.
        traits: the decorator's arguments, e.g. ``category`` and ``higher_is_better`` for a metric.
        origin: shown by ``mavis list``.
        folder: searched first for the module, by default the working folder.
    """
    if kind not in REGISTRIES:
        raise UnknownName("kind of plug-in", kind, REGISTRIES)
    registry, values = REGISTRIES[kind], dict(traits or {})
    may_replace = kind not in ("explainer", "metric")  # a model's package may have to change functions of torch
    with nullcontext() if may_replace else restore_functions(name):
        adapted = registry.adapt(import_factory(factory, folder))
    parsed = _dataset_traits(name, adapted, values) if kind == "dataset" else _parse_traits(kind, name, values)
    registry.add(name, adapted, parsed, origin)


def _dataset_traits(name: str, factory: Callable[..., Any], values: dict[str, Any]) -> Any:
    """The traits of a data set; options that are not declared are those that the factory's signature has.

    Raises:
        UnknownName, MavisError: see `dataset`.
    """
    parameters = inspect.signature(factory).parameters
    options = values.get("options")
    if options is None:
        options = [option for option in DATASET_OPTIONS if option in parameters]
    elif isinstance(options, str):  # mavis register --trait options=root,target
        options = options.split(",")
    traits = _parse_traits("dataset", name, {**values, "options": tuple(options)})
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for option in traits.options:
        if option not in parameters and not takes_any:
            raise MavisError(
                f"The dataset '{name}' declares the option '{option}', but its factory has no such parameter; "
                f"it takes: {', '.join(parameters) or 'none'}."
            )
    return traits


def _parse_traits(kind: str, name: str, values: dict[str, Any]) -> Any:
    """Traits of a registration from the plain values of a TOML table."""
    classes: Any = {"explainer": ExplainerTraits, "metric": MetricTraits, "dataset": DatasetTraits}
    traits_class = classes.get(kind, PlainTraits)
    if kind in ("explainer", "metric"):
        values.setdefault("source", "registered by the user")
        if "needs" in values:
            values["needs"] = frozenset([values["needs"]] if isinstance(values["needs"], str) else values["needs"])
        if "range" in values:
            values["range"] = tuple(values["range"])
    declared = {trait.name: trait for trait in fields(traits_class)}
    for key in values:
        if key not in declared:
            raise MavisError(f"The {kind} '{name}' cannot have '{key}'; its traits are: {', '.join(declared)}.")
    for trait in declared.values():
        if trait.default is MISSING and trait.name not in values:
            raise MavisError(f"The {kind} '{name}' needs '{trait.name}' among its traits.")
    return traits_class(**values)


def _import_all(package: str) -> None:
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        name = f"{package}.{module.name}"
        _load_plugin(name, "mavis", partial(importlib.import_module, name))


def _load_plugin(name: str, origin: str, loader: Callable[[], Any]) -> None:
    global _current_origin  # noqa: PLW0603 (a decorator cannot know otherwise which package imports it)
    previous_origin, _current_origin = _current_origin, origin
    try:
        loader()
    except Exception as error:
        warnings.warn(f"The plug-in '{name}' ({origin}) is left out: {type(error).__name__}: {error}", stacklevel=2)
    finally:
        _current_origin = previous_origin
