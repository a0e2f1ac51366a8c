"""State dicts in checkpoints: found under the keys, and freed of the prefixes, that training scripts write."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mavis.core.errors import ModelError
from mavis.models.loading import checkpoint

MAX_DEPTH = 4
"""Number of keys one under the other, at most, down to a state dict."""

COUNTERS = ("n_averaged",)
"""Entries beside the weights that belong to no network: of `torch.optim.swa_utils.AveragedModel`."""


OTHER_KEYS = ("optim", "sched", "lr_", "scaler", "rng")
"""Beginnings of keys under which no weights are."""


@dataclass(frozen=True)
class _Candidate:
    """A state dict in a checkpoint.

    Attributes:
        keys: that lead to it.
        state: names to tensors.
    """

    keys: tuple[str, ...]
    state: Mapping[str, Tensor]


def select_state(
    content: Any, current: Mapping[str, Any], path: Path, ignored_prefixes: tuple[str, ...] = ()
) -> Mapping[str, Tensor]:
    """The state dict of a checkpoint that belongs to a network, with the network's names.

    Args:
        content: of the file.
        current: the network's own state dict.
        path: the file, for the messages.
        ignored_prefixes: tensors whose names begin with one of these are left out.

    Returns:
        The one that fits; where none does, the one with most of the network's names, for a message on the others.

    Raises:
        ModelError: there is none, or several fit and differ.
    """
    candidates = [*_find_candidates(content, ())]
    if not candidates:
        raise ModelError(
            f"The weights '{path}' must be a state dict, names to tensors, got {_describe(content)}; "
            "write torch.save(net.state_dict(), FILE)."
        )
    renamed = [
        _Candidate(candidate.keys, state)
        for candidate in candidates
        for state in _rename(candidate.state, current, ignored_prefixes)
    ]
    fitting = [candidate for candidate in renamed if _fits(candidate.state, current)]
    if any(not _is_equal(fitting[0].state, candidate.state) for candidate in fitting[1:]):
        raise ModelError(_several_message(fitting, path))
    return max(fitting or renamed, key=lambda candidate: len(candidate.state.keys() & current.keys())).state


def extraction_command(path: Path, access: str) -> str:
    """The command that writes a part of a file as a file of its own.

    Args:
        path: the file.
        access: what selects the part, as Python, e.g. ``['state_dict']``.
    """
    target = path.with_name(f"{path.stem}-weights.pt")
    code = f"import torch; torch.save(torch.load({str(path)!r}, weights_only=False){access}, {str(target)!r})"
    return f"python -c {shlex.quote(code)}"


def _find_candidates(content: Any, keys: tuple[str, ...]) -> Iterator[_Candidate]:
    """Dicts that hold tensors by name, outermost first."""
    if not isinstance(content, dict) or len(keys) > MAX_DEPTH:
        return
    tensors = {name: tensor for name, tensor in content.items() if isinstance(name, str) and isinstance(tensor, Tensor)}
    if tensors:
        yield _Candidate(keys, tensors)
    inner = [(str(key), value) for key, value in content.items() if not str(key).startswith(OTHER_KEYS)]
    for key, value in inner:
        yield from _find_candidates(value, (*keys, key))


def _rename(
    state: Mapping[str, Tensor], current: Mapping[str, Any], ignored_prefixes: tuple[str, ...]
) -> Iterator[Mapping[str, Tensor]]:
    """The state dict under its own names, without each prefix that may be too much, with one that may lack."""
    weights = {name: tensor for name, tensor in state.items() if name not in COUNTERS}
    first = next(iter(current), "")
    prefixes = [name.removesuffix(first) for name in weights if first and name.endswith(f".{first}")]
    heads = [first[: end + 1] for end, letter in enumerate(first) if letter == "."]
    lacking = [head for head in heads if all(name.startswith(head) for name in current)]
    renamed = [weights, *({n.removeprefix(p): t for n, t in weights.items() if n.startswith(p)} for p in prefixes)]
    renamed += [{head + name: tensor for name, tensor in weights.items()} for head in lacking]
    for names in renamed:
        yield {name: tensor for name, tensor in names.items() if not name.startswith(ignored_prefixes)}


def _fits(state: Mapping[str, Tensor], current: Mapping[str, Any]) -> bool:
    return state.keys() == current.keys() and all(checkpoint.fits(state[name], current[name]) for name in current)


def _is_equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return all(first[name].equal(second[name]) for name in first)


def _describe(content: Any) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    kinds = [f"{key} ({type(value).__name__})" for key, value in content.items()]
    return f"a dict with {checkpoint.name_some(kinds)}" if kinds else "an empty dict"


def _several_message(fitting: list[_Candidate], path: Path) -> str:
    places = checkpoint.name_some([".".join(candidate.keys) or "the file itself" for candidate in fitting])
    access = "".join(f"[{key!r}]" for key in fitting[0].keys)
    return (
        f"The weights '{path}' hold {len(fitting)} state dicts that fit and differ, under {places}; write the right "
        f"one as a file of its own, e.g. {extraction_command(path, access)}"
    )
