"""Phrases: names joined to lists, and names spelt out."""

from collections.abc import Sequence

METRIC_NAMES = {"nsrg": "normalised symmetric relevance gain"}
"""Names of metrics that are spelt out where a report first mentions them."""


def metric_title(metric: str) -> str:
    """``nsrg (normalised symmetric relevance gain)``; other metrics as they are."""
    return f"{metric} ({METRIC_NAMES[metric]})" if metric in METRIC_NAMES else metric


def abbreviate(names: Sequence[str], max_names: int) -> str:
    """The first names, and how many more.

    Args:
        names: to be listed.
        max_names: how many at most.
    """
    more = f" and {len(names) - max_names} more" if len(names) > max_names else ""
    return ", ".join(names[:max_names]) + more


def names_or_count(names: Sequence[str], kind: str, max_names: int) -> str:
    """``saliency, gradcam``, or ``4 explainers`` where they are many.

    Args:
        names: to be listed.
        kind: plural of what they name.
        max_names: how many are listed at most.
    """
    return ", ".join(names) if len(names) <= max_names else f"{len(names)} {kind}"


def join_and(names: Sequence[str]) -> str:
    """``a, b and c``; empty without names."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def count_noun(n: int, noun: str) -> str:
    """``1 near duplicate``, ``3 near duplicates``."""
    return f"{n} {noun}{'' if n == 1 else 's'}"
