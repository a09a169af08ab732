"""What a hub says of a repository, believed as far as it makes sense, and every refusal in words that help."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from huggingface_hub import constants

from buildkit.errors import InvalidInput
from buildkit.events import Event, Said
from buildkit.inputs import HuggingFaceRef
from buildkit.pin import File
from buildkit.sources.huggingface import HuggingFace
from tests.fakes.faults import Cut, Hangup, Redirect, Status
from tests.fakes.hub import Hub
from tests.sources.conftest import LARGE, NAME, SMALL, Model, content, failure, named

INFO = "/api/models/org/model/revision/"
TREE = "/tree/"
OID = "a" * 40


def test_large_files_are_known_by_sha256_and_small_ones_by_git(model: Model) -> None:
    import hashlib

    inventory = model.source().inventory()
    small = hashlib.sha1(b"blob 40000\0" + SMALL).hexdigest()
    assert inventory.files == (
        File("config.json", 40_000, git_oid=small),
        File("weights/model.safetensors", 3_000_000, sha256=hashlib.sha256(LARGE).hexdigest()),
    )
    assert (inventory.type, inventory.name, inventory.revision) == ("huggingface", NAME, "main")
    assert inventory.commit == model.commit


def test_a_listing_costs_two_requests(model: Model) -> None:
    """A rebuild where nothing moved is at most eight requests: a listing may not take more than these."""
    model.source().inventory()
    assert len(model.hub.requests) == 2, [request.path for request in model.hub.requests]


def test_every_page_of_a_long_listing_is_read(model: Model) -> None:
    model.hub.add(NAME, {f"part {number:04}.txt": b"%d" % number for number in range(2_345)})
    files = model.source().inventory().files
    assert [file.path for file in files] == [f"part {number:04}.txt" for number in range(2_345)]


def test_a_renamed_repository_goes_by_its_new_name(model: Model) -> None:
    model.hub.rename(NAME, "org/renamed")
    assert model.source().inventory().name == "org/renamed"


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ((), (), ["a.bin", "a.txt", "sub/a.bin", "sub/deep/b.txt"]),
        (("*.bin",), (), ["a.bin", "sub/a.bin"]),
        (("sub/",), (), ["sub/a.bin", "sub/deep/b.txt"]),
        ((), ("sub/*",), ["a.bin", "a.txt"]),
        (("*.bin", "*.txt"), ("a.*",), ["sub/a.bin", "sub/deep/b.txt"]),
    ],
)
def test_selection_is_the_hub_librarys(
    model: Model, include: tuple[str, ...], exclude: tuple[str, ...], expected: list[str]
) -> None:
    """The Containerfile downloads with `hf download`: both engines must take the same files."""
    model.hub.add(NAME, dict.fromkeys(["a.bin", "a.txt", "sub/a.bin", "sub/deep/b.txt"], b"x"))
    ref = HuggingFaceRef(hf=NAME, include=include, exclude=exclude)
    source = HuggingFace(ref, model.hub.endpoint, lambda: None)
    assert [file.path for file in source.inventory().files] == expected


def test_patterns_that_leave_nothing_say_what_there_is(model: Model) -> None:
    source = HuggingFace(HuggingFaceRef(hf=NAME, include=("*.gguf",)), model.hub.endpoint, lambda: None)
    with pytest.raises(InvalidInput) as caught:
        source.inventory()
    assert "config.json" in caught.value.hint


@pytest.mark.parametrize("where", ["/api/models", TREE])
@pytest.mark.parametrize(
    "action", [Status(429, {"Retry-After": "3"}), Status(503, {"Retry-After": "3"}), Hangup(), Cut(5)]
)
def test_a_busy_hub_is_asked_again(model: Model, action: Status | Hangup | Cut, where: str) -> None:
    model.hub.faults.add(action, path=where, times=3)
    assert len(model.source().inventory().files) == 2
    assert len(model.hub.faults.fired) == len(model.waits) == 3
    if isinstance(action, Status):
        assert model.waits == [3.0, 3.0, 3.0]


@pytest.mark.parametrize("where", ["/api/models", TREE])
@pytest.mark.parametrize("action", [Status(503), Hangup()])
def test_a_hub_that_stays_busy_is_given_up(model: Model, action: Status | Hangup, where: str) -> None:
    model.hub.faults.add(action, path=where, times=None)
    error = failure(model.source().inventory)
    assert model.hub.endpoint in str(error) and "5 tries" in str(error) and error.hint
    assert len(model.hub.faults.fired) == 5


def test_a_long_wait_is_told(model: Model) -> None:
    """A command that is silent for a minute looks as if it hung."""
    events: list[Event] = []
    ref = HuggingFaceRef(hf=NAME)
    source = HuggingFace(ref, model.hub.endpoint, lambda: None, wait=model.waits.append, emit=events.append)
    model.hub.faults.add(Status(429, {"Retry-After": "60"}), path=TREE)
    source.inventory()
    assert events == [Said("asked to wait: going on in 60 s")] and model.waits == [60.0]


def test_a_hub_that_asks_for_a_day_is_not_waited_for(model: Model) -> None:
    """The hub's library would sleep as long as it is told."""
    model.hub.faults.add(Status(429, {"Retry-After": "86400"}), path=TREE)
    assert "86,400 s" in str(failure(model.source().inventory))
    assert model.waits == []


