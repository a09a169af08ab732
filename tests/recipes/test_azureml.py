"""An image for Azure ML: if these fail, its build ends after minutes, or Azure takes another image than was locked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from buildkit.deploying import Wish, deploy
from buildkit.errors import InvalidInput
from buildkit.judging.chosen import chosen_targets
from buildkit.oci.reference import Digest, Platform, Reference
from buildkit.pin import File, ImagePin, Inventory, Pins
from buildkit.plan import Plan
from buildkit.recipe import Recipe, load
from buildkit.settings import find
from buildkit.world import World
from recipes.azureml.installer import DEFAULT
from recipes.azureml.kind import azureml
from tests.containerfiles.test_containerfile import both

AMD64 = Platform("linux", "amd64")
CONDA = "dependencies:\n  - pip\n  - pip:\n      - flask==3.1.2\n"
ROUTE = {"port": 8080, "path": "/x"}
ROUTES = {"liveness_route": ROUTE, "readiness_route": ROUTE, "scoring_route": ROUTE}
SERVED: Mapping[str, Any] = {"command": ["server", "--port=8080"], "inference_config": ROUTES}


def recipe(folder: Path, conda: str = CONDA, **written: Any) -> Recipe:
    (folder / "conda.yaml").write_text(conda)
    path = folder / "recipe.yaml"
    path.write_text(json.dumps({"kind": "azureml", "name": "az", **written}))
    return load(path)


def plan(folder: Path, **written: Any) -> Plan:
    spec = recipe(folder, **written).spec
    base = ImagePin(
        Reference.parse(str(dict(spec.images())["base"])).at(Digest.of(b"base")), {AMD64: Digest.of(b"amd64")}
    )
    file = File("conda.yaml", 3, sha256="1" * 64)
    sources = {
        "conda_file": Inventory("folder", ".", (file,)),
        "code": Inventory("folder", "app", (File("server.py", 2, sha256="2" * 64),)),
    }
    for key, source in spec.sources():
        if key.startswith("installer."):
            one = source.urls[0]  # type: ignore[union-attr]
            sources[key] = Inventory("http", "x", (File(one.file_path, 9, sha256=one.sha256 or "", url=one.url),))
    return azureml.plan(spec, Pins({"base": base}, sources))


def refusal(folder: Path, conda: str = CONDA, **written: Any) -> str:
    with pytest.raises(InvalidInput) as raised:
        recipe(folder, conda, **written)
    return str(raised.value) + "".join(problem.hint for problem in raised.value.problems)


def test_a_server(tmp_path: Path) -> None:
    """The endpoint starts nothing, runs as root, or is built from an installer that nobody checked."""
    planned = plan(tmp_path, code="./app", env={"A": '$x "y"'}, **SERVED)
    text = planned.containerfile
    froms = [line for line in text.splitlines() if line.startswith("FROM ")]
    assert froms == [f"FROM docker.io/library/ubuntu:24.04@{Digest.of(b'base')}{end}" for end in (" AS conda", "")]
    assert set(planned.archives) == {"installer.tar", "environment.tar", "code.tar"}
    (installer,) = planned.archives["installer.tar"]
    assert [file.entry.name for file in installer.files] == ["installer/x86_64.sh"]
    assert installer.files[0].file.sha256 == DEFAULT.amd64.sha256  # type: ignore[union-attr]
    assert "curl" not in text and "wget" not in text and "apt-get" not in text
    assert planned.process["User"] == "1001:0" and planned.process["Cmd"] == ["server", "--port=8080"]
    assert planned.process["ExposedPorts"] == {"8080/tcp": {}}
    last = text.split("FROM ")[-1]
    for line in (
        "USER 1001:0",
        'CMD ["server", "--port=8080"]',
        "EXPOSE 8080",
        'ENV A="\\$x \\"y\\""',
        "ADD code.tar /",
    ):
        assert line in last
    assert "RUN" not in last
    assert both(text).count("FROM") == 2
    assert planned.process["Labels"]["org.opencontainers.image.base.digest"] == Digest.of(b"base")
    assert "embedded" in planned.blocked


OWN_ROUTES = {
    "liveness_route": {"port": 9090, "path": "/live"},
    "readiness_route": {"port": 9090, "path": "/loaded"},
    "scoring_route": {"port": 9090, "path": "/score"},
}
OWN: Mapping[str, Any] = {"command": ["server"], "inference_config": OWN_ROUTES}
IMAGE = f"team.azurecr.io/az@{Digest.of(b'image')}"


@pytest.mark.parametrize("targets", [[], ["azureml"], [{"name": "azureml:v2", "readiness": "/loaded"}]])
def test_the_routes_of_the_recipe_are_deployed_and_asked(tmp_path: Path, targets: list[Any]) -> None:
    """The endpoint asks 8080/health of a server that answers at 9090/live, and never becomes ready."""
    written = recipe(tmp_path, **OWN, targets=targets)
    deploy(written, World(find(tmp_path), lambda event: None), [], tmp_path / "out", Wish(image=IMAGE))
    for name, above in (("deployment.yml", "environment"), ("environment.yml", None)):
        document = yaml.safe_load((tmp_path / "out" / name).read_text())
        assert (document[above] if above else document)["inference_config"] == OWN_ROUTES
    ((_, changed),) = chosen_targets(written, ["azureml"], {"port": 7000})
    assert changed.model_dump()["port"] == 7000
    ((_, elsewhere),) = chosen_targets(written, ["vertex"])
    assert elsewhere.model_dump()["port"] == 9090


def test_a_target_and_the_routes_must_say_the_same(tmp_path: Path) -> None:
    """The image exposes one port, and the endpoint is told another: only one of the two places is right."""
    target = {"name": "azureml", "port": 9000, "readiness": "/ready", "scoring": "/score"}
    with pytest.raises(InvalidInput) as raised:
        recipe(tmp_path, **OWN, targets=[target])
    told = {problem.where.rpartition(" ")[2]: problem.what for problem in raised.value.problems}
    assert told == {
        "targets[0].port": "says 9000, and inference_config.scoring_route.port says 9090",
        "targets[0].readiness": "says /ready, and inference_config.readiness_route.path says /loaded",
    }


def test_what_azure_builds_on(tmp_path: Path) -> None:
    """Azure cannot install above an image whose user is not root, and a command of ours hides the base's."""
    for variant in ("v1", "v2"):
        planned = plan(tmp_path, variant=variant)
        assert planned.process["User"] == "0:0"
        assert "Cmd" not in planned.process and "Entrypoint" not in planned.process
        assert "CMD" not in planned.containerfile
        assert "HOME=/tmp" not in planned.process["Env"]
    assert '"ubuntu 16.04")' in plan(tmp_path, variant="v1", base="ubuntu:16.04", python="3.6.15").containerfile


