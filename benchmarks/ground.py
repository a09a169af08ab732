"""What every benchmark stands on: a folder, a registry, a hub, the engines that are there, and models of synthetic bytes."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import data
from benchmarks.measure import Command
from benchmarks.servers import BenchRegistry, CountingHub, Storage, bench_registry
from tests.fakes.hub import Hub
from tests.live.engines import ELSEWHERE, EngineMissingError, podman_environment, start_docker

PROJECT = Path(__file__).resolve().parents[1]
REPOSITORY = "bench/model"


@dataclass(frozen=True)
class Engine:
    """An engine that runs here: the variables that lead to it, and the process of its daemon, if any."""

    environment: Mapping[str, str]
    daemons: tuple[int, ...] = ()


@dataclass
class Ground:
    """``scale`` multiplies every size; ``engines`` by name, ``absent`` says why one is not there."""

    folder: Path
    scale: float
    registry: BenchRegistry
    hub: Hub
    engines: dict[str, Engine] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def counters(self) -> tuple[BenchRegistry, CountingHub]:
        """The servers whose figures count."""
        return self.registry, CountingHub(self.hub)

    def shards(self, gibibytes: float, count: int) -> Path:
        """A model of so many bytes in so many shards, by the scale; the folder that holds its files."""
        size = self.bytes(gibibytes)
        return data.shards(self.folder / f"data-{size // data.MIB}-{count}", size, count)

    def bytes(self, gibibytes: float) -> int:
        """So many GiB by the scale, in whole MiB."""
        return max(1, int(gibibytes * self.scale * 1024)) * data.MIB

    def fresh(self, name: str) -> Path:
        """An empty folder."""
        folder = self.folder / "runs" / f"{name}-{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        return folder

    def publish(self, models: Path, name: str = "bench/model") -> str:
        """Commits a folder to the hub, as it is now; the model's line for a recipe."""
        self.hub.add(name, {path.relative_to(models).as_posix(): path for path in models.rglob("*") if path.is_file()})
        return f"hf://{name}@main"

    def url(self, file: str, name: str = "bench/model") -> str:
        """Where a file of a published model is."""
        return f"{self.hub.endpoint}/{name}/resolve/main/{file}"

    def recipe(self, model: Path | str, layers: str = "per-file") -> Path:
        """A folder with a recipe for a folder of files or a model of the hub, and without a lock."""
        folder = self.fresh("recipe")
        source = model if isinstance(model, str) else "./models"
        if isinstance(model, Path):
            (folder / "models").symlink_to(model)
        lines = [
            "kind: modelcar",
            "name: model",
            f"model: {source}",
            f"base: {self.registry.base}",
            f"layers: {layers}",
        ]
        (folder / "recipe.yaml").write_text("\n".join([*lines, "tags: [v1]", ""]), encoding="utf-8")
        (folder / "modelpack.yaml").write_text(f"hub: {{endpoint: {self.hub.endpoint}}}\n", encoding="utf-8")
        return folder

    def modelpack(self, recipe: Path, *options: str, cache: Path | None = None, namespace: str = "bench") -> Command:
        """``modelpack build --push`` of a recipe's folder, with a cache that is empty unless one is given."""
        push = ("--push", "--registry", f"{self.registry.host}/{namespace}", "--quiet")
        return self._modelpack("build", recipe, (*push, *options), cache)

    def lock(self, recipe: Path) -> Command:
        """``modelpack lock`` of a recipe's folder."""
        return self._modelpack("lock", recipe, ("--quiet",), None)

    def _modelpack(self, command: str, recipe: Path, options: tuple[str, ...], cache: Path | None) -> Command:
        place = cache or self.fresh("cache")
        environment = _clean() | {
            "MODELPACK_CACHE_DIR": str(place),
            "HF_HOME": str(place / "hf"),
            "DOCKER_CONFIG": str(place / "docker"),
        }
        program = str(Path(sys.executable).with_name("modelpack"))
        return Command((program, command, ".", *options), recipe, environment)

    def reference(self, source: Path | str, *options: str, repository: str = REPOSITORY) -> Command:
        """The reference uploader over a folder or a URL."""
        arguments = (
            sys.executable,
            "-m",
            "benchmarks.reference",
            str(source),
            self.registry.host,
            repository,
            *options,
        )
        return Command(arguments, PROJECT, _clean())

    def engine(self, name: str, models: Path) -> Command:
        """Build and push with podman or docker, by the Containerfile that documentations show; crane appends to its base."""
        if name == "crane":
            return self._crane(models)
        engine, image = self.engines[name], f"{self.registry.host}/{REPOSITORY}:v1"
        file = self.fresh(name) / "Containerfile"
        file.write_text(CONTAINERFILE.format(base=self.registry.base), encoding="utf-8")
        squash = "--format=oci --squash " if name == "podman" else "--progress=plain "
        build = f"{name} build {squash}--network=host -f {file} -t {image} {models.parent}"
        environment = {key: value for key, value in _clean().items() if key not in ELSEWHERE} | dict(engine.environment)
        return Command(("sh", "-ec", f"{build}; {name} push {image}"), models.parent, environment, engine.daemons)

    def _crane(self, models: Path) -> Command:
        """A layer for each file, written by tar into a pipe that crane reads; crane compresses them."""
        layers = [
            f"--new_layer <(tar -C {models.parent} -c {models.name}/{path.name})" for path in sorted(models.iterdir())
        ]
        append = f"crane append --insecure --base {self.registry.base} --new_tag {self.registry.host}/{REPOSITORY}:v1"
        return Command(("bash", "-ec", " ".join([append, *layers])), models, _clean())

    def forget(self, name: str) -> None:
        """Empties an engine's store, so that its next build is as cold as the first; crane has none."""
        if name == "crane":
            return
        engine = self.engines[name]
        prune = {"podman": [["rmi", "--all", "--force"]], "docker": [["system", "prune", "--all", "--force"]]}
        environment = {key: value for key, value in _clean().items() if key not in ELSEWHERE} | dict(engine.environment)
        for words in prune[name]:
            subprocess.run([name, *words], env=environment, capture_output=True, check=True)


