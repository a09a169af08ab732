"""Profiles: if these fail, a registry is spoken to in a way that it is known not to take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from buildkit.errors import InvalidInput, RegistryFailed
from buildkit.events import silent
from buildkit.machine.parallel import Stop
from buildkit.oci.copy import place, publish, seal
from buildkit.oci.image import Blob, Image, Layer
from buildkit.oci.manifest import OCI_LAYER, ImageConfig
from buildkit.oci.reference import Digest, Platform, Reference
from buildkit.plan import TITLE
from buildkit.registries.client import Repository
from buildkit.registries.connection import Connection
from buildkit.registries.credentials import Credentials
from buildkit.registries.limits import check
from buildkit.registries.pace import Pace
from buildkit.registries.profile import Profile
from buildkit.registries.profiles import BY_NAME, PROFILES, profile_of
from tests.fakes.faults import Cut, Status
from tests.fakes.registry import Account, Auth, Behaviour, Registry
from tests.registries.test_push import content, image, layer

AMD64 = Platform("linux", "amd64")
LARGE = 6_000_000
"""Bytes: above the 4 MiB that GHCR takes in a PATCH with a length."""


def repository(registry: Registry, profile: Profile, credentials: Credentials | None = None) -> Repository:
    connection = Connection(
        registry.address,
        plain_http=lambda host: True,
        credentials=lambda: credentials,
        sleep=lambda seconds: None,
        profile=profile,
    )
    return Repository(connection, Reference(registry.address, "models/granite"))


def large(known: bool, data: bytes = content(7, LARGE), promised: bytes | None = None) -> Image:
    def opened() -> Iterator[bytes]:
        return (data[start : start + 500_000] for start in range(0, len(data), 500_000))

    digest = Digest.of(promised or data) if known else None
    blob = Blob("large", OCI_LAYER, len(data), opened, digest, "large")
    config = {key: value for key, value in ImageConfig.empty(AMD64).content.items() if key != "rootfs"}
    return Image(AMD64, config, (Layer(blob),))


def push(registry: Registry, profile: Profile, what: Image) -> Digest:
    store = repository(registry, profile)
    sealing = seal(place([what], store, silent, Stop()))
    publish(sealing, store, ["v1"])
    assert registry.tags["models/granite"] == {"v1": sealing.digest}
    assert not [one for one in registry.sessions if one.state == "open"]
    return sealing.digest


HOSTS = {
    "kix.ocir.io": "ocir", "ap-osaka-1.ocir.io": "ocir", "ocir.us-langley-1.oci.oraclegovcloud.com": "ocir",
    "quay.io": "quay", "ghcr.io": "ghcr", "public.ecr.aws": "ecr-public",
    "123456789012.dkr.ecr.eu-central-1.amazonaws.com": "ecr", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn": "ecr",
    "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com": "ecr", "europe-west3-docker.pkg.dev": "gar", "eu.gcr.io": "gar",
    "me.azurecr.io": "acr", "docker.io": "dockerhub", "swr.ap-southeast-3.myhuaweicloud.com": "swr",
    "swr.eu-de.otc.t-systems.com": "swr", "registry.example.com:5000": "distribution", "notghcr.io": "distribution",
    "ghcr.io.evil.example": "distribution", "swr.lab.example.com": "distribution",
}  # fmt: skip


@pytest.mark.parametrize(("host", "name"), HOSTS.items())
def test_a_host_tells_its_registry(host: str, name: str) -> None:
    """A registry is taken for another one, and gets what it refuses."""
    assert profile_of(host).name == name


def test_a_registry_on_any_host_is_named_by_its_type() -> None:
    """Harbor and zot run under any name; who writes 'type' must be believed, and a slip told."""
    assert profile_of("registry.example.com", "harbor") is BY_NAME["harbor"]
    with pytest.raises(InvalidInput, match="'harbour'"):
        profile_of("registry.example.com", "harbour")
    assert {"ocir", "quay", "ghcr", "ecr", "ecr-public", "gar", "acr", "dockerhub", "harbor", "swr", "distribution", "zot"} == {
        profile.name for profile in PROFILES
    }  # fmt: skip


@pytest.mark.parametrize("name", ["ghcr", "ecr", "ecr-public", "gar"])
def test_a_known_layer_goes_by_one_put(name: str) -> None:
    """These registries lose what comes in chunks, or refuse a large PATCH: a push would fail at its last byte."""
    behaviour = Behaviour(max_patch_bytes=4 << 20, patches="none")
    with Registry(behaviour=behaviour) as registry:
        push(registry, BY_NAME[name], large(known=True))
        assert not [one for one in registry.requests if one.method == "PATCH"]


@pytest.mark.parametrize("name", ["ghcr", "ecr", "gar"])
def test_an_unknown_layer_goes_by_one_patch_without_a_length(name: str) -> None:
    """Where the digest is learned on the way only what docker itself sends is sure to be taken."""
    with Registry(behaviour=Behaviour(max_patch_bytes=4 << 20, patches="first-only")) as registry:
        push(registry, BY_NAME[name], large(known=False))
        patches = [one for one in registry.requests if one.method == "PATCH"]
        assert [one.request_bytes > LARGE - 1 for one in patches] == [True]


@pytest.mark.parametrize("name", ["distribution", "quay", "harbor", "acr", "dockerhub", "ocir", "zot"])
def test_others_get_one_patch_with_its_length(name: str) -> None:
    """Proxies before these registries may want a length."""
    with Registry(behaviour=Behaviour(chunked_encoding=False)) as registry:
        push(registry, BY_NAME[name], large(known=False))


FAULTS: list[Any] = [Cut(0, "request"), Cut(LARGE // 2, "request"), Status(500), Status(503, {"Retry-After": "3"})]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_put_that_breaks_is_sent_again(fault: Any) -> None:
    """A line that breaks in the one request that carries the layer must not cost the push."""
    with Registry() as registry:
        registry.faults.add(fault, method="PUT", path="uploads", times=1)
        push(registry, BY_NAME["ghcr"], large(known=True))
        assert registry.faults.fired


@pytest.mark.parametrize("name", ["ghcr", "distribution"])
def test_other_bytes_than_the_lock_says_never_become_a_blob(name: str) -> None:
    """In one PUT the digest goes before the bytes: bytes that are others must end the request before its end."""
    with Registry() as registry:
        with pytest.raises(Exception, match="but the lock says"):
            push(registry, BY_NAME[name], large(known=True, promised=b"another"))
        assert registry.tags.get("models/granite", {}) == {}
        assert not registry.blobs


@pytest.mark.parametrize(
    ("name", "words"),
    [("ecr", "aws ecr create-repository"), ("gar", "gcloud artifacts repositories create"), ("harbor", "create the project"),
     ("swr", "organisation"), ("ocir", "oci artifacts container repository create"), ("distribution", "must be created first")],
)  # fmt: skip
def test_a_repository_that_is_missing_is_told_with_its_command(name: str, words: str) -> None:
    """A 404 at a push is a riddle to who has never created a repository."""
    with Registry(behaviour=Behaviour(create_on_push=False)) as registry:
        with pytest.raises(RegistryFailed) as raised:
            push(registry, replace(BY_NAME[name], per_second=None), image(1))
        assert words in raised.value.hint


@pytest.mark.parametrize("credentials", [None, Credentials("me", "wrong-s3cret", found="a file")])
def test_who_is_not_logged_in_is_told_how_here(credentials: Credentials | None) -> None:
    """Every registry has another sort of user and password, and a 401 names none."""
    with Registry(auth=Auth(mode="token", accounts={"me": Account("right")})) as registry:
        with pytest.raises(RegistryFailed) as raised:
            place([image(1)], repository(registry, BY_NAME["ocir"], credentials), silent, Stop())
        assert "NAMESPACE/oracleidentitycloudservice/USER" in raised.value.hint
        assert f"modelpack login {registry.address}" in raised.value.hint
        assert "s3cret" not in f"{raised.value}{raised.value.hint}"


def test_requests_pass_no_faster_than_they_may() -> None:
    """SWR answers 503 above 20 requests a second for a whole tenant."""
    now, waited = [100.0], []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        now[0] += seconds

    pace = Pace(20.0, sleep, lambda: now[0])
    for _ in range(21):
        pace.wait()
    assert sum(waited) == pytest.approx(1.0)
    Pace(None, lambda seconds: pytest.fail("nothing was asked for")).wait()


def test_swr_is_asked_at_its_pace_and_its_503_is_survived() -> None:
    """A push that is faster than the registry allows ends in an error of the registry's."""
    slept: list[float] = []
    with Registry() as registry:
        connection = Connection(
            registry.address,
            plain_http=lambda host: True,
            credentials=lambda: None,
            sleep=slept.append,
            profile=BY_NAME["swr"],
        )
        registry.faults.add(Status(503), method="POST", times=1)
        store = Repository(connection, Reference(registry.address, "models/granite"))
        place([image(3)], store, silent, Stop())
        assert slept
        assert len(registry.blobs) == 3


