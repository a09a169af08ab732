"""The Containerfile of a modelcar: how its stage comes by the files, and what an engine cannot do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby

from buildkit.containerfiles.template import LONGEST_LINE, copyable, filled
from buildkit.inputs import FolderRef, HuggingFaceRef, SourceRef
from buildkit.oci.process import PATH
from buildkit.pin import ImagePin, Inventory
from buildkit.plan import PlannedLayer
from buildkit.reading.plain import shown
from recipes.modelcar.many import PROGRAM, Many, proven_together

HUB_LIBRARY = "huggingface_hub==2.4.0"
"""What downloads inside a Containerfile build. A builder image that has just this version needs no package index."""
ARCHIVE = "models.tar"
USER = "1001"

_LONGEST_COMMAND = 100_000
"""Bytes of one RUN. Linux hands a program no argument above 128 KiB, and the whole line is one argument of ``sh -c``."""
_MOST_COPIES = 60
_MOST_LISTED = 800_000
"""Bytes of lists in a Containerfile. BuildKit's build definition repeats them four times and may have 4 MiB."""
_MOST_LAYERS = 100
"""docker stores an image, and a stage, of at most 125 layers; the base has some already."""


@dataclass(frozen=True)
class Stage:
    """What a Containerfile is rendered from: the model, its layers, and the images of the stage and of the result.

    Where no ``image`` can run a stage, an archive of the layer is added instead.
    """

    reference: SourceRef
    inventory: Inventory
    layers: tuple[PlannedLayer, ...]
    image: ImagePin | None
    base: ImagePin | None

    @property
    def from_folder(self) -> bool:
        """Whether the files lie beside the recipe."""
        return isinstance(self.reference, FolderRef)

    @property
    def archive(self) -> str | None:
        """The name of the tar that is added, if one is."""
        return ARCHIVE if self.image is None and self.from_folder and len(self.layers) == 1 else None

    @cached_property
    def is_long(self) -> bool:
        """Whether the files do not fit into a Containerfile one by one."""
        return sum(map(_length, (line for lines in _lists(self).values() for line in lines))) > _MOST_LISTED


def stage_of(
    reference: SourceRef,
    inventory: Inventory,
    layers: tuple[PlannedLayer, ...],
    base: ImagePin | None,
    builder: ImagePin | None,
) -> Stage:
    """The stage that fits a model: its folder is copied where the base has a shell, all else needs the builder image."""
    if not isinstance(reference, FolderRef):
        return Stage(reference, inventory, layers, builder, base)
    stage = Stage(reference, inventory, layers, base or builder, base)
    unlisted = base is None or stage.is_long or not copyable(reference.path)
    return replace(stage, image=None) if unlisted and len(layers) == 1 else stage


def containerfile(name: str, stage: Stage, labels: Mapping[str, str]) -> str:
    """The Containerfile; raises InvalidInput for what cannot stand in one."""
    many = _many(stage) if stage.is_long and stage.image else None
    return filled(
        "recipes.modelcar",
        name=name,
        source=stage.inventory.type,
        archive=stage.archive,
        stage=stage.image.reference if stage.image else None,
        library=HUB_LIBRARY,
        lists=[] if many else [{"name": key, "chunks": list(_chunks(lines))} for key, lines in _lists(stage).items()],
        many=many,
        program=PROGRAM.splitlines(),
        copies=_copies(stage),
        repository=stage.inventory.name,
        commit=stage.inventory.commit,
        options=list(_options(stage.reference)),
        fetch=_FETCH,
        take="cp" if stage.from_folder else "mv",
        base=stage.base.reference if stage.base else "scratch",
        empty=stage.base is None,
        path=PATH,
        labels=labels,
        roots=[] if stage.archive else _roots(stage.layers),
        user=USER,
    )


