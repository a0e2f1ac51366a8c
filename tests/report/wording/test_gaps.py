"""Gap statements in words: one sentence per outcome, with the ground."""

import pytest

from mavis.analysis.findings import make_note
from mavis.report import layout
from mavis.report.wording import gaps

LIMITS = {"subject": "nsrg of saliency", "unit": "skill", "too_small": [], "prediction_separates": False}
COVARIATES = ["probability", "imputation_contrast", "predicted"]
FOUND = {
    "lower": "cedar*form_a",
    "higher": "rowan",
    "size": 0.08,
    "interval": [0.03, 0.13],
    "null_mean": 0.05,
    "n_other_pairs": 0,
    "covariates": COVARIATES,
    **LIMITS,
}
SMALL = [{"group": "cedar*form_a", "n": 3}]


def test_a_gap_that_is_found():
    """The lower and the higher group, the size, its unit, the covariates, and what chance gives in that unit."""
    assert gaps.gap_sentence(make_note("gap.found", **FOUND), "race*gender") == (
        "nsrg of saliency, as a normalised score, is lower for images labelled cedar × form_a than for images labelled "
        "rowan by 0.080 [0.030, 0.130] at equal probability, imputation contrast and predicted class; shuffled labels "
        "give a range of 0.050."
    )


OUTCOMES = {
    "absent": ("gap.equivalent", {"margin": 0.05, "covariates": COVARIATES, **LIMITS},
               "no material gap: every two groups are shown to lie within 0.05 at equal probability"),
    "p": ("gap.range_not_significant", {"observed": 0.2, "null_mean": 0.05, "p": 0.3, "margin": 0.05, **LIMITS},
          "is 0.200, and shuffled labels give 0.050 (p = 0.30); nor that every gap lies within 0.05."),
    "apart": ("gap.pairs_not_significant", {"claim": 0.02, "by_imputers": False, "margin": 0.05, **LIMITS},
              "two groups are shown to differ in nsrg of saliency by more than 0.02, matched and adjusted; nor"),
    "imputers": ("gap.pairs_not_significant", {"claim": 0.02, "by_imputers": True, "margin": 0.05, **LIMITS},
                 "matched and adjusted and by two imputers; nor"),
    "raw": ("gap.pairs_not_significant",
            {"claim": 0.02, "by_imputers": False, "margin": 0.05, **LIMITS, "unit": "raw"},
            "nor that every gap lies within 0.05 in raw scores."),
    "raw found": ("gap.found", {**FOUND, "unit": "raw"}, "nsrg of saliency, in raw scores, is lower"),
    "alike": ("gap.no_alike_images", {"covariates": ["predicted", "correct"], "margin": 0.05, **LIMITS},
              "no two groups have images alike in predicted class and correct"),
    "few": ("gap.too_few_images", {"groups": SMALL, "min_claim": 4},
            "too few images for a claim: cedar × form_a (3); two groups need 4 each."),
    "some few": ("gap.found", {**FOUND, "too_small": SMALL}, "0.050; too few images for a claim: cedar × form_a (3)."),
    "label": ("gap.found", {**FOUND, "prediction_separates": True},
              "0.050; the predicted class is not held equal: it tells these groups apart."),
    "one more": ("gap.found", {**FOUND, "n_other_pairs": 1}, "; 1 other pair of groups differs too."),
    "two more": ("gap.found", {**FOUND, "n_other_pairs": 2}, "; 2 other pairs of groups differ too."),
    "old run": ("gap.missing_columns", {"columns": ["brightness", "sharpness"]},
                "the run's table of images has no brightness and sharpness for every image"),
}  # fmt: skip


@pytest.mark.parametrize(("code", "values", "text"), OUTCOMES.values(), ids=OUTCOMES)
def test_each_outcome_has_its_words(code, values, text):
    """Every ground has its words and its numbers."""
    assert text in gaps.gap_sentence(make_note(code, **values), "race*gender")


def test_many_small_groups_are_counted():
    """Three are named; nothing is said where nothing was asked."""
    small = [{"group": name, "n": n} for n, name in enumerate("abcde", start=1)]
    assert gaps.gap_sentence(make_note("gap.too_few_images", groups=small, min_claim=9), "race") == (
        "too few images for a claim: a (1), b (2), c (3) and 2 more; two groups need 9 each."
    )
    assert gaps.gap_sentence(None, "race") == ""


def test_statements_of_the_first_attribute_and_of_what_is_found(findings):
    """All is said by the first attribute, by others only what is found; controls are left out."""
    model = findings.models[0]
    statements = gaps.gap_statements(layout.entries_by_rank(model), "nsrg", "race")
    assert [line.split(" by ")[0] for line in statements] == [
        f"found: {', '.join(names)}" for names in (["integrated_gradients"], ["grad_cam"], ["input_x_gradient"])
    ]
    statements = gaps.gap_statements(model.explainers[:1], "nsrg", "gender")
    assert [line.split(": nsrg")[0] for line in statements] == [
        "found: integrated_gradients by race", "no material gap: integrated_gradients by gender",
    ]  # fmt: skip
    assert gaps.gap_statements(model.explainers, "srg", "race") == []


def test_what_is_said_of_several_methods_alike_is_said_once(findings):
    """The names share the sentence; what differs stays apart."""
    first, other = findings.models[0].explainers[0], findings.models[0].explainers[2]
    twin = first.model_copy(update={"explainer": "twin"})
    assert gaps.gap_statements([first, twin], "nsrg", "race") == [
        line.replace("integrated_gradients by", "integrated_gradients, twin by")
        for line in gaps.gap_statements([first], "nsrg", "race")
    ]
    apart = gaps.gap_statements([first, other], "nsrg", "race")
    assert apart == [line for entry in (first, other) for line in gaps.gap_statements([entry], "nsrg", "race")]
