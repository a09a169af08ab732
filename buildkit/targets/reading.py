"""What several rules read in a subject: variables, commands, ports, programs on PATH, who may read a file."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from buildkit.checks.subject import Subject
from buildkit.oci.files import Files, Member
from buildkit.oci.process import PATH
from buildkit.process import BEHIND, variables

GB, GIB = 1000**3, 1024**3


def words(process: Mapping[str, Any], key: str) -> list[str]:
    """``Entrypoint`` or ``Cmd`` as a list of words."""
    value = process.get(key) or ()
    return [value] if isinstance(value, str) else [str(word) for word in value]


def command(subject: Subject) -> tuple[list[str], list[str]]:
    """Entrypoint and command that will run: the deployment's own where the recipe's target says some, else the image's."""
    said = subject.settings
    return started(subject, list(getattr(said, "entrypoint", ())), list(getattr(said, "cmd", ())))


def started(subject: Subject, entrypoint: list[str], cmd: list[str]) -> tuple[list[str], list[str]]:
    """Entrypoint and command that will run where a deployment says these, or nothing of them."""
    if not entrypoint and not cmd:
        return words(subject.process, "Entrypoint"), words(subject.process, "Cmd")
    if entrypoint:
        return entrypoint, cmd
    return (words(subject.process, "Entrypoint") if subject.given.config else []), cmd


_FLAG = re.compile(r"^(?:--?(?:port|http-port|http_port|rest_port|server\.port|server-port))(?:=(\d{1,5}))?$")
_BIND = re.compile(r"^(?:(?:-b|--bind|--http|--listen)(?:=|$))?(?:\[?[\w.:*]*\]?:)(\d{2,5})$")
_BINDS = ("-b", "--bind", "--http", "--listen")


def ports_named(arguments: Sequence[str], environment: Mapping[str, str]) -> dict[int, str]:
    """Ports that a command names (``--port N``, ``-b HOST:N``), or ``PORT`` in its environment, and where it does."""
    found: dict[int, str] = {}
    pieces = [piece for argument in arguments for piece in (argument.split() if " " in argument else [argument])]
    for index, piece in enumerate(pieces):
        after = pieces[index + 1] if index + 1 < len(pieces) else ""
        flag = _FLAG.match(piece)
        if flag and (flag[1] or after.isdigit()):
            found[int(flag[1] or after)] = f"{piece} {'' if flag[1] else after}".strip()
        bound = _BIND.match(after if piece in _BINDS else piece if piece.startswith(_BINDS) else "")
        if bound:
            found[int(bound[1])] = f"{piece} {after if piece in _BINDS else ''}".strip()
    if environment.get("PORT", "").isdigit():
        found[int(environment["PORT"])] = f"PORT={environment['PORT']}"
    return found


def ports_asked(subject: Subject, environment: Mapping[str, str]) -> dict[int, str]:
    """The ports that the command names, but for one that only a proxy inside the image asks."""
    entrypoint, cmd = command(subject)
    config = subject.given.config
    behind = str((config.process.get("Labels") or {}).get(BEHIND, "")) if config else ""
    named = ports_named([*entrypoint, *cmd], environment)
    return {port: where for port, where in named.items() if str(port) != behind}


def program(files: Files, name: str, process: Mapping[str, Any]) -> Member | None:
    """The file that a program's name leads to on the image's PATH, links followed; None where it is on none."""
    if "/" in name:
        return _runnable(files, name)
    for folder in (variables(process).get("PATH") or PATH).split(":"):
        found = _runnable(files, posixpath.join(folder or "/", name))
        if found:
            return found
    return None


def _runnable(files: Files, path: str) -> Member | None:
    member = files.find(path)
    if member is None or member.type not in ("file", "hardlink") or not member.mode & 0o111:
        return None
    return files.real(member)


def missing(files: Files, names: Sequence[str], process: Mapping[str, Any]) -> list[str]:
    """The programs that are not on the image's PATH. Busybox's own applets are there only by a link of their name."""
    return [name for name in names if program(files, name, process) is None]


def may_run(files: Files, member: Member, user: str) -> bool:
    """Whether the image's user may execute a file: root may where anybody may (capabilities(7), CAP_DAC_OVERRIDE)."""
    uid, gids = identity(files, user)
    if uid == 0:
        return bool(member.mode & 0o111)
    if uid == member.uid:
        return bool(member.mode & 0o100)
    return bool(member.mode & (0o010 if member.gid in gids else 0o001))


def identity(files: Files, user: str) -> tuple[int | None, set[int]]:
    """The user id and group ids of ``User``, names looked up in the image's /etc/passwd and /etc/group."""
    name, _, group = user.partition(":")
    uid, gids = 0, {0}
    if name:
        known = {line[0]: line for line in _table(files, "etc/passwd")}
        by_id = {line[2]: line for line in known.values() if len(line) > 3}
        line = known.get(name) or by_id.get(name)
        uid = int(name) if name.isdigit() else int(line[2]) if line and len(line) > 3 and line[2].isdigit() else -1
        gids = {int(line[3])} if line and len(line) > 3 and line[3].isdigit() else {0}
    if group:
        groups = {line[0]: line for line in _table(files, "etc/group")}
        gids = {int(group)} if group.isdigit() else {int(groups[group][2])} if group in groups else gids
    return (None if uid < 0 else uid), gids


def _table(files: Files, path: str) -> Iterator[list[str]]:
    member = files.find(path)
    content = files.content(files.real(member)) if member else None
    for line in (content or b"").decode("utf-8", "replace").splitlines():
        if line.count(":") >= 2:
            yield line.split(":")


def shown_few(items: Sequence[str], most: int = 3) -> str:
    """A few names, and how many more there are."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def uncompressed_size(subject: Subject) -> tuple[int, bool]:
    """Bytes of all layers' tars, and whether that is exact: a layer that was not read counts as it is compressed."""
    files = subject.known_files
    if subject.given.image is None:
        return sum(size or 0 for size in files.sizes), not files.unread
    layers = subject.image.manifest.layers
    sizes = [size if size is not None else layer.size for size, layer in zip(files.sizes, layers, strict=True)]
    return sum(sizes), None not in files.sizes
