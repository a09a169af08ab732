"""A model in an image: KServe's sidecar, which shares it through /proc, and a volume that mounts the image's folder."""

from __future__ import annotations

import secrets
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from buildkit.oci.pieces import reader
from buildkit.probe.containers import Container, Mount, NotStarted
from buildkit.probe.session import Session
from buildkit.probe.verdicts import Outcome, broken, last_line, noted, passed, unasked

SIDECAR_USER, SIDECAR_MEMORY = "1010", "15m"
"""KServe v0.20, ConfigMap inferenceservice-config: uidModelcar and memoryModelcar."""

_CHECKED = "modelpack-checked"
_INIT = f'[ -d /models ] && [ "$(ls -A /models)" ] && echo {_CHECKED}'
_SIDECAR = "ln -sf /proc/$$/root/models /mnt/models && sleep infinity"
"""What KServe's modelcar-init and modelcar containers are told (kserve pkg/utils/storage.go), as arguments of ``sh -c``."""

_WALK = """
first=
walk() {
  for file in "$1"/* "$1"/.[!.]*; do
    if [ -d "$file" ]; then
      if [ -r "$file" ] && [ -x "$file" ]; then walk "$file"; else echo "unreadable: $file"; fi
    elif [ -e "$file" ] || [ -L "$file" ]; then
      if [ ! -r "$file" ]; then echo "unreadable: $file"
      elif [ -z "$first" ]; then first=$file; ( : < "$file" ) || echo "unreadable: $file"; fi
    fi
  done
}
if [ -d "$1" ] && [ -r "$1" ] && [ -x "$1" ]; then walk "$1"; else echo "unreadable: $1"; fi
echo "read: $first"
"""
"""Tries to read everything with nothing but the shell's own words: a small base has few programs."""

_READABLE = "write files with mode 0444 and folders with 0555, owned by group 0 (chmod -R a=rX)"


@dataclass(frozen=True)
class Modelcar:
    """KServe's ``oci://``: an init check, and a sidecar of 15 MiB whose process namespace the model server shares."""

    present: str = "KS-01"
    tools: str = "KS-02"
    entrypoint: str = "KS-03"
    readable: str = "KS-05"
    shared: str = "KS-11"
    small: str = "KS-18"

    def outcomes(self, session: Session) -> list[Outcome]:
        """The init check; where it holds the sidecar, and another container that reads the model through it."""
        limited = _memory_is_limited(session)
        found = list(self._init(session, limited))
        if any(one.verdict == "failed" for one in found):
            why = "the init check failed: KServe does not go on"
            return [*found, *(unasked(rule, "", why) for rule in (self.readable, self.shared, self.small))]
        return [*found, *self._sidecar(session, limited), as_random_user(session, self.readable, "/models")]

    def _container(self, session: Session, script: str, limited: bool) -> Container:
        memory = SIDECAR_MEMORY if limited else None
        return Container(session.image, ("sh", "-c", script), user=SIDECAR_USER, memory=memory)

    def _init(self, session: Session, limited: bool) -> Iterator[Outcome]:
        asked = "args: sh -c '[ -d /models ] && [ \"$(ls -A /models)\" ]' as the init check"
        code, said = _ended(session, "KServe's init check", self._container(session, _INIT, limited))
        if code == 0 and _CHECKED in said:
            yield passed(self.present, asked, "exit code 0")
            yield passed(self.tools, asked, "sh, [ and ls are there")
            yield passed(self.entrypoint, asked, "the arguments were run as they are")
            return
        bare = replace(self._container(session, _INIT, limited), entrypoint="sh", arguments=("-c", _INIT))
        bare_code, bare_said = _ended(session, "the init check without the image's entrypoint", bare)
        if bare_code == 0 and _CHECKED in bare_said:
            answer = f"exit code {code}: {last_line(said)}" if said.strip() else f"exit code {code}, and sh did not run"
            yield broken(
                self.entrypoint, asked, answer, "leave ENTRYPOINT empty: KServe gives arguments only, and no command"
            )
        elif "oom" in bare_said.lower():
            yield broken(self.small, f"{asked}, in 15 MiB", last_line(bare_said), "use a small base with a small shell")
        elif bare_code in (125, 126, 127):
            yield broken(self.tools, asked, last_line(bare_said), "use a base with a shell: ubi-micro, busybox")
        elif "denied" in bare_said:
            yield broken(self.readable, asked, f"exit code {bare_code}: {last_line(bare_said)}", _READABLE)
        else:
            yield broken(
                self.present,
                asked,
                f"exit code {bare_code} {last_line(bare_said)}".strip(),
                "put the model under /models",
            )

    def _sidecar(self, session: Session, limited: bool) -> Iterator[Outcome]:
        with tempfile.TemporaryDirectory(prefix="modelpack-") as shared:
            Path(shared).chmod(0o777)  # as an emptyDir is
            mount = Mount(Path(shared), "/mnt", read_only=False)
            sidecar = replace(self._container(session, _SIDECAR, limited), mounts=(mount,))
            try:
                with session.running("KServe's sidecar", sidecar) as running:
                    link = Path(shared) / "models"
                    session.patience.until(lambda: link.is_symlink() or not running.state().running, 30)
                    yield from self._judged_sidecar(link.is_symlink(), running.state().running, limited)
                    yield from self._read_through(session, replace(sidecar, memory=None), running.name)
            except NotStarted as error:
                yield broken(
                    self.small, "the sidecar in 15 MiB", last_line(error.said), "use a small base with a small shell"
                )

    def _judged_sidecar(self, linked: bool, runs: bool, limited: bool) -> Iterator[Outcome]:
        asked = f"args: sh -c '{_SIDECAR}' as user {SIDECAR_USER} in 15 MiB"
        if linked and runs:
            yield (
                passed(self.small, asked, "it made its link and sleeps")
                if limited
                else unasked(self.small, asked, "this engine cannot limit memory here")
            )
        else:
            what = "it made its link and ended" if linked else "it made no link"
            yield broken(self.tools, asked, what, "the base needs ln, and a sleep that takes 'infinity'")

    def _read_through(self, session: Session, sidecar: Container, name: str) -> Iterator[Outcome]:
        reader = replace(sidecar, arguments=("sh", "-c", _WALK, "sh", "/mnt/models/"), processes_of=name)
        asked = f"another container with its process namespace, user {SIDECAR_USER}, reads /mnt/models/"
        code, said = _ended(session, "a model server beside the sidecar", reader)
        unreadable = _unreadable(said)
        if code == 0 and not unreadable:
            yield passed(self.shared, asked, last_line(said))
        elif code == 0 and unreadable != ["/mnt/models/"]:
            yield broken(self.readable, asked, f"it cannot read {_some(unreadable)}", _READABLE)
        else:
            hint = "this machine may forbid it where a cluster does not; oci+native:// does not need it"
            yield noted(self.shared, asked, f"exit code {code}: {last_line(said)}", hint)


