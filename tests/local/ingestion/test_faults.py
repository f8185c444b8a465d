"""What happens half-way, too fast, or not at all: nothing is lost, nothing is stored twice (R2, R3b, R5, R6)."""

import io
import json
import urllib.request
import zipfile
from contextlib import contextmanager

import pytest

from lambdas.ingestion import contract
from local.executions import wait_for
from local.ingestion import REGIONS, records_of
from tests.local.conftest import throttled
from tests.local.ingestion.conftest import lines, logged, numbered, numbers_of, record

EAST, WEST = REGIONS


@pytest.fixture
def processor(ingestion):
    """Configuration of the processor in a region: `processor(EAST)["Role"]`."""

    def of(region: str) -> dict:
        name = ingestion.output("function_name", region)
        return ingestion.client("lambda", region).get_function_configuration(FunctionName=name)

    return of


def dead_letters(ingestion, region, url=None):
    """Take what waits in the processor's dead-letter queue, or in another one."""
    sqs, url = ingestion.client("sqs", region), url or ingestion.output("dlq_url", region)
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    for message in found:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return [json.loads(message["Body"]) for message in found]


def test_throttled_table_loses_nothing(aws, ingestion, name):
    """R3b: 150 writes are refused, of records and of the checkpoint; all are made in the end, in the same attempt."""
    throttled(aws, EAST, ingestion.table, 150)
    file = ingestion.upload(EAST, f"{name}.json", lines(numbered(name, 100)))
    [done] = ingestion.wait([file]).values()
    assert throttled(aws, EAST, ingestion.table, 0) == 0
    assert [done[each] for each in contract.COUNTS] == [100, 100, 0, 0, 0]
    assert numbers_of(file, ingestion) == list(range(100))


@pytest.mark.parametrize("region", REGIONS)
def test_what_cannot_be_finished_waits_and_is_replayed(ingestion, name, processor, denied, region):
    """R2: in the dead-letter queue of its region, as the bare event, which finishes the file when it is sent once more."""
    dead_letters(ingestion, region)
    role = processor(region)["Role"].rpartition("/")[2]
    with denied(role, "dynamodb:PutItem", "*"):
        file = ingestion.upload(region, f"{name} ü.json", lines(numbered(name, 3)))
        [event] = wait_for(lambda: dead_letters(ingestion, region), 120, lambda: "no dead letter")
    [told] = event["Records"]
    assert told["s3"]["object"]["versionId"] == file.version and told["awsRegion"] == region
    assert records_of(file, ingestion.records(region)) == [] and ingestion.checkpoint(file) is None
    ingestion.client("lambda", region).invoke(
        FunctionName=ingestion.output("function_name", region), InvocationType="Event", Payload=json.dumps(event))
    [done] = ingestion.wait([file]).values()
    assert [done[each] for each in contract.COUNTS] == [3, 3, 0, 0, 0]


def test_disabled_processor_leaves_files_in_the_queue(ingestion, name):
    """R2, R8: reserved concurrency of nothing, as in a drill: no event is lost."""
    function, client = ingestion.output("function_name", EAST), ingestion.client("lambda", EAST)
    dead_letters(ingestion, EAST)
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    try:
        file = ingestion.upload(EAST, f"{name}.json", lines([record(name)]))
        [event] = wait_for(lambda: dead_letters(ingestion, EAST), 120, lambda: "no dead letter")
    finally:
        client.delete_function_concurrency(FunctionName=function)
    assert event["Records"][0]["s3"]["object"]["versionId"] == file.version and ingestion.checkpoint(file) is None
    client.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(event))
    assert ingestion.wait([file])[file][contract.COUNTS[1]] == 1


ASKS = """
    import boto3
    from botocore.exceptions import ClientError

    def handler(event, context):
        s3, answers = boto3.client("s3"), {}
        calls = {
            "read": lambda: s3.get_object(Bucket=event["bucket"], Key=event["key"], VersionId=event["version"]),
            "read current": lambda: s3.get_object(Bucket=event["bucket"], Key=event["key"]),
            "write": lambda: s3.put_object(Bucket=event["bucket"], Key="other.json", Body=b""),
            "delete": lambda: s3.delete_object(Bucket=event["bucket"], Key=event["key"]),
            "put": lambda: boto3.client("dynamodb", region_name=event["region"]).put_item(
                TableName=event["table"], Item={"recordId": {"S": event["id"]}, "timestamp": {"S": "-"}}),
        }
        for name, call in calls.items():
            try:
                call()
                answers[name] = "allowed"
            except ClientError as error:
                answers[name] = error.response["Error"]["Code"]
        return answers
"""


