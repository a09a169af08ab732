"""Makes an installed folder of packages the same on every machine: scripts, records, modes, times, bytecode.

It is a program of its own and needs nothing but Python: the embedded engine runs it on this machine, a Containerfile in
its stage. ``settle.py FOLDER PLACE VERSION [needed]``: the folder, where it will lie in the image, and the Python it is for;
with ``needed`` another Python than that one is an error, and else it writes no bytecode.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import importlib.util
import marshal
import os
import sys
import warnings
from types import CodeType

DROPPED = ("REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")
"""What an installer notes beside a package about how it came here (PEP 376, PEP 610, uv's own)."""
SHEBANG = b"#!/usr/bin/env python3\n"
SCRIPT = "import sys\nfrom {module} import {first}\nif __name__ == '__main__':\n    sys.exit({function}())\n"
WITHOUT_REFERENCES = 2
"""A version of marshal that every Python reads. From 3 on, what is written depends on how often an object is used elsewhere."""


def files(folder: str) -> list[str]:
    """Every file below a folder, relative to it, in one order."""
    found: list[str] = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        found += [os.path.relpath(os.path.join(place, name), folder).replace(os.sep, "/") for name in names]
    return sorted(found)


def read(folder: str, path: str) -> bytes:
    """The bytes of a file."""
    with open(os.path.join(folder, path), "rb") as file:
        return file.read()


def write(folder: str, path: str, content: bytes) -> None:
    """Writes a file, and the folders above it."""
    place = os.path.join(folder, path)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "wb") as file:
        file.write(content)


def console_scripts(text: str) -> dict[str, str]:
    """The programs of a package, after packaging.python.org, "Entry points specification": name -> module:function."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return {
        name: reference.partition("[")[0].strip()
        for section in ("console_scripts", "gui_scripts")
        if parser.has_section(section)
        for name, reference in parser.items(section)
    }


def without_interpreter(content: bytes) -> bytes:
    """A script of a wheel with the first line of any machine, and not with the path of the Python that installed it."""
    lines = content.splitlines(keepends=True)
    if lines[:1] == [b"#!/bin/sh\n"] and lines[1:2] and lines[1].startswith(b"'''exec' "):
        return SHEBANG + b"".join(lines[3:])
    if lines and lines[0].startswith(b"#!") and b"python" in lines[0]:
        return SHEBANG + b"".join(lines[1:])
    return content


def settle_scripts(folder: str) -> None:
    """Writes every package's programs anew: their first lines name the Python of the machine that installed them."""
    for path in files(folder):
        if path.startswith("bin/"):
            write(folder, path, without_interpreter(read(folder, path)))
    for path in files(folder):
        if path.endswith(".dist-info/entry_points.txt"):
            for name, reference in console_scripts(read(folder, path).decode()).items():
                module, _, function = reference.partition(":")
                text = SCRIPT.format(module=module.strip(), first=function.split(".")[0], function=function)
                write(folder, "bin/" + name, SHEBANG + text.encode())
                os.chmod(os.path.join(folder, "bin", name), 0o755)  # noqa: S103


def settle_records(folder: str) -> None:
    """Takes the installer's notes away, and writes the list of each package's files (PEP 376) anew."""
    for path in files(folder):
        if path == ".lock" or (".dist-info/" in path and path.rpartition("/")[2] in DROPPED):
            os.remove(os.path.join(folder, path))
    for path in files(folder):
        if path.endswith(".dist-info/RECORD"):
            listed = {row[0].replace("\\", "/") for row in csv.reader(read(folder, path).decode().splitlines()) if row}
            there = sorted(name for name in listed if os.path.isfile(os.path.join(folder, name)))
            write(folder, path, "".join(recorded(folder, name, path) for name in there).encode())


def recorded(folder: str, name: str, record: str) -> str:
    """A line of a RECORD."""
    if name == record:
        return name + ",,\n"
    content = read(folder, name)
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    quoted = '"' + name.replace('"', '""') + '"' if set(name) & set(',"') else name
    return f"{quoted},sha256={digest},{len(content)}\n"


def compile_all(folder: str, place: str) -> None:
    """Writes bytecode that is believed without a look at its source (PEP 552): the layer never changes after this."""
    warnings.simplefilter("ignore")
    for path in files(folder):
        if path.endswith(".pyc"):
            os.remove(os.path.join(folder, path))
        elif path.endswith(".py") and not path.startswith("bin/"):
            source = read(folder, path)
            try:
                code = compile(source, "/" + place + "/" + path, "exec", dont_inherit=True, optimize=0)
            except (SyntaxError, ValueError):  # a template, or a file for another Python: it is not imported
                continue
            head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source)
            write(folder, importlib.util.cache_from_source(path), head + dumped(code))


def dumped(code: CodeType) -> bytes:
    """A code object as bytes that depend on its source alone."""
    try:
        return marshal.dumps(code, WITHOUT_REFERENCES)
    except ValueError:  # Python 3.14 has constants that older versions of marshal cannot say
        return marshal.dumps(code)


def settle_modes(folder: str) -> None:
    """Every file readable, programs runnable, and no times."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = os.path.join(place, name)
            os.chmod(path, 0o755 if os.stat(path).st_mode & 0o100 else 0o644)
            os.utime(path, (0, 0))
        os.chmod(place, 0o755)  # noqa: S103
        os.utime(place, (0, 0))


def main(folder: str, place: str, version: str, needed: str = "") -> None:
    """Settles a folder; the exit status says whether it could."""
    mine = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if mine != version and needed:
        sys.exit(f"the base has Python {mine}, and the recipe says python: {version}")
    settle_scripts(folder)
    settle_records(folder)
    if mine == version:
        compile_all(folder, place)
    settle_modes(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
