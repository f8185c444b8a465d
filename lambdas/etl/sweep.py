"""Sweep Lambda, called by a schedule: brings to an end what no event did (E7c).

Two things are looked for: records in ``PROCESSING`` whose execution has ended, and objects under ``raw/`` without a record.
Whatever is started claims before it acts. So sweeps may run twice and beside one another, and late events may follow.
"""

import functools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from ..common import aws, log
from . import claims, contract, environment, storage
from .files import File, execution_name, is_folder_marker

_OLDER_THAN_SECONDS = 15 * 60
_OLDEST_SECONDS = 365 * 86_400
_CLOCKS_DIFFER = timedelta(minutes=5)  # S3's and Lambda's, at most
_RESERVE_SECONDS = 60  # what is begun must come to its end
_MOST_OBJECTS = 50_000  # of one sweep, in memory
_THREADS = 8
_ENDED = {"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}

# What became of a record or an object.
CLAIMED = "claimed"
RECOVERED = "handed to the recovery"
RUNS = "still at work"
RECORDED = "has a record"
CHANGED = "gone or replaced meanwhile"
LEFT = "left to the next sweep"
FAILED = "failed"


class SweepFailed(Exception):
    """Some things could not be brought to an end; the log names each. The next sweep tries them again."""


@log.failures
def handler(event: dict[str, Any], context: Any) -> dict[str, dict[str, int]]:
    """``contract``'s *sweep's event* → how many records and how many objects met which fate."""
    settings = environment.sweep()
    seconds = event.get("older_than_seconds", _OLDER_THAN_SECONDS)
    if type(seconds) is not int or not 0 <= seconds <= _OLDEST_SECONDS:
        raise ValueError(f"older_than_seconds is {seconds!r}, should be a whole number from 0 to {_OLDEST_SECONDS}")
    log.start(context, action="sweep")
    # In whole seconds, as S3 tells time: what is found was current in a later second than that of its upload (E4c).
    before = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=seconds)
    sweep = _Sweep(settings, before, lambda: context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS)
    fates = {"records": dict(sweep.end_records()), "objects": dict(sweep.end_objects())}
    log.info("swept", **fates)
    if failed := sum(each.get(FAILED, 0) for each in fates.values()):
        raise SweepFailed(f"{failed} could not be brought to an end; the log names each")
    return fates


