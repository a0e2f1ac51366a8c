"""The run directory: nothing is done before its data are there, nothing of another run is taken for this one."""

import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mavis.core.errors import MavisError, StoreError
from mavis.engine.store import FORMAT, BlockLog, BlockResult, Store

IDENTITY: dict[str, Any] = {
    "protocol_sha256": "abc",
    "overrides": [],
    "models": {"m": {"revision": "w1"}},
    "data": {"revision": "p1"},
    "explainers": {"rise": {"masks": 32}},
    "seed": 7,
    "device": "cpu",
    "protocol": {},
    "skipped": {},
    "versions": {},
    "mavis": "1.0",
    "blocks": ["b1", "b2"],
}
FAILURE = {"stage": "metric", "model": "m", "explainer": "rise", "metric": "gini", "images": 2, "type": "ValueError"}


def result(*images: str, model: str = "m", value: float = 0.5) -> BlockResult:
    """What a block of these images yields."""
    scores = pd.DataFrame({"image": list(images), "value": value, "status": "ok"})
    scores = scores.assign(model=model, explainer="rise", metric="gini", reason="")
    curves = pd.DataFrame({"image": list(images), "x": 0.0, "y": 1.0}).assign(model=model)
    maps = {f"rise|{i}": np.full((4, 4), value, dtype=np.float16) for i in images}
    maps |= {f"|{i}": np.full((4, 4, 3), 9, dtype=np.uint8) for i in images}
    agreement = pd.DataFrame({"image": list(images), "measure": "spearman", "value": value}).assign(model=model)
    return BlockResult(scores, curves, agreement, maps, BlockLog(model, 10, 4, 1.5, None, 32, [FAILURE]))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A new run directory."""
    return Store.open_or_create(tmp_path / "run", IDENTITY)


def test_blocks_come_back(store: Store) -> None:
    """Scores of all blocks, curves, maps by model, explainer and image, and the logs with their failures."""
    store.write_block("b1", result("a", "data/set/b.jpg"))
    store.write_block("b2", result("c", model="n"))
    assert store.has_block("b1")
    assert not store.has_block("b3")
    found = store.scores()
    assert sorted(zip(found["model"], found["image"], strict=True)) == [("m", "a"), ("m", "data/set/b.jpg"), ("n", "c")]
    assert set(found["value"]) == {0.5}
    assert len(store.curves()) == 3
    maps = store.maps()
    assert set(maps) == {(m, e, i) for m, i in (("m", "a"), ("m", "data/set/b.jpg"), ("n", "c")) for e in ("rise", "")}
    assert maps["m", "rise", "a"].dtype == np.float16
    assert maps["n", "", "c"].shape == (4, 4, 3)
    assert store.logs()[0] == BlockLog("m", 10, 4, 1.5, None, 32, [FAILURE])


@pytest.mark.parametrize(
    "change", [{"data": {"revision": "p2"}}, {"seed": None}, {"skipped": {"m": [None]}}, {"stray": 1}, {"sha256": "x"}]
)
def test_values_of_run_json_that_were_changed_are_refused(store: Store, change: dict[str, Any]) -> None:
    """Also those that are not compared, and that a report would trip over; a run of an older version has no hash."""
    path = store.folder / "run.json"
    identity = json.loads(path.read_text())
    path.write_text(json.dumps(identity | change))
    with pytest.raises(StoreError, match=r"run\.json cannot be read: its values were changed"):
        Store.open_or_create(store.folder, IDENTITY)
    with pytest.raises(StoreError, match="its values were changed"):
        Store.open_existing(store.folder)
    path.write_text(json.dumps({key: value for key, value in identity.items() if key != "sha256"}, indent=1))
    Store.open_or_create(store.folder, IDENTITY)


@pytest.mark.parametrize("other", ["b2.curves.parquet", "b1.agreement.parquet"])
def test_curves_of_another_block_are_refused(store: Store, other: str) -> None:
    """And another table of the same block."""
    for name in ("b1", "b2"):
        store.write_block(name, result("a"))
    shutil.copy(store.folder / "parts" / other, store.folder / "parts" / "b1.curves.parquet")
    with pytest.raises(StoreError, match=r"b1\.curves\.parquet is damaged \(it holds another table\)"):
        store.curves()


def test_a_block_of_nothing_is_done(store: Store) -> None:
    """Where every cell was skipped there are no rows, and the block is not done again."""
    store.write_block(
        "b1", BlockResult(pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), {}, BlockLog("m", 0, 0, 0.0, None, 1))
    )
    assert store.has_block("b1")
    assert (len(store.scores()), len(store.curves()), store.maps()) == (0, 0, {})


def test_the_table_of_images_comes_back(store: Store) -> None:
    """One row per model and image; without it the run has not begun."""
    with pytest.raises(StoreError, match=r"no images\.parquet"):
        store.images()
    table = pd.DataFrame({"model": ["m"], "image": ["a"], "data:race": ["alder"], "probability": [0.25]})
    store.write_images(table)
    pd.testing.assert_frame_equal(store.images(), table)


def test_a_table_of_an_older_version_has_its_columns_apart(store: Store) -> None:
    """The data's columns are called as they are now; MAVIS's own keep their names."""
    own = {"model": ["m"], "image": ["a"], "label": [0], "predicted": [0], "probability": [0.25], "brightness": [0.5]}
    store.write_images(pd.DataFrame({**own, "race": ["alder"], "person": ["p1"]}))
    assert set(store.images().columns) == {*own, "data:race", "data:person"}


@pytest.mark.parametrize("survivors", [0, 1, 2])
@pytest.mark.parametrize(("place", "call"), [(os, "fsync"), (Path, "replace")])
def test_a_crash_while_writing_leaves_nothing_done(
    store: Store, monkeypatch: pytest.MonkeyPatch, place: Any, call: str, survivors: int
) -> None:
    """Flushing or renaming fails, at any of the three files: no part, no half a file; then it can be repeated."""
    real, calls = getattr(place, call), itertools.count()

    def stop(*args: Any) -> Any:
        if next(calls) >= survivors:
            raise OSError("power cut")
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(place, call, stop)
        with pytest.raises(StoreError, match=r"power cut.* 0 finished blocks are kept; the same command goes on"):
            store.write_block("b1", result("a"))
    assert not store.has_block("b1")
    assert len(store.scores()) == 0
    assert not [p for p in (store.folder / "parts").iterdir() if p.name.startswith(".")]
    store.write_block("b1", result("a"))
    assert len(store.scores()) == 1


def test_a_killed_process_leaves_nothing_done(store: Store) -> None:
    """A process that dies between flushing and renaming the scores leaves a temporary file that nobody reads."""
    code = (
        "import os, sys; from pathlib import Path; import pandas as pd\n"
        "from mavis.engine.store import Store, BlockResult, BlockLog\n"
        "real = Path.replace\n"
        "Path.replace = lambda self, to: os._exit(9) if str(to).endswith('b1.parquet') else real(self, to)\n"
        "frame = pd.DataFrame({'image': ['a'], 'value': [1.0]})\n"
        "Store(Path(sys.argv[1])).write_block('b1', BlockResult(frame, frame, frame, {}, BlockLog('m', 1, 1, 1.0, "
        "None, 1)))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(store.folder)], check=False).returncode == 9
    assert any(p.name.startswith(".b1.parquet.") for p in (store.folder / "parts").iterdir())
    assert not store.has_block("b1")
    assert len(store.scores()) == 0
    store.write_block("b1", result("a"))
    assert len(store.scores()) == 1


def test_two_writers_of_one_block_make_one_result(store: Store) -> None:
    """Whoever is last wins as a whole; rows are not doubled, files not mixed."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda k: store.write_block("b1", result("a", "b", value=k / 8)), range(8)))
    found = store.scores()
    assert len(found) == 2
    assert found["value"].nunique() == 1
    assert len(store.logs()) == 1
    assert sorted(p.name for p in (store.folder / "parts").iterdir()) == [
        "b1.agreement.parquet",
        "b1.curves.parquet",
        "b1.maps.npz",
        "b1.parquet",
    ]


