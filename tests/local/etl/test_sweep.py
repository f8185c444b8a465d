"""What no event brings to an end, the sweep does (E7c). It is invoked as its guide tells, for what is older than 0 seconds."""

import json
import time
from contextlib import contextmanager

import pytest

from lambdas.etl import sweep
from lambdas.etl.files import execution_name
from tests.local.etl.files import large, rows
from tests.local.etl.test_faults import event, execution_of, parts_written, until

NOW = b'{"older_than_seconds": 0}'


def sweep_of(etl) -> str:
    return etl.validation.replace("etl-validation", "etl-sweep")


@pytest.fixture
def sweep_now(aws, etl):
    """`sweep_now()` gives how many records and objects met which fate."""

    def invoke() -> dict:
        answer = aws.client("lambda").invoke(FunctionName=sweep_of(etl), Payload=NOW)
        told = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, told
        return told

    return invoke


@contextmanager
def deaf(aws, etl):
    """The bucket sends no events for a while: those of the meantime are lost."""
    s3 = aws.client("s3")
    known = s3.get_bucket_notification_configuration(Bucket=etl.bucket)
    known.pop("ResponseMetadata")
    s3.put_bucket_notification_configuration(Bucket=etl.bucket, NotificationConfiguration={})
    try:
        yield
    finally:
        s3.put_bucket_notification_configuration(Bucket=etl.bucket, NotificationConfiguration=known)


@contextmanager
def without_status_events(aws, etl):
    """Executions end, and nobody is told."""
    events, rule = aws.client("events"), etl.machine_arn.rsplit(":", 1)[1].replace("etl-pipeline", "etl-not-succeeded")
    events.disable_rule(Name=rule)
    try:
        yield
    finally:
        events.enable_rule(Name=rule)


def recoveries(aws, etl, status: str) -> list[str]:
    machine = etl.machine_arn.replace("etl-pipeline", "etl-recovery")
    found = aws.client("stepfunctions").list_executions(stateMachineArn=machine, statusFilter=status)["executions"]
    return [each["executionArn"] for each in found]


def abort(aws, arn: str) -> None:
    aws.client("stepfunctions").stop_execution(executionArn=arn, error="Operator", cause="by hand")


def test_upload_whose_event_was_lost(aws, etl, inbox, sweep_now):
    """E7c: one execution, one record, the right output; a late event and another sweep change nothing."""
    name, body = "sweep/ä lost+found.csv", rows(3)
    with deaf(aws, etl):
        version = etl.upload(name, body)
    until(lambda: sweep_now() and etl.records(name))  # in a later second than that of the upload
    [record] = etl.wait(name)
    assert (record["status"], record["rows_written"], record["version_id"]) == ("SUCCEEDED", 3, version)
    assert etl.read(record["output_key"]) == body and etl.keys(f"raw/{name}") == []
    late = aws.client("lambda").invoke(FunctionName=etl.validation, Payload=event(etl, f"raw/{name}", version, len(body)))
    assert "FunctionError" not in late
    etl.wait_until_idle()
    again = sweep_now()
    assert sweep.CLAIMED not in again["objects"] and sweep.RECOVERED not in again["objects"] | again["records"]
    assert etl.records(name) == [record] and inbox.messages(f"raw/{name}") == []
    claim = execution_name(etl.bucket, version, f"raw/{name}")
    assert [each["executionArn"] for each in etl.executions() if each["name"] == claim] == [record["execution_arn"]]


def test_swept_older_upload_does_not_replace_newer_output(aws, etl, sweep_now):
    """E7c, E4c: whichever of the two is converted first, and though the older one's place in S3's order is unknown."""
    name = "sweep/order.csv"
    with deaf(aws, etl):
        older = etl.upload(name, large(100))
    uploaded = aws.client("s3").head_object(Bucket=etl.bucket, Key=f"raw/{name}")["LastModified"].timestamp()
    until(lambda: time.time() >= uploaded + 1)
    aws.client("lambda").invoke(FunctionName=sweep_of(etl), InvocationType="Event", Payload=NOW)
    until(lambda: parts_written(aws, etl, f"processed/{name}"))
    newer = etl.upload(name, rows(2))
    records = {record["version_id"]: record for record in etl.wait(name, records=2)}
    assert records[older]["process_end_time"] > records[newer]["process_end_time"]
    assert records[older]["status"] == "SUCCEEDED" and records[older]["error_message"] == f"superseded by {newer}"
    assert etl.read(f"processed/{name}") == rows(2)


def test_swept_newer_upload_replaces_older_output(aws, etl, sweep_now):
    """E7c, E4c."""
    name = "sweep/newest.csv"
    etl.upload(name, rows(1))
    etl.wait(name)
    with deaf(aws, etl):
        etl.upload(name, rows(2))
    until(lambda: sweep_now() and len(etl.records(name)) == 2)
    etl.wait(name, records=2)
    assert etl.read(f"processed/{name}") == rows(2)
    etl.upload(name, rows(3))
    etl.wait(name, records=3)
    assert etl.read(f"processed/{name}") == rows(3)


