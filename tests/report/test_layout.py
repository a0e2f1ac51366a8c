"""What stands where."""

from mavis.report import layout


def test_methods_by_rank_then_controls_then_oracles(findings):
    """Whatever the order of the findings, ranked methods come first, the unranked last among methods."""
    model = findings.models[0]
    shuffled = model.model_copy(update={"explainers": model.explainers[::-1]})
    names = [entry.explainer for entry in layout.entries_by_rank(shuffled)]
    assert names[:4] == ["integrated_gradients", "grad_cam", "input_x_gradient", "rise"]
    assert names[4:] == ["random", "sobel", "oracle", "cell_occlusion"]


def test_eligible_methods_come_first(findings):
    """A method that failed a gate stands after the eligible ones, however good its score."""
    model = findings.models[0]
    spoilt = model.explainers[0].model_copy(update={"eligible": False})
    names = [
        e.explainer
        for e in layout.entries_by_rank(model.model_copy(update={"explainers": (spoilt, *model.explainers[1:])}))
    ]
    assert names[:3] == ["grad_cam", "integrated_gradients", "input_x_gradient"]


def test_gates_tell_failed_from_unknown(findings):
    """A gate that was not passed, one that was not assessed and one that cannot be are told apart."""
    by_name = {entry.explainer: entry for entry in findings.models[0].explainers}
    assert layout.gate_marks(by_name["input_x_gradient"]) == "✗ G3 ? G4"
    assert layout.gate_marks(by_name["grad_cam"]) == "? G3"
    assert layout.gate_marks(by_name["sobel"]) == ""
    words = {gate.id: layout.gate_status(gate) for gate in by_name["input_x_gradient"].gates}
    assert words == {"G0": "✓ passed", "G3": "✗ not passed", "G4": "not assessed", "G5": "✓ passed"}
    assert layout.gate_status(by_name["grad_cam"].gates[1]) == "could not be assessed"


def test_rank_with_its_interval(findings):
    """A rank stands with its interval where it has one, alone where not; without rank there is a dash."""
    first, *_, reference = findings.models[0].explainers
    assert layout.rank_text(first) == "1 [1, 2]"
    assert layout.rank_text(first.model_copy(update={"rank_low": None})) == "1"
    assert layout.rank_text(reference) == "–"


def test_statements_of_the_first_attribute_and_of_what_is_found(findings):
    """All is said by the first attribute, by others only what is found; controls are left out."""
    model = findings.models[0]
    said = layout.gap_statements(layout.entries_by_rank(model), "nsrg", "race")
    assert [line.split(" by ")[0] for line in said] == [
        f"found: {name}" for name in ("integrated_gradients", "grad_cam", "input_x_gradient")
    ]
    said = layout.gap_statements(model.explainers[:1], "nsrg", "gender")
    assert [line.split(": I")[0].split(": E")[0] for line in said] == [
        "found: integrated_gradients by race", "no material gap: integrated_gradients by gender",
    ]  # fmt: skip
    assert layout.gap_statements(model.explainers, "srg", "race") == []


def test_what_is_said_of_several_methods_alike_is_said_once(findings):
    """The names share the sentence; what differs stays apart."""
    first, other = findings.models[0].explainers[0], findings.models[0].explainers[2]
    twin = first.model_copy(update={"explainer": "twin"})
    assert layout.gap_statements([first, twin], "nsrg", "race") == [
        line.replace("integrated_gradients by", "integrated_gradients, twin by")
        for line in layout.gap_statements([first], "nsrg", "race")
    ]
    apart = layout.gap_statements([first, other], "nsrg", "race")
    assert apart == [line for one in (first, other) for line in layout.gap_statements([one], "nsrg", "race")]


def test_failures_alike_are_one(findings):
    """Failures that differ only in their images become one line with counts."""
    groups = layout.group_failures(findings.failures)
    assert [(group.failure.type, group.n_failures, group.n_images) for group in groups] == [
        ("ValueError", 35, 840),
        ("ContractError", 1, 840),
    ]


def test_skipped_by_reason(findings):
    """What was skipped is gathered by its reason, the most frequent first."""
    assert [(reason, len(what)) for reason, what in layout.skips_by_reason(findings)] == [
        ("the model lacks 'gradient'", 40),
        ("no planted truth", 1),
    ]


def test_absence_names_its_reason(findings):
    """A value that is missing says why; a suppressed group names the minimum."""
    model = findings.models[0]
    by_name = {entry.explainer: entry for entry in model.explainers}
    assert layout.missing_reason(by_name["grad_cam"], "nsrg") is None
    assert layout.missing_reason(by_name["rise"], "nsrg") == "needs 'forward' by batches of 1, which the model lacks"
    assert (
        layout.missing_reason(by_name["input_x_gradient"], "single_deletion") == "failed on every image: ContractError"
    )
    assert layout.missing_reason(None, "nsrg") == "not run on this model"
    maple = layout.find_group_value(layout.find_summary(by_name["grad_cam"], "nsrg"), "race", "maple")
    assert "21 images" in layout.group_missing_reason(maple, min_images=30)
    assert "at least 30" in layout.group_missing_reason(maple, min_images=30)


def test_standing_of_a_frozen_complete_protocol_is_silent(findings):
    """Only previews, drafts, changes and unfinished runs are remarked on."""
    protocol = findings.protocol.model_copy(update={"status": "frozen", "overrides": ()})
    run = findings.run.model_copy(update={"blocks_done": 60})
    final = findings.model_copy(update={"protocol": protocol, "run": run})
    assert layout.status_notices(final) == []
    assert layout.protocol_title(final) == "quick"
    said = " ".join(layout.status_notices(findings))
    assert "preview" in said
    assert "custom protocol" in said
    assert "59 of 60" in said


def test_missing_by_reason(findings):
    """An explainer without maps is named once; a metric without values is named with its explainer."""
    assert layout.missing_by_reason(findings.models[0]) == [
        ("failed on every image: ContractError", ["input_x_gradient / single_deletion"]),
        ("needs 'forward' by batches of 1, which the model lacks", ["rise"]),
    ]
