"""The commands about trust: what is in an image, who made it from what, whether it is safe."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buildkit.cli import completion
from buildkit.cli.app import app
from buildkit.cli.each_recipe import each
from buildkit.cli.options import Json, OneRecipe, Quiet, Recipes
from buildkit.cli.plain_help import TRUST
from buildkit.cli.session import Session, session
from buildkit.cli.terminal import print_path

if TYPE_CHECKING:
    from buildkit.oci.reference import Reference
    from buildkit.recipe import Recipe
    from buildkit.trust.attestation import Attached
    from buildkit.trust.scan import Scanned
    from buildkit.world import World

Image = Annotated[
    str,
    typer.Argument(
        help="A recipe that was pushed, or a reference; by default the recipe here.",
        metavar="RECIPE|REF",
        default_factory=lambda: ".",
        show_default=False,
    ),
]
Key = Annotated[str, typer.Option("--key", help="A key: a file, or a KMS address such as awskms://...", metavar="KEY")]
NoLog = Annotated[bool, typer.Option("--no-transparency-log", help="Do not use the public log of signatures.")]


@app.command(rich_help_panel=TRUST)
def sbom(
    recipe: OneRecipe,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write it there.", metavar="FILE")] = None,
    quiet: Quiet = False,
) -> None:
    """Print the bill of materials of a pushed image.

    It is CycloneDX, as JSON: the model with its files and license, the base, the Python packages.

    Example: modelpack sbom recipe.yaml -o sbom.cdx.json
    """
    from buildkit.machine.atomic import write
    from buildkit.trust.sbom import bill
    from buildkit.trust.subject import subject_of

    with session(False, quiet) as opened:
        content = bill(subject_of(*opened.recipe(recipe))).content
    if output is None:
        sys.stdout.write(content.decode())
    else:
        write(output, content)
        print_path(output)


@app.command(rich_help_panel=TRUST)
def attest(
    recipes: Recipes,
    sign: Annotated[bool, typer.Option("--sign", help="Sign the image too, with cosign.")] = False,
    key: Key = "",
    no_log: NoLog = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Attach what is known of an image to what was pushed.

    A bill of materials and the provenance; with --sign a signature, too. Without --key that is with the key that
    modelpack.yaml names, else by an identity (keyless).

    Example: modelpack attest recipe.yaml --sign --key cosign.key
    """
    from buildkit.errors import InvalidInput
    from buildkit.trust.attestation import attest as attached
    from buildkit.trust.signature import signer_of

    if (key or no_log) and not sign:
        raise typer.BadParameter("--key and --no-transparency-log go with --sign")
    done: list[Attached] = []

    def attaching(recipe: Recipe, world: World) -> int:
        signer = signer_of(world.settings, key, transparency=not no_log) if sign else None
        done.extend(attached(recipe, world, signer))
        return 0

    with session(as_json, quiet) as opened:
        code = each(recipes, opened, attaching)
        if not done and not code:
            raise InvalidInput("nothing was attached: no registry that holds the image can take it")
    if as_json:
        print(json.dumps([one.document() for one in done], ensure_ascii=False, indent=2))
    else:
        print("".join(f"{one}\n" for one in done), end="")
    if code:
        raise typer.Exit(code)


@app.command("verify-signature", rich_help_panel=TRUST)
def verify_signature(
    image: Image,
    key: Key = "",
    identity: Annotated[str, typer.Option(help="Whose certificate a keyless signature has.", metavar="NAME")] = "",
    issuer: Annotated[str, typer.Option(help="Who vouched for that identity.", metavar="URL")] = "",
    no_log: NoLog = False,
    as_json: Json = False,
) -> None:
    """Verify an image's signature with cosign.

    Exit code 1: none holds.

    Example: modelpack verify-signature recipe.yaml --key cosign.pub
    """
    from buildkit.trust.signature import Signer, verify

    with session(as_json, True) as opened:
        world, references = _images(opened, image)
        found = []
        for one in references:
            signer = Signer(key, identity, issuer, not no_log, world.settings.plain_http(one.host))
            found += [{"image": str(one), "signatures": verify(one, signer)}]
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        print("\n".join(f"{one['image']}: {len(one['signatures'])} valid signatures" for one in found))


@app.command(rich_help_panel=TRUST)
def scan(
    image: Image,
    scanner: Annotated[
        str, typer.Option(help="trivy or grype; by default the one that is installed.", metavar="NAME")
    ] = "",
    fail_on: Annotated[
        str,
        typer.Option(
            help="The mildest severity that is refused.", metavar="SEVERITY", autocompletion=completion.severities
        ),
    ] = "critical",
    as_json: Json = False,
) -> None:
    """Scan an image for known vulnerabilities.

    Exit code 1: one is too severe.

    Example: modelpack scan recipe.yaml --fail-on high
    """
    from buildkit.cli.render import show_error
    from buildkit.errors import ModelpackError
    from buildkit.trust.scan import scan as scanned
    from buildkit.trust.scan import severity_named

    severity = severity_named(fail_on)
    with session(as_json, True) as opened:
        world, references = _images(opened, image)
        results = {one: scanned(one, scanner, world.settings.plain_http(one.host)) for one in references}
    if as_json:
        print(json.dumps([_document(one, result) for one, result in results.items()], ensure_ascii=False, indent=2))
    else:
        for one, result in results.items():
            _show(one, result)
    refused = sum(len(result.at_least(severity)) for result in results.values())
    if refused:
        show_error(ModelpackError(f"{refused} vulnerabilities are {severity} or worse"))
        raise typer.Exit(1)


def _images(opened: Session, image: str) -> tuple[World, list[Reference]]:
    """What a recipe's lock says was pushed, or the reference itself, by digest."""
    from buildkit.oci.reference import Reference
    from buildkit.opening import open_reference
    from buildkit.trust.subject import pushed_of

    if Path(image).exists():
        recipe, world = opened.recipe(Path(image))
        return world, list(pushed_of(recipe, world).references)
    world = opened.world(Path.cwd())
    reference = Reference.parse(image)
    # Who scans it and verifies it goes to the registry itself, and not to a mirror.
    return world, [reference.at(open_reference(reference, world, reference).document().digest)]


def _document(image: Reference, result: Scanned) -> dict[str, object]:
    found = [vars(one) for one in result.found]
    return {"image": str(image), "scanner": result.scanner, "counts": dict(result.counts), "vulnerabilities": found}


def _show(image: Reference, result: Scanned) -> None:
    from buildkit.cli.render import printable

    counts = ", ".join(f"{count} {severity}" for severity, count in result.counts.items()) or "nothing known"
    print(f"{image}: {counts} ({result.scanner})")
    for one in result.found:
        mended = f", mended in {one.fixed}" if one.fixed else ""
        print(printable(f"  {one.severity:<10} {one.id}  {one.package} {one.version}{mended}"))
