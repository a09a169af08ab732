"""The Renovate preset: if these fail, bases with known holes stay, or a bot writes locks that modelpack refuses.

Renovate compiles its expressions with RE2: so do these tests, through Google's own binding.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.ground import Fleet
from tests.place import put_base

re2 = pytest.importorskip("re2")
PRESET = Path(__file__).parents[2] / "renovate" / "default.json"
DIGEST = f"sha256:{'a' * 64}"


def managers() -> Iterator[tuple[list[Any], list[Any]]]:
    """Each manager's file patterns and match strings, compiled."""
    for manager in json.loads(PRESET.read_text())["customManagers"]:
        patterns = [re2.compile(pattern[1:-1]) for pattern in manager["managerFilePatterns"]]
        yield patterns, [re2.compile(text) for text in manager["matchStrings"]]


def found(name: str, text: str) -> list[dict[str, str | None]]:
    """What Renovate finds in a file of that name."""
    return [
        match.groupdict()
        for patterns, expressions in managers()
        if any(pattern.search(name) for pattern in patterns)
        for expression in expressions
        for match in expression.finditer(text)
    ]


def test_the_preset_is_of_renovates_own_schema() -> None:
    """A preset with a wrong key is refused as a whole, in every repository that extends it."""
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.renovate", str(PRESET)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("line", "name", "tag", "digest"),
    [
        (
            "base: registry.access.redhat.com/ubi9/ubi-micro:9.6",
            "registry.access.redhat.com/ubi9/ubi-micro",
            "9.6",
            None,
        ),
        (f"base: 'quay.io/a/b:v1@{DIGEST}'  # the shell", "quay.io/a/b", "v1", DIGEST),
        (f"builder: 127.0.0.1:5000/a/python:3.12@{DIGEST}", "127.0.0.1:5000/a/python", "3.12", DIGEST),
        ('{"kind": "modelcar", "base": "quay.io/a/b:v1", "name": "x"}', "quay.io/a/b", "v1", None),
    ],
)
def test_bases_of_recipes_are_found(line: str, name: str, tag: str, digest: str | None) -> None:
    """A base that the bot does not see is never proposed."""
    text = f"kind: modelcar\n{line}\n"
    assert found("models/a/recipe.yaml", text) == [{"depName": name, "currentValue": tag, "currentDigest": digest}]
    assert found("models/a/values.yaml", text) == []


def test_what_is_no_base_is_left_alone() -> None:
    """A scratch base, a model's name and other programs' locks are no images."""
    assert found("recipe.yaml", "base: scratch\nmodel: hf://org/model\ntags: [v1]\n") == []
    assert found("Cargo.lock", 'source = "registry+https://example.org"\n') == []


def test_a_bump_of_the_bot_is_taken_by_the_next_rebuild(built: Fleet) -> None:
    """The whole way: the bot edits one line of each lock, the lock is read, status says why, and a rebuild takes it."""
    digest = put_base(built.first, "base-one", b"base one without the hole")
    for name in built.names:
        path = built.folder / name / "recipe.lock"
        text = path.read_text()
        for one in found(str(path), text):
            if one["depName"] == f"{built.first.address}/base-one":
                assert one["currentValue"] == "latest" and one["currentDigest"]
                path.write_text(re.sub(rf'("reference": "[^"]*){one["currentDigest"]}', rf"\g<1>{digest}", text))
    states = built.status()
    bumped = {name for name in built.names if "base" in states[name]["reasons"]}
    assert bumped == {name for number, name in enumerate(built.names) if number % 3}
    assert built.run("lock", "--check", ".").returncode == 3
    done = built.run("rebuild", "--jobs", "4")
    assert done.returncode == 0, done.stderr
    assert built.run("status").returncode == 0
    assert built.lock("model-01")["pins"]["images"]["base"]["reference"].endswith(digest)
