"""Identity of objects: values and code, equal in every process."""

import copy
import functools
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mavis.core.objects.identity import class_digest, object_digest, tensor_digest


class _Explainer:
    def __init__(self, **values: Any) -> None:
        vars(self).update(values)

    def __call__(self, images: Any) -> Any:
        return images


def _typed(code: str) -> Any:
    """What is typed into a notebook: the last name that it binds."""
    space: dict[str, Any] = {}
    exec(code, space)
    return space[list(space)[-1]]


def _scaling(gain: float) -> Any:
    return lambda x: x * gain


PAIRS = {
    "number": (1.0, 1.5),
    "type of a number": (1, 1.0),
    "attribute": (_Explainer(gain=1.0), _Explainer(gain=2.0)),
    "name of an attribute": (_Explainer(a=1.0), _Explainer(b=1.0)),
    "array": (_Explainer(w=np.zeros(3)), _Explainer(w=np.ones(3))),
    "shape": (torch.zeros(2, 3), torch.zeros(3, 2)),
    "list": (_Explainer(x=[1, [2]]), _Explainer(x=[1, [3]])),
    "path": (Path("a"), Path("b")),
    "partial": (functools.partial(print, 1), functools.partial(print, 2)),
    "keyword of a partial": (functools.partial(print, sep="a"), functools.partial(print, sep="b")),
    "object of a compiled method": ({"a": 1.0}.get, {"a": 2.0}.get),
    "object of a method of Python's own": (_Explainer(a=1.0).__getattribute__, _Explainer(a=2.0).__getattribute__),
    "closure": (_scaling(1), _scaling(2)),
    "default": (lambda x, gain=1: x, lambda x, gain=2: x),
    "code that was typed in": (_typed("def f(x): return x + 1"), _typed("def f(x): return x + 2")),
    "its helper": (
        _typed("def g(x): return x\ndef f(x): return g(x)"),
        _typed("def g(x): return -x\ndef f(x): return g(x)"),
    ),
    "its constant": (_typed("G = 1\ndef f(x): return x * G"), _typed("G = 2\ndef f(x): return x * G")),
    "its class": (
        _typed("class A:\n    def f(self): return 1\na = A()"),
        _typed("class A:\n    def f(self): return 2\na = A()"),
    ),
    "bias": (nn.Linear(2, 2, bias=True), nn.Linear(2, 2, bias=False)),
    "epsilon": (nn.LayerNorm(2), nn.LayerNorm(2, eps=1e-3)),
    "heads": (
        torch.manual_seed(0) and nn.MultiheadAttention(4, 1),
        torch.manual_seed(0) and nn.MultiheadAttention(4, 2),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_other_values_or_code_are_another_object(name: str) -> None:
    """Each alone; the same object has the same digest twice."""
    first, second = PAIRS[name]
    assert object_digest(first) == object_digest(first) != object_digest(second)


def test_equal_values_are_one() -> None:
    """Whatever order a dict was filled in, and though locks, generators and handles of hooks differ."""
    assert object_digest({"a": 1, "b": 2}) == object_digest({"b": 2, "a": 1})
    nets = []
    for _ in range(2):
        net = nn.Flatten()
        net.register_forward_hook(print)
        nets.append(net)
    assert object_digest(nets[0]) == object_digest(nets[1].eval())
    first, second = (_Explainer(lock=threading.Lock(), random=np.random.default_rng()) for _ in range(2))
    assert object_digest(first) == object_digest(second)


def test_a_copy_leaves_the_digest() -> None:
    """Python notes the slots in a class when the first of its objects is copied."""

    class Settings:
        gain = 1.0

    value = Settings()
    before = object_digest(value)
    copy.deepcopy(value)
    assert "__slotnames__" in vars(Settings)
    assert object_digest(value) == before


def test_what_was_computed_in_a_forward_is_no_state() -> None:
    """A kept activation with its graph; a cycle ends."""
    net = nn.Linear(2, 2)
    before = object_digest(_Explainer(kept=net(torch.zeros(1, 2)), net=net))
    holder = _Explainer(kept=net(torch.ones(1, 2)), net=net)
    assert object_digest(holder) == before
    holder.self = holder
    assert object_digest(holder) != before


@pytest.mark.filterwarnings("ignore:Sparse")
def test_tensors_of_any_kind_have_a_digest() -> None:
    """Sparse, complex, without values, of no elements."""
    tensors = [
        torch.eye(3).to_sparse(),
        torch.ones(2, dtype=torch.complex64).conj(),
        torch.empty(2, device="meta"),
        torch.empty(0),
        nn.LazyLinear(2).weight,
        torch.tensor(True),
    ]
    assert len({tensor_digest(tensor) for tensor in tensors}) == len(tensors)


CODE = """
import functools
from my_code import Net, predict
from mavis.core.objects.identity import object_digest
words = lambda x: x in {"b", "a", "c"}
digest = object_digest([Net(), predict, {"b", "a", "c"}, functools.partial(predict, 1), words])
"""
MY_CODE = """
import torch
from torch import nn
WORDS = {"x", "y", "z"}
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.members, self.names = [nn.Linear(2, 2)], frozenset({"p", "q", "r"})
        self.fn = lambda x: self.members[0](x)
def predict(x): return x in WORDS
"""


def test_it_is_the_same_in_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the seed of Python's hashes, and from another folder."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "my_code.py").write_text(MY_CODE, encoding="utf-8")
    path = ":".join([str(tmp_path / "there"), *filter(None, sys.path)])
    result = subprocess.run(
        [sys.executable, "-c", f"{CODE}print(digest)"],
        capture_output=True, text=True, check=True, cwd=tmp_path / "there",
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": path},
    )  # fmt: skip
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.syspath_prepend(tmp_path / "here")
    space: dict[str, Any] = {}
    exec(CODE, space)
    sys.modules.pop("my_code")
    assert result.stdout.strip() == space["digest"]


def test_a_class_has_a_digest() -> None:
    """Its name and its source."""
    assert class_digest(_Explainer) == class_digest(_Explainer) != class_digest(nn.Linear)
