"""``python -m docs.generate`` writes the reference anew; with ``--check`` it only tells, with exit code 1, what is stale."""

from __future__ import annotations

import argparse
import sys

from docs.generate.pages import COMMAND, REFERENCE, pages, stale


def main() -> int:
    """Writes or checks the pages; the exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where a page is not what the code says")
    if parser.parse_args().check:
        for name, what in stale().items():
            print(f"docs/reference/{name} {what}: run '{COMMAND}', and commit what it writes", file=sys.stderr)
        return 1 if stale() else 0
    for name, what in stale().items():
        path = REFERENCE / name
        if what == "is written by nobody":
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pages()[name], encoding="utf-8", newline="\n")
        print(path.relative_to(REFERENCE.parent.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
