"""The programs that keep docker's credentials: docker-credential-NAME, asked through their documented protocol.

Source: docker/docker-credential-helpers.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from buildkit.errors import InvalidInput
from buildkit.oci.parsing import parse
from buildkit.registries.credentials import Credentials

_SECONDS = 60
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TOKEN_USER = "<token>"
_NOTHING = "credentials not found"
_LONGEST_WORDS = 200
_SECRETS = re.compile(r"(?<=://)[^\s/@]+(?=@)|(?i:(?<=password=)|(?<=secret=)|(?<=token=))\S+|(?=\S*\d)[\w+/=-]{32,}")


class HelperFailed(InvalidInput):
    """A helper that may have credentials and gives none: a session has expired, a keychain is locked."""

    def __init__(self, program: str, said: str) -> None:
        super().__init__(
            f"the credential helper {program} gave no credentials: {said}", hint="mend what it says, and try it again"
        )


class CredentialHelper:
    """One helper, as the file at ``named_in`` names it; raises InvalidInput where that is no program's name."""

    def __init__(self, name: str, named_in: Path) -> None:
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"{named_in} names the credential helper {name!r}, which is not a program's name")
        self.program = f"docker-credential-{name}"
        self._named_in = named_in

    def get(self, server: str) -> Credentials | None:
        """What it keeps for a server; None where it has nothing.

        Raises HelperFailed, with its words, where it fails for another reason, InvalidInput where it does not answer as it
        should.
        """
        answer = self._run("get", server.encode())
        if answer.returncode:
            said = _said(answer)
            if said and _NOTHING not in (answer.stdout + answer.stderr).decode(errors="replace").lower():
                raise HelperFailed(self.program, said)
            return None
        try:
            content = parse(answer.stdout)
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
        """Has a server's credentials forgotten; says whether there were any. Raises InvalidInput where the helper refuses."""
        if self.get(server) is None:
            return False
        answer = self._run("erase", server.encode())
        if answer.returncode:
            raise InvalidInput(
                f"the credential helper {self.program} did not forget the credentials for {server}:"
                f" {_said(answer) or f'exit code {answer.returncode}'}",
                hint="where it makes them anew from another login, log out there",
            )
        return True

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


def _said(answer: subprocess.CompletedProcess[bytes]) -> str:
    """The first line that a helper printed of an error, made safe for a terminal, without what looks like a secret."""
    printed = (stream.decode(errors="replace").strip() for stream in (answer.stdout, answer.stderr))
    line = next((text.splitlines()[0] for text in printed if text and not text.startswith("{")), "")
    shown = _SECRETS.sub("…", "".join(letter if letter.isprintable() else " " for letter in line))
    return shown[:_LONGEST_WORDS]
