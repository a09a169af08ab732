"""Files in an image that no source brings: if these fail, a configuration that a kind writes is missing or differs."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from buildkit.build import Context
from buildkit.engines.embedded import layer_stream
from buildkit.events import silent
from buildkit.oci.tar import Entry
from buildkit.placing import written
from buildkit.plan import PlannedLayer
from buildkit.settings import find


def test_a_file_that_the_plan_writes_is_laid_as_it_was_planned(tmp_path: Path) -> None:
    """A written configuration needs no source: it must be in the layer with its bytes, and decide the layer's key."""
    file = written("etc/model.conf", "name: \u00e4\n")
    layer = PlannedLayer("configuration", (Entry("etc", 0o755, directory=True),), (file,))
    context = Context(tmp_path, tmp_path / "recipe.yaml", find(tmp_path), {}, {}, ("latest",), silent)
    with tarfile.open(fileobj=io.BytesIO(b"".join(layer_stream((layer,), context)))) as tar:
        member = tar.getmember("etc/model.conf")
        content = tar.extractfile(member)
        assert content is not None and content.read() == "name: \u00e4\n".encode()
        assert (member.mode, member.uid, member.gid, member.mtime) == (0o644, 0, 0, 0)
    other = PlannedLayer("configuration", layer.directories, (written("etc/model.conf", "name: b\n"),))
    assert layer.key != other.key
