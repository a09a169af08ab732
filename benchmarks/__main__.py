"""Runs the benchmarks: ``python -m benchmarks --work NAME --runs 5``; see ``--help``."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import report, work
from benchmarks.ground import prepared
from benchmarks.measure import BenchmarkError
from benchmarks.works import WORKS

ENGINES = ("podman", "docker", "crane")


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--work", action="append", choices=list(WORKS), help="only this; may be given again")
    parser.add_argument("--runs", type=int, default=5, help="of each contender, taking turns (5)")
    parser.add_argument("--size-scale", type=float, default=1.0, help="multiplies every size (1.0)")
    parser.add_argument(
        "--storage", choices=("disk", "memory", "both"), default="both", help="where the registry stores"
    )
    parser.add_argument("--without-engines", action="store_true", help="no podman, no docker and no crane")
    parser.add_argument(
        "--engine-runs", type=int, default=None, help="of podman, docker and crane, which take long (as --runs)"
    )
    parser.add_argument("--folder", type=Path, help="where the data goes (a temporary folder, removed at the end)")
    return parser.parse_args(arguments)


def main() -> int:
    """Runs and prints; 0 when every target that was measured is reached."""
    asked = options()
    if sys.platform != "linux":
        print("the benchmarks read /proc: they run on Linux only", file=sys.stderr)
        return 2
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="modelpack-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(
        f"# {platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    )
    print(f"# medians of {asked.runs}; sizes x {asked.size_scale:g}; page cache warm; ratios are what counts\n")
    try:
        missed = sum(_storage(folder, storage, asked) for storage in _storages(asked.storage))
    finally:
        if not asked.folder:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if missed else 0


def _storages(asked: str) -> tuple[str, ...]:
    return ("disk", "memory") if asked == "both" else (asked,)


def _storage(folder: Path, storage: str, asked: argparse.Namespace) -> int:
    """Everything against one kind of storage; the number of targets that are missed."""
    names = [name for name in asked.work or WORKS if storage == "disk" or WORKS[name].in_memory]
    wanted = () if asked.without_engines or not any(WORKS[name].engines for name in names) else ENGINES
    missed = 0
    with prepared(folder, "memory" if storage == "memory" else "disk", asked.size_scale, wanted) as ground:
        for name, reason in ground.absent.items():
            print(f"{name} is not measured: {reason}\n")
        for name in names:
            made = WORKS[name].make(ground)
            print(f"## {made.title}; registry on {storage}", flush=True)
            runs = work.Runs(asked.runs, asked.engine_runs or asked.runs)
            try:
                samples = work.run(made, runs, ground.counters, lambda line: print(line, file=sys.stderr, flush=True))
            except BenchmarkError as error:
                print(f"\n{error}\n")
                missed += 1
                continue
            print(f"\n{report.table(made, samples)}\n")
            for line, is_missed in report.verdicts(made, samples):
                missed += is_missed
                print(line)
            print(flush=True)
            ground.registry.reset()
    return missed


if __name__ == "__main__":
    sys.exit(main())
