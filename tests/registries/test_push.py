"""Images into a registry with faults: if these fail, a push loses data, moves a tag too early, or hangs."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildkit.errors import ModelpackError, RegistryFailed, SourceFailed
from buildkit.events import Event, Moved, silent
from buildkit.machine.parallel import Stop
from buildkit.oci.copy import place, publish, seal
from buildkit.oci.image import Blob, Image, Layer
from buildkit.oci.manifest import OCI_LAYER, ImageConfig, Manifest
from buildkit.oci.reference import Digest, Platform, Reference
from buildkit.registries.auth import Credentials
from buildkit.registries.client import Repository
from buildkit.registries.connection import Connection
from tests.fakes.faults import Corrupt, Cut, CutHead, Hangup, Interim, Status
from tests.fakes.registry import Account, Auth, Behaviour, Registry

AMD64 = Platform("linux", "amd64")
SIZE = 300_000


def content(number: int, size: int = SIZE) -> bytes:
    return random.Random(number).randbytes(size)


def layer(number: int, known: bool = False, origin: Reference | None = None) -> Layer:
    data = content(number)

    def opened() -> Iterator[bytes]:
        return (data[start : start + 50_000] for start in range(0, len(data), 50_000))

    digest = Digest.of(data) if known else None
    return Layer(Blob(f"layer {number}", OCI_LAYER, len(data), opened, digest, f"layer {number}", origin))


def image(layers: int = 2, known: bool = False) -> Image:
    config = {key: value for key, value in ImageConfig.empty(AMD64).content.items() if key != "rootfs"}
    return Image(AMD64, config, tuple(layer(number, known) for number in range(layers)))


def repository(registry: Registry, name: str = "models/granite", credentials: Credentials | None = None) -> Repository:
    waits: list[float] = []
    connection = Connection(
        registry.address, plain_http=lambda host: True, credentials=lambda: credentials, sleep=waits.append
    )
    connection.waits = waits  # type: ignore[attr-defined]
    return Repository(connection, Reference(registry.address, name))


def push(registry: Registry, what: Image | None = None, emit: Callable[[Event], None] = silent, **options: Any) -> str:
    store = repository(registry, **options)
    sealing = seal(place([what or image()], store, emit, Stop()))
    publish(sealing, store, ["v1"])
    return sealing.digest


def check_served(registry: Registry, digest: str, layers: int = 2, name: str = "models/granite") -> None:
    """What is served under the tag is exactly the planned image."""
    assert registry.tags[name] == {"v1": digest}
    manifest = Manifest.read(repository(registry, name).resolve("v1"))  # type: ignore[arg-type]
    assert [registry.blob(one.digest) for one in manifest.layers] == [content(number) for number in range(layers)]
    assert hashlib.sha256(registry.blob(manifest.config.digest)).hexdigest() == manifest.config.digest.hex


def check_no_open_session(registry: Registry) -> None:
    assert not [one for one in registry.sessions if one.state == "open"], "an upload session was left open"


def test_an_image_arrives_whole() -> None:
    """Each layer by one POST, one PATCH and one PUT; then the config, the manifest, the tag."""
    with Registry() as registry:
        check_served(registry, push(registry))
        methods = [request.method for request in registry.requests]
        assert methods.count("PATCH") == 3
        assert methods[-2:] == ["PUT", "PUT"] or "PUT" in methods[-4:]
        check_no_open_session(registry)


def test_a_second_push_sends_no_blob() -> None:
    """With known digests nothing that is there is sent again."""
    with Registry() as registry:
        push(registry)
        registry.log.clear()
        check_served(registry, push(registry, image(known=True)))
        assert not [
            request
            for request in registry.requests
            if request.method in ("PATCH", "POST") and "manifests" not in request.path
        ]


def test_a_layer_of_a_sibling_is_mounted() -> None:
    """A fine-tune in the same registry shares its base model's layers without sending them."""
    with Registry() as registry:
        sibling = Reference(registry.address, "models/sibling")
        for number in range(2):
            registry.put_blob("models/sibling", content(number))
        registry.log.clear()
        what = replace(image(), layers=tuple(layer(number, True, sibling) for number in range(2)))
        check_served(registry, push(registry, what))
        assert sum(request.request_bytes for request in registry.requests) < 10_000


@pytest.mark.parametrize(
    "behaviour", [Behaviour(mounts=False), Behaviour(mounts="error"), Behaviour(mount_location=False)]
)
def test_a_mount_that_is_refused_becomes_an_upload(behaviour: Behaviour) -> None:
    """Registries that cannot mount must still get the image."""
    with Registry(behaviour=behaviour) as registry:
        for number in range(2):
            registry.put_blob("models/sibling", content(number))
        sibling = Reference(registry.address, "models/sibling")
        what = replace(image(), layers=tuple(layer(number, True, sibling) for number in range(2)))
        check_served(registry, push(registry, what))
        check_no_open_session(registry)


