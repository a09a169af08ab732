"""What a recipe may say. A field typed ``ImageRef`` or ``SourceRef`` is found and pinned with no code in the kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, StrictBool, field_validator

from buildkit.errors import InvalidInput
from buildkit.inputs import (
    AT_LEAST_ONE,
    Download,
    FileRef,
    FolderRef,
    HuggingFaceRef,
    ImageRef,
    OneFile,
    Part,
    Plain,
    Project,
    ProjectRef,
    RelativePath,
    SourceRef,
    UrlsRef,
    some,
)
from buildkit.oci.reference import Platform, Reference, is_repository, is_tag
from buildkit.reading.plain import Refusal, plain, relative_path, shown
from buildkit.tags import MEANINGS, PLACEHOLDER
from buildkit.target_settings import TargetUse, Waiver, once_each

__all__ = [
    "Download",
    "FileRef",
    "FolderRef",
    "HuggingFaceRef",
    "ImageRef",
    "OneFile",
    "Part",
    "Plain",
    "Project",
    "ProjectRef",
    "RelativePath",
    "SourceRef",
    "Spec",
    "UrlsRef",
    "plain",
    "relative_path",
]

_LABEL = re.compile(r"\w(?:[\w./-]*\w)?", re.ASCII)
_LONGEST_LABEL = 16 * 1024
"""Characters of a label's value. BuildKit reads no line of 64 KiB, and one character may need four bytes there."""


def _label(key: str) -> str:
    if not _LABEL.fullmatch(key):
        raise Refusal(
            f"{shown(key)} is not a label's name", "letters, digits, '.', '_', '-' and '/', as in org.example.team"
        )
    return key


def _label_value(text: str) -> str:
    if len(text) > _LONGEST_LABEL:
        raise Refusal(f"has {len(text)} characters; a label has at most {_LONGEST_LABEL}")
    return plain(text)


def _tag(text: str) -> str:
    unknown = [name for name in PLACEHOLDER.findall(text) if name not in MEANINGS]
    if unknown:
        raise Refusal(
            f"has {{{unknown[0]}}}, which means nothing", f"there are {', '.join(f'{{{name}}}' for name in MEANINGS)}"
        )
    if not is_tag(PLACEHOLDER.sub("0", text)):
        raise Refusal(
            f"{shown(text)} is not a tag", "letters, digits, '.', '_' and '-', at most 128, the first no '.' or '-'"
        )
    return text


def _platform(text: str) -> str:
    try:
        Platform.parse(text)
    except InvalidInput as error:
        raise Refusal(f"{shown(text)} is not a platform", error.hint) from None
    return text


def image_name(text: str) -> str:
    """A recipe's name, which is its image's repository below a registry's prefix; raises Refusal for what is none."""
    if not is_repository(text):
        raise Refusal(
            f"{shown(text)} is not an image's name", "lower-case letters and digits, with . _ - and / between them"
        )
    return text


def _distinct(texts: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({text for text in texts if texts.count(text) > 1}) if len(set(texts)) < len(texts) else []
    if twice:
        raise Refusal(f"names {', '.join(map(shown, twice))} twice", "remove one of them")
    return texts


Label = Annotated[str, AfterValidator(_label)]
LabelValue = Annotated[str, AfterValidator(_label_value)]
ImageTag = Annotated[str, AfterValidator(_tag)]
PlatformName = Annotated[str, AfterValidator(_platform)]


class Spec(Part):
    """What every kind of recipe may say. ``builder_images`` are keys of images that only a Containerfile build needs.

    ``python_inputs`` are keys of sources that are locks of Python packages: when one moves, that is called ``python``.
    """

    builder_images: ClassVar[frozenset[str]] = frozenset()
    python_inputs: ClassVar[frozenset[str]] = frozenset()

    kind: str = Field(description="The kind of recipe.")
    name: str = Field(description="The image's name: the last part of its repository.")
    tags: Annotated[tuple[ImageTag, ...], AfterValidator(some), AfterValidator(_distinct)] = Field(
        default=("latest",),
        json_schema_extra=AT_LEAST_ONE,
        description="The tags that a push moves; {revision}, {date}, {base}, {version} and {digest} are written out.",
    )
    immutable: StrictBool = Field(
        default=False, exclude=True, description="Never move a tag that exists with another digest."
    )
    platforms: Annotated[tuple[PlatformName, ...], AfterValidator(some), AfterValidator(_distinct)] = Field(
        default=("linux/amd64",),
        json_schema_extra=AT_LEAST_ONE,
        description="What the image is built for: os/architecture.",
    )
    labels: dict[Label, LabelValue] = Field(
        default_factory=dict, description="Labels of the image; they win over our own."
    )
    targets: Annotated[tuple[TargetUse, ...], AfterValidator(once_each)] = Field(
        default=(), description="The platforms that it is meant for: their rules are checked before it is built."
    )
    waive: tuple[Waiver, ...] = Field(default=(), description="Rules that it breaks on purpose, each with the reason.")

    @field_validator("name")
    @classmethod
    def _name(cls, text: str) -> str:
        return image_name(text)

    @property
    def platforms_parsed(self) -> tuple[Platform, ...]:
        """The platforms, parsed."""
        return tuple(Platform.parse(platform) for platform in self.platforms)

    def platforms_of(self, key: str) -> frozenset[Platform]:
        """What an image must exist for; none for one that only builds, which runs wherever the builder is."""
        return frozenset() if key in self.builder_images else frozenset(self.platforms_parsed)

    def images(self) -> Iterator[tuple[str, Reference]]:
        """Every image the recipe names, by key; ``scratch`` is none."""
        for key in type(self).model_fields:
            value = getattr(self, key)
            if isinstance(value, ImageRef) and value != "scratch":
                yield key, Reference.parse(value)

    def sources(self) -> Iterator[tuple[str, SourceRef]]:
        """Every source the recipe names, by key."""
        for key in type(self).model_fields:
            value = getattr(self, key)
            if isinstance(value, HuggingFaceRef | FolderRef | UrlsRef):
                yield key, value
