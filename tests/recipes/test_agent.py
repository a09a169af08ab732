"""The plan of an agent: if these fail, a hosted deployment refuses the image, or a package is missing in it."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import io
import json
import platform
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit import flow
from buildkit.build import Context
from buildkit.engines.made import made_layer
from buildkit.errors import Drifted, EngineFailed, InvalidInput
from buildkit.events import Said
from buildkit.fleet.asking import Questions
from buildkit.fleet.state import Change
from buildkit.fleet.status import state_of
from buildkit.kinds import Kind, kind_named
from buildkit.lockfile import lock as locks
from buildkit.machine.cache import cache_folder
from buildkit.oci.manifest import Manifest
from buildkit.oci.process import merged
from buildkit.oci.reference import Digest, Platform
from buildkit.pin import Inventory
from buildkit.plan import MadeLayer, Maker, Plan, Secret
from buildkit.policy import Policy, pin
from buildkit.recipe import Recipe, load
from buildkit.settings import find
from buildkit.start import start
from recipes.agent import packages, reserved, settle
from recipes.agent.compiler import compiler_for
from recipes.agent.kind import AgentSpec, agent
from recipes.agent.uvlock import environment, wheels_of
from tests.place import Place, put_base

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "samples" / "agent"
AMD64 = Platform.parse("linux/amd64")
HASH = "sha256:" + "a" * 64
INDEX = "https://index.example/files"


def locked(name: str, *wheels: str, version: str = "1.0", **more: Any) -> dict[str, Any]:
    """A package of a lock, with its source distribution and these wheels."""
    files = [{"url": f"{INDEX}/{name.replace('-', '_')}-{version}-{tags}.whl", "hash": HASH} for tags in wheels]
    package = {"name": name, "version": version, "source": {"registry": "https://index.example/simple"}}
    return {**package, "sdist": {"url": f"{INDEX}/{name}-{version}.tar.gz", "hash": HASH}, "wheels": files, **more}


def lock(*packages: dict[str, Any], needs: Any = ("fastapi", "uvicorn"), **more: Any) -> dict[str, Any]:
    dependencies = [{"name": one} if isinstance(one, str) else one for one in needs]
    root = {
        "name": "my-agent",
        "version": "0.1.0",
        "source": {"virtual": "."},
        "dependencies": dependencies,
        "metadata": {"requires-dist": [{"name": one["name"]} for one in dependencies]},
    }
    return {"version": 1, "requires-python": ">=3.11", "package": [root, *packages], **more}


def toml(value: Any) -> str:
    """Just so much of TOML as a lock needs."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


PURE = "py3-none-any"
USUAL = (locked("fastapi", PURE), locked("uvicorn", PURE))


class Project:
    """A folder with an agent."""

    def __init__(self, folder: Path, base: str = "docker.io/library/python:3.11-slim") -> None:
        self.folder = folder
        self.base = base
        self.write("main.py", "app = None\n")
        self.lock()

    def write(self, path: str, text: str) -> None:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def lock(self, *packages: dict[str, Any], needs: Any = ("fastapi", "uvicorn"), **more: Any) -> None:
        content = lock(*(packages or USUAL), needs=needs, **more)
        self.write("uv.lock", "\n".join(f"{key} = {toml(value)}" for key, value in content.items()) + "\n")
        names = [one if isinstance(one, str) else one["name"] for one in needs]
        self.write("pyproject.toml", f'[project]\nname = "my_agent"\nversion = "0.1.0"\ndependencies = {toml(names)}\n')

    def recipe(self, **changes: Any) -> Recipe:
        written = {"kind": "agent", "name": "agent", "entrypoint": "main:app", "base": self.base, **changes}
        self.write("recipe.yaml", json.dumps({key: value for key, value in written.items() if value is not None}))
        return load(self.folder / "recipe.yaml")

    def refused(self, **changes: Any) -> str:
        with pytest.raises(InvalidInput) as raised:
            self.recipe(**changes)
        return "\n".join([*map(str, raised.value.problems), *(one.hint for one in raised.value.problems)])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def placed(place: Place) -> Iterator[tuple[Place, Project]]:
    put_base(place.registry, "library/python")
    folder = place.folder / "agent"
    folder.mkdir()
    yield place, Project(folder, f"{place.registry.address}/library/python:latest")


def plan(placed: tuple[Place, Project], **changes: Any) -> Plan:
    place, project = placed
    return flow.render(project.recipe(**changes), place.world())


def test_it_is_a_kind_like_any_other() -> None:
    """The machinery cannot find it, or a third party's kind would need another door."""
    found: Kind = kind_named("agent")
    assert found is agent


def test_init_writes_the_sample(tmp_path: Path) -> None:
    """Who begins gets what is built and asked in the tests, and not something like it."""
    for path in start("agent", tmp_path / "bot", "bot"):
        expected = (SAMPLE / path.name).read_text()
        assert path.read_text() == expected.replace("name: agent\n", "name: bot\n"), path.name
    recipe = load(tmp_path / "bot")
    assert recipe.spec.name == "bot"
    assert isinstance(recipe.spec, AgentSpec)
    assert recipe.spec.reading.locked.has("langgraph")


