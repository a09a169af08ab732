"""The hub and the registries: whether they answer, and whether one is logged in."""

from __future__ import annotations

from collections.abc import Iterator

from buildkit.doctor.finding import Finding
from buildkit.errors import ModelpackError
from buildkit.machine.connections import is_internal
from buildkit.settings import Registry
from buildkit.world import World


def hub(world: World, *, ask: bool) -> Iterator[Finding]:
    """The hub's token, which is never shown, and whether the hub takes it."""
    from buildkit.sources.token import users_token

    endpoint = world.settings.endpoint
    try:
        token = users_token()
    except ModelpackError as error:
        yield Finding("hub", endpoint, "broken", error.what, error.hint)
        return
    told = "a token is there" if token else "no token: gated and private models cannot be read"
    if not ask:
        yield Finding("hub", endpoint, "ok" if token else "missing", told, "" if token else _TOKEN)
        return
    yield _asked_hub(endpoint, token.reveal() if token else "", told)


_TOKEN = "run 'hf auth login', or set HF_TOKEN, where they are wanted"


def _asked_hub(endpoint: str, token: str, told: str) -> Finding:
    """``whoami`` says whether a token holds; without one any answer says that the hub is there."""
    import urllib3

    from buildkit.machine.connections import pool

    # A token travels in clear text to nobody but this machine.
    sent = token if endpoint.startswith("https://") or is_internal(endpoint.split("//")[1].partition(":")[0]) else ""
    headers = {"Authorization": f"Bearer {sent}"} if sent else {}
    try:
        answer = pool(endpoint).request(
            "GET", f"{endpoint}/api/whoami-v2", headers=headers, timeout=_SECONDS, redirect=False
        )
    except urllib3.exceptions.HTTPError as error:
        reason = type(error).__name__
        return Finding(
            "hub", endpoint, "broken", f"does not answer ({reason})", "check the network, HTTPS_PROXY, and 'hub:'"
        )
    if sent and answer.status in (401, 403):
        return Finding("hub", endpoint, "broken", "answers, and does not take the token", "run 'hf auth login' again")
    return Finding("hub", endpoint, "ok" if token else "missing", f"answers; {told}", "" if token else _TOKEN)


_SECONDS = 10.0


def registries(world: World, named: tuple[str, ...], *, ask: bool) -> Iterator[Finding]:
    """Every registry of the settings and of ``named``: its login, and whether it takes it."""
    known = [*world.settings.registries.values(), *(world.settings.registry(name) for name in named)]
    if not known:
        yield Finding(
            "registry", "none", "missing", "modelpack.yaml names no registry", "name one there, or in --registry"
        )
    for registry in known:
        try:
            yield _registry(registry, world, ask=ask)
        except ModelpackError as error:
            yield Finding("registry", registry.name, "broken", error.what, error.hint)


def _registry(registry: Registry, world: World, *, ask: bool) -> Finding:
    credentials = world.credentials(registry)
    login = f"credentials from {credentials.found}" if credentials else "no login"
    mend = "" if credentials else f"run: modelpack login {registry.name}"
    if ask and not world.takes_login(registry.host, credentials):
        return Finding("registry", registry.name, "ok", f"{registry.host} answers, and asks for no login")
    return Finding("registry", registry.name, "ok" if credentials else "missing", f"{registry.host}: {login}", mend)
