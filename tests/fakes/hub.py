"""A model hub on loopback that the real client library takes for the real one.

Two origins: the hub itself, and a "CDN" on another port to which large files are redirected by links that
expire. As a program (`python -m tests.fakes.hub FOLDER --port 8000`) it serves each ORG/NAME subfolder.
"""

from __future__ import annotations

import argparse
import signal
import ssl
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from tests.fakes.content import Content, Synthetic
from tests.fakes.faults import Faults
from tests.fakes.http_body import Throttle
from tests.fakes.http_log import Log, Request
from tests.fakes.http_message import Incoming, Response
from tests.fakes.http_server import Server
from tests.fakes.hub_links import Links
from tests.fakes.hub_repository import Repository
from tests.fakes.hub_routes import Routes

__all__ = ["Hub", "Synthetic"]


class Hub:
    """A hub with repositories; use it as a context manager, or `start()` and `stop()` it.

    What may be changed at any time: `token` (sees and gets everything), `other_token` (a valid visitor who
    was let into no gated and no private repository), `page_size` of tree listings, `links` (`seconds`,
    `uses`, `expire()` and `refuse_authorization` of CDN links), `resolve_cache` (small files are redirected
    within the hub first), `gzip_text` (small files come chunked and gzipped, with a weak ETag, to who accepts
    that), `faults`.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        cdn_host: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.repositories: dict[str, Repository] = {}
        self.renamed: dict[str, str] = {}
        self.token = "hf_owner"
        self.other_token = "hf_other"
        self.page_size = 1000
        self.resolve_cache = False
        self.gzip_text = False
        self.faults = Faults()
        self.log = Log()
        self.links = Links(lambda: self.cdn)
        self._count = 0
        self._hub = Server(self._answer, origin="hub", log=self.log, faults=self.faults, host=host, port=port, tls=tls)
        self._cdn = Server(
            self.links.answer, origin="cdn", log=self.log, faults=self.faults, host=cdn_host or host, tls=tls
        )

    @property
    def endpoint(self) -> str:
        """The hub's URL: HF_ENDPOINT, `endpoint=`."""
        return self._hub.url

    @property
    def cdn(self) -> str:
        """The URL of the origin that large files are redirected to."""
        return self._cdn.url

    @property
    def requests(self) -> tuple[Request, ...]:
        """Every request to both origins so far, in order of arrival."""
        return self.log.requests

    @property
    def cdn_saw_authorization(self) -> bool:
        """True if any request to the CDN carried an Authorization header: a token went astray."""
        return any(r.origin == "cdn" and "authorization" in r.headers for r in self.requests)

    def add(
        self,
        repo_id: str,
        files: Mapping[str, bytes | Path | Content],
        revision: str = "main",
        *,
        gated: bool | Literal["auto", "manual"] = False,
        private: bool = False,
        card: Mapping[str, object] | None = None,
        lfs_over: int = 1_000_000,
    ) -> str:
        """Commit `files` (all there is from then on) to a branch of a repository, made where there is none.

        Files of more than `lfs_over` bytes are large: served from the CDN and known by their sha256. Returns
        the commit's 40 hex digits, which depend on the content and the commits before it alone.
        """
        repository = self.repositories.setdefault(repo_id, Repository(repo_id))
        repository.gated = "manual" if gated is True else gated
        repository.private, repository.card = private, card
        return repository.commit(files, revision, lfs_over).sha

    def tag(self, repo_id: str, name: str, commit: str) -> None:
        """Name a commit."""
        self.repositories[repo_id].tags[name] = commit

    def rename(self, old: str, new: str) -> None:
        """Rename a repository; its old name answers 307 from then on."""
        repository = self.repositories.pop(old)
        repository.repo_id = new
        self.repositories[new] = repository
        self.renamed[old] = new

    def throttle(self, bytes_per_second: float | None, latency_seconds: float = 0.0) -> None:
        """Limit every connection opened from now on to this speed, and wait before each answer."""
        self._hub.throttle = self._cdn.throttle = Throttle(bytes_per_second, latency_seconds)

    def start(self) -> Self:
        self._routes = Routes(self)
        self._hub.start()
        self._cdn.start()
        return self

    def stop(self) -> None:
        """Close both origins and everything connected to them."""
        self._hub.stop()
        self._cdn.stop()

    def _answer(self, request: Incoming) -> Response:
        self._count += 1
        return self._routes.answer(request).with_header("X-Request-Id", f"Root=1-fake-{self._count}")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop()
        errors = self._hub.errors + self._cdn.errors
        if errors and kind is None:
            raise RuntimeError(f"the fake hub itself failed {len(errors)} times") from errors[0]


def serve_folder(hub: Hub, folder: Path, revision: str = "main") -> dict[str, str]:
    """Add each ORG/NAME subfolder as a repository, its files served from disk; their commits by
    repository."""
    commits = {}
    for root in sorted(path for path in folder.glob("*/*") if path.is_dir()):
        files = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
        repo_id = root.relative_to(folder).as_posix()
        commits[repo_id] = hub.add(repo_id, files, revision)
    return commits


def main(arguments: list[str] | None = None) -> int:
    """Serve a folder until a signal comes or the time is up; stdout gets the endpoint and the commits."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.hub", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--seconds", type=float, default=3600.0, help="stop by itself after this time")
    options = parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with Hub(options.port, host=options.host) as hub:
        commits = serve_folder(hub, options.folder)
        print(f"HF_ENDPOINT={hub.endpoint}")
        for repo_id, commit in commits.items():
            print(f"{repo_id}@{commit}")
        sys.stdout.flush()
        ended.wait(options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
