"""What a user does with a deployed regional ingestion: upload a file in a region, wait until it is done, look into the table.

    ingestion = Ingestion(aws, deployment.outputs["ingestion"])
    file = ingestion.upload("us-east-1", "orders.json", b'{"recordId": "1", "timestamp": "2026-01-31"}')
    ingestion.wait([file])[file]["recordsStored"]     # 1
    ingestion.records("us-west-2")                    # there too, once replication has carried them over
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple
from urllib.parse import quote_plus

from lambdas.ingestion import contract
from local.emulator import Emulator
from local.executions import POLL_SECONDS, WAIT_SECONDS, PipelineTimeout, items, plain
from settings import INGESTION_REGIONS as REGIONS

RECORDS = (contract.VALID, contract.INVALID)
"""Statuses of what is a record; the table holds checkpoints and heartbeats too."""


class File(NamedTuple):
    """One version of an uploaded file."""

    region: str
    key: str
    version: str


class Ingestion:
    """A deployed ingestion, through its outputs (R9) and nothing else."""

    def __init__(self, aws: Emulator, outputs: Mapping[str, str]):
        self.aws = aws
        self._outputs = outputs
        self.table = self.output("table_name", REGIONS[0])

    def output(self, name: str, region: str) -> str:
        """An output of a region: `output("bucket_name", "us-west-2")`."""
        return self._outputs[f"ingestion_{name}_{region.replace('-', '_')}"]

    def client(self, service: str, region: str):
        """A client of the emulator's root in a region."""
        return self.aws.client(service, region)

    # --- files ---

    def upload(self, region: str, key: str, body: bytes) -> File:
        """Put an object into a region's bucket."""
        bucket = self.output("bucket_name", region)
        return File(region, key, self.client("s3", region).put_object(Bucket=bucket, Key=key, Body=body)["VersionId"])

    def event(self, *files: File) -> dict:
        """What S3 tells the processor of these files, which are of one region."""
        return {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "awsRegion": file.region, "s3": {
            "bucket": {"name": self.output("bucket_name", file.region)},
            "object": {"key": encoded(file.key), "versionId": file.version}}} for file in files]}

    def checkpoint(self, file: File, region: str | None = None) -> dict | None:
        """How far a file is stored, as a region knows it (default: the file's own); None if nothing is known of it."""
        key = {contract.RECORD_ID: {"S": checkpoint_id(self.output("bucket_name", file.region), file.key, file.version)},
               contract.TIMESTAMP: {"S": contract.NO_TIMESTAMP}}
        answer = self.client("dynamodb", region or file.region).get_item(TableName=self.table, Key=key, ConsistentRead=True)
        return plain(answer["Item"]) if "Item" in answer else None

    def wait(self, files: Iterable[File], *, seconds: float = WAIT_SECONDS) -> dict[File, dict]:
        """The checkpoint of each file, once all are done. Raises PipelineTimeout."""
        found: dict[File, dict] = {}
        if lost := self.follow(files, found.__setitem__, seconds):
            reached = {f"{file.region} {file.key}": self.checkpoint(file) for file in sorted(lost)}
            raise PipelineTimeout(f"after {seconds} s not done; their checkpoints: {reached}")
        return found

    def follow(self, files: Iterable[File], ended: Callable[[File, dict], None], seconds: float) -> set[File]:
        """Tell `ended` of each file as soon as it is done, with its checkpoint; which ones never were."""
        waiting, deadline = set(files), time.monotonic() + seconds
        while True:
            for file in sorted(waiting):
                checkpoint = self.checkpoint(file)
                if checkpoint and checkpoint[contract.DONE] == "true":
                    waiting.remove(file)
                    ended(file, checkpoint)
            if not waiting or time.monotonic() > deadline:
                return waiting
            time.sleep(POLL_SECONDS)

    # --- the table ---

    def items(self, region: str) -> list[dict]:
        """Every item, as a region has them."""
        return items(self.aws, self.table, region)

    def records(self, region: str) -> list[dict]:
        """Every record, as a region has them."""
        return [item for item in self.items(region) if item[contract.STATUS] in RECORDS]

    # --- the stream ---

    def consumer(self, region: str) -> str:
        """Name of the function that follows the table's stream in a region."""
        mappings = self.client("lambda", region).list_event_source_mappings(
            EventSourceArn=self.output("stream_arn", region))["EventSourceMappings"]
        return mappings[0]["FunctionArn"].rpartition(":")[2]

    def followed(self, region: str) -> Counter[str]:
        """How many records a region's consumer has counted, by status: the sums of its metric, which stands in its log."""
        counts: Counter[str] = Counter()
        pages = self.client("logs", region).get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{self.consumer(region)}", filterPattern='"_aws"')
        for line in (event["message"] for page in pages for event in page["events"]):
            metrics = _metrics_in(line)
            if contract.METRIC_RECORDS in metrics:
                counts[metrics["status"]] += int(sum(metrics[contract.METRIC_RECORDS]))
        return counts


def records_of(file: File, records: Iterable[Mapping]) -> list[Mapping]:
    """Those of the records that this very file has brought."""
    return [each for each in records if (each[contract.SOURCE_KEY], each[contract.SOURCE_VERSION]) == (file.key, file.version)]


def checkpoint_id(bucket: str, key: str, version: str) -> str:
    """The record id of a file's checkpoint (R3b)."""
    return contract.CHECKPOINT_PREFIX + hashlib.sha256(f"{bucket}\n{key}\n{version}".encode()).hexdigest()


def encoded(key: str) -> str:
    """A key as S3 writes it into its notifications: form-encoded."""
    return quote_plus(key, safe="/")


def _metrics_in(line: str) -> dict:
    """The object of a line in CloudWatch's embedded metric format; nothing if it is another line."""
    if not line.startswith("{"):
        return {}
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) and "_aws" in told else {}
