"""Scheduler: which blocks are left, and who executes them.

`execute_blocks` is the seam for other engines. An executor is handed picklable values only (`Block`, `TaskSpec`) and
yields a result per block, in any order; the store is written to in this process alone. `LocalExecutor` is a loop over
models that are open here. An executor with worker processes gives each a `Worker` and sends it blocks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mavis.engine.execution.block import run_block
from mavis.engine.execution.explain import ModelTask
from mavis.engine.execution.task import TaskSpec, open_task
from mavis.engine.planning.cost_estimate import CostEstimate
from mavis.engine.planning.plan import Block
from mavis.engine.store import BlockResult, Store


@dataclass(frozen=True)
class Progress:
    """Callbacks while a run goes on; each may be left out.

    Attributes:
        begin: total work in forwards, work done before, number of blocks, number of blocks done before.
        block: name of the model, number of the block, its images and its work.
        work: work that was done.
    """

    begin: Callable[[float, float, int, int], None] = lambda *_: None
    block: Callable[[str, int, int, float], None] = lambda *_: None
    work: Callable[[float], None] = lambda _: None


SILENT = Progress()


class Executor(Protocol):
    """Executes blocks, here or elsewhere."""

    def __call__(
        self, blocks: Sequence[Block], tasks: Mapping[str, TaskSpec], started: Callable[[Block], None]
    ) -> Iterator[tuple[Block, BlockResult]]:
        """Yields every block with its result, in any order.

        Args:
            blocks: to be executed.
            tasks: per model name what its blocks have in common.
            started: to be called in this process when a block is begun.
        """
        ...


class Worker:
    """Executes blocks; opens each model once, when its first block comes.

    Args:
        specs: per model name what its blocks have in common.
        opened: tasks of models that are open in this process already.
    """

    def __init__(self, specs: Mapping[str, TaskSpec], opened: Mapping[str, ModelTask] | None = None) -> None:
        self.specs = specs
        self.tasks = dict(opened or {})

    def open(self, model: str) -> ModelTask:
        """The task of a model."""
        if model not in self.tasks:
            self.tasks[model] = open_task(self.specs[model])
        return self.tasks[model]

    def run(self, block: Block) -> BlockResult:
        """All scores of one block."""
        return run_block(self.open(block.model), block)


@dataclass(frozen=True)
class LocalExecutor:
    """One block after the other in this process.

    Attributes:
        opened: tasks of models that are open already, by name.
    """

    opened: Mapping[str, ModelTask]

    def __call__(
        self, blocks: Sequence[Block], tasks: Mapping[str, TaskSpec], started: Callable[[Block], None]
    ) -> Iterator[tuple[Block, BlockResult]]:
        """See `Executor`."""
        worker = Worker(tasks, self.opened)
        for block in blocks:
            started(block)
            yield block, worker.run(block)


def execute_blocks(
    blocks: Sequence[Block],
    tasks: Mapping[str, TaskSpec],
    store: Store,
    execute: Executor,
    *,
    costs: Mapping[str, CostEstimate],
    progress: Progress = SILENT,
) -> None:
    """Executes the blocks that the store does not hold; each is stored as soon as its result is there.

    Args:
        blocks: all blocks of this run, or of this process's share of it.
        tasks: per model name what its blocks have in common.
        store: the run directory.
        execute: who executes them.
        costs: per model name the estimate, for the progress.
        progress: see `Progress`.
    """
    pending = [block for block in blocks if not store.has_block(block.id)]
    total, left = (sum(costs[block.model].block_work(block) for block in part) for part in (blocks, pending))
    progress.begin(total, total - left, len(blocks), len(blocks) - len(pending))
    numbers = {block.id: number for number, block in enumerate(pending, start=1 + len(blocks) - len(pending))}

    def started(block: Block) -> None:
        work = costs[block.model].block_work(block)
        progress.block(block.model, numbers[block.id], len(block.image_ids), work)

    for block, result in execute(pending, tasks, started):
        store.write_block(block.id, result)
