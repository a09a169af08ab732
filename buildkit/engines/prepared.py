"""What buildx and podman are given: the Containerfile and its folder, arguments, secrets, and what they need of the network."""

from __future__ import annotations

import os
import platform as platforms
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from buildkit.build import Context
from buildkit.containerfiles.image_places import pinned, relocated
from buildkit.containerfiles.instructions import replaced
from buildkit.engines.embedded import layer_stream
from buildkit.errors import EngineFailed, InvalidInput, Problem
from buildkit.machine.connections import is_loopback
from buildkit.oci.hashed import close
from buildkit.oci.manifest import INDEXES, Index
from buildkit.oci.platforms import manifest_for
from buildkit.oci.reference import Platform, Reference
from buildkit.pin import proven
from buildkit.plan import Plan, PlannedLayer


def lacking(plan: Plan, engine: str) -> list[Problem]:
    """Why no Containerfile engine can build the plan."""
    blocked = plan.blocked.get(engine)
    return [Problem(engine, blocked)] if blocked else []


def for_this_machine(text: str, context: Context) -> str:
    """The Containerfile with images that run on another platform than the target's named by that platform's own manifest.

    podman 4.3 takes ``--platform=$BUILDPLATFORM`` and runs the stage on the target's platform all the same (measured), which
    needs an emulator for another architecture. A manifest's digest leaves no choice.
    """
    changes = []
    for one in pinned(text):
        platform = _fixed_platform(one.platform)
        if platform:
            reference = _for_platform(Reference.parse(one.text), platform, context)
            changes.append((one.first, one.end, str(reference)))
    return replaced(text, changes)


def _fixed_platform(written: str) -> Platform | None:
    """The platform that a FROM's flag names, where it is not the target's."""
    if written in ("$BUILDPLATFORM", "${BUILDPLATFORM}"):
        return this_platform()
    return Platform.parse(written) if written and "$" not in written else None


def _for_platform(reference: Reference, platform: Platform, context: Context) -> Reference:
    store = context.bases[reference]
    document = store.resolve(reference.digest or "")
    if document is None or document.media_type not in INDEXES:
        return reference
    chosen = manifest_for(Index.read(document), platform, store)
    if chosen is None:
        hint = "name another 'builder'" if platform == this_platform() else ""
        raise EngineFailed(f"{reference} has no image for {platform}", hint=hint)
    return Reference(reference.host, reference.repository).at(chosen.digest)


def this_platform() -> Platform:
    """What containers run on here: linux, on this processor, whatever the operating system is."""
    machine = platforms.machine().lower()
    return Platform("linux", {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine))


@contextmanager
def build_context(plan: Plan, context: Context, *, own_stage: bool = False) -> Iterator[tuple[Path, Path]]:
    """The Containerfile and the folder it is built in, as (file, folder); both are gone afterwards.

    The folder is the recipe's own where the plan copies from it, else an empty one: what else lies beside a recipe is
    never sent to a builder. ``own_stage``: see :func:`for_this_machine`.
    """
    with TemporaryDirectory(prefix="modelpack-") as temporary:
        folder = Path(temporary) / "context"
        folder.mkdir()
        file = Path(temporary) / "Containerfile"
        text = for_this_machine(plan.containerfile, context) if own_stage else plan.containerfile
        text = relocated(text, context.settings.located)
        file.write_text(text, encoding="utf-8", newline="\n")
        # What a project keeps out of its own images must not be missing from the model: BuildKit takes this file first.
        file.with_name(f"{file.name}.dockerignore").write_text("", encoding="utf-8")
        for name, layers in plan.archives.items():
            write_archive(layers, context, folder / name)
        if plan.copied:
            lay_out(plan.copied, context, folder)
        yield file, context.folder if plan.context is not None else folder


