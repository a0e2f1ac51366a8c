"""A process of its own for foreign plug-ins: started by name, asked block by block, ended where it does not answer.

Requests and replies are pickles in the pipes of a child of this interpreter; nothing of this process's main module is
run again there. The child reads `TaskSpec` and opens model, data and plug-ins itself.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, BinaryIO, Literal

import torch

from mavis.core.errors import MavisError, PluginError, describe_error
from mavis.engine.execution.plugin_check import reason_unusable
from mavis.engine.execution.scheduler import Worker
from mavis.engine.execution.task import TaskSpec
from mavis.engine.planning.plan import Block
from mavis.engine.store import BlockResult

COMMAND = """
import os, pickle, sys
requests = os.fdopen(os.dup(0), "rb")
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
sys.path[:] = pickle.load(requests)
from mavis.engine.execution.plugin_process import serve
serve(requests)
"""
Request = tuple[Literal["open", "check", "run"], Any]


class PluginProcess:
    """The process, as seen from here.

    Args:
        specs: per model name what its blocks have in common.
        timeout: seconds after which a plug-in is not waited for any more.
    """

    def __init__(self, specs: Mapping[str, TaskSpec], timeout: float) -> None:
        self.specs, self.timeout = specs, timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._opened: set[str] = set()

    def open(self, model: str) -> None:
        """Opens a model there.

        Raises:
            MavisError: it cannot be opened by its name, or is another one there.
        """
        if self._process is None:
            self._start()
        if model not in self._opened:
            self._ask(("open", model), timeout=None)
            self._opened.add(model)

    def check(self, model: str, plugin: str) -> str | None:
        """See `reason_unusable`; what the plug-in raises is such a reason too.

        Raises:
            PluginError: the process ended, or the plug-in was too slow.
        """
        self.open(model)
        reason: str | None = self._ask(("check", (model, plugin)), timeout=self.timeout)
        return reason

    def run(self, block: Block) -> BlockResult:
        """All scores of one block.

        Raises:
            PluginError: the process ended, or a plug-in was too slow.
        """
        self.open(block.model)
        result: BlockResult = self._ask(("run", block), timeout=self.timeout)
        return result

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    _close_quietly(pipe)
        self._process, self._opened = None, set()

    def _start(self) -> None:
        folder = next(iter(self.specs.values())).folder
        self._process = subprocess.Popen(
            [sys.executable, "-c", COMMAND], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
        )
        self._send(sys.path)
        self._send((dict(self.specs), torch.get_num_threads()))

    def _send(self, value: Any) -> None:
        pipe = self._process.stdin if self._process else None
        if pipe is not None:
            pickle.dump(value, pipe)
            pipe.flush()

    def _ask(self, request: Request, timeout: float | None) -> Any:
        """The reply to a request; a process that gives none is ended and named."""
        process = self._process
        if process is None or process.stdout is None:
            raise PluginError("has no process")
        with ThreadPoolExecutor(1) as reader:
            try:
                self._send(request)
                error, value = reader.submit(pickle.load, process.stdout).result(timeout)
            except TimeoutError:
                self.close()
                raise PluginError(f"took longer than {timeout:g} s (--block-timeout)") from None
            except (OSError, EOFError, pickle.UnpicklingError):
                reason = _describe_end(process)
                self.close()
                raise PluginError(reason) from None
            except BaseException:
                self.close()
                raise
        if error:
            raise MavisError(error)
        return value


def _describe_end(process: "subprocess.Popen[bytes]") -> str:
    try:
        code = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "made its process stop answering"
    if code >= 0:
        return f"ended its process with exit code {code}"
    names = {member.value: member.name for member in signal.Signals}
    return f"ended its process with signal {-code} ({names.get(-code, 'unknown')})"


def _close_quietly(pipe: Any) -> None:
    try:
        pipe.close()
    except OSError:  # what was left to write has no reader any more
        return


def serve(requests: BinaryIO) -> None:
    """Answers requests until there are no more.

    Ctrl-C is for the process that asks. What plug-ins print goes to standard error; warnings were given there already.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    specs, n_threads = pickle.load(requests)
    torch.set_num_threads(n_threads)
    _answer_all(Worker(specs), requests, replies)


def _end_with_parent(parent: int) -> None:
    """Ends the process soon after the one that asks is gone, also while a plug-in hangs."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _answer_all(worker: Worker, requests: BinaryIO, replies: BinaryIO) -> None:
    while True:
        try:
            kind, value = pickle.load(requests)
        except EOFError:
            return
        try:
            reply = ("", _answer(worker, kind, value))
        except Exception as error:
            reply = (str(error) if isinstance(error, MavisError) else describe_error(error), None)
        pickle.dump(reply, replies)
        replies.flush()


def _answer(worker: Worker, kind: str, value: Any) -> Any:
    if kind == "open":
        task = worker.open(value)
        worker.tasks[value] = replace(task, gallery_ids=frozenset(task.targets))  # all maps are sent back
        return None
    if kind == "check":
        model, plugin = value
        return reason_unusable(worker.tasks[model], plugin)
    return worker.run(value)
