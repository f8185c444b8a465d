"""Files of every kind, in both regions (R1-R4): what stands in the table is what stood in the file."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from lambdas.ingestion import contract
from local.ingestion import REGIONS, records_of
from tests.local.ingestion.conftest import lines, numbered, record

EAST, WEST = REGIONS
ROWS = ("recordId,timestamp,name\n"
        "{0}-1,2026-03-01T00:00:00Z,\"Müller, \"\"Jörg\"\"\"\n"
        "{0}-2,1772323200,two\n")


def counts(checkpoint) -> tuple[int, ...]:
    """Read, stored, known, invalid, conflicting."""
    return tuple(checkpoint[each] for each in contract.COUNTS)


def everything(ingestion, region) -> dict:
    """Every item but the heartbeats, by its key."""
    return {(item[contract.RECORD_ID], item[contract.TIMESTAMP]): item for item in ingestion.items(region)
            if item[contract.STATUS] != contract.HEARTBEAT}


@pytest.mark.parametrize("region", REGIONS)
def test_every_kind_of_file(ingestion, name, region):
    """R2, R3a: object, array, JSON Lines, CSV, empty, malformed in the middle; a key that is not ASCII. Stored = records in the
    file, in both regions."""
    bodies = {
        "object.json": (json.dumps(record(f"{name}-object"), indent=2).encode(), (1, 1, 0, 0, 0)),
        "array.json": (json.dumps(numbered(f"{name}-array", 3)).encode(), (3, 3, 0, 0, 0)),
        "lines.json": (lines(numbered(f"{name}-lines", 4)), (4, 4, 0, 0, 0)),
        "rows.csv": (ROWS.format(f"{name}-rows").encode(), (2, 2, 0, 0, 0)),
        "empty.json": (b"", (0, 0, 0, 0, 0)),
        "empty.csv": (b"", (0, 0, 0, 0, 0)),
        "middle.json": (b'%b{"recordId": "%b\n%b' % (
            lines(numbered(f"{name}-middle", 2)), name.encode(), lines(numbered(f"{name}-middle", 2, 2))), (5, 5, 0, 1, 0)),
        "März/50 % + more.json": (lines([record(f"{name}-größe")]), (1, 1, 0, 0, 0)),
    }
    files = {ingestion.upload(region, f"{name}/{key}", body): expected for key, (body, expected) in bodies.items()}
    done = ingestion.wait(files)
    assert {file.key: counts(done[file]) for file in files} == {file.key: expected for file, expected in files.items()}
    for where in REGIONS:
        stored = ingestion.records(where)
        for file, (_, count, *_) in files.items():
            assert len(records_of(file, stored)) == count, (where, file.key)
    own = {item[contract.RECORD_ID]: item for file in files for item in records_of(file, stored)}
    assert {item[contract.REGION] for item in own.values()} == {region}
    assert {item[contract.SOURCE_BUCKET] for item in own.values()} == {ingestion.output("bucket_name", region)}
    assert json.loads(own[f"{name}-rows-1"][contract.DATA])["name"] == 'Müller, "Jörg"'
    assert own[f"{name}-rows-2"][contract.TIMESTAMP] == "2026-03-01T00:00:00Z"
    [broken] = [item for item in own.values() if item[contract.STATUS] == contract.INVALID]
    assert "malformed" in broken[contract.REASON] and broken[contract.SOURCE_LINE] == 3
    assert broken[contract.TIMESTAMP] == contract.NO_TIMESTAMP


def test_same_file_three_times_changes_nothing(ingestion, name):
    """R3a: two more uploads, and the first one's event once more: not an attribute of a record changes; all are known."""
    body = lines([*numbered(name, 20), {"no id": name}, {"recordId": f"{name}-untimed"}])
    first = ingestion.upload(EAST, f"{name}.json", body)
    ingestion.wait([first])
    before = everything(ingestion, EAST)
    again = [ingestion.upload(EAST, f"{name}.json", body), ingestion.upload(EAST, f"{name} again.json", body)]
    done = ingestion.wait(again)
    assert [counts(done[file]) for file in again] == [(22, 0, 22, 2, 0)] * 2
    answer = ingestion.client("lambda", EAST).invoke(
        FunctionName=ingestion.output("function_name", EAST), Payload=json.dumps(ingestion.event(first)))
    assert "FunctionError" not in answer
    after = everything(ingestion, EAST)
    new = {item[contract.SOURCE_VERSION] for key, item in after.items() if key not in before}
    assert new == {file.version for file in again}  # their checkpoints
    assert {key: after[key] for key in before} == before


def test_overlapping_files(ingestion, name):
    """R3b: at once; each record is stored by one of them and known to the other."""
    bodies = [lines(numbered(name, 40, start)) for start in (0, 20, 40)]
    with ThreadPoolExecutor() as threads:
        files = list(threads.map(lambda body: ingestion.upload(EAST, f"{name}.json", body), bodies))
    done = ingestion.wait(files)
    total = [sum(each) for each in zip(*(counts(done[file]) for file in files), strict=True)]
    assert total == [120, 80, 40, 0, 0]
    own = [item for file in files for item in records_of(file, ingestion.records(EAST))]
    assert {item[contract.RECORD_ID] for item in own} == {f"{name}-{number}" for number in range(80)} and len(own) == 80


def test_first_record_of_a_key_wins(ingestion, name):
    """R3b: other content under the same key is counted as a conflict, in this region and in the other; the first stays."""
    first = ingestion.upload(EAST, f"{name}-1.json", lines([record(name, value="first")]))
    ingestion.wait([first])
    for region in REGIONS:
        other = ingestion.upload(region, f"{name}-2.json", lines([record(name, value=region), record(f"{name}-{region}")]))
        assert counts(ingestion.wait([other])[other]) == (2, 1, 0, 0, 1)
    for region in REGIONS:
        [kept] = [item for item in ingestion.records(region) if item[contract.RECORD_ID] == name]
        assert json.loads(kept[contract.DATA])["value"] == "first" and kept[contract.SOURCE_VERSION] == first.version


def test_west_write_is_visible_in_the_east(ingestion, name):
    """R4: the very item, by its key and by the index."""
    moment = datetime.now(UTC).isoformat()  # no other record's
    file = ingestion.upload(WEST, f"{name}.json", lines([record(name, timestamp=moment)]))
    ingestion.wait([file])
    [there] = records_of(file, ingestion.records(WEST))
    [here] = records_of(file, ingestion.records(EAST))
    assert here == there and here[contract.REGION] == WEST
    by_status = ingestion.client("dynamodb", EAST).query(
        TableName=ingestion.table, IndexName=contract.INDEX, KeyConditionExpression="#status = :valid AND #time = :time",
        ExpressionAttributeNames={"#status": contract.STATUS, "#time": contract.TIMESTAMP},
        ExpressionAttributeValues={":valid": {"S": contract.VALID}, ":time": {"S": here[contract.TIMESTAMP]}})
    assert [item[contract.RECORD_ID]["S"] for item in by_status["Items"]] == [name]
    assert ingestion.checkpoint(file, EAST) == ingestion.checkpoint(file, WEST)
