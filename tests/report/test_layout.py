"""What stands where."""

from mavis.report import layout


def test_methods_by_rank_then_controls_then_oracles(findings):
    """Whatever the order of the findings, ranked methods come first, the unranked last among methods."""
    model = findings.models[0]
    shuffled = model.model_copy(update={"explainers": model.explainers[::-1]})
    names = [entry.explainer for entry in layout.ordered(shuffled)]
    assert names == ["integrated_gradients", "grad_cam", "input_x_gradient", "rise", "sobel", "oracle"]


def test_failures_alike_are_one(findings):
    """Failures that differ only in their images become one line with counts."""
    groups = layout.grouped(findings.failures)
    assert [(group.failure.type, group.times, group.images) for group in groups] == [
        ("ValueError", 35, 840),
        ("ContractError", 1, 840),
    ]


def test_skipped_by_reason(findings):
    """What was skipped is gathered by its reason, the most frequent first."""
    assert [(reason, len(what)) for reason, what in layout.skipped(findings)] == [
        ("the model lacks 'gradient'", 40),
        ("no planted truth", 1),
    ]


def test_absence_names_its_reason(findings):
    """A value that is missing says why; a suppressed group names the minimum."""
    model = findings.models[0]
    by_name = {entry.explainer: entry for entry in model.explainers}
    assert layout.absence(by_name["grad_cam"], "nsrg") is None
    assert layout.absence(by_name["rise"], "nsrg") == "needs 'forward' by batches of 1, which the model lacks"
    assert layout.absence(by_name["input_x_gradient"], "single_deletion") == "failed on every image: ContractError"
    assert layout.absence(None, "nsrg") == "not run on this model"
    maple = layout.group_value(layout.summary(by_name["grad_cam"], "nsrg"), "race", "maple")
    assert "21 images" in layout.group_absence(maple, minimum=30)
    assert "at least 30" in layout.group_absence(maple, minimum=30)


def test_standing_of_a_frozen_complete_protocol_is_silent(findings):
    """Only previews, drafts, changes and unfinished runs are remarked on."""
    protocol = findings.protocol.model_copy(update={"status": "frozen", "overrides": ()})
    run = findings.run.model_copy(update={"blocks_done": 60})
    final = findings.model_copy(update={"protocol": protocol, "run": run})
    assert layout.standing(final) == []
    assert layout.title(final) == "quick"
    said = " ".join(layout.standing(findings))
    assert "preview" in said
    assert "custom protocol" in said
    assert "59 of 60" in said


def test_missing_by_reason(findings):
    """An explainer without maps is named once; a metric without values is named with its explainer."""
    assert layout.missing(findings.models[0]) == [
        ("failed on every image: ContractError", ["input_x_gradient / single_deletion"]),
        ("needs 'forward' by batches of 1, which the model lacks", ["rise"]),
    ]
