"""What the summary says of a model before any explanation is judged."""

from mavis.analysis.findings import Leak
from mavis.report import model_summary


def test_says_what_was_checked(findings):
    """Recall, calibration, leak, parts and what follows for localisation have a line each."""
    assert list(model_summary.validity_details(findings.models[0].validity)) == [
        "recall per class: from .500 (alder) to .714 (maple)",
        "calibration error .043, highest on images labelled rowan .080",
        "whether evaluated images were trained on is not known",
        "relies on eyes 3.417, mouth <b> 1.253 (change of the logit); not shown to rely on brows",
        "the parts that the model relies on are known, so localisation decides",
    ]


def test_says_nothing_of_what_was_not_checked(findings):
    """Checks that the protocol does not ask for leave no line."""
    empty = {"calibration_error": None, "recall": (), "leak": None, "reliance": (), "truth_verified": None}
    assert list(model_summary.validity_details(findings.models[0].validity.model_copy(update=empty))) == []


def test_leak_counts_and_marks_what_is_too_much():
    """A leak below the limit is counted; above it, it is marked."""
    few = Leak(known=True, exact=1, near=0, rate=0.0009, groups={}, excessive=False)
    assert model_summary.leak_sentence(few) == "1 evaluated images are training images, 0 near duplicates (share .001)"
    assert model_summary.leak_sentence(few.model_copy(update={"excessive": True})).startswith("✗ 1 evaluated")


def test_parts_may_all_be_used_or_none(findings):
    """Without an unused part there is no second half; without a used one the sentence says so."""
    found = findings.models[0].validity.reliance
    used = tuple(one.model_copy(update={"used": True}) for one in found)
    assert model_summary.reliance_sentence(used) == "relies on eyes 3.417, mouth <b> 1.253, brows .211"
    none = tuple(one.model_copy(update={"used": False}) for one in found)
    assert model_summary.reliance_sentence(none) == "not shown to rely on any part"


def test_groups_of_one_name_are_told_apart(findings):
    """The attribute is named where a group of another attribute has the same name; three of many are named."""
    row = findings.models[0].validity.groups[0]
    keys = [("glasses", "yes"), ("hat", "yes"), ("hat", "no"), *((f"a{k}", f"g{k}") for k in range(7))]
    rows = [
        row.model_copy(
            update={"attribute": a, "group": g, "weak": a != "glasses", "calibration_error": 0.1 + (a == "hat")}
        )
        for a, g in keys
    ]
    model = findings.models[0].model_copy(
        update={"validity": findings.models[0].validity.model_copy(update={"groups": tuple(rows)})}
    )
    assert model.validity.weak_groups == tuple(keys[1:])
    assert model.validity.group_calibration["glasses", "yes"] == 0.1
    assert "weak on images labelled hat=yes, no, g0 and 6 more" in model_summary.model_headline(model)
    assert any(
        "highest on images labelled hat=yes 1.100" in line for line in model_summary.validity_details(model.validity)
    )


def test_doubts_about_the_outputs_are_said(findings):
    """As preparation put them into the card."""
    model = findings.models[0]
    doubted = model.model_copy(update={"card": {**model.card, "doubts": ["outputs are taken as sigmoids"]}})
    assert "outputs are taken as sigmoids" in model_summary.model_headline(doubted)
    assert "taken as" not in model_summary.model_headline(model)


def test_a_model_worse_than_chance_is_read_wrongly(findings):
    """The whole interval lies below chance; one that reaches it is only not shown to be better."""
    model = findings.models[0]
    chance = model.validity.chance

    def headline(high):
        accuracy = model.validity.balanced_accuracy.model_copy(update={"mean": 0.05, "low": 0.02, "high": high})
        validity = model.validity.model_copy(update={"balanced_accuracy": accuracy, "better_than_chance": False})
        return model_summary.model_headline(model.model_copy(update={"validity": validity}))

    assert "✗ worse than chance: the order of the classes" in headline(chance - 0.001)
    assert "✗ not shown to be better than chance" in headline(chance + 0.001)
