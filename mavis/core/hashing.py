"""Content hashes, by which cells, blocks and files are identified."""

import hashlib
import json
from pathlib import Path
from typing import Any


def digest(*parts: bytes | str) -> str:
    """SHA-256 over the parts, each preceded by its length, as 64 hex digits."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big"))
        total.update(data)
    return total.hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text, in every process.

    Raises:
        TypeError: a value has no stable text (a function, a bare object), so its hash would differ in every process.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_json_default)


def digest_json(value: Any) -> str:
    """Digest of a value's canonical JSON."""
    return digest(canonical_json(value))


def digest_file(path: Path) -> str:
    """Digest of a file's bytes."""
    return digest(path.read_bytes())


def _json_default(value: Any) -> Any:
    """Sets as sorted lists, since their order changes from process to process; anything else as its text."""
    if isinstance(value, set | frozenset):
        return sorted(value, key=canonical_json)
    text = str(value)
    if " at 0x" in text:
        raise TypeError(f"A {type(value).__name__} cannot be hashed by its content; give a plain value.")
    return text
