"""An image that a person named, found where it is: in a registry, in an OCI layout, or in an archive on this disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from buildkit.errors import InvalidInput
from buildkit.oci.layout import Layout
from buildkit.oci.manifest import Document
from buildkit.oci.named import lacking
from buildkit.oci.reference import Reference
from buildkit.oci.stored import Archived, Readable
from buildkit.pin import absent
from buildkit.world import World

ON_THIS_DISK = ("oci", "oci-archive", "docker-archive")
"""How the names of images on this disk begin, before a colon."""


@dataclass(frozen=True)
class Opened:
    """An image that was named ``image``: what it is read from, and its name or digest in there, "" for the only one.

    ``names`` are those of all images that lie together on this disk, "" for one without a name. ``reference`` is its name in
    a registry, and ``located`` where it is asked for, which may be a mirror; both are None for one on this disk.
    """

    image: str
    store: Readable
    name: str
    names: tuple[str, ...] = ()
    reference: Reference | None = None
    located: Reference | None = None

    @property
    def exact(self) -> bool:
        """Whether manifests and layers are as they would be pushed: what ``docker save`` wrote before 25 is not."""
        return not isinstance(self.store, Archived) or self.store.is_exact

    def document(self) -> Document:
        """Its manifest or index; raises InvalidInput where there is no such image, and RegistryFailed."""
        found = self.store.resolve(self.name)
        if found is not None:
            return found
        if self.reference is None:
            raise lacking(self.image, self.names)
        raise absent(self.reference, self.located or self.reference)


def open_image(image: str, world: World) -> Opened:
    """What a reference, ``oci:DIR[:NAME]``, ``oci-archive:FILE[:NAME]`` or ``docker-archive:FILE[:NAME]`` leads to.

    Nobody is asked whether it is there. Raises InvalidInput where the text or what lies on this disk is not acceptable.
    """
    form, _, rest = image.partition(":")
    if form not in ON_THIS_DISK:
        reference = Reference.parse(image)
        return open_reference(reference, world, world.settings.located(reference))
    path, name = _path_and_name(rest)
    if form != "oci":
        archived = Archived(path)
        return Opened(image, archived, name, archived.names)
    if not (path / "index.json").is_file():
        raise InvalidInput(
            f"{path} is not an OCI layout: it has no index.json",
            hint="'modelpack build RECIPE --output oci:DIR' writes one",
        )
    layout = Layout(path)
    return Opened(image, layout, name, layout.names)


def open_reference(reference: Reference, world: World, located: Reference) -> Opened:
    """An image of a registry, asked for at ``located``: at the reference itself, or at its mirror."""
    return Opened(
        str(reference), world.repository(located), reference.tag_or_digest, reference=reference, located=located
    )


def _path_and_name(text: str) -> tuple[Path, str]:
    """A path with colons in it is a path, where it is there; and so may be a name: a tag, a whole reference, a digest."""
    colons = [place for place, letter in enumerate(text) if letter == ":"]
    split = [(text, ""), *((text[:colon], text[colon + 1 :]) for colon in reversed(colons))]
    path, name = next((one for one in split if one[0] and Path(one[0]).exists()), (text, ""))
    return Path(path), name
