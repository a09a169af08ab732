"""``modelpack run``: the container as the platform runs it, in the foreground, until it ends or Ctrl-C is pressed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from buildkit.errors import EngineFailed, InvalidInput, Problem
from buildkit.events import Said
from buildkit.judging.chosen import chosen_targets, names_a_target
from buildkit.probe.containers import Container, Engine, Mount, NotStarted
from buildkit.probe.server import Server
from buildkit.probe.session import Kept, Session
from buildkit.recipe import Recipe
from buildkit.targets import load
from buildkit.verifying.verify import Chosen, asked, obtained
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
                told = Said(f"{engine.name}: {got.name} listens on {_addresses(running)}; Ctrl-C ends it")
                return _followed(session, running, lambda: world.emit(told))
        except NotStarted as error:
            lines = [Problem("", line) for line in error.said.strip().splitlines()[-5:]]
            raise EngineFailed(f"{engine.name} could not start {got.name}", lines) from None


def _followed(session: Session, running: Kept, begin: Callable[[], None]) -> int:
    """Waits while its output passes; what interrupts us ends it as the platform would, with SIGTERM and time to go.

    ``begin`` tells that it runs: whoever reads that may press Ctrl-C at once.
    """
    try:
        begin()
        session.engine.follow(running.name)
    except KeyboardInterrupt:
        running.signal("TERM")
        with contextlib.suppress(KeyboardInterrupt):
            session.patience.until(lambda: not running.state().running, _STOP_SECONDS)
        return 0
    return running.state().code


@contextlib.contextmanager
def _container(recipe: Recipe | None, choice: Chosen) -> Iterator[Container]:
    """How the target runs it; where nobody says which, and the kind's own runs no server, the image as it is."""
    if not names_a_target(recipe, choice.targets):
        yield _plain(recipe, choice)
        return
    target, settings = chosen_targets(recipe, choice.targets, choice.changes)[0]
    with asked(settings, recipe, choice) as wanted:
        servers = [probe for probe in load(target.running)(wanted) if isinstance(probe, Server)]
        if servers:
            yield servers[0].container
        elif not choice.targets and recipe and not recipe.spec.targets:
            yield _plain(recipe, choice)
        else:
            hint = f"modelpack verify does with the image what {target.name} does"
            raise InvalidInput(f"{target.name} runs no server from an image", hint=hint)


def _plain(recipe: Recipe | None, choice: Chosen) -> Container:
    """The image as it is, on the recipe's port or 8080."""
    own = getattr(recipe.spec, "port", None) if recipe else None
    return Container("", ports=(int(choice.changes.get("port", own or _PORT)),))


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
