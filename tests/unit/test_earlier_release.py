"""Which earlier release an upgrade starts from, and what is said if it cannot be had (C4)."""

import subprocess

import pytest

from tests.upgrade import release


def git(folder, *words):
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Two commits with a file that says which."""
    monkeypatch.delenv("UPGRADE_FROM", raising=False)
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for content in ("one", "two"):
        (folder / "file").write_text(content)
        git(folder, "add", "file")
        git(folder, "commit", "--quiet", "-m", content)
    return folder


def test_the_release_before_is_the_last_tag_before_this_commit(repository, monkeypatch):
    assert release.chosen(repository) == release.FIRST
    git(repository, "tag", "v1", "HEAD^")
    git(repository, "tag", "v2", "HEAD")
    assert release.chosen(repository) == "v1"
    monkeypatch.setenv("UPGRADE_FROM", "main~7")
    assert release.chosen(repository) == "main~7"


def test_its_files_are_those_of_the_commit(repository, tmp_path):
    assert (release.check_out("HEAD^", tmp_path / "out", repository) / "file").read_text() == "one"


def test_a_shallow_clone_is_told_the_remedy(repository, tmp_path):
    first = git(repository, "rev-parse", "HEAD^")
    git(tmp_path, "clone", "--quiet", "--depth", "1", repository.as_uri(), "shallow")
    with pytest.raises(release.NoRelease, match=f"shallow and does not hold {first}.*git fetch --unshallow"):
        release.check_out(first, tmp_path / "out", tmp_path / "shallow")


@pytest.mark.parametrize("name", ["v9", "--help", ""])
def test_what_is_no_commit_is_told(repository, tmp_path, name):
    with pytest.raises(release.NoRelease, match="There is no commit"):
        release.check_out(name, tmp_path / "out", repository)


def test_a_folder_without_git_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(release.NoRelease, match="no Git repository"):
        release.check_out("v1", tmp_path / "out", tmp_path)
