"""An image that is run to its end: a batch job, and the programs that it or its builder needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from buildkit.probe.containers import Container, NotStarted
from buildkit.probe.session import Session
from buildkit.probe.verdicts import Outcome, broken, last_line, passed, unasked

_RUN_SECONDS = 30.0


@dataclass(frozen=True)
class Job:
    """Runs the image with no command: it must start by itself."""

    rule: str
    script: str

    def outcomes(self, session: Session) -> list[Outcome]:
        """Whether something was started, and whether the script is there; what it then does needs the platform's data."""
        return [self._started(session), self._script(session)]

    def _started(self, session: Session) -> Outcome:
        asked = f"{session.engine.name} run IMAGE, with no command"
        try:
            done = session.run(
                "the image with no command", Container(session.image), session.patience.stop(_RUN_SECONDS)
            )
        except NotStarted as error:
            return broken(self.rule, asked, last_line(error.said), error.hint(f'set CMD ["sh", "{self.script}"]'))
        if done.code in (126, 127):
            return broken(
                self.rule, asked, f"exit code {done.code}: {last_line(done.said)}", f"the image needs {self.script}"
            )
        ended = "it still runs" if done.code == 124 else f"exit code {done.code}"
        return passed(self.rule, asked, ended)

    def _script(self, session: Session) -> Outcome:
        asked = f"test -r {self.script}"
        code, said = sh(session, f"test -r {self.script}")
        if code == 0:
            return passed(self.rule, asked, "exit code 0")
        return broken(
            self.rule, asked, f"exit code {code} {said}".strip(), f"put the script at {self.script}, readable"
        )


@dataclass(frozen=True)
class Programs:
    """Programs that must be on the PATH."""

    rule: str
    names: tuple[str, ...]

    def outcomes(self, session: Session) -> list[Outcome]:
        """All that are missing, in one outcome."""
        script = f'for name in {" ".join(self.names)}; do command -v "$name" >/dev/null || echo "missing $name"; done'
        asked = f"command -v {' '.join(self.names)}"
        code, said = sh(session, script)
        if code:
            return [broken(self.rule, asked, f"exit code {code} {said}".strip(), "the image needs sh")]
        missing = [line.removeprefix("missing ") for line in said.splitlines() if line.startswith("missing ")]
        if missing:
            return [broken(self.rule, asked, f"not on the PATH: {', '.join(missing)}", f"install {', '.join(missing)}")]
        return [passed(self.rule, asked, "all are on the PATH")]


@dataclass(frozen=True)
class Version:
    """A program that must be there in a version of at least ``least``."""

    rule: str
    program: str
    least: tuple[int, int]

    def outcomes(self, session: Session) -> list[Outcome]:
        """Asks it with ``--version``."""
        asked = f"{self.program} --version is at least {'.'.join(map(str, self.least))}"
        code, said = sh(session, f"{self.program} --version 2>&1")
        found = re.search(r"(\d+)\.(\d+)", said)
        if code or found is None:
            return [
                broken(self.rule, asked, f"exit code {code}: {last_line(said)}", f"install {self.program} in the image")
            ]
        if (int(found[1]), int(found[2])) < self.least:
            return [broken(self.rule, asked, last_line(said), f"install a newer {self.program}")]
        return [passed(self.rule, asked, last_line(said))]


@dataclass(frozen=True)
class Unasked:
    """Rules that nothing here can answer, each with the reason, so that the report does not hide them."""

    reasons: tuple[tuple[str, str], ...]

    def outcomes(self, session: Session) -> list[Outcome]:
        """One outcome for each."""
        return list(self._each())

    def _each(self) -> Iterator[Outcome]:
        for rule, reason in self.reasons:
            yield unasked(rule, "", reason)


def sh(session: Session, script: str) -> tuple[int, str]:
    """Runs a script with the image's own shell; (exit code, what it printed)."""
    try:
        done = session.run(script, Container(session.image, ("-c", script), entrypoint="sh"))
    except NotStarted as error:
        return error.code, last_line(error.said)
    return done.code, done.said.strip()
