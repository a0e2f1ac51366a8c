"""Skills: closed forms, planted pairs, and that nobody's skill depends on who else takes part."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mavis.analysis import skill_scores
from mavis.analysis.findings import Estimate, make_note
from mavis.analysis.skill_scores import Skills, SkillScale
from mavis.core.traits import MetricTraits
from mavis.protocol.schema import Protocol, ReferenceRules

from ..tables import make_images, make_protocol, score_rows, values_with_mean

TABLE = make_images({"alder": 30, "birch": 60})
SCALE = SkillScale("random", "oracle")
UP = MetricTraits("-", "faithfulness", higher_is_better=True)
DOWN = MetricTraits("-", "faithfulness", higher_is_better=False)
PERFECT = MetricTraits("-", "robustness", higher_is_better=False, perfect=0.0)


def measured(
    columns: Mapping[tuple[str, str], Any],
    traits: Mapping[str, MetricTraits] | None = None,
    rules: Protocol | None = None,
    table: pd.DataFrame = TABLE,
) -> Skills:
    """Skills of these scores."""
    return skill_scores.measure_skills(
        score_rows(table, columns), table, traits or {"m": UP}, SCALE, rules or make_protocol()
    )


def of(skills: Skills, explainer: str, metric: str = "m") -> np.ndarray:
    """``(1+draws,)``: the skill and its draws."""
    return skills.macro[:, skills.metrics.index(metric), skills.explainers.index(explainer)]


def planted(seed: int = 0, **means: float) -> dict[tuple[str, str], np.ndarray]:
    """Scores with these means in every race."""
    columns = {"random": 0.1, "oracle": 0.9, **means}
    return {(name, "m"): values_with_mean(TABLE, mean, seed=seed + k) for k, (name, mean) in enumerate(columns.items())}


def test_the_zero_has_0_and_the_reference_1_and_between_is_a_line() -> None:
    """A mean halfway between them has skill one half, one beyond the reference more than 1; these ends are exact."""
    skills = measured(planted(half=0.5, beyond=1.3, below=-0.1))
    assert of(skills, "half")[0] == pytest.approx(0.5)
    assert of(skills, "beyond")[0] == pytest.approx(1.5)
    assert of(skills, "below")[0] == pytest.approx(-0.25)
    assert np.allclose(of(skills, "random"), 0)
    assert np.allclose(of(skills, "oracle"), 1)


def test_a_metric_that_is_better_low_is_turned_round() -> None:
    """Both differences change sign."""
    low = {name: 1 - column for name, column in planted(half=0.5).items()}
    assert of(measured(low, {"m": DOWN}), "half")[0] == pytest.approx(0.5)


def test_a_perfect_value_stands_for_the_reference() -> None:
    """With 0 as the best there is, 0.3 against the zero's 1.5 is 80 % of the way; the oracle is measured as all are."""
    columns = {("random", "m"): np.full(90, 1.5), ("a", "m"): np.full(90, 0.3), ("oracle", "m"): np.full(90, 0.75)}
    skills = measured(columns, {"m": PERFECT})
    assert [of(skills, name)[0] for name in ("a", "oracle")] == pytest.approx([0.8, 0.5])
    del columns["oracle", "m"]
    assert of(measured(columns, {"m": PERFECT}), "a")[0] == pytest.approx(0.8)


def test_groups_have_equal_weight_in_both_differences() -> None:
    """The macro skill is the ratio of macro means, not the mean of the groups' skills nor of the images' ratios."""
    alder = (TABLE["race"] == "alder").to_numpy()
    columns = {
        ("random", "m"): np.zeros(90),
        ("oracle", "m"): np.where(alder, 1.0, 0.2),
        ("a", "m"): np.where(alder, 0.3, 0.2),
    }
    skills = measured(columns)
    assert of(skills, "a")[0] == pytest.approx((0.3 + 0.2) / (1.0 + 0.2))
    groups = skills.by_group[0, 0, :, skills.explainers.index("a")]
    assert dict(zip(skills.groups, groups, strict=True)) == pytest.approx({"alder": 0.3, "birch": 1.0})


