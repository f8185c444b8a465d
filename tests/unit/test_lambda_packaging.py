"""Lambda packages: the same files give the same bytes, anywhere and at any time (C4: a second plan shows no changes)."""

import base64
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

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


# --- distributions ---------------------------------------------------------------------------------------------------

WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: {}\nTag: py3-none-any\n"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a distribution of these files, as pip leaves it behind."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(name, *files, requires=(), pure="true"):
        info = f"{name.replace('-', '_')}-1.0.dist-info"
        requirements = "".join(f"Requires-Dist: {each}\n" for each in requires)
        texts = {
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requirements}",
            f"{info}/WHEEL": WHEEL.format(pure),
            f"{info}/licenses/LICENSE": "free\n",
            **dict.fromkeys((f"{info}/{own}" for own in ("INSTALLER", "REQUESTED", "direct_url.json")), "of this machine\n"),
            **dict.fromkeys(files, "A = 1\n"),
        }
        for file, text in texts.items():
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            (site / file).write_text(text)
        (site / info / "RECORD").write_text("".join(f"{file},,\n" for file in (*texts, f"{info}/RECORD")))

    return install


def distributed(folder, tmp_path, *distributions):
    return lambda_packaging.package(folder.name, folder.parent, tmp_path / "build", distributions)


def test_distributions_travel_with_what_they_require(folder, tmp_path, install):
    """P2: but without extras, what Lambda brings, and what the installation left behind."""
    files = ("first/__init__.py", "first/py.typed", "first/__pycache__/x.pyc", "../bin/first")
    install("first", *files, requires=["Sec.ond_part >=1", "third[x]<2", "boto3"])
    install("sec-ond-part", "second.py", "../../bin/__pycache__/second.pyc", requires=["first", "fourth ; extra == 'all'"])
    install("third", "third.py", requires=['nowhere; python_version < "3.12" and extra == "x"'])
    install("fourth", "fourth.py")
    found = [name for name in names(distributed(folder, tmp_path, "first")) if not name.startswith("lambdas/")]
    info = "METADATA", "WHEEL", "licenses/LICENSE"
    assert found == sorted([
        "first/__init__.py", "first/py.typed", "second.py", "third.py",
        *(f"{name}-1.0.dist-info/{file}" for name in ("first", "sec_ond_part", "third") for file in info),
    ])  # fmt: skip


def test_same_distributions_same_bytes(folder, tmp_path, install):
    """C4: in whatever order they are named or were recorded."""
    install("first", "b.py", "a.py", requires=["second"])
    install("second", "c.py")
    one, two = (distributed(folder, tmp_path, *order).path for order in (["first", "second"], ["second", "first"]))
    assert one == two and one != package(folder, tmp_path / "build").path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"files": ["first/fast.cpython-311-x86_64-linux-gnu.so"]}, r"first holds a compiled file, first/fast\..*\.so"),
        ({"files": ["first/fast.pyd"]}, "compiled file"),
        ({"pure": "false"}, "first was not installed from a wheel of pure Python"),
        ({"requires": ["absent>1"]}, "absent is not installed, but first needs it in Lambda"),
        ({"requires": ['second; sys_platform == "linux"']}, "first requires second; .* on some machines only"),
    ],
)
def test_distributions_that_cannot_travel(folder, tmp_path, install, arguments, says):
    """P2: the same zip runs on Lambda's processors and on this machine's."""
    install("first", "first/__init__.py", *arguments.pop("files", ()), **arguments)
    with pytest.raises(lambda_packaging.CannotPackage, match=says):
        distributed(folder, tmp_path, "first")
    assert not (tmp_path / "build").exists()


def test_distribution_that_is_missing(folder, tmp_path):
    """P2."""
    with pytest.raises(lambda_packaging.CannotPackage, match="no-such-thing is not installed, but the project needs it"):
        distributed(folder, tmp_path, "no-such-thing")


def test_powertools_run_from_the_zip_alone(tmp_path):
    """P2: with Python's own library and nothing else: no pydantic, whose compiled part runs on one kind of processor."""
    root = Path(__file__).parents[2]
    result = lambda_packaging.package("pets", root / "lambdas", tmp_path, ["aws-lambda-powertools"])
    tops = {name.partition("/")[0].partition("-")[0] for name in names(result)}
    assert tops == {"lambdas", "aws_lambda_powertools", "jmespath", "typing_extensions", "typing_extensions.py"}
    code = "from aws_lambda_powertools.event_handler import APIGatewayRestResolver; import aws_lambda_powertools.metrics"
    run = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(result.path)!r}); {code}"]
    assert subprocess.run(run, capture_output=True, text=True).stderr == ""
