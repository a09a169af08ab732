"""The stages of a Containerfile: which images they take from outside, for what platform, and which one is the result's base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from buildkit.containerfiles.image_places import Named, places
from buildkit.containerfiles.instructions import Trouble, Written
from buildkit.containerfiles.shell_words import Unreadable, expanded, raw_words
from buildkit.errors import InvalidInput
from buildkit.oci.reference import Platform, Reference
from buildkit.reading.plain import shown

BUILDER = "\0builder"
"""Stands for what only the machine that builds knows: its own platform."""
_NONE: frozenset[Platform] = frozenset()


@dataclass(frozen=True)
class Use:
    """An image from outside: where it is named, what it is, and the platforms that it must exist for (none: the builder's)."""

    place: Named
    reference: Reference
    platforms: frozenset[Platform]


@dataclass(frozen=True)
class Stages:
    """What a Containerfile takes from outside up to its target, the base of that, and where in the file the target ends."""

    uses: tuple[Use, ...]
    base: Reference | None
    end: int

    @property
    def images(self) -> dict[str, Reference]:
        """Every image by its key: ``base``, and the others by their own names."""
        found = {"base": self.base} if self.base else {}
        return found | {str(use.reference): use.reference for use in self.uses if use.reference != self.base}

    def platforms(self, key: str) -> frozenset[Platform]:
        """What the image of a key must exist for."""
        return _NONE.union(*(use.platforms for use in self.uses if use.reference == self.images[key]))


def resolve(
    written: Written,
    platforms: Sequence[Platform],
    build_args: Mapping[str, str],
    target: str,
    troubles: list[Trouble],
) -> Stages:
    """Finds what the stages take from outside. What is wrong is added to ``troubles``.

    One Containerfile is built for all platforms: one that names other images for another platform is refused.
    """
    named = list(places(written, troubles))
    found = [_Walk(written, named, platform, build_args, target) for platform in platforms]
    for walk in found:
        walk.go()
    first = found[0]
    troubles += dict.fromkeys(trouble for walk in found for trouble in walk.troubles)
    for walk in found[1:]:
        other = next((pair for pair in zip(first.uses, walk.uses, strict=False) if pair[0][1] != pair[1][1]), None)
        if other or (len(walk.uses), walk.base) != (len(first.uses), first.base):
            line = other[0][0].line if other else 1
            what = f"names other images for {walk.platform} than for {first.platform}"
            troubles.append(Trouble(line, what, "write a recipe for each platform"))
    uses = [
        Use(place, reference, _NONE.union(*(walk.needs.get(place, _NONE) for walk in found)))
        for place, reference in first.uses
    ]
    return Stages(tuple(uses), first.base, first.end)


@dataclass
class _Walk:
    """One reading of the stages, for one platform."""

    written: Written
    named: Sequence[Named]
    platform: Platform
    build_args: Mapping[str, str]
    target: str
    uses: list[tuple[Named, Reference]] = field(default_factory=list)
    needs: dict[Named, frozenset[Platform]] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    base: Reference | None = None
    end: int = -1
    _names: list[str] = field(default_factory=list)
    _bases: list[Reference | None] = field(default_factory=list)
    _roots: list[Named] = field(default_factory=list)

    def go(self) -> None:
        """Walks from the top to the end of the target."""
        self.end = len(self.written.text)
        lines = [one.line for one in self.named if one.word == "FROM"]
        if not lines:
            self._say(1, "has no FROM, so there is nothing to build on")
            return
        variables = self._global(min(lines))
        done = False
        for one in self.named:
            if one.word == "FROM":
                if done:
                    self.end = self._line_start(one.line)
                    break
                self._stage(one, variables)
                done = bool(self.target) and self.target.lower() in (one.stage, str(len(self._names) - 1))
            elif not self._names:
                self._say(one.line, "stands before the first FROM")
            else:
                self._copied(one)
        if self.target and not done:
            known = ", ".join(filter(None, self._names)) or "none has a name"
            self._say(lines[-1], f"there is no stage {shown(self.target)}, which is the recipe's target_stage", known)
        self._check_last()

    def _say(self, line: int, what: str, hint: str = "") -> None:
        self.troubles.append(Trouble(line, what, hint))

    def _line_start(self, line: int) -> int:
        return sum(len(text) + 1 for text in self.written.text.split("\n")[: line - 1])

    def _global(self, first: int) -> dict[str, str]:
        """The variables that a FROM may use: what stands above the first one, and what every engine sets."""
        variables = {
            "TARGETPLATFORM": str(self.platform),
            "TARGETOS": self.platform.os,
            "TARGETARCH": self.platform.architecture,
            "TARGETVARIANT": self.platform.variant,
            **dict.fromkeys(("BUILDPLATFORM", "BUILDOS", "BUILDARCH", "BUILDVARIANT"), BUILDER),
        }
        for one in self.written.instructions:
            if one.line < first and one.keyword == "ARG":
                for start, end in raw_words(one.text, self.written.escape) or ():
                    name, equals, default = one.text[start:end].partition("=")
                    if name in self.build_args:
                        variables[name] = self.build_args[name]
                    elif equals:
                        variables[name] = self._expanded(one.line, default, variables)
            elif one.line < first:
                self._say(one.line, f"{one.keyword} stands before the first FROM; only ARG may")
        return variables

    def _expanded(self, line: int, text: str, variables: Mapping[str, str]) -> str:
        try:
            return expanded(text, variables, self.written.escape)
        except Unreadable as error:
            self._say(line, f"{shown(text)} cannot be read: {error}", "write ${NAME}, or ${NAME:-DEFAULT}")
            return "scratch"

    def _stage(self, one: Named, variables: Mapping[str, str]) -> None:
        name = self._expanded(one.line, one.text, variables)
        platform = self._expanded(one.line, one.platform, variables)
        earlier = next((n for n, known in enumerate(self._names) if known and known == name.lower()), None)
        if one.stage and one.stage in self._names:
            self._say(one.line, f"there is a stage {one.stage} already", "give it another name")
        self._names.append(one.stage)
        self._roots.append(one if earlier is None else self._roots[earlier])
        if earlier is not None:
            self._bases.append(self._bases[earlier])
        elif name == "scratch":
            self._bases.append(None)
        elif not name or BUILDER in name:
            why = "depends on the machine that builds" if name else "is empty: a variable in it has no value"
            self._say(
                one.line, f"the image {shown(one.text)} {why}", "give its ARG a default, or a value in build_args"
            )
            self._bases.append(None)
        else:
            self._bases.append(self._outside(one, name, self._needed(one, platform)))

    def _needed(self, one: Named, platform: str) -> frozenset[Platform]:
        if BUILDER in platform:
            return _NONE
        try:
            return frozenset({Platform.parse(platform) if platform else self.platform})
        except InvalidInput as error:
            self._say(one.line, f"--platform={one.platform}: {error.what}", error.hint)
            return _NONE

    def _outside(self, one: Named, name: str, platforms: frozenset[Platform]) -> Reference | None:
        try:
            reference = Reference.parse(name)
        except InvalidInput as error:
            why = "; ".join(problem.what for problem in error.problems) or error.what
            self._say(one.line, f"the image {shown(name)}: {why}", error.hint)
            return None
        self.uses.append((one, reference))
        self.needs[one] = self.needs.get(one, _NONE) | platforms
        return reference

    def _copied(self, one: Named) -> None:
        """A place that copies or mounts from a stage above, by its name or number, or else from an image."""
        above = {name for name in self._names[:-1] if name} | {str(number) for number in range(len(self._names) - 1)}
        if one.text.lower() in above:
            return
        stages = {name.stage for name in self.named if name.stage}
        if one.text.isdigit() or one.text.lower() in stages:
            self._say(one.line, f"{one.word}={one.text} is no stage above this one")
        elif one.text != "scratch":
            self._outside(one, one.text, frozenset({self.platform}))

    def _check_last(self) -> None:
        self.base = self._bases[-1]
        root = self._roots[-1]
        if root in self.needs and self.needs[root] != {self.platform}:
            what = f"--platform={root.platform} is not the platform that the recipe builds for, {self.platform}"
            self._say(root.line, what, "remove it from the stage that the image is made of")
