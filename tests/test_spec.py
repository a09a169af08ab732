"""The types of a recipe: if these fail, a recipe is read as something that nobody wrote."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from buildkit.oci.reference import Platform
from buildkit.reading.plain import hidden
from buildkit.spec import Download, FolderRef, HuggingFaceRef, ImageRef, SourceRef, Spec, UrlsRef, plain, relative_path


class Example(Spec):
    model: SourceRef | None = None
    base: ImageRef = ImageRef("scratch")


def model(written: Any) -> Any:
    return Example(kind="example", name="x", model=written).model


def refusal(**written: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Example.model_validate({"kind": "example", "name": "x", **written})
    return "; ".join(error["msg"] for error in caught.value.errors())


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("hf://org/name", HuggingFaceRef(hf="org/name")),
        ("hf://org/name@v1.0", HuggingFaceRef(hf="org/name", revision="v1.0")),
        ("hf://gpt2@refs/pr/1", HuggingFaceRef(hf="gpt2", revision="refs/pr/1")),
        ({"hf": "org/name", "include": ["*.json"]}, HuggingFaceRef(hf="org/name", include=("*.json",))),
        ("./models", FolderRef(path="models")),
        ("models/v1/", FolderRef(path="models/v1")),
        ({"path": "./a b", "exclude": ["x"]}, FolderRef(path="a b", exclude=("x",))),
        (["https://x.org/a"], UrlsRef(urls=(Download(url="https://x.org/a"),))),
        ([{"url": "https://x.org/a", "path": "1/b"}], UrlsRef(urls=(Download(url="https://x.org/a", path="1/b"),))),
        ({"urls": ["https://x.org/a"]}, UrlsRef(urls=(Download(url="https://x.org/a"),))),
    ],
)
def test_every_form_of_a_source_means_the_same(written: Any, meant: Any) -> None:
    """A short form that means something else builds another model."""
    assert model(written) == meant
    assert model(meant) == meant


@pytest.mark.parametrize(
    "written",
    [
        "", "/models", "../models", "a/../../b", "~/models", "C:/models", "C:\\models", "a\\b", ".", "./", "./.", "a//b", "a/./b",
        "s3://bucket/x", "https://x.org/a", "hf://", "hf://org/name@", "hf://a/b/c", "hf://org/na--me", "hf://-a/b", "hf://a/b.git",
        "hf://org/..", "hf://org/name@--help", "hf://org/name@a b", "hf://org/name@a..b", "hf://org/name@$(id)", "hf://org/nämé",
        [], [""], ["x"], ["ftp://x.org/a"], ["http://x.org/a"], ["https://"], ["https://x.org/"], ["https://x.org/a b"],
        ["https://user:pass@x.org/a"], ["https://x.org/a#b"], ["https://x.org/..%2fa"], ["https://x.org/%00"], ["https://x.org:99999/a"],
        ["https://[::1/a"], ["https://x.org/ü"], ["https://x.org/a", "https://y.org/a"], [{"url": "https://x.org/a", "sha256": "AB"}],
        [{"url": "https://x.org/a", "path": "../b"}], [{"path": "b"}], {}, {"hf": "a/b", "path": "c"}, {"include": ["*"]}, 3, True,
        {"hf": "a/b", "include": "*"}, {"hf": "a/b", "include": [""]}, {"hf": "a/b", "include": ["a\nb"]}, {"urls": []}, {"path": None},
    ],
)  # fmt: skip
def test_what_is_no_source_is_refused(written: Any) -> None:
    """It would be looked for on the disk of another person, or reach a shell."""
    assert refusal(model=written)


@pytest.mark.parametrize(
    ("url", "better"),
    [
        ("https://huggingface.co/org/mini", "hf://org/mini"),
        ("https://hf.co/org/mini/", "hf://org/mini"),
        ("https://huggingface.co/gpt2", "hf://gpt2"),
        ("https://huggingface.co/org/mini/tree/v1.0", "hf://org/mini@v1.0"),
        ("https://huggingface.co/org/mini/tree/refs%2Fpr%2F1/onnx?x=1", "hf://org/mini@refs/pr/1"),
        (
            "https://huggingface.co/org/mini/blob/main/onnx/model.onnx",
            "https://huggingface.co/org/mini/resolve/main/onnx/model.onnx",
        ),
    ],
)
def test_a_page_of_the_hub_is_no_model(url: str, better: str) -> None:
    """A newcomer writes what the browser shows, and the page's HTML becomes the model."""
    for written in (url, [url], [{"url": url, "path": "model.onnx"}]):
        with pytest.raises(ValidationError) as caught:
            model(written)
        (error,) = caught.value.errors()
        assert "is a page of the hub" in str(error["ctx"]["error"])
        assert error["ctx"]["error"].hint == f"write {better}"