def test_the_same_run_is_continued(store: Store) -> None:
    """Another machine or device is not another run; what is done stays."""
    store.write_block("b1", result("a"))
    again = Store.open_or_create(store.folder, IDENTITY | {"device": "cuda:0", "git": "f00"})
    assert again.has_block("b1")
    assert again.identity()["device"] == "cpu"
    assert again.identity()["format"] == FORMAT


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 8}, "seed"),
        ({"protocol_sha256": "abd"}, "protocol_sha256"),
        ({"overrides": ["limit = 3"]}, "overrides"),
        ({"models": {"m": {"revision": "w2"}}}, r"models \('m' changed: weights, code or settings\)"),
        ({"models": {"n": {"revision": "w1"}}}, "models"),
        ({"code": {"explainer 'mine'": "c1"}}, "code of explainer 'mine'"),
        ({"data": {"revision": "p2"}, "explainers": {"rise": {"masks": 33}}}, "data, explainers"),
    ],
)
def test_another_run_is_refused_by_what_differs(store: Store, changes: dict[str, Any], named: str) -> None:
    """The message names each differing part, and nothing is written."""
    before = (store.folder / "run.json").read_bytes()
    with pytest.raises(StoreError, match=f"holds a run with other {named}; give another --out"):
        Store.open_or_create(store.folder, IDENTITY | changes)
    assert (store.folder / "run.json").read_bytes() == before


