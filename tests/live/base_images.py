"""Stand-ins for the base images of the recipes, built here because no registry is reachable, and cached.

``ubi9/ubi-micro`` is a static busybox; ``ubi9/python-312`` is a Debian with Python and ``hf``, shaped like the real
one where a Containerfile can tell: user 1001, a home of its own, and a virtual environment under /opt/app-root.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from recipes.modelcar.stages import HUB_LIBRARY
from tests.live import oci_layout
from tests.live.install import codename, mirror, program
from tests.live.registry import LiveRegistry

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "live"
SHELL_BASE = "ubi9/ubi-micro"
PYTHON_BASE = "ubi9/python-312"
OFFICIAL_PYTHON = "library/python"
OFFICIAL_VERSIONS = {"bookworm": "3.11", "trixie": "3.13"}
"""The Python that each suite of Debian carries: the version of the stand-in for Docker's official image."""
PLATFORMS = ("linux/amd64", "linux/arm64")
APP_ROOT = "opt/app-root"
TRUST = "/etc/ssl/certs/ca-certificates.crt"
PLATFORM_FILE = "etc/platform"  # says, in each platform's image, which one it is
# Documentation and lists of packages, which no build reads.
SUPERFLUOUS = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/lib/apt/lists",
    "var/cache/apt",
)


class BaseImageError(Exception):
    """A stand-in base could not be built or pushed; the message closes with what the failing command said."""


@dataclass(frozen=True)
class BaseImage:
    """A base as an OCI layout on disk."""

    repository: str
    layout: Path

    @property
    def digest(self) -> str:
        """The digest of the index over its platforms."""
        index = json.loads((self.layout / "index.json").read_text(encoding="utf-8"))
        return str(index["manifests"][0]["digest"])


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BaseImageError(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout[-4000:]}")


def _static_busybox() -> Path:
    """The static busybox.

    Raises:
        BaseImageError: there is none; the dynamic one would find no C library in its image.
    """
    found = program("busybox")
    if found is None or b"/ld-linux" in Path(found).read_bytes():
        raise BaseImageError("a static busybox is not installed (Debian package busybox-static)")
    return Path(found)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _shell_rootfs(rootfs: Path) -> dict[str, object]:
    """Lay out a busybox system; gives the image's configuration."""
    busybox = _static_busybox()
    programs = rootfs / "usr" / "bin"
    programs.mkdir(parents=True)
    for name in ("bin", "sbin"):
        (rootfs / name).symlink_to("usr/bin")
    (rootfs / "usr" / "sbin").symlink_to("bin")
    shutil.copyfile(busybox, programs / "busybox")
    (programs / "busybox").chmod(0o755)
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in set(applets) - {"busybox"}:
        (programs / applet).symlink_to("busybox")
    for name in ("dev", "proc", "sys", "run", "home", "mnt", "opt", "srv", "var/tmp", "tmp"):
        (rootfs / name).mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "var/tmp"):
        (rootfs / name).chmod(0o1777)
    (rootfs / "root").mkdir(mode=0o550)
    nobody = "nobody:x:65534:65534:Kernel Overflow User:/:/sbin/nologin\n"
    _write(rootfs / "etc/passwd", f"root:x:0:0:root:/root:/bin/sh\n{nobody}")
    _write(rootfs / "etc/group", "root:x:0:\nnobody:x:65534:\n")
    _write(rootfs / "etc/os-release", 'ID="rhel"\nVERSION_ID="9.6"\nPRETTY_NAME="stand-in for ubi-micro"\n')
    return {
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "container=oci"],
        "Cmd": ["/bin/sh"],
        "Labels": {"name": SHELL_BASE, "version": "9.6", "vendor": "stand-in for Red Hat, Inc."},
    }


def _python_script(rootfs: Path, name: str, module: str, function: str) -> None:
    """A console script as pip writes it, for the interpreter inside the image."""
    lines = [
        f"#!/{APP_ROOT}/bin/python3",
        "import sys",
        f"from {module} import {function}",
        f"sys.exit({function}())",
        "",
    ]
    _write(rootfs / APP_ROOT / "bin" / name, "\n".join(lines), 0o755)


def _install_wheels(site: Path, *requirements: str) -> None:
    """Put packages into a folder of the image named as Python names it, with this machine's settings of uv."""
    version = site.parent.name.removeprefix("python")
    wheels = [f"--python-version={version}", f"--python-platform={platform.machine()}-manylinux_2_34"]
    command = [program("uv") or find_uv_bin(), "pip", "install", "--quiet", "--only-binary=:all:", "--link-mode=copy"]
    _run([*command, *wheels, f"--python={sys.executable}", f"--target={site}", *requirements])
    shutil.rmtree(site / "bin", ignore_errors=True)  # scripts that name this machine's interpreter


