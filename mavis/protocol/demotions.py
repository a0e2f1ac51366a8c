"""Demoted metrics: those that failed the meta-evaluation and take no part in decisions.

`mavis verify --save` writes its result beside the protocol as ``PROTOCOL.meta.json``; this module reads it.
"""

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
    """Deciding metrics of a protocol that failed the meta-evaluation, each with the reason.

    A metric that failed under a shipped protocol stays out of every protocol's decision, whatever its parameters: the
    burden is to show that it works. The sentence says where the parameters are not those that were tested.

    Args:
        protocol: the protocol of a run.

    Returns:
        Labels of ``decide.metrics`` to one sentence; empty where none is demoted.
    """
    hashes = metric_hashes(protocol)
    demoted = {}
    for document in _documents():
        failures = {metric_name(label): (label, reason) for label, reason in document["demoted"].items()}
        for label in protocol.decide.metrics:
            if metric_name(label) in failures:
                tested_label, reason = failures[metric_name(label)]
                is_as_tested = document["settings"].get(tested_label) == hashes.get(label)
                remark = "" if is_as_tested else ", with other parameters"
                demoted[label] = f"demoted by meta-evaluation ({document['protocol']}{remark}): {reason}"
    return demoted


def without_demoted(protocol: Protocol) -> tuple[Protocol, dict[str, str]]:
    """The protocol without the demoted metrics in its decision, and the reason for each.

    Where every metric of the decision is demoted the protocol stays as it is: a decision needs a metric, and the gates
    and refusals of the primary one still apply.
    """
    reasons = demoted_metrics(protocol)
    metrics = {label: condition for label, condition in protocol.decide.metrics.items() if label not in reasons}
    if not reasons or not metrics:
        return protocol, reasons
    return protocol.model_copy(update={"decide": protocol.decide.model_copy(update={"metrics": metrics})}), reasons


def metric_hashes(protocol: Protocol) -> dict[str, str]:
    """Per deciding metric a hash of its name, its parameters and the grid."""
    return {
        label: hashing.digest_json([metric_name(label), protocol.metrics.get(label, {}), protocol.grid])
        for label in protocol.decide.metrics
    }


def hash_deciding_metrics(protocol: Protocol) -> str:
    """Hash of all deciding metrics with their parameters; a meta-evaluation is valid for these only."""
    return hashing.digest_json(metric_hashes(protocol))


def hash_rules(protocol: Protocol) -> str:
    """Hash of everything that changes a run: the rules without their status and description."""
    return hashing.digest_json(protocol.model_dump(mode="json", exclude={"overrides", "status", "about"}))


@cache
def _documents() -> tuple[dict[str, Any], ...]:
    """Results of the meta-evaluation that lie beside the shipped protocols."""
    folders = {path.parent for path in loading.shipped_protocols().values()}
    paths: list[Path] = sorted(path for folder in folders for path in folder.glob(f"*{DOCUMENT_SUFFIX}"))
    return tuple(json.loads(path.read_text(encoding="utf-8")) for path in paths)
