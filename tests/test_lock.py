"""The lockfile: if these fail, a lock changes when nothing did, is lost, or is believed when it is damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit import lock as locks
from buildkit.errors import InvalidInput
from buildkit.lock import Lock, LockedImage, LockedLayer
from buildkit.oci.manifest import OCI_MANIFEST, Descriptor
from buildkit.oci.reference import Digest, Platform, Reference
from buildkit.pin import File, ImagePin, Inventory, Pins

hexadecimal = st.text("0123456789abcdef", min_size=64, max_size=64)
digests = hexadecimal.map(lambda text: Digest(f"sha256:{text}"))
words = st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn")), min_size=1, max_size=20)
files = st.builds(File, words, st.integers(0, 2**50), hexadecimal, st.just(""), st.just(""))
platforms = st.sampled_from([Platform("linux", "amd64"), Platform("linux", "arm64", "v8")])
inventories = st.builds(
    Inventory,
    st.just("huggingface"),
    words,
    st.lists(files, max_size=5).map(lambda many: tuple(sorted(many))),
    words,
    words,
)
images = st.builds(
    LockedImage,
    st.sampled_from(["embedded", "podman"]),
    st.just("1"),
    digests,
    st.builds(Descriptor, st.just(OCI_MANIFEST), digests, st.integers(0, 2**40)),
    digests,
    st.lists(st.builds(LockedLayer, words, digests, st.integers(0, 2**50)), max_size=3).map(tuple),
)
pins = st.builds(
    Pins,
    st.dictionaries(
        st.just("base"),
        st.builds(
            ImagePin,
            digests.map(lambda digest: Reference("quay.io", "a/b", "c", digest)),
            st.dictionaries(platforms, digests, max_size=2),
        ),
    ),
    st.dictionaries(st.just("model"), inventories),
)
anything = st.builds(
    Lock,
    digests,
    pins,
    st.dictionaries(st.just("builder"), words),
    st.dictionaries(platforms, images, max_size=2),
    st.dictionaries(st.sampled_from(["quay.io/a/b:v1", "127.0.0.1:5000/a:v2"]), digests, max_size=2),
)


@given(anything)
def test_what_is_written_is_read(lock: Lock) -> None:
    """Nothing that a lock holds may be lost or change by being written and read, however often."""
    text = locks.text(lock)
    assert text.endswith("}\n")
    again = locks._read(json.loads(text))
    assert again == lock
    assert locks.text(again) == text


def example() -> Lock:
    files = (File("config.json", 2, git_oid="a" * 40), File("model.safetensors", 5, sha256="b" * 64))
    return Lock(
        Digest.of(b""),
        Pins({}, {"model": Inventory("huggingface", "org/model", files, "main", "c" * 40)}),
        {"model": {"hf": "org/model"}},
    )


def test_each_file_is_one_line() -> None:
    """A change of one file must be a change of one line in a review."""
    lines = locks.text(example()).splitlines()
    assert sum("safetensors" in line for line in lines) == 1
    assert any(line.strip().startswith('{"git_oid"') and line.rstrip(",").endswith("}") for line in lines)


def test_an_unchanged_lock_is_not_touched(tmp_path: Path) -> None:
    """A build that changed nothing must leave even the file's time alone, and work where the file is read-only."""
    path = tmp_path / "recipe.lock"
    locks.write(path, example())
    os.utime(path, (1, 1))
    path.chmod(0o444)
    locks.write(path, example())
    assert path.stat().st_mtime == 1


def test_a_read_only_lock_is_refused_even_to_root(tmp_path: Path) -> None:
    """Who made the lock read-only wants it kept."""
    path = tmp_path / "recipe.lock"
    locks.write(path, example())
    path.chmod(0o444)
    with pytest.raises(InvalidInput, match="read-only"):
        locks.write(path, Lock(Digest.of(b"other"), Pins()))
    assert locks.read(path) == example()


def test_a_staged_lock_that_is_not_committed_leaves_nothing(tmp_path: Path) -> None:
    """A push that ended early must leave neither a new lock nor litter beside the old one."""
    path = tmp_path / "recipe.lock"
    with locks.Staged(path, example()):
        assert not path.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "format version"),
        ('{"version": 99}', "version 99"),
        ('{"version": 1}', "is missing"),
        ("[" * 100_000, "nested without end"),
        ('{"version": 1, "pins": {"images": {}, "sources": {}}, "asked": {"model": 1}}', "pin of 'model' is missing"),
        ("<<<<<<< HEAD\n{}\n=======\n", "merge conflict"),
        (
            '{"version": 1, "recipe": "sha256:no", "pins": {"images": {}, "sources": {}}, "asked": {}, "images": {}, "pushed": {}}',
            "damaged",
        ),
    ],
)
def test_a_damaged_lock_is_explained(tmp_path: Path, text: str, what: str) -> None:
    """A damaged lock must never be taken for an empty one, which would move every pin."""
    path = tmp_path / "recipe.lock"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=what) as raised:
        locks.read(path)
    assert raised.value.hint
