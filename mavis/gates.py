"""What a method must pass before it is ranked. Pure: tables and rules in, gates out."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mavis import stats
from mavis.findings import Estimate, Gate
from mavis.groups import Rules, macro_draws, macro_means
from mavis.rules import Gates
from mavis.sampling import joined


def judge(
    explainer: str,
    values: pd.DataFrame,
    images: pd.DataFrame,
    *,
    means: Mapping[tuple[str, str], Estimate],
    rules: Rules,
    gates: Gates,
    higher_is_better: bool,
) -> tuple[Gate, ...]:
    """All gates of one method.

    Args:
        explainer: its name.
        values: one model's scores, a row per image and a column per (explainer, metric).
        images: index image id, in the order of the values; the attributes as columns.
        means: macro mean per (explainer, metric).
        rules: how means are taken.
        gates: the thresholds.
        higher_is_better: direction of the metric on which controls are to be beaten.
    """
    strata = joined(images, rules.attributes[0]).tolist()
    return (
        _valid(means.get((explainer, "valid")), gates),
        _randomisation(means.get((explainer, gates.randomisation.metric)), gates),
        _controls(explainer, values, strata, rules=rules, gates=gates, sign=1 if higher_is_better else -1),
    )


def _valid(found: Estimate | None, gates: Gates) -> Gate:
    least = gates.valid.min
    title = "maps are finite and not constant"
    if found is None or found.mean is None:
        return _unassessed("G0", title, least, "the metric 'valid' was not run")
    share = found.mean
    words = f"{share:.1%} of the maps are finite and not constant; {least:.0%} are asked for"
    return Gate(id="G0", title=title, passed=share >= least, value=share, threshold=least, reason=words)


def _randomisation(found: Estimate | None, gates: Gates) -> Gate:
    rule, title = gates.randomisation, "maps change when the model forgets"
    if found is None or found.mean is None or found.high is None:
        return _unassessed("G3", title, rule.max, f"the metric '{rule.metric}' has no values")
    passed = found.mean <= rule.max and found.high < rule.max_upper
    words = (
        f"similarity to the maps of randomised weights is {found.mean:.2f} (upper end {found.high:.2f}); "
        f"at most {rule.max:.2f} (upper end below {rule.max_upper:.2f}) is allowed"
    )
    return Gate(id="G3", title=title, passed=passed, value=found.mean, threshold=rule.max, reason=words)


def _controls(
    explainer: str, values: pd.DataFrame, strata: list[str], *, rules: Rules, gates: Gates, sign: int
) -> Gate:
    rule = gates.controls
    title = f"beats {' and '.join(rule.against)} on {rule.metric}"
    wanted = [(explainer, rule.metric), *((c, rule.metric) for c in rule.against)]
    absent = [pair[0] for pair in wanted if pair not in values.columns or values[pair].isna().all()]
    if absent:
        return _unassessed("G5", title, rule.margin, f"no {rule.metric} of {', '.join(absent)}")
    own = values[wanted[0]].to_numpy(dtype=np.float64)
    others = np.stack([values[pair].to_numpy(dtype=np.float64) for pair in wanted[1:]], axis=1)
    leads = sign * (own[:, None] - others)
    draws = macro_draws(leads, strata, rules)
    if np.isnan(draws).any():
        return _unassessed("G5", title, rule.margin, f"no image has {rule.metric} of all of them")
    one_sided = 1 - 2 * (1 - rules.confidence)
    better, bounds = stats.holm_excluded(draws, rule.margin, one_sided)
    hardest = int(np.argmin(bounds))
    lead = macro_means(leads, strata)[hardest]
    words = (
        f"{rule.metric} is better than that of {rule.against[hardest]} by {lead:+.3f}, "
        f"lower bound {bounds[hardest]:+.3f}; the bound must exceed {rule.margin:+.3f}"
    )
    value = float(bounds[hardest])
    return Gate(id="G5", title=title, passed=bool(better.all()), value=value, threshold=rule.margin, reason=words)


def _unassessed(gate: str, title: str, threshold: float, why: str) -> Gate:
    return Gate(id=gate, title=title, passed=None, value=None, threshold=threshold, reason=f"not assessed: {why}")
