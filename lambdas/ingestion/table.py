"""The global table: records and checkpoints, written under conditions (R3b).

Every count can be relied on, however often a batch is stored again:

* A checkpoint is written in the place of the one that its invocation has read, and of no other. So the batches that make up a
  file's counts lie end to end, and each is counted once.
* A record's item says which version and which offset made it. So a record counts as stored if the item is its own, no matter
  which attempt wrote it: the stored ones are the items that the file has in the table.
* Records of one key are stored one after the other, and batches likewise. So the first of a file wins in every attempt.

Conditions hold in one region. Where both write one key before replication has carried the first write over, the later one stays.
"""

import hashlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any, NamedTuple

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from ..common import aws
from . import contract
from .reading import Place
from .standard import Record

WORKERS = 10
"""Parallel calls: as many as the client keeps connections."""

_FIRST_WAIT, _LONGEST_WAIT = 0.05, 5.0  # seconds
_ANSWER_SECONDS = 10  # DynamoDB answers in milliseconds, or not at all
_SERVER_ERROR = 500
_THROTTLED = {
    "ProvisionedThroughputExceededException", "ThrottlingException", "Throttling", "RequestLimitExceeded",
    "TransactionConflictException",
}  # fmt: skip
_ABSENT = f"attribute_not_exists({contract.RECORD_ID})"


class OutOfTime(Exception):
    """The table did not take what it was given before the time was up. Nothing is broken: try again."""


class Overtaken(Exception):
    """Another invocation, or a request of this one whose answer was lost, has moved the checkpoint: read it again."""


class Source(NamedTuple):
    """One version of one file."""

    bucket: str
    key: str
    version_id: str

    @property
    def checkpoint_id(self) -> str:
        return contract.CHECKPOINT_PREFIX + hashlib.sha256("\n".join(self).encode()).hexdigest()


@dataclass(frozen=True)
class Counts:
    """``contract.COUNTS``, in their order."""

    read: int = 0
    stored: int = 0
    known: int = 0
    invalid: int = 0
    conflicting: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(mine + others for mine, others in zip(self.values(), other.values(), strict=True)))

    def values(self) -> tuple[int, ...]:
        return tuple(asdict(self).values())


@dataclass(frozen=True)
class Checkpoint:
    """How far a file is stored."""

    place: Place = Place()  # noqa: RUF009  immutable
    counts: Counts = field(default_factory=Counts)
    done: bool = False
    failure: str | None = None
    is_stored: bool = False  # whether the table holds it


class Outcome(Enum):
    STORED = "stored"
    KNOWN = "known"
    CONFLICTING = "conflicting"


