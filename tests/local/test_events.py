"""L1: events find their way with IAM enforced: S3 → Lambda, S3 → EventBridge → Step Functions, status changes, injected ones."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

RECORD = """
import boto3, json, os
def handler(event, context):
    print("got", json.dumps(event))
    boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=json.dumps(event))
"""


@pytest.fixture
def seen(make, aws):
    """A function that passes its events on to a queue, and `received(n)`, which takes them from there."""
    url, queue = make.queue()
    function = make.function(RECORD, ("sqs:SendMessage", queue))
    aws.client("lambda").update_function_configuration(FunctionName=function, Environment={"Variables": {"QUEUE": url}})

    def received(seconds: float = 20) -> dict:
        messages = make.poll(
            lambda: aws.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages"), seconds)
        return json.loads(messages[0]["Body"])

    return function, received


def rule(make, aws, pattern: dict, target: str) -> None:
    """A rule on the default bus with this pattern and target; machines get a role that may start them."""
    events, name = aws.client("events"), make.name("rule")
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    role = {"RoleArn": make.role(("states:StartExecution", target), service="events")} if ":states:" in target else {}
    events.put_targets(Rule=name, Targets=[{"Id": "target", "Arn": target, **role}])


def test_s3_notifies_a_function_with_encoded_keys(make, aws, seen):
    """E2, E3a: form-encoded keys, version ids and sequencers in the notification."""
    function, received = seen
    bucket, s3 = make.bucket(), aws.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"LambdaFunctionConfigurations": [
        {"LambdaFunctionArn": function, "Events": ["s3:ObjectCreated:*"],
         "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "raw/"}]}}}]})
    s3.put_object(Bucket=bucket, Key="other/a.csv", Body=b"1")
    s3.put_object(Bucket=bucket, Key="raw/a b+ü.csv", Body=b"1")
    found = received()["Records"][0]["s3"]["object"]
    assert found["key"] == "raw/a+b%2B%C3%BC.csv"
    assert found["versionId"] and found["sequencer"] and found["size"] == 1


def test_events_wait_for_free_concurrency(make, aws):
    """E3a: for hours on AWS, beyond the three attempts that a function's own failure has."""
    url, queue = make.queue()
    function = make.function(RECORD + "    import time; time.sleep(1.5)\n", ("sqs:SendMessage", queue))
    client, sqs = aws.client("lambda"), aws.client("sqs")
    client.update_function_configuration(FunctionName=function, Environment={"Variables": {"QUEUE": url}})
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=1)
    for number in range(4):
        client.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(number))
    seen = set()

    def all_seen() -> bool:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        seen.update(message["Body"] for message in messages)
        return seen == set("0123")

    make.poll(all_seen, 60)


def test_throttles_are_no_errors(make, aws):
    """E10: Lambda's metrics tell one from the other, for callers that wait and for events."""
    client = aws.client("lambda")
    function = make.function("def handler(event, context):\n    raise ValueError\n")

    def metrics() -> list[float]:
        name, now = function.rpartition(":")[2], datetime.now(UTC)
        return [sum(point["Sum"] for point in aws.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/Lambda", MetricName=metric, Dimensions=[{"Name": "FunctionName", "Value": name}], Period=3600,
            StartTime=now - timedelta(hours=1), EndTime=now + timedelta(minutes=1), Statistics=["Sum"])["Datapoints"])
            for metric in ("Throttles", "Errors")]

    client.put_function_event_invoke_config(FunctionName=function, MaximumRetryAttempts=0)
    client.invoke(FunctionName=function)
    client.invoke(FunctionName=function, InvocationType="Event")
    make.poll(lambda: metrics() == [0, 2])
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    with pytest.raises(client.exceptions.TooManyRequestsException):
        client.invoke(FunctionName=function)
    assert metrics()[0] >= 1 and metrics()[1] == 2


