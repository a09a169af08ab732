"""The registries that the platforms pull from."""

from __future__ import annotations

import re

_HOSTS = {
    "oci-data-science": r"[a-z0-9-]+\.ocir\.io|ocir\.[a-z0-9-]+\.oci\.oraclecloud\.com",
    "oci-genai": r"[a-z0-9-]+\.ocir\.io|ocir\.[a-z0-9-]+\.oci\.oraclecloud\.com",
    "modelarts": r"swr\.[a-z0-9-]+(?:\.[a-z0-9-]+)+",
    "sagemaker": r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?",
    "vertex": r"[a-z0-9-]+-docker\.pkg\.dev",
    "azureml": r"[a-z0-9-]+\.azurecr\.(?:io|cn|us)",
}


def pulls_from(platform: str, host: str) -> bool:
    """Whether a platform has a registry of its own, and the host is it; of the others any will do."""
    return bool(re.fullmatch(_HOSTS[platform], host)) if platform in _HOSTS else False
