"""A newcomer: follows a page from its first fence to its last, in one shell, and believes what it shows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.blocks import Block, Command, blocks, commands, differs
from tests.docs.programs import write_programs

WRITTEN = frozenset({"yaml", "json", "python", "dockerfile", "toml", "text"})
"""Languages of files, where a fence has a title; what has none is only shown."""

FOREGROUND = "# until Ctrl-C"
"""What a page writes behind a command that stays in the foreground."""


@dataclass
class Reader:
    """A shell with a folder, and what it has met. ``has`` are needs, beyond registries and a hub, that are met here.

    ``between`` is called with the folder after every file that was written and every command that did what the page says: it
    may change them, or do what a command does that is not run here.
    """

    folder: Path
    environment: Mapping[str, str]
    has: frozenset[str] = frozenset()
    between: Callable[[Path], None] = lambda folder: None
    wrong: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    unread: list[Block] = field(default_factory=list)

    def follow(self, page: Path) -> None:
        """Writes every file and runs every command of a page in order; what differs goes to ``wrong``."""
        for block in blocks(page):
            if block.note.startswith("needs:") and not set(block.note[6:].split()) <= self.has:
                self.unread.append(block)
            elif block.title and block.lang in WRITTEN:
                self._write(block)
                self.between(self._where())
            elif block.lang == "console":
                for command in commands(block):
                    if not self._run(page, block, command):
                        return

    def typed(self, command: str) -> None:
        """Runs one command that a page has in other words."""
        self._run(Path(), Block("console", "", "", "", 0), Command(command, (), 0))

    def _where(self) -> Path:
        state = self.folder / ".where"
        return Path(state.read_text().strip()) if state.exists() else self.folder / "work"

    def _write(self, block: Block) -> None:
        path = self._where() / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.body, encoding="utf-8")

    def _run(self, page: Path, block: Block, command: Command) -> bool:
        """Whether the command did what the page says; after one that did not, nothing can be believed."""
        self.ran.append(command.text)
        where = self._where()
        where.mkdir(exist_ok=True)
        kept = self.folder / ".variables"
        script = f"set -a; [ ! -f {kept} ] || . {kept}\n{command.text}\ncode=$?; pwd > {self.folder}/.where; export -p > {kept}; exit $code"
        done = self._typed(script, where, FOREGROUND in command.text)
        place = f"{page.name}:{block.line}: $ {command.text}"
        if done.returncode != command.code:
            self.wrong.append(f"{place}\nended with {done.returncode} and not {command.code}:\n{done.stdout}")
        elif command.shown and (difference := differs(command.shown, done.stdout)):
            self.wrong.append(f"{place}\n{difference}")
        if not self.wrong:
            self.between(self._where())
        return not self.wrong

    def _typed(self, script: str, where: Path, foreground: bool) -> subprocess.CompletedProcess[str]:
        """Runs a script; what stays in the foreground is interrupted once it says that it runs."""
        with subprocess.Popen(
            ["bash", "-c", script],
            cwd=where,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=foreground,
        ) as running:
            first = []
            if foreground and running.stdout is not None:
                for line in running.stdout:
                    first.append(line)
                    if "Ctrl-C ends it" in line:
                        os.killpg(running.pid, signal.SIGINT)
                        break
            said, _ = running.communicate(timeout=600)
        return subprocess.CompletedProcess(script, running.returncode, "".join([*first, said]))

    def variables(self) -> dict[str, str]:
        """The shell's environment: a home of its own, this modelpack, and the stand-ins for the programs of others."""
        here = str(Path(sys.executable).parent)
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        (home / ".hf-token").write_text("hf_owner")
        path = os.pathsep.join([str(write_programs(self.folder / "bin")), here, os.environ["PATH"]])
        own = {"PATH": path, "HOME": str(home), "COLUMNS": "80", "PYTHONUNBUFFERED": "1", "LANG": "C.UTF-8"}
        cache = {"MODELPACK_CACHE_DIR": str(self.folder / "cache"), "GIT_CONFIG_GLOBAL": str(self.folder / "gitconfig")}
        (self.folder / "gitconfig").write_text(
            "[user]\nname = you\nemail = you@example.org\n[init]\ndefaultBranch = main\n"
        )
        return own | cache | dict(self.environment)
