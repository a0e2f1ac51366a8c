"""A file imports only what stands below it; plug-ins see the contracts; nobody imports a plug-in."""

import ast
import subprocess
import sys
from pathlib import Path

import mavis

LAYERS = """__main__ > cli > verify > evaluation sensitivity > pipeline > results > report > execute > again
    > explaining > decide > refusals > contest > leaderboard regression > aggregate > skill > gates disparity
    validity agreement twins > statements > pairs > alike > groups > costs reliability reliance leak support
    > ledger > store plan subjects train > foreign verified > protocol sampling sweep preflight checkpoint
    adapters > rules units borrowed > kinds segments cam_layer > surgery > variants > perturb randomise > passes
    faces images nets linear similarity appearance claims > maps gaps inequality raters > ranks
    corrections > stats findings registry > traits > types > draws hashing device fingerprints
    > errors torchvision_hook"""
PLACE = {name: height for height, layer in enumerate(LAYERS.split(">")) for name in layer.split()}
PLUGINS = {"models", "datasets", "explainers", "metrics"}
CONTRACTS = (
    "registry traits types errors maps perturb variants similarity kinds passes draws hashing device images faces nets "
    "checkpoint foreign units"
)


def imports() -> list[tuple[str, str, str]]:
    """Per import, at the top or in a function: the file, its module or package below mavis, and the imported one."""
    root, found = Path(mavis.__file__).parent, []
    for path in (p for p in root.rglob("*.py") if p != root / "__init__.py"):  # the public API, imported when used
        file = path.relative_to(root)
        own = file.with_suffix("").parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            dotted = [f"{node.module}.{name}" for name in names] if isinstance(node, ast.ImportFrom) else names
            found += [(str(file), own, d.split(".")[1]) for d in [f"mavis.{own}", *dotted] if d.startswith("mavis.")]
    return found


def test_imports_point_downwards() -> None:
    """No file imports its own layer or one above it, and every module has a layer."""
    rest = [i for i in imports() if i[1] != i[2] and i[1] not in PLUGINS and i[2] not in PLUGINS]
    assert {own for _, own, _ in imports()} == PLUGINS | set(PLACE)
    assert [i for i in rest if PLACE[i[2]] <= PLACE[i[1]]] == []


def test_plugins_see_the_contracts_and_nobody_sees_a_plugin() -> None:
    """Models, data sets, explainers and metrics know nothing of runs; only the registry finds them."""
    assert {i for i in imports() if i[1] in PLUGINS and i[2] not in {i[1], *CONTRACTS.split()}} == set()
    assert {i for i in imports() if i[2] in PLUGINS and i[1] != i[2]} == set()


def test_help_does_not_wait_for_torch() -> None:
    """Neither the package nor the command line imports torch, nor anything else as slow."""
    code = "import sys, mavis, mavis.cli; print(sorted({'torch', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
