"""The types a recipe is made of. A field typed ``ImageRef`` or ``SourceRef`` is found and pinned with no code in the kind."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from buildkit.errors import InvalidInput
from buildkit.oci.reference import Platform, Reference, is_repository, is_tag

HUB_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}|[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
REVISION = re.compile(r"[A-Za-z0-9][\w./+-]{0,254}", re.ASCII)


def plain(text: str) -> str:
    """Refuses control characters, line and paragraph separators and what is invisible in a terminal or a Containerfile."""
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            raise ValueError(f"has the control character U+{ord(character):04X}, which is not allowed")
    return text


def relative_path(path: str) -> str:
    """Refuses a path that is absolute, escapes its folder, or reads differently on another system."""
    plain(path)
    parts = path.split("/")
    if path.startswith(("/", "~")) or re.match(r"[A-Za-z]:", path) or "\\" in path:
        raise ValueError("must be a relative path with forward slashes")
    if ".." in parts:
        raise ValueError("must not leave its folder with '..'")
    if any(part in ("", ".") for part in parts):
        raise ValueError("must not have empty or '.' parts")
    return path


def _image(text: str) -> str:
    plain(text)
    if text == "scratch":
        return text
    try:
        Reference.parse(text)
    except InvalidInput as error:
        raise ValueError("; ".join(problem.what for problem in error.problems) or str(error)) from None
    return text


class ImageRef(str):
    """Marks a field that names an image to be pinned. Holds the reference as it was written, or ``scratch``."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(
            lambda text: cls(_image(text)), core_schema.str_schema(), serialization=core_schema.to_string_ser_schema()
        )


Plain = Annotated[str, AfterValidator(plain)]
RelativePath = Annotated[str, AfterValidator(relative_path)]
Patterns = tuple[Annotated[str, Field(min_length=1), AfterValidator(plain)], ...]


class Part(BaseModel):
    """A piece of a recipe: frozen, and without keys that nobody reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Selection(Part):
    """Which files of a source are taken. Patterns as the hub's own library reads them: ``*`` also crosses slashes."""

    include: Patterns = Field(default=(), description="Take only files that match one of these patterns.")
    exclude: Patterns = Field(default=(), description="Leave out files that match one of these patterns.")


class HuggingFaceRef(Selection):
    """A model on a Hugging Face hub."""

    hf: str = Field(description="The repository, ORG/NAME.")
    revision: str = Field(default="main", description="A branch, tag or commit; it is pinned to a commit in the lock.")

    @field_validator("hf")
    @classmethod
    def _repository(cls, text: str) -> str:
        if not HUB_REPOSITORY.fullmatch(text) or ".." in text or "--" in text:
            raise ValueError("is not a repository of a hub; write ORG/NAME")
        return text

    @field_validator("revision")
    @classmethod
    def _revision(cls, text: str) -> str:
        if not REVISION.fullmatch(text) or ".." in text:
            raise ValueError("is not a branch, tag or commit")
        return text


class FolderRef(Selection):
    """A folder beside the recipe."""

    path: str = Field(description="The folder, relative to the recipe.")

    @field_validator("path")
    @classmethod
    def _path(cls, text: str) -> str:
        stripped = text.removeprefix("./").rstrip("/")
        return relative_path(stripped) if stripped else "."


class Download(Part):
    """One file from a URL."""

    url: str = Field(description="Where the file is; https, or http on loopback.")
    path: RelativePath | None = Field(default=None, description="Where it goes inside the model; by default the URL's last part.")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$", description="What the file must hash to.")

    @field_validator("url")
    @classmethod
    def _url(cls, text: str) -> str:
        plain(text)
        parts = urlsplit(text)
        loopback = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme != "https" and not (parts.scheme == "http" and loopback) or not parts.hostname:
            raise ValueError("must be an https URL")
        if parts.username or parts.password:
            raise ValueError("must not hold a user name or password: it would be written into the lock")
        if " " in text:
            raise ValueError("must not have spaces; write %20")
        return text

    @model_validator(mode="after")
    def _has_path(self) -> Download:
        try:
            relative_path(self.file_path)
        except ValueError as error:
            raise ValueError(f"the URL does not end in a usable file name ({error}); give 'path'") from None
        return self

    @property
    def file_path(self) -> str:
        """Where the file goes inside the model."""
        from urllib.parse import unquote

        return self.path or unquote(urlsplit(self.url).path.rpartition("/")[2])


class UrlsRef(Part):
    """Files from URLs."""

    urls: tuple[Download, ...] = Field(min_length=1, description="The files.")

    @model_validator(mode="after")
    def _distinct(self) -> UrlsRef:
        paths = [download.file_path for download in self.urls]
        twice = sorted({path for path in paths if paths.count(path) > 1})
        if twice:
            raise ValueError(f"two URLs would both become {', '.join(twice)}; give each its own 'path'")
        return self


SourceRef = HuggingFaceRef | FolderRef | UrlsRef


class Spec(Part):
    """What every kind of recipe may say. ``builder_images`` are keys of images that only a Containerfile build needs."""

    builder_images: ClassVar[frozenset[str]] = frozenset()

    kind: str = Field(description="The kind of recipe.")
    name: str = Field(description="The image's name: the last part of its repository.")
    tags: tuple[str, ...] = Field(default=("latest",), min_length=1, description="The tags that a push moves.")
    platforms: tuple[str, ...] = Field(default=("linux/amd64",), min_length=1, description="What the image is built for.")
    labels: dict[Plain, Plain] = Field(default_factory=dict, description="Labels of the image.")

    @field_validator("name")
    @classmethod
    def _name(cls, text: str) -> str:
        if not is_repository(text):
            raise ValueError("is not a repository name: lower-case letters and digits, with . _ - / between them")
        return text

    @field_validator("tags")
    @classmethod
    def _tags(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        for tag in tags:
            if not is_tag(tag):
                raise ValueError(f"{tag!r} is not a tag: letters, digits, '.', '_' and '-', at most 128")
        return tags

    @field_validator("platforms")
    @classmethod
    def _platforms(cls, platforms: tuple[str, ...]) -> tuple[str, ...]:
        for platform in platforms:
            try:
                Platform.parse(platform)
            except InvalidInput as error:
                raise ValueError(f"{error}; {error.hint}") from None
        if len(set(platforms)) != len(platforms):
            raise ValueError("names a platform twice")
        return platforms

    @property
    def targets(self) -> tuple[Platform, ...]:
        """The platforms, parsed."""
        return tuple(Platform.parse(platform) for platform in self.platforms)

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
