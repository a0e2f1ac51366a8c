"""Notes in words."""

import pytest

from mavis.analysis.findings import make_note
from mavis.report.wording import notes

TEXTS = {
    "metric.not_run": ({"metric": "deletion"}, "deletion: it was not run"),
    "metric.no_drop_augmentation": (
        {"metric": "deletion"},
        "deletion: the model is not known to be trained on images with holes",
    ),
    "metric.parts_unknown": (
        {"metric": "relevance_mass_skill"},
        "relevance_mass_skill: it is not known which parts the model relies on",
    ),
    "metric.demoted": (
        {"metric": "road_gap", "reason": "demoted by meta-evaluation (quick): M7"},
        "road_gap is left out of the decision: demoted by meta-evaluation (quick): M7",
    ),
    "scale.no_image": (
        {"metric": "gini", "explainers": ["random", "cell_occlusion"]},
        "gini: no image has gini of random and cell_occlusion",
    ),
    "scale.flat": (
        {"metric": "m", "floor": "random", "ceiling": "oracle", "span": 0.005},
        "m: oracle is not shown to be better than random on m (by +0.005)",
    ),
    "provisional.gate": ({"gate": "G3", "explainers": ["rise", "lime"]}, "gate G3 for rise, lime"),
    "provisional.training_images": ({}, "leak check (the training images are not known)"),
    "left_out.categories": (
        {"categories": ["complexity", "worst_group"]},
        "no score for complexity, worst group: the other categories share the weight",
    ),
    "left_out.methods": ({"explainers": ["lime", "rollout"], "reason": "no attention"}, "lime, rollout: no attention"),
    "left_out.methods_without_score": (
        {"explainers": ["shap"]},
        "shap: no overall score, since a metric that decides has no value",
    ),
    "left_out.imputers": (
        {"imputers": ["blur", "mean"]},
        "leader under blur, mean: with cells removed in this way the model changes too many predictions",
    ),
    "left_out.protocol": (
        {"protocol": "quick", "overrides": ["limit = 7", "seed = 3"]},
        "quick as published: this run is a custom protocol (limit = 7, seed = 3)",
    ),
    "left_out.other_models": (
        {"n_models": 1, "min_models": 6},
        "other models: the answer is conditional on this one (1 of the 6 models needed)",
    ),
    "remark.one_class": ({}, "one class occurs in the sample: always answering it would be right"),
    "remark.weak_model": ({"share": 0.0}, "a weak model: it reaches 0% of the way from guessing to always right"),
    "remark.never_predicted": ({"classes": ["alder", "cedar"]}, "never predicted: alder, cedar"),
    "caveat.scope": ({}, "The scores describe explanations of this model on these images."),
    "caveat.fairness": (
        {},
        "They do not show that the model is fair, nor that highlighted regions cause the attribute.",
    ),
    "caveat.labels": (
        {},
        (
            "Group labels are annotations, not facts about the persons shown. "
            "Nothing here is for decisions about a person."
        ),
    ),
    "caveat.intervals": (
        {},
        "Intervals cover the choice of images, not the training of the model: another training run is another model.",
    ),
    "caveat.demoted": (
        {"metrics": ["road_gap", "gini"]},
        "Left out of the decision because of the meta-evaluation: road_gap, gini; the answer gives the reasons.",
    ),
}


@pytest.mark.parametrize("code", notes.NOTE_WORDS)
def test_each_code_has_its_text(code):
    """The text with its names and numbers."""
    values, text = TEXTS[code]
    assert notes.note_text(make_note(code, **values)) == text
    if "ceiling" in values:
        assert "a perfect map is" in notes.note_text(make_note(code, **{**values, "ceiling": None}))


def test_many_classes_are_three_and_a_number():
    """The line does not grow with the classes."""
    note = make_note("remark.never_predicted", classes=[f"c{k}" for k in range(1190)])
    assert notes.note_text(note) == "never predicted: c0, c1, c2 and 1187 more"
