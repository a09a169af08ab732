"""Amounts of bytes, written for a person."""

from __future__ import annotations


def human(size: float) -> str:
    """Bytes for a person, in powers of 1000 as registries and disks count them."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"
