"""Images that podman and docker built from a Containerfile, and not modelpack: judged as anybody's image is."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from buildkit.judging.images import check_image
from buildkit.settings import find
from buildkit.world import World
from tests.live.install import program

pytestmark = [pytest.mark.live, pytest.mark.engine]

BASE = 'FROM scratch\nCOPY --chmod=0755 busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n'
MODEL = "COPY --chown=1001:0 --chmod=0555 models /models\n"
CONTAINERFILES: dict[str, tuple[str, set[str]]] = {
    "right": (f"{BASE}{MODEL}USER 1001\n", set()),
    "entrypoint": (f'{BASE}{MODEL}USER 1001\nENTRYPOINT ["/bin/sh"]\n', {"KS-03"}),
    "stored twice": (f"{BASE}COPY models /models\nRUN chown -R 1001:0 /models && chmod -R a=rX /models\nUSER 1001\n", {"KS-06"}),
    "closed": (f"{BASE}COPY --chown=1001:1001 --chmod=0500 models /models\nUSER 1001\n", {"KS-05"}),
    "no shell": (f"FROM scratch\n{MODEL}USER 1001\n", {"KS-02"}),
    "a token in an argument": (f"{BASE}ARG token\nRUN echo download --token $token > /dev/null\n{MODEL}USER 1001\n", {"UNI-01"}),
    "moved": (f"{BASE}COPY models /tmp/models\nRUN mv /tmp/models /data && chmod -R a=rX /data\nUSER 1001\n", {"KS-01"}),
}  # fmt: skip
SECRET = "abcdefgh12345678"


def context(folder: Path, text: str) -> Path:
    busybox = program("busybox")
    if busybox is None:
        pytest.skip("busybox is missing")
    (folder / "models" / "1").mkdir(parents=True)
    (folder / "models" / "1" / "model.onnx").write_bytes(b"x" * 2_000_000)
    (folder / "busybox").write_bytes(Path(busybox).read_bytes())
    (folder / "Containerfile").write_text(text)
    return folder


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def errors(image: str, folder: Path) -> set[str]:
    found, _ = check_image(image, World(find(folder), lambda event: None), ["kserve"])
    assert not [one for one in found[0].unjudged if one.rule.id in ("KS-01", "KS-02", "KS-05", "KS-06", "UNI-01")]
    return {one.rule.id for one in found[0].findings if one.severity.value == "error"}


def built(tool: Sequence[str], name: str, tmp_path: Path) -> str:
    folder = context(tmp_path / "context", CONTAINERFILES[name][0])
    tag = f"localhost/hand-{name.replace(' ', '-')}:v1"
    run(*tool, "-t", tag, "--build-arg", f"token={SECRET}", "-f", str(folder / "Containerfile"), str(folder))
    return tag


@pytest.mark.parametrize("name", CONTAINERFILES)
def test_what_podman_built(podman_environment: Mapping[str, str], name: str, tmp_path: Path) -> None:
    """The forms that podman saves are the ones that it pushes, and the one that docker reads."""
    tag = built(("podman", "build", "-q"), name, tmp_path)
    for form in ("oci-archive", "docker-archive"):
        run("podman", "save", "-q", "--format", form, "-o", str(tmp_path / form), tag)
        assert errors(f"{form}:{tmp_path / form}", tmp_path) == CONTAINERFILES[name][1]
    run("podman", "save", "-q", "--format", "oci-dir", "-o", str(tmp_path / "layout"), tag)
    assert errors(f"oci:{tmp_path / 'layout'}", tmp_path) == CONTAINERFILES[name][1]


@pytest.mark.parametrize("name", CONTAINERFILES)
def test_what_docker_built(docker_environment: Mapping[str, str], name: str, tmp_path: Path) -> None:
    """docker save since 25 is an OCI layout and a docker-archive in one tar."""
    tag = built(("docker", "buildx", "build", "-q", "--load", "--provenance=false"), name, tmp_path)
    run("docker", "save", "-o", str(tmp_path / "image.tar"), tag)
    assert errors(f"docker-archive:{tmp_path / 'image.tar'}", tmp_path) == CONTAINERFILES[name][1]
