"""Generated pipelines: if these fail, a team commits a workflow that its CI refuses, or that rebuilds the wrong images."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from buildkit.errors import InvalidInput
from buildkit.pipelines import SYSTEMS, Wanted, pipeline
from buildkit.pipelines.checkout import fleet_in
from tests.fleet.ground import WEIGHTS, Fleet

HOSTS = (
    "ghcr.io",
    "quay.io",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "europe-docker.pkg.dev",
    "team.azurecr.io",
    "registry.gitlab.com",
    "127.0.0.1:5000",
)
AWKWARD = 'models/it\'s "quoted" $HOME'


def parsed(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def check_schema(name: str, folder: Path, *texts: str) -> None:
    """All at once: the program that checks takes longer to start than to check."""
    paths = [folder / f"{name.rpartition('.')[2]}-{number}.yml" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", name, *transform(name), *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def transform(name: str) -> list[str]:
    return ["--data-transform", "gitlab-ci"] if name == "vendor.gitlab-ci" else []


def test_the_github_workflow_is_valid(tmp_path: Path) -> None:
    """GitHub refuses a workflow with one wrong key, and says so only when it is on the default branch."""
    wanted = [(Wanted(AWKWARD, commit=commit), hosts) for commit in (False, True) for hosts in ((), HOSTS)]
    texts = [pipeline("github", *one) for one in wanted]
    assert {parsed(text)["env"]["FLEET"] for text in texts} == {AWKWARD}
    check_schema("vendor.github-workflows", tmp_path, *texts)
    linter = shutil.which("actionlint", path=str(Path(sys.executable).parent)) or shutil.which("actionlint")
    if linter is None:
        pytest.skip("actionlint is not installed here")
    done = subprocess.run([linter, *tmp_path.glob("*.yml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_action_is_pinned_to_a_commit() -> None:
    """A tag of somebody else's repository can be moved to other code, which would run with our permissions."""
    jobs = parsed(pipeline("github", Wanted(), HOSTS))["jobs"]
    used = {step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step}
    assert used
    assert all(len(action.partition("@")[2]) == 40 for action in used)


def test_no_job_may_more_than_it_needs() -> None:
    """What asks may not push, what pushes may not commit."""
    workflow = parsed(pipeline("github", Wanted(), HOSTS))
    assert workflow["permissions"] == {}
    jobs = workflow["jobs"]
    assert jobs["status"]["permissions"] == {"contents": "read", "packages": "read", "id-token": "write"}
    assert jobs["rebuild"]["permissions"]["contents"] == "read"
    assert "packages" not in jobs["locks"]["permissions"]


def test_the_gitlab_pipelines_are_valid(tmp_path: Path) -> None:
    """GitLab does not even start a pipeline whose file is wrong; the child's is written while the parent runs."""
    texts = []
    matrix = [image("a")]
    for commit in (False, True):
        text = pipeline("gitlab", Wanted("models", commit=commit), HOSTS)
        child = child_of(text, matrix, tmp_path)
        assert parsed(child)["rebuild"]["parallel"]["matrix"] == matrix
        texts += [text, child, child_of(text, [], tmp_path)]
        texts += [child_of(text, rebuilt, tmp_path, code="1") for rebuilt in (matrix, [])]
    check_schema("vendor.gitlab-ci", tmp_path, *texts)


def test_what_gitlab_could_not_ask_fails_in_the_child(tmp_path: Path) -> None:
    """A model went private, and every scheduled pipeline is green, whether another image moved or not."""
    text = pipeline("gitlab", Wanted(), HOSTS)
    for matrix in ([image("a")], []):
        for code, failing in (("3", False), ("1", True)):
            child = parsed(child_of(text, matrix, tmp_path, code=code))
            jobs = {name: job for name, job in child.items() if name in ("not asked", "nothing moved")}
            assert all(job["stage"] in child["stages"] for job in jobs.values())
            ended = [run_script(job["script"], tmp_path) for job in jobs.values()]
            assert any(ended) is failing and ("rebuild" in child) is bool(matrix)


def run_script(lines: list[str], folder: Path) -> int:
    command = ["bash", "-euc", "\n".join(lines)]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode


def test_gitlab_logs_the_child_pipeline_in(tmp_path: Path) -> None:
    """Variables that refer to predefined ones are handed down empty, and every push to the project's registry is refused."""
    text = pipeline("gitlab", Wanted(), HOSTS)
    own, child = parsed(text), parsed(child_of(text, [image("a")], tmp_path))
    assert own["modelpack rebuild"]["trigger"]["forward"] == {"yaml_variables": False}
    assert child["variables"]["MODELPACK_REGISTRY_GITLAB_COM_PASSWORD"] == "$CI_REGISTRY_PASSWORD"
    assert child["variables"] == {name: value for name, value in own["variables"].items() if name != "FLEET"}


