"""Scheduler."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mavis.engine.execution import block as execute
from mavis.engine.execution.explain import ModelTask
from mavis.engine.planning.plan import Block, shard_blocks
from mavis.engine.planning.setup import RunPlan
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


def execute_blocks(plan: RunPlan, tasks: Mapping[str, ModelTask], store: Store, progress: Progress) -> None:
    """Executes the blocks that are not done; every block is stored before the next begins."""
    blocks = shard_blocks(plan.blocks, plan.request.shard)
    pending = [block for block in blocks if not store.has_block(block.id)]
    total_work, pending_work = (sum(_block_work(plan, block) for block in some) for some in (blocks, pending))
    progress.begin(total_work, total_work - pending_work, len(blocks), len(blocks) - len(pending))
    for number, block in enumerate(pending, start=1 + len(blocks) - len(pending)):
        progress.block(block.model, number, len(block.image_ids), _block_work(plan, block))
        store.write_block(block.id, execute.run_block(tasks[block.model], block))


def _block_work(plan: RunPlan, block: Block) -> float:
    cost = plan.cost_estimates[block.model]
    work_per_image = float(cost.probes)
    for name, one in cost.maps.items():
        work_per_image += one.forward_equivalents * (1 + cost.variant_passes(name) * block.has_variants) + cost.sweeps
    return work_per_image * len(block.image_ids)