def test_limits_are_told_together_and_before_the_first_byte() -> None:
    """A layer that is too large is found out after hours."""
    heavy = replace(layer(1), blob=replace(layer(1).blob, size=11 * 1024**3))
    what = replace(image(1), layers=(heavy,) * 130)
    with pytest.raises(InvalidInput) as raised:
        check([what], BY_NAME["ghcr"])
    told = str(raised.value)
    assert "10 GB a layer" in told
    assert "130 layers" in told


@pytest.mark.parametrize(
    ("base", "own", "said", "hint"),
    [
        (0, 130, "130 layers;", "use 'layers: squashed', with a max_layer_size where one layer would be too large"),
        (10, 120, "130 layers, 10 of them the base's;", "or take a base with fewer layers"),
        (127, 1, "128 layers, 127 of them the base's;", "take a base with fewer layers: it must"),
        (130, 0, "130 layers;", "use 'layers: squashed'"),
    ],
)
def test_too_many_layers_are_told_with_what_makes_them_fewer(base: int, own: int, said: str, hint: str) -> None:
    """Whoever squashes the one layer above a base that is too deep itself is refused again with the same advice."""
    planned = [replace(layer(number), annotations={TITLE: "model"}) for number in range(own)]
    what = replace(image(), layers=(*map(layer, range(base)), *planned))
    with pytest.raises(InvalidInput) as refused:
        check([what], BY_NAME["quay"])
    (problem,) = refused.value.problems
    assert problem.what.startswith(said) and hint in problem.hint
    assert ("squashed" in problem.hint) == (base != 127)


def test_a_form_that_is_not_taken_is_refused() -> None:
    """zot takes no Docker manifest, SWR no OCI one: after the upload is too late."""
    assert check([image(1)], BY_NAME["swr"]) == "docker"
    assert check([image(1)], BY_NAME["quay"]) == "oci"
    assert check([image(1)], BY_NAME["quay"], "docker") == "docker"
    for name, form in (("zot", "docker"), ("swr", "oci")):
        with pytest.raises(InvalidInput, match="--manifest-format"):
            check([image(1)], BY_NAME[name], form)  # type: ignore[arg-type]
