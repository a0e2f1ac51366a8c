"""Progress of a run: overall and current block with the time left; plain lines where there is no terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mavis.engine.execution import scheduler
from mavis.report.console.terminal import Printer

LINE_INTERVAL = 10.0  # seconds between plain lines
MIN_SHARE_TO_ESTIMATE = 0.01  # of the work; before that the speed is not known well enough


@contextmanager
def progress_display(printer: Printer) -> Iterator[scheduler.Progress]:
    """The callbacks that a run reports its progress to: bars on a terminal, else plain lines."""
    if printer.console.is_terminal:
        with _make_bars(printer) as bars:
            yield _bar_progress(printer, bars)
    else:
        yield _line_progress(printer)


def _make_bars(printer: Printer) -> Progress:
    return Progress(
        TextColumn("{task.description:<34}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=printer.console,
        transient=True,
    )


def _bar_progress(printer: Printer, bars: Progress) -> scheduler.Progress:
    """Two bars, for all blocks and for the current one; work of an earlier call does not count as speed."""
    overall = bars.add_task("checking models and data", total=None)
    current = bars.add_task("", total=None, visible=False)
    n_blocks = 0

    def begin(total_work: float, done_work: float, blocks: int, done_blocks: int) -> None:
        nonlocal n_blocks
        n_blocks = blocks
        description = f"{blocks} blocks, {done_blocks} done before"
        bars.reset(overall, description=description, total=total_work, completed=int(done_work))

    def block(model: str, number: int, images: int, work: float) -> None:
        bars.update(overall, description=f"block {number} of {n_blocks}")
        bars.reset(current, description=printer.to_plain(f"{model}, {images} images"), total=work, visible=True)

    def advance(work: float) -> None:
        bars.advance(overall, work)
        bars.advance(current, work)

    return scheduler.Progress(begin, block, advance)


def _line_progress(printer: Printer) -> scheduler.Progress:
    """A line per block, and every `LINE_INTERVAL` one with the share that is done and an estimate of the time left."""
    total, before, done, n_blocks = 1.0, 0.0, 0.0, 0
    start = last_line = time.monotonic()

    def begin(total_work: float, done_work: float, blocks: int, done_blocks: int) -> None:
        nonlocal total, before, done, n_blocks, start, last_line
        total, before, done, n_blocks = max(total_work, 1.0), done_work, done_work, blocks
        start = last_line = time.monotonic()
        printer.print_line(f"{blocks} blocks, {done_blocks} done before")

    def block(model: str, number: int, images: int, _: float) -> None:
        printer.print_line(f"block {number} of {n_blocks}: {model}, {images} images")

    def advance(work: float) -> None:
        nonlocal done, last_line
        done += work
        now = time.monotonic()
        if now - last_line >= LINE_INTERVAL:
            last_line = now
            text = f"  {done / total:.0%} done"
            new_work = done - before
            if new_work > total * MIN_SHARE_TO_ESTIMATE:
                seconds_left = (now - start) * (total - done) / new_work
                text += f", about {max(seconds_left, 0):.0f} s left"
            printer.print_line(text)

    return scheduler.Progress(begin, block, advance)
