"""The inputs that a recipe names, as types: images, and the sources of a model with the short forms they may have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Self, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Tag,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, InitErrorDetails, core_schema

from buildkit import hub_page
from buildkit.errors import InvalidInput
from buildkit.machine.connections import is_loopback
from buildkit.oci.reference import Reference
from buildkit.reading.plain import Refusal, plain, relative_path, shown

HUB_REPOSITORY = re.compile(r"(?=.{1,96}$)(?:\w(?:[\w.-]*\w)?/)?\w(?:[\w.-]*\w)?", re.ASCII)
"""huggingface_hub, utils/_validators.py, validate_repo_id: letters, digits, ``-_.``, no ``--`` or ``..``, no ``.git``."""
REVISION = re.compile(r"[A-Za-z0-9][\w./+-]{0,254}", re.ASCII)
FORMS = "write hf://ORG/NAME@REVISION, ./FOLDER (beside the recipe), or a list of https:// URLs"
_URL = r"^https?://"


class ImageRef(str):
    """Marks a field that names an image to be pinned. Holds the reference as it was written, or ``scratch``."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic reads it: a text, checked."""
        return core_schema.no_info_after_validator_function(
            lambda text: cls(_image(text)), core_schema.str_schema(), serialization=core_schema.to_string_ser_schema()
        )


def _image(text: str) -> str:
    plain(text)
    if text != "scratch":
        try:
            Reference.parse(text)
        except InvalidInput as error:
            reasons = "; ".join(problem.what for problem in error.problems)
            raise Refusal(f"is not an image reference: {reasons or error}", error.hint) from None
    return text


def all_refused(refusals: Sequence[tuple[tuple[str | int, ...], Refusal]]) -> ValidationError:
    """What a validator raises that found several things wrong: each with its steps below where the validator stands."""
    details = [
        InitErrorDetails(type="value_error", ctx={"error": refusal}, loc=loc, input=None) for loc, refusal in refusals
    ]
    return ValidationError.from_exception_data("several", details)


Items = TypeVar("Items", bound=Sequence[Any])


def some(items: Items) -> Items:
    """Refuses a list with nothing in it. A minimum of pydantic's would count only the items that are right."""
    if not items:
        raise Refusal("must not be empty")
    return items


AT_LEAST_ONE: dict[str, Any] = {"minItems": 1}
Plain = Annotated[str, AfterValidator(plain)]
RelativePath = Annotated[str, AfterValidator(relative_path)]
Patterns = tuple[
    Annotated[str, Field(json_schema_extra={"minLength": 1}), AfterValidator(some), AfterValidator(plain)], ...
]


class Part(BaseModel):
    """A piece of a recipe: frozen, and without keys that nobody reads."""

    # Of the many kinds and targets one recipe names few: what it does not name is never built.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Selection(Part):
    """Which files of a source are taken. Patterns as the hub's own library reads them: ``*`` also crosses slashes."""

    include: Patterns = Field(
        default=(), description="Take only files that match one of these patterns; * also crosses slashes."
    )
    exclude: Patterns = Field(default=(), description="Leave out files that match one of these patterns.")


class HuggingFaceRef(Selection):
    """A model on a Hugging Face hub."""

    hf: str = Field(description="The repository, ORG/NAME.")
    revision: str = Field(default="main", description="A branch, tag or commit; it is pinned to a commit in the lock.")

    @field_validator("hf")
    @classmethod
    def _repository(cls, text: str) -> str:
        if not HUB_REPOSITORY.fullmatch(text) or ".." in text or "--" in text or text.endswith(".git"):
            raise Refusal(f"{shown(text)} is not a repository of a hub", "write ORG/NAME")
        return text

    @field_validator("revision")
    @classmethod
    def _revision(cls, text: str) -> str:
        if not REVISION.fullmatch(text) or ".." in text:
            raise Refusal(f"{shown(text)} is not a branch, tag or commit", "write its name, or the commit's digits")
        return text


