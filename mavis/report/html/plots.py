"""Plots as SVG for inside the page: dots with intervals, and curves; their colours follow light and dark.

Drawn with matplotlib's objects alone, from its own defaults: nothing here touches pyplot, keeps a figure, or reads what
a matplotlibrc file or the caller has set.
"""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, MaxNLocator

from mavis.analysis.findings import Estimate
from mavis.report import numbers

INK, MUTED, LINE, ACCENT, WARN, PAPER = "#010203", "#010204", "#010205", "#010206", "#010207", "#010208"
PAGE_COLOURS = {INK: "--ink", MUTED: "--muted", LINE: "--line", ACCENT: "--accent", WARN: "--warn", PAPER: "--paper"}
"""Stand-ins, replaced by the page's own colours."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.0,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
}
FIGURE_WIDTH = 9.2
"""Of a full figure, in inches."""

ROW_HEIGHT = 0.24
"""Height of a line of dots, in inches."""

MAX_LABEL_LENGTH, MAX_TITLE_LENGTH = 24, 48


@dataclass(frozen=True)
class Dot:
    """A mean on a line of its own.

    Attributes:
        label: stands left of it.
        estimate: where it stands.
        note: stands in its index where there is no mean.
        worst: drawn as a diamond.
        hollow: too few images for a claim.
        mark: where a second, vertical mark stands, or None.
    """

    label: str
    estimate: Estimate
    note: str = ""
    worst: bool = False
    hollow: bool = False
    mark: float | None = None


@dataclass(frozen=True)
class Panel:
    """Lines of dots above one another.

    Attributes:
        title: above them.
        dots: from top to bottom.
        chance: a dashed line, or None.
        mean: a thin solid line, or None.
    """

    title: str
    dots: tuple[Dot, ...]
    chance: float | None = None
    mean: float | None = None


def plot_dots(
    panels: Sequence[Panel],
    *,
    description: str,
    n_columns: int,
    x_label: str = "",
    x_limits: tuple[float, float] | None = None,
    share_x: bool = True,
) -> Markup:
    """Panels of dots with intervals; nothing where there is nothing to draw.

    Args:
        panels: each with as many lines as the others.
        description: the text for readers who cannot see it.
        n_columns: panels in a row.
        x_label: under the lowest panels.
        x_limits: limits of every x axis; computed from the panels where None.
        share_x: one x axis for all panels.
    """
    if not any(dot.estimate.mean is not None for panel in panels for dot in panel.dots):
        return Markup("")
    lines = max(len(panel.dots) for panel in panels)
    labels = [_truncate(dot.label) for panel in panels for dot in panel.dots]
    with _style():
        grid = _axes_grid(
            len(panels),
            n_columns,
            height=ROW_HEIGHT * lines + 0.1,
            left=_label_width(labels),
            bottom=0.46 if x_label else 0.3,
        )
        if share_x:
            x_limits = x_limits or _x_limits(panels)
        for index, (axes, panel) in enumerate(zip(grid.axes, panels, strict=True)):
            _draw_panel(axes, panel, lines, labelled=index % n_columns == 0)
            axes.set_xlim(*(x_limits or _x_limits([panel])))
            axes.set_xlabel(x_label)
        return _to_svg(grid.figure, description)


def _style() -> AbstractContextManager[None]:
    """Matplotlib's defaults with `STYLE` on top; the backend stays, since changing it closes the caller's figures."""
    defaults = {name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith("backend")}
    return mpl.rc_context({**defaults, **STYLE})


def _draw_panel(axes: Axes, panel: Panel, lines: int, *, labelled: bool) -> None:
    axes.set_title(_truncate(panel.title, MAX_TITLE_LENGTH))
    axes.set_ylim(lines - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.set_yticks(range(len(panel.dots)), [_truncate(dot.label) if labelled else "" for dot in panel.dots])
    axes.xaxis.set_major_locator(MaxNLocator(4))
    for line in range(len(panel.dots)):
        axes.axhline(line, color=LINE, linewidth=0.5, zorder=0)
    if panel.chance is not None:
        axes.axvline(panel.chance, color=MUTED, linewidth=1, linestyle=(0, (3, 2)), zorder=1)
    if panel.mean is not None:
        axes.axvline(panel.mean, color=MUTED, linewidth=0.8, zorder=1)
    for line, dot in enumerate(panel.dots):
        _draw_dot(axes, dot, line)


def _draw_dot(axes: Axes, dot: Dot, line: int) -> None:
    if dot.estimate.mean is None:
        across = axes.get_yaxis_transform()
        box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}
        axes.text(0, line, dot.note or numbers.DASH, transform=across, va="center", color=MUTED, fontsize=8, bbox=box)
        return
    colour = WARN if dot.worst else ACCENT
    low, high = dot.estimate.low, dot.estimate.high
    if low is not None and high is not None:
        axes.plot([low, high], [line, line], color=colour, linewidth=1.6, zorder=2)
    marker = "D" if dot.worst else "o"
    face = "none" if dot.hollow else colour
    axes.plot([dot.estimate.mean], [line], marker, color=colour, markerfacecolor=face, markersize=5, zorder=3)
    if dot.mark is not None:
        axes.plot([dot.mark], [line], "|", color=INK, markersize=9, markeredgewidth=1.6, zorder=3)


def _x_limits(panels: Sequence[Panel]) -> tuple[float, float]:
    values: list[float | None] = []
    for panel in panels:
        values += [panel.chance, panel.mean]
        for dot in panel.dots:
            values += [dot.estimate.mean, dot.estimate.low, dot.estimate.high, dot.mark]
    present = [value for value in values if value is not None]
    low, high = min(present), max(present)
    margin = 0.05 * (high - low) or 0.05
    return low - margin, high + margin


def plot_curves(panels: Mapping[str, pd.DataFrame], *, description: str, y_label: str = "target's output") -> Markup:
    """Falling curves, a panel each: solid for the least influential first, dashed for the most, shaded between.

    Args:
        panels: title -> rows with ``order, x, mean`` of one explainer, imputer and group.
        description: the text for readers who cannot see it.
        y_label: label of the y axis.
    """
    panels = {title: rows.dropna(subset=["mean"]) for title, rows in panels.items()}
    panels = {title: rows for title, rows in panels.items() if len(rows)}
    if not panels:
        return Markup("")
    across = min(4, len(panels))
    means = np.concatenate([rows["mean"].to_numpy(dtype=float) for rows in panels.values()])
    with _style():
        grid = _axes_grid(len(panels), across, height=1.15, left=0.55, bottom=0.46)
        for index, (axes, (title, rows)) in enumerate(zip(grid.axes, panels.items(), strict=True)):
            _draw_curves(axes, _truncate(title, MAX_TITLE_LENGTH), rows)
            axes.set_xlim(0, 1)
            axes.set_ylim(min(0.0, means.min()), means.max() * 1.05)
            axes.yaxis.set_major_locator(MaxNLocator(3))
            if index % across:
                axes.set_yticklabels([])
            else:
                axes.set_ylabel(y_label)
            axes.set_xlabel("share removed")
        return _to_svg(grid.figure, description)


def _draw_curves(axes: Axes, title: str, rows: pd.DataFrame) -> None:
    axes.set_title(title)
    axes.xaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
    lines = {str(order): part.sort_values("x") for order, part in rows.groupby("order")}
    for order, style, colour in (("lif", "-", ACCENT), ("mif", (0, (4, 2)), WARN)):
        if order in lines:
            axes.plot(lines[order]["x"], lines[order]["mean"], color=colour, linestyle=style, linewidth=1.5)
    if len(lines) == 2 and np.array_equal(lines["lif"]["x"], lines["mif"]["x"]):
        x, low, high = (
            part.to_numpy(dtype=float) for part in (lines["lif"]["x"], lines["mif"]["mean"], lines["lif"]["mean"])
        )
        axes.fill_between(x, low, high, color=ACCENT, alpha=0.12, linewidth=0)


@dataclass(frozen=True)
class _AxesGrid:
    figure: Figure
    axes: list[Axes]


def _axes_grid(n_panels: int, n_columns: int, *, height: float, left: float, bottom: float) -> _AxesGrid:
    """Axes of equal size, row by row; sizes in inches."""
    rows = -(-n_panels // n_columns)
    right, top, between = 0.2, 0.3, 0.34
    full = rows * (height + top + bottom)
    width = (FIGURE_WIDTH - left - right - between * (n_columns - 1)) / n_columns
    figure = Figure(figsize=(FIGURE_WIDTH, full))
    axes = []
    for index in range(n_panels):
        row, column = divmod(index, n_columns)
        x = left + column * (width + between)
        y = full - (row + 1) * (height + top + bottom) + bottom
        axes.append(figure.add_axes((x / FIGURE_WIDTH, y / full, width / FIGURE_WIDTH, height / full)))
    return _AxesGrid(figure, axes)


def _truncate(label: str, max_length: int = MAX_LABEL_LENGTH) -> str:
    return label if len(label) <= max_length else f"{label[: max_length - 1]}…"


def _label_width(labels: Sequence[str]) -> float:
    return 0.25 + 0.075 * max(map(len, labels), default=0)


def _to_svg(figure: Figure, description: str) -> Markup:
    """The figure as an element of the page: its colours, its font, its width, no identifiers that could clash."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    written = io.StringIO()
    with warnings.catch_warnings(), mpl.rc_context({"svg.hashsalt": description}):
        warnings.filterwarnings(
            "ignore", message="Glyph", category=UserWarning
        )  # the reader's browser has its own fonts
        figure.savefig(written, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    body = written.getvalue()
    body = body[body.index("<svg") :]
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", body)
    for stand_in, variable in PAGE_COLOURS.items():
        body = body.replace(stand_in, f"var({variable})")
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', body)
    wide, high = size.groups() if size else ("600", "300")
    start = f'<svg role="img" aria-label="{escape(description)}" viewBox="0 0 {wide} {high}" class="plot">'
    return Markup(re.sub(r"<svg[^>]*>", lambda _: start, body, count=1))  # noqa: S704 (matplotlib escapes its texts)
