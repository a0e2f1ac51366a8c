"""M13: a wrong direction is seen, and every metric has a pair of maps or a reason to have none."""

from mavis.core.registry import metrics
from mavis.workflows.meta_evaluation import direction_audit

from .helpers import planted_scores

PAIR = direction_audit.MapPair("part_sum", "oracle", "random")


def test_a_wrong_direction_is_seen() -> None:
    """A metric that declares the opposite of what it does fails M13."""
    table = planted_scores({("oracle", "deletion"): [0.2, 0.4], ("random", "deletion"): [0.7, 0.9]})
    assert direction_audit._direction_check("deletion", PAIR, table, -1).verdict == "passed"
    assert direction_audit._direction_check("deletion", PAIR, table, 1).verdict == "failed"


def test_a_metric_without_a_value_is_not_applicable() -> None:
    """The reason is the failure of the metric, or that there is no value."""
    table = planted_scores({("oracle", "deletion"): [0.2], ("random", "deletion"): [float("nan")]})
    check = direction_audit._direction_check("deletion", PAIR, table, -1)
    assert (check.verdict, check.note) == ("not applicable", "on part_sum: it has no value there")
    table.failures["random", "deletion"] = "out of memory"  # type: ignore[index]
    assert direction_audit._direction_check("deletion", PAIR, table, -1).note == "on part_sum: out of memory"


def test_every_metric_has_a_pair_or_a_reason() -> None:
    """Pairs are of two different maps on one of the three subjects."""
    for entry in metrics:
        if entry.traits.higher_is_better is not None and not direction_audit._reason_without_pair(entry):
            pair = direction_audit._pair_of(entry)
            assert pair.better != pair.worse
            assert pair.subject in direction_audit._SUBJECTS
