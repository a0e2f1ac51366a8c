"""What is shown while a run goes on."""

import io

import pytest
from rich.console import Console

from mavis.cli import progress
from mavis.report.console.terminal import Printer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which moves when it is told to."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_time_left_is_judged_by_what_is_done_now(clock: list[float]) -> None:
    """Half was done before; a quarter takes 20 s, so the last quarter takes 20 s more. Below 1 % nothing is said."""
    out = io.StringIO()
    with progress.progress_display(Printer(Console(file=out, width=80))) as told:
        clock[0] = 100
        told.begin(1000, 500, 4, 2)
        told.block("m", 3, 32, 250)
        for moment, amount in ((110, 5), (115, 95), (120, 150)):
            clock[0] = moment
            told.work(amount)
    assert out.getvalue().splitlines() == [
        "4 blocks, 2 done before",
        "block 3 of 4: m, 32 images",
        "  50% done",
        "  75% done, about 20 s left",
    ]


def test_bars_start_at_what_was_done_before() -> None:
    """On a terminal the bar of the whole begins where the run was left."""
    printer = Printer(Console(file=io.StringIO(), force_terminal=True))
    bars = progress._make_bars(printer)
    told = progress._bar_progress(printer, bars)
    told.begin(1000, 500, 4, 2)
    assert (bars.tasks[0].percentage, bars.tasks[0].speed) == (50, None)
    told.work(250)
    assert bars.tasks[0].percentage == 75
