"""A server that keeps every platform's rules, or breaks the one that FAULT names. It runs in this process and in images."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Rules:
    """What the server keeps and breaks."""

    def __init__(self, fault: str = "", environment: dict[str, str] | None = None) -> None:
        self.fault = fault
        environment = environment or {}
        self.health = {"/health", "/ready", "/ping", environment.get("AIP_HEALTH_ROUTE", "/health")}
        self.predict = {"/predict", "/invocations", "/chat", environment.get("AIP_PREDICT_ROUTE", "/predict")}
        if fault == "ignores the variables":
            self.health, self.predict = {"/health"}, {"/predict"}
        self.asked = 0
        self.busy = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """Answers as the rules of its server say."""

    protocol_version = "HTTP/1.1"

    @property
    def rules(self) -> Rules:
        return self.server.rules  # type: ignore[attr-defined,no-any-return]

    def log_message(self, format: str, *arguments: object) -> None:
        print(self.path, self.rules.fault, flush=True)

    def send(self, status: int, content: Any, media_type: str = "application/json", **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": media_type, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.rules.fault == "busy":
            with self.rules.busy:
                pass
        if self.path == "/v2/health/ready" or self.path == "/v2/health/live" or self.path == "/v2/models/m/ready":
            self.send(200, {})
        elif self.path not in self.rules.health:
            self.send(404, {"error": "no such path"})
        elif self.rules.fault == "plain health":
            self.send(200, b"ok", "text/plain")
        elif self.rules.fault == "health 204":
            self.send(204, b"")
        else:
            self.send(200, {"health": "true"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/v2/repository/index":
            self.send(200, [{"name": "m"}])
        elif self.path not in self.rules.predict:
            self.send(404, {"error": "no such path"})
        elif self.rules.fault == "redirect":
            self.send(307, {}, Location=f"{self.path}/")
        elif self.rules.fault == "early" and self._first():
            self.send(503, {"error": "still loading"})
        elif self.rules.fault == "picky":
            self.send(422, {"error": "no field 'line'"})
        else:
            self._predict(body)

    def _first(self) -> bool:
        self.rules.asked += 1
        return self.rules.asked <= 2

    def _predict(self, body: bytes) -> None:
        if self.rules.fault == "busy":
            with self.rules.busy:
                time.sleep(float(os.environ.get("BUSY_SECONDS", "1")))
        if self.rules.fault == "writes":
            try:
                with open("/var/written.txt", "w") as file:
                    file.write("x")
            except OSError as error:
                self.send(500, {"error": str(error)})
                return
        wants_events = self.headers.get("Accept") == "text/event-stream"
        if wants_events and self.rules.fault != "no events":
            media_type = "text/plain" if self.rules.fault == "events as text" else "text/event-stream"
            self.send(200, b"data: {}\n\n", media_type)
            return
        instances = json.loads(body or b"{}").get("instances", [])
        count = 0 if self.rules.fault == "no predictions" else len(instances)
        self.send(200, {"predictions": [1] * count})


class Server(ThreadingHTTPServer):
    """The server with its rules."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], rules: Rules) -> None:
        super().__init__(address, Handler)
        self.rules = rules


def main() -> None:
    """Serves until SIGTERM, as a container's first process."""
    fault = os.environ.get("FAULT", "")
    rules = Rules(fault, dict(os.environ))
    host = "127.0.0.1" if fault == "binds" else "0.0.0.0"
    server = Server((host, 5000 if fault == "port" else int(os.environ.get("PORT_OF_TEST", "8080"))), rules)
    if fault == "ends":
        sys.exit("nothing keeps this server alive")
    if fault != "deaf":
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    server.serve_forever()


if __name__ == "__main__":
    main()
