"""What a proxy says that does not let us through, and what is told of it."""

from __future__ import annotations

import re

from urllib3.exceptions import ProxyError

LOGIN = 407
"""Never of the server itself (RFC 9110, 15.5.8)."""


def refusal(error: ProxyError) -> int | None:
    """The status with which a proxy refuses, which stays a refusal; None for what else it lacks, which may pass.

    It refuses by another answer to CONNECT than 2xx (RFC 9110, 9.3.6).
    """
    status = answered(error)
    return status if status in (403, LOGIN) else None


def answered(error: ProxyError) -> int | None:
    """What a proxy answers to CONNECT; None where it does not answer at all."""
    told = re.search(r"Tunnel connection failed: (\d{3})\b", str(error.original_error))
    return int(told[1]) if told else None


def stopped(host: str, status: int) -> tuple[str, str]:
    """What is wrong where a proxy refuses the way to a host, and what to do about it."""
    return (
        f"the proxy on the way to {host} does not let us through: it answers {status}",
        f"check the address and the login in HTTPS_PROXY; or let {host} be reached without it: NO_PROXY",
    )
