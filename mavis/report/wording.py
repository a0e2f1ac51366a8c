"""The answer in words: headline, weights, who leads under other ways to sum up; the same in every kind of report."""

from collections.abc import Mapping

from mavis.analysis.findings import AcrossModels, CrossChecks, Recommendation
from mavis.report import layout, numbers

HEADLINES = {
    "recommended": "★ Recommended",
    "tied": "★ Recommended set, no single best",
    "refused": "✗ No recommendation",
}
REFUSAL_CODES_DOC = "docs/decision.md"
"""Where the refusal codes are explained."""

MAX_LEADERS = 3
"""Methods named beside a cross-check."""


def recommendation_headline(recommendation: Recommendation) -> str:
    """The status in a few words, with its provisional standing."""
    if recommendation.provisional and recommendation.status != "refused":
        return f"{HEADLINES[recommendation.status]}, provisionally"
    return HEADLINES[recommendation.status]


def weights_text(recommendation: Recommendation) -> str:
    """``faithfulness .625, robustness .250``: what the overall score is made of; empty where there is none."""
    heaviest = sorted(recommendation.weights.items(), key=lambda item: -item[1])
    return ", ".join(f"{layout.category_label(name)} {numbers.format_number(share)}" for name, share in heaviest)


def p_best_text(recommendation: Recommendation) -> str:
    """The methods that lead most often, with their share of the bootstrap draws."""
    return _top_text(recommendation.prob_best)


def cross_check_phrases(checks: CrossChecks) -> list[str]:
    """A phrase for every other way to sum up; what was not computed is left out."""
    said = []
    if checks.borda:
        said.append(f"Borda {_top_text(checks.borda, 1)}")
    if checks.mean_rank:
        said.append(f"mean rank {_top_text({name: -rank for name, rank in checks.mean_rank.items()}, 1, sign=-1)}")
    if checks.smaa:
        said.append(f"random weights {_top_text(checks.smaa)}")
    if checks.concordance is not None:
        said.append(concordance_text(checks))
    said += [f"{imputer}: {_abbreviate(names)}" for imputer, names in checks.leaders.items()]
    return said


def concordance_text(checks: CrossChecks) -> str:
    """Kendall's W of the metrics that decide, with its upper end and the same within the primary one's category."""
    parts = [f"concordance of the metrics W = {numbers.format_number(checks.concordance)}"]
    if checks.concordance_upper is not None:
        parts.append(f"at most {numbers.format_number(checks.concordance_upper)}")
    if checks.concordance_within is not None:
        parts.append(f"within the primary metric's category {numbers.format_number(checks.concordance_within)}")
    return ", ".join(parts)


def _top_text(values: Mapping[str, float], n_shown: int = MAX_LEADERS, *, sign: int = 1) -> str:
    """The highest, without those at zero."""
    best = sorted(values.items(), key=lambda item: -item[1])[:n_shown]
    return ", ".join(f"{name} {numbers.format_number(sign * value)}" for name, value in best if value)


def _abbreviate(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MAX_LEADERS} more" if len(names) > MAX_LEADERS else ""
    return ", ".join(names[:MAX_LEADERS]) + more if names else numbers.DASH


def supporting_lines(recommendation: Recommendation) -> list[tuple[str, str]]:
    """What stands beside the decision, each with its head: weights, cross-checks, shares; only what there is."""
    checks = (
        " · ".join(cross_check_phrases(recommendation.cross_checks)) if recommendation.cross_checks is not None else ""
    )
    lines = [
        ("weights", weights_text(recommendation)),
        ("other ways to sum up, leading", checks),
        ("share of bootstrap draws in which a method leads", p_best_text(recommendation)),
    ]
    return [(head, words) for head, words in lines if words]


def across_models_lines(across_models: AcrossModels) -> list[str]:
    """Friedman's test over the models, and the Bayesian comparison of the first two."""
    best = sorted(across_models.mean_ranks.items(), key=lambda item: item[1])
    ranks = ", ".join(f"{name} {numbers.format_number(rank)}" for name, rank in best[:MAX_LEADERS])
    least = numbers.format_number(across_models.critical_difference)
    p_value = numbers.format_number(across_models.friedman_p)
    lines = [
        f"mean ranks over {across_models.blocks} models: {ranks}",
        f"Friedman p {p_value}; mean ranks closer than {least} are not told apart (Nemenyi)",
    ]
    if across_models.leader_vs_next:
        shares = ", ".join(
            f"{where} {numbers.format_number(share)}" for where, share in across_models.leader_vs_next.items()
        )
        lines.append(f"leader against the next, share below, within and above what matters: {shares}")
    return lines
