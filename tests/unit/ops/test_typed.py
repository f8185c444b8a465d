"""What an operator types (O1–O4), also wrongly, half asleep, on a machine that is not set up: never a traceback."""

import subprocess
import sys

import pytest

from ops import __main__ as start
from ops import commands
from ops.regions import Refused


@pytest.mark.parametrize(("wrong", "why"), [
    (["status", "--hours", "99999999999999"], "99999999999999 is no number of hours up to 87,600"),
    (["status", "--hours", "0" * 20 + "9" * 14], "is no number of hours"),
    (["status", "--minutes", "x"], "x is no number of minutes"),
    (["explain", ""], "it is empty"),
    (["explain", "bad\udcff"], "bad\\udcff is not UTF-8"),
    (["replay", "files", "failed/bad\udcff"], "is not UTF-8"),
    (["replay", "files", "--dry-run", ""], "one of the names is empty"),
    (["replay"], "what"),
    (["status", "elt"], "elt: no system; these are: etl, metadata"),
], ids=repr)
def test_wrong_arguments(wrong, why, capsys):
    """O1–O3: exit code 2 and a line that names what is wrong."""
    with pytest.raises(SystemExit) as left:
        commands.main(wrong)
    assert left.value.code == 2 and why in capsys.readouterr().err.splitlines()[-1]


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


def test_another_python_hands_over_to_the_checkout_s(monkeypatch, tmp_path):
    """O1: `python -m ops`, as alarms name it, works with any Python as soon as `make setup` has run."""
    own = tmp_path / "bin" / "python"
    own.parent.mkdir()
    own.touch()
    handed = []
    monkeypatch.setattr(start, "OWN_PYTHON", own)
    monkeypatch.setattr(sys, "argv", ["ops", "status", "etl"])

    def execv(path, words):
        handed.append([path, *words[1:]])
        raise SystemExit  # nothing comes back

    monkeypatch.setattr(start.os, "execv", execv)
    with pytest.raises(SystemExit):
        start.main()
    assert handed == [[own, "-m", "ops", "status", "etl"]]
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["ops", "--help"])
    with pytest.raises(SystemExit):
        start.main()
    assert len(handed) == 1, "the checkout's own one goes on by itself"


@pytest.mark.parametrize(("missing", "version", "says"), [("pydantic", (3, 12), "has no pydantic"), ("", (3, 10), "is too old")])
def test_a_machine_that_is_not_set_up_is_told(monkeypatch, tmp_path, capsys, missing, version, says):
    """O1: with the command that sets it up; no traceback."""
    find = start.importlib.util.find_spec
    monkeypatch.setattr(start, "OWN_PYTHON", tmp_path / "none")
    monkeypatch.setattr(start.importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    monkeypatch.setattr(sys, "version_info", version)
    assert start.main() == 2
    told = capsys.readouterr().err
    assert says in told and "make setup" in told


def test_help_can_be_had_as_a_module():
    """O1."""
    done = subprocess.run([sys.executable, "-m", "ops", "--help"], cwd=start.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "replay" in done.stdout
