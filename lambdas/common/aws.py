"""Calls to AWS that functions of several systems make."""

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

MISSING = {"404", "NoSuchKey", "NotFound"}
VERSION_GONE = MISSING | {"NoSuchVersion", "MethodNotAllowed", "405"}  # 405: the version is a delete marker
_READ_ATTEMPTS = 4
CONDITION_FAILED = {"PreconditionFailed", "412"} | MISSING  # If-Match on an object that is gone is a 404


@functools.cache
def client(service: str, attempts: int = 5, read_seconds: int = 60) -> Any:
    """A client for AWS calls from a function: a few retries, and no wait that outlives them."""
    config = Config(
        connect_timeout=5, read_timeout=read_seconds, retries={"mode": "standard", "total_max_attempts": attempts}
    )
    return boto3.client(service, config=config)


def error_code(error: ClientError) -> str:
    return error.response["Error"]["Code"]


def head(s3: Any, bucket: str, key: str) -> dict[str, Any] | None:
    """The current object, or None if there is none (or a delete marker)."""
    try:
        return s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error_code(error) in MISSING:
            return None
        raise


def read_version(s3: Any, bucket: str, key: str, version_id: str, start: int, end: int) -> bytes:
    """Bytes ``start`` to ``end`` (exclusive) of a version, at least one."""
    for attempts_left in reversed(range(_READ_ATTEMPTS)):
        answer = s3.get_object(Bucket=bucket, Key=key, VersionId=version_id, Range=f"bytes={start}-{end - 1}")
        try:
            return answer["Body"].read()
        except (HTTPClientError, IncompleteReadError):  # the answer broke off; botocore retries requests, not their bodies
            if not attempts_left:
                raise
    raise AssertionError("unreachable")


def read_ahead(
    read: Callable[[int, int], bytes], start: int, end: int, block_bytes: int, check: Callable[[], object] = lambda: None
) -> Iterator[bytes]:
    """What ``read`` gives from ``start`` to ``end``, in blocks, the next one on its way while the last one is worked on.
    ``check`` is called before each, and may raise."""
    with ThreadPoolExecutor(1) as ahead:
        coming = None
        for position in range(start, end + block_bytes, block_bytes):
            check()
            arrived = coming and coming.result()
            coming = ahead.submit(read, position, min(position + block_bytes, end)) if position < end else None
            if arrived:
                yield arrived


def remove_if_current(s3: Any, bucket: str, key: str, version_id: str) -> bool:
    """Hide an object unless somebody has uploaded a newer version, or it is gone already.

    Leaves a delete marker. Deleting by version id would be for good; deleting without a condition could hide a newer
    upload that arrives between the look and the deletion.
    """
    current = head(s3, bucket, key)
    if not current or current.get("VersionId") != version_id:
        return False
    try:
        s3.delete_object(Bucket=bucket, Key=key, IfMatch=current["ETag"])
    except ClientError as error:
        if error_code(error) in CONDITION_FAILED:
            return False
        raise
    return True