def test_a_program_that_serves_nothing_is_told(project: Project) -> None:
    """The platform's own example defines its app and ends: the deployment starts again and again, and says nothing."""
    project.write("idle.py", "from fastapi import FastAPI\n\napp = FastAPI()\n")
    told = project.refused(entrypoint=["python3", "idle.py"])
    assert "idle.py defines app and never serves it" in told and "write idle:app" in told
    project.write("alive.py", "import fastapi, uvicorn\napp = fastapi.FastAPI()\nuvicorn.run(app)\n")
    for command in (["python3", "alive.py"], ["python3", "other.py"], ["gunicorn", "idle:app"], "idle:app"):
        project.recipe(entrypoint=command)


def test_the_wheels_are_those_that_uv_means() -> None:
    """A package that uv would install and we would not is an agent that does not start."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    recipe = load(SAMPLE)
    assert isinstance(recipe.spec, AgentSpec)
    command = [
        sys.executable,
        "-m",
        "uv",
        "export",
        "--quiet",
        "--offline",
        "--frozen",
        "--no-dev",
        "--no-emit-project",
    ]
    options = ["--no-hashes", "--no-annotate", "--no-header", f"--project={SAMPLE}"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    asked = [Requirement(line) for line in done.stdout.splitlines()]
    meant = [one for one in asked if one.marker is None or one.marker.evaluate(dict(environment("3.11")))]
    wheels = recipe.spec.reading.locked.wheels
    assert {(wheel.name, f"=={wheel.version}") for wheel in wheels} == {
        (canonicalize_name(one.name), str(one.specifier)) for one in meant
    }


def test_the_image_is_what_the_platform_asks(placed: tuple[Place, Project]) -> None:
    """A user that is root, a shell between, or a place to write that is not /tmp ends the deployment."""
    process = plan(placed, env={"MODEL": "a $HOME"}).process
    assert process["User"] == "1001"
    assert process["Cmd"] == ["python3", "-m", "uvicorn", "main:app", "--host", "0.0.0.0", "--port", "8080"]
    assert process["Entrypoint"] == []
    assert process["ExposedPorts"] == {"8080/tcp": {}}
    assert "Volumes" not in process
    variables = dict(variable.split("=", 1) for variable in process["Env"])
    assert variables["HOME"] == "/tmp"
    assert {variables[name].split("/")[1] for name in ("UV_CACHE_DIR", "XDG_CACHE_HOME")} == {"tmp"}
    assert variables["PYTHONDONTWRITEBYTECODE"] == "1"
    assert variables["MODEL"] == "a $HOME"
    assert not [name for name in variables if reserved.is_reserved(name)]


def test_the_containerfile_says_the_same(placed: tuple[Place, Project]) -> None:
    """buildx and podman would build another image than the plan, or keep uv and a password in it."""
    made = plan(placed, env={"NOTE": 'a "$B"'}, packages=["sqlite3"], secrets={"uv_index_x_password": {"env": "X"}})
    text = made.containerfile
    final = text.rpartition("FROM ")[2]
    assert text.count("FROM ") == 2
    assert all("@sha256:" in line for line in text.splitlines() if line.startswith("FROM "))
    assert "pip install" not in final
    assert "uv " not in final
    assert "run/secrets" not in final
    assert f"CMD {json.dumps(made.process['Cmd'])}" in final
    assert r'ENV NOTE="a \"\$B\""' in final
    assert final.index("apt-get install") < final.index("COPY --from=packages") < final.index("ADD code.tar")
    assert "VOLUME" not in text
    assert made.secrets == (Secret("uv_index_x_password", "X"),)
    assert made.runs == ("apt-get install sqlite3",)
    assert "# syntax" not in text


def test_a_change_of_code_leaves_the_packages(placed: tuple[Place, Project]) -> None:
    """The layer of packages would be made and sent again for every line that is changed."""
    _, project = placed
    before = plan(placed)
    project.write("main.py", "app = 1\n")
    code = plan(placed)
    project.lock(locked("fastapi", PURE, version="2.0"), USUAL[1])
    packages = plan(placed)
    assert [before.layers[0].key, before.layers[1].key != code.layers[1].key] == [code.layers[0].key, True]
    assert packages.layers[0].key != code.layers[0].key
    assert packages.layers[1].key == code.layers[1].key
    assert len({before.digest, code.digest, packages.digest}) == 3


def test_what_the_lock_holds_beside_its_wheels_decides_nothing(placed: tuple[Place, Project]) -> None:
    """A wheel for another system, or a new version of a development tool, must not move the image."""
    _, project = placed
    before = plan(placed).layers[0].key
    project.lock(locked("fastapi", PURE, "cp311-cp311-win_amd64"), USUAL[1], locked("pytest", PURE))
    assert plan(placed).layers[0].key == before


def test_a_new_lock_is_drift(placed: tuple[Place, Project]) -> None:
    """Packages that moved unseen are what a lock is there against."""
    place, project = placed
    flow.lock(project.recipe(), place.world(), Policy.KEEP)
    assert set(json.loads((project.folder / "recipe.lock").read_text())["pins"]["sources"]) == {"project", "python"}
    project.lock(locked("fastapi", PURE, version="2.0"), USUAL[1])
    with pytest.raises(Exception, match=r"(?s)out of date.*python: uv.lock changed"):
        flow.lock(project.recipe(), place.world(), Policy.LOCKED)


def test_status_calls_moved_packages_python(placed: tuple[Place, Project], index: tuple[str, str]) -> None:
    """Who looks after a hundred images must see whether code or packages moved."""
    place, project = placed
    package = locked("native")
    package["wheels"] = [{"url": index[0], "hash": f"sha256:{index[1]}"}]
    project.lock(package, needs=["native"])
    recipe = project.recipe(entrypoint=["native"])
    flow.build(recipe, place.world(), flow.Wanted("embedded", registry=f"{place.registry.address}/agents"))
    assert drift(recipe, place) == {}
    project.write("uv.lock", (project.folder / "uv.lock").read_text() + "\n")
    old = locks.read(recipe.lock_path)
    assert old is not None
    (packages_moved,) = drift(project.recipe(entrypoint=["native"]), place).values()
    assert (packages_moved.reason, packages_moved.what, packages_moved.detail) == ("python", "python", "uv.lock")
    assert packages_moved.old == old.pins.sources["python"].fingerprint != packages_moved.new
    project.write("main.py", "app = None\n\n")
    put_base(place.registry, "library/python", b"the next patch of Python")
    moved = drift(project.recipe(entrypoint=["native"]), place)
    assert set(moved) == {"base", "source", "python"}
    assert (moved["source"].what, moved["source"].detail) == ("project", "main.py")
    assert (moved["source"].old, moved["python"].new) == (
        old.pins.sources["project"].fingerprint,
        packages_moved.new,
    )
    assert moved["base"].old == str(old.pins.images["base"].reference) != moved["base"].new


def drift(recipe: Recipe, place: Place) -> dict[str, Change]:
    """What status tells of an image, by the reasons."""
    state = state_of(recipe, place.world(), Questions(), ())
    assert not state.problems
    return {change.reason: change for change in state.changes}


def test_a_lock_that_changes_meanwhile_is_noticed(placed: tuple[Place, Project]) -> None:
    """The packages of one lock under the pin of another could never be built again."""
    place, project = placed
    recipe = project.recipe()
    project.lock(locked("fastapi", PURE, version="2.0"), USUAL[1])
    with pytest.raises(InvalidInput, match=r"uv\.lock is not the file that was pinned"):
        flow.render(recipe, place.world())


def test_no_image_holds_what_only_builds(placed: tuple[Place, Project]) -> None:
    """A .env in an image is a secret that everybody can pull."""
    _, project = placed
    for path in (".env", "Dockerfile", ".venv/x.py", "__pycache__/main.pyc", ".git/config", "notes.md", "my.pass"):
        project.write(path, "A=1\n")
    project.write(".containerignore", "*.md\n")
    made = plan(placed, secrets={"uv_index_x_password": {"file": "./my.pass"}})
    assert [entry.name for entry in made.layers[1].entries] == ["app", "app/main.py", "app/pyproject.toml"]


def test_extra_files_lie_where_they_are_wanted(placed: tuple[Place, Project]) -> None:
    """A file that the program reads elsewhere is not there."""
    _, project = placed
    project.write("data/a[1].json", "{}")
    project.write("data/b.json", "{}")
    project.write("prompts/x/y.txt", "hi")
    wanted = {"/etc/agent/rules.json": "data/a[1].json", "/srv/prompts/": "./prompts/", "/rules": "data/b.json"}
    extra = plan(placed, extra_files=wanted).layers[1]
    assert [(entry.name, entry.mode, entry.directory) for entry in extra.entries] == [
        ("etc/agent", 0o755, True),
        ("etc/agent/rules.json", 0o644, False),
        ("rules", 0o644, False),
        ("srv/prompts", 0o755, True),
        ("srv/prompts/x", 0o755, True),
        ("srv/prompts/x/y.txt", 0o644, False),
    ]


@pytest.mark.parametrize(
    ("place", "path", "why"),
    [
        ("/app/x", "x", "lies in /app"),
        ("/opt/packages/x", "x", "lies in /opt/packages"),
        ("/tmp/x", "x", "lies in /tmp"),
        ("srv/x", "x", "is not a place"),
        ("/srv/../x", "x", "must not leave"),
        ("/srv/x", "../x", "must not leave"),
        ("/srv/x/", "x", "is a file on one side"),
        ("/", "x/", "empty"),
    ],
)
def test_a_place_that_cannot_be_is_refused(project: Project, place: str, path: str, why: str) -> None:
    """A file over the packages, or under what the platform mounts, is lost."""
    assert why in project.refused(extra_files={place: path})


def test_every_fault_of_a_project_is_told_at_once(project: Project) -> None:
    """Who mends one fault a run mends all day."""
    source = {"name": "local", "version": "0", "source": {"directory": "../local"}}
    git = {"name": "forked", "version": "0", "source": {"git": "https://git.example/x?rev=1#0"}}
    packages = (USUAL[0], locked("onlysource"), locked("windows", "cp311-cp311-win_amd64"), source, git)
    project.lock(*packages, needs=["fastapi", "onlysource", "windows", "local", "forked"])
    project.write(".env", "# mine\nMODEL=x\nexport K_SERVICE=agent\n")
    project.write("Dockerfile", "FROM x\nENV A=1 \\\n  PORT=8080\nARG KUBERNETES_HOST\nENV K_REVISION 7\n")
    project.write("tool/run.py", 'import os\n\nos.environ["PORT"] = "1"\nos.environ.setdefault("K_SERVICE", "x")\n')
    told = project.refused(env={"MODEL": "x"}, entrypoint="nothing:app")
    for part in (
        "uv.lock: onlysource 1.0: has only a source distribution",
        "uv.lock: windows 1.0: has no wheel for Python 3.11 on linux/amd64",
        "uv.lock: local 0: is a folder of this machine",
        "uv.lock: forked 0: is built from a git repository",
        ".env:3: K_SERVICE is reserved",
        "Dockerfile:3: PORT is reserved",
        "Dockerfile:4: KUBERNETES_HOST is reserved",
        "Dockerfile:5: K_REVISION is reserved",
        "tool/run.py:3: PORT is reserved",
        "tool/run.py:4: K_SERVICE is reserved",
        "the project has no module nothing",
        "which uv.lock does not hold",
    ):
        assert part in told


@pytest.mark.parametrize("name", [*sorted(reserved.NAMES), "KUBERNETES_SERVICE_HOST"])
def test_a_reserved_name_is_refused_in_a_recipe(project: Project, name: str) -> None:
    """The platform refuses the container, or overwrites what the agent counts on."""
    assert f"{name} is reserved" in project.refused(env={name: "x"})


def test_reading_a_reserved_name_is_no_fault(project: Project) -> None:
    """An agent may well ask on which revision it runs."""
    project.write("main.py", 'import os\napp = os.environ.get("PORT", os.getenv("K_REVISION"))\nPORT = 8080\n')
    project.write("Dockerfile", "FROM x\nENV A=\"PORT=1\" B='K_SERVICE=2'\n# ENV PORT=1\nRUN PORT=1 true\n")
    project.recipe()


def test_a_wrong_recipe_hides_no_reserved_name(project: Project) -> None:
    """Who mends the recipe first would find the next fault only then."""
    project.write(".env", "PORT=1\n")
    told = project.refused(python="3", entrypoint=7)
    assert ".env:1: PORT is reserved" in told
    assert "is not a version of Python" in told
    assert "is neither module:app" in told


def test_pyproject_defaults_are_looked_through(project: Project) -> None:
    """A tool that sets variables from a project's file sets them in the container as well."""
    text = (project.folder / "pyproject.toml").read_text()
    project.write("pyproject.toml", f'{text}\n[tool.env]\nPORT = "1"\nmore = {{ K_SERVICE = "x" }}\n')
    told = project.refused()
    assert "pyproject.toml:7: PORT is reserved" in told
    assert "pyproject.toml:8: K_SERVICE is reserved" in told


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"python": "3.12.1"}, "is not a version of Python"),
        ({"platforms": ["linux/arm64"]}, "must be 'linux/amd64'"),
        ({"entrypoint": "main"}, "is not module:app"),
        ({"entrypoint": []}, "must not be empty"),
        ({"entrypoint": ["uv", "run", "python", "main.py"]}, '["python3", "main.py"]'),
        ({"entrypoint": 7}, "is neither module:app nor a list"),
        ({"env": {"PYTHONPATH": "/x"}}, "says where the packages are"),
        ({"packages": ["a;b"]}, "is not a Debian package"),
        ({"packages": ["--yes"]}, "is not a Debian package"),
        ({"secrets": {"a": {}}}, "must have one of 'env' and 'file'"),
        ({"secrets": {"a b": {"env": "X"}}}, "is not the id of a secret"),
        ({"project": "elsewhere"}, "is not there"),
    ],
)
def test_what_cannot_be_is_refused_in_words(project: Project, changes: dict[str, Any], why: str) -> None:
    """It would fail in a build, or on the platform, in somebody else's words."""
    assert why in project.refused(**changes)


