"""mavis protocol: lists, shows, validates and compares protocol files."""

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

ProtocolArgument = Annotated[str, typer.Argument(metavar="NAME|FILE", help="Shipped protocol, or a YAML file.")]

app = typer.Typer(no_args_is_help=True, help="List, show, validate and compare protocols: the rules of a run.")


@app.command("list")
def list_protocols(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the shipped protocols: name, status, purpose and the beginning of the hash."""
    list_.list_command(list_.Kind.protocols, as_json=as_json)


@app.command("show")
def show_protocol(name: ProtocolArgument) -> None:
    """Print the complete rules as YAML: extended protocols merged, every default filled in."""
    from mavis.protocol import loading
    from mavis.report.console.terminal import open_printer

    protocol = loading.load_protocol(name)
    printer = open_printer()
    printer.print_line(
        f"# All rules of {protocol.protocol}. Parameters of metrics and explainers that are not listed have their"
    )
    printer.print_line("# defaults: mavis list metrics --json")
    printer.print_line(f"# sha256 {protocol.sha256()}")
    printer.print_document(loading.to_yaml(protocol, ascii_only=printer.ascii).rstrip("\n"))


@app.command("validate")
def validate_protocol(
    file: Annotated[str, typer.Argument(metavar="FILE", help="YAML file, or a shipped protocol.")],
    include_faulty: options.IncludeFaulty = False,
) -> None:
    """Check every field, name and parameter; print 'valid' and the hash.

    Exit code 2: the protocol is not valid; one line per problem, with the field's path.
    """
    from mavis.protocol import loading
    from mavis.report.console.terminal import open_printer

    printer = open_printer()
    body = loading.resolve_extends(loading.find_protocol_file(file))
    problems = loading.validation_errors(body)
    with_defaults = body if problems else loading.parse_protocol(body, file).model_dump(mode="json", by_alias=True)
    problems += _name_problems(with_defaults, include_faulty=include_faulty)
    for problem in dict.fromkeys(problems):
        printer.print_line(f"{file}: {problem.removesuffix('.')}")
    if problems:
        raise typer.Exit(EXIT_INVALID)
    printer.print_line(f"valid {loading.parse_protocol(body, file).sha256()}")


@app.command("diff")
def compare_protocols(a: ProtocolArgument, b: ProtocolArgument) -> None:
    """Print every field in which two protocols differ; exit code 0 if there is none, else 1."""
    from mavis.protocol import loading
    from mavis.report.console.terminal import open_printer

    printer = open_printer()
    first, second = (
        loading.load_protocol(name).model_dump(mode="json", by_alias=True, exclude={"overrides"}) for name in (a, b)
    )
    differences = list(_differences(first, second))
    for path, a_value, b_value in differences:
        printer.print_line(f"{path}: {_value_text(a_value)} → {_value_text(b_value)}")
    if differences:
        raise typer.Exit(EXIT_DIFFERENT)
    printer.print_line("No difference.")


@app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of a protocol file, for editors and other programs."""
    from mavis.protocol import loading
    from mavis.report.console.terminal import open_printer

    open_printer().print_document(json.dumps(loading.json_schema(), indent=2))


_ABSENT = object()


def _differences(a: Any, b: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path and both values of every difference; a section that only one of them has is one difference."""
    from mavis.core.hashing import canonical_json

    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in dict.fromkeys([*a, *b]):
            yield from _differences(a.get(key, _ABSENT), b.get(key, _ABSENT), f"{path}.{key}" if path else key)
    elif _ABSENT in (a, b) or canonical_json(a) != canonical_json(b):
        yield path, a, b


def _value_text(value: Any) -> str:
    return "absent" if value is _ABSENT else json.dumps(value, ensure_ascii=False)


def _name_problems(body: Any, *, include_faulty: bool) -> Iterator[str]:
    """Names and parameters that no run could use.

    `resolve_components` checks the same and stops at the first problem; this lists all of them. The body may have any
    shape, since its fields are checked elsewhere.
    """
    yield from _explainer_problems(body)
    for label, params in _value_at(body, "metrics", dict).items():
        yield from _metric_problems(f"metrics.{label}", label, params, include_faulty=include_faulty)
    for spec in _names_at(body, "reliability.imputers"):
        yield from _imputer_problems("reliability.imputers", spec)
    for label, values in _value_at(body, "sensitivity.metrics", dict).items():
        for params in _parameter_combinations(values):
            yield from _metric_problems(f"sensitivity.metrics.{label}", label, params, include_faulty=include_faulty)
    yield from _reference_problems(body)


def _explainer_problems(body: Any) -> Iterator[str]:
    """Problems of settings, controls and oracles; a control that has settings is checked with these."""
    from mavis.core.registry import explainers

    settings, controls = _value_at(body, "explainers.settings", dict), _names_at(body, "explainers.controls")
    for name, params in settings.items():
        yield from _component_problems(explainers, f"explainers.settings.{name}", name, params)
    for path in ("explainers.controls", "explainers.oracles"):
        for name in _names_at(body, path):
            if name not in settings:
                yield from _component_problems(explainers, path, name, {})
    opponents = [("gates.controls.against", name) for name in _names_at(body, "gates.controls.against")]
    opponents += [(path, name) for path in ["gates.groups.against"] if (name := _value_at(body, path, str))]
    for path, name in opponents:
        if name not in controls:
            yield f"{path}: expected names among explainers.controls, got '{name}'; add it there"


def _metric_problems(path: str, label: Any, params: Any, *, include_faulty: bool) -> Iterator[str]:
    """Problems of a metric's name and parameters, or, where these are valid, of its imputers."""
    from mavis.core import registry
    from mavis.engine.planning import plan

    name = registry.metric_name(str(label))
    faulty = registry.metrics[name].traits.faulty if name in registry.metrics else ""
    if faulty and not include_faulty:
        yield f"{path}: expected a metric that measures what it says, got '{label}': {faulty}"
        return
    problems = list(_component_problems(registry.metrics, path, name, params))
    yield from problems
    if not problems and isinstance(params, Mapping):
        for spec in plan.imputer_specs(registry.metrics[name].create(params)):
            yield from _imputer_problems(path, spec)


def _component_problems(registry: "Registry", path: str, name: Any, params: Any) -> Iterator[str]:
    """Problems of a registered name, of each parameter's name, and of the values together."""
    if name not in registry:
        yield f"{path}: {UnknownName(registry.kind, str(name), registry.names())}"
        return
    if not isinstance(params, Mapping):
        return
    entry = registry[name]
    required = {key: None for key, parameter in entry.parameters().items() if parameter.default is parameter.empty}
    known_params = dict(params)
    for key in params:
        for message in _error_messages(partial(entry.check, {**required, key: None})):
            yield f"{path}.{key}: {message}"
            del known_params[key]
    yield from (f"{path}: {message}" for message in _error_messages(partial(entry.create, known_params)))


def _imputer_problems(path: str, spec: str) -> Iterator[str]:
    from mavis.core.perturbation.imputers import get_imputer

    yield from (f"{path}: {message}" for message in _error_messages(partial(get_imputer, spec)))


def _reference_problems(body: Any) -> Iterator[str]:
    """Metrics that a gate or the decision reads and the protocol does not run: the gate could never be assessed."""
    metrics = _value_at(body, "metrics", dict)
    paths = [f"gates.{gate}.metric" for gate in ("determinism", "completeness", "randomisation", "classes", "controls")]
    paths += ["gates.groups.metric", "gates.determinism.replicate", "decide.primary"]
    labels = {path: _value_at(body, path, str) for path in paths}
    for path, label in {**labels, "gates.valid": "valid"}.items():
        if label and metrics and label not in metrics:
            yield f"{path}: expected one of this protocol's metrics, got '{label}'; add it to metrics"


def _parameter_combinations(values: Any) -> Iterator[dict[str, Any]]:
    """Every combination of the values to be tried, one of each parameter."""
    items = values.items() if isinstance(values, Mapping) else ()
    candidates = {key: listed for key, listed in items if isinstance(listed, list)}
    for combination in itertools.product(*candidates.values()):
        yield dict(zip(candidates, combination, strict=True))


def _names_at(body: Any, path: str) -> list[str]:
    return [name for name in _value_at(body, path, list) if isinstance(name, str)]


def _value_at(body: Any, path: str, kind: type[T]) -> T:
    """The value at a dotted path; an empty one of this kind where there is none."""
    for step in path.split("."):
        body = body.get(step) if isinstance(body, Mapping) else None
    return body if isinstance(body, kind) else kind()


def _error_messages(call: Callable[[], object]) -> list[str]:
    """The message of the MavisError that a call raises, if any."""
    try:
        call()
    except MavisError as error:
        return [str(error)]
    return []
