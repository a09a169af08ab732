"""An HTTP/1.1 server on loopback, one thread per connection, that can be told to misbehave.

The fakes bring a function from `Incoming` to `Response`; what is here reads and writes the wire, keeps the
record and lets faults happen.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Self

from tests.fakes.faults import Faults
from tests.fakes.http_body import BrokenOffError, SeveredError, Throttle
from tests.fakes.http_exchange import Exchange
from tests.fakes.http_log import Log
from tests.fakes.http_message import Incoming, Response
from tests.fakes.http_reset import reset

Application = Callable[[Incoming], Response]


class Server:
    """Listens on `host` and a port of the kernel's choice (or `port`) and serves until stopped.

    `errors` collects what the application raised: such a request is answered 500, and a test that meets one
    has found a defect of the fake.
    """

    def __init__(
        self,
        application: Application,
        *,
        origin: str,
        log: Log | None = None,
        faults: Faults | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.application = application
        self.origin = origin
        self.log = Log() if log is None else log
        self.faults = Faults() if faults is None else faults
        self.throttle = Throttle()
        self.errors: list[BaseException] = []
        self.stopping = threading.Event()
        self._listener = _Listener(self, (host, port), tls)
        self._scheme = "http" if tls is None else "https"
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True)

    @property
    def address(self) -> str:
        """HOST:PORT."""
        host, port = self._listener.server_address[:2]
        return f"{host!s}:{port}"

    @property
    def url(self) -> str:
        """The origin's URL without a slash at the end."""
        return f"{self._scheme}://{self.address}"

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening, close every connection and wait for its thread; may be called again."""
        self.stopping.set()
        if self._thread.is_alive():
            self._listener.shutdown()
        self._listener.disconnect_all()
        self._listener.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 1024

    def __init__(self, server: Server, address: tuple[str, int], tls: ssl.SSLContext | None) -> None:
        self.server, self._tls = server, tls
        self._open: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        super().__init__(address, _Connection)

    def process_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        thread = threading.Thread(target=self._serve, args=(request, client_address), daemon=True)
        with self._lock:
            self._open[thread] = request
        thread.start()

    def _serve(self, connection: socket.socket, client_address: object) -> None:
        with contextlib.suppress(OSError):
            if self._tls is not None:
                connection = self._secured(connection, self._tls)
            self.process_request_thread(connection, client_address)
        with self._lock:
            self._open.pop(threading.current_thread(), None)

    def _secured(self, connection: socket.socket, tls: ssl.SSLContext) -> socket.socket:
        """The connection with TLS; where it can be disconnected before its handshake is done, which may be never."""
        secured = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._open[threading.current_thread()] = secured
        try:
            secured.do_handshake()
        except OSError:
            secured.close()
            raise
        return secured

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            self.server.errors.append(RuntimeError(traceback.format_exc()))

    def disconnect_all(self, deadline: float = 5.0) -> None:
        until = time.monotonic() + deadline
        with self._lock:
            left = dict(self._open)
        for connection in left.values():
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in left:
            thread.join(max(0.0, until - time.monotonic()))


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def handle_one_request(self) -> None:
        """Serve one request; the connection is closed, or reset, where it cannot serve another."""
        usable = False
        try:
            usable = self._read_head() and Exchange(self, self.server.server).run()
        except SeveredError:
            self.rfile.close()
            reset(self.connection)
        except (BrokenOffError, ConnectionError, TimeoutError, ssl.SSLError):
            pass
        finally:
            self.close_connection = not usable

    def _read_head(self) -> bool:
        self.raw_requestline = self.rfile.readline(65537)
        return bool(self.raw_requestline.strip()) and self.parse_request()

    def handle_expect_100(self) -> bool:
        """Leave "100 Continue" to the moment at which the body is wanted."""
        return True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the record is kept in the log."""
