"""S3: reading an uploaded version, writing and publishing its output, taking it out of ``raw/``.

Every step can run twice, and may meet another execution of the same or of another version of the file (E4b to E4d).
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ..common import aws, log
from .files import File, is_newer

BLOCK_BYTES = 8 << 20
_PUBLISH_ATTEMPTS = 6

_CONFLICT = {"ConditionalRequestConflict", "409"}

_METADATA_VERSION = "source-version-id"
_METADATA_SEQUENCER = "source-sequencer"
_METADATA_EXECUTION = "execution-name"

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Withdrawn(Exception):
    """The execution this conversion ran for was given up, and its file set aside: nothing was published."""


class PublishConflict(Exception):
    """Other writers kept interfering with this publication. Nothing is broken: try again."""


def client(service: str) -> Any:
    return aws.client(service, attempts=10 if service == "stepfunctions" else 5)  # a burst of uploads is throttled when it starts


# --- the uploaded version --------------------------------------------------------------------------------------------


def read(s3: Any, file: File, start: int, end: int) -> bytes:
    """Bytes ``start`` to ``end`` (exclusive, cut to the file's size) of the uploaded version."""
    end = min(end, file.size)
    if start >= end:  # S3 answers 416 to an empty range
        return b""
    return aws.read_version(s3, file.bucket, file.key, file.version_id, start, end)


def blocks(s3: Any, file: File, start: int, end: int) -> Iterator[bytes]:
    """The same bytes in blocks, read ahead."""
    return aws.read_ahead(functools.partial(read, s3, file), start, end, BLOCK_BYTES)


def remove(s3: Any, file: File) -> bool:
    """Hide the file from ``raw/`` (E4d) unless somebody has uploaded a newer version, or it is gone already."""
    return aws.remove_if_current(s3, file.bucket, file.key, file.version_id)


def withdraw(s3: Any, file: File, execution_name: str) -> None:
    """Note, for a function that may still run for an execution that was given up, that it must not publish any more.

    Ending an execution (abort, time-out) does not end the function it has called.
    """
    s3.put_object(Bucket=file.bucket, Key=file.withdrawal_key(execution_name), Body=b"")


def _is_withdrawn(s3: Any, file: File, execution_name: str) -> bool:
    key = file.withdrawal_key(execution_name)
    return s3.list_objects_v2(Bucket=file.bucket, Prefix=key, MaxKeys=1)["KeyCount"] > 0


def set_aside(s3: Any, file: File) -> str | None:
    """Move the uploaded version to ``failed/`` (E3c); returns its key there, or None if it has to stay in ``raw/``."""
    from boto3.s3.transfer import TransferConfig  # noqa: PLC0415  only this rare path pays for it

    if file.failed_key is None:
        return None
    s3.copy(
        {"Bucket": file.bucket, "Key": file.key, "VersionId": file.version_id},
        file.bucket,
        file.failed_key,
        # Copying tags would need tagging rights.
        ExtraArgs={"TaggingDirective": "REPLACE"},
        # A managed copy does what CopyObject cannot: more than 5 GB.
        Config=TransferConfig(multipart_threshold=256 << 20, multipart_chunksize=256 << 20),
    )
    remove(s3, file)
    return file.failed_key


# --- writing ---------------------------------------------------------------------------------------------------------


class Upload:
    """A new object, written bit by bit with the memory of two parts: a multipart upload if it outgrows one part.

    Nothing is visible before ``complete``. As a context manager it discards what was not completed.
    """

    def __init__(self, s3: Any, bucket: str, key: str, attributes: Mapping[str, Any], *, abortable: bool):
        """``attributes`` of the object, as S3's parameters. ``abortable`` is whether the role may abort uploads here; otherwise
        the bucket's lifecycle rule does it (E1b)."""
        self.bucket, self.key = bucket, key
        self._s3 = s3
        self._attributes = attributes
        self._abortable = abortable
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._parts: list[Future] = []
        self._sender = ThreadPoolExecutor(1)
        self.is_multipart = False

    def __enter__(self) -> "Upload":
        return self

    def __exit__(self, *_: object) -> None:
        self._sender.shutdown(cancel_futures=True)
        if self._upload_id and self._abortable:
            _abort(self._s3, self.bucket, self.key, self._upload_id)

    def write(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) > BLOCK_BYTES:
            self._send_part(bytes(self._buffer[:BLOCK_BYTES]))
            del self._buffer[:BLOCK_BYTES]

    def complete(self, **condition: str) -> None:
        """Make the object visible, whole, if the condition (``IfMatch`` or ``IfNoneMatch``) holds. May be called again
        after a condition has failed."""
        if not self.is_multipart:
            self._s3.put_object(Bucket=self.bucket, Key=self.key, Body=bytes(self._buffer), **self._attributes, **condition)
            return
        if self._buffer:
            self._send_part(bytes(self._buffer))
            self._buffer.clear()
        parts = [{"PartNumber": number, **part.result()} for number, part in enumerate(self._parts, start=1)]
        self._s3.complete_multipart_upload(
            Bucket=self.bucket, Key=self.key, UploadId=self._upload_id, MultipartUpload={"Parts": parts}, **condition
        )
        self._upload_id = None

    def _send_part(self, data: bytes) -> None:
        if not self.is_multipart:
            answer = self._s3.create_multipart_upload(
                Bucket=self.bucket, Key=self.key, ChecksumAlgorithm="CRC32", **self._attributes
            )
            self._upload_id, self.is_multipart = answer["UploadId"], True
        if self._parts:
            self._parts[-1].result()  # one part on its way at a time: bounded memory, and an early failure
        self._parts.append(self._sender.submit(self._upload_part, len(self._parts) + 1, data))

    def _upload_part(self, number: int, data: bytes) -> dict[str, str]:
        return _upload_part(self._s3, self.bucket, self.key, self._upload_id, number, data)


class BegunUpload:
    """A multipart upload of a file's output that others fill: one part a range, numbered from 1 (E12)."""

    is_multipart = True

    def __init__(self, s3: Any, file: File, upload_id: str, parts: Sequence[Mapping[str, str]] = ()):
        """``parts`` are what ``put_part`` answered, in order; needed to complete it."""
        self.id = upload_id
        self._s3 = s3
        self._place = (file.bucket, file.processed_key)
        self._parts = parts

    @classmethod
    def begin(cls, s3: Any, file: File, execution_name: str) -> "BegunUpload":
        answer = s3.create_multipart_upload(
            Bucket=file.bucket, Key=file.processed_key, ChecksumAlgorithm="CRC32", **_output_attributes(file, execution_name)
        )
        return cls(s3, file, answer["UploadId"])

    def put_part(self, index: int, body: Any) -> dict[str, str]:
        """Send the part of the range with this index; doing it again replaces it."""
        return _upload_part(self._s3, *self._place, self.id, index + 1, body)

    def complete(self, **condition: str) -> None:
        bucket, key = self._place
        parts = [{"PartNumber": number, **part} for number, part in enumerate(self._parts, start=1)]
        self._s3.complete_multipart_upload(
            Bucket=bucket, Key=key, UploadId=self.id, MultipartUpload={"Parts": parts}, **condition
        )

    def abort(self) -> None:
        _abort(self._s3, *self._place, self.id)


def _upload_part(s3: Any, bucket: str, key: str, upload_id: str | None, number: int, body: Any) -> dict[str, str]:
    answer = s3.upload_part(
        Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=body, ChecksumAlgorithm="CRC32"
    )
    return {name: answer[name] for name in ("ETag", "ChecksumCRC32") if answer.get(name)}


def _abort(s3: Any, bucket: str, key: str, upload_id: str) -> None:
    try:
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
    except ClientError as error:
        # Gone already, or never to be: no reason to hide what happened before; the lifecycle rule cleans up.
        if aws.error_code(error) != "NoSuchUpload":
            log.warning("could not abort an upload", key=key, error=str(error))


def _output_attributes(file: File, execution_name: str) -> dict[str, Any]:
    """Its metadata says what an output was made from."""
    made_from = {_METADATA_VERSION: file.version_id, _METADATA_EXECUTION: execution_name}
    if file.sequencer:
        made_from[_METADATA_SEQUENCER] = file.sequencer
    return {"ContentType": "text/csv; charset=utf-8", "Metadata": made_from}


def output_upload(s3: Any, file: File, execution_name: str) -> Upload:
    """The upload of a file's output."""
    return Upload(s3, file.bucket, file.processed_key, _output_attributes(file, execution_name), abortable=True)


def rejects_upload(s3: Any, file: File, key: str) -> Upload:
    """The upload of one range's rejects."""
    return Upload(s3, file.bucket, key, {"ContentType": "application/x-ndjson"}, abortable=False)


# --- publishing ------------------------------------------------------------------------------------------------------


def publish(s3: Any, file: File, upload: Upload | BegunUpload, execution_name: str) -> str | None:
    """Make the output of this version visible, unless that of a newer one is (E4b, E4c).

    Returns None when the output of this version is in place, by this call or an earlier attempt; otherwise the id of the
    version that supersedes it. Raises Withdrawn, or PublishConflict after too many races.
    """
    for _ in range(_PUBLISH_ATTEMPTS):
        existing = aws.head(s3, file.bucket, file.processed_key)
        made_from = existing["Metadata"] if existing else {}
        if made_from.get(_METADATA_VERSION) == file.version_id:
            return None
        if existing and _METADATA_VERSION in made_from and _is_from_newer(s3, existing, file):
            return made_from[_METADATA_VERSION]
        if _is_withdrawn(s3, file, execution_name):
            raise Withdrawn(f"{file.key}, version {file.version_id}, was set aside while it was being converted")
        try:
            upload.complete(**({"IfMatch": existing["ETag"]} if existing else {"IfNoneMatch": "*"}))
            return None
        except ClientError as error:
            code = aws.error_code(error)
            if code in aws.CONDITION_FAILED or (code in _CONFLICT and not upload.is_multipart):
                continue  # somebody was faster, perhaps our own lost request: look again
            if _is_published(s3, file):
                return None
            if code in _CONFLICT | {"NoSuchUpload"}:  # S3: such an upload has to start again
                break
            raise
        except BotoCoreError:  # no answer; was it done?
            if _is_published(s3, file):
                return None
            raise
    raise PublishConflict(f"could not publish {file.processed_key}: other writers interfered; trying again will help")


def _is_from_newer(s3: Any, output: Mapping[str, Any], file: File) -> bool:
    """Whether an output was made from a newer upload than this file (E4c).

    The sequencers say it. An upload that the sweep found has none (E7c); then the times of the two uploads say it, which S3
    gives in whole seconds. The sweep found it as the current version in a later second, so it is the newer one of the same.
    """
    sequencer = output["Metadata"].get(_METADATA_SEQUENCER, "")
    if sequencer and file.sequencer:
        return is_newer(sequencer, than=file.sequencer)
    ours = _uploaded(s3, file, file.version_id)
    if output["LastModified"] < ours:
        return False  # published before this file was there
    theirs = _uploaded(s3, file, output["Metadata"][_METADATA_VERSION])
    return theirs > ours or (theirs == ours and not sequencer)


def _uploaded(s3: Any, file: File, version_id: str) -> datetime:
    """When a version under ``raw/`` was uploaded, to the second; of one in several parts, when that was begun."""
    try:
        return s3.head_object(Bucket=file.bucket, Key=file.key, VersionId=version_id)["LastModified"]
    except ClientError as error:
        if aws.error_code(error) in aws.VERSION_GONE:  # old versions are kept for 30 days
            return _LONG_AGO
        raise


def _is_published(s3: Any, file: File) -> bool:
    existing = aws.head(s3, file.bucket, file.processed_key)
    return bool(existing) and existing["Metadata"].get(_METADATA_VERSION) == file.version_id
