"""Says of every point in a folder's tables whether the model's circle holds it."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path


def main(model: Path, source: Path, target: Path) -> None:
    """Writes a table with the answers for every table of the source."""
    circle = json.loads((model / "weights.json").read_text(encoding="utf-8"))
    for table in sorted(source.glob("*.csv")):
        with table.open(newline="", encoding="utf-8") as read, (target / table.name).open("w", newline="") as written:
            answers = csv.writer(written)
            for x, y in csv.reader(read):
                away = (float(x) - circle["centre"][0]) ** 2 + (float(y) - circle["centre"][1]) ** 2
                answers.writerow([x, y, "inside" if away < circle["radius"] ** 2 else "outside"])
        print(f"points: {table.name}", flush=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
