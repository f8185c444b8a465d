"""The audit of a burst finds what is lost, doubled, altered or left over, and the page tells what was measured (C13)."""

import json
import os
from pathlib import Path

import pytest

from bench import bursts, load
from bench.bursts import Sent
from lambdas.etl import header
from lambdas.etl.rows import Conversion
from lambdas.ingestion import contract as ingestion
from lambdas.pets import contract as pets


def test_expected_output_is_what_the_rules_make_of_the_file():
    """E4a: the audit's own idea of the output, held against the conversion."""
    for number in range(40):
        body, wanted = bursts.csv_file(number)
        if wanted is None:
            with pytest.raises(header.InvalidFile, match="timestamp"):
                header.read(body, complete=True)
            continue
        found = header.read(body, complete=True)
        rejects = []
        conversion = Conversion(found, rejects.append, offset=found.length)
        assert found.text + b"".join(conversion.convert([body[found.length :]])) == wanted
        assert not rejects


# --- ETL -------------------------------------------------------------------------------------------------------------

GOOD, NEWER = Sent("a.csv", "1", b"x", b"h\n1\n", 0), Sent("a.csv", "2", b"y", b"h\n2\n", 1)
BAD = Sent("b.csv", "3", b"z", None, 2)


def etl():
    """A burst of two versions of one file and an invalid one, as it should end."""
    records = [
        {"file_name": "a.csv", "version_id": "1", "status": "SUCCEEDED", "output_key": "processed/a.csv", "rows_written": 1},
        {"file_name": "a.csv", "version_id": "2", "status": "SUCCEEDED", "output_key": "processed/a.csv", "rows_written": 1},
        {"file_name": "b.csv", "version_id": "3", "status": "INVALID"},
    ]
    return {"records": records, "objects": {"processed/a.csv": b"h\n2\n", "failed/b.csv": b"z"}, "notices": 1}


def etl_faults(burst):
    return bursts.etl_faults([GOOD, NEWER, BAD], burst["records"], burst["objects"], burst["notices"])


def test_etl_burst_that_is_well():
    """E4c: the newer version's output stands; that the older one was overtaken is no fault."""
    burst = etl()
    assert etl_faults(burst) == []
    del burst["records"][0]["output_key"]
    burst["records"][0]["rows_written"] = 0
    assert etl_faults(burst) == []


@pytest.mark.parametrize("damage, fault", [
    (lambda burst: burst["records"].pop(0), "a.csv 1: its records are [], not one SUCCEEDED"),
    (lambda burst: burst["records"].append(burst["records"][2]), "b.csv 3: its records are ['INVALID', 'INVALID']"),
    (lambda burst: burst["records"][0].update(status="PROCESSING"), "a.csv 1: its records are ['PROCESSING']"),
    (lambda burst: burst["records"][1].update(rows_written=2), "a.csv 2: 2 rows are said to be written"),
    (lambda burst: burst["records"][0].update(version_id="9"), "a.csv 9: a record of what nobody uploaded"),
    (lambda burst: burst["objects"].update({"processed/a.csv": b"h\n1\n"}), "processed/a.csv has other content"),
    (lambda burst: burst["objects"].pop("failed/b.csv"), "failed/b.csv is missing"),
    (lambda burst: burst["objects"].update({"raw/a.csv": b"y"}), "raw/a.csv is left over"),
    (lambda burst: burst.update(notices=2), "2 notices for 1 invalid files"),
])
def test_etl_burst_that_is_not(damage, fault):
    """E2, E3c, E4c, E8a."""
    burst = etl()
    damage(burst)
    assert any(each.startswith(fault) for each in etl_faults(burst)), etl_faults(burst)


# --- metadata --------------------------------------------------------------------------------------------------------


def document(key, version, text):
    return {"@timestamp": "2026-11-21T10:00:00Z", "ingest": {"key": key, "version_id": version}, **bursts.parsed(text)}


def test_metadata_is_one_document_or_one_failure():
    """M3b, M6: digit by digit."""
    sent = [Sent("a/metadata.json", "1", b'{"size": 1.10}', True, 0), Sent("b/metadata.json", "2", b"{", False, 0)]
    good, failed = document("a/metadata.json", "1", '{"size": 1.10}'), [("b/metadata.json", "2")]
    assert bursts.metadata_faults(sent, [good], failed) == []
    for documents, failures, fault in (
        ([], failed, "a/metadata.json 1: 0 documents and 0 failures"),
        ([good, good], failed, "a/metadata.json 1: 2 documents and 0 failures"),
        ([document("a/metadata.json", "1", '{"size": 1.1}')], failed, "a/metadata.json 1: its document is"),
        ([good], [], "b/metadata.json 2: 0 documents and 0 failures"),
        ([good, document("c/metadata.json", "3", "{}")], failed, "c/metadata.json 3: not of this burst"),
    ):
        assert [each[: len(fault)] for each in bursts.metadata_faults(sent, documents, failures)] == [fault]


# --- pets ------------------------------------------------------------------------------------------------------------


def record(image_id, status, animal, folder):
    return {pets.IMAGE_ID: image_id, pets.STATUS: status, pets.ANIMAL: animal, pets.LOCATION: f"s3://b/{folder}{image_id}/x.png",
            pets.SOURCE_KEY: f"input/{image_id}/x.png"}


