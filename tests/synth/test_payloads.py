"""Payloads between state machines and functions stay understood for one release (C15); see payloads/README.md."""

import json
from types import SimpleNamespace

import pytest

from lambdas.common import aws as calls
from lambdas.etl import contract, ranges, storage, transformation, validation
from lambdas.metadata import contract as metadata_contract
from lambdas.metadata import index, indexing
from lambdas.pets import contract as pets_contract
from lambdas.pets import file_manager, image_processor, notification_service
from tests.synth.events import status_event
from tests.synth.reading import shapes
from tests.synth.states import EXECUTION, Failure, context, evaluate, execute
from tests.unit.etl.fake_s3 import BUCKET, FakeS3
from tests.unit.pets import pets_aws, pictures

BODY = b"transaction_id,customer_id,amount,timestamp\n1,2,3.00,2026-01-31\n"

STATES = {
    "validate": [("pipeline", "Validate")],
    "convert": [("pipeline", "Transform")],
    "convert.discarded": [("pipeline", "Transform")],
    "plan": [("pipeline", "Plan")],
    "convert_range": [("pipeline", "ConvertRange")],
    "complete": [("pipeline", "Complete")],
    "abandon": [("pipeline", "AbandonUpload")],
    "reject": [("pipeline", "Reject")],
    "set_aside": [("pipeline", "SetAside"), ("recovery", "SetAside")],
}
"""The states that send each request, ``ACTION.request[.WHEN]``."""
REQUESTS = [f"{action}.request{dot}{when}" for action, dot, when in (each.partition(".") for each in STATES)]


def read(folder, name):
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8").replace("etl-pipeline-111122223333", BUCKET))


# --- ETL ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", REQUESTS)
def test_machines_pass_the_newest_payload(etl, payloads, request_):
    """C15: a changed payload is a new folder, so that the old one stays tested."""
    execution_input, expected = payloads("etl", "input"), payloads("etl", request_)
    known = {name: expected[name] for name in ("upload_id", "header_length") if name in expected}
    variables = {"file": execution_input["file"], "execution": EXECUTION, **known}
    state_input = {"valid": False, "reason": payloads("etl", "reject.request")["reason"]}
    state_input |= {name: expected[name] for name in ("parts", "discarded") if expected.get(name)}
    for machine, state in STATES[request_.replace(".request", "")]:
        states = etl.machine(f"etl/{machine}")["States"]
        surroundings = context(execution_input, Map={"Item": {"Index": 0, "Value": expected.get("range")}})
        if state == "ConvertRange":  # its parent passes it
            state_input = evaluate(states["ConvertRanges"]["ItemSelector"], variables, input={}, context=surroundings)
            states, variables, surroundings = states["ConvertRanges"]["ItemProcessor"]["States"], {}, context(state_input)
        template = states[state]["Arguments"]["Payload"]
        assert evaluate(template, variables, input=state_input, context=surroundings) == expected


def test_every_action_has_a_payload():
    """C15."""
    actions = {value for name, value in vars(contract).items() if name.startswith("ACTION_")}
    assert actions == {action.partition(".")[0] for action in STATES}
    for folder in shapes("etl"):
        names = {each.name for each in folder.iterdir()}
        assert {f"{request}.json" for request in REQUESTS} <= names
        assert all(any(name.startswith(f"{action}.response") for name in names) for action in actions)


@pytest.fixture
def aws(monkeypatch):
    """In-memory S3 with the file of the payloads, and an SNS that keeps what is published."""
    clients = SimpleNamespace(s3=FakeS3(), sns=SimpleNamespace(messages=[]))
    clients.sns.publish = lambda **message: clients.sns.messages.append(message)
    monkeypatch.setattr(storage, "client", lambda service: getattr(clients, service))
    monkeypatch.setenv(contract.ENV_STATE_MACHINE_ARN, "arn:aws:states:us-east-1:111122223333:stateMachine:etl-pipeline")
    monkeypatch.setenv(contract.ENV_TOPIC_ARN, "arn:aws:sns:us-east-1:111122223333:etl-failures")
    monkeypatch.setenv(contract.ENV_SUFFIX, "prod")
    monkeypatch.setenv(contract.ENV_MAX_FILE_BYTES, "1000")
    monkeypatch.setenv(contract.ENV_MAX_REJECT_RATIO, "0.01")
    monkeypatch.setenv(contract.ENV_MAX_PIECE_BYTES, "1000")
    clients.s3.uploads["u1"] = {"parts": {1: BODY}, "ContentType": "text/csv", "Metadata": {}}
    return clients


TRANSFORMING = {
    contract.ACTION_CONVERT: {"valid": True, "rows_read": 1, "rows_written": 1},
    contract.ACTION_PLAN: {"ranges": []},
    contract.ACTION_CONVERT_RANGE: {"index": 0, "reached": 64, "rows_read": 1, "rows_written": 1},
    contract.ACTION_COMPLETE: {"valid": True, "rows_read": 1, "rows_written": 1},
    contract.ACTION_ABANDON: {},
}
"""What the transformation function answers, among others."""


