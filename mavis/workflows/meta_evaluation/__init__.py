"""Meta-evaluation: MAVIS's own metrics on models and maps whose truth is known, tests M0 to M13.

    from mavis.protocol.loading import load_protocol
    from mavis.workflows.meta_evaluation import meta_evaluate

    result = meta_evaluate(load_protocol("best_practices_v1"), quick=True)
    print(result.demoted)

The tests are those of the specification's section 4; docs/verification.md explains each.
"""

import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from mavis.core.process_state import standard_settings
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
from mavis.workflows.meta_evaluation.applicability import REQUIREMENTS
from mavis.workflows.meta_evaluation.fixtures import QUICK, Bench, Sizes
from mavis.workflows.meta_evaluation.results import Check, MetaEvaluation, Threshold, demotion_reasons

__all__ = ["Check", "MetaEvaluation", "Threshold", "meta_evaluate", "new_failures"]

REQUIRED_TESTS = ("M0", "M1", "M2", "M3", "M4", "M7", "M8", "M9", "M10", "M13")
"""Tests whose failure is an error, unless it is on record as a demotion."""


@standard_settings()
def meta_evaluate(
    protocol: Protocol,
    *,
    quick: bool = False,
    retrained_model: Path | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> MetaEvaluation:
    """Runs every test on hand-wired models and on embedded faces.

    Args:
        protocol: the protocol whose deciding metrics are tested.
        quick: fewer images, draws and tests (M3, M5 to M7 and M11 are left out), and no thresholds; it demotes nothing.
        retrained_model: folder of `race_resnet` trained from another seed, for the ceiling of the randomisation gate.
        notify: called with the name of each stage as it begins.
    """
    start = time.process_time()
    bench = Bench(_reduced_protocol(protocol), QUICK, notify) if quick else Bench(protocol, Sizes(), notify)
    checks = tuple(_quick_checks(bench) if quick else _full_checks(bench))
    command = f"mavis verify --protocol {protocol.protocol}" + (" --twin FOLDER" if retrained_model else "")
    thresholds = (
        () if quick else tuple(threshold_calibration.calibrate_thresholds(bench, checks, retrained_model, command))
    )
    demoted = {} if quick else demotion_reasons(checks, tuple(bench.metric_params))
    return MetaEvaluation(
        protocol=protocol.protocol,
        sha256=verified.hash_deciding_metrics(protocol),
        rules=verified.hash_rules(protocol),
        settings=verified.metric_hashes(protocol),
        mavis=version("mavis-xai"),
        quick=quick,
        seed=protocol.seed,
        minutes=round((time.process_time() - start) / 60, 1),
        checks=checks,
        applies={category: dict(tests) for category, tests in REQUIREMENTS.items()},
        verified=() if quick else tuple(label for label in bench.metric_params if label not in demoted),
        demoted=demoted,
        thresholds=thresholds,
    )


def new_failures(result: MetaEvaluation, protocol: Protocol) -> tuple[Check, ...]:
    """Failed required tests that are not on record; tests of metrics that are demoted already are left out.

    Args:
        result: the meta-evaluation.
        protocol: the protocol that it evaluated.
    """
    demoted = verified.demoted_metrics(protocol)
    return tuple(check for check in result.failures() if check.id in REQUIRED_TESTS and check.metric not in demoted)


def _full_checks(bench: Bench) -> Iterator[Check]:
    yield from closed_forms.closed_form_checks(bench.seed)
    yield from known_order.order_checks(bench)
    yield from corruptions.corruption_checks(bench)
    yield from resilience.noise_checks(bench)
    yield from resilience.adversary_checks(bench)
    yield from inter_image_reliability.reliability_checks(bench)
    yield from setting_sensitivity.setting_checks(bench)
    yield from shortcut_bias.bias_checks(bench)
    yield from disparity_rule.disparity_checks(bench)
    yield from decision_rule.cue_checks(bench)
    yield from decision_rule.rule_checks(bench)
    yield from direction_audit.direction_checks(bench, quick=False)


def _quick_checks(bench: Bench) -> Iterator[Check]:
    yield from closed_forms.closed_form_checks(bench.seed)
    yield from known_order.order_checks(bench)
    yield from corruptions.corruption_checks(bench)
    yield from resilience.adversary_checks(bench)
    yield from shortcut_bias.bias_checks(bench)
    yield from disparity_rule.disparity_checks(bench, with_faces=False)
    yield from decision_rule.rule_checks(bench)
    yield from direction_audit.direction_checks(bench, quick=True)


def _reduced_protocol(protocol: Protocol) -> Protocol:
    """The protocol without its slowest imputer and with fewer draws and points, for the quick form."""
    metrics = {}
    for label, params in protocol.metrics.items():
        reduced = dict(params)
        if "linear" in reduced.get("imputers", ()) and len(reduced["imputers"]) > 1:
            reduced["imputers"] = [name for name in reduced["imputers"] if name != "linear"]
        if reduced.get("imputer") == "linear":
            reduced["imputer"] = "mean"
        metrics[label] = reduced | {key: value for key, value in {"draws": 3, "points": 11}.items() if key in reduced}
    imputers = tuple(label for label in protocol.decide.imputers if "linear" not in label)
    settings_of = {**protocol.explainers.settings, "oracle": {"draws": 3}, "integrated_gradients": {"steps": 16}}
    explainers = protocol.explainers.model_copy(update={"settings": settings_of})
    decide = protocol.decide.model_copy(update={"imputers": imputers})
    return protocol.model_copy(update={"metrics": metrics, "explainers": explainers, "decide": decide})
