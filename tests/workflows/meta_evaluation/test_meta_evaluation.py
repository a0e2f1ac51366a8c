"""The reduced meta-evaluation passes, and it would see a metric that is broken."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from mavis.core.model_pass import Pass
from mavis.core.registry import datasets, metrics, models
from mavis.decision import refusals
from mavis.protocol import loading
from mavis.workflows import meta_evaluation
from mavis.workflows.meta_evaluation import (
    closed_forms,
    corruptions,
    decision_rule,
    direction_audit,
    fixtures,
    known_order,
    reference_maps,
    resilience,
    results,
    simulated_leaderboards,
    threshold_calibration,
)
from mavis.workflows.meta_evaluation.scoring import MapScores

RULES = loading.load_protocol("best_practices_v1")


@pytest.fixture(scope="module")
def reduced() -> meta_evaluation.MetaEvaluation:
    return meta_evaluation.meta_evaluate(RULES, quick=True)


@pytest.fixture(scope="module")
def small() -> fixtures.Bench:
    """A bench whose tables are put in by hand."""
    return fixtures.Bench(RULES, fixtures.QUICK)


def put(table: dict[tuple[str, str], list[float]]) -> MapScores:
    """A table of scores."""
    return MapScores(pd.DataFrame(table))


def a_pass() -> Pass:
    data = datasets["planted_parts"].create({"size": 32, "count": 4})
    return Pass(models["part_sum"].create(), data.load(list(data.table().index)), data.mean, seed=3, chunk=64)


def test_the_reduced_form_finds_nothing_new(reduced: meta_evaluation.MetaEvaluation) -> None:
    """Every required test of every metric is passed, or its failure is on record beside the protocol."""
    assert [(c.id, c.metric, c.test, c.value) for c in meta_evaluation.new_failures(reduced, RULES)] == []


def test_every_deciding_metric_is_asked_what_its_category_is(reduced: meta_evaluation.MetaEvaluation) -> None:
    """M1, M2, M4, M8 and M13 are there for each, passed, failed or not applicable with a reason."""
    for label in RULES.decide.metrics:
        found = {c.id for c in reduced.checks if c.metric == label}
        assert found >= {"M1", "M2", "M4", "M8", "M13"}, label
    assert all(c.note for c in reduced.checks if c.verdict == "not applicable")


def test_every_direction_is_audited(reduced: meta_evaluation.MetaEvaluation) -> None:
    """Every built-in metric with a direction has its row under M13."""
    audited = {c.metric for c in reduced.checks if c.id == "M13"}
    assert audited == {m.name for m in metrics if m.origin == "mavis" and m.traits.higher_is_better is not None}


def test_the_reduced_form_demotes_nothing(reduced: meta_evaluation.MetaEvaluation) -> None:
    """Few images must not decide what decides."""
    assert reduced.quick
    assert (reduced.demoted, reduced.verified, reduced.thresholds) == ({}, (), ())


def test_a_document_is_read_as_it_was_written(reduced: meta_evaluation.MetaEvaluation) -> None:
    """What is stored beside the protocol comes back the same."""
    assert meta_evaluation.MetaEvaluation.model_validate_json(reduced.model_dump_json()) == reduced


@pytest.mark.parametrize("case", closed_forms.EXPECTED, ids=lambda case: "/".join(case[:3]))
def test_closed_forms_hold(case: tuple[str, str, str, dict[str, object], float]) -> None:
    """Linear, additive, product and saturating models of four cells, by hand."""
    assert closed_forms.score(*case[:4], seed=1) == pytest.approx(case[4], abs=1e-5)


def test_a_wrong_order_of_known_groups_is_seen(small: fixtures.Bench) -> None:
    """A random map above the oracle, or one control above it, fails M1."""
    ladder = {"oracle": 0.9, "saliency": 0.8, "random": 0.0, "anti_oracle": -0.9}
    for broken, verdict in (({}, "passed"), ({"random": 0.95}, "failed"), ({"sobel": 0.91}, "failed")):
        small.__dict__["hand_wired"] = {"one": put({(e, "nsrg"): [v, v] for e, v in {**ladder, **broken}.items()})}
        assert known_order._hand_wired_order_check(small, "nsrg").verdict == verdict


def test_a_ladder_that_rises_is_seen(small: fixtures.Bench) -> None:
    """Scores that rise with noise fail M2; for a metric whose low values are good, those that fall."""
    for label, values, verdict in (
        ("nsrg", (0.9, 0.7, 0.5, 0.3, 0.0), "passed"),
        ("nsrg", (0.9, 0.7, 0.95, 0.3, 0.97), "failed"),
        ("avg_sensitivity_normalised", (0.9, 0.7, 0.5, 0.3, 0.0), "failed"),
    ):
        table = put({(name, label): [v] for name, v in zip(small.ladder.values(), values, strict=True)})
        assert corruptions._monotonicity_check(small, table, label, small.ladder, "here").verdict == verdict


def test_a_wrong_direction_is_seen() -> None:
    """A metric that declares the opposite of what it does fails M13."""
    table = put({("oracle", "deletion"): [0.2, 0.4], ("random", "deletion"): [0.7, 0.9]})
    pair = direction_audit.MapPair("part_sum", "oracle", "random")
    assert direction_audit._direction_check("deletion", pair, table, -1).verdict == "passed"
    assert direction_audit._direction_check("deletion", pair, table, 1).verdict == "failed"


def test_demotions_name_the_test_and_its_numbers() -> None:
    """A failure of a required test of a deciding metric demotes it; a report, or another metric's, does not."""
    rows = (
        results.criterion_check("M7", "t", "nsrg", "faces", "tau", value=0.5, criterion="≥ 0.7", passed=False),
        results.criterion_check("M7", "t", "gini", "faces", "tau", value=0.9, criterion="≥ 0.7", passed=True),
        results.criterion_check("M9", "t", None, "faces", "share", value=0.5, criterion="≤ 0.08", passed=False),
        results.criterion_check("M13", "t", "deletion", "faces", "gap", value=-1, criterion="> 0", passed=False),
        results.descriptive_check("M4", "t", "gini", "faces", "share", value=0.1),
    )
    assert results.demotion_reasons(rows, ("nsrg", "gini")) == {"nsrg": "M7 on faces: tau 0.5, asked ≥ 0.7"}


