"""``mavis.evaluate``: a run from Python or a notebook; its result has tables, a summary and an HTML view."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import StringIO
from pathlib import Path

import pandas as pd
from rich.console import Console

from mavis.analysis.findings import Findings
from mavis.core.devices import resolve
from mavis.core.errors import MavisError
from mavis.core.group_attributes import with_plain_columns
from mavis.core.process_state import standard_settings
from mavis.core.types import Dataset, OutputKind
from mavis.datasets.loading.open import DEFAULT_DATA
from mavis.engine.planning import request as request_
from mavis.engine.store import Store
from mavis.models.loading.open import ModelLike, model_name, open_models, with_output
from mavis.report.console.summary import print_summary
from mavis.workflows import run


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        findings: the typed document, as in ``leaderboard.json``.
        folder: the run directory, with the report in ``report/index.html``.
    """

    findings: Findings
    folder: Path

    @standard_settings()
    def to_frame(self) -> pd.DataFrame:
        """One row per model, image, explainer and metric: value, status, reason, cost, and the image's groups.

        An attribute is a column of its own name, or ``data:NAME`` where MAVIS has a column of that name.
        """
        store = Store.open_existing(self.folder)
        table = store.scores().merge(store.images(), on=["model", "image"], validate="many_to_one")
        return with_plain_columns(table)

    @standard_settings()
    def summary(self) -> str:
        """Leaderboard, groups and recommendation as plain text."""
        text = StringIO()
        print_summary(Console(file=text, width=110, no_color=True), self.findings)
        return text.getvalue()

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        page = (self.folder / "report" / "index.html").read_text(encoding="utf-8")
        return f'<iframe title="MAVIS report" style="width:100%;height:80vh;border:0" srcdoc="{escape(page)}"></iframe>'


@standard_settings()
def evaluate(
    model: ModelLike | Sequence[ModelLike],
    data: str | Dataset = DEFAULT_DATA,
    *,
    explainers: Sequence[str] = ("all",),
    metrics: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    output: OutputKind | None = None,
    target: str | None = None,
    split: str | None = None,
    protocol: str = "quick",
    limit: int | None = None,
    seed: int | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    out: Path | str | None = None,
    allow_known_faulty: bool = False,
    block_timeout: float = 3600.0,
) -> Evaluation:
    """Runs a benchmark, as ``mavis run`` does.

    Args:
        model: a name as for ``mavis run``, a `Model`, a network from images ``(B,3,H,W)`` in [0,1] to logits whose
            number of classes is the data's, or any function that does the same, of which only the answers are used; or
            several of them, which then stand side by side.
        data: ``NAME``, ``NAME:FOLDER`` or a `Dataset`.
        explainers: names, or ``("all",)``; the protocol's controls always join.
        metrics: names; by default the protocol's.
        groups: attributes; ``race*gender`` is an intersection.
        output: meaning of what the models return, one of ``logits``, ``log_probabilities``, ``probabilities``,
            ``percent``, ``one_logit``, ``one_probability`` and ``sigmoids``; by default it is measured.
        target: the label; by default the model's own.
        split: part of the data.
        protocol: name or YAML file.
        limit: maximum number of images, split evenly over groups.
        seed: random seed (default: from the protocol).
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        batch_size: model samples per call; by default by the device.
        out: run directory, continued if it holds the same run; by default a new temporary one.
        allow_known_faulty: run metrics that are known to be wrong, as ``quantus:PointingGame``.
        block_timeout: seconds that a plug-in of another may take for 32 images, where it has a process of its own: if
            model, data and plug-ins are found by name.

    Raises:
        MavisError: a name, parameter, model or data set does not hold; the message says what to do.
    """
    models: list[ModelLike] = list(model) if isinstance(model, Sequence) and not isinstance(model, str) else [model]
    if not models:
        raise MavisError("evaluate needs at least one model.")
    models = [with_output(requested, output) for requested in models]
    is_named = isinstance(data, str) and all(isinstance(requested, str) for requested in models)
    loaded = None if is_named else open_models(models, resolve(device), data, target=target, split=split)
    request = request_.Request(
        models=tuple(map(model_name, models)),
        data=str(data) if loaded is None or isinstance(data, str) else loaded[1].name,
        target=target,
        split=split,
        explainers=tuple(explainers),
        metrics=None if metrics is None else tuple(metrics),
        groups=None if groups is None else tuple(groups),
        protocol=protocol,
        limit=limit,
        seed=seed,
        device=device,
        batch_size=batch_size,
        allow_known_faulty=allow_known_faulty,
        block_timeout=block_timeout,
    )
    folder = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="mavis-"))
    return Evaluation(run.run_benchmark(request, folder, loaded=loaded), folder)
