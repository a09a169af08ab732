"""What is sent to a registry: a source that cannot be read is told apart from a connection that breaks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Body = bytes | Iterable[bytes | memoryview] | None


class Unreadable(Exception):
    """What was to be sent cannot be read, as ``error`` says. No OSError: that is what a connection ends with."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def told_apart(body: Body) -> Body:
    """The body as it is sent: it raises Unreadable for an OSError of its source."""
    return body if body is None or isinstance(body, bytes) else _told_apart(body)


def _told_apart(body: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    try:
        yield from body
    except OSError as error:
        raise Unreadable(error) from None
