"""The answer in words: headline, weights, who leads under other ways to sum up; the same in every kind of report."""

from collections.abc import Mapping

from mavis.analysis.findings import AcrossModels, CrossChecks, Recommendation
from mavis.report import layout, numbers

HEADLINES = {
    "recommended": "★ Recommended",
    "tied": "★ Recommended set, no single best",
    "refused": "✗ No recommendation",
}
CODES = "docs/decision.md"
"""Where the refusal codes are explained."""

LEADERS = 3
"""Methods named beside a cross-check."""


def headline(answer: Recommendation) -> str:
    """The status in a few words, with its provisional standing."""
    if answer.provisional and answer.status != "refused":
        return f"{HEADLINES[answer.status]}, provisionally"
    return HEADLINES[answer.status]


def weights(answer: Recommendation) -> str:
    """``faithfulness .625, robustness .250``: what the overall score is made of; empty where there is none."""
    heaviest = sorted(answer.weights.items(), key=lambda item: -item[1])
    return ", ".join(f"{layout.spelled(name)} {numbers.number(share)}" for name, share in heaviest)


def p_best(answer: Recommendation) -> str:
    """The methods that lead most often, with their share of the bootstrap draws."""
    return _first(answer.p_best)


def cross_checks(checks: CrossChecks) -> list[str]:
    """A phrase for every other way to sum up; what was not computed is left out."""
    said = []
    if checks.borda:
        said.append(f"Borda {_first(checks.borda, 1)}")
    if checks.mean_rank:
        said.append(f"mean rank {_first({name: -rank for name, rank in checks.mean_rank.items()}, 1, sign=-1)}")
    if checks.smaa:
        said.append(f"random weights {_first(checks.smaa)}")
    if checks.concordance is not None:
        said.append(concordance(checks))
    said += [f"{imputer}: {_some(names)}" for imputer, names in checks.leaders.items()]
    return said


def concordance(checks: CrossChecks) -> str:
    """Kendall's W of the metrics that decide, with its upper end and the same within the primary one's category."""
    parts = [f"concordance of the metrics W = {numbers.number(checks.concordance)}"]
    if checks.concordance_upper is not None:
        parts.append(f"at most {numbers.number(checks.concordance_upper)}")
    if checks.concordance_within is not None:
        parts.append(f"within the primary metric's category {numbers.number(checks.concordance_within)}")
    return ", ".join(parts)


def _first(values: Mapping[str, float], many: int = LEADERS, *, sign: int = 1) -> str:
    """The highest, without those at zero."""
    best = sorted(values.items(), key=lambda item: -item[1])[:many]
    return ", ".join(f"{name} {numbers.number(sign * value)}" for name, value in best if value)


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - LEADERS} more" if len(names) > LEADERS else ""
    return ", ".join(names[:LEADERS]) + more if names else numbers.DASH


def beside(answer: Recommendation) -> list[tuple[str, str]]:
    """What stands beside the decision, each with its head: weights, cross-checks, shares; only what there is."""
    checks = " · ".join(cross_checks(answer.cross_checks)) if answer.cross_checks is not None else ""
    lines = [
        ("weights", weights(answer)),
        ("other ways to sum up, leading", checks),
        ("share of bootstrap draws in which a method leads", p_best(answer)),
    ]
    return [(head, words) for head, words in lines if words]


def across(found: AcrossModels) -> list[str]:
    """Friedman's test over the models, and the Bayesian comparison of the first two."""
    best = sorted(found.mean_ranks.items(), key=lambda item: item[1])
    ranks = ", ".join(f"{name} {numbers.number(rank)}" for name, rank in best[:LEADERS])
    least = numbers.number(found.critical_difference)
    lines = [
        f"mean ranks over {found.blocks} models: {ranks}",
        f"Friedman p {numbers.number(found.friedman_p)}; mean ranks closer than {least} are not told apart (Nemenyi)",
    ]
    if found.leader_vs_next:
        shares = ", ".join(f"{where} {numbers.number(share)}" for where, share in found.leader_vs_next.items())
        lines.append(f"leader against the next, share below, within and above what matters: {shares}")
    return lines
