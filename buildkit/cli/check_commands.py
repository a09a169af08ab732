"""``modelpack check``, ``targets`` and ``deploy``: what a platform wants of an image, before and after it is built."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from buildkit.cli import completion
from buildkit.cli.app import app
from buildkit.cli.options import Json, OneRecipe
from buildkit.cli.plain_help import PLATFORMS
from buildkit.cli.session import session
from buildkit.cli.terminal import print_path

if TYPE_CHECKING:
    from buildkit.checks.examine import Examined
    from buildkit.checks.rule import Judged
    from buildkit.cli.session import Session
    from buildkit.oci.reference import Platform
    from buildkit.recipe import Recipe
    from buildkit.trust.scan import Scanned
    from buildkit.world import World

Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        "-t",
        help="A platform, with a mode after a colon; by default the recipe's. May be repeated.",
        metavar="T",
        autocompletion=completion.targets,
    ),
]
OptionalRecipe = Annotated[
    Path | None,
    typer.Argument(help="A recipe, or a folder that holds a recipe.yaml; by default here.", metavar="RECIPE"),
]

RegistryName = Annotated[
    str | None,
    typer.Option(
        "--registry",
        help="A registry of modelpack.yaml, or HOST/PREFIX.",
        metavar="R",
        autocompletion=completion.registries,
    ),
]


@app.command(rich_help_panel=PLATFORMS)
def check(
    recipe: OptionalRecipe = None,
    target: Targets = None,
    image: Annotated[
        str | None,
        typer.Option(
            help="Judge this image: a reference, oci:DIR, oci-archive:FILE or docker-archive:FILE.", metavar="IMAGE"
        ),
    ] = None,
    deployment: Annotated[
        Path | None, typer.Option(help="Judge this manifest (YAML or JSON) that deploys it.", metavar="FILE")
    ] = None,
    registry: RegistryName = None,
    known_as: Annotated[
        str | None, typer.Option("--as", help="Where an image on this disk will be pushed to.", metavar="REF")
    ] = None,
    platform: Annotated[
        str | None, typer.Option(help="Of an index, judge the image for this platform.", metavar="OS/ARCH")
    ] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Read compressed layers however large they are.")] = False,
    scan: Annotated[
        bool, typer.Option("--scan", help="Have trivy or grype scan the image of a registry first.")
    ] = False,
    scan_report: Annotated[
        Path | None,
        typer.Option(help="What 'modelpack scan --json', trivy or grype found before, as JSON.", metavar="FILE"),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with exit code 1 on warnings, or where nobody answered, too.")
    ] = False,
    github: Annotated[bool, typer.Option("--github", help="Print annotations for GitHub Actions.")] = False,
    sarif: Annotated[Path | None, typer.Option(help="Also write SARIF 2.1.0.", metavar="FILE")] = None,
    as_json: Json = False,
) -> None:
    """Judge an image by the rules of its platforms.

    A recipe is judged before it is built, and an image as it was pushed.

    Example: modelpack check recipe.yaml

    Example: modelpack check --image quay.io/me/granite:v1 --target kserve
    """
    from buildkit.checks.report import failed
    from buildkit.oci.reference import Platform as Chosen

    if (scan or scan_report) and image is None:
        raise typer.BadParameter("--scan and --scan-report tell of an image: name it with --image")
    chosen = Chosen.parse(platform) if platform else None
    with session(as_json, False) as opened:
        if deployment is not None:
            name, found = _deployment(opened, recipe, deployment, target or [])
        elif image is not None:
            told = partial(_scanned, opened.world(Path.cwd()), scan, scan_report)
            name, found = _image(opened, recipe, image, target or [], known_as, chosen, whole, told)
        else:
            name, found = _recipe(opened, recipe or Path(), target or [], registry)
    file = str(deployment or recipe or image)
    _report(name, found, file, sarif, github=github, as_json=as_json)
    if failed(found, strict=strict):
        raise typer.Exit(1)


def _recipe(opened: Session, path: Path, targets: Sequence[str], registry: str | None) -> tuple[str, Sequence[Judged]]:
    from buildkit.judging.recipes import check_recipe

    recipe, world = opened.recipe(path)
    return recipe.spec.name, check_recipe(recipe, world, targets, registry)


def _image(
    opened: Session,
    path: Path | None,
    image: str,
    targets: Sequence[str],
    known_as: str | None,
    platform: Platform | None,
    whole: bool,
    scanned: Callable[[Examined], Scanned | None],
) -> tuple[str, Sequence[Judged]]:
    from buildkit.amounts import human
    from buildkit.events import Said
    from buildkit.judging.images import check_image

    recipe = opened.recipe(path)[0] if path else None
    world = opened.world(recipe.folder if recipe else Path.cwd())
    found, examined = check_image(
        image, world, targets, recipe=recipe, known_as=known_as, platform=platform, whole=whole, scanned=scanned
    )
    world.emit(Said(f"read {human(examined.read())} of {human(examined.size)}"))
    return image, found


def _scanned(world: World, scan: bool, report: Path | None, examined: Examined) -> Scanned | None:
    """What a scanner found in the image that was looked at: before, or now."""
    from buildkit.errors import InvalidInput
    from buildkit.trust.scan import read
    from buildkit.trust.scan import scan as run

    if report is not None:
        top, inner = examined.pushed.top.digest, examined.pushed.manifest.document.digest
        return read(report, (top, inner) if examined.reference else ())
    if not scan:
        return None
    if examined.reference is None:
        raise InvalidInput(
            "only an image in a registry is scanned", hint="scan it yourself, and give --scan-report FILE"
        )
    where = examined.reference.at(examined.pushed.manifest.document.digest)
    return run(where, plain_http=world.settings.plain_http(where.host))


def _deployment(opened: Session, path: Path | None, file: Path, targets: Sequence[str]) -> tuple[str, Sequence[Judged]]:
    from buildkit.judging.chosen import chosen_targets
    from buildkit.judging.deployments import check_deployment, meant_for
    from buildkit.reading.written import read_each

    recipe: Recipe | None = opened.recipe(path)[0] if path else None
    documents = [one.content for one in read_each(file, empty_hint="name the manifest that deploys it")]
    return str(file), [
        check_deployment(meant_for(target, documents, str(file)), said, recipe)
        for target, said in chosen_targets(recipe, targets)
    ]


def _report(name: str, found: Sequence[Judged], file: str, sarif: Path | None, *, github: bool, as_json: bool) -> None:
    from buildkit.checks import report
    from buildkit.cli.render import printable
    from buildkit.machine.atomic import write

    if sarif is not None:
        text = json.dumps(report.sarif(name, found, file), ensure_ascii=False, indent=2)
        write(sarif, f"{text}\n".encode(errors="backslashreplace"))
    if as_json:
        print(json.dumps(report.document(name, found), ensure_ascii=False, indent=2))
    elif github:
        for line in report.github(found, file):
            print(printable(line))
    else:
        from buildkit.cli.check_tables import show_judged

        show_judged(name, found)


@app.command(rich_help_panel=PLATFORMS)
def targets(
    named: Annotated[
        str | None,
        typer.Argument(
            help="A target, to list its rules; or a rule, to explain it.",
            metavar="TARGET|RULE",
            autocompletion=completion.targets_and_rules,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the platforms and their rules.

    Example: modelpack targets kserve

    Example: modelpack targets KS-05
    """
    from buildkit.cli import check_tables
    from buildkit.targets import TARGETS, rules_named, target_named, targets_of

    if as_json:
        rule = next(iter(rules_named(named or "")), None)
        chosen = targets_of(rule.id) if rule else [target_named(named)] if named else list(TARGETS.values())
        written = [one.document(rule.id if rule else None) for one in chosen]
        print(json.dumps(written, ensure_ascii=False, indent=2))
    elif named is None:
        check_tables.show_targets(list(TARGETS.values()), rules=False)
    elif rules_named(named):
        for found in rules_named(named):
            check_tables.show_rule(found, targets_of(found.id))
    else:
        check_tables.show_targets([target_named(named)], rules=True)


