"""S3: reading one version of a file, block by block."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

from ..common import aws
from .table import Source

BLOCK_BYTES = 1 << 20
_ATTEMPTS = 4
_GONE = aws.MISSING | {"NoSuchVersion", "MethodNotAllowed", "405"}  # 405: the version is a delete marker


class Gone(Exception):
    """The version was deleted."""


def size(s3: Any, source: Source) -> int:
    """Bytes of the version. Raises Gone."""
    return _of_version(s3.head_object, source)["ContentLength"]


def blocks(s3: Any, source: Source, size: int, check: Callable[[], None]) -> Callable[[int], Iterator[bytes]]:
    """What ``reading.records`` takes. Raises Gone, and what ``check`` raises, which is called before each block."""

    def from_(start: int) -> Iterator[bytes]:
        """The next block is on its way while the last one is worked on."""
        with ThreadPoolExecutor(1) as ahead:
            coming = None
            for position in range(start, size + BLOCK_BYTES, BLOCK_BYTES):
                check()
                arrived = coming and coming.result()
                end = min(position + BLOCK_BYTES, size)
                coming = ahead.submit(_read, s3, source, position, end) if position < end else None
                if arrived:
                    yield arrived

    return from_


def _read(s3: Any, source: Source, start: int, end: int) -> bytes:
    for attempts_left in reversed(range(_ATTEMPTS)):
        answer = _of_version(s3.get_object, source, Range=f"bytes={start}-{end - 1}")
        try:
            return answer["Body"].read()
        except (HTTPClientError, IncompleteReadError):  # the answer broke off; botocore retries requests, not their bodies
            if not attempts_left:
                raise
    raise AssertionError("unreachable")


def _of_version(operation: Callable[..., Any], source: Source, **arguments: Any) -> Any:
    try:
        return operation(Bucket=source.bucket, Key=source.key, VersionId=source.version_id, **arguments)
    except ClientError as error:
        if aws.error_code(error) in _GONE:
            raise Gone("the version was deleted before it could be read") from None
        raise