@pytest.mark.parametrize("folder", shapes("etl")[-2:], ids=lambda each: f"shape {each.name}")
@pytest.mark.parametrize("request_", REQUESTS)
def test_functions_understand_this_and_the_last_payload(aws, folder, request_):
    """C15: running executions keep the old definition but meet new code, whose answer must still carry what it reads."""
    request, action = read(folder, request_), request_.partition(".")[0]
    file = request["file"]
    assert file["size"] == len(BODY)
    aws.s3.add(file["key"], BODY, version_id=file["version_id"])
    function = transformation if action in TRANSFORMING else validation
    answer = function.handler(request, SimpleNamespace(function_name="f", aws_request_id="r"))
    known = [read(folder, each.stem) for each in folder.glob(f"{action}.response*.json")]
    assert any(set(each) <= set(answer) for each in known if each or not answer), f"{answer} has none of the shapes {known}"
    assert answer.items() >= TRANSFORMING.get(action, {}).items()


def test_plan_answers_the_newest_payload(aws, payloads, monkeypatch):
    """C15, E12: of a file that can be cut, which is too large for a payload."""
    rows = BODY[44:] * 9
    monkeypatch.setattr(ranges, "MIN_RANGE_BYTES", 80)
    request = payloads("etl", "plan.request")
    file = request["file"] | {"bucket": BUCKET, "size": 44 + len(rows)}
    aws.s3.add(file["key"], BODY[:44] + rows, version_id=file["version_id"])
    answer = transformation.handler(request | {"file": file}, SimpleNamespace(function_name="f", aws_request_id="r"))
    expected = payloads("etl", "plan.response.ranges")
    assert set(answer) == set(expected) and answer["header_length"] == expected["header_length"]
    assert len(answer["ranges"]) == 2 and set(answer["ranges"][0]) == set(expected["ranges"][0])


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


# --- pets -----------------------------------------------------------------------------------------------------------

PET_STATES = {"Analyse": "analyse", "Classify": "classify", "File": "file", "Notify": "notify", "GiveUp": "give_up"}
"""The pipeline's states that call a function, and what their payloads are called."""
PET_FUNCTIONS = {
    **dict.fromkeys(("Analyse", "Classify", "GiveUp"), "image-processor"),
    "File": "file-manager",
    "Notify": "notification-service",
}


def pet_tasks(payloads, **answers):
    """The pipeline's tasks, which answer what the payloads say."""
    known = {"Analyse": "analyse.response.analysed"} | {
        state: f"{name}.response" for state, name in PET_STATES.items() if state != "Analyse"
    }
    functions = {state: {"Payload": payloads("pets", name)} for state, name in known.items()}
    return {state: lambda _, answer=answer: answer for state, answer in functions.items()} | {
        **{"Record": lambda _: {}, "RecordRefusal": lambda _: {}},
        **answers,
    }


def pet_calls(run, state):
    (call,) = [arguments for name, arguments in run.calls if name == state]
    assert call["FunctionName"] == f"arn:aws:lambda:us-east-1:111122223333:function:serverlessapp-{PET_FUNCTIONS[state]}"
    return call["Payload"]


def test_pet_machine_passes_the_newest_payloads(pets, payloads):
    """C15, P3: an uncertain image goes the longest way; what each function answers, the next ones are told."""
    arn = payloads("pets", "analyse.request")["execution"]
    run = execute(pets.machine("pets/pipeline"), payloads("pets", "input"), pet_tasks(payloads), arn=arn)
    assert run.status == "SUCCEEDED"
    for state in ("Analyse", "Classify", "File", "Notify"):
        assert pet_calls(run, state) == payloads("pets", f"{PET_STATES[state]}.request"), state
    record = run.arguments("Record")["ExpressionAttributeValues"]
    filed = payloads("pets", "file.response")
    assert (record[":location"], record[":version"]) == ({"S": filed["location"]}, {"S": filed["version_id"]})
    assert record[":status"] == {"S": payloads("pets", "classify.response")["status"]}


def test_pet_machine_understands_the_newest_refusal(pets, payloads):
    """C15, P9."""
    refused = payloads("pets", "analyse.response.refused")
    tasks = pet_tasks(payloads, Analyse=lambda _: {"Payload": refused})
    record = execute(pets.machine("pets/pipeline"), payloads("pets", "input"), tasks).arguments("RecordRefusal")
    assert record["Key"] == {"ImageID": {"S": refused["image_id"]}}
    values = record["ExpressionAttributeValues"]
    assert (values[":code"], values[":reason"]) == ({"S": refused["code"]}, {"S": refused["reason"]})


