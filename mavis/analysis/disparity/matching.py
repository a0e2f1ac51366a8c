"""Which images of two groups are alike: strata to match in and covariates to hold equal. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mavis.analysis.disparity import estimators
from mavis.analysis.statistics.bootstrap import Floats
from mavis.protocol.schema import DisparityRules

PREDICTED = "predicted"
SQUARED_COVARIATE = "probability"
MIN_LABEL_OVERLAP = 0.1
"""Two groups share labels if their shares of each label have at least this in common, [0,1]."""


@dataclass(frozen=True)
class Matching:
    """What is held equal between the groups of one attribute.

    Attributes:
        exact: columns that matched images share.
        quantiles: columns that they share up to so many bins.
        adjust: columns that the adjusted gap holds equal, beside the predicted class if `holds_prediction`.
        holds_prediction: whether the predicted class is held equal too.
        prediction_separates: whether it is not because it tells groups apart.
        missing_matching: columns that the protocol matches in and the table does not have in full.
        missing_covariates: columns that the protocol adjusts for and the table does not have in full.
    """

    exact: tuple[str, ...]
    quantiles: dict[str, int]
    adjust: tuple[str, ...]
    holds_prediction: bool
    prediction_separates: bool
    missing_matching: tuple[str, ...]
    missing_covariates: tuple[str, ...]

    def strata(self, table: pd.DataFrame) -> NDArray[np.intp]:
        """In which stratum each row lies, ``(n,)``."""
        return estimators.assign_strata(table, exact=self.exact, coarsened=self.quantiles)

    def covariates(self, table: pd.DataFrame) -> Floats:
        """What the adjusted gap holds equal, ``(n,p)``."""
        numeric = [name for name in self.adjust if pd.api.types.is_numeric_dtype(table[name])]
        names = [name for name in self.adjust if name not in numeric]
        squared = [name for name in numeric if name == SQUARED_COVARIATE]
        predicted = [PREDICTED] if self.holds_prediction else []
        return estimators.covariate_matrix(table, numeric=numeric, squared=squared, categorical=[*names, *predicted])

    def person_table(self, table: pd.DataFrame, unit: NDArray[np.intp]) -> pd.DataFrame:
        """A row per unit of images: the most common value of what is matched exactly, the mean of what is binned."""
        rows = table.groupby(unit)
        most = {name: rows[name].agg(lambda column: column.mode().iloc[0]) for name in self.exact}
        means = {name: rows[name].mean() for name in self.quantiles}
        return pd.DataFrame({**most, **means}, index=pd.Index(np.unique(unit)))


def choose_matching(table: pd.DataFrame, groups: Sequence[str], attribute: str, rules: DisparityRules) -> Matching:
    """What can be held equal between these groups.

    The predicted class is left out, from the strata and from the covariates, where two groups hardly share a label: as
    far as the model is right it then is the group, and nothing would be left to compare (ADR 20).

    Args:
        table: one row per image that has a score: ``label, predicted`` and the columns that the rules name.
        groups: each image's.
        attribute: whose groups these are; its own columns are never held equal.
        rules: what the protocol holds equal.
    """
    apart = _labels_separate_groups(table, groups)
    own = {*attribute.split("*"), *([PREDICTED] if apart else [])}
    there = {name for name in table.columns if table[name].notna().all()}
    matched = [name for name in (*rules.exact, *rules.quantiles) if name not in own]
    adjusted = [name for name in rules.adjust if name not in own]
    return Matching(
        exact=tuple(name for name in rules.exact if name in there - own),
        quantiles={name: bins for name, bins in rules.quantiles.items() if name in there - own},
        adjust=tuple(name for name in adjusted if name in there),
        holds_prediction=PREDICTED in there - own,
        prediction_separates=apart,
        missing_matching=tuple(name for name in matched if name not in there),
        missing_covariates=tuple(name for name in adjusted if name not in there),
    )


def with_correct(images: pd.DataFrame) -> pd.DataFrame:
    """The table with the column ``correct``, which older runs did not store."""
    if "correct" in images or not {"label", PREDICTED} <= set(images.columns):
        return images
    return images.assign(correct=(images["label"] == images[PREDICTED]).astype(int))


def _labels_separate_groups(table: pd.DataFrame, groups: Sequence[str]) -> bool:
    """Whether some two groups hardly share a label."""
    if "label" not in table:
        return False
    shares = pd.crosstab(np.asarray(groups, dtype=str), table["label"].to_numpy(), normalize="index").to_numpy()
    common = np.minimum(shares[:, None], shares[None]).sum(axis=2)
    return bool(common.min() < MIN_LABEL_OVERLAP)
