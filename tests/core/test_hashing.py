"""Content hashes: equal content, equal name; other content, another."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

import mavis
from mavis.core.hashing import canonical_json, digest, digest_file, digest_json


def test_a_digest_is_sha256_over_parts_and_their_lengths() -> None:
    """The digest can be recomputed from its definition with hashlib alone."""
    expected = hashlib.sha256((2).to_bytes(8, "big") + b"ab" + (1).to_bytes(8, "big") + b"c").hexdigest()
    assert digest("ab", "c") == expected


def test_where_a_part_ends_matters() -> None:
    """The same letters divided otherwise are other content."""
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("abc", ""), digest("", "abc")}) == 5


def test_text_is_its_utf8_bytes() -> None:
    """A string and its UTF-8 bytes are the same part."""
    assert digest("é") == digest("é".encode())


def test_the_order_of_keys_does_not_matter() -> None:
    """Two equal mappings have one text at any depth; the order of a list does matter."""
    assert canonical_json({"b": {"y": 1, "x": [1, 2]}, "a": None}) == '{"a":null,"b":{"x":[1,2],"y":1}}'
    assert digest_json({"b": 1, "a": 2}) == digest_json({"a": 2, "b": 1})
    assert digest_json([1, 2]) != digest_json([2, 1])


def test_tuples_are_lists_and_paths_are_text() -> None:
    """A value read back from JSON hashes like the one that was written."""
    assert canonical_json({"a": (1, 2), "p": Path("x") / "y"}) == '{"a":[1,2],"p":"x/y"}'


def test_other_letters_are_escaped() -> None:
    """The text is ASCII, so no encoding can change it."""
    assert canonical_json("é") == '"\\u00e9"'


def test_a_set_hashes_alike_in_every_process() -> None:
    """Python orders sets by a secret of the process; the hash must not see it."""
    code = "from mavis.core.hashing import digest_json; print(digest_json({'needs': frozenset('abcde')}))"
    package = str(Path(mavis.__file__).parents[1])
    digests = set()
    for seed in ("1", "2", "3"):
        secret = {"PYTHONHASHSEED": seed, "PYTHONPATH": package}
        digests.add(subprocess.run([sys.executable, "-c", code], env=secret, capture_output=True, check=True).stdout)
    assert digests == {digest_json({"needs": ["a", "b", "c", "d", "e"]}).encode() + b"\n"}


@pytest.mark.parametrize("value", [object(), lambda: None])
def test_a_value_without_content_is_refused(value: object) -> None:
    """An object known only by its address would hash differently in every run."""
    with pytest.raises(TypeError, match="cannot be hashed by its content"):
        canonical_json({"factory": value})


def test_a_file_is_hashed_by_its_bytes(tmp_path: Path) -> None:
    """A file's digest is that of its bytes, whatever its name."""
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"\x00\xff")
    assert digest_file(tmp_path / "a") == digest_file(tmp_path / "b") == digest(b"\x00\xff")
