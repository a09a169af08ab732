"""The plan of a modelcar: if these fail, KServe finds no model, or three engines build three images."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from buildkit.errors import InvalidInput
from buildkit.kinds import Kind, kind_named
from buildkit.oci.reference import Digest, Platform, Reference
from buildkit.pin import File, ImagePin, Inventory, Pins
from buildkit.plan import Plan
from buildkit.recipe import load
from recipes.modelcar import many, stages
from recipes.modelcar.kind import ModelcarSpec, modelcar
from recipes.modelcar.layers import LARGE
from tests.containerfiles.test_containerfile import HOSTILE, both

AMD64 = Platform("linux", "amd64")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def image(reference: str) -> ImagePin:
    return ImagePin(Reference.parse(reference).at(Digest.of(reference.encode())), {AMD64: Digest.of(b"amd64")})


BASE = image("registry.access.redhat.com/ubi9/ubi-micro:latest")
BUILDER = image("registry.access.redhat.com/ubi9/python-312:latest")
PINNED = {"base": BASE, "builder": BUILDER}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file(path: str, size: int = 3, url: str = "") -> File:
    return File(path, size, sha256=sha256(path.encode("utf-8", "surrogatepass")), url=url)


def spec(**written: Any) -> ModelcarSpec:
    return ModelcarSpec.model_validate({"kind": "modelcar", "name": "granite", "model": "hf://org/granite", **written})


def plan(
    *files: File,
    kind: str = "huggingface",
    listed: str = "org/granite",
    images: Mapping[str, ImagePin] = PINNED,
    **written: Any,
) -> Plan:
    hub = {"revision": "main", "commit": COMMIT} if kind == "huggingface" else {}
    inventory = Inventory(kind, listed, tuple(sorted(files)), **hub)
    wanted = spec(**written)
    needed = {key: pin for key, pin in images.items() if key != "base" or wanted.base != "scratch"}
    return modelcar.plan(wanted, Pins(needed, {"model": inventory}))


def from_folder(*files: File, **written: Any) -> Plan:
    return plan(*files, kind="folder", listed="models", **{"model": "./models", **written})


def lines_with(word: str, text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"{word} ")]


def test_it_is_a_kind_like_any_other() -> None:
    """The machinery cannot find it, or a third party's kind would need another door."""
    found: Kind = kind_named("modelcar")
    assert found is modelcar
    assert (found.name, found.spec) == ("modelcar", ModelcarSpec)


# --- layers


def test_names_owners_and_modes() -> None:
    """KServe runs as a random user of the group 0 and must read everything, and only what begins with ``models/``."""
    (layer,) = from_folder(file("config.json"), file("1/model.onnx", 70)).layers
    assert [(entry.name, entry.mode, entry.uid, entry.gid, entry.mtime, entry.size) for entry in layer.entries] == [
        ("models", 0o555, 1001, 0, 0, 0),
        ("models/1", 0o555, 1001, 0, 0, 0),
        ("models/1/model.onnx", 0o444, 1001, 0, 0, 70),
        ("models/config.json", 0o444, 1001, 0, 0, 3),
    ]
    assert {planned.source for planned in layer.files} == {"model"}


def test_a_layer_per_file() -> None:
    """A shard that changes moves the others too, or a layer lacks a directory that it needs."""
    files = [
        file("a/b/1.safetensors", LARGE),
        file("a/2.safetensors", LARGE + 1),
        file("a/just.below", LARGE - 1),
        file("config.json"),
    ]
    layers = from_folder(*files, layers="per-file").layers
    assert [layer.title for layer in layers] == ["small files", "a/2.safetensors", "a/b/1.safetensors"]
    assert [[entry.name for entry in layer.entries] for layer in layers] == [
        ["models", "models/a", "models/a/just.below", "models/config.json"],
        ["models", "models/a", "models/a/2.safetensors"],
        ["models", "models/a", "models/a/b", "models/a/b/1.safetensors"],
    ]
    assert [layer.title for layer in from_folder(file("x", LARGE), layers="per-file").layers] == ["x"], (
        "an empty layer of small files"
    )


def test_letters_and_their_cases_are_kept() -> None:
    """Two files that look alike become one."""
    names = [
        "é",
        "e\u0301",
        "A",
        "a",
        "模型.bin",
        "a b",
        "it's",
        '"q"',
        "$HOME",
        "#1",
        "`x`",
        "-f",
        ".hidden",
        "[1]",
        "x\u00a0y",
    ]
    (layer,) = from_folder(*map(file, names)).layers
    assert [planned.file.path for planned in layer.files] == sorted(names)