class _Sweep:
    def __init__(self, settings: environment.SweepEnvironment, before: datetime, seconds_left: Callable[[], float]):
        """``before``: when things began that are old enough."""
        self._settings = settings
        self._before = before
        self._seconds_left = seconds_left
        self._s3, self._table, self._states = map(storage.client, ("s3", "dynamodb", "stepfunctions"))

    # --- records ---

    def end_records(self) -> Counter[str]:
        """In half of the time, the oldest first: executions end within hours, so that what is stuck comes to the front."""
        fates: Counter[str] = Counter()
        until = self._seconds_left() / 2
        for record in self._processing():
            if self._seconds_left() < until:
                log.warning("no time for the rest of the records")
                fates[LEFT] += 1
                break
            fates[self._tried(self._end_record, record, file_name=record.get("file_name"))] += 1
        return fates

    def _processing(self) -> Iterator[dict[str, str]]:
        """Records in PROCESSING that are old enough. The index may be behind; the recovery's claim is not."""
        pages = self._table.get_paginator("query").paginate(
            TableName=self._settings.table,
            IndexName=contract.STATUS_INDEX,
            KeyConditionExpression="#status = :processing AND process_start_time < :before",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":processing": {"S": "PROCESSING"}, ":before": {"S": claims.timestamp(self._before)}},
        )
        for page in pages:
            for item in page["Items"]:
                yield {name: value["S"] for name, value in item.items() if "S" in value}

    def _end_record(self, record: dict[str, str]) -> str:
        ending = self._ending(record["execution_arn"])
        claimed_by = record.get("recovered_by")
        if ending is None or (claimed_by and self._ending(claimed_by) is None):
            return RUNS
        # Not the execution's own input, whose time is another one if two uploads were claimed in one microsecond.
        file = self._file(record["file_name"], record["version_id"])
        ending["input"] = claims.execution_input(file, record["process_start_time"])
        return self._recover(file, ending, takes_over=claimed_by)

    # --- objects ---

    def end_objects(self) -> Counter[str]:
        """In random order, so that in the long run every object has its turn, however many have to be left alone."""
        keys = _sample(self._old_keys(), _MOST_OBJECTS)
        with ThreadPoolExecutor(_THREADS) as threads:
            return Counter(threads.map(self._end_object_in_time, keys))

    def _old_keys(self) -> Iterator[str]:
        """Of files: neither markers nor an object named exactly ``raw/``, which can have no record. In half of the time."""
        until = self._seconds_left() / 2
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._settings.bucket, Prefix=contract.RAW)
        for page in pages:
            for each in page.get("Contents", ()):
                is_file = each["Key"] != contract.RAW and not is_folder_marker(each["Key"], each["Size"])
                if is_file and each["LastModified"] < self._before:
                    yield each["Key"]
            if self._seconds_left() < until:
                log.warning("no time to list the rest of the objects")
                return

    def _end_object_in_time(self, key: str) -> str:
        if self._seconds_left() < 0:
            return LEFT
        return self._tried(functools.partial(self._end_object, key), file_name=key.removeprefix(contract.RAW))

    def _end_object(self, key: str) -> str:
        current = aws.head(self._s3, self._settings.bucket, key)
        if not current or current["LastModified"] >= self._before:
            return CHANGED
        file = self._file(key.removeprefix(contract.RAW), current["VersionId"], size=current["ContentLength"])
        if self._has_record(file, current["LastModified"]):
            return RECORDED
        if claims.claim(self._settings.state_machine_arn, file):
            return CLAIMED
        machine = self._settings.state_machine_arn.replace(":stateMachine:", ":execution:")
        ending = self._ending(f"{machine}:{execution_name(file.bucket, file.version_id, file.key)}")
        if ending is None or "input" not in ending:  # forgotten since it was claimed: next time it is not claimed
            return RUNS
        return self._recover(file, ending)

    def _has_record(self, file: File, uploaded: datetime) -> bool:
        """A record begins after the upload; older ones are those of other versions."""
        pages = self._table.get_paginator("query").paginate(
            TableName=self._settings.table,
            ConsistentRead=True,
            KeyConditionExpression="file_name = :name AND process_start_time >= :since",
            ExpressionAttributeValues={
                ":name": {"S": file.file_name},
                ":since": {"S": claims.timestamp(uploaded - _CLOCKS_DIFFER)},
            },
            ProjectionExpression="version_id",
        )
        return any(item.get("version_id") == {"S": file.version_id} for page in pages for item in page["Items"])

    # --- both ---

    def _tried(self, end: Callable[..., str], *things: Any, file_name: str | None) -> str:
        """One thing that fails does not stop the others."""
        try:
            return end(*things)
        except Exception:  # logged here, counted, and raised at the end
            log.error("could not be brought to an end", file_name=file_name)
            return FAILED

    def _file(self, file_name: str, version_id: str, size: int = 0) -> File:
        return File(self._settings.bucket, contract.RAW + file_name, file_name, version_id, sequencer="", size=size)

    def _ending(self, execution_arn: str) -> dict[str, Any] | None:
        """How an execution ended, in the words of a status change; None while it runs."""
        try:
            told = self._states.describe_execution(executionArn=execution_arn)
        except self._states.exceptions.ExecutionDoesNotExist:
            cause = "Step Functions, which keeps executions for 90 days, does not know it"
            return {"executionArn": execution_arn, "status": "UNKNOWN", "cause": cause}
        if told["status"] not in _ENDED:
            return None
        return {name: told[name] for name in ("executionArn", "status", "input", "error", "cause") if name in told}

    def _recover(self, file: File, ending: dict[str, Any], takes_over: str | None = None) -> str:
        """Start the recovery, which claims the record before it acts."""
        event: dict[str, Any] = {"detail": ending} | ({"takes_over": takes_over} if takes_over else {})
        started = self._states.start_execution(stateMachineArn=self._settings.recovery_arn, input=json.dumps(event))
        log.info(
            RECOVERED,
            file_name=file.file_name,
            version_id=file.version_id,
            execution=ending["executionArn"],
            status=ending["status"],
            recovery=started["executionArn"],
            takes_over=takes_over,
        )
        return RECOVERED


def _sample(things: Iterable[str], most: int) -> list[str]:
    """Some of them, all if there are no more than ``most``, each with the same chance, in random order."""
    taken: list[str] = []
    for number, each in enumerate(things):
        if number < most:
            taken.append(each)
        elif (place := random.randrange(number + 1)) < most:  # noqa: S311  nothing to guess
            taken[place] = each
    random.shuffle(taken)
    return taken
