"""docker buildx: builds the generated Containerfile with whatever builder the docker CLI is set to."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from buildkit.build import Context
from buildkit.engines import adopted, prepared
from buildkit.engines.program import asked, failed, last_line, run
from buildkit.errors import EngineFailed, Problem
from buildkit.events import Said
from buildkit.oci.image import Image
from buildkit.oci.layout import Layout
from buildkit.oci.reference import Digest, Platform
from buildkit.plan import Plan


class Buildx:
    """Builds with ``docker buildx``, loads into docker's store, and exports from there.

    ``builder`` is the name of a builder, of any driver: docker-container, kubernetes and remote ones hand the result over.
    """

    name = "buildx"

    def __init__(self, builder: str = "") -> None:
        self._builder = builder

    def lacks(self, plan: Plan) -> list[Problem]:
        """What the plan says BuildKit cannot do; else docker, its buildx plugin, or its daemon."""
        return prepared.lacking(plan, self.name) or missing()

    def build(self, plan: Plan, platform: Platform, context: Context) -> Image:
        """Builds, exports without compression, and returns what came out; raises EngineFailed and SourceFailed."""
        prepared.check_readable(plan, context)
        names = [f"{plan.name}:{tag}" for tag in context.tags]
        with prepared.build_context(plan, context) as (file, folder), prepared.secret_files(plan, context) as secrets:
            self._build(plan, platform, context, file, folder, names, secrets)
        place = adopted.export_folder(self.name, platform, context)
        with adopted.fresh_folder(place) as fresh:
            context.emit(Said("buildx: exporting the image"))
            _save(names[0], fresh)
            adopted.adopt(Layout(fresh), plan, platform, context)
        return adopted.last(Layout(place), plan, platform, context)

    def recall(self, plan: Plan, platform: Platform, manifest: Digest, context: Context) -> Image | None:
        """What the last build exported, if it is still that image."""
        return adopted.recalled(self.name, plan, platform, manifest, context)

    def _build(
        self,
        plan: Plan,
        platform: Platform,
        context: Context,
        file: Path,
        folder: Path,
        names: list[str],
        secrets: Mapping[str, Path],
    ) -> None:
        arguments = {**prepared.build_arguments(plan, context), "SOURCE_DATE_EPOCH": "0"}
        command = [*_docker(), "buildx", "build", "--file", str(file), "--platform", str(platform), "--load"]
        command += ["--provenance=false", "--progress=plain"]
        command += [f"--builder={self._builder}"] if self._builder else []
        command += [f"--tag={name}" for name in names]
        command += [f"--build-arg={key}={value}" for key, value in arguments.items()]
        if prepared.needs_host_network(plan, context):
            command.append("--network=host")
        command += [f"--secret=id={name},src={path}" for name, path in secrets.items()]
        run("buildx", [*command, str(folder)], context.emit)


def missing() -> list[Problem]:
    """What there is not of docker, its buildx plugin and its daemon, which keeps the image whatever builder makes it."""
    if shutil.which("docker") is None:
        return [Problem("buildx", "docker is not installed", "install docker with its buildx plugin")]
    if asked(["docker", "buildx", "version"])[0]:
        return [Problem("buildx", "docker has no buildx plugin", "install docker-buildx")]
    code, said = asked(["docker", "version", "--format", "{{.Server.Version}}"])
    hint = "start docker, or set DOCKER_HOST to one that runs"
    return [Problem("buildx", f"docker does not answer: {last_line(said)}", hint)] if code else []


def _docker() -> list[str]:
    """The docker command as python-on-whales finds it.

    Its own ``build`` is not used: it hides the program that it starts, which then could not be interrupted and would go
    on, holding the token.
    """
    from python_on_whales import DockerClient

    return [str(word) for word in DockerClient().client_config.docker_cmd]


def _save(name: str, folder: Path) -> None:
    """Unpacks ``docker save``, whose tar is an OCI layout since docker 25, into a layout folder."""
    with subprocess.Popen(["docker", "save", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for member in archive:
                    archive.extract(member, folder, filter="data")
        except tarfile.TarError:
            raise failed("docker save", process.stderr.read().decode(errors="replace")) from None
    if process.returncode:
        raise failed("docker save", f"docker save ended with {process.returncode}")
    if not (folder / "index.json").is_file():
        raise EngineFailed(
            "this docker is too old: 'docker save' does not write an OCI layout", hint="docker 25 or newer is needed"
        )