@pytest.mark.parametrize("location", ["relative", "to the path", "absolute", "other"])
@pytest.mark.parametrize("patch_status", [200, 201, 202, 204])
def test_any_location_and_status_of_the_field(location: str, patch_status: int) -> None:
    """Registries answer a PATCH and name an upload in several ways; all of them must work."""
    with Registry(behaviour=Behaviour(location=location, patch_status=patch_status)) as registry:
        check_served(registry, push(registry))


def test_a_mount_that_becomes_an_upload_goes_on_where_its_answer_says() -> None:
    """A registry that cannot mount answers with a session, and may name it relatively to what was asked."""
    with Registry(behaviour=Behaviour(mounts=False, location="to the path")) as registry:
        sibling = Reference(registry.address, "models/sibling")
        what = replace(image(), layers=tuple(layer(number, True, sibling) for number in range(2)))
        check_served(registry, push(registry, what))
        check_no_open_session(registry)


def test_a_location_in_a_private_network_is_refused() -> None:
    """A registry must not be able to send this machine's requests into its own network."""
    with Registry(behaviour=Behaviour(location="http://10.0.0.1")) as registry:
        with pytest.raises(RegistryFailed, match=r"private address 10\.0\.0\.1"):
            push(registry)
        assert registry.tags.get("models/granite", {}) == {}


