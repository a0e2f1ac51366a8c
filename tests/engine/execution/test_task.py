"""Tasks: a specification opens the model, the data and the components that it names."""

from pathlib import Path

import pytest
import torch

from mavis.core.errors import UnknownName
from mavis.core.registry import models
from mavis.datasets.loading.open import open_data
from mavis.engine.execution.task import TaskSpec, build_task, open_task
from mavis.engine.planning.plan import build_components
from mavis.models.loading.open import open_model


def spec(**changes: object) -> TaskSpec:
    """Saliency and Gini on two synthetic faces."""
    data = open_data("synthetic_faces", target="race", split=None, size=64)
    ids = tuple(data.table().index[:2])
    values: dict[str, object] = {
        "model": "race_resnet",
        "model_revision": models["race_resnet"].create().revision,
        "data": "synthetic_faces",
        "target": "race",
        "split": None,
        "image_size": 64,
        "device": "cpu",
        "folder": str(Path.cwd()),
        "explainers": (("saliency", {}),),
        "metrics": (("gini", {}),),
        "targets": dict.fromkeys(ids, 3),
        "reference_ids": ids,
        "seed": 5,
        "grid": 16,
        "chunk": 8,
    }
    return TaskSpec(**(values | changes))  # type: ignore[arg-type]


def test_what_is_opened_is_what_is_named() -> None:
    """Model, data, components and settings of the task are those of the specification."""
    task = open_task(spec(used_parts=("eyes",)))
    assert (task.model.name, task.data.name, task.data.target) == ("race_resnet", "synthetic_faces", "race")
    assert [c.name for c in (*task.components.explainers, *task.components.metrics)] == ["saliency", "gini"]
    assert (task.seed, task.grid, task.chunk, task.used_parts) == (5, 16, 8, ("eyes",))
    assert task.data.load(list(task.targets)).images.shape == (2, 3, 64, 64)
    assert task.reference is not None
    assert task.reference.ids == spec().reference_ids


def test_an_open_task_equals_an_opened_one() -> None:
    """Objects that are open here give the images and the mean colour that a worker opens."""
    opened = open_task(spec())
    model, _ = open_model("race_resnet", torch.device("cpu"))
    data = open_data("synthetic_faces", target="race", split=None, model=model)
    components = build_components(spec().explainers, spec().metrics)
    built = build_task(spec(), model, data, components)
    assert built.model.revision == opened.model.revision
    torch.testing.assert_close(built.mean_colour, opened.mean_colour)
    assert built.reference is not None
    assert opened.reference is not None
    torch.testing.assert_close(built.reference.images, opened.reference.images)


def test_a_name_that_is_not_known_here_is_refused() -> None:
    """A worker without the plug-in says which name it lacks."""
    with pytest.raises(UnknownName, match="no_such_method"):
        open_task(spec(explainers=(("no_such_method", {}),)))
