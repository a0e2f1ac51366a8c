"""How often gaps between groups are found, and how well they are recovered, in tables with planted truth.

Run as a program: a row per world, the share of runs behind each figure. What a row should show stands in its last
column; tests/test_disparity.py asserts the same on fewer runs. The worlds are those of mavis/verify/worlds.py.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from harness import figure, table, write

from mavis.workflows.meta_evaluation.simulated_disparities import (
    Outcome,
    SimulatedDisparity,
    simulate_outcomes,
    split_at_random,
)

HEADER = (
    *("world", "p < .05", "found", "no gap shown", "raw", "matched", "adjusted"),
    *("covered: raw", "matched", "adjusted", "retained", "ms a table", "expected"),
)


@dataclass(frozen=True)
class Row:
    """A world, how tables come from it, and what should come out."""

    world: SimulatedDisparity
    expected: str
    draw: Callable[..., Iterator[Outcome]] = simulate_outcomes


SEVEN = (100,) * 7
ROWS: Mapping[str, Row] = {
    "A/A, 2 × 100": Row(SimulatedDisparity(slope=0.5, shift=0.1), "p in .02…0.08, found ≤ .05", split_at_random),
    "A/A, 7 × 100": Row(SimulatedDisparity(SEVEN, slope=0.5, shift=0.1), "p in .02…0.08, found ≤ .05", split_at_random),
    "A/A, 7 × 30": Row(
        SimulatedDisparity((30,) * 7, slope=0.5, shift=0.1), "p in .02…0.08, found ≤ .05", split_at_random
    ),
    "no gap, 2 × 100": Row(SimulatedDisparity(), "p in .02…0.08, found ≤ .05"),
    "no gap, 2 × 600": Row(SimulatedDisparity((600, 600)), "no gap shown in most"),
    "no gap, 4 images a person": Row(
        SimulatedDisparity(per_person=4, person_share=0.5), "p in .02…0.08, covered ≈ .95"
    ),
    "gap .079, 2 × 100": Row(SimulatedDisparity(gap=0.079), "p ≥ .8"),
    "gap .099, 2 × 100": Row(SimulatedDisparity(gap=0.099), "found: .8 if the raw interval alone decided"),
    "gap .12, 2 × 100": Row(SimulatedDisparity(gap=0.12), "found ≥ .8"),
    "gap .079, 2 × 300": Row(SimulatedDisparity((300, 300), gap=0.079), "found ≥ .8"),
    "gap .12, 7 × 100": Row(SimulatedDisparity(SEVEN, gap=0.12), "found less often than of two: Holm over 21 pairs"),
    "gap .12, 7 × 150": Row(SimulatedDisparity((150,) * 7, gap=0.12), "found ≥ .8"),
    "groups are labels, 7 × 100": Row(
        SimulatedDisparity(SEVEN, slope=0.5, groups_are_labels=True), "p in .02…0.08, found ≤ .05"
    ),
    "gap .12, labels, 7 × 150": Row(SimulatedDisparity((150,) * 7, gap=0.12, groups_are_labels=True), "found ≥ .8"),
    "confidence, 2 × 100": Row(SimulatedDisparity(shift=0.15, slope=0.5), "adjusted covers 0 in ≥ .9, found ≤ .05"),
    "much confidence, 2 × 100": Row(
        SimulatedDisparity(shift=0.25, slope=1.0), "adjusted covers 0 in ≥ .9, found ≤ .05"
    ),
    "much confidence, 2 × 600": Row(
        SimulatedDisparity((600, 600), shift=0.25, slope=1.0), "adjusted covers 0 in ≥ .9, found ≤ .05"
    ),
    "gap .1 + confidence, 2 × 100": Row(SimulatedDisparity(gap=0.1, shift=0.15, slope=0.5), "adjusted .1 ± .03"),
    "gap .1 + much, 2 × 300": Row(SimulatedDisparity((300, 300), gap=0.1, shift=0.25, slope=1.0), "adjusted .1 ± .03"),
    "gap −.1 + much, 2 × 300": Row(
        SimulatedDisparity((300, 300), gap=-0.1, shift=0.25, slope=1.0), "adjusted −.1 ± .03"
    ),
}


def cells(found: Sequence[Outcome], seconds: float, row: Row) -> list[str]:
    """A row of the printed table, without its name."""
    gap, covers = np.array([one.gaps for one in found]), np.array([one.covers for one in found])
    events = np.array([(one.p < 0.05, one.significant, one.equivalent) for one in found])
    return [
        *(figure(share, 3) for share in events.mean(axis=0)),
        *(f"{mean:.3f} ± {spread:.3f}" for mean, spread in zip(gap.mean(axis=0), gap.std(axis=0), strict=True)),
        *(figure(share, 3) for share in covers.mean(axis=0)),
        figure(float(np.mean([one.matched_share for one in found]))),
        figure(1000 * seconds / len(found), 0),
        row.expected,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Planted gaps between groups, and what is found of them.")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--draws", type=int, default=2000, help="of the bootstrap")
    parser.add_argument("--permutations", type=int, default=1000)
    parser.add_argument("--only", default="", help="worlds whose name holds this text")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    lines = []
    for name, row in ROWS.items():
        if given.only in name:
            start = time.process_time()
            found = list(row.draw(row.world, range(given.runs), draws=given.draws, permutations=given.permutations))
            lines.append([name, *cells(found, time.process_time() - start, row)])
            print(f"{name}: done", file=sys.stderr, flush=True)
    print(table(HEADER, lines))
    write(given.json, "statistics", {"runs": given.runs, "header": HEADER, "rows": lines})


if __name__ == "__main__":
    main()
