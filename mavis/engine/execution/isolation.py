"""Foreign plug-ins beside MAVIS's own: own cells are computed as ever, each plug-in's cells as a job of its own.

Where model, data and plug-ins are known by name, the jobs go to a process of their own (`plugin_process`): a plug-in
that crashes or hangs takes only that along. Where they are objects of this process, as in a notebook, the jobs are
done here, in the guard alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from mavis.core.errors import MavisError, PluginError, describe_error
from mavis.core.registry import ENTRY_POINT_ORIGIN, REGISTRIES, USER_FILE, metric_name
from mavis.core.user_plugins import read_user_plugins
from mavis.engine.execution.block import run_block
from mavis.engine.execution.explain import ModelTask
from mavis.engine.execution.plugin_check import reason_unusable
from mavis.engine.execution.plugin_process import PluginProcess
from mavis.engine.execution.records import BlockRecords, FailureScope
from mavis.engine.execution.task import TaskSpec
from mavis.engine.planning.plan import Block, Component, Components
from mavis.engine.store import BlockLog, BlockResult


def has_foreign(components: Components) -> bool:
    """True where a plug-in of a run is not MAVIS's own."""
    return any(part.is_foreign for part in (*components.explainers, *components.metrics))


def are_loadable(components: Components, folder: Path) -> bool:
    """True where another process finds all plug-ins by name: in installed packages, or in a folder's ``mavis.toml``."""
    file = folder / USER_FILE
    listed = {(line[0], line[1]) for line in read_user_plugins(file, REGISTRIES)} if file.is_file() else set()
    foreign = [("explainer", part.name, part.origin) for part in components.explainers if part.is_foreign]
    foreign += [("metric", metric_name(part.name), part.origin) for part in components.metrics if part.is_foreign]
    return all((kind, name) in listed or origin.startswith(ENTRY_POINT_ORIGIN) for kind, name, origin in foreign)


@dataclass(frozen=True)
class _Job:
    """Cells of one foreign plug-in, or of a foreign explainer and a foreign metric, in one block.

    Attributes:
        plugins: their names.
        block: the block, with all other cells skipped.
    """

    plugins: tuple[str, ...]
    block: Block

    @property
    def explainers(self) -> tuple[str, ...]:
        """Explainers with a cell."""
        return tuple(dict.fromkeys(cell.explainer for cell in self.block.cells if not cell.skipped))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics with a cell."""
        return tuple(dict.fromkeys(cell.metric for cell in self.block.cells if not cell.skipped))


@dataclass
class IsolatingExecutor:
    """Own cells here, foreign plug-ins' cells in a process of their own or in the guard.

    Attributes:
        opened: tasks of models that are open, by name.
        by_name: whether another process can open all of it by name.
        timeout: seconds that a plug-in may take for one block, where it has a process of its own.
    """

    opened: Mapping[str, ModelTask]
    by_name: bool
    timeout: float
    _unusable: dict[tuple[str, str], str | None] = field(default_factory=dict)
    _process: PluginProcess | None = None

    def __call__(
        self, blocks: Sequence[Block], tasks: Mapping[str, TaskSpec], started: Callable[[Block], None]
    ) -> Iterator[tuple[Block, BlockResult]]:
        """See `Executor`."""
        self._process = PluginProcess(tasks, self.timeout) if self.by_name else None
        try:
            for block in blocks:
                started(block)
                yield block, self._run(self.opened[block.model], block)
        finally:
            if self._process is not None:
                self._process.close()

    def _run(self, task: ModelTask, block: Block) -> BlockResult:
        """All scores of one block; the foreign ones first, since their maps are compared with the others'."""
        built_in, foreign = _split(task.components)
        results = [self._run_job(task, job) for job in _jobs(block, task.components)]
        methods = {part.name for part in foreign if getattr(part.traits, "role", "") == "method"}
        own_block = _only(block, {(e.name, m.name) for e in built_in.explainers for m in built_in.metrics})
        own_task = replace(task, components=built_in, other_maps=_maps_by_explainer(results, methods))
        explainers = {part.name for part in foreign}
        return _merge(run_block(own_task, own_block), results, explainers, task.gallery_ids)

    def _run_job(self, task: ModelTask, job: _Job) -> BlockResult:
        for plugin in job.plugins:
            if reason := self._reason_unusable(task, plugin):
                return _failed_result(task, job, "plug-in check", f"'{plugin}' {reason}")
        names = " with ".join(f"'{plugin}'" for plugin in job.plugins)
        try:
            result = self._run_anywhere(task, job.block)
        except MavisError as error:
            return _failed_result(task, job, "plug-in process", f"{names} {error}")
        task.tick(result.log.forwards + 2.0 * result.log.backwards)
        return result

    def _run_anywhere(self, task: ModelTask, block: Block) -> BlockResult:
        if self._process is not None:
            return self._process.run(block)
        silent = replace(task, gallery_ids=frozenset(task.targets), tick=lambda _: None)
        return run_block(silent, block)

    def _reason_unusable(self, task: ModelTask, plugin: str) -> str | None:
        """The reason why a plug-in is not scored on a model; it is asked once."""
        key = (task.model.name, plugin)
        if key not in self._unusable:
            try:
                self._unusable[key] = self._check(task, plugin)
            except Exception as error:
                text = str(error) if isinstance(error, MavisError) else f"raised {describe_error(error)}"
                self._unusable[key] = text.removeprefix(f"'{plugin}' ")
        return self._unusable[key]

    def _check(self, task: ModelTask, plugin: str) -> str | None:
        if self._process is not None:
            try:
                self._process.open(task.model.name)
            except MavisError:  # by its name it is another model there, or none: the guard alone must do
                self._process.close()
                self._process = None
        if self._process is not None:
            return self._process.check(task.model.name, plugin)
        return reason_unusable(task, plugin)


