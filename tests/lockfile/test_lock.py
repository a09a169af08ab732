"""The lockfile: if these fail, a lock changes when nothing did, is lost, or is believed when it is damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from buildkit.errors import InvalidInput
from buildkit.lockfile import lock as locks
from buildkit.lockfile.form import VERSION, schema
from buildkit.lockfile.lock import Lock, LockedImage, LockedLayer
from buildkit.lockfile.migrations import MIGRATIONS
from buildkit.oci.manifest import OCI_MANIFEST, Descriptor
from buildkit.oci.reference import Digest, Platform, Reference
from buildkit.pin import File, ImagePin, Inventory, Pins

hexadecimal = st.text("0123456789abcdef", min_size=64, max_size=64)
digests = hexadecimal.map(lambda text: Digest(f"sha256:{text}"))
words = st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn")), min_size=1, max_size=20)
files = st.builds(File, words, st.integers(0, 2**50), hexadecimal, st.just(""), st.just(""))
platforms = st.sampled_from([Platform("linux", "amd64"), Platform("linux", "arm64", "v8")])
inventories = st.builds(
    Inventory,
    st.just("huggingface"),
    words,
    st.lists(files, max_size=5).map(lambda many: tuple(sorted(many))),
    words,
    words,
)
images = st.builds(
    LockedImage,
    st.sampled_from(["embedded", "podman"]),
    st.just("1"),
    digests,
    st.builds(Descriptor, st.just(OCI_MANIFEST), digests, st.integers(0, 2**40)),
    digests,
    st.lists(st.builds(LockedLayer, words, digests, st.integers(0, 2**50)), max_size=3).map(tuple),
    st.dictionaries(words, digests, max_size=3),
)
pins = st.builds(
    Pins,
    st.dictionaries(
        st.just("base"),
        st.builds(
            ImagePin,
            digests.map(lambda digest: Reference("quay.io", "a/b", "c", digest)),
            st.dictionaries(platforms, digests, max_size=2),
        ),
    ),
    st.dictionaries(st.just("model"), inventories),
    st.none() | st.integers(1, 2**50),
)
anything = st.builds(
    Lock,
    digests,
    pins,
    st.dictionaries(st.just("builder"), words),
    st.dictionaries(platforms, images, max_size=2),
    st.dictionaries(st.sampled_from(["quay.io/a/b:v1", "127.0.0.1:5000/a:v2"]), digests, max_size=2),
    st.none() | digests,
    st.sampled_from(["1", "2"]),
)


@given(anything)
def test_what_is_written_is_read(lock: Lock) -> None:
    """Nothing that a lock holds may be lost or change by being written and read, however often."""
    text = locks.text(lock)
    assert text.endswith("}\n")
    again = locks.parse(text)
    assert again == lock
    assert locks.text(again) == text


PUBLISHED = json.loads((resources("buildkit.lockfile") / "lock.schema.json").read_text(encoding="utf-8"))

V1: dict[str, Any] = {
    "version": 1,
    "recipe": f"sha256:{'1' * 64}",
    "asked": {"base": "quay.io/a/b:c", "model": {"hf": "org/model"}},
    "pins": {
        "images": {
            "base": {
                "reference": f"quay.io/a/b:c@sha256:{'2' * 64}",
                "platforms": {"linux/amd64": f"sha256:{'3' * 64}"},
            }
        },
        "sources": {
            "model": {
                "type": "huggingface",
                "name": "org/model",
                "revision": "main",
                "commit": "4" * 40,
                "files": [{"path": "config.json", "size": 2, "git_oid": "5" * 40}],
            }
        },
    },
    "images": {
        "linux/amd64": {
            "engine": "embedded",
            "packing": "1",
            "plan": f"sha256:{'6' * 64}",
            "manifest": {"mediaType": OCI_MANIFEST, "digest": f"sha256:{'7' * 64}", "size": 9},
            "config": f"sha256:{'8' * 64}",
            "layers": [{"key": "k", "digest": f"sha256:{'9' * 64}", "size": 3}],
        }
    },
    "pushed": {"quay.io/me/granite:v1": f"sha256:{'7' * 64}"},
}
"""A lock as the first format had it: such files are in repositories."""


def example() -> Lock:
    files = (File("config.json", 2, git_oid="a" * 40), File("model.safetensors", 5, sha256="b" * 64))
    return Lock(
        Digest.of(b""),
        Pins({}, {"model": Inventory("huggingface", "org/model", files, "main", "c" * 40)}),
        {"model": {"hf": "org/model"}},
    )


def test_each_file_is_one_line() -> None:
    """A change of one file must be a change of one line in a review."""
    lines = locks.text(example()).splitlines()
    assert sum("safetensors" in line for line in lines) == 1
    assert any(line.strip().startswith('{"git_oid"') and line.rstrip(",").endswith("}") for line in lines)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "format version"),
        ('{"version": 99}', "version 99; this modelpack reads up to"),
        ('{"version": 0}', "there never was"),
        ('{"version": 1}', "is missing"),
        ("[" * 100_000, "nested without end"),
        (
            json.dumps({**V1, "asked": {"model": 1}, "pins": {"images": {}, "sources": {}}}),
            "pin of 'model' is missing",
        ),
        ("<<<<<<< HEAD\n{}\n=======\n", "merge conflict"),
        (
            '{"version": 1, "recipe": "sha256:no", "pins": {"images": {}, "sources": {}}, "asked": {}, "images": {}, "pushed": {}}',
            "damaged",
        ),
    ],
)
def test_a_damaged_lock_is_explained(tmp_path: Path, text: str, what: str) -> None:
    """A damaged lock must never be taken for an empty one, which would move every pin."""
    path = tmp_path / "recipe.lock"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=what) as raised:
        locks.read(path)
    assert raised.value.hint


def test_the_first_format_is_read_for_ever() -> None:
    """Whoever has locks of the first format must not have to make them anew; written again they are of the current one."""
    lock = locks.parse(json.dumps(V1))
    assert lock.recipe == V1["recipe"] and lock.pushed == V1["pushed"]
    assert lock.template is None and lock.packing == "1"
    assert lock.pins.images["base"].platforms == {Platform("linux", "amd64"): f"sha256:{'3' * 64}"}
    again = json.loads(locks.text(lock))
    assert again["version"] == 2
    assert locks.parse(locks.text(lock)) == lock


def test_every_old_format_has_a_migration() -> None:
    """A new format without a way from the old one would lock everybody out."""
    assert sorted(MIGRATIONS) == list(range(1, VERSION))


@given(anything)
def test_every_lock_is_of_the_published_form(lock: Lock) -> None:
    """Editors and other tools that trust the schema must not be told that a good lock is wrong."""
    Draft202012Validator(PUBLISHED).validate(json.loads(locks.text(lock)))


def test_the_published_schema_is_the_one_that_is_read_by() -> None:
    """The file that others download must be what this version reads: 'modelpack schema --lock' makes it."""
    Draft202012Validator.check_schema(PUBLISHED)
    assert schema() == PUBLISHED


def edited(change: Callable[[dict[str, Any]], None]) -> str:
    content = json.loads(locks.text(locks.parse(json.dumps(V1))))
    change(content)
    return locks._pretty(content) + "\n"


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("pushed", lambda lock: lock["pushed"].update({"quay.io/me/granite:v1": f"sha256:{'a' * 64}"})),
        ("pushed", lambda lock: lock["pushed"].clear()),
        ("images", lambda lock: lock["images"]["linux/amd64"].update(plan=f"sha256:{'a' * 64}")),
        ("pins", lambda lock: lock["pins"]["sources"]["model"].update(commit="b" * 40)),
        ("pins", lambda lock: lock["pins"]["images"]["base"]["platforms"].clear()),
        ("asked", lambda lock: lock["asked"].update(model={"hf": "org/other"})),
    ],
)
def test_an_edit_by_hand_is_noticed(section: str, change: Callable[[dict[str, Any]], None]) -> None:
    """What is pushed under a trusted name is decided here: an edit, or a merge of two locks, must not decide it silently."""
    text = edited(change)
    with pytest.raises(InvalidInput, match="cannot be trusted") as raised:
        locks.parse(text, "recipe.lock")
    (problem,) = raised.value.problems
    line = next(number for number, one in enumerate(text.splitlines(), 1) if one.startswith(f'  "{section}"'))
    assert problem.where == f"recipe.lock:{line}: {section}"


def test_a_bot_may_move_the_base() -> None:
    """Renovate proposes a new base by editing one digest on one line: then the base is asked for anew, and nothing else."""
    digest = f"sha256:{'e' * 64}"
    text = edited(lambda lock: lock["pins"]["images"]["base"].update(reference=f"quay.io/a/b:c@{digest}"))
    pin = locks.parse(text).pins.images["base"]
    assert pin.reference.digest == digest
    assert pin.platforms == {}, "the platforms belong to the other digest"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (
            lambda lock: lock["pins"]["sources"]["model"]["files"][0].update(size="2"),
            "pins.sources.model.files[0].size",
        ),
        (lambda lock: lock["pins"]["sources"]["model"]["files"][0].update(sha="2"), "pins.sources.model.files[0].sha"),
        (lambda lock: lock["images"]["linux/amd64"].pop("plan"), 'images["linux/amd64"].plan'),
        (lambda lock: lock.update(more=1), "more"),
    ],
)
def test_damage_is_told_with_its_line_and_key(change: Callable[[dict[str, Any]], None], where: str) -> None:
    """Whoever has to mend a lock must be led to the line."""
    text = edited(change)
    with pytest.raises(InvalidInput, match="is damaged") as raised:
        locks.parse(text, "recipe.lock")
    (problem,) = raised.value.problems
    name, line, key = problem.where.split(":", 2)
    assert (name, key.strip()) == ("recipe.lock", where)
    lines = text.splitlines()
    assert where.rpartition(".")[2].strip('"]') in lines[int(line) - 1] or "pop" not in where


def test_a_key_that_stands_twice_is_a_bad_merge() -> None:
    """Keeping both sides of a conflict leaves a key twice, of which JSON readers silently take the last."""
    with pytest.raises(InvalidInput, match="'pushed' stands twice") as raised:
        locks.parse('{"version": 2, "pushed": {}, "pushed": {}}', "recipe.lock")
    assert "git checkout" in raised.value.hint
