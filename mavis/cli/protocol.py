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

ProtocolArgument = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="Name of a shipped protocol, or a YAML file.")
]

app = typer.Typer(no_args_is_help=True, help="List, show, validate and compare protocols: the rules of a run.")


@app.command("list")
def list_protocols(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the shipped protocols: name, status, what it is for, and the beginning of its hash."""
    list_.list_command(list_.Kind.protocols, as_json=as_json)


@app.command("show")
def show_protocol(name: ProtocolArgument) -> None:
    """Print the rules in force as YAML: what the file extends resolved, every default filled in."""
    from mavis.protocol import loading

    rules = loading.load_protocol(name)
    typer.echo(f"# The rules of {rules.protocol}, all of them. Parameters that a metric or explainer is not given have")
    typer.echo("# its own defaults: mavis list metrics --json")
    typer.echo(f"# sha256 {rules.sha256()}")
    typer.echo(loading.to_yaml(rules), nl=False)


@app.command("validate")
def validate_protocol(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML file, or the name of a shipped protocol.")],
    allow_known_faulty: options.AllowKnownFaulty = False,
) -> None:
    """Check every field, name and parameter; print 'valid' and the hash.

    Exit code 2: something does not hold; a line for each problem, with the field's path.
    """
    from mavis.protocol import loading

    body = loading.resolve_extends(loading.find_protocol_file(file))
    found = loading.validation_errors(body)
    whole = body if found else loading.parse_protocol(body, file).model_dump(mode="json", by_alias=True)
    found += _name_problems(whole, allow_known_faulty=allow_known_faulty)
    for problem in dict.fromkeys(found):
        typer.echo(f"{file}: {problem.removesuffix('.')}")
    if found:
        raise typer.Exit(EXIT_INVALID)
    typer.echo(f"valid {loading.parse_protocol(body, file).sha256()}")


@app.command("diff")
def compare_protocols(a: ProtocolArgument, b: ProtocolArgument) -> None:
    """Print every field in which two protocols differ; exit code 0 if there is none, else 1."""
    from mavis.protocol import loading

    first, second = (
        loading.load_protocol(name).model_dump(mode="json", by_alias=True, exclude={"overrides"}) for name in (a, b)
    )
    found = list(_differences(first, second))
    for path, here, there in found:
        typer.echo(f"{path}: {_value_text(here)} → {_value_text(there)}")
    if found:
        raise typer.Exit(EXIT_DIFFERENT)
    typer.echo("No difference.")


@app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of a protocol file, for editors and other programs."""
    from mavis.protocol import loading

    typer.echo(json.dumps(loading.json_schema(), indent=2))


_ABSENT = object()


def _differences(a: Any, b: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path and both values of everything that differs; what only one of them has is shown whole."""
    from mavis.core.hashing import canonical_json

    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in dict.fromkeys([*a, *b]):
            yield from _differences(a.get(key, _ABSENT), b.get(key, _ABSENT), f"{path}.{key}" if path else key)
    elif _ABSENT in (a, b) or canonical_json(a) != canonical_json(b):
        yield path, a, b


def _value_text(value: Any) -> str:
    return "absent" if value is _ABSENT else json.dumps(value, ensure_ascii=False)


def _name_problems(body: Any, *, allow_known_faulty: bool) -> Iterator[str]:
    """Names and parameters that no run could use, as `resolve_components` checks them, but all; any body will do."""
    yield from _explainer_problems(body)
    for label, params in _value_at(body, "metrics", dict).items():
        yield from _metric_problems(f"metrics.{label}", label, params, allow_known_faulty=allow_known_faulty)
    for spec in _names_at(body, "reliability.imputers"):
        yield from _imputer_problems("reliability.imputers", spec)
    for label, varied in _value_at(body, "sensitivity.metrics", dict).items():
        for params in _parameter_combinations(varied):
            yield from _metric_problems(
                f"sensitivity.metrics.{label}", label, params, allow_known_faulty=allow_known_faulty
            )
    yield from _reference_problems(body)


def _explainer_problems(body: Any) -> Iterator[str]:
    """Settings, controls and oracles; a control is made with its settings, whose problems are told there."""
    from mavis.core.registry import explainers

    settings, controls = _value_at(body, "explainers.settings", dict), _names_at(body, "explainers.controls")
    for name, params in settings.items():
        yield from _component_problems(explainers, f"explainers.settings.{name}", name, params)
    for path in ("explainers.controls", "explainers.oracles"):
        for name in _names_at(body, path):
            if name not in settings:
                yield from _component_problems(explainers, path, name, {})
    asked = [("gates.controls.against", name) for name in _names_at(body, "gates.controls.against")]
    asked += [(path, name) for path in ["gates.groups.against"] if (name := _value_at(body, path, str))]
    for path, name in asked:
        if name not in controls:
            yield f"{path}: expected names among explainers.controls, got '{name}'; add it there"


def _metric_problems(path: str, label: Any, params: Any, *, allow_known_faulty: bool) -> Iterator[str]:
    """A metric and its parameters; where these hold, the imputers that it then has."""
    from mavis.core import registry
    from mavis.engine.planning import plan

    name = registry.metric_name(str(label))
    faulty = registry.metrics[name].traits.faulty if name in registry.metrics else ""
    if faulty and not allow_known_faulty:
        yield f"{path}: expected a metric that measures what it says, got '{label}': {faulty}"
        return
    problems = list(_component_problems(registry.metrics, path, name, params))
    yield from problems
    if not problems and isinstance(params, Mapping):
        for spec in plan.imputer_specs(registry.metrics[name].create(params)):
            yield from _imputer_problems(path, spec)


def _component_problems(registry: "Registry", path: str, name: Any, params: Any) -> Iterator[str]:
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
        for said in _error_messages(partial(entry.check, {**needed, key: None})):
            yield f"{path}.{key}: {said}"
            del known[key]
    yield from (f"{path}: {said}" for said in _error_messages(partial(entry.create, known)))


def _imputer_problems(path: str, spec: str) -> Iterator[str]:
    from mavis.core.perturbation.imputers import get_imputer

    yield from (f"{path}: {said}" for said in _error_messages(partial(get_imputer, spec)))


def _reference_problems(body: Any) -> Iterator[str]:
    """What gates and the decision read must be measured, or they would say nothing."""
    measured = _value_at(body, "metrics", dict)
    paths = [f"gates.{gate}.metric" for gate in ("determinism", "completeness", "randomisation", "classes", "controls")]
    paths += ["gates.groups.metric", "gates.determinism.replicate", "decide.primary"]
    wanted = {path: _value_at(body, path, str) for path in paths}
    for path, label in {**wanted, "gates.valid": "valid"}.items():
        if label and measured and label not in measured:
            yield f"{path}: expected one of this protocol's metrics, got '{label}'; add it to metrics"


def _parameter_combinations(varied: Any) -> Iterator[dict[str, Any]]:
    """Every combination of the values that are to be tried."""
    given = varied.items() if isinstance(varied, Mapping) else ()
    listed = {key: values for key, values in given if isinstance(values, list)}
    for values in itertools.product(*listed.values()):
        yield dict(zip(listed, values, strict=True))


def _names_at(body: Any, path: str) -> list[str]:
    return [one for one in _value_at(body, path, list) if isinstance(one, str)]


def _value_at(body: Any, path: str, kind: type[T]) -> T:
    """The value at a dotted path; an empty one where there is none of this kind."""
    for step in path.split("."):
        body = body.get(step) if isinstance(body, Mapping) else None
    return body if isinstance(body, kind) else kind()


def _error_messages(attempt: Callable[[], object]) -> list[str]:
    """What an attempt says against itself, if anything."""
    try:
        attempt()
    except MavisError as error:
        return [str(error)]
    return []
