"""References: if these fail, an image is looked for or pushed in the wrong place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit.errors import InvalidInput
from buildkit.oci.reference import Digest, Platform, Reference

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag"),
    [
        ("ubuntu", "docker.io", "library/ubuntu", None),
        ("ubuntu:22.04", "docker.io", "library/ubuntu", "22.04"),
        ("org/app:v1", "docker.io", "org/app", "v1"),
        ("index.docker.io/org/app", "docker.io", "org/app", None),
        ("registry.access.redhat.com/ubi9/ubi-micro:latest", "registry.access.redhat.com", "ubi9/ubi-micro", "latest"),
        ("localhost/app", "localhost", "app", None),
        ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000", "a/b", "c"),
        ("[::1]:5000/a", "[::1]:5000", "a", None),
    ],
)
def test_reads_what_docker_and_podman_read(text: str, host: str, repository: str, tag: str | None) -> None:
    """The same words must mean the same image as in docker and podman."""
    for suffix, digest in (("", None), (f"@{DIGEST}", Digest(DIGEST))):
        assert Reference.parse(text + suffix) == Reference(host, repository, tag, digest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "UPPER/case",
        "a/b:",
        "a//b",
        "a b",
        "a/b:tag:tag",
        "a/b@sha256:abc",
        "a/b@",
        "/a",
        "a/",
        "a/b\nFROM c",
        "-a/b",
        "a/b:" + "t" * 129,
    ],
)
def test_refuses_what_is_none(text: str) -> None:
    """A malformed reference must end in an explanation and never in a request."""
    with pytest.raises(InvalidInput, match="not"):
        Reference.parse(text)


@given(st.text(max_size=200))
def test_parsing_is_total_and_round_trips(text: str) -> None:
    """Any text is either refused or means the same after it was written and read again."""
    try:
        reference = Reference.parse(text)
    except InvalidInput:
        return
    assert Reference.parse(str(reference)) == reference
    assert "\n" not in str(reference)
    assert " " not in str(reference)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("linux/x86_64", "linux/amd64"),
        ("linux/aarch64/v8", "linux/arm64/v8"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armhf/v7", "linux/arm/v7"),
        ("windows/x64", "windows/amd64"),
        ("linux/i386", "linux/386"),
    ],
)
def test_an_architecture_has_the_name_that_images_have(written: str, meant: str) -> None:
    """An image for linux/x86_64 is pushed without a word, and no machine ever pulls it."""
    with pytest.raises(InvalidInput) as raised:
        Platform.parse(written)
    assert f"write {meant}:" in raised.value.hint
    assert str(Platform.parse(meant)) == meant


def test_platforms_fit_as_runtimes_see_them() -> None:
    """A variant that nobody insists on must not hide an image; another architecture must."""
    assert Platform.parse("linux/arm64").accepts(Platform.parse("linux/arm64/v8"))
    assert not Platform.parse("linux/arm/v7").accepts(Platform.parse("linux/arm/v6"))
    assert not Platform.parse("linux/amd64").accepts(Platform.parse("linux/arm64"))
    with pytest.raises(InvalidInput):
        Platform.parse("amd64")
