"""Carries documents into a registry with the oras library, whose requests go over this project's connection.

So they have its logins, certificates, proxies, pauses and checks of addresses, of which the library has fewer. It reads a
document whole into memory, which documents about images are small enough for.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from oras.container import Container
from oras.provider import Registry
from requests import Response
from requests.structures import CaseInsensitiveDict

from buildkit.errors import RegistryFailed
from buildkit.machine.answers import drain
from buildkit.oci.manifest import Descriptor, Document

if TYPE_CHECKING:
    from buildkit.registries.client import Repository

_LARGEST_ANSWER = 64 * 1024
"""Bytes. Nobody reads more of what a registry says to an upload."""


class Carrier:
    """Brings blobs and manifests into one repository."""

    def __init__(self, store: Repository) -> None:
        self._name = store.reference.name
        self._registry = _Connected(store)

    def blob(self, descriptor: Descriptor, content: bytes) -> None:
        """Makes a blob be there; raises RegistryFailed."""
        with TemporaryDirectory(prefix="modelpack-") as folder:
            path = Path(folder) / "document"
            path.write_bytes(content)
            self._registry.upload_blob(str(path), Container(self._name), descriptor.document())

    def manifest(self, document: Document, tag: str | None) -> None:
        """Puts a manifest under a tag, or under its digest; raises RegistryFailed, also where another digest is stored."""
        where = Container(self._name).manifest_url(tag or document.digest)
        headers = {"Content-Type": document.media_type}
        answer = self._registry.do_request(f"{self._registry.prefix}://{where}", "PUT", document.raw, headers)
        answered = answer.headers.get("Docker-Content-Digest", document.digest)
        if answered != document.digest:
            raise RegistryFailed(f"{self._name} stored {answered} where {document.digest} was sent")


class _Connected(Registry):  # type: ignore[misc]  # oras has no types
    """The library's registry with another way to ask: its own repeats what was refused, and knows fewer logins."""

    def __init__(self, store: Repository) -> None:
        super().__init__(hostname=store.reference.host, insecure=True)  # the connection knows whether it speaks TLS
        self._store = store

    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        stream: bool = False,
    ) -> Response:
        """The registry's answer; raises RegistryFailed where it refuses, but for what it does not have."""
        parts = urlsplit(url)
        ours = parts.netloc == self._store.reference.host
        where = parts._replace(scheme="", netloc="").geturl() if ours else url
        sized = {"Content-Length": str(len(data or b""))} if method in ("POST", "PUT") else {}
        answer = self._store.written(method, where, {**(headers or {}), **sized}, data)
        if answer.status >= 400 and method != "HEAD":
            raise self._store.connection.refusal(answer, f"attaching a document to {self._store.reference.name}")
        response = Response()
        response.status_code, response.url = answer.status, url
        response.headers = CaseInsensitiveDict(answer.headers)
        response.raw = io.BytesIO(answer.read(_LARGEST_ANSWER))
        drain(answer)
        return response
