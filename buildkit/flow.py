"""The stages in their order. Read this first.

    recipe.yaml -> Recipe -> Pins -> Plan -> Image -> delivered -> recipe.lock

A recipe is read; what it names is pinned; everything is planned; an engine makes the image a value; the image goes where it
was asked to go; and what happened is locked. Each stage takes what the one before returned and changes nothing in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from buildkit.adapting import form_for, planned
from buildkit.attaching import attach, ready_signer
from buildkit.build import Context, Engine
from buildkit.delivery import first_reading
from buildkit.delivery.deliver import Going, deliver
from buildkit.delivery.destination import Wish
from buildkit.delivery.first_reading import FirstReading
from buildkit.delivery.output import Output
from buildkit.delivery.push import Delivered, Recorder
from buildkit.engines import choose, engine_named
from buildkit.engines.prepared import lay_out, write_archive
from buildkit.errors import InvalidInput, Problem
from buildkit.events import Warned
from buildkit.judging.recipes import before_build
from buildkit.kinds import Judge, template_of
from buildkit.lockfile import lock as locks
from buildkit.lockfile import staged as staging
from buildkit.lockfile.lock import Lock
from buildkit.lockfile.record import Approve, Approved, Record, recall, refuse_another_image
from buildkit.machine import atomic
from buildkit.oci.form import Form
from buildkit.oci.image import Image
from buildkit.pin import Pins, Source, proven
from buildkit.plan import Plan
from buildkit.policy import Policy, asked, pin, read
from buildkit.recipe import Recipe
from buildkit.spec import FolderRef, ProjectRef
from buildkit.splitting import split, split_anew
from buildkit.tags import expand, fixed
from buildkit.trust import licenses
from buildkit.world import World


@dataclass(frozen=True)
class Wanted:
    """What a build is asked for: the engine, what may move, and where the image goes (nowhere: only into the lock).

    ``also`` are more registries that get the same image; ``form`` is that of the manifests, by default what each registry
    prefers. ``check`` says whether the rules of its targets are asked first.
    ``builder`` is the buildx builder that builds, where buildx does; "" is the one that the docker command is set to.
    """

    engine: str = "auto"
    policy: Policy = Policy.KEEP
    registry: str | None = None
    output: Output | None = None
    also: tuple[str, ...] = ()
    form: Form | None = None
    check: bool = True
    builder: str = ""

    @property
    def registries(self) -> tuple[str, ...]:
        """Every registry that gets the image."""
        return (self.registry, *self.also) if self.registry is not None else self.also


def going(recipe: Recipe, pins: Pins, wanted: Wanted) -> Going:
    """Where a recipe's image goes, its tags written out; raises InvalidInput where one means nothing."""
    spec = recipe.spec
    wish = Wish(spec.name, expand(spec.tags, spec.labels, pins), wanted.form or form_for(recipe), spec.immutable)
    return Going(wish, wanted.registries, wanted.output)


def lock(recipe: Recipe, world: World, policy: Policy) -> Lock:
    """Pins what the recipe names and writes it down."""
    previous = locks.read(recipe.lock_path)
    pins = pin(recipe, previous, world, policy, builders=False)
    _judge(recipe, pins, world)
    return _written(recipe, previous, pins, world)


def render(recipe: Recipe, world: World) -> Plan:
    """Pins everything that a Containerfile build needs, and plans: the plan holds the Containerfile."""
    return _rendered(recipe, world)[0]


def render_into(recipe: Recipe, world: World, folder: Path) -> Path:
    """Writes the Containerfile into a folder, with the archive that it adds where it adds one; returns its path."""
    plan, pins = _rendered(recipe, world)
    folder.mkdir(parents=True, exist_ok=True)
    context = _context(recipe, pins, world, keep=True)
    for name, layers in plan.archives.items():
        write_archive(layers, context, folder / name)
    if plan.copied:
        lay_out(plan.copied, context, folder)
    path = folder / "Containerfile"
    atomic.write(path, plan.containerfile.encode())
    return path


