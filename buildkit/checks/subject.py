"""What a rule may look at: the recipe, its plan, the image as it was pushed, its files, where it goes, its deployment.

Before a build only recipe, plan and the config that will come of it are there; for an image by its reference there is no
recipe. A rule asks for what it needs, and is not judged where that is not there: nobody has to say which rule needs what.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from buildkit.checks.document import Value
from buildkit.checks.rule import NotKnown
from buildkit.errors import InvalidInput
from buildkit.oci.files import Files, Member
from buildkit.oci.manifest import Document, ImageConfig, Manifest
from buildkit.oci.reference import Reference
from buildkit.plan import Plan
from buildkit.recipe import Recipe
from buildkit.target_settings import TargetSettings

if TYPE_CHECKING:
    from buildkit.trust.scan import Scanned

Part = TypeVar("Part")


@dataclass(frozen=True)
class Pushed:
    """An image as a registry or layout holds it: what the name leads to, and the one manifest that is looked at.

    ``exact``: media types and compression are those that were pushed; in a docker-archive they are not.
    """

    top: Document
    manifest: Manifest
    exact: bool = True


@dataclass(frozen=True)
class Given:
    """The parts that there are. ``config`` is the image's own, or what the plan will make of the base's."""

    recipe: Recipe | None = None
    plan: Plan | None = None
    config: ImageConfig | None = None
    image: Pushed | None = None
    files: Files | None = None
    references: tuple[Reference, ...] = ()
    deployment: Mapping[str, Any] | None = None
    scanned: Scanned | None = None
    logged_in: Callable[[Reference], bool] | None = None


@dataclass
class Looked:
    """Where one rule looked for files, "" for everywhere, and how many small files it could not read."""

    folders: set[str] = field(default_factory=set)
    closed: int = 0


@dataclass(frozen=True)
class Subject:
    """What a rule looks at. Every part but ``mode`` and ``settings`` raises NotKnown where it is not there.

    ``looked`` is kept for one rule: what finds nothing among files that are not all known has not held.
    """

    settings: TargetSettings
    mode: str
    given: Given = field(default_factory=Given)
    looked: Looked = field(default_factory=Looked, compare=False, repr=False)

    @property
    def untouched(self) -> Subject:
        """The same for the next rule."""
        return replace(self, looked=Looked())

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return _there(self.given.recipe, "the recipe")

    @property
    def plan(self) -> Plan:
        """The plan: what will be built, and the Containerfile's text."""
        return _there(self.given.plan, "the recipe's plan")

    @property
    def config(self) -> ImageConfig:
        """The image's config, or the one that the plan will make."""
        return _there(self.given.config, "the image's config")

    @property
    def process(self) -> Mapping[str, Any]:
        """What runs and how: User, Env, Entrypoint, Cmd, ExposedPorts, Labels."""
        return self.config.process

    @property
    def image(self) -> Pushed:
        """The image as it was pushed."""
        return _there(self.given.image, "the image")

    @property
    def known_files(self) -> Files:
        """The files that are known, for a rule that is content with what it finds there, and asks for all where it is not."""
        return _there(self.given.files, "the image's files")

    @property
    def files(self) -> Files:
        """The files that are known; a rule that finds nothing wrong in them is not judged where others were not read."""
        return self.files_under("")

    def files_under(self, folder: str) -> Files:
        """The same for a rule that looks below a folder alone."""
        self.looked.folders.add(folder)
        return self.known_files

    def text(self, member: Member) -> str:
        """What a small file says, "" where that was not read: then a rule that finds nothing is not judged either."""
        content = self.known_files.content(member)
        self.looked.closed += content is None
        return (content or b"").decode("utf-8", "replace")

    @property
    def unseen(self) -> str:
        """What nobody has read of that which the rule looked at, "" where it saw everything."""
        files = self.given.files
        if files is None:
            return ""
        if files.unread and not self.looked.folders <= set(files.whole):
            return files.unread
        closed = self.looked.closed
        return f"the content of {closed} small {'files' if closed > 1 else 'file'}" if closed else ""

    @property
    def all_files(self) -> Files:
        """The files, all of them known."""
        files = self.known_files
        if files.unread:
            raise NotKnown(files.unread)
        return files

    def all_under(self, folder: str) -> Files:
        """The files, all of them below a folder known."""
        return self.known_files if folder in self.known_files.whole else self.all_files

    @property
    def containerfile(self) -> str:
        """The text of the Containerfile."""
        try:
            text = self.plan.containerfile
        except InvalidInput:
            text = ""
        return _there(text or None, "a Containerfile")

    @property
    def references(self) -> tuple[Reference, ...]:
        """The names that the image has or will have."""
        if not self.given.references:
            raise NotKnown("a reference (--registry)")
        return self.given.references

    @property
    def logged_in(self) -> Callable[[Reference], bool]:
        """Whether there are credentials for a registry."""
        return _there(self.given.logged_in, "the logins of this machine")

    @property
    def scanned(self) -> Scanned:
        """What a scanner found in the image."""
        return _there(self.given.scanned, "the result of a scanner (check --image REF --scan, or --scan-report FILE)")

    @property
    def deployment(self) -> Value:
        """What is deployed from, as the target's ``deploy`` writes it."""
        return Value(_there(self.given.deployment, "the deployment"))


def _there(part: Part | None, name: str) -> Part:
    if part is None:
        raise NotKnown(name)
    return part
