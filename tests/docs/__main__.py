"""``python -m tests.docs [COMMAND...]``: a shell in which what the guides name lies on loopback, to follow one by hand.

Hub and registries answer under their own names, the accounts of the guides may push (the password is in ``$TOKEN``), and the
programs of clusters and clouds are stand-ins. The shell has a home and a folder of its own, which go when it ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.docs.outside import outside
from tests.docs.reader import Reader
from tests.docs.test_guides import SECRETS, prepare
from tests.docs.wheels import INDEX


def main(command: Sequence[str]) -> int:
    """Runs a command, by default a shell; its exit code."""
    with tempfile.TemporaryDirectory(prefix="modelpack-guides-") as folder:
        with outside(Path(folder), (INDEX,), strict=True) as world:
            prepare(world)
            variables = Reader(Path(folder), {**world.environment, **SECRETS}).variables()
            work = Path(folder, "work")
            work.mkdir()
            kept = {name: os.environ[name] for name in ("TERM",) if name in os.environ}
            return subprocess.run(command or ["bash", "--norc"], cwd=work, env=kept | variables, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
