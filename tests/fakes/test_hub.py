"""The fake hub, seen by the hub's own client library: what it accepts from the real hub it must accept from ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile, RepoFolder

from tests.fakes.hub import Hub
from tests.fakes.hub_samples import BIG, CONFIG, FILES, README, sha256
from tests.fakes.plain_client import ask


def test_the_library_reads_info_tree_and_paths(hub: Hub) -> None:
    """Pinning asks exactly these; a field that the fake leaves out would be tested nowhere."""
    commit = hub.add("org/model", FILES, card={"license": "apache-2.0"})
    api = HfApi(endpoint=hub.endpoint, token=False)
    info = api.model_info("org/model", files_metadata=True)
    assert (info.id, info.sha, info.private, info.gated) == ("org/model", commit, False, False)
    assert info.card_data is not None and info.card_data.license == "apache-2.0"
    weights = next(s for s in info.siblings or [] if s.rfilename == "model.safetensors")
    assert weights.lfs is not None and (weights.size, weights.lfs.sha256) == (BIG.size, BIG.sha256)
    short = api.model_info("org/model", expand=["sha"])
    assert (short.sha, short.siblings) == (commit, None)
    described = api.get_paths_info("org/model", ["sub", "config.json", "nothing"], revision=commit, expand=True)
    assert sorted(entry.path for entry in described) == ["config.json", "sub"]
    assert all(entry.last_commit is not None and entry.last_commit.oid == commit for entry in described)


@pytest.mark.parametrize("page_size", [1, 2, 3, 1000])
def test_a_tree_is_the_same_however_many_pages_it_has(hub: Hub, page_size: int) -> None:
    """A client that forgets the Link header loses files of every repository with more than a page of them."""
    hub.add("org/model", FILES)
    hub.page_size = page_size
    api = HfApi(endpoint=hub.endpoint, token=False)
    files = [e for e in api.list_repo_tree("org/model", recursive=True) if isinstance(e, RepoFile)]
    assert sorted(file.path for file in files) == sorted(FILES)
    assert [e.path for e in api.list_repo_tree("org/model", "sub") if isinstance(e, RepoFolder)] == ["sub/dir"]
    pages = [request for request in hub.requests if "recursive=true" in request.path.lower()]
    assert len(pages) == -(-6 // page_size)


def test_ids_are_those_of_git(hub: Hub, tmp_path: Path) -> None:
    """Small files are verified by git's blob id: an id of our own making would hide a wrong formula."""
    hub.add("org/model", FILES)

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{BIG.sha256}\nsize {BIG.size}\n".encode()
    for path, content in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content if isinstance(content, bytes) else pointer)
    git("add", ".")
    tree = git("write-tree")
    entries = list(HfApi(endpoint=hub.endpoint, token=False).list_repo_tree("org/model", recursive=True))
    assert len(entries) == 6
    for entry in entries:
        known = entry.blob_id if isinstance(entry, RepoFile) else entry.tree_id
        assert known == git("rev-parse", f"{tree}:{entry.path}"), entry.path


def test_a_snapshot_is_downloaded_and_old_commits_stay(hub: Hub, tmp_path: Path) -> None:
    """A lock names a commit: the bytes of that commit must come, whatever the branch says by then."""
    old = hub.add("org/model", FILES)
    new = hub.add("org/model", {**FILES, "config.json": b"{}"})
    assert old != new
    for revision, config in ((old, CONFIG), (None, b"{}"), (new, b"{}")):
        folder = Path(
            snapshot_download(
                "org/model", revision=revision, endpoint=hub.endpoint, cache_dir=tmp_path / str(revision), token=False
            )
        )
        assert (folder / "config.json").read_bytes() == config
        assert (folder / "sub/dir/vocab.txt").read_bytes() == b"a\nb\n"
        assert sha256(folder / "model.safetensors") == BIG.sha256
    with Hub() as other:
        assert other.add("org/else", FILES) == old, "a commit id depends on more than the content"


