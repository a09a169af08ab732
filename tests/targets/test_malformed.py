"""Images that nobody's tool writes: if these fail, a stranger's image ends a command as a fault of our own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from buildkit.checks.examine import examine
from buildkit.errors import InvalidInput
from buildkit.inspect import look
from buildkit.judging.images import check_image
from tests.targets.drafts import OVMS, VLLM, model, write
from tests.targets.test_examine import world

DEEP = b"[" * 100_000
"""JSON that is nested deeper than Python reads it."""


def test_an_index_of_shards_that_is_nested_without_end_is_a_finding(tmp_path: Path) -> None:
    """One file of a stranger's model keeps everything else of it from being judged."""
    image = write(VLLM.with_(model("model.safetensors.index.json", DEEP)), tmp_path)
    found, _ = check_image(image, world(tmp_path), ["kserve"])
    assert "KS-13" in {one.rule.id for one in found[0].findings}


@pytest.mark.parametrize("history", [["a"], {"a": 1}, 5])
def test_a_history_that_is_none_is_refused(tmp_path: Path, history: object) -> None:
    """An image with such a history cannot be looked at, and a build makes another one like it from it."""
    image = write(replace(OVMS, odd_config={"history": history}), tmp_path)
    for read in (look, examine):
        with pytest.raises(InvalidInput, match="no valid history"):
            read(image, world(tmp_path))
