"""Who signs, and where that is noted, as a stand-in for cosign is asked: if these fail, images go unsigned, or names public."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from buildkit import flow
from buildkit.errors import EngineFailed, InvalidInput
from tests.cli.test_cli import modelpack
from tests.place import FILES, Place, uploads


@pytest.fixture
def cosign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which a stand-in for cosign keeps the options of every call."""
    asked = tmp_path / "asked"
    asked.touch()
    program = tmp_path / "programs" / "cosign"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport sys\nopen({str(asked)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return asked


def settle(place: Place, **attest: object) -> Path:
    """Writes what is wanted of attestations, and the recipe into a folder below the settings; returns the settings' folder."""
    place.hub.add("org/granite", FILES, card={"license": "apache-2.0"})
    settings = json.loads((place.folder / "modelpack.yaml").read_text()) | {"attest": attest}
    (place.folder / "modelpack.yaml").write_text(json.dumps(settings))
    (place.folder / "granite").mkdir()
    above, place.folder = place.folder, place.folder / "granite"
    return above


def test_a_key_is_found_from_the_settings_that_name_it(place: Place, cosign: Path) -> None:
    """A fleet is rebuilt from the repository's root or from a folder in it, and is signed only from one of them."""
    folder = settle(place, sign=True, key="keys/cosign.key", transparency_log=False)
    (folder / "keys").mkdir()
    (folder / "keys" / "cosign.key").write_text("a key")
    place.build()
    calls = cosign.read_text().splitlines()
    assert len(calls) == 3
    assert all(f"--key={folder}/keys/cosign.key" in call and "--tlog-upload=false" in call for call in calls)


@pytest.mark.parametrize("key", ["awskms:///alias/ours", "k8s://here/cosign", "pkcs11:token=ours", ""])
def test_a_key_elsewhere_is_no_file(place: Place, cosign: Path, key: str) -> None:
    """A key in a KMS is looked for in a folder, and nothing can be signed."""
    settle(place, sign=True, key=key)
    place.build()
    assert [f"--key={key} " in call for call in cosign.read_text().splitlines()] == [bool(key)] * 3


def test_a_key_that_is_not_there_is_told_before_the_build(place: Place, cosign: Path) -> None:
    """Tags move to an image that is never signed, and a cluster that wants signatures refuses it."""
    folder = settle(place, sign=True, key="cosign.key")
    with pytest.raises(InvalidInput, match="there is no key") as refused:
        place.build()
    assert str(folder / "cosign.key") in str(refused.value)
    assert not place.registry.tags.get("models/granite") and uploads(place.registry) == 0
    place.build(push=False)
    with pytest.raises(InvalidInput, match="there is no key"):
        flow.push(place.recipe(), place.world(), f"{place.registry.address}/models")
    assert uploads(place.registry) == 0


def test_a_cosign_that_is_not_there_is_told_before_the_build(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without cosign moves tags to an image that it cannot sign."""
    settle(place, sign=True)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EngineFailed, match="cosign is not installed"):
        place.build()
    assert not place.registry.tags.get("models/granite")


def test_signing_by_hand_heeds_the_settings(place: Place, cosign: Path) -> None:
    """Names of private images go to the public log, which the settings forbid, signed by a person and not by the key."""
    folder = settle(place, key="cosign.key", transparency_log=False)
    (folder / "cosign.key").write_text("a key")
    place.build()
    recipe = str(place.recipe().path)
    assert modelpack("attest", recipe, "--sign").returncode == 0
    calls = cosign.read_text().splitlines()
    assert all(f"--key={folder}/cosign.key" in call and "--tlog-upload=false" in call for call in calls)
    cosign.write_text("")
    done = modelpack("attest", recipe, "--sign", "--key", "awskms:///alias/mine")
    assert done.returncode == 0, done.stderr
    assert all("--key=awskms:///alias/mine" in call for call in cosign.read_text().splitlines())


def test_a_signature_has_no_digest(place: Place, cosign: Path) -> None:
    """Whoever reads what was attached takes the word None, or null, for the digest of a signature."""
    settle(place)
    place.build()
    recipe = str(place.recipe().path)
    said = modelpack("attest", recipe, "--sign").stdout.splitlines()
    digest = place.registry.tags["models/granite"]["v1"]
    assert said[-1] == f"{place.registry.address}/models/granite@{digest} signature"
    assert all(line.count("@sha256:") == 1 and len(line.split()) == 3 for line in said[:-1])
    shown = json.loads(modelpack("attest", recipe, "--sign", "--json").stdout)
    assert [sorted(one) for one in shown] == [["digest", "image", "type"]] * 2 + [["image", "type"]]
