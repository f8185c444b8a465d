"""Data processor, called by S3 with each file that arrives: stores its records in the global table (R2, R3).

Every file is stored in batches, with a checkpoint after each. What ends an invocation, be it the time, a fault of AWS or the
death of the function, costs the batch at hand. Lambda then tries again twice, from the checkpoint on; after that the queue has
the event, and sending it once more goes on from there.
"""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote_plus

from ..common import aws, log
from . import contract, environment, metrics, reading, storage
from .reading import Raw
from .standard import standard
from .table import Checkpoint, OutOfTime, Overtaken, Source, Table

BATCH_RECORDS = 500
BATCH_BYTES = 8 << 20
RESERVED_SECONDS = 20
"""No batch begins, and nothing is waited for, in the last seconds: they are there to end in good order."""


class Unfinished(Exception):
    """The time was up before the file was stored. What is stored stays so: the next attempt goes on."""


class IngestionFailed(Exception):
    """Some of an event's files could not be stored; the message names each. The others are."""


@log.failures
def handler(event: dict[str, Any], context: Any) -> dict[str, Any] | None:
    """An S3 event → the counts of each file, for whom they may interest. Raises Unfinished or IngestionFailed: try again.

    The same event may come often, and twice at once: a file that is done is not touched.
    """
    if event.get("Event") == "s3:TestEvent":  # S3 sends one when the notification is set up
        log.info("test event ignored")
        return None
    settings = environment.processor()
    files, failures = [], []
    for number, record in enumerate(event["Records"], start=1):
        log.start(context)
        try:
            files.append(_ingest(_source(record), settings, lambda: _seconds_left(context)))
        except Exception as error:  # named, logged, and raised below
            log.error("a file could not be stored", record=record)
            failures.append((f"record {number} ({_encoded_key(record)}): {error!r}", error))
    if failures:
        kind = Unfinished if all(isinstance(error, Unfinished) for _, error in failures) else IngestionFailed
        raise kind("; ".join(message for message, _ in failures)) from failures[0][1]
    return {"files": files}


def _seconds_left(context: Any) -> float:
    return context.get_remaining_time_in_millis() / 1000 - RESERVED_SECONDS


def _encoded_key(record: Any) -> str:
    try:
        return repr(record["s3"]["object"]["key"])
    except (KeyError, TypeError):
        return "without a key"


def _source(record: dict[str, Any]) -> Source:
    """Raises ValueError for what no file of ours can be."""
    uploaded = record["s3"]["object"]
    source = Source(
        record["s3"]["bucket"]["name"], unquote_plus(uploaded["key"], errors="strict"), uploaded.get("versionId", "null")
    )
    log.add(bucket=source.bucket, key=source.key, version_id=source.version_id)
    if source.version_id == "null":
        raise ValueError("the event has no version id: the bucket must be versioned")
    if not source.key.endswith(contract.SUFFIXES):
        raise ValueError(f"not a file that ends in {' or '.join(contract.SUFFIXES)}")
    return source


def _ingest(source: Source, settings: environment.ProcessorEnvironment, seconds_left: Callable[[], float]) -> dict[str, Any]:
    """Store a file, from its checkpoint on. Raises Unfinished."""
    table = Table.connected(settings.table_name, settings.region, seconds_left)

    def check_time() -> None:
        if seconds_left() <= 0:
            raise Unfinished("the time is up; the next attempt goes on from the checkpoint")

    try:
        while True:
            reached = table.checkpoint(source)
            if reached.done:
                log.info("done before", **_summary(reached))
                break
            log.info("started", offset=reached.place.offset)
            try:
                reached = _from(reached, table, source, check_time)
            except Overtaken:
                log.info("another invocation is ahead")
                continue
            _announce(settings.metrics_namespace, reached)
            break
    except OutOfTime as error:
        raise Unfinished(str(error)) from error
    return {"key": source.key, "version_id": source.version_id, **_summary(reached)}


def _from(reached: Checkpoint, table: Table, source: Source, check_time: Callable[[], None]) -> Checkpoint:
    """Store what comes after a checkpoint; returns the last one. Raises Overtaken, OutOfTime, Unfinished."""
    s3 = aws.client("s3")
    try:
        size = storage.size(s3, source)
        blocks = storage.blocks(s3, source, size, check_time)
        suffix = source.key[source.key.rindex(".") :]
        for batch in _batches(reading.records(blocks, size, suffix, reached.place)):
            check_time()
            counts = reached.counts + table.store(source, [(standard(raw), raw.start) for raw in batch])
            reached = table.advance(source, reached, Checkpoint(batch[-1].end, counts))
            log.info("stored a batch", **_summary(reached))
    except (storage.Gone, reading.Unreadable) as failure:
        return table.advance(source, reached, Checkpoint(reached.place, reached.counts, done=True, failure=str(failure)))
    end = reached.place._replace(offset=size)
    return table.advance(source, reached, Checkpoint(end, reached.counts, done=True))


def _batches(records: Iterator[Raw]) -> Iterator[list[Raw]]:
    batch, size = [], 0
    for record in records:
        batch.append(record)
        size += len(record.text)
        if len(batch) == BATCH_RECORDS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _announce(namespace: str, reached: Checkpoint) -> None:
    """Once for a file, by the invocation that ends it; not at all if the answer to its last request is lost."""
    if reached.failure is None:
        log.info("done", **_summary(reached))
        metrics.file_done(namespace, reached.counts.conflicting)
    else:
        log.warning("the file cannot be read", **_summary(reached))
        metrics.file_failed(namespace)


def _summary(reached: Checkpoint) -> dict[str, Any]:
    counts = dict(zip(contract.COUNTS, reached.counts.values(), strict=True))
    return {"offset": reached.place.offset, **counts, **({"failure": reached.failure} if reached.failure else {})}
