"""The answer in words."""

import pytest

from mavis.analysis.findings import GapToLeader, Recommendation, make_note
from mavis.report.wording import answer


@pytest.fixture
def tied(findings) -> Recommendation:
    """Two tied methods with a default."""
    return findings.models[0].recommendation


@pytest.fixture
def refused(findings) -> Recommendation:
    """Two grounds against a recommendation."""
    return findings.models[1].recommendation


@pytest.fixture
def single(tied) -> Recommendation:
    """One method, ahead of another one."""
    gap = GapToLeader(explainer="grad_cam", mean=0.2, lower_bound=0.19, is_worse=True)
    changes = {"status": "recommended", "set": ("integrated_gradients",), "pick": "integrated_gradients"}
    return tied.model_copy(
        update={**changes, "pick_reason": None, "gaps_to_leader": (gap,), "group_leads": (), "provisional": ()}
    )


def test_headline_says_provisional_only_with_a_recommendation(tied, refused):
    """A recommendation with a gate that could not be assessed is provisional; a refusal has no such standing."""
    assert answer.recommendation_headline(tied) == "★ Recommended set, no single best, provisionally"
    assert (
        answer.recommendation_headline(tied.model_copy(update={"provisional": ()}))
        == "★ Recommended set, no single best"
    )
    provisional = refused.model_copy(update={"provisional": tied.provisional})
    assert answer.recommendation_headline(provisional) == "✗ No recommendation"


def test_a_single_method_is_named_with_its_score_and_its_lead(single):
    """The scale is explained where the score is given."""
    assert answer.answer_sentence(single) == (
        "Use integrated_gradients on this model and data like these: overall score 0.44 (normalised score: 0 = random, "
        "1 = oracle or a perfect map), ahead of the other method that passed by more than 0.02."
    )
    three = single.model_copy(update={"overall": {**single.overall, "lime": single.overall["grad_cam"]}})
    assert "ahead of each of the other 2 methods that passed by more than 0.02." in answer.answer_sentence(three)
    alone = single.model_copy(
        update={"overall": {"integrated_gradients": single.overall["integrated_gradients"]}, "gaps_to_leader": ()}
    )
    assert answer.answer_sentence(alone).endswith("1 = oracle or a perfect map).")
    assert answer.answer_reasons(alone)[0] == (
        "integrated_gradients alone passed every gate, overall score 0.437 [0.408, 0.468]."
    )


def test_tied_methods_are_named_with_their_default(tied):
    """Then the groups with another leader, and what makes the answer provisional."""
    assert answer.answer_sentence(tied) == (
        "integrated_gradients and grad_cam are statistically tied: none is shown to be worse by more than 0.02 (ROPE). "
        "Overall score 0.44 and 0.42 (normalised score: 0 = random, 1 = oracle or a perfect map). Default: grad_cam "
        "(cheapest of the tied methods). On images labelled birch, grad_cam is better than integrated_gradients by "
        "0.044, at least 0.021. "
        "Provisional, since not assessed: gate G3 for integrated_gradients, grad_cam."
    )
    plain = tied.model_copy(update={"pick": None, "pick_reason": make_note("pick.none")})
    assert "Default" not in answer.answer_sentence(plain)


def test_a_refusal_is_a_sentence_and_a_name_that_it_begins_with_stays(refused):
    """A ground begins with a capital, but names are written as they are."""
    assert answer.answer_sentence(refused).startswith("The model is not shown to be better than chance on images of")
    values = {"explainer": "a", "metric": "nsrg", "groups": [{"group": "g1", "missing": 6, "n": 100}]}
    ground = refused.refusals[0].model_copy(update={"kind": "R10.missing", "values": {**values, "max_share": 0.05}})
    named = refused.model_copy(update={"refusals": (ground,)})
    assert answer.answer_sentence(named).startswith("a has no nsrg for too many images: 6 of 100 labelled g1")


def test_reasons_are_the_numbers_behind_the_set(tied):
    """The leader, the others, what the score is made of, who leads otherwise, and why the default."""
    assert answer.answer_reasons(tied) == [
        "integrated_gradients leads the 2 methods that passed every gate, overall score 0.437 [0.408, 0.468].",
        "grad_cam is statistically tied: 0.016 behind, lower bound -0.004 (ROPE 0.02).",
        (
            "Overall score of integrated_gradients: faithfulness 0.45 × 0.59 + robustness 0.40 × 0.23 + worst group "
            "0.35 × 0.06 + complexity 0.50 × 0.12."
        ),
        "Under alternative aggregations another method leads: by mean rank over the metrics input_x_gradient.",
        "grad_cam is the cheapest of the tied methods: 3 model samples an image, the next 150.",
    ]
    assert answer.answer_reasons(tied.model_copy(update={"leader": None})) == []


def test_each_kind_of_gap_has_its_words(tied, single):
    """Worse, dominated, and unknown; beyond six methods the rest is counted."""
    assert answer.answer_reasons(single)[1] == "grad_cam is worse: 0.200 behind, lower bound 0.190 (ROPE 0.02)."
    gap = tied.gaps_to_leader[0]
    dominated = gap.model_copy(update={"dominated_by": "integrated_gradients"})
    unknown = gap.model_copy(update={"mean": None, "lower_bound": None})
    many = tied.model_copy(update={"gaps_to_leader": (dominated, unknown, *[gap] * 6)})
    reasons = answer.answer_reasons(many)
    assert reasons[1] == "grad_cam is dominated by integrated_gradients: better in no category and worse in one."
    assert reasons[2] == "grad_cam is behind; by how much is not known, since no draw scores all methods."
    assert reasons[7] == "2 further methods are behind these."


@pytest.mark.parametrize(
    ("pick", "code", "sentence"),
    [
        (None, "pick.none", "No default: none of the tied methods is at least twice as cheap as the next."),
        ("lime", "pick.only_deterministic", "lime is the only tied method that gives the same map every time."),
    ],
)
def test_the_default_has_its_reason(tied, pick, code, sentence):
    """The last of the reasons; also where there is no default."""
    changed = tied.model_copy(update={"pick": pick, "pick_reason": make_note(code)})
    assert answer.answer_reasons(changed)[-1] == sentence


def test_what_was_not_assessed_begins_with_what_makes_it_provisional(tied):
    """One phrase each."""
    assert answer.not_assessed_lines(tied) == [
        "gate G3 for integrated_gradients, grad_cam",
        "relevance_mass: it is not known which parts the model relies on",
        "rise: the model has <no> batches",
    ]


def test_nothing_beside_what_was_not_computed(refused):
    """Empty weights and empty cross-checks leave no line."""
    assert [head for head, _ in answer.supporting_lines(refused)] == [
        "share of bootstrap draws in which a method leads"
    ]
