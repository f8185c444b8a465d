"""The two regions of the ingestion: what stands there under which name, and how to ask without waiting long for a dead one.

Names come from the environment's suffix and the settings alone, never from Terraform's state: the state may be where the
outage is (R8).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from lambdas.ingestion import contract
from settings import ENVIRONMENT_NAMES, INGESTION_REGIONS, IngestionSettings, read_context

ROOT = Path(__file__).resolve().parent.parent

PROCESSOR = "serverless-data-processor-prod"
CONSUMER = "serverless-stream-consumer-prod"
HEARTBEAT = "serverless-replication-heartbeat-prod"
TABLE = "serverless-processed-data-prod"
DEAD_LETTERS = "serverless-data-processor-dlq-prod"
BUCKETS = dict(zip(INGESTION_REGIONS, ("serverless-data-ingestion-prod", "serverless-data-ingestion-dr-prod"), strict=True))
LAG_ALARM = "serverless-replication-lag-prod"
ALARMS = (
    "serverless-data-processor-error-rate-prod",
    "serverless-data-processor-dlq-not-empty-prod",
    "serverless-data-processor-duration-prod",
    "serverless-stream-consumer-error-rate-prod",
    "serverless-stream-consumer-dlq-not-empty-prod",
    "serverless-stream-consumer-stream-dlq-not-empty-prod",
    "serverless-replication-heartbeat-error-rate-prod",
    "serverless-replication-heartbeat-dlq-not-empty-prod",
    LAG_ALARM,
)
"""The names that ingestion_stack.py gives; a test compares."""

CONFIG = Config(
    connect_timeout=3,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 2},
    # What stands behind an endpoint of one's own has no host name for each bucket.
    s3={"addressing_style": "path" if os.environ.get("AWS_ENDPOINT_URL") else "auto"},
    user_agent_extra="serverless-ingestion-ops",
)
"""Two attempts of at most three seconds to connect: a region that is gone costs seconds, not minutes."""
PATIENT = CONFIG.merge(Config(read_timeout=60))
"""For large files, whose answer may take a while."""

CREDENTIALS = "Remedy: valid AWS credentials: AWS_PROFILE, or log in again."
REMEDIES = (
    (("Expired", "InvalidClientTokenId", "UnrecognizedClient", "InvalidAccessKeyId", "SignatureDoesNotMatch"), CREDENTIALS),
    (("AccessDenied", "403"), "Remedy: the permissions in docs/operating.md."),  # HEAD requests have no words for it
)
"""By what an error's code contains."""


class OpsError(Exception):
    """What went wrong and what to do about it, for a person to read; ``remedy`` is what the message leaves for the end."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class NoAnswer(OpsError):
    """The region did not answer in time, or only with faults of its own. Whether it did what it was asked is not known."""


class Refused(OpsError):
    """The region answered, and said no; ``code`` is AWS's."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, next((remedy for words, remedy in REMEDIES if any(word in code for word in words)), ""))
        self.code = code

    @property
    def not_there(self) -> bool:
        """What was asked for does not exist."""
        return any(word in self.code for word in ("NotFound", "NonExistentQueue", "DoesNotExist", "NoSuch"))


@dataclass(frozen=True)
class Names:
    """What the environment calls its parts; the same in both regions, save for the bucket."""

    suffix: str
    processor: str
    consumer: str
    heartbeat: str
    table: str
    dead_letters: str
    parameter: str
    lag_alarm: str
    alarms: tuple[str, ...]
    buckets: Mapping[str, str]  # by region

    @staticmethod
    def of(settings: IngestionSettings) -> Names:
        own = dict(zip(INGESTION_REGIONS, (settings.ingestion_bucket_name, settings.ingestion_dr_bucket_name), strict=True))
        return Names(
            suffix=settings.environment_suffix,
            processor=settings.name(PROCESSOR),
            consumer=settings.name(CONSUMER),
            heartbeat=settings.name(HEARTBEAT),
            table=settings.name(TABLE, 255),
            dead_letters=settings.name(DEAD_LETTERS, 80),
            parameter=settings.name(contract.ACTIVE_REGION_PARAMETER + "-prod", 512),
            lag_alarm=settings.name(LAG_ALARM, 255),
            alarms=tuple(settings.name(alarm, 255) for alarm in ALARMS),
            buckets={region: own[region] or settings.name(base, 63) for region, base in BUCKETS.items()},
        )

    @staticmethod
    def read(suffix: str | None = None, environ: Mapping[str, str] = os.environ, context: Path = ROOT / "cdktf.json") -> Names:
        """Of the environment that ``suffix``, the environment variables or ``cdktf.json`` name, in that order.

        Reads three settings and no other, so that a mistake elsewhere does not keep anybody from failing over. Raises
        SettingsError.
        """
        fields = ("environment_suffix", "ingestion_bucket_name", "ingestion_dr_bucket_name")
        return Names.of(IngestionSettings.of(None, **chosen(fields, suffix, environ, context)))


