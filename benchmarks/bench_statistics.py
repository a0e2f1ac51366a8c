"""Share of planted gaps between groups that are found, and the precision of the estimates, in simulated tables.

Run as a program: a row per simulated disparity, with shares of runs; the last column says what a row should show.
tests/analysis/disparity/ asserts the same on fewer runs. Tables come from
mavis/workflows/meta_evaluation/simulated_disparities.py.
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
    *("disparity", "p < .05", "found", "no gap shown", "raw", "matched", "adjusted"),
    *("covered: raw", "matched", "adjusted", "retained", "ms a table", "expected"),
)


@dataclass(frozen=True)
class Row:
    """A simulated disparity, the draw of tables from it, and the expected result."""

    disparity: SimulatedDisparity
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


def cells(outcomes: Sequence[Outcome], seconds: float, row: Row) -> list[str]:
    """A row of the printed table, without its name."""
    gap, covers = np.array([outcome.gaps for outcome in outcomes]), np.array([outcome.covers for outcome in outcomes])
    events = np.array([(outcome.p < 0.05, outcome.significant, outcome.equivalent) for outcome in outcomes])
    return [
        *(figure(share, 3) for share in events.mean(axis=0)),
        *(f"{mean:.3f} ± {spread:.3f}" for mean, spread in zip(gap.mean(axis=0), gap.std(axis=0), strict=True)),
        *(figure(share, 3) for share in covers.mean(axis=0)),
        figure(float(np.mean([outcome.matched_share for outcome in outcomes]))),
        figure(1000 * seconds / len(outcomes), 0),
        row.expected,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Planted gaps between groups, and what is found of them.")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--draws", type=int, default=2000, help="of the bootstrap")
    parser.add_argument("--permutations", type=int, default=1000)
    parser.add_argument("--only", default="", help="disparities whose name holds this text")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    lines = []
    for name, row in ROWS.items():
        if options.only in name:
            start = time.process_time()
            outcomes = list(
                row.draw(row.disparity, range(options.runs), draws=options.draws, permutations=options.permutations)
            )
            lines.append([name, *cells(outcomes, time.process_time() - start, row)])
            print(f"{name}: done", file=sys.stderr, flush=True)
    print(table(HEADER, lines))
    write(options.json, "statistics", {"runs": options.runs, "header": HEADER, "rows": lines})


if __name__ == "__main__":
    main()
