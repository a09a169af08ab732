"""Attaching everything that is known of a pushed image, in every repository that holds it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from buildkit.errors import ModelpackError
from buildkit.events import Said, Warned
from buildkit.lockfile.lock import Lock
from buildkit.oci.manifest import canonical
from buildkit.oci.reference import Digest, Reference
from buildkit.recipe import Recipe
from buildkit.trust import licenses
from buildkit.trust.provenance import provenance
from buildkit.trust.referrers import Artifact, attach
from buildkit.trust.sbom import bill
from buildkit.trust.signature import Signer, check_signer, sign
from buildkit.trust.signature import attest as signed
from buildkit.trust.subject import Subject, places, subject_of
from buildkit.world import World


@dataclass(frozen=True)
class Attached:
    """An artifact beside an image: the image by digest, what sort it is, and its own digest where that is known.

    cosign keeps signatures, and does not tell their digests.
    """

    image: str
    type: str
    digest: Digest | None = None

    def document(self) -> dict[str, str]:
        """The same as a JSON document."""
        said = {"image": self.image, "type": self.type}
        return {**said, "digest": self.digest} if self.digest else said

    def __str__(self) -> str:
        return " ".join(self.document().values())


def attest(recipe: Recipe, world: World, signer: Signer | None = None, lock: Lock | None = None) -> list[Attached]:
    """Attaches the bill of materials and the provenance, and signs where asked; raises what each of them raises.

    ``lock`` is the recipe's, where it is not in its place yet. A registry that takes Docker's manifests alone can hold
    nothing beside an image: that is a warning.
    """
    if signer:
        check_signer(signer)
    subject = subject_of(recipe, world, lock)
    _tell(subject, world)
    return [one for form in subject.forms for one in _attached(form, world, signer)]


def attest_pushed(recipe: Recipe, world: World, signer: Signer | None, lock: Lock) -> None:
    """The same for an image that was just pushed: what fails says that it is in its place."""
    try:
        attest(recipe, world, signer, lock)
    except ModelpackError as failure:
        names = ", ".join(f"{name}@{digest}" for name, digest in lock.pushed.items())
        what = f"{names} was pushed, but what is known of it could not be attached: {failure.what}"
        raise type(failure)(what, failure.problems, failure.hint or "run the same command again") from None


def _attached(subject: Subject, world: World, signer: Signer | None) -> Iterator[Attached]:
    artifacts = (bill(subject), provenance(subject))
    for store, descriptor in places(subject, world):
        profile = world.profile(store.reference.host)
        if "oci" not in profile.forms:
            what = f"nothing can be attached in {store.reference.name}: {profile.name} takes no OCI manifests"
            world.emit(Warned(what, "push to another registry as well, and look for the bill of materials there"))
            continue
        image = Reference(store.reference.host, store.reference.repository, digest=descriptor.digest)
        for artifact in artifacts:
            yield Attached(str(image), artifact.type, attach(store, descriptor, artifact))
        if signer:
            _sign(image, replace(signer, plain_http=world.settings.plain_http(image.host)), *artifacts)
            yield Attached(str(image), "signature")


def _sign(image: Reference, signer: Signer, bill: Artifact, provenance: Artifact) -> None:
    """Signs the image, and what is said of it as statements that ``cosign verify-attestation`` reads."""
    sign(image, signer)
    signed(image, signer, bill.content, "cyclonedx")
    predicate = json.loads(provenance.content)["predicate"]
    signed(image, signer, canonical(predicate), "slsaprovenance1")


def _tell(subject: Subject, world: World) -> None:
    for key, card in subject.cards.items():
        told = ", ".join(licenses.facts(card).values()) or "no license on its card"
        world.emit(Said(f"{subject.name}: {subject.lock.pins.sources[key].name}: {told}"))
