"""The hosts of the vendors' registries: one pattern for each, with the region that it names, for all who ask whose a host is.

Sources: the vendors' pages that :mod:`buildkit.registries.profiles` names. What a pattern takes is theirs for certain,
but for ``SWR_ANYWHERE``.
"""

from __future__ import annotations

import re

from buildkit.oracle_regions import REGIONS

OCIR = re.compile(
    r"(?P<key>[a-z0-9-]+)\.ocir\.io|ocir\.(?P<region>[a-z0-9-]+)\.oci\.oracle(?:gov)?cloud\d*\.(?:com|eu|uk)"
)
"""Oracle's, which answers for every region under its key (``iad``) and its name (``us-ashburn-1``); realms have own domains."""
ECR = re.compile(r"\d{12}\.(?:dkr\.ecr|dkr-ecr)(?:-fips)?\.(?P<region>[a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)")
"""Amazon's private registries, with FIPS and dual-stack endpoints (ECR, "Endpoints and quotas")."""
ECR_PUBLIC = re.compile(r"public\.ecr\.aws")
ARTIFACT_REGISTRY = re.compile(r"(?P<region>[a-z0-9-]+)-docker\.pkg\.dev")
GCR = re.compile(r"([a-z]+\.)?gcr\.io")
ACR = re.compile(r"[a-z0-9-]+\.azurecr\.(io|cn|us|de)")
SWR = re.compile(r"swr\.[a-z0-9.-]+\.(myhuaweicloud|t-systems)\.com")
"""Huawei's, and that of the Open Telekom Cloud."""
SWR_ANYWHERE = re.compile(r"swr\.(?P<region>[a-z0-9-]+)(?:\.[a-z0-9-]+){2,}")
"""Huawei's under any domain, as other clouds run it: certain only of what ModelArts is given."""
GHCR = re.compile(r"ghcr\.io")

_PULLED_FROM = {
    "oci-data-science": OCIR,
    "oci-genai": OCIR,
    "modelarts": SWR_ANYWHERE,
    "sagemaker": ECR,
    "vertex": ARTIFACT_REGISTRY,
    "azureml": ACR,
}


def pulls_from(platform: str, host: str) -> bool:
    """Whether a platform has a registry of its own, and the host is it; of the others any will do."""
    return platform in _PULLED_FROM and _PULLED_FROM[platform].fullmatch(host) is not None


def oracle_region(text: str) -> str:
    """The name of one of Oracle's regions, given that or its key; what is neither as it stands."""
    return _BY_KEY.get(text, text)


def ocir_region(host: str) -> str | None:
    """The name of the region whose OCIR a host is; an unknown key as it stands; None for another registry."""
    found = OCIR.fullmatch(host)
    return oracle_region(found["key"] or found["region"]) if found else None


def ocir_names(host: str) -> tuple[str, ...]:
    """Every host of the same region of OCIR; none where the host is not one of these.

    A login by the name of 'ocir' goes to them, so that what only looks like one must not count.
    """
    region = ocir_region(host)
    if region not in REGIONS:
        return ()
    names = (f"{REGIONS[region]}.ocir.io", f"{region}.ocir.io", f"ocir.{region}.oci.oraclecloud.com")
    return names if host in names else ()


_BY_KEY = {key: name for name, key in REGIONS.items()}
