"""The stand-in for Amazon Rekognition in the local run: DetectLabels, with the real API's shapes, checks and errors.

What a model would see in a picture stands in the picture itself, as JSON: in a PNG the text under the keyword `sees` (tEXt, or
iTXt uncompressed), in a JPEG a comment that begins with `sees:`.

    {"labels": {"Cat": 97.4}}                                            per cent; what a cat also is (Animal, Pet, …) is added
    {"labels": {"Dog": 91}, "errors": ["ThrottlingException", "ThrottlingException"]}     the first two calls fail with these
    {"always": "InternalServerError"}                                    every call fails with this

Calls are counted by the picture's content. A picture that says nothing, or nothing valid, shows a landscape.

Which error the API gives, and in which words: for format, parameters, dimensions and too many bytes they were seen in published
programs and issues (too small a picture is an *InvalidParameterException*: boto/botocore#1366); the unreadable S3 object stands
in the Developer Guide, "Error handling"; the words for an S3 object above 15 MB, and those of the errors that a picture asks
for, are ours.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import struct
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import NamedTuple

# "Guidelines and quotas in Amazon Rekognition"
MAX_OBJECT_BYTES = 15 * 1024 * 1024
MAX_INLINE_BYTES = 5 * 1024 * 1024
MIN_PIXELS, MAX_PIXELS = 80, 10_000  # of height and of width

DEFAULT_MIN_CONFIDENCE = 55.0
DEFAULT_MAX_LABELS = 1000
MODEL_VERSION = "3.0"
PREFIX = "RekognitionService."
KEYWORD = "sees"

ANIMALS, NATURE, OBJECTS = "Animals and Pets", "Nature and Outdoors", "Everyday Objects"
# Label -> its ancestors in the order in which the API names them, and its category.
TAXONOMY = {
    "Animal": ((), ANIMALS),
    "Mammal": (("Animal",), ANIMALS),
    "Pet": (("Animal",), ANIMALS),
    "Canine": (("Animal", "Mammal"), ANIMALS),
    "Cat": (("Animal", "Mammal", "Pet"), ANIMALS),
    "Kitten": (("Animal", "Cat", "Mammal", "Pet"), ANIMALS),
    "Dog": (("Animal", "Canine", "Mammal", "Pet"), ANIMALS),
    "Puppy": (("Animal", "Canine", "Dog", "Mammal", "Pet"), ANIMALS),
    "Bird": (("Animal",), ANIMALS),
    "Nature": ((), NATURE),
    "Outdoors": ((), NATURE),
    "Landscape": (("Nature", "Outdoors"), NATURE),
    "Scenery": (("Nature", "Outdoors"), NATURE),
}
NEUTRAL = {"Landscape": 96.2, "Scenery": 88.5}
BOXED = ("Bird", "Cat", "Dog", "Kitten", "Puppy")  # labels of objects come with a box around each

# Errors that a picture may ask for, with their messages and HTTP status.
FAILURES = {
    "ThrottlingException": ("Rate exceeded", 400),
    "ProvisionedThroughputExceededException": ("Provisioned rate exceeded", 400),
    "InternalServerError": ("Internal server error", 500),
    "AccessDeniedException": ("Not authorized", 400),
    "InvalidImageFormatException": ("Request has invalid image format", 400),
    "ImageTooLargeException": ("Image size is too large", 400),
    "InvalidParameterException": ("Request has invalid parameters", 400),
    "InvalidS3ObjectException": (
        "Unable to get object metadata from S3. Check object key, region and/or access permissions.", 400),
}

Reader = Callable[[str, str, str | None], bytes | None]
"""The content of bucket, key and version (None: the current one); None if it is not there, or not for this caller."""


class RekognitionError(Exception):
    """An error of the API: its code, as `__type` has it, its message and its HTTP status."""

    def __init__(self, code: str, message: str | None = None):
        known, self.status = FAILURES.get(code, ("", 400))
        self.code, self.message = code, message or known
        super().__init__(f"{code}: {self.message}")


class Picture(NamedTuple):
    """What the head of an image file tells."""

    width: int
    height: int
    texts: dict[str, str]
    """Keyword -> text."""


class Rekognition:
    """The service: counts calls, so that a picture can ask for errors at first."""

    def __init__(self) -> None:
        self._calls: dict[bytes, int] = {}
        self._lock = threading.Lock()

    def handle(self, target: str, body: bytes, read: Reader) -> tuple[int, dict]:
        """Status and JSON of the answer to a request with this `X-Amz-Target`."""
        try:
            if target != PREFIX + "DetectLabels":
                raise RekognitionError("UnknownOperationException", f"The stand-in knows DetectLabels, not {target or 'this'}")
            return 200, self.detect_labels(parsed(body), read)
        except RekognitionError as error:
            return error.status, {"__type": error.code, "Code": error.code, "Logref": str(uuid.uuid4()), "Message": error.message}

    def detect_labels(self, request: dict, read: Reader) -> dict:
        """The answer to DetectLabels. Raises RekognitionError."""
        least = number_of(request, "MinConfidence", "minConfidence", DEFAULT_MIN_CONFIDENCE, 100)
        most = number_of(request, "MaxLabels", "maxLabels", DEFAULT_MAX_LABELS, None)
        content = content_of(request.get("Image"), read)
        picture = picture_of(content)
        if picture is None:
            raise RekognitionError("InvalidImageFormatException")
        if min(picture.width, picture.height) < MIN_PIXELS:
            raise RekognitionError("InvalidParameterException")
        if max(picture.width, picture.height) > MAX_PIXELS:
            raise RekognitionError("ImageTooLargeException", f"Input image dimensions {picture.width} x {picture.height} "
                                                             f"exceed maximum dimension size of {MAX_PIXELS} pixels")
        seen = seen_in(picture)
        if failure := self._failure(content, seen):
            raise RekognitionError(failure)
        labels = [label for label in labelled(seen.get("labels", NEUTRAL)) if label["Confidence"] >= least]
        return {"Labels": labels[:int(most)], "LabelModelVersion": MODEL_VERSION}

    def forget(self) -> None:
        """Count from the beginning again."""
        with self._lock:
            self._calls.clear()

    def _failure(self, content: bytes, seen: dict) -> str | None:
        """The error that the picture asks for at this call."""
        if "always" in seen:
            return seen["always"]
        errors, digest = seen.get("errors", ()), hashlib.sha256(content).digest()
        with self._lock:
            call = self._calls.get(digest, 0)
            if call < len(errors):
                self._calls[digest] = call + 1
                return errors[call]
        return None


def parsed(body: bytes) -> dict:
    """The request's JSON. Raises RekognitionError."""
    try:
        request = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise RekognitionError("SerializationException", "The request is not a JSON object")
    return request


