"""A model on disk: weights as safetensors, a card as JSON, and fingerprints of the training images."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as tensor_bytes
from torch import Tensor, nn

from mavis.core import files
from mavis.core.errors import ModelError, UnknownName
from mavis.core.hashing import canonical_json, digest
from mavis.core.perceptual_hash import Fingerprints
from mavis.core.types import Model
from mavis.models.loading.architectures import ARCHITECTURES, CAM_LAYER

WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "card.json"
FINGERPRINTS_FILE = "trained_on.npz"

REQUIRED_FIELDS = ("architecture", "classes", "target", "size", "weights_hash")
"""Required fields of a card."""


def file_paths(path: Path | str) -> tuple[Path, Path]:
    """Paths of weights and card.

    Args:
        path: a folder, which holds ``model.safetensors`` and ``card.json``; or the common stem of a pair
            ``STEM.safetensors`` and ``STEM.json``, where there is such a pair.
    """
    path = Path(path)
    if path.name in ("", ".."):  # the working folder, the one above it, or the root
        return path / WEIGHTS_FILE, path / CARD_FILE
    weights, card = path.with_name(path.name + ".safetensors"), path.with_name(path.name + ".json")
    if not files.is_folder(path) and (files.exists(weights) or files.exists(card)):
        return weights, card
    return path / WEIGHTS_FILE, path / CARD_FILE


def fingerprints_path(weights: Path) -> Path:
    """Path of the fingerprints of the training images, beside the weights of a folder or of a pair of files."""
    return weights.with_name(FINGERPRINTS_FILE) if weights.name == WEIGHTS_FILE else weights.with_suffix(".npz")


def save(
    path: Path | str,
    net: nn.Module,
    card: Mapping[str, Any],
    *,
    fingerprints: Fingerprints | None = None,
    as_pair: bool = False,
) -> None:
    """Writes a model; each file is written under a temporary name and renamed.

    Args:
        path: the folder, made where it is missing; with ``as_pair`` the common stem of two files.
        net: the weights are taken from its state.
        card: facts about it; ``architecture``, ``classes``, ``target`` and ``size`` at least. The hash of the weights
            and the versions of MAVIS and torch are added.
        fingerprints: those of the training images; without them, earlier ones beside the weights are deleted.
        as_pair: write ``STEM.safetensors`` and ``STEM.json`` instead of a folder.
    """
    path = Path(path)
    stem = (path.with_name(path.name + ".safetensors"), path.with_name(path.name + ".json"))
    weights, card_path = stem if as_pair else (path / WEIGHTS_FILE, path / CARD_FILE)
    files.make_folder(weights.parent)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    content = tensor_bytes(state)
    complete = {**card, "weights_hash": digest(content), "versions": _library_versions()}
    _write_atomically(weights, content)
    if fingerprints is None:
        fingerprints_path(weights).unlink(missing_ok=True)
    else:
        _write_atomically(fingerprints_path(weights), fingerprints.to_bytes())
    _write_atomically(card_path, (json.dumps(complete, indent=2, ensure_ascii=False) + "\n").encode())


def load(path: Path | str, *, name: str | None = None) -> Model:
    """Reads a model and checks that its card fits its weights.

    Args:
        path: a folder, or the common stem of a pair of files; see `file_paths`.
        name: of the model; by default the folder's.

    Returns:
        The model on the CPU, in evaluation mode, in torch's ``channels_last`` layout.

    Raises:
        ModelError: a file is missing or damaged, the weights are not those of the card, do not fit the architecture,
            or are not finite.
        UnknownName: no such architecture.
    """
    weights, card_path = file_paths(path)
    for file in (weights, card_path):
        if not files.is_file(file):
            raise ModelError(
                f"A model is a folder with {WEIGHTS_FILE} and {CARD_FILE}, as `mavis train` writes; '{file}' is "
                "missing."
            )
    card = read_card(card_path)
    content = files.read_bytes(weights)
    if digest(content) != card["weights_hash"]:
        raise ModelError(
            f"'{weights}' is not the file that '{card_path.name}' describes: expected the hash "
            f"{card['weights_hash'][:12]}…, got {digest(content)[:12]}…; restore both files together, or train again."
        )
    net = build_network(card["architecture"], len(card["classes"]), card["size"])
    load_safetensors(net, content, weights)
    to_channels_last(net.eval())
    prints = fingerprints_path(weights)
    return Model(
        name=name or _folder_name(Path(path)),
        net=net,
        classes=tuple(card["classes"]),
        revision=digest(canonical_json({key: card[key] for key in REQUIRED_FIELDS}))[:32],
        cam_layer=CAM_LAYER,
        size=card["size"],
        card=card,
        training_fingerprints=Fingerprints.load(prints) if prints.is_file() else None,
    )


def _folder_name(path: Path) -> str:
    """The name of a folder, also of ``.`` and ``..``."""
    return path.resolve().name if path.name in ("", "..") else path.name


def read_card(path: Path) -> dict[str, Any]:
    """The card, with all fields that loading needs.

    Raises:
        ModelError: the file is no JSON object, or lacks a field, or a field is of the wrong kind.
    """
    try:
        card: dict[str, Any] = json.loads(files.read_bytes(path))
    except ValueError as error:
        raise ModelError(f"'{path}' is not a model card: {error}.") from error
    missing = [key for key in REQUIRED_FIELDS if not isinstance(card, dict) or key not in card]
    if missing:
        raise ModelError(f"The model card '{path}' lacks {', '.join(missing)}.")
    has_names = isinstance(card["classes"], list) and all(isinstance(name, str) for name in card["classes"])
    if not has_names or not isinstance(card["size"], int) or not isinstance(card["weights_hash"], str):
        raise ModelError(f"In the model card '{path}', classes must be names, size a number and weights_hash a text.")
    return card


def build_network(architecture: str, n_classes: int, size: int, *, seed: int = 0, **options: Any) -> nn.Module:
    """A new net whose random weights depend on the seed only.

    Args:
        architecture: a name in `mavis.models.loading.architectures.ARCHITECTURES`.
        n_classes: number of logits.
        size: side of the images.
        seed: of the weights.
        options: further arguments of the architecture's builder, e.g. ``pretrained``.

    Raises:
        UnknownName: no such architecture.
    """
    if architecture not in ARCHITECTURES:
        raise UnknownName("architecture", architecture, ARCHITECTURES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ARCHITECTURES[architecture](n_classes, size, **options)


def to_channels_last(net: nn.Module) -> nn.Module:
    """The same net with its convolutions in the layout that is twice as fast on a CPU; no weight changes."""
    for tensor in net.parameters():
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return net


def load_safetensors(net: nn.Module, content: bytes, path: Path) -> None:
    """Puts weights into a net.

    Args:
        net: takes the weights.
        content: of a safetensors file.
        path: where it came from, for the messages.

    Raises:
        ModelError: damaged file; names or shapes that do not fit; NaN or infinite values.
    """
    try:
        state = read_tensors(content)
    except SafetensorError as error:
        raise ModelError(f"'{path}' is not a safetensors file: {error}.") from error
    load_state(net, state, path)


def load_state(net: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Puts a state dict into a net.

    Args:
        net: takes the weights.
        state: names to tensors.
        path: where they came from, for the messages.

    Raises:
        ModelError: names or shapes that do not fit; NaN or infinite values.
    """
    current = net.state_dict()
    faults = [
        _name_tensors(sorted(current.keys() - state.keys()), "is missing", "are missing"),
        _name_tensors(sorted(state.keys() - current.keys()), "has no place", "have no place", " in the architecture"),
    ]
    if any(faults):
        raise ModelError(f"The weights '{path}' do not fit: {'; '.join(filter(None, faults))}.")
    for name, expected in current.items():  # a safetensors file has no order of its own
        tensor = state[name]
        if not fits(tensor, expected):
            raise ModelError(
                f"The weights '{path}' do not fit: '{name}' must be {tuple(expected.shape)}, got {tuple(tensor.shape)}."
            )
        _check_values(name, tensor, expected, path)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"The weights '{path}' do not fit: {str(error).strip().splitlines()[-1].strip()}") from error


