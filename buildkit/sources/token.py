"""A hub's access token, which shows itself only where it is sent."""

from __future__ import annotations

import os
import sys

from buildkit.errors import InvalidInput, SourceFailed

_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE")


class Token:
    """Text that is secret: its ``repr`` and ``str`` do not tell it, and it cannot be pickled."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        # What cannot stand in a header would be quoted in the HTTP library's own error.
        if not text.isascii() or not text.isprintable() or " " in text:
            raise InvalidInput(
                "the Hugging Face token has characters that no token has",
                hint="set HF_TOKEN again, or run: hf auth login",
            ) from None
        self._text = text

    def reveal(self) -> str:
        """The token itself, for a request to the hub that it belongs to."""
        return self._text

    def __repr__(self) -> str:
        return "Token(***)"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a token is not written anywhere")


def users_token() -> Token | None:
    """The token that the hub's library would use (HF_TOKEN, ``hf auth login``, trusted publishing); None where there is none."""
    if not _is_any():
        return None
    import huggingface_hub
    from huggingface_hub import errors

    try:
        text = huggingface_hub.get_token()
    except (OSError, UnicodeDecodeError, errors.OIDCError) as error:
        # What such an error says may quote what it read, so only its kind is told.
        raise SourceFailed(
            f"the Hugging Face token cannot be read ({type(error).__name__})",
            hint="run 'hf auth whoami' to see what is wrong, or set HF_TOKEN",
        ) from None
    return Token(text) if text else None


def _is_any() -> bool:
    """Whether the library, which takes a fifth of a second to load, has a place to find a token in."""
    from huggingface_hub import constants

    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return False
    named = any(os.environ.get(name) for name in _VARIABLES)
    return named or os.path.lexists(constants.HF_TOKEN_PATH) or "google.colab" in sys.modules
