"""Which metrics count, categories and overall scores by hand, ranks, dominance, and methods over several models."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mavis.analysis.findings import Estimate, make_note
from mavis.decision import overall_score
from mavis.decision.overall_score import ScoreTable

from ..tables import make_images, make_participants, make_protocol, make_score_table, score_rows, values_with_mean

TABLE = make_images({"alder": 40, "birch": 40})
ALDER = (TABLE["race"] == "alder").to_numpy()
WEIGHTS = {"faithfulness": 0.5, "localisation": 0.2, "robustness": 0.2, "complexity": 0.05, "worst_group": 0.05}
DECIDE = {
    "primary": "nsrg",
    "metrics": {
        "nsrg": "always",
        "deletion": "always",
        "flip_equivariance": "always",
        "relevance_mass_skill": "reliance",
    },
    "weights": WEIGHTS,
    "imputers": ["nsrg@mean", "nsrg@blur"],
    "rope": 0.02,
    "min_candidates": 3,
    "max_undefined": 0.05,
}
RULES = make_protocol(decide=DECIDE)


def flat(**given: dict[str, float]) -> dict[tuple[str, str], np.ndarray]:
    """Per explainer and metric a score that all images have; random has 0 and needs no deletion but 1."""
    found = {"random": {"nsrg": 0, "deletion": 1, "flip_equivariance": 0, "nsrg@mean": 0, "nsrg@blur": 0}, **given}
    names = {"mean": "nsrg@mean", "blur": "nsrg@blur", "flip": "flip_equivariance", "mass": "relevance_mass_skill"}
    return {(e, names.get(m, m)): np.full(80, float(v)) for e, row in found.items() for m, v in row.items()}


def stood(columns: dict[tuple[str, str], Any], rules: Any = RULES) -> ScoreTable:
    """How they stand."""
    methods = list(dict.fromkeys(e for e, _ in columns if e != "random"))
    return make_score_table(TABLE, score_rows(TABLE, columns), make_participants(methods), rules)


def test_the_overall_score_is_the_weighted_mean_of_category_means() -> None:
    """Two faithfulness metrics share their category's weight; what is absent gives its weight to the others."""
    columns = flat(a={"nsrg": 0.6, "deletion": 0.6, "flip": 0.9})
    columns["a", "nsrg"] = np.where(ALDER, 0.5, 0.7)
    found = stood(columns)
    assert found.total.categories == ("faithfulness", "robustness", "worst_group")
    assert found.total.weights == pytest.approx(np.array([0.5, 0.2, 0.05]) / 0.75)
    place = found.index_of("a")
    assert found.total.category_scores[0, :, place] == pytest.approx([(0.6 + 0.4) / 2, 0.9, 0.5])
    assert found.total.overall[0, place] == pytest.approx((0.5 * 0.5 + 0.2 * 0.9 + 0.05 * 0.5) / 0.75)
    assert found.total.overall[0, found.index_of("random")] == pytest.approx(0)


def test_metrics_that_are_alike_share_one_weight() -> None:
    """Two of three count half each, also under one imputer alone; where one of them has no unit the other is whole."""
    three = {"nsrg": "always", "deletion": "always", "nsrg@blur": "always"}
    rules = make_protocol(decide={**DECIDE, "metrics": three, "alike": [["nsrg", "deletion"]]})
    columns = flat(a={"nsrg": 0.6, "deletion": 0.8, "mean": 0.4, "blur": 0.9})
    found = stood(columns, rules)
    place = found.index_of("a")
    assert found.total.category_scores[0, 0, place] == pytest.approx(((0.6 + 0.2) / 2 + 0.9) / 2)
    assert overall_score.with_single_imputer(found, "nsrg@mean").category_scores[0, 0, place] == pytest.approx(
        ((0.4 + 0.2) / 2 + 0.9) / 2
    )
    assert overall_score.for_group(found, "alder").category_scores[0, 0, place] == pytest.approx(
        ((0.6 + 0.2) / 2 + 0.9) / 2
    )
    columns["random", "deletion"] = np.zeros(80)
    assert stood(columns, rules).total.category_scores[0, 0, place] == pytest.approx((0.6 + 0.9) / 2)


