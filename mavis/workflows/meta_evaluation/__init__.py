"""Does MAVIS measure what it says? Its own metrics on models and maps whose truth is known: M0 to M13.

    from mavis import protocol, verify

    found = verify.run(protocol.load("best_practices_v1"), quick=True)
    print(found.demoted)

The tests are those of the specification's section 4; docs/verification.md explains each.
"""

import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from mavis.protocol import demotions as verified
from mavis.protocol.schema import Protocol
from mavis.workflows.meta_evaluation import (
    closed_forms,
    corruptions,
    decision_rule,
    direction_audit,
    disparity_rule,
    inter_image_reliability,
    known_order,
    resilience,
    setting_sensitivity,
    shortcut_bias,
    threshold_calibration,
)
from mavis.workflows.meta_evaluation.applicability import APPLIES
from mavis.workflows.meta_evaluation.fixtures import QUICK, Bench, Sizes
from mavis.workflows.meta_evaluation.results import Check, Threshold, Verification, demotions

__all__ = ["Check", "Threshold", "Verification", "news", "run"]

REQUIRED = ("M0", "M1", "M2", "M3", "M4", "M7", "M8", "M9", "M10", "M13")
"""Tests whose failure is an error, unless it is on record as a demotion."""


def run(
    rules: Protocol, *, quick: bool = False, twin: Path | None = None, tell: Callable[[str], None] = lambda _: None
) -> Verification:
    """Every test, on hand-wired models and on embedded faces.

    Args:
        rules: the protocol whose deciding metrics are tested.
        quick: fewer images, draws and tests (M3, M5 to M7 and M11 are left out), and no thresholds; it demotes nothing.
        twin: folder of `race_resnet` trained from another seed, for the ceiling of the randomisation gate.
        tell: told what is being measured.
    """
    start = time.process_time()
    bench = Bench(_light(rules), QUICK, tell) if quick else Bench(rules, Sizes(), tell)
    checks = tuple(_quick(bench) if quick else _full(bench))
    command = f"mavis verify --protocol {rules.protocol}" + (" --twin FOLDER" if twin else "")
    found = () if quick else tuple(threshold_calibration.calibrated(bench, checks, twin, command))
    against = {} if quick else demotions(checks, tuple(bench.settings))
    return Verification(
        protocol=rules.protocol,
        sha256=verified.sha256(rules),
        rules=verified.of_rules(rules),
        settings=verified.settings(rules),
        mavis=version("mavis-xai"),
        quick=quick,
        seed=rules.seed,
        minutes=round((time.process_time() - start) / 60, 1),
        checks=checks,
        applies={category: dict(tests) for category, tests in APPLIES.items()},
        verified=() if quick else tuple(label for label in bench.settings if label not in against),
        demoted=against,
        thresholds=found,
    )


def news(found: Verification, rules: Protocol) -> tuple[Check, ...]:
    """Required tests that failed and are not on record: of a metric that is demoted already nothing is new.

    Args:
        found: the result.
        rules: the protocol it is of.
    """
    known = verified.demoted(rules)
    return tuple(c for c in found.failures() if c.id in REQUIRED and c.metric not in known)


def _full(bench: Bench) -> Iterator[Check]:
    yield from closed_forms.checks(bench.seed)
    yield from known_order.checks(bench)
    yield from corruptions.checks(bench)
    yield from resilience.noise_checks(bench)
    yield from resilience.adversary_checks(bench)
    yield from inter_image_reliability.checks(bench)
    yield from setting_sensitivity.checks(bench)
    yield from shortcut_bias.checks(bench)
    yield from disparity_rule.checks(bench)
    yield from decision_rule.cue_checks(bench)
    yield from decision_rule.rule_checks(bench)
    yield from direction_audit.checks(bench, quick=False)


def _quick(bench: Bench) -> Iterator[Check]:
    yield from closed_forms.checks(bench.seed)
    yield from known_order.checks(bench)
    yield from corruptions.checks(bench)
    yield from resilience.adversary_checks(bench)
    yield from shortcut_bias.checks(bench)
    yield from disparity_rule.checks(bench, faces=False)
    yield from decision_rule.rule_checks(bench)
    yield from direction_audit.checks(bench, quick=True)


def _light(rules: Protocol) -> Protocol:
    """The protocol without its dearest imputer, with fewer draws, for the reduced form."""
    lighter = {}
    for label, params in rules.metrics.items():
        given = dict(params)
        if "linear" in given.get("imputers", ()) and len(given["imputers"]) > 1:
            given["imputers"] = [name for name in given["imputers"] if name != "linear"]
        if given.get("imputer") == "linear":
            given["imputer"] = "mean"
        lighter[label] = given | ({"draws": 3} if "draws" in given else {})
    imputers = tuple(label for label in rules.decide.imputers if "linear" not in label)
    settings_of = {**rules.explainers.settings, "oracle": {"draws": 3}, "integrated_gradients": {"steps": 16}}
    explained = rules.explainers.model_copy(update={"settings": settings_of})
    decide = rules.decide.model_copy(update={"imputers": imputers})
    return rules.model_copy(update={"metrics": lighter, "explainers": explained, "decide": decide})
