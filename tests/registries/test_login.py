"""login and logout: if these fail, a login is lost, is kept where others can read it, or is kept although it is wrong."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildkit.errors import InvalidInput, RegistryFailed
from buildkit.events import Event, Warned
from buildkit.login import log_in, log_out
from buildkit.oci.reference import Reference
from buildkit.registries.auth import find
from buildkit.registries.credentials import Credentials
from buildkit.settings import Registry as Named
from buildkit.settings import Settings
from buildkit.world import World
from tests.cli.test_cli import check_explained, modelpack
from tests.fakes.registry import Account, Auth, Registry
from tests.registries.test_auth import encoded, home, write

__all__ = ["home"]
SECRET = "s3cret-word"
HELPER = """\
#!/usr/bin/env python3
import json, pathlib, sys
store = pathlib.Path(__file__).parent / "kept.json"
kept = json.loads(store.read_text()) if store.exists() else {}
asked = sys.stdin.read()
says = store.with_name(f"{sys.argv[1]}.says")
if says.exists():
    print(says.read_text())
    sys.exit(1)
if sys.argv[1] == "store":
    given = json.loads(asked)
    kept[given["ServerURL"]] = given
elif sys.argv[1] == "erase":
    kept.pop(asked.strip(), None)
elif asked.strip() in kept:
    print(json.dumps(kept[asked.strip()]))
else:
    print("credentials not found in native keychain")
    sys.exit(1)
store.write_text(json.dumps(kept))
"""


@pytest.fixture(params=["basic", "token"])
def registry(request: pytest.FixtureRequest) -> Iterator[Registry]:
    """A registry that knows one person, in either way of asking."""
    with Registry(auth=Auth(mode=request.param, accounts={"me": Account(SECRET)})) as started:
        yield started


@pytest.fixture
def helper(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credential helper called ``docker-credential-test``; what it keeps."""
    if os.name == "nt":
        pytest.skip("the helper of this test is a script with an interpreter line")
    folder = home / "bin"
    folder.mkdir()
    (folder / "docker-credential-test").write_text(HELPER)
    (folder / "docker-credential-test").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "kept.json"


def world(events: list[Event] | None = None) -> World:
    return World(Settings(), (events if events is not None else []).append, sleep=lambda seconds: None)


def given(password: str = SECRET) -> Credentials:
    return Credentials("me", password, found="the login that was just given")


def config(home: Path) -> dict[str, Any]:
    content = json.loads((home / ".docker" / "config.json").read_text())
    assert isinstance(content, dict)
    return content


def test_a_login_is_kept_where_docker_keeps_it(home: Path, registry: Registry) -> None:
    """docker, podman and skopeo read this file; it is nobody else's to read, and what else it says stays."""
    write(home / ".docker" / "config.json", {"auths": {"quay.io": {"auth": encoded("a:b")}}, "detachKeys": "ctrl-e,e"})
    (home / ".docker" / "config.json").chmod(0o644)
    kept = log_in(registry.address, given, world())
    assert kept.where == str(home / ".docker" / "config.json")
    assert config(home) == {
        "auths": {"quay.io": {"auth": encoded("a:b")}, registry.address: {"auth": encoded(f"me:{SECRET}")}},
        "detachKeys": "ctrl-e,e",
    }
    assert stat.S_IMODE((home / ".docker" / "config.json").stat().st_mode) == 0o600 or os.name == "nt"
    found = find(registry.address, "models/granite", {})
    assert found is not None
    assert (found.username, found.password) == ("me", SECRET)
    assert log_out(registry.address, world()) == [str(home / ".docker" / "config.json")]
    assert list(config(home)["auths"]) == ["quay.io"]
    assert log_out(registry.address, world()) == []


@pytest.mark.parametrize("content", [{"credsStore": "test"}, {"credHelpers": {"HOST": "test"}}])
def test_a_helper_keeps_the_secret_in_place_of_the_file(
    home: Path, helper: Path, registry: Registry, content: dict[str, Any]
) -> None:
    """Who set up a keychain does not want a password in a file."""
    text = json.dumps(content).replace("HOST", registry.address)
    write(home / ".docker" / "config.json", json.loads(text))
    assert log_in(registry.address, given, world()).where == "docker-credential-test"
    assert json.loads(helper.read_text())[registry.address]["Secret"] == SECRET
    written = (home / ".docker" / "config.json").read_text()
    assert SECRET not in written
    assert encoded(f"me:{SECRET}") not in written
    assert find(registry.address, "", {}) == Credentials("me", SECRET, found="docker-credential-test")
    assert log_out(registry.address, world()) == ["docker-credential-test"]
    assert json.loads(helper.read_text()) == {}
    assert find(registry.address, "", {}) is None


