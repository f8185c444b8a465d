"""What callers of the API send (P1): bodies, query parameters. Rules only, no I/O.

API Gateway has validated a body against the model, but only if its content type was the model's. All of it is checked here, and
what a schema cannot say besides.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import contract
from .uploads import MAX_KEY_BYTES

MAX_INLINE_BYTES = 3_000_000
"""Of an image in a body; base64 makes them 4,000,000 characters. Lambda takes 6 MB, the rest of the event included."""

CONTENT_TYPES = ("image/jpeg", "image/png")
DEFAULT_LIMIT, MAX_LIMIT = 20, 100

_MAX_NAME_CHARACTERS = 255
_ID_AND_SLASH = 37
_MAX_NAME_BYTES = MAX_KEY_BYTES - max(len(folder) for folder in contract.FOLDERS.values()) - _ID_AND_SLASH
# What turns the direction of text is among them: with U+202E in it, the name of a program looks like a picture's.
_BAD_IN_NAME = re.compile(r"[/\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_MORE_DIGITS_THAN_ANY_SIZE = 20


class InvalidRequest(Exception):
    """The message tells the caller what is wrong."""


@dataclass(frozen=True)
class UploadRequest:
    """An image to come, of ``size`` bytes, or one that came along."""

    file_name: str
    content_type: str
    size: int
    image: bytes | None = None


@dataclass(frozen=True)
class ListRequest:
    animals: Sequence[str]
    limit: int
    cursor: str | None


def upload(body: str | None, max_image_bytes: int) -> UploadRequest:
    """Raises InvalidRequest."""
    try:
        content = json.loads(body or "", object_pairs_hook=_members, parse_int=_whole_number)
    except (ValueError, RecursionError):
        raise InvalidRequest("the body is not JSON") from None
    if not isinstance(content, dict):
        raise InvalidRequest("the body must be a JSON object")
    missing = [name for name in ("filename", "content_type") if name not in content]
    if missing:
        raise InvalidRequest(f"{' and '.join(missing)} must be given")
    if ("size" in content) == ("image" in content):
        raise InvalidRequest("either size (to upload the image in a second step) or image (in base64) must be given")
    if len(content) > 3:
        raise InvalidRequest("the body may hold filename, content_type, and either size or image: nothing else")
    name, content_type = _file_name(content["filename"]), content["content_type"]
    if content_type not in CONTENT_TYPES:
        raise InvalidRequest(f"content_type must be {' or '.join(CONTENT_TYPES)}")
    if "size" in content:
        return UploadRequest(name, content_type, _size(content["size"], max_image_bytes))
    image = _image(content["image"], min(max_image_bytes, MAX_INLINE_BYTES))
    return UploadRequest(name, content_type, len(image), image)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """API Gateway may have looked at the one, and we at the other."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise InvalidRequest("the body must not hold a name twice")
    return members


def _whole_number(digits: str) -> int:
    """Of a few digits: Python refuses thousands of them."""
    return int(digits[:_MORE_DIGITS_THAN_ANY_SIZE])


def _file_name(name: Any) -> str:
    if not isinstance(name, str) or not 1 <= len(name) <= _MAX_NAME_CHARACTERS:
        raise InvalidRequest(f"filename must be a text of 1 to {_MAX_NAME_CHARACTERS} characters")
    if _BAD_IN_NAME.search(name) or name in (".", ".."):
        raise InvalidRequest("filename must be the name of a file: without folders, slashes or control characters")
    if "${" in name:  # S3 would put the name of the caller's file in the place of ${filename}
        raise InvalidRequest("filename must not hold ${")
    if len(name.encode()) > _MAX_NAME_BYTES:
        raise InvalidRequest(f"filename must not take more than {_MAX_NAME_BYTES} bytes in UTF-8")
    return name


def _size(size: Any, limit: int) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= limit:
        raise InvalidRequest(f"size must be a whole number of bytes, from 1 to {limit}")
    return size


def _image(text: Any, limit: int) -> bytes:
    fault = f"image must be base64 of 1 to {limit} bytes"
    if not isinstance(text, str) or len(text) > -(-limit // 3) * 4:
        raise InvalidRequest(fault)
    try:
        image = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("image is not base64 of the standard alphabet, without line breaks") from None
    if not 1 <= len(image) <= limit:
        raise InvalidRequest(fault)
    return image


def listing(parameters: Mapping[str, Sequence[str]]) -> ListRequest:
    """From the values of each query parameter. Raises InvalidRequest."""
    known = ("animal", "limit", "cursor")
    for name, values in parameters.items():
        if name not in known:
            raise InvalidRequest(f"there are the parameters {', '.join(known)}: no other")
        if len(values) != 1:
            raise InvalidRequest(f"{name} must be given once")
    given = {name: values[0] for name, values in parameters.items()}
    animal, limit = given.get("animal"), given.get("limit", str(DEFAULT_LIMIT))
    if animal is not None and animal not in contract.ANIMALS:
        raise InvalidRequest(f"animal must be one of {', '.join(contract.ANIMALS)}")
    if not re.fullmatch(r"[0-9]{1,3}", limit) or not 1 <= int(limit) <= MAX_LIMIT:
        raise InvalidRequest(f"limit must be a whole number from 1 to {MAX_LIMIT}")
    return ListRequest((animal,) if animal else contract.ANIMALS, int(limit), given.get("cursor"))