def write_archive(layers: tuple[PlannedLayer, ...], context: Context, path: Path) -> None:
    """Writes a tar that a Containerfile adds: the very layers that the embedded engine would lay, as one archive."""
    with path.open("wb") as file:
        for piece in layer_stream(layers, context):
            file.write(piece)


def lay_out(layer: PlannedLayer, context: Context, folder: Path) -> None:
    """Writes the files that a Containerfile copies into a folder: proven, with their planned modes, and without times."""
    for entry in layer.directories:
        (folder / entry.name).mkdir(parents=True, exist_ok=True)
    for planned in layer.files:
        place = folder / planned.entry.name
        with place.open("wb") as file:
            for piece in proven(context.sources[planned.source], planned.file):
                file.write(piece)
        place.chmod(planned.entry.mode)
    for entry in reversed(layer.entries):
        if entry.directory:
            (folder / entry.name).chmod(entry.mode)
        os.utime(folder / entry.name, (entry.mtime, entry.mtime))


def build_arguments(plan: Plan, context: Context) -> dict[str, str]:
    """What the Containerfile is told: the plan's own values, and about this machine the hub to download from."""
    hub = {"HF_ENDPOINT": context.settings.endpoint} if "ARG HF_ENDPOINT" in plan.containerfile else {}
    return {**hub, **plan.build_args}


def needs_host_network(plan: Plan, context: Context) -> bool:
    """Whether the build must see this machine's network: its own commands fetch something, or the hub is on loopback.

    A bridge between container and network is what build machines lack most often; a build that shares the network needs none.
    """
    if plan.network:
        return True
    from urllib.parse import urlsplit

    urls = [
        context.settings.endpoint,
        *(file.file.url for layer in plan.layers for file in layer.files if file.file.url),
    ]
    return any(is_loopback(urlsplit(url).hostname or "") for url in urls)


def check_readable(plan: Plan, context: Context) -> None:
    """Reads the beginning of each source's smallest file: a gated model is refused here, in words, and not by a build's log.

    Raises SourceFailed.
    """
    fetched = (file for layer in plan.layers for file in layer.files if file.content is None)
    files = sorted(fetched, key=lambda file: -file.file.size)
    for key, file in {file.source: file for file in files}.items():
        pieces = context.sources[key].open(file.file)
        next(pieces, None)
        close(pieces)


def plain_http_pulls(context: Context) -> bool:
    """Whether an image of the Containerfile comes from a registry that speaks plain HTTP (loopback, or marked insecure)."""
    located = [context.settings.located(reference) for reference in context.bases]
    return any(context.settings.plain_http(reference.host) for reference in located)


@contextmanager
def secret_files(plan: Plan, context: Context) -> Iterator[dict[str, Path]]:
    """The secrets that the plan's commands mount, by id, in files that only this user reads, gone afterwards.

    The hub's token is one of them where there is one. Raises InvalidInput with every secret that is not there.
    """
    contents = _secrets(plan, context)
    with TemporaryDirectory(prefix="modelpack-secret-") as folder:
        files = {name: Path(folder) / f"{number}" for number, name in enumerate(contents)}
        for name, path in files.items():
            path.touch(mode=0o600)
            path.write_bytes(contents[name])
        yield files


def _secrets(plan: Plan, context: Context) -> dict[str, bytes]:
    contents, problems = {}, []
    for secret in plan.secrets:
        try:
            contents[secret.id] = (
                os.environ[secret.variable].encode() if secret.variable else (context.folder / secret.path).read_bytes()
            )
        except KeyError:
            problems.append(Problem(secret.id, f"the environment variable {secret.variable} is not set", "set it"))
        except OSError as error:
            problems.append(Problem(secret.id, f"{secret.path} cannot be read: {error.strerror}"))
    if problems:
        raise InvalidInput("a secret of the build is not there", problems)
    if "id=hf_token" in plan.containerfile:
        from huggingface_hub import get_token

        token = get_token()
        contents |= {"hf_token": token.encode()} if token else {}
    return contents
