"""What a run directory says of its models, from made-up tables."""

from dataclasses import dataclass

import pandas as pd

from mavis.analysis.findings import Skipped
from mavis.workflows import summarise

from ..tables import make_images, make_protocol


@dataclass
class Kept:
    """As much of a run directory as is asked for."""

    table: pd.DataFrame

    def images(self) -> pd.DataFrame:
        return self.table.assign(model="m").reset_index()

    def read_check(self, _: str) -> pd.DataFrame:
        return pd.DataFrame()


def test_the_model_s_interval_counts_people_where_they_are_known() -> None:
    """Images of one person on which the model is right or wrong alike are fewer than their number says."""
    table = make_images({"alder": 60, "birch": 60, "cedar": 60}, accuracy=0.8)
    table = table.assign(person=[f"{i[:-3]}{int(i[-3:]) // 6}" for i in table.index])
    identity = {"data": {"classes": ["alder", "birch", "cedar"]}}

    def width(**changes: str) -> float:
        found = summarise._validity("m", Kept(table), identity, make_protocol(**changes), table).balanced_accuracy
        return found.high - found.low

    assert width(data__identity="person") > 1.5 * width()


def test_what_was_skipped_is_said_once() -> None:
    """Explainers that lack the same metrics for the same reason stand together."""
    given = [[e, m, "no truth"] for e in "abcd" for m in ("mass", "rank")]
    given += [[e, m, "no attention"] for e in ("rollout", "flow") for m in ("mass", "rank", "nsrg")]
    assert summarise._skipped_cells({"net": [*given, ["a", "nsrg", "too slow"]]}, 3) == [
        Skipped(model="net", explainers=("a", "b", "c", "d"), metrics=("mass", "rank"), reason="no truth"),
        Skipped(model="net", explainers=("rollout", "flow"), metrics=(), reason="no attention"),
        Skipped(model="net", explainers=("a",), metrics=("nsrg",), reason="too slow"),
    ]
