"""A container as a value, and what an engine must do with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from buildkit.oci.manifest import Manifest
from buildkit.oci.stored import Readable


@dataclass(frozen=True)
class Mount:
    """A folder of this machine inside a container."""

    source: Path
    target: str
    read_only: bool = True


@dataclass(frozen=True)
class Container:
    """How an image is run. ``arguments`` replace its CMD, ``entrypoint`` its ENTRYPOINT; None leaves what it has.

    ``ports`` are published on 127.0.0.1 only, the first on ``host_port``, the others and with 0 where the kernel finds one
    free. ``temporary`` are folders in memory; with ``read_only`` nothing else can be written to. ``processes_of`` names
    a container whose process namespace is shared. ``passed`` are variables whose values come from our own environment and
    stand on no command line.
    """

    image: str
    arguments: tuple[str, ...] = ()
    entrypoint: str | None = None
    ports: tuple[int, ...] = ()
    host_port: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    passed: tuple[str, ...] = ()
    user: str | None = None
    memory: str | None = None
    read_only: bool = False
    temporary: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    processes_of: str | None = None


@dataclass(frozen=True)
class State:
    """A container at one moment: whether it runs, how it ended, and the ports of this machine that lead to its own."""

    running: bool
    code: int = 0
    published: Mapping[int, int] = field(default_factory=dict)
    out_of_memory: bool = False


@dataclass(frozen=True)
class Done:
    """A program that ran to its end: its exit code and what it printed."""

    code: int
    said: str


@dataclass(frozen=True)
class Served:
    """An image where it lies: its manifest, and the store that has its blobs. ``layout`` is that store's folder, if it is one."""

    store: Readable
    manifest: Manifest
    layout: Path | None = None


class NotStarted(Exception):
    """An engine could not start a container; ``said`` is what it printed, ``code`` what it ended with.

    125 is the engine's own failure, 126 a program that cannot be run, 127 one that is not there (podman-run(1)).
    """

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said)
        self.code, self.said = code, said

    def hint(self, command: str) -> str:
        """``command`` where the engine says that it is the image's command which cannot be run; else where to look.

        podman also calls it 126 when its runtime may not set a limit (podman, libpod/oci_util.go), so that the words count.
        """
        if self.code == _NOT_THERE or _OF_A_COMMAND.search(self.said):
            return command
        return "read what the engine says: it may lie at this machine, and not at the image"


_NOT_THERE = 127
_OF_A_COMMAND = re.compile(r"executable|exec: |exec format|command that was not found|no command", re.I)
"""How crun, runc and the engines above them tell of a program that is not there, or is none."""


Signal = Literal["TERM", "INT", "KILL"]


class Containers(Protocol):
    """Starts containers and looks after them."""

    def start(self, name: str, container: Container) -> None:
        """Starts a container under a name of its own, in the background; raises NotStarted."""

    def look(self, name: str) -> State:
        """How it stands with a container."""

    def inside(self, name: str, words: tuple[str, ...], seconds: float) -> Done:
        """Runs a program inside; one that is not there, or that takes longer, ends with a code that is not 0."""

    def signal(self, name: str, signal: Signal) -> None:
        """Sends a signal to its first process."""

    def remove(self, name: str) -> None:
        """Ends and removes it with its volumes, in whatever state it is, also where it was never made."""


class Evidence(Protocol):
    """What a container leaves behind."""

    def logs(self, name: str) -> str:
        """The last lines that it printed, to either stream."""

    def follow(self, name: str) -> None:
        """Passes on what it prints to our own streams, until it ends."""

    def changes(self, name: str) -> tuple[str, ...]:
        """The paths that it wrote to, mounts and temporary folders left out."""

    def files(self, image: str) -> Iterator[bytes]:
        """An image's whole file system as one tar."""


class Images(Protocol):
    """Brings images to an engine."""

    def pull(self, reference: str, *, plain_http: bool) -> str:
        """Pulls from a registry; returns the image's id. Raises EngineFailed."""

    def load(self, served: Served) -> str:
        """Takes an image that lies on this disk; returns a name of its own. Raises EngineFailed."""

    def find(self, name: str) -> str | None:
        """The id of an image that the engine has under a name."""

    def forget(self, image: str) -> None:
        """Removes an image that was loaded, unless something else uses it."""


class Engine(Containers, Evidence, Images, Protocol):
    """podman or docker."""

    name: str
