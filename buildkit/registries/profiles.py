"""The registries that are known, and which of them a host is.

Sources: the vendors' pages that ``source`` names; for habits that no vendor writes down, the issue trackers of docker,
oras, jib and tekton. Where nothing is known the profile says what the distribution specification asks for.
"""

from __future__ import annotations

import re

from buildkit.errors import InvalidInput
from buildkit.registries.profile import Profile
from buildkit.registry_hosts import ACR, ARTIFACT_REGISTRY, ECR, ECR_PUBLIC, GCR, GHCR, OCIR, SWR

_MIB = 1024**2
_GIB = 1024**3

PROFILES = (
    Profile(
        "ocir",
        hosts=OCIR.pattern,
        login="the user is NAMESPACE/USER, or NAMESPACE/oracleidentitycloudservice/USER where the user is federated, and the"
        " password an auth token (console: User settings, Auth tokens)",
        create="create the repository in the console or with 'oci artifacts container repository create', or let an"
        " administrator allow creation on the first push; the path begins with the tenancy's namespace",
    ),
    Profile(
        "quay",
        hosts=r"quay\.io",
        login="the user is a robot account ORG+ROBOT with its token, or a user with an encrypted password",
        create="the organisation must exist, and the user or robot may create repositories in it",
        largest_layer=20 * _GIB,
        source="Quay, MAXIMUM_LAYER_SIZE: 20G by default",
    ),
    Profile(
        "ghcr",
        hosts=GHCR.pattern,
        login="the user is a GitHub user, the password a classic token with the scope write:packages, or GITHUB_TOKEN in"
        " Actions with 'permissions: packages: write'",
        create="the path begins with your user or organisation in lower case, and the token may write its packages",
        largest_layer=10 * _GIB,
        source="GitHub docs, working with the container registry: 10 GB a layer, 10 minutes an upload",
        upload="put",
        referrers=False,
    ),
    Profile(
        "ecr",
        hosts=ECR.pattern,
        login="the user is AWS, the password what 'aws ecr get-login-password' prints; or the helper"
        " docker-credential-ecr-login",
        create="create the repository first: aws ecr create-repository --repository-name NAME",
        largest_layer=52_000 * _MIB,
        source="ECR service quotas: 52,000 MiB a layer",
        upload="put",
    ),
    Profile(
        "ecr-public",
        hosts=ECR_PUBLIC.pattern,
        login="the user is AWS, the password what 'aws ecr-public get-login-password --region us-east-1' prints",
        create="create the repository first: aws ecr-public create-repository --repository-name NAME --region us-east-1",
        largest_layer=10_000 * _MIB,
        source="ECR Public service quotas: 10,000 MiB a layer",
        upload="put",
    ),
    Profile(
        "gar",
        hosts=f"{ARTIFACT_REGISTRY.pattern}|{GCR.pattern}",
        login="the user is oauth2accesstoken, the password what 'gcloud auth print-access-token' prints (an hour); or"
        " _json_key with a service account's key; or 'gcloud auth configure-docker HOST'",
        create="create the repository first: gcloud artifacts repositories create REPOSITORY --repository-format=docker;"
        " the path is PROJECT/REPOSITORY/IMAGE",
        upload="put",
        referrers=True,
    ),
    Profile(
        "acr",
        hosts=ACR.pattern,
        login="'az acr login --name REGISTRY', or a service principal's id and secret",
        largest_layer=200 * _GIB,
        source="Azure container registry service tiers: 200 GiB a layer",
        referrers=True,
    ),
    Profile(
        "dockerhub",
        hosts=r"docker\.io",
        login="the user is a Docker ID, the password a personal access token that may write",
        create="the path begins with your user or organisation",
        referrers=False,
    ),
    Profile(
        "harbor",
        login="the user is a person with the CLI secret of their profile, or a robot robot$PROJECT+NAME with its token (quote"
        " the '$' in a shell)",
        create="create the project first; the path begins with it",
    ),
    Profile(
        "swr",
        hosts=SWR.pattern,
        login="the user is REGIONAL_PROJECT@AK, the password the login key made of the AK and SK (console: generate login"
        " command)",
        create="create the organisation first; the path begins with it",
        largest_layer=10 * _GIB,
        source="SWR constraints: 10 GB a layer",
        forms=("docker",),
        referrers=False,
        per_second=20.0,
    ),
    Profile("zot", forms=("oci",), referrers=True),
    Profile("distribution", referrers=False),
)
BY_NAME = {profile.name: profile for profile in PROFILES}
TYPES = tuple(sorted(BY_NAME))


def profile_of(host: str, named: str = "") -> Profile:
    """The profile that the settings name, else the one whose hosts match; a plain one for any other registry.

    ``distribution`` is what settings say that name nothing: there the host decides. Raises InvalidInput for a type that is
    not known.
    """
    if named and named != "distribution":
        if named not in BY_NAME:
            raise InvalidInput(f"there is no registry type {named!r}", hint=f"the types are: {', '.join(TYPES)}")
        return BY_NAME[named]
    bare = re.sub(r":[0-9]+$", "", host)
    return next((profile for profile in PROFILES if re.fullmatch(profile.hosts, bare)), BY_NAME["distribution"])
