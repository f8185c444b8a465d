"""What an operator types (O1–O4), also wrongly, half asleep, on a machine that is not set up: never a traceback."""

import subprocess
import sys

import pytest

from ops import __main__ as start
from ops import commands
from ops.regions import OpsError, Refused


@pytest.mark.parametrize("wrong", [
    ["status", "--hours", "99999999999999"], ["status", "--minutes", "x"], ["explain", ""], ["explain", "bad\udcff"],
    ["replay", "files", "failed/bad\udcff"], ["replay"], ["status", "elt"],
], ids=repr)
def test_wrong_arguments(wrong, capsys):
    """O1–O3: exit code 2 and one line that names what is wrong."""
    with pytest.raises(SystemExit) as left:
        commands.main(wrong)
    assert left.value.code == 2 and "error: " in capsys.readouterr().err


def test_no_answer_is_no(monkeypatch):
    """O2: Ctrl-D at the question sends nothing."""
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)

    def ended(question):
        raise EOFError

    monkeypatch.setattr("builtins.input", ended)
    assert commands._yes("Copy 1 to s3://b/raw/?") is False


@pytest.mark.parametrize(("code", "remedy"), [
    ("ExpiredToken", "log in again"), ("InvalidClientTokenId", "log in again"), ("AccessDeniedException", "docs/operating.md"),
    ("ValidationException", ""),
])
def test_refusals_end_with_their_remedy(monkeypatch, capsys, code, remedy):
    """O1–O3: credentials that have expired, permissions that lack."""
    said = []

    def refuse(suffix):
        raise Refused(f"sts in us-east-1 refuses get_caller_identity: {code}", code)

    monkeypatch.setattr(commands.Estate, "read", refuse)
    monkeypatch.setattr(commands.console, "print", lambda text: said.append(str(text)))
    assert commands.main(["status"]) == 1
    assert code in said[0] and (remedy in said[0] if remedy else "Remedy" not in said[0])
    assert OpsError("x").remedy == ""


def test_a_python_without_the_packages_hands_over_to_the_checkout_s(monkeypatch, tmp_path, capsys):
    """O1: `python -m ops`, as alarms name it, works with any Python as soon as `make setup` has run; else it says so."""
    monkeypatch.setattr(start.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(start, "OWN_PYTHON", tmp_path / "bin" / "python")
    assert start.main() == 2 and "make setup" in capsys.readouterr().err
    (tmp_path / "bin").mkdir()
    start.OWN_PYTHON.touch()
    handed = []
    monkeypatch.setattr(sys, "argv", ["ops", "status", "etl"])
    monkeypatch.setattr(start.os, "execv", lambda path, words: handed.append([str(path), *words[1:]]))
    start.main()
    assert handed == [[str(start.OWN_PYTHON), "-m", "ops", "status", "etl"]]


def test_help_can_be_had_as_a_module():
    """O1."""
    done = subprocess.run([sys.executable, "-m", "ops", "--help"], cwd=start.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "replay" in done.stdout