def _install_python_packages(rootfs: Path) -> None:
    """Put pip and our own version of huggingface_hub into the image."""
    site = next((rootfs / APP_ROOT / "lib").glob("python3.*")) / "site-packages"
    _install_wheels(site, "pip", f"huggingface_hub=={hub_version()}")
    for name in ("pip", "pip3"):
        _python_script(rootfs, name, "pip._internal.cli.main", "main")
    _python_script(rootfs, "hf", "huggingface_hub.cli.hf", "main")


def _own(folder: Path, user: int, group: int) -> None:
    """Give a tree to user and group, and the group what the user may: as UBI does, for OpenShift's random user."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, group, follow_symlinks=False)
        if not path.is_symlink():
            mode = path.stat().st_mode & 0o7777
            path.chmod(mode | (mode & 0o700) >> 3)


def _trusted() -> bytes:
    """The authorities that this machine trusts: between it and a package index there may be a proxy with one of its own."""
    chosen = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or TRUST
    return Path(chosen).read_bytes() if Path(chosen).is_file() else b""


def _debian(rootfs: Path) -> None:
    """Install a small Debian with Python, which trusts whom this machine trusts."""
    suite = codename()
    packages = "--include=python3,ca-certificates"
    _run([program("debootstrap") or "debootstrap", "--variant=minbase", packages, suite, str(rootfs), mirror(suite)])
    for marker in (rootfs / "usr/lib").glob("python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    (rootfs / TRUST.removeprefix("/")).write_bytes(_trusted())


def _official_python_rootfs(rootfs: Path) -> dict[str, object]:
    """Install a small Debian with Python and pip; gives the image's configuration."""
    _debian(rootfs)
    version = OFFICIAL_VERSIONS[codename()]
    said = subprocess.run(["chroot", rootfs, "python3", "--version"], capture_output=True, text=True, check=True).stdout
    local = rootfs / "usr/local"
    _install_wheels(local / "lib" / f"python{version}" / "dist-packages", "pip")
    for name in ("python", "python3", f"python{version}"):
        (local / "bin" / name).symlink_to(f"../../bin/python{version}")
    script = "#!/usr/local/bin/python3\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n"
    for name in ("pip", "pip3"):
        _write(local / "bin" / name, script, 0o755)
    for name in SUPERFLUOUS:
        shutil.rmtree(rootfs / name, ignore_errors=True)
    return {
        "Env": [
            "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG=C.UTF-8",
            f"PYTHON_VERSION={said.split()[1]}",
            f"SSL_CERT_FILE={TRUST}",  # pip looks for certificates one by one, and finds the added ones only here
        ],
        "Cmd": ["python3"],
    }


def _python_rootfs(rootfs: Path) -> dict[str, object]:
    """Install a small Debian with Python as UBI sets it up; gives the image's configuration."""
    _debian(rootfs)
    _run(["chroot", str(rootfs), "python3", "-m", "venv", "--without-pip", f"/{APP_ROOT}"])
    _install_python_packages(rootfs)
    for name in SUPERFLUOUS:
        shutil.rmtree(rootfs / name, ignore_errors=True)
    with (rootfs / "etc/passwd").open("a", encoding="utf-8") as passwd:
        passwd.write(f"default:x:1001:0:Default Application User:/{APP_ROOT}/src:/sbin/nologin\n")
    (rootfs / APP_ROOT / "src").mkdir()
    _own(rootfs / APP_ROOT, 1001, 0)
    path = f"/{APP_ROOT}/src/.local/bin:/{APP_ROOT}/src/bin:/{APP_ROOT}/bin:/usr/local/sbin:/usr/local/bin"
    return {
        "User": "1001",
        "WorkingDir": f"/{APP_ROOT}/src",
        "Env": [
            f"PATH={path}:/usr/sbin:/usr/bin:/sbin:/bin",
            f"HOME=/{APP_ROOT}/src",
            "PYTHONUNBUFFERED=1",
            "container=oci",
        ],
        "Cmd": ["/bin/sh"],
        "Labels": {"name": PYTHON_BASE, "version": "1", "vendor": "stand-in for Red Hat, Inc."},
    }


ROOTFS: Mapping[str, Callable[[Path], dict[str, object]]] = {
    SHELL_BASE: _shell_rootfs,
    PYTHON_BASE: _python_rootfs,
    OFFICIAL_PYTHON: _official_python_rootfs,
}


