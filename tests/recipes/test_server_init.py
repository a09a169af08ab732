"""The first process of a server's container, run by real shells in front of a real nginx: if these fail, a container hangs,
loses requests when it is stopped, or goes on without its server.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from recipes.server import routes
from recipes.server.routes import Route, configuration
from tests.live.install import program
from tests.waiting import wait_until

INIT = Path(routes.__file__).with_name("init")
SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}
BACKEND = """
import http.server, os, signal, sys, threading
port, folder = int(sys.argv[1]), sys.argv[2]
open(folder + "/pid", "w").write(str(os.getpid()))
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *arguments): pass
    def answer(self, text, status=200, **headers):
        self.send_response(status)
        for key, value in headers.items(): self.send_header(key, value)
        self.send_header("Content-Length", str(len(text))); self.end_headers(); self.wfile.write(text.encode())
    def do_GET(self):
        if "redirect" in self.path: return self.answer("", 307, Location="/elsewhere")
        if "stream" in self.path:
            self.send_response(200); self.send_header("Connection", "close"); self.end_headers()
            self.wfile.write(b"first"); self.wfile.flush()
            open(folder + "/go").read()
            self.wfile.write(b"last"); self.close_connection = True
            return
        if "slow" in self.path:
            open(folder + "/reached", "w").close()
            open(folder + "/go").read()
        self.answer(self.command + " " + self.path + " " + self.headers.get("Host", ""))
    def do_POST(self):
        length = int(self.headers["Content-Length"])
        size = sum(len(self.rfile.read(min(65536, length - start))) for start in range(0, length, 65536))
        self.answer(self.command + " " + self.path + " " + str(size))
if len(sys.argv) > 3: signal.signal(signal.SIGTERM, lambda *_: os._exit(int(sys.argv[3])))
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
ROUTES = {
    "/predict": Route(to="/v1/completions"),
    "/slow": Route(to="/slow"),
    "/stream": Route(to="/stream"),
    "/moved": Route(to="/redirect"),
    "/health": Route(to="/v1/models", method="GET"),
    "/v1/*": Route(to="/v1/*"),
}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    words = SHELLS[request.param]
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed; `python tests/live/install.py` installs it")
    return words


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Front:
    """init with nginx and a backend, as a container has them, in a folder of the test's own."""

    def __init__(self, folder: Path, shell: list[str], drain: int = 20) -> None:
        self.folder, self.shell = folder, shell
        self.port, self.behind = free_port(), free_port()
        text = configuration(ROUTES, self.port, self.behind, drain).replace(routes.WORK, str(folder / "work"))
        (folder / "nginx.conf").write_text(text)
        (folder / "init").write_text(INIT.read_text().replace(routes.WORK, str(folder / "work")))
        (folder / "backend.py").write_text(BACKEND)
        os.mkfifo(folder / "go")
        self.log = folder / "log"

    def start(self, *command: str, code: str = "") -> None:
        backend = [
            sys.executable,
            str(self.folder / "backend.py"),
            str(self.behind),
            str(self.folder),
            *([code] if code else []),
        ]
        environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
        words = [*self.shell, str(self.folder / "init"), *(command or backend)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
            )

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def answers(self) -> bool:
        with suppress(OSError, http.client.HTTPException):
            return self.ask("GET", "/health")[0] == 200
        return False

    def ready(self) -> Front:
        wait_until(lambda: self.answers() or self.process.poll() is not None, "an answer")
        assert self.process.poll() is None, self.log.read_text()
        return self

    def pid(self, of: str) -> int:
        """The process of nginx's master, or of the backend."""
        if of == "nginx":
            return int((self.folder / "work" / "pid").read_text())
        return int((self.folder / "pid").read_text())


@pytest.fixture
def front(tmp_path: Path, shell: list[str]) -> Iterator[Front]:
    if program("nginx") is None:
        pytest.skip("nginx is not installed; `python tests/live/install.py` installs it")
    made = Front(tmp_path, shell)
    yield made
    if hasattr(made, "process"):
        with suppress(ProcessLookupError):
            os.killpg(made.process.pid, signal.SIGKILL)
        made.process.wait()


def test_requests_arrive_where_they_are_meant(front: Front) -> None:
    """A platform's path reaches another endpoint, is redirected, loses its query or its body."""
    front.start()
    front.ready()
    host = f"127.0.0.1:{front.port}"
    assert front.ask("GET", "/predict?a=1&b=%20") == (200, f"GET /v1/completions?a=1&b=%20 {host}")
    assert front.ask("GET", "/health") == (200, f"GET /v1/models {host}")
    assert front.ask("GET", "/v1/models/x?y") == (200, f"GET /v1/models/x?y {host}")
    assert front.ask("POST", "/predict", b"x" * 20_000_000) == (200, "POST /v1/completions 20000000")
    assert front.ask("GET", "/moved")[0] == 307, "what the server answers is handed on as it is"
    for path in ("/predict/", "/predictx", "//predict", "/v1", "/", "/PREDICT", "/predict/../slow2", "/.well-known"):
        assert front.ask("GET", path)[0] == 404, path


def test_answers_are_not_held_back(front: Front) -> None:
    """The first word of a language model comes with the last."""
    front.start()
    front.ready()
    with socket.create_connection(("127.0.0.1", front.port), timeout=30) as connection:
        connection.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while b"first" not in received:
            received += connection.recv(4096)
        assert b"last" not in received
        (front.folder / "go").write_text("on")
        while b"last" not in received:
            received += connection.recv(4096) or b"last"


