"""What happens twice, late, half-way, at once, or not at all (E3a, E4b, E4c, E7a, E7b)."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote_plus

import pytest

from tests.local.etl.files import HEADER, large, rows

POLL_SECONDS = 0.05


def until(found, seconds: float = 60):
    """What `found()` returns, as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(POLL_SECONDS)
    return result


def parts_written(aws, etl, key):
    """Whether some, but not all, of the output's parts have been written."""
    s3 = aws.client("s3")
    uploads = s3.list_multipart_uploads(Bucket=etl.bucket, Prefix=key).get("Uploads", [])
    return any(s3.list_parts(Bucket=etl.bucket, Key=key, UploadId=upload["UploadId"]).get("Parts") for upload in uploads)


def event(etl, key: str, version: str, size: int, sequencer: str = "00AA") -> bytes:
    """An S3 notification."""
    return json.dumps({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {
        "bucket": {"name": etl.bucket},
        "object": {"key": quote_plus(key), "versionId": version, "size": size, "sequencer": sequencer}}}]}).encode()


def execution_of(etl, record):
    return etl.execution(record["execution_arn"])


def test_one_event_delivered_three_times(aws, etl, inbox):
    """E3a: one execution, one record, one announcement, although events come twice, late and side by side."""
    name, body = "twice/empty columns.csv", b"a,b\n"
    version = etl.upload(name, body)
    again = event(etl, f"raw/{name}", version, len(body))
    with ThreadPoolExecutor() as threads:
        for _ in range(2):
            threads.submit(aws.client("lambda").invoke, FunctionName=etl.validation, InvocationType="Event", Payload=again)
    etl.wait(name)
    late = aws.client("lambda").invoke(FunctionName=etl.validation, Payload=again)
    assert "FunctionError" not in late
    etl.wait_until_idle()
    [record] = etl.records(name)
    claims = [each for each in etl.executions() if each["executionArn"] == record["execution_arn"]]
    assert len(claims) == 1 and record["status"] == "INVALID"
    assert len(inbox.messages(f"raw/{name}")) == 1


def test_older_upload_that_finishes_last_is_superseded(aws, etl):
    """E4c: the newest output wins however executions overtake each other; both records are right."""
    name = "order/race.csv"
    older = etl.upload(name, large(60))
    until(lambda: parts_written(aws, etl, f"processed/{name}"))
    newer = etl.upload(name, rows(2))
    records = {record["version_id"]: record for record in etl.wait(name, records=2)}
    assert execution_of(etl, records[older]).started < execution_of(etl, records[newer]).started
    assert records[older]["process_end_time"] > records[newer]["process_end_time"]
    assert records[newer]["output_key"] == f"processed/{name}"
    assert records[older]["status"] == "SUCCEEDED" and "output_key" not in records[older]
    assert records[older]["error_message"] == f"superseded by {newer}"
    assert etl.read(f"processed/{name}") == rows(2)


def test_fifty_files_at_once(etl):
    """E3a, E4: each accounted for."""
    names = [f"burst/{number}.csv" for number in range(50)]
    with ThreadPoolExecutor(10) as threads:
        list(threads.map(lambda name: etl.upload(name, rows(len(name))), names))
    for name in names:
        [record] = etl.wait(name)
        assert (record["status"], record["rows_written"]) == ("SUCCEEDED", len(name))
        assert etl.read(f"processed/{name}") == rows(len(name))
    assert etl.keys("raw/burst/") == []


def test_two_uploads_claimed_in_one_microsecond_are_two_records(aws, etl):
    """E8a: every uploaded version leaves exactly one record, though the sort key is a time."""
    name = "same/time.csv"
    versions = [etl.upload(name, rows(count)) for count in (1, 2)]
    originals = etl.wait(name, records=2)
    described = aws.client("stepfunctions").describe_execution(executionArn=originals[0]["execution_arn"])
    aws.client("stepfunctions").start_execution(
        stateMachineArn=etl.machine_arn, name="same-microsecond", input=described["input"])
    records = etl.wait(name, records=3)
    assert len(records) == 3 and {record["version_id"] for record in records} == set(versions)
    assert len({record["execution_arn"] for record in records}) == 3


def test_killed_worker_is_retried(aws, etl, workers):
    """E4b: killed after part of the output was written; nothing half-done is visible, the retry makes one complete output."""
    name, body = "killed/large.csv", large(60)
    etl.upload(name, body)
    until(lambda: parts_written(aws, etl, f"processed/{name}"))
    assert etl.keys(f"processed/{name}") == []
    for pid in workers():
        os.kill(pid, signal.SIGKILL)
    [record] = etl.wait(name)
    assert record["status"] == "SUCCEEDED" and etl.read(record["output_key"]) == body
    assert len(aws.client("s3").list_object_versions(Bucket=etl.bucket, Prefix=f"processed/{name}")["Versions"]) == 1
    assert [run.name for run in execution_of(etl, record).states if run.failed] == ["Transform"]


@pytest.mark.usefixtures("quick_retries")
def test_failing_transformation(etl, inbox, denied):
    """E7a: retried, then set aside, announced, recorded FAILED; the execution fails."""
    name = "broken/denied.csv"
    with denied(etl.transformation, "s3:PutObject", f"arn:aws:s3:::{etl.bucket}/processed/*"):
        etl.upload(name, rows(1))
        [record] = etl.wait(name)
    assert record["status"] == "FAILED" and "AccessDenied" in record["error_message"]
    assert etl.read(record["failed_key"]) == rows(1)
    assert etl.keys(f"raw/{name}") == [] == etl.keys(f"processed/{name}")
    [notice] = inbox.messages(f"raw/{name}")
    assert "AccessDenied" in notice["Message"] and "Replay:" in notice["Message"]
    etl.wait_until_idle()
    assert execution_of(etl, record).status == "FAILED"


