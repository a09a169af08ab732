"""What a registry would refuse is refused before the first byte, with the numbers and all of it at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from buildkit.errors import InvalidInput, Problem
from buildkit.oci.form import Form, stored_size
from buildkit.oci.image import Image
from buildkit.oci.manifest import OCI_LAYER, as_oci
from buildkit.registries.profile import Profile

_DESCRIPTOR_BYTES = 600
"""What one layer takes in a manifest at most, with its annotations: bytes."""


def check(images: Sequence[Image], profile: Profile, form: Form | None = None) -> Form:
    """Raises InvalidInput with every limit that the images would pass; returns the form that they will have.

    ``form`` is what was asked for; without it the registry's preferred one is taken.
    """
    chosen = form or profile.forms[0]
    problems = [problem for image in images for problem in _problems(image, profile, chosen)]
    problems += _of_form(images, profile, chosen)
    if problems:
        raise InvalidInput(f"the registry ({profile.name}) would refuse this image; nothing was sent", problems)
    return chosen


def largest_layer(profile: Profile, form: Form | None = None) -> int | None:
    """Bytes of the largest tar that a registry takes as a layer in a form (its preferred one); None: no limit is known."""
    limit = profile.largest_layer
    if limit is None or (form or profile.forms[0]) == "oci":
        return limit
    return limit - (stored_size(limit) - limit)


def _of_form(images: Sequence[Image], profile: Profile, form: Form) -> Iterator[Problem]:
    if form not in profile.forms:
        taken = " or ".join(profile.forms)
        yield Problem("--manifest-format", f"{profile.name} takes {taken} and not {form}", "leave the option out")
    if len(images) > 1 and not profile.index:
        named = ", ".join(str(image.platform) for image in images)
        yield Problem(
            "platforms", f"{profile.name} takes one platform and not {named}", "write a recipe for each platform"
        )


def _problems(image: Image, profile: Profile, form: Form) -> Iterator[Problem]:
    limit = profile.largest_layer
    for layer in image.layers:
        becomes_gzip = form == "docker" and as_oci(layer.blob.media_type) == OCI_LAYER
        size = stored_size(layer.blob.size) if becomes_gzip else layer.blob.size
        if limit is not None and size > limit:
            what = f"the layer has {size} bytes; at most {limit} are taken ({profile.source})"
            hint = "a build for this registry splits a model's layers; a single file this large needs another registry"
            yield Problem(layer.blob.title, what, hint)
    if len(image.layers) > profile.most_layers:
        what = f"{len(image.layers)} layers; container runtimes take at most {profile.most_layers}"
        hint = "use 'layers: squashed', with a max_layer_size where one layer would be too large"
        yield Problem(str(image.platform), what, hint)
    estimated = len(image.layers) * _DESCRIPTOR_BYTES
    if estimated > profile.largest_manifest:
        what = f"a manifest of about {estimated} bytes; registries take at most {profile.largest_manifest}"
        yield Problem(str(image.platform), what, "use 'layers: squashed'")
