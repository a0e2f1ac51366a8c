"""mavis verify: its output, the files that it writes, and its exit codes."""

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


def verify(monkeypatch: pytest.MonkeyPatch, *options: str, checks: tuple[meta_evaluation.Check, ...]) -> object:
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
    outcome = verify(monkeypatch, "--quick", checks=(check(name, metric, passed=passed),))
    assert outcome.exit_code == code
    assert ("failed: M" in outcome.output) == (code == 1)


def test_a_failure_on_record_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric that is demoted already may fail again."""
    document = {"protocol": "best_practices_v1", "demoted": {"nsrg": "M7"}, "settings": {}}
    monkeypatch.setattr(demotions, "_documents", lambda: (document,))
    assert verify(monkeypatch, "--quick", checks=(check("M7", "nsrg", passed=False),)).exit_code == 0


def test_the_result_is_written_and_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--json and --save, and its old name --write, write the same document."""
    checks = (check("M1", "gini", passed=True),)
    verify(monkeypatch, "--json", str(tmp_path / "a.json"), "--save", str(tmp_path / "b.json"), checks=checks)
    verify(monkeypatch, "--write", str(tmp_path / "c.json"), checks=checks)
    for name in ("a.json", "b.json", "c.json"):
        assert meta_evaluation.MetaEvaluation.model_validate_json((tmp_path / name).read_text()) == result(*checks)


def test_the_reduced_form_is_not_for_decisions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--quick with --save is refused in one line."""
    outcome = verify(monkeypatch, "--quick", "--save", str(tmp_path / "a.json"), checks=())
    assert outcome.exit_code == 2
    assert "demotes nothing" in outcome.output


def test_the_other_training_is_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--retrained-model, and its old name --twin, are the folder that the meta-evaluation compares with."""
    folders = []

    def meta_evaluate(*_: object, retrained_model: Path, **__: object) -> meta_evaluation.MetaEvaluation:
        folders.append(retrained_model)
        return result()

    monkeypatch.setattr(meta_evaluation, "meta_evaluate", meta_evaluate)
    for option in ("--retrained-model", "--twin"):
        assert CliRunner().invoke(app, ["verify", option, str(tmp_path)]).exit_code == 0
    assert folders == [tmp_path, tmp_path]


def test_help_says_that_it_is_a_meta_evaluation() -> None:
    """The field's word for it."""
    assert "Meta-evaluation: " in CliRunner().invoke(app, ["verify", "--help"]).output