class FolderRef(Selection):
    """A folder beside the recipe."""

    path: str = Field(
        description="The folder, relative to the recipe and never above it. A link in its place is followed, wherever it leads; "
        "one inside it may not lead out."
    )

    @field_validator("path")
    @classmethod
    def _path(cls, text: str) -> str:
        stripped = text.removeprefix("./").rstrip("/")
        if text.startswith("/") or stripped not in ("", "."):
            try:
                return relative_path(text if text.startswith("/") else stripped)
            except ValueError as error:
                raise Refusal(f"the folder {shown(text)} {error}", FORMS) from None
        raise Refusal(
            "is not a folder of its own", "put the model's files into a folder beside the recipe, and name that"
        )


class ProjectRef(FolderRef):
    """The folder of a recipe itself, or one beside it, with a program in it: what its ignore file names is left out."""

    path: str = Field(default=".", description="The folder with the program, relative to the recipe.")

    @field_validator("path")
    @classmethod
    def _path(cls, text: str) -> str:
        return "." if text in (".", "./") else _folder(text)


class FileRef(FolderRef):
    """One file beside the recipe that decides what is built, such as a list of packages."""

    path: str = Field(description="The file, relative to the recipe.")

    @field_validator("path")
    @classmethod
    def _path(cls, text: str) -> str:
        try:
            return relative_path(text if text.startswith("/") else text.removeprefix("./"))
        except ValueError as error:
            raise Refusal(f"the file {shown(text)} {error}", "write ./FILE, beside the recipe") from None


class FilesRef(ProjectRef):
    """Files of a recipe's folder by their names, such as a lock of packages, whatever its ignore file says of them."""

    files: tuple[str, ...] = Field(description="The files, relative to the recipe.")


def _project(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


def _folder(text: str) -> str:
    try:
        return relative_path(text if text.startswith("/") else text.removeprefix("./").rstrip("/"))
    except ValueError as error:
        raise Refusal(f"the folder {shown(text)} {error}", "write ./FOLDER, beside the recipe") from None


Project = Annotated[
    ProjectRef,
    BeforeValidator(_project),
    WithJsonSchema(
        {"type": "string", "description": "The folder with the program, relative to the recipe; '.' is its own."}
    ),
]


OneFile = Annotated[
    FileRef,
    BeforeValidator(_project),
    WithJsonSchema({"type": "string", "description": "A file, relative to the recipe."}),
]


def _sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise Refusal(f"{shown(text)} is not a sha256", "write its 64 hexadecimal digits, in lower case")
    return text


Sha256 = Annotated[str, AfterValidator(_sha256), Field(json_schema_extra={"pattern": "^[0-9a-f]{64}$"})]


class Download(Part):
    """One file from a URL."""

    url: str = Field(json_schema_extra={"pattern": _URL}, description="Where the file is; https, or http on loopback.")
    path: RelativePath | None = Field(
        default=None, description="Where it goes inside the model; by default the URL's last part."
    )
    sha256: Sha256 | None = Field(default=None, description="What the file must hash to.")

    @field_validator("url")
    @classmethod
    def _url(cls, text: str) -> str:
        parts = _split(text)
        if parts.scheme not in ("https", "http"):
            raise Refusal(f"{shown(text)} is not an https URL", "write https://")
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise Refusal("must be https; http is for loopback alone", "write https://")
        if parts.username is not None or parts.password is not None:
            raise Refusal(
                "must not hold a user name or password", "it would be written into the lock and the image's history"
            )
        if parts.fragment:
            raise Refusal("must not have a part after '#'", "remove it")
        refuse_page(text)
        return text

    @model_validator(mode="after")
    def _has_path(self) -> Self:
        if not self.file_path:
            raise Refusal("the URL ends in no file name", "give 'path'")
        try:
            relative_path(self.file_path)
        except ValueError as error:
            raise Refusal(
                f"the URL ends in no usable file name: {shown(self.file_path)} {error}", "give 'path'"
            ) from None
        return self

    @property
    def file_path(self) -> str:
        """Where the file goes inside the model."""
        return self.path or unquote(urlsplit(self.url).path.rpartition("/")[2])


def refuse_page(url: str, hub: str = hub_page.PUBLIC) -> None:
    """Refuses what leads to a page of a hub: its HTML would be packed as the model."""
    better = hub_page.instead(url, hub)
    if better:
        raise Refusal(f"{shown(url)} is a page of the hub, and no file", f"write {better}")


def _split(url: str) -> Any:
    plain(url)
    if not url.isascii() or re.search(r"[\s\"<>\\^`{|}]", url):
        raise Refusal("is not a URL", "write letters beyond ASCII, spaces and quotes with %, a space as %20")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise Refusal(f"is not a URL: {error}") from None
    if not parts.hostname:
        raise Refusal("is not a URL: it names no host")
    return parts


class _TextOr:
    """Lets the schema say that a text may stand for the whole mapping."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "pattern": _URL}, handler(schema)]}


OneDownload = Annotated[
    Download, BeforeValidator(lambda value: {"url": value} if isinstance(value, str) else value), _TextOr()
]


class UrlsRef(Part):
    """Files from URLs."""

    urls: Annotated[tuple[OneDownload, ...], AfterValidator(some)] = Field(
        json_schema_extra=AT_LEAST_ONE, description="The files."
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        paths = [download.file_path for download in self.urls]
        twice = sorted({path for path in paths if paths.count(path) > 1}) if len(set(paths)) < len(paths) else []
        if twice:
            raise Refusal(f"several URLs would become {', '.join(map(shown, twice[:5]))}", "give each its own 'path'")
        return self


def _spelled_out(value: object) -> object:
    """A source's short form as the mapping that it stands for."""
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, list | tuple):
        return {"urls": value}
    if isinstance(value, dict):
        named = [key for key in _BY_KEY if key in value]
        if len(named) > 1:
            raise Refusal(f"names {len(named)} sources at once: {', '.join(named)}", "keep one of them")
        if not named:
            raise Refusal(f"has none of the keys {', '.join(_BY_KEY)}", FORMS)
    elif not isinstance(value, Part):
        raise Refusal("does not say where the model is", FORMS)
    return value


