"""Tables of plain text, cell by cell."""

import pytest

from mavis.analysis.findings import Estimate, GroupValue
from mavis.report import numbers, text_tables

BLANK = Estimate(mean=None, low=None, high=None, n=0)


@pytest.fixture
def model(findings):
    """The model with a recommendation."""
    return findings.models[0]


def _row(table, name: str) -> tuple[str, ...]:
    return next(row for row in table.rows if row[0] == name)


def test_every_table_is_rectangular(findings):
    """A cell for every header, in every table of every model."""
    for model in findings.models:
        tables = text_tables.model_tables(findings, model)
        assert tables
        for table in tables:
            assert {len(row) for row in table.rows} == {len(table.header)}, table.caption
            assert table.text_columns <= set(range(len(table.header)))
            assert model.model in table.caption


def test_overall_scores_stand_by_rank_with_their_weights(model):
    """Star, rank with interval, gates, overall score, categories by weight, and the dominator."""
    table = text_tables.skill_table(model)
    assert "(normalised score: 0 = random, 1 = oracle or a perfect map)" in table.caption
    assert table.header[:5] == ("explainer", "rank", "gates", "overall", "faithfulness (.588)")
    assert _row(table, "★ grad_cam") == (
        "★ grad_cam", "2 [1, 3]", "? G3", ".830 [.790, .860]", ".800 [.600, 1.100]", ".900 [.600, 1.100]",
        "1.000 [.600, 1.100]", ".517", "integrated_gradients",
    )  # fmt: skip
    assert _row(table, "cell_occlusion (reference)")[3] == numbers.DASH
    bare = [entry.model_copy(update={"categories": {}}) for entry in model.explainers]
    assert text_tables.skill_table(model.model_copy(update={"explainers": tuple(bare)})) is None


def test_skills_per_metric_and_group_have_dashes_for_missing_groups(findings, model):
    """Maple has no skill."""
    table = text_tables.metric_skill_table(findings, model)
    row = next(row for row in table.rows if row[:2] == ("grad_cam", "single_deletion"))
    assert row[2:5] == ("faithfulness", ".800 [.600, 1.100]", "716")
    assert row[5 + list(findings.data.groups["race"]).index("maple")] == numbers.DASH


def test_alternative_aggregations_stand_beside_the_shares_of_draws(model):
    """One row per compared method; none without numbers."""
    table = text_tables.cross_check_table(model)
    assert _row(table, "grad_cam") == ("grad_cam", ".367", ".583", "1.750", ".279")
    assert text_tables.imputer_leader_table(model).rows[1] == ("nsrg@blur", "grad_cam, integrated_gradients")
    plain = model.recommendation.model_copy(update={"cross_checks": None})
    without = model.model_copy(update={"recommendation": plain})
    assert text_tables.cross_check_table(without) is None
    assert text_tables.imputer_leader_table(without) is None


def test_gaps_have_their_verdict_and_their_sentence(findings, model):
    """Range and null, and the statement in the last column."""
    table = text_tables.gap_table(findings, model, "nsrg")
    gap = model.explainers[1].metrics[0].gaps[0]
    row = next(row for row in table.rows if row[:2] == ("grad_cam", "race"))
    assert row[2:4] == (numbers.format_estimate(gap.range), numbers.format_number(gap.null_mean))
    assert row[-2] == "found"
    assert row[-1].startswith(f"nsrg, as a normalised score, is lower for images labelled {gap.worst_group} than")
    assert text_tables.gap_table(findings, model, "forwards_not_run") is None


def test_pairs_are_first_minus_second(model):
    """The second pair has no matched images: a dash, share 0, no p."""
    table = text_tables.pair_table(model, "nsrg", "race", model.explainers[:1])
    pair = model.explainers[0].metrics[0].gaps[0].pairs[1]
    assert table.rows[1] == (
        "integrated_gradients", "alder − cedar", numbers.format_estimate(pair.raw), numbers.DASH,
        numbers.format_estimate(pair.adjusted), "0", numbers.DASH, "no",
    )  # fmt: skip
    assert text_tables.pair_table(model, "srg", "race", model.explainers[:1]) is None


def test_suppressed_groups_name_the_minimum():
    """A dash where the metric was not run, ``n<30`` below the minimum, else the mean."""
    value = GroupValue(
        attribute="race",
        group="elm",
        estimate=BLANK.model_copy(update={"n": 21}),
        undefined=0,
        failed=0,
        suppressed=True,
    )
    shown = value.model_copy(update={"suppressed": False, "estimate": Estimate(mean=0.5, low=0.4, high=0.6, n=50)})
    texts = [
        text_tables.group_value_text(group, numbers.format_estimate, min_images=30) for group in (None, value, shown)
    ]
    assert texts == [numbers.DASH, "n<30", ".500 [.400, .600]"]


def test_model_checks_have_tables_where_they_were_made(findings, model):
    """Reliance by size, recall per class, imputers with their lowest and highest group, agreement by correlation."""
    assert [row[0] for row in text_tables.reliance_table(model).rows] == ["eyes", "mouth <b>", "brows"]
    assert text_tables.recall_table(model).rows[0] == ("alder", "60", "120", ".500 [.401, .677]")
    first, second = text_tables.reliability_table(findings, model).rows
    assert first[:4] == ("mean", "10%", ".900 [.850, .930]", ".900 (alder) to .900 (rowan)")
    assert second[3:] == (numbers.DASH, "", "race, race × gender")
    assert [row[0] for row in text_tables.agreement_table(findings, model).rows] == [
        "rise, input_x_gradient",
        "grad_cam, rise",
    ]
    bare = model.model_copy(
        update={
            "validity": model.validity.model_copy(update={"reliance": (), "recall": ()}),
            "reliability": (),
            "agreement": (),
        }
    )
    tables = (
        text_tables.reliance_table(bare),
        text_tables.recall_table(bare),
        text_tables.reliability_table(findings, bare),
        text_tables.agreement_table(findings, bare),
    )
    assert tables == (None,) * 4


def test_models_as_blocks_and_the_cue_have_tables(findings):
    """Mean ranks from the best; one row per explainer and pair of models."""
    assert text_tables.mean_rank_table(findings).rows[0] == ("integrated_gradients", "1.083")
    cue = text_tables.cue_detection_table(findings)
    assert cue.rows[0][1:] == ("faces-biased", "faces-balanced", ".800 [.750, .850]", ".900 [.850, .950]", "200")
    single = findings.model_copy(update={"twins": (), "across_models": None})
    assert (text_tables.mean_rank_table(single), text_tables.cue_detection_table(single)) == (None, None)
