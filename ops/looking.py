"""What several commands look up in the systems, within bounds: objects, records, failures. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from lambdas.etl import contract as etl
from lambdas.pets import contract as pets
from lambdas.pets.uploads import Upload
from ops.regions import OpsError
from ops.systems import System

PAGES = 20
"""Of a scan: each reads at most 1 MiB of the table."""

_DESERIALIZER = TypeDeserializer()


@dataclass(frozen=True)
class Version:
    """The current version of an object."""

    key: str
    version_id: str
    size: int  # bytes
    modified: datetime


@dataclass
class Cut:
    """Whether a listing was ended before its end."""

    at: int = 0  # after so many; 0: it was not

    @property
    def note(self) -> str:
        return f" (looked at the first {self.at} only)" if self.at else ""


def current(system: System, key: str) -> Version | None:
    """The version that a key has now; None if it has none, be it hidden by a delete marker."""
    # Versions of one key come newest first, and a key comes before all that it begins (S3 API, "ListObjectVersions").
    page = system.ask("s3", "list_object_versions", Bucket=system.bucket, Prefix=key, MaxKeys=1)
    found = [each for each in page.get("Versions", []) if each["Key"] == key and each["IsLatest"]]
    return Version(key, found[0]["VersionId"], found[0]["Size"], found[0]["LastModified"]) if found else None


def newest_version(system: System, key: str) -> str:
    """Id of the newest version of a key, also if a delete marker hides it. Raises OpsError if there is none."""
    page = system.ask("s3", "list_object_versions", Bucket=system.bucket, Prefix=key, MaxKeys=10)
    found = [each["VersionId"] for each in page.get("Versions", []) if each["Key"] == key]
    if not found:
        raise OpsError(f"s3://{system.bucket}/{key} has no version.\nRemedy: repeat the command.")
    return found[0]


def objects(system: System, prefix: str, limit: int, cut: Cut) -> Iterator[dict[str, Any]]:
    """Current objects below a prefix, folder markers left out, at most ``limit``; ``cut`` is told if there are more."""
    seen, start = 0, {}
    while True:
        page = system.ask("s3", "list_objects_v2", Bucket=system.bucket, Prefix=prefix, **start)
        for each in page.get("Contents", []):
            if seen >= limit:
                cut.at = limit
                return
            seen += 1
            if not (each["Key"].endswith("/") and not each["Size"]):
                yield each
        if not page.get("IsTruncated"):
            return
        start = {"ContinuationToken": page["NextContinuationToken"]}


def query(system: System, limit: int, **arguments: Any) -> tuple[list[dict[str, Any]], bool]:
    """At most ``limit`` items of the system's table as plain values, and whether there are more."""
    return _items(system, "query", limit, arguments)


def scan(system: System, limit: int, **arguments: Any) -> tuple[list[dict[str, Any]], bool]:
    """The same, of the whole table; gives up after PAGES."""
    return _items(system, "scan", limit, arguments)


def _items(system: System, how: str, limit: int, arguments: Mapping[str, Any]) -> tuple[list[dict[str, Any]], bool]:
    found: list[dict[str, Any]] = []
    start: dict[str, Any] = {}
    for _ in range(PAGES):
        arguments = {"TableName": system.table, **arguments, **start}
        # Both written out, so that a test finds the permissions they take.
        page = system.ask("dynamodb", "query", **arguments) if how == "query" else system.ask("dynamodb", "scan", **arguments)
        found += map(plain_item, page["Items"])
        if "LastEvaluatedKey" not in page:
            return found[:limit], len(found) > limit
        if len(found) >= limit:
            break
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
    return found[:limit], True


def plain_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _DESERIALIZER.deserialize(value) for name, value in item.items()}


def records(system: System, file_name: str, limit: int = 20) -> list[dict[str, Any]]:
    """Of an ETL file, newest first."""
    found, _ = query(
        system, limit, KeyConditionExpression="file_name = :f", ExpressionAttributeValues={":f": {"S": file_name}},
        ScanIndexForward=False, ConsistentRead=True, Limit=limit)
    return found


def is_newest(system: System, record: Mapping[str, Any]) -> bool:
    """Whether no later upload of that file has a record."""
    return records(system, record["file_name"], 1)[0]["process_start_time"] == record["process_start_time"]


def of_status(system: System, status: str, limit: int, *, since: str = "", oldest_first: bool = False) -> tuple[list, bool]:
    """Keys, version and execution of ETL records of a status that began at ``since`` or later."""
    condition, values = "#s = :s", {":s": {"S": status}}
    if since:
        condition, values = f"{condition} AND process_start_time >= :t", {**values, ":t": {"S": since}}
    return query(
        system, limit, IndexName=etl.STATUS_INDEX, KeyConditionExpression=condition, ExpressionAttributeNames={"#s": "status"},
        ExpressionAttributeValues=values, ScanIndexForward=oldest_first, Limit=limit)


def image_records(system: System, limit: int) -> tuple[list[dict[str, Any]], bool]:
    """Of the pet detector, those that are under way or failed."""
    return scan(system, limit, FilterExpression=f"{pets.STATUS} IN (:p, :f)",
                ExpressionAttributeValues={":p": {"S": pets.PROCESSING}, ":f": {"S": pets.FAILED}})


def image_record(system: System, key: str, version_id: str) -> dict[str, Any] | None:
    """The record of an uploaded version, under the id that it was promised or the one that follows from it."""
    upload = Upload(system.bucket, key, version_id)
    for image_id in (each for each in (upload.promised_id, upload.derived_id) if each):
        item = system.ask("dynamodb", "get_item", TableName=system.table, Key={pets.IMAGE_ID: {"S": image_id}}).get("Item")
        if item and item[pets.SOURCE_VERSION]["S"] == version_id:
            return plain_item(item)
    return None


def execution(system: System, arn: str) -> dict[str, Any] | None:
    """What Step Functions tells of an execution; None once it has forgotten it, after 90 days."""
    return system.find("stepfunctions", "describe_execution", executionArn=arn)


def waiting(system: System, queue: str) -> int | None:
    """About how many messages a queue holds, those included that somebody has received; None if there is no such queue."""
    answer = system.find("sqs", "get_queue_url", QueueName=queue)
    if answer is None:
        return None
    attributes = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    found = system.ask("sqs", "get_queue_attributes", QueueUrl=answer["QueueUrl"], AttributeNames=list(attributes))
    return sum(int(found.get("Attributes", {}).get(each, 0)) for each in attributes)


def not_before(texts: Mapping[str, Any], name: str, since: datetime) -> bool:
    """Whether an item's ISO 8601 time is not before ``since``; true if it has none that can be read."""
    try:
        return datetime.fromisoformat(str(texts[name]).replace("Z", "+00:00")) >= since
    except (KeyError, ValueError):
        return True