def test_a_silent_hub_is_given_up(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's library would wait for ever."""
    from threading import Event

    from buildkit.machine import connections
    from tests.fakes.faults import Stall

    monkeypatch.setattr(connections, "READ_SECONDS", 0.2)
    model.hub.faults.add(Stall(0, Event()), path=TREE, times=None)
    assert "silent" in str(failure(model.source().inventory))


@pytest.mark.parametrize(("token", "hint"), [(None, "HF_TOKEN"), ("hf_other", "has access")])
def test_a_missing_and_a_private_repository_are_both_thought_of(model: Model, token: str | None, hint: str) -> None:
    """The hub does not tell one from the other, so the error must name both."""
    model.hub.add("org/private", {"a": b"a"}, private=True)
    for name in ("org/private", "org/missing"):
        error = failure(model.source(token=token, hf=name).inventory)
        assert name in str(error) and "is not on" in str(error) and "private" in str(error)
        assert hint in error.hint


def test_a_private_repository_is_read_with_its_owners_token(model: Model) -> None:
    model.hub.add("org/private", {"a": b"a"}, private=True)
    source = model.source(token="hf_owner", hf="org/private")
    assert content(source, source.inventory().files[0]) == b"a"


@pytest.mark.parametrize(("token", "hint"), [(None, "and set HF_TOKEN"), ("hf_other", "account")])
def test_a_gated_model_says_where_to_accept_its_terms(model: Model, token: str | None, hint: str) -> None:
    model.hub.add("org/gated", {"a": b"a"}, gated=True)
    source = model.source(token=token, hf="org/gated")
    error = failure(lambda: content(source, source.inventory().files[0]))
    assert "gated" in str(error)
    assert f"{model.hub.endpoint}/org/gated" in error.hint and hint in error.hint


def test_a_missing_revision_is_named(model: Model) -> None:
    error = failure(model.source(revision="v9").inventory)
    assert "no revision 'v9'" in str(error) and error.hint


def test_a_pinned_commit_that_is_gone_is_named_with_the_way_out(model: Model) -> None:
    """A squash upstream is told as if there were no 'main', and one looks for a branch that is there."""
    pinned = model.source().inventory()
    del model.hub.repositories[NAME].commits[model.commit]
    model.hub.add(NAME, {"config.json": SMALL})
    error = failure(lambda: content(model.source(pinned=pinned), pinned.files[0]))
    assert model.commit in str(error) and "no revision" not in str(error)
    assert "modelpack lock --upgrade" in error.hint and "'main'" in error.hint


def test_a_commit_that_the_recipe_itself_names_is_no_moved_branch(model: Model) -> None:
    """``--upgrade`` would ask for the same commit again."""
    pinned = model.source(revision=model.commit).inventory()
    model.hub.repositories[NAME].commits.clear()
    error = failure(lambda: content(model.source(pinned=pinned, revision=model.commit), pinned.files[0]))
    assert f"no revision '{model.commit}'" in str(error) and "upgrade" not in error.hint


def test_a_file_that_the_pinned_commit_lacks_is_told_with_the_commit(model: Model) -> None:
    """One looks at 'main', where the file is."""
    source = model.source()
    file = replace(source.inventory().files[0], path="gone.json")
    assert f"no such file in commit {model.commit}" in str(failure(lambda: content(source, file)))


def test_a_token_that_the_hub_does_not_know_is_told_from_a_missing_repository(model: Model) -> None:
    error = failure(model.source(token="hf_unknown").inventory)
    assert "does not accept the token" in str(error) and "hf_unknown" not in str(error)


def test_a_token_without_the_right_is_told_apart(model: Model) -> None:
    model.hub.faults.add(Status(403), path="/api/models")
    error = failure(model.source(token="hf_other").inventory)
    assert "may not read" in str(error) and "permissions" in error.hint


@pytest.mark.parametrize(
    ("status", "token", "message"),
    [(401, "hf_other", 'User Access Token "ci" is expired'), (403, None, "Your IP is not allowed")],
)
def test_the_hubs_own_words_are_told(model: Model, status: int, token: str | None, message: str) -> None:
    """Only the hub knows that a token has run out, and one looks for a repository that is there."""
    model.hub.faults.add(Status(status, {"X-Error-Message": message}), path="/api/models")
    error = failure(model.source(token=token).inventory)
    assert str(error).endswith(f"; the hub says: {message}") and "is not on" not in str(error) and error.hint


def test_the_hubs_own_words_are_bounded_and_steer_nothing(model: Model) -> None:
    """A hub must not fill the terminal, or write into it."""
    model.hub.faults.add(Status(403, {"X-Error-Message": "\x1b[2J" + "x" * 5000}), path="/api/models")
    error = failure(model.source(token="hf_other").inventory)
    assert "the hub says" in str(error) and str(error).isprintable() and len(str(error)) < 400


def test_of_a_password_nobody_without_a_token_hears(model: Model) -> None:
    """Who mistyped a name would look for a password that the hub never asked for."""
    assert "password" not in str(failure(model.source(hf="org/missing").inventory))


def test_a_disabled_repository_is_told_apart(model: Model) -> None:
    model.hub.faults.add(Status(403, {"X-Error-Message": "Access to this resource is disabled."}), path="/api/models")
    assert "disabled" in str(failure(model.source().inventory))


@pytest.mark.parametrize(
    "answer",
    [
        b"<!doctype html><title>Log in to the network</title>",
        b"",
        b"[]",
        b"null",
        b"3",
        b'{"a": 1}',
        b"{" * 50_000,
        b'{"id": 3, "sha": null}',
    ],
)
@pytest.mark.parametrize("where", ["/api/models", TREE])
def test_what_is_no_hub_is_an_explained_failure(model: Model, answer: bytes, where: str) -> None:
    """A captive portal's login page must not become a traceback."""
    if where == TREE and answer == b"[]":
        pytest.skip("an empty listing is one")
    model.hub.faults.add(Status(200, {"Content-Type": "text/html"}, answer), path=where, times=None)
    error = failure(model.source().inventory)
    assert "does not answer like" in str(error) or "that none can be" in str(error)


def test_a_web_server_without_any_hub_is_told_apart() -> None:
    with Hub() as hub:
        hub.faults.add(Status(404, {"Content-Type": "text/html"}, b"<html>not found</html>"), times=None)
        error = failure(HuggingFace(HuggingFaceRef(hf=NAME), hub.endpoint, lambda: None).inventory)
    assert "does not answer like a hub" in str(error) and "modelpack.yaml" in error.hint


def test_a_hub_that_is_down_is_an_explained_failure() -> None:
    with Hub() as hub:
        source = HuggingFace(HuggingFaceRef(hf=NAME), hub.endpoint, lambda: None, wait=lambda seconds: None)
    error = failure(source.inventory)
    assert hub.endpoint in str(error) and "connected" in str(error) and error.hint


def test_redirects_in_circles_are_an_explained_failure(model: Model) -> None:
    model.hub.faults.add(Redirect(f"{INFO}main"), path="/api/models", times=None)
    assert "circles" in str(failure(model.source().inventory))


def test_a_listing_without_end_is_an_explained_failure(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from buildkit.sources import hub_api

    monkeypatch.setattr(hub_api, "_MOST_PAGES", 20)
    for number in range(30):
        link = {"Link": f'<{model.hub.endpoint}/api/models/{NAME}/tree/main?cursor={number}>; rel="next"'}
        model.hub.faults.add(Status(200, {"Content-Type": "application/json", **link}, b"[]"), path=TREE, times=1)
    assert "without end" in str(failure(model.source().inventory))


def test_a_page_that_follows_itself_is_asked_once(model: Model) -> None:
    """Five thousand requests for one page would fill the memory and anger the hub."""
    link = {"Link": f'<{model.hub.endpoint}/api/models/{NAME}/tree/main?cursor=1>; rel="next"'}
    model.hub.faults.add(Status(200, {"Content-Type": "application/json", **link}, b"[]"), path=TREE, times=None)
    assert "without end" in str(failure(model.source().inventory))
    assert len(model.hub.requests) <= 4


@pytest.mark.parametrize("where", ["/api/models", TREE])
def test_an_answer_that_was_cut_where_nobody_told_its_length_is_asked_for_again(model: Model, where: str) -> None:
    """A proxy that closes connections early must not be taken for a login page."""
    half = Status(200, {"Content-Type": "application/json"}, b'[{"type": "file", "pa')
    model.hub.faults.add(half, path=where, times=2)
    assert len(model.source().inventory().files) == 2


def listed(model: Model, *entries: Mapping[str, object]) -> Model:
    document = [{"type": "file", "oid": OID, "size": 1, **entry} for entry in entries]
    model.hub.faults.add(
        Status(200, {"Content-Type": "application/json"}, json.dumps(document).encode()), path=TREE, times=None
    )
    return model


@pytest.mark.parametrize(
    "path",
    [
        "../evil",
        "/etc/passwd",
        "a/../../b",
        "a//b",
        "./a",
        "a\\b",
        "C:/x",
        "~/x",
        "a\nFROM evil",
        "a\x1b[2J",
        "a\u202egpj",
        "",
        "a\u0000b",
    ],
)
def test_a_path_that_could_do_harm_is_refused_by_name(model: Model, path: str) -> None:
    """A hub must not be able to write outside the model's folder, or into the Containerfile."""
    error = failure(listed(model, {"path": path}, {"path": "good"}).source().inventory)
    assert error.problems and "exclude" in error.hint
    assert "\n  " not in str(error).partition("\n")[2].strip("\n") or "\x1b" not in str(error)
    assert all(character.isprintable() for character in str(error).replace("\n", "")), "the error steers the terminal"


def test_every_bad_path_is_told_at_once_and_can_be_left_out(model: Model) -> None:
    listed(model, {"path": "../a"}, {"path": "/b"}, {"path": "good"})
    assert len(failure(model.source().inventory).problems) == 2
    ref = HuggingFaceRef(hf=NAME, include=("good",))
    assert [file.path for file in HuggingFace(ref, model.hub.endpoint, lambda: None).inventory().files] == ["good"]


@pytest.mark.parametrize("size", [-1, 1.5, "7", None, True, 2**70])
def test_a_size_that_is_no_number_of_bytes_is_refused(model: Model, size: object) -> None:
    error = failure(listed(model, {"path": "a", "size": size}).source().inventory)
    assert "size" in str(error) and "a" in str(error)


def test_two_sizes_of_a_file_are_refused(model: Model) -> None:
    lfs = {"oid": "b" * 64, "size": 2, "pointerSize": 130}
    assert "two sizes" in str(failure(listed(model, {"path": "a", "lfs": lfs}).source().inventory))


@pytest.mark.parametrize(
    "entry", [{"oid": "x" * 40}, {"oid": None}, {"lfs": {"oid": "sha256:1", "size": 1, "pointerSize": 1}}]
)
def test_what_is_no_digest_is_refused(model: Model, entry: dict[str, object]) -> None:
    assert "no digest" in str(failure(listed(model, {"path": "a", **entry}).source().inventory))


@pytest.mark.parametrize("paths", [("a", "a"), ("a", "a/b"), ("a", "a.b", "a/b/c")])
def test_files_that_cannot_stand_side_by_side_are_refused(model: Model, paths: tuple[str, ...]) -> None:
    assert failure(listed(model, *({"path": path} for path in paths)).source().inventory).problems


@pytest.mark.parametrize(("key", "value"), [("id", "../../evil"), ("id", "a\nb"), ("sha", "main"), ("sha", "A" * 40)])
def test_a_name_or_commit_that_none_can_be_is_refused(model: Model, key: str, value: str) -> None:
    answer = json.dumps({"id": NAME, "sha": OID, key: value}).encode()
    model.hub.faults.add(Status(200, {"Content-Type": "application/json"}, answer), path="/api/models")
    assert "none can be" in str(failure(model.source().inventory))


def test_offline_is_said_and_nothing_is_asked(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    source = model.source()
    file = named(source.inventory(), "config.json")
    model.hub.log.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in str(failure(source.inventory))
    assert "not in the hub's cache" in str(failure(lambda: content(source, file)))
    assert model.hub.requests == ()


def test_a_locked_build_asks_for_no_commit(model: Model) -> None:
    """With a lock, the branch may have moved: the locked commit's files are opened, and the branch is not asked about."""
    pinned = model.source().inventory()
    model.hub.add(NAME, {"config.json": b"something newer"})
    model.hub.log.clear()
    assert content(model.source(pinned=pinned), named(pinned, "config.json")) == SMALL
    assert len(model.hub.requests) == 1


def test_without_a_lock_the_commit_is_asked_for_once(model: Model) -> None:
    pinned = model.source().inventory()
    model.hub.log.clear()
    source = model.source()
    for file in pinned.files:
        assert content(source, replace(file))
    assert len([request for request in model.hub.requests if request.path.startswith("/api/")]) == 1
