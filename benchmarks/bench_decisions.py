"""Share of recommended sets with the true best method, and refusals that fire, in leaderboards with planted truth.

Run as a program: a row per field, 200 leaderboards each; the last column says what a row should show.
tests/decision/test_comparison.py, tests/decision/test_refusals.py and `mavis verify` (M12) test the same on fewer runs.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from harness import table, write

from mavis.decision import comparison, refusals
from mavis.workflows.meta_evaluation.simulated_leaderboards import (
    METRICS,
    SimulatedLeaderboard,
    build_protocol,
    simulate_evidence,
)

HEADER = ("field", "best in set", "mean size", "best alone", "refused", "grounds", "ms a decision", "expected")


@dataclass(frozen=True)
class Row:
    """A leaderboard, its best method, and the expected result."""

    field: SimulatedLeaderboard
    best: str
    expected: str


DECIDING = tuple(name for name in METRICS if "@" not in name)
FIVE = {"a": 0.5, "b": 0.42, "c": 0.35, "d": 0.3, "e": 0.2}
MANY = {f"m{k:02d}": 0.6 - 0.01 * k for k in range(45)}
ROWS: Mapping[str, Row] = {
    "clear lead .08, 3 × 100": Row(SimulatedLeaderboard(FIVE), "a", "best in set ≥ .95, mostly alone"),
    "close second .03, 3 × 60": Row(
        SimulatedLeaderboard({**FIVE, "b": 0.47}, images_per_group=60), "a", "best in set ≥ .95"
    ),
    "close second .03, 7 × 30": Row(
        SimulatedLeaderboard({**FIVE, "b": 0.47}, images_per_group=30, n_groups=7), "a", "best in set ≥ .95"
    ),
    "within the ROPE, 3 × 100": Row(
        SimulatedLeaderboard({**FIVE, "b": 0.49, "c": 0.485}), "a", "best in set ≥ .95, rarely alone"
    ),
    "four equal, 3 × 60": Row(
        SimulatedLeaderboard(dict.fromkeys("abcd", 0.5), images_per_group=60),
        "a",
        "best in set ≥ .95, never alone; tied or R6",
    ),
    "ten equal, 3 × 60": Row(
        SimulatedLeaderboard(dict.fromkeys("abcdefghij", 0.5), images_per_group=60),
        "a",
        "best in set ≥ .95, never alone; tied or R6",
    ),
    "45 methods .01 apart, 7 × 150": Row(
        SimulatedLeaderboard(MANY, images_per_group=150, n_groups=7), "m00", "best in set ≥ .95, set small"
    ),
    "metrics contradict": Row(
        SimulatedLeaderboard(
            {"a": 0.9, "b": 0.6, "c": 0.5, "d": 0.4},
            shifts={
                **{(n, "single_deletion", ""): by for n, by in zip("abcd", (-0.45, -0.15, 0.15, 0.45), strict=True)},
                **{(n, "road_gap", ""): by for n, by in zip("abcd", (0.0, -0.25, 0.25, 0.0), strict=True)},
            },
        ),
        "a",
        "R5 in most",
    ),
    "imputers contradict": Row(
        SimulatedLeaderboard(
            {"a": 0.6, "b": 0.45, "c": 0.3, "d": 0.2}, shifts={("b", "nsrg@blur", ""): 1.5, ("c", "nsrg@mean", ""): 1.5}
        ),
        "a",
        "R5 in most",
    ),
    "another best in one group": Row(
        SimulatedLeaderboard({**FIVE, "b": 0.35}, shifts={("b", m, "g2"): 0.25 for m in DECIDING}), "a", "R9 in most"
    ),
    "a control near the leader": Row(SimulatedLeaderboard({**FIVE, "sobel": 0.49}), "a", "R4 in most"),
}


def cells(row: Row, runs: int) -> list[str]:
    """A row of the printed table, without its name."""
    protocol = build_protocol()
    sizes, inside, alone, refused, seconds = [], 0, 0, 0, 0.0
    codes: Counter[str] = Counter()
    for run in range(runs):
        evidence = simulate_evidence(row.field, run, protocol, {"sobel": "control"})
        start = time.perf_counter()
        compared = comparison.compare_eligible(
            evidence.score_table, evidence.eligible, dict(evidence.group_counts), protocol
        )
        refusals_found = refusals.find_refusals(evidence, compared, protocol)
        seconds += time.perf_counter() - start
        sizes.append(len(compared.leading_set))
        inside += row.best in compared.leading_set
        alone += compared.leading_set == (row.best,)
        refused += bool(refusals_found)
        codes.update({refusal.code for refusal in refusals_found})
    shown = ", ".join(f"{code} {number / runs:.2f}" for code, number in sorted(codes.items())) or "none"
    shares = [f"{inside / runs:.3f}", f"{np.mean(sizes):.2f}", f"{alone / runs:.2f}", f"{refused / runs:.2f}"]
    return [*shares, shown, f"{1000 * seconds / runs:.0f}", row.expected]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Planted leaderboards, and what is recommended or refused on them.")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--only", default="", help="fields whose name holds this text")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    lines = []
    for name, row in ROWS.items():
        if options.only in name:
            lines.append([name, *cells(row, options.runs)])
            print(f"{name}: done", file=sys.stderr, flush=True)
    print(table(HEADER, lines))
    write(options.json, "decisions", {"runs": options.runs, "header": HEADER, "rows": lines})


if __name__ == "__main__":
    main()
