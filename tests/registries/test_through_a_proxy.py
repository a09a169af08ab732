"""Hub and registries behind a company's proxy: if these fail, nobody in that company can build or push."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import close_session

from buildkit import flow
from buildkit.delivery.copying import Copy, copy
from buildkit.delivery.push import Delivered
from buildkit.errors import ModelpackError
from buildkit.events import silent
from buildkit.fleet.asking import Questions
from buildkit.fleet.status import state_of
from buildkit.recipe import Recipe, load
from buildkit.settings import find
from buildkit.world import World
from tests.docs.outside import Outside, outside
from tests.fakes.registry import Account

FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 2000}
LOGIN = "anna:p@ss word"
QUOTED = "anna:p%40ss%20word"


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    """A network whose only way out is a proxy with a login, and whose certificates the system does not know."""
    # The hub's library keeps its connections as long as the process lives: those of another test's proxy.
    close_session()
    place = tmp_path / "outside"
    place.mkdir()
    with outside(place, login=LOGIN) as world:
        world.hub.add("org/granite", FILES)
        quay = world.registries["quay.io"]
        quay.auth.mode, quay.auth.accounts = "token", {"me+robot": Account("a word")}
        quay.auth.realm = "https://quay.io/token"
        monkeypatch.setenv("HTTPS_PROXY", world.environment["HTTPS_PROXY"].replace("://", f"://{QUOTED}@"))
        monkeypatch.setenv("SSL_CERT_FILE", world.environment["SSL_CERT_FILE"])
        monkeypatch.setenv("MODELPACK_QUAY_IO_USERNAME", "me+robot")
        monkeypatch.setenv("MODELPACK_QUAY_IO_PASSWORD", "a word")
        for name in (
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "NO_PROXY",
            "no_proxy",
            "https_proxy",
            "ALL_PROXY",
            "all_proxy",
        ):
            monkeypatch.delenv(name, raising=False)
        yield world


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    folder = tmp_path / "project"
    folder.mkdir()
    written = {"kind": "modelcar", "name": "granite", "model": "hf://org/granite", "tags": ["v1"]}
    (folder / "recipe.yaml").write_text(
        json.dumps({**written, "base": "registry.access.redhat.com/ubi9/ubi-micro:latest"})
    )
    return load(folder)


def world_of(recipe: Recipe) -> World:
    return World(find(recipe.folder), silent, sleep=lambda seconds: None)


def build(recipe: Recipe) -> Delivered:
    return flow.build(recipe, world_of(recipe), flow.Wanted("embedded", registry="quay.io/me"))


@pytest.mark.parametrize("bundle", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_everything_goes_through_the_proxy(
    company: Outside, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, bundle: str
) -> None:
    """Base, hub, token and upload: one of them that goes straight ends in a timeout, one without the bundle in an error."""
    trusted = company.environment["SSL_CERT_FILE"]
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv(bundle, trusted)
    digest = build(recipe).sealing.digest
    assert company.tags("quay.io") == {"me/granite": {"v1": digest}}
    state = state_of(recipe, world_of(recipe), Questions(), ())
    assert (state.changes, state.problems) == ((), ())
    copied = copy(Copy("quay.io/me/granite:v1", ("registry.lab.example/mirror",)), world_of(recipe))
    assert set(copied.digests.values()) == {digest}
    assert company.tags("registry.lab.example") == {"mirror/granite": {"v1": digest}}


def said(recipe: Recipe) -> str:
    with pytest.raises(ModelpackError) as raised:
        build(recipe)
    error = raised.value
    return "\n".join([error.what, *map(str, error.problems), error.hint])


def test_a_proxy_that_refuses_us_is_told_and_the_password_is_not(
    company: Outside, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has a new password sees which server is at fault; the old one is not in the log of the pipeline."""
    monkeypatch.setenv("HTTPS_PROXY", company.environment["HTTPS_PROXY"].replace("://", "://anna:hidden-word@"))
    text = said(recipe)
    assert "proxy" in text
    assert "hidden-word" not in text and "anna" not in text


def test_a_certificate_that_nobody_knows_is_told_with_the_way_out(
    company: Outside, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that signs certificates itself is the usual case, and its bundle the way out."""
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "SSL_CERT_FILE" in said(recipe)
    assert not company.tags("quay.io")


def test_what_the_proxy_does_not_let_through_is_told(company: Outside, recipe: Recipe) -> None:
    """A host that the company blocks looks like one that is down."""
    path = recipe.path
    path.write_text(path.read_text().replace("registry.access.redhat.com/ubi9", "blocked.example/ubi9"))
    text = said(load(path))
    assert "blocked.example" in text and "proxy" in text
