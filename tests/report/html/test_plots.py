"""Plots inside the page."""

import xml.etree.ElementTree as ET

import matplotlib as mpl
import pandas as pd
import pytest

from mavis.analysis.findings import Estimate
from mavis.report.html import plots
from mavis.report.html.plots import Dot, Panel


def test_plots_are_told_and_follow_the_page():
    """A plot is one element with a description, the page's colours and no identifier of a group."""
    dot = Dot("a_$x$ & <b>", Estimate(mean=0.4, low=0.3, high=0.5, n=9), worst=True)
    svg = plots.plot_dots([Panel("$\\alpha <i>", (dot,), chance=0.1)], description='he said "x" & <y>', n_columns=1)
    tree = ET.fromstring(str(svg).replace("xlink:href", "href"))
    assert tree.get("role") == "img"
    assert tree.get("aria-label") == 'he said "x" & <y>'
    assert "var(--warn)" in svg
    assert not any(stand_in in svg for stand_in in plots.PAGE_COLOURS)
    texts = [node.text for node in tree.iter() if node.tag.endswith("text")]
    assert "a_$x$ & <b>" in texts
    assert "$\\alpha <i>" in texts
    assert "http" not in svg


def test_labels_in_any_script_are_drawn():
    """A label that matplotlib's font lacks is left to the reader's browser, without a warning."""
    svg = plots.plot_dots(
        [Panel("雪松", (Dot("雪", Estimate(mean=1.0, low=None, high=None, n=1)),))], description="x", n_columns=1
    )
    assert "雪松" in svg


def test_nothing_to_draw_is_nothing():
    """Without any mean there is no plot, and without rows there are no curves."""
    blank = Estimate(mean=None, low=None, high=None, n=0)
    assert plots.plot_dots([Panel("x", (Dot("a", blank),))], description="x", n_columns=1) == ""
    assert plots.plot_dots([], description="x", n_columns=1) == ""
    empty = pd.DataFrame({"order": [], "x": [], "mean": []})
    assert plots.plot_curves({"a": empty}, description="x") == ""


@pytest.mark.parametrize(
    "settings",
    [
        {"text.usetex": True},
        {"savefig.bbox": "tight", "savefig.pad_inches": 2.0},
        {"savefig.transparent": True, "figure.dpi": 300},
        {"font.family": "serif", "axes.grid": True, "figure.autolayout": True},
        {"svg.fonttype": "path", "axes.unicode_minus": False, "lines.linewidth": 9.0},
        {"axes.formatter.use_locale": True, "xtick.labelsize": 30.0, "path.sketch": (3.0, 100.0, 2.0)},
    ],
)
def test_the_caller_s_matplotlib_settings_do_not_reach_the_plots(settings):
    """Whatever an rc file or the caller sets, the drawing is the same, and the caller's settings stay."""
    panel = Panel("gini", (Dot("saliency", Estimate(mean=-0.4, low=-0.5, high=0.5, n=9)),))
    expected = plots.plot_dots([panel], description="x", n_columns=1)
    with mpl.rc_context(settings):
        before = dict(mpl.rcParams)
        assert plots.plot_dots([panel], description="x", n_columns=1) == expected
        assert dict(mpl.rcParams) == before