def test_both_architectures(tmp_path: Path) -> None:
    """An arm64 image is made with the installer of amd64."""
    planned = plan(tmp_path, platforms=["linux/arm64", "linux/amd64"])
    (installer,) = planned.archives["installer.tar"]
    assert [file.entry.name for file in installer.files] == ["installer/aarch64.sh", "installer/x86_64.sh"]


def test_what_decides_the_image_decides_the_plan(tmp_path: Path) -> None:
    """Another Python is built, and the lock says that nothing changed."""
    first = plan(tmp_path, **SERVED).digest
    assert plan(tmp_path, **SERVED).digest == first
    assert plan(tmp_path, python="3.12.7", **SERVED).digest != first
    installer = {"amd64": {"url": "https://x.org/i.sh", "sha256": "3" * 64}}
    assert plan(tmp_path, installer=installer, **SERVED).digest != first


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"base": "ubuntu:20.04"}, "no Ubuntu that v2 takes"),
        ({"base": "ubuntu:focal-2024"}, "no Ubuntu that v2 takes"),
        ({"base": "nvidia/cuda:12.4.1-base-ubuntu20.04"}, "no Ubuntu that v2 takes"),
        ({"base": "ubuntu:14.04", "variant": "v1"}, "no Ubuntu that v1 takes"),
        ({"base": "scratch"}, "no Ubuntu that v2 takes"),
        ({"python": "3.12"}, "'3.12' is not a pinned Python"),
        ({"python": "3.6.15"}, "too old for v2"),
        ({"platforms": ["linux/s390x"]}, "no file for linux/s390x"),
        ({"installer": {"amd64": {"url": "https://x.org/i.sh"}}}, "has no sha256"),
        ({"installer": {}}, "names no file"),
        ({"command": ["x"]}, "needs both or none"),
        ({"inference_config": ROUTES}, "needs both or none"),
        ({**SERVED, "variant": "v1"}, "v1 builds its own server"),
        (
            {**SERVED, "inference_config": {**ROUTES, "scoring_route": {"port": 1, "path": "/"}}},
            "names the ports 1, 8080",
        ),
        (
            {**SERVED, "inference_config": {**ROUTES, "scoring_route": {"port": 8080, "path": "x"}}},
            "not a path of a server",
        ),
        ({**SERVED, "inference_config": {"liveness_route": ROUTE}}, "readiness_route"),
        ({"user": "root"}, "user"),
        ({"conda_file": "./none.yaml"}, "there is no"),
    ],
)
def test_what_a_recipe_must_not_say(tmp_path: Path, written: dict[str, Any], told: str) -> None:
    """A build of minutes ends in an error of conda's, or Azure refuses what was pushed."""
    assert told in refusal(tmp_path, **written)