def test_what_an_entry_shows() -> None:
    """Skills per metric and group, categories and the overall score, with the images behind them."""
    columns = flat(a={"nsrg": 0.6, "deletion": 0.6, "flip": 0.9})
    columns["a", "flip_equivariance"][::2] = np.nan
    found = stood(columns)
    skills = {s.metric: s for s in overall_score.explainer_skills(found, "a", 0.95)}
    assert set(skills) == {"nsrg", "deletion", "flip_equivariance"}
    assert skills["nsrg"].groups == pytest.approx({"alder": 0.6, "birch": 0.6})
    assert (skills["flip_equivariance"].skill.n, skills["nsrg"].skill.n) == (40, 80)
    categories = overall_score.explainer_categories(found, "a", 0.95)
    assert {name: e.n for name, e in categories.items()} == {"faithfulness": 80, "robustness": 40, "worst_group": 80}
    overall = overall_score.explainer_overall(found, "a", 0.95)
    assert (overall.n, overall.low) == (40, pytest.approx(overall.mean))
    assert overall_score.explainer_overall(found, "nobody", 0.95) is None


def test_who_lacks_a_deciding_metric_has_no_overall_score() -> None:
    """It is not ranked by what is left, and changes nobody else's score."""
    columns = flat(a={"nsrg": 0.6, "deletion": 0.6, "flip": 0.9}, b={"nsrg": 0.9, "deletion": 0.1})
    found = stood(columns)
    assert (found.has_score("a"), found.has_score("b")) == (True, False)
    assert overall_score.explainer_categories(found, "b", 0.95) == {}
    alone = stood(flat(a={"nsrg": 0.6, "deletion": 0.6, "flip": 0.9}))
    assert found.total.overall[:, found.index_of("a")] == pytest.approx(alone.total.overall[:, alone.index_of("a")])
    assert list(overall_score.rank_methods(found, ["a", "b"], 0.95)) == ["a"]


def test_without_the_primary_metric_there_is_no_score() -> None:
    """Robustness alone ranks nobody."""
    columns = {pair: v for pair, v in flat(a={"nsrg": 1, "deletion": 0.6, "flip": 0.9}).items() if pair[1] != "nsrg"}
    found = stood(columns)
    assert (found.total.categories, found.has_score("a")) == ((), False)


def test_conditions_of_metrics() -> None:
    """A metric counts if it was run, and the model has seen holes or its parts are known, where that is asked for."""
    rules = make_protocol(
        decide={
            **DECIDE,
            "metrics": {"nsrg": "always", "deletion": "drop_augmented", "relevance_mass_skill": "reliance"},
        }
    )
    run = ["nsrg", "deletion", "relevance_mass_skill"]
    seen = {"training": {"augmentation": {"drop": 0.6}}}
    assert overall_score.deciding_metrics(rules, run, seen, truth_verified=True).metrics == tuple(run)
    for card in ({}, {"training": {}}, {"training": {"augmentation": {"drop": 0.0}}}, {"training": None}):
        found = overall_score.deciding_metrics(rules, run, card, truth_verified=None)
        assert found.metrics == ("nsrg",)
        assert found.reasons == (
            make_note("metric.no_drop_augmentation", metric="deletion"),
            make_note("metric.parts_unknown", metric="relevance_mass_skill"),
        )
    absent = overall_score.deciding_metrics(rules, ["nsrg"], seen, truth_verified=True).reasons
    assert absent[0] == make_note("metric.not_run", metric="deletion")


def test_one_imputer_s_primary_metric_takes_the_place_of_all() -> None:
    """In its category and in the worst group, and nowhere else."""
    columns = flat(a={"nsrg": 0.6, "deletion": 0.6, "flip": 0.9, "mean": 0.8, "blur": 0.4})
    columns["a", "nsrg@mean"] = np.where(ALDER, 0.7, 0.9)
    found = overall_score.with_single_imputer(stood(columns), "nsrg@mean")
    assert found.category_scores[0, :, 0] == pytest.approx([(0.8 + 0.4) / 2, 0.9, 0.7])