def test_corrected_code_is_named(tmp_path: Path) -> None:
    """Each plug-in whose code is another; no code of a user is as good as no entry."""
    codes = {"explainer 'mine'": "c1", "metric 'ours'": "d1"}
    Store.open_or_create(tmp_path / "run", IDENTITY | {"code": codes})
    with pytest.raises(StoreError, match="holds a run with other code of metric 'ours'; give another --out"):
        Store.open_or_create(tmp_path / "run", IDENTITY | {"code": codes | {"metric 'ours'": "d2"}})
    Store.open_or_create(tmp_path / "old", IDENTITY)
    Store.open_or_create(tmp_path / "old", IDENTITY | {"code": {}})


def test_another_format_is_refused(store: Store) -> None:
    """A directory of another version of the format is not continued."""
    path = store.folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": FORMAT + 1}))
    with pytest.raises(StoreError, match="with other format"):
        Store.open_or_create(store.folder, IDENTITY)


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    """Somebody's folder, and somebody's file, stay as they are."""
    (tmp_path / "notes.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(StoreError, match="holds no run; give another --out"):
            Store.open_or_create(place, IDENTITY)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    """A folder that is there and empty, or in which another process has just begun, holds the run."""
    assert Store.open_or_create(tmp_path, IDENTITY).identity()["seed"] == 7
    begun = tmp_path / "begun"
    (begun / "parts").mkdir(parents=True)
    (begun / ".run.json.x1").touch()
    assert Store.open_or_create(begun, IDENTITY).identity()["seed"] == 7


def test_what_holds_no_run_is_not_read(tmp_path: Path, store: Store) -> None:
    """No run.json, a broken one, one of another kind."""
    with pytest.raises(StoreError, match=r"holds no run \(no run\.json\)"):
        Store.open_existing(tmp_path)
    assert Store.open_existing(store.folder).identity()["seed"] == 7
    (store.folder / "run.json").write_text('{"seed": 7')
    with pytest.raises(StoreError, match=r"run\.json cannot be read"):
        Store.open_existing(store.folder).identity()
    (store.folder / "run.json").write_text("[]")
    with pytest.raises(StoreError, match="expected keys and values"):
        Store.open_or_create(store.folder, IDENTITY)


@pytest.mark.parametrize(
    ("suffix", "read"),
    [
        (".parquet", "scores"),
        (".parquet", "logs"),
        (".curves.parquet", "curves"),
        (".agreement.parquet", "agreement"),
        (".maps.npz", "maps"),
    ],
)
def test_a_damaged_part_is_named_with_what_to_delete(store: Store, suffix: str, read: str) -> None:
    """A truncated file is one line that names it and the scores to delete, so that the block is done again."""
    store.write_block("b1", result(*(f"i{k}" for k in range(50))))
    path = store.folder / "parts" / f"b1{suffix}"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StoreError, match=rf"b1\{suffix} is damaged .*; delete \S*b1\.parquet and repeat"):
        getattr(store, read)()


def test_a_part_without_its_companions_is_damaged(store: Store) -> None:
    """Scores whose curves or maps are gone are not shown as complete."""
    store.write_block("b1", result("a"))
    for suffix, read in (
        (".curves.parquet", store.curves),
        (".agreement.parquet", store.agreement),
        (".maps.npz", store.maps),
    ):
        (store.folder / "parts" / f"b1{suffix}").unlink()
        with pytest.raises(StoreError, match=r"delete \S*b1\.parquet"):
            read()


def test_a_table_that_is_no_part_is_damaged(store: Store) -> None:
    """A parquet file without the log of a block is none of MAVIS's."""
    pd.DataFrame({"a": [1]}).to_parquet(store.folder / "parts" / "b1.parquet")
    with pytest.raises(StoreError, match=r"b1\.parquet is damaged"):
        store.logs()


