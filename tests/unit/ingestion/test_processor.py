"""The data processor as S3 calls it (R2, R3): events in, items, counts, metrics and logs out."""

import itertools
import json
import time

import pytest
from botocore.exceptions import ConnectTimeoutError, IncompleteReadError
from ingestion_aws import AGES, BUCKET, EAST, TABLE, FakeDynamoDb, client_error, context, counts, emitted, event, ingest

from lambdas.ingestion import contract, processor, reading, storage, table
from lambdas.ingestion.processor import IngestionFailed, Unfinished
from lambdas.ingestion.table import OutOfTime, Patience

TIME = "2024-03-05T10:11:12Z"


def body(*ids, **other):
    return "".join(json.dumps({"recordId": id_, "timestamp": TIME, **other}) + "\n" for id_ in ids).encode()


def many(count):
    return body(*(f"r{number}" for number in range(count)))


def checkpoint(aws):
    (found,) = aws.dynamodb.texts(contract.CHECKPOINT).values()
    return found


def test_stored(aws, lines):
    """R3a, R3b, R4: an item says what the record is, where from and who stored it; the checkpoint, how far the file is."""
    key = "a folder/ä+b.json"
    version = aws.s3.add(key, b'[{"recordId": 1, "timestamp": 1709633472},\n{"recordId": 2}]')
    assert counts(ingest(key, version)) == [2, 2, 0, 1, 0]
    source = {"sourceBucket": BUCKET, "sourceKey": key, "sourceVersionId": version, "processingRegion": EAST}
    first, second = aws.dynamodb.records().values()
    checksum = first.pop("checksum")
    assert len(checksum) == 64 and first == {
        "recordId": "1", "timestamp": TIME, "processingStatus": "VALID", "data": '{"recordId":1,"timestamp":1709633472}',
        "sourceOffset": "1", "sourceLine": "1", **source,
    }  # fmt: skip
    assert (second["recordId"], second["timestamp"], second["processingStatus"]) == ("2", contract.NO_TIMESTAMP, "INVALID")
    assert (second["sourceOffset"], second["sourceLine"], second["reason"]) == ("43", "2", "timestamp is missing")
    found = checkpoint(aws)
    assert found.pop("recordId").startswith("checkpoint#")
    assert found == {
        "timestamp": contract.NO_TIMESTAMP, "processingStatus": "CHECKPOINT", "offset": "59", "line": "1", "done": "true",
        "recordsRead": "2", "recordsStored": "2", "recordsKnown": "0", "recordsInvalid": "1", "recordsConflicting": "0", **source,
    }  # fmt: skip
    assert all(item["processedAt"]["S"].endswith("Z") for item in aws.dynamodb.items.values())
    logged = lines()
    assert emitted(logged) == {("Files",): [1], ("Conflicts",): [0]}
    for line in logged:
        if "_aws" not in line:
            assert (line["bucket"], line["key"], line["version_id"], line["request_id"]) == (BUCKET, key, version, "request-1")


def test_same_file_three_times(aws):
    """R3a: delivered again, or uploaded again: the table stays as it is."""
    first, again, renamed = aws.s3.add("a.json", many(3)), aws.s3.add("a.json", many(3)), aws.s3.add("b.json", many(3))
    assert counts(ingest("a.json", first)) == [3, 3, 0, 0, 0]
    before = aws.dynamodb.records()
    assert counts(ingest("a.json", first)) == [3, 3, 0, 0, 0]
    assert counts(ingest("a.json", again)) == counts(ingest("b.json", renamed)) == [3, 0, 3, 0, 0]
    assert aws.dynamodb.records() == before


@pytest.mark.parametrize("tells_old", [True, False])
def test_overlap_and_conflict(aws, lines, tells_old):
    """R3b: the first one wins; other content is counted, also within one file and also of invalid records."""
    aws.dynamodb.tells_old = tells_old
    ingest("a.json", aws.s3.add("a.json", body("a", "b") + b'{"recordId": "c"}\n'))
    version = aws.s3.add("b.json", body("b", "a", n=2) + body("b", "d", "d") + b'{"recordId": "c", "n": 2}\n' + body("d", n=2))
    assert counts(ingest("b.json", version)) == [7, 1, 2, 1, 4]
    assert emitted(lines()) == {("Files",): [1, 1], ("Conflicts",): [0, 4]}
    assert {item["data"].count('"n"') for item in aws.dynamodb.records().values()} == {0}


@pytest.mark.parametrize(
    ("key", "content"), [("a.json", b""), ("a.csv", b""), ("a.csv", b"recordId,timestamp\n"), ("a.json", b"[]")]
)
def test_empty(aws, lines, key, content):
    """R3: done, with no records."""
    assert counts(ingest(key, aws.s3.add(key, content))) == [0, 0, 0, 0, 0]
    assert checkpoint(aws)["done"] == "true" and emitted(lines())["Files",] == [1]


