"""The rules of a hosted deployment."""

from __future__ import annotations

from buildkit.check import ERROR, probed
from buildkit.targets.sources import HOSTED, HOSTED_DEPLOY

LISTENS = probed("OGH-02", ERROR, "listens on 0.0.0.0:8080", source=HOSTED, do="bind the server to 0.0.0.0, port 8080")
READY = probed(
    "OGH-03",
    ERROR,
    "GET /ready answers 200 as application/json when initialised, and something else before",
    source=f"{HOSTED}; {HOSTED_DEPLOY}",
    do="answer 503 until everything is loaded",
)
HEALTH = probed(
    "OGH-04", ERROR, "GET /health answers 200 as application/json", source=HOSTED, do="serve GET /health with JSON"
)
STREAMS = probed(
    "OGH-05",
    ERROR,
    "Accept: text/event-stream is answered with text/event-stream, anything else with application/json",
    source=HOSTED,
    do="look at the request's Accept header in every path of your own",
)
READ_ONLY = probed(
    "OGH-07",
    ERROR,
    "works with a read-only file system where only /tmp can be written",
    source=HOSTED,
    do="set HOME=/tmp and PYTHONDONTWRITEBYTECODE=1, and write files below /tmp only",
)
STAYS = probed(
    "OGH-13",
    ERROR,
    "the main process stays up",
    source="the platform's own sample never starts its server",
    do="start the server in CMD, for example with uvicorn",
)