@pytest.mark.parametrize("region", REGIONS)
def test_processor_may_use_its_own_region_only(ingestion, make, name, processor, region):
    """R6: with its very role, another function reads the bucket and writes the table of its region; neither of the other's."""
    files = {each: ingestion.upload(each, f"{name}.json", lines([record(name)])) for each in REGIONS}
    ingestion.wait(files.values())
    asking = make.function(ASKS, role=processor(region)["Role"])

    def ask(where: str) -> dict:
        answer = ingestion.aws.client("lambda").invoke(FunctionName=asking, Payload=json.dumps({
            "region": where, "bucket": ingestion.output("bucket_name", where), "key": f"{name}.json", "id": f"{name}-asked",
            "version": files[where].version, "table": ingestion.table}))
        return json.loads(answer["Payload"].read())

    [other] = set(REGIONS) - {region}
    allowed = {"read": "allowed", "read current": "allowed", "put": "allowed"}
    assert ask(region) == {**allowed, "write": "AccessDenied", "delete": "AccessDenied"}
    assert {code.removesuffix("Exception") for code in ask(other).values()} == {"AccessDenied"}
    for each in REGIONS:
        key = {contract.RECORD_ID: {"S": f"{name}-asked"}, contract.TIMESTAMP: {"S": "-"}}
        ingestion.client("dynamodb", each).delete_item(TableName=ingestion.table, Key=key)


POISONED = '''"""Downstream code of a user's, with a bug."""


def downstream(record):
    print("SEEN", record["recordId"])
    if "poison" in record["recordId"]:
        raise ValueError("poison")
'''


@contextmanager
def downstream_code(ingestion, region, code: str):
    """The consumer of a region with other downstream code, as a user would deploy it."""
    functions, name = ingestion.client("lambda", region), ingestion.consumer(region)
    location = functions.get_function(FunctionName=name)["Code"]["Location"]
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(location, timeout=60) as answer:
        package = answer.read()
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(package)) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        for each in old.infolist():
            new.writestr(each, code if each.filename == "lambdas/ingestion/downstream.py" else old.read(each))
    functions.update_function_code(FunctionName=name, ZipFile=changed.getvalue())
    try:
        yield
    finally:
        functions.update_function_code(FunctionName=name, ZipFile=package)


def test_poison_record_in_the_stream(ingestion, name):
    """R5: it is tried again, then set aside in the on-failure queue; all others are handled, also later ones."""
    mapping = ingestion.client("lambda", EAST).list_event_source_mappings(
        EventSourceArn=ingestion.output("stream_arn", EAST))["EventSourceMappings"][0]
    queue = mapping["DestinationConfig"]["OnFailure"]["Destination"].rpartition(":")[2]
    url = ingestion.client("sqs", EAST).get_queue_url(QueueName=queue)["QueueUrl"]
    dead_letters(ingestion, EAST, url)

    def seen(record_id: str) -> int:
        group = f"/aws/lambda/{ingestion.consumer(EAST)}"
        return logged(ingestion, EAST, group, "SEEN").count(f"SEEN {record_id}")

    with downstream_code(ingestion, EAST, POISONED):
        records = [*numbered(name, 3), record(f"{name}-poison"), *numbered(name, 3, 3)]
        ingestion.wait([ingestion.upload(EAST, f"{name}.json", lines(records))])
        [failure] = wait_for(lambda: dead_letters(ingestion, EAST, url), 180, lambda: "nothing was set aside")
        ingestion.wait([ingestion.upload(EAST, f"{name} later.json", lines([record(f"{name}-later")]))])
        wait_for(lambda: seen(f"{name}-later"), 120, lambda: "the stream stands still")
        assert all(seen(f"{name}-{number}") for number in range(6))
        # Once more if something stood before it in its batch.
        assert seen(f"{name}-poison") - mapping["MaximumRetryAttempts"] in (1, 2)
    assert failure["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert failure["DDBStreamBatchInfo"]["streamArn"] == ingestion.output("stream_arn", EAST)
