"""The rules that hold wherever a container serves."""

from __future__ import annotations

from buildkit.check import WARNING, probed
from buildkit.targets.sources import PRACTICE

ENDS = probed(
    "UNI-08",
    WARNING,
    "SIGTERM ends the container within 30 s",
    source=PRACTICE,
    do="start the server in exec form, so that it is process 1 and hears the signal",
)
NO_REDIRECT = probed(
    "UNI-09",
    WARNING,
    "no probe or scoring path answers with a redirect (3xx)",
    source=PRACTICE,
    do="serve exactly the path that is asked, with and without a last slash told apart",
)
