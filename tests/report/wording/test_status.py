"""Standing of the protocol and the run in words."""

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
