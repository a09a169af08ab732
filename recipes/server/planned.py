"""The plan of a server: its layers, its process, and the Containerfile that makes the same of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files as resources
from typing import TYPE_CHECKING, Any

from buildkit import image_annotations
from buildkit.containerfiles.template import Quoted, filled
from buildkit.errors import InvalidInput, Problem
from buildkit.oci.manifest import canonical
from buildkit.oci.reference import Digest
from buildkit.oci.tar import Entry
from buildkit.pin import File, Pins
from buildkit.placing import placed, written
from buildkit.plan import Plan, PlannedLayer
from buildkit.process import BEHIND, INIT, process, variables
from recipes.server.commands import lengthy
from recipes.server.fields import CODE, OWN
from recipes.server.routes import WORK, configuration

if TYPE_CHECKING:
    from recipes.server.kind import ServerSpec

UV = "uv==0.13.9"
"""What reads a uv.lock inside a Containerfile build; never a part of the result."""
LARGE = 64 * 1024 * 1024
"""Bytes from which on a file of a model has a layer of its own, where that is asked for."""
HOME = {"HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}  # noqa: S108 - what alone may be written


def plan(spec: ServerSpec, pins: Pins) -> Plan:
    """Everything decided; raises InvalidInput where it cannot be."""
    base = None if spec.base == "scratch" else pins.images["base"]
    if base is None:
        hint = "name an image with the server or its language in it"
        raise InvalidInput("a server cannot be built on scratch: nothing in it could run", hint=hint)
    archives = dict(_archives(spec, pins))
    known = image_annotations.known(spec.name, base)
    labels = known | ({BEHIND: str(spec.listens)} if spec.routes else {}) | spec.labels
    lock = _lock(spec, pins)
    runs = tuple(_runs(spec))
    config = _process(spec, labels)
    return Plan(
        name=spec.name,
        base=base,
        platforms=spec.platforms_parsed,
        process=config,
        layers=tuple(archives.values()),
        annotations=image_annotations.published(spec.labels) | known,
        rendered=lambda: _containerfile(spec, base.reference, config, archives, lock),
        archives={name: (layer,) for name, layer in (archives | lock).items()},
        images=(base,),
        runs=runs,
        own_layers=True,
        network=bool(runs),
        warnings=tuple(_warnings(spec)),
    )


def _archives(spec: ServerSpec, pins: Pins) -> Iterator[tuple[str, PlannedLayer]]:
    """The layers by the names of their tars, in their order: what changes most seldom lies lowest."""
    own = _own(spec)
    if own.files:
        yield "init.tar", own
    if spec.model:
        layers = _model(pins.sources["model"].files, spec)
        names = ["model.tar"] if len(layers) == 1 else [f"model-{number}.tar" for number in range(1, len(layers) + 1)]
        yield from zip(names, layers, strict=True)
    if spec.code:
        yield "code.tar", placed("the code", pins.sources["code"].files, "code", CODE[1:])


def _own(spec: ServerSpec) -> PlannedLayer:
    """What modelpack adds itself: the first process, and nginx's configuration."""
    folder = OWN[1:]
    files = []
    if spec.init:
        text = (resources("recipes.server") / "init").read_text(encoding="utf-8")
        files.append(written(INIT[1:], text, mode=0o755))
    if spec.routes:
        text = configuration(spec.routes, spec.port, spec.listens, spec.drain)
        files.append(written(f"{folder}/nginx.conf", text))
    return PlannedLayer("what starts the server", (Entry(folder, 0o755, directory=True),), tuple(files))


def _model(files: tuple[File, ...], spec: ServerSpec) -> list[PlannedLayer]:
    large = [file for file in files if file.size >= LARGE] if spec.layers == "per-file" else []
    small = [file for file in files if file not in large]
    groups = [("the model", small)] if small else []
    groups += [(file.path, [file]) for file in large]
    return [placed(title, group, "model", spec.model_path[1:]) for title, group in groups]


