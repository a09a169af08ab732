"""Writes the table of OCI regions from the ``oci`` package's own data: ``python -m tests.registries.write_oracle_regions``."""

from __future__ import annotations

from pathlib import Path

import buildkit

PLACE = Path(buildkit.__file__).parent / "oracle_regions.py"
HEAD = '''"""OCI's regions with their keys, as the ``oci`` package {version} has them. Written by a script, never by hand."""

from __future__ import annotations

REGIONS = {{
{lines}}}
"""Region -> key: the key names the registry's host, KEY.ocir.io."""
'''


def table() -> dict[str, str]:
    """Region -> key, of the installed package (oci/regions.py, REGIONS_SHORT_NAMES)."""
    from oci import regions

    return {region: key for key, region in sorted(regions.REGIONS_SHORT_NAMES.items(), key=lambda one: str(one[1]))}


def text() -> str:
    """The module with the table."""
    import oci

    lines = "".join(f'    "{region}": "{key}",\n' for region, key in table().items())
    return HEAD.format(version=oci.__version__, lines=lines)


if __name__ == "__main__":
    PLACE.write_text(text(), encoding="utf-8")
