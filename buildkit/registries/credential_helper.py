"""The programs that keep docker's credentials: docker-credential-NAME, asked through their documented protocol.

Source: docker/docker-credential-helpers. Outside the engines this is the only place where another program is started.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from buildkit.errors import InvalidInput
from buildkit.registries.credentials import Credentials

_SECONDS = 60
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TOKEN_USER = "<token>"


class CredentialHelper:
    """One helper, as the file at ``named_in`` names it; raises InvalidInput where that is no program's name."""

    def __init__(self, name: str, named_in: Path) -> None:
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"{named_in} names the credential helper {name!r}, which is not a program's name")
        self.program = f"docker-credential-{name}"
        self._named_in = named_in

    def get(self, server: str) -> Credentials | None:
        """What it keeps for a server; None where it has nothing. Raises InvalidInput where it does not answer as it should."""
        answer = self._run("get", server.encode())
        if answer.returncode:
            return None
        try:
            content = json.loads(answer.stdout)
            username, secret = str(content["Username"]), str(content["Secret"])
        except (ValueError, KeyError, TypeError):
            raise InvalidInput(f"the credential helper {self.program} gave an answer that is not credentials") from None
        if username == _TOKEN_USER:
            return Credentials("", "", secret, self.program)
        return Credentials(username, secret, found=self.program) if secret else None

    def store(self, server: str, credentials: Credentials) -> None:
        """Has credentials kept; raises InvalidInput where the helper refuses, which never repeats what it was given."""
        document = {"ServerURL": server, "Username": credentials.username, "Secret": credentials.password}
        answer = self._run("store", json.dumps(document).encode())
        if answer.returncode:
            raise InvalidInput(
                f"the credential helper {self.program} did not keep the credentials (exit code {answer.returncode})",
                hint=f"try it by hand, or take it out of {self._named_in}",
            )

    def erase(self, server: str) -> bool:
        """Has a server's credentials forgotten; says whether there were any."""
        there = self.get(server) is not None
        if there:
            self._run("erase", server.encode())
        return there

    def _run(self, verb: str, asked: bytes) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run([self.program, verb], input=asked, capture_output=True, timeout=_SECONDS, check=False)
        except FileNotFoundError:
            raise InvalidInput(
                f"{self._named_in} names the credential helper {self.program}, which is not installed",
                hint="install it, or take it out of that file",
            ) from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InvalidInput(
                f"the credential helper {self.program} does not answer ({type(error).__name__})",
                hint="try it by hand: it reads a server's name from its input",
            ) from None
