"""Standing of the protocol and the run in words."""

from mavis.analysis.findings import Failure
from mavis.report.wording import status


def test_standing_of_a_frozen_complete_protocol_is_silent(findings):
    """Only previews, drafts, changes and unfinished runs are remarked on."""
    protocol = findings.protocol.model_copy(update={"status": "frozen", "overrides": ()})
    run = findings.run.model_copy(update={"blocks_done": 60})
    final = findings.model_copy(update={"protocol": protocol, "run": run})
    assert status.status_notices(final) == []
    assert status.protocol_title(final) == "quick"
    said = " ".join(status.status_notices(findings))
    assert "preview" in said
    assert "custom protocol" in said
    assert "59 of 60" in said


def test_a_plug_in_that_has_no_scores_is_named_once_at_the_top(findings) -> None:
    """Its reason is one sentence, however many blocks it missed; a failed cell of another kind is listed elsewhere."""
    message = "'mine' ended its process with signal 11 (SIGSEGV)"
    facts = {"model": "toy", "explainer": "mine", "metric": None, "images": 32, "type": "PluginError", "traceback": ""}
    missed = [Failure(stage="plug-in process", message=message, **facts) for _ in range(3)]
    findings = findings.model_copy(update={"failures": (*missed, Failure(stage="metric", message="other", **facts))})
    notices = status.status_notices(findings)
    assert notices.count(f"On toy the plug-in {message}.") == 1
    assert not any("other" in notice for notice in notices)