def number_of(request: dict, name: str, wire: str, default: float, most: int | None) -> float:
    """A number of the request, within 0 and `most`. Raises RekognitionError as the service's validation does."""
    value = request.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RekognitionError("SerializationException", f"{name} is not a number")
    for wrong, bound in ((value < 0, "greater than or equal to 0"), (most is not None and value > most,
                                                                    f"less than or equal to {most}")):
        if wrong:
            raise RekognitionError("ValidationException", f"1 validation error detected: Value '{value}' at '{wire}' failed to "
                                                          f"satisfy constraint: Member must have value {bound}")
    return value


def content_of(image: object, read: Reader) -> bytes:
    """The image that a request names or holds. Raises RekognitionError."""
    image = image if isinstance(image, dict) else {}
    inline, place = image.get("Bytes"), image.get("S3Object")
    if (inline is None) == (place is None):
        raise RekognitionError("InvalidParameterException")
    if inline is not None:
        try:
            content = base64.b64decode(inline, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise RekognitionError("SerializationException", "Bytes is not base64") from None
        if not 1 <= len(content) <= MAX_INLINE_BYTES:
            bound = f"less than or equal to {MAX_INLINE_BYTES}" if content else "greater than or equal to 1"
            raise RekognitionError("ValidationException", "1 validation error detected: Value '…' at 'image.bytes' failed to "
                                                          f"satisfy constraint: Member must have length {bound}")
        return content
    bucket, key, version = (place.get(name) if isinstance(place, dict) else None for name in ("Bucket", "Name", "Version"))
    if not (isinstance(bucket, str) and isinstance(key, str) and isinstance(version, str | None) and bucket and key):
        raise RekognitionError("InvalidParameterException")
    content = read(bucket, key, version)
    if content is None:
        raise RekognitionError("InvalidS3ObjectException")
    if len(content) > MAX_OBJECT_BYTES:
        raise RekognitionError("ImageTooLargeException")
    return content


def labelled(confidences: dict[str, float]) -> list[dict]:
    """Labels as the API gives them: with all that they also are, the surest first."""
    whole: dict[str, float] = dict(confidences)
    for name, confidence in confidences.items():
        for ancestor in TAXONOMY.get(name, ((), OBJECTS))[0]:
            whole[ancestor] = max(whole.get(ancestor, 0.0), confidence)
    return [{
        "Name": name,
        "Confidence": float(confidence),
        "Instances": [{"BoundingBox": {"Width": 0.5, "Height": 0.6, "Left": 0.25, "Top": 0.2}, "Confidence": float(confidence)}]
        if name in BOXED else [],
        "Parents": [{"Name": ancestor} for ancestor in TAXONOMY.get(name, ((), OBJECTS))[0]],
        "Aliases": [],
        "Categories": [{"Name": TAXONOMY.get(name, ((), OBJECTS))[1]}],
    } for name, confidence in sorted(whole.items(), key=lambda item: (-item[1], item[0]))]


def seen_in(picture: Picture) -> dict:
    """What the picture says that it shows; nothing if that is not valid."""
    try:
        seen = json.loads(picture.texts.get(KEYWORD, "{}"))
    except (ValueError, RecursionError):
        return {}
    labels, errors = (seen.get("labels", {}), seen.get("errors", [])) if isinstance(seen, dict) else (None, None)
    valid = (
        isinstance(labels, dict) and all(type(each) in (int, float) and 0 <= each <= 100 for each in labels.values())
        and isinstance(errors, list) and set(map(str, errors)) <= set(FAILURES)
        and str(seen.get("always", "InternalServerError")) in FAILURES)
    return seen if valid else {}


def picture_of(content: bytes) -> Picture | None:
    """What the head of a JPEG or PNG file tells; None if it is neither, by its content."""
    try:
        if content.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(content)
        if content.startswith(b"\xff\xd8\xff"):
            return _jpeg(content)
    except (struct.error, ValueError):  # it ends in the middle, or its text is none
        pass
    return None


def _png(content: bytes) -> Picture | None:
    chunks = _chunks(content)
    kind, header = next(chunks, (b"", b""))
    if kind != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", header)
    texts = {}
    for kind, data in chunks:
        if kind in (b"tEXt", b"iTXt"):
            keyword, _, text = data.partition(b"\0")
            if kind == b"iTXt":  # after compression flag and method, language and translated keyword
                text = text[2:].split(b"\0", 2)[-1]
            texts[keyword.decode("latin-1")] = text.decode("utf-8" if kind == b"iTXt" else "latin-1")
    return Picture(width, height, texts)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        yield kind, content[at + 8:at + 8 + length]
        at += 12 + length


def _jpeg(content: bytes) -> Picture | None:
    at, size, texts = 2, None, {}
    while at + 4 <= len(content):
        lead, marker, length = struct.unpack_from(">BBH", content, at)
        if lead != 0xFF:
            return None
        data = content[at + 4:at + 2 + length]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # frame headers; not tables, extensions, coding
            _, height, width = struct.unpack_from(">BHH", data)
            size = width, height
        elif marker == 0xFE:
            keyword, _, text = data.decode("utf-8", "replace").partition(":")
            texts[keyword] = text
        elif marker == 0xDA:  # the scan: no more headers
            break
        at += 2 + length
    return Picture(*size, texts) if size else None