@pytest.mark.parametrize("missing", ["uv.lock", "pyproject.toml"])
def test_a_project_without_its_files_is_told_how_to_get_them(project: Project, missing: str) -> None:
    """Nothing would be locked."""
    (project.folder / missing).unlink()
    assert f"{missing}: is not there" in project.refused()


def test_a_lock_that_is_behind_or_for_another_python_is_refused(project: Project) -> None:
    """The image would lack what the program imports."""
    project.write("pyproject.toml", '[project]\nname = "my-agent"\ndependencies = ["fastapi", "Lang_Graph[x]>=1"]\n')
    assert "uv.lock: does not hold lang-graph" in project.refused()
    project.lock(**{"requires-python": ">=3.13"})
    assert "is for Python >=3.13" in project.refused()
    project.write("uv.lock", "version = 1\npackage = [\n")
    assert "is not TOML" in project.refused()


def test_the_base_follows_the_python(project: Project) -> None:
    """The packages would be for another Python than the base has."""
    assert project.recipe(base=None, python="3.12").spec.base == "docker.io/library/python:3.12-slim"  # type: ignore[attr-defined]
    assert project.recipe(base=None).spec.base == "docker.io/library/python:3.11-slim"  # type: ignore[attr-defined]


def test_a_project_that_is_built_from_src_is_found_there(placed: tuple[Place, Project]) -> None:
    """It is not installed: its packages are imported where they lie."""
    _, project = placed
    project.write("src/bot/web.py", "app = None\n")
    text = (project.folder / "pyproject.toml").read_text()
    project.write("pyproject.toml", f'{text}[build-system]\nrequires = ["hatchling"]\n')
    variables = plan(placed, entrypoint="bot.web:app").process["Env"]
    assert "PYTHONPATH=/app/src:/app:/opt/packages" in variables


