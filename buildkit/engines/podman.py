"""podman: builds the generated Containerfile, rootless where the user is.

python-on-whales cannot drive it beyond a bare build (no annotation, timestamp or uncompressed save), so its command line is
put together here.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from buildkit.build import Context
from buildkit.containerfiles.image_places import binds
from buildkit.engines import adopted, prepared
from buildkit.engines.program import run
from buildkit.errors import Problem
from buildkit.events import Said
from buildkit.oci.image import Image
from buildkit.oci.layout import Layout
from buildkit.oci.reference import Digest, Platform
from buildkit.plan import Plan


class Podman:
    """Builds with ``podman build``; the image stays in podman's own store under the recipe's tags as well."""

    name = "podman"

    def lacks(self, plan: Plan) -> list[Problem]:
        """What the plan says podman cannot do; else podman itself."""
        missing = [] if shutil.which("podman") else [Problem("podman", "is not installed", "install podman")]
        return prepared.lacking(plan, self.name) or missing

    def build(self, plan: Plan, platform: Platform, context: Context) -> Image:
        """Builds, exports without compression, and returns what came out; raises EngineFailed and SourceFailed."""
        prepared.check_readable(plan, context)
        with (
            prepared.build_context(plan, context, own_stage=True) as (file, folder),
            prepared.secret_files(plan, context) as secrets,
        ):
            run("podman", [*self._build(plan, platform, context, file, secrets), str(folder)], context.emit)
        place = adopted.export_folder(self.name, platform, context)
        with adopted.fresh_folder(place) as fresh:
            context.emit(Said("podman: exporting the image"))
            saved = [
                "save",
                "--quiet",
                "--format",
                "oci-dir",
                "--uncompressed",
                "--output",
                str(fresh),
                self._names(plan, context)[0],
            ]
            run("podman", ["podman", *saved], context.emit)
            adopted.adopt(Layout(fresh), plan, platform, context)
        return adopted.last(Layout(place), plan, platform, context)

    def recall(self, plan: Plan, platform: Platform, manifest: Digest, context: Context) -> Image | None:
        """What the last build exported, if it is still that image."""
        return adopted.recalled(self.name, plan, platform, manifest, context)

    def _build(
        self, plan: Plan, platform: Platform, context: Context, file: Path, secrets: Mapping[str, Path]
    ) -> list[str]:
        command = ["podman", "build", "--file", str(file), "--platform", str(platform), "--format", "oci"]
        # Without --layers podman writes one layer however many are copied, and with it a wrong base digest into the
        # annotations of its own manifest, which is not the one that is pushed.
        layers = "true" if len(plan.layers) > 1 or plan.own_layers else "false"
        command += ["--timestamp", "0", f"--layers={layers}", "--identity-label=false"]
        command += [f"--annotation={key}={value}" for key, value in sorted(plan.annotations.items())]
        command.append(f"--ignorefile={file}.dockerignore")
        command += [f"--build-arg={key}={value}" for key, value in prepared.build_arguments(plan, context).items()]
        command += [f"--tag={name}" for name in self._names(plan, context)]
        # podman 4.3 takes such a step from its cache whatever became of the mounted files (measured).
        command += ["--no-cache"] if binds(plan.containerfile) else []
        if prepared.needs_host_network(plan, context):
            command.append("--network=host")
        if prepared.plain_http_pulls(context):
            command.append("--tls-verify=false")
        command += [f"--secret=id={name},src={path}" for name, path in secrets.items()]
        return command

    def _names(self, plan: Plan, context: Context) -> list[str]:
        return [f"localhost/{plan.name}:{tag}" for tag in context.tags]
