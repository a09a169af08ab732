"""``modelpack run``: the container as the platform runs it, in the foreground, until it ends or Ctrl-C is pressed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from buildkit.errors import EngineFailed, InvalidInput, Problem
from buildkit.events import Said
from buildkit.probe.containers import Container, Engine, Mount, NotStarted
from buildkit.probe.server import Server
from buildkit.probe.session import Kept, Session
from buildkit.probe.verify import Chosen, asked, obtained, settings_for, written_targets
from buildkit.recipe import Recipe
from buildkit.targets import load, target_named
from buildkit.world import World

_PORT = 8080
_STOP_SECONDS = 10.0


def run(image: str, recipe: Recipe | None, world: World, engine: Engine, choice: Chosen, port: int) -> int:
    """Runs it and passes its output on; returns its exit code, 0 where Ctrl-C ended it. Raises InvalidInput, EngineFailed."""
    source = source_of(recipe) if recipe else None
    with obtained(image, recipe, world, engine) as got, _container(recipe, choice) as container:
        session = Session(engine, got.image, got.served, choice.patience, passed=choice.passed)
        mounts = (*container.mounts, *([source] if source else []))
        wanted = replace(container, image=got.image, host_port=port, mounts=mounts)
        try:
            with session.running("the container", wanted) as running:
                world.emit(Said(f"{engine.name}: {got.name} listens on {_addresses(running)}; Ctrl-C ends it"))
                return _followed(session, running)
        except NotStarted as error:
            lines = [Problem("", line) for line in error.said.strip().splitlines()[-5:]]
            raise EngineFailed(f"{engine.name} could not start {got.name}", lines) from None


def _followed(session: Session, running: Kept) -> int:
    """Waits while its output passes; what interrupts us ends it as the platform would, with SIGTERM and time to go."""
    try:
        session.engine.follow(running.name)
    except KeyboardInterrupt:
        running.signal("TERM")
        with contextlib.suppress(KeyboardInterrupt):
            session.patience.until(lambda: not running.state().running, _STOP_SECONDS)
        return 0
    return running.state().code


@contextlib.contextmanager
def _container(recipe: Recipe | None, choice: Chosen) -> Iterator[Container]:
    """How the target runs it; without a target the image as it is, on port 8080."""
    written = written_targets(recipe)
    name = next(iter((*choice.targets, *written)), None)
    if name is None:
        spoken = getattr(recipe.spec, "port", _PORT) if recipe else _PORT
        yield Container("", ports=(int(choice.changes.get("port", spoken)),))
        return
    target = target_named(name)
    with asked(settings_for(target, written, choice.changes), recipe, choice) as wanted:
        servers = [probe for probe in load(target.running)(wanted) if isinstance(probe, Server)]
        if not servers:
            raise InvalidInput(
                f"{target.name} runs no server from an image",
                hint=f"modelpack verify does with the image what {target.name} does",
            )
        yield servers[0].container


def source_of(recipe: Recipe) -> Mount | None:
    """The recipe's code over the image's own, so that a change of it needs no build, where the kind says where it lies.

    A kind says so with a method ``source(spec)`` that returns the folder, relative to the recipe, and its place in the
    image; or None where there is no code.
    """
    said = getattr(recipe.kind, "source", lambda spec: None)(recipe.spec)
    if said is None:
        return None
    folder, place = said
    return Mount((recipe.folder / folder).resolve(), place)


def _addresses(running: Kept) -> str:
    return ", ".join(f"http://127.0.0.1:{there} (port {port})" for port, there in running.ports.items()) or "no port"