@pytest.mark.parametrize("path", ["org/mini/resolve/main/a.onnx", "org/mini/raw/main/a.json", "api/models/org/mini"])
def test_a_file_of_the_hub_is_taken(path: str) -> None:
    """One file of a repository is wanted, by the address that the hub gives for it."""
    assert model([f"https://huggingface.co/{path}"]).urls[0].url.endswith(path)
    assert model(["https://x.org/org/mini"]).urls[0].file_path == "mini"


@pytest.mark.parametrize(
    "url", ["http://localhost:1/a", "http://127.0.0.1/a", "http://127.9.9.9/a", "http://[::1]:80/a", "https://x.org/a"]
)
def test_plain_http_is_for_loopback(url: str) -> None:
    """A test's own server cannot be named."""
    assert model([url]).urls[0].url == url


def test_the_name_of_a_download() -> None:
    """A file by URL has a name that nobody expects."""
    assert Download(url="https://x.org/a/b%20c.onnx?download=1").file_path == "b c.onnx"
    assert Download(url="https://x.org/", path="1/m.onnx").file_path == "1/m.onnx"


def test_two_downloads_do_not_take_one_place() -> None:
    """One of them would silently replace the other."""
    assert "give each" not in refusal(model=["https://x.org/a", "https://y.org/a"])
    assert "'a'" in refusal(model=["https://x.org/a", "https://y.org/a"])


@pytest.mark.parametrize(
    "reference", ["UPPER/x", "a b", "x:bad tag", "x@sha256:12", "https://quay.io/x", "", "x\n", "a//b"]
)
def test_what_is_no_image_is_refused(reference: str) -> None:
    """It would stand in a FROM line."""
    assert refusal(base=reference)


def test_inputs_are_found_by_their_types() -> None:
    """A kind's author would have to say twice what has to be pinned."""
    spec = Example.model_validate({"kind": "example", "name": "x", "model": "hf://a/b", "base": "quay.io/a/b:1"})
    assert [(key, str(image)) for key, image in spec.images()] == [("base", "quay.io/a/b:1")]
    assert [key for key, _ in spec.sources()] == ["model"]
    assert list(Example(kind="example", name="x").images()) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "Upper"), ("name", "a b"), ("name", "-a"), ("name", "a/"), ("name", "ä"), ("name", ""), ("name", 5),
        ("tags", []), ("tags", ["a b"]), ("tags", [".a"]), ("tags", ["a" * 129]), ("tags", ["v1", "v1"]), ("tags", "v1"), ("tags", [1.0]),
        ("platforms", []), ("platforms", ["linux"]), ("platforms", ["linux/amd64", "linux/amd64"]), ("platforms", ["Linux/amd64"]),
        ("labels", {"a b": "x"}), ("labels", {"a=b": "x"}), ("labels", {"": "x"}), ("labels", {"a": "x\ny"}), ("labels", {"a": 5}),
        ("labels", {"a": "x" * 20_000}), ("labels", {"-a": "x"}), ("labels", ["a"]), ("unknown", 1),
    ],
)  # fmt: skip
def test_what_no_image_can_have_is_refused(key: str, value: Any) -> None:
    """It is found out when the last byte was pushed."""
    assert refusal(**{key: value})


def test_targets_are_parsed() -> None:
    """The platforms are read again in every stage."""
    assert Example(kind="example", name="x", platforms=("linux/arm64/v8",)).platforms_parsed == (
        Platform("linux", "arm64", "v8"),
    )


@given(st.text())
def test_plain_text_has_nothing_hidden(text: str) -> None:
    """A name that shows as another one, or moves the cursor of who reads it."""
    bad = [
        one
        for one in text
        if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp") or ord(one) & 0xFFFE == 0xFFFE
    ]
    assert hidden(text) == (bad[0] if bad else None)
    if bad:
        with pytest.raises(ValueError, match=f"U\\+{ord(bad[0]):04X}"):
            plain(text)


@given(st.lists(st.sampled_from(["a", "..", ".", "", "b c", "~", "C:", "\\", "é", "\x00"]), max_size=5).map("/".join))
def test_a_relative_path_stays_in_its_folder(path: str) -> None:
    """A recipe reads the files of whoever builds it."""
    try:
        relative_path(path)
    except ValueError:
        return
    assert path and not path.startswith(("/", "~", "C:"))
    assert not {"..", ".", ""} & set(path.split("/"))
    assert "\\" not in path and "\0" not in path


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("a:b", "letter and a colon"),
        ("C:/models", "letter and a colon"),
        ("/etc", "begin with '/'"),
        ("a\\b", "backslash"),
        ("~x", "begin with '~'"),
        ("a/../b", "'..'"),
        ("a//b", "empty"),
    ],
)
def test_what_is_wrong_with_a_path_is_said(path: str, words: str) -> None:
    """A file 'a:b' of a model is said to need forward slashes, and one looks for slashes in it."""
    with pytest.raises(ValueError, match=words):
        relative_path(path)