def test_another_candidate_moves_nobody() -> None:
    """Adding or removing a method, one without most of its scores too, leaves every draw of the others as it was."""
    alone = planted(a=0.4)
    holes = values_with_mean(TABLE, 0.7, seed=9)
    holes[:60] = np.nan
    more = {("first", "m"): holes, **alone, ("z", "m"): values_with_mean(TABLE, 2.0, seed=8)}
    skills, expected = measured(alone), measured(more)
    assert np.allclose(of(skills, "a"), of(expected, "a"), rtol=1e-12, atol=0)
    assert len(expected.explainers) == len(skills.explainers) + 2
    one_groups = skills.by_group[:, 0, :, skills.explainers.index("a")]
    assert np.allclose(one_groups, expected.by_group[:, 0, :, expected.explainers.index("a")], rtol=1e-12, atol=0)


def test_a_method_is_measured_on_the_images_it_has() -> None:
    """What equals the reference where it has a score has skill 1, however the reference does on the other images."""
    columns = planted()
    columns["oracle", "m"] = np.linspace(0.2, 1.6, 90)
    columns["a", "m"] = np.where(np.arange(90) % 3 > 0, columns["oracle", "m"], np.nan)
    skills = measured(columns)
    assert np.allclose(of(skills, "a"), 1)
    assert skills.n_images[0, skills.explainers.index("a")] == 60


def test_draws_are_paired() -> None:
    """A constant lead in scores is a constant lead in skill, draw by draw, also between metrics."""
    columns = planted(a=0.4)
    columns["oracle", "m"] = columns["random", "m"] + 0.5
    columns["b", "m"] = columns["a", "m"] + 0.1
    columns |= {(name, "same"): column.copy() for (name, _), column in columns.items()}
    skills = measured(columns, {"m": UP, "same": UP})
    assert np.allclose(of(skills, "b") - of(skills, "a"), 0.2)
    assert np.array_equal(of(skills, "a"), of(skills, "a", "same"))
    assert of(skills, "a")[1:].std() > 0.005


def test_images_with_more_metrics_are_drawn_apart() -> None:
    """A metric that 2 images of each group were asked for has a value in every draw, and their mean in each."""
    few = [f"{race}/{k:03d}" for race in ("alder", "birch") for k in range(2)]
    rows = score_rows(TABLE, planted(a=0.4))
    second_metric = score_rows(
        TABLE.loc[few], {(n, "again"): np.full(4, v) for n, v in (("random", 0), ("oracle", 1), ("a", 0.6))}
    )
    skills = skill_scores.measure_skills(
        pd.concat([rows, second_metric]), TABLE, {"m": UP, "again": UP}, SCALE, make_protocol()
    )
    assert np.allclose(of(skills, "a", "again"), 0.6)
    drawn = skill_scores.resample_images(pd.concat([rows, second_metric]), TABLE.sort_index(), SCALE, make_protocol())
    assert np.array_equal(drawn.weights[:, TABLE.sort_index().index.isin(few)].sum(axis=1), np.full(401, 4))


def test_images_of_one_person_are_drawn_together() -> None:
    """Where the protocol names who is shown, all images of a person count equally often."""
    table = TABLE.assign(person=[f"p{k // 3}" for k in range(len(TABLE))])
    rows = score_rows(table, planted(a=0.4))
    drawn = skill_scores.resample_images(rows, table.sort_index(), SCALE, make_protocol(data__identity="person"))
    persons = table.sort_index()["person"].to_numpy()
    assert pd.DataFrame(drawn.weights.T).groupby(persons).nunique().max().max() == 1
    apart = skill_scores.resample_images(rows, table.sort_index(), SCALE, make_protocol())
    assert pd.DataFrame(apart.weights.T).groupby(persons).nunique().max().max() == 3


