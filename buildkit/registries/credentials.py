"""Credentials: a user name with a password, or an identity token, that never show."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from buildkit.errors import InvalidInput


@dataclass(frozen=True)
class Credentials:
    """A user name with a password, or an identity token; never shown. ``found`` says where they came from."""

    username: str = field(repr=False)
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)
    found: str = ""

    def __post_init__(self) -> None:
        """Refuses what is not UTF-8: neither a registry (RFC 7617) nor a credential helper would understand it alike."""
        try:
            f"{self.username}{self.password}{self.identity_token}".encode()
        except UnicodeEncodeError:
            hint = "give it in UTF-8"
            raise InvalidInput(f"the user or the password of {self.found} is not UTF-8", hint=hint) from None

    @property
    def basic(self) -> str:
        """The value of an ``Authorization: Basic`` header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