def test_s3_events_start_a_machine(make, aws):
    """M2, M3a: exactly the files of that name; the event names the version, keys are not encoded, its time is in seconds."""
    bucket, s3, sfn = make.bucket(), aws.client("s3"), aws.client("stepfunctions")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    machine = make.machine(make.role(), {"Done": {"Type": "Succeed"}})
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    rule(make, aws, {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": {
        "bucket": {"name": [bucket]}, "object": {"key": [{"suffix": "/metadata.json"}, "metadata.json"]}}}, machine)
    for key in ("xmetadata.json", "metadata.json.bak", "Metadata.json", "a/metadata.json/b", "a/xmetadata.json"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"{}")
    put = {key: s3.put_object(Bucket=bucket, Key=key, Body=b"{}") for key in ("metadata.json", "a b/ü+%41/metadata.json")}
    copied = s3.copy_object(Bucket=bucket, Key="copy/metadata.json", CopySource={"Bucket": bucket, "Key": "metadata.json"})
    s3.delete_object(Bucket=bucket, Key="metadata.json")

    executions = make.poll(lambda: len(found := sfn.list_executions(stateMachineArn=machine)["executions"]) >= 3 and found)
    events = [json.loads(make.ended(each["executionArn"])["input"]) for each in executions]
    assert {event["detail"]["object"]["key"]: event["detail"]["object"]["version-id"] for event in events} == {
        **{key: answer["VersionId"] for key, answer in put.items()}, "copy/metadata.json": copied["VersionId"]}
    for event in events:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event["time"])
        found = event["detail"]["object"]
        assert (found["size"], found["etag"]) == (2, put["metadata.json"]["ETag"].strip('"'))
        assert re.fullmatch("[0-9A-F]{16,}", found["sequencer"])
        assert set(event["detail"]) == {"version", "event-version", "bucket", "object", "request-id", "requester",
                                        "source-ip-address", "reason"}
    assert {event["detail"]["reason"] for event in events} == {"PutObject", "CopyObject"}


def test_events_of_unversioned_buckets_name_no_version(make, aws, seen):
    """As AWS's."""
    function, received = seen
    bucket, s3 = make.bucket(), aws.client("s3")
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    rule(make, aws, {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}}, function)
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert "version-id" not in received()["detail"]["object"]


def test_a_machine_reads_a_body_that_is_no_text(make, aws):
    """M3a: what is not UTF-8 is replaced."""
    bucket = make.bucket()
    aws.client("s3").put_object(Bucket=bucket, Key="k", Body=b"\xfc\xff{\xe2\x82\xac}")
    read = make.task(make.role(("s3:GetObject", f"arn:aws:s3:::{bucket}/k")), "arn:aws:states:::aws-sdk:s3:getObject",
                     {"Bucket": bucket, "Key": "k"})
    assert make.run(read)["output"]["Body"] == "\ufffd\ufffd{€}"


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "ABORTED"])
def test_status_changes_are_events(make, aws, seen, status):
    """E7b: the rule on status changes sees what no catch does."""
    function, received = seen
    states = {"FAILED": {"Fail": {"Type": "Fail", "Error": "E", "Cause": "C"}}}.get(
        status, {"Wait": {"Type": "Wait", "Seconds": 30, "End": True}})
    machine = make.machine(make.role(), states, **({"TimeoutSeconds": 1} if status == "TIMED_OUT" else {}))
    rule(make, aws, {"source": ["aws.states"], "detail-type": ["Step Functions Execution Status Change"],
                     "detail": {"status": [status], "stateMachineArn": [machine]}}, function)
    sfn = aws.client("stepfunctions")
    execution = sfn.start_execution(stateMachineArn=machine, input='{"file": "a"}')["executionArn"]
    if status == "ABORTED":
        sfn.stop_execution(executionArn=execution)
    event = received()
    assert event["detail"]["executionArn"] == execution
    assert event["detail"]["input"] == '{"file": "a"}'


