"""What a server's command says of its port and address, and what a platform takes as one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from buildkit.reading.plain import Refusal, shown

LONGEST = 2048
"""Bytes of ENTRYPOINT and CMD together have to be fewer (OCI Data Science, BYOC required interfaces; its SDK)."""
_PORT_OPTIONS = ("--port", "-p", "--http-port", "--server-port")
_BIND_OPTIONS = ("--bind", "-b")
_HOST_OPTIONS = ("--host", "-h")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def lengthy(words: Sequence[str]) -> Iterator[Refusal]:
    """Tells a command that is too long for a platform."""
    size = sum(len(word.encode()) for word in words)
    if size >= LONGEST:
        raise_to = "write the arguments into a file of the code, or into variables"
        yield Refusal(f"with the entrypoint it has {size} bytes, and platforms take fewer than {LONGEST}", raise_to)


def misdirected(words: Sequence[str], port: int, *, behind_proxy: bool) -> Iterator[Refusal]:
    """Tells a command that names another port, or an address at which no platform reaches it."""
    key = "server_port" if behind_proxy else "port"
    for option, text in _options(words):
        found, host = _address(option, text)
        if found is not None and found != port:
            yield Refusal(
                f"{option} says port {found}, and {key} is {port}", f"write {key}: {found}, or {option} with {port}"
            )
        if host in _LOOPBACK and not behind_proxy:
            yield Refusal(f"{option} {text} is reached by nobody outside the container", "listen on 0.0.0.0")


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    known = (*_PORT_OPTIONS, *_BIND_OPTIONS, *_HOST_OPTIONS)
    for number, word in enumerate(words):
        option, equals, text = word.partition("=")
        if option in known and equals:
            yield option, text
        elif word in known and number + 1 < len(words):
            yield word, words[number + 1]


def _address(option: str, text: str) -> tuple[int | None, str]:
    """The port and the host that an option's value names."""
    if option in _HOST_OPTIONS:
        return None, text
    host, _, digits = text.rpartition(":")
    return (int(digits) if re.fullmatch(r"\d{1,5}", digits) else None), host.strip("[]")


def forgotten_code(words: Sequence[str], folder: Path) -> Iterator[Refusal]:
    """Tells a command that starts a file which lies beside the recipe, where the recipe takes no code along."""
    modules = [word.partition(":")[0].replace(".", "/") + ".py" for word in words if re.fullmatch(r"[\w.]+:\w+", word)]
    modules += [second.replace(".", "/") + ".py" for first, second in itertools.pairwise(words) if first == "-m"]
    scripts = [word.removeprefix("./") for word in words if re.fullmatch(r"[\w./-]+\.(py|sh)", word)]
    for name in dict.fromkeys([*scripts, *modules]):
        if not name.startswith("/") and (folder / name).is_file():
            yield Refusal(f"starts {shown(name)}, and the recipe takes no code into the image", "write code: .")
