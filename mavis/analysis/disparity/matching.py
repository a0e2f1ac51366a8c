"""Covariate matching: strata in which images are compared, and covariates that are held equal. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mavis.analysis.disparity import estimators
from mavis.analysis.statistics.bootstrap import Floats
from mavis.core.group_attributes import OWN_COLUMNS
from mavis.protocol.schema import DisparityRules

PREDICTED = "predicted"
SQUARED_COVARIATE = "probability"
MIN_LABEL_OVERLAP = 0.1
"""Smallest overlap of two groups' distributions of labels, [0,1], at which the predicted class is held equal."""


@dataclass(frozen=True)
class Matching:
    """Covariates that are held equal between the groups of one attribute.

    Attributes:
        exact: columns in which matched images are equal.
        quantiles: columns in which they fall into the same quantile bin, with the number of bins.
        adjust: columns that the adjusted gap holds equal, beside the predicted class if `holds_prediction`.
        holds_prediction: true if the predicted class is held equal too.
        prediction_separates: true if it is left out because it separates the groups.
        missing_matching: columns that the protocol matches in and that are incomplete in the table.
        missing_covariates: columns that the protocol adjusts for and that are incomplete in the table.
    """

    exact: tuple[str, ...]
    quantiles: dict[str, int]
    adjust: tuple[str, ...]
    holds_prediction: bool
    prediction_separates: bool
    missing_matching: tuple[str, ...]
    missing_covariates: tuple[str, ...]

    def strata(self, table: pd.DataFrame) -> NDArray[np.intp]:
        """Stratum of each row, ``(n,)``."""
        return estimators.assign_strata(table, exact=self.exact, coarsened=self.quantiles)

    def covariates(self, table: pd.DataFrame) -> Floats:
        """Covariates of the adjusted gap, ``(n,p)``."""
        numeric = [name for name in self.adjust if pd.api.types.is_numeric_dtype(table[name])]
        names = [name for name in self.adjust if name not in numeric]
        squared = [name for name in numeric if name == SQUARED_COVARIATE]
        predicted = [PREDICTED] if self.holds_prediction else []
        return estimators.covariate_matrix(table, numeric=numeric, squared=squared, categorical=[*names, *predicted])

    def person_table(self, table: pd.DataFrame, unit: NDArray[np.intp]) -> pd.DataFrame:
        """One row per unit of images: the most common value of exact columns, the mean of binned columns."""
        rows = table.groupby(unit)
        modes = {name: rows[name].agg(lambda column: column.mode().iloc[0]) for name in self.exact}
        means = {name: rows[name].mean() for name in self.quantiles}
        return pd.DataFrame({**modes, **means}, index=pd.Index(np.unique(unit)))


def choose_matching(table: pd.DataFrame, groups: Sequence[str], attribute: str, rules: DisparityRules) -> Matching:
    """Chooses the covariates that can be held equal between groups.

    The predicted class is left out, from the strata and from the covariates, if two groups hardly share a label: a
    correct prediction then determines the group, and no images would be left to compare (ADR 20).

    Args:
        table: one row per image with a score: ``label, predicted`` and the columns that the rules name.
        groups: group of each image.
        attribute: attribute of the groups; its own columns are never held equal.
        rules: covariates of the protocol.
    """
    separates = _labels_separate_groups(table, groups)
    columns = set(attribute.split("*")) - set(OWN_COLUMNS)  # an attribute called brightness is not the brightness
    excluded = {*columns, *([PREDICTED] if separates else [])}
    named = {PREDICTED, *rules.exact, *rules.quantiles, *rules.adjust}
    complete = {name for name in named.intersection(table.columns) if table[name].notna().all()}
    matched = [name for name in (*rules.exact, *rules.quantiles) if name not in excluded]
    adjusted = [name for name in rules.adjust if name not in excluded]
    return Matching(
        exact=tuple(name for name in rules.exact if name in complete - excluded),
        quantiles={name: bins for name, bins in rules.quantiles.items() if name in complete - excluded},
        adjust=tuple(name for name in adjusted if name in complete),
        holds_prediction=PREDICTED in complete - excluded,
        prediction_separates=separates,
        missing_matching=tuple(name for name in matched if name not in complete),
        missing_covariates=tuple(name for name in adjusted if name not in complete),
    )


def with_correct(images: pd.DataFrame) -> pd.DataFrame:
    """Adds the column ``correct``, which older runs did not store."""
    if "correct" in images or not {"label", PREDICTED} <= set(images.columns):
        return images
    return images.assign(correct=(images["label"] == images[PREDICTED]).astype(int))


def _labels_separate_groups(table: pd.DataFrame, groups: Sequence[str]) -> bool:
    """True if some two groups hardly share a label."""
    if "label" not in table:
        return False
    label_codes, labels = pd.factorize(table["label"])
    is_known = label_codes >= 0
    group_names, group_codes = np.unique(np.asarray(groups, dtype=str)[is_known], return_inverse=True)
    cells = group_codes * len(labels) + label_codes[is_known]
    counts = np.bincount(cells, minlength=len(group_names) * len(labels)).reshape(len(group_names), len(labels))
    shares = counts / counts.sum(axis=1, keepdims=True)
    overlap = np.minimum(shares[:, None], shares[None]).sum(axis=2)
    return bool(overlap.min() < MIN_LABEL_OVERLAP)
