"""Servers in this process that a probe takes for containers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from buildkit.probe.containers import Done, Signal, State
from tests.probe.served import Rules, Server

TABLE = "  sl  local_address rem_address   st\n   0: {address}:{port:04X} 00000000:0000 0A\n"


@dataclass
class InProcess:
    """A server of this process in the place of a container; ``address`` is what it claims to listen on."""

    server: Server
    address: str = "00000000"
    hears: bool = True
    runs: bool = True
    obeys: bool = True
    written: tuple[str, ...] = ()
    container_port: int = 8080
    signals: list[str] = field(default_factory=list)

    def published(self, port: int) -> int | None:
        return int(self.server.server_address[1]) if port == self.container_port else None

    def state(self) -> State:
        return State(self.runs)

    def inside(self, *words: str, seconds: float = 10) -> Done:
        match words:
            case ("cat", "/proc/net/tcp", *_):
                return Done(0, TABLE.format(address=self.address, port=self.container_port))
            case ("cat", "/proc/1/status"):
                return Done(0, f"SigCgt:\t{'0000000000004002' if self.hears else '0000000000000002'}\n")
            case ("curl", *_):
                return Done(0, "")
        return Done(1, "")

    def signal(self, signal: Signal) -> None:
        self.signals.append(signal)
        self.runs = not self.obeys

    def changes(self) -> tuple[str, ...]:
        return self.written


Serving = Callable[..., InProcess]


@pytest.fixture
def serving() -> Iterator[Serving]:
    """Starts a server with a fault; all of them end with the test."""
    servers: list[Server] = []

    def start(fault: str = "", environment: dict[str, str] | None = None, **claims: object) -> InProcess:
        server = Server(("127.0.0.1", 0), Rules(fault, environment))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return InProcess(server, **claims)  # type: ignore[arg-type]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
