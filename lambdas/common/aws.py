"""Calls to AWS that functions of several systems make."""

import functools
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

MISSING = {"404", "NoSuchKey", "NotFound"}
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