@pytest.mark.usefixtures("quick_retries")
def test_failing_announcement_does_not_lose_the_record(aws, etl, inbox, denied):
    """E7a: each step of the error path has its own way on."""
    name = "broken/silent.csv"
    machine = etl.machine_arn.rsplit(":", 1)[1]
    with (
        denied(etl.transformation, "s3:PutObject", f"arn:aws:s3:::{etl.bucket}/processed/*"),
        denied(machine, "sns:Publish", etl.topic_arn),
    ):
        etl.upload(name, rows(1))
        [record] = etl.wait(name)
    assert record["status"] == "FAILED" and etl.read(record["failed_key"]) == rows(1)
    assert inbox.messages(f"raw/{name}") == []


@pytest.mark.usefixtures("quick_retries")
def test_missing_version_is_recorded_and_announced(aws, etl, inbox):
    """E7a: a forged event, or a version deleted for good: nothing to set aside, yet one record and one notice."""
    name = "forged/gone.csv"
    forged = event(etl, f"raw/{name}", "0" * 32, 10)
    aws.client("lambda").invoke(FunctionName=etl.validation, InvocationType="Event", Payload=forged)
    [record] = etl.wait(name)
    assert record["status"] == "FAILED" and "failed_key" not in record
    assert len(inbox.messages(f"raw/{name}")) == 1


def test_aborted_execution(aws, etl, inbox):
    """E7b: what no catch sees is set aside, announced and recorded, once; the running function publishes nothing."""
    name, body = "aborted/large.csv", large(60)
    etl.upload(name, body)
    until(lambda: parts_written(aws, etl, f"processed/{name}"))
    [record] = etl.records(name)
    aws.client("stepfunctions").stop_execution(executionArn=record["execution_arn"], error="Operator", cause="by hand")
    [record] = etl.wait(name)
    assert record["status"] == "FAILED" and "ABORTED" in record["error_message"]
    assert etl.read(record["failed_key"]) == body
    until(lambda: not aws.client("s3").list_multipart_uploads(Bucket=etl.bucket, Prefix=f"processed/{name}").get("Uploads"))
    assert etl.keys(f"processed/{name}") == []
    assert len(inbox.messages(f"raw/{name}")) == 1


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT"])
@pytest.mark.parametrize("known", ["missing", "PROCESSING"])
def test_status_events(aws, etl, inbox, status, known):
    """E7b: only a record that is missing or PROCESSING is brought to its end; status events come twice, side by side."""
    name = f"events/{status}-{known}.csv"
    version = etl.upload(name, rows(1))
    [record] = etl.wait(name)
    etl.wait_until_idle()
    key = {"file_name": {"S": name}, "process_start_time": {"S": record["process_start_time"]}}
    if known == "missing":
        aws.client("dynamodb").delete_item(TableName=etl.table, Key=key)
    else:
        aws.client("dynamodb").put_item(TableName=etl.table, Item={
            **key, "status": {"S": "PROCESSING"}, "version_id": {"S": version}, "execution_arn": {"S": record["execution_arn"]}})
    told = aws.client("stepfunctions").describe_execution(executionArn=record["execution_arn"])
    entry = {"Source": "injected:aws.states", "DetailType": "Step Functions Execution Status Change", "Detail": json.dumps({
        "executionArn": record["execution_arn"], "stateMachineArn": etl.machine_arn, "status": status, "input": told["input"],
        "error": None, "cause": None})}
    aws.client("events").put_events(Entries=[entry] * 3)
    [record] = until(lambda: [each for each in etl.records(name) if each["status"] == "FAILED"])
    assert status in record["error_message"] and etl.read(record["failed_key"]) == rows(1)
    recovery = etl.machine_arn.replace("etl-pipeline", "etl-recovery")
    states = aws.client("stepfunctions")
    until(lambda: not states.list_executions(stateMachineArn=recovery, statusFilter="RUNNING")["executions"])
    assert len(etl.records(name)) == 1
    assert len(inbox.messages(f"raw/{name}")) == 1


def test_status_event_of_a_finished_file_changes_nothing(aws, etl, inbox):
    """E7b: the pipeline's own record stands."""
    name = "events/finished.csv"
    etl.upload(name, HEADER)
    [record] = etl.wait(name)
    etl.wait_until_idle()
    told = aws.client("stepfunctions").describe_execution(executionArn=record["execution_arn"])
    recovery = etl.machine_arn.replace("etl-pipeline", "etl-recovery")
    states = aws.client("stepfunctions")
    before = len(states.list_executions(stateMachineArn=recovery, statusFilter="SUCCEEDED")["executions"])
    aws.client("events").put_events(Entries=[{
        "Source": "injected:aws.states", "DetailType": "Step Functions Execution Status Change", "Detail": json.dumps({
            "executionArn": record["execution_arn"], "stateMachineArn": etl.machine_arn, "status": "ABORTED",
            "input": told["input"]})}])
    until(lambda: len(states.list_executions(stateMachineArn=recovery, statusFilter="SUCCEEDED")["executions"]) > before)
    assert etl.records(name) == [record]
    assert etl.keys("failed/events/finished.csv") == [] == inbox.messages(f"raw/{name}")
