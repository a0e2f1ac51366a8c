"""The leaderboard that the summary prints."""

import io

from rich.console import Console

from mavis.analysis.findings import Findings, ModelFindings
from mavis.report.console.leaderboard import print_leaderboard
from mavis.report.console.terminal import Printer


def _printed(findings: Findings, model: ModelFindings, *, everything: bool = False) -> str:
    console = Console(file=io.StringIO(), width=100)
    print_leaderboard(Printer(console), findings, model, full=everything)
    return console.file.getvalue()


def test_columns_are_overall_and_categories_by_weight(findings):
    """Overall stands first, then the categories by weight; failed methods stand below the eligible ones."""
    text = _printed(findings, findings.models[0])
    words = " ".join(text.split())
    head = " ".join(text[: text.index("★")].split())
    assert "faithful- robust- complex- worst overall ness ness ity group" in head
    lines = [line.split() for line in text.splitlines()]
    assert ["★", "2", "[1,", "3]", "grad_cam", "?", "G3", ".830", "±.040", ".800", ".900", "1.000", ".517"] in lines
    assert text.index("grad_cam") < text.index("input_x_gradient") < text.index("sobel (control)")
    assert "✗ G3 not passed: maps change when the weights are randomised" in words
    assert (
        "rank [its interval] by overall score, the weighted mean (normalised score: 0 = random, 1 = oracle or" in words
    )
    assert "grad_cam by integrated_gradients" in words


def test_primary_and_its_imputers_stand_apart(findings):
    """The primary metric is shown whole and by imputer, no other raw metric."""
    text = _printed(findings, findings.models[0])
    assert "nsrg of the first 2 methods, and by imputer" in text
    assert "nsrg@blur ↑" in text
    assert "deletion" not in text
    assert "insertion" in _printed(findings, findings.models[0], everything=True)


def test_without_skills_the_primary_metric_ranks(findings):
    """Where nothing has a skill, the table shows the primary metric and its imputers, and says what the rank is by."""
    model = findings.models[0]
    plain = tuple(
        one.model_copy(update={"categories": {}, "overall": None, "skills": (), "rank_low": None, "dominated_by": None})
        for one in model.explainers
    )
    text = _printed(findings, model.model_copy(update={"explainers": plain}))
    assert "overall" not in text
    assert "Dominated" not in text
    assert "rank by nsrg" in text
    assert "nsrg@mean ↑" in text


def test_many_methods_are_cut_and_told_by_gate(large_findings):
    """The first twelve eligible methods and everything that is no method are shown, the stopped named by their gate."""
    text = _printed(large_findings, large_findings.models[0])
    words = " ".join(text.split())
    assert "method_9 " in text
    assert "method_10 " not in text
    assert "sobel (control)" in text
    assert (
        "✗ G3 stops input_x_gradient, stopped_0, stopped_1, stopped_2, stopped_3, stopped_4 and 14 more (maps change "
        "when the weights are randomised)"
    ) in words
    assert "✗ G4 not passed or not assessed: input_x_gradient, stopped_0" in words
    assert "45 methods are left out here, 24 of them eligible. The report has them, and everything" in words
    assert "stopped_18" in _printed(large_findings, large_findings.models[0], everything=True)


def test_the_short_table_has_no_row_of_dashes(large_findings):
    """A control without a score is left out where skills are shown, and not counted among the methods left out."""
    model = large_findings.models[0]
    bare = tuple(
        one.model_copy(update={"overall": None, "categories": {}}) if one.explainer == "sobel" else one
        for one in model.explainers
    )
    text = _printed(large_findings, model.model_copy(update={"explainers": bare}))
    assert "sobel" not in text
    assert "45 methods are left out here" in " ".join(text.split())
    assert "sobel" in _printed(large_findings, model.model_copy(update={"explainers": bare}), everything=True)


def test_what_does_not_work_here_is_stopped_by_no_gate(large_findings):
    """Why it has no maps stands elsewhere."""
    model = large_findings.models[0]
    broken = tuple(
        one.model_copy(update={"missing": "does not work here"}) if one.explainer.startswith("stopped") else one
        for one in model.explainers
    )
    text = _printed(large_findings, model.model_copy(update={"explainers": broken}))
    assert "✗ G3 stops input_x_gradient (maps" in " ".join(text.split())


def test_a_gate_that_cannot_be_assessed_stops_nobody(large_findings):
    """A gate for which the model lacks what it needs is not said to stop a method that another gate stopped."""
    model = large_findings.models[0]
    impossible = tuple(
        one.model_copy(
            update={
                "gates": tuple(
                    gate.model_copy(update={"impossible": True}) if gate.passed is None else gate for gate in one.gates
                )
            }
        )
        for one in model.explainers
    )
    words = _printed(large_findings, model.model_copy(update={"explainers": impossible}))
    assert "✗ G3 stops" in words
    assert "✗ G4" not in words
