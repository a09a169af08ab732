"""What is wrong with a model repository: every fault of every model, told apart, before a server would stumble over the first.

Rules: Triton, docs/user_guide/model_repository.md and model_configuration.md; the checks of a configuration:
triton-inference-server/core, src/model_config_utils.cc (ValidateModelConfig, ValidateIOShape); those of names, types and
dimensions against an ONNX file: onnxruntime_backend, src/onnxruntime.cc and onnx_utils.cc (CompareDimsSupported).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from buildkit.errors import Problem
from buildkit.reading.checked import choice, closest
from buildkit.reading.plain import shown
from buildkit.triton import backends, tensors
from buildkit.triton.backends import ENSEMBLE, KNOWN, PLATFORMS, PYTHON, Backend
from buildkit.triton.config import FILE, Config, parse
from buildkit.triton.repository import Files, Model, is_version, models_of

_LAYOUT = "lay it out as <model>/<version>/<file>, such as resnet/1/model.onnx"
_MOST_NAMES = 6


@dataclass(frozen=True)
class Repository:
    """A repository to be judged. ``title`` is what a person calls it; ``written`` are configurations of the recipe's own;
    ``backends`` are all that the image keeps, or none where it keeps every one. ``laid``: it lies as it is served; else who
    builds from it gives an ensemble the version's folder that it lacks.
    """

    title: str
    files: Files
    written: Mapping[str, Any]
    backends: tuple[str, ...] = ()
    laid: bool = False

    def at(self, path: str) -> str:
        """The place of a path, for a problem."""
        return f"{self.title}/{path}"


def faults(repository: Repository) -> list[Problem]:
    """Everything that is wrong with the models of one repository; each is told with its file."""
    models = _judged(repository)
    told = [problem for model in models for problem in (*model.misconfigured(), *model.misplaced())]
    return told if models else [Problem(repository.title, "has no models", _LAYOUT)]


def misplaced(repository: Repository) -> list[Problem]:
    """What is wrong with where files lie: no models, no version, no file that the backend loads."""
    models = _judged(repository)
    told = [problem for model in models for problem in model.misplaced()]
    return told if models else [Problem(repository.title, "has no models", _LAYOUT)]


def misconfigured(repository: Repository) -> list[Problem]:
    """What is wrong with configurations, with those that are not there as well."""
    return [problem for model in _judged(repository) for problem in model.misconfigured()]


def _judged(repository: Repository) -> list[_Judged]:
    return [_Judged(repository, model) for model in models_of(repository.files.paths).values()]


def missing_steps(configs: Mapping[str, Any], models: Collection[str]) -> Iterator[Problem]:
    """Models that an ensemble names and that no repository has; configurations by the place of their text."""
    for place, message in configs.items():
        for step in message.ensemble_scheduling.step:
            if step.model_name not in models:
                hint = choice(step.model_name, sorted(models), "the models are")
                yield Problem(place, f"the ensemble names the model {shown(step.model_name)}, which is not there", hint)


def ensembles(repository: Repository) -> dict[str, Any]:
    """The configurations with steps, by the place of their text."""
    found = {}
    for one in _judged(repository):
        message = one.config.message
        if message is not None and message.ensemble_scheduling.step:
            found[repository.at(f"{one.model.name}/{FILE}")] = message
    return found


@dataclass(frozen=True)
class _Judged:
    """One model of a repository."""

    repository: Repository
    model: Model

    def misplaced(self) -> Iterator[Problem]:
        message = self.config.message
        if message is None:
            return
        if not self.model.versions and (message.platform != ENSEMBLE or self.repository.laid):
            yield self._unversioned()
        backend, _ = self._backend(message)
        if backend:
            yield from self._files(message, backend)

    def misconfigured(self) -> Iterator[Problem]:
        config = self.config
        yield from config.problems
        yield from self._placed()
        message = config.message
        if message is None:
            return
        if message.name not in ("", self.model.name):
            what = f"the name is {shown(message.name)}, and the folder is called {shown(self.model.name)}"
            yield self._at_config(what, "remove 'name', or rename one of them")
        yield from self._policy(message)
        backend, problem = self._backend(message)
        if problem:
            yield problem
        loads = backend.name if backend else message.backend
        if loads and self.repository.backends and loads not in self.repository.backends:
            yield self._at("", f"needs the backend {shown(loads)}, which 'backends' does not keep", "add it there")
        yield from self._shapes(config, backend, ensemble=message.platform == ENSEMBLE)

    @cached_property
    def config(self) -> Config:
        """The model's configuration: the recipe's, its own, or an empty one."""
        if self.model.name in self.repository.written:
            return Config(self.repository.written[self.model.name])
        text = self._text(FILE) if self.model.has_config else ""
        return parse(text or "", self.repository.at(f"{self.model.name}/{FILE}"))

    def _text(self, path: str) -> str | None:
        file = self.repository.files.open(f"{self.model.name}/{path}")
        if file is None:
            return None
        with file:
            return file.read().decode(errors="replace")

    def _at(self, path: str, what: str, hint: str = "") -> Problem:
        return Problem(self.repository.at(f"{self.model.name}/{path}".rstrip("/")), what, hint)

    def _at_config(self, what: str, hint: str = "") -> Problem:
        if self.model.name in self.repository.written:
            return Problem(f"configs.{self.model.name}", what, hint)
        return self._at(FILE, what, hint)

    def _placed(self) -> Iterator[Problem]:
        """A configuration that lies where Triton does not look, or that is there twice."""
        if self.model.has_config:
            if self.model.name in self.repository.written:
                what = "is there, and the recipe writes one under 'configs' too"
                yield self._at(FILE, what, f'remove one of them, or leave this one out: exclude: ["*/{FILE}"]')
            return
        for path in self.model.paths:
            folder, _, name = path.rpartition("/")
            if name == FILE and is_version(folder):
                yield self._at(path, "lies in the version's folder", f"move it to {self.model.name}/{FILE}")
            elif not folder and closest(name, [FILE]) and name != FILE:
                yield self._at(path, "is not read by this name", f"rename it to {FILE}")

    def _unversioned(self) -> Problem:
        loose = [path for path in self.model.paths if "/" not in path and path.startswith("model.")]
        if loose:
            move = f"move {loose[0]} to {self.model.name}/1/{loose[0]}"
            return self._at("", "has no version folder: its file lies directly in it", move)
        folders = [folder for folder in self.model.folders if folder != "configs"]
        ignored = f"; {_listed(folders)} is ignored, being no number or beginning with 0" if folders else ""
        hint = "name the folder with the model's file 1; what is no model is left out with 'exclude'"
        return self._at("", f"has no version folder{ignored}", hint)

    def _policy(self, message: Any) -> Iterator[Problem]:
        absent = [one for one in message.version_policy.specific.versions if one not in self.model.versions]
        if absent:
            there = _listed(list(map(str, self.model.versions))) or "none"
            numbers = _listed(list(map(str, absent)))
            yield self._at_config(f"version_policy names the version {numbers}, which is not there", f"it has {there}")

    def _backend(self, message: Any) -> tuple[Backend | None, Problem | None]:
        """What loads the model; None for an ensemble and a backend of one's own, with a problem where it cannot be known."""
        platform, backend = message.platform, message.backend
        if platform == ENSEMBLE:
            wrong = self._at_config("an ensemble has no backend", "remove 'backend'") if backend else None
            if not wrong and not message.ensemble_scheduling.step:
                wrong = self._at_config("an ensemble needs ensemble_scheduling with its steps")
            return None, wrong
        by_platform = PLATFORMS.get(platform)
        if not backend:
            return self._found(message) if not platform else (by_platform, self._unknown_platform(platform))
        known = KNOWN.get(backend)
        if known and platform and (by_platform is None or by_platform.name != backend):
            what = f"the platform {shown(platform)} does not belong to the backend {shown(backend)}"
            return known, self._at_config(what, "remove 'platform'")
        meant = None if known or backend in backends.OTHERS else closest(backend, KNOWN)
        # Another backend may be of one's own: only what is nearly the name of a known one is told.
        wrong = (
            self._at_config(f"there is no backend {shown(backend)}", f"did you mean {shown(meant)}?") if meant else None
        )
        return by_platform or known, wrong

    def _unknown_platform(self, platform: str) -> Problem | None:
        if platform in PLATFORMS:
            return None
        return self._at_config(
            f"there is no platform {shown(platform)}", choice(platform, [*PLATFORMS, ENSEMBLE], "the platforms are")
        )

    def _found(self, message: Any) -> tuple[Backend | None, Problem | None]:
        """The backend where a configuration names none: that of the default file, by name or as it lies there."""
        if message.default_model_filename:
            named = backends.found_in([message.default_model_filename])
        else:
            named = backends.found_in(next(iter(self.model.versions.values()), frozenset()))
        if named is None and self.model.versions and "." not in self.model.name:
            return None, self._unknown(message)
        return named, None

    def _unknown(self, message: Any) -> Problem:
        inside = sorted(next(iter(self.model.versions.values())))
        if not self.model.has_config and self.model.name not in self.repository.written:
            hint = f"write {FILE} with backend and default_model_filename, or name the file model.onnx, model.py, model.plan or model.pt"
            return self._at("", f"has no {FILE}, and its version holds {_listed(inside)}, which names no backend", hint)
        return self._at_config("names neither backend nor platform", 'write backend: "onnxruntime", or another\'s name')

    def _files(self, message: Any, backend: Backend) -> Iterator[Problem]:
        """The model's file in every version that is served."""
        wanted = message.default_model_filename or backend.file
        others = {*message.cc_model_filenames.values(), *([] if message.default_model_filename else backend.instead)}
        for version in self._served(message):
            inside = self.model.versions[version]
            names = {path.partition("/")[0] for path in inside}
            if not names & {wanted, *others} and wanted not in inside:
                hint = f"it holds {_listed(sorted(names))}: rename the file, or write default_model_filename"
                yield self._at(f"{version}", f"has no {wanted}, which the backend {shown(backend.name)} loads", hint)

    def _served(self, message: Any) -> list[int]:
        """The versions that the version policy serves: by default the latest."""
        versions = list(self.model.versions)
        policy = message.version_policy
        if policy.specific.versions:
            return [version for version in versions if version in policy.specific.versions]
        return versions if policy.HasField("all") else versions[-max(1, policy.latest.num_versions) :]

    def _shapes(self, config: Config, backend: Backend | None, *, ensemble: bool) -> Iterator[Problem]:
        message = config.message
        for what, hint in tensors.told(message, guessed=config.guessed):
            yield self._at_config(what, hint)
        if backend and not backend.completes and not self._completes(message, backend):
            yield from self._incomplete(message, backend)
        if ensemble and not (message.input and message.output):
            yield self._at_config("an ensemble must say its inputs and outputs")
        if backend and backend.name == backends.ONNX:
            yield from self._against_onnx(message, backend)

    def _completes(self, message: Any, backend: Backend) -> bool:
        """Whether a Python model says its inputs and outputs itself (python_backend, "auto_complete_config")."""
        if backend.name != PYTHON:
            return False
        program = message.default_model_filename or backend.file
        texts = (
            self._text(f"{version}/{program}")
            for version in self._served(message)
            if program in self.model.versions[version]
        )
        return any(text is None or "auto_complete_config" in text for text in texts)

    def _incomplete(self, message: Any, backend: Backend) -> Iterator[Problem]:
        absent = [key for key in ("input", "output") if not getattr(message, key)]
        if not absent or (backend.name == PYTHON and absent == ["input"]):
            return  # a model in Python may make its output of nothing
        if self.model.has_config or self.model.name in self.repository.written:
            yield self._at_config(f"the backend {shown(backend.name)} needs {' and '.join(absent)}")
        elif self.model.versions:
            hint = f"write it, or 'configs: {{{self.model.name}: ...}}' in the recipe"
            yield self._at("", f"has no {FILE}, and the backend {shown(backend.name)} needs one", hint)

    def _against_onnx(self, message: Any, backend: Backend) -> Iterator[Problem]:
        name = message.default_model_filename or backend.file
        for version in self._served(message):
            inside = self.model.versions[version]
            path = next(
                (
                    one
                    for one in (f"{version}/{name}", f"{version}/{name}/model.onnx")
                    if one[len(f"{version}/") :] in inside
                ),
                "",
            )
            file = self.repository.files.open(f"{self.model.name}/{path}") if path else None
            if file is None:
                continue
            with file:
                unfit, told = tensors.against_onnx(message, file)
            if unfit:
                yield self._at(path, unfit)
            for what, hint in told:
                yield self._at_config(what, hint)


def _listed(names: Collection[str]) -> str:
    first = list(names)[:_MOST_NAMES]
    return ", ".join(map(shown, first)) + (", ..." if len(names) > len(first) else "")
