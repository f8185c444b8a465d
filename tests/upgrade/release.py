"""An earlier release of the project: which one, and its files."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIRST = "8ae2ca6d98980f793e18a4371f832b2d7ca5df1f"
"""Stands for the release before as long as there is no tag: the last commit with the ETL and the metadata pipeline alone, so that
an upgrade changes them and adds the other systems."""


class NoRelease(Exception):
    """The release cannot be had; the message says why, and what to do."""


def chosen(repository: Path = ROOT) -> str:
    """The release that UPGRADE_FROM names; else the last tag before this commit; else FIRST."""
    tag = _git(repository, "describe", "--tags", "--abbrev=0", "HEAD^")
    return os.environ.get("UPGRADE_FROM") or tag.stdout.decode().strip() or FIRST


def check_out(release: str, folder: Path, repository: Path = ROOT) -> Path:
    """Write the release's files into the folder. Raises NoRelease."""
    if _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{release}^{{commit}}").returncode:
        shallow = _git(repository, "rev-parse", "--is-shallow-repository").stdout.strip()
        if shallow == b"true":
            raise NoRelease(f"This clone is shallow and does not hold {release}. Remedy: git fetch --unshallow --tags")
        if not shallow:
            raise NoRelease(f"{repository} is no Git repository, so that no earlier release can be had. Remedy: git clone")
        raise NoRelease(f"There is no commit {release}. Remedy: name a tag or a commit, as in: make test-upgrade FROM=v1.0.0")
    archive = _git(repository, "archive", "--format=tar", release)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def _git(repository: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *words], cwd=repository, check=False, capture_output=True)