def test_names_that_no_image_can_have_are_told_together() -> None:
    """One of them is found after an hour of upload, and the next one after another hour."""
    wrong = {
        "a\nb": "line break", "c\x1bd": "U+001B", "e\u202ef": "U+202E", "../g": "..", "/h": "relative", "i//j": "empty", "k\\l": "slashes",
        "x/.wh.m": ".wh.", ".wh..wh..opq": ".wh.", "n" * 256: "255", "é" * 128: "255", "/".join(["o" * 200] * 21): "4087", "": "empty",
        "p/.": "empty", "~q": "home", "\udcff": "U+DCFF",
    }  # fmt: skip
    with pytest.raises(InvalidInput) as caught:
        from_folder(*map(file, wrong), file("fine"))
    told = {str(problem) for problem in caught.value.problems}
    assert len(told) == len(wrong)
    for path, why in wrong.items():
        assert any(why in problem for problem in told), path
    assert all(problem.isprintable() for problem in told)
    assert "exclude" in caught.value.hint


def test_a_file_is_no_folder_and_nothing_is_there_twice() -> None:
    """What is unpacked last wins, and the other file is lost."""
    with pytest.raises(InvalidInput, match="'a': is both a file and the folder of 'a/b'"):
        from_folder(file("a"), file("a-b"), file("a/b"))
    with pytest.raises(InvalidInput, match="'a': is there twice"):
        from_folder(file("a"), file("a"))


def test_no_file_at_all_names_the_patterns() -> None:
    """An image without a model is deployed."""
    with pytest.raises(InvalidInput) as caught:
        plan(model={"hf": "org/granite", "include": ["*.onnx"], "exclude": ["a", "b"]})
    assert "org/granite has no files" in str(caught.value)
    assert caught.value.hint == "what selects them is include: '*.onnx'; exclude: 'a', 'b'"
    with pytest.raises(InvalidInput):
        from_folder()


# --- config and annotations


def test_what_is_known_of_an_image_is_written_on_it() -> None:
    """Nobody can tell which model and which base an image holds."""
    planned = plan(
        file("a"),
        labels={
            "team": "x",
            "org.opencontainers.image.title": "Granite",
            "org.opencontainers.image.licenses": "Apache-2.0",
        },
    )
    known = {
        "org.opencontainers.image.base.digest": str(BASE.reference.digest),
        "org.opencontainers.image.base.name": "registry.access.redhat.com/ubi9/ubi-micro:latest",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.revision": COMMIT,
        "org.opencontainers.image.source": "https://huggingface.co/org/granite",
        "org.opencontainers.image.title": "granite",
    }
    assert planned.annotations == known
    assert planned.process == {
        "User": "1001",
        "Labels": {**known, "org.opencontainers.image.title": "Granite", "team": "x"},
    }


def test_an_image_of_nothing_but_the_model() -> None:
    """BuildKit and buildah give ``scratch`` a PATH and a folder, and the embedded engine would not."""
    planned = from_folder(file("a"), base="scratch")
    assert planned.base is None
    assert planned.process["Env"] == ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    assert planned.process["WorkingDir"] == "/"
    assert planned.annotations == {"org.opencontainers.image.title": "granite"}
    assert (
        'ENV PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"\nWORKDIR /\n' in planned.containerfile
    )


def test_the_digest_does_not_depend_on_what_only_builds() -> None:
    """An image counts as not built because an engine's builder was pinned afterwards."""
    without = plan(file("a"), images={"base": BASE})
    assert without.digest == plan(file("a")).digest
    assert without.layers == plan(file("a")).layers
    assert plan(file("b")).digest != without.digest


def test_layers_that_are_only_called_otherwise_are_another_image() -> None:
    """What was built is taken for the new image, and 'push' says that it is not on this machine any more."""
    now = plan(file("a"))
    renamed = replace(now, layers=tuple(replace(layer, title=f"the {layer.title}") for layer in now.layers))
    assert now.layers and renamed.digest != now.digest


# --- the Containerfile