def test_markers_extras_and_forks_decide_which_packages_are_meant() -> None:
    """A package for Windows in the image is harmless; one for Linux that is missing is not."""
    needs = [
        {"name": "my-agent", "extra": ["own"]},
        {"name": "win", "marker": "sys_platform == 'win32'"},
        {"name": "old", "marker": "python_full_version < '3.11.3'"},
        {"name": "forked", "version": "2.0", "marker": "python_full_version >= '3.11'"},
        {"name": "forked", "version": "1.0", "marker": "python_full_version < '3.11'"},
    ]
    more: dict[str, Any] = {"optional-dependencies": {"fast": [{"name": "b"}]}, "dependencies": [{"name": "c"}]}
    back = locked("c", PURE, dependencies=[{"name": "a"}])
    packages = [locked("a", PURE, **more), locked("b", PURE), back, locked("win", PURE), locked("old", PURE)]
    packages += [locked("forked", PURE, version="1.0"), locked("forked", PURE, version="2.0")]
    content = lock(*packages, needs=needs)
    content["package"][0]["optional-dependencies"] = {"own": [{"name": "a", "extra": ["fast"]}]}
    found = wheels_of(content, "My_Agent", "3.11")
    assert [(wheel.name, wheel.version) for wheel in found.wheels] == [
        ("a", "1.0"),
        ("b", "1.0"),
        ("c", "1.0"),
        ("forked", "2.0"),
        ("old", "1.0"),
    ]
    assert not found.problems


