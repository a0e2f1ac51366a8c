"""The same scores on every processor: a small run under each of three instruction sets."""

import itertools
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

SETS = {
    "native": {},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    "sse41": {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"},
}
"""What oneDNN and torch may use, by environment variables that they read when they start."""

EXPLAINERS = "saliency,integrated_gradients,smoothgrad,gradcam,guided_gradcam,deeplift,lrp,occlusion"
METRICS = (
    "nsrg,single_deletion,infidelity,relevance_mass,relevance_rank,relevance_rank_skill,pointing_game,pixel_auroc,"
    "mprt,avg_sensitivity,gini,entropy,hoyer,completeness"
)
PROTOCOL = """
protocol: processors
schema: 1
status: preview
about: Few samples of everything.
extends: quick
variants: {per_group: 1}
explainers:
  controls: [random]
  settings:
    integrated_gradients: {steps: 4}
    smoothgrad: {samples: 4}
    occlusion: {window: 0.25, stride: 0.25}
    oracle: {draws: 1}
metrics:
  nsrg: {points: 6}
  infidelity: {subsets: 10}
  avg_sensitivity: {draws: 1}
reliability: {fractions: [0.3]}
reliance: {draws: 1}
gates: {controls: {against: [random]}}
aggregate: {bootstrap: 100, permutations: 100}
"""
RUN = """
import json, sys, torch, mavis
folder, explainers, metrics = sys.argv[1:]
torch.set_num_threads(1)
found = mavis.evaluate("race_resnet", explainers=explainers.split(","), metrics=metrics.split(","),
                       protocol=f"{folder}/protocol.yaml", limit=7, out=f"{folder}/run")
found.to_frame().to_parquet(f"{folder}/scores.parquet")
print(json.dumps(torch.backends.cpu.get_cpu_capability()))
"""

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the instruction sets are those of x86-64"
)


def started(name: str, folder: Path) -> subprocess.Popen:
    """A run under an instruction set, in a process of its own."""
    folder.mkdir()
    (folder / "protocol.yaml").write_text(PROTOCOL, encoding="utf-8")
    chosen = {key for values in SETS.values() for key in values}
    env = {key: value for key, value in os.environ.items() if key not in chosen} | SETS[name]
    command = [sys.executable, "-c", RUN, str(folder), EXPLAINERS, METRICS]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, pd.Series]]:
    """What torch used under each instruction set, and the scores by image, explainer and metric."""
    root = tmp_path_factory.mktemp("processors")
    processes = {name: started(name, root / name) for name in SETS}
    told = {name: (*process.communicate(), process.returncode) for name, process in processes.items()}
    assert {name: code for name, (_, _, code) in told.items()} == dict.fromkeys(SETS, 0), told
    key = ["image", "explainer", "metric"]
    tables = {name: pd.read_parquet(root / name / "scores.parquet").set_index(key)["value"] for name in SETS}
    return {name: (json.loads(told[name][0].splitlines()[-1]), tables[name].sort_index()) for name in SETS}


@pytest.fixture(params=itertools.combinations(SETS, 2), ids="-".join)
def pair(request: pytest.FixtureRequest, runs: dict) -> list[pd.Series]:
    """The scores under two of the instruction sets."""
    return [runs[name][1] for name in request.param]


def test_the_instruction_sets_are_used(runs: dict) -> None:
    """Torch heeds the variables, so that it is not one run three times."""
    assert {name: used for name, (used, _) in runs.items() if name != "native"} == {"avx2": "AVX2", "sse41": "DEFAULT"}


def test_every_score_is_there(runs: dict) -> None:
    """Eight methods and the protocol's controls have a value for every metric that applies, whatever computes it."""
    native = runs["native"][1]
    assert set(EXPLAINERS.split(",")) <= set(native.index.unique("explainer"))
    assert set(METRICS.split(",")) <= set(native.index.unique("metric"))
    for _, other in runs.values():
        assert other.index.equals(native.index)
        assert other.isna().equals(native.isna())


def test_scores_of_single_images_agree(pair: list) -> None:
    """Rounding decides nothing that is worth more than .012 in one image."""
    one, other = pair
    assert (one - other).abs().max() <= 0.012


def test_means_agree(pair: list) -> None:
    """Nor more than 7e-4 in an explainer's mean."""
    one, other = (scores.groupby(["explainer", "metric"]).mean() for scores in pair)
    assert (one - other).abs().max() <= 7e-4
