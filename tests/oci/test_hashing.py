"""SHA-256 of two digests in one pass: if these fail, layers or files are named by digests that nobody else computes."""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.oci import hashing
from buildkit.oci.hashed import hashed

PAIRED = pytest.param(True, marks=pytest.mark.skipif(not hashing.PAIRED, reason="not compiled on this machine"))
SIZES = st.one_of(st.sampled_from([0, 1, 55, 56, 63, 64, 65, 119, 128, 512]), st.integers(0, 3000))


def lacking() -> str:
    """Why the accelerator cannot be built or run here; "" where it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "it is for x86-64"
    if not (shutil.which("cc") or shutil.which("gcc")):
        return "there is no C compiler"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python's headers are not installed"
    if "sha_ni" not in Path("/proc/cpuinfo").read_text(encoding="utf-8").split():
        return "this processor has no SHA extensions"
    return ""


@pytest.mark.skipif(bool(lacking()), reason=lacking())
def test_it_is_compiled_where_it_can_be() -> None:
    """A build that silently falls back hashes at half of the speed for ever."""
    assert hashing.PAIRED, "install the project again: 'pip install -e .' compiles buildkit/oci/_sha256.c"


@pytest.mark.parametrize("paired", [False, PAIRED])
@given(heads=st.tuples(SIZES, SIZES), pieces=st.lists(SIZES, max_size=8), seed=st.integers(0, 255))
def test_two_digests_are_those_of_hashlib(paired: bool, heads: tuple[int, int], pieces: list[int], seed: int) -> None:
    """However the bytes are cut, and whatever either hash has seen before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "PAIRED", paired)
        ours = hashing.sha256(), hashing.sha256()
    theirs = hashlib.sha256(), hashlib.sha256()
    for our, their, size in zip(ours, theirs, heads, strict=True):
        our.update(bytes(size))
        their.update(bytes(size))
    for number, size in enumerate(pieces):
        piece = bytes((seed + number + offset) % 256 for offset in range(size))
        hashing.update(memoryview(piece), *ours)
        for their in theirs:
            their.update(piece)
        assert [our.hexdigest() for our in ours] == [their.hexdigest() for their in theirs]


def test_one_hash_or_none_is_fed_as_well() -> None:
    """A file without a proof belongs to its layer alone."""
    only = hashing.sha256()
    hashing.update(b"abc", None, only)
    hashing.update(b"def")
    assert only.hexdigest() == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.skipif(not hashing.PAIRED, reason="not compiled on this machine")
@pytest.mark.parametrize(("data", "state"), [(bytes(65), 32), (bytes(64), 31), (bytes(64), 33)])
def test_what_does_not_fit_is_refused(data: bytes, state: int) -> None:
    """A state or block of another size would be written past its end."""
    from buildkit.oci._sha256 import compress

    with pytest.raises(ValueError, match="whole blocks"):
        compress(data, bytearray(state))
    with pytest.raises(ValueError, match="whole blocks"):
        compress(data, bytearray(32), bytearray(state) if state != 32 else bytearray(8))
    with pytest.raises((TypeError, BufferError)):
        compress(bytes(64), bytes(32))  # type: ignore[arg-type]


def test_a_stream_that_is_hashed_already_is_not_hashed_again() -> None:
    """What a layer's own stream knows is taken from it."""
    once = hashed(iter([b"ab", b"c"]))
    assert hashed(once) is once
    assert b"".join(bytes(piece) for piece in once) == b"abc"
    assert once.digest == f"sha256:{hashlib.sha256(b'abc').hexdigest()}"
