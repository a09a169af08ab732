"""The plan of a server: if these fail, a platform refuses its image, or asks endpoints that are not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from buildkit import flow
from buildkit.checks.subject import Given, Subject
from buildkit.engines.embedded import Embedded
from buildkit.errors import InvalidInput, ModelpackError
from buildkit.events import Event, Warned
from buildkit.kinds import kind_named
from buildkit.oci.manifest import ImageConfig
from buildkit.oci.reference import Digest, Platform, Reference
from buildkit.pin import File, ImagePin, Inventory, Pins
from buildkit.plan import Plan, PlannedLayer
from buildkit.recipe import load
from buildkit.settings import find
from buildkit.targets.reading import ports_asked
from buildkit.world import World
from recipes.server import commands, requirements
from recipes.server.fields import MOUNTS
from recipes.server.kind import ServerSpec, server
from recipes.server.planned import LARGE
from recipes.server.routes import Route, configuration
from tests.containerfiles.test_containerfile import HOSTILE, both
from tests.fakes.registry import Registry
from tests.place import put_base

AMD64 = Platform("linux", "amd64")
BASE = ImagePin(
    Reference.parse("docker.io/library/python:3.11-slim").at(Digest.of(b"python")), {AMD64: Digest.of(b"amd64")}
)
SAMPLES = Path(__file__).parents[2] / "samples"


def file(path: str, size: int = 3) -> File:
    return File(path, size, sha256=Digest.of(path.encode()).hex)


SOURCES = {
    "code": Inventory("folder", ".", (file("app.py"), file("lib/x.py"))),
    "requirements": Inventory("folder", ".", (file("requirements.txt"),)),
    "model": Inventory("folder", "artifact", (file("model.joblib"), file("big/one", LARGE))),
}


def spec(**written: Any) -> ServerSpec:
    return ServerSpec.model_validate({"kind": "server", "name": "x", "command": ["python3", "app.py"], **written})


def plan(**written: Any) -> Plan:
    wanted = spec(**written)
    return server.plan(wanted, Pins({"base": BASE}, {key: SOURCES[key] for key, _ in wanted.sources()}))


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """A recipe with files beside it."""

    def write(files: dict[str, str] | None = None, **recipe: Any) -> Path:
        for name, text in (files or {}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        path = tmp_path / "recipe.yaml"
        lines = {"kind": "server", "name": "x", "command": ["serve-it"], **recipe}
        path.write_text("\n".join(f"{key}: {json.dumps(value)}" for key, value in lines.items()) + "\n")
        return path

    return write


def refused(path: Path) -> str:
    with pytest.raises(InvalidInput) as caught:
        load(path)
    return "\n".join(f"{problem} ({problem.hint})" for problem in caught.value.problems)


def names(layer: object) -> list[str]:
    assert isinstance(layer, PlannedLayer)
    return [entry.name for entry in layer.entries]


def test_it_is_a_kind_like_any_other() -> None:
    """The machinery cannot find it."""
    assert kind_named("server") is server


def test_layers_lie_in_the_order_in_which_they_change() -> None:
    """A change of the code moves the model again, or a file lies where nobody looks for it."""
    planned = plan(code=".", model="./artifact", requirements="requirements.txt")
    assert list(planned.archives) == ["init.tar", "model.tar", "code.tar", "requirements.tar"]
    assert [names(layer) for layer in planned.layers] == [
        ["opt/modelpack", "opt/modelpack/init"],
        ["models", "models/big", "models/big/one", "models/model.joblib"],
        ["app", "app/app.py", "app/lib", "app/lib/x.py"],
    ]
    (first,) = planned.layers[0].files
    assert (first.entry.mode, first.entry.uid) == (0o755, 0)
    per_file = plan(model="./artifact", layers="per-file", model_path="/srv/model")
    assert [names(layer)[-1] for layer in per_file.layers[1:]] == ["srv/model/model.joblib", "srv/model/big/one"]
    assert {"model-1.tar", "model-2.tar"} < set(per_file.archives)


def test_the_process() -> None:
    """A platform finds no command, a root that may be written, or no model."""
    planned = plan(code=".", env={"HOME": "/x", "A": "1"}, port=5000, user=1000)
    assert {**planned.process, "Labels": {}} == {
        "User": "1000",
        "WorkingDir": "/app",
        "Env": [
            "A=1",
            "HOME=/x",
            "MODEL_DIR=/opt/ds/model/deployed_model",
            "PYTHONDONTWRITEBYTECODE=1",
            "PYTHONUNBUFFERED=1",
        ],
        "Entrypoint": ["/opt/modelpack/init"],
        "Cmd": ["python3", "app.py"],
        "ExposedPorts": {"5000/tcp": {}},
        "Labels": {},
    }
    assert "MODEL_DIR=/models" in plan(model="./artifact").process["Env"]
    assert plan(entrypoint=["vllm", "serve"], command=["m"]).process["Entrypoint"][1:] == ["vllm", "serve"]
    asked = plan(serve=True, entrypoint=["vllm", "serve"], command=["m"]).process
    assert (asked["Entrypoint"], asked["Cmd"]) == (
        ["/opt/modelpack/init", "--words", "3", "vllm", "serve", "m"],
        [],
    )
    assert plan(init=False).process["Entrypoint"] == [] and plan(init=False).layers == ()


def test_the_containerfile_says_what_the_plan_says() -> None:
    """What is built by hand is another image than what modelpack builds."""
    planned = plan(
        code=".",
        model="./artifact",
        requirements="requirements.txt",
        packages=["libgomp1"],
        routes={"/predict": "/v1/completions"},
        env={"A": 'it\'s $HOME "x"'},
    )
    text = planned.containerfile
    assert both(text) == [
        *["FROM", "USER", "ADD", "FROM", "LABEL", "USER", "RUN", "ADD", "RUN", "RUN", "ADD", "ADD"],
        *["ENV", "ENV", "ENV", "ENV", "ENV", "WORKDIR", "EXPOSE", "USER", "ENTRYPOINT", "CMD"],
    ]
    assert text.count(f"FROM {BASE.reference}") == 2
    assert 'ENV A="it\'s \\$HOME \\"x\\""' in text
    assert text.endswith('ENTRYPOINT ["/opt/modelpack/init"]\nCMD ["python3", "app.py"]\n')
    assert "nginx -t" in text and '"$need libgomp1"' in text and "/var/lib/apt/lists" in text
    assert planned.network and planned.own_layers
    assert [line.split()[3] for line in planned.runs] == ["curl,", "libgomp1", "nginx", "what"]


def test_hashes_decide_how_pip_is_asked(project: Callable[..., Path]) -> None:
    """A package that was replaced on its index is installed all the same."""
    hashed = {"requirements.txt": f"a==1 \\\n    --hash=sha256:{'0' * 64}\n# b\n"}
    files = Pins({"base": BASE}, {"requirements": SOURCES["requirements"]})
    with_hashes = server.plan(load(project(hashed, requirements="requirements.txt")).spec, files)
    assert "--require-hashes --requirement" in with_hashes.containerfile and not with_hashes.warnings
    without = server.plan(load(project({"requirements.txt": "\na\nb\n"}, requirements="requirements.txt")).spec, files)
    assert "--require-hashes" not in without.containerfile
    (warning,) = without.warnings
    assert str(warning) == "requirements.txt:2: 2 packages have no hash: another build may install other files"


def test_a_lock_of_uv(project: Callable[..., Path]) -> None:
    """Other versions are installed than were locked, or uv stays in the image."""
    lock = '[[package]]\nname = "x"\nsource = { virtual = "." }\n[[package]]\nname = "a"\nsource = { registry = "https://pypi.org/simple" }\n'
    path = project({"pyproject.toml": "[project]\nname='x'\n", "uv.lock": lock}, requirements="uv.lock")
    recipe = load(path)
    ((key, reference),) = list(recipe.spec.sources())
    assert key == "requirements" and getattr(reference, "files", None) == ("uv.lock", "pyproject.toml")
    planned = server.plan(recipe.spec, Pins({"base": BASE}, {key: SOURCES["requirements"]}))
    stage, _, image = planned.containerfile.partition("\nLABEL")
    assert (
        "uv export --quiet --locked --no-dev --no-emit-project" in stage
        and "uv " not in image.partition("target=/lock")[2]
    )
    assert "--require-hashes --requirement /lock/packages.txt; " in image and not planned.warnings


def test_a_lock_with_what_no_index_has(project: Callable[..., Path]) -> None:
    """The build fails after minutes, on one package after the other."""
    lock = "".join(
        f'[[package]]\nname = "{name}"\nsource = {{ {source} }}\n'
        for name, source in {"x": 'editable = "."', "y": 'directory = "../y"', "z": 'git = "https://x.org/z"'}.items()
    )
    told = refused(project({"pyproject.toml": "", "uv.lock": lock}, requirements="uv.lock"))
    assert "y comes from a directory" in told and "z comes from a git" in told and "x comes" not in told
    (Path(project(requirements="uv.lock")).parent / "uv.lock").write_text("[[")
    assert "not TOML" in refused(project(requirements="uv.lock"))
    assert "'other/uv.lock' is not there" in refused(project(requirements="other/uv.lock"))


def test_everything_that_is_wrong_with_requirements_is_told(project: Callable[..., Path]) -> None:
    """One fault is found per build."""
    wrong = {
        "-e .": "editable",
        "git+https://x.org/a": "git",
        "a @ git+https://x.org/a": "git",
        "./a.whl": "file of this machine",
        "a @ file:///a.whl": "file of this machine",
        "--find-links wheels": "file of this machine",
        "--index-url https://me:secret@x.org/simple": "password",
        "-r ../other.txt": "'..'",
        "--requirement=missing.txt": "is not there",
        "-c https://x.org/c.txt": "URL",
    }
    lines = ["fine==1", "--pre", "-i https://x.org/simple", "fine[extra]>=1 ; python_version > '3'  # why", *wrong]
    told = refused(project({"requirements.txt": "\n".join(lines)}, requirements="requirements.txt"))
    assert "secret" not in told
    for number, (text, why) in enumerate(wrong.items(), 5):
        found = next((line for line in told.splitlines() if f"requirements.txt:{number}:" in line), "")
        assert why in found, (text, told)
    assert len(told.splitlines()) == len(wrong)


def test_included_requirements_are_taken_along(project: Callable[..., Path]) -> None:
    """pip looks for a file that is not in the build."""
    texts = {"deps/all.txt": "-r base.txt\n-c ../pins.txt\na\n", "deps/base.txt": "b\n", "pins.txt": "b==1\n"}
    found = requirements.read(project(texts).parent, "deps/all.txt")
    assert "'..'" in str(found.refusals[0]), "a path that climbs is refused, even to a file that is there"
    texts["deps/all.txt"] = "-r base.txt\na\n"
    found = requirements.read(project(texts).parent, "deps/all.txt")
    assert (found.files, found.refusals) == (("deps/all.txt", "deps/base.txt"), ())


@given(st.text(max_size=200))
def test_no_requirements_file_breaks_the_reader(text: str) -> None:
    """A traceback instead of a line number."""
    lines = list(requirements._lines("r.txt", text))
    assert all(line.text and 1 <= line.number <= text.count("\n") + text.count("\r") + 9 + len(text) for line in lines)
    for line in lines:
        requirements._refusal(line)


@pytest.mark.parametrize(
    ("written", "key", "why"),
    [
        ({"port": 80}, "port", "1024"),
        ({"port": 24224}, "port", "8446"),
        ({"port": 8446}, "port", "24224"),
        ({"user": "bob"}, "user", "number"),
        ({"packages": ["a; rm"]}, "packages", "package's name"),
        ({"packages": ["-y"]}, "packages", "package's name"),
        *(({"model": "./m", "model_path": f"{mount}/x"}, "model_path", "hidden") for mount in MOUNTS),
        ({"model": "./m", "model_path": "/opt/ds"}, "model_path", "hidden"),
        ({"model": "./m", "model_path": "/usr/share/m"}, "model_path", "system"),
        ({"model": "./m", "model_path": "models"}, "model_path", "absolute"),
        ({"model": "./m", "model_path": "/a/../b"}, "model_path", ".."),
        ({"model": "./m", "model_path": "/app/m", "code": "."}, "model_path", "/app"),
        ({"command": None}, "command", "missing"),
        ({"command": ["x" * 3000]}, "command", "2048"),
        ({"command": ["s", "--port", "9000"]}, "command", "port 9000, and port is 8080"),
        ({"command": ["s", "--port=9000"], "routes": {"/predict": "/x"}}, "command", "server_port is 8000"),
        ({"command": ["gunicorn", "-b", "0.0.0.0:5000", "a"]}, "command", "port 5000"),
        ({"command": ["s", "--host", "127.0.0.1"]}, "command", "nobody outside"),
        ({"routes": {"/predict": "/x"}, "server_port": 8080}, "server_port", "nginx listens there"),
        ({"server_port": 8000}, "server_port", "without routes"),
        ({"routes": {"predict": "/x"}}, "routes", "not a path"),
        ({"routes": {"/a b": "/x"}}, "routes", "not a path"),
        ({"routes": {"/a": "/x?y"}}, "routes", "not a path"),
        ({"routes": {"/a": "/x;}"}}, "routes", "not a path"),
        ({"routes": {"/a": "/$host"}}, "routes", "not a path"),
        ({"routes": {"/a/../b": "/x"}}, "routes", "not a path"),
        ({"routes": {"/a/*": "/x"}}, "routes", "one side"),
        ({"routes": {"/a": {"to": "/x", "method": "PATCH"}}}, "routes", "GET"),
        ({"routes": {"/a": "/x"}, "init": False}, "init", "routes"),
        ({"serve": True, "init": False}, "init", "serve"),
        ({"env": {"AIP_MODE": "x"}}, "env", "reserved"),
        ({"env": {"TENANCY_OCID": "x"}}, "env", "reserved"),
    ],
)
def test_what_a_platform_would_refuse(
    project: Callable[..., Path], written: dict[str, Any], key: str, why: str
) -> None:
    """It is found at the deployment, an hour later."""
    path = project(**written)
    line = path.read_text().splitlines().index(next(x for x in path.read_text().splitlines() if x.startswith(key))) + 1
    told = refused(path)
    assert why in told and f":{line}: {key}" in told, told


def test_code_that_is_forgotten(project: Callable[..., Path]) -> None:
    """The container ends with "No such file" on the platform."""
    for command in (["python", "api.py"], ["uvicorn", "api:app"], ["python", "-m", "api"], ["python", "./api.py"]):
        assert "write code: ." in refused(project({"api.py": ""}, command=command)), command
    load(project({"api.py": ""}, command=["python", f"{MOUNTS[0]}/api.py"]))
    load(project({"api.py": ""}, command=["python", "api.py"], code="."))


def test_the_length_of_a_command_counts_all_of_it() -> None:
    """A command of just the limit is refused by the platform, with what stands before it."""
    longest = commands.LONGEST - len("/opt/modelpack/init") - 1
    plan(command=["x" * longest])
    with pytest.raises(InvalidInput, match="2048"):
        plan(command=["x" * (longest + 1)])


def test_a_ready_base_needs_no_engine() -> None:
    """A user without docker cannot lay code and model onto an image that is ready."""
    ready = plan(code=".", model="./artifact", curl="base")
    assert not ready.runs and not ready.network and "RUN" not in ready.containerfile
    assert Embedded().lacks(ready) == []
    told = "\n".join(map(str, Embedded().lacks(plan(requirements="requirements.txt", routes={"/predict": "/x"}))))
    assert "'curl: base'" in told and "nginx" in told and "requirements.txt" in told


def test_the_model_is_not_in_the_code_too() -> None:
    """The model is in the image twice."""
    ((_, code), _) = list(spec(code=".", model="./artifact").sources())
    assert getattr(code, "exclude", ()) == ("artifact/*",)
    ((_, code), _) = list(spec(code="src", model="./src/m[1]").sources())
    assert getattr(code, "exclude", ()) == ("m[[]1]/*",)
    ((_, code), _) = list(spec(code="src", model="./srcs").sources())
    assert getattr(code, "exclude", ()) == ()


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_value_becomes_an_instruction(hostile: str) -> None:
    """A variable or an argument runs something while the image is built."""
    try:
        text = plan(env={"A": hostile}, command=["x", hostile], labels={"a": hostile}).containerfile
    except (ModelpackError, ValidationError):
        return
    assert both(text)[-9:] == ["ENV", "ENV", "ENV", "ENV", "WORKDIR", "EXPOSE", "USER", "ENTRYPOINT", "CMD"][-9:]


def test_the_same_recipe_the_same_plan() -> None:
    """A build counts as new where nothing changed, or as done where something did."""
    first = plan(code=".", routes={"/predict": "/x"})
    assert first.digest == plan(code=".", routes={"/predict": "/x"}).digest
    assert first.digest != plan(code=".", routes={"/predict": "/y"}).digest
    assert first.digest != plan(code=".", routes={"/predict": "/x"}, curl="base").digest


def test_the_port_behind_the_routes_is_no_platform_s_business() -> None:
    """'modelpack check' warns that the server listens on another port than the platform asks, and it is meant to."""
    routed = plan(routes={"/predict": "/x"}, command=["s", "--port", "8000"])
    for process, told in ((routed.process, {}), ({**routed.process, "Labels": {}}, {8000: "--port 8000"})):
        content = {"os": "linux", "architecture": "amd64", "config": process, "rootfs": {"diff_ids": []}}
        config = ImageConfig.read(json.dumps(content).encode())
        subject = Subject(spec(targets=["oci-data-science"]).targets[0], "", Given(config=config))
        assert ports_asked(subject, {}) == told


def test_the_configuration_of_nginx() -> None:
    """A path is asked that another was meant by, or an answer waits for its end."""
    routes = {
        "/predict": Route(to="/v1/completions"),
        "/v1/*": Route(to="/v1/*"),
        "/health": Route(to="/m", method="GET"),
    }
    text = configuration(routes, 8080, 8000, 7)
    assert 'location = "/predict" {\n      proxy_pass http://127.0.0.1:8000/v1/completions;\n    }' in text
    assert 'location ^~ "/v1/" {\n      proxy_pass http://127.0.0.1:8000/v1/;\n    }' in text
    assert "proxy_method GET;" in text and "listen 8080;" in text and "worker_shutdown_timeout 7s;" in text
    assert not any(line.split()[0] == "user" for line in text.splitlines() if line.split())


def test_a_new_project_locks_and_renders(tmp_path: Path) -> None:
    """'modelpack init server' writes something that does not even load."""
    with Registry() as registry:
        put_base(registry, "library/python")
        for name, text in server.starter("first").items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text.replace("3.11-slim", "latest"))
        (tmp_path / "modelpack.yaml").write_text(json.dumps({"mirrors": {"docker.io": registry.address}}))
        events: list[Event] = []
        recipe = load(tmp_path)
        planned = flow.render(recipe, World(find(tmp_path), events.append))
    assert recipe.spec.name == "first" and not any(isinstance(event, Warned) for event in events)
    assert [names(layer)[-1] for layer in planned.layers] == [
        "opt/modelpack/init",
        "models/weights.json",
        "app/app.py",
    ]
    assert "--require-hashes" in planned.containerfile


def test_a_warning_is_told_before_the_build(tmp_path: Path, project: Callable[..., Path]) -> None:
    """Nobody learns that the next build may install other packages."""
    with Registry() as registry:
        put_base(registry, "library/python")
        project({"requirements.txt": "flask\n"}, requirements="requirements.txt", base="python:latest")
        (tmp_path / "modelpack.yaml").write_text(json.dumps({"mirrors": {"docker.io": registry.address}}))
        events: list[Event] = []
        flow.render(load(tmp_path), World(find(tmp_path), events.append))
    (warning,) = [event for event in events if isinstance(event, Warned)]
    assert "requirements.txt:1: a package has no hash" in warning.text and "--generate-hashes" in warning.hint


@pytest.mark.parametrize("recipe", ["classifier/recipe.yaml", "classifier/baked.yaml", "completions/recipe.yaml"])
def test_the_samples_can_be_read(recipe: str) -> None:
    """A sample teaches something wrong."""
    spec = load(SAMPLES / recipe).spec
    assert isinstance(spec, ServerSpec) and (spec.needed.hashed or not spec.requirements)
