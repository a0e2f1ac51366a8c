"""Hostile files of weights: contents as training scripts write them or spoil them, and damage to their bytes."""

import argparse
import io
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import save as tensor_bytes
from torch import Tensor, nn

Outcome = Literal["same", "refused", "either"]
State = dict[str, Tensor]


def make_network() -> nn.Module:
    """A network whose weights are half precision numbers, so that every number type holds them."""
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    for number, tensor in enumerate(net.parameters()):
        nn.init.constant_(tensor, 1 + number / 8)
    return net


WRAPPINGS = ("state_dict", "model_state_dict", "net", "model", "ema", "weights_of_mine", "0")
PREFIXES = ("module.", "model.", "net.", "_orig_mod.", "backbone.", "a.b.")

SIBLINGS: Mapping[str, Any] = {
    "epoch": 3,
    "optimizer": {"state": {0: {"exp_avg": torch.zeros(2, 3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
    "scheduler": {"last_epoch": 3, "base_lrs": [0.1]},
    "scaler": {"scale": torch.ones(1)},
    "rng_state": torch.zeros(16, dtype=torch.uint8),
    "args": argparse.Namespace(lr=0.1),
    "best": np.float64(0.5),
    "classes": ["dark", "bright"],
    "loss": torch.tensor(0.5),
    "nothing": None,
}
"""What stands beside a state dict, under a key of its own."""


def each(change: Callable[[Tensor], Any]) -> Callable[[State], Any]:
    """A change of every tensor of floats."""
    return lambda state: {n: change(t) if t.is_floating_point() else t for n, t in state.items()}


def first(change: Callable[[Tensor], Any]) -> Callable[[State], Any]:
    """A change of the first tensor."""
    return lambda state: {n: change(t) if k == 0 else t for k, (n, t) in enumerate(state.items())}


STATES: Mapping[str, tuple[Callable[[State], Any], Outcome]] = {
    "as it is": (dict, "same"),
    "ordered": (OrderedDict, "same"),
    "reversed": (lambda state: dict(reversed(state.items())), "same"),
    "double": (each(Tensor.double), "same"),
    "half": (each(Tensor.half), "same"),
    "bfloat16": (each(Tensor.bfloat16), "either"),
    "parameters": (each(nn.Parameter), "same"),
    "not contiguous": (first(lambda t: t.transpose(2, 3).contiguous().transpose(2, 3)), "same"),
    "views of one buffer": (each(lambda t: torch.stack([t, t])[1]), "same"),
    "complex": (each(lambda t: t.to(torch.complex64)), "refused"),
    "sparse": (first(Tensor.to_sparse), "refused"),
    "without values": (each(lambda t: t.to("meta")), "refused"),
    "NaN": (first(lambda t: t * float("nan")), "refused"),
    "infinite": (first(lambda t: t / 0), "refused"),
    "transposed": (first(lambda t: t.transpose(0, 1)), "refused"),
    "one shape off": (first(lambda t: t[:1]), "refused"),
    "flat": (first(Tensor.flatten), "refused"),
    "scalar": (first(lambda t: t.sum()), "refused"),
    "arrays": (each(Tensor.numpy), "refused"),
    "lists": (each(Tensor.tolist), "refused"),
    "one missing": (lambda state: dict(list(state.items())[1:]), "refused"),
    "last missing": (lambda state: dict(list(state.items())[:-1]), "refused"),
    "one more": (lambda state: {**state, next(iter(state)).replace("0.w", "criterion.w"): torch.ones(2)}, "refused"),
    "renamed": (lambda state: {n.replace("weight", "kernel"): t for n, t in state.items()}, "refused"),
    "names as numbers": (lambda state: dict(enumerate(state.values())), "refused"),
    "pairs": (lambda state: list(state.items()), "refused"),
    "values alone": (lambda state: list(state.values()), "refused"),
    "no tensor": (lambda state: {}, "refused"),
    "None": (lambda state: None, "refused"),
    "a text": (lambda state: "weights", "refused"),
    "one tensor": (lambda state: next(iter(state.values())), "refused"),
    "the network": (lambda state: make_network(), "refused"),
    "twice, equal": (lambda state: {"model": state, "ema": {n: t.clone() for n, t in state.items()}}, "same"),
    "twice, otherwise": (lambda state: {"model": state, "ema": {n: t * 2 for n, t in state.items()}}, "refused"),
}
"""What may be made of a state dict."""


def wrap(state: Any, keys: list[str], siblings: list[str]) -> Any:
    """The state under keys, the outermost last, with siblings beside the innermost."""
    for depth, key in enumerate(keys):
        state = {**({name: SIBLINGS[name] for name in siblings} if depth == 0 else {}), key: state}
    return state


def to_bytes(content: Any, kind: str) -> bytes:
    """The file: of `torch.save`, today's or the older format, or safetensors where it can be one."""
    tensors = content if kind == "safetensors" and isinstance(content, dict) else {}
    if tensors and all(isinstance(t, Tensor) and not t.is_sparse and not t.is_meta for t in tensors.values()):
        return tensor_bytes({str(name): t.detach().clone().contiguous() for name, t in tensors.items()})
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=kind != "legacy")
    return file.getvalue()


DAMAGES: Mapping[str, Callable[[bytes, float], bytes]] = {
    "none": lambda content, _: content,
    "truncated": lambda content, place: content[: int(place * len(content))],
    "without its beginning": lambda content, place: content[1 + int(place * (len(content) - 1)) :],
    "emptied": lambda content, _: b"",
    "a text": lambda content, _: b"epoch,loss\n1,0.5\n",
    "a page": lambda content, _: b"<!DOCTYPE html><html>404</html>",
    "a pointer": lambda content, _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "zeros": lambda content, _: bytes(len(content)),
    "zeros from there on": lambda content, place: content[: int(place * len(content))].ljust(len(content), b"\0"),
    "a long header": lambda content, _: (2**60).to_bytes(8, "little") + content,
}
"""Damage to a file, at a place from 0 to 1."""

UNSEEN = ("zeros from there on", "without its beginning")
"""Damage that nobody can see in a file without checksums."""
