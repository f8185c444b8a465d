"""What a region has not processed, versions of its objects without a checkpoint that is done, and how to send it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote_plus

from lambdas.ingestion import contract
from ops.regions import OpsError, Region

BATCH = 100
"""What BatchGetItem takes."""


@dataclass(frozen=True)
class Upload:
    """A version of an object, and how far the region got with it."""

    bucket: str
    key: str
    version_id: str
    size: int  # bytes
    uploaded: datetime
    etag: str = ""
    offset: int | None = None  # bytes whose records are stored; None: there is no checkpoint
    done: bool = False  # stored to its end, or found unreadable
    failure: str = ""  # why it cannot be read

    @property
    def checkpoint(self) -> str:
        """``recordId`` of its checkpoint."""
        name = f"{self.bucket}\n{self.key}\n{self.version_id}"
        return contract.CHECKPOINT_PREFIX + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def progress(self) -> str:
        if self.failure:
            return f"cannot be read: {self.failure}"
        return "not begun" if self.offset is None else f"{self.offset} of {self.size} bytes"


def unfinished(region: Region, since: datetime | None = None, told: Callable[[int], None] = lambda count: None) -> list[Upload]:
    """Every version in the region's bucket that is not done, oldest first; ``told`` hears how many were looked at.

    The checkpoints are read in the region itself, whose processor writes them. ``since`` leaves out what was uploaded before.
    """
    found: list[Upload] = []
    looked = 0
    for page in pages(region):
        seen = [upload for upload in uploads(region, page) if since is None or upload.uploaded >= since]
        found += [upload for upload in examine(region, seen) if not upload.done]
        looked += len(seen)
        told(looked)
    return sorted(found, key=lambda upload: (upload.uploaded, upload.key))


def pages(region: Region, prefix: str = "") -> Iterator[list[dict[str, Any]]]:
    """Versions of objects, a thousand at a time; delete markers left out."""
    start: dict[str, str] = {"Prefix": prefix} if prefix else {}
    while True:
        page = region.ask("s3", "list_object_versions", Bucket=region.bucket, **start)
        yield page.get("Versions", [])
        if not page.get("IsTruncated"):
            return
        start |= {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page.get("NextVersionIdMarker", "")}


def uploads(region: Region, page: Sequence[Mapping[str, Any]]) -> list[Upload]:
    """Those of a page of versions that the processor is called for."""
    return [
        Upload(region.bucket, each["Key"], each["VersionId"], each["Size"], each["LastModified"], each.get("ETag", ""))
        for each in page
        if each["Key"].endswith(contract.SUFFIXES)
    ]


def examine(region: Region, seen: Sequence[Upload]) -> list[Upload]:
    """The same, as their checkpoints now say."""
    found = []
    for start in range(0, len(seen), BATCH):
        batch = seen[start : start + BATCH]
        items = _checkpoints(region, [upload.checkpoint for upload in batch])
        found += [_as_of(upload, items.get(upload.checkpoint)) for upload in batch]
    return found


def _as_of(upload: Upload, item: Mapping[str, Any] | None) -> Upload:
    if item is None:
        return upload
    return replace(
        upload,
        offset=int(item[contract.OFFSET]["N"]),
        done=item[contract.DONE]["S"] == "true",
        failure=item.get(contract.FAILURE, {}).get("S", ""),
    )


def _checkpoints(region: Region, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    table = region.names.table
    keys = [{contract.RECORD_ID: {"S": name}, contract.TIMESTAMP: {"S": contract.NO_TIMESTAMP}} for name in names]
    found: dict[str, dict[str, Any]] = {}
    wanted: dict[str, Any] = {table: {"Keys": keys, "ConsistentRead": True}}
    for _ in range(20):
        answer = region.ask("dynamodb", "batch_get_item", RequestItems=wanted)
        found |= {item[contract.RECORD_ID]["S"]: item for item in answer["Responses"].get(table, [])}
        wanted = answer.get("UnprocessedKeys", {})
        if not wanted:
            return found
    raise OpsError(f"{table} in {region.name} is throttled: it does not give all checkpoints.\nRemedy: repeat in a minute.")


def event(region: str, upload: Upload) -> dict[str, Any]:
    """What S3 would tell the processor about this very version ("Event message structure", Amazon S3 user guide)."""
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": region,
                "eventTime": upload.uploaded.isoformat().replace("+00:00", "Z"),
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": "python -m ops failover --resume",
                    "bucket": {"name": upload.bucket, "arn": f"arn:aws:s3:::{upload.bucket}"},
                    "object": {
                        "key": quote_plus(upload.key, safe="/", errors="surrogatepass"),
                        "size": upload.size,
                        "eTag": upload.etag.strip('"'),
                        "versionId": upload.version_id,
                    },
                },
            }
        ]
    }


def send_again(region: Region, upload: Upload) -> None:
    """Have the processor begin, or go on, with this version. It is queued: the checkpoint tells when it is done."""
    region.ask(
        "lambda",
        "invoke",
        FunctionName=region.names.processor,
        InvocationType="Event",
        Payload=json.dumps(event(region.name, upload)).encode(),
    )
