"""One uploaded version of one file: its names in the bucket, and its place in the order of uploads. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from .contract import FAILED, PROCESSED, RAW, REJECTS_SUFFIX, WHOLE, WITHDRAWN_SUFFIX

_MAX_KEY_BYTES = 1024  # S3: length of a key in UTF-8
_EXECUTION_NAME_LENGTH = 64
# What the longest name derived from a path, that of the rejects after ranges were given up, adds to it.
_LONGEST_SURROUNDINGS = len(f"{FAILED}{REJECTS_SUFFIX}/{WHOLE}part-00000.jsonl") + _EXECUTION_NAME_LENGTH
MAX_FILE_NAME_BYTES = _MAX_KEY_BYTES - _LONGEST_SURROUNDINGS


@dataclass(frozen=True)
class File:
    """``contract``'s *file*: one version of one object below ``raw/``."""

    bucket: str
    key: str
    file_name: str
    version_id: str
    sequencer: str
    size: int

    @classmethod
    def from_payload(cls, payload: Mapping) -> "File":
        """Unknown keys are ignored, so that payloads may grow (C15)."""
        return cls(**{name: payload[name] for name in cls.__dataclass_fields__})

    @property
    def processed_key(self) -> str:
        return PROCESSED + self.file_name

    @property
    def failed_key(self) -> str | None:
        """None if S3 would refuse a key of that length; the file then stays where it is."""
        key = FAILED + self.file_name
        return key if len(key.encode()) <= _MAX_KEY_BYTES else None

    def rejects_prefix(self, execution_name: str) -> str:
        return f"{FAILED}{self.file_name}{REJECTS_SUFFIX}{execution_name}/"

    def withdrawal_key(self, execution_name: str) -> str:
        """Exists once the execution of this name has been given up."""
        return f"{FAILED}{self.file_name}{WITHDRAWN_SUFFIX}{execution_name}"

    def name_fault(self) -> str | None:
        """Why nothing can be derived from this file's name, if so."""
        length = len(self.file_name.encode())
        if length <= MAX_FILE_NAME_BYTES:
            return None
        fault = f"the path below {RAW} is {length} bytes long; only {MAX_FILE_NAME_BYTES} leave room for what is named after it"
        if self.failed_key is None:
            fault += f"; the file stays in {RAW}, since S3 allows no key as long as {FAILED} with this path"
        return fault


def rejects_part(prefix: str, index: int) -> str:
    """The key of the rejects of one byte range."""
    return f"{prefix}part-{index:05d}.jsonl"


def is_folder_marker(key: str, size: int) -> bool:
    """What consoles leave behind for an empty folder (E2)."""
    return key.endswith("/") and not size


def execution_name(bucket: str, version_id: str, key: str) -> str:
    """The name under which an upload is claimed (E3a). Neither buckets nor version ids contain line feeds."""
    return hashlib.sha256(f"{bucket}\n{version_id}\n{key}".encode()).hexdigest()


def is_newer(sequencer: str, than: str) -> bool:
    """S3's order of events for one key: hexadecimal, of varying length, compared after padding on the right.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    """
    width = max(len(sequencer), len(than))
    return sequencer.upper().ljust(width, "0") > than.upper().ljust(width, "0")