def test_running_execution_is_left_alone(aws, etl, sweep_now):
    """E7c: it has all the time of its machine."""
    name, body = "sweep/running.csv", large(60)
    etl.upload(name, body)
    until(lambda: parts_written(aws, etl, f"processed/{name}"))
    found = sweep_now()
    assert found["records"].get(sweep.RUNS) == 1 and sweep.RECOVERED not in found["records"] | found["objects"]
    [record] = etl.wait(name)
    assert record["status"] == "SUCCEEDED" and "recovered_by" not in record and etl.read(record["output_key"]) == body


def test_aborted_execution_whose_event_was_lost(aws, etl, inbox, sweep_now):
    """E7c: set aside, announced and recorded once."""
    name, body = "sweep/aborted.csv", large(60)
    with without_status_events(aws, etl):
        etl.upload(name, body)
        until(lambda: parts_written(aws, etl, f"processed/{name}"))
        [record] = etl.records(name)
        abort(aws, record["execution_arn"])
        assert etl.records(name)[0]["status"] == "PROCESSING"
        assert until(lambda: sweep_now()["records"].get(sweep.RECOVERED)) == 1
        [record] = etl.wait(name)
    assert record["status"] == "FAILED" and "ABORTED: Operator: by hand" in record["error_message"]
    assert etl.read(record["failed_key"]) == body and etl.keys(f"raw/{name}") == [] == etl.keys(f"processed/{name}")
    until(lambda: not recoveries(aws, etl, "RUNNING"))
    assert not sweep_now()["records"]
    assert etl.records(name) == [record] and len(inbox.messages(f"raw/{name}")) == 1


def test_recovery_that_died_after_its_claim(aws, etl, inbox, sweep_now, denied):
    """E7c: the sweep sees it, and has another recovery take over, which announces and records once."""
    name, body = "sweep/twice aborted.csv", large(60)
    recovery = etl.machine_arn.rsplit(":", 1)[1].replace("etl-pipeline", "etl-recovery")
    etl.upload(name, body)
    until(lambda: parts_written(aws, etl, f"processed/{name}"))
    with denied(recovery, ["lambda:InvokeFunction", "sns:Publish"], "*"):  # which it tries again and again
        abort(aws, etl.records(name)[0]["execution_arn"])
        dead = until(lambda: etl.records(name)[0].get("recovered_by"))
        assert sweep_now()["records"] == {sweep.RUNS: 1}
        abort(aws, dead)
    [record] = etl.records(name)
    assert (record["status"], record["recovered_by"]) == ("PROCESSING", dead)
    assert sweep_now()["records"] == {sweep.RECOVERED: 1}
    [record] = etl.wait(name)
    assert record["status"] == "FAILED" and record["recovered_by"] != dead
    assert etl.read(record["failed_key"]) == body and len(inbox.messages(f"raw/{name}")) == 1
    assert execution_of(etl, record).status == "ABORTED"


def test_claimed_but_never_recorded(aws, etl, inbox, sweep_now, denied):
    """E7c: the execution ended before its first write, and its event was lost."""
    name = "sweep/unrecorded.csv"
    machine = etl.machine_arn.rsplit(":", 1)[1]
    with without_status_events(aws, etl):
        with denied(machine, "dynamodb:PutItem", "*"):
            version = etl.upload(name, rows(1))
            claim = execution_name(etl.bucket, version, f"raw/{name}")
            [arn] = until(lambda: [each["executionArn"] for each in etl.executions("RUNNING") if each["name"] == claim])
            abort(aws, arn)
        assert etl.records(name) == [] and etl.keys(f"raw/{name}") == [f"raw/{name}"]
        until(lambda: sweep_now() and etl.records(name))
    [record] = etl.wait(name)
    assert record["status"] == "FAILED" and record["execution_arn"] == arn and "ABORTED" in record["error_message"]
    assert etl.read(record["failed_key"]) == rows(1) and etl.keys(f"raw/{name}") == []
    assert len(inbox.messages(f"raw/{name}")) == 1


def test_forgotten_execution(aws, etl, sweep_now):
    """E7c: Step Functions keeps executions for 90 days; the record alone says enough."""
    name = "sweep/forgotten.csv"
    with deaf(aws, etl):
        version = etl.upload(name, rows(2))
    aws.client("dynamodb").put_item(TableName=etl.table, Item={
        "file_name": {"S": name}, "process_start_time": {"S": "2026-01-01T00:00:00.000000Z"}, "status": {"S": "PROCESSING"},
        "version_id": {"S": version}, "execution_arn": {"S": etl.machine_arn.replace("stateMachine", "execution") + ":gone"}})
    assert sweep_now()["records"] == {sweep.RECOVERED: 1}
    [record] = etl.wait(name)
    assert record["status"] == "FAILED" and "90 days" in record["error_message"]
    assert etl.read(record["failed_key"]) == rows(2)
