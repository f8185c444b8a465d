"""The table and a bucket in memory, with what goes wrong between two calls, and how the functions are called in tests."""

import io
import threading
from types import SimpleNamespace
from urllib.parse import quote_plus

from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from lambdas.ingestion import contract, processor

BUCKET, TABLE, EAST, WEST = "ingestion", "processed", "us-east-1", "us-west-2"
ENVIRONMENT = {
    contract.ENV_TABLE_NAME: TABLE,
    contract.ENV_REGION: EAST,
    contract.ENV_OTHER_REGION: WEST,
    contract.ENV_METRICS_NAMESPACE: "Ingestion",
}
AGES = 300_000


def context(milliseconds=AGES):
    left = milliseconds if callable(milliseconds) else lambda: milliseconds
    return SimpleNamespace(function_name="processor", aws_request_id="request-1", get_remaining_time_in_millis=left)


def client_error(code, status=400, **response):
    answer = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}, **response}
    return ClientError(answer, "Operation")


class Fake:
    """Each call is named in ``calls``; ``before`` and ``after`` are called with its number, counted from 1. What they raise is
    raised: after the act, it is a lost answer. They may call again."""

    def __init__(self):
        self.calls: list[str] = []
        self.before = self.after = lambda number: None
        self.lock = threading.Lock()

    def __getattr__(self, operation):
        act = getattr(type(self), f"_{operation}", None)
        if act is None:
            raise AttributeError(operation)

        def call(**arguments):
            with self.lock:
                self.calls.append(operation)
                number = len(self.calls)
            self.before(number)
            with self.lock:
                answer = act(self, **arguments)
            self.after(number)
            return answer

        return call


class FakeDynamoDb(Fake):
    tells_old = True
    """Whether a failed condition shows the item in the way."""

    def __init__(self):
        super().__init__()
        self.items: dict[tuple[str, str], dict] = {}

    def texts(self, *statuses):
        """The items with one of these statuses, as texts, without when they were written; by key."""
        return {
            key: {name: value.get("S", value.get("N")) for name, value in item.items() if name != contract.PROCESSED_AT}
            for key, item in self.items.items()
            if item[contract.STATUS]["S"] in statuses
        }

    def records(self):
        return self.texts(contract.VALID, contract.INVALID)

    def _put_item(
        self, TableName, Item, ConditionExpression=None, ExpressionAttributeNames=None, ExpressionAttributeValues=None,
        ReturnValuesOnConditionCheckFailure="NONE",
    ):  # fmt: skip
        assert TableName == TABLE
        assert sum(len(name.encode()) + len(next(iter(value.values())).encode()) for name, value in Item.items()) < 409_600
        key = Item[contract.RECORD_ID]["S"], Item[contract.TIMESTAMP]["S"]
        assert len(key[0].encode()) <= 2048 and len(key[1].encode()) <= 1024
        old = self.items.get(key)
        if ConditionExpression == "attribute_not_exists(recordId)":
            holds = old is None
        elif ConditionExpression == "#offset = :offset AND #done = :no":
            names, values = ExpressionAttributeNames, ExpressionAttributeValues
            pairs = [("#offset", ":offset"), ("#done", ":no")]
            holds = old and all(old[names[name]] == values[value] for name, value in pairs)
        else:
            assert ConditionExpression is None
            holds = True
        if not holds:
            shown = {"Item": old} if old and self.tells_old and ReturnValuesOnConditionCheckFailure == "ALL_OLD" else {}
            raise client_error("ConditionalCheckFailedException", **shown)
        self.items[key] = Item

    def _get_item(self, TableName, Key, ConsistentRead):
        assert TableName == TABLE and ConsistentRead
        item = self.items.get((Key[contract.RECORD_ID]["S"], Key[contract.TIMESTAMP]["S"]))
        return {"Item": item} if item else {}


class FakeS3(Fake):
    def __init__(self):
        super().__init__()
        self.versions: dict[tuple[str, str], bytes] = {}
        self.served = 0  # bytes

    def add(self, key, body):
        """→ the version's id."""
        version = f"v{len(self.versions) + 1}"
        self.versions[key, version] = body
        return version

    def _body(self, Bucket, Key, VersionId):
        assert Bucket == BUCKET
        if (Key, VersionId) not in self.versions:
            raise client_error("NoSuchVersion", 404)
        return self.versions[Key, VersionId]

    def _head_object(self, **version):
        return {"ContentLength": len(self._body(**version))}

    def _get_object(self, Range, **version):
        body = self._body(**version)
        start, end = (int(number) for number in Range.removeprefix("bytes=").split("-"))
        assert start <= end
        if start >= len(body):
            raise client_error("InvalidRange", 416)
        part = body[start : end + 1]
        self.served += len(part)
        return {"Body": StreamingBody(io.BytesIO(part), len(part))}


def event(*uploads):
    """An S3 event about (key, version) pairs."""
    return {
        "Records": [
            {"s3": {"bucket": {"name": BUCKET}, "object": {"key": quote_plus(key), "versionId": version}}}
            for key, version in uploads
        ]
    }


def ingest(key, version, milliseconds=AGES):
    """→ the file's counts and so on, as the handler gives them."""
    (file,) = processor.handler(event((key, version)), context(milliseconds))["files"]
    return file


def counts(file):
    return [file[name] for name in contract.COUNTS]


def emitted(lines):
    """(Name, dimensions but the service) → the values of each metric in a log."""
    found = {}
    for line in lines:
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", ()):
            assert directive["Namespace"] == "Ingestion" and line["service"] == contract.METRICS_SERVICE
            (dimensions,) = directive["Dimensions"]
            for metric in directive["Metrics"]:
                name = metric["Name"], *(line[name] for name in dimensions if name != "service")
                found.setdefault(name, []).extend(line[metric["Name"]])
    return found
