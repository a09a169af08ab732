"""What a registry would refuse is refused before the first byte, with the numbers and all of it at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from buildkit.errors import InvalidInput, Problem
from buildkit.oci.form import Form, stored_size
from buildkit.oci.image import Image
from buildkit.oci.manifest import OCI_LAYER, as_oci
from buildkit.plan import TITLE
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
        what = f"{_counted(image)}; container runtimes take at most {profile.most_layers}"
        yield Problem(str(image.platform), what, _fewer(image, profile.most_layers))
    most = profile.largest_manifest // _DESCRIPTOR_BYTES
    if len(image.layers) > most:
        estimated = len(image.layers) * _DESCRIPTOR_BYTES
        what = f"a manifest of about {estimated} bytes for {_counted(image)}; registries take at most {profile.largest_manifest}"
        yield Problem(str(image.platform), what, _fewer(image, most))


def _of_base(image: Image) -> int:
    """Layers that are a base's: those that were planned say what they hold."""
    own = sum(TITLE in layer.annotations for layer in image.layers)
    return len(image.layers) - own if own else 0


def _counted(image: Image) -> str:
    of_base = _of_base(image)
    return f"{len(image.layers)} layers" + (f", {of_base} of them the base's" if of_base else "")


def _fewer(image: Image, most: int) -> str:
    """What to do about too many layers; where the base alone leaves no room for one more, only another base helps."""
    of_base = _of_base(image)
    if of_base >= most:
        return f"take a base with fewer layers: it must leave room for those above it, and has {of_base}"
    squashed = "use 'layers: squashed', with a max_layer_size where one layer would be too large"
    return f"{squashed}; or take a base with fewer layers" if of_base else squashed
