"""L1: the launcher starts no MiniStack that its shims don't know."""

import subprocess
import sys

import pytest

from local.emulator import ROOT


@pytest.mark.parametrize("broken, message", [
    ("local.launcher.MINISTACK_VERSION = '0.0.1'", "pip install ministack==0.0.1"),
    ("del local.launcher.stepfunctions._invoke_resource", "_invoke_resource is gone from MiniStack"),
    ("local.launcher.lambda_runtime._PYTHON_WORKER_SCRIPT = ''", "worker script"),
])
def test_another_ministack_stops_the_start(broken, message):
    """In a process of its own: importing the launcher imports MiniStack, and a half-installed one would stay."""
    done = subprocess.run([sys.executable, "-c", f"import local.launcher; {broken}; local.launcher.install()"], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr and "Traceback" not in done.stderr


def test_every_shim_says_what_aws_does():
    checked = ("import local.launcher\n"
               "for owner, name, shim in local.launcher.SHIMS:\n"
               "    assert shim.__doc__, shim.__name__\n")
    subprocess.run([sys.executable, "-c", checked], cwd=ROOT, check=True)


def test_certificates_are_checked_unless_the_opensearch_is_this_machine():
    checked = ("from local.launcher import is_loopback\n"
               "assert all(map(is_loopback, ('localhost', 'a.localhost', '127.0.0.2', '[::1]')))\n"
               "assert not any(map(is_loopback, ('example.com', '10.0.0.1', 'localhost.example.com', 'notlocalhost')))\n")
    subprocess.run([sys.executable, "-c", checked], cwd=ROOT, check=True)


def test_pauses_between_retries_are_those_of_the_retrier():
    """E7a: growing, up to `MaxDelaySeconds`; with full jitter a random part of that."""
    checked = ("from local.launcher import retries_wait_as_their_retrier_says as said\n"
               "retrier = {'IntervalSeconds': 2, 'BackoffRate': 3, 'MaxDelaySeconds': 20}\n"
               "def pause(count, **more):\n"
               "    found, index = said(lambda *_: (retrier | more, 0), [], 'Broken', {0: count})\n"
               "    return found['IntervalSeconds'] * found['BackoffRate'] ** count\n"
               "assert [pause(count) for count in range(4)] == [2, 6, 18, 20]\n"
               "pauses = [pause(9, JitterStrategy='FULL') for _ in range(200)]\n"
               "assert len(set(pauses)) > 100 and 0 <= min(pauses) < 5 and 15 < max(pauses) <= 20\n"
               "assert said(lambda *_: (None, -1), [], 'Broken', {}) == (None, -1)\n")
    subprocess.run([sys.executable, "-c", checked], cwd=ROOT, check=True)
