"""The answer in words."""

from mavis.report import wording


def test_headline_says_provisional_only_with_a_recommendation(findings):
    """A recommendation with a gate that could not be assessed is provisional; a refusal has no such standing."""
    tied, refused = (model.recommendation for model in findings.models)
    assert wording.recommendation_headline(tied) == "★ Recommended set, no single best, provisionally"
    assert (
        wording.recommendation_headline(tied.model_copy(update={"provisional": False}))
        == "★ Recommended set, no single best"
    )
    assert wording.recommendation_headline(refused.model_copy(update={"provisional": True})) == "✗ No recommendation"


def test_cross_checks_name_leaders(findings):
    """Borda's highest, the lowest mean rank, random weights, concordance and the leaders per imputer, a phrase each."""
    assert wording.cross_check_phrases(findings.models[0].recommendation.cross_checks) == [
        "Borda integrated_gradients .917",
        "mean rank integrated_gradients 1.250",
        "random weights integrated_gradients .721, grad_cam .279",
        "concordance of the metrics W = .712, at most .851, within the primary metric's category .934",
        "nsrg@mean: integrated_gradients",
        "nsrg@blur: grad_cam, integrated_gradients",
        "nsrg: –",
    ]


def test_nothing_beside_what_was_not_computed(findings):
    """Empty weights and empty cross-checks leave no line."""
    assert [head for head, _ in wording.supporting_lines(findings.models[1].recommendation)] == [
        "share of bootstrap draws in which a method leads"
    ]
