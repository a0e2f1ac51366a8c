"""What a run shows while it goes on: overall and current block with time left; plain lines off a terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mavis.engine.execution import scheduler

LINE_INTERVAL = 10.0  # seconds between plain lines


@contextmanager
def progress_display(console: Console) -> Iterator[scheduler.Progress]:
    """A progress to hand to the pipeline."""
    if console.is_terminal:
        with _make_bars(console) as bars:
            yield _bar_progress(bars)
    else:
        yield _line_progress(console)


def _make_bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<34}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _bar_progress(bars: Progress) -> scheduler.Progress:
    whole = bars.add_task("checking models and data", total=None)
    current = bars.add_task("", total=None, visible=False)
    blocks = 0

    def begin(work: float, before: float, count: int, done: int) -> None:
        nonlocal blocks
        blocks = count
        bars.reset(whole, description=f"{count} blocks, {done} done before", total=work, completed=int(before))

    def block(model: str, number: int, images: int, work: float) -> None:
        bars.update(whole, description=f"block {number} of {blocks}")
        bars.reset(current, description=f"{model}, {images} images", total=work, visible=True)

    def work(amount: float) -> None:
        bars.advance(whole, amount)
        bars.advance(current, amount)

    return scheduler.Progress(begin, block, work)


def _line_progress(console: Console) -> scheduler.Progress:
    total, before, done, blocks = 1.0, 0.0, 0.0, 0
    start = last = time.monotonic()

    def begin(work: float, already: float, count: int, finished: int) -> None:
        nonlocal total, before, done, blocks, start, last
        total, before, done, blocks = max(work, 1.0), already, already, count
        start = last = time.monotonic()
        console.print(f"{count} blocks, {finished} done before", highlight=False)

    def block(model: str, number: int, images: int, _: float) -> None:
        console.print(f"block {number} of {blocks}: {model}, {images} images", highlight=False)

    def work(amount: float) -> None:
        nonlocal done, last
        done += amount
        now = time.monotonic()
        if now - last >= LINE_INTERVAL:
            last = now
            here = done - before
            left = f", about {max((now - start) * (total - done) / here, 0):.0f} s left" if here > total / 100 else ""
            console.print(f"  {done / total:.0%} done{left}", highlight=False)

    return scheduler.Progress(begin, block, work)