@pytest.mark.parametrize(
    ("wheels", "best"),
    [
        (["py3-none-any", "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64"], 1),
        (["cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_28_x86_64"], 1),
        (["cp39-abi3-manylinux_2_17_x86_64", "cp312-cp312-manylinux_2_17_x86_64"], 0),
        (["cp311-cp311-manylinux_2_17_aarch64", "cp311-cp311-musllinux_1_2_x86_64", "py3-none-any"], 2),
    ],
)
def test_the_best_wheel_is_taken(wheels: list[str], best: int) -> None:
    """A slower wheel, or one that the base cannot load."""
    found = wheels_of(lock(locked("a", *wheels), needs=["a"]), "my-agent", "3.11")
    assert found.wheels[0].url.endswith(f"{wheels[best]}.whl")


def test_an_address_with_a_password_is_refused() -> None:
    """It would stand in the lock of everybody who reads the recipe, and in the stage's file."""
    package = locked("a", PURE)
    package["wheels"][0]["url"] = "https://me:secret@index.example/a-1.0-py3-none-any.whl"
    found = wheels_of(lock(package, needs=["a"]), "my-agent", "3.11")
    assert "user name or password" in str(found.problems[0])
    assert "secret" not in str(found.problems[0])


@given(st.text(max_size=200))
def test_any_text_is_looked_through_for_names(text: str) -> None:
    """A file that trips the search would keep a good project from being built."""
    for reader in (reserved._of_env, reserved._of_containerfile, reserved._of_toml, reserved._of_program):
        assert all(isinstance(line, int) for line, _ in reader(text))


