"""What a rule may look at: the recipe, its plan, the image as it was pushed, its files, where it goes, its deployment.

Before a build only recipe, plan and the config that will come of it are there; for an image by its reference there is no
recipe. A rule asks for what it needs, and is not judged where that is not there: nobody has to say which rule needs what.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from buildkit.checks.rule import NotKnown
from buildkit.errors import InvalidInput
from buildkit.oci.files import Files
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


@dataclass(frozen=True)
class Subject:
    """What a rule looks at. Every part but ``mode`` and ``settings`` raises NotKnown where it is not there."""

    settings: TargetSettings
    mode: str
    given: Given = field(default_factory=Given)

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
    def files(self) -> Files:
        """The files that are known; perhaps not all of them: what is there can be judged, what is missing cannot."""
        return _there(self.given.files, "the image's files")

    @property
    def all_files(self) -> Files:
        """The files, all of them known."""
        files = self.files
        if files.unread:
            raise NotKnown(files.unread)
        return files

    def all_under(self, folder: str) -> Files:
        """The files, all of them below a folder known."""
        return self.files if folder in self.files.whole else self.all_files

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
    def deployment(self) -> Mapping[str, Any]:
        """What is deployed from, as the target's ``deploy`` writes it."""
        return _there(self.given.deployment, "the deployment")


def _there(part: Part | None, name: str) -> Part:
    if part is None:
        raise NotKnown(name)
    return part