def test_without_a_better_reference_there_is_no_unit() -> None:
    """A metric on which the reference is not surely ahead of the zero drops out, and the reason names both."""
    columns = planted(a=0.4)
    columns["oracle", "m"] = values_with_mean(TABLE, 0.105, seed=5)
    skills = measured(columns)
    assert (skills.metrics, skills.flat_metrics) == ((), {"m"})
    reason = skills.unscaled_reasons["m"]
    assert (reason.code, reason.values) == (
        "scale.flat",
        {"metric": "m", "floor": "random", "ceiling": "oracle", "span": pytest.approx(0.005)},
    )
    del columns["oracle", "m"]
    skills = measured(columns)
    assert (skills.metrics, skills.flat_metrics, skills.unscaled_reasons) == (
        (),
        set(),
        {"m": make_note("scale.no_image", metric="m", explainers=["random", "oracle"])},
    )


def test_a_group_without_a_unit_or_too_small_has_no_skill_of_its_own() -> None:
    """It still counts in the macro mean."""
    alder = (TABLE["race"] == "alder").to_numpy()
    columns = planted(a=0.4)
    columns["oracle", "m"] = np.where(alder, columns["random", "m"], columns["oracle", "m"])
    skills = measured(columns)
    assert np.isnan(skills.by_group[0, 0, 0]).all()
    assert of(skills, "a")[0] == pytest.approx(0.3 / 0.4)
    rules = make_protocol(data__n_per_group={"target": 40, "min_report": 31, "min_claim": 40})
    small = measured(planted(a=0.4), rules=rules)
    assert np.isnan(small.by_group[0, 0, 0]).all()
    assert not np.isnan(small.by_group[0, 0, 1]).any()


def test_the_reference_is_the_truth_where_it_was_run() -> None:
    """Elsewhere the other one stands for it; an oracle without a single value was not run."""
    rules = ReferenceRules()
    rows = score_rows(TABLE, planted(a=0.4))
    assert skill_scores.choose_scale(rows, rules) == SkillScale("random", "oracle")
    rows.loc[rows["explainer"] == "oracle", "value"] = np.nan
    assert skill_scores.choose_scale(rows, rules) == SkillScale("random", "cell_occlusion")


def test_the_order_of_rows_changes_nothing() -> None:
    """Shuffled scores and images give the same draws."""
    rows = score_rows(TABLE, planted(a=0.4))
    skills = skill_scores.measure_skills(rows, TABLE, {"m": UP}, SCALE, make_protocol())
    mixed = rows.sample(frac=1, random_state=0), TABLE.sample(frac=1, random_state=1)
    expected = skill_scores.measure_skills(*mixed, {"m": UP}, SCALE, make_protocol())
    assert np.allclose(skills.macro, expected.macro, atol=1e-12)
    assert skills.explainers == expected.explainers


def test_a_unit_runs_from_the_zero_to_the_reference_or_to_a_perfect_map() -> None:
    """Without a score of either, or with a reference that is the worse one, there is none."""
    means = {
        (name, metric): Estimate(mean=mean, low=None, high=None, n=9)
        for (name, metric), mean in {
            ("random", "nsrg"): 0.1, ("oracle", "nsrg"): 0.6, ("oracle", "gini"): None, ("random", "gini"): 0.3,
            ("random", "avg_sensitivity"): 0.8, ("oracle", "avg_sensitivity"): 0.5,
        }.items()
    }  # fmt: skip
    assert skill_scores.skill_unit(means, "nsrg", UP, SCALE) == pytest.approx((0.1, 0.5))
    assert skill_scores.skill_unit(means, "nsrg", DOWN, SCALE) is None
    assert skill_scores.skill_unit(means, "gini", UP, SCALE) is None
    assert skill_scores.skill_unit(means, "aopc", UP, SCALE) is None
    assert skill_scores.skill_unit(means, "avg_sensitivity", PERFECT, SCALE) == pytest.approx((0.8, -0.8))
    assert skill_scores.skill_unit(means, "avg_sensitivity", DOWN, SCALE) == pytest.approx((0.8, -0.3))
