"""mavis protocol: list, show, validate, diff and schema, and their exit codes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner, Result

from mavis.cli import app
from mavis.core.errors import MavisError
from mavis.engine.planning import plan
from mavis.protocol import loading

ROOT = Path(__file__).resolve().parents[2]
HEAD = {"extends": "quick", "protocol": "mine", "schema": 1, "status": "draft", "about": "Mine."}


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["protocol", *arguments], env={"COLUMNS": "160"})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def problems(says: dict, *options: str, **heading: object) -> list[str]:
    """What validate says of a file that extends quick, without the file's name."""
    Path("mine.yaml").write_text(yaml.safe_dump({**HEAD, **heading, **says}))
    result = call("validate", "mine.yaml", *options)
    assert result.exit_code == (2 if result.stdout.startswith("mine.yaml: ") else 0), result.output
    return [line.removeprefix("mine.yaml: ") for line in result.stdout.splitlines()]


def test_list_names_every_shipped_protocol() -> None:
    """Name, status, purpose and the beginning of the hash, as text and as JSON."""
    rows = json.loads(call("list", "--json").stdout)
    by_name = {row["name"]: row for row in rows}
    assert set(by_name) == set(loading.shipped_protocols())
    assert by_name["quick"] == {
        "name": "quick",
        "status": "preview",
        "about": loading.load_protocol("quick").about,
        "sha256": loading.load_protocol("quick").sha256()[:12],
    }
    assert all(row["sha256"] in call("list").stdout for row in rows)


def test_show_prints_a_file_with_the_same_hash() -> None:
    """The resolved rules, defaults filled in, under a comment with their hash; a name and a file are shown alike."""
    Path("mine.yaml").write_text(yaml.safe_dump({**HEAD, "metrics": {"srg": None}, "agreement": None}))
    rules = loading.load_protocol("mine.yaml")
    shown = call("show", "mine.yaml").stdout
    assert f"# sha256 {rules.sha256()}\n" in shown
    Path("again.yaml").write_text(shown)
    assert loading.load_protocol("again.yaml").sha256() == rules.sha256()
    assert {"target", "gates", "agreement"} <= set(yaml.safe_load(shown))
    assert not {"extends", "overrides"} & set(yaml.safe_load(shown))
    assert loading.load_protocol("quick").sha256() in call("show", "quick").stdout


@pytest.mark.parametrize("name", sorted(loading.shipped_protocols()))
def test_shipped_protocols_are_valid(name: str) -> None:
    """By name, and by path."""
    for spelling in (name, str(loading.shipped_protocols()[name])):
        result = call("validate", spelling)
        assert (result.exit_code, result.stdout) == (0, f"valid {loading.load_protocol(name).sha256()}\n")


def test_every_problem_has_a_line_with_its_path() -> None:
    """Fields, names and parameters that do not hold are told together."""
    says = {
        "grid": 1,
        "decide": {"rope": -1, "primry": "nsrg"},
        "metrics": {"nsrg": {"pionts": 11, "imputrs": [], "points": 1}, "irof": {"imputer": "meen"}, "srgg": {}},
        "explainers": {"controls": ["randm"], "settings": {"occlusion": {"windw": 1}}, "oracles": ["oracl"]},
        "reliability": {"imputers": ["blr", "blur:sigma=x"]},
        "sensitivity": {"metrics": {"nsrg": {"points": [1], "pints": [3]}}},
        "gates": {"controls": {"metric": "aop", "against": ["sobl"]}},
    }
    lines = problems(says)
    assert sorted(line.partition(": ")[0] for line in lines) == sorted(
        [
            "grid",
            "decide.rope",
            "decide.primry",
            "metrics.nsrg.pionts",
            "metrics.nsrg.imputrs",
            "metrics.nsrg",
            "metrics.irof",
            "metrics.srgg",
            "explainers.controls",
            "explainers.oracles",
            "explainers.settings.occlusion.windw",
            "reliability.imputers",
            "reliability.imputers",
            "sensitivity.metrics.nsrg",
            "sensitivity.metrics.nsrg.pints",
            "gates.controls.metric",
            "gates.controls.against",
            "gates.groups.against",
        ]
    )
    assert "metrics.irof: No imputer is named 'meen'; did you mean 'mean'?" in lines
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize(
    ("says", "path"),
    [
        ({"metrics": {"nsgr": {}}}, "metrics.nsgr"),
        ({"metrics": {"nsrg": {"pionts": 3}}}, "metrics.nsrg.pionts"),
        ({"metrics": {"nsrg": {"points": 1}}}, "metrics.nsrg"),
        ({"metrics": {"nsrg@fine": {"imputers": ["meen"]}}}, "metrics.nsrg@fine"),
        ({"metrics": {"quantus:PointingGame": {}}}, "metrics.quantus:PointingGame"),
        ({"explainers": {"controls": ["random", "blurred_random", "randm"]}}, "explainers.controls"),
        ({"explainers": {"settings": {"salency": {}}}}, "explainers.settings.salency"),
        ({"explainers": {"settings": {"rise": {"masks": 0}}}}, "explainers.settings.rise"),
        ({"explainers": {"settings": {"oracle": {"drws": 0}}}}, "explainers.settings.oracle.drws"),
        ({"decide": {"primary": "nsgr"}}, "decide.primary"),
        ({"gates": {"randomisation": {"metric": "mptr"}}}, "gates.randomisation.metric"),
    ],
)
def test_what_a_run_refuses_is_not_valid(says: dict, path: str) -> None:
    """Each of these ends `plan.resolve_components`; validate names the field, and nothing else."""
    assert [line.partition(": ")[0] for line in problems(says)] == [path]
    with pytest.raises(MavisError):
        plan.resolve_components(loading.load_protocol("mine.yaml"), ["all"])