CONTAINERFILE = """\
FROM {base}
COPY --chown=1001:0 models /models
RUN chmod -R a=rX /models
USER 1001
"""


def _clean() -> dict[str, str]:
    """The environment without proxies and without what would lead modelpack or the hub's library elsewhere.

    Modules are compiled once, as an installer does it: where Python may not keep them, every start compiles them again.
    """
    led = ("HF_", "HUGGING", "MODELPACK_", "REGISTRY_", "JOB_COMPLETION", "DOCKER_", "PYTHONDONTWRITEBYTECODE")
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(led) and not key.lower().endswith("_proxy")
    }
    return kept | {"NO_PROXY": "*"}


@contextlib.contextmanager
def prepared(folder: Path, storage: Storage, scale: float, engines: tuple[str, ...]) -> Iterator[Ground]:
    """Registry, hub and engines, running until the block ends; the data stays in ``folder``."""
    with contextlib.ExitStack() as running:
        registry = running.enter_context(bench_registry(folder, storage))
        hub = running.enter_context(Hub())
        ground = Ground(folder, scale, registry, hub)
        running.callback(shutil.rmtree, folder / "runs", ignore_errors=True)
        for name in engines:
            try:
                ground.engines[name] = running.enter_context(_started(name, folder / name))
            except EngineMissingError as error:
                ground.absent[name] = str(error).splitlines()[0]
        yield ground


@contextlib.contextmanager
def _started(name: str, folder: Path) -> Iterator[Engine]:
    if name == "crane":
        if not shutil.which(name):
            raise EngineMissingError("crane is not installed")
        yield Engine({})
    elif name == "podman":
        with podman_environment(folder) as environment:
            yield Engine(environment)
    else:
        with start_docker(folder) as docker:
            pid = int((docker.socket.parent / "docker.pid").read_text(encoding="utf-8"))
            yield Engine(docker.environment, (pid,))