FAULTS: list[tuple[Any, str, str]] = [
    *((Cut(at, "request"), "PATCH", "uploads") for at in (0, 1, SIZE // 2, SIZE - 1)),
    (Cut(0, "request"), "POST", "uploads"),
    (Cut(0), "HEAD", "blobs"),
    (CutHead("Location"), "POST", "uploads"),
    (CutHead("Location", 15), "POST", "uploads"),
    (CutHead("Location", 60), "PATCH", "uploads"),
    (CutHead("Docker-Content-Digest", 30), "PUT", "uploads"),
    (CutHead("Docker-Content-Digest", 30), "PUT", "manifests"),
    (CutHead("Content-Length"), "HEAD", "blobs"),
    (Hangup(), "POST", "uploads"),
    (Hangup(), "PATCH", "uploads"),
    (Hangup(), "PUT", "uploads"),
    (Hangup(), "PUT", "manifests"),
    (Status(500), "PATCH", "uploads"),
    (Status(502), "PUT", "uploads"),
    (Status(503, {"Retry-After": "7"}), "POST", "uploads"),
    (Status(429, {"Retry-After": "7"}), "PATCH", "uploads"),
    (Status(503), "PUT", "manifests"),
    (Status(522), "PUT", "manifests"),
    (Status(500, {}, b"", SIZE // 2), "PATCH", "uploads"),
    (Corrupt(SIZE // 2, "request"), "PATCH", "uploads"),
]


@pytest.mark.parametrize(("fault", "method", "path"), FAULTS)
def test_a_fault_that_passes_is_survived(fault: Any, method: str, path: str) -> None:
    """A line that breaks or a registry that is busy for a moment must not cost the whole push."""
    with Registry() as registry:
        registry.faults.add(fault, method=method, path=path, times=1)
        known = method == "HEAD"
        digest = push(registry, image(known=known))
        assert registry.faults.fired, "the fault never happened, so that this proves nothing"
        check_served(registry, digest)


LOST_ANSWERS = ((Hangup, "PUT", "uploads"), (CutHead, "PUT", "uploads"))


@pytest.mark.parametrize(
    ("fault", "method", "path"),
    [one for one in FAULTS if one[1] != "HEAD" and (type(one[0]), *one[1:]) not in LOST_ANSWERS],
)
def test_a_fault_that_stays_ends_in_one_error_and_no_tag(fault: Any, method: str, path: str) -> None:
    """What cannot be pushed must end, explained, with nothing tagged."""
    with Registry() as registry:
        registry.faults.add(fault, method=method, path=path, times=None)
        with pytest.raises(ModelpackError) as raised:
            push(registry)
        assert registry.address.partition(":")[0] in str(raised.value) or "127.0.0.1" in str(raised.value)
        if "manifests" not in path:
            assert registry.tags.get("models/granite", {}) == {}


def test_what_announces_an_answer_is_not_it() -> None:
    """A registry behind a server with early hints (103) would get no image: every answer would be one to the question before."""
    with Registry() as registry:
        registry.faults.add(Interim(103), times=None)
        check_served(registry, push(registry))
        check_served(registry, push(registry, image(known=True)))


@pytest.mark.parametrize("times", [1, None])
def test_a_blob_that_landed_is_not_sent_again_because_its_answer_was_lost(times: int | None) -> None:
    """A line that breaks in the last moment must not cost another hour: the registry knows what it has."""
    with Registry() as registry:
        registry.faults.add(Hangup(), method="PUT", path="uploads", times=times)
        check_served(registry, push(registry, image(1)), 1)
        sent = [one.request_bytes for one in registry.requests if one.method == "PATCH"]
        assert sum(sent) < 2 * SIZE, "the layer was sent twice"


def test_a_registry_that_keeps_blobs_elsewhere_has_them() -> None:
    """With storage in the cloud, registries redirect a HEAD as they do a GET, and only for what they have."""
    with Registry() as registry:
        push(registry)
        registry.log.clear()
        registry.faults.add(
            Status(307, {"Location": "https://storage.example/blob?signature=x"}), method="HEAD", times=None
        )
        push(registry, image(known=True))
        assert not [one for one in registry.requests if one.method in ("POST", "PATCH")], "a layer was sent again"


@pytest.mark.parametrize("refusal", [400, 403, 405, 409, 412])
def test_a_tag_that_was_written_before_its_answer_was_lost_is_written(refusal: int) -> None:
    """Where tags are immutable the second try is refused, although the first one did all that was asked."""
    with Registry() as registry:
        registry.faults.add(Status(refusal), method="PUT", path="/manifests/v1", skip=1, times=None)
        registry.faults.add(Hangup(), method="PUT", path="/manifests/v1", times=1)
        check_served(registry, push(registry))


@pytest.mark.parametrize("asked", ["\u00b2", "Fri, 31 Dec 99999999999 23:59:59 GMT", "soon", "-1", ""])
def test_a_wait_that_makes_no_sense_is_none(asked: str) -> None:
    """A proxy's broken header must not look like a fault of ours."""
    with Registry() as registry:
        registry.faults.add(Status(503, {"Retry-After": asked}), method="POST", times=1)
        check_served(registry, push(registry, image(1)), 1)


@pytest.mark.parametrize("location", ["http://[evil/x", "//[::1/x", "http://u:SECRET@10.0.0.1/x"])
def test_a_location_that_is_no_url_is_an_explained_failure(location: str) -> None:
    """And what it holds of a login is not repeated."""
    with Registry() as registry:
        registry.faults.add(Status(202, {"Location": location}), method="POST", times=None)
        with pytest.raises(RegistryFailed) as raised:
            push(registry, image(1))
        assert "not followed" in str(raised.value) and "SECRET" not in str(raised.value)


def test_retry_after_is_heeded() -> None:
    """A registry that names a time must be asked no sooner."""
    with Registry() as registry:
        registry.faults.add(Status(429, {"Retry-After": "7"}), method="POST", times=1)
        store = repository(registry)
        place([image(1)], store, silent, Stop())
        assert 7.0 in store.connection.waits  # type: ignore[attr-defined]


def test_progress_never_counts_a_byte_twice() -> None:
    """A bar that runs past its end after a retry tells a person nothing."""
    with Registry() as registry:
        registry.faults.add(Cut(SIZE // 2, "request"), method="PATCH", times=1)
        moved: list[int] = []
        push(registry, image(1), lambda event: moved.append(event.amount) if isinstance(event, Moved) else None)
        assert sum(moved) == SIZE


def test_a_source_that_fails_cancels_its_session() -> None:
    """Wrong bytes from a hub must never become a blob, and must not leave an upload that waits for them."""

    def broken() -> Iterator[bytes]:
        yield content(0)[:100_000]
        raise SourceFailed("config.json is not the file that was pinned")

    with Registry() as registry:
        store = repository(registry)
        config = dict(ImageConfig.empty(AMD64).content)
        bad = Layer(Blob("bad", OCI_LAYER, SIZE, broken, title="bad"))
        with pytest.raises(SourceFailed, match=r"config\.json"):
            place([Image(AMD64, config, (bad, layer(1)))], store, silent, Stop())
        assert Digest.of(content(0)) not in registry.blobs
        check_no_open_session(registry)
        assert registry.tags.get("models/granite", {}) == {}


@pytest.mark.parametrize("error", [FileNotFoundError, BrokenPipeError, TimeoutError, ConnectionResetError])
def test_a_source_that_cannot_be_read_is_not_the_registrys_failure(error: type[OSError]) -> None:
    """The registry is blamed, after the source was opened five times in vain, for a file that is gone from a disk."""
    opened: list[int] = []

    def unreadable() -> Iterator[bytes]:
        opened.append(1)
        yield content(0)[:100_000]
        raise error(2, "of the source")

    with Registry() as registry:
        with pytest.raises(error, match="of the source"):
            repository(registry).put(Blob("gone", OCI_LAYER, SIZE, unreadable, title="gone"), lambda amount: None)
        assert len(opened) == 1
        check_no_open_session(registry)


def test_a_layer_that_is_not_what_the_lock_says_is_not_stored() -> None:
    """The lock's digest is a promise: other bytes must end the push before they are real."""
    with Registry() as registry:
        wrong = replace(layer(0).blob, digest=Digest.of(b"something else"))
        with pytest.raises(ModelpackError, match="but the lock says"):
            place([replace(image(), layers=(Layer(wrong),))], repository(registry), silent, Stop())
        assert not registry.blobs
        check_no_open_session(registry)


def test_a_registry_that_answers_a_wrong_digest_is_not_believed() -> None:
    """The digest in the lock must be the one that is really served."""
    with (
        Registry(behaviour=Behaviour(digest_header="wrong")) as registry,
        pytest.raises(RegistryFailed, match="sha256:"),
    ):
        push(registry)


def test_too_large_a_layer_is_explained() -> None:
    """A registry's limit must be told with the layer and its size."""
    with Registry(behaviour=Behaviour(max_layer_bytes=1000)) as registry:
        with pytest.raises(RegistryFailed) as raised:
            push(registry)
        assert "layer" in str(raised.value)
        assert registry.tags.get("models/granite", {}) == {}


def test_a_repository_that_must_exist_first_is_told() -> None:
    """The three reasons for a refusal need three different actions."""
    with Registry(behaviour=Behaviour(create_on_push=False)) as registry, pytest.raises(RegistryFailed) as raised:
        push(registry)
    assert "created first" in raised.value.hint


ACCOUNTS = {"me": Account("secret-password")}


@pytest.mark.parametrize("mode", ["basic", "token"])
def test_credentials_are_used_and_never_shown(mode: Any) -> None:
    """A login suffices, a missing one and a wrong one are told apart, and none is ever in a text."""
    with Registry(auth=Auth(mode=mode, accounts=ACCOUNTS)) as registry:
        good = Credentials("me", "secret-password", found="a test")
        check_credentials = push(registry, credentials=good)
        assert registry.tags["models/granite"]["v1"] == check_credentials
        for bad, what in (
            (None, "not logged in"),
            (Credentials("me", "wrong-password", found="a file"), "does not accept"),
        ):
            with pytest.raises(RegistryFailed, match=what) as raised:
                push(registry, credentials=bad)
            assert "password" not in str(raised.value) + repr(bad)
            assert "docker login" in raised.value.hint


def test_who_may_not_push_is_told_so() -> None:
    """Logged in and not allowed is another problem than not logged in."""
    accounts = {"me": Account("secret-password", push="(?!)")}
    with Registry(auth=Auth(mode="token", accounts=accounts)) as registry:
        with pytest.raises(RegistryFailed, match="not allowed"):
            push(registry, credentials=Credentials("me", "secret-password", found="a test"))


def test_a_token_that_expires_in_the_middle_is_renewed() -> None:
    """A push of an hour outlives every token."""
    with Registry(auth=Auth(mode="token", accounts=ACCOUNTS)) as registry:
        store = repository(registry, credentials=Credentials("me", "secret-password", found="a test"))
        expired: list[bool] = []

        def emit(event: Event) -> None:
            if isinstance(event, Moved) and not expired:
                expired.append(True)
                registry.expire_tokens()

        sealing = seal(place([image()], store, emit, Stop()))
        registry.expire_tokens()
        publish(sealing, store, ["v1"], registry.expire_tokens)
        assert registry.tags["models/granite"]["v1"] == sealing.digest


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from([Cut, Hangup, Status, Corrupt]),
            st.sampled_from(["POST", "PATCH", "PUT", "HEAD", "GET"]),
            st.integers(0, SIZE - 1),
            st.integers(0, 3),
            st.integers(1, 6),
        ),
        max_size=4,
    ),
    st.integers(1, 4),
    st.booleans(),
)
def test_either_the_planned_image_or_no_tag(
    faults: list[tuple[Any, str, int, int, int]], layers: int, known: bool
) -> None:
    """Whatever breaks, and wherever: a tag leads to exactly the planned image, or there is none."""
    with Registry() as registry:
        for kind, method, at, skip, times in faults:
            action = {Cut: Cut(at, "request"), Hangup: Hangup(), Status: Status(503), Corrupt: Corrupt(at, "request")}[
                kind
            ]
            registry.faults.add(cast(Any, action), method=method, skip=skip, times=times)
        try:
            digest = push(registry, image(layers, known))
        except ModelpackError:
            digest = None
        registry.faults.clear()
        tags = registry.tags.get("models/granite", {})
        if digest or tags:
            check_served(registry, digest or tags["v1"], layers)
