"""What installs conda: one file for each architecture, by its URL and its checksum."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from buildkit.inputs import Download, Part
from buildkit.oci.reference import Platform
from buildkit.reading.plain import Refusal

MINIFORGE = "26.3.2-3"
"""The release of conda-forge's Miniforge whose checksums stand below, as pyenv has them (July 2026)."""
_URL = "https://github.com/conda-forge/miniforge/releases/download/{version}/Miniforge3-{version}-Linux-{machine}.sh"
_CHECKSUMS = {
    "amd64": "848194851a98903134187fbb4ab50efe87b003e0c0f808f97644b7524a62bf2c",
    "arm64": "2c113a69297e612b01ca0f320c22a3107a11f2ab9b573d79ac868a175945ce29",
}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""What ``uname -m`` says on an architecture."""


def _checked(download: Download) -> Download:
    if not download.sha256:
        raise Refusal("has no sha256", "write the checksum that the installer's publisher names")
    return download


Installed = Annotated[Download, AfterValidator(_checked)]


def _miniforge(architecture: str) -> Download:
    url = _URL.format(version=MINIFORGE, machine=MACHINES[architecture])
    return Download(url=url, sha256=_CHECKSUMS[architecture])


class Installer(Part):
    """The installer of Miniforge or Miniconda, for each architecture that an image is built for."""

    amd64: Installed | None = Field(default=None, description="For linux/amd64: {url, sha256}.")
    arm64: Installed | None = Field(default=None, description="For linux/arm64: {url, sha256}.")

    @model_validator(mode="after")
    def _some(self) -> Installer:
        if self.amd64 is None and self.arm64 is None:
            raise Refusal("names no file", "write amd64: {url, sha256}")
        return self

    def of(self, platform: Platform) -> Download | None:
        """The file for a platform; None where there is none."""
        found: Download | None = getattr(self, platform.architecture, None)
        return found


DEFAULT = Installer(amd64=_miniforge("amd64"), arm64=_miniforge("arm64"))
