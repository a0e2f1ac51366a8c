"""Scheduler."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mavis.engine.execution import block as execute
from mavis.engine.execution.explain import Job
from mavis.engine.planning.plan import Block, share
from mavis.engine.planning.setup import Planned
from mavis.engine.store import Store


@dataclass(frozen=True)
class Progress:
    """What is told while a run goes on; every part may be left out.

    Attributes:
        begin: total work in forwards, how much of it was done before, number of blocks, number done before.
        block: name of the model, number of the block, its images and its work.
        work: work that was done.
    """

    begin: Callable[[float, float, int, int], None] = lambda *_: None
    block: Callable[[str, int, int, float], None] = lambda *_: None
    work: Callable[[float], None] = lambda _: None


SILENT = Progress()


def execute_blocks(planned: Planned, jobs: Mapping[str, Job], store: Store, progress: Progress) -> None:
    """Executes the blocks that are not done; every block is stored before the next begins."""
    mine = share(planned.blocks, planned.request.shard)
    todo = [block for block in mine if not store.done(block.id)]
    whole, rest = (sum(_block_work(planned, block) for block in some) for some in (mine, todo))
    progress.begin(whole, whole - rest, len(mine), len(mine) - len(todo))
    for number, block in enumerate(todo, start=1 + len(mine) - len(todo)):
        progress.block(block.model, number, len(block.images), _block_work(planned, block))
        store.write(block.id, execute.run(jobs[block.model], block))


def _block_work(planned: Planned, block: Block) -> float:
    cost = planned.costs[block.model]
    each = float(cost.probes)
    for name, one in cost.maps.items():
        each += one.work * (1 + cost.passes(name) * block.variants) + cost.sweeps
    return each * len(block.images)
