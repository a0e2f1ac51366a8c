"""Means per group and over groups: what weighs how much, what is shown, what is missing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mavis.analysis.groups import (
    BootstrapSettings,
    ScoreSummary,
    bootstrap_stratum_means,
    macro_draws,
    macro_means,
    pivot_scores,
    summarise_scores,
)
from mavis.analysis.statistics import bootstrap
from mavis.core.errors import BadParameter

from ..tables import BOOTSTRAP, make_images, score_rows, values_with_mean

PAIR = ("saliency", "nsrg")
BOTH = BootstrapSettings(
    attributes=("race", "gender", "race*gender"), min_report=10, n_bootstrap=100, confidence=0.95, seed=7
)


def one(summary: ScoreSummary, attribute: str, group: str) -> object:
    """The only column's value of one group."""
    return next(g for g in summary.groups[0] if (g.attribute, g.group) == (attribute, group))


def test_macro_mean_weighs_groups_and_natural_mean_images() -> None:
    """With 90 images at 1 and 10 at 0 the macro mean is one half, the natural mean nine tenths."""
    table = make_images({"alder": 90, "birch": 10})
    summary = summarise_scores(score_rows(table, {PAIR: (table["race"] == "alder").astype(float)}), table, BOOTSTRAP)
    assert summary.columns == (PAIR,)
    assert summary.macro[0].mean == pytest.approx(0.5)
    assert summary.weighted[0] == pytest.approx(0.9)
    assert summary.macro[0].n == 100


def test_interval_of_the_macro_mean_is_the_textbook_one() -> None:
    """Its half-width is 1.96 times the root of the mean squared standard error over the number of groups."""
    table = make_images({"alder": 200, "birch": 50})
    column = values_with_mean(table, 0.5, seed=1)
    summary = summarise_scores(
        score_rows(table, {PAIR: column}), table, BootstrapSettings(("race",), 10, 4000, 0.95, 0)
    ).macro[0]
    errors = [column[table["race"] == race].std() / np.sqrt(n) for race, n in (("alder", 200), ("birch", 50))]
    assert (summary.high - summary.low) / 2 == pytest.approx(1.96 * np.hypot(*errors) / 2, rel=0.05)


def test_intersections_are_named_by_both_parts() -> None:
    """Attributes and intersections each list their groups."""
    table = make_images({"alder": 20, "birch": 20})
    summary = summarise_scores(score_rows(table, {PAIR: values_with_mean(table, 0.5, seed=1)}), table, BOTH)
    assert [(g.attribute, g.group, g.estimate.n) for g in summary.groups[0]] == [
        ("race", "alder", 20),
        ("race", "birch", 20),
        ("gender", "form_a", 20),
        ("gender", "form_b", 20),
        *(("race*gender", f"{race}*{form}", 10) for race in ("alder", "birch") for form in ("form_a", "form_b")),
    ]


def test_small_groups_are_suppressed_but_counted() -> None:
    """Below the minimum a group shows its n, no mean and no interval, and still weighs in the macro mean."""
    table = make_images({"alder": 10, "birch": 9})
    summary = summarise_scores(score_rows(table, {PAIR: (table["race"] == "birch").astype(float)}), table, BOOTSTRAP)
    small, large = one(summary, "race", "birch"), one(summary, "race", "alder")
    assert (small.suppressed, small.estimate.mean, small.estimate.low, small.estimate.n) == (True, None, None, 9)
    assert (large.suppressed, large.estimate.mean) == (False, 0.0)
    assert summary.macro[0].mean == pytest.approx(0.5)


def test_missing_values_are_counted_where_they_are_missing() -> None:
    """Undefined and failed scores are told apart, per group."""
    table = make_images({"alder": 30, "birch": 30})
    rows = score_rows(table, {PAIR: values_with_mean(table, 0.5, seed=1)})
    rows.loc[rows["image"].isin(["alder/000", "alder/001"]), ["value", "status"]] = [np.nan, "undefined"]
    rows.loc[rows["image"] == "birch/000", ["value", "status"]] = [np.nan, "error"]
    summary = summarise_scores(rows, table, BOTH)
    assert [(g.undefined, g.failed, g.estimate.n) for g in summary.groups[0][:4]] == [
        (2, 0, 28),
        (0, 1, 29),
        (1, 1, 28),
        (1, 0, 29),
    ]
    assert summary.macro[0].n == 57


