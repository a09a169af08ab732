"""The tab key: if these fail, it offers nothing, or what does not exist, or makes a shell wait."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from buildkit.cli.completion import joined
from buildkit.targets import TARGETS
from tests.cli.test_cli import modelpack

BASH = shutil.which("bash")
SETTINGS = {"registries": {"team": {"host": "quay.io", "prefix": "us/models"}, "lab": {"host": "registry.lab.example"}}}


def offered(line: str, shell: str = "zsh", cwd: Path | None = None) -> str:
    """What a shell's own script would be answered at the end of a line."""
    words = line.split(" ")
    asked = {
        "_MODELPACK_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = modelpack(cwd=cwd, COMP_WORDS="\n".join(words), **asked, _TYPER_COMPLETE_FISH_ACTION="get-args")
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "modelpack.yaml").write_text(json.dumps(SETTINGS))
    folder = tmp_path / "below"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("modelpack re", ["render", "rebuild"]),
        ("modelpack init t", ["triton"]),
        ("modelpack build --engine ", ["auto", "embedded", "buildx", "podman"]),
        ("modelpack build --registry ", ["team", "lab", "ocir"]),
        ("modelpack login te", ["team"]),
        ("modelpack copy oci:image l", ["lab"]),
        ("modelpack check --target kserve:", ["kserve:modelcar", "kserve:native", "kserve:fetch"]),
        ("modelpack targets KS-0", ["KS-01", "KS-09"]),
        ("modelpack ci g", ["github", "gitlab"]),
        ("modelpack scan x --fail-on ", ["critical", "high"]),
        ("modelpack verify --en", ["--engine", "--env"]),
    ],
)
def test_what_may_stand_there_is_offered(project: Path, line: str, expected: list[str]) -> None:
    """Nobody knows the names of 13 targets, 121 rules and their own registries by heart."""
    for shell in ("zsh", "fish"):
        told = offered(line, shell, project)
        # zsh reads what stands behind a colon as the explanation, unless the colon is escaped.
        assert not [word for word in expected if word not in told.replace(r"\\:", ":")], told


@pytest.mark.skipif(BASH is None, reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("modelpack check --target kserve:", {"modelcar", "native", "fetch"}),
        ("modelpack check --target kserve:na", {"native"}),
        ("modelpack check --target vert", {"vertex"}),
        ("modelpack targets ", {*TARGETS, "kserve", "modelarts", "azureml"}),
        ("modelpack build --registry te", {"team"}),
        ("modelpack copy oci:image te", {"team"}),
    ],
)
def test_bash_itself_completes(project: Path, typed: str, expected: set[str]) -> None:
    """bash tears words at their colons: what is offered must fit behind what was typed, or it stands there twice."""
    script = f"""
    eval "$(modelpack --show-completion bash)"
    breaks=$' \\t\\n"\\'><=;|&(:'
    COMP_LINE={typed!r}; COMP_POINT=${{#COMP_LINE}}
    read -ra COMP_WORDS <<< "$(printf %s "$COMP_LINE" | sed 's/:/ : /g')"
    [[ "$COMP_LINE" == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
    _modelpack_completion modelpack
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert set(done.stdout.split()) == expected, done.stderr


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_completion_is_installed_where_the_shell_looks(tmp_path: Path) -> None:
    """``modelpack --install-completion`` must be all that has to be typed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "--norc", "-c", "modelpack --install-completion; true"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "bash" in done.stdout, done.stderr
    rc = (tmp_path / ".bashrc").read_text()
    script = rc.split("source ")[1].split("\n")[0].strip().strip("'")
    assert "_MODELPACK_COMPLETE=complete_bash" in Path(script).read_text()


def test_a_broken_file_of_settings_completes_to_nothing(tmp_path: Path) -> None:
    """A shell that prints an error in the middle of a line has torn it."""
    (tmp_path / "modelpack.yaml").write_text("registries: [")
    for line in ("modelpack build --registry ", "modelpack login q"):
        assert "team" not in offered(line, "bash", tmp_path)


def test_completion_imports_no_more_than_it_needs() -> None:
    """Whoever presses the tab key waits for it: no library of a hub, registry or engine may be loaded for it."""
    script = (
        "import sys; sys.argv = ['modelpack']\nfrom buildkit.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'huggingface_hub', 'python_on_whales', 'oras', 'urllib3', 'jinja2', 'cyclonedx', 'ruamel'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    for line in ("modelpack b", "modelpack init m"):
        asked = {"_MODELPACK_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": line}
        done = subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, **asked}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"


@given(some.lists(some.text(alphabet="ab/.-", min_size=1), min_size=1), some.data())
def test_torn_words_are_joined_as_they_were(words: list[str], data: some.DataObject) -> None:
    """What bash tore at colons must be read as it was typed, or the options before it are lost."""
    torn: list[str] = []
    whole: list[str] = []
    for word in words:
        tail = data.draw(some.sampled_from(["", "x", "x:y"]))
        whole.append(f"{word}:{tail}" if tail else word)
        torn += [word, *(piece for part in tail.split(":") for piece in (":", part))] if tail else [word]
    assert joined(torn, len(torn) - 1) == (whole, len(whole) - 1)
