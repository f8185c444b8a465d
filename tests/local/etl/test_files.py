"""What becomes of files: the way of one upload, end to end, IAM enforced (section E)."""

import pytest

from local.etl_exercise import EtlSystem
from tests.local.etl.files import HEADER, rows


def test_every_sample_ends_as_it_must(aws, deployment):
    """E1–E5, L1: what `make local` shows."""
    system = EtlSystem()
    outcomes = system.exercise(aws, deployment.outputs["tap"], system.samples())
    assert {outcome.sample.file_name: outcome.faults for outcome in outcomes if outcome.faults} == {}


def test_output_of_a_messy_file(etl):
    """E4a: BOM dropped, CRLF kept, columns in their order, values canonical, quoted newlines kept, empty lines gone."""
    etl.upload("e4a/messy.csv", (
        "﻿customer_id, timestamp ,note,amount,transaction_id\r\n"
        'C1,03/05/2024 10:11,"two\r\nlines","$1,234.50",T1\r\n'
        "\r\n"
        'C2,1709633472123,"a ""quote""",(12.30),T2\r\n').encode())
    [record] = etl.wait("e4a/messy.csv")
    assert etl.read(record["output_key"]) == (
        b"customer_id, timestamp ,note,amount,transaction_id\r\n"
        b'C1,2024-03-05T10:11:00Z,"two\r\nlines",1234.50,T1\r\n'
        b'C2,2024-03-05T10:11:12.123Z,"a ""quote""",-12.30,T2\r\n')
    assert record["rows_written"] == 2


def test_record_of_a_good_file(etl):
    """E8a: every attribute of a record; E13 names the table."""
    version = etl.upload("e8a/good.csv", rows(3))
    [record] = etl.wait("e8a/good.csv")
    start, end = record.pop("process_start_time"), record.pop("process_end_time")
    assert start < end and len(start) == len(end) == len("2026-01-31T23:59:59.123456Z")
    arn = record.pop("execution_arn")
    assert arn.startswith(etl.machine_arn.replace(":stateMachine:", ":execution:"))
    assert record == {
        "file_name": "e8a/good.csv", "status": "SUCCEEDED", "version_id": version, "output_key": "processed/e8a/good.csv",
        "rows_read": 3, "rows_written": 3, "rows_rejected": 0}
    assert [run.name for run in etl.execution(arn).states] == [
        "RecordProcessing", "Validate", "IsValid", "Transform", "IsConverted", "RecordOutcome"]


def test_raw_object_is_hidden_not_deleted(aws, etl):
    """E4d: a delete marker, and the version recoverable behind it."""
    version = etl.upload("e4d/a.csv", rows(1))
    etl.wait("e4d/a.csv")
    found = aws.client("s3").list_object_versions(Bucket=etl.bucket, Prefix="raw/e4d/a.csv")
    assert [each["IsLatest"] for each in found["DeleteMarkers"]] == [True]
    assert [each["VersionId"] for each in found["Versions"]] == [version]


def test_rejects_below_the_ratio(etl, inbox):
    """E5a: the others are published; rejected rows are kept verbatim, counted and announced once."""
    etl.upload("e5/few.csv", rows(200, bad=2))
    [record] = etl.wait("e5/few.csv")
    assert (record["status"], record["rows_read"], record["rows_written"], record["rows_rejected"]) == ("SUCCEEDED", 200, 198, 2)
    name = record["execution_arn"].rsplit(":", 1)[1]
    assert etl.keys("failed/e5/few.csv") == [f"failed/e5/few.csv.rejects/{name}/part-00000.jsonl"]
    rejects = etl.rejects(record)
    assert [reject["row"] for reject in rejects] == [f"T{number},C1,none,2024-03-05T10:11:12Z" for number in range(2)]
    assert rejects[0]["byte_offset"] == rows(200, bad=2).index(b"T0,C1,none")
    assert "none" in rejects[0]["reason"]
    [notice] = inbox.messages("raw/e5/few.csv")
    assert notice["Subject"].isascii() and "2 of 200" in notice["Message"]


def test_rejects_above_the_ratio(etl, inbox):
    """E5c: set aside whole, nothing under processed/, rejects kept."""
    body = rows(100, bad=2)
    etl.upload("e5/many.csv", body)
    [record] = etl.wait("e5/many.csv")
    assert (record["status"], record["rows_read"], record["rows_written"], record["rows_rejected"]) == ("INVALID", 100, 0, 2)
    assert etl.keys("processed/e5/many.csv") == [] == etl.keys("raw/e5/many.csv")
    assert etl.read(record["failed_key"]) == body and record["failed_key"] == "failed/e5/many.csv"
    assert len(etl.rejects(record)) == 2
    assert len(inbox.messages("raw/e5/many.csv")) == 1