def test_a_metric_on_a_few_images_has_its_own_n() -> None:
    """Where rows are absent nothing is undefined, and the other columns keep all their images."""
    table = make_images({"alder": 30, "birch": 30})
    few = (
        score_rows(table, {("saliency", "mprt"): values_with_mean(table, 0.2, seed=1)})
        .groupby(table["race"].to_numpy())
        .head(4)
    )
    summary = summarise_scores(
        pd.concat([score_rows(table, {PAIR: values_with_mean(table, 0.5, seed=2)}), few]), table, BOOTSTRAP
    )
    counts = {
        pair: (m.n, g[0].estimate.n, g[0].undefined)
        for pair, m, g in zip(summary.columns, summary.macro, summary.groups, strict=True)
    }
    assert counts == {("saliency", "mprt"): (8, 4, 0), PAIR: (60, 30, 0)}
    assert summary.macro[summary.columns.index(("saliency", "mprt"))].mean is not None


def test_a_column_without_any_value_is_null() -> None:
    """No value is no number: not 0 and not NaN."""
    table = make_images({"alder": 20})
    summary = summarise_scores(score_rows(table, {PAIR: np.full(20, np.nan)}), table, BOOTSTRAP)
    assert (summary.macro[0].mean, summary.macro[0].low, summary.macro[0].n, summary.weighted[0]) == (
        None,
        None,
        0,
        None,
    )


def test_a_group_without_a_value_is_left_out_of_the_macro_mean() -> None:
    """The mean is that of the groups that have one, in every draw too."""
    table = make_images({"alder": 20, "birch": 20})
    column = np.where(table["race"] == "alder", 0.25, np.nan)[:, None]
    assert macro_means(column, table["race"].tolist()).tolist() == [0.25]
    assert np.allclose(macro_draws(column, table["race"].tolist(), BOOTSTRAP), 0.25)


def test_the_order_of_rows_changes_nothing() -> None:
    """Neither the order in which blocks were finished nor that of the images moves a number."""
    table = make_images()
    rows = score_rows(table, {(e, "nsrg"): values_with_mean(table, 0.5, seed=k) for k, e in enumerate("ab")})
    before = summarise_scores(rows, table, BOOTSTRAP)
    after = summarise_scores(rows.sample(frac=1, random_state=0), table.sample(frac=1, random_state=1), BOOTSTRAP)
    assert (before.macro, before.groups, before.columns) == (after.macro, after.groups, after.columns)
    assert np.array_equal(before.draws, after.draws)


def test_wide_has_a_row_per_image_in_the_order_given() -> None:
    """Images without any score are rows of NaN."""
    table = make_images({"alder": 3})
    rows = score_rows(table.iloc[:2], {PAIR: [1.0, 2.0]})
    assert pivot_scores(rows, table.iloc[::-1])[PAIR].tolist() == pytest.approx([np.nan, 2.0, 1.0], nan_ok=True)


def test_the_natural_mean_is_that_of_the_data_set() -> None:
    """Ten of ninety images at 1 and ten of ten at 0 were sampled: the data set's mean is .9; the macro mean stays."""
    table = make_images({"alder": 10, "birch": 10})
    table["weight"] = table["race"].map({"alder": 9.0, "birch": 1.0})
    column = (table["race"] == "alder").to_numpy(dtype=float)
    assert summarise_scores(score_rows(table, {PAIR: column}), table, BOOTSTRAP).weighted[0] == pytest.approx(0.9)
    column[0] = np.nan
    summary = summarise_scores(score_rows(table, {PAIR: column}), table, BOOTSTRAP)
    assert summary.weighted[0] == pytest.approx(81 / 91)
    assert summary.macro[0].mean == pytest.approx(0.5)


def test_people_are_drawn_together() -> None:
    """Four equal images a person: the interval of the mean is that of the people, twice as wide as of images."""
    table = make_images({"alder": 200, "birch": 200})
    column = np.repeat(np.random.default_rng(0).normal(0.5, 0.1, 100), 4)
    rules = replace(BOOTSTRAP, n_bootstrap=2000)
    people = tuple(f"p{k // 4}" for k in range(400))
    widths = []
    for settings in (rules, replace(rules, identities=people)):
        estimate = summarise_scores(score_rows(table, {PAIR: column}), table, settings).macro[0]
        widths.append(estimate.high - estimate.low)
    assert widths[1] / widths[0] == pytest.approx(2, rel=0.1)


