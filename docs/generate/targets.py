"""The platforms with their settings, and every rule: from the registry that ``modelpack targets`` reads."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from buildkit.checks.rule import KINDS, Rule
from buildkit.recipe import schema
from buildkit.target_settings import SETTINGS, TargetSettings
from buildkit.targets import TARGETS, Target, targets_of
from docs.generate.markdown import anchor, code, plain, table
from docs.generate.schemas import keys

_PARTS = {"Sample": "Samples", "CustomEndpoint": "Custom endpoints", "Api": "APIs", "Body": "Bodies"}


def _link(name: str) -> str:
    return f"[{name}](#{anchor(_PARTS[name])})"


def page() -> str:
    """The page about platforms: what a recipe may say of each, and which rules hold."""
    parts: dict[str, Any] = schema("modelcar")["$defs"]
    listed = [
        (f"[{code(target.name)}](#{anchor(target.platform)})", str(len(target.rules)), plain(target.title))
        for target in TARGETS.values()
    ]
    text = [
        "# The targets",
        "A recipe names the platforms that its image is meant for: `targets: [kserve]`, or with settings"
        " `targets: [{name: kserve, server: vllm}]`. Their rules are checked before the image is built, by `modelpack check` at any"
        " time, and by `modelpack verify` on the running container. A platform alone means its first mode.",
        table(("target", "rules", "what it is"), listed),
    ]
    for platform, settings in SETTINGS.items():
        text += _platform(platform, settings, parts)
    for name, heading in _PARTS.items():
        text += [f"## {heading}", plain(parts[name]["description"]), keys(parts[name], parts, _link)]
    return "\n\n".join(text)


def _platform(platform: str, settings: type[TargetSettings], parts: dict[str, Any]) -> list[str]:
    modes = [target for target in TARGETS.values() if target.platform == platform]
    described = plain((settings.__doc__ or "").strip())
    return [
        f"## {platform}",
        described,
        keys(parts[settings.__name__], parts, _link),
        f"The rules of {' and '.join(code(mode.name) for mode in modes)}:",
        _rules_of(modes),
    ]


def _rules_of(modes: list[Target]) -> str:
    prefixes = list(dict.fromkeys(_prefix(rule) for mode in modes for rule in mode.rules))
    every = {rule.id: rule for mode in modes for rule in mode.rules}.values()
    rules = sorted(every, key=lambda rule: (prefixes.index(_prefix(rule)), rule.id))
    rows = []
    for rule in rules:
        held = [mode for mode in modes if rule in mode.rules]
        only = "" if len(held) == len(modes) else f" ({', '.join(mode.mode or 'without mode' for mode in held)})"
        severities = " or ".join(dict.fromkeys(rule.severity_in(mode.mode).value for mode in held))
        rows.append((f"[{rule.id}](rules.md#{anchor(rule.id)})", severities, plain(rule.title) + only))
    return table(("rule", "severity", "what must hold"), rows)


def _prefix(rule: Rule) -> str:
    return rule.id.rpartition("-")[0]


def rules_page() -> str:
    """The page about rules: each under its id, which a report names."""
    every = list({rule.id: rule for target in TARGETS.values() for rule in target.rules}.values())
    letters = [(code(letter), what) for letter, what in KINDS.items()]
    text = [
        "# The rules",
        f"{len(every)} rules of {len(TARGETS)} targets. An **error** is what the platform refuses or breaks on, a **warning** works and"
        " will be regretted, a **note** is worth knowing. `modelpack targets KS-05` prints one in the terminal. A recipe that breaks one"
        " on purpose says so, with the reason: [waivers](recipe.md#waivers).",
        "What a rule looks at:",
        table(("letter", "what it is"), letters),
    ]
    for prefix, rules in groupby(sorted(every, key=lambda rule: rule.id), _prefix):
        text += [f"## {prefix}", *(piece for rule in rules for piece in _rule(rule))]
    return "\n\n".join(text)


def _rule(rule: Rule) -> list[str]:
    held = targets_of(rule.id)
    severities = dict.fromkeys(rule.severity_in(target.mode).value for target in held)
    eased = [f"{rule.severity_in(target.mode).value} for {code(target.name)}" for target in held if rule.eased]
    judged = [*(["`modelpack check`"] if rule.judge else []), *(["`modelpack verify`"] if rule.is_probed else [])]
    facts = [
        ("severity", ", ".join(eased) or next(iter(severities))),
        ("looks at", ", ".join(f"{KINDS[letter]} ({code(letter)})" for letter in rule.kinds.split(","))),
        ("targets", ", ".join(code(target.name) for target in held)),
        ("judged by", " and ".join(judged)),
        *([("what to do", plain(rule.do))] if rule.do else []),
        ("source", plain(rule.source)),
    ]
    return [
        f"### {rule.id}",
        f"{plain(_sentence(rule.title))}",
        "\n".join(f"- **{name}**: {fact}" for name, fact in facts),
    ]


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
