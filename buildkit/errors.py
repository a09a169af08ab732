"""What goes wrong, said so that a person can mend it. Imports nothing of the project."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

DONE = 0
FAILED = 1
USAGE = 2
DRIFTED = 3
OUR_BUG = 70
INTERRUPTED = 130
TERMINATED = 143
EXIT_CODES = {
    DONE: "Done.",
    FAILED: "An explained failure: what is wrong, where, and what to do about it is on stderr.",
    USAGE: "The command was used wrongly: an option or argument that there is not, or two that contradict each other.",
    DRIFTED: "Something moved, and it was asked: status, lock --check, and --locked of lock and build.",
    OUR_BUG: "A fault of modelpack itself; MODELPACK_TRACEBACK=1 shows what a report of it needs.",
    INTERRUPTED: "Interrupted (Ctrl-C): nothing was tagged, the lock is unchanged; where that is not so, stderr says what was done.",
    TERMINATED: "Told to end (SIGTERM), as tidily as by Ctrl-C.",
}
"""What each exit code of the command means."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where it is (file, line, key, reference), what it is, and what to do about it."""

    where: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class ModelpackError(Exception):
    """An explained failure: a sentence, every problem found, and a hint. Ends the command with ``exit_code``."""

    exit_code = FAILED

    def __init__(self, what: str, problems: Iterable[Problem] = (), hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.problems = tuple(problems)
        self.hint = hint

    def __str__(self) -> str:
        return "\n".join([self.what, *(f"  {problem}" for problem in self.problems)])


class InvalidInput(ModelpackError):
    """A file or value that a person wrote is not acceptable: recipe, settings, lock, reference, option."""


class SourceFailed(ModelpackError):
    """A model could not be listed or read: not there, not allowed, cut off, or not the bytes that were promised."""


class RegistryFailed(ModelpackError):
    """A registry refused, is not reachable, or answered with something that cannot be trusted."""


class Unreachable(ModelpackError):
    """Nobody answered, or broke off however often it was tried: it says nothing about what was asked for."""


class SourceUnreachable(SourceFailed, Unreachable):
    """A hub or server of files does not answer."""


class RegistryUnreachable(RegistryFailed, Unreachable):
    """A registry, or who gives tokens for it, does not answer."""


class TagUnconfirmed(RegistryUnreachable):
    """A registry broke off while it moved a tag, and does not tell whether it did."""


class EngineFailed(ModelpackError):
    """An engine is not installed, cannot build this plan, or its build failed."""


class CheckFailed(ModelpackError):
    """A rule of a platform that the recipe is meant for is broken, and the platform would refuse the image."""


class Drifted(ModelpackError):
    """The lock and the world differ, and the caller asked that they must not."""

    exit_code = DRIFTED
