"""Provenance."""

import os
import platform
import subprocess
from importlib.metadata import version
from typing import Any

import torch

from mavis.engine.planning.setup import Planned


def identity(planned: Planned) -> dict[str, Any]:
    """What the numbers belong to: the content of ``run.json``."""
    data = planned.sample.data
    return {
        "mavis": version("mavis-xai"),
        "protocol": planned.protocol.model_dump(mode="json", by_alias=True),
        "protocol_sha256": planned.protocol.sha256(),
        "overrides": list(planned.protocol.overrides),
        "seed": planned.protocol.seed,
        "models": {
            model.name: {"revision": model.revision, "card": dict(model.card), "preflight": list(done)}
            for model, done in planned.models.values()
        },
        "data": {
            "name": data.name,
            "target": data.target,
            "classes": list(data.classes),
            "attributes": {name: list(values) for name, values in data.attributes.items()},
            "provenance": data.provenance,
            "revision": planned.sample.revision,
            "notes": list(planned.sample.notes),
            "images": len(planned.sample.ids),
        },
        "explainers": {part.name: dict(part.params) for part in planned.line.explainers},
        "support": {name: tried.as_json() for name, tried in planned.tried.items()},
        "skipped": {
            name: [[c.explainer, c.metric, c.skipped] for c in found if c.skipped]
            for name, found in planned.cells.items()
        },
        "blocks": [block.id for block in planned.blocks],
        "device": _device_name(planned.device),
        "versions": {
            name: version(name) for name in ("torch", "torchvision", "captum", "quantus", "numpy", "pandas", "scipy")
        },
        "git": _git(),
    }


def _device_name(place: torch.device) -> str:
    if place.type == "cuda":
        return f"{place}: {torch.cuda.get_device_name(place)}"
    return f"{place}: {platform.machine()}, {torch.get_num_threads()} threads of {os.cpu_count()}"


def _git() -> str | None:
    """Commit of the working folder, where it is one."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