@pytest.mark.parametrize(
    ("says", "path"),
    [
        (
            {"metrics": {"nsrg": None}, "decide": {"primary": "srg"}, "gates": {"groups": {"metric": "srg"}}},
            "gates.controls.metric",
        ),
        ({"gates": {"groups": {"metric": "abpc"}}}, "gates.groups.metric"),
        ({"gates": {"groups": {"against": "mean_map"}}}, "gates.groups.against"),
        ({"metrics": {"repeatability": None}}, "gates.determinism.metric"),
        ({"metrics": {"replicate_agreement": None}}, "gates.determinism.replicate"),
        ({"metrics": {"completeness": None}}, "gates.completeness.metric"),
        ({"metrics": {"random_logit": None}}, "gates.classes.metric"),
        ({"metrics": {"mprt": None}}, "gates.randomisation.metric"),
        ({"metrics": {"valid": None}}, "gates.valid"),
        ({"explainers": {"controls": ["random", "sobel"]}}, "gates.controls.against"),
    ],
)
def test_what_gates_read_must_be_measured(says: dict, path: str) -> None:
    """A gate on a metric or control that the protocol does not run would never be assessed."""
    (line,) = problems(says)
    assert line.startswith(f"{path}: expected ")
    assert "; add it " in line


def test_a_default_is_checked_like_what_is_written() -> None:
    """A gate whose metric is left out reads ``mprt``, which must be measured too."""
    body = yaml.safe_load(loading.to_yaml(loading.load_protocol("quick")))
    del body["gates"]["randomisation"]["metric"], body["metrics"]["mprt"]
    Path("mine.yaml").write_text(yaml.safe_dump(body))
    result = call("validate", "mine.yaml")
    assert result.exit_code == 2
    assert result.stdout.startswith("mine.yaml: gates.randomisation.metric: expected one of this protocol's metrics")


@pytest.mark.parametrize(
    "body",
    [
        {"metrics": 3, "explainers": [1], "gates": None, "reliability": {"imputers": "mean"}, "sensitivity": {}},
        {"metrics": {3: {}, "nsrg": 4}, "explainers": {"controls": [["a"], {"b": 1}, 2], "settings": {"rise": 1}}},
        {"sensitivity": {"metrics": {"nsrg": 3, "srg": {"points": 3}}}, "gates": {"controls": {"against": [{}]}}},
        [1, 2],
        None,
    ],
)
def test_files_of_any_shape_are_judged(body: object) -> None:
    """Wrong kinds of values anywhere give lines, not a traceback."""
    Path("mine.yaml").write_text(yaml.safe_dump(body))
    result = call("validate", "mine.yaml")
    assert (result.exit_code, type(result.exception)) == (2, SystemExit)
    assert all(line.startswith("mine.yaml: ") for line in result.stdout.splitlines())


def test_a_faulty_metric_is_valid_where_it_is_allowed() -> None:
    """The same flag as for a run."""
    assert problems({"metrics": {"quantus:PointingGame": {}}}, "--include-faulty")[0].startswith("valid ")


@pytest.mark.parametrize("verb", ["show", "validate"])
@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("quik", "", "did you mean 'quick'?"),
        ("none.yaml", "", "There is no protocol file none.yaml."),
        ("mine.yaml", "a: [", "mine.yaml is not valid YAML"),
        ("mine.yaml", "extends: quik", "mine.yaml: extends: No protocol is named 'quik'; did you mean 'quick'?"),
        ("mine.yaml", "extends: mine.yaml", "mine.yaml extends mine.yaml; remove one 'extends'."),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(verb: str, name: str, text: str, message: str) -> None:
    """On standard error, with exit code 2."""
    Path("mine.yaml").write_text(text)
    result = call(verb, name)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert message in line


def test_equal_protocols_do_not_differ() -> None:
    """A file and what it resolves to: nothing is listed, exit code 0."""
    Path("mine.yaml").write_text(yaml.safe_dump({**HEAD, "seed": 3}))
    Path("whole.yaml").write_text(call("show", "mine.yaml").stdout)
    result = call("diff", "mine.yaml", "whole.yaml")
    assert (result.exit_code, result.stdout) == (0, "No difference.\n")


