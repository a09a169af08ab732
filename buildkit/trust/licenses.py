"""Whether the licenses of an image's models may be used here, as ``modelpack.yaml`` says."""

from __future__ import annotations

from collections.abc import Mapping

from buildkit.card import Card
from buildkit.errors import InvalidInput
from buildkit.events import Said
from buildkit.pin import Pins
from buildkit.recipe import Recipe
from buildkit.world import World


def cards(recipe: Recipe, pins: Pins, world: World) -> dict[str, Card]:
    """The cards of a recipe's models that a hub has, by their keys in the recipe; asks the hub."""
    found = {
        key: world.card(reference, pins.sources[key]) for key, reference in recipe.spec.sources() if key in pins.sources
    }
    return {key: card for key, card in found.items() if card}


def check(recipe: Recipe, pins: Pins, world: World) -> None:
    """Tells a model's license, and raises InvalidInput where the settings forbid one; asks only where they say anything."""
    policy = world.settings.licenses
    if not policy.asks:
        return
    found = cards(recipe, pins, world)
    for key, card in found.items():
        name = pins.sources[key].name
        world.emit(Said(f"{recipe.spec.name}: {name} has {card.licensed or 'no license'}{card.remarks}"))
    problems = [problem for key, card in found.items() for problem in policy.judge(key, pins.sources[key].name, card)]
    if problems:
        raise InvalidInput(f"{recipe.spec.name} may not be built: a license is forbidden", problems)


def facts(card: Card) -> Mapping[str, str]:
    """What a card says of the model's use, for people: license, link, gate."""
    told = {"license": f"{card.licensed}{card.remarks}".strip(), "license link": card.license_link}
    return {key: text for key, text in told.items() if text}