def test_shuffled_cells_keep_their_values() -> None:
    """The cells are the same, elsewhere; half of the noise is half way."""
    run = a_pass()
    values = torch.rand(4, 1, 32, 32)
    moved = reference_maps.shuffle_cells(values, run, 16)
    assert moved.flatten(1).sort(1).values.equal(values.flatten(1).sort(1).values)
    assert not moved.equal(values)
    torch.testing.assert_close(reference_maps.mixture(0.5, 16)(values, run), (values + moved) / 2)
    assert reference_maps.mixture(0.0, 16)(values, run).equal(values)


def test_what_is_said_of_the_exact_map_holds() -> None:
    """It sums to the logit beyond grey; its opposite place is zero where it has most; its top part can be dropped."""
    run = a_pass()
    targets = run.logits.argmax(1)
    values = reference_maps.exact_contributions(run, targets)
    torch.testing.assert_close(values.sum((1, 2, 3)), run.logits.amax(1))
    other = reference_maps.invert_magnitude(values, run)
    assert (other.flatten(1).argmin(1) == values.abs().flatten(1).argmax(1)).all()
    stripped = reference_maps.drop_top_part(values, run)
    torch.testing.assert_close(stripped.sum((1, 2, 3)), run.logits.amax(1) - _largest(values, run))


def _largest(values: torch.Tensor, run: Pass) -> torch.Tensor:
    """The most that any part adds."""
    sums = [(values[:, 0] * (run.batch.parts == code)).sum((1, 2)) for code in range(10)]
    return torch.stack(sums).amax(0)


def test_small_swaps_are_no_change_of_order() -> None:
    """Two methods within the ROPE may change places; beyond it both places are lost."""
    before = np.array([[0.50, 0.51, 0.9], [0.5, 0.7, 0.9]])
    after = np.array([[0.51, 0.50, 0.9], [0.7, 0.5, 0.9]])
    assert resilience._rank_agreement_by_rope(before, after, 0.02) == pytest.approx(4 / 6)
    assert resilience.rank_agreement(before, after) == pytest.approx(2 / 6)
    assert resilience.cliffs_delta(np.array([1.0, 2.0]), np.array([0.0, 1.5])) == pytest.approx(0.5)


def test_the_decision_is_tested_as_runs_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best is in the set of `compare_eligible`; a set without it fails, and so do grounds that never apply."""
    b = fixtures.Bench(RULES, replace(fixtures.QUICK, simulations=20))
    assert {c.verdict for c in decision_rule.rule_checks(b)} == {"passed"}
    monkeypatch.setattr(refusals, "find_refusals", lambda *_: [])
    nobody = decision_rule.rule_checks(
        b, lambda *given: replace(simulated_leaderboards.simulate_comparison(*given), leading_set=("d",))
    )
    assert {c.verdict for c in nobody} == {"failed"}


def test_random_rankings_concord_as_theory_says() -> None:
    """Kendall's W of m random rankings of k has mean 1/m and variance 2 (m − 1) / (m³ (k − 1))."""
    found = threshold_calibration.random_concordances(8, 6, seed=0)
    assert found.mean() == pytest.approx(1 / 8, abs=0.005)
    assert found.var() == pytest.approx(2 * 7 / (8**3 * 5), rel=0.05)
