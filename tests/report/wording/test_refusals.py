"""Refusals in words: one reason per kind, with its numbers."""

import pytest

from mavis.analysis.findings import Refusal
from mavis.report.wording import refusals

REASONS = {
    "R1.model": (
        {"mean": 0.52, "low": 0.48, "chance": 0.5},
        "the model is not better than chance: balanced accuracy 0.52, lower end 0.48, chance 0.50.",
    ),
    "R1.below_chance": (
        {"mean": 0.2, "high": 0.25, "chance": 0.5},
        (
            "the model is worse than chance, so it is read wrongly rather than weak: balanced accuracy 0.20, upper end "
            "0.25, chance 0.50. Its classes may stand in another order, its images have another scale than [0,1], or "
            "its outputs another meaning (output=)."
        ),
    ),
    "R1.groups": (
        {"attribute": "race", "groups": [{"group": "g1", "correct": 40, "n": 100}]},
        "the model is not shown to be better than chance on images of race labelled g1 (40 of 100 right).",
    ),
    "R2.groups": (
        {"attribute": "race", "groups": [{"group": "g1", "n": 29}], "min_report": 30},
        "too few images in race labelled g1 (29); at least 30 are needed.",
    ),
    "R3.gates": (
        {
            "gates": [
                {"gate": "G3", "open": False, "explainers": ["a", "b"]},
                {"gate": "G5", "open": True, "explainers": ["c"]},
            ]
        },
        "no method passed every gate: G3 stops a, b; G5 is not assessed for c.",
    ),
    "R4.scale": (
        {"metric": "nsrg", "floor": "random", "ceiling": None, "span": 0.005},
        (
            "a perfect map is not shown to be better than random on nsrg (by +0.005): a map that knows nothing does as "
            "well."
        ),
    ),
    "R4.control": (
        {"control": "sobel", "leader": "a", "metric": "nsrg", "mean": 0.019, "lower_bound": -0.019, "rope": 0.02},
        (
            "the control sobel does as well as the leader a on nsrg: a is ahead by 0.019 in normalised score, lower "
            "bound -0.019 (more than 0.02 matters)."
        ),
    ),
    "R4.control_beats_oracle": (
        {"control": "sobel", "oracle": "oracle", "metric": "nsrg", "mean": 0.181},
        "the control sobel beats the oracle on nsrg, by 0.181 in normalised score.",
    ),
    "R4.oracle": (
        {"metric": "nsrg", "oracle": "oracle", "other": "anti_oracle", "mean": 0.024, "lower_bound": -0.018},
        "nsrg does not put the oracle before anti_oracle: ahead by 0.024, lower bound -0.018.",
    ),
    "R5.metrics": (
        {"metric": "nsrg", "within": 0.11, "upper": 0.29, "minimum": 0.4},
        (
            "the metrics that should measure the same as nsrg order the methods differently: Kendall's W 0.11, at most "
            "0.29; at least 0.40 is needed."
        ),
    ),
    "R5.imputers": (
        {"leaders": {"nsrg@mean": ["c"], "nsrg@blur": ["b"]}},
        (
            "the leader depends on the imputer, and no method is tied for the lead under every imputer (nsrg@mean: c; "
            "nsrg@blur: b)."
        ),
    ),
    "R6.tied": (
        {"n_tied": 4, "n_methods": 4},
        "4 of 4 eligible methods are statistically tied and none leads in half of the draws: no basis to prefer.",
    ),
    "R7.imputers": (
        {"fraction": 0.1, "shares": {"mean": 0.5, "blur": 0.61}},
        (
            "no imputer is reliable: with 10% of the cells removed the model keeps its prediction for too few images "
            "(mean 50%, blur 61%), so removing parts of an image says little."
        ),
    ),
    "R8.leak": (
        {"rate": 4 / 300, "exact": 3, "near": 1, "max_rate": 0.001},
        "1.3% of the images are, or look like, training images (3 the same, 1 near duplicate); at most 0.1% may be.",
    ),
    "R9.groups": (
        {"attribute": "race", "leader": "a", "leads": [{"explainer": "b", "group": "g2", "mean": 0.15}]},
        (
            "the best method differs between groups of race: a leads over all, but is beaten by b for g2 (by 0.150), "
            "as labelled."
        ),
    ),
    "R10.scale": (
        {"metric": "nsrg", "explainers": ["random", "cell_occlusion"]},
        "no image has nsrg of random and cell_occlusion.",
    ),
    "R10.methods": ({"metric": "nsrg"}, "no eligible method has nsrg and all that decides with it."),
    "R10.missing": (
        {
            "explainer": "a",
            "metric": "nsrg",
            "groups": [{"group": "g1", "missing": 6, "n": 100}],
            "max_share": 0.05,
        },
        "a has no nsrg for too many images: 6 of 100 labelled g1; at most 5% of a group may be missing.",
    ),
    "R10.uneven": (
        {
            "explainer": "a",
            "metric": "nsrg",
            "low": 0.01,
            "low_group": "g0",
            "high": 0.05,
            "high_group": "g1",
            "max_gap": 0.03,
        },
        (
            "a has no nsrg for 5.0% of the images labelled g1 and 1.0% of those labelled g0; these shares may "
            "differ by at most 3%."
        ),
    ),
    "R11.overrides": (
        {"protocol": "simulated", "overrides": ["limit = 70"]},
        "the protocol simulated is frozen and this run changed it (limit = 70), so the result may not bear its name.",
    ),
    "R12.methods": (
        {"n_methods": 2, "min_methods": 3},
        "methods that passed every gate and have a score: 2; fewer than 3 are a comparison, not a recommendation.",
    ),
}


@pytest.mark.parametrize("kind", refusals.REFUSAL_WORDS)
def test_each_kind_has_its_reason(kind):
    """The sentence with its numbers; one that begins with a name keeps it at the start of the answer."""
    values, reason = REASONS[kind]
    refusal = Refusal(code=kind.partition(".")[0], kind=kind, values=values)
    assert refusals.refusal_reason(refusal) == reason
    begins_with_name = kind in ("R4.oracle", "R10.missing", "R10.uneven")
    sentence = reason if begins_with_name else reason[0].upper() + reason[1:]
    assert refusals.refusal_sentence(refusal) == sentence


def test_many_groups_are_three_and_a_number():
    """An intersection's groups by their parts."""
    weak = [{"group": f"g{k}*form_a", "correct": 1, "n": 9} for k in range(40)]
    assert refusals.refusal_reason(
        Refusal(code="R1", kind="R1.groups", values={"attribute": "race*gender", "groups": weak})
    ) == (
        "the model is not shown to be better than chance on images of race*gender labelled g0 × form_a (1 of 9 right), "
        "g1 × form_a (1 of 9 right), g2 × form_a (1 of 9 right) and 37 more."
    )
    few = {"attribute": "race", "groups": [{"group": "x*y", "n": k} for k in range(4)], "min_report": 30}
    assert "labelled x*y (0), x*y (1), x*y (2) and 1 more; at" in refusals.refusal_reason(
        Refusal(code="R2", kind="R2.groups", values=few)
    )
