"""``modelpack.yaml``: if these fail, an image goes to another registry than its author meant, or a token in clear text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.errors import InvalidInput
from buildkit.oci.reference import Digest, Reference
from buildkit.settings import Registry, Settings, find

DIGEST = Digest.of(b"")


def written(folder: Path, text: str) -> Path:
    path = folder / "modelpack.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def told(folder: Path, text: str) -> list[str]:
    path = written(folder, text)
    with pytest.raises(InvalidInput) as caught:
        find(folder, {})
    return [str(problem).removeprefix(f"{path}:").strip() for problem in caught.value.problems]


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    """A first build needs a file that nobody has."""
    settings = find(tmp_path, {})
    assert settings.endpoint == "https://huggingface.co"
    assert settings.located(Reference.parse("quay.io/a/b:1")) == Reference.parse("quay.io/a/b:1")


def test_the_nearest_file_above_is_taken(tmp_path: Path) -> None:
    """A recipe in a subfolder is pushed somewhere else than its neighbours."""
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    written(tmp_path, "registries: {far: {host: far.example}}")
    assert find(deep, {}).registries == {"far": Registry("far", "far.example")}
    near = written(tmp_path / "a", "registries: {near: {host: near.example}}")
    assert find(deep, {}).path == near
    assert list(find(deep, {}).registries) == ["near"]
    (deep / "modelpack.yaml").mkdir()
    assert find(deep, {}).path == near, "a folder of that name is no settings file"


def test_everything_in_a_file_is_read(tmp_path: Path) -> None:
    """A key that is written has no effect."""
    written(
        tmp_path,
        "registries:\n  prod: {host: 'quay.io', prefix: org/models, type: quay}\n  lab: {host: 'lab:5000', insecure: yes}\n"
        "mirrors:\n  index.docker.io: mirror.example/hub/\n  registry.access.redhat.com/ubi9: localhost:5000\n"
        "hub: {endpoint: 'https://hub.example/api/'}\n",
    )
    settings = find(tmp_path, {"HF_ENDPOINT": "https://other.example"})
    assert settings.registries == {
        "prod": Registry("prod", "quay.io", "org/models", "quay"),
        "lab": Registry("lab", "lab:5000", insecure=True),
    }
    assert settings.endpoint == "https://hub.example/api", (
        "what a project writes down is stronger than one person's environment"
    )
    assert str(settings.located(Reference.parse("busybox:1"))) == "mirror.example/hub/library/busybox:1"
    assert (
        str(settings.located(Reference.parse("registry.access.redhat.com/ubi9/ubi-micro")))
        == "localhost:5000/ubi-micro"
    )


def test_the_environment_names_the_hub_where_no_file_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A company's mirror of the hub is not asked."""
    assert find(tmp_path, {"HF_ENDPOINT": "https://hub.example/"}).endpoint == "https://hub.example"
    assert find(tmp_path, {"HF_ENDPOINT": ""}).endpoint == "https://huggingface.co"
    written(tmp_path, "registries: {}")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:8000")
    assert find(tmp_path).endpoint == "http://127.0.0.1:8000"
    with pytest.raises(InvalidInput, match="HF_ENDPOINT: must be https"):
        find(tmp_path, {"HF_ENDPOINT": "http://hub.example"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("registries:\n  a: {hots: x.y}", ["2: registries.a.host: is missing", "2: registries.a.hots: is not a key here"]),
        ("registry: {}", ["1: registry: is not a key here"]),
        ("registries: {a: {host: 'https://quay.io'}}", ["1: registries.a.host: must not begin with a scheme"]),
        ("registries: {a: {host: quay.io/org}}", ["1: registries.a.host: is a host with a path"]),
        ("registries: {a: {host: 'x.y:99999'}}", ["1: registries.a.host: 'x.y:99999' is not a host"]),
        ("registries: {a: {host: lab}}", ["1: registries.a.host: 'lab' would be taken for a part of docker.io"]),
        ("registries: {a: {host: 'a b'}}", ["1: registries.a.host: 'a b' is not a host"]),
        ("registries:\n  a:\n    host: x.y\n    prefix: /Org", ["4: registries.a.prefix: '/Org' is not a prefix"]),
        ("registries: {a: {host: x.y, insecure: 'yes'}}", ["1: registries.a.insecure: must be true or false, and is a text"]),
        ("registries: {a: {host: x.y, type: 'A B'}}", ["1: registries.a.type: 'A B' is not a registry's type"]),
        ("registries: {quay.io: {host: x.y}}", ["1: registries.'quay.io': 'quay.io' is not a name for a registry"]),
        ("registries: {a: x.y}", ["1: registries.a: must be a mapping, and is a text"]),
        ("mirrors: {ubi9: x.y}", ["1: mirrors.ubi9: 'ubi9' does not begin with a registry's host"]),
        ("mirrors: {quay.io: 'https://x.y'}", ["1: mirrors.'quay.io': must not begin with a scheme"]),
        ("mirrors: {quay.io: 'x.y/A'}", ["1: mirrors.'quay.io': has the path 'A', which no repository may have"]),
        ("mirrors: {quay.io/a:1: 'x.y'}", ["1: mirrors.'quay.io/a:1': has the path 'a:1', which no repository may have"]),
        ("mirrors: {quay.io: lab/a}", ["1: mirrors.'quay.io': 'lab' would be taken for a part of docker.io"]),
        ("mirrors: {quay.io: 5}", ["1: mirrors.'quay.io': must be a text; 5 without quotes is a number"]),
        ("hub: {endpoint: http://hub.example}", ["1: hub.endpoint: must be https: a token would travel in clear text"]),
        ("hub: {endpoint: hub.example}", ["1: hub.endpoint: 'hub.example' is not an https URL"]),
        ("hub: {endpoint: 'https://a:b@hub.example'}", ["1: hub.endpoint: must not hold a user name, '?' or '#'"]),
        ("hub: {endpoint: 'https://[hub'}", ["1: hub.endpoint: 'https://[hub' is not a URL"]),
        ("hub: https://hub.example", ["1: hub: must be a mapping, and is a text"]),
        ("hub: {}\nhub: {}", ["2: hub: is there twice, first in line 1"]),
        ("", ["is empty"]),
        ("a: 'b", ["1: has a quote that is never closed"]),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, expected: list[str]) -> None:
    """A slip in the file ends in a traceback, or is taken for something else."""
    assert told(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("literal", "host", "prefix"),
    [
        ("quay.io/org", "quay.io", "org"), ("quay.io", "quay.io", ""), ("localhost/x", "localhost", "x"), ("localhost", "localhost", ""),
        ("lab:5000/a/b", "lab:5000", "a/b"), ("127.0.0.1:5000", "127.0.0.1:5000", ""), ("[::1]:5000/a", "[::1]:5000", "a"),
        ("quay.io/org/", "quay.io", "org"), ("index.docker.io/me", "docker.io", "me"), ("docker.io/me", "docker.io", "me"),
    ],
)  # fmt: skip
def test_a_registry_can_be_written_out(literal: str, host: str, prefix: str) -> None:
    """A push without a settings file goes astray."""
    registry = Settings().registry(literal)
    assert (registry.host, registry.prefix, registry.insecure) == (host, prefix, False)


def test_a_registry_is_known_by_name() -> None:
    """A name from the file is taken for a host, or the other way round."""
    settings = Settings(
        registries={
            "prod": Registry("prod", "quay.io", "org", "quay"),
            "lab": Registry("lab", "lab:5000", insecure=True),
        }
    )
    assert settings.registry("prod").repository("granite") == Reference("quay.io", "org/granite")
    assert settings.registry("lab").repository("a/b") == Reference("lab:5000", "a/b")
    assert settings.registry("quay.io/other").type == "quay", "the same host is the same sort of registry"
    with pytest.raises(InvalidInput, match="'prdo'") as caught:
        settings.registry("prdo")
    assert "did you mean 'prod'?" in caught.value.hint
    with pytest.raises(InvalidInput) as caught:
        settings.registry("nothing/of/this")
    assert "prod, lab" in caught.value.hint
    for text in ("https://quay.io/x", "quay.io/UPPER", "quay.io/a b", "quay.io:0/a", "", "quay.io/a:tag"):
        with pytest.raises(InvalidInput) as caught:
            settings.registry(text)
        assert caught.value.hint


def test_a_literal_within_an_immutable_registry_is_immutable() -> None:
    """Writing the address out would be a way around what the team agreed on, or would bind a place that nobody meant."""
    settings = Settings(registries={"prod": Registry("prod", "quay.io", "org", "quay", immutable=True)})
    assert settings.registry("quay.io/org/models").immutable
    assert settings.registry("quay.io/org").immutable
    assert not settings.registry("quay.io/organisation").immutable
    assert not settings.registry("quay.io").immutable


def test_a_repository_is_never_a_wrong_name() -> None:
    """What no registry takes is found out after the upload."""
    with pytest.raises(InvalidInput):
        Registry("x", "quay.io", "a" * 200).repository("b" * 100)


@pytest.mark.parametrize(
    ("reference", "located"),
    [
        ("quay.io/a/b:1", "m.example/quay/a/b:1"),
        (f"quay.io/a/b:1@{DIGEST}", f"m.example/quay/a/b:1@{DIGEST}"),
        ("quay.io/org/x/y:1", "m.example/org/x/y:1"),
        ("quay.io/organisation/x:1", "m.example/quay/organisation/x:1"),
        ("quay.io/org:1", "m.example/org:1"),
        ("busybox", "localhost:5000/library/busybox"),
        ("docker.io/library/alpine:3", "m.example/alpine3:3"),
        ("quay.io:443/a:1", "quay.io:443/a:1"),
        ("ghcr.io/a:1", "ghcr.io/a:1"),
    ],
)
def test_the_longest_mirror_wins_on_whole_parts(reference: str, located: str) -> None:
    """A base is fetched from where it is not."""
    mirrors = {
        "quay.io": "m.example/quay",
        "quay.io/org": "m.example/org",
        "docker.io": "localhost:5000",
        "docker.io/library/alpine": "m.example/alpine3",
    }
    assert str(Settings(mirrors=mirrors).located(Reference.parse(reference))) == located


def test_a_mirror_that_leaves_no_repository_is_refused() -> None:
    """A reference without a repository ends in a puzzle of the registry's."""
    with pytest.raises(InvalidInput, match="no repository"):
        Settings(mirrors={"quay.io/a": "localhost:5000"}).located(Reference.parse("quay.io/a:1"))


@given(
    st.sampled_from(["quay.io", "docker.io", "lab:5000"]),
    st.lists(st.sampled_from(["a", "ab", "b-c"]), min_size=1, max_size=4),
)
def test_a_mirror_keeps_what_it_does_not_replace(host: str, parts: list[str]) -> None:
    """Tag, digest or a part of the path are lost on the way to the mirror."""
    reference = Reference(host, "/".join(parts), "v1", DIGEST)
    located = Settings(mirrors={host: "m.example/x"}).located(reference)
    assert located == Reference("m.example", f"x/{reference.repository}", "v1", DIGEST)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5000", "127.0.0.1", "127.3.2.1:80", "[::1]", "[::1]:5000", "lab:5000"]
)
def test_plain_http_where_it_is_meant(host: str) -> None:
    """A registry on this machine cannot be used without a certificate."""
    assert Settings(registries={"lab": Registry("lab", "lab:5000", insecure=True)}).plain_http(host)


@pytest.mark.parametrize(
    "host",
    ["quay.io", "lab", "lab:5001", "localhost.example", "128.0.0.1", "10.0.0.1:5000", "127.0.0.1.example", "[::2]"],
)
def test_plain_http_nowhere_else(host: str) -> None:
    """Credentials travel in clear text because a name looks like this machine's."""
    assert not Settings(registries={"lab": Registry("lab", "lab:5000", insecure=True)}).plain_http(host)
