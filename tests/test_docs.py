"""The pages say what the code does: names, codes, numbers, files and options."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mavis
from mavis.cli import app
from mavis.core import registry

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(p for p in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")) if p.is_file())


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_metric_is_listed_as_it_is_declared():
    """The table of docs/scores.md has each built-in metric with its category, direction, range and chance."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (\w+) \| (\S+) \| (\S*) ?\|", text("docs/scores.md"), re.MULTILINE)
    expected = set()
    for entry in registry.metrics:
        t = entry.traits
        low, high = ("" if end is None else f"{end:g}" for end in t.range)
        chance = "" if t.chance is None else f"{t.chance:g}"
        way = {True: "higher", False: "lower", None: "describes"}[t.higher_is_better]
        if entry.origin == "mavis":
            expected.add((entry.name, t.category, way, f"{low}…{high}", chance))
    assert set(rows) == expected


def test_every_ground_has_a_page():
    """docs/refusals has one page per refusal code, and docs/decision.md links to it from the code's row."""
    linked = re.findall(r"^\| \[(R\d+)\]\(refusals/(R\d+)\.md\) \|", text("docs/decision.md"), re.MULTILINE)
    assert [code for code, page in linked if code != page] == []
    pages = {page.stem for page in (ROOT / "docs" / "refusals").glob("*.md")}
    assert pages == {code for code, _ in linked} == {f"R{number}" for number in range(1, 13)}
    for code in pages:
        assert text(f"docs/refusals/{code}.md").startswith(f"# {code}: ")


@pytest.mark.parametrize(("source", "pattern"), [("refusals", r'code="(R\d+)"'), ("gates", r'"(G\d+)"')])
def test_every_ground_and_gate_is_explained(source, pattern):
    """docs/decision.md has a row for each refusal code and gate of the code, and for no other."""
    code = (Path(mavis.__file__).parent / "decision" / f"{source}.py").read_text(encoding="utf-8")
    codes = set(re.findall(pattern, code))
    letter = next(iter(codes))[0]
    assert codes == set(
        re.findall(rf"^\| \[?({letter}\d+)\]?(?:\([^)]*\))? \|", text("docs/decision.md"), re.MULTILINE)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """Every link to a file of the repository leads to one."""
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_exist(page):
    """Every ``mavis`` command that a page shows is one, and so are its options."""
    shown = re.findall(r"(?:^|`|&& )mavis ([a-z]+)((?: [^`\n]*)?)", page.read_text(encoding="utf-8"), re.MULTILINE)
    for verb, rest in shown:
        told = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
        assert told.exit_code == 0, f"mavis {verb}"
        for option in re.findall(r"(?<= )--?[a-z][a-z-]*", rest):
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", told.output), f"mavis {verb} {option}"


def test_the_tree_of_the_architecture_is_the_tree():
    """docs/architecture.md names every package, and none that is not there."""
    tree = re.search(r"^mavis/\n(.*?)^benchmarks/", text("docs/architecture.md"), re.DOTALL | re.MULTILINE)[1]
    named = re.findall(r"^ +(\w+)/ ", tree, re.MULTILINE)
    package = Path(mavis.__file__).parent
    assert sorted(named) == sorted(p.name for p in package.iterdir() if (p / "__init__.py").is_file())
    modules = {"__init__.py", "__main__.py", *re.findall(r"^ +(\w+\.py) ", tree, re.MULTILINE)}
    assert {p.name for p in package.glob("*.py")} == modules


def test_the_readme_s_example_names_what_there_is():
    """The notebook example of the README uses registered explainers and only parameters that evaluate takes."""
    code = re.search(r"```python\n(.*?)```", text("README.md"), re.DOTALL)[1]
    called = re.search(r'evaluate\("(\w+)", explainers=(\[.*?\]), groups=(\[.*?\]), limit=(\d+)\)', code)
    assert called[1] in registry.models
    assert all(name in registry.explainers for name in json.loads(called[2]))
    compile(code, "README.md", "exec")