@dataclass(frozen=True)
class Made:
    """An image that an engine made from what is in ``context``, before it goes anywhere, with the lock that it will have."""

    plan: Plan
    engine: Engine
    images: tuple[Image, ...]
    drafted: Lock
    context: Context


def make(recipe: Recipe, world: World, wanted: Wanted) -> Made:
    """Pins, plans, and has an engine make the image; the layers that the lock knows have their digests.

    Where the world only lists large files, those stay unread that are best read on their way.
    """
    previous = locks.read(recipe.lock_path)
    builders = wanted.engine not in ("auto", "embedded") or bool(wanted.builder)
    pins = pin(recipe, previous, world, wanted.policy, builders=builders)
    if not pins.are_read and not _are_read_on_the_way(recipe, pins, previous, world, wanted):
        pins = read(recipe, pins, world)
    licenses.check(recipe, pins, world)
    _judge(recipe, pins, world)
    fitting = split(recipe, pins, wanted.registries, wanted.form, world)
    if fitting != pins and wanted.policy is Policy.LOCKED and previous and previous.images:
        raise split_anew(recipe, pins, fitting)
    pins = fitting
    plan = planned(recipe, pins)
    _warn(plan, world)
    before_build(recipe, pins, plan, world, wanted.registry, skip=not wanted.check)
    engine = choose(wanted.engine, plan, wanted.builder)
    context = _context(recipe, pins, world, keep=not wanted.registries)
    known = previous.layers if previous else {}
    homes = previous.homes if previous else ()
    images = tuple(
        engine.build(plan, platform, context).knowing(known).beside(lambda digest: homes) for platform in plan.platforms
    )
    if previous and wanted.policy is Policy.LOCKED:
        refuse_another_image(images, previous, plan, engine, str(recipe.lock_path))
    return Made(plan, engine, images, _draft(recipe, previous, pins), context)


def _may_list(wanted: Wanted) -> bool:
    own = wanted.engine in ("auto", "embedded") and not wanted.builder
    return own and wanted.policy is not Policy.LOCKED


def _are_read_on_the_way(recipe: Recipe, pins: Pins, previous: Lock | None, world: World, wanted: Wanted) -> bool:
    if not first_reading.is_possible(planned(recipe, pins)):
        return False
    targets = [world.settings.registry(one) for one in wanted.registries]
    tags = expand(recipe.spec.tags, recipe.spec.labels, pins)
    return first_reading.saves_nothing(recipe, pins, previous, targets, tags, world)


def build(recipe: Recipe, world: World, wanted: Wanted, approve: Approve | None = None) -> Delivered:
    """Builds the image and brings it where it is wanted; the lock is moved into place last.

    ``approve`` is shown what every name will be on when all but the tags is in place; what it raises leaves the tags alone.
    """
    _refuse_output_in_model(recipe, wanted.output)
    _refuse_wrong_registries(recipe, world, wanted.registries)
    signer = ready_signer(world) if wanted.registries else None
    made = make(recipe, replace(world, lists=_may_list(wanted)), wanted)
    pins = made.drafted.pins
    with Record(recipe, made.drafted, made.plan, made.engine) as record:
        recorder: Recorder = Approved(record, approve) if approve else record
        if not pins.are_read:
            again = partial(planned, recipe)
            recorder = FirstReading(recorder, record.settle, pins, made.plan, again, made.engine, made.context)
        delivered = deliver(made.images, going(recipe, pins, wanted), world, recorder)
        if wanted.registries:
            attach(recipe, world, delivered, record.staged, signer)
        record.commit(world.done)
    return delivered


