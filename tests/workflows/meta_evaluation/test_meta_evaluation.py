"""The quick meta-evaluation passes, tests all that the protocol decides with, and demotes nothing."""

import pytest

from mavis.core.registry import metrics
from mavis.workflows import meta_evaluation
from mavis.workflows.meta_evaluation import results

from .helpers import PROTOCOL


def test_the_quick_form_finds_nothing_new(quick_result: meta_evaluation.MetaEvaluation) -> None:
    """Every required test of every metric is passed, or its failure is on record beside the protocol."""
    assert [(c.id, c.metric, c.test, c.value) for c in meta_evaluation.new_failures(quick_result, PROTOCOL)] == []


def test_every_deciding_metric_is_asked_what_its_category_is(quick_result: meta_evaluation.MetaEvaluation) -> None:
    """M1, M2, M4, M8 and M13 are there for each, passed, failed or not applicable with a reason."""
    for label in PROTOCOL.decide.metrics:
        tests = {c.id for c in quick_result.checks if c.metric == label}
        assert tests >= {"M1", "M2", "M4", "M8", "M13"}, label
    assert all(c.note for c in quick_result.checks if c.verdict == "not applicable")


def test_every_direction_is_audited(quick_result: meta_evaluation.MetaEvaluation) -> None:
    """Every built-in metric with a direction has its row under M13."""
    audited = {c.metric for c in quick_result.checks if c.id == "M13"}
    assert audited == {m.name for m in metrics if m.origin == "mavis" and m.traits.higher_is_better is not None}


def test_the_quick_form_demotes_nothing(quick_result: meta_evaluation.MetaEvaluation) -> None:
    """Few images must not decide what decides."""
    assert quick_result.quick
    assert (quick_result.demoted, quick_result.verified, quick_result.thresholds) == ({}, (), ())


def test_a_document_is_read_as_it_was_written(quick_result: meta_evaluation.MetaEvaluation) -> None:
    """What is stored beside the protocol comes back the same."""
    assert meta_evaluation.MetaEvaluation.model_validate_json(quick_result.model_dump_json()) == quick_result


def test_a_recorded_demotion_is_no_new_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A required failure is new unless its metric is demoted already; M5 is not required."""
    checks = tuple(
        results.criterion_check(name, "t", metric, "faces", "tau", value=0.5, criterion="≥ 0.7", passed=False)
        for name, metric in (("M7", "nsrg"), ("M7", "gini"), ("M5", "nsrg"), ("M9", None))
    )
    result = meta_evaluation.MetaEvaluation(
        protocol="p", sha256="0", rules="0", settings={}, mavis="0", quick=True, seed=0, minutes=0.1, checks=checks,
        applies={}, verified=(), demoted={}, thresholds=(),
    )  # fmt: skip
    monkeypatch.setattr(meta_evaluation.verified, "demoted_metrics", lambda _: {"gini": "M7"})
    new = meta_evaluation.new_failures(result, PROTOCOL)
    assert [(check.id, check.metric) for check in new] == [("M7", "nsrg"), ("M9", None)]


def test_the_quick_protocol_is_lighter() -> None:
    """No linear imputer where there is another one, three draws and eleven points; the metrics are the same."""
    reduced = meta_evaluation._reduced_protocol(PROTOCOL)
    assert list(reduced.metrics) == list(PROTOCOL.metrics)
    assert (reduced.metrics["nsrg"]["imputers"], reduced.metrics["nsrg"]["points"]) == (["mean", "blur"], 11)
    assert (reduced.metrics["road_gap"]["imputer"], reduced.metrics["part_faithfulness"]["draws"]) == ("mean", 3)