def _of_text(text: str) -> dict[str, str]:
    scheme, separator, rest = text.partition("://")
    if not separator:
        return {"path": text}
    if scheme == "hf":
        repository, at, revision = rest.partition("@")
        return {"hf": repository, "revision": revision} if at else {"hf": repository}
    if scheme in ("http", "https"):
        _split(text)
        refuse_page(text)
        raise Refusal("is one URL, and not a list of them", "write [" + shown(text) + "]")
    raise Refusal(f"{shown(text)} is not a source", FORMS)


def _form(value: object) -> str | None:
    if isinstance(value, dict):
        return next((form.__name__ for key, form in _BY_KEY.items() if key in value), None)
    return type(value).__name__


_BY_KEY: dict[str, type[Part]] = {"hf": HuggingFaceRef, "path": FolderRef, "urls": UrlsRef}


class _ShortForms:
    """Adds a source's short forms to its schema."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        spelled_out = handler(schema)
        one = {"anyOf": [{"type": "string", "pattern": _URL}, handler(Download.__pydantic_core_schema__)]}
        urls = {"type": "array", "minItems": 1, "items": one, "description": "Files from URLs."}
        return {"anyOf": [_HUB_TEXT, _FOLDER_TEXT, urls, *spelled_out["oneOf"]]}


_HUB_TEXT = {
    "type": "string",
    "pattern": "^hf://",
    "description": "A model on a Hugging Face hub: hf://ORG/NAME@REVISION.",
}
_FOLDER_TEXT = {"type": "string", "pattern": "^(?!/)(?!.*://).", "description": "A folder beside the recipe: ./FOLDER."}

SourceRef = Annotated[
    Annotated[HuggingFaceRef, Tag("HuggingFaceRef")]
    | Annotated[FolderRef, Tag("FolderRef")]
    | Annotated[UrlsRef, Tag("UrlsRef")],
    Discriminator(_form),
    BeforeValidator(_spelled_out),
    _ShortForms(),
]
