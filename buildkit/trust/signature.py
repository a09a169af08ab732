"""Signatures of an image by cosign: made with a key, a key of a KMS, or an identity; and verified."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from buildkit.errors import EngineFailed, InvalidInput
from buildkit.oci.parsing import parse
from buildkit.oci.reference import Reference
from buildkit.settings import Settings
from buildkit.settings_file import AttestEntry, is_key_file
from buildkit.trust.programs import ask, failed, installed, logged_in

COSIGN = "cosign"
_HINT = "install cosign (docs.sigstore.dev, 'Installing Cosign')"


@dataclass(frozen=True)
class Signer:
    """Who signs or has signed: ``key`` is a file or a KMS address such as ``awskms://...``; without one it is an identity.

    ``identity`` and ``issuer`` are those of a keyless signature's certificate. ``transparency`` says whether the public
    log of signatures is used. ``plain_http`` says that the registry has no TLS.
    """

    key: str = ""
    identity: str = ""
    issuer: str = ""
    transparency: bool = True
    plain_http: bool = False


def signer_of(settings: Settings, key: str = "", *, transparency: bool = True) -> Signer:
    """Who signs as the settings say: with their key where no other is named, and in the public log unless they forbid it."""
    said = settings.attest or AttestEntry()
    return Signer(key or said.key, transparency=transparency and said.transparency_log)


def check_signer(signer: Signer) -> None:
    """Raises InvalidInput where the key's file is not there, and EngineFailed where there is no cosign: both before the work."""
    if is_key_file(signer.key) and not Path(signer.key).is_file():
        hint = "a key's file is looked for in the folder of modelpack.yaml, or where --key says; 'cosign generate-key-pair' makes one"
        raise InvalidInput(f"there is no key {signer.key} to sign with", hint=hint)
    if not installed(COSIGN):
        raise EngineFailed("cosign is not installed", hint=_HINT)


def sign(image: Reference, signer: Signer) -> None:
    """Signs an image by its digest; raises EngineFailed with what cosign said."""
    options = [*_common(signer), "--yes", *_key(signer), f"--tlog-upload={_word(signer.transparency)}"]
    _run(["sign", *options], image, "sign the image")


def attest(image: Reference, signer: Signer, predicate: bytes, type: str) -> None:
    """Has cosign sign a statement about an image and keep it beside it; ``type`` is one of cosign's own words for predicates."""
    with TemporaryDirectory(prefix="modelpack-predicate-") as folder:
        path = Path(folder) / "predicate.json"
        path.write_bytes(predicate)
        options = [*_common(signer), "--yes", *_key(signer), f"--tlog-upload={_word(signer.transparency)}", "--replace"]
        _run(["attest", *options, f"--type={type}", f"--predicate={path}"], image, f"attest {type}")


def verify(image: Reference, signer: Signer) -> list[dict[str, Any]]:
    """The signatures of an image that hold, as cosign tells them; raises EngineFailed where none does."""
    if not signer.key and not (signer.identity and signer.issuer):
        raise InvalidInput(
            "whose signature is to be verified is not said", hint="--key FILE, or --identity NAME with --issuer URL"
        )
    options = [*_common(signer), *_key(signer), "--output=json"]
    if not signer.key:
        options += [f"--certificate-identity={signer.identity}", f"--certificate-oidc-issuer={signer.issuer}"]
    if not signer.transparency:
        options.append("--insecure-ignore-tlog=true")
    told = _run(["verify", *options], image, "verify a signature")
    return list(_payloads(told))


def _run(command: Sequence[str], image: Reference, doing: str) -> str:
    if image.digest is None:
        raise InvalidInput(f"{image} has no digest", hint="a signature is made for a digest: write NAME@sha256:...")
    if not installed(COSIGN):
        raise EngineFailed("cosign is not installed", hint=_HINT)
    with logged_in(image.host, image.repository) as environment:
        said = ask([COSIGN, *command, f"{image.name}@{image.digest}"], environment)
    if said.code:
        raise failed(COSIGN, said, doing)
    return said.out


def _common(signer: Signer) -> list[str]:
    return ["--allow-http-registry=true", "--allow-insecure-registry=true"] if signer.plain_http else []


def _key(signer: Signer) -> list[str]:
    return [f"--key={signer.key}"] if signer.key else []


def _word(value: bool) -> str:
    return "true" if value else "false"


def _payloads(text: str) -> Iterator[dict[str, Any]]:
    """cosign prints a list of payloads, one line for each image."""
    for line in text.splitlines():
        try:
            content = parse(line)
        except ValueError:
            continue
        yield from (one for one in (content if isinstance(content, list) else [content]) if isinstance(one, dict))
