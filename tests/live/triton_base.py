"""A stand-in for NVIDIA's Triton image: Debian with Python, and the real ``tritonserver`` of the nvidia-pytriton wheel.

The wheel has the server and the Python backend. Its ONNX backend is not there, so that ONNX models are loaded by a backend
of our own here: one in Python, as Triton allows (python_backend, "Python-based backends"), above the onnxruntime wheel.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from uv import find_uv_bin

from tests.live import oci_layout
from tests.live.base_images import CACHE, OFFICIAL_PYTHON, OFFICIAL_VERSIONS, BaseImage, BaseImageError, build_base
from tests.live.install import codename, program
from tests.live.registry import LiveRegistry

REPOSITORY = "nvidia/tritonserver"
TAG = "26.07-py3"
PLATFORM = "linux/amd64"
"""nvidia-pytriton has no wheel for another one."""
WHEELS = ("nvidia-pytriton==0.7.0",)
IN_PYTHON = ("numpy==1.26.4", "onnxruntime==1.23.2")
"""This server is older than numpy 2, and hands on empty tensors with it."""

ENTRYPOINT = """\
#!/bin/sh
# NVIDIA's own prints a banner, looks for a GPU, and runs the command.
exec "$@"
"""

ONNX_BACKEND = '''\
"""Loads ``model.onnx`` with the onnxruntime package."""

import os

import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        folder = os.path.join(args["model_repository"], args["model_version"])
        self.session = onnxruntime.InferenceSession(os.path.join(folder, "model.onnx"))
        self.inputs = [one.name for one in self.session.get_inputs()]
        self.outputs = [one.name for one in self.session.get_outputs()]

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        given = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}
        found = zip(self.outputs, self.session.run(self.outputs, given), strict=True)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, value) for name, value in found])
'''


def _run(*command: str, folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BaseImageError(
            f"`{' '.join(command)}` ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}"
        )


def _install(site: Path, *requirements: str, alone: bool = False) -> None:
    version = OFFICIAL_VERSIONS[codename()]
    command = [program("uv") or find_uv_bin(), "pip", "install", "--quiet", "--only-binary=:all:", "--link-mode=copy"]
    wheels = [f"--python-version={version}", "--python-platform=x86_64-manylinux_2_35", f"--python={sys.executable}"]
    _run(*command, *wheels, *(["--no-deps"] if alone else []), f"--target={site}", *requirements)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _server(rootfs: Path, work: Path) -> None:
    """Lay the server out as NVIDIA's image does: /opt/tritonserver with bin and backends."""
    version = OFFICIAL_VERSIONS[codename()]
    _install(work / "wheel", *WHEELS, alone=True)
    server = work / "wheel/pytriton/tritonserver"
    target = rootfs / "opt/tritonserver"
    for name in ("bin", "backends", "caches"):
        shutil.copytree(server / name, target / name)
    python = target / "backends/python"
    shutil.copy(server / "python_backend_stubs" / version / "triton_python_backend_stub", python)
    _write(target / "backends/onnxruntime/model.py", ONNX_BACKEND)
    # The programs look for their libraries four folders above themselves.
    shutil.copytree(work / "wheel/nvidia_pytriton.libs", rootfs / "nvidia_pytriton.libs")
    for path in (target / "bin/tritonserver", python / "triton_python_backend_stub"):
        path.chmod(0o755)


def _python(rootfs: Path, work: Path) -> None:
    version = OFFICIAL_VERSIONS[codename()]
    _install(rootfs / f"usr/local/lib/python{version}/dist-packages", *IN_PYTHON)
    _run("apt-get", "download", "--quiet", f"libpython{version}", folder=work)
    _run("dpkg-deb", "-x", str(next(work.glob("libpython*.deb"))), str(rootfs))
    shutil.rmtree(rootfs / "usr/share", ignore_errors=True)


def _layer(layout: Path, work: Path) -> oci_layout.Layer:
    rootfs = work / "rootfs"
    rootfs.mkdir(mode=0o755)
    _server(rootfs, work)
    _python(rootfs, work)
    _write(rootfs / "opt/nvidia/nvidia_entrypoint.sh", ENTRYPOINT, 0o755)
    return oci_layout.write_layer(layout, rootfs)


def _below(layout: Path) -> tuple[list[oci_layout.Layer], dict[str, object]]:
    """The layers of the Python stand-in for this platform, and its process."""

    def blob(descriptor: dict[str, str]) -> dict[str, object]:
        content = (layout / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")).read_bytes()
        return dict(json.loads(content))

    index = blob(json.loads((layout / "index.json").read_text(encoding="utf-8"))["manifests"][0])
    found = [one for one in index["manifests"] if one["platform"]["architecture"] == "amd64"]  # type: ignore[attr-defined]
    manifest = blob(found[0])
    config = blob(manifest["config"])  # type: ignore[arg-type]
    pairs = zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True)  # type: ignore[call-overload,index]
    return [oci_layout.Layer(descriptor, diff_id) for descriptor, diff_id in pairs], dict(config["config"])  # type: ignore[call-overload]


def build() -> BaseImage:
    """The stand-in: from the cache, or built into it (half a minute, and root).

    Raises:
        BaseImageError: a command failed; its output is in the message.
    """
    python = build_base(OFFICIAL_PYTHON)
    key = hashlib.sha256(Path(__file__).read_bytes() + python.digest.encode()).hexdigest()[:16]
    cached = CACHE / f"nvidia-tritonserver-{key}"
    if not (cached / "index.json").exists():
        with tempfile.TemporaryDirectory(prefix="building-", dir=CACHE) as folder:
            work = Path(folder)
            layout = work / "layout"
            shutil.copytree(python.layout, layout)
            layers, process = _below(layout)
            layers.append(_layer(layout, work))
            server = {
                **process,
                "Env": [
                    "PATH=/opt/tritonserver/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "TRITON_SERVER_USER_ID=1000",
                ],
                "Cmd": None,
                "Entrypoint": ["/opt/nvidia/nvidia_entrypoint.sh"],
                "WorkingDir": "/opt/tritonserver",
            }
            oci_layout.write_layout(layout, {PLATFORM: layers}, server)
            shutil.move(layout, cached)
    return BaseImage(REPOSITORY, cached)


def push(registry: LiveRegistry) -> str:
    """Push the stand-in and give its reference: ``HOST/nvidia/tritonserver:TAG``."""
    base = build()
    target = f"{registry.host}/{REPOSITORY}:{TAG}"
    skopeo = program("skopeo") or "skopeo"
    flags = ["--quiet", "--all", "--preserve-digests", "--dest-tls-verify=false"]
    _run(skopeo, "copy", *flags, f"oci:{base.layout}:latest", f"docker://{target}")
    return target
