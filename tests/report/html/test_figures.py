"""What the page plots of the findings."""

import re

from mavis.report.html import figures


def test_drawing_is_repeatable(findings):
    """The same findings give the same bytes."""
    assert figures.accuracy_figure(findings, "race") == figures.accuracy_figure(findings, "race")


def test_ranking_plots_the_overall_score_where_there_is_one(findings):
    """The overall score has a panel of its own beside the primary metric and its gap; without skills there are two."""
    model = findings.models[0]
    titles = re.findall(r">([^<>]*)</text>", figures.ranking_figure(findings, model, "race"))
    assert "overall score" in titles
    assert "nsrg, macro mean" in titles
    plain = tuple(one.model_copy(update={"categories": {}, "overall": None}) for one in model.explainers)
    titles = re.findall(
        r">([^<>]*)</text>", figures.ranking_figure(findings, model.model_copy(update={"explainers": plain}), "race")
    )
    assert "overall score" not in titles
    assert "nsrg, macro mean" in titles


def test_many_methods_are_not_all_plotted_by_group(large_findings):
    """Of 57 methods five are plotted by group, and everything that is no method; the numbers are in the table."""
    titles = re.findall(r">([^<>]*)</text>", figures.group_figure(large_findings, large_findings.models[0], "race"))
    assert "★ integrated_gradients" in titles
    assert "method_2" in titles
    assert "random (control)" in titles
    assert not any(title in titles for title in ("method_3", "stopped_0"))
