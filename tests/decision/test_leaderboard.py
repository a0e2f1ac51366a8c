"""Who stands where: ranks among methods, controls beside them, reasons for what is missing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mavis.analysis.findings import ExplainerEntry, MetricSummary
from mavis.analysis.groups import bootstrap_settings
from mavis.report import wording

from ..tables import METRICS, make_images, make_leaderboard, make_participants, make_protocol, score_columns, score_rows

TABLE = make_images()
MEANS = {"oracle": 0.9, "random": 0.0, "sobel": 0.35, "saliency": 0.3, "rise": 0.5, "gradcam": 0.4}
WHO = make_participants(["saliency", "rise", "gradcam"], ["random", "sobel"], ["oracle"])
RULES = make_protocol()


def metric(entry: ExplainerEntry, name: str) -> MetricSummary:
    """One metric of an entry."""
    return next(m for m in entry.metrics if m.metric == name)


def test_methods_by_rank_then_controls_then_oracles() -> None:
    """The order is that of the primary metric, whatever the controls score."""
    entries = make_leaderboard(score_rows(TABLE, score_columns(TABLE, MEANS)), TABLE, WHO, RULES)
    assert [(e.explainer, e.role, e.rank) for e in entries] == [
        ("rise", "method", 1.0),
        ("gradcam", "method", 2.0),
        ("saliency", "method", 3.0),
        ("random", "control", None),
        ("sobel", "control", None),
        ("oracle", "oracle", None),
    ]


def test_a_reference_stands_last_without_a_rank_and_is_never_eligible() -> None:
    """Whatever it scores and wherever the protocol lists it; the methods' ranks stay."""
    who = make_participants(["saliency", "gradcam"], ["random"], ["oracle"], ["cell_occlusion"])
    who = replace(who, explainers=dict(reversed(who.explainers.items())))
    means = {"saliency": 0.2, "gradcam": 0.5, "random": 0.0, "oracle": 0.7, "cell_occlusion": 0.9}
    entries = make_leaderboard(score_rows(TABLE, score_columns(TABLE, means)), TABLE, who, RULES)
    assert [(e.explainer, e.rank) for e in entries[:2]] == [("gradcam", 1.0), ("saliency", 2.0)]
    last = entries[-1]
    assert (last.explainer, last.role, last.rank, last.gates, last.eligible) == (
        "cell_occlusion",
        "reference",
        None,
        (),
        False,
    )


def test_only_methods_are_judged_and_eligible() -> None:
    """Controls and the oracle have no gates and are never eligible, however well they score."""
    entries = make_leaderboard(score_rows(TABLE, score_columns(TABLE, MEANS)), TABLE, WHO, RULES)
    assert {e.explainer: (len(e.gates), e.eligible) for e in entries} == {
        "rise": (3, True),
        "gradcam": (3, True),
        "saliency": (3, True),
        "random": (0, False),
        "sobel": (0, False),
        "oracle": (0, False),
    }


def test_a_failed_or_open_gate_makes_ineligible() -> None:
    """Neither False nor 'not assessed' is a pass."""
    planted = score_columns(TABLE, MEANS)
    planted["rise", "mprt"] = np.full(len(TABLE), 0.9)
    del planted["gradcam", "valid"]
    entries = {e.explainer: e for e in make_leaderboard(score_rows(TABLE, planted), TABLE, WHO, RULES)}
    assert (entries["rise"].eligible, entries["gradcam"].eligible, entries["saliency"].eligible) == (False, False, True)
    assert entries["rise"].rank == 1.0


def test_what_the_model_does_not_give_stops_no_method() -> None:
    """A gate that cannot be assessed for want of weights leaves the method eligible; one that was left out does not,
    nor does it when another gate fails."""
    planted = {pair: column for pair, column in score_columns(TABLE, MEANS).items() if pair[1] != "mprt"}
    white = METRICS | {"mprt": replace(METRICS["mprt"], needs=frozenset({"weights"}))}
    missing = {(name, "mprt"): "needs weights, which api does not give" for name in ("saliency", "rise", "gradcam")}
    rows = score_rows(TABLE, planted | {("rise", "valid"): np.zeros(len(TABLE))})
    box = replace(WHO, metrics=white, missing=missing)
    entries = {e.explainer: e for e in make_leaderboard(rows, TABLE, box, RULES)}
    assert (entries["saliency"].eligible, entries["rise"].eligible, entries["gradcam"].eligible) == (True, False, True)
    assert [gate.id for gate in entries["saliency"].gates if gate.impossible] == ["G3"]
    assert not any(e.eligible for e in make_leaderboard(rows, TABLE, replace(box, missing={}), RULES))