def push(recipe: Recipe, world: World, *registries: str, form: Form | None = None) -> Delivered:
    """Pushes what the lock says was built, and builds nothing."""
    previous = locks.read(recipe.lock_path)
    if previous is None or not previous.images:
        raise InvalidInput(f"{recipe.spec.name} is not built yet", hint=f"run: modelpack build {recipe.typed}")
    if previous.asked != asked(recipe):
        raise InvalidInput(
            f"{recipe.spec.name} changed since it was built", hint=f"run: modelpack build {recipe.typed}"
        )
    signer = ready_signer(world)
    plan = planned(recipe, previous.pins)
    engine = engine_named(next(iter(previous.images.values())).engine)
    context = _context(recipe, previous.pins, world, keep=True)
    recalled = [recall(plan, platform, previous, engine, context) for platform in plan.platforms]
    images = [image.beside(lambda digest: previous.homes) for image in recalled]
    with Record(recipe, previous, plan, engine) as record:
        wanted = Wanted(also=registries, form=form)
        delivered = deliver(images, going(recipe, previous.pins, wanted), world, record)
        attach(recipe, world, delivered, record.staged, signer)
        record.commit(world.done)
    return delivered


def _rendered(recipe: Recipe, world: World) -> tuple[Plan, Pins]:
    """A plan whose Containerfile was rendered without a problem; only then the pins are written down."""
    previous = locks.read(recipe.lock_path)
    pins = pin(recipe, previous, world, Policy.KEEP, builders=True)
    _judge(recipe, pins, world)
    plan = planned(recipe, pins)
    if not plan.containerfile:
        problems = [Problem("", reason) for reason in dict.fromkeys(plan.blocked.values())]
        raise InvalidInput(f"{plan.name} cannot be built from a Containerfile", problems, hint="use --engine embedded")
    _warn(plan, world)
    _written(recipe, previous, pins, world)
    return plan, pins


def _warn(plan: Plan, world: World) -> None:
    for problem in plan.warnings:
        world.emit(Warned(f"{plan.name}: {problem}", problem.hint))


def _judge(recipe: Recipe, pins: Pins, world: World) -> None:
    """Lets a kind that wants it look into what was pinned."""
    if isinstance(recipe.kind, Judge):
        sources = _sources(recipe, pins, world, keep=False)
        recipe.kind.judge(recipe.spec, pins, lambda key, file: b"".join(proven(sources[key], file)))


def _refuse_wrong_registries(recipe: Recipe, world: World, registries: Sequence[str]) -> None:
    """A slip in a registry's name is told before a model is hashed for an hour."""
    for registry in registries:
        world.check_login(world.settings.registry(registry).repository(recipe.spec.name))


def _refuse_output_in_model(recipe: Recipe, output: Output | None) -> None:
    """An image that is written into its own model would be a part of the next one."""
    for _, reference in recipe.spec.sources():
        # An OCI layout in a project's folder is known for what it is, and left out of the next image.
        known = isinstance(reference, ProjectRef) and output is not None and output.form == "oci"
        if output and isinstance(reference, FolderRef) and not known:
            model = (recipe.folder / reference.path).resolve()
            if output.path.is_relative_to(model):
                raise InvalidInput(
                    f"{output.path} lies in the model's folder {model}", hint="write the image somewhere else"
                )


def _draft(recipe: Recipe, previous: Lock | None, pins: Pins) -> Lock:
    kept = previous or Lock(recipe.digest, pins)
    return Lock(recipe.digest, pins, asked(recipe), kept.images, kept.pushed, template_of(recipe.kind))


def _written(recipe: Recipe, previous: Lock | None, pins: Pins, world: World) -> Lock:
    lock = _draft(recipe, previous, pins)
    staging.write(recipe.lock_path, lock, world.done)
    return lock


def _context(recipe: Recipe, pins: Pins, world: World, *, keep: bool) -> Context:
    sources = _sources(recipe, pins, world, keep=keep)
    bases = {image.reference: world.base(image.reference) for image in pins.images.values()}
    tags = fixed(expand(recipe.spec.tags, recipe.spec.labels, pins)) or ("latest",)
    return Context(recipe.folder, recipe.path, world.settings, sources, bases, tags, world.emit)


def _sources(recipe: Recipe, pins: Pins, world: World, *, keep: bool) -> dict[str, Source]:
    return {
        key: world.source(reference, recipe.folder, keep=keep, pinned=pins.sources.get(key))
        for key, reference in recipe.spec.sources()
    }
