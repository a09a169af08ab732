"""What ``modelpack init batch`` writes: a job that counts what it is given."""

RECIPE = """\
# A batch job for ModelArts: /home/run.sh is run, and the job ends with it. Build it with: modelpack build recipe.yaml
kind: batch
name: NAME

# Python comes from the base; what else ModelArts asks for, Java and zip, is installed:
base: BASE
packages: [default-jre-headless, zip]
# A base that has them all needs no packages, and is built by the embedded engine, without docker or podman:
# packages: []

script: run.sh                      # becomes /home/run.sh
# model: hf://ORG/NAME@main         # under /home/model
# requirements: requirements.txt    # packages of Python, in a layer of their own
tags: [latest]
"""

SCRIPT = """\
#!/bin/sh
# The boot file of the job. What it prints is the job's log.
set -eu
echo "job: begins"
python3 predict.py "${INPUT_DIR:-/tmp/input}" "${OUTPUT_DIR:-/tmp/output}"
echo "job: done"
"""

IGNORED = """\
# What is no part of the program: 'modelpack deploy' writes there.
deploy
"""

PROGRAM = '''\
"""Reads every file of a folder, and writes what it finds into another."""

import json
import sys
from pathlib import Path


def main(source: Path, target: Path) -> None:
    """Writes ``predictions.json``: how many lines each file has."""
    found = {path.name: len(path.read_text().splitlines()) for path in sorted(source.glob("*")) if path.is_file()}
    target.mkdir(parents=True, exist_ok=True)
    (target / "predictions.json").write_text(json.dumps(found, indent=2))
    print(f"{len(found)} files", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
'''