def test_pet_machines_give_up_with_the_newest_payload(pets, payloads):
    """C15, P3: the pipeline what it caught, the recovery what nobody caught."""

    def failing(_):
        raise Failure(caught["error"], caught["cause"])

    caught, uncaught = payloads("pets", "give_up.request"), payloads("pets", "give_up.request.uncaught")
    execution_input, arn = payloads("pets", "input"), caught["execution"]
    tasks = pet_tasks(payloads, Analyse=failing)
    assert pet_calls(execute(pets.machine("pets/pipeline"), execution_input, tasks, arn=arn), "GiveUp") == caught
    ended = status_event(
        "arn:aws:states:us-east-1:111122223333:stateMachine:serverlessapp-pet-detector",
        "TIMED_OUT",
        executionArn=arn,
        input=json.dumps(execution_input),
    )
    run = execute(pets.machine("pets/recovery"), ended, {"GiveUp": tasks["GiveUp"]})
    assert pet_calls(run, "GiveUp") == uncaught
    assert run.output == payloads("pets", "give_up.response")


PET_ANSWERS = {
    "analyse.request": ["analyse.response.analysed", "analyse.response.refused", "analyse.response.duplicate"],
    "classify.request": ["classify.response"],
    "give_up.request": ["give_up.response"],
    "give_up.request.uncaught": ["give_up.response"],
    "file.request": ["file.response"],
    "notify.request": ["notify.response"],
}
"""Every request, and what it may be answered with."""
PET_HANDLERS = {"file": file_manager.handler, "notify": notification_service.handler}


def test_every_pet_shape_is_complete():
    """C15: and every action of the contract has its payloads."""
    names = {"input", *PET_ANSWERS, *(answer for answers in PET_ANSWERS.values() for answer in answers)}
    for folder in shapes("pets"):
        assert {f"{name}.json" for name in names} == {each.name for each in folder.iterdir()}
    assert {name.partition(".")[0] for name in PET_ANSWERS} - set(PET_HANDLERS) == set(image_processor._ACTIONS)


@pytest.fixture
def pet_aws(monkeypatch):
    """The services in memory, for what the pet detector's functions ask of them."""
    for name, value in pets_aws.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    fakes = {
        "s3": pets_aws.FakeS3(),
        "dynamodb": pets_aws.FakeDynamoDb(),
        "rekognition": pets_aws.FakeRekognition(),
        "sns": pets_aws.FakeSns(),
    }
    monkeypatch.setattr(calls, "client", lambda service, *_: fakes[service])
    return SimpleNamespace(**fakes)


def begin(pet_aws, folder, execution):
    """A record in the making, as another call of ``analyse`` has begun it."""
    analyse, analysed = read(folder, "analyse.request"), read(folder, "analyse.response.analysed")
    pet_aws.dynamodb.add(
        **{
            pets_contract.IMAGE_ID: analysed["image_id"],
            pets_contract.TIMESTAMP: analyse["time"],
            pets_contract.STATUS: pets_contract.PROCESSING,
            pets_contract.SOURCE_KEY: analyse["object"]["key"],
            pets_contract.SOURCE_VERSION: analyse["object"]["version_id"],
            pets_contract.EXECUTION: execution,
        }
    )


@pytest.mark.parametrize("folder", shapes("pets")[-2:], ids=lambda each: f"shape {each.name}")
@pytest.mark.parametrize(
    ("request_", "answer"), [(request, answer) for request, answers in PET_ANSWERS.items() for answer in answers]
)
def test_pet_functions_understand_this_and_the_last_payload(pet_aws, folder, request_, answer):
    """C15: running executions keep the old definition but meet new code, whose answer must still carry what it reads."""
    request, expected = read(folder, request_), read(folder, answer)
    if "object" in request:
        upload = request["object"]
        body = b"" if answer.endswith("refused") else pictures.jpeg()
        pet_aws.s3.add(upload["key"], body, ContentType="image/jpeg")
        pet_aws.s3.versions[upload["key"]][-1]["VersionId"] = upload["version_id"]
    if answer.endswith("duplicate"):
        begin(pet_aws, folder, "another execution")
    if request_.startswith("classify"):
        begin(pet_aws, folder, request["execution"])
    pet_aws.rekognition.labels = [
        {
            "Name": label["name"],
            "Confidence": label["confidence"],
            "Parents": [{"Name": parent} for parent in label["parents"]],
        }
        for label in read(folder, "analyse.response.analysed")["labels"]
    ]
    handler = PET_HANDLERS.get(request_.partition(".")[0], image_processor.handler)
    given = handler(request, pets_aws.CONTEXT)
    if "reason" in expected:  # words for people
        assert given.pop("reason") and expected.pop("reason")
    assert given.items() >= expected.items()
    assert json.loads(json.dumps(given)) == given, "what Lambda would have to change"
