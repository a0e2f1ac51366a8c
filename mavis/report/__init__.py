"""Reports: findings as a page, a console summary, and the leaderboard as CSV, Markdown, LaTeX and JSON.

Importing this is cheap: figures are drawn by matplotlib, which is imported when a page is written.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mavis.analysis.findings import Findings
from mavis.report.export import csv_files, formats
from mavis.report.export.formats import leaderboard_schema
from mavis.report.html.gallery import Tile

__all__ = ["Tile", "leaderboard_schema", "write_report"]


def write_report(folder: Path, findings: Findings, curves: pd.DataFrame, tiles: Sequence[Tile]) -> Path:
    """Writes the page, the leaderboard and three further tables; each file appears whole or not at all.

    These are ``index.html``; ``leaderboard.csv``, ``.md``, ``.json`` and ``.tex``; ``skills.csv``, ``gaps.csv`` and
    ``pairs.csv``.

    Args:
        folder: made where it is missing; what it holds under these names is replaced.
        findings: what the run found.
        curves: perturbation curves, columns ``model, explainer, imputer, order ("mif" or "lif"), x`` (share removed),
            ``attribute, group`` (both empty for all images), ``mean, n``; may have no rows.
        tiles: images with their maps; may be empty.

    Returns:
        The path of ``index.html``, a page that needs no other file and no network.
    """
    from mavis.report.html.page import render_page

    folder.mkdir(parents=True, exist_ok=True)
    page = render_page(findings, curves, tiles)
    _write_atomically(folder / "leaderboard.json", formats.as_json(findings))
    _write_atomically(folder / "leaderboard.csv", csv_files.scores_csv(findings))
    _write_atomically(folder / "skills.csv", csv_files.skills_csv(findings))
    _write_atomically(folder / "gaps.csv", csv_files.gaps_csv(findings))
    _write_atomically(folder / "pairs.csv", csv_files.pairs_csv(findings))
    _write_atomically(folder / "leaderboard.md", formats.as_markdown(findings))
    _write_atomically(folder / "leaderboard.tex", formats.as_latex(findings))
    _write_atomically(folder / "index.html", page)
    return folder / "index.html"


def _write_atomically(path: Path, text: str) -> None:
    """A reader sees the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
