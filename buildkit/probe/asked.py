"""What a person wants asked of an image: the target's settings, an artefact to mount, and samples with their bodies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from buildkit.errors import InvalidInput, Problem
from buildkit.probe.server import Sample
from buildkit.target_settings import Sample as WrittenSample
from buildkit.target_settings import ServerSettings, TargetSettings


@dataclass(frozen=True)
class Asked:
    """The settings of a target, with everything they name read from the disk.

    ``artifact`` is the folder that the platform mounts; where there is none an empty one, for the platform's mount hides
    what the image has there.
    """

    settings: TargetSettings
    artifact: Path
    samples: tuple[Sample, ...] = ()

    def judged(self, rule: str, within: float, default: Sample | None = None) -> tuple[Sample, ...]:
        """The declared samples under a platform's rule and limit of time, in seconds; else its default, if it has one."""
        chosen = self.samples or ((default,) if default else ())
        return tuple(replace(sample, rule=rule, within=within) for sample in chosen)


def samples_of(settings: TargetSettings, folder: Path) -> tuple[Sample, ...]:
    """The samples of a target's settings, their files read relative to ``folder``; raises InvalidInput."""
    written: Sequence[WrittenSample] = settings.samples if isinstance(settings, ServerSettings) else ()
    return tuple(_sample(sample, folder) for sample in written)


def _sample(written: WrittenSample, folder: Path) -> Sample:
    return Sample("", written.path, 0, written.method, written.content_type, _body(written, folder), declared=True)


def _body(written: WrittenSample, folder: Path) -> bytes:
    if written.file is not None:
        path = folder / written.file
        try:
            return path.read_bytes()
        except OSError as error:
            problem = Problem(f"sample {written.path}", f"{path}: {error.strerror}", "name a file beside the recipe")
            raise InvalidInput("a sample cannot be read", [problem]) from None
    if isinstance(written.body, str):
        return written.body.encode()
    return json.dumps({} if written.body is None else written.body).encode()
