"""Very many files in a Containerfile: BuildKit takes no more than 4 MiB of build definition, in which it repeats every RUN
line four times, and 20,000 files with their digests do not fit into that. They are proven by one digest over all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from buildkit.pin import File


@dataclass(frozen=True)
class Many:
    """What proves many files: their count, a digest over a line for each, and for which of them git's digest is known.

    ``git`` is a number in hexadecimal whose bit N says so of file N in the order of the paths. ``roots`` says, in that
    order too, how many files go to which layer's root: ``out-1:300,out-2:1,out-1:20``.
    """

    count: int
    digest: str
    git: str
    roots: str


def proven_together(rooted: Iterable[tuple[File, str]]) -> Many:
    """What the program below has to find; each file with the root of its layer."""
    ordered = sorted(rooted, key=lambda pair: pair[0].path)
    files = [file for file, _ in ordered]
    known_by_git = sum(1 << number for number, file in enumerate(files) if not file.sha256)
    lines = "".join(f"{file.proof}/{file.size}/{file.path}\n" for file in files)
    runs = ",".join(f"{root}:{len(list(run))}" for root, run in groupby(root for _, root in ordered))
    return Many(len(files), hashlib.sha256(lines.encode()).hexdigest(), f"{known_by_git:x}", runs)


PROGRAM = """\
import hashlib, os, sys
def proof(path, by_git):
    size = os.path.getsize(path)
    digest = hashlib.new("sha1", b"blob %d" % size + bytes(1), usedforsecurity=False) if by_git else hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""): digest.update(piece)
    return ("git:" if by_git else "sha256:") + digest.hexdigest(), size
def settle(path, mode):
    os.chmod(path, mode)
    os.utime(path, (0, 0))
digest, count, git = sys.argv[1], int(sys.argv[2]), int(sys.argv[3], 16)
roots = [root for run in sys.argv[4].split(",") for root, times in [run.split(":")] for _ in range(int(times))]
found = (os.path.join(folder, name) for folder, _, names in os.walk("/download") for name in names)
paths = sorted(os.path.relpath(path, "/download") for path in found if not path.startswith("/download/.cache/huggingface/"))
proofs = [proof("/download/" + path, git >> number & 1) for number, path in enumerate(paths)]
lines = "".join("%s/%d/%s" % (*proven, path) + chr(10) for proven, path in zip(proofs, paths))
if len(paths) != count or hashlib.sha256(lines.encode()).hexdigest() != digest:
    sys.exit("the %d files of the model are not the %d files that were locked" % (len(paths), count))
for path, root in zip(paths, roots):
    place = "/" + root + "/models/" + path
    os.makedirs(os.path.dirname(place), exist_ok=True)
    os.rename("/download/" + path, place)
    settle(place, 0o444)
for root in set(roots):
    for folder, _, _ in os.walk("/" + root + "/models"): settle(folder, 0o555)
"""
"""Proves what was downloaded, and puts every file where its layer is taken from. It runs in the builder image."""
