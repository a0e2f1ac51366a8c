"""The findings as CSV."""

import io

import pandas as pd

from mavis.report import wording
from mavis.report.export import csv_files


def _read(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""])


def test_csv_holds_every_number(hostile):
    """Every mean of every group is in the CSV, unrounded, whatever the groups are called."""
    table = pd.read_csv(io.StringIO(csv_files.scores_csv(hostile)), keep_default_na=False, na_values=[""])
    assert tuple(table.columns) == csv_files.SCORE_COLUMNS
    keys = ["model", "explainer", "metric", "attribute", "group"]
    found = table.fillna({"attribute": "", "group": "", "metric": ""}).set_index(keys)
    expected = 0
    for model in hostile.models:
        for entry in model.explainers:
            for one in entry.metrics:
                places = [("", "", one.estimate, None)]
                places += [(v.attribute, v.group, v.estimate, v.partial_pooled_mean) for v in one.groups]
                for attribute, group, estimate, shrunken in places:
                    row = found.loc[(model.model, entry.explainer, one.metric, attribute, group)]
                    assert row["n"] == estimate.n
                    assert (None if pd.isna(row["mean"]) else row["mean"]) == estimate.mean
                    assert (None if pd.isna(row["partial_pooled_mean"]) else row["partial_pooled_mean"]) == shrunken
                    assert pd.isna(row["missing"]) == (estimate.mean is not None)
                    expected += 1
            expected += not entry.metrics
    assert len(table) == expected


def test_skills_hold_every_level(hostile):
    """Overall, categories, metrics and groups stand in skills.csv, unrounded, with the rank and its interval."""
    table = _read(csv_files.skills_csv(hostile))
    assert tuple(table.columns) == csv_files.SKILL_COLUMNS
    model = hostile.models[0]
    for entry in model.explainers:
        mine = table[(table["model"] == model.model) & (table["explainer"] == entry.explainer)]
        found = mine.set_index(["aggregation_level", "name", "group"])["mean"].to_dict()
        found = {tuple("" if part != part else part for part in key): value for key, value in found.items()}
        expected = {("overall", "overall", ""): entry.overall.mean} if entry.overall else {}
        expected |= {("category", name, ""): one.mean for name, one in entry.categories.items()}
        expected |= {("metric", one.metric, ""): one.skill.mean for one in entry.skills}
        expected |= {("group", one.metric, g): mean for one in entry.skills for g, mean in one.groups.items()}
        assert found == expected
    first = table[table["explainer"] == "grad_cam"].iloc[0]
    assert (first["rank"], first["rank_low"], first["rank_high"]) == (2.0, 1.0, 3.0)
    assert first["dominated_by"] == "integrated_gradients"


def test_gaps_hold_every_measure(hostile):
    """Every gap of every metric stands in gaps.csv with all its measures, and which metrics decide."""
    table = _read(csv_files.gaps_csv(hostile))
    assert tuple(table.columns) == csv_files.GAP_COLUMNS
    expected = 0
    rows = table.set_index(["model", "explainer", "metric", "attribute"])
    for model in hostile.models:
        for entry in model.explainers:
            for one in entry.metrics:
                for gap in one.gaps:
                    expected += 1
                    row = rows.loc[(model.model, entry.explainer, one.metric, gap.attribute)]
                    assert row["range"] == gap.range.mean
                    assert row["worst_group"] == gap.worst_group
                    assert (row["excess"], row["null_mean"], row["p"]) == (gap.excess, gap.null_mean, gap.p)
                    assert row["shortfall_high"] == gap.shortfall.high
                    assert row["corrected_sd_n"] == gap.corrected_sd.n
                    assert row["mean_pairwise"] == gap.mean_pairwise.mean
                    assert row["n_sufficient"] == gap.n_sufficient
                    assert pd.isna(row["significant"]) == (gap.significant is None)
                    assert (
                        row["statement"] == wording.gap_sentence(gap.statement, gap.attribute) or gap.statement is None
                    )
                    assert row["decides"] == (one.metric in {s.metric for e in model.explainers for s in e.skills})
    assert len(table) == expected > 500


def test_a_measure_that_was_not_taken_is_empty(findings):
    """A gap without shortfall has an empty cell for it and for its n, not zero."""
    model = findings.models[0]
    one = model.explainers[0].metrics[0]
    gaps = (one.gaps[0].model_copy(update={"shortfall": None}),)
    entry = model.explainers[0].model_copy(update={"metrics": (one.model_copy(update={"gaps": gaps}),)})
    bare = findings.model_copy(update={"models": (model.model_copy(update={"explainers": (entry,)}),)})
    (row,) = _read(csv_files.gaps_csv(bare)).to_dict("records")
    assert pd.isna(row["shortfall"])
    assert pd.isna(row["shortfall_n"])
    assert row["range"] == gaps[0].range.mean


def test_pairs_hold_raw_matched_and_adjusted(hostile):
    """Every two groups of a metric that decides stand in pairs.csv; what was not matched is empty, not zero."""
    table = _read(csv_files.pairs_csv(hostile))
    assert tuple(table.columns) == csv_files.PAIR_COLUMNS
    found = [
        pair
        for model in hostile.models
        for entry in model.explainers
        for one in entry.metrics
        for gap in one.gaps
        for pair in gap.pairs
    ]
    assert len(table) == len(found) > 1000
    model = hostile.models[0]
    gap = model.explainers[0].metrics[0].gaps[0]
    mine = table[
        (table["model"] == model.model)
        & (table["explainer"] == "integrated_gradients")
        & (table["metric"] == "nsrg")
        & (table["attribute"] == "race")
    ]
    assert mine["first"].tolist() == [pair.first for pair in gap.pairs]
    assert mine["adjusted"].tolist() == [pair.adjusted.mean for pair in gap.pairs]
    assert mine["equivalent"].tolist() == [pair.equivalent for pair in gap.pairs]
    assert pd.isna(mine.iloc[1]["matched"])
    assert pd.isna(mine.iloc[1]["p"])
    assert mine.iloc[1]["matched_n"] == 0


def test_names_are_no_formulas(build_findings):
    """A model that a spreadsheet would run stands there as a text in every file; numbers stay numbers."""
    findings = build_findings()
    first = findings.models[0].model_copy(update={"model": "=1+1"})
    renamed = findings.model_copy(update={"models": (first, *findings.models[1:])})
    for write in (csv_files.scores_csv, csv_files.skills_csv, csv_files.gaps_csv, csv_files.pairs_csv):
        table, plain = _read(write(renamed)), _read(write(findings))
        assert "'=1+1" in set(table["model"])
        assert "=1+1" not in set(table["model"])
        pd.testing.assert_frame_equal(table.drop(columns="model"), plain.drop(columns="model"))
