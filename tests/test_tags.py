"""Tags with placeholders: if these fail, an image gets a name that nobody asked for, or one that says something wrong."""

from __future__ import annotations

import pytest

from buildkit.errors import InvalidInput
from buildkit.oci.reference import Digest, Reference
from buildkit.pin import ImagePin, Inventory, Pins
from buildkit.tags import expand, fixed, with_digest
from tests.place import Place

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PINS = Pins(
    {"base": ImagePin(Reference.parse(f"quay.io/a/b:9.6@{Digest.of(b'')}"), {})},
    {"model": Inventory("huggingface", "org/a", (), "main", COMMIT)},
)
NOTHING = Pins({}, {"model": Inventory("folder", "models", ())})


def test_every_placeholder_has_its_meaning() -> None:
    """The names that recipes promise are not what they say."""
    tags = ["{revision}", "{base}-{date}", "v{version}", "x-{digest}", "plain", "plain"]
    labels = {"org.opencontainers.image.version": "2"}
    expanded = expand(tags, labels, PINS, {"SOURCE_DATE_EPOCH": "0"})
    assert expanded == ("0123456789ab", "9.6-19700101", "v2", "x-{digest}", "plain")
    assert fixed(expanded) == ("0123456789ab", "9.6-19700101", "v2", "plain")
    assert with_digest(expanded, Digest.of(b""))[3] == "x-e3b0c44298fc"


def test_today_is_the_date_where_nothing_says_otherwise() -> None:
    """A nightly build is named after another day than it ran on."""
    (tag,) = expand(["{date}"], {}, NOTHING, {})
    assert len(tag) == 8
    assert tag.isdigit()


@pytest.mark.parametrize(
    ("tag", "words"),
    [("{revision}", "commit of a model from a hub"), ("{base}", "tag of the base"), ("v{version}", "label"), ("{date}", "SOURCE_DATE_EPOCH")],
)  # fmt: skip
def test_what_means_nothing_here_is_told(tag: str, words: str) -> None:
    """An empty value would make a tag like 'v', which the next model gets as well."""
    with pytest.raises(InvalidInput) as raised:
        expand([tag], {}, NOTHING, {"SOURCE_DATE_EPOCH": "yesterday"})
    assert words in str(raised.value)


def test_a_value_that_makes_no_tag_is_told() -> None:
    """A registry would refuse the tag after the upload."""
    with pytest.raises(InvalidInput, match="is not a tag"):
        expand(["{version}"], {"org.opencontainers.image.version": "1+cu12"}, NOTHING, {})


@pytest.mark.parametrize("tag", ["{revison}", "v{}", "{revision", "{digest}/x", "{Revision}"])
def test_a_placeholder_that_is_none_is_refused_in_its_line(place: Place, tag: str) -> None:
    """A slip would be found out at the push, hours later."""
    with pytest.raises(InvalidInput, match="tags"):
        place.recipe(tags=[tag])
