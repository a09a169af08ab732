"""The form of a lockfile: what may stand in one, as types that also make its published JSON Schema, and its checksums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from buildkit.oci.manifest import canonical
from buildkit.oci.reference import Digest

VERSION = 2
SCHEMA_ID = "urn:modelpack:lock:2"
SECTIONS = ("asked", "images", "inputs", "pins", "pushed")

Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=0)]


class _Form(BaseModel):
    # Built when the whole is: each part is a part of one schema, and is not validated alone.
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


class InputsForm(_Form):
    """What decides the images beside the pins."""

    digest: Sha256 = Field(description="Over recipe, template and packing: an old lock is never taken for a new one.")
    recipe: Sha256 = Field(description="What the recipe says, its defaults included, and not how it is spelled.")
    template: Sha256 | None = Field(description="The templates of the recipe's kind; null where they were not noted.")
    packing: str = Field(description="The revision of what decides a layer's bytes.")


class ImagePinForm(_Form):
    """A base image."""

    reference: Annotated[str, Field(pattern=r"^\S+@sha256:[0-9a-f]{64}$")] = Field(
        description="name:tag@digest on one line. Its digest is all that a bot may edit: the next rebuild takes it."
    )
    digest: Sha256 = Field(description="The digest that the platforms belong to.")
    platforms: dict[str, Sha256] = Field(description="The manifest for each platform.")


class FileForm(_Form):
    """A file of a source."""

    path: str = Field(description="Where it is within the source.")
    size: Size = Field(description="Bytes.")
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(
        default=None, description="Of its content; null where the hub only told its git blob, or nobody told."
    )
    git_oid: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = Field(
        default=None, description="Its git blob's id, by which a small file of a hub is proven."
    )
    url: str | None = Field(default=None, description="Where it is downloaded from; null: the source knows.")
    executable: bool = Field(default=False, description="Whether its owner may execute it.")


class SourceForm(_Form):
    """A source of files."""

    type: str = Field(description="What sort of source it is, such as huggingface or folder.")
    name: str = Field(description="What the recipe calls it: a repository of a hub, a folder.")
    files: list[FileForm] = Field(description="Every file that is taken, sorted by its path.")
    revision: str | None = Field(default=None, description="Of a hub: the branch, tag or commit that the recipe names.")
    commit: str | None = Field(default=None, description="Of a hub: the commit that the revision meant.")


class PinsForm(_Form):
    """What every input means."""

    images: dict[str, ImagePinForm] = Field(description="Every image that the recipe names, by its key there.")
    sources: dict[str, SourceForm] = Field(description="Every source of files, by its key in the recipe.")
    max_layer_size: Size | None = Field(
        default=None, description="Bytes that the registry takes in a layer, where the layers were split for it."
    )


class DescriptorForm(_Form):
    """A manifest (image-spec, descriptor.md)."""

    mediaType: str = Field(description="OCI's or Docker's.")  # noqa: N815 - the specification's name
    digest: Sha256 = Field(description="Of the manifest's bytes.")
    size: Size = Field(description="Bytes.")
    annotations: dict[str, str] | None = Field(default=None, description="What the index says of it.")


class LayerForm(_Form):
    """A layer above the base: what decided it, and what it became."""

    key: str = Field(description="What decided it: the files, their places, modes and owners, and the packing.")
    digest: Sha256 = Field(description="What it became: the digest of its tar.")
    size: Size = Field(description="Bytes of its tar.")


class ImageForm(_Form):
    """An image as an engine built it for a platform."""

    engine: str = Field(description="The engine that built it.")
    packing: str = Field(description="The revision of what decides a layer's bytes, when it was built.")
    plan: Sha256 = Field(description="The plan that it was built from.")
    manifest: DescriptorForm = Field(description="Its manifest.")
    config: Sha256 = Field(description="Its config.")
    layers: list[LayerForm] = Field(description="Its layers above the base.")
    made: dict[str, Sha256] = Field(
        default_factory=dict, description="The recipe, the template and each input that it was made from."
    )


class SumsForm(_Form):
    """A digest of each section's canonical JSON, so that an edit by hand and a merge that went wrong are noticed."""

    asked: Sha256 = Field(description="Of the section asked.")
    images: Sha256 = Field(description="Of the section images.")
    inputs: Sha256 = Field(description="Of the section inputs.")
    pins: Sha256 = Field(description="Of the section pins; the digest in a base's reference is not a part of it.")
    pushed: Sha256 = Field(description="Of the section pushed.")


class LockForm(_Form):
    """A lockfile of modelpack. It is written by the tool; one for each recipe."""

    version: Literal[2] = Field(description="The form of the file; an older one is read, and written anew as this.")
    inputs: InputsForm = Field(description="What decides the images beside the pins.")
    asked: dict[str, Any] = Field(description="Each input in the recipe's own words.")
    pins: PinsForm = Field(description="What every input means.")
    images: dict[str, ImageForm] = Field(description="What was built, by platform.")
    pushed: dict[str, Sha256] = Field(description="What each reference in a registry served after the last push.")
    sums: SumsForm = Field(description="The checksum of every section.")


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of lockfiles in the current format."""
    made = LockForm.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **_untitled(made)}


def problems(content: Mapping[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    """Everything in a document that is not of this form: the steps to it, and what is wrong there."""
    try:
        LockForm.model_validate(content)
    except ValidationError as error:
        return [(found["loc"], _sentence(found)) for found in error.errors(include_url=False, include_input=False)]
    return []


def sums(content: Mapping[str, Any]) -> dict[str, str]:
    """The checksum of every section. Of a base image the digest that stands alone counts, not the one in its reference."""
    images = {
        key: {**pin, "reference": f"{pin['reference'].partition('@')[0]}@{pin['digest']}"}
        for key, pin in content["pins"]["images"].items()
    }
    counted = {**content, "pins": {**content["pins"], "images": images}}
    return {section: str(Digest.of(canonical(counted[section]))) for section in SECTIONS}


def inputs_digest(recipe: str, template: str | None, packing: str) -> str:
    """One digest over what decides an image beside its pins."""
    return str(Digest.of(canonical([recipe, template, packing])))


def _sentence(found: Any) -> str:
    match found["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not a key here"
        case "string_pattern_mismatch":
            return "is not a digest of the form that belongs here"
    text = str(found["msg"])
    return text[:1].lower() + text[1:]


def _untitled(value: Any) -> Any:
    """Without the titles that pydantic makes of the keys."""
    if isinstance(value, dict):
        return {key: _untitled(one) for key, one in value.items() if not (key == "title" and isinstance(one, str))}
    return [_untitled(one) for one in value] if isinstance(value, list) else value
