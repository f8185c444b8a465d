"""The stream consumer (R5) and the heartbeat (R7) as Lambda calls them."""

from datetime import UTC, datetime, timedelta

import pytest
from ingestion_aws import EAST, ENVIRONMENT, WEST, context, emitted

from lambdas.ingestion import contract, heartbeat, stream_consumer


def change(number, *, name="INSERT", status="VALID", region=EAST, **image):
    item = {"recordId": str(number), "processingStatus": status, "processingRegion": region, "data": "{}", **image}
    return {
        "eventName": name,
        "dynamodb": {"SequenceNumber": f"n{number}", "NewImage": {key: {"S": value} for key, value in item.items()}},
    }


def consume(*changes):
    answer = stream_consumer.handler({"Records": list(changes)}, context())
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


@pytest.fixture
def seen(aws, monkeypatch):
    """What users' code is given; it fails for records called poison."""
    records = []

    def downstream(record):
        if record["data"] == "poison":
            raise RuntimeError("it is poison")
        records.append(record)

    monkeypatch.setattr(stream_consumer, "downstream", downstream)
    return records


def test_own_records_only(seen, lines):
    """R5: inserted or changed, valid or invalid, written by this region: no checkpoints, heartbeats, removals or others'."""
    removal = {"eventName": "REMOVE", "dynamodb": {"SequenceNumber": "n9", "Keys": {}}}
    assert consume(
        change(1), change(2, status="INVALID"), change(3, region=WEST), change(4, status="CHECKPOINT"), change(5, name="MODIFY"),
        change(6, status="HEARTBEAT"), change(7, name="REMOVE"), removal,
    ) == []  # fmt: skip
    assert [record["recordId"] for record in seen] == ["1", "2", "5"]
    assert emitted(lines()) == {("Records", "VALID"): [2], ("Records", "INVALID"): [1]}


def test_poison(seen, lines):
    """R5: the poisonous record is reported by its number, logged, and not counted; the others are handled."""
    broken = change(3)
    broken["dynamodb"]["NewImage"]["data"] = {"X": "?"}
    without = {"eventName": "INSERT", "dynamodb": {"SequenceNumber": "n4"}}
    assert consume(change(1), change(2, data="poison"), broken, without, change(5)) == ["n2", "n3", "n4"]
    assert [record["recordId"] for record in seen] == ["1", "5"]
    logged = lines()
    assert emitted(logged) == {("Records", "VALID"): [2]}
    failures = [line for line in logged if line.get("level") == "ERROR"]
    assert [line["sequence_number"] for line in failures] == ["n2", "n3", "n4"]
    assert "it is poison" in failures[0]["exception"]


def test_nothing_but_poison(seen):
    """R5: a batch of which every record fails is reported like any other, not raised."""
    assert consume(change(1, data="poison"), change(2, data="poison")) == ["n1", "n2"]


def test_default_downstream(aws):
    """R5: without users' code nothing more happens than the counting."""
    assert consume(change(1)) == []


# --- heartbeat -------------------------------------------------------------------------------------------------------


def beat(monkeypatch, region, other):
    monkeypatch.setenv(contract.ENV_REGION, region)
    monkeypatch.setenv(contract.ENV_OTHER_REGION, other)
    heartbeat.handler({}, context())


def test_heartbeats(aws, lines, monkeypatch):
    """R7: each region writes its own and tells the other's age; if none was ever seen, it says so and shows no number."""
    beat(monkeypatch, EAST, WEST)
    logged = lines()
    assert emitted(logged) == {} and any("no heartbeat" in line.get("message", "") for line in logged)
    beat(monkeypatch, WEST, EAST)
    ((lag,),) = emitted(lines()).values()
    assert 0 <= lag < 300
    east, west = aws.dynamodb.texts(contract.HEARTBEAT).values()
    assert (east["recordId"], east["timestamp"], east["processingRegion"]) == ("heartbeat#us-east-1", contract.NO_TIMESTAMP, EAST)
    assert west["recordId"] == "heartbeat#us-west-2" and west["beatAt"].endswith("Z")


@pytest.mark.parametrize(("age", "expected"), [(90, 90), (-5, 0)])
def test_lag(aws, lines, monkeypatch, age, expected):
    """R7: seconds since the other region's last heartbeat; a clock that is ahead makes none negative."""
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    beats = now - timedelta(seconds=age)
    key = ("heartbeat#us-west-2", contract.NO_TIMESTAMP)
    aws.dynamodb.items[key] = {
        "processingStatus": {"S": "HEARTBEAT"}, "beatAt": {"S": beats.isoformat().replace("+00:00", "Z")},
    }  # fmt: skip

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return now

    monkeypatch.setattr(heartbeat, "datetime", Clock)
    beat(monkeypatch, EAST, WEST)
    assert emitted(lines()) == {("ReplicationLag",): [expected]}


def test_environment_is_checked(aws, monkeypatch):
    """R2: a variable that is missing is named."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name)
    with pytest.raises(Exception, match="TABLE_NAME is missing"):
        heartbeat.handler({}, context())
    with pytest.raises(Exception, match="REGION is missing"):
        stream_consumer.handler({"Records": []}, context())
