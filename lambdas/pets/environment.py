"""The environment variables of each function as one typed object."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from ..common.environment import arn, name, positive_integer, read
from . import contract


@dataclass(frozen=True)
class ApiEnvironment:
    bucket_name: str
    table_name: str
    max_image_bytes: int
    link_seconds: int
    allowed_origin: str


@dataclass(frozen=True)
class ProcessorEnvironment:
    table_name: str
    metrics_namespace: str
    confidence_threshold: float  # per cent
    max_image_bytes: int
    record_retention_days: int


@dataclass(frozen=True)
class NotificationEnvironment:
    topic_arn: str


def api(environ: Mapping[str, str] = os.environ) -> ApiEnvironment:
    """The API function's variables. Raises BadEnvironment."""
    variables = {
        contract.ENV_BUCKET_NAME: name,
        contract.ENV_TABLE_NAME: name,
        contract.ENV_MAX_IMAGE_BYTES: positive_integer,
        contract.ENV_LINK_SECONDS: _link_seconds,
        contract.ENV_ALLOWED_ORIGIN: _origin,
    }
    return ApiEnvironment(*read(environ, variables))


def processor(environ: Mapping[str, str] = os.environ) -> ProcessorEnvironment:
    """The image processor's variables. Raises BadEnvironment."""
    variables = {
        contract.ENV_TABLE_NAME: name,
        contract.ENV_METRICS_NAMESPACE: name,
        contract.ENV_CONFIDENCE_THRESHOLD: _per_cent,
        contract.ENV_MAX_IMAGE_BYTES: positive_integer,
        contract.ENV_RECORD_RETENTION_DAYS: positive_integer,
    }
    return ProcessorEnvironment(*read(environ, variables))


def notification(environ: Mapping[str, str] = os.environ) -> NotificationEnvironment:
    """The notification service's variables. Raises BadEnvironment."""
    return NotificationEnvironment(*read(environ, {contract.ENV_TOPIC_ARN: arn}))


def _per_cent(text: str) -> float:
    fault = "a decimal number from 0 to 100, such as 80"
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(fault) from None
    if not (number.is_finite() and 0 <= number <= 100):
        raise ValueError(fault)
    return float(number)


def _link_seconds(text: str) -> int:
    seconds = positive_integer(text)
    if seconds > 7 * 24 * 3600:  # Signature Version 4 allows no more
        raise ValueError("a whole number from 1 to 604800")
    return seconds


def _origin(text: str) -> str:
    if text != "*" and not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?", text):
        raise ValueError("an origin, such as https://www.example.com, or *")
    return text
