"""A versioned bucket in memory with S3's conditional writes, and a place to inject what goes wrong between two calls."""

import hashlib
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from botocore.exceptions import ClientError

BUCKET = "bucket"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When the first object was put; each later one a second later."""


def client_error(code: str, operation: str = "Operation") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, operation)


class FakeS3:
    """Each call first runs the hooks registered for it (``before``), then acts, then those of ``after``; a hook that raises
    after the act is a lost answer. ``calls`` names the operations in order."""

    def __init__(self):
        self.versions: dict[str, list[dict]] = {}  # key -> versions, the current one last; a delete marker has no Body
        self.uploads: dict[str, dict] = {}
        self.calls: list[tuple[str, str]] = []
        self.before: dict[str, list[Callable]] = {}
        self.after: dict[str, list[Callable]] = {}
        self.least_part_bytes = 5 << 20
        self._number = 0

    # --- for tests

    def add(self, key, body, *, version_id=None, **attributes):
        self._number += 1
        version = {
            "VersionId": version_id or f"v{self._number}",
            "Body": body,
            "ETag": f'"{hashlib.sha256(body or b"").hexdigest()[:16]}"',
            "ContentLength": len(body or b""),
            "LastModified": EPOCH + timedelta(seconds=self._number - 1),
            "Metadata": {},
            **attributes,
        }
        self.versions.setdefault(key, []).append(version)
        return version

    def body(self, key):
        current = self._current(key)
        return current and current["Body"]

    def metadata(self, key):
        return self._current(key)["Metadata"]

    def keys(self):
        return sorted(key for key in self.versions if self._current(key))

    def operations(self, *names):
        return [call for call, _ in self.calls if not names or call in names]

    def hook(self, moment, operation, action):
        """Run ``action`` (or raise it, if it is an exception) once at that moment of the next such call."""

        def raise_it():
            raise action

        getattr(self, moment).setdefault(operation, []).append(raise_it if isinstance(action, Exception) else action)

    # --- S3

    def __getattr__(self, operation):
        act = getattr(type(self), f"_{operation}", None)
        if act is None:
            raise AttributeError(operation)

        def call(**arguments):
            assert arguments.pop("Bucket") == BUCKET
            key = arguments.pop("Key", None) or arguments.pop("Prefix")
            self.calls.append((operation, key))
            for moment in (self.before, self.after):
                if moment is self.after:
                    answer = act(self, key, **arguments)
                if moment.get(operation):
                    moment[operation].pop(0)()
            return answer

        return call

    def get_paginator(self, operation):
        """Pages of two."""
        assert operation == "list_objects_v2"

        def paginate(Bucket, Prefix):
            assert Bucket == BUCKET
            keys = [key for key in self.keys() if key.startswith(Prefix)]
            for start in range(0, max(len(keys), 1), 2):
                self.calls.append((operation, Prefix))
                found = [(key, self._current(key)) for key in keys[start : start + 2]]
                contents = [
                    {"Key": key, "LastModified": each["LastModified"], "Size": each["ContentLength"]} for key, each in found
                ]
                yield {"Contents": contents} if contents else {}

        return SimpleNamespace(paginate=paginate)

    def copy(self, source, bucket, key, ExtraArgs, Config):
        assert bucket == source["Bucket"] == BUCKET
        assert ExtraArgs == {"TaggingDirective": "REPLACE"}
        self.calls.append(("copy", key))
        self.add(key, self._version(source["Key"], source["VersionId"])["Body"])

    def _current(self, key):
        versions = self.versions.get(key)
        return versions[-1] if versions and versions[-1]["Body"] is not None else None

    def _version(self, key, version_id):
        for version in self.versions.get(key, ()):
            if version["VersionId"] == version_id:
                return version
        raise client_error("NoSuchVersion")

    def _check(self, key, IfMatch=None, IfNoneMatch=None):
        current = self._current(key)
        if IfNoneMatch == "*" and current:
            raise client_error("PreconditionFailed")
        if IfMatch and not current:
            raise client_error("NoSuchKey")
        if IfMatch and current["ETag"] != IfMatch:
            raise client_error("PreconditionFailed")

    def _head_object(self, key, VersionId=None):
        if VersionId and not [each for each in self.versions.get(key, ()) if each["VersionId"] == VersionId]:
            raise client_error("404")
        if not (current := self._version(key, VersionId) if VersionId else self._current(key)):
            raise client_error("404")
        return current

    def _get_object(self, key, VersionId, Range):
        body = self._version(key, VersionId)["Body"]
        start, end = (int(number) for number in Range.removeprefix("bytes=").split("-"))
        if start >= len(body):
            raise client_error("InvalidRange")
        return {"Body": io.BytesIO(body[start : end + 1]), "ContentRange": f"bytes {start}-{end}/{len(body)}"}

    def _list_objects_v2(self, prefix, MaxKeys):
        return {"KeyCount": min(sum(key.startswith(prefix) for key in self.keys()), MaxKeys)}

    def _put_object(self, key, Body, ContentType="binary/octet-stream", Metadata=None, **condition):
        self._check(key, **condition)
        return self.add(key, Body, ContentType=ContentType, Metadata=Metadata or {})

    def _delete_object(self, key, IfMatch):
        self._check(key, IfMatch=IfMatch)
        self.add(key, None)

    def _create_multipart_upload(self, key, **attributes):
        self._number += 1
        self.uploads[f"u{self._number}"] = {"key": key, "parts": {}, **attributes}
        return {"UploadId": f"u{self._number}"}

    def _upload(self, upload_id):
        if upload_id not in self.uploads:
            raise client_error("NoSuchUpload")
        return self.uploads[upload_id]

    def _upload_part(self, key, UploadId, PartNumber, Body, ChecksumAlgorithm):
        self._upload(UploadId)["parts"][PartNumber] = Body if isinstance(Body, bytes) else Body.read()
        return {"ETag": f'"part{PartNumber}"', "ChecksumCRC32": f"crc{PartNumber}"}

    def _complete_multipart_upload(self, key, UploadId, MultipartUpload, **condition):
        upload = self._upload(UploadId)
        self._check(key, **condition)
        numbers = [part["PartNumber"] for part in MultipartUpload["Parts"]]
        assert numbers == sorted(upload["parts"]) == list(range(1, len(numbers) + 1))
        assert [part["ChecksumCRC32"] for part in MultipartUpload["Parts"]] == [f"crc{number}" for number in numbers]
        assert all(len(upload["parts"][number]) >= self.least_part_bytes for number in numbers[:-1])
        del self.uploads[UploadId]
        body = b"".join(upload["parts"][number] for number in numbers)
        return self.add(key, body, ContentType=upload["ContentType"], Metadata=upload["Metadata"])

    def _abort_multipart_upload(self, key, UploadId):
        self._upload(UploadId)
        del self.uploads[UploadId]
