"""L1, L3: the embedded AWS starts, is found again, isolates its users from theirs, and leaves nothing behind."""

import json
import os
import socket
import subprocess
import sys

import pytest

from local.emulator import ROOT, Emulator, EmulatorError


@pytest.fixture
def own(tmp_path):
    """An emulator of its own, with its files in a folder of the test's."""
    emulator = Emulator(folder=tmp_path)
    yield emulator
    emulator.stop()


def test_stop_ends_workers_and_removes_data(own, make):
    own.start()
    maker = type(make)(own)
    function = maker.function("import os, tempfile\n"
                              "def handler(event, context):\n    return [os.getpid(), tempfile.gettempdir()]\n")
    worker, temporary = json.loads(own.client("lambda").invoke(FunctionName=function)["Payload"].read())
    assert temporary.startswith(str(own.data_folder))
    own.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert sorted(path.name for path in own.log_file.parent.iterdir()) == ["emulator.log"]


def test_it_outlives_the_process_that_started_it(own, tmp_path):
    """`make local-up`, `make local-down`."""
    start = ("from pathlib import Path; from local.emulator import Emulator;"
             f"Emulator(folder=Path({str(tmp_path)!r})).start(print)")
    told = subprocess.run([sys.executable, "-c", start], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "answers at http://127.0.0.1:" in told
    found = Emulator.running(folder=tmp_path)
    assert found.client("sts").get_caller_identity()["Account"] == "000000000000"
    with pytest.raises(EmulatorError, match="already running"):
        own.start()
    found.stop()
    assert Emulator.running(folder=tmp_path) is None


@pytest.mark.parametrize("content", [
    "not json", '{"pid": 1}',
    json.dumps({"pid": 2**22 + 1, "port": 4566, "started": "2026-01-01"}),  # no such process
    json.dumps({"pid": os.getpid(), "port": 4566, "started": "2026-01-01"}),  # another program under the old number
], ids=["no JSON", "no port", "no process", "another process"])
def test_a_stale_state_file_is_no_emulator(tmp_path, content):
    (tmp_path / "emulator.json").write_text(content)
    assert Emulator.running(folder=tmp_path) is None


def test_a_port_in_use_is_said(aws, tmp_path):
    with pytest.raises(EmulatorError, match=f"Port {aws.port} is in use"):
        Emulator(port=aws.port, folder=tmp_path).start()


def test_a_failing_start_tells_why(tmp_path):
    with pytest.raises(EmulatorError, match="stopped while starting(.|\\n)*no port"):
        Emulator(folder=tmp_path, settings={"GATEWAY_PORT": "no port"}).start()
    assert Emulator.running(folder=tmp_path) is None


def test_subprocesses_see_this_aws_only(aws, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of the user")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:1")
    identity = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"
    told = subprocess.run([sys.executable, "-c", identity], env=aws.environment(), check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "arn:aws:iam::000000000000:root"


def test_functions_see_nothing_of_the_users_environment(own, make, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("SECRET_OF_THE_USER", "x")
    own.start()
    function = type(make)(own).function("import os\ndef handler(event, context):\n    return sorted(os.environ)\n")
    names = json.loads(own.client("lambda").invoke(FunctionName=function)["Payload"].read())
    assert not {"AWS_PROFILE", "SECRET_OF_THE_USER"} & set(names)
    assert {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_LAMBDA_FUNCTION_NAME"} <= set(names)


def test_unsigned_and_unknown_callers_are_refused(aws):
    """L1: IAM is enforced."""
    import boto3
    from botocore.exceptions import ClientError
    stranger = boto3.client("sqs", region_name="us-east-1", endpoint_url=aws.endpoint,
                            aws_access_key_id="AKIAAAAAAAAAAAAAAAAA", aws_secret_access_key="x")
    with pytest.raises(ClientError, match="InvalidClientTokenId|security token"):
        stranger.list_queues()


def test_answers_leave_in_one_piece(aws):
    """L1: head and body in one packet. Two, and the Go SDK repeats a request now and then: Terraform then meets its own lock.
    Relies on the shim `answers_leave_in_one_piece`."""
    request = b"GET /_ministack/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", aws.port)) as connection:
            connection.sendall(request)
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert body, "the body came later"