def installed(folder: Path, interpreter: str) -> Path:
    """What an installer leaves: a package with a program, a script, notes of its own and a list of files."""
    info = folder / "tool-1.0.dist-info"
    for path, text in {
        "tool/__init__.py": "def main(): return 3\n",
        "tool/template.py": "def {{ name }}(:\n",
        "bin/tool": f"#!{interpreter}\nimport sys\n",
        "bin/plain": f"#!/bin/sh\n'''exec' '{interpreter}' \"$0\" \"$@\"\n' '''\nprint(1)\n",
        "tool-1.0.dist-info/entry_points.txt": "[console_scripts]\ntool = tool:main\n",
        "tool-1.0.dist-info/direct_url.json": "{}",
        "tool-1.0.dist-info/RECORD": "tool/__init__.py,,\nbin/tool,,\ntool-1.0.dist-info/direct_url.json,,\n"
        "tool-1.0.dist-info/RECORD,,\n",
        ".lock": "",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "bin" / "plain").chmod(0o700)
    assert info.is_dir()
    return folder


def test_a_settled_folder_names_no_machine(tmp_path: Path) -> None:
    """Two engines would lay two layers, and a program would look for the Python of the machine that built it."""
    folders = [installed(tmp_path / name, f"/home/{name}/bin/python3") for name in ("one", "two")]
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    contents = []
    for folder in folders:
        settle.main(str(folder), "opt/packages", version)
        contents.append({path: settle.read(str(folder), path) for path in settle.files(str(folder))})
        for path in folder.rglob("*"):
            program = path.is_dir() or path.parent.name == "bin"
            assert (path.stat().st_mode & 0o777, path.stat().st_mtime) == (0o755 if program else 0o644, 0)
    assert contents[0] == contents[1]
    tag = sys.implementation.cache_tag
    assert sorted(contents[0]) == [
        "bin/plain",
        "bin/tool",
        "tool-1.0.dist-info/RECORD",
        "tool-1.0.dist-info/entry_points.txt",
        "tool/__init__.py",
        f"tool/__pycache__/__init__.{tag}.pyc",
        "tool/template.py",
    ]
    assert contents[0]["bin/plain"] == b"#!/usr/bin/env python3\nprint(1)\n"
    pyc = contents[0][f"tool/__pycache__/__init__.{tag}.pyc"]
    assert pyc[4:8] == b"\1\0\0\0", "it would be compared with its source, whose time is not kept"
    assert b"/opt/packages/tool/__init__.py" in pyc
    environment = {"PYTHONPATH": str(folders[0]), "PATH": str(Path(sys.executable).parent)}
    assert subprocess.run([folders[0] / "bin" / "tool"], env=environment, check=False).returncode == 3


def test_another_python_writes_no_bytecode(tmp_path: Path) -> None:
    """Bytecode of another version is never read, and only makes the layer larger."""
    folder = installed(tmp_path / "x", "/usr/bin/python3")
    settle.main(str(folder), "opt/packages", "3.999")
    assert not [path for path in settle.files(str(folder)) if path.endswith(".pyc")]
    with pytest.raises(SystemExit, match=r"the base has Python .* python: 3\.999"):
        settle.main(str(folder), "opt/packages", "3.999", "needed")


def test_a_machine_without_that_python_says_so() -> None:
    """An agent that starts slower than it did on another machine, and nobody knows why."""
    place, maker = compiler_for("3.99", {})
    assert place == ""
    assert maker.version == "without bytecode"
    assert maker.remark and "uv python install 3.99" in maker.remark.hint


