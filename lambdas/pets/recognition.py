"""Rekognition: the labels of an image that lies in S3, and what its errors mean.

Amazon Rekognition Developer Guide: "DetectLabels", "Error handling". The state machine tries again, so this does so but once.
"""

from typing import Any

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from ..common import aws
from . import classification
from .images import Refused
from .uploads import Upload

ATTEMPTS, READ_SECONDS = 2, 30
_MAX_LABELS = 200  # pictures have a few dozen; the default of 1,000 could outgrow a state's 256 KiB
_THROTTLED = {"ThrottlingException", "ProvisionedThroughputExceededException", "LimitExceededException"}
_REFUSALS = {
    "InvalidImageFormatException": Refused(
        "unsupported",
        "the picture cannot be read, though it looks like a JPEG or PNG: open it in a picture viewer, save it again, and"
        " upload that",
    ),
    "ImageTooLargeException": Refused("too_large", "the picture is too large to be analysed: make it smaller"),
}


class RekognitionThrottled(Exception):
    """Too many requests at once: later it will work."""


class RekognitionUnavailable(Exception):
    """No answer, or one that tells of Rekognition's own troubles."""


def detect_labels(rekognition: Any, upload: Upload, threshold: float) -> list[dict[str, Any]]:
    """``contract``'s labels of an image, strongest first. Raises Refused, RekognitionThrottled, RekognitionUnavailable.

    Other errors, such as an object that Rekognition may not read, are nobody's upload's fault and pass as they are.
    """
    try:
        answer = rekognition.detect_labels(
            Image={"S3Object": {"Bucket": upload.bucket, "Name": upload.key, "Version": upload.version_id}},
            MaxLabels=_MAX_LABELS,
            MinConfidence=min(classification.MIN_CONFIDENCE, threshold),
        )
    except ClientError as error:
        code, message = aws.error_code(error), str(error)
        if code in _REFUSALS:
            refusal = _REFUSALS[code]
            raise Refused(refusal.code, refusal.reason) from error
        if code in _THROTTLED:
            raise RekognitionThrottled(message) from error
        if code == "InternalServerError" or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
            raise RekognitionUnavailable(message) from error
        raise
    except (ConnectionError, HTTPClientError) as error:
        raise RekognitionUnavailable(f"no answer: {error}") from error
    labels = [
        {
            "name": label["Name"],
            "confidence": label["Confidence"],
            "parents": [parent["Name"] for parent in label.get("Parents", [])],
        }
        for label in answer["Labels"]
    ]
    return sorted(labels, key=lambda label: -label["confidence"])
