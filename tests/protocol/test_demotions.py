"""Demoted metrics: read from the document beside the protocol, and left out of the decision."""

import json

import pytest

from mavis import evaluate
from mavis.protocol import demotions, loading
from mavis.workflows.meta_evaluation import MetaEvaluation

RULES = loading.load_protocol("best_practices_v1")


def document(**demoted: str) -> dict[str, object]:
    return {"protocol": "best_practices_v1", "demoted": demoted, "settings": demotions.metric_hashes(RULES)}


@pytest.fixture
def against(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that demotes the ROAD gap."""
    monkeypatch.setattr(demotions, "_documents", lambda: (document(road_gap="M7 on faces: tau 0.4"),))


def test_a_demoted_metric_does_not_decide(against: None) -> None:
    """It leaves the decision's metrics, with the reason; everything else stays as it was."""
    rules, why = demotions.without_demoted(RULES)
    assert why == {"road_gap": "demoted by meta-evaluation (best_practices_v1): M7 on faces: tau 0.4"}
    assert set(RULES.decide.metrics) - set(rules.decide.metrics) == {"road_gap"}
    assert rules.decide.model_copy(update={"metrics": RULES.decide.metrics}) == RULES.decide
    assert rules.metrics == RULES.metrics


def test_other_parameters_are_said(against: None) -> None:
    """A preview sets the metric otherwise: it stays out, and the sentence says that it was tested as set elsewhere."""
    found = demotions.demoted_metrics(loading.load_protocol("quick"))
    assert found == {
        "road_gap": "demoted by meta-evaluation (best_practices_v1, with other parameters): M7 on faces: tau 0.4"
    }


def test_nothing_against_a_metric_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a document, or with one that demotes nobody, the rules are the same object."""
    for documents in ((), (document(),)):
        monkeypatch.setattr(demotions, "_documents", lambda documents=documents: documents)
        assert demotions.without_demoted(RULES) == (RULES, {})


def test_a_decision_keeps_something_to_decide_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everything is demoted the rules stay, and every reason is told."""
    every = document(**dict.fromkeys(RULES.decide.metrics, "M1"))
    monkeypatch.setattr(demotions, "_documents", lambda: (every,))
    rules, why = demotions.without_demoted(RULES)
    assert rules is RULES
    assert set(why) == set(RULES.decide.metrics)


def test_a_run_says_what_does_not_decide(against: None) -> None:
    """The recommendation of a run lists the demoted metric and why."""
    found = evaluate(
        "part_sum", "planted_parts", explainers=["saliency"], metrics=["nsrg", "road_gap", "mprt"], groups=["shade"],
        limit=8,
    )  # fmt: skip
    told = found.findings.models[0].recommendation.not_assessed
    assert [note for note in told if note.code == "metric.demoted" and note.values["metric"] == "road_gap"]


@pytest.mark.parametrize(
    "path", [p for f in {p.parent for p in loading.shipped_protocols().values()} for p in f.glob("*.meta.json")]
)
def test_the_document_is_of_the_protocol_as_it_is(path: object) -> None:
    """What lies beside a protocol was made with its deciding metrics as they are set now, by the full form."""
    found = MetaEvaluation.model_validate(json.loads(path.read_text(encoding="utf-8")))
    rules = loading.load_protocol(found.protocol)
    assert path.name == f"{found.protocol}.meta.json"
    assert found.sha256 == demotions.hash_deciding_metrics(rules)
    assert rules.status != "frozen" or found.rules == demotions.hash_rules(rules)
    assert not found.quick
    assert set(found.verified) | set(found.demoted) == set(rules.decide.metrics)
    assert set(found.verified) & set(found.demoted) == set()


def test_the_hash_of_rules_is_of_their_numbers() -> None:
    """Status and description do not count, every number does."""
    told = demotions.hash_rules(RULES)
    assert demotions.hash_rules(loading.with_overrides(RULES, status="preview", about="Anything.")) == told
    assert demotions.hash_rules(loading.with_overrides(RULES, decide__rope=0.03)) != told
    assert demotions.hash_rules(loading.with_overrides(RULES, gates__randomisation__max=0.51)) != told