def fits(tensor: Tensor, expected: Any) -> bool:
    """True for a tensor of the expected one's shape, and where that has no shape yet."""
    has_shape = isinstance(expected, Tensor) and not nn.parameter.is_lazy(expected)
    return not has_shape or tensor.shape == expected.shape


def name_some(names: Sequence[str]) -> str:
    """Three names and a count."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"'{name}'" for name in names[:3]) + more


def _name_tensors(names: Sequence[str], singular: str, plural: str, rest: str = "") -> str:
    if not names:
        return ""
    kind, verb = ("tensor", singular) if len(names) == 1 else ("tensors", plural)
    return f"the {kind} {name_some(names)} {verb}{rest}"


def _check_values(name: str, tensor: Tensor, expected: Any, path: Path) -> None:
    """Raises ModelError for a tensor without values, with complex ones for real ones, and with values not finite."""
    if tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized:
        kind = "without values" if tensor.is_meta else "quantized" if tensor.is_quantized else str(tensor.layout)
        raise ModelError(f"The tensor '{name}' in '{path}' must be dense and hold its values; it is {kind}.")
    if tensor.is_complex() and not expected.is_complex():
        raise ModelError(f"The tensor '{name}' in '{path}' must hold real numbers; they are complex.")
    if bool(torch.isfinite(tensor).all()):
        return
    values = "NaN" if bool(torch.isnan(tensor).any()) else "infinite values"
    raise ModelError(
        f"The tensor '{name}' in '{path}' contains {values}; the training diverged or the file is damaged."
    )


def _write_atomically(path: Path, content: bytes) -> None:
    files.write_file(path, lambda file: file.write(content))


def _library_versions() -> dict[str, str]:
    try:
        mavis = version("mavis-xai")
    except PackageNotFoundError:  # a source tree that is not installed
        mavis = "source"
    return {"mavis": mavis, "torch": torch.__version__}