def _split(components: Components) -> tuple[Components, tuple[Component, ...]]:
    """MAVIS's own components, and the others."""
    built_in = Components(
        tuple(part for part in components.explainers if not part.is_foreign),
        tuple(part for part in components.metrics if not part.is_foreign),
    )
    return built_in, tuple(part for part in (*components.explainers, *components.metrics) if part.is_foreign)


def _jobs(block: Block, components: Components) -> Iterator[_Job]:
    """One per foreign plug-in with MAVIS's own, and one per foreign explainer and foreign metric."""
    built_in, _ = _split(components)
    explainers = [part.name for part in components.explainers if part.is_foreign]
    metrics = [part.name for part in components.metrics if part.is_foreign]
    cells_by_plugins: dict[tuple[str, ...], set[tuple[str, str]]] = {}
    cells_by_plugins |= {(e,): {(e, m.name) for m in built_in.metrics} for e in explainers}
    cells_by_plugins |= {(m,): {(e.name, m) for e in built_in.explainers} for m in metrics}
    cells_by_plugins |= {(e, m): {(e, m)} for e in explainers for m in metrics}
    for plugins, cells in cells_by_plugins.items():
        job = _Job(plugins, _only(block, cells))
        if job.explainers:
            yield job


def _only(block: Block, cells: set[tuple[str, str]]) -> Block:
    """The block with all other cells skipped."""
    restricted = (
        cell if (cell.explainer, cell.metric) in cells else replace(cell, skipped=cell.skipped or "elsewhere")
        for cell in block.cells
    )
    return replace(block, cells=tuple(restricted))


def _failed_result(task: ModelTask, job: _Job, stage: str, message: str) -> BlockResult:
    """Every cell of a job as failed."""
    records = BlockRecords(job.block, task.components)
    scope = FailureScope(stage, job.block.image_ids, job.explainers, job.metrics)
    records.record_failure(scope, PluginError(message))
    log = BlockLog(job.block.model, 0, 0, 0.0, None, task.chunk, list(records.failures.values()))
    return BlockResult(*records.frames(), {}, log)


def _maps_by_explainer(results: Iterable[BlockResult], names: set[str]) -> dict[str, dict[str, np.ndarray]]:
    maps: dict[str, dict[str, np.ndarray]] = {}
    for result in results:
        for key, values in result.maps.items():
            explainer, _, image = key.partition("|")
            if explainer in names:
                maps.setdefault(explainer, {})[image] = values
    return maps


def _merge(
    built_in: BlockResult, jobs: Sequence[BlockResult], explainers: set[str], gallery_ids: frozenset[str]
) -> BlockResult:
    """One block's result; of MAVIS's own explainers, a job adds curves that only its metric asked for."""
    maps = {
        key: values
        for job in jobs
        for key, values in job.maps.items()
        if key.partition("|")[0] in explainers and key.partition("|")[2] in gallery_ids
    }
    return BlockResult(
        scores=_concat([built_in.scores, *(job.scores for job in jobs)]),
        curves=_merge_curves([built_in.curves, *(job.curves for job in jobs)]),
        agreement=built_in.agreement,
        maps=built_in.maps | maps,
        log=_merge_logs([built_in.log, *(job.log for job in jobs)]),
    )


def _concat(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


def _merge_curves(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The tables one after the other, without curves of an explainer, imputer and order that an earlier one has."""
    merged, seen = [], pd.MultiIndex.from_arrays([[], [], []])
    for table in tables:
        if len(table):
            keys = pd.MultiIndex.from_frame(table[["explainer", "imputer", "order"]])
            merged.append(table[~keys.isin(seen)])
            seen = seen.append(keys.unique())
    return _concat(merged)


def _merge_logs(logs: Sequence[BlockLog]) -> BlockLog:
    peaks = [log.peak_mib for log in logs if log.peak_mib is not None]
    return BlockLog(
        model=logs[0].model,
        forwards=sum(log.forwards for log in logs),
        backwards=sum(log.backwards for log in logs),
        seconds=sum(log.seconds for log in logs),
        peak_mib=max(peaks, default=None),
        chunk=min(log.chunk for log in logs),
        failures=[failure for log in logs for failure in log.failures],
    )