def _lock(spec: ServerSpec, pins: Pins) -> dict[str, PlannedLayer]:
    """The files that say which Python packages are installed: in a stage alone, and in no layer."""
    if not spec.requirements:
        return {}
    return {"requirements.tar": placed("requirements", pins.sources["requirements"].files, "requirements", "lock")}


def _process(spec: ServerSpec, labels: Mapping[str, str]) -> dict[str, Any]:
    first = [INIT] if spec.init else []
    if spec.serve:
        first, command = [*first, "--words", str(len(spec.words)), *spec.words], []
    else:
        first, command = [*first, *(spec.entrypoint or ())], list(spec.command or ())
    too_long = [Problem("command", str(refusal), refusal.hint) for refusal in lengthy([*first, *command])]
    if too_long:
        raise InvalidInput("the command is too long", too_long)
    folder = spec.model_path if spec.model else spec.mount
    return process(
        user=spec.user,
        folder=CODE if spec.code else "/",
        environment={**HOME, "MODEL_DIR": folder, **spec.env},
        command=command,
        entrypoint=first,
        ports=(spec.port,),
        labels=labels,
    )


def _runs(spec: ServerSpec) -> Iterator[str]:
    """What needs a program inside the image, in words."""
    if spec.curl == "install":
        yield "the installation of curl, where the base has none ('curl: base' says that it has)"
    if spec.packages:
        yield f"the installation of {', '.join(spec.packages)}"
    if spec.routes:
        yield "the installation of nginx for the routes"
    if spec.requirements:
        yield f"the installation of what {spec.requirements} names"


def _warnings(spec: ServerSpec) -> Iterator[Problem]:
    lines = spec.needed.unproven
    if lines:
        count = f"{len(lines)} packages have no hash" if len(lines) > 1 else "a package has no hash"
        hint = "write them down with 'uv pip compile --universal --generate-hashes'"
        yield Problem(f"{lines[0].file}:{lines[0].number}", f"{count}: another build may install other files", hint)


def _containerfile(
    spec: ServerSpec,
    base: object,
    config: Mapping[str, Any],
    archives: Mapping[str, PlannedLayer],
    lock: Mapping[str, PlannedLayer],
) -> str:
    needed = [*(["curl"] if spec.curl == "install" else []), *(["nginx"] if spec.routes else [])]
    return filled(
        "recipes.server",
        name=spec.name,
        base=base,
        locked=spec.needed.locked,
        hashed=spec.needed.hashed,
        uv=UV,
        listed=_listed(spec),
        lock_folder=f"/lock/{spec.requirements or ''}".rpartition("/")[0],
        lock_key=Digest.of(canonical([str(layer.key) for layer in lock.values()])),
        programs=needed,
        packages=spec.packages,
        labels=config["Labels"],
        environment=list(variables(config).items()),
        own=[name for name in archives if name == "init.tar"],
        archives=[name for name in archives if name != "init.tar"],
        work=WORK,
        nginx=f"{OWN}/nginx.conf" if spec.routes else "",
        code=bool(spec.code),
        settle=_SETTLE,
        user=spec.user,
        port=spec.port,
        entrypoint=config["Entrypoint"],
        command=config["Cmd"],
    )


def _listed(spec: ServerSpec) -> str:
    """The file that pip reads, where the folder of the stage that holds it is mounted."""
    if not spec.requirements:
        return ""
    return "/lock/packages.txt" if spec.needed.locked else f"/lock/{spec.requirements}"


_SETTLE = Quoted(
    'if find / -maxdepth 0 -cnewer "$begin" > /dev/null 2>&1; then find / -xdev'
    r" \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /lock"
    r" -o -path /etc/hosts -o -path /etc/hostname -o -path /etc/resolv.conf \) -prune"
    ' -o -cnewer "$begin" -exec touch -h -d @0 {} +; fi; rm -f "$begin"; touch -d @0 /tmp'
)
"""Gives everything that a command wrote the same time, so that a layer does not depend on when it was made.

busybox has no such find: there an engine's own way of setting times is all there is.
"""