def test_a_helper_may_be_switched_off_for_one_registry(home: Path, helper: Path) -> None:
    """docker reads an empty name so: the file for this registry, the store for all others."""
    write(
        home / ".docker" / "config.json",
        {"credsStore": "test", "credHelpers": {"quay.io": ""}, "auths": {"quay.io": {"auth": encoded("a:b")}}},
    )
    found = find("quay.io", "", {})
    assert found is not None
    assert found.username == "a"


def test_a_wrong_password_is_not_kept(home: Path, registry: Registry) -> None:
    """A login that does not work would be found out at the next push, by somebody else."""
    with pytest.raises(RegistryFailed, match="does not accept") as raised:
        log_in(registry.address, lambda: given("wrong-s3cret"), world())
    assert "wrong-s3cret" not in f"{raised.value}{raised.value.hint}"
    assert not (home / ".docker").exists()


def test_a_registry_that_asks_for_nothing_is_told(home: Path) -> None:
    """Nobody may believe that a password was checked when it was not."""
    events: list[Event] = []
    with Registry() as registry:
        log_in(registry.address, given, world(events))
    assert any(isinstance(event, Warned) and "could not be checked" in event.text for event in events)


def test_what_is_stronger_than_the_login_is_told(
    home: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that was forgotten in a shell would win against the login at every push."""
    stem = "MODELPACK_" + registry.address.replace(".", "_").replace(":", "_")
    monkeypatch.setenv(f"{stem}_USERNAME", "old")
    monkeypatch.setenv(f"{stem}_PASSWORD", "old")
    events: list[Event] = []
    log_in(registry.address, given, world(events))
    assert any(isinstance(event, Warned) and f"{stem}_USERNAME" in event.text for event in events)


@pytest.mark.parametrize("content", ["not json", "[]", "[" * 100_000], ids=range(3))
def test_a_damaged_file_is_left_alone(home: Path, registry: Registry, content: str) -> None:
    """It may hold ten other logins."""
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text(content)
    with pytest.raises(InvalidInput, match=r"config\.json"):
        log_in(registry.address, given, world())
    assert (home / ".docker" / "config.json").read_text() == content


@pytest.mark.parametrize("variable", ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG"])
def test_the_file_that_the_environment_names_is_written(
    home: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """A pipeline gives every job a file of its own."""
    place = home / "own" / "config.json"
    monkeypatch.setenv(variable, str(place if variable == "REGISTRY_AUTH_FILE" else place.parent))
    assert log_in(registry.address, given, world()).where == str(place)
    assert find(registry.address) is not None
    assert not (home / ".docker").exists()


def test_docker_hub_is_kept_under_its_old_name(home: Path) -> None:
    """docker looks for the hub's login under a URL and nowhere else."""
    from buildkit.registries.login import forget, store

    store("docker.io", given(), {})
    assert list(config(home)["auths"]) == ["https://index.docker.io/v1/"]
    assert find("docker.io", "me/app", {}) is not None
    assert forget("docker.io", {})
    assert find("docker.io", "me/app", {}) is None


def test_credentials_by_the_name_in_modelpack_yaml(home: Path) -> None:
    """A pipeline's variables are named after the registry of the project, whatever its host is called this year."""
    settings = Settings(
        registries={
            "team": Named("team", "quay.io", "org"),
            "lab-2": Named("lab-2", "quay.io", "org/lab"),
            "else": Named("else", "ghcr.io", "me"),
        }
    )
    names = settings.names_of(Reference("quay.io", "org/lab/granite"))
    assert names == ("lab-2", "team")
    assert settings.names_of(Reference("quay.io", "bases/ubi")) in (("team", "lab-2"), ("lab-2", "team"))
    environment = {f"MODELPACK_{one}_USERNAME": one for one in ("LAB_2", "TEAM", "QUAY_IO")}
    environment |= {f"MODELPACK_{one}_PASSWORD": "p" for one in ("LAB_2", "TEAM", "QUAY_IO")}
    for expected in ("LAB_2", "TEAM", "QUAY_IO"):
        found = find("quay.io", "org/lab/granite", environment, names)
        assert found is not None
        assert found.username == expected
        del environment[f"MODELPACK_{expected}_USERNAME"], environment[f"MODELPACK_{expected}_PASSWORD"]


@pytest.mark.parametrize("lacking", ["USERNAME", "PASSWORD"])
def test_half_of_the_credentials_is_told(home: Path, lacking: str) -> None:
    """A secret that a pipeline could not read is empty: pushing as nobody would end in a riddle."""
    environment = {"MODELPACK_QUAY_IO_USERNAME": "me", "MODELPACK_QUAY_IO_PASSWORD": "s3cret"}
    environment[f"MODELPACK_QUAY_IO_{lacking}"] = ""
    with pytest.raises(InvalidInput, match=f"MODELPACK_QUAY_IO_{lacking}") as raised:
        find("quay.io", "", environment)
    assert "s3cret" not in str(raised.value)


def test_credentials_that_a_helper_renews_are_taken_in_the_middle_of_a_push(home: Path) -> None:
    """ECR's password lasts twelve hours; a push that lasts longer must ask the helper again."""
    from buildkit.registries.client import Repository
    from buildkit.registries.connection import Connection

    accounts = {"me": Account("first")}
    with Registry(auth=Auth(mode="token", accounts=accounts, token_seconds=0)) as registry:
        passwords = ["first"]
        connection = Connection(
            registry.address,
            plain_http=lambda host: True,
            credentials=lambda: Credentials("me", passwords[-1]),
            sleep=lambda seconds: None,
        )
        registry.auth.token_seconds = 300
        assert Repository(connection, Reference(registry.address, "a")).resolve("v1") is None
        registry.expire_tokens()
        accounts["me"] = Account("second")
        passwords.append("second")
        assert Repository(connection, Reference(registry.address, "a")).resolve("v1") is None


def test_the_command(home: Path, registry: Registry) -> None:
    """What a person types: the password comes from stdin and appears nowhere; without a terminal nobody is asked."""
    done = subprocess.run(
        [sys.executable, "-m", "buildkit", "login", registry.address, "-u", "me", "--password-stdin"],
        input=f"{SECRET}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert base64.b64encode(SECRET.encode()).decode() not in done.stdout + done.stderr
    assert find(registry.address, "", {}) is not None
    asked = modelpack("login", registry.address, "-u", "me")
    assert asked.returncode == 2
    assert "--password-stdin" in asked.stderr
    check_explained(modelpack("login", "nowhere"), 1, "there is no registry")
    out = modelpack("logout", registry.address)
    assert "removed from" in out.stderr
    assert find(registry.address, "", {}) is None


def test_a_login_that_does_not_fit_on_the_disk_says_so(home: Path, registry: Registry) -> None:
    """Who is sent after permissions mends what is not broken, and an empty folder looks like a login that was lost."""
    limited = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    limited += "runpy.run_module('buildkit', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", limited, "login", registry.address, "-u", "me", "--password-stdin"],
        env={**os.environ, "DOCKER_CONFIG": str(home / "not" / "yet")},
        input=SECRET,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "hint: make room on the disk" in done.stderr, done.stderr
    assert not (home / "not").exists()


def test_a_password_that_is_no_text_is_told(home: Path, registry: Registry) -> None:
    """A secret in another encoding, or a file of bytes, ends in a fault of ours, or is kept by a helper as another one."""
    raw = b"s3cret\xff"
    done = subprocess.run(
        [sys.executable, "-m", "buildkit", "login", registry.address, "-u", "me", "--password-stdin"],
        input=raw,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1 and b"is not UTF-8" in done.stderr, done.stderr
    assert b"s3cret" not in done.stderr
    environment = {"MODELPACK_QUAY_IO_USERNAME": "me", "MODELPACK_QUAY_IO_PASSWORD": os.fsdecode(raw)}
    with pytest.raises(InvalidInput, match="MODELPACK_QUAY_IO_USERNAME is not UTF-8") as raised:
        find("quay.io", "", environment)
    assert "s3cret" not in str(raised.value)