def test_ten_thousand(aws, monkeypatch):
    """R3b: batch by batch, with a checkpoint after each, in blocks."""
    monkeypatch.setattr(storage, "BLOCK_BYTES", 100_000)
    content = many(10_000)
    assert counts(ingest("a.json", aws.s3.add("a.json", content))) == [10_000, 10_000, 0, 0, 0]
    assert len(aws.dynamodb.records()) == 10_000 and len(aws.dynamodb.calls) == 1 + 10_000 + 20 + 1
    assert aws.s3.served == len(content)


def test_time(aws, monkeypatch):
    """R3b: what the time does not suffice for is left to the next attempt, which goes on from the checkpoint."""
    monkeypatch.setattr(storage, "BLOCK_BYTES", 4_000)
    monkeypatch.setattr(processor, "BATCH_RECORDS", 100)
    monkeypatch.setattr(reading, "_HEAD_BYTES", 4_000)
    version = aws.s3.add("a.json", many(1_000))
    for attempts in itertools.count(1):
        left = iter([AGES] * 8)
        try:
            found = ingest("a.json", version, lambda left=left: next(left, processor.RESERVED_SECONDS * 1000))
            break
        except Unfinished:
            pass
        assert attempts < 50
    assert attempts > 2 and counts(found) == [1_000, 1_000, 0, 0, 0]
    assert len(aws.dynamodb.records()) == 1_000


def test_throttled_to_the_end(aws, monkeypatch):
    """R3b: a table that takes nothing any more ends the attempt, not the file."""
    version = aws.s3.add("a.json", many(20))

    def throttle(number):
        if number > 5:
            raise client_error("ThrottlingException")

    aws.dynamodb.before = throttle
    patience = itertools.count(AGES, -100)
    with pytest.raises(Unfinished, match="ThrottlingException"):
        ingest("a.json", version, lambda: next(patience))
    aws.dynamodb.before = lambda number: None
    assert counts(ingest("a.json", version)) == [20, 20, 0, 0, 0]


@pytest.mark.parametrize(
    ("key", "content", "reason"),
    [
        ("a.json", b"\x1f\x8b\x08\x00", "gzip"), ("a.csv", b"\x1f\x8b\x08\x00", "gzip"), ("a.json", b"hello", "not JSON"),
        ("a.csv", b"a,a\n1,2\n", "'a' more than once"),
    ],
)  # fmt: skip
def test_unreadable(aws, lines, key, content, reason):
    """R3b: no attempt would help: done, with the reason, counted as a failed file."""
    version = aws.s3.add(key, content)
    assert reason in ingest(key, version)["failure"]
    assert reason in ingest(key, version)["failure"]  # delivered again
    found = checkpoint(aws)
    assert found["done"] == "true" and reason in found["failure"] and found["recordsRead"] == "0"
    assert emitted(lines()) == {("FailedFiles",): [1]}


def test_deleted(aws, lines, monkeypatch):
    """R3b: a version that is gone, from the start or half-way, is no outage."""
    assert "was deleted" in ingest("a.json", "v1")["failure"]
    monkeypatch.setattr(storage, "BLOCK_BYTES", 4_000)
    version = aws.s3.add("b.json", many(1_000))

    def delete(number):
        if number == 8:
            aws.s3.versions.pop(("b.json", version))

    aws.s3.before = delete
    found = ingest("b.json", version)
    assert "was deleted" in found["failure"] and found["recordsRead"] == found["recordsStored"] == 0
    assert emitted(lines()) == {("FailedFiles",): [1, 1]}


def test_events(aws):
    """R2: each record for itself; what is wrong with one is said, and tried again."""
    good = [("a.json", aws.s3.add("a.json", many(1))), ("b.csv", aws.s3.add("b.csv", b"recordId,timestamp\n1,1709633472\n"))]
    assert [counts(file)[1] for file in processor.handler(event(*good), context())["files"]] == [1, 1]
    without, null, other = event(("a.json", ""), ("a.json", "null"), ("a.txt", "v1"))["Records"]
    del without["s3"]["object"]["versionId"]
    last = event(("c.json", aws.s3.add("c.json", many(1))))["Records"]
    with pytest.raises(IngestionFailed) as failed:
        processor.handler({"Records": [without, null, other, {}, None, *last]}, context())
    message = str(failed.value)
    assert message.count("has no version id: the bucket must be versioned") == 2
    assert "record 3 ('a.txt'): ValueError" in message and "record 4 (without a key)" in message and "record 5" in message
    assert "record 6" not in message and len(aws.dynamodb.texts(contract.CHECKPOINT)) == 3
    assert processor.handler({"Service": "Amazon S3", "Event": "s3:TestEvent"}, context()) is None


