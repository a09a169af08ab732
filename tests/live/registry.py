"""The real docker-registry on a free loopback port, and what tests ask of it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import socket
import ssl
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import bcrypt

from tests.live.certificates import ServerFiles, write_server_files
from tests.live.daemons import DaemonError, daemon, wait_until
from tests.live.install import program
from tests.live.token_server import Access, TokenServer

READER = "modelpack-live-test-reader"
PORT_TRIES = 5
MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
# The Apache "combined" form that docker-registry writes beside its JSON log.
ACCESS = re.compile(
    r'^\S+ - .*? \[[^]]*\] "(?P<method>\S+) (?P<path>\S+) [^"]*" (?P<status>\d{3}) \S+ "[^"]*" "(?P<agent>.*)"$'
)


class StoredManifest(NamedTuple):
    """A manifest or an index as the registry gave it back; ``digest`` is hashed here, from the bytes."""

    content: bytes
    media_type: str
    digest: str


class LoggedRequest(NamedTuple):
    """One request that the registry has answered; ``path`` carries its query."""

    method: str
    path: str
    status: int


class RegistryReadError(Exception):
    """The registry answered a read with something else than 200."""

    def __init__(self, url: str, status: int, content: bytes) -> None:
        super().__init__(f"GET {url} was answered {status}: {content[:500]!r}")
        self.status = status


@dataclass(frozen=True)
class LiveRegistry:
    """A running registry. ``credentials`` is the user and password that it wants, None where it wants none."""

    host: str
    scheme: Literal["http", "https"]
    log_path: Path
    ca_file: Path | None = None
    credentials: tuple[str, str] | None = None
    token: TokenServer | None = None

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository, sorted; none when the registry does not know it."""
        try:
            content, _ = self._read(f"/v2/{repository}/tags/list", repository)
        except RegistryReadError as error:
            if error.status == 404:
                return []
            raise
        return sorted(json.loads(content)["tags"] or [])

    def manifest(self, repository: str, reference: str) -> StoredManifest:
        """What a tag or digest names.

        Raises:
            RegistryReadError: it names nothing.
        """
        content, media_type = self._read(f"/v2/{repository}/manifests/{reference}", repository)
        return StoredManifest(content, media_type, f"sha256:{hashlib.sha256(content).hexdigest()}")

    def blob(self, repository: str, digest: str) -> bytes:
        """The bytes of a blob, whole.

        Raises:
            RegistryReadError: the repository has no such blob.
        """
        return self._read(f"/v2/{repository}/blobs/{digest}", repository)[0]

    def requests(self) -> list[LoggedRequest]:
        """Every request answered so far, oldest first, the reads of this class left out.

        A line may reach the log a moment after its answer: a last request of our own is waited for, and the lines of
        all earlier ones stand before it.
        """
        marker = uuid.uuid4().hex
        with contextlib.suppress(RegistryReadError):
            self._read(f"/v2/?marker={marker}", None)
        if not wait_until(lambda: marker in self.log_path.read_text("utf-8", "replace"), 10.0):
            raise AssertionError(f"the registry did not log a request of ours; see {self.log_path}")
        lines = (ACCESS.match(line) for line in self.log_path.read_text("utf-8", "replace").splitlines())
        return [
            LoggedRequest(line["method"], line["path"], int(line["status"]))
            for line in lines
            if line is not None and line["agent"] != READER
        ]

    def docker_config(self) -> str:
        """A docker ``config.json`` (and podman's ``auth.json``) with this registry's credentials, if it wants any."""
        if self.credentials is None:
            return "{}\n"
        encoded = base64.b64encode(":".join(self.credentials).encode("utf-8")).decode("ascii")
        return json.dumps({"auths": {self.host: {"auth": encoded}}})

    def _authorization(self, repository: str | None) -> dict[str, str]:
        if self.token is not None:
            accesses = [Access("repository", repository, ("pull",))] if repository else []
            return {"Authorization": f"Bearer {self.token.mint(self.token.user, accesses)}"}
        if self.credentials is not None:
            encoded = base64.b64encode(":".join(self.credentials).encode("utf-8")).decode("ascii")
            return {"Authorization": f"Basic {encoded}"}
        return {}

    def _read(self, path: str, repository: str | None) -> tuple[bytes, str]:
        url = f"{self.scheme}://{self.host}{path}"
        headers = {"User-Agent": READER, "Accept": ", ".join(MANIFEST_TYPES), **self._authorization(repository)}
        context = ssl.create_default_context(cafile=str(self.ca_file)) if self.ca_file else None
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )  # a proxy of the developer's must not be asked for loopback
        try:
            with opener.open(urllib.request.Request(url, headers=headers), timeout=30) as answer:
                return answer.read(), answer.headers.get("Content-Type", "")
        except urllib.error.HTTPError as error:
            with error:
                raise RegistryReadError(url, error.code, error.read()) from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port


