"""What ``mavis run`` prints at the end."""

import io
import re

import pytest
from rich.console import Console

from mavis.report.console import show


def _printed(findings, width: int, **options) -> str:
    console = Console(file=io.StringIO(), width=width, **options)
    show(console, findings)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_fits_and_breaks_no_number(findings, width):
    """At any width no line is longer; means stand unbroken with their intervals, or their metric is said to be left."""
    text = _printed(findings, width)
    assert max(map(len, text.splitlines())) <= width
    left = " ".join(text.split()).partition("In the report also: ")[2].partition(".")[0].split(", ")
    assert findings.protocol.primary not in left
    for model in findings.models:
        for entry in model.explainers:
            for one in entry.metrics:
                if one.estimate.mean is not None and one.estimate.mean < 9 and one.metric not in left:
                    mean = f"{one.estimate.mean:.3f}".removeprefix("0")
                    arm = max(one.estimate.high - one.estimate.mean, one.estimate.mean - one.estimate.low)
                    assert f"{mean} ±{f'{arm:.3f}'.removeprefix('0')}" in text, (entry.explainer, one.metric)


@pytest.mark.parametrize("width", [80, 120])
def test_says_the_essentials_without_colour(findings, width):
    """Plain text says who leads, what failed, which group is weak or not shown, and why nothing is recommended."""
    text = _printed(findings, width, no_color=True)
    words = " ".join(text.split())
    assert "\x1b" not in text
    for part in (
        "This is a preview", "custom protocol", "accuracy .870±.020", "weak on images labelled cedar",
        "cue agrees .953, disagrees .214", "★ 1 integrated_gradients", "3 input_x_gradient ✗ G3", "sobel (control)",
        "nsrg ↑", "n<30", "35 times, 840 images", "and 37 more", "★ Recommended set", "✗ No recommendation",
        "R1 the model is not shown to beat chance", "R11 the protocol was changed", "integrated_gradients .633",
    ):  # fmt: skip
        assert part in words, part
    assert "nan" not in words.lower().split()
    assert "None" not in words


def test_failures_do_not_flood(findings):
    """Thousands of failures and skips cost a few lines."""
    many = findings.model_copy(
        update={
            "failures": tuple(
                one.model_copy(update={"message": f"{one.message} {number}"})
                for number, one in enumerate(findings.failures * 50)
            )
        }
    )
    assert len(_printed(many, 100).splitlines()) < len(_printed(findings, 100).splitlines()) + 20
    assert "more kinds, listed in the report" in _printed(many, 100)


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
    show(Console(file=stream, width=80), findings)
    stream.flush()
    assert b"* 1   integrated_gradients" in stream.buffer.getvalue()


def test_nothing_finished(findings):
    """Without models, explainers, groups or values the summary still prints."""
    bare = findings.model_copy(update={"models": ()})
    assert "No model was evaluated" in _printed(bare, 80)
    idle = findings.models[0].model_copy(update={"explainers": ()})
    assert "No explainer was run" in _printed(findings.model_copy(update={"models": (idle,)}), 80)
    ungrouped = findings.data.model_copy(update={"groups": {}})
    assert "name no groups" in _printed(findings.model_copy(update={"data": ungrouped}), 80)