def test_another_control_changes_no_rank() -> None:
    """Ranks are among the methods: a control between two of them takes no place."""
    planted = score_columns(TABLE, MEANS)
    before = make_leaderboard(score_rows(TABLE, planted), TABLE, WHO, RULES)
    more = {**planted, ("centre", "nsrg"): planted["rise", "nsrg"] - 0.01}
    after = make_leaderboard(
        score_rows(TABLE, more), TABLE, make_participants(["saliency", "rise", "gradcam"], ["random", "centre"]), RULES
    )
    assert [(e.explainer, e.rank) for e in before[:3]] == [(e.explainer, e.rank) for e in after[:3]]


def test_every_metric_ranks_in_its_own_direction() -> None:
    """The lowest deletion is first although the highest gain is."""
    planted = score_columns(TABLE, MEANS) | {
        (name, "deletion"): np.full(len(TABLE), mean) for name, mean in MEANS.items() if name != "gradcam"
    }
    entries = {e.explainer: e for e in make_leaderboard(score_rows(TABLE, planted), TABLE, WHO, RULES)}
    assert metric(entries["rise"], "deletion").rank == 2.0
    assert metric(entries["saliency"], "deletion").rank == 1.0
    assert metric(entries["gradcam"], "deletion").rank is None
    assert metric(entries["random"], "deletion").rank is None


def test_equal_scores_share_a_rank_whoever_comes_first() -> None:
    """Two methods with the same scores have rank 1.5 each, and stand by name in any order of appearance."""
    planted = score_columns(TABLE, MEANS)
    planted["gradcam", "nsrg"] = planted["rise", "nsrg"]
    for order in (["saliency", "rise", "gradcam"], ["gradcam", "saliency", "rise"]):
        entries = make_leaderboard(score_rows(TABLE, planted), TABLE, make_participants(order), RULES)
        assert [(e.explainer, e.rank) for e in entries[:3]] == [("gradcam", 1.5), ("rise", 1.5), ("saliency", 3.0)]


def test_reasons_for_missing_scores_travel() -> None:
    """A pair that was not run carries its reason, an explainer without any map its own."""
    who = replace(WHO, missing={("rise", "deletion"): "needs luck", ("gradcam", ""): "needs activations"})
    planted = {pair: column for pair, column in score_columns(TABLE, MEANS).items() if pair[0] != "gradcam"}
    entries = {e.explainer: e for e in make_leaderboard(score_rows(TABLE, planted), TABLE, who, RULES)}
    assert metric(entries["rise"], "deletion").missing == "needs luck"
    assert metric(entries["rise"], "nsrg").missing is None
    assert entries["gradcam"].missing == "needs activations"
    assert {m.missing for m in entries["gradcam"].metrics} == {"needs activations"}
    assert (entries["gradcam"].rank, entries["gradcam"].eligible) == (None, False)
    assert [e.explainer for e in make_leaderboard(score_rows(TABLE, planted), TABLE, who, RULES)][2] == "gradcam"


def test_lost_scores_are_counted() -> None:
    """Undefined and failed are counted apart; neither is a zero in the mean."""
    rows = score_rows(TABLE, score_columns(TABLE, MEANS))
    of_rise = (rows["explainer"] == "rise") & (rows["metric"] == "nsrg")
    lost = rows[of_rise].index
    rows.loc[lost[:3], ["value", "status"]] = [np.nan, "undefined"]
    rows.loc[lost[3:5], ["value", "status"]] = [np.nan, "error"]
    found = metric(make_leaderboard(rows, TABLE, WHO, RULES)[0], "nsrg")
    assert (found.undefined, found.failed, found.estimate.n) == (3, 2, len(TABLE) - 5)
    assert found.estimate.mean == pytest.approx(0.5, abs=0.01)


def test_gaps_are_there_for_scores_and_not_for_costs() -> None:
    """Every attribute has its gap, named by direction; forwards have none."""
    planted = score_columns(TABLE, MEANS)
    planted["rise", "nsrg"] -= 0.2 * (TABLE["race"] == "birch")
    planted["rise", "mprt"] = planted["rise", "mprt"] + 0.2 * (TABLE["race"] == "birch")
    rules = make_protocol(data__groups=["race", "gender"])
    entry = next(e for e in make_leaderboard(score_rows(TABLE, planted), TABLE, WHO, rules) if e.explainer == "rise")
    assert metric(entry, "nsrg").gaps[0].worst_group == "birch"
    assert [g.attribute for g in metric(entry, "nsrg").gaps] == ["race", "gender"]
    assert metric(entry, "mprt").gaps[0].worst_group == "birch"
    assert metric(entry, "forwards").gaps == ()


