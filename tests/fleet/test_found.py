"""Which files are recipes: if these fail, a fleet's commands fail over files that are nobody's images."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit.fleet.found import recipes_in


@pytest.mark.parametrize(
    "other",
    [
        "env/lib/python3.12/anywhere",
        "lib/python3.12/site-packages/recipes",
        "pages/node_modules/x",
        "venv",
        ".git",
    ],
)
def test_what_other_tools_keep_beside_the_recipes_is_none_of_the_fleet(tmp_path: Path, other: str) -> None:
    """A virtual environment beside the recipes holds modelpack's own first recipes, which say FILL-IN."""
    for place in ("granite", other):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "recipe.yaml").write_text("kind: modelcar\n")
    (tmp_path / "env").mkdir(exist_ok=True)
    for environment in (tmp_path, tmp_path / "env"):
        (environment / "pyvenv.cfg").touch()
    assert recipes_in([tmp_path]) == [tmp_path / "granite" / "recipe.yaml"]