def test_the_base_s_own_version_of_python_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded engine writes other bytecode than buildx does, and two machines other bytecode than one another."""
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    minor, mine = f"{sys.version_info[0]}.{sys.version_info[1]}", platform.python_version()
    place, maker = compiler_for(minor, {"PYTHON_VERSION": mine})
    asked = subprocess.run([place, "--version"], capture_output=True, text=True, check=True).stdout
    assert asked == f"Python {mine}\n"
    assert (maker.version, maker.remark) == (f"bytecode by Python {mine}", None)
    assert compiler_for(minor, {"PYTHON_VERSION": minor})[1].remark is None, "the base says nothing that could differ"
    place, maker = compiler_for(minor, {"PYTHON_VERSION": f"{minor}.99"})
    assert place and maker.version.startswith(f"bytecode by Python {minor}.")
    assert maker.remark and f"the base has {minor}.99" in maker.remark.what
    assert f"uv python install {minor}.99" in maker.remark.hint


def context_of(folder: Path, told: list[Any]) -> Context:
    return Context(folder, folder / "recipe.yaml", find(folder), {}, {}, ("latest",), told.append)


def test_a_made_layer_says_what_of_the_machine_decides_it(tmp_path: Path) -> None:
    """A layer that was compiled by another Python under the same key would be another digest than the lock promises."""
    told: list[Any] = []

    def layer(by: str) -> MadeLayer:
        key = packages.packages((), "3.11", (), (), None).key
        return MadeLayer(
            "packages", key, "opt/x", lambda place, *_: (place / "a").write_text(by) and None, by=lambda _: Maker(by)
        )

    made = [made_layer(layer(by), AMD64, {}, context_of(tmp_path, told)) for by in ("Python 1", "Python 2", "Python 1")]
    assert made[0].blob.key == made[2].blob.key != made[1].blob.key
    assert [event.text for event in told if isinstance(event, Said)] == [
        "making packages for linux/amd64, Python 1",
        "making packages for linux/amd64, Python 2",
    ]


def test_a_made_file_that_is_gone_is_told_with_what_to_do(tmp_path: Path) -> None:
    """Somebody empties the cache while it is pushed, and the system's error does not say what to do."""
    layer = MadeLayer("packages", Digest.of(b"gone"), "opt/x", lambda place, *_: (place / "a").write_text("a") and None)
    blob = made_layer(layer, AMD64, {}, context_of(tmp_path, [])).blob
    (cache_folder() / "made" / blob.key.removeprefix("sha256:") / "a").unlink()
    with pytest.raises(EngineFailed, match="cannot be read any more") as failed:
        list(blob.open())
    assert "delete" in failed.value.hint


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A wheel with code for another processor, at an address on loopback, and its sha256."""
    folder = tmp_path / "index"
    folder.mkdir()
    wheel = folder / "native-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    info = "native-1.0.dist-info"
    contents = {
        "native/__init__.py": b"from native.code import main\n",
        "native/code.cpython-311-x86_64-linux-gnu.so": b"no machine runs this",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: native\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: cp311-cp311-manylinux_2_28_x86_64\n",
        f"{info}/entry_points.txt": b"[console_scripts]\nnative = native:main\n",
    }
    lines = "".join(f"{path},,\n" for path in [*contents, f"{info}/RECORD"])
    with zipfile.ZipFile(wheel, "w") as written:
        for path, content in {**contents, f"{info}/RECORD": lines.encode()}.items():
            written.writestr(path, content)
    handler = functools.partial(QuietFiles, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{wheel.name}", hashlib.sha256(wheel.read_bytes()).hexdigest()
        server.shutdown()
        thread.join()


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, without a line on stderr for each; below /private/ for me:hidden-word alone."""

    def do_GET(self) -> None:
        wanted = "Basic " + base64.b64encode(b"me:hidden-word").decode()
        if self.path.startswith("/private/") and self.headers.get("Authorization") != wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
            return
        self.path = self.path.removeprefix("/private")
        super().do_GET()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def test_an_image_for_another_processor_is_built_and_nothing_of_it_runs(
    placed: tuple[Place, Project], index: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An arm64 laptop has no way to run it: the embedded engine must not need to, nor uv a second time."""
    place, project = placed
    package = locked("native")
    package["wheels"] = [{"url": index[0], "hash": f"sha256:{index[1]}"}]
    project.lock(package, needs=["native"])
    programs: list[str] = []
    real = subprocess.run

    def watched(command: Any, *rest: Any, **options: Any) -> Any:
        programs.append(Path(command[0]).name)
        return real(command, *rest, **options)

    monkeypatch.setattr(subprocess, "run", watched)
    recipe = project.recipe(entrypoint=["native"])
    registry = f"{place.registry.address}/agents"
    built = flow.build(recipe, place.world(), flow.Wanted("embedded", registry=registry))
    assert {name.rstrip("0123456789.") for name in programs} <= {"uv", "python"}
    store = place.world().repository(place.world().settings.registry(registry).repository("agent"))
    document = store.resolve("latest")
    assert document is not None
    assert document.digest == built.sealing.digest
    layers = Manifest.read(document).layers
    with tarfile.open(fileobj=io.BytesIO(b"".join(store.fetch(layers[1])))) as tar:
        entries = {member.name: member for member in tar}
    assert {"opt/packages/native/code.cpython-311-x86_64-linux-gnu.so", "opt/packages/bin/native"} <= entries.keys()
    assert entries["opt/packages/bin/native"].mode & 0o777 == 0o755
    assert not [name for name in entries if name.endswith(("direct_url.json", ".lock"))]
    programs.clear()
    project.write("main.py", "app = 2\n")
    changed = flow.build(
        project.recipe(entrypoint=["native"]), place.world(), flow.Wanted("embedded", registry=registry)
    )
    assert changed.sealing.digest != built.sealing.digest
    assert not programs, "what is in the cache was made again"


def test_locked_is_refused_where_another_python_would_compile(
    placed: tuple[Place, Project], index: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock names a digest: a machine that cannot make that image must not push another one under its tag."""
    place, project = placed
    package = locked("native")
    package["wheels"] = [{"url": index[0], "hash": f"sha256:{index[1]}"}]
    project.lock(package, needs=["native"])
    recipe = project.recipe(entrypoint=["native"])
    registry = f"{place.registry.address}/agents"
    wanted = flow.Wanted("embedded", Policy.LOCKED, registry=registry)
    first = flow.build(recipe, place.world(), flow.Wanted("embedded", registry=registry))
    assert flow.build(recipe, place.world(), wanted).sealing.digest == first.sealing.digest
    before = recipe.lock_path.read_bytes()
    monkeypatch.setattr(packages, "compiler_for", lambda *_: ("", Maker("without bytecode")))
    with pytest.raises(Drifted, match=r"(?s)recipe\.lock promises another image.*packages: is made otherwise"):
        flow.build(recipe, place.world(), wanted)
    assert recipe.lock_path.read_bytes() == before
    assert flow.build(recipe, place.world(), flow.Wanted("embedded", registry=registry)).sealing.digest


def test_a_private_index_is_given_its_password(
    placed: tuple[Place, Project], index: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A company's own packages are in every second agent, and their password must be in nothing that is kept."""
    place, project = placed
    host, _, name = index[0].rpartition("/")
    package = locked("native")
    package["wheels"] = [{"url": f"{host}/private/{name}", "hash": f"sha256:{index[1]}"}]
    project.lock(package, needs=["native"])
    text = (project.folder / "pyproject.toml").read_text()
    project.write("pyproject.toml", f'{text}[[tool.uv.index]]\nname = "mine"\nurl = "{host}/private/simple"\n')
    monkeypatch.setenv("MY_PASSWORD", "hidden-word")
    (project.folder / "my.user").write_text("me\n")
    secrets = {"uv_index_mine_password": {"env": "MY_PASSWORD"}, "uv_index_mine_username": {"file": "my.user"}}
    recipe = project.recipe(entrypoint=["native"], secrets=secrets)
    flow.build(recipe, place.world(), flow.Wanted("embedded", registry=f"{place.registry.address}/agents"))
    kept = [path for path in project.folder.rglob("*") if path.is_file() and b"hidden-word" in path.read_bytes()]
    assert not kept
    told = flow.render(recipe, place.world())
    assert "hidden-word" not in told.containerfile
    assert "hidden-word" not in json.dumps([told.process, dict(told.annotations)])
    assert "--mount=type=secret,id=uv_index_mine_password,required=true" in told.containerfile


def test_a_wheel_that_cannot_be_had_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only uv knows why; whoever builds must read it, and no traceback."""
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    package = locked("a", PURE)
    package["wheels"][0]["url"] = "http://127.0.0.1:9/a-1.0-py3-none-any.whl"
    found = wheels_of(lock(package, needs=["a"]), "my-agent", "3.11")
    layer = packages.packages(found.wheels, "3.11", (), (), tmp_path)
    with pytest.raises(EngineFailed, match="could not be unpacked"):
        layer.make(tmp_path / "made", AMD64, {}, {})


def test_a_secret_is_given_to_uv_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A private index needs its password, and nobody else may see it."""
    monkeypatch.setenv("MINE", "hidden-word")
    (tmp_path / "password").write_text("other-word\n")
    seen = packages._credentials([Secret("uv_index_a_password", "MINE"), Secret("b", "", "password")], tmp_path)
    assert seen == {"UV_INDEX_A_PASSWORD": "hidden-word", "B": "other-word"}
    monkeypatch.delenv("MINE")
    with pytest.raises(EngineFailed, match="MINE is not set"):
        packages._credentials([Secret("uv_index_a_password", "MINE")], tmp_path)


def test_the_path_is_the_bases_with_ours_before_it() -> None:
    """A base that has its Python elsewhere would lose it."""
    ours = {"Env": ["PATH=/opt/packages/bin:${PATH}", "NOTE=a:${PATH}"]}
    first = merged({"Env": ["PATH=/venv/bin:/bin"]}, ours)
    assert first["Env"] == ["PATH=/opt/packages/bin:/venv/bin:/bin", "NOTE=a:${PATH}"]
    assert merged(first, ours)["Env"] == first["Env"]


def test_a_plan_of_an_unread_recipe_asks_for_it(placed: tuple[Place, Project]) -> None:
    """Without its folder a recipe has no packages, and an image without them does not start."""
    spec = AgentSpec.model_validate({"kind": "agent", "name": "a", "entrypoint": "main:app"})
    pins = pin(placed[1].recipe(), None, placed[0].world(), Policy.KEEP, builders=False)
    with pytest.raises(InvalidInput, match="is not the file that was pinned"):
        agent.plan(spec, pins)
    assert isinstance(pins.sources["python"], Inventory)


def test_an_archive_for_the_stage_holds_what_is_locked(placed: tuple[Place, Project]) -> None:
    """The stage would unpack other wheels than the embedded engine."""
    place, project = placed
    folder = project.folder.parent / "rendered"
    flow.render_into(project.recipe(), place.world(), folder)
    with tarfile.open(folder / "packages.tar") as tar:
        names = tar.getnames()
        told = tar.extractfile("lock/requirements.txt")
        assert told is not None
        assert told.read().decode().startswith(f"fastapi @ {INDEX}/fastapi-1.0-py3-none-any.whl --hash=sha256:aaaa")
    assert names == ["lock", "lock/requirements.txt", "lock/settle.py", "lock/uv.toml"]
    assert (folder / "code.tar").is_file()
