"""Stacks are deployed side by side (L1), told as one."""

import threading

import pytest

from local.deployment import each_of


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
