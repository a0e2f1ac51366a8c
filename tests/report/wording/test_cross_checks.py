"""Cross-checks in words."""

from mavis.report.wording import cross_checks


def test_cross_checks_name_leaders(findings):
    """Borda's highest, the lowest mean rank, random weights, concordance and the leaders per imputer, a phrase each."""
    assert cross_checks.cross_check_phrases(findings.models[0].recommendation.cross_checks) == [
        "Borda integrated_gradients .917",
        "mean rank integrated_gradients 1.250",
        "random weights integrated_gradients .721, grad_cam .279",
        "concordance of the metrics W = .712, at most .851, within the primary metric's category .934",
        "nsrg@mean: integrated_gradients",
        "nsrg@blur: grad_cam, integrated_gradients",
        "nsrg: –",
    ]


def test_models_as_blocks_have_their_tests(findings):
    """Mean ranks from the best, Friedman with Nemenyi's difference, and the leader against the next."""
    assert cross_checks.across_models_lines(findings.across_models) == [
        "mean ranks over 6 models: integrated_gradients 1.083, grad_cam 1.917, input_x_gradient 3.000",
        "Friedman p .012; mean ranks closer than 1.354 do not differ significantly (Nemenyi)",
        "leader against the next, share below, within and above the ROPE: below .031, within .157, above .812",
    ]