def chosen(
    fields: Iterable[str], suffix: str | None, environ: Mapping[str, str] = os.environ, context: Path = ROOT / "cdktf.json"
) -> dict[str, Any]:
    """These settings and no other, from the environment variables or ``cdktf.json``; a ``suffix`` goes before both. None where
    neither says anything. Raises SettingsError if the file is not JSON."""
    written = read_context(context)
    values = {
        field: environ.get(ENVIRONMENT_NAMES.get(field, field.upper()), "").strip() or written.get(field) for field in fields
    }
    values["environment_suffix"] = suffix or values["environment_suffix"]
    return values


class Aws:
    """One region of AWS, asked briefly. Threads may share it."""

    def __init__(self, name: str, session: Any, config: Config = CONFIG) -> None:
        """``session`` is boto3's, or what does the same; boto3 itself heeds ``AWS_ENDPOINT_URL``."""
        self.name = name
        self.session = session
        self._config = config
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()  # a session makes one client at a time (boto3 guide, "Multithreading")

    def client(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                try:
                    self._clients[service] = self.session.client(service, region_name=self.name, config=self._config)
                except ValueError as error:  # an AWS_ENDPOINT_URL that is no URL
                    raise OpsError(f"{plain(str(error))}\nRemedy: a URL in AWS_ENDPOINT_URL, or none.") from error
            return self._clients[service]

    def ask(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """The answer to one request. Raises NoAnswer, Refused, or OpsError about the credentials."""
        try:
            return getattr(self.client(service), operation)(**arguments)
        except (ConnectionError, HTTPClientError) as error:
            endpoint = os.environ.get("AWS_ENDPOINT_URL")
            remedy = f"Remedy: is {plain(endpoint)} still there? AWS_ENDPOINT_URL names it." if endpoint else ""
            raise NoAnswer(f"{service} in {self.name} gives no answer: {plain(str(error))}", remedy) from error
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
                raise NoAnswer(f"{service} in {self.name} answers with faults only ({code})") from error
            said = plain(error.response.get("Error", {}).get("Message", ""))
            raise Refused(f"{service} in {self.name} refuses {operation}: {code} {said}".rstrip(), code) from error
        except BotoCoreError as error:
            raise OpsError(f"{plain(str(error))}\n{CREDENTIALS}") from error

    def find(self, service: str, operation: str, **arguments: Any) -> dict[str, Any] | None:
        """The same; None if what is asked for does not exist."""
        try:
            return self.ask(service, operation, **arguments)
        except Refused as error:
            if error.not_there:
                return None
            raise


class Region(Aws):
    """One of the two regions, as an environment's ingestion uses it."""

    def __init__(self, name: str, names: Names, session: Any, config: Config = CONFIG) -> None:
        super().__init__(name, session, config)
        self.names = names
        self.bucket = names.buckets[name]


def pair(names: Names, session: Any = None, config: Config = CONFIG) -> dict[str, Region]:
    """Both regions by name, the first one first."""
    session = session or new_session()
    return {name: Region(name, names, session, config) for name in INGESTION_REGIONS}


def new_session() -> Any:
    """boto3's, with the credentials of whoever calls. Raises OpsError."""
    try:
        return boto3.Session()
    except BotoCoreError as error:  # a profile that does not exist
        raise OpsError(f"{plain(str(error))}\n{CREDENTIALS}") from error


def other(region: str) -> str:
    """The region's partner."""
    first, second = INGESTION_REGIONS
    return second if region == first else first


def plain(text: str) -> str:
    """One line that cannot command a terminal."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())[:300]