def test_faults_of_aws_are_raised(aws):
    """R3b: so that Lambda tries again, and in the end the queue has the event; nothing is called done."""
    version = aws.s3.add("a.json", many(3))
    aws.dynamodb.before = _raise(client_error("AccessDeniedException"))
    with pytest.raises(IngestionFailed, match="AccessDenied"):
        ingest("a.json", version)
    aws.dynamodb.before, aws.s3.before = lambda number: None, _raise(client_error("AccessDenied", 403))
    with pytest.raises(IngestionFailed, match="AccessDenied"):
        ingest("a.json", version)
    assert aws.dynamodb.items == {}


def _raise(error):
    def raise_(number):
        raise error

    return raise_


def test_broken_answers_are_read_again(aws, monkeypatch):
    """R3b: botocore repeats requests, not what breaks off of their answers."""
    get, broken = type(aws.s3)._get_object, []

    class Broken:
        def read(self):
            broken.append(1)
            raise IncompleteReadError(actual_bytes=1, expected_bytes=2)

    monkeypatch.setattr(
        type(aws.s3), "_get_object", lambda self, **named: {"Body": Broken()} if len(broken) < 3 else get(self, **named)
    )
    assert counts(ingest("a.json", aws.s3.add("a.json", many(3)))) == [3, 3, 0, 0, 0]
    broken[:] = [1] * -10
    monkeypatch.setattr(type(aws.s3), "_get_object", lambda self, **named: {"Body": Broken()})
    with pytest.raises(IngestionFailed, match="IncompleteRead"):
        ingest("a.json", aws.s3.add("a.json", many(4)))


def test_batches_are_bounded(aws, monkeypatch):
    """R3b: in bytes too, so that records of 1 MiB do not fill the memory."""
    monkeypatch.setattr(processor, "BATCH_BYTES", 1_000)
    ingest("a.json", aws.s3.add("a.json", body("a", "b", "c", "d", text="x" * 600)))
    assert len(aws.dynamodb.calls) == 1 + 4 + 2 + 1


# --- patience --------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self, seconds):
        self.left, self.limits = seconds, []

    def sleep(self, seconds):
        self.left -= seconds

    def uniform(self, least, most):
        assert least == 0
        self.limits.append(most)
        return most


TROUBLES = [
    client_error("ProvisionedThroughputExceededException"), client_error("ThrottlingException"),
    client_error("RequestLimitExceeded"), client_error("Whatever", 503), ConnectTimeoutError(endpoint_url="x"),
]  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES, ids=str)
def test_patience(trouble):
    """R3b: exponential backoff with full jitter, up to a limit, as long as there is time."""
    clock, attempts = Clock(60), []

    def call(**arguments):
        attempts.append(arguments)
        raise trouble

    with pytest.raises(OutOfTime) as failed:
        Patience(lambda: clock.left, clock.sleep, clock.uniform).call(call, a=1)
    assert failed.value.__cause__ is trouble and attempts == [{"a": 1}] * len(clock.limits)
    assert clock.limits[:4] == [0.05, 0.1, 0.2, 0.4] and clock.limits[-1] == 5 and 0 <= clock.left <= 5


def test_patience_has_limits():
    """R3b: what another attempt would meet again is raised at once."""
    clock = Clock(60)
    for code in ("ValidationException", "AccessDeniedException", "ConditionalCheckFailedException"):
        error = client_error(code)
        with pytest.raises(type(error), match=code):
            Patience(lambda: clock.left, clock.sleep, clock.uniform).call(_raising(error))
    assert clock.left == 60


def _raising(error):
    def call():
        raise error

    return call


def test_an_item_that_vanishes_is_stored_again(aws):
    """R3b: what stood in the way is deleted before it can be compared."""
    aws.dynamodb.tells_old = False
    ingest("a.json", aws.s3.add("a.json", body("a")))

    def vanish(number):
        if aws.dynamodb.calls[-1] == "get_item" and aws.dynamodb.calls[-2] == "put_item":
            aws.dynamodb.items.pop(("a", TIME), None)

    version = aws.s3.add("b.json", body("a"))
    aws.dynamodb.before = vanish
    assert counts(ingest("b.json", version)) == [1, 1, 0, 0, 0]


def test_checkpoints_only_grow():
    """R3b: one that was read before another was written does not replace it."""
    dynamodb = FakeDynamoDb()
    held = table.Table(dynamodb, TABLE, EAST, Patience(lambda: 60, time.sleep))
    source = table.Source("b", "k", "v")
    start = held.checkpoint(source)
    first = held.advance(source, start, table.Checkpoint(table.Place(10, 1)))
    with pytest.raises(table.Overtaken):
        held.advance(source, start, table.Checkpoint(table.Place(20, 1)))
    done = held.advance(source, first, table.Checkpoint(table.Place(10, 1), done=True))
    with pytest.raises(table.Overtaken):
        held.advance(source, first, table.Checkpoint(table.Place(20, 2)))
    assert held.checkpoint(source) == done
    others = [table.Source("b", "k", "v2"), table.Source("b2", "k", "v"), table.Source("b", "k\nv", "")]
    assert len({one.checkpoint_id for one in [source, *others]}) == 4
