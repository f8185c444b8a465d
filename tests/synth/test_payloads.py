"""Payloads between state machines and functions stay understood for one release (C15); see payloads/README.md."""

import json
from types import SimpleNamespace

import pytest

from lambdas.etl import contract, storage, transformation, validation
from lambdas.metadata import contract as metadata_contract
from lambdas.metadata import index, indexing
from tests.synth.reading import shapes
from tests.synth.states import EXECUTION, context, evaluate, execute
from tests.unit.etl.fake_s3 import BUCKET, FakeS3

BODY = b"transaction_id,customer_id,amount,timestamp\n1,2,3.00,2026-01-31\n"

STATES = {
    "validate": [("pipeline", "Validate")],
    "convert": [("pipeline", "Transform")],
    "reject": [("pipeline", "Reject")],
    "set_aside": [("pipeline", "SetAside"), ("recovery", "SetAside")],
}


def read(folder, name):
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8").replace("etl-pipeline-111122223333", BUCKET))


# --- ETL ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", STATES)
def test_machines_pass_the_newest_payload(etl, payloads, action):
    """C15: a changed payload is a new folder, so that the old one stays tested."""
    execution_input = payloads("etl", "input")
    variables = {"file": execution_input["file"], "execution": EXECUTION}
    state_input = {"valid": False, "reason": payloads("etl", "reject.request")["reason"]}
    for machine, state in STATES[action]:
        template = etl.machine(f"etl/{machine}")["States"][state]["Arguments"]["Payload"]
        sent = evaluate(template, variables, input=state_input, context=context(execution_input))
        assert sent == payloads("etl", f"{action}.request")


def test_every_action_has_a_payload():
    """C15."""
    actions = {value for name, value in vars(contract).items() if name.startswith("ACTION_")}
    assert actions == set(STATES)
    for folder in shapes("etl"):
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


@pytest.mark.parametrize("folder", shapes("etl")[-2:], ids=lambda each: f"shape {each.name}")
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


# --- metadata -------------------------------------------------------------------------------------------------------

ANSWERS = {
    "indexed": [],
    "unindexed": [index.DocumentRefused("storing the document: OpenSearch says 400: mapper_parsing_exception", 400)],
}
"""Each shape of the function's answer, and what the index says before it takes a document."""


def test_metadata_machine_passes_the_newest_payload(metadata, payloads):
    """C15, M3a: that version, as S3 gave it, and the stamp; nothing else."""
    request = payloads("metadata", "index.request")
    tasks = {"Fetch": lambda _: payloads("metadata", "fetched"), "Index": lambda _: {"Payload": {}}}
    machine = metadata.machine("metadata/pipeline")
    run = execute(machine, payloads("metadata", "input"), tasks, arn=request["execution_id"])
    assert run.arguments("Index") == {
        "FunctionName": "arn:aws:lambda:us-east-1:111122223333:function:metadata-indexing",
        "Payload": request,
    }


def test_every_metadata_shape_is_complete():
    """C15."""
    for folder in shapes("metadata"):
        responses = {f"index.response.{answer}.json" for answer in ANSWERS}
        assert {"input.json", "fetched.json", "index.request.json", *responses} == {each.name for each in folder.iterdir()}


@pytest.mark.parametrize("folder", shapes("metadata")[-2:], ids=lambda each: f"shape {each.name}")
@pytest.mark.parametrize("answer", ANSWERS)
def test_indexing_understands_this_and_the_last_payload(monkeypatch, folder, answer):
    """C15, M3b: running executions keep the old definition but meet new code; what they asked for is stored exactly."""
    monkeypatch.setenv(metadata_contract.ENV_COLLECTION_ENDPOINT, "https://abc.us-east-1.aoss.amazonaws.com")
    monkeypatch.setenv(metadata_contract.ENV_INDEX_NAME, "release-metadata")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    refusals, stored = list(ANSWERS[answer]), []

    def store(text):
        if refusals:
            raise refusals.pop()
        stored.append(text)

    monkeypatch.setattr(indexing, "_index", lambda settings: SimpleNamespace(store=store))
    request, expected = (read(folder, f"index.{name}") for name in ("request", f"response.{answer}"))
    given = indexing.handler(request, SimpleNamespace(function_name="f", aws_request_id="r"))
    assert given.items() >= expected.items()
    (document,) = map(json.loads, stored)
    assert document["@timestamp"] == request["timestamp"]
    stamp = {"id": expected["ingest_id"], "execution_id": request["execution_id"], **request["object"]}
    assert document["ingest"].items() >= stamp.items()
    content = json.loads(request["body"])
    assert (document["unindexed"] if answer == "unindexed" else document).items() >= content.items()
