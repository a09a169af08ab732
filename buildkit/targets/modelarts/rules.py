"""The rules of a custom image for ModelArts."""

from __future__ import annotations

from buildkit.check import ERROR, WARNING, probed
from buildkit.targets.sources import MODELARTS, MODELARTS_SITES, OTC_IMAGE, OTC_MODELARTS

ONLINE = ("online",)

PORT = probed(
    "MA-05",
    ERROR,
    "serves on the port and protocol of the container API: 8080 and HTTP where nothing else is set",
    source=f"{MODELARTS}; {OTC_IMAGE}",
    do="listen on 0.0.0.0:8080, or say port and protocol in the recipe's target",
    modes=ONLINE,
)
APIS = probed(
    "MA-06",
    ERROR,
    "every API of config.json answers on the running image, with nothing set up first",
    source=MODELARTS,
    do="serve the url and method of every entry of apis",
    kinds="P,D",
    modes=ONLINE,
)
HEALTH = probed(
    "MA-07",
    ERROR,
    "GET on the health path answers 200",
    source=f"{MODELARTS}; {OTC_MODELARTS}",
    do='serve GET /health with {"health": "true"}',
    kinds="P,D",
    modes=ONLINE,
)
LOGS = probed(
    "MA-08",
    WARNING,
    "logs go to standard output and standard error",
    source=MODELARTS,
    do="log to stdout, and to no file",
    modes=ONLINE,
)
ENDS = probed(
    "MA-12",
    WARNING,
    "after SIGTERM it serves on for about 60 s and has ended after 90 s",
    source=OTC_IMAGE,
    do="for gunicorn: --graceful-timeout 60 --keep-alive 200",
    modes=ONLINE,
)
LATENCY = probed(
    "MA-13",
    WARNING,
    "a request is answered within 60 s",
    source=MODELARTS_SITES,
    do="make the request smaller, or answer asynchronously",
    modes=ONLINE,
)
