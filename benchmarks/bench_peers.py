"""MAVIS beside Quantus, Captum, pytorch-grad-cam and pnpxai, job by job, as ratios to the floor.

    python benchmarks/bench_peers.py --images 32 --rounds 3 --json reports/peers.json

Each side does a complete job in its own way; all take turns in one process. A peer that is not installed is left
out, with the reason. pytest-benchmark runs every row once, small: figures come from the program.
"""

import argparse
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import mavis  # noqa: F401 (first, so that its torchvision hook is there before a peer imports torchvision)

# isort: split
import pytest
from harness import one_thread, table, write
from rows import OURS, body, cells, measure
from rows_explainers import EXPLAINER_ROWS
from rows_metrics import METRIC_ROWS

ROWS = {**METRIC_ROWS, **EXPLAINER_ROWS}
HEADER = ("job", "MAVIS, × floor", "peers, × floor (× MAVIS)", "MAVIS's samples, forward / backward", "goal")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.benchmark(group="each row, small, all sides once")
@pytest.mark.parametrize("name", ROWS)
def bench_row(benchmark, name):
    one_thread()
    figures = benchmark.pedantic(lambda: measure(ROWS[name](2), rounds=1, warm=False), rounds=1)
    assert figures.readings[OURS].seconds


def report(names: Sequence[str], images: int, rounds: int) -> tuple[list[list[str]], dict[str, object]]:
    """Rows of the printed table and bodies for the JSON file; progress goes to stderr."""
    lines, bodies = [], {}
    for name in names:
        print(name, file=sys.stderr)
        row = ROWS[name](images)
        figures = measure(row, rounds)
        lines.append(cells(name, row, figures))
        bodies[name] = body(row, figures)
    return lines, bodies


def main() -> None:
    parser = argparse.ArgumentParser(description="MAVIS beside its peers, job by job.")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", default="", help="a regular expression; only rows whose names it finds")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    one_thread()
    names = [name for name in ROWS if re.search(options.rows, name)]
    lines, bodies = report(names, options.images, options.rounds)
    print(table(HEADER, lines))
    write(options.json, "peers", {"images": options.images, "rounds": options.rounds, "rows": bodies})


if __name__ == "__main__":
    main()