def test_the_order_of_rows_changes_nothing() -> None:
    """Shuffled scores and images give the same document, interval for interval."""
    rows = score_rows(TABLE, score_columns(TABLE, MEANS))
    shuffled = rows.sample(frac=1, random_state=0), TABLE.sample(frac=1, random_state=1)
    assert make_leaderboard(rows, TABLE, WHO, RULES) == make_leaderboard(*shuffled, WHO, RULES)


def test_another_explainer_changes_no_interval() -> None:
    """What is said of one explainer does not depend on who else took part."""
    alone = {pair: column for pair, column in score_columns(TABLE, MEANS).items() if pair[0] in {"rise", "random"}}
    few = make_leaderboard(score_rows(TABLE, alone), TABLE, make_participants(["rise"]), RULES)
    many = make_leaderboard(score_rows(TABLE, score_columns(TABLE, MEANS)), TABLE, WHO, RULES)
    for name in METRICS:
        one, other = metric(few[0], name).estimate, metric(many[0], name).estimate
        assert one.n == other.n
        assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high))


def test_rules_are_the_protocols() -> None:
    """Groups, minimum, draws, confidence and seed come from the protocol."""
    found = bootstrap_settings(make_protocol(seed=9, aggregate__confidence=0.9))
    assert (found.attributes, found.min_report, found.n_bootstrap, found.confidence, found.seed) == (
        ("race",), 10, 400, 0.9, 9,
    )  # fmt: skip


def test_no_scores_of_a_metric_at_all() -> None:
    """A metric of the protocol without a single row is listed with nothing."""
    planted = {pair: column for pair, column in score_columns(TABLE, MEANS).items() if pair[1] == "nsrg"}
    found = metric(make_leaderboard(pd.DataFrame(score_rows(TABLE, planted)), TABLE, WHO, RULES)[0], "deletion")
    assert (found.estimate.mean, found.estimate.n, found.groups, found.gaps, found.rank) == (None, 0, (), (), None)


def test_pairs_are_compared_where_the_metric_decides_and_of_methods() -> None:
    """Not of controls, nor of other metrics; of each imputer's form of the primary metric too."""
    planted = score_columns(TABLE, MEANS) | {(n, "deletion"): np.full(len(TABLE), 0.5) for n in MEANS}
    entries = {e.explainer: e for e in make_leaderboard(score_rows(TABLE, planted), TABLE, WHO, RULES)}
    assert len(metric(entries["rise"], "nsrg").gaps[0].pairs) == 3
    assert metric(entries["random"], "nsrg").gaps[0].pairs == ()
    assert metric(entries["rise"], "deletion").gaps[0].pairs == ()
    more = make_protocol(decide__imputers=["deletion"])
    entries = {e.explainer: e for e in make_leaderboard(score_rows(TABLE, planted), TABLE, WHO, more)}
    assert len(metric(entries["rise"], "deletion").gaps[0].pairs) == 3


def test_another_explainer_changes_no_gap_between_groups() -> None:
    """Pairs are corrected within an explainer's own tests; only the references set the unit."""
    looks = dict.fromkeys(("probability", "brightness", "contrast", "sharpness", "imputation_contrast"), 0.5)
    table = TABLE.assign(**looks)
    rules = make_protocol(decide__metrics={"nsrg": "always", "deletion": "always"})
    generator = np.random.default_rng(5)
    planted = score_columns(table, MEANS)
    planted |= {(name, "deletion"): generator.normal(0.5, 0.1, len(table)) for name in MEANS}
    alone = {pair: column for pair, column in planted.items() if pair[0] in {"rise", "random", "oracle"}}
    few = make_leaderboard(score_rows(table, alone), table, make_participants(["rise"], ["random"], ["oracle"]), rules)
    many = make_leaderboard(score_rows(table, planted), table, WHO, rules)
    for name in ("nsrg", "deletion"):
        one, other = (next(m for m in found[0].metrics if m.metric == name).gaps[0] for found in (few, many))
        assert wording.gap_sentence(one.statement, one.attribute) == wording.gap_sentence(
            other.statement, other.attribute
        )
        assert [p.p for p in one.pairs] == pytest.approx([p.p for p in other.pairs])
    assert few[0].explainer == many[0].explainer == "rise"


def test_people_come_from_the_column_that_the_protocol_names() -> None:
    """In the order of image ids; none without the column, as in older runs, or without images."""
    table = TABLE.assign(person=[f"p{k // 2}" for k in range(len(TABLE))])
    rules = RULES.model_copy(update={"data": RULES.data.model_copy(update={"identity": "person"})})
    assert bootstrap_settings(rules, table.iloc[::-1]).identities == tuple(table.sort_index()["person"])
    assert bootstrap_settings(rules, TABLE).identities is None
    assert bootstrap_settings(rules).identities is None
    assert bootstrap_settings(RULES, table).identities is None
