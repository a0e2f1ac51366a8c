"""mavis verify: what it prints, what it writes, and when it ends with 1."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mavis.cli import app
from mavis.protocol import demotions
from mavis.workflows import meta_evaluation
from mavis.workflows.meta_evaluation import results


def result(*checks: meta_evaluation.Check) -> meta_evaluation.MetaEvaluation:
    return meta_evaluation.MetaEvaluation(
        protocol="best_practices_v1", sha256="0", rules="0", settings={}, mavis="0", quick=True, seed=0, minutes=0.1,
        checks=checks, applies={}, verified=(), demoted={}, thresholds=(),
    )  # fmt: skip


def check(name: str, metric: str | None, *, passed: bool) -> meta_evaluation.Check:
    return results.criterion_check(name, "a test", metric, "faces", "tau", value=0.5, criterion="≥ 0.7", passed=passed)


def ran(monkeypatch: pytest.MonkeyPatch, *options: str, checks: tuple[meta_evaluation.Check, ...]) -> object:
    monkeypatch.setattr(meta_evaluation, "meta_evaluate", lambda *_, **__: result(*checks))
    return CliRunner().invoke(app, ["verify", *options], env={"COLUMNS": "200"})


@pytest.mark.parametrize(
    ("name", "metric", "passed", "code"),
    [("M7", "nsrg", True, 0), ("M7", "nsrg", False, 1), ("M9", None, False, 1), ("M11", None, False, 0)],
)
def test_a_required_failure_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, name: str, metric: str | None, passed: bool, code: int
) -> None:
    """M11 is not among the required ones."""
    monkeypatch.setattr(demotions, "_documents", lambda: ())
    found = ran(monkeypatch, "--quick", checks=(check(name, metric, passed=passed),))
    assert found.exit_code == code
    assert ("failed: M" in found.output) == (code == 1)


def test_a_failure_on_record_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric that is demoted already may fail again."""
    told = {"protocol": "best_practices_v1", "demoted": {"nsrg": "M7"}, "settings": {}}
    monkeypatch.setattr(demotions, "_documents", lambda: (told,))
    assert ran(monkeypatch, "--quick", checks=(check("M7", "nsrg", passed=False),)).exit_code == 0


def test_the_result_is_written_and_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--json and --write hold the same document."""
    checks = (check("M1", "gini", passed=True),)
    ran(monkeypatch, "--json", str(tmp_path / "a.json"), "--write", str(tmp_path / "b.json"), checks=checks)
    for name in ("a.json", "b.json"):
        assert meta_evaluation.MetaEvaluation.model_validate_json((tmp_path / name).read_text()) == result(*checks)


def test_the_reduced_form_is_not_for_decisions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--quick with --write is refused in one line."""
    found = ran(monkeypatch, "--quick", "--write", str(tmp_path / "a.json"), checks=())
    assert found.exit_code == 2
    assert "demotes nothing" in found.output