def test_tokens_never_reach_the_second_origin(hub: Hub, tmp_path: Path) -> None:
    """The library drops Authorization at the redirect; this is how a test sees that ours does, too."""
    hub.add("org/model", FILES, private=True)
    path = hf_hub_download("org/model", "model.safetensors", endpoint=hub.endpoint, cache_dir=tmp_path, token=hub.token)
    assert sha256(path) == BIG.sha256
    origins = [(r.origin, "authorization" in r.headers) for r in hub.requests]
    assert origins[-2:] == [("hub", True), ("cdn", False)]
    assert not hub.cdn_saw_authorization
    location = ask("GET", f"{hub.endpoint}/org/model/resolve/main/model.safetensors", headers=bearer(hub)).headers[
        "location"
    ]
    assert ask("GET", location, headers=bearer(hub)).status == 400
    assert hub.cdn_saw_authorization


def bearer(hub: Hub) -> dict[str, str]:
    return {"Authorization": f"Bearer {hub.token}"}


def test_refusals_raise_what_the_real_ones_raise(hub: Hub, tmp_path: Path) -> None:
    """Hints to the user are chosen by these errors."""
    hub.add("org/gated", FILES, gated="manual")
    hub.add("org/secret", FILES, private=True)
    api = HfApi(endpoint=hub.endpoint)

    def download(token: str | bool) -> str:
        return hf_hub_download("org/gated", "README.md", endpoint=hub.endpoint, cache_dir=tmp_path, token=token)

    assert api.model_info("org/gated", token=False).gated == "manual"
    for token, status in ((False, 401), (hub.other_token, 403)):
        with pytest.raises(GatedRepoError) as gated:
            download(token)
        assert gated.value.response.status_code == status
        assert "restricted" in str(gated.value)
    assert Path(download(hub.token)).read_bytes() == README
    for name in ("org/none", "org/secret"):
        for token, status in ((False, 401), (hub.other_token, 404)):
            with pytest.raises(RepositoryNotFoundError) as missing:
                api.model_info(name, token=token)
            assert missing.value.response.status_code == status
    with pytest.raises(RevisionNotFoundError):
        api.model_info("org/gated", revision="v9", token=False)
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        api.model_info("org/gated", token="hf_wrong")
    assert api.whoami(token=hub.token)["name"] == "owner"
    refs = api.list_repo_refs("org/gated", token=False)
    assert [branch.name for branch in refs.branches] == ["main"]


def test_a_missing_file_says_which_commit_has_it_not(hub: Hub) -> None:
    """The library remembers absent files by commit; so may we."""
    commit = hub.add("org/model", FILES)
    answer = ask("HEAD", f"{hub.endpoint}/org/model/resolve/main/nothing.txt")
    assert (answer.status, answer.headers["x-error-code"], answer.headers["x-repo-commit"]) == (
        404,
        "EntryNotFound",
        commit,
    )
    assert ask("GET", f"{hub.endpoint}/api/agent-harnesses").status == 404
    assert (
        ask("GET", f"{hub.endpoint}/api/models/org/model/tree/main/nothing").headers["x-error-code"] == "EntryNotFound"
    )


def test_a_renamed_repository_is_found_under_its_old_name(hub: Hub, tmp_path: Path) -> None:
    """Recipes outlive names: 307 must be followed for metadata and for files."""
    commit = hub.add("org/old", FILES)
    hub.rename("org/old", "org/new")
    assert HfApi(endpoint=hub.endpoint, token=False).model_info("org/old", revision=commit).id == "org/new"
    path = hf_hub_download("org/old", "config.json", endpoint=hub.endpoint, cache_dir=tmp_path, token=False)
    assert Path(path).read_bytes() == CONFIG
    assert {r.status for r in hub.requests if "org/old" in r.path} == {307}
