"""Provenance: what identifies a run, its models, data and software."""

import os
import platform
import subprocess
from importlib.metadata import version
from typing import Any

import torch

from mavis.core.objects import sources
from mavis.core.objects.identity import class_digest
from mavis.engine.planning.setup import RunPlan


def run_identity(plan: RunPlan) -> dict[str, Any]:
    """The content of ``run.json``: protocol, models, data, explainers, software and device of a run."""
    data = plan.sample.data
    return {
        "mavis": version("mavis-xai"),
        "protocol": plan.protocol.model_dump(mode="json", by_alias=True),
        "protocol_sha256": plan.protocol.sha256(),
        "overrides": list(plan.protocol.overrides),
        "seed": plan.protocol.seed,
        "models": {
            model.name: {"revision": model.revision, "card": dict(model.card), "preflight": list(done)}
            for model, done in plan.models.values()
        },
        "data": {
            "name": data.name,
            "target": data.target,
            "classes": list(data.classes),
            "attributes": {name: list(values) for name, values in data.attributes.items()},
            "provenance": data.provenance,
            "revision": plan.sample.revision,
            "notes": list(plan.sample.notes),
            "images": len(plan.sample.ids),
        },
        "explainers": {part.name: dict(part.params) for part in plan.components.explainers},
        "code": _user_code(plan),
        "support": {name: of_model.compatibility.as_json() for name, of_model in plan.by_model.items()},
        "skipped": {
            name: [[c.explainer, c.metric, c.skipped] for c in of_model.cells if c.skipped]
            for name, of_model in plan.by_model.items()
        },
        "blocks": [block.id for block in plan.blocks],
        "device": _device_name(plan.device),
        "versions": {
            name: version(name) for name in ("torch", "torchvision", "captum", "quantus", "numpy", "pandas", "scipy")
        },
        "git": _git_commit(),
    }


def _user_code(plan: RunPlan) -> dict[str, str]:
    """Hashes of the user's code behind explainers, metrics and data; MAVIS's own has a version instead."""
    parts = {
        **{f"explainer '{part.name}'": part.code for part in plan.components.explainers},
        **{f"metric '{part.name}'": part.code for part in plan.components.metrics},
    }
    data_class: Any = type(getattr(plan.sample.data, "wrapped", plan.sample.data))
    if sources.is_user_class(data_class):
        parts[f"data set '{plan.sample.data.name}'"] = class_digest(data_class)[:32]
    return {name: code for name, code in parts.items() if code}


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device}: {torch.cuda.get_device_name(device)}"
    return f"{device}: {platform.machine()}, {torch.get_num_threads()} threads of {os.cpu_count()}"


def _git_commit() -> str | None:
    """Commit of the working folder, where it is one."""
    try:
        result = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
