"""The plan of a run: the request's changes to the protocol, and one part per model, made once."""

import pytest

from mavis.core.errors import UnknownName
from mavis.engine.planning import setup
from mavis.engine.planning.request import Request
from mavis.protocol.loading import load_protocol

SMALL = Request(("race_resnet",), explainers=("saliency",), metrics=("gini",), groups=("race",), limit=7)


def test_the_request_changes_the_protocol_and_says_so() -> None:
    """Seed, groups, metrics and the limit are noted as overrides; what is not asked for stays."""
    protocol = setup.resolve_protocol(Request(("race_resnet",), seed=3, metrics=("gini",), limit=7))
    assert (protocol.seed, list(protocol.metrics)) == (3, ["gini"])
    assert protocol.grid == load_protocol("quick").grid
    text = " ".join(protocol.overrides)
    assert all(word in text for word in ("seed", "metrics", "limit = 7"))


def test_a_request_without_changes_is_the_protocol() -> None:
    """No override, so that a frozen protocol stays itself."""
    assert setup.resolve_protocol(Request(("race_resnet",))) == load_protocol("quick")


def test_every_model_has_one_part_of_the_plan() -> None:
    """Cells of every explainer and metric, blocks that hold each image once, and the cost of both models."""
    plan = setup.plan_run(
        Request(("race_resnet", "race_resnet_biased"), explainers=("saliency",), metrics=("gini",), limit=7)
    )
    assert list(plan.by_model) == list(plan.models) == ["race_resnet", "race_resnet_biased"]
    for name, part in plan.by_model.items():
        assert {block.model for block in part.blocks} == {name}
        assert sorted(i for block in part.blocks for i in block.image_ids) == sorted(plan.sample.ids)
        assert {cell.metric for cell in part.cells} == {"gini"}
        assert part.cost.total.forwards > 0
    assert plan.blocks == tuple(block for part in plan.by_model.values() for block in part.blocks)


def test_the_marks_of_the_scale_join_once() -> None:
    """The protocol's zero and reference are explained beside what was asked for, none of them twice."""
    names = [component.name for component in setup.plan_run(SMALL).components.explainers]
    marks = load_protocol("quick").explainers.reference
    assert {"saliency", marks.zero, marks.truth} <= set(names)
    assert len(names) == len(set(names))


def test_names_are_checked_before_a_model_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown explainer, metric, model or data set ends planning while nothing is open."""
    monkeypatch.setattr(setup, "open_models", lambda *_, **__: pytest.fail("a model was opened"))
    for wrong in (
        Request(("race_resnet",), explainers=("salience",)),
        Request(("race_resnet",), metrics=("ginni",)),
        Request(("race_resnat",)),
        Request(("race_resnet",), data="synthetic_face"),
    ):
        with pytest.raises(UnknownName):
            setup.plan_run(wrong)