def test_diff_names_every_field_with_both_values() -> None:
    """Numbers, lists, parameters, and what only one of the two has; nothing that is equal; exit code 1."""
    says = {"seed": 3, "metrics": {"nsrg": {"points": 21}, "srg": None, "irof": {"points": 5}}, "agreement": None}
    body = yaml.safe_load(loading.to_yaml(loading.load_protocol("quick")))
    heading = {key: body[key] for key in ("protocol", "schema", "status", "about")}
    Path("mine.yaml").write_text(yaml.safe_dump({"extends": "quick", **heading, **says, "data": {"groups": ["race"]}}))
    result = call("diff", "quick", "mine.yaml")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "seed: 20261121 → 3",
        'data.groups: ["race", "gender", "race*gender"] → ["race"]',
        "metrics.nsrg.points: 11 → 21",
        'metrics.srg: {"imputers": ["mean", "blur"], "points": 11} → absent',
        'metrics.irof: absent → {"points": 5}',
        'agreement: {"top": 0.1} → null',
    ]


@pytest.mark.parametrize("value", [11.0, True, "11", None])
def test_what_the_hash_tells_apart_diff_does(value: object) -> None:
    """11, 11.0 and "11" are other parameters, so they are a difference."""
    heading = {key: value for key, value in HEAD.items() if key != "extends"}
    quick = yaml.safe_load(loading.to_yaml(loading.load_protocol("quick"))) | heading
    Path("a.yaml").write_text(yaml.safe_dump(quick))
    Path("b.yaml").write_text(yaml.safe_dump({**HEAD, "metrics": {"nsrg": {"points": value}}}))
    assert loading.load_protocol("a.yaml").sha256() != loading.load_protocol("b.yaml").sha256()
    result = call("diff", "a.yaml", "b.yaml")
    assert (result.exit_code, result.stdout) == (1, f"metrics.nsrg.points: 11 → {json.dumps(value)}\n")


def test_bad_input_to_diff_is_not_a_difference() -> None:
    """Exit code 2 tells it from 1."""
    assert call("diff", "quick", "quik").exit_code == 2


def test_schema_is_that_of_a_file() -> None:
    """It is JSON, and takes the shipped files."""
    printed = json.loads(call("schema").stdout)
    assert printed == loading.json_schema()
    jsonschema.validate(yaml.safe_load(loading.shipped_protocols()["quick"].read_text(encoding="utf-8")), printed)


def test_an_extended_protocol_runs_as_what_it_resolves_to() -> None:
    """run.json holds the whole rules, their hash, and no override."""
    says = {"data": {"groups": ["shade"], "n_per_group": {"target": 4, "min_report": 2, "min_claim": 2}}}
    body = {**HEAD, **says, "reliability": None}
    Path("mine.yaml").write_text(yaml.safe_dump(body))
    command = ["run", "--model", "mask_mean", "--data", "planted_square", "--protocol", "mine.yaml", "--out", "run"]
    command += ["--explainers", "saliency", "--metrics", "nsrg,mprt,valid", "--device", "cpu"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    identity = json.loads(Path("run/run.json").read_text())
    rules = loading.with_overrides(
        loading.load_protocol("mine.yaml"),
        metrics={k: loading.load_protocol("quick").metrics[k] for k in metric_names(command)},
    )
    assert identity["protocol"] == json.loads(rules.model_dump_json(by_alias=True))
    assert identity["protocol_sha256"] == rules.sha256()


def metric_names(command: list[str]) -> list[str]:
    return command[command.index("--metrics") + 1].split(",")


def test_the_pages_show_commands_that_there_are() -> None:
    """Every ``mavis protocol …`` of the pages is one, and protocols/README.md shows all of them."""
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "README.md", ROOT / "protocols" / "README.md")]
    shown = {verb for page in pages for verb in re.findall(r"mavis protocol ([a-z]+)", page)}
    assert (
        shown == set(re.findall(r"mavis protocol ([a-z]+)", pages[1])) == {"list", "show", "validate", "diff", "schema"}
    )
    for verb in shown:
        assert call(verb, "--help").exit_code == 0


def test_the_example_of_the_page_is_valid() -> None:
    """The file that protocols/README.md shows loads, and says what the text says of it."""
    page = (ROOT / "protocols" / "README.md").read_text(encoding="utf-8")
    Path("my.yaml").write_text(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    assert call("validate", "my.yaml").exit_code == 0
    rules, base = loading.load_protocol("my.yaml"), loading.load_protocol("quick")
    assert rules.metrics["nsrg"] == {**base.metrics["nsrg"], "points": 21}
    assert set(base.metrics) - set(rules.metrics) == {"infidelity"}
    assert rules.agreement is None
    assert rules.data.groups == ("gender",)


def test_help_loads_neither_yaml_nor_torch() -> None:
    """The commands are there at once; what reads files is imported when one is run."""
    code = (
        "import sys, mavis.cli\ntry: mavis.cli.app(['protocol', '--help'])\n"
        "except SystemExit: print(sorted({'torch', 'yaml', 'mavis.protocol'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip().endswith("[]")
