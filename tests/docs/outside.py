"""The world outside, on loopback and under its real names: what a guide names is reached through a proxy of our own.

The proxy answers CONNECT for the hosts that it knows, and leads each to a fake that speaks TLS with a certificate for that
very name. So a guide's commands are run as they stand there: nothing in them is replaced.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.wheels import INDEX
from tests.fakes.hub import Hub
from tests.fakes.registry import Account, Auth, Registry
from tests.live.certificates import write_server_files
from tests.place import put_base

HUB = "huggingface.co"
REGISTRIES = (
    "quay.io",
    "registry.access.redhat.com",
    "registry-1.docker.io",
    "kix.ocir.io",
    "iad.ocir.io",
    "swr.eu-de.otc.t-systems.com",
    "example.azurecr.io",
    "nvcr.io",
    "registry.lab.example",
)
ACCOUNTS = {
    "quay.io": "you+robot",
    "kix.ocir.io": "axabc123/me@example.com",
    "iad.ocir.io": "axabc123/me@example.com",
    "swr.eu-de.otc.t-systems.com": "eu-de@AK",
    "example.azurecr.io": "00000000-0000-0000-0000-000000000000",
}
"""Who may push where: the users that the guides log in as. Everywhere else anybody may."""
PASSWORD = "secret"
_SHELL = tuple(f"bin/{name}" for name in ("sh", "ln", "ls", "sleep", "test", "[", "echo", "mkdir"))
_PYTHON = (*_SHELL, "usr/local/bin/python3", "usr/local/bin/pip", "usr/bin/curl", "usr/bin/java", "usr/bin/zip")


@dataclass(frozen=True)
class Outside:
    """The fakes by the names that guides know them by, and the variables that lead there."""

    hub: Hub
    registries: Mapping[str, Registry]
    environment: Mapping[str, str]
    wheels: dict[str, bytes] = field(default_factory=dict)
    """What the package index has, by path: nothing, until a test puts it there."""

    def tags(self, host: str) -> dict[str, dict[str, str]]:
        """What a registry has: repository -> tag -> digest."""
        return {name: dict(tags) for name, tags in self.registries[host].tags.items()}


@contextmanager
def outside(folder: Path, beyond: Sequence[str] = (), strict: bool = False, login: str = "") -> Iterator[Outside]:
    """Everything outside, with the bases that recipes name by default; ``folder`` is for certificates.

    ``beyond`` are hosts that are really asked: where a live test needs the packages that a lock names. With ``strict``
    nobody reads or writes without a login where ``ACCOUNTS`` has one. ``login`` is the
    USER:PASSWORD that the proxy asks for.
    """
    files = write_server_files(folder, (HUB, INDEX, *REGISTRIES))
    trusted = folder / "trusted.crt"
    system = ssl.get_default_verify_paths().cafile
    trusted.write_bytes(files.ca_file.read_bytes() + (Path(system).read_bytes() if system else b""))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(files.certificate_file, files.key_file)
    with contextlib.ExitStack() as opened:
        hub = opened.enter_context(Hub(tls=tls))
        auths = {host: Auth("token", {user: Account(PASSWORD)}) for host, user in ACCOUNTS.items() if strict}
        registries = {host: opened.enter_context(Registry(tls=tls, auth=auths.get(host))) for host in REGISTRIES}
        wheels: dict[str, bytes] = {}
        for registry in registries.values():
            registry.behaviour.location = "relative"
        _bases(registries)
        places = {host: registry.address for host, registry in registries.items()}
        places |= {HUB: hub.endpoint.partition("://")[2], INDEX: opened.enter_context(_index(wheels, tls))}
        places |= {host: f"{host}:443" for host in beyond}
        proxy = opened.enter_context(_proxy(places, login))
        environment = {"HTTPS_PROXY": proxy, "NO_PROXY": "127.0.0.1", "SSL_CERT_FILE": str(trusted)}
        yield Outside(hub, registries, environment, wheels)


@contextmanager
def _index(wheels: Mapping[str, bytes], tls: ssl.SSLContext) -> Iterator[str]:
    """The package index's files: HOST:PORT."""

    class Files(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            content = wheels.get(self.path.lstrip("/"))
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(wheels.get(self.path.lstrip("/"), b""))

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _bases(registries: Mapping[str, Registry]) -> None:
    red_hat, docker = registries["registry.access.redhat.com"], registries["registry-1.docker.io"]
    put_base(red_hat, programs=_SHELL)
    put_base(red_hat, "ubi9/python-312", programs=_PYTHON)
    for tag in ("3.11-slim", "3.12-slim"):
        put_base(docker, "library/python", programs=_PYTHON, tag=tag, cmd=["python3"])
    put_base(docker, "library/ubuntu", programs=_SHELL, tag="24.04")


@contextmanager
def _proxy(places: Mapping[str, str], login: str = "") -> Iterator[str]:
    """A proxy that knows CONNECT and these hosts: its URL, without the login that it asks for."""
    wanted = f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""

    class Connection(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline().decode("latin-1").split()
            headers = http.client.parse_headers(self.rfile)
            if wanted and headers.get("Proxy-Authorization") != wanted:
                self.wfile.write(b"HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
                return
            host = line[1].partition(":")[0] if len(line) > 1 and line[0] == "CONNECT" else ""
            if host not in places:
                unknown.append(host)
                self.wfile.write(b"HTTP/1.1 403 There is no such host in the guides\r\nContent-Length: 0\r\n\r\n")
                return
            address, _, port = places[host].partition(":")
            with contextlib.suppress(OSError), socket.create_connection((address, int(port)), 10) as there:
                self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                back = threading.Thread(target=_pour, args=(there, self.connection), daemon=True)
                back.start()
                _pour(self.connection, there)
                back.join(10)

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 256

    unknown: list[str] = []
    with Listener(("127.0.0.1", 0), Connection) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_address[1]}"
        finally:
            listener.shutdown()
            thread.join()


def _pour(source: socket.socket, target: socket.socket) -> None:
    """Bytes from one to the other until the one ends; the end is told."""
    with contextlib.suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