def obstacle(stage: Stage) -> str | None:
    """Why no Containerfile builds this model, or None."""
    if stage.image is None and stage.from_folder and not stage.archive:
        return (
            f"its {len(stage.layers)} layers, which the lock says are split for a registry, need the recipe's 'builder' on"
            " 'scratch': write that max_layer_size in the recipe"
        )
    if stage.image is None:
        return (
            None if stage.archive else "the image that downloads the model (the recipe's 'builder') is not pinned yet"
        )
    if isinstance(stage.reference, FolderRef) and not copyable(stage.reference.path):
        return f"with more than one layer it would copy the folder {shown(stage.reference.path)}, whose name a COPY cannot hold"
    if len(stage.layers) > _MOST_LAYERS:
        return f"it would have {len(stage.layers)} layers, and docker stores at most 125: write 'layers: squashed'"
    if stage.is_long and not isinstance(stage.reference, HuggingFaceRef):
        return f"a Containerfile has no room for {len(stage.inventory.files)} files of this sort"
    return None


def _many(stage: Stage) -> Many:
    rooted = zip(_roots(stage.layers), stage.layers, strict=True)
    return proven_together((one.file, root) for root, layer in rooted for one in layer.files)


def _roots(layers: Sequence[PlannedLayer]) -> list[str]:
    """A folder of the stage for each layer: what is in it becomes the layer."""
    return ["out"] if len(layers) == 1 else [f"out-{number}" for number in range(1, len(layers) + 1)]


def _lists(stage: Stage) -> dict[str, list[str]]:
    """What the stage is told: files as ``ROOT/PROOF/SIZE/PATH``, directories, and where files come from."""
    rooted = list(zip(_roots(stage.layers), stage.layers, strict=True))
    lists = {
        "files": [
            f"{root}/{one.file.proof}/{one.file.size}/{one.file.path}" for root, layer in rooted for one in layer.files
        ],
        "directories": [f"/{root}/{entry.name}" for root, layer in rooted for entry in layer.directories],
    }
    urls = [f"{file.url} {file.path}" for file in stage.inventory.files if file.url]
    return {**lists, "urls": urls} if urls else lists


def _chunks(lines: Iterable[str]) -> Iterator[list[str]]:
    """The lines in parts that one command can hold, however they have to be quoted."""
    chunk: list[str] = []
    size = 0
    for line in lines:
        length = _length(line)
        if chunk and size + length > _LONGEST_COMMAND:
            yield chunk
            chunk, size = [], 0
        chunk.append(line)
        size += length
    if chunk:
        yield chunk


def _length(line: str) -> int:
    """Bytes of a line as it is quoted."""
    return len(line.encode()) + 4 * line.count("'") + 12


def _options(reference: SourceRef) -> Iterator[str]:
    if isinstance(reference, HuggingFaceRef):
        yield from (f"--include={pattern}" for pattern in reference.include)
        yield from (f"--exclude={pattern}" for pattern in reference.exclude)


def _copies(stage: Stage) -> list[list[str]]:
    """What is copied from the recipe's folder: only the selected files where that can be written, else the whole folder."""
    reference = stage.reference
    if stage.image is None or not isinstance(reference, FolderRef):
        return []
    if reference.include or reference.exclude:
        copies = list(_copies_by_folder([file.path for file in stage.inventory.files], reference.path))
        if len(copies) <= _MOST_COPIES and all(copyable(path) for copy in copies for path in copy):
            return copies
    return [[f"{reference.path}/", "/download/"]]


def _copies_by_folder(paths: Iterable[str], folder: str) -> Iterator[list[str]]:
    def parent(path: str) -> str:
        return path.rpartition("/")[0]

    for directory, inside in groupby(sorted(paths, key=lambda path: (parent(path), path)), parent):
        destination = f"/download/{directory}/" if directory else "/download/"
        sources: list[str] = []
        size = 0
        for path in inside:
            size += len(path.encode()) + len(folder.encode()) + path.count('"') + 8
            if sources and size > LONGEST_LINE - 2 * len(destination.encode()) - 100:
                yield [*sources, destination]
                sources, size = [], len(path.encode()) + 8
            sources.append(f"{folder}/{path}")
        yield [*sources, destination]


_FETCH = (
    "import os, shutil, urllib.request as web; "
    '[(os.makedirs(os.path.dirname(to), exist_ok=True), shutil.copyfileobj(web.urlopen(url, timeout=60), open(to, "wb")))'
    ' for name in os.listdir("/lock/urls") for line in open("/lock/urls/" + name, encoding="utf-8")'
    ' for url, path in [line.rstrip("\\n").split(" ", 1)] for to in ["/download/" + path]]'
)
