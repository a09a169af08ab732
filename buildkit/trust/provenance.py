"""Where an image comes from: SLSA provenance 1.0 in an in-toto statement, complete enough to build the same image again.

Sources: slsa.dev/spec/v1.0/provenance; github.com/in-toto/attestation, spec/v1/statement.md.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from buildkit import __version__
from buildkit.lockfile import lock as locks
from buildkit.oci.manifest import canonical
from buildkit.oci.reference import Digest
from buildkit.pin import ImagePin, Inventory
from buildkit.trust.referrers import Artifact
from buildkit.trust.subject import Subject

TYPE = "application/vnd.in-toto+json"
FILE = "provenance.intoto.json"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:modelpack:build:1"


def provenance(subject: Subject) -> Artifact:
    """The provenance of an image, as the artifact that is attached to it: a function of recipe and lock, without a clock."""
    lock = locks.text(replace(subject.lock, pushed={}))
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": subject.digest.hex}} for name in subject.repositories],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"recipe": _recipe(subject)},
                "internalParameters": {"lock": json.loads(lock), "lockDigest": str(Digest.of(lock.encode()))},
                "resolvedDependencies": _dependencies(subject),
            },
            "runDetails": {"builder": {"id": f"urn:modelpack:builder:{_engines(subject)}", "version": _versions()}},
        },
    }
    return Artifact(TYPE, canonical(statement) + b"\n", FILE, {"in-toto.io/predicate-type": PREDICATE})


def _recipe(subject: Subject) -> dict[str, Any]:
    """The recipe as it can be written again: what was left to its default is left to it."""
    return subject.recipe.spec.model_dump(mode="json", exclude_defaults=True) | {"kind": subject.recipe.kind.name}


def _dependencies(subject: Subject) -> list[dict[str, Any]]:
    pins = subject.lock.pins
    images = [_image(key, pin) for key, pin in sorted(pins.images.items())]
    return images + [_source(key, inventory) for key, inventory in sorted(pins.sources.items())]


def _image(key: str, pin: ImagePin) -> dict[str, Any]:
    digest = pin.reference.digest
    return {"name": key, "uri": f"oci://{pin.reference}", "digest": {"sha256": digest.hex if digest else ""}}


def _source(key: str, inventory: Inventory) -> dict[str, Any]:
    if inventory.type == "huggingface":
        uri = f"hf://{inventory.name}@{inventory.commit}"
        return {"name": key, "uri": uri, "digest": {"gitCommit": inventory.commit, "sha256": inventory.fingerprint.hex}}
    return {
        "name": key,
        "uri": f"{inventory.type}:{inventory.name or key}",
        "digest": {"sha256": inventory.fingerprint.hex},
    }


def _engines(subject: Subject) -> str:
    return "+".join(sorted({image.engine for image in subject.lock.images.values()})) or "unknown"


def _versions() -> dict[str, str]:
    return {"modelpack": __version__}
