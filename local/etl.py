"""What a user does with a deployed ETL pipeline: upload, wait, look.

    etl = Etl(aws, deployment.outputs["tap"])
    etl.upload("orders/may.csv", b"transaction_id,…")
    [record] = etl.wait("orders/may.csv")          # {"status": "SUCCEEDED", "rows_read": 3, …}
"""

from __future__ import annotations

import json
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