@pytest.mark.parametrize(
    "base", ["ubuntu:22.04", "ubuntu:noble", "mcr.microsoft.com/x/y:1", "nvidia/cuda:12.4.1-base-ubuntu22.04"]
)
def test_bases_that_are_taken(tmp_path: Path, base: str) -> None:
    """A base that Azure takes is refused, because its name says nothing: the build asks the image."""
    recipe(tmp_path, base=base)


@pytest.mark.parametrize(
    ("conda", "told"),
    [
        ("dependencies: []\n", "conda.yaml:1"),
        ("name: x\n", "lists nothing under 'dependencies'"),
        (
            "dependencies:\n  - python=3.9\n",
            "conda.yaml:2: dependencies[0]: asks for Python 3.9, and the recipe for 3.12.8",
        ),
        (
            "dependencies:\n  - numpy\n  - gxx_linux-64=13\n",
            "conda.yaml:3: dependencies[1]: gxx_linux-64 is a compiler",
        ),
        ("dependencies:\n  - pip:\n      - -r requirements.txt\n", "conda.yaml:3"),
        ("dependencies:\n  - pip:\n      - ./wheel.whl\n", "is a file of your machine"),
        ("dependencies:\n  - pip:\n      - --index-url https://me:pass@x.org/simple\n", "holds a password"),
        ("dependencies:\n  - {npm: [a]}\n", "is neither a package"),
        ("dependencies:\n  - pip: [1]\n", "must be a text"),
        ("dependencies:\n  - 'a b c!'\n  - '!'\n", "is not a package of conda's"),
        ("[a]\n", "conda.yaml"),
        ("", "is empty"),
    ],
)
def test_what_an_environment_must_not_say(tmp_path: Path, conda: str, told: str) -> None:
    """The solver says it after ten minutes, without a line."""
    assert told in refusal(tmp_path, conda)


def test_everything_is_told_at_once(tmp_path: Path) -> None:
    """Whoever mends one line after another waits for each."""
    said = refusal(tmp_path, "dependencies:\n  - python=3.9\n  - gcc\n  - pip: [./x]\n")
    assert all(told in said for told in ("Python 3.9", "gcc is a compiler", "a file of your machine"))


@pytest.mark.parametrize(
    "item",
    ["python", "python=3.12", "python==3.12.8", "python>=3.10", "python=3.12.8=h_cpython", "conda-forge::numpy=2.1"],
)
def test_packages_that_fit(tmp_path: Path, item: str) -> None:
    """An environment that conda exports itself is refused."""
    recipe(tmp_path, f"dependencies:\n  - {json.dumps(item)}\n")


def test_the_first_project_is_a_good_one(tmp_path: Path) -> None:
    """What ``modelpack init`` writes does not load."""
    for path, text in azureml.starter("az").items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    assert load(tmp_path).spec.name == "az"
    with pytest.raises(InvalidInput):
        azureml.starter("A Z")
