"""Programs of others that guides call: they read what modelpack wrote for them as far as can be told without a cluster or cloud.

Each refuses a file that is not there or does not parse. `az acr login` leaves a login where docker does, as the real one; trivy
finds nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

NAMES = ("kubectl", "oc", "oci", "az", "trivy")
_PROGRAM = """
import base64, json, sys, zipfile
from pathlib import Path
from ruamel.yaml import YAML

name, words = Path(sys.argv[0]).name, sys.argv[1:]
files = [word for option, word in zip(words, words[1:]) if option in ("-f", "--file")]
files += [word.removeprefix("file://") for word in words if word.startswith("file://")]
for file in files:
    text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    content = json.loads(text) if file.endswith(".json") else list(YAML(typ="safe").load_all(text))
    if not content or "FILL-IN" in text:
        sys.exit(f"{name}: {file} is not complete:\\n{text}")
if name in ("kubectl", "oc") and "apply" in words and not files:
    sys.exit(f"{name}: apply wants -f FILE")
if name == "oc" and "process" in words:
    print("kind: ServingRuntime")
if name == "oci" and words[:3] == ["data-science", "model", "create"]:
    print("ocid1.datasciencemodel.oc1.iad.aaaa")
if "--model-artifact-file" in words:
    assert zipfile.is_zipfile(words[words.index("--model-artifact-file") + 1])
if name == "az" and words[:2] == ["acr", "login"]:
    kept = Path.home() / ".docker" / "config.json"
    kept.parent.mkdir(exist_ok=True)
    auth = base64.b64encode(b"00000000-0000-0000-0000-000000000000:secret").decode()
    kept.write_text(json.dumps({"auths": {words[words.index("--name") + 1] + ".azurecr.io": {"auth": auth}}}))
if name == "trivy":
    print(json.dumps({"SchemaVersion": 2, "Results": []}))
"""


def write_programs(folder: Path) -> Path:
    """Writes them into a folder that goes to the front of PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        (folder / name).write_text(f"#!{sys.executable}\n{_PROGRAM}", encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder
