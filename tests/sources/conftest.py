"""What the tests of the sources share: a hub with one model on it, and a library that keeps its cache to the test."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import huggingface_hub.constants
import pytest
from huggingface_hub.utils import _detect_agent

from buildkit.errors import SourceFailed
from buildkit.inputs import HuggingFaceRef
from buildkit.pin import File, Inventory, Source
from buildkit.sources.huggingface import HuggingFace
from buildkit.sources.token import Token
from tests.fakes.faults import Action, Asked
from tests.fakes.hub import Hub

NAME = "org/model"
SMALL = random.Random(1).randbytes(40_000)
LARGE = random.Random(2).randbytes(3_000_000)


@dataclass
class Model:
    """A model on a fake hub: `open_hub` makes a source for it that never sleeps but writes down how long it would."""

    hub: Hub
    commit: str
    waits: list[float] = field(default_factory=list)

    def source(
        self,
        *,
        token: str | None = None,
        pinned: Inventory | None = None,
        revision: str = "main",
        hf: str = NAME,
        window: int = 1 << 26,
    ) -> HuggingFace:
        return HuggingFace(
            HuggingFaceRef(hf=hf, revision=revision),
            self.hub.endpoint,
            lambda: Token(token) if token else None,
            pinned=pinned,
            wait=self.waits.append,
            window=window,
        )

    def hurt(
        self,
        path: str,
        action: Action,
        *,
        skip: int = 0,
        times: int | None = 1,
        when: Callable[[Asked], bool] | None = None,
    ) -> None:
        """Switches a fault on for the bytes of a file: small ones come from the hub itself, large ones from its storage."""
        small = path == "config.json"
        where, place = ("hub", "/resolve/") if small else ("cdn", "")
        self.hub.faults.add(action, method="GET", origin=where, path=place, skip=skip, times=times, when=when)


@pytest.fixture(autouse=True)
def library(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's library decides on its folders when it is imported; here each test has its own."""
    home = tmp_path_factory.mktemp("hf")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(home / "token"))
    # It would ask the public hub which programs are known to call it.
    monkeypatch.setattr(_detect_agent, "_registry", {"standardEnvVars": [], "harnesses": {}})
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    return home


@pytest.fixture
def model() -> Iterator[Model]:
    with Hub() as hub:
        yield Model(hub, hub.add(NAME, {"config.json": SMALL, "weights/model.safetensors": LARGE}))


def named(inventory: Inventory, path: str) -> File:
    return next(file for file in inventory.files if file.path == path)


def content(source: Source, file: File, start: int = 0) -> bytes:
    return b"".join(source.open(file, start))


def failure(action: Callable[[], object]) -> SourceFailed:
    """The SourceFailed that an action ends with."""
    with pytest.raises(SourceFailed) as caught:
        action()
    return caught.value
