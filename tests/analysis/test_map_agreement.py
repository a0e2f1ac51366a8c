"""Means of agreement are macro means, overall and per group."""

import numpy as np
import pandas as pd
import pytest

from mavis.analysis.groups import BootstrapSettings
from mavis.analysis.map_agreement import MEASURES, summarise_agreement

RULES = BootstrapSettings(attributes=("race", "gender"), min_report=2, n_bootstrap=100, confidence=0.95, seed=0)


def test_means_are_macro_and_groups_below_the_minimum_are_left_out() -> None:
    """Three images of one group and one of another count half and half; the single image is no group of its own."""
    images = pd.DataFrame({"race": ["x", "x", "x", "y"], "gender": ["f", "f", "m", "m"]}, index=list("abcd"))
    rows = [
        {"image": image, "first": "p", "second": "q", "measure": measure, "value": value}
        for image, value in zip("abcd", (0.2, 0.4, 0.6, 1.0), strict=True)
        for measure in MEASURES
    ]
    table = pd.DataFrame([*rows, {**rows[0], "image": "c", "value": np.nan}])
    (agreement,) = summarise_agreement(table, images, RULES)
    assert (agreement.first, agreement.second, agreement.n) == ("p", "q", 4)
    assert agreement.measures == pytest.approx(dict.fromkeys(MEASURES, 0.7))
    assert {a: sorted(groups) for a, groups in agreement.groups.items()} == {"race": ["x"], "gender": ["f", "m"]}
    assert agreement.groups["gender"]["m"]["rank"] == pytest.approx(0.8)
    assert summarise_agreement(table.iloc[:0], images, RULES) == ()