@pytest.mark.parametrize("code", ["", "5"])
def test_a_request_under_way_is_answered_before_the_end(front: Front, code: str) -> None:
    """Whoever asked when the container was stopped gets no answer; and the code at the end is the server's own."""
    front.start(code=code)
    front.ready()
    answers: list[tuple[int, str]] = []
    asking = threading.Thread(target=lambda: answers.append(front.ask("GET", "/slow")))
    asking.start()
    wait_until((front.folder / "reached").exists, "the request in the server")
    front.process.send_signal(signal.SIGTERM)

    def is_closed() -> bool:
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", front.port)) != 0

    wait_until(is_closed, "an nginx that takes no more")
    assert front.process.poll() is None and not answers
    (front.folder / "go").write_text("on")
    asking.join(30)
    assert answers and answers[0][0] == 200
    assert front.process.wait(30) == int(code or 143)


def test_a_second_signal_does_not_wait(front: Front) -> None:
    """A person who asks twice waits for a stream that never ends."""
    front.start()
    front.ready()
    stream = socket.create_connection(("127.0.0.1", front.port), timeout=30)
    stream.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert stream.recv(10)
    front.process.send_signal(signal.SIGINT)
    wait_until(lambda: not front.answers(), "an nginx that takes no more")
    assert front.process.poll() is None
    front.process.send_signal(signal.SIGTERM)
    assert front.process.wait(30) == 143
    stream.close()


@pytest.mark.parametrize(
    ("which", "number", "code"), [("nginx", 9, 137), ("backend", 9, 137), ("backend", 15, 143), ("nginx", 15, 0)]
)
def test_when_either_ends_all_ends(front: Front, which: str, number: int, code: int) -> None:
    """A container goes on that answers nobody, and no platform restarts it."""
    front.start()
    front.ready()
    os.kill(front.pid(which), number)
    assert front.process.wait(30) == code, front.log.read_text()
    said = front.log.read_text()
    assert f"init: {'nginx' if which == 'nginx' else 'the server'} ended with {code}" in said
    # The workers of a killed nginx live on until the container's end takes them; the others are gone already.
    wait_until(lambda: (which == "nginx" or not listens(front.port)) and not listens(front.behind), "nobody left")


def listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def test_a_proxy_that_cannot_start(front: Front) -> None:
    """The server runs behind a port that nobody listens on."""
    (front.folder / "nginx.conf").write_text("nonsense;")
    front.start()
    assert front.process.wait(30) == 1
    assert "unknown directive" in front.log.read_text()


def test_a_server_that_cannot_start(front: Front) -> None:
    """The container waits for a server that is not there."""
    front.start("/no/such/program")
    assert front.process.wait(30) == 127


def test_a_container_that_is_started_again(front: Front) -> None:
    """What the first run left in /tmp keeps the second from starting."""
    for number in (signal.SIGKILL, signal.SIGTERM):
        front.start()
        front.ready()
        nginx, backend = front.pid("nginx"), front.pid("backend")
        front.process.send_signal(number)
        assert front.process.wait(30) in (-9, 143)
        for pid in (nginx, backend):
            with suppress(ProcessLookupError):
                os.killpg(os.getpgid(pid), signal.SIGKILL)
        wait_until(lambda: not listens(front.port) and not listens(front.behind), "nobody left")


def test_a_stdout_that_cannot_be_opened_again(front: Front) -> None:
    """Where logs go into a socket nginx does not start, as it cannot open its log."""
    ours, theirs = socket.socketpair()
    words = [
        *front.shell,
        str(front.folder / "init"),
        sys.executable,
        str(front.folder / "backend.py"),
        str(front.behind),
        str(front.folder),
    ]
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    with ours, theirs:
        front.process = subprocess.Popen(  # a socket has what Popen asks of a file: its number
            words, stdout=theirs.fileno(), stderr=theirs.fileno(), env=environment, start_new_session=True
        )
        wait_until(lambda: front.answers() or front.process.poll() is not None, "an answer")
        assert front.process.poll() is None
        front.process.send_signal(signal.SIGTERM)
        assert front.process.wait(30) == 143


@pytest.fixture
def init(shell: list[str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*shell, str(INIT), *words], capture_output=True, text=True, check=False)

    return run


def test_the_argument_of_sagemaker(init: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """SageMaker runs the image with "serve", and the server gets a word that it does not know."""
    assert init("--words", "3", "echo", "a b", "c", "serve").stdout == "a b c\n"
    assert init("--words", "3", "echo", "a b", "c").stdout == "a b c\n"
    assert init("--words", "2", "echo", "serve").stdout == "serve\n"
    assert init("--words", "2", "echo", "serve", "serve").stdout == "serve\n"
    assert init("--words", "2", "echo", "a", "train").stdout == "a train\n"
    assert init("echo", "serve").stdout == "serve\n"


def test_the_command_alone(init: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """A code that a platform reads is lost, or nothing is started and nothing said."""
    assert init("sh", "-c", "exit 7").returncode == 7
    assert init("sh", "-c", "kill -9 $$").returncode == 137
    done = init()
    assert (done.returncode, done.stderr) == (64, "init: there is no command to start\n")


def test_init_is_plain_posix() -> None:
    """A shell that a base has does not read it."""
    for words in SHELLS.values():
        if shutil.which(words[0]):
            subprocess.run([*words, "-n", str(INIT)], check=True)