def test_a_model_of_a_hub() -> None:
    """What the hub serves is not what was locked, or the token ends in the image."""
    files = [replace(file("config.json"), sha256="", git_oid="ab" * 20), file("sub/model.safetensors", 70)]
    planned = plan(*files, model={"hf": "org/granite", "include": ["*.json", "it's $x"], "exclude": ["-x"]})
    text = planned.containerfile
    assert both(text) == ["FROM", "USER", "RUN", "RUN", "RUN", "ARG", "RUN", "FROM", "LABEL", "COPY", "USER"]
    assert lines_with("FROM", text) == [
        f"FROM --platform=$BUILDPLATFORM {BUILDER.reference} AS files",
        f"FROM {BASE.reference}",
    ]
    assert "ARG HF_ENDPOINT=https://huggingface.co\n" in text, "an engine gives its own hub as a build argument"
    assert f"hf download --quiet org/granite --revision {COMMIT} \\\n" in text
    assert (
        "      '--include=*.json' \\\n      '--include=it'\"'\"'s $x' \\\n      --exclude=-x \\\n      --local-dir /download; \\\n"
        in text
    )
    assert f"      out/git:{'ab' * 20}/3/config.json \\\n" in text
    assert f"      out/sha256:{sha256(b'sub/model.safetensors')}/70/sub/model.safetensors \\\n" in text
    assert text.endswith("\nCOPY --from=files --chown=1001:0 /out/ /\nUSER 1001\n")
    assert re.findall(r".*hf_token.*", text.partition("FROM")[2]) == [
        "RUN --mount=type=secret,id=hf_token,required=false set -e; \\",
        "    HF_TOKEN_PATH=/run/secrets/hf_token HF_HOME=/hub HF_HUB_DISABLE_PROGRESS_BARS=1 \\",
    ]
    assert (planned.context, planned.archives, planned.blocked) == (None, {}, {})
    assert planned.images == (BASE, BUILDER)


def test_files_by_url() -> None:
    """A file is downloaded from somewhere else, or under another name."""
    files = [file("1/m.onnx", url="https://x.org/m.onnx?a='b'&c=$d")]
    planned = plan(*files, kind="http", listed="", model=[{"url": "https://x.org/m.onnx", "path": "1/m.onnx"}])
    assert both(planned.containerfile) == ["FROM", "USER", "RUN", "RUN", "RUN", "RUN", "FROM", "LABEL", "COPY", "USER"]
    assert "      'https://x.org/m.onnx?a='\"'\"'b'\"'\"'&c=$d 1/m.onnx' \\\n" in planned.containerfile
    assert "secret" not in planned.containerfile


def test_a_folder_above_a_base() -> None:
    """The base's own shell does what the builder image would have to be fetched for."""
    planned = from_folder(file("a"), file("b/c"), images={"base": BASE})
    assert both(planned.containerfile) == ["FROM", "USER", "RUN", "RUN", "COPY", "RUN", "FROM", "LABEL", "COPY", "USER"]
    assert lines_with("COPY", planned.containerfile)[0] == 'COPY ["models/", "/download/"]'
    assert lines_with("FROM", planned.containerfile)[0] == f"FROM --platform=$BUILDPLATFORM {BASE.reference} AS files"
    assert (planned.context, planned.archives, planned.images) == (".", {}, (BASE,))


def test_a_folder_of_which_a_part_is_taken() -> None:
    """Checkpoints of the training that nobody selected are sent to a builder far away."""
    files = [file("a"), file("b/c 1"), file("b/d"), file("b/e/f")]
    text = from_folder(*files, model={"path": "models", "include": ["*"]}).containerfile
    assert lines_with("COPY", text)[:-1] == [
        'COPY ["models/a", "/download/"]',
        'COPY ["models/b/c 1", "models/b/d", "/download/b/"]',
        'COPY ["models/b/e/f", "/download/b/e/"]',
    ]
    for odd in (file("b/it's"), file("$x"), file("[1]"), file("x ")):
        text = from_folder(*files, odd, model={"path": "models", "include": ["*"]}).containerfile
        assert lines_with("COPY", text)[:-1] == ['COPY ["models/", "/download/"]'], (
            "a name that COPY would read as something else"
        )
    text = from_folder(*(file(f"{n}/x") for n in range(61)), model={"path": "models", "exclude": ["y"]}).containerfile
    assert lines_with("COPY", text)[:-1] == ['COPY ["models/", "/download/"]'], "more steps than a stage may have"
    text = from_folder(
        *(file(f"{n:05}" + "x" * 100) for n in range(3000)), model={"path": "models", "exclude": ["y"]}
    ).containerfile
    assert 5 < len(lines_with("COPY", text)) < 10, "a line that is longer than an engine reads"