class Patience:
    """Makes calls again that were throttled, met a fault of the server or got no answer, as long as there is time.

    Waits are random, up to a limit that doubles with each attempt (full jitter), so that the workers, and other functions, do
    not come back all at once.
    """

    def __init__(
        self,
        seconds_left: Callable[[], float],
        sleep: Callable[[float], None] = time.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ):
        self._seconds_left = seconds_left
        self._sleep = sleep
        self._uniform = uniform

    def call(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        """Raises OutOfTime, and at once every error that another attempt would meet again."""
        longest = _FIRST_WAIT
        while True:
            try:
                return operation(**arguments)
            except (ClientError, ConnectionError, HTTPClientError) as error:
                if not _passes(error):
                    raise
                wait = self._uniform(0, longest)
                if self._seconds_left() <= wait:
                    raise OutOfTime(f"no time left to try again after: {error}") from error
            self._sleep(wait)
            longest = min(longest * 2, _LONGEST_WAIT)


def _passes(error: Exception) -> bool:
    """Whether the call may succeed later."""
    if not isinstance(error, ClientError):
        return True
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return aws.error_code(error) in _THROTTLED or status >= _SERVER_ERROR


class Table:
    """The table, for one invocation in one region."""

    def __init__(self, dynamodb: Any, name: str, region: str, patience: Patience):
        self._dynamodb = dynamodb
        self._table = name
        self._region = region
        self._patience = patience

    @classmethod
    def connected(cls, name: str, region: str, seconds_left: Callable[[], float]) -> "Table":
        """Its client makes no attempts of its own: there is one place for patience."""
        return cls(aws.client("dynamodb", 1, _ANSWER_SECONDS), name, region, Patience(seconds_left))

    # --- records

    def store(self, source: Source, batch: Sequence[tuple[Record, Place]]) -> Counts:
        """Store records with the places where they begin, in the order of the file; returns what became of them.

        When it returns, all are stored. Raises OutOfTime, after which some are; storing the batch again does no harm.
        """
        groups: dict[tuple[str, str], list[tuple[Record, Place]]] = {}
        for record, place in batch:
            groups.setdefault((record.record_id, record.timestamp), []).append((record, place))
        workers = ThreadPoolExecutor(WORKERS)
        try:
            outcomes = list(workers.map(lambda group: [self._store(source, *one) for one in group], groups.values()))
        finally:
            workers.shutdown(cancel_futures=True)
        reached = [outcome for group in outcomes for outcome in group]
        return Counts(
            read=len(batch),
            stored=reached.count(Outcome.STORED),
            known=reached.count(Outcome.KNOWN),
            invalid=sum(record.status == contract.INVALID for record, _ in batch),
            conflicting=reached.count(Outcome.CONFLICTING),
        )

    def _store(self, source: Source, record: Record, place: Place) -> Outcome:
        key = {contract.RECORD_ID: record.record_id, contract.TIMESTAMP: record.timestamp}
        values = {
            **key,
            contract.STATUS: record.status,
            contract.DATA: record.data,
            contract.CHECKSUM: record.checksum,
            contract.SOURCE_OFFSET: place.offset,
            contract.SOURCE_LINE: place.lines + 1,
            **self._origin(source),
        }
        if record.reason is not None:
            values[contract.REASON] = record.reason
        while True:
            existing = self._put(values, ConditionExpression=_ABSENT, ReturnValuesOnConditionCheckFailure="ALL_OLD")
            if existing is None:
                return Outcome.STORED
            existing = existing or self._get(key)  # an older service does not say what stands in the way
            if existing:
                break
        if all(existing.get(name) == _typed(values[name]) for name in _MAKER):
            return Outcome.STORED
        return Outcome.KNOWN if existing.get(contract.CHECKSUM) == _typed(record.checksum) else Outcome.CONFLICTING

    # --- checkpoints

    def checkpoint(self, source: Source) -> Checkpoint:
        """Where to go on with a file."""
        item = self._get({contract.RECORD_ID: source.checkpoint_id, contract.TIMESTAMP: contract.NO_TIMESTAMP})
        if not item:
            return Checkpoint()
        return Checkpoint(
            Place(int(item[contract.OFFSET]["N"]), int(item[contract.LINE]["N"])),
            Counts(*(int(item[name]["N"]) for name in contract.COUNTS)),
            item[contract.DONE]["S"] == _text(True),
            item[contract.FAILURE]["S"] if contract.FAILURE in item else None,
            is_stored=True,
        )

    def advance(self, source: Source, before: Checkpoint, after: Checkpoint) -> Checkpoint:
        """Write a checkpoint in the place of the one that was read; returns it as it now stands. Raises Overtaken, OutOfTime."""
        values = {
            contract.RECORD_ID: source.checkpoint_id,
            contract.TIMESTAMP: contract.NO_TIMESTAMP,
            contract.STATUS: contract.CHECKPOINT,
            contract.OFFSET: after.place.offset,
            contract.LINE: after.place.lines,
            **dict(zip(contract.COUNTS, after.counts.values(), strict=True)),
            contract.DONE: _text(after.done),
            **self._origin(source),
        }
        if after.failure is not None:
            values[contract.FAILURE] = after.failure
        condition: dict[str, Any] = {"ConditionExpression": _ABSENT}
        if before.is_stored:
            condition = {
                "ConditionExpression": "#offset = :offset AND #done = :no",
                "ExpressionAttributeNames": {"#offset": contract.OFFSET, "#done": contract.DONE},
                "ExpressionAttributeValues": {":offset": _typed(before.place.offset), ":no": _typed(_text(False))},
            }
        if self._put(values, **condition) is not None:
            raise Overtaken
        return replace(after, is_stored=True)

    # --- heartbeats

    def beat(self, now: datetime) -> None:
        """Say that this region is alive."""
        self._put(
            {
                contract.RECORD_ID: contract.HEARTBEAT_PREFIX + self._region,
                contract.TIMESTAMP: contract.NO_TIMESTAMP,
                contract.STATUS: contract.HEARTBEAT,
                contract.REGION: self._region,
                contract.BEAT_AT: _iso(now),
            }
        )

    def last_beat(self, region: str) -> datetime | None:
        """When a region last said so, as far as replication has brought it here; None if it never did."""
        item = self._get(
            {contract.RECORD_ID: contract.HEARTBEAT_PREFIX + region, contract.TIMESTAMP: contract.NO_TIMESTAMP}
        )
        return datetime.fromisoformat(item[contract.BEAT_AT]["S"]) if item else None

    # --- calls

    def _origin(self, source: Source) -> dict[str, str]:
        return {
            contract.SOURCE_BUCKET: source.bucket,
            contract.SOURCE_KEY: source.key,
            contract.SOURCE_VERSION: source.version_id,
            contract.REGION: self._region,
            contract.PROCESSED_AT: _iso(datetime.now(UTC)),
        }

    def _put(self, values: Mapping[str, str | int], **condition: Any) -> dict[str, Any] | None:
        """Write an item; returns None, or if the condition fails the item in its way, as far as the service tells it."""
        item = {name: _typed(value) for name, value in values.items()}
        try:
            self._patience.call(self._dynamodb.put_item, TableName=self._table, Item=item, **condition)
        except ClientError as error:
            if aws.error_code(error) != "ConditionalCheckFailedException":
                raise
            return error.response.get("Item", {})
        return None

    def _get(self, key: Mapping[str, str]) -> dict[str, Any]:
        typed = {name: _typed(value) for name, value in key.items()}
        answer = self._patience.call(self._dynamodb.get_item, TableName=self._table, Key=typed, ConsistentRead=True)
        return answer.get("Item", {})


_MAKER = (contract.SOURCE_BUCKET, contract.SOURCE_KEY, contract.SOURCE_VERSION, contract.SOURCE_OFFSET)
"""What tells the record that made an item."""


def _typed(value: str | int) -> dict[str, str]:
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


def _text(truth: bool) -> str:
    return "true" if truth else "false"


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
