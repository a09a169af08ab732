"""A stand-in for the installer of Miniforge, which is not reachable here: a shell script that lays out a ``conda``.

Its ``conda`` makes an environment of the image's own Python and installs the pip part of ``conda.yaml`` for real. What it
cannot show is that the real solver takes conda packages; what it does show is how the recipe brings, calls and cleans it.
"""

from __future__ import annotations

INSTALLER = """\
#!/bin/bash
set -e
[ "$1" = -b ] && [ "$2" = -p ] || { echo "unexpected: $*" >&2; exit 2; }
mkdir -p "$3/bin" "$3/condabin" "$3/conda-meta" "$3/pkgs"
date > "$3/conda-meta/history"
date > "$3/install.log"
date > "$3/pkgs/cached.tar.bz2"
cat > "$3/bin/conda" <<'CONDA'
#!/usr/bin/python3
import pathlib, re, subprocess, sys, time

words = sys.argv[1:]
def option(name):
    return words[words.index(name) + 1]
if words == ["--version"]:
    print("conda 26.3.2")
elif words[0] == "create":
    prefix = pathlib.Path(option("--prefix"))
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(prefix)], check=True)
    (prefix / "conda-meta").mkdir()
    (prefix / "conda-meta/history").write_text(time.ctime())
elif words[:2] == ["env", "update"]:
    prefix = option("--prefix")
    pinned = pathlib.Path(prefix, "conda-meta/pinned").read_text()
    assert re.fullmatch(r"python ==3\\.[0-9.]+\\n", pinned), pinned
    text = pathlib.Path(option("--file")).read_text()
    wanted = re.findall(r"^ +- (\\S+==\\S+)$", text, re.MULTILINE)
    subprocess.run(["python3", "-m", "pip", "--python", prefix, "install", "--quiet", *wanted], check=True)
elif words[0] == "clean":
    base = pathlib.Path(sys.argv[0]).parent.parent
    (base / "pkgs/cached.tar.bz2").unlink()
else:
    sys.exit(f"unexpected: {words}")
CONDA
chmod 0755 "$3/bin/conda"
ln -s ../bin/conda "$3/condabin/conda"
"""