@pytest.mark.parametrize(
    "written", [{"base": "scratch"}, {"model": "./it's"}, {"model": "./a[1]"}, {"model": "./$x"}, {"model": "./a /b"}]
)
def test_a_folder_as_an_archive(written: dict[str, Any]) -> None:
    """Nothing can set modes in an empty image, and COPY cannot name every folder."""
    planned = from_folder(file("a"), images={"base": BASE}, **written)
    assert planned.archives == {"models.tar": planned.layers}
    assert planned.context is None
    assert planned.blocked == {}
    env = ["ENV", "WORKDIR"] if "base" in written else []
    assert both(planned.containerfile) == ["FROM", "LABEL", *env, "ADD", "USER"]
    assert "\nADD models.tar /\n" in planned.containerfile


def test_a_layer_is_one_copy() -> None:
    """The engines' images have other layers than the embedded engine's."""
    files = [file("big", LARGE), file("sub/big too", LARGE), file("small")]
    for planned in (
        plan(*files, layers="per-file"),
        from_folder(*files, layers="per-file"),
        from_folder(*files, layers="per-file", base="scratch"),
    ):
        text = planned.containerfile
        assert len(planned.layers) == 3
        assert lines_with("COPY", text)[-3:] == [
            f"COPY --from=files --chown=1001:0 /out-{number}/ /" for number in (1, 2, 3)
        ]
        assert re.findall(r"'?(out-\d)/sha256:\w+/\d+/(.*?)'? \\", text) == [
            ("out-1", "small"),
            ("out-2", "big"),
            ("out-3", "sub/big too"),
        ]
        assert "      /out-3/models \\\n      /out-3/models/sub \\\n" in text


def test_what_needs_the_builder_waits_for_it() -> None:
    """The embedded engine needs no builder: without one the Containerfile is not there, and says why."""
    for planned in (
        plan(file("a"), images={"base": BASE}),
        from_folder(file("a", LARGE), file("b"), base="scratch", layers="per-file", images={}),
    ):
        assert planned.containerfile == ""
        assert set(planned.blocked) == {"buildx", "podman"}
        assert "builder" in planned.blocked["podman"]
    assert "builder" in dict(spec().images())
    assert "builder" not in dict(spec(model="./models").images())
    assert "builder" not in dict(spec(model="./models", base="scratch").images()), (
        "the quickstart would need a registry"
    )
    assert "builder" in dict(spec(model="./models", base="scratch", layers="per-file").images())
    assert spec.__module__ and ModelcarSpec.builder_images == {"builder"}


def test_what_no_containerfile_can_do_is_said() -> None:
    """An engine fails in the middle, with an error of its own."""
    too_many = from_folder(*(file(f"{n:03}", LARGE) for n in range(101)), layers="per-file")
    assert "101 layers" in too_many.blocked["buildx"]
    assert too_many.containerfile == ""
    odd = from_folder(file("a", LARGE), file("b"), layers="per-file", model="./it's")
    assert "it's" in odd.blocked["podman"]


def test_twenty_thousand_files() -> None:
    """BuildKit takes 4 MiB, of which it needs four for each byte of a RUN, and no line of 64 KiB."""
    files = [file(f"a rather long folder/{n % 200:03}/it's number {n:05}.bin") for n in range(20_000)]
    hub = plan(*files)
    assert len(hub.containerfile.encode()) < 20_000
    folder = from_folder(*files)
    assert list(folder.archives) == ["models.tar"]
    for planned in (hub, folder, plan(*files[:4000]), from_folder(*files[:4000])):
        text = planned.containerfile
        assert len(text.encode()) < 1_000_000
        assert max(len(line.encode()) for line in text.splitlines()) < 65_000
        assert max(len(command.encode()) for command in text.replace("\\\n", "").splitlines()) < 128 * 1024, (
            "more than sh -c takes"
        )
        assert not planned.blocked


# --- what the stages do, run by a shell


