"""KServe's ``oci+fetch://``: its storage initializer reads an image's layers itself, and takes what lies under ``models/``.

After kserve's python/storage (August 2026): the form of a layer is taken from its media type, members are chosen by the
literal beginning of their names, and extracted with tarfile's ``data`` filter (PEP 706).
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field

from buildkit.errors import ModelpackError
from buildkit.oci.manifest import DOCKER_LAYER_GZIP, OCI_LAYER, OCI_LAYER_GZIP, Descriptor
from buildkit.oci.pieces import reader
from buildkit.probe.containers import Served
from buildkit.probe.session import Session
from buildkit.probe.verdicts import Outcome, broken, passed, unasked

_PREFIX = "models/"


def tar_mode(media_type: str) -> str | None:
    """How the initializer opens a layer: as a tar, as a gzipped tar, or (None) not at all."""
    match media_type:
        case media if media == OCI_LAYER:
            return "r|"
        case media if media in (OCI_LAYER_GZIP, DOCKER_LAYER_GZIP):
            return "r|gz"
    return None


@dataclass
class _Taken:
    """What the initializer would have on its disk, and what it would have stumbled over."""

    files: int = 0
    misnamed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class FetchedModel:
    """Reads every layer as the initializer does; nothing is written to the disk."""

    present: str = "KS-01"
    names: str = "KS-07"
    forms: str = "KS-08"
    links: str = "KS-09"

    def outcomes(self, session: Session) -> list[Outcome]:
        """One outcome for each of its rules."""
        if session.served is None:
            why = "the image is known to the engine only, and not as a registry serves it"
            rules = (self.present, self.names, self.forms, self.links)
            return [
                unasked(rule, "the layers, one by one", why, "name it in a registry, or as oci:DIR") for rule in rules
            ]
        taken = _Taken()
        for layer in session.served.manifest.layers:
            _read(layer, session.served, taken)
        return list(self._judged(taken))

    def _judged(self, taken: _Taken) -> Iterator[Outcome]:
        asked = "the layers, read as KServe's storage initializer reads them"
        yield (
            broken(
                self.forms, asked, "; ".join(taken.skipped), "build layers as plain or gzip tars with OCI media types"
            )
            if taken.skipped
            else passed(self.forms, asked, "every layer is one that it reads")
        )
        yield (
            broken(self.names, asked, _some(taken.misnamed), "name the members models/..., without ./ or /")
            if taken.misnamed
            else passed(self.names, asked, "the names begin with models/")
        )
        yield (
            broken(self.links, asked, _some(taken.refused), "no links out of the image, no devices: copy the files")
            if taken.refused
            else passed(self.links, asked, "tarfile's data filter takes every member")
        )
        yield (
            passed(self.present, asked, f"{taken.files} files")
            if taken.files
            else broken(self.present, asked, "it finds no file under models/", "put the model under /models")
        )


def _read(layer: Descriptor, served: Served, taken: _Taken) -> None:
    mode = tar_mode(layer.media_type)
    if mode is None:
        taken.skipped.append(f"{layer.digest[:19]} is {layer.media_type}")
        return
    try:
        # Its mypy overloads know only literal modes.
        with tarfile.open(fileobj=reader(served.store.fetch(layer)), mode=mode) as tar:  # type: ignore[call-overload]
            with tempfile.TemporaryDirectory(prefix="modelpack-") as nowhere:
                for member in tar:
                    _take(member, nowhere, taken)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, ModelpackError):
            raise
        taken.skipped.append(f"{layer.digest[:19]} is no {layer.media_type}: {error}")


def _take(member: tarfile.TarInfo, nowhere: str, taken: _Taken) -> None:
    name = member.name
    if not name.startswith(_PREFIX):
        if name.lstrip("./").startswith(_PREFIX):
            taken.misnamed.append(name)
        return
    try:
        tarfile.data_filter(member, nowhere)
    except tarfile.FilterError as error:
        taken.refused.append(f"{name}: {error}".replace(nowhere, ""))
        return
    taken.files += member.isfile()


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return "; ".join(names[:3]) + more
