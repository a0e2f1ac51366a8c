"""Gates in words."""

from typing import Any

import pytest

from mavis.analysis.findings import Gate
from mavis.report import layout
from mavis.report.wording import gates


def _gate(code: str, *, value: float | None = 0.5, threshold: float = 0.02, gate: str = "", **values: Any) -> Gate:
    passed = None if code.startswith("open") else True
    return Gate(id=gate or code[:2], code=code, passed=passed, value=value, threshold=threshold, values=values)


CONTROLS = {"metric": "nsrg", "against": ["random", "sobel"]}
LEAD = {**CONTROLS, "hardest": "sobel", "mean": 0.134}
GROUPS = {"metric": "nsrg", "against": "random", "attribute": "race", "worst": "birch"}
SEEDS = {"value": 0.9, "threshold": 0.8, "difference": 1e-6, "max_difference": 1e-5, "other_seed": True}
REASONS = {
    "G0": (_gate("G0.valid", value=0.9, threshold=0.95), "90.0% of the maps are finite and not constant; 95% are"),
    "G0 remark": (_gate("G0.some_invalid", value=0.975, remark_below=0.99), "below 99% the invalid maps are worth a"),
    "G1": (_gate("G1.repeatability", value=1e-3, threshold=1e-5), "differ by 0.001 of the largest; at most 1e-05"),
    "G1 seeds": (_gate("G1.seeds_agree", **SEEDS), "maps of two seeds agree to 0.90 in the median, at least 0.80"),
    "G1 parameter": (_gate("G1.seeds_differ", **SEEDS, explainer="lime", parameter="samples"),
                     "; raise explainers.settings.lime.samples"),
    "G1 draws": (_gate("G1.seeds_differ", **SEEDS, explainer="lime", parameter=None), "raise the number of its draws"),
    "G2": (_gate("G2.error", value=0.04, threshold=0.05), "by 4.0% of it in the median; 5% is allowed"),
    "G3": (_gate("G3.changed", value=0.1, threshold=0.5, high=0.12, max_upper=0.65),
           "weights is 0.10 (upper end 0.12); at most 0.50 (upper end below 0.65) is allowed"),
    "G3 hardly": (_gate("G3.hardly_changed", high=0.9, max_upper=0.65), "; they hardly change"),
    "G3 partly": (_gate("G3.partly_changed", high=0.9, max_upper=0.65), "; they change, but not enough"),
    "G4": (_gate("G4.class_specific", value=0.7, threshold=0.99, unsigned=True), "is allowed to maps without sign"),
    "G4 fails": (_gate("G4.class_agnostic", unsigned=False), "it is class-agnostic"),
    "G5": (_gate("G5.lead", **LEAD, value=0.11, unavailable={}),
           "nsrg is better than that of sobel by +0.134, lower bound +0.110; the bound must exceed +0.020"),
    "G5 lacks": (_gate("G5.lead", **LEAD, unavailable={"mean_map": "needs gradient"}),
                 "; not compared with mean_map: needs gradient"),
    "G6": (_gate("G6.leads", **GROUPS, failing=["birch"], too_small=[]), "better than random where labelled birch"),
    "G6 small": (_gate("G6.leads", **GROUPS, failing=[], too_small=["elm"]), "too few images to judge labelled elm"),
    "no values": (_gate("open.no_values", gate="G5", value=None, **CONTROLS, explainers=["random"]),
                  "not assessed: there are no values of 'nsrg' of random"),
    "unavailable": (_gate("open.unavailable", gate="G3", value=None, metric="mprt", reason="needs weights"),
                    "not assessed: 'mprt' needs weights"),
    "no image": (_gate("open.no_common_image", gate="G5", value=None, **CONTROLS), "no image has nsrg of all of them"),
    "small groups": (_gate("open.small_groups", gate="G6", value=None, **GROUPS, min_report=10),
                     "no group has 10 images with nsrg of both"),
}  # fmt: skip


@pytest.mark.parametrize(("gate", "text"), REASONS.values(), ids=REASONS)
def test_reasons_have_their_numbers(gate, text):
    """Every code, with what it depends on."""
    assert text in gates.gate_reason(gate)
    assert gates.gate_title(gate)


def test_titles_name_what_is_compared():
    """The controls and the groups; of a stochastic method the other seed."""
    assert gates.gate_title(REASONS["no image"][0]) == "beats random and sobel on nsrg"
    assert gates.gate_title(REASONS["G6"][0]) == "beats random on nsrg in every group of race"
    assert gates.gate_title(REASONS["G1"][0]) == "the same seed gives the same map"
    assert gates.gate_title(REASONS["G1 seeds"][0]) == "the same seed gives the same map, another seed a similar one"


def test_failed_is_told_from_unknown(findings):
    """A gate that was not passed, one that was not assessed and one that cannot be are told apart."""
    by_name = {entry.explainer: entry for entry in findings.models[0].explainers}
    statuses = {gate.id: gates.gate_status(gate) for gate in by_name["input_x_gradient"].gates}
    assert statuses == {"G0": "✓ passed", "G3": "✗ not passed", "G4": "not assessed", "G5": "✓ passed"}
    assert gates.gate_status(by_name["grad_cam"].gates[1]) == "could not be assessed"
    assert layout.gate_marks(by_name["grad_cam"]) == "? G3"
