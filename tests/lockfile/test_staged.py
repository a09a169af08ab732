"""How a lock gets to its place: if these fail, a push ends after its tags, or locks are half written, closed or littered."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from buildkit.done import Done
from buildkit.errors import InvalidInput
from buildkit.lockfile import lock as locks
from buildkit.lockfile.lock import Lock
from buildkit.lockfile.staged import Staged, check_writable, write
from buildkit.oci.reference import Digest
from buildkit.pin import Pins
from tests.lockfile.test_lock import example

OTHER = Lock(Digest.of(b"other"), Pins())
ROOT = Path(__file__).parents[2]


def test_an_unchanged_lock_is_not_touched(tmp_path: Path) -> None:
    """A build that changed nothing must leave even the file's time alone, and work where the file is read-only."""
    path = tmp_path / "recipe.lock"
    write(path, example(), Done())
    os.utime(path, (1, 1))
    path.chmod(0o444)
    write(path, example(), Done())
    assert path.stat().st_mtime == 1


def test_a_read_only_lock_is_refused_even_to_root(tmp_path: Path) -> None:
    """Who made the lock read-only wants it kept."""
    path = tmp_path / "recipe.lock"
    write(path, example(), Done())
    path.chmod(0o444)
    with pytest.raises(InvalidInput, match="read-only"):
        write(path, Lock(Digest.of(b"other"), Pins()), Done())
    assert locks.read(path) == example()


def test_a_staged_lock_that_is_not_committed_leaves_nothing(tmp_path: Path) -> None:
    """A push that ended early must leave neither a new lock nor litter beside the old one."""
    path = tmp_path / "recipe.lock"
    with Staged(path, example()):
        assert not path.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_swept_and_what_a_running_one_stages_is_not(tmp_path: Path) -> None:
    """A run that was killed must leave no litter for 'git add', and the next one must not harm one that goes on."""
    path, link = tmp_path / "recipe.lock", tmp_path / "linked.lock"
    link.symlink_to(path)
    left = tmp_path / ".recipe.lock.partial-abc"
    left.write_text("half")
    script = "import sys; from buildkit.lockfile.staged import Staged; from tests.lockfile.test_lock import example; from pathlib import Path\n"
    script += f"staged = Staged(Path({str(link)!r}), example()); print('staged', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as running:
        assert running.stdout and running.stdout.readline() == "staged\n"
        assert not left.exists()
        (staged,) = tmp_path.glob(".recipe.lock.partial-*")
        write(link, example(), Done())
        assert staged.exists()
        running.kill()
        running.wait()
    write(link, example(), Done())
    assert not staged.exists()


def test_a_lock_keeps_its_mode(tmp_path: Path) -> None:
    """A lock that a team writes together is closed to all others by the first who locks."""
    path = tmp_path / "recipe.lock"
    write(path, example(), Done())
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o664)
    write(path, OTHER, Done())
    assert stat.S_IMODE(path.stat().st_mode) == 0o664


def test_a_lock_that_is_mounted_by_itself_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    """A container is given the lock as a file: hours later its tags have moved, and the lock cannot be replaced."""
    write(tmp_path / "recipe.lock", example(), Done())
    mounted = (
        "mkdir other && mount -t tmpfs none other && cp recipe.lock other && mount --bind other/recipe.lock recipe.lock"
    )
    script = "import sys; from pathlib import Path; from buildkit.lockfile.staged import check_writable; check_writable(Path(sys.argv[1]))"
    command = f'{mounted} || exit 77; cd {ROOT}; exec "$0" -c "{script}" {tmp_path}/recipe.lock'
    try:
        apart = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", command, sys.executable]
        done = subprocess.run(apart, cwd=tmp_path, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("unshare is not installed here")
    if done.returncode == 77 or done.stderr.startswith("unshare:"):
        pytest.skip("nothing can be mounted here")
    assert "recipe.lock is mounted by itself" in done.stderr


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be two users")
def test_a_lock_of_another_user_in_a_sticky_folder_is_told_before_anything_is_sent() -> None:
    """In a folder like /tmp everybody may write, and nobody replace what is another's: the push ends after its tags."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.lock"
        write(path, example(), Done())
        path.chmod(0o666)
        Path(folder).chmod(0o1777)
        os.seteuid(65534)
        try:
            with pytest.raises(InvalidInput, match="is another user's"):
                check_writable(path)
        finally:
            os.seteuid(0)


def test_a_lock_that_cannot_be_put_in_its_place_is_named(tmp_path: Path) -> None:
    """What moved meanwhile and what is to be done is told, and not the name of a file that nobody knows."""
    path = tmp_path / "recipe.lock"
    with Staged(path, example()) as staged:
        path.mkdir()
        with pytest.raises(InvalidInput, match=r"recipe\.lock cannot be written") as refused:
            staged.commit(Done(), "the tags have moved")
    assert "the tags have moved" in refused.value.hint
    assert list(tmp_path.iterdir()) == [path]
