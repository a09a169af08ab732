"""``modelpack login`` and ``logout``: checked with the registry, kept where docker keeps logins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from buildkit.events import Warned
from buildkit.registries.credentials import Credentials
from buildkit.registries.login import forget, store
from buildkit.registries.ocir import full_user
from buildkit.settings import Registry
from buildkit.world import World


@dataclass(frozen=True)
class Kept:
    """A login, and where it is kept."""

    host: str
    where: str


def log_in(registry: str, ask: Callable[[], Credentials], world: World) -> Kept:
    """Asks for credentials, has the registry check them, and keeps them.

    Raises InvalidInput for an unknown registry, RegistryFailed where it does not take the credentials: then nothing is kept.
    """
    target = world.settings.registry(registry)
    credentials = ask()
    if world.profile(target.host).name == "ocir":
        credentials = full_user(
            credentials, target.prefix.partition("/")[0] or world.settings.namespace_of(target.host)
        )
    if not world.takes_login(target.host, credentials):
        world.emit(Warned(f"{target.host} does not ask for a login, so that this one could not be checked"))
    kept = Kept(target.host, store(target.host, credentials))
    _warn_of_others(target, credentials, world)
    return kept


def log_out(registry: str, world: World) -> list[str]:
    """Forgets a registry's login; returns from where it was removed."""
    target = world.settings.registry(registry)
    removed = forget(target.host)
    left = world.credentials(target)
    if left:
        world.emit(Warned(f"there are still credentials for {target.host}: {left.found}"))
    return removed


def _warn_of_others(target: Registry, given: Credentials, world: World) -> None:
    """A login that something stronger hides would be a riddle at the next push."""
    found = world.credentials(target)
    if found and (found.username, found.password) != (given.username, given.password):
        world.emit(Warned(f"{found.found} is used for {target.host} before this login"))