def test_a_part_of_another_run_is_named(store: Store, tmp_path: Path) -> None:
    """A file of scores that the plan does not have is refused, by every reader and when the run goes on."""
    store.write_block("b1", result("a"))
    other = Store.open_or_create(tmp_path / "other", IDENTITY | {"seed": 8, "blocks": ["c1"]})
    other.write_block("c1", result("a", value=0.9))
    foreign = store.folder / "parts" / "c1.parquet"
    shutil.copy(other.folder / "parts" / "c1.parquet", foreign)
    for read in (store.scores, store.logs, store.maps, lambda: Store.open_or_create(store.folder, IDENTITY)):
        with pytest.raises(
            StoreError, match=r"parts holds 1 of 2 files .* not of this run, first c1\.parquet; move them"
        ):
            read()
    foreign.unlink()
    assert list(Store.open_or_create(store.folder, IDENTITY).scores()["value"]) == [0.5]


def test_a_part_under_another_name_is_named(store: Store) -> None:
    """Scores of one block are not taken for those of another, nor counted twice."""
    store.write_block("b1", result("a"))
    for suffix in (".parquet", ".curves.parquet", ".agreement.parquet", ".maps.npz"):
        shutil.copy(store.folder / "parts" / f"b1{suffix}", store.folder / "parts" / f"b2{suffix}")
    for read in (store.scores, lambda: Store.open_or_create(store.folder, IDENTITY)):
        with pytest.raises(StoreError, match=r"b2\.parquet holds the scores of another block, b1; delete it"):
            read()
    (store.folder / "parts" / "b2.parquet").unlink()
    assert len(store.scores()) == 1


def test_a_damaged_part_is_named_before_the_run_goes_on(store: Store) -> None:
    """An empty file of scores is found when the run is continued, not after hours; without it the run goes on."""
    store.write_block("b1", result("a"))
    part = store.folder / "parts" / "b1.parquet"
    part.write_bytes(b"")
    with pytest.raises(StoreError, match=r"b1\.parquet is damaged .*; delete \S*b1\.parquet and repeat"):
        Store.open_or_create(store.folder, IDENTITY)
    part.unlink()
    assert not Store.open_or_create(store.folder, IDENTITY).has_block("b1")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_full_disk_is_one_line_with_what_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """The finished block is counted and kept; with space again the same command goes on."""
    store.write_block("b1", result("a"))

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        message = rf"Cannot write \S*: {os.strerror(code)}.* 1 finished block is kept; the same command goes on"
        for write in (
            lambda: store.write_block("b2", result("b")),
            lambda: store.write_images(pd.DataFrame({"a": [1]})),
        ):
            with pytest.raises(StoreError, match=message):
                write()
    assert len(Store.open_or_create(store.folder, IDENTITY).scores()) == 1
    store.write_block("b2", result("b"))
    assert len(store.scores()) == 2


def test_a_folder_in_the_place_of_a_file_is_one_line(store: Store) -> None:
    """It is no finished block, and what to do is said when the block is to be written."""
    (store.folder / "parts" / "b1.parquet").mkdir()
    assert not store.has_block("b1")
    assert len(store.scores()) == 0
    with pytest.raises(StoreError, match=r"b1\.parquet: .*a folder has this name; rename it"):
        store.write_block("b1", result("a"))


@pytest.mark.parametrize("name", ["o" * 300, "file/run"])
def test_an_impossible_run_directory_is_one_line(tmp_path: Path, name: str) -> None:
    """A name that is too long, and a folder below a file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(MavisError, match=r"give a shorter name|give another (path|--out)"):
        Store.open_or_create(tmp_path / name, IDENTITY)


def test_a_run_of_another_version_is_not_read(store: Store) -> None:
    """A directory of another format is named as such, before any of its tables is missed."""
    path = store.folder / "run.json"
    path.write_text(path.read_text().replace(f'"format": {FORMAT}', '"format": 1'))
    with pytest.raises(StoreError, match="another version of MAVIS"):
        Store.open_existing(store.folder)


def test_reliability_comes_back(store: Store) -> None:
    """The table of what the model still knows is stored as it was given."""
    found = pd.DataFrame({"model": ["m"], "image": ["a"], "imputer": ["mean"], "fraction": [0.1], "kept": [1.0]})
    store.write_check("reliability", found)
    pd.testing.assert_frame_equal(store.read_check("reliability"), found)
    assert (store.has_check("reliability"), store.has_check("leak"), len(store.read_check("leak"))) == (True, False, 0)
