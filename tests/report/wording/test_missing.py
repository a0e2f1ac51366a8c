"""Missing results in words."""

from mavis.analysis.findings import Skipped
from mavis.report import layout
from mavis.report.wording import missing


def test_skipped_by_reason(findings):
    """What was skipped is gathered by its reason, the most frequent first."""
    assert [(reason, len(what)) for reason, what in missing.skips_by_reason(findings)] == [
        ("the model lacks 'gradient'", 40),
        ("no planted truth", 1),
    ]


def test_absence_names_its_reason(findings):
    """A value that is missing says why; a suppressed group names the minimum."""
    model = findings.models[0]
    by_name = {entry.explainer: entry for entry in model.explainers}
    assert missing.missing_reason(by_name["grad_cam"], "nsrg") is None
    assert missing.missing_reason(by_name["rise"], "nsrg") == "needs 'forward' by batches of 1, which the model lacks"
    assert (
        missing.missing_reason(by_name["input_x_gradient"], "single_deletion") == "failed on every image: ContractError"
    )
    assert missing.missing_reason(None, "nsrg") == "not run on this model"
    maple = layout.find_group_value(layout.find_summary(by_name["grad_cam"], "nsrg"), "race", "maple")
    assert "21 images" in missing.group_missing_reason(maple, min_images=30)
    assert "at least 30" in missing.group_missing_reason(maple, min_images=30)


def test_missing_by_reason(findings):
    """An explainer without maps is named once; a metric without values is named with its explainer."""
    assert missing.missing_by_reason(findings.models[0]) == [
        ("failed on every image: ContractError", ["input_x_gradient / single_deletion"]),
        ("needs 'forward' by batches of 1, which the model lacks", ["rise"]),
    ]


def test_skipped_cells_are_named_or_counted():
    """Up to three names are listed; explainers that were not run at all have no metrics beside them."""
    few = Skipped(model="net", explainers=("a",), metrics=("nsrg",), reason="too slow")
    many = Skipped(model="net", explainers=tuple("abcd"), metrics=("mass", "rank"), reason="no truth")
    whole = Skipped(model="net", explainers=("rollout", "flow"), metrics=(), reason="no attention")
    assert [missing.skipped_label(skipped) for skipped in (few, many, whole)] == [
        "net / a / nsrg",
        "net / 4 explainers / mass, rank",
        "net / rollout, flow",
    ]
