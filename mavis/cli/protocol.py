"""mavis protocol: what protocol files hold, whether they hold, and in what they differ."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from mavis.cli import list_, options
from mavis.core.errors import MavisError, UnknownName

if TYPE_CHECKING:
    from mavis.core.registry import Registry

T = TypeVar("T")

EXIT_DIFFERENT = 1
EXIT_INVALID = 2

Name = Annotated[str, typer.Argument(metavar="NAME|FILE", help="Name of a shipped protocol, or a YAML file.")]

app = typer.Typer(no_args_is_help=True, help="List, show, validate and compare protocols: the rules of a run.")


@app.command("list")
def shipped(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the shipped protocols: name, status, what it is for, and the beginning of its hash."""
    list_.list_(list_.Kind.protocols, as_json=as_json)


@app.command()
def show(name: Name) -> None:
    """Print the rules in force as YAML: what the file extends resolved, every default filled in."""
    from mavis.protocol import loading

    rules = loading.load(name)
    typer.echo(f"# The rules of {rules.protocol}, all of them. Parameters that a metric or explainer is not given have")
    typer.echo("# its own defaults: mavis list metrics --json")
    typer.echo(f"# sha256 {rules.sha256()}")
    typer.echo(loading.text(rules), nl=False)


@app.command()
def validate(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML file, or the name of a shipped protocol.")],
    allow_known_faulty: options.AllowKnownFaulty = False,
) -> None:
    """Check every field, name and parameter; print 'valid' and the hash.

    Exit code 2: something does not hold; a line for each problem, with the field's path.
    """
    from mavis.protocol import loading

    body = loading.resolved(loading.located(file))
    found = loading.faults(body)
    whole = body if found else loading.parse(body, file).model_dump(mode="json", by_alias=True)
    found += _wrong_names(whole, allow_known_faulty=allow_known_faulty)
    for problem in dict.fromkeys(found):
        typer.echo(f"{file}: {problem.removesuffix('.')}")
    if found:
        raise typer.Exit(EXIT_INVALID)
    typer.echo(f"valid {loading.parse(body, file).sha256()}")


@app.command()
def diff(a: Name, b: Name) -> None:
    """Print every field in which two protocols differ; exit code 0 if there is none, else 1."""
    from mavis.protocol import loading

    first, second = (
        loading.load(name).model_dump(mode="json", by_alias=True, exclude={"overrides"}) for name in (a, b)
    )
    found = list(_differences(first, second))
    for path, here, there in found:
        typer.echo(f"{path}: {_shown(here)} → {_shown(there)}")
    if found:
        raise typer.Exit(EXIT_DIFFERENT)
    typer.echo("No difference.")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a protocol file, for editors and other programs."""
    from mavis.protocol import loading

    typer.echo(json.dumps(loading.schema(), indent=2))


_ABSENT = object()


def _differences(a: Any, b: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path and both values of everything that differs; what only one of them has is shown whole."""
    from mavis.core.hashing import canonical

    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in dict.fromkeys([*a, *b]):
            yield from _differences(a.get(key, _ABSENT), b.get(key, _ABSENT), f"{path}.{key}" if path else key)
    elif _ABSENT in (a, b) or canonical(a) != canonical(b):
        yield path, a, b


def _shown(value: Any) -> str:
    return "absent" if value is _ABSENT else json.dumps(value, ensure_ascii=False)


def _wrong_names(body: Any, *, allow_known_faulty: bool) -> Iterator[str]:
    """Names and parameters that no run could use, as `line_up` checks them, but all; any body will do."""
    yield from _explainers(body)
    for label, params in _at(body, "metrics", dict).items():
        yield from _metric(f"metrics.{label}", label, params, allow_known_faulty=allow_known_faulty)
    for spec in _names(body, "reliability.imputers"):
        yield from _imputer("reliability.imputers", spec)
    for label, varied in _at(body, "sensitivity.metrics", dict).items():
        for params in _combinations(varied):
            yield from _metric(f"sensitivity.metrics.{label}", label, params, allow_known_faulty=allow_known_faulty)
    yield from _readers(body)


