"""Install the real engines, registry and readers that the live tests use: ``python tests/live/install.py``.

Standard library only, because it runs before anything of the project is installed. It does nothing when every part
answers already. On Debian as root it installs what is missing; anywhere else it prints one line per missing part.

Two suites are needed on Debian 12: its own docker.io is 20.10 and has no buildx, so docker, umoci and oras come from
the next stable suite, through a source whose pin is so low that nothing else ever moves there.

Exit code: 0 when every part answers, or where installing is not ours to do; 1 when apt failed or a part still does
not answer, and wherever a part is missing while ``MODELPACK_REQUIRE_ENGINES=1``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

NEWER_SUITE = "trixie"
SOURCES = Path("/etc/apt/sources.list.d/modelpack-live-tests.sources")
PREFERENCES = Path("/etc/apt/preferences.d/modelpack-live-tests")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
POLICY = Path("/usr/sbin/policy-rc.d")
# podman and docker keep private programs in folders that are on nobody's PATH.
PRIVATE_FOLDERS = ("/usr/lib/podman", "/usr/libexec/podman", "/usr/local/sbin", "/usr/sbin", "/sbin")
LOCK_SECONDS = 300


@dataclass(frozen=True)
class Part:
    """One program that the tests need, how to ask whether it is there, and the Debian package that brings it."""

    command: tuple[str, ...]
    package: str
    newer: bool = False

    @property
    def name(self) -> str:
        """What a person calls it: the command without its version flag."""
        return " ".join(word for word in self.command if not word.startswith("-") and word != "version")


PARTS = (
    Part(("podman", "--version"), "podman"),
    Part(("buildah", "--version"), "buildah"),
    Part(("skopeo", "--version"), "skopeo"),
    Part(("newuidmap",), "uidmap"),
    Part(("crun", "--version"), "crun"),
    Part(("runc", "--version"), "runc"),
    Part(("fuse-overlayfs", "--version"), "fuse-overlayfs"),
    Part(("netavark", "--version"), "netavark"),
    Part(("aardvark-dns", "--version"), "aardvark-dns"),
    Part(("catatonit", "--version"), "catatonit"),
    Part(("busybox", "--help"), "busybox-static"),
    Part(("docker-registry", "--version"), "docker-registry"),
    Part(("debootstrap", "--version"), "debootstrap"),
    Part(("iptables", "--version"), "iptables"),
    Part(("tini", "--version"), "tini"),
    Part(("nginx", "-v"), "nginx-light"),
    Part(("dash", "-c", "echo dash"), "dash"),
    Part(("dockerd", "--version"), "docker.io", newer=True),
    Part(("containerd", "--version"), "containerd", newer=True),
    Part(("docker", "--version"), "docker-cli", newer=True),
    Part(("docker", "buildx", "version"), "docker-buildx", newer=True),
    Part(("umoci", "--version"), "umoci", newer=True),
    Part(("cosign", "version"), "cosign", newer=True),
    Part(("chromium", "--version"), "chromium"),
    Part(("oras", "version"), "oras", newer=True),
)


class AptError(Exception):
    """An apt command failed; the message is what it said."""


def program(name: str) -> str | None:
    """The path of a program, also where it lies in a folder that only its own package looks into."""
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), *PRIVATE_FOLDERS))
    return shutil.which(name, path=search)


def answer(part: Part) -> str | None:
    """The first line the part says about its version; None when it is not there or does not run."""
    path = program(part.command[0])
    if path is None:
        return None
    if len(part.command) == 1:
        return path  # a set-uid program without a version flag: being there is all that can be asked
    try:
        done = subprocess.run([path, *part.command[1:]], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return lines[0] if done.returncode == 0 and lines else None


def missing_parts() -> tuple[Part, ...]:
    """The parts that do not answer on this machine now."""
    return tuple(part for part in PARTS if answer(part) is None)


def apt(*arguments: str) -> str:
    """Run an apt command and give its output back.

    Raises:
        AptError: it ended with anything but 0; a lock that another apt holds is waited for, up to LOCK_SECONDS.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        done = subprocess.run(
            arguments, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode == 0:
            return done.stdout
        if "Could not get lock" not in done.stderr or time.monotonic() > deadline:
            said = (done.stderr.strip() or done.stdout.strip())[-4000:]
            raise AptError(f"`{' '.join(arguments)}` ended with {done.returncode}:\n{said}")
        time.sleep(1)


def codename() -> str:
    """The suite this machine was installed from, after os-release(5); empty where it has none."""
    for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME":
            return value.strip("\"'")
    return ""


def mirror(suite: str) -> str:
    """The archive that this machine's own apt sources name for ``suite``: ours must not know any host.

    Raises:
        AptError: no source names that suite.
    """
    listed = apt("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Identifier: Packages")
    for line in listed.splitlines():
        uri, _, release = line.partition(" ")
        if release == suite:
            return uri
    raise AptError(f"no apt source of this machine names the suite {suite!r}, so there is no mirror to derive")


def add_newer_suite() -> None:
    """Let apt see NEWER_SUITE, at a priority below everything that is installed or in this machine's own suite."""
    lines = ["Types: deb", f"URIs: {mirror(codename())}", f"Suites: {NEWER_SUITE}", "Components: main"]
    if KEYRING.exists():
        lines.append(f"Signed-By: {KEYRING}")
    PREFERENCES.write_text(
        f"Package: *\nPin: release n={NEWER_SUITE}\nPin-Priority: 1\n", encoding="utf-8"
    )  # before the source, so that no apt that runs meanwhile sees it unpinned
    SOURCES.write_text("\n".join(lines) + "\n", encoding="utf-8")


def suite_has(package: str) -> bool:
    """Whether this machine's own suites, our added one left out, carry a package."""
    try:
        versions = apt("apt-cache", "madison", package)
    except AptError:
        return False
    return any(f" {NEWER_SUITE}/" not in line for line in versions.splitlines() if line.strip())


@contextlib.contextmanager
def services_left_alone() -> Iterator[None]:
    """Keep package scripts from starting dockerd and a registry: the tests start their own, on ports of their own."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def apt_install(packages: Sequence[str]) -> None:
    """Install packages without their recommendations.

    Raises:
        AptError: apt said no.
    """
    options = (
        "--yes",
        "--no-install-recommends",
        "-o",
        "Acquire::Retries=3",
        "-o",
        f"DPkg::Lock::Timeout={LOCK_SECONDS}",
    )
    apt("apt-get", "install", *options, *packages)


def install(parts: Sequence[Part]) -> list[str]:
    """Install what brings these parts; each apt failure is gathered, so that one does not hide the others."""
    failures: list[str] = []

    def attempt(*packages: str) -> None:
        try:
            apt_install(packages)
        except AptError as error:
            if len(packages) == 1:
                failures.append(str(error))
            else:  # one package that apt does not know must not take the others with it
                for package in packages:
                    attempt(package)

    with services_left_alone():
        try:
            apt("apt-get", "update")
            newer = [part for part in parts if part.newer and codename() == "bookworm"]
            if newer and not suite_has("docker-buildx"):
                add_newer_suite()
                apt("apt-get", "update")
        except AptError as error:
            failures.append(str(error))  # the lists already here may still do: the installs below will tell
            newer = [part for part in parts if part.newer and SOURCES.exists()]
        own = [part.package for part in parts if part not in newer]
        if own:
            attempt(*own)
        if newer:
            attempt(*(f"{part.package}/{NEWER_SUITE}" for part in newer))
    return failures


def can_install() -> bool:
    """Whether installing is ours to do here: root, on a machine with apt."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def report(failures: Sequence[str]) -> int:
    """Print each part with its version or that it is missing; give the exit code."""
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    absent = 0
    for part in PARTS:
        version = answer(part)
        absent += version is None
        print(f"{part.name}: {version or f'MISSING (Debian package {part.package})'}")
    if not absent:
        return 0
    required = os.environ.get("MODELPACK_REQUIRE_ENGINES") == "1"
    if not can_install():
        print("not root, or no apt: install these yourself; the tests that need them are skipped", file=sys.stderr)
    return 1 if required or can_install() else 0


def main() -> int:
    """Install what is missing and say what is there."""
    absent = missing_parts()
    return report(install(absent) if absent and can_install() else ())


if __name__ == "__main__":
    sys.exit(main())
