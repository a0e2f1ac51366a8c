"""Cross-checks in words: leaders under alternative aggregations, and methods compared over models."""

from collections.abc import Mapping

from mavis.analysis.findings import AcrossModels, CrossChecks
from mavis.report import numbers
from mavis.report.wording.phrases import abbreviate

MAX_LEADERS = 3
"""Methods named beside a cross-check."""


def cross_check_phrases(checks: CrossChecks) -> list[str]:
    """A phrase for every alternative aggregation; what was not computed is left out."""
    phrases = []
    if checks.borda:
        phrases.append(f"Borda {top_text(checks.borda, 1)}")
    if checks.mean_rank:
        phrases.append(f"mean rank {top_text({name: -rank for name, rank in checks.mean_rank.items()}, 1, sign=-1)}")
    if checks.smaa:
        phrases.append(f"random weights {top_text(checks.smaa)}")
    if checks.concordance is not None:
        phrases.append(concordance_text(checks))
    phrases += [
        f"{imputer}: {abbreviate(names, MAX_LEADERS) or numbers.DASH}" for imputer, names in checks.leaders.items()
    ]
    return phrases


def concordance_text(checks: CrossChecks) -> str:
    """Kendall's W of the metrics that decide, with its upper end and the same within the primary one's category."""
    parts = [f"concordance of the metrics W = {numbers.format_number(checks.concordance)}"]
    if checks.concordance_upper is not None:
        parts.append(f"at most {numbers.format_number(checks.concordance_upper)}")
    if checks.concordance_within is not None:
        parts.append(f"within the primary metric's category {numbers.format_number(checks.concordance_within)}")
    return ", ".join(parts)


def top_text(values: Mapping[str, float], n_shown: int = MAX_LEADERS, *, sign: int = 1) -> str:
    """The methods with the highest values, without those at zero.

    Args:
        values: per method.
        n_shown: how many methods.
        sign: -1 where the values were negated to sort them.
    """
    best = sorted(values.items(), key=lambda item: -item[1])[:n_shown]
    return ", ".join(f"{name} {numbers.format_number(sign * value)}" for name, value in best if value)


def across_models_lines(across_models: AcrossModels) -> list[str]:
    """Friedman's test over the models, and the Bayesian comparison of the first two."""
    best = sorted(across_models.mean_ranks.items(), key=lambda item: item[1])
    ranks = ", ".join(f"{name} {numbers.format_number(rank)}" for name, rank in best[:MAX_LEADERS])
    difference = numbers.format_number(across_models.critical_difference)
    p_value = numbers.format_number(across_models.friedman_p)
    lines = [
        f"mean ranks over {across_models.blocks} models: {ranks}",
        f"Friedman p {p_value}; mean ranks closer than {difference} do not differ significantly (Nemenyi)",
    ]
    if across_models.leader_vs_next:
        shares = ", ".join(
            f"{region} {numbers.format_number(share)}" for region, share in across_models.leader_vs_next.items()
        )
        lines.append(f"leader against the next, share below, within and above the ROPE: {shares}")
    return lines
