"""A layer's bytes: if these fail, the same lock gives different digests, or tools in the field cannot read the layer."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.oci import tar

NAMES = st.lists(
    st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="/\\"), min_size=1, max_size=60).filter(
        lambda part: part not in (".", "..")
    ),
    min_size=1,
    max_size=4,
).map("/".join)


def packed(entries: list[tar.Entry], content: dict[str, bytes]) -> bytes:
    return b"".join(tar.stream(entries, lambda entry: tar.Content((content[entry.name],))))


@given(st.dictionaries(NAMES, st.binary(max_size=3000), max_size=8), st.integers(0, 2**31))
def test_python_reads_back_what_was_written(content: dict[str, bytes], mtime: int) -> None:
    """Any name and content survive: else a model's files are missing or changed in the image."""
    entries = [tar.Entry(name, 0o444, len(data), uid=1001, mtime=mtime) for name, data in sorted(content.items())]
    raw = packed(entries, content)
    assert len(raw) == tar.length(entries), "the length that is announced to the registry is wrong"
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        members = archive.getmembers()
        read = {member.name: archive.extractfile(member).read() for member in members}  # type: ignore[union-attr]
    assert read == content
    assert {(member.uid, member.gid, member.mode, member.mtime) for member in members} <= {(1001, 0, 0o444, mtime)}


def test_bytes_are_pinned() -> None:
    """The packing of revision 1 never changes: else every model would be pushed again by an update of this tool."""
    long = "models/" + "long/" * 30 + "name.bin"
    entries = [tar.Entry("models", 0o555, directory=True, uid=1001), tar.Entry(long, 0o444, 5, uid=1001)]
    raw = packed(entries, {long: b"hello"})
    assert tar.PACKING == "1"
    assert hashlib.sha256(raw).hexdigest() == "8f2eaa4537c34463780f0d4875acd6f751d8ff89391da448a7c0c80d9e6bde87"


def test_sizes_of_eight_gibibytes_and_more_are_base_256() -> None:
    """Scanners in the field fail on a PAX size: a large shard must carry its size in the GNU way."""
    entry = tar.Entry("models/large", 0o444, 9 * 2**30)
    block = tar.header(entry)
    assert len(block) == tar.BLOCK
    assert tarfile.TarInfo.frombuf(block, "utf-8", "strict").size == 9 * 2**30
    assert block[257:265] == b"ustar  \0", "the header is not in GNU format"


@pytest.mark.parametrize(("pieces", "what"), [([b"12"], "missing"), ([b"123", b"45"], "more than")])
def test_content_of_another_length_is_refused(pieces: list[bytes], what: str) -> None:
    """A file that changed while it was packed would shift everything after it."""

    def opened(entry: tar.Entry) -> tar.Content:
        return tar.Content(pieces)

    with pytest.raises(ValueError, match=what):
        list(tar.stream([tar.Entry("models/a", 0o444, 4)], opened))


def test_small_files_are_gathered_and_large_pieces_pass_through() -> None:
    """Twenty thousand small files in sixty thousand writes would make a push several times slower."""
    small = [tar.Entry(f"models/{number:05}", 0o444, 10) for number in range(2000)]
    pieces = list(tar.stream(small, lambda entry: tar.Content((b"0123456789",))))
    assert len(pieces) < 40
    large = bytes(1024 * 1024)
    pieces = list(tar.stream([tar.Entry("models/large", 0o444, len(large))], lambda entry: tar.Content((large,))))
    assert any(piece is large for piece in pieces), "a large piece was copied"