def test_pictures_have_one_record_and_lie_where_they_belong():
    """P3, P4."""
    sent = [Sent("1", "x.png", b"rex", (pets.COMPLETED, "dog", "dogs/"), 0),
            Sent("2", "x.png", b"dim", (pets.UNCERTAIN, "cat", "others/"), 0)]
    records = [record("1", pets.COMPLETED, "dog", "dogs/"), record("2", pets.UNCERTAIN, "cat", "others/")]
    objects = {"dogs/1/x.png": b"rex", "others/2/x.png": b"dim"}
    assert bursts.pet_faults(sent, records, objects, 1) == []
    misfiled = record("1", pets.COMPLETED, "dog", "cats/")
    for given, fault in (
        ((records[1:], objects, 1), "1: its records are [], not one"),
        (([misfiled, records[1]], objects, 1), "1: its records are [('completed', 'dog', 'cats/')], not one"),
        ((records, objects | {"dogs/1/x.png": b"felix"}, 1), "dogs/1/x.png has other content"),
        ((records, objects | {"input/3/x.png": b""}, 1), "input/3/x.png is left over"),
        ((records, objects, 0), "0 notices for 1 doubtful images"),
    ):
        assert bursts.pet_faults(sent, *given)[0].startswith(fault)


def test_only_an_answer_of_5xx_explains_a_picture_that_is_there_twice():
    """P1a: a gateway gives up after 29 seconds; whether the function went on, nobody tells the caller."""
    sent = Sent("1", "x.png", b"rex", (pets.COMPLETED, "dog", "dogs/"), 0)
    records = [record(each, pets.COMPLETED, "dog", "dogs/") for each in "12"]
    assert bursts.doubled([sent], records, ()) == []
    [twice] = bursts.doubled([sent], records, {"x.png"})
    assert (twice.name, twice.body, twice.wanted) == ("2", b"rex", sent.wanted)
    assert bursts.doubled([sent], records[:1], {"x.png"}) == []


# --- ingestion -------------------------------------------------------------------------------------------------------


def test_each_record_is_there_once():
    """R3a, R3b."""
    body, wanted = bursts.records_file(1)
    sent = [Sent("load/00001.json", "1", body, wanted, 0)]
    records = [{ingestion.SOURCE_KEY: "load/00001.json", ingestion.SOURCE_VERSION: "1", ingestion.SOURCE_OFFSET: offset,
                ingestion.DATA: line} for offset, line in enumerate(body.decode().splitlines())]
    done = {("load/00001.json", "1"): 1}
    assert bursts.ingestion_faults(sent, done, records[::-1], "us-west-2") == []
    altered = {**records[0], ingestion.DATA: json.dumps({**wanted[0], "total": 0})}
    stranger = {**records[0], ingestion.SOURCE_VERSION: "2"}
    for given, fault in (
        (({}, records), "0 checkpoints that are done"),
        ((done, records[1:]), "has 4 records of it, not its 5"),
        ((done, [*records, records[0]]), "has 6 records of it, not its 5"),
        ((done, [altered, *records[1:]]), "has 5 records of it, not its 5"),
        ((done, [*records, stranger]), "has records of what nobody uploaded"),
    ):
        [found] = bursts.ingestion_faults(sent, *given, "us-west-2")
        assert found.endswith(fault)


# --- figures ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the figures are Linux's")
def test_cpu_time_is_counted_by_process_group(monkeypatch):
    """A worker that ends counts with what it had used when it was last seen."""
    assert os.getpid() in load.group_cpu(os.getpgrp())
    assert os.getpid() not in load.group_cpu(-1)
    seen = iter([{1: 10.0, 2: 4.0}, {1: 11.0, 2: 5.0, 3: 0.5}, {1: 12.0, 3: 0.75}])
    monkeypatch.setattr(load, "group_cpu", lambda group: next(seen))
    meter = load.Meter(1)
    meter.look()
    emulator, functions, others = meter.used()
    assert (emulator, functions) == (2.0, 1.75) and others >= 0


def test_percentiles_are_values_that_were_seen():
    seen = [float(each) for each in range(1, 201)]
    assert [load.percentile(seen, share) for share in (50, 95, 99)] == [100, 190, 198]
    assert load.percentile([3.0], 99) == 3.0


RESULTS = {
    "when": "2026-11-21", "concurrency": 10,
    "machine": {"processor": "X, x86_64", "cores": 2, "memory_gib": 8, "system": "Linux 6", "python": "3.13.0"},
    "bursts": [{"system": "ETL", "sent": 2000, "sending": 20.0, "seconds": 100.0, "p50": 40.04, "p95": 90.0, "p99": 99.0,
                "refused": 7, "doubled": 1, "throttled": 1234, "failed_attempts": 0, "emulator_cpu": 60.0, "functions_cpu": 20.0,
                "others_cores": 0.5, "faults": ["raw/a.csv is left over"]}],
}


def test_table_tells_what_was_measured():
    [line] = [line for line in load.table(RESULTS).splitlines() if line.startswith("| ETL")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["ETL", "2,000", "20.0", "40.0", "90.0", "99.0", "1", "1,234", "7", "1", "0", "10", "30", "75 %", "0.5"]


def test_table_takes_the_place_of_the_former_one():
    page = f"# Load\n\n{load.BEGIN}old\n{load.END}\nThe rest.\n"
    once = load.written(page, RESULTS)
    assert "old" not in once and once.startswith("# Load\n") and once.endswith("\nThe rest.\n")
    assert load.written(once, RESULTS) == once
    with pytest.raises(ValueError, match="no place for the table"):
        load.written("# Load\n", RESULTS)


def test_page_tells_the_kept_figures():
    """C14."""
    kept = json.loads(load.RESULTS.read_text(encoding="utf-8"))
    page = load.PAGE.read_text(encoding="utf-8")
    assert load.written(page, kept) == page
    assert not [each["faults"] for each in kept["bursts"] if each["faults"]]
