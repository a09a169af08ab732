"""The variables of the environment; a test holds the list against what the code reads."""

from __future__ import annotations

from docs.generate.markdown import code, plain, table

VARIABLES: dict[str, dict[str, str]] = {
    "The hub": {
        "HF_TOKEN": "The token for gated and private models; else what 'hf auth login' left.",
        "HF_ENDPOINT": "The hub, where modelpack.yaml names none.",
    },
    "Registries": {
        "MODELPACK_NAME_USERNAME": "A login: NAME is what modelpack.yaml calls the registry, or its host, in capitals with _ for what is no letter or digit.",
        "MODELPACK_NAME_PASSWORD": "The password that belongs to it.",
        "REGISTRY_AUTH_FILE": "The file of logins, instead of docker's; podman heeds it, too.",
        "DOCKER_CONFIG": "The folder of docker's config.json, instead of ~/.docker.",
        "XDG_RUNTIME_DIR": "Where podman keeps its logins, in containers/auth.json.",
        "XDG_CONFIG_HOME": "Where podman looks for logins that stay, in containers/auth.json; else ~/.config.",
        "OCIR_REGION": "The region of --registry ocir, where modelpack.yaml does not say it.",
        "OCIR_NAMESPACE": "The tenancy's namespace of --registry ocir, where modelpack.yaml does not say it.",
        "OCI_CLI_AUTH": "By what identity to log in to OCIR: api_key, instance_principal or resource_principal.",
        "OCI_CLI_CONFIG_FILE": "The file with the API key, instead of ~/.oci/config.",
        "OCI_CONFIG_FILE": "The same, as Oracle's SDK calls it.",
        "OCI_CLI_PROFILE": "The profile in that file, instead of DEFAULT.",
        "OCI_RESOURCE_PRINCIPAL_VERSION": "Set by Oracle's services: the resource's own identity logs in.",
    },
    "The build": {
        "MODELPACK_CACHE_DIR": "Where modelpack keeps what it may lose at any time; else the platform's folder for caches.",
        "XDG_CACHE_HOME": "The folder for caches, instead of ~/.cache.",
        "LOCALAPPDATA": "The same on Windows.",
        "SOURCE_DATE_EPOCH": "The day that {date} in a tag means, in seconds since 1970; else today.",
        "JOB_COMPLETION_INDEX": "Set by Kubernetes in an Indexed Job: which share of the layers --shard N pushes.",
    },
    "The terminal": {
        "NO_COLOR": "Set to anything: no colours.",
        "TERM": "dumb: no colours, no bars.",
        "CI": "Set to anything but false or 0: lines instead of bars, no colours, and nobody is asked.",
        "MODELPACK_TRACEBACK": "Set to anything: a fault of modelpack itself is told with its traceback.",
    },
}  # fmt: skip


def page() -> str:
    """The page."""
    text = [
        "# The environment",
        "Variables that modelpack reads. Proxies and certificates are those of every program: `HTTPS_PROXY`, `NO_PROXY` and"
        " `SSL_CERT_FILE`. None of them decides what is in an image, but `SOURCE_DATE_EPOCH` its tags.",
    ]
    for heading, variables in VARIABLES.items():
        rows = [(code(name), plain(what)) for name, what in variables.items()]
        text += [f"## {heading}", table(("variable", "what it does"), rows)]
    return "\n\n".join(text)
