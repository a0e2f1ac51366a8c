"""What ``mavis run`` prints at the end."""

import io
import re

import pytest
from rich.console import Console

from mavis.analysis.findings import Skipped
from mavis.report import wording
from mavis.report.console.summary import print_summary


def _printed(findings, width: int, *, everything: bool = False, **options) -> str:
    console = Console(file=io.StringIO(), width=width, **options)
    print_summary(console, findings, full=everything)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 120])
@pytest.mark.parametrize("everything", [False, True])
def test_fits_and_breaks_no_number(findings, width, everything):
    """At any width no line is longer; overall and primary, on demand every metric, stand unbroken with intervals."""
    text = _printed(findings, width, everything=everything)
    assert max(map(len, text.splitlines())) <= width
    for model in findings.models:
        for entry in model.explainers:
            shown = [one.estimate for one in entry.metrics if everything or one.metric == "nsrg"]
            for one in [entry.overall, *shown] if entry.eligible else []:
                if one.mean is not None and one.mean < 9:
                    mean = f"{one.mean:.3f}".removeprefix("0")
                    arm = max(one.high - one.mean, one.mean - one.low)
                    assert f"{mean} ±{f'{arm:.3f}'.removeprefix('0')}" in text, (entry.explainer, one)


@pytest.mark.parametrize("width", [80, 120])
def test_says_the_essentials_without_colour(findings, width):
    """Plain text says who leads, what failed, which group is weak or not shown, and why nothing is recommended."""
    text = _printed(findings, width, no_color=True)
    words = " ".join(text.split())
    assert "\x1b" not in text
    for part in (
        "This is a preview", "custom protocol", "accuracy .870±.020", "weak on images labelled cedar",
        "accuracy when the cue agrees .953, disagrees .214", "★ 1 [1, 2] integrated_gradients ? G3",
        "3 [1, 4] input_x_gradient ✗ G3 ? G4", "sobel (control)",
        "nsrg ↑", "n<30", "35 times, 840 images", "and 37 more", "★ Recommended set", "✗ No recommendation",
        "R1 the model is not shown to be better than chance", "R11 the protocol quick is frozen",
        "integrated_gradients .633",
    ):  # fmt: skip
        assert part in words, part
    assert "nan" not in words.lower().split()
    assert "None" not in words


def test_order_is_model_board_groups_trouble_answer(findings):
    """A reader meets the standing first, then the model, the leaderboard, the groups, what is missing, the answer."""
    text = _printed(findings, 100)
    heads = (
        "This is a preview",
        "Model validity",
        "Leaderboard ·",
        "By race",
        "Across 6",
        "Missing results",
        "Answer ·",
    )
    places = [text.index(head) for head in heads]
    assert places == sorted(places)


def test_answer_has_evidence_limits_and_codes(findings):
    """The answer has numbered evidence, groups, what was not assessed, weights, cross-checks and a word on codes."""
    words = " ".join(_printed(findings, 100).split())
    answer = words[words.index("Answer · faces-balanced") :]
    for part in (
        "★ Recommended set, no single best, provisionally. integrated_gradients and grad_cam",
        "1. integrated_gradients leads", "2. grad_cam is statistically tied",
        "by group: On images labelled birch", "not assessed: relevance_mass", "not assessed: gate G3",
        "weights: faithfulness .588, robustness .235",
        "Borda integrated_gradients .917 · mean rank integrated_gradients 1.250 · random weights", "W = .712",
        "What each code means, and what to do: docs/decision.md",
    ):  # fmt: skip
        assert part in answer, part


def test_what_was_skipped_is_not_said_to_have_no_value_too(findings):
    """An explainer without maps stands once, with its reason."""
    model = findings.models[0]
    last = model.explainers[-1].model_copy(update={"missing": "has no attention"})
    model = model.model_copy(update={"explainers": (*model.explainers[:-1], last)})
    told = findings.model_copy(
        update={
            "models": (model,),
            "skipped": (Skipped(model="faces", explainers=("rollout",), metrics=(), reason="has no attention"),),
        }
    )
    assert _printed(told, 100).count("has no attention") == 1
    untold = told.model_copy(update={"skipped": ()})
    assert "no value: faces-balanced: " in _printed(untold, 100)


def test_long_evidence_is_cut_and_counted(findings, monkeypatch):
    """Evidence of many sentences costs ten lines and says how many more there are; on demand all are printed."""
    model = findings.models[0]
    monkeypatch.setattr(wording, "answer_reasons", lambda _: [f"method_{i} is worse." for i in range(40)])
    long = findings.model_copy(update={"models": (model,)})
    text = _printed(long, 100)
    assert "10. method_9 is worse." in text
    assert "method_10 is worse" not in text
    assert "and 30 more, in the report; --full prints them" in text
    assert "40. method_39 is worse." in _printed(long, 100, everything=True)


def test_stays_readable_with_many_methods(large_findings):
    """Fifty-seven methods take no more than a hundred and twenty lines of a hundred columns."""
    text = _printed(large_findings, 100)
    assert len(text.splitlines()) < 120
    assert len(_printed(large_findings, 100, everything=True).splitlines()) > 300


def test_failures_do_not_flood(findings):
    """Thousands of failures and skips cost a few lines."""
    large_findings = findings.model_copy(
        update={
            "failures": tuple(
                one.model_copy(update={"message": f"{one.message} {number}"})
                for number, one in enumerate(findings.failures * 50)
            )
        }
    )
    assert len(_printed(large_findings, 100).splitlines()) < len(_printed(findings, 100).splitlines()) + 20
    assert "more kinds, listed in the report" in _printed(large_findings, 100)


def test_shows_groups_side_by_side(findings):
    """With several models each explainer has a row per model, with score, gap and cue mass."""
    text = _printed(findings, 120)
    part = text[text.index("The models side by side") :]
    assert re.search(r"integrated_gradients\s+faces-balanced\s+\.\d{3} ±\.\d{3}\s+\.\d{3} \(\.\d{3}\)\s+birch", part)
    assert re.search(r"\n\s+faces-biased\s+\.\d{3} ±\.\d{3}", part)


def test_one_model_has_no_side_by_side(build_findings):
    """With one model nothing is compared between models."""
    assert "side by side" not in _printed(build_findings(models=("one",)), 100)


def test_names_are_never_markup(hostile):
    """Names in brackets are printed, not obeyed; control characters do not reach the terminal."""
    model = hostile.models[0].model_copy(update={"model": "[red]x[/red]\x1b[2J"})
    text = _printed(hostile.model_copy(update={"models": (model,)}), 120)
    assert "[red]x[/red]" in text
    assert "\x1b" not in text
    assert "<script>alert(1)</script>" in text


def test_ascii_terminals_get_ascii(findings):
    """On a stream that cannot hold other characters every letter is ASCII."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_summary(Console(file=stream, width=80), findings)
    stream.flush()
    assert b"* 1 [1, 2] integrated_gradients" in stream.buffer.getvalue()


def test_nothing_finished(findings):
    """Without models, explainers, groups or values the summary still prints."""
    bare = findings.model_copy(update={"models": ()})
    assert "No model was evaluated" in _printed(bare, 80)
    idle = findings.models[0].model_copy(update={"explainers": ()})
    assert "No explainer was run" in _printed(findings.model_copy(update={"models": (idle,)}), 80)
    ungrouped = findings.data.model_copy(update={"groups": {}})
    assert "name no groups" in _printed(findings.model_copy(update={"data": ungrouped}), 80)
