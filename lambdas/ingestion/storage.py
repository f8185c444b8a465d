"""S3: reading one version of a file, block by block."""

from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from ..common import aws
from .table import Source

BLOCK_BYTES = 1 << 20


class Gone(Exception):
    """The version was deleted."""


def size(s3: Any, source: Source) -> int:
    """Bytes of the version. Raises Gone."""
    return _of_version(s3.head_object, Bucket=source.bucket, Key=source.key, VersionId=source.version_id)["ContentLength"]


def blocks(s3: Any, source: Source, size: int, check: Callable[[], None]) -> Callable[[int], Iterator[bytes]]:
    """What ``reading.records`` takes. Raises Gone, and what ``check`` raises, which is called before each block."""

    def read(start: int, end: int) -> bytes:
        return _of_version(aws.read_version, s3, *source, start, end)

    return lambda start: aws.read_ahead(read, start, size, BLOCK_BYTES, check)


def _of_version(operation: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    try:
        return operation(*arguments, **named)
    except ClientError as error:
        if aws.error_code(error) in aws.VERSION_GONE:
            raise Gone("the version was deleted before it could be read") from None
        raise