def test_the_score_within_a_group_is_that_group_s_alone() -> None:
    """Without the worst group, and without metrics that have too few images there."""
    columns = flat(a={"nsrg": 0.6, "deletion": 0.6, "flip": 0.9})
    columns["a", "nsrg"] = np.where(ALDER, 0.5, 0.7)
    found = overall_score.for_group(stood(columns), "birch")
    assert found.categories == ("faithfulness", "robustness")
    assert found.category_scores[0, :, 0] == pytest.approx([(0.7 + 0.4) / 2, 0.9])
    for pair in columns:
        if pair[1] == "flip_equivariance":
            columns[pair][~ALDER & (np.arange(80) % 8 > 0)] = np.nan
    assert overall_score.for_group(stood(columns), "birch").categories == ("faithfulness",)


def test_ranks_have_the_intervals_of_the_draws() -> None:
    """Methods that change places from draw to draw span both ranks; equal ones share theirs."""
    columns = {("random", "nsrg"): np.zeros(80), ("clear", "nsrg"): values_with_mean(TABLE, 0.9, seed=1)}
    columns |= {(name, "nsrg"): values_with_mean(TABLE, 0.5, seed=seed) for name, seed in (("one", 2), ("other", 3))}
    found = overall_score.rank_methods(stood(columns, make_protocol()), ["clear", "one", "other"], 0.95)
    assert (found["clear"].rank, found["clear"].low, found["clear"].high) == (1, 1, 1)
    assert (found["one"].low, found["one"].high) == (2, 3)
    assert found["one"].rank == found["other"].rank == 2.5


def test_dominated_is_who_is_nowhere_better_and_somewhere_worse() -> None:
    """Worse by 0.03 in one category and equal elsewhere is dominated; worse in one and better in another is not."""
    same = {"nsrg": 0.5, "deletion": 0.5, "flip": 0.8}
    found = stood(flat(a=same, b={**same, "flip": 0.77}, c={"nsrg": 0.55, "deletion": 0.45, "flip": 0.7}))
    assert overall_score.find_dominated(found, ["a", "b", "c"], 0.02) == {"b": "a"}
    assert overall_score.find_dominated(found, ["b", "c"], 0.02) == {}


def test_twins_do_not_dominate_each_other() -> None:
    """Also not where every difference matters."""
    same = {"nsrg": 0.5, "deletion": 0.5, "flip": 0.8}
    assert overall_score.find_dominated(stood(flat(a=same, b=same)), ["a", "b"], 0.0) == {}


def models(overall: np.ndarray) -> list[Any]:
    """Models whose methods have these overall scores; an oracle beside them."""
    found = []
    for row in overall:
        entries = [
            SimpleNamespace(explainer=f"m{k}", role="method", overall=Estimate(mean=v, low=None, high=None, n=1))
            for k, v in enumerate(row)
        ]
        top = Estimate(mean=9.0, low=None, high=None, n=1)
        found.append(SimpleNamespace(explainers=[*entries, SimpleNamespace(explainer="o", role="oracle", overall=top)]))
    return found


def test_methods_over_models_are_compared_as_scipy_does() -> None:
    """Mean ranks and Iman and Davenport's p from scipy's statistic; the leader is compared with the next."""
    overall = np.random.default_rng(0).normal([0.6, 0.5, 0.3, 0.2], 0.1, (8, 4)).round(4)
    found = overall_score.compare_across_models(models(overall), make_protocol())
    ranks = scipy_stats.rankdata(-overall, axis=1).mean(axis=0)
    statistic = scipy_stats.friedmanchisquare(*overall.T).statistic
    f = 7 * statistic / (8 * 3 - statistic)
    assert found.blocks == 8
    assert found.mean_ranks == pytest.approx({f"m{k}": rank for k, rank in enumerate(ranks)})
    assert found.friedman_p == pytest.approx(scipy_stats.f.sf(f, 3, 21))
    assert found.critical_difference == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 8)), abs=1e-3)
    assert sum(found.leader_vs_next.values()) == pytest.approx(1)
    assert found.leader_vs_next["above"] > 0.8


def test_few_models_allow_no_statement_over_models() -> None:
    """One less than the protocol asks for, or fewer than three methods in common."""
    overall = np.random.default_rng(0).normal(0.5, 0.1, (6, 4))
    assert overall_score.compare_across_models(models(overall), make_protocol()) is not None
    assert overall_score.compare_across_models(models(overall[:5]), make_protocol()) is None
    assert overall_score.compare_across_models(models(overall[:, :2]), make_protocol()) is None
    assert overall_score.compare_across_models([], make_protocol()) is None