def test_exactly_the_ratio_is_not_above_it(etl):
    """E5c: strictly above; 1 of 100 is exactly 1 %."""
    etl.upload("e5/exact.csv", rows(100, bad=1))
    assert etl.wait("e5/exact.csv")[0]["status"] == "SUCCEEDED"


INVALID = {
    "empty": (b"", "empty"),
    "no-header": (b"x" * (1 << 20) + b"\n", "MiB"),
    "missing": (b"transaction_id,amount,timestamp\n1,2,3\n", "customer_id"),
    "twice": (b"transaction_id,customer_id,amount,timestamp,amount\n", "amount"),
    "delimiter": (b"transaction_id;customer_id;amount;timestamp\n", "';'"),
    "nul": (HEADER[:-1] + b",\x00\n", "NUL"),
    "utf-16": ("﻿transaction_id,customer_id,amount,timestamp\n".encode("utf-16-le"), "UTF-16"),
    "undecodable": (HEADER[:-1] + b",caf\xe9\n", "UTF-8"),
}


@pytest.mark.parametrize("kind", INVALID)
def test_invalid_files(etl, inbox, kind):
    """E3b, E3c: moved, announced with a reason a person can act on, recorded; the execution succeeds."""
    body, says = INVALID[kind]
    name = f"e3/{kind}.csv"
    etl.upload(name, body)
    [record] = etl.wait(name)
    assert record["status"] == "INVALID" and says in record["error_message"]
    assert record["failed_key"] == f"failed/{name}" and etl.read(f"failed/{name}") == body
    assert etl.keys(f"raw/{name}") == [] == etl.keys(f"processed/{name}")
    [notice] = inbox.messages(f"raw/{name}")
    assert record["error_message"] in notice["Message"] and notice["Subject"].isascii()
    etl.wait_until_idle()
    assert etl.execution(record["execution_arn"]).status == "SUCCEEDED"


def test_malformed_rows_leave_their_neighbours_alone(etl):
    """E5b: an unclosed quote, a wrong number of columns, bytes that are not UTF-8, a NUL: one rejected row each."""
    good = [b"T%d,C1,1.50,2024-03-05T10:11:12Z" % number for number in range(500)]
    bad = [b'X1,C1,"1.50,2024-03-05T10:11:12Z', b"X2,C1,1.50", b"X3,C1,1.50,2024-03-05,more", b"X4,C\xff,1.50,2024-03-05",
           b"X5,C\x00,1.50,2024-03-05"]
    lines = list(good)
    for number, row in enumerate(bad):
        lines.insert(100 * number, row)
    etl.upload("e5b/malformed.csv", HEADER + b"\n".join(lines) + b"\n")
    [record] = etl.wait("e5b/malformed.csv")
    assert (record["status"], record["rows_written"], record["rows_rejected"]) == ("SUCCEEDED", 500, 5)
    assert etl.read(record["output_key"]) == HEADER + b"\n".join(good) + b"\n"
    assert [reject.get("row") for reject in etl.rejects(record)] == [
        bad[0].decode(), bad[1].decode(), bad[2].decode(), None, bad[4].decode()]


NAMES = ["a b.csv", "a+b.csv", "100%.csv", "a%2Bb.csv", "Zürich/東京 €.csv", "it's \"quoted\".csv", "no-suffix", "data.bin",
         "a/b/c d.csv"]


@pytest.mark.parametrize("name", NAMES)
def test_names(etl, name):
    """E2, E3a: whatever the name, keys arrive decoded and results stand at the same relative path."""
    etl.upload(f"names/{name}", rows(1))
    [record] = etl.wait(f"names/{name}")
    assert record["output_key"] == f"processed/names/{name}" and etl.read(record["output_key"]) == rows(1)


def test_folder_marker_is_ignored(aws, etl):
    """E2: a key that ends in / and has no bytes is no file; the log says so."""
    before = len(etl.executions())
    aws.client("s3").put_object(Bucket=etl.bucket, Key="raw/folder/", Body=b"")
    etl.upload("folder/after.csv", rows(1))
    etl.wait("folder/after.csv")
    assert len(etl.executions()) == before + 1 and etl.records("folder/") == []
    assert etl.keys("raw/folder/") == ["raw/folder/"]
    log = aws.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{etl.validation}")["events"]
    assert any("folder marker" in line["message"] and "raw/folder/" in line["message"] for line in log)


def test_output_carries_its_provenance_and_replaces_the_older_one(aws, etl):
    """E4c: a later upload of a key replaces the earlier one's output; both records stand."""
    etl.upload("e4c/again.csv", rows(1))
    etl.wait("e4c/again.csv")
    version = etl.upload("e4c/again.csv", rows(2))
    first, second = etl.wait("e4c/again.csv", records=2)
    assert (first["rows_written"], second["rows_written"]) == (1, 2)
    head = aws.client("s3").head_object(Bucket=etl.bucket, Key="processed/e4c/again.csv")
    assert version in head["Metadata"].values()
    assert etl.read("processed/e4c/again.csv") == rows(2)
