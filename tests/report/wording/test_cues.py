"""The planted cue in words: reliance with its interval, and the methods that show it, hide it or turn it round."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from mavis.analysis.findings import CueDetection, Estimate
from mavis.report.wording.cues import cue_lines


def findings(more: tuple[float, float, float], shares: Mapping[str, tuple[float, float]]) -> Any:
    """Two models; per explainer the interval of its share of images, and a control that shows everything."""
    rows = tuple(
        CueDetection(
            leaning="biased",
            other="balanced",
            explainer=name,
            reliance=(0.18, 0.01),
            more_reliance=Estimate(mean=more[0], low=more[1], high=more[2], n=84),
            auroc=Estimate(mean=0.9, low=0.8, high=1.0, n=22),
            higher=Estimate(mean=sum(ends) / 2, low=ends[0], high=ends[1], n=22),
        )
        for name, ends in {**shares, "sobel": (0.9, 1.0)}.items()
    )
    roles = [SimpleNamespace(explainer=n, role="control" if n == "sobel" else "method") for n in (*shares, "sobel")]
    return SimpleNamespace(twins=rows, models=[SimpleNamespace(explainers=roles)])


def test_a_shown_reliance_names_the_methods() -> None:
    """Those whose interval lies above a half show it, below it the wrong way round; controls are no methods."""
    shares = {"deeplift": (0.9, 1.0), "gradcam": (0.4, 0.8), "lrp": (0.1, 0.3)}
    reliance, shown, hidden, contrary = cue_lines(findings((0.17, 0.09, 0.25), shares))
    assert reliance == (
        "biased relies on the planted cue more than balanced: accuracy where the cue agrees with the label minus where "
        "it disagrees is .180 for biased and .010 for balanced, difference .170 [.090, .250]."
    )
    assert shown == (
        "On the 22 images whose cue speaks for the class explained on biased, more mass lies on the cue than for "
        "balanced by deeplift."
    )
    assert hidden == "Not shown by gradcam."
    assert contrary == "Shown the wrong way round by lrp: less mass on the cue."


def test_where_no_method_shows_it_that_is_said() -> None:
    """With the number of images."""
    lines = cue_lines(findings((0.17, 0.09, 0.25), {"gradcam": (0.4, 0.8)}))
    assert lines[1:] == ["On the 22 images whose cue speaks for the class explained on biased, not shown by gradcam."]


def test_a_difference_that_may_be_none_is_not_claimed() -> None:
    """The interval holds 0: no method is said to show anything."""
    (line,) = cue_lines(findings((0.02, -0.05, 0.09), {"deeplift": (0.9, 1.0)}))
    assert line.startswith("Neither of biased and balanced is shown to rely on the planted cue more: accuracy")


def test_one_model_or_no_cue_has_no_lines() -> None:
    """Nothing to compare."""
    assert cue_lines(SimpleNamespace(twins=(), models=[])) == []  # type: ignore[arg-type]
