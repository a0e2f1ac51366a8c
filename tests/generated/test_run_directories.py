"""Damaged run directories: reported and continued with the twin's scores, or refused in a line."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mavis.analysis.findings import Findings
from mavis.datasets.loading.checked_data import complete_dataset
from mavis.engine.planning.request import Request
from mavis.engine.store import BlockResult, Store
from mavis.models.loading.open import open_models
from mavis.protocol import loading
from mavis.workflows import run, summarise

from ..light import write_light_protocol
from ..memory_data import MeanShade, MemoryData
from .hostile_runs import FILES, REMOVED, STRAYS, TABLES, VALUES, edit_json
from .refusals import try_to

KEY = ["model", "image", "explainer", "metric"]


class Twin:
    """A run of three blocks that nothing happened to; no dataclass, since hypothesis would print all of it.

    Attributes:
        folder: its directory.
        files: names of its files.
        identity: what is asked for when it is continued.
        scores: sorted.
        curves: sorted.
        blocks: result of each block.
        findings: what it reports.
    """

    def __init__(self, folder: Path, findings: Findings) -> None:
        store = Store(folder)
        self.folder, self.findings, self.identity = folder, findings, store.identity()
        self.files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        self.scores, self.curves = sorted_rows(store.scores()), sorted_rows(store.curves())
        self.blocks = {name: read_block(folder, name, folder.with_name(name)) for name in self.identity["blocks"]}


def sorted_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows in an order of their own."""
    return table.sort_values(list(table.columns), ignore_index=True)


def read_block(folder: Path, name: str, scratch: Path) -> BlockResult:
    """One block of a run, read through a directory in which it is alone."""
    shutil.copytree(folder, scratch)
    for path in (scratch / "parts").iterdir():
        if not path.name.startswith(f"{name}."):
            path.unlink()
    alone = Store(scratch)
    maps = {f"{explainer}|{image}": values for (_, explainer, image), values in alone.maps().items()}
    return BlockResult(alone.scores(), alone.curves(), alone.agreement(), maps, alone.logs()[0])


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Twin:
    folder = tmp_path_factory.mktemp("runs")
    light = loading.load_protocol(str(write_light_protocol(folder)))
    rules = loading.with_overrides(light, data__groups=["side"])
    request = Request(("MeanShade",), explainers=("saliency", "random"), metrics=("deletion", "valid"), protocol=rules)
    data = complete_dataset(MemoryData(36))
    loaded = open_models([MeanShade()], torch.device("cpu"), data, target=None, split=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.report, "write_report", lambda *_: None)
        findings = run.run_benchmark(request, folder / "twin", loaded=loaded)
    return Twin(folder / "twin", findings)


PLACES = st.floats(0, 1, exclude_max=True)
FILE_DAMAGES = st.tuples(st.integers(0, 1000), st.sampled_from([*FILES, *TABLES]), PLACES)
JSON_DAMAGES = st.tuples(st.just("run.json"), st.sampled_from([REMOVED, *VALUES]), PLACES)
STRAY_FILES = st.tuples(st.sampled_from(STRAYS), st.just("stray"), PLACES)
DAMAGES = st.lists(st.one_of(FILE_DAMAGES, FILE_DAMAGES, JSON_DAMAGES, STRAY_FILES), min_size=1, max_size=2)
cases = itertools.count()


def file_name(twin: Twin, target: int | str) -> str:
    """The file that a damage is meant for."""
    return target if isinstance(target, str) else twin.files[target % len(twin.files)]


def damage_copy(twin: Twin, damages: list[tuple[Any, Any, float]]) -> Path:
    """A copy of the run with these damages, as far as the first leaves something for the second."""
    folder = twin.folder.parent / f"case{next(cases)}"
    shutil.copytree(twin.folder, folder)
    for target, damage, place in damages:
        if damage == "stray":
            source = folder / twin.files[int(place * len(twin.files))]
            (folder / target).write_bytes(source.read_bytes() if source.is_file() else b"stray")
            continue
        path = folder / file_name(twin, target)
        if target == "run.json":
            if is_json(path):
                edit_json(path, place, damage)
        elif path.is_file() and (damage in FILES or (path.suffix == ".parquet" and is_table(path))):
            {**FILES, **TABLES}[damage](path, place)
    return folder


def is_json(path: Path) -> bool:
    """True where run.json is undamaged so far."""
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (OSError, ValueError):
        return False


def is_table(path: Path) -> bool:
    """True where a table is undamaged so far."""
    try:
        return pd.read_parquet(path) is not None
    except Exception:
        return False


def finish(folder: Path, twin: Twin) -> Store:
    """The same command again: opens the directory and executes what is left."""
    store = Store.open_or_create(folder, twin.identity)
    for name, result in twin.blocks.items():
        if not store.has_block(name):
            store.write_block(name, result)
    return store


@given(damages=DAMAGES)
def test_a_damaged_run_is_continued_with_the_same_scores_or_refused(twin: Twin, damages: Any) -> None:
    folder = damage_copy(twin, damages)
    tables, refusal = try_to(lambda: read_all(finish(folder, twin)))
    shutil.rmtree(folder)
    if tables is not None:
        assert sorted_rows(tables[0]).equals(twin.scores), refusal
        assert sorted_rows(tables[1]).equals(twin.curves)


def read_all(store: Store) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and curves of a run, once everything else could be read too."""
    store.agreement(), store.maps(), store.logs()
    return store.scores(), store.curves()


def report(folder: Path) -> tuple[Findings, pd.DataFrame]:
    """What `mavis report` reads, and the scores of it."""
    store = Store.open_existing(folder)
    findings = summarise.build_findings(store)
    summarise.curve_means(store)
    summarise.gallery_tiles(store)
    return findings, store.scores()


@given(damages=DAMAGES)
def test_a_damaged_run_is_reported_with_the_same_scores_or_refused(twin: Twin, damages: Any) -> None:
    folder = damage_copy(twin, damages)
    reported, _ = try_to(lambda: report(folder))
    is_whole = all((folder / file).is_file() for file in twin.files)  # a check that is gone counts as not measured
    shutil.rmtree(folder, ignore_errors=True)
    if reported is None:
        return
    findings, scores = reported
    same = twin.scores[twin.scores["image"].isin(scores["image"])]
    assert sorted_rows(scores).equals(sorted_rows(same))
    if is_whole and not any(file_name(twin, target) == "run.json" for target, _, _ in damages):
        assert findings.models == twin.findings.models
