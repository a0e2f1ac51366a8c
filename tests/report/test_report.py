"""The files of a report."""

import subprocess
import sys
from pathlib import Path

import pytest

from mavis.core.errors import FileError
from mavis.report import write_report

FILES = [
    "gaps.csv", "index.html", "leaderboard.csv", "leaderboard.json", "leaderboard.md", "leaderboard.tex", "pairs.csv",
    "skills.csv",
]  # fmt: skip


def test_writes_every_file(tmp_path, findings, curves, tiles):
    """A new folder holds these files and nothing else, and the page's path is returned."""
    page = write_report(tmp_path / "new" / "report", findings, curves, tiles)
    assert page == tmp_path / "new" / "report" / "index.html"
    assert sorted(path.name for path in page.parent.iterdir()) == FILES


def test_replaces_whole_files(tmp_path, findings, curves, monkeypatch):
    """Readers never see half a file: each is written beside its place and then moved there."""
    write_report(tmp_path, findings, curves, [])
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    moved = []
    replace = Path.replace

    def watched(self, target):
        assert Path(target).read_bytes() == before[Path(target).name]
        assert self.parent == Path(target).parent
        moved.append(Path(target).name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    write_report(tmp_path, findings, curves, [])
    assert sorted(moved) == FILES


def test_a_failure_leaves_the_old_file(tmp_path, findings, curves, monkeypatch):
    """When writing fails, the old files stay and no temporary file is left."""
    write_report(tmp_path, findings, curves, [])
    before = (tmp_path / "leaderboard.json").read_bytes()

    def full(self, target):
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(FileError, match=r"No space left on device.* All scores are kept; mavis report \S+ writes"):
        write_report(tmp_path, findings.model_copy(update={"models": ()}), curves, [])
    assert (tmp_path / "leaderboard.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_importing_reports_draws_nothing():
    """Importing the package and the console summary loads neither matplotlib nor torch."""
    code = "import sys, mavis.report.console; print([m for m in ('matplotlib', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