def tags(repository: str) -> tuple[str, ...]:
    """The tags of a base: ``latest``, and what the official Python calls itself: ``3.11-slim``."""
    if repository != OFFICIAL_PYTHON:
        return ("latest",)
    return ("latest", f"{OFFICIAL_VERSIONS[codename()]}-slim")


def hub_version() -> str:
    """The version of huggingface_hub that a rendered Containerfile asks for: with it in the base no package index is needed."""
    return HUB_LIBRARY.partition("==")[2]


def _key(repository: str) -> str:
    """A hash over how a base is built: when it changes, the cached one is left alone and another is built."""
    made_of = [repository, codename(), platform.machine(), hub_version() if repository == PYTHON_BASE else ""]
    sources = [Path(__file__).read_bytes(), Path(oci_layout.__file__).read_bytes(), _trusted()]
    return hashlib.sha256("\0".join(made_of).encode("utf-8") + b"\0".join(sources)).hexdigest()[:16]


def _cache_folder() -> Path:
    CACHE.mkdir(parents=True, exist_ok=True)
    ignore = CACHE.parent / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    return CACHE


def _platform_layer(layout: Path, rootfs: Path, platform_name: str) -> oci_layout.Layer:
    """The one layer of a platform. It says which platform it is for: an image on the wrong base must be seen."""
    _write(rootfs / PLATFORM_FILE, f"{platform_name}\n")
    return oci_layout.write_layer(layout, rootfs)


def build_base(repository: str) -> BaseImage:
    """The base for a repository: from the cache, or built into it (the Python one takes a minute, and root).

    Raises:
        BaseImageError: a command failed; its output is in the message.
    """
    cached = _cache_folder() / f"{repository.replace('/', '-')}-{_key(repository)}"
    if (cached / "index.json").exists():
        return BaseImage(repository, cached)
    with tempfile.TemporaryDirectory(prefix="building-", dir=CACHE) as work:
        rootfs, layout = Path(work, "rootfs"), Path(work, "layout")
        rootfs.mkdir(mode=0o755)
        config = ROOTFS[repository](rootfs)
        layers = {platform_name: (_platform_layer(layout, rootfs, platform_name),) for platform_name in PLATFORMS}
        oci_layout.write_layout(layout, layers, config)
        try:
            layout.rename(cached)
        except OSError:  # another run was quicker; its result is as good
            if not (cached / "index.json").exists():
                raise
    return BaseImage(repository, cached)


def push_base(registry: LiveRegistry, repository: str) -> str:
    """Push a base with skopeo, every platform and tag, and give its reference: ``HOST/REPOSITORY:latest@sha256:…``.

    Raises:
        BaseImageError: building or pushing failed, or the registry holds other bytes than were pushed.
    """
    base = build_base(repository)
    flags = ["--dest-creds", ":".join(registry.credentials)] if registry.credentials else ["--dest-no-creds"]
    flags.append(f"--dest-tls-verify={'true' if registry.scheme == 'https' else 'false'}")
    trusted = {"SSL_CERT_FILE": str(registry.ca_file)} if registry.ca_file else {}
    target = f"{registry.host}/{repository}:latest"
    copy = [program("skopeo") or "skopeo", "copy", "--quiet", "--all", "--preserve-digests", *flags]
    for tag in tags(repository):
        _run([*copy, f"oci:{base.layout}:latest", f"docker://{registry.host}/{repository}:{tag}"], trusted)
    stored = registry.manifest(repository, "latest").digest
    if stored != base.digest:
        raise BaseImageError(f"{target} is {stored} in the registry, and {base.digest} on disk")
    return f"{target}@{stored}"


def platform_reference(registry: LiveRegistry, repository: str, platform_name: str) -> str:
    """A pushed base pinned to one platform's own manifest: ``HOST/REPOSITORY:latest@sha256:…``.

    podman 4.3 runs ``FROM --platform=$BUILDPLATFORM`` on the target's platform, so that a stage which must run here
    is sure to only when its digest is that of this platform's manifest, and not that of the index.
    """
    index = json.loads(registry.manifest(repository, "latest").content)
    found = {f"{one['platform']['os']}/{one['platform']['architecture']}": one["digest"] for one in index["manifests"]}
    return f"{registry.host}/{repository}:latest@{found[platform_name]}"


def push_bases(registry: LiveRegistry, repositories: Sequence[str] = tuple(ROOTFS)) -> dict[str, str]:
    """Push bases and give each repository's reference with its digest.

    Raises:
        BaseImageError: see ``push_base``.
    """
    return {repository: push_base(registry, repository) for repository in repositories}
