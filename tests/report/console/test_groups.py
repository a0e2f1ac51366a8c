"""What the summary prints by labelled group."""

import io

from rich.console import Console

from mavis.analysis.findings import Findings
from mavis.report.console.groups import print_groups
from mavis.report.console.terminal import Printer


def _printed(findings: Findings, *, everything: bool = False) -> str:
    console = Console(file=io.StringIO(), width=100)
    print_groups(Printer(console), findings, full=everything)
    return console.file.getvalue()


def test_shows_who_leads_and_random(large_findings):
    """The methods that lead and random are shown by group, the others on demand."""
    text = _printed(large_findings)
    table = [line.split()[0] for line in text.splitlines() if line.count(".") > 7]
    assert table == ["integrated_gradients", "grad_cam", "method_0", "method_1", "method_2", "random"]
    assert "sobel" not in text
    assert "stopped_3" in _printed(large_findings, everything=True)


def test_gaps_are_said_in_sentences(findings):
    """Under the table stands what may be said of each shown method's gaps by the first attribute."""
    words = " ".join(_printed(findings).split())
    assert (
        "found: integrated_gradients by race: nsrg, as a normalised score, is lower for images labelled birch than"
        in words
    )
    assert "by gender" not in words


def test_models_side_by_side_keep_to_those_that_lead(large_findings, findings):
    """With many methods the comparison of models shows those that lead on any, and what is no method."""
    model = large_findings.models[0]
    two = large_findings.model_copy(update={"models": (model, model.model_copy(update={"model": "two"}))})
    text = _printed(two)
    part = text[text.index("side by side") :]
    assert "method_2" in part
    assert "sobel" in part
    assert "method_3" not in part
    assert "input_x_gradient" in _printed(findings)
    assert "method_3" in _printed(two, everything=True)