def test_without_people_draws_are_those_of_single_images() -> None:
    """Nothing changes where nobody is known."""
    table = make_images({"alder": 20, "birch": 30})
    column = values_with_mean(table, 0.5, seed=1)[:, None]
    strata = table["race"].tolist()
    plain = bootstrap.bootstrap_means(column, strata, BOOTSTRAP.n_bootstrap, BOOTSTRAP.seed)
    for name, draws in bootstrap_stratum_means(column, strata, BOOTSTRAP).items():
        np.testing.assert_array_equal(draws, plain[name])


def test_people_of_other_images_are_refused() -> None:
    """Rules that name as many people as another table has images; those of some images are asked for."""
    rules = replace(BOOTSTRAP, identities=("p", "q", "q"))
    assert rules.for_images(np.array([True, False, True])).identities == ("p", "q")
    assert BOOTSTRAP.for_images(np.array([True])).identities is None
    with pytest.raises(BadParameter, match="people on 3 images, got 2"):
        macro_draws(np.zeros((2, 1)), ["a", "b"], rules)


def test_missing_values_of_people_are_left_out_of_each_draw() -> None:
    """The mean of a draw is that of the values it has, and NaN where it has none."""
    rules = replace(BOOTSTRAP, identities=("p", "p", "q", "q"))
    draws = bootstrap_stratum_means(np.array([[1.0], [np.nan], [3.0], [3.0]]), ["a"] * 4, rules)["a"][:, 0]
    assert set(np.round(draws, 9)) == {1.0, 3.0, round(7 / 3, 9)}
    lone = bootstrap_stratum_means(np.array([[np.nan], [np.nan], [3.0], [3.0]]), ["a"] * 4, rules)["a"][:, 0]
    assert np.isnan(lone).any()
    assert np.nanmax(np.abs(lone - 3)) == 0


def test_means_of_intersections_are_shrunken() -> None:
    """Four cells of equal true mean lie closer together than observed; a cell below the minimum has none."""
    table = make_images({"alder": 40, "birch": 24, "cedar": 18})
    column = np.random.default_rng(2).normal(0.5, 0.2, len(table))
    groups = summarise_scores(score_rows(table, {PAIR: column}), table, BOTH).groups[0]
    cells = [g for g in groups if g.attribute == "race*gender"]
    shown = [g for g in cells if not g.suppressed]
    assert [g.partial_pooled_mean for g in cells if g.suppressed] == [None, None]
    observed, shrunken = ([getattr(g, name) for g in shown] for name in ("estimate", "partial_pooled_mean"))
    assert len(shown) == 4
    assert np.std(shrunken) < 0.7 * np.std([estimate.mean for estimate in observed])
    assert {g.partial_pooled_mean for g in groups if "*" not in g.attribute} == {None}


def test_cells_without_noise_keep_their_means() -> None:
    """Where every image of a cell scores alike there is nothing to shrink; no division by nought."""
    table = make_images({"alder": 40, "birch": 40})
    column = table["race"].map({"alder": 0.2, "birch": 0.6}).to_numpy()
    groups = summarise_scores(score_rows(table, {PAIR: column}), table, BOTH).groups[0]
    cells = [g for g in groups if g.attribute == "race*gender"]
    assert [g.partial_pooled_mean for g in cells] == pytest.approx([g.estimate.mean for g in cells])


def test_images_without_a_group_are_in_none() -> None:
    """They count in the macro mean, which is over another attribute, and bear no name; no other group moves."""
    table = make_images({"alder": 20, "birch": 20})
    scores = score_rows(table, {PAIR: values_with_mean(table, 0.5, seed=1)})
    holed = table.assign(gender=table["gender"].where(table["gender"] != "form_b"))
    whole, partial = summarise_scores(scores, table, BOTH), summarise_scores(scores, holed, BOTH)
    shown = {(g.attribute, g.group): g.estimate for g in whole.groups[0]}
    left = {(g.attribute, g.group): g.estimate for g in partial.groups[0]}
    lost = {"form_b", "alder*form_b", "birch*form_b"}
    assert {group for _, group in set(shown) - set(left)} == lost
    assert all(left[key] == shown[key] for key in left)
    assert partial.macro == whole.macro
