"""check, targets and deploy as a person or a workflow meets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.targets.drafts import OVMS, write
from tests.targets.test_rules import TOKEN


def modelpack(*arguments: str, folder: Path, columns: int = 80) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "buildkit", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("columns", [80, 200])
def test_a_report_reads_without_colour_at_any_width(tmp_path: Path, columns: int) -> None:
    """A report that only a wide terminal shows is not read in a log."""
    image = write(OVMS.config(Entrypoint=["/bin/sh"], User=None), tmp_path / "image")
    done = modelpack("check", "--image", image, "-t", "kserve", folder=tmp_path, columns=columns)
    assert done.returncode == 1
    assert max(map(len, done.stdout.splitlines())) <= columns
    words = " ".join(done.stdout.split())
    for told in ("KS-03", "error", "do: write ENTRYPOINT []", "from: KServe", "KS-04", "warning", "not judged"):
        assert told in words
    assert "\033" not in done.stdout


def test_exit_codes_and_forms(tmp_path: Path) -> None:
    """0 on warnings, 1 with --strict; every form says the same."""
    warned = write(OVMS.config(User=None), tmp_path / "warned")
    broken = write(OVMS.config(Entrypoint=["x"]), tmp_path / "broken")
    assert modelpack("check", "--image", warned, "-t", "kserve", folder=tmp_path).returncode == 0
    assert modelpack("check", "--image", warned, "-t", "kserve", "--strict", folder=tmp_path).returncode == 1
    done = modelpack("check", "--image", broken, "-t", "kserve", "--json", "--sarif", "out.sarif", folder=tmp_path)
    assert done.returncode == 1
    target = json.loads(done.stdout)["targets"][0]
    assert (target["target"], target["errors"]) == ("kserve:modelcar", 1)
    assert {"rule", "severity", "where", "what", "do", "source", "title"} <= set(target["findings"][0])
    sarif = json.loads((tmp_path / "out.sarif").read_text())
    assert sarif["version"] == "2.1.0"
    assert [one["ruleId"] for one in sarif["runs"][0]["results"]] == ["KS-03"]
    github = modelpack("check", "--image", broken, "-t", "kserve", "--github", folder=tmp_path).stdout
    assert github.startswith("::error file=")
    assert "title=KS-03 (kserve%3Amodelcar)::Entrypoint is" in github
    for command in ("check", "build", "lock", "render", "deploy", "verify", "sbom", "scan"):
        nothing = modelpack(command, folder=tmp_path)
        assert nothing.returncode == 1 and "this folder has no recipe.yaml" in nothing.stderr, (
            "the recipe here is meant"
        )
    assert modelpack("check", "--image", broken, "-t", "kserv", folder=tmp_path).returncode == 1


def test_a_deployment_of_ones_own_is_judged(tmp_path: Path) -> None:
    """The manifest that lies in a repository for years is the one that is applied."""
    (tmp_path / "isvc.yaml").write_text(
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nspec:\n  predictor:\n    model:\n"
        "      runtime: x\n      storageUri: s3://bucket/model\n"
    )
    done = modelpack("check", "--deployment", "isvc.yaml", "-t", "kserve", "--json", folder=tmp_path)
    assert [one["rule"] for one in json.loads(done.stdout)["targets"][0]["findings"]] == ["KS-17"]


def test_of_several_documents_the_one_that_deploys_is_judged(tmp_path: Path) -> None:
    """A manifest has its Service and its ConfigMap beside it, behind '---', and could not be judged at all."""
    service, pod = "kind: Service\nspec:\n  ports: []\n", "kind: Deployment\nspec:\n  template:\n    spec: x\n"
    (tmp_path / "all.yaml").write_text(f"# ours\n---\n{service}---\n{pod}---\n# the end\n")
    done = modelpack("check", "--deployment", "all.yaml", "-t", "kubernetes", folder=tmp_path)
    assert done.returncode == 1
    assert "spec.template.spec: must be a mapping, and is a text" in done.stderr
    (tmp_path / "all.yaml").write_text(f"{service}---\n{pod}---\n{pod}")
    refused = modelpack("check", "--deployment", "all.yaml", "-t", "kubernetes", folder=tmp_path)
    assert "3 documents (Service, Deployment, Deployment), and 2 of them for kubernetes" in refused.stderr
    (tmp_path / "all.yaml").write_text(f"{service}---\n{pod}  - y\n")
    assert "all.yaml:9" in modelpack("check", "--deployment", "all.yaml", "-t", "kubernetes", folder=tmp_path).stderr


def test_rules_explain_themselves(tmp_path: Path) -> None:
    """Whoever reads an id in a log finds out what it is, and who says so."""
    assert "Open Data Hub" in modelpack("targets", "KS-05", folder=tmp_path).stdout
    assert "KS-08" in modelpack("targets", "kserve:fetch", folder=tmp_path).stdout
    assert "KS-08" not in modelpack("targets", "kserve:native", folder=tmp_path).stdout
    assert len(json.loads(modelpack("targets", "--json", folder=tmp_path).stdout)) == 13
    assert "there is no rule 'KS-99'" in modelpack("targets", "KS-99", folder=tmp_path).stderr
    explained = json.loads(modelpack("targets", "ks-08", "--json", folder=tmp_path).stdout)
    assert [(one["name"], [rule["id"] for rule in one["rules"]]) for one in explained] == [("kserve:fetch", ["KS-08"])]
    assert "did you mean" in modelpack("targets", "kserv", folder=tmp_path).stderr
    assert TOKEN not in modelpack("targets", folder=tmp_path).stdout


def test_the_command_of_a_deployment_prints_its_files(tmp_path: Path) -> None:
    """$(modelpack deploy ...) is what kubectl apply -f is given."""
    (tmp_path / "recipe.yaml").write_text("kind: modelcar\nname: x\nmodel: hf://org/x\n")
    image = "quay.io/org/x@sha256:" + "ab" * 32
    done = modelpack("deploy", "recipe.yaml", "-t", "kubernetes", "--image", image, "-o", "out", folder=tmp_path)
    assert done.stdout.split() == ["out/pod.yaml"], done.stderr
    assert "next (kubernetes): kubectl apply" in done.stderr
    refused = modelpack("deploy", "recipe.yaml", "-t", "kubernetes", folder=tmp_path)
    assert refused.returncode == 1
    assert "was not pushed" in refused.stderr
