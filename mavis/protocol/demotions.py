"""Which metrics the meta-evaluation keeps from deciding: read from the document beside the shipped protocols."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from mavis.core import hashing
from mavis.core.registry import metric_name
from mavis.protocol import loading
from mavis.protocol.schema import Protocol

DOCUMENT_SUFFIX = ".meta.json"


def demoted_metrics(protocol: Protocol) -> dict[str, str]:
    """Per deciding metric of a protocol that failed the meta-evaluation: why.

    A metric that failed under a shipped protocol stays out of every protocol's decision, whatever its parameters: it
    has to be shown to work, not to fail. The sentence says where the parameters are not those that were tested.

    Args:
        protocol: the protocol of a run.

    Returns:
        Labels of ``decide.metrics`` to one sentence; empty where nothing is known against them.
    """
    found = {}
    for told in _documents():
        known = {metric_name(label): (label, why) for label, why in told["demoted"].items()}
        for label in protocol.decide.metrics:
            if metric_name(label) in known:
                tested, why = known[metric_name(label)]
                other = (
                    ""
                    if told["settings"].get(tested) == metric_hashes(protocol).get(label)
                    else ", with other parameters"
                )
                found[label] = f"demoted by meta-evaluation ({told['protocol']}{other}): {why}"
    return found


def without_demoted(protocol: Protocol) -> tuple[Protocol, dict[str, str]]:
    """The protocol without the demoted metrics in its decision, and why each is gone.

    Where every metric of the decision is demoted it stays as it is: the primary metric's gates and refusals speak then.
    """
    why = demoted_metrics(protocol)
    kept = {label: when for label, when in protocol.decide.metrics.items() if label not in why}
    if not why or not kept:
        return protocol, why
    return protocol.model_copy(update={"decide": protocol.decide.model_copy(update={"metrics": kept})}), why


def metric_hashes(protocol: Protocol) -> dict[str, str]:
    """Per deciding metric the hash of what it is: its name, its parameters and the grid."""
    return {
        label: hashing.digest_json([metric_name(label), protocol.metrics.get(label, {}), protocol.grid])
        for label in protocol.decide.metrics
    }


def hash_deciding_metrics(protocol: Protocol) -> str:
    """Hash of the deciding metrics as they are set: what a meta-evaluation speaks of."""
    return hashing.digest_json(metric_hashes(protocol))


def hash_rules(protocol: Protocol) -> str:
    """Hash of everything that a run follows: the rules without their status and their description."""
    return hashing.digest_json(protocol.model_dump(mode="json", exclude={"overrides", "status", "about"}))


@cache
def _documents() -> tuple[dict[str, Any], ...]:
    """What the meta-evaluation left beside the shipped protocols."""
    folders = {path.parent for path in loading.shipped_protocols().values()}
    paths: list[Path] = sorted(path for folder in folders for path in folder.glob(f"*{DOCUMENT_SUFFIX}"))
    return tuple(json.loads(path.read_text(encoding="utf-8")) for path in paths)
