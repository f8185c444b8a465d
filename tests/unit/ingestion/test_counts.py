"""Every record exactly once, and counts that say so (R3b): whatever fails, at whichever call, in whichever attempt."""

import itertools
import json
import logging
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ingestion_aws import ENVIRONMENT, FakeDynamoDb, FakeS3, client_error, context, event

from lambdas.common import aws as calls
from lambdas.common import log
from lambdas.ingestion import contract, processor, table

TIME = "2024-03-05T10:11:12Z"
MANY = 60


class Killed(Exception):
    """The function is no more: none of its calls succeeds."""


class World:
    """A bucket, a table and what is going to happen."""

    def __init__(self, tells_old=True):
        self.s3, self.dynamodb = FakeS3(), FakeDynamoDb()
        self.dynamodb.tells_old = tells_old
        self.workers = 2

    def invoke(self, key, version):
        clients = {"s3": self.s3, "dynamodb": self.dynamodb}
        with (
            patch.dict("os.environ", ENVIRONMENT), patch.object(calls, "client", lambda service, *_: clients[service]),
            patch.object(table, "_FIRST_WAIT", 0), patch.object(processor, "BATCH_RECORDS", 3),
            patch.object(table, "WORKERS", self.workers), patch.object(log, "_logger", logging.getLogger("nobody reads")),
        ):  # fmt: skip
            return processor.handler(event((key, version)), context())

    def fail(self, *, kill=None, lost_kill=False, throttle=(), lose=()):
        """From the next call on: throttle the calls of these numbers, lose these answers, die at that call (before or, with
        ``lost_kill``, after it was done)."""
        begun = len(self.dynamodb.calls)

        def before(number):
            number -= begun
            if kill is not None and number >= kill + lost_kill:
                raise Killed
            if number in throttle:
                raise client_error("ProvisionedThroughputExceededException")

        def after(number):
            number -= begun
            if kill is not None and number >= kill:
                raise Killed
            if number in lose:
                raise client_error("InternalServerError", 500)

        self.dynamodb.before, self.dynamodb.after = before, after

    def work(self):
        self.dynamodb.before = self.dynamodb.after = lambda number: None

    def state(self):
        return self.dynamodb.texts(contract.VALID, contract.INVALID, contract.CHECKPOINT)


def body_of(rows, shape):
    objects = [
        {"recordId": id_, "timestamp": TIME if valid else "some time", "value": value} for id_, value, valid in rows
    ]
    if shape == "csv":
        return "".join(["recordId,timestamp,value\n", *(",".join(map(str, one.values())) + "\n" for one in objects)]).encode()
    lines = [json.dumps(one) for one in objects]
    return (f"[{','.join(lines)}]" if shape == "array" else "\n".join(lines)).encode()


# Few ids and values: keys that come again, in one batch and in others, with the same content and with other content.
ROWS = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 1), st.booleans()), max_size=14)
SHAPES = st.sampled_from(["csv", "array", "lines"])
NUMBERS = st.frozensets(st.integers(1, MANY), max_size=8)


@st.composite
def worlds(draw):
    """A file that is to be read, in a table that may hold some of its records from another one; and the same once more."""
    shape, rows, other = draw(SHAPES), draw(ROWS), draw(ROWS)
    made = []
    for _ in range(2):
        world = World()
        world.invoke("other.json", world.s3.add("other.json", body_of(other, "lines")))
        key = "file.csv" if shape == "csv" else "file.json"
        version = world.s3.add(key, body_of(rows, shape))
        made.append(world)
    return *made, key, version, len(rows)


def assert_counts(world, version, read):
    """The last checkpoint of the file, and what they must say."""
    (found,) = [
        item for item in world.dynamodb.texts(contract.CHECKPOINT).values() if item[contract.SOURCE_VERSION] == version
    ]
    counted = {name: int(found[name]) for name in contract.COUNTS}
    own = [item for item in world.dynamodb.records().values() if item[contract.SOURCE_VERSION] == version]
    assert found[contract.DONE] == "true" and counted["recordsRead"] == read
    assert read == counted["recordsStored"] + counted["recordsKnown"] + counted["recordsConflicting"]
    assert counted["recordsStored"] == len(own)


@settings(max_examples=80)
@given(
    worlds(),
    st.lists(st.tuples(st.integers(1, 30), st.booleans(), NUMBERS, NUMBERS), max_size=5),
    NUMBERS,
    NUMBERS,
    st.booleans(),
)
def test_every_record_once(made, deaths, throttle, lose, tells_old):
    """R3b: throttled, left without answers and killed, and at last let go on, the table and the counts are those of a run in
    which nothing failed."""
    world, calm, key, version, read = made
    calm.invoke(key, version)
    world.dynamodb.tells_old = tells_old
    for kill, lost_kill, throttled, lost in deaths:
        world.fail(kill=kill, lost_kill=lost_kill, throttle=throttled, lose=lost)
        try:
            world.invoke(key, version)
        except processor.IngestionFailed:
            pass
    world.fail(throttle=throttle, lose=lose)
    world.invoke(key, version)
    assert world.state() == calm.state()
    assert_counts(world, version, read)
    world.work()
    calls_before = len(world.dynamodb.calls)
    world.invoke(key, version)  # delivered once more
    assert world.state() == calm.state() and world.dynamodb.calls[calls_before:] == ["get_item"]


@settings(max_examples=120)
@given(worlds(), st.integers(1, 30), st.integers(1, 30) | st.none(), st.booleans())
def test_two_at_once(made, at, kill, answered):
    """R3b: the same event delivered twice, the second in the middle of the first, to its end or to its death: both end well."""
    world, calm, key, version, read = made
    calm.invoke(key, version)
    begun, inner_began = len(world.dynamodb.calls), []

    def second(number):
        if number - begun < at or inner_began:
            return
        inner_began.append(number)
        first = dict(vars(world.dynamodb))
        world.fail(kill=kill)
        try:
            world.invoke(key, version)
        except processor.IngestionFailed:
            assert kill
        world.dynamodb.before, world.dynamodb.after = first["before"], first["after"]

    setattr(world.dynamodb, "after" if answered else "before", second)
    world.workers = 1  # the first one stands still meanwhile: another of its calls would die with the second
    world.invoke(key, version)
    assert world.state() == calm.state()
    assert_counts(world, version, read)


def test_killed_at_every_call():
    """R3b: at each of the calls that a file takes, before and after it was done."""
    rows = [(str(number % 9), number % 2, number % 5 > 0) for number in range(14)]
    calm = World()
    version = calm.s3.add("a.json", body_of(rows, "array"))
    calm.invoke("a.json", version)
    for kill, lost in itertools.product(range(1, len(calm.dynamodb.calls) + 1), [False, True]):
        world = World()
        world.s3.add("a.json", body_of(rows, "array"))
        world.fail(kill=kill, lost_kill=lost)
        with pytest.raises(processor.IngestionFailed):
            world.invoke("a.json", version)
        world.work()
        world.invoke("a.json", version)
        assert world.state() == calm.state()
        assert_counts(world, version, len(rows))


def test_deaths_at_each_call_still_end():
    """R3b: as long as an attempt completes a batch, the file is finished some day."""
    world = World()
    version = world.s3.add("a.json", body_of([(str(number), 0, True) for number in range(30)], "lines"))
    for _ in range(10):
        world.fail(kill=6)  # after one look at the checkpoint, three records, one checkpoint
        with pytest.raises(processor.IngestionFailed):
            world.invoke("a.json", version)
    world.fail(kill=6)
    world.invoke("a.json", version)
    assert len(world.dynamodb.records()) == 30
    assert_counts(world, version, 30)