def commands(text: str, root: Path) -> str:
    """What the RUN lines of a stage do, in a folder instead of at the root of a container."""
    logical = re.sub(r"\\\n", " ", text).splitlines()
    script = "\n".join(line.removeprefix("RUN ") for line in logical if line.startswith("RUN "))
    for name in ("lock", "download", "hub"):
        script = re.sub(rf"(?<![\w/])/{name}\b", f"{root}/{name}", script)
    return script.replace('"/$root', f'"{root}/$root').replace(" /out", f" {root}/out").replace("'/out", f"'{root}/out")


def prepared(tmp_path: Path, contents: Mapping[str, bytes]) -> list[File]:
    for path, content in contents.items():
        place = tmp_path / "download" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(0o755)
    by_git = {
        path: hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() for path, content in contents.items()
    }
    return [
        File(path, len(content), git_oid=by_git[path])
        if len(content) % 2
        else File(path, len(content), sha256=sha256(content))
        for path, content in contents.items()
    ]


CONTENTS = {
    "config.json": b"{}", "1/model.onnx": b"one", "2/model.onnx": b"four", " a b /it's \"$HOME\" #1 `x` \\n".replace("\\", "%"): b"odd",
    "-n": b"", "\u00fc/\u6a21": b"12", "*": b"star", "[x]/?": b"q", "a~": b"22", ".hidden/.x": b"3", "e\u0301": b"1", "\u00e9": b"22",
}  # fmt: skip


def result(tmp_path: Path) -> dict[str, tuple[int, int, bytes | None]]:
    found = {}
    for path in sorted(tmp_path.glob("out*/**/*")):
        status = path.stat()
        content = path.read_bytes() if path.is_file() else None
        found[path.relative_to(tmp_path).as_posix()] = (status.st_mode & 0o7777, int(status.st_mtime), content)
    return found


def expected(planned: Plan, contents: Mapping[str, bytes]) -> dict[str, tuple[int, int, bytes | None]]:
    roots = ["out"] if len(planned.layers) == 1 else [f"out-{number + 1}" for number in range(len(planned.layers))]
    return {
        f"{root}/{entry.name}": (
            entry.mode,
            0,
            None if entry.directory else contents[entry.name.removeprefix("models/")],
        )
        for root, layer in zip(roots, planned.layers, strict=True)
        for entry in layer.entries
    }


