"""Oracle's regions: OCIR answers for each of them under its key (``iad``) and its identifier (``us-ashburn-1``)."""

from __future__ import annotations

import re

KEYS = {
    "ams": "eu-amsterdam-1",
    "arn": "eu-stockholm-1",
    "auh": "me-abudhabi-1",
    "bog": "sa-bogota-1",
    "bom": "ap-mumbai-1",
    "cdg": "eu-paris-1",
    "cwl": "uk-cardiff-1",
    "dxb": "me-dubai-1",
    "fra": "eu-frankfurt-1",
    "gru": "sa-saopaulo-1",
    "hyd": "ap-hyderabad-1",
    "iad": "us-ashburn-1",
    "icn": "ap-seoul-1",
    "jed": "me-jeddah-1",
    "jnb": "af-johannesburg-1",
    "kix": "ap-osaka-1",
    "lhr": "uk-london-1",
    "lin": "eu-milan-1",
    "mad": "eu-madrid-1",
    "mel": "ap-melbourne-1",
    "mrs": "eu-marseille-1",
    "mtz": "il-jerusalem-1",
    "nrt": "ap-tokyo-1",
    "ord": "us-chicago-1",
    "phx": "us-phoenix-1",
    "qro": "mx-queretaro-1",
    "ruh": "me-riyadh-1",
    "scl": "sa-santiago-1",
    "sin": "ap-singapore-1",
    "sjc": "us-sanjose-1",
    "syd": "ap-sydney-1",
    "vap": "sa-valparaiso-1",
    "vcp": "sa-vinhedo-1",
    "xsp": "ap-singapore-2",
    "yny": "ap-chuncheon-1",
    "yul": "ca-montreal-1",
    "yyz": "ca-toronto-1",
    "zrh": "eu-zurich-1",
    "mty": "mx-monterrey-1",
}
"""Region keys of the commercial realm, oci-python-sdk, oci/regions.py."""

_OCIR = re.compile(r"(?:([a-z0-9-]+)\.ocir\.io|ocir\.([a-z0-9-]+)\.oci\.oraclecloud\.com)")


def ocir_region(host: str) -> str | None:
    """The identifier of the region whose OCIR a host is; an unknown key as it stands; None for another registry."""
    found = _OCIR.fullmatch(host)
    if not found:
        return None
    named = found[1] or found[2]
    return KEYS.get(named, named)


def region(text: str) -> str:
    """A region's identifier, given that or its key."""
    return KEYS.get(text, text)


def ocir_names(host: str) -> list[str]:
    """Every name under which that region's OCIR answers; none for another registry."""
    where = ocir_region(host)
    if where is None:
        return []
    keys = [key for key, identifier in KEYS.items() if identifier == where]
    return [*(f"{key}.ocir.io" for key in keys), f"{where}.ocir.io", f"ocir.{where}.oci.oraclecloud.com"]
