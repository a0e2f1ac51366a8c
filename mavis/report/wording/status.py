"""Standing of the protocol and the run in words."""

from mavis.analysis.findings import Findings

PLUGIN_STAGES = ("plug-in check", "plug-in process")
"""Stages of failures that concern a foreign plug-in as a whole."""


def is_custom_protocol(findings: Findings) -> bool:
    """The command line changed the protocol."""
    return bool(findings.protocol.overrides)


def protocol_title(findings: Findings) -> str:
    """The protocol's name; of a changed protocol, that it is custom."""
    protocol = findings.protocol.name
    return f"custom protocol, from {protocol}" if is_custom_protocol(findings) else protocol


def status_notices(findings: Findings) -> list[str]:
    """One sentence for each thing that makes the protocol or the run less than final."""
    protocol, status = findings.protocol.name, findings.protocol.status
    notices = []
    if status == "preview":
        notices.append(
            f"This is a preview: {protocol} uses few images. Confirm it with a full protocol before relying on it."
        )
    elif status != "frozen":
        notices.append(f"The protocol {protocol} is a {status}: its rules may still change.")
    if is_custom_protocol(findings):
        changes = ", ".join(findings.protocol.overrides)
        notices.append(f"This is a custom protocol: {protocol} was changed by {changes}.")
    notices += _plugin_notices(findings)
    if findings.run.blocks_done < findings.run.blocks_planned:
        done, planned = findings.run.blocks_done, findings.run.blocks_planned
        notices.append(f"The run is not complete: {done} of {planned} blocks are done.")
    return notices


def _plugin_notices(findings: Findings) -> list[str]:
    """One sentence for each plug-in that has no scores, or did not come back from a block."""
    failures = [failure for failure in findings.failures if failure.stage in PLUGIN_STAGES]
    return list(dict.fromkeys(f"On {failure.model} the plug-in {failure.message.rstrip('.')}." for failure in failures))
