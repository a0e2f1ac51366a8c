"""M0: metrics on models of four cells give the scores that are worked out by hand."""

import pytest

from mavis.workflows.meta_evaluation import closed_forms


@pytest.mark.parametrize("case", closed_forms.EXPECTED, ids=lambda case: "/".join(case[:3]))
def test_closed_forms_hold(case: tuple[str, str, str, dict[str, object], float]) -> None:
    """Linear, additive, product and saturating models of four cells, by hand."""
    assert closed_forms.score(*case[:4], seed=1) == pytest.approx(case[4], abs=1e-5)


def test_a_wrong_score_fails_and_is_located(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of a metric names its worst case; other metrics pass."""
    wrong = (("linear", "one-hot", "gini", {}, 0.75), ("linear", "half-in", "gini", {}, 0.6))
    monkeypatch.setattr(closed_forms, "EXPECTED", (*wrong, ("linear", "uniform", "pixel_auroc", {}, 0.5)))
    gini, auroc = closed_forms.closed_form_checks(seed=1)
    assert (gini.verdict, auroc.verdict) == ("failed", "passed")
    assert gini.value == pytest.approx(0.1, abs=1e-5)
    assert gini.note == "2 cases; largest at linear/half-in"


def test_a_metric_that_explains_again_has_no_closed_form() -> None:
    """Only map, sweep and probe metrics are scored here."""
    with pytest.raises(TypeError, match="'flip_equivariance' has no closed form"):
        closed_forms.score("linear", "exact", "flip_equivariance", {}, seed=1)
