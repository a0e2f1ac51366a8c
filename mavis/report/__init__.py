"""Reports: findings as a page, a console summary, and the leaderboard as CSV, Markdown, LaTeX and JSON.

Importing this is cheap: figures are drawn by matplotlib, which is imported when a page is written.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mavis.analysis.findings import Findings
from mavis.core import files
from mavis.core.errors import FileError
from mavis.core.printable import shell_quote
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

    Raises:
        FileError: a file cannot be written.
    """
    from mavis.report.html.page import render_page

    texts = {
        "leaderboard.json": formats.as_json(findings),
        "leaderboard.csv": csv_files.scores_csv(findings),
        "skills.csv": csv_files.skills_csv(findings),
        "gaps.csv": csv_files.gaps_csv(findings),
        "pairs.csv": csv_files.pairs_csv(findings),
        "leaderboard.md": formats.as_markdown(findings),
        "leaderboard.tex": formats.as_latex(findings),
        "index.html": render_page(findings, curves, tiles),
    }
    try:
        for name, text in texts.items():
            files.write_text(folder / name, text)
    except FileError as error:
        command = f"mavis report {shell_quote(folder.parent)}"
        raise FileError(f"{error} All scores are kept; {command} writes the report.") from error
    return folder / "index.html"
