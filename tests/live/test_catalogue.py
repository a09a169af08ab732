"""The page about a fleet, looked at in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from buildkit.card import Card
from buildkit.catalogue.entry import Entry, Model, Part, Past, Verdict
from buildkit.catalogue.page import page, write

pytestmark = pytest.mark.live

WIDTHS = {"phone": (360, 740), "desktop": (1280, 900)}
EVIL = "<script>document.title = 'taken'</script>"


def entry(number: int) -> Entry:
    digest = f"sha256:{number:064x}"
    return Entry(
        name=f"team-{number % 7}/granite-{number:03d}",
        path=f"models/granite-{number:03d}/recipe.yaml",
        kind="modelcar",
        description=EVIL if number == 3 else "A model that answers.",
        references=(f"quay.io/me/granite-{number:03d}:v1",),
        digest=digest,
        platforms=("linux/amd64",),
        base="registry.access.redhat.com/ubi9/ubi-micro:latest@sha256:" + "a" * 64,
        models=(
            Model(
                *("model", "huggingface", f"org/granite-{number}", "b" * 40, 12, 5_000_000_000),
                Card(("apache-2.0",), task="text-generation", languages=("en", "de")),
                f"https://huggingface.co/org/granite-{number}/tree/{'b' * 40}",
            ),
        ),
        parts=(
            Part("base", 9_000_000, "sha256:" + "c" * 64, base=True),
            *(Part(f"model-{shard:05d}-of-00004.safetensors", 1_200_000_000, f"sha256:{shard:064x}") for shard in range(4)),
        ),
        verdicts=(Verdict("kserve:modelcar", warnings=("KS-10: the tag is latest",) if number % 2 else ()),),
        history=(Past("2026-11-20", "0123456789ab", digest, "Rebuild"), Past("2026-10-01", "ba9876543210", "sha256:" + "d" * 64)),
        drift=("base: base",) if number % 5 == 0 else (),
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    entries = [entry(number) for number in range(199)]
    entries.append(Entry("broken", "models/broken/recipe.yaml", problem=f"models/broken/recipe.yaml:1: {EVIL}"))
    return write(page(entries, "Model images", asked=True), tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield started
        started.close()


@pytest.fixture(params=WIDTHS)
def opened(request: pytest.FixtureRequest, browser: Browser, site: Path) -> Iterator[Page]:
    width, height = WIDTHS[request.param]
    shown = browser.new_page(viewport={"width": width, "height": height})
    asked: list[str] = []
    shown.on("request", lambda one: asked.append(one.url))
    shown.goto(site.as_uri())
    yield shown
    shown.close()
    assert all(url.startswith("file:") for url in asked), f"the page fetches something: {asked}"


def test_nothing_hangs_over_the_edge_and_nothing_is_taken(opened: Page) -> None:
    """On a phone one has to scroll sideways, or a model's card runs a script in the reader's browser."""
    assert opened.locator("li.image").count() == 200
    wide = opened.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"the page is {wide} pixels wider than the screen"
    opened.locator("summary").first.click()
    opened.locator("summary").nth(3).click()
    assert opened.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert opened.title() == "Model images"


def test_it_is_found_and_read_by_keyboard_alone(opened: Page) -> None:
    """Who has no mouse cannot find an image, see its details, or copy its digest."""
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.textContent") == "Skip to the images"
    opened.keyboard.press("Tab")
    opened.keyboard.type("granite-042")
    assert opened.locator("li.image:visible").count() == 1
    assert opened.locator("#shown").inner_text() == "1 of 200 shown"
    for _ in range(6):
        opened.keyboard.press("Tab")
        if opened.evaluate("document.activeElement.tagName") == "SUMMARY":
            break
    opened.keyboard.press("Enter")
    assert opened.get_by_text("podman pull quay.io/me/granite-042@sha256:").is_visible()
    assert opened.get_by_role("button", name="Copy the digest of team-0/granite-042").is_visible()


def test_it_reads_without_scripts(browser: Browser, site: Path) -> None:
    """Where scripts are off the images are not there, or controls that do nothing are."""
    context = browser.new_context(java_script_enabled=False)
    shown = context.new_page()
    shown.goto(site.as_uri())
    assert shown.locator("li.image:visible").count() == 200
    assert not shown.locator("#find").is_visible() and not shown.locator("button").first.is_visible()
    shown.locator("summary").first.click()
    assert shown.get_by_text("modelpack deploy models/granite-000/recipe.yaml --target kserve:modelcar").is_visible()
    context.close()


def test_the_accessibility_checker_finds_nothing(opened: Page) -> None:
    """A screen reader meets names that say nothing, or colours that cannot be told apart."""
    from axe_playwright_python.sync_playwright import Axe

    opened.evaluate(
        "document.querySelectorAll('li.image:nth-child(-n+12) details').forEach(one => { one.open = true })"
    )
    results = Axe().run(opened)
    told = [(one["id"], one["nodes"][0]["html"][:200]) for one in results.response["violations"]]
    assert not told, told