def _authentication(folder: Path, htpasswd: tuple[str, str] | None, token: TokenServer | None) -> dict[str, object]:
    if token is not None:
        fields = {
            "realm": token.realm,
            "service": token.service,
            "issuer": token.issuer,
            "rootcertbundle": str(token.certificate_file),
        }
        return {"auth": {"token": fields}}
    if htpasswd is None:
        return {}
    user, password = htpasswd
    hashed = bcrypt.hashpw(password.encode("utf-8"), bcrypt.gensalt(rounds=4))  # the registry reads only bcrypt
    (folder / "htpasswd").write_text(f"{user}:{hashed.decode('ascii')}\n", encoding="utf-8")
    return {"auth": {"htpasswd": {"realm": "modelpack live tests", "path": str(folder / "htpasswd")}}}


def _configuration(folder: Path, storage: str, delete: bool, files: ServerFiles | None) -> dict[str, object]:
    kind = {"rootdirectory": str(folder / "storage")} if storage == "filesystem" else {}
    http: dict[str, object] = {"secret": uuid.uuid4().hex}
    if files is not None:
        http["tls"] = {"certificate": str(files.certificate_file), "key": str(files.key_file)}
    return {
        "version": "0.1",
        "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": False}},
        "storage": {storage: kind, "delete": {"enabled": delete}, "maintenance": {"uploadpurging": {"enabled": False}}},
        "http": http,
    }


def _clean_environment() -> dict[str, str]:
    """The registry takes any REGISTRY_… variable for a setting, REGISTRY_AUTH_FILE (podman's) among them."""
    return {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}


def _write(folder: Path, configuration: Mapping[str, object], port: int) -> tuple[Path, Path]:
    http = configuration["http"]
    assert isinstance(http, dict)
    whole = {**configuration, "http": {**http, "addr": f"127.0.0.1:{port}"}}
    config, log = folder / f"config-{port}.json", folder / f"registry-{port}.log"
    config.write_text(json.dumps(whole, indent=1), encoding="utf-8")  # JSON is YAML
    log.unlink(missing_ok=True)
    return config, log


@contextlib.contextmanager
def _serve(folder: Path, configuration: Mapping[str, object], command: Sequence[str]) -> Iterator[tuple[int, Path]]:
    """Serve on a port that was free a moment ago; another one when it was taken meanwhile."""
    with contextlib.ExitStack() as running:
        for left in reversed(range(PORT_TRIES)):
            port = _free_port()
            config, log = _write(folder, configuration, port)

            def listening(log: Path = log) -> bool:
                return log.exists() and "listening on" in log.read_text("utf-8", "replace")

            try:
                running.enter_context(daemon((*command, str(config)), log, listening, environment=_clean_environment()))
            except DaemonError as error:
                if left and "address already in use" in str(error):
                    continue
                raise
            break
        yield port, log


@contextlib.contextmanager
def start_registry(
    folder: Path,
    *,
    htpasswd: tuple[str, str] | None = None,
    tls: bool = False,
    token: TokenServer | None = None,
    storage: Literal["filesystem", "inmemory"] = "filesystem",
    delete: bool = True,
) -> Iterator[LiveRegistry]:
    """Run docker-registry until the block ends.

    Args:
        folder: where its files and its log go.
        htpasswd: the user and password that every request must carry.
        tls: serve HTTPS, with a certificate for 127.0.0.1 and localhost that ``ca_file`` vouches for.
        token: send clients to this token server (not together with ``htpasswd``).
        storage: where blobs are held.
        delete: whether manifests and blobs may be deleted.

    Raises:
        DaemonError: it is not installed, or did not start.
    """
    assert htpasswd is None or token is None, "docker-registry knows one kind of authentication at a time"
    binary = program("docker-registry")
    if binary is None:
        raise DaemonError("docker-registry is not installed; run `python tests/live/install.py`")
    folder.mkdir(parents=True, exist_ok=True)
    files = write_server_files(folder) if tls else None
    configuration = {
        **_configuration(folder, storage, delete, files),
        **_authentication(folder, htpasswd, token),
    }
    with _serve(folder, configuration, (binary, "serve")) as (port, log):
        yield LiveRegistry(
            host=f"127.0.0.1:{port}",
            scheme="https" if tls else "http",
            log_path=log,
            ca_file=files.ca_file if files else None,
            credentials=(token.user, token.password) if token else htpasswd,
            token=token,
        )
