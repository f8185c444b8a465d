"""Events, and a small model of EventBridge's pattern matching (EventBridge user guide, "Event patterns"), which is Lambda's
for the records of streams as well (Lambda developer guide, "Control which events Lambda sends to your function")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.synth.reading import Synthesised


def pattern(stack: Synthesised, rule: str) -> dict[str, Any]:
    """The pattern of the rule of the construct at this path."""
    return json.loads(stack.readable(stack.one("aws_cloudwatch_event_rule", rule)["event_pattern"]))


def matches(wanted: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether the event has every field of the pattern, with one of the values that stand there. Fields that the pattern does
    not name count for nothing; values are compared character by character, capitals and small letters apart."""
    return all(_field(values, event.get(name)) for name, values in wanted.items())


def _field(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, Mapping):
        return matches(wanted, found if isinstance(found, Mapping) else {})
    assert isinstance(wanted, list) and wanted, f"a leaf of a pattern is an array of values, not {wanted!r}"
    candidates = found if isinstance(found, list) else [found]
    return any(_value(each, candidate) for each in wanted for candidate in candidates)


def _value(wanted: Any, found: Any) -> bool:
    match wanted:
        case str() | int() | None:
            return type(wanted) is type(found) and wanted == found
        case {"prefix": str(start)} if len(wanted) == 1:
            return isinstance(found, str) and found.startswith(start)
        case {"suffix": str(end)} if len(wanted) == 1:
            return isinstance(found, str) and found.endswith(end)
    raise AssertionError(f"the test cannot match {wanted!r}")


def object_event(key: str, *, bucket: str = "iac-rlhf-aws-release", kind: str = "Object Created") -> dict[str, Any]:
    """An event of S3 as it comes from the default event bus (S3 user guide, "EventBridge event message structure")."""
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": kind,
        "source": "aws.s3",
        "account": "111122223333",
        "time": "2026-01-31T23:59:59Z",
        "region": "us-east-1",
        "resources": [f"arn:aws:s3:::{bucket}"],
        "detail": {
            "version": "0",
            "bucket": {"name": bucket},
            "object": {
                "key": key,
                "size": 5,
                "etag": "b1946ac92492d2347c6235b4d2611184",
                "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
                "sequencer": "00617F08299329D189",
            },
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "123456789012",
            "source-ip-address": "1.2.3.4",
            "reason": "PutObject",
        },
    }


def status_event(machine_arn: str, status: str, **detail: Any) -> dict[str, Any]:
    """A change of an execution's status as Step Functions sends it (Step Functions developer guide, "Automating … with
    EventBridge"): what has no value yet is null."""
    name = machine_arn.rsplit(":", 1)[1]
    return {
        "source": "aws.states",
        "detail-type": "Step Functions Execution Status Change",
        "detail": {
            "executionArn": f"{machine_arn.replace(':stateMachine:', ':execution:')}:{name}-1",
            "stateMachineArn": machine_arn,
            "name": f"{name}-1",
            "status": status,
            "startDate": 1769903999000,
            "stopDate": None if status in ("RUNNING", "PENDING_REDRIVE") else 1769904000123,
            "input": "{}",
            "output": None,
            "inputDetails": {"included": True},
            "outputDetails": None,
            "error": None,
            "cause": None,
            **detail,
        },
    }


def stream_record(kind: str, old: Mapping[str, str] | None = None, new: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A record of a table's stream as Lambda gets it (Lambda developer guide, "Using Lambda with DynamoDB"); ``kind`` is
    INSERT, MODIFY or REMOVE. Images of strings; without one where there is none."""
    images = {"OldImage": old, "NewImage": new}
    return {
        "eventID": "c4ca4238a0b923820dcc509a6f75849b",
        "eventName": kind,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "Keys": {"recordId": {"S": "a"}, "timestamp": {"S": "2026-01-31T23:59:59Z"}},
            **{name: {field: {"S": value} for field, value in image.items()} for name, image in images.items() if image},
            "SequenceNumber": "4421584500000000017450439091",
            "SizeBytes": 26,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:111122223333:table/t/stream/2026-01-31T00:00:00.000",
    }
