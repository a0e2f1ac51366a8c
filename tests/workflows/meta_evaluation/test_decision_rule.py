"""M12: the decision is tested as runs take it."""

from dataclasses import replace

import pytest

from mavis.decision import refusals
from mavis.workflows.meta_evaluation import decision_rule, fixtures, simulated_leaderboards

from .helpers import PROTOCOL


def test_the_decision_is_tested_as_runs_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best is in the set of `compare_eligible`; a set without it fails, and so do refusals that never apply."""
    bench = fixtures.Bench(PROTOCOL, replace(fixtures.QUICK, simulations=20))
    assert {check.verdict for check in decision_rule.rule_checks(bench)} == {"passed"}
    monkeypatch.setattr(refusals, "find_refusals", lambda *_: [])
    bench = fixtures.Bench(PROTOCOL, replace(fixtures.QUICK, simulations=4))
    checks = decision_rule.rule_checks(
        bench, lambda *args: replace(simulated_leaderboards.simulate_comparison(*args), leading_set=("d",))
    )
    assert {check.verdict for check in checks} == {"failed"}


def test_only_controls_have_an_expected_cue_auroc(monkeypatch: pytest.MonkeyPatch, bench: fixtures.Bench) -> None:
    """M11: oracle and controls have a criterion; methods are reported."""
    aurocs = {"oracle": 0.98, "random": 0.5, "sobel": 0.6, "gradcam": 0.7}
    monkeypatch.setattr(decision_rule, "cue_aurocs", lambda _: aurocs)
    assert [check.verdict for check in decision_rule.cue_checks(bench)] == ["passed", "passed", "failed", "reported"]