def _explainers(body: Any) -> Iterator[str]:
    """Settings, controls and oracles; a control is made with its settings, whose problems are told there."""
    from mavis.core.registry import explainers

    settings, controls = _at(body, "explainers.settings", dict), _names(body, "explainers.controls")
    for name, params in settings.items():
        yield from _part(explainers, f"explainers.settings.{name}", name, params)
    for path in ("explainers.controls", "explainers.oracles"):
        for name in _names(body, path):
            if name not in settings:
                yield from _part(explainers, path, name, {})
    asked = [("gates.controls.against", name) for name in _names(body, "gates.controls.against")]
    asked += [(path, name) for path in ["gates.groups.against"] if (name := _at(body, path, str))]
    for path, name in asked:
        if name not in controls:
            yield f"{path}: expected names among explainers.controls, got '{name}'; add it there"


def _metric(path: str, label: Any, params: Any, *, allow_known_faulty: bool) -> Iterator[str]:
    """A metric and its parameters; where these hold, the imputers that it then has."""
    from mavis.core import registry
    from mavis.engine.planning import plan

    name = registry.metric_of(str(label))
    faulty = registry.metrics[name].traits.faulty if name in registry.metrics else ""
    if faulty and not allow_known_faulty:
        yield f"{path}: expected a metric that measures what it says, got '{label}': {faulty}"
        return
    problems = list(_part(registry.metrics, path, name, params))
    yield from problems
    if not problems and isinstance(params, Mapping):
        for spec in plan.imputers_of(registry.metrics[name].make(params)):
            yield from _imputer(path, spec)


def _part(registry: "Registry", path: str, name: Any, params: Any) -> Iterator[str]:
    """A registered name, each parameter's name, and whether the values do."""
    if name not in registry:
        yield f"{path}: {UnknownName(registry.kind, str(name), registry.names())}"
        return
    if not isinstance(params, Mapping):
        return
    entry = registry[name]
    needed = {key: None for key, parameter in entry.parameters().items() if parameter.default is parameter.empty}
    known = dict(params)
    for key in params:
        for said in _said(partial(entry.check, {**needed, key: None})):
            yield f"{path}.{key}: {said}"
            del known[key]
    yield from (f"{path}: {said}" for said in _said(partial(entry.make, known)))


def _imputer(path: str, spec: str) -> Iterator[str]:
    from mavis.core.perturbation.imputers import imputer_of

    yield from (f"{path}: {said}" for said in _said(partial(imputer_of, spec)))


def _readers(body: Any) -> Iterator[str]:
    """What gates and the decision read must be measured, or they would say nothing."""
    measured = _at(body, "metrics", dict)
    paths = [f"gates.{gate}.metric" for gate in ("determinism", "completeness", "randomisation", "classes", "controls")]
    paths += ["gates.groups.metric", "gates.determinism.replicate", "decide.primary"]
    wanted = {path: _at(body, path, str) for path in paths}
    for path, label in {**wanted, "gates.valid": "valid"}.items():
        if label and measured and label not in measured:
            yield f"{path}: expected one of this protocol's metrics, got '{label}'; add it to metrics"


def _combinations(varied: Any) -> Iterator[dict[str, Any]]:
    """Every combination of the values that are to be tried."""
    given = varied.items() if isinstance(varied, Mapping) else ()
    listed = {key: values for key, values in given if isinstance(values, list)}
    for values in itertools.product(*listed.values()):
        yield dict(zip(listed, values, strict=True))


def _names(body: Any, path: str) -> list[str]:
    return [one for one in _at(body, path, list) if isinstance(one, str)]


def _at(body: Any, path: str, kind: type[T]) -> T:
    """The value at a dotted path; an empty one where there is none of this kind."""
    for step in path.split("."):
        body = body.get(step) if isinstance(body, Mapping) else None
    return body if isinstance(body, kind) else kind()


def _said(attempt: Callable[[], object]) -> list[str]:
    """What an attempt says against itself, if anything."""
    try:
        attempt()
    except MavisError as error:
        return [str(error)]
    return []