def test_only_injected_events_come_from_aws(make, aws, seen):
    """AWS accepts no `aws.…` source from users; tests inject one by a source that says so."""
    function, received = seen
    kind = make.name("kind")
    rule(make, aws, {"source": ["aws.states"], "detail-type": [kind]}, function)
    put = lambda source: aws.client("events").put_events(
        Entries=[{"Source": source, "DetailType": kind, "Detail": json.dumps({"status": "TIMED_OUT"})}])
    assert put("aws.states")["Entries"][0]["ErrorCode"] == "NotAuthorizedForSourceException"
    assert put("injected:aws.states")["FailedEntryCount"] == 0
    event = received()
    assert (event["source"], event["detail"]) == ("aws.states", {"status": "TIMED_OUT"})


def test_logs_hold_what_a_function_prints(make, aws, seen):
    """C9, O3: under /aws/lambda/NAME."""
    function, received = seen
    aws.client("lambda").invoke(FunctionName=function, Payload=b'{"word": "recognisable"}')
    received()
    group = "/aws/lambda/" + function.rsplit(":", 1)[-1]
    found = aws.client("logs").filter_log_events(logGroupName=group, filterPattern="recognisable")["events"]
    assert found and "recognisable" in found[0]["message"]


def test_version_listings_are_url_encoded(aws, make):
    """C12: Terraform empties a bucket by listing its versions with encoded keys; any name must survive that."""
    bucket, s3 = make.bucket(), aws.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    names = ["50 % + tax.csv", "März/東京.csv", "it's <b>&amp;</b>.csv"]
    for name in names:
        s3.put_object(Bucket=bucket, Key=name, Body=b"")
    listed = s3.list_object_versions(Bucket=bucket)  # botocore asks for encoded keys and decodes them
    assert listed["EncodingType"] == "url" and sorted(each["Key"] for each in listed["Versions"]) == sorted(names)


def test_ranges_of_versions_are_cut(aws, make):
    """E3b, E4: a part of an old version is a part, and what lies behind its end is an error."""
    bucket, s3 = make.bucket(), aws.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")["VersionId"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"other")
    part = s3.get_object(Bucket=bucket, Key="k", VersionId=version, Range="bytes=3-5")
    assert (part["Body"].read(), part["ContentRange"]) == (b"345", "bytes 3-5/10")
    with pytest.raises(s3.exceptions.ClientError, match="InvalidRange"):
        s3.get_object(Bucket=bucket, Key="k", VersionId=version, Range="bytes=10-12")


@pytest.mark.parametrize("name", ["line\nend.csv", "carriage\rreturn.csv", "control\x01.csv", "tab\t.csv"])
def test_names_with_control_characters(aws, make, name):
    """E2, L1: permitted by wildcards, listed as they are, emptied by Terraform."""
    bucket, s3 = make.bucket(), aws.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key=f"raw/{name}", Body=b"x")["VersionId"]
    [listed] = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert (listed["Key"], listed["VersionId"]) == (f"raw/{name}", version)
    read = make.task(make.role(("s3:GetObjectVersion", f"arn:aws:s3:::{bucket}/raw/*")), "arn:aws:states:::aws-sdk:s3:getObject",
                     {"Bucket": bucket, "Key": f"raw/{name}", "VersionId": version})
    assert make.run(read)["output"]["Body"] == "x"


def test_dead_letters_are_the_bare_event(aws, make):
    """C10: what waits in a function's dead-letter queue can be sent to the function again as it is."""
    url, arn = make.queue()
    function = make.function("def handler(event, context):\n    raise ValueError\n", ("sqs:SendMessage", arn))
    lambdas = aws.client("lambda")
    lambdas.update_function_configuration(FunctionName=function, DeadLetterConfig={"TargetArn": arn})
    lambdas.put_function_event_invoke_config(FunctionName=function, MaximumRetryAttempts=0)
    lambdas.invoke(FunctionName=function, InvocationType="Event", Payload=b'{"a": [1, "\\u00fc"]}')
    sqs = aws.client("sqs")
    [message] = make.poll(lambda: sqs.receive_message(QueueUrl=url).get("Messages"))
    assert json.loads(message["Body"]) == {"a": [1, "ü"]}
