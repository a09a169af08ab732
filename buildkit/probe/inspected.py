"""What /proc tells of a container from inside: what its server listens on, and whether its first process hears SIGTERM."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from buildkit.probe.session import Running

_LISTEN, _HEADER = "0A", "local_address"
_SIGTERM_BIT = 1 << 14


@dataclass(frozen=True)
class Listening:
    """A socket that waits for connections (proc(5), /proc/net/tcp)."""

    address: str
    port: int

    @property
    def only_here(self) -> bool:
        """Whether it is reached from inside the container only."""
        return self.address.startswith("127.") or self.address == "::1"

    @property
    def is_six(self) -> bool:
        """Whether it is a socket of IPv6; one on all addresses may take IPv4 as well, and nobody can tell (ipv6(7))."""
        return ":" in self.address

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def listening(running: Running) -> tuple[Listening, ...] | None:
    """What the container listens on; None where it has no ``cat`` to tell."""
    # In one call: a container costs an engine more than the files do. Where there is no IPv6 the second one is missing.
    done = running.inside("cat", "/proc/net/tcp", "/proc/net/tcp6")
    if done.code and _HEADER not in done.said:
        return None
    return tuple(sorted(set(parsed(done.said)), key=lambda one: (one.port, one.address)))


def parsed(table: str) -> list[Listening]:
    """The listening sockets of a /proc/net/tcp or tcp6, or of both one after the other."""
    found = []
    for line in table.splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[3] == _LISTEN:
            address, _, port = fields[1].partition(":")
            with suppress(ValueError):  # an image may bring a cat of its own
                found.append(Listening(_address(address), int(port, 16)))
    return found


def _address(text: str) -> str:
    """An address as the kernel prints it: words of 32 bits in the processor's order, which is little-endian here."""
    import ipaddress

    raw = b"".join(bytes.fromhex(text[index : index + 8])[::-1] for index in range(0, len(text), 8))
    address = ipaddress.ip_address(raw)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def hears_sigterm(running: Running) -> bool | None:
    """Whether process 1 catches SIGTERM: the kernel gives process 1 no default action. None where nobody can tell."""
    done = running.inside("cat", "/proc/1/status")
    caught = next((line for line in done.said.splitlines() if line.startswith("SigCgt:")), "")
    if done.code or not caught:
        return None
    return bool(int(caught.partition(":")[2].strip(), 16) & _SIGTERM_BIT)