def image(name: str) -> dict[str, str]:
    return {"RECIPE": f"{name}/recipe.yaml", "IMAGE": name, "LOCK": f"{name}/recipe.lock"}


def test_every_lock_that_gitlab_rebuilt_is_committed(tmp_path: Path) -> None:
    """Two images moved in a night, and the lock of one is put back to what the other one's job had checked out."""
    checkout, images = tmp_path / "fleet", [image(name) for name in ("good", "better", "failing")]
    for one in images:
        (checkout / one["IMAGE"]).mkdir(parents=True)
        (checkout / one["LOCK"]).write_text("old\n")
    child = parsed(child_of(pipeline("gitlab", Wanted(commit=True), ()), images, tmp_path))
    (tmp_path / "programs" / "python").unlink()
    program(tmp_path, "python", "exit 0")
    program(tmp_path, "modelpack", 'case "$2" in failing/*) exit 1 ;; esac; echo new > "${2%.yaml}.lock"')
    shell(
        "git init -q -b main; git add .; git commit -q -m Old; git init -q --bare ../fleet.git; git push -q ../fleet.git main",
        checkout,
    )
    shell("git remote add origin none", checkout)
    jobs = [shutil.copytree(checkout, tmp_path / one["IMAGE"]) for one in images]
    for job, variables in zip(jobs, images, strict=True):
        shell("\n".join(child["rebuild"]["script"]), job, **variables)
        for file in kept(job, child["rebuild"]["artifacts"]["paths"]):
            (checkout / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(job / file, checkout / file)
    server = {"CI_SERVER_HOST": "gitlab.com", "CI_SERVER_URL": str(tmp_path), "CI_PROJECT_PATH": "fleet"}
    shell("\n".join(child["locks"]["script"]), checkout, **server, CI_COMMIT_BRANCH="main")
    locks = shell("git grep . main", tmp_path / "fleet.git")
    assert locks.split() == [
        f"main:{name}/recipe.lock:{said}" for name, said in (("better", "new"), ("failing", "old"), ("good", "new"))
    ]


def kept(job: Path, patterns: list[str]) -> list[Path]:
    """The files that GitLab keeps of a job."""
    found = [path for pattern in patterns for path in job.glob(pattern)]
    files = [file for path in found for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    return [file.relative_to(job) for file in files]


def program(folder: Path, name: str, script: str) -> None:
    path = folder / "programs" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def shell(script: str, folder: Path, **variables: str) -> str:
    """What a script says, which may fail: with the programs beside the folder, and a name for git."""
    who = {f"GIT_{role}_{part}": "a@example.org" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    path = f"{folder.parent / 'programs'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **who, **variables, "PATH": path, "MODELPACK": "modelpack-build"}
    done = subprocess.run(
        ["bash", "-euc", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout


def child_of(text: str, matrix: list[dict[str, str]], folder: Path, code: str = "3") -> str:
    """Runs the script of the parent's job that writes the child pipeline."""
    script = parsed(text)["modelpack status"]["script"][-1]
    (folder / "matrix.json").write_text(json.dumps(matrix))
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    if not (programs / "python").exists():
        (programs / "python").symlink_to(sys.executable)
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "code": code}
    subprocess.run(["bash", "-euc", script], cwd=folder, env=environment, check=True)
    return (folder / "child.yml").read_text()


@pytest.mark.parametrize("commit", [False, True])
@pytest.mark.parametrize("system", ["tekton", "oci-devops", "cron"])
def test_the_others_are_well_formed(tmp_path: Path, system: str, commit: bool) -> None:
    """No linter for these can be had: the YAML must load, its kinds be complete, and every script be a shell's."""
    text = pipeline(system, Wanted("models", commit=commit), HOSTS)
    scripts = [text] if system == "cron" else []
    if system == "tekton":
        documents = list(YAML(typ="safe", pure=True).load_all(text))
        assert all(document.keys() >= {"apiVersion", "kind", "metadata"} for document in documents)
        tasks = {document["metadata"]["name"] for document in documents if document["kind"] == "Task"}
        (line,) = (document["spec"] for document in documents if document["kind"] == "Pipeline")
        assert {task["taskRef"]["name"] for task in line["tasks"] + line["finally"]} == tasks
        scripts = [step["script"] for one in documents if one["kind"] == "Task" for step in one["spec"]["steps"]]
        (cron,) = (document for document in documents if document["kind"] == "CronJob")
        compile(cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"][0], "start", "exec")
    if system == "oci-devops":
        document = parsed(text)
        assert (document["version"], document["component"]) == (0.1, "build")
        assert all(step["type"] == "Command" for step in document["steps"])
        scripts = [step["command"] for step in document["steps"]]
    for number, script in enumerate(scripts):
        path = tmp_path / f"{number}.sh"
        path.write_text(script)
        done = subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_no_pipeline_holds_a_secret_or_puts_one_on_a_command_line() -> None:
    """Secrets come from the system's own store, by the environment."""
    for system in SYSTEMS:
        text = pipeline(system, Wanted(), HOSTS)
        assert "--password" not in text and "docker login -p" not in text


def test_what_is_no_schedule_or_system_is_refused() -> None:
    """A schedule is written into files and a crontab: it must be one."""
    for schedule in ("daily", "* * * *", "* * * * * rm", "* * * * $(id)"):
        with pytest.raises(InvalidInput, match="is no schedule"):
            pipeline("cron", Wanted(schedule=schedule), ())
    with pytest.raises(InvalidInput, match="no system"):
        pipeline("jenkins", Wanted(), ())


def test_the_workflow_does_what_status_said(built: Fleet, tmp_path: Path) -> None:
    """The matrix that GitHub reads from the step's output must be the images that need work: the very script is run."""
    done = built.run("ci", "github", ".", "-o", ".github/workflows/modelpack.yml")
    assert done.stdout.strip() == ".github/workflows/modelpack.yml"
    workflow = parsed((built.folder / ".github/workflows/modelpack.yml").read_text())
    (step,) = [one for one in workflow["jobs"]["status"]["steps"] if one.get("id") == "status"]
    programs = tmp_path / "programs"
    program(tmp_path, "modelpack", f'exec {sys.executable} -m buildkit "$@"')

    def outputs() -> dict[str, str]:
        place = tmp_path / "outputs"
        place.write_text("")
        environment = {"GITHUB_OUTPUT": str(place), "FLEET": ".", "PATH": f"{programs}:{os.environ['PATH']}"}
        subprocess.run(
            ["bash", "-eo", "pipefail", "-c", step["run"]],
            cwd=built.folder,
            env={**os.environ, **environment},
            check=True,
            capture_output=True,
        )
        return dict(line.split("=", 1) for line in place.read_text().splitlines())

    assert outputs()["moved"] == "false"
    built.move("model-01", b"{}", b"s" * WEIGHTS)
    built.move("model-02", b"{}", b"r" * WEIGHTS)
    found = outputs()
    assert (found["moved"], found["unknown"]) == ("true", "false")
    wanted = {name for name, image in built.status().items() if image["changes"]}
    assert {entry["name"] for entry in json.loads(found["matrix"])["include"]} == wanted == {"model-01", "model-02"}
    (built.folder / "model-03" / "recipe.lock").write_text("{")
    assert outputs()["unknown"] == "true"


def test_a_pipeline_is_for_the_repository_that_it_lies_in(built: Fleet) -> None:
    """The workflow lies where nobody looks for it, or asks for recipes that are not in its checkout: every night is red."""
    top = built.folder.parent
    (top / ".git").mkdir()
    done = built.run("ci", "github", "-o", ".github/workflows/images.yml")
    assert done.stderr.startswith("warning: .github/workflows/images.yml is not where github looks for it")
    assert str(top / ".github" / "workflows") in done.stderr
    workflow = built.folder / ".github" / "workflows" / "images.yml"
    assert parsed(workflow.read_text())["env"]["FLEET"] == "a fleet"
    for system, output in (("github", "../.github/workflows/a.yml"), ("gitlab", "../.gitlab-ci.yml"), ("cron", "a.sh")):
        assert built.run("ci", system, str(built.folder), "-o", output).stderr == ""
    other = top.parent / f"{top.name}-other"
    shutil.copytree(built.folder / "model-01", other / "model-01")
    for outside in (str(other), f"../../{other.name}"):
        done = built.run("ci", "github", outside)
        assert (done.returncode, done.stdout) == (1, "") and f"{outside} is not in {top}" in done.stderr


def test_a_folder_that_no_pipeline_can_name_is_refused(tmp_path: Path) -> None:
    """The pipeline would look every night for a folder that is not there."""
    folder = tmp_path / os.fsdecode(b"m\xe4")
    folder.mkdir()
    with pytest.raises(InvalidInput, match="no text in UTF-8"):
        fleet_in(tmp_path, folder)
