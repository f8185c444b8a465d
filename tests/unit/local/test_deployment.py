"""Stacks are deployed side by side (L1), told as one."""

import os
import threading
from types import SimpleNamespace

import pytest

from local import terraform
from local.deployment import Deployment, each_of


def test_side_by_side_with_sums():
    """L1: none waits for another; steps that count nothing don't set the counts back."""
    meeting, told = threading.Barrier(2), []

    def work(stack, progress):
        meeting.wait(10)
        progress(f"{stack}: planned", 0, 3)
        meeting.wait(10)
        progress(f"{stack}: made", 2, 3)
        progress(f"{stack}: still waiting", 0, 0)

    each_of(("a", "b"), work, lambda *step: told.append(step))
    assert ("b: planned", 0, 6) in told[:2] or ("a: planned", 0, 6) in told[:2]
    assert told[-1][1:] == (4, 6) and {text for text, *_ in told} == {
        f"{stack}: {step}" for stack in "ab" for step in ("planned", "made", "still waiting")}


def test_a_failure_is_told_after_the_others_have_ended():
    """L1: Terraform is not left running behind the message."""
    failing, ended = threading.Event(), threading.Event()

    def work(stack, progress):
        if stack == "bad":
            failing.set()
            raise ValueError("Error: no")
        failing.wait(10)
        progress("done", 1, 1)
        ended.set()

    with pytest.raises(ValueError, match="Error: no"):
        each_of(("bad", "good"), work, lambda *_: None)
    assert ended.is_set()


def test_nothing_to_do():
    each_of((), pytest.fail, lambda *_: None)


@pytest.mark.parametrize("output, reachable", [
    ("https://a1b2c3.execute-api.us-east-1.amazonaws.com/local", "http://127.0.0.1:1/_aws/execute-api/a1b2c3/local"),
    ("https://us-east-1.console.aws.amazon.com/cloudwatch", "https://us-east-1.console.aws.amazon.com/cloudwatch"),
    ("arn:aws:execute-api:us-east-1:1:a", "arn:aws:execute-api:us-east-1:1:a"),
])
def test_addresses_of_apis_can_be_reached(output, reachable):
    """L3, P1a: what outputs.json tells works on this machine."""
    deployment = SimpleNamespace(aws=SimpleNamespace(endpoint="http://127.0.0.1:1"))
    assert Deployment._reachable(deployment, output) == reachable


def test_no_terraform_starts_after_an_interruption(tmp_path, monkeypatch):
    """L1: a stack that is between two commands when others are asked to stop does not go on."""
    program = tmp_path / "terraform"
    program.write_text("#!/bin/sh\nwhile :; do sleep 1; done\n")
    program.chmod(0o755)
    monkeypatch.setattr(terraform, "_interrupted", threading.Event())
    monkeypatch.setattr(terraform, "_running", set())
    terraform.interrupt()
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    late = terraform.Terraform(tmp_path, environment, terraform.ProviderSource("a test"), folder=tmp_path)
    with pytest.raises(terraform.TerraformError, match="terraform apply"):
        late.apply()
