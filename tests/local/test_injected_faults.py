"""The embedded AWS can be made to fail as AWS does, and fails in no way otherwise (L1)."""

import json
from contextlib import contextmanager

import pytest

from tests.local.conftest import configure

PUTS = """
    import boto3
    from botocore.config import Config

    def handler(event, context):
        s3 = boto3.client("s3", config=Config(retries={"total_max_attempts": event["attempts"]}))
        try:
            s3.put_object(Bucket=event["bucket"], Key=event["key"], Body=b"there")
        except Exception as error:
            return str(error)
        return "done"
"""


@contextmanager
def faults(aws, **schedule):
    """Under this schedule; yields what it has injected, once it has ended."""
    injected = []
    configure(aws, {"faults": {"seed": 1, "subject": "victim-[a-z]+", **schedule}})
    try:
        yield injected
    finally:
        injected += configure(aws, {"faults": None})["injected"]


@pytest.fixture
def put(aws, make):
    """`put(key)` → what the function says, or its error's type, and whether the object is there."""
    bucket = make.bucket()
    function = make.function(PUTS, ("s3:PutObject", "*"))

    def call(key: str, attempts: int = 1) -> tuple[str, bool]:
        answer = aws.client("lambda").invoke(FunctionName=function, Payload=json.dumps(
            {"bucket": bucket, "key": key, "attempts": attempts}))
        said = json.loads(answer["Payload"].read())
        there = "Contents" in aws.client("s3").list_objects_v2(Bucket=bucket, Prefix=key)
        return said["errorType"] if isinstance(said, dict) else said, there

    return call


@pytest.mark.parametrize("fault, said, there", [
    ("throttled", "SlowDown", False), ("failed", "InternalError", False), ("lost", "Connection was closed", True),
    ("killed", "Runtime.ExitError", False), ("killed after", "Runtime.ExitError", True)])
def test_a_call_goes_wrong(aws, put, fault, said, there):
    """L1: refused, failed, done without an answer, or the function ends at it, before or after its effect."""
    with faults(aws, calls={"s3:PutObject": {fault: 1.0}}) as injected:
        what, is_there = put("victim-a")
        assert put("other") == ("done", True)  # no file of the schedule
    assert said in what and is_there == there
    assert [(each["fault"], each["what"], each["subject"]) for each in injected] == [(fault, "s3:PutObject", "victim-a")]
    assert put("victim-b") == ("done", True)


def test_retries_help(aws, put):
    """L1: the SDK takes a refusal for AWS's, and tries again; root's own calls never fail."""
    with faults(aws, calls={"*": {"throttled": 0.5}}) as injected:
        outcomes = {put(f"victim-{letter}", attempts=10) for letter in "abcdef"}
    assert outcomes == {("done", True)} and len(injected) > 1


def test_an_aborted_execution(aws, make):
    """L1: an execution is stopped in a state that it enters."""
    machine = make.machine(make.role(service="states"), {"Wait": {"Type": "Wait", "Seconds": 20, "End": True}})
    with faults(aws, aborts=1.0, abort_seconds=0.01, machines=".") as injected:
        assert make.run(machine, {"file": "victim-x"})["status"] == "ABORTED"
    assert [(each["fault"], each["what"].split()[1]) for each in injected] == [("aborted", "Wait")]


@pytest.mark.parametrize("fault, deliveries, letters", [("twice", 2, 0), ("late", 1, 0), ("dropped", 0, 1)])
def test_an_event_goes_astray(aws, make, fault, deliveries, letters):
    """L1: what S3 tells a function comes twice, late, or into the dead-letter queue, as the bare event."""
    bucket, (inbox, _), (dlq, dlq_arn) = make.bucket(), make.queue(), make.queue()
    function = make.function(f"""
        import boto3

        def handler(event, context):
            boto3.client("sqs").send_message(QueueUrl="{inbox}", MessageBody=event["Records"][0]["s3"]["object"]["key"])
    """, ("sqs:SendMessage", "*"))
    aws.client("lambda").update_function_configuration(FunctionName=function, DeadLetterConfig={"TargetArn": dlq_arn})
    aws.client("s3").put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={
        "LambdaFunctionConfigurations": [{"LambdaFunctionArn": function, "Events": ["s3:ObjectCreated:*"]}]})

    def waiting(url: str) -> int:
        answer = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    with faults(aws, events={fault: 1.0}, late_seconds=0.1):
        aws.client("s3").put_object(Bucket=bucket, Key="victim-e", Body=b"")
        make.poll(lambda: (waiting(inbox), waiting(dlq)) == (deliveries, letters))
