"""One uploaded version of one image: its id, its names in the bucket. Pure."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from . import contract

MAX_KEY_BYTES = 1024
"""S3: length of a key in UTF-8."""

# Of ids that no API handed out; any fixed UUID would do.
_DERIVED = uuid.UUID("9f0f8f5e-6a0b-4c1d-9a51-0d6c0b7a2e44")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?Z")


def is_image_id(text: str) -> bool:
    """Whether the text is a UUID as we write it: in lower case, with hyphens."""
    return _UUID.fullmatch(text) is not None


def upload_key(image_id: str, file_name: str) -> str:
    """Where the API has an image uploaded to."""
    return f"{contract.INPUT}{image_id}/{file_name}"


def file_name(key: str) -> str:
    """What the image is called, wherever it lies."""
    return key.rpartition("/")[2]


@dataclass(frozen=True)
class Upload:
    """``contract``'s *object*."""

    bucket: str
    key: str
    version_id: str

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> "Upload":
        """Raises ValueError for what no upload below ``input/`` can be."""
        upload = cls(payload["bucket"], payload["key"], payload["version_id"])
        if not upload.key.startswith(contract.INPUT) or upload.key == contract.INPUT:
            raise ValueError(f"not an image below {contract.INPUT}: {upload.key!r}")
        if not upload.version_id or upload.version_id == "null":
            raise ValueError("the object has no version id: the bucket must be versioned")
        return upload

    @property
    def promised_id(self) -> str | None:
        """The id that the API has handed out for this key, if it has: ``input/UUID/FILE-NAME``."""
        image_id, separator, name = self.key.removeprefix(contract.INPUT).partition("/")
        return image_id if separator and name and "/" not in name and is_image_id(image_id) else None

    @property
    def derived_id(self) -> str:
        """The same for every event about this version, and for no other version: a key may hold line ends, but neither a
        bucket's name nor a version id does, so the first and the last one part the three."""
        return str(uuid.uuid5(_DERIVED, f"{self.bucket}\n{self.key}\n{self.version_id}"))

    def filed_key(self, folder: str) -> str:
        return folder + self.key.removeprefix(contract.INPUT)

    @property
    def can_be_filed(self) -> bool:
        """Whether S3 allows its key in every folder."""
        return all(len(self.filed_key(folder).encode()) <= MAX_KEY_BYTES for folder in contract.FOLDERS.values())


def timestamp(time: Any) -> str:
    """An event's time as ``YYYY-MM-DDTHH:MM:SSZ``, so that texts sort as times do. Raises ValueError."""
    match = _TIME.fullmatch(time) if isinstance(time, str) else None
    if not match:
        raise ValueError(f"the event's time is {time!r}; it must be ISO 8601 in UTC, such as 2026-01-31T23:59:59Z")
    datetime.fromisoformat(match[1])
    return match[1] + "Z"
