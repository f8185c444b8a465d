"""What a user does with a deployed ETL pipeline: upload, wait, look.

    etl = Etl(aws, deployment.outputs["tap"])
    etl.upload("orders/may.csv", b"transaction_id,…")
    [record] = etl.wait("orders/may.csv")          # {"status": "SUCCEEDED", "rows_read": 3, …}
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping

from local.emulator import Emulator
from local.executions import WAIT_SECONDS, Pipeline, items, plain, wait_for

ENDED = ("SUCCEEDED", "INVALID", "FAILED")


class Etl(Pipeline):
    """A deployed ETL pipeline, through its outputs (E13) and nothing else."""

    def __init__(self, aws: Emulator, outputs: Mapping[str, str]):
        super().__init__(aws, outputs["etl_state_machine_arn"])
        self.bucket = outputs["etl_bucket_name"]
        self.table = outputs["etl_metadata_table_name"]
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
        return [plain(item) for item in answer["Items"]]

    def all_records(self) -> list[dict]:
        """Every record of every file."""
        return items(self.aws, self.table)

    def wait(self, file_name: str, *, records: int = 1, seconds: float = WAIT_SECONDS) -> list[dict]:
        """Wait until the file has this many records, all at an end. Raises PipelineTimeout."""
        def ended() -> list[dict] | None:
            found = self.records(file_name)
            return found if len(found) >= records and all(record["status"] in ENDED for record in found) else None

        return wait_for(ended, seconds, lambda: f"{file_name} is not at an end; its records are {self.records(file_name)}")


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