@dataclass(frozen=True)
class MountedFolder:
    """An image volume: its root mounted read-only, a folder of it read by any user of group 0."""

    present: str
    readable: str
    folder: str = "models"

    def outcomes(self, session: Session) -> list[Outcome]:
        """Reads the modes of the merged root, and tries them out where the image has a shell."""
        asked = f"/{self.folder} of the image, mounted read-only"
        entries = dict(_entries(session, self.folder))
        top = entries.get(self.folder)
        if self.folder and (top is None or not top.isdir()):
            what = "is not there" if top is None else "is not a folder itself"
            return [
                broken(self.present, asked, f"/{self.folder} {what}", f"put the model under /{self.folder}"),
                unasked(self.readable, asked, "there is nothing to read"),
            ]
        if not any(name != self.folder for name in entries):
            return [
                broken(self.present, asked, "it is empty", f"put the model under /{self.folder}"),
                unasked(self.readable, asked, "there is nothing to read"),
            ]
        found = passed(self.present, asked, f"{len(entries) - 1} files and folders")
        return [found, self._judged(session, entries)]

    def _judged(self, session: Session, entries: dict[str, tarfile.TarInfo]) -> Outcome:
        shut = [f"/{name}" for name, member in entries.items() if not _open_to_all(member)]
        if shut:
            asked = "readable for any user, as the modes of the mounted root say"
            return broken(self.readable, asked, f"not readable: {_some(shut)}", _READABLE)
        tried = as_random_user(session, self.readable, f"/{self.folder}")
        if tried.verdict == "not asked":
            return passed(self.readable, "the modes of the mounted root, for it has no shell", "readable for any user")
        return tried


def as_random_user(session: Session, rule: str, folder: str) -> Outcome:
    """Reads the folder as OpenShift would, with a random user of group 0, and as one of no known group."""
    user = str(20000 + secrets.randbelow(40000))
    asked = f"{folder} as user {user}, with group 0 and with group {user}, on a read-only root"
    for group in ("0", user):
        container = Container(
            session.image, ("-c", _WALK, "sh", folder), entrypoint="sh", user=f"{user}:{group}", read_only=True
        )
        code, said = _ended(session, f"a reader with user {user}:{group}", container)
        if code in (125, 126, 127):
            return unasked(rule, asked, "the image has no shell to try it with")
        unreadable = _unreadable(said)
        if code or unreadable:
            return broken(
                rule, asked, f"user {user}:{group} cannot read {_some(unreadable) or last_line(said)}", _READABLE
            )
    return passed(rule, asked, "everything can be read")


def _open_to_all(member: tarfile.TarInfo) -> bool:
    """Whether group and others may read it, and enter it where it is a folder; links have no modes of their own."""
    if member.issym() or member.islnk():
        return True
    wanted = 0o055 if member.isdir() else 0o044
    return member.mode & wanted == wanted


def _entries(session: Session, folder: str) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """The folder and everything in it, as the engine merged the layers."""
    with tarfile.open(fileobj=reader(session.engine.files(session.image)), mode="r|") as tar:
        for member in tar:
            name = member.name.removeprefix("./").strip("/")
            if not folder or name == folder or name.startswith(f"{folder}/"):
                yield name, member


def _memory_is_limited(session: Session) -> bool:
    """Whether the engine can limit memory here; without it the sidecar is run all the same."""
    container = Container(session.image, ("-c", ":"), entrypoint="sh", memory=SIDECAR_MEMORY)
    try:
        session.run("a container with 15 MiB", container)
    except NotStarted as error:
        said = error.said.lower()
        return not ("cgroup" in said or "resource" in said)
    return True


def _ended(session: Session, what: str, container: Container) -> tuple[int, str]:
    try:
        done = session.run(what, container)
    except NotStarted as error:
        return error.code, error.said
    return done.code, done.said


def _unreadable(said: str) -> list[str]:
    return [line.removeprefix("unreadable: ") for line in said.splitlines() if line.startswith("unreadable: ")]


def _some(paths: list[str]) -> str:
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return ", ".join(paths[:5]) + more
