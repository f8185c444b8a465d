"""What a user does with a deployed ETL pipeline: upload, wait, look.

    etl = Etl(aws, deployment.outputs["tap"])
    etl.upload("orders/may.csv", b"transaction_id,…")
    [record] = etl.wait("orders/may.csv")          # {"status": "SUCCEEDED", "rows_read": 3, …}
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from boto3.dynamodb.types import TypeDeserializer

from local.emulator import Emulator

WAIT_SECONDS = 180
POLL_SECONDS = 0.2
ENDED = ("SUCCEEDED", "INVALID", "FAILED")


class EtlTimeout(Exception):
    """What was waited for did not happen in time; the message says what is there instead."""


@dataclass(frozen=True)
class StateRun:
    """One state that an execution went through."""

    name: str
    kind: str
    """`Task`, `Choice`, `Succeed`, …"""
    entered: datetime
    seconds: float
    failed: bool
    """Whether an attempt in it failed, though a retry or a catch may have helped."""


@dataclass(frozen=True)
class Execution:
    """One execution of the state machine."""

    arn: str
    status: str
    started: datetime
    seconds: float
    states: tuple[StateRun, ...]
    error: str | None = None


class Etl:
    """A deployed ETL pipeline, through its outputs (E13) and nothing else."""

    def __init__(self, aws: Emulator, outputs: Mapping[str, str]):
        self.aws = aws
        self.bucket = outputs["etl_bucket_name"]
        self.table = outputs["etl_metadata_table_name"]
        self.machine_arn = outputs["etl_state_machine_arn"]
        self.topic_arn = outputs["etl_failure_topic_arn"]
        self.validation = outputs["etl_validation_function_name"]
        self.transformation = outputs["etl_transformation_function_name"]

    # --- files ---

    def upload(self, file_name: str, body: bytes) -> str:
        """Put a file under raw/; its version id."""
        return self.aws.client("s3").put_object(Bucket=self.bucket, Key=f"raw/{file_name}", Body=body)["VersionId"]

    def read(self, key: str) -> bytes:
        """The current version of an object."""
        return self.aws.client("s3").get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def keys(self, prefix: str = "") -> list[str]:
        """Keys of current objects, sorted."""
        pages = self.aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def rejects(self, record: Mapping) -> list[dict]:
        """The rejected rows that a record points to."""
        prefix = record.get("rejects_prefix")
        return [json.loads(line) for key in (self.keys(prefix) if prefix else []) for line in self.read(key).splitlines()]

    # --- records ---

    def records(self, file_name: str) -> list[dict]:
        """Every record of a file, oldest first."""
        answer = self.aws.client("dynamodb").query(
            TableName=self.table, ConsistentRead=True, KeyConditionExpression="file_name = :name",
            ExpressionAttributeValues={":name": {"S": file_name}})
        return [_plain(item) for item in answer["Items"]]

    def all_records(self) -> list[dict]:
        """Every record of every file."""
        pages = self.aws.client("dynamodb").get_paginator("scan").paginate(TableName=self.table, ConsistentRead=True)
        return [_plain(item) for page in pages for item in page["Items"]]

    def wait(self, file_name: str, *, records: int = 1, seconds: float = WAIT_SECONDS) -> list[dict]:
        """Wait until the file has this many records, all at an end. Raises EtlTimeout."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.records(file_name)
            if len(found) >= records and all(record["status"] in ENDED for record in found):
                return found
            if time.monotonic() > deadline:
                raise EtlTimeout(f"{file_name}: not at an end after {seconds} s; its records are {found}")
            time.sleep(POLL_SECONDS)

    # --- executions ---

    def executions(self, status: str | None = None) -> list[dict]:
        """Executions of the machine, as ListExecutions tells them."""
        pages = self.aws.client("stepfunctions").get_paginator("list_executions").paginate(
            stateMachineArn=self.machine_arn, **({"statusFilter": status} if status else {}))
        return [each for page in pages for each in page["executions"]]

    def wait_until_idle(self, seconds: float = WAIT_SECONDS) -> None:
        """Wait until no execution runs. Raises EtlTimeout."""
        deadline = time.monotonic() + seconds
        while running := self.executions("RUNNING"):
            if time.monotonic() > deadline:
                raise EtlTimeout(f"still running after {seconds} s: {[each['name'] for each in running]}")
            time.sleep(POLL_SECONDS)

    def execution(self, arn: str) -> Execution:
        """What happened in one execution, state by state."""
        states = self.aws.client("stepfunctions")
        told = states.describe_execution(executionArn=arn)
        pages = states.get_paginator("get_execution_history").paginate(executionArn=arn)
        runs, entered, failed = [], None, False
        for event in (event for page in pages for event in page["events"]):
            kind = event["type"]
            if kind.endswith("StateEntered"):
                entered, failed = event, False
            elif kind.endswith(("TaskFailed", "TaskTimedOut", "LambdaFunctionFailed")):
                failed = True
            elif (kind.endswith("StateExited") or kind.startswith("Execution")) and entered:
                runs.append(StateRun(
                    entered["stateEnteredEventDetails"]["name"], entered["type"].removesuffix("StateEntered"),
                    entered["timestamp"], (event["timestamp"] - entered["timestamp"]).total_seconds(), failed))
                entered = None
        stopped = told.get("stopDate") or datetime.now(told["startDate"].tzinfo)
        return Execution(arn, told["status"], told["startDate"], (stopped - told["startDate"]).total_seconds(), tuple(runs),
                         told.get("error"))


class Inbox:
    """A queue subscribed to a topic: what the topic announces, seen as a subscriber sees it."""

    def __init__(self, aws: Emulator, topic_arn: str):
        self._sqs = aws.client("sqs")
        self._url = self._sqs.create_queue(QueueName=f"inbox-{uuid.uuid4()}")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}}}]}
        self._sqs.set_queue_attributes(QueueUrl=self._url, Attributes={"Policy": json.dumps(policy)})
        self._sns = aws.client("sns")
        self._subscription = self._sns.subscribe(
            TopicArn=topic_arn, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True)["SubscriptionArn"]
        self._messages: list[dict] = []

    def messages(self, *containing: str) -> list[dict]:
        """Every notice so far, `{"Subject", "Message"}`, whose subject or body holds all these words."""
        while received := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for message in received:
                self._messages.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return [notice for notice in self._messages
                if all(word in f"{notice.get('Subject')}\n{notice['Message']}" for word in containing)]

    def close(self) -> None:
        """Unsubscribe and remove the queue."""
        self._sns.unsubscribe(SubscriptionArn=self._subscription)
        self._sqs.delete_queue(QueueUrl=self._url)


def _plain(item: Mapping) -> dict:
    """A DynamoDB item as plain values; its numbers are whole."""
    decoded = {name: TypeDeserializer().deserialize(value) for name, value in item.items()}
    return {name: value if isinstance(value, str) else int(value) for name, value in decoded.items()}
