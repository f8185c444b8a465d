"""Lambda packages: the same files give the same bytes, anywhere and at any time (C4: a second plan shows no changes)."""

import base64
import hashlib
import os
import zipfile

import pytest

import lambda_packaging


@pytest.fixture
def folder(tmp_path):
    """A system's folder with two modules and what does not belong into its zip, beside what the systems share."""
    root = tmp_path / "lambdas" / "etl"
    (root / "inner").mkdir(parents=True)
    (root / "__pycache__").mkdir()
    (root / ".cache").mkdir()
    (root / "handler.py").write_text("A = 1\n")
    (root / "inner" / "größe.py").write_text("B = 2\n")
    (root / "__pycache__" / "handler.cpython-313.pyc").write_bytes(b"x")
    (root / ".cache" / "x").write_text("x")
    (root / ".hidden").write_text("x")
    for other in ("common", "metadata"):
        (tmp_path / "lambdas" / other).mkdir()
        (tmp_path / "lambdas" / other / "log.py").write_text("C = 3\n")
    return root


def package(folder, build_directory):
    return lambda_packaging.package(folder.name, folder.parent, build_directory)


def names(result):
    with zipfile.ZipFile(result.path) as archive:
        return archive.namelist()


def test_zip_holds_the_system_and_what_is_shared_and_nothing_of_this_machine(folder, tmp_path):
    """No other system, no caches, no hidden files."""
    shared, *own = names(package(folder, tmp_path / "build"))
    assert (shared, own) == ("lambdas/common/log.py", ["lambdas/etl/handler.py", "lambdas/etl/inner/größe.py"])


def test_nothing_is_compressed(folder, tmp_path):
    """One build of zlib compresses otherwise than the next: a laptop and a CI runner would undo each other's deployment."""
    with zipfile.ZipFile(package(folder, tmp_path / "build").path) as archive:
        assert {(entry.compress_type, entry.create_system) for entry in archive.infolist()} == {(zipfile.ZIP_STORED, 3)}


def test_hash_is_what_lambda_reports(folder, tmp_path):
    """Base64 of SHA-256: another kind of hash gives a plan that never settles."""
    result = package(folder, tmp_path / "build")
    assert result.source_code_hash == base64.b64encode(hashlib.sha256(result.path.read_bytes()).digest()).decode()


def test_same_files_same_bytes(folder, tmp_path):
    """Whatever the times, modes and caches of the files, and wherever they lie."""
    first = package(folder, tmp_path / "one")
    os.utime(folder / "handler.py", (1, 1))
    (folder / "handler.py").chmod(0o600)
    (folder / "__pycache__" / "other.pyc").write_bytes(b"y")
    second = package(folder, tmp_path / "two")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert (first.path.name, first.source_code_hash) == (second.path.name, second.source_code_hash)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "handler.py").write_text("A = 2\n"),
        lambda folder: (folder / "handler.py").rename(folder / "handler2.py"),
        lambda folder: (folder / "new.py").write_text(""),
        lambda folder: (folder.parent / "common" / "log.py").write_text("C = 4\n"),
    ],
    ids=["content", "name", "another file", "what is shared"],
)
def test_every_change_counts(folder, tmp_path, change):
    """Also a renamed file, which cdktf's own archives overlook."""
    first = package(folder, tmp_path / "build")
    change(folder)
    second = package(folder, tmp_path / "build")
    assert first.source_code_hash != second.source_code_hash
    assert first.path != second.path


def test_files_are_readable_for_lambda(folder, tmp_path):
    """Lambda runs them as another user."""
    with zipfile.ZipFile(package(folder, tmp_path / "build").path) as archive:
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o100644}
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.testzip() is None


def test_unchanged_package_is_written_once(folder, tmp_path):
    """A synth after the first writes nothing."""
    first = package(folder, tmp_path / "build")
    before = first.path.stat().st_mtime_ns
    assert package(folder, tmp_path / "build").path.stat().st_mtime_ns == before
    assert [each.name for each in (tmp_path / "build").iterdir()] == [first.path.name]


def test_folder_without_code_is_refused(tmp_path):
    """Rather than an empty zip, which Lambda would take."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "log.py").write_text("")
    with pytest.raises(FileNotFoundError, match="no code"):
        package(tmp_path / "empty", tmp_path / "build")