@app.command(rich_help_panel=PLATFORMS)
def deploy(
    recipe: OneRecipe,
    target: Targets = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write.", metavar="DIR")] = Path("deploy"),
    registry: RegistryName = None,
    image: Annotated[
        str | None, typer.Option(help="Deploy this image instead of the pushed one.", metavar="REF")
    ] = None,
    kubernetes_version: Annotated[
        str | None, typer.Option(help="The cluster's Kubernetes, as in 1.33.", metavar="VERSION")
    ] = None,
    kserve_version: Annotated[
        str | None, typer.Option(help="The cluster's KServe, as in 0.20.", metavar="VERSION")
    ] = None,
    terraform: Annotated[bool, typer.Option("--terraform", help="Also write Terraform, where there is any.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but the files.")] = False,
) -> None:
    """Write the manifests that deploy what was pushed.

    They name the image by the digest that is in its lock, and what has to be done next is told.

    Example: modelpack deploy recipe.yaml --target kserve -o deploy
    """
    import sys

    from buildkit.cli.render import printable
    from buildkit.deploying import Wish
    from buildkit.deploying import deploy as write
    from buildkit.deployment import version

    wish = Wish(
        image,
        registry,
        version(kubernetes_version, "Kubernetes") if kubernetes_version else (),
        version(kserve_version, "KServe") if kserve_version else (),
        terraform,
    )
    with session(False, quiet) as opened:
        read, world = opened.recipe(recipe)
        for one in write(read, world, target or [], output, wish):
            for path in one.files:
                print_path(path)
            told = [
                f"{found.severity.value}: {found.rule.id} {found.where} {found.what}"
                + (f" ({found.do})" if found.do else "")
                for found in one.warnings
            ]
            for line in () if quiet else (*told, *(f"next ({one.target}): {note}" for note in one.notes)):
                print(printable(line), file=sys.stderr)
