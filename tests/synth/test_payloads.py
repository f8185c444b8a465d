"""Payloads between state machines and functions stay understood for one release (C15); see payloads/README.md."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from lambdas.etl import contract, storage, transformation, validation
from tests.synth.states import EXECUTION, context, evaluate
from tests.unit.etl.fake_s3 import BUCKET, FakeS3

FOLDERS = sorted(
    (each for each in Path(__file__).with_name("payloads").iterdir() if each.is_dir()), key=lambda each: int(each.name)
)
BODY = b"transaction_id,customer_id,amount,timestamp\n1,2,3.00,2026-01-31\n"

STATES = {
    "validate": [("pipeline", "Validate")],
    "convert": [("pipeline", "Transform")],
    "reject": [("pipeline", "Reject")],
    "set_aside": [("pipeline", "SetAside"), ("recovery", "SetAside")],
}


def read(folder, name):
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8").replace("etl-pipeline-111122223333", BUCKET))


@pytest.mark.parametrize("action", STATES)
def test_machines_pass_the_newest_payload(etl, payloads, action):
    """C15: a changed payload is a new folder, so that the old one stays tested."""
    execution_input = payloads("input")
    variables = {"file": execution_input["file"], "execution": EXECUTION}
    state_input = {"valid": False, "reason": payloads("reject.request")["reason"]}
    for machine, state in STATES[action]:
        template = etl.machine(f"etl/{machine}")["States"][state]["Arguments"]["Payload"]
        sent = evaluate(template, variables, input=state_input, context=context(execution_input))
        assert sent == payloads(f"{action}.request")


def test_every_action_has_a_payload():
    """C15."""
    actions = {value for name, value in vars(contract).items() if name.startswith("ACTION_")}
    assert actions == set(STATES)
    for folder in FOLDERS:
        assert {f"{action}.request.json" for action in actions} <= {each.name for each in folder.iterdir()}


@pytest.fixture
def aws(monkeypatch):
    """In-memory S3 with the file of the payloads, and an SNS that keeps what is published."""
    clients = SimpleNamespace(s3=FakeS3(), sns=SimpleNamespace(messages=[]))
    clients.sns.publish = lambda **message: clients.sns.messages.append(message)
    monkeypatch.setattr(storage, "client", lambda service: getattr(clients, service))
    monkeypatch.setenv(contract.ENV_STATE_MACHINE_ARN, "arn:aws:states:us-east-1:111122223333:stateMachine:etl-pipeline")
    monkeypatch.setenv(contract.ENV_TOPIC_ARN, "arn:aws:sns:us-east-1:111122223333:etl-failures")
    monkeypatch.setenv(contract.ENV_MAX_FILE_BYTES, "1000")
    monkeypatch.setenv(contract.ENV_MAX_REJECT_RATIO, "0.01")
    return clients


@pytest.mark.parametrize("folder", FOLDERS[-2:], ids=lambda each: f"shape {each.name}")
@pytest.mark.parametrize("action", STATES)
def test_functions_understand_this_and_the_last_payload(aws, folder, action):
    """C15: running executions keep the old definition but meet new code, whose answer must still carry what it reads."""
    request = read(folder, f"{action}.request")
    file = request["file"]
    assert file["size"] == len(BODY)
    aws.s3.add(file["key"], BODY, version_id=file["version_id"])
    function = transformation if action == contract.ACTION_CONVERT else validation
    answer = function.handler(request, SimpleNamespace(function_name="f", aws_request_id="r"))
    known = [read(folder, each.stem) for each in folder.glob(f"{action}.response*.json")]
    assert any(set(each) <= set(answer) for each in known if each), f"{answer} has none of the shapes {known}"
    if action == contract.ACTION_CONVERT:
        assert (answer["valid"], answer["rows_read"], answer["rows_written"]) == (True, 1, 1)
