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


def test_rank_with_its_interval(findings):
    """A rank stands with its interval where it has one, alone where not; without rank there is a dash."""
    first, *_, reference = findings.models[0].explainers
    assert layout.rank_text(first) == "1 [1, 2]"
    assert layout.rank_text(first.model_copy(update={"rank_low": None})) == "1"
    assert layout.rank_text(reference) == "–"


def test_failures_alike_are_one(findings):
    """Failures that differ only in their images become one line with counts."""
    groups = layout.group_failures(findings.failures)
    assert [(group.failure.type, group.n_failures, group.n_images) for group in groups] == [
        ("ValueError", 35, 840),
        ("ContractError", 1, 840),
    ]


def test_groups_of_intersections_are_shown_by_their_parts():
    """A star in a name is one of its letters."""
    assert layout.group_name("race*gender", "cedar*form_a") == "cedar × form_a"
    assert layout.group_name("a*b", "x\\*y*z") == "x*y × z"
    assert layout.group_name("a", "*y*") == "*y*"
