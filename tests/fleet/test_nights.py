"""Generated scripts, run night after night on clones: if these fail, one bad night stops a fleet, or loses its locks."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from buildkit.pipelines import Wanted, pipeline

LOCK = "a/recipe.lock"
BOTH = pytest.mark.parametrize("commit", [False, True])
SYSTEMS = ("cron", "tekton", "oci-devops")
_MODELPACK = """#!/bin/sh
eval "$MEANWHILE"
if [ "$1" = status ]; then cat "$MATRIX"; else [ -z "$BUILT" ] || echo "$BUILT" > a/recipe.lock; fi
exit "$CODE"
"""


@dataclass
class Nights:
    """An origin with a clone that a system works in, and a clone of somebody else; ``modelpack`` is a stand-in."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        programs = self.folder / "programs"
        programs.mkdir()
        for name, text in (("modelpack", _MODELPACK), ("pip", "#!/bin/sh\n")):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        who = {f"GIT_{role}_{part}": "a@example.org" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
        own = {"HOME": str(self.folder), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        said = {"MEANWHILE": "", "CODE": "0", "BUILT": "", "MATRIX": str(self.folder / "matrix.json"), "MODELPACK": ""}
        self.environment |= who | own | said
        self.sh("git init -q --bare -b main origin.git; git clone -q origin.git other", self.folder)
        self.sh(
            "mkdir a; echo {} > a/recipe.yaml; git add .; git commit -qm First; git push -q origin main", self.other
        )
        self.sh("git clone -q origin.git clone", self.folder)

    @property
    def clone(self) -> Path:
        return self.folder / "clone"

    @property
    def other(self) -> Path:
        return self.folder / "other"

    def sh(self, script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a script that must end well."""
        done = self.ran(["bash", "-euc", script], folder, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def ran(self, command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.environment, **variables}
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    def night(self, system: str, commit: bool, **variables: str) -> int:
        """What a night ends with; the recipe's lock says afterwards what ``BUILT`` does."""
        text = pipeline(system, Wanted(commit=commit), ())
        runs: Mapping[str, Any] = {"cron": self._cron, "tekton": self._tekton, "oci-devops": self._oci}
        return runs[system](text, variables)  # type: ignore[no-any-return]

    def _cron(self, text: str, variables: Mapping[str, str]) -> int:
        script = self.folder / "nightly.sh"
        script.write_text(text)
        return self.ran(["sh", str(script), str(self.clone)], self.folder, **variables).returncode

    def _tekton(self, text: str, variables: Mapping[str, str]) -> int:
        documents = YAML(typ="safe", pure=True).load_all(text)
        tasks = {one["metadata"]["name"]: one["spec"] for one in documents if one["kind"] == "Task"}
        (self.folder / "matrix.json").write_text(json.dumps([{"RECIPE": "a/recipe.yaml"}]))
        for name in ("status", "rebuild", "locks"):
            for step in tasks[f"modelpack-{name}"]["steps"]:
                result = self._step(step, {**variables, **({"CODE": self._result("code")} if name == "locks" else {})})
                # A recipe that fails keeps no other from being locked.
                if result and name != "rebuild":
                    return result
        return 0

    def _step(self, step: Mapping[str, Any], variables: Mapping[str, str]) -> int:
        script = step["script"].replace("python -m pip", "pip").replace("/tmp/matrix.json", str(self.folder / "asked"))
        for name in ("recipes", "code"):
            script = script.replace(f"$(results.{name}.path)", str(self.folder / f"result-{name}"))
        return self.ran(["sh", "-c", script], self.clone, FLEET=".", RECIPE="a/recipe.yaml", **variables).returncode

    def _result(self, name: str) -> str:
        return (self.folder / f"result-{name}").read_text()

    def _oci(self, text: str, variables: Mapping[str, str]) -> int:
        """A build stage begins with a checkout of its own each time."""
        place = self.folder / "checkout"
        self.sh(f"rm -rf {place}; git clone -q origin.git {place}", self.folder)
        (*_, step) = YAML(typ="safe", pure=True).load(text)["steps"]
        script = step["command"].replace("/tmp/modelpack/bin/", "").replace("/tmp/summary.md", str(place / "summary"))
        fixed = {"OCI_PRIMARY_SOURCE_DIR": str(place), "FLEET": "."}
        return self.ran(["bash", "-c", script], self.folder, **fixed, **variables).returncode

    def at(self, branch: str, path: str = LOCK) -> str:
        """What a file of the origin's branch says; "" where there is none."""
        done = self.ran(["git", "show", f"{branch}:{path}"], self.folder / "origin.git")
        return done.stdout.strip()

    def refuse_pushes(self, refused: bool) -> None:
        hook = self.folder / "origin.git" / "hooks" / "pre-receive"
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755 if refused else 0o644)

    def pushes(self, script: str) -> str:
        """A script in which somebody else changes the origin."""
        return f"(cd {self.other}; git pull -q; {script}; git add --all; git commit -qm More; git push -q origin HEAD)"


@pytest.fixture
def nights(tmp_path: Path) -> Iterator[Nights]:
    yield Nights(tmp_path)


@BOTH
@pytest.mark.parametrize("system", ["cron", "tekton"])
def test_a_push_that_fails_stops_no_later_night(nights: Nights, system: str, commit: bool) -> None:
    """The server is down for a night, and nothing is rebuilt ever after."""
    nights.refuse_pushes(True)
    assert nights.night(system, commit, BUILT="one") != 0
    nights.refuse_pushes(False)
    nights.sh(nights.pushes("echo more > more"), nights.folder)
    branch = "main" if commit else "modelpack-locks"
    assert nights.night(system, commit, BUILT="" if commit else "one") == 0
    assert nights.at(branch) == "one", "the locks of the night before are lost"
    assert nights.at(branch, "more") == "more"
    assert nights.night(system, commit, BUILT="two") == 0
    assert nights.at(branch) == "two"
    assert nights.sh("git branch --show-current; git status --short", nights.clone).stdout == "main\n"


@pytest.mark.parametrize("system", SYSTEMS)
def test_locks_are_committed_though_others_pushed_meanwhile(nights: Nights, system: str) -> None:
    """Somebody merges while images are built for hours, and their locks are refused."""
    meanwhile = nights.pushes("date +%N%s >> more")
    assert nights.night(system, True, BUILT="one", MEANWHILE=meanwhile) == 0
    assert (nights.at("main"), nights.at("modelpack-locks")) == ("one", "")
    assert nights.at("main", "more")


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_lock_that_two_changed_is_no_mix_of_both(nights: Nights, system: str) -> None:
    """A lock with the files of one image and the layers of another is committed by nobody, and pulled by all."""
    lines = "".join(f"line {number}\n" for number in range(20))
    nights.sh(nights.pushes(f"printf '{lines}' > {LOCK}"), nights.folder)
    theirs, ours = lines.replace("line 1\n", "theirs\n"), lines.replace("line 18\n", "ours\n")
    (nights.folder / "theirs").write_text(theirs)
    meanwhile = nights.pushes(f"cp {nights.folder}/theirs {LOCK}")
    assert nights.night(system, True, BUILT=ours, MEANWHILE=f"[ $1 = status ] || {meanwhile}") == 0
    assert nights.at("main") == theirs.strip()


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_second_proposal_takes_the_place_of_the_first(nights: Nights, system: str) -> None:
    """Nobody merged last night's proposal, and tonight's is refused, while the job is green."""
    for built in ("one", "two"):
        assert nights.night(system, False, BUILT=built) == 0
        assert nights.at("modelpack-locks") == built
    assert nights.at("main") == ""


@BOTH
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_first_build_that_fails_is_told_as_that(nights: Nights, system: str, commit: bool) -> None:
    """There is no lock yet, and instead of the failure a word of git's about a pathspec is told."""
    assert nights.night(system, commit, CODE="1") == 1


@BOTH
@pytest.mark.parametrize("system", SYSTEMS)
def test_what_could_not_be_asked_makes_a_night_red(nights: Nights, system: str, commit: bool) -> None:
    """A model went private, and every night is green; what could be rebuilt is locked all the same."""
    assert nights.night(system, commit, BUILT="one", CODE="1") == 1
    assert nights.at("main" if commit else "modelpack-locks") == "one"


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_push_that_is_refused_makes_a_night_red(nights: Nights, system: str) -> None:
    """Images are pushed, their locks are lost, and the job is green."""
    nights.refuse_pushes(True)
    assert nights.night(system, False, BUILT="one") != 0
    assert nights.night(system, True, BUILT="one") != 0


def test_what_cannot_go_on_top_of_the_origin_is_put_aside(nights: Nights) -> None:
    """A recipe was removed whose lock could not be pushed, and the clone comes to a halt for ever."""
    nights.sh(nights.pushes(f"echo old > {LOCK}"), nights.folder)
    nights.refuse_pushes(True)
    assert nights.night("cron", True, BUILT="one") != 0
    nights.refuse_pushes(False)
    nights.sh(nights.pushes("git rm -rq a; echo {} > recipe.yaml"), nights.folder)
    assert nights.night("cron", True) == 0
    assert nights.sh("git status --short --branch; ls", nights.clone).stdout == "## main...origin/main\nrecipe.yaml\n"


def test_oci_commits_to_the_branch_that_was_built(nights: Nights) -> None:
    """A fleet whose branch is not called main gets its locks on one that nobody builds."""
    nights.sh("git push -q origin main:release", nights.other)
    assert nights.night("oci-devops", True, BUILT="one", OCI_PRIMARY_SOURCE_SOURCE_BRANCH_NAME="release") == 0
    assert (nights.at("release"), nights.at("main")) == ("one", "")


def test_tekton_asks_with_the_recipes_of_tonight(nights: Nights) -> None:
    """The clone in the workspace stays what it was, and images are rebuilt from old recipes for ever."""
    nights.sh(nights.pushes("echo new > a/recipe.yaml"), nights.folder)
    assert nights.night("tekton", False) == 0
    assert (nights.clone / "a" / "recipe.yaml").read_text() == "new\n"


@pytest.mark.parametrize("system", ["github", "gitlab"])
def test_locks_of_many_jobs_are_committed_though_others_pushed_meanwhile(nights: Nights, system: str) -> None:
    """Somebody merges between the event and the last job, and the locks of all images are refused."""
    text = pipeline(system, Wanted(commit=True), ())
    if system == "github":
        (*_, step, _) = YAML(typ="safe", pure=True).load(text)["jobs"]["locks"]["steps"]
        script = step["run"]
    else:
        child = text.partition("<<'CHILD'\n")[2].partition("      CHILD\n")[0]
        script = "\n".join(YAML(typ="safe", pure=True).load(child)["locks"]["script"])
        nights.sh("git checkout -q --detach; mkdir -p modelpack-locks/a", nights.clone)
    (nights.clone / ("modelpack-locks" if system == "gitlab" else "") / LOCK).write_text("one\n")
    nights.sh(nights.pushes("echo more > more"), nights.folder)
    server = {"CI_SERVER_HOST": "localhost", "CI_SERVER_URL": str(nights.folder), "CI_PROJECT_PATH": "origin"}
    nights.sh(f"set -o pipefail\n{script}", nights.clone, GITHUB_REF_NAME="main", CI_COMMIT_BRANCH="main", **server)
    assert (nights.at("main"), nights.at("main", "more")) == ("one", "more")
