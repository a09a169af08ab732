"""The bill of materials of an image, in CycloneDX 1.6: the model with its files and license, the base, Python packages.

It is a function of the image and of what of it can be read: no clock, no random number, so that attesting twice attests once.
Where a layer cannot be read, it says that it is incomplete.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID, uuid5

from buildkit import __version__
from buildkit.card import OTHER, Card
from buildkit.oci.manifest import canonical
from buildkit.pin import File, ImagePin, Inventory
from buildkit.trust.referrers import Artifact
from buildkit.trust.subject import Subject

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

TYPE = "application/vnd.cyclonedx+json"
FILE = "sbom.cdx.json"
_SPACE = UUID("5b0b9b0e-52a5-5a3c-9f53-0a6c5b7f0c11")


def bill(subject: Subject) -> Artifact:
    """The bill of an image, as the artifact that is attached to it."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    bom = Bom(serial_number=uuid5(_SPACE, str(subject.digest)))
    bom.metadata.timestamp = None  # type: ignore[assignment]
    bom.metadata.component = _image(subject)
    bom.metadata.tools.components.add(_tool())
    bom.components.update(_components(subject))
    bom.register_dependency(bom.metadata.component, bom.components)
    written = json.loads(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string())
    written.get("metadata", {}).pop("timestamp", None)
    _add_model_cards(written, subject)
    if subject.packages.unread:
        # CycloneDX 1.6, compositions, which the library cannot write.
        written["compositions"] = [{"aggregate": "incomplete", "assemblies": [f"image:{subject.digest}"]}]
    return Artifact(TYPE, canonical(written) + b"\n", FILE, suffix=".sbom")


def _image(subject: Subject) -> Component:
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        type=ComponentType.CONTAINER,
        name=subject.name,
        version=str(subject.digest),
        bom_ref=f"image:{subject.digest}",
        purl=_purl(f"pkg:oci/{quote(subject.name.rpartition('/')[2])}@{quote(str(subject.digest))}"),
    )


def _tool() -> Component:
    from cyclonedx.model.component import Component, ComponentType

    return Component(type=ComponentType.APPLICATION, name="modelpack", version=__version__, bom_ref="tool:modelpack")


def _components(subject: Subject) -> Iterator[Component]:
    for key, inventory in sorted(subject.lock.pins.sources.items()):
        yield _source(key, inventory, subject.cards.get(key))
    builders = subject.recipe.spec.builder_images
    for key, pin in sorted(subject.lock.pins.images.items()):
        if key not in builders:
            yield _base(key, pin)
    for package in subject.packages.found:
        yield _package(package.name, package.version)


def _source(key: str, inventory: Inventory, card: Card | None) -> Component:
    """A model of a hub; files of a folder or of URLs are data, of which nobody told what they are."""
    from cyclonedx.model.component import Component, ComponentType

    from_hub = inventory.type == "huggingface"
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL if from_hub or key == "model" else ComponentType.DATA,
        name=inventory.name or key,
        version=inventory.commit or None,
        bom_ref=f"source:{key}",
        purl=_purl(f"pkg:huggingface/{quote(inventory.name)}@{inventory.commit}") if from_hub else None,
        licenses=_licenses(card),
        components=[_file(key, file) for file in inventory.files],
    )


def _file(key: str, file: File) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    properties = [Property(name="modelpack:size", value=str(file.size))]
    if file.git_oid:
        properties.append(Property(name="modelpack:git-oid", value=file.git_oid))
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)] if file.sha256 else []
    reference = f"file:{key}:{file.path}"
    return Component(type=ComponentType.FILE, name=file.path, bom_ref=reference, hashes=hashes, properties=properties)


def _base(key: str, pin: ImagePin) -> Component:
    from cyclonedx.model.component import Component, ComponentType

    reference = pin.reference
    short = reference.repository.rpartition("/")[2]
    where = f"repository_url={quote(reference.name)}" + (f"&tag={quote(reference.tag)}" if reference.tag else "")
    return Component(
        type=ComponentType.CONTAINER,
        name=reference.name,
        version=str(reference.digest),
        bom_ref=f"base:{key}",
        purl=_purl(f"pkg:oci/{quote(short)}@{quote(str(reference.digest))}?{where}"),
    )


def _package(name: str, version: str) -> Component:
    from cyclonedx.model.component import Component, ComponentType

    purl = _purl(f"pkg:pypi/{quote(name.lower().replace('_', '-'))}@{quote(version)}")
    return Component(
        type=ComponentType.LIBRARY, name=name, version=version, bom_ref=f"python:{name}@{version}", purl=purl
    )


def _licenses(card: Card | None) -> list[Any]:
    return [_license(card, license) for license in card.licenses] if card else []


def _license(card: Card, license: str) -> Any:
    """The license as SPDX names it, whose letters' case the hub does not keep; else by its name."""
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model import XsUri
    from cyclonedx.spdx import fixup_id

    found = fixup_id(license)
    if found:
        return LicenseFactory().make_with_id(found)
    named = LicenseFactory().make_with_name(card.called(license))
    if license == OTHER and card.license_link.startswith("https://"):
        named.url = XsUri(card.license_link)
    return named


def _add_model_cards(written: dict[str, Any], subject: Subject) -> None:
    """What the card says of the model (CycloneDX 1.6, modelCard), which the library cannot write."""
    for component in written.get("components", []):
        key = component["bom-ref"].removeprefix("source:")
        card = subject.cards.get(key)
        if card is None or component["type"] != "machine-learning-model":
            continue
        parameters: dict[str, Any] = {"task": card.task} if card.task else {}
        if card.datasets:
            parameters["datasets"] = [{"type": "dataset", "name": name} for name in card.datasets]
        told = {
            "library": card.library,
            "languages": ", ".join(card.languages),
            "base models": ", ".join(card.base_models),
        }
        properties = [{"name": f"modelpack:{name}", "value": text} for name, text in told.items() if text]
        properties.append({"name": "modelpack:gated", "value": str(card.gated).lower()})
        component["modelCard"] = {"modelParameters": parameters, "properties": properties}


def _purl(text: str) -> Any:
    from packageurl import PackageURL

    return PackageURL.from_string(text)
