"""The deployed ingestion, and the files of records that its tests send."""

import json
import uuid

import pytest

from lambdas.ingestion import contract
from local.ingestion import records_of


@pytest.fixture
def name():
    """What no other test uses, for keys and record ids."""
    return f"test-{uuid.uuid4().hex[:12]}"


def record(record_id: str, **more) -> dict:
    """A valid one."""
    return {"recordId": record_id, "timestamp": "2026-03-01T00:00:00Z"} | more


def lines(records) -> bytes:
    """A file of JSON Lines."""
    return b"".join(json.dumps(each).encode() + b"\n" for each in records)


def numbered(prefix: str, count: int, start: int = 0) -> list[dict]:
    """Valid records, numbered."""
    return [record(f"{prefix}-{number}", value=number) for number in range(start, start + count)]


def numbers_of(file, ingestion) -> list[int]:
    """The numbers of a file's records, as `numbered` made them, in the order of the file."""
    own = sorted(records_of(file, ingestion.records(file.region)), key=lambda item: item[contract.SOURCE_OFFSET])
    return [json.loads(item[contract.DATA])["value"] for item in own]


def logged(ingestion, region, group, pattern) -> list[str]:
    """The lines of a log group that fit a pattern of CloudWatch's."""
    pages = ingestion.client("logs", region).get_paginator("filter_log_events").paginate(
        logGroupName=group, filterPattern=pattern)
    return [event["message"].strip() for page in pages for event in page["events"]]
