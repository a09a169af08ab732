"""``modelpack run``: what is mounted where, before any engine is started."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from buildkit.errors import InvalidInput
from buildkit.probe.containers import Mount
from buildkit.recipe import Recipe
from buildkit.verifying.foreground import run, source_of
from buildkit.verifying.verify import Chosen
from recipes.agent.kind import AgentSpec, agent
from recipes.server.kind import ServerSpec, server


def recipe(kind: Any, spec: Any = None) -> Recipe:
    return Recipe(Path("/project/recipe.yaml"), cast(Any, spec), kind)


def test_code_is_mounted_where_its_kind_says(tmp_path: Path) -> None:
    """A change of the code must be seen without a build."""
    says = SimpleNamespace(source=lambda spec: ("agent", "/app"))
    assert source_of(recipe(says)) == Mount(Path("/project/agent"), "/app")


def test_a_kind_without_code_mounts_nothing() -> None:
    """A model has no code; and a third party's kind need not know of any of this."""
    assert source_of(recipe(SimpleNamespace())) is None
    assert source_of(recipe(SimpleNamespace(source=lambda spec: None))) is None


def test_the_kinds_that_have_code_say_so() -> None:
    """Agents and servers are what one works on with this loop."""
    spec = ServerSpec.model_construct(code=SimpleNamespace(path="src"))
    assert source_of(recipe(server, spec)) == Mount(Path("/project/src"), "/app")
    project = AgentSpec.model_construct(project=SimpleNamespace(path="."))
    assert source_of(recipe(agent, project)) == Mount(Path("/project"), "/app")


def test_a_target_that_runs_no_server_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KServe mounts a model: there is nothing to ask on a port."""
    engine = SimpleNamespace(name="played", find=lambda name: "id")
    with pytest.raises(InvalidInput, match="runs no server"):
        run("model", None, cast(Any, SimpleNamespace(emit=print)), cast(Any, engine), Chosen(("kserve",)), 0)