def test_the_shell_of_a_stage_makes_the_planned_layer(tmp_path: Path) -> None:
    """Files of other names, modes or times than the embedded engine's, or one that nobody selected."""
    files = prepared(tmp_path, CONTENTS)
    (tmp_path / "download" / "not selected").write_bytes(b"")
    planned = from_folder(*files, images={"base": BASE})
    done = subprocess.run(
        ["sh", "-c", commands(planned.containerfile, tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert result(tmp_path) == expected(planned, CONTENTS)
    assert not (tmp_path / "download").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"1/model.onnx": b"two"}, "1/model.onnx is not the file that was locked: git:"),
        ({"2/model.onnx": b"five"}, "2/model.onnx is not the file that was locked: sha256:"),
        ({"absent": b"x"}, "absent is locked and is not there"),
    ],
)
def test_the_shell_of_a_stage_stops_at_another_file(tmp_path: Path, change: dict[str, bytes], said: str) -> None:
    """A file that was cut off or moved is shipped as the model."""
    files = prepared(tmp_path, {**CONTENTS, **change})
    for path in change:
        (tmp_path / "download" / path).write_bytes(CONTENTS.get(path, b"")) if path in CONTENTS else (
            tmp_path / "download" / path
        ).unlink()
    planned = from_folder(*files, images={"base": BASE})
    done = subprocess.run(
        ["sh", "-c", commands(planned.containerfile, tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert said in done.stderr


def placing(tmp_path: Path, proven: many.Many) -> subprocess.CompletedProcess[str]:
    program = many.PROGRAM.replace('"/download', f'"{tmp_path}/download').replace('"/" + root', f'"{tmp_path}/" + root')
    arguments = [proven.digest, str(proven.count), proven.git, proven.roots]
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)


def test_many_files_are_placed_as_few_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of very many files is another image than the same model of few."""
    contents = {**CONTENTS, "big": bytes(LARGE), "z/big": bytes(LARGE + 1)}
    files = prepared(tmp_path, contents)
    (tmp_path / "download/.cache/huggingface").mkdir(parents=True)
    (tmp_path / "download/.cache/huggingface/x").write_bytes(b"left by the hub's library")
    monkeypatch.setattr(stages, "_MOST_LISTED", 0)
    planned = plan(*files, layers="per-file")
    found = re.search(r"place\.py (\w+) (\w+) (\w+) (\S+); \\\n", planned.containerfile)
    assert found
    done = placing(tmp_path, many.Many(int(found[2]), found[1], found[3], found[4]))
    assert (done.returncode, done.stderr) == (0, "")
    assert result(tmp_path) == expected(planned, contents)


@pytest.mark.parametrize("change", [{"1/model.onnx": b"two"}, {"more": b""}, {"2/model.onnx": None}])
def test_many_files_are_proven(tmp_path: Path, change: dict[str, bytes | None]) -> None:
    """One file of twenty thousand is another one, and nobody notices."""
    proven = many.proven_together((one, "out") for one in prepared(tmp_path, CONTENTS))
    for path, content in change.items():
        if content is None:
            (tmp_path / "download" / path).unlink()
        else:
            (tmp_path / "download" / path).write_bytes(content)
    done = placing(tmp_path, proven)
    assert done.returncode == 1
    assert "not the 12 files that were locked" in done.stderr
    assert not list(tmp_path.glob("out*"))


# --- nothing that a person or a hub writes becomes an instruction

PLAIN = {
    "huggingface": ["FROM", "USER", "RUN", "RUN", "RUN", "ARG", "RUN", "FROM", "LABEL", "COPY", "USER"],
    "folder": ["FROM", "USER", "RUN", "RUN", "COPY", "RUN", "FROM", "LABEL", "COPY", "USER"],
    "http": ["FROM", "USER", "RUN", "RUN", "RUN", "RUN", "FROM", "LABEL", "COPY", "USER"],
}
hostile = st.sampled_from(HOSTILE) | st.text(max_size=30) | st.text("'\"\\$#`\n\r \u2028<EOF&;[]%RUN", max_size=30)


FIELDS = {
    "path": "config.json",
    "url": "https://x.org/a",
    "hf": "org/x",
    "revision": "main",
    "folder": "models",
    "label": "a",
    "value": "b",
    "name": "x",
    "listed": "org/x",
    "commit": COMMIT,
    "include": "",
    "exclude": "",
}


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(sorted(PLAIN)), st.sampled_from(sorted(FIELDS)), hostile)
def test_no_value_becomes_an_instruction(kind: str, field: str, value: str) -> None:
    """Whoever names a file, a label, a branch or a folder runs commands on the builder."""
    given_values = {**FIELDS, field: value}
    chosen = {key: [given_values[key]] for key in ("include", "exclude") if given_values[key]}
    models: dict[str, Any] = {
        "huggingface": {"hf": given_values["hf"], "revision": given_values["revision"], **chosen},
        "folder": {"path": given_values["folder"], **chosen},
        "http": [{"url": given_values["url"], "path": given_values["path"]}],
    }
    labels = {given_values["label"]: given_values["value"]}
    taken = file(given_values["path"], url=given_values["url"] if kind == "http" else "")
    try:
        wanted = spec(model=models[kind], labels=labels, name=given_values["name"])
        commit = given_values["commit"] if kind == "huggingface" else ""
        inventory = Inventory(kind, given_values["listed"], (taken,), commit and "main", commit)
        planned = modelcar.plan(wanted, Pins(PINNED, {"model": inventory}))
        text = planned.containerfile
    except (ValidationError, InvalidInput):
        assert not value.isalnum() or not value.isascii() or field in ("url", "name"), "a good value is refused"
        return
    assert both(text) == (["FROM", "LABEL", "ADD", "USER"] if planned.archives else PLAIN[kind])
    assert "\r" not in text


# --- the first recipe


@pytest.mark.parametrize("name", ["granite", "my-model", "a/b.c", "x"])
def test_the_first_recipe_is_a_good_one(tmp_path: Path, name: str) -> None:
    """What ``modelpack init`` writes does not load."""
    files = modelcar.starter(name)
    assert set(files) == {"recipe.yaml"}
    (tmp_path / "recipe.yaml").write_text(files["recipe.yaml"], encoding="utf-8")
    assert load(tmp_path).spec.name == name


@pytest.mark.parametrize("name", ["", "My Model", "a\nb: c", "-", "ä"])
def test_a_first_recipe_has_a_name(name: str) -> None:
    """A folder's name is written where it cannot stand."""
    with pytest.raises(InvalidInput):
        modelcar.starter(name)
