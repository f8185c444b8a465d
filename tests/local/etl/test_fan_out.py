"""Large files, converted in ranges of bytes at once (E12): what comes out is what one piece gives, whatever happens."""

import io
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass

import pytest

from lambdas.etl import header, ranges
from lambdas.etl.rows import Conversion

COLUMNS = b"transaction_id,customer_id,amount,timestamp,note\n"
SIZE = 2 * ranges.MIN_RANGE_BYTES + (1 << 20)
"""Of a file that is cut in two; the deployment of these tests fans out above twice the least range."""


def until(found, seconds: float = 90):
    """What `found()` returns, as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)
    return result


# --- files -----------------------------------------------------------------------------------------------------------


def block(number: int) -> bytes:
    """About 1 MiB of rows that need converting: quoted, over two lines, with CRLF, and one that will be rejected."""
    rows = [b"T%d-%d,C1,$%d.5,03/05/2024,%s\n" % (number, row, row, b"x" * 40) for row in range(14_000)]
    rows[100] = b'T,C1,"1,000",2024-03-05T10:11:12Z,"over\ntwo lines, with a ""quote"""\n'
    rows[200] = b"T,C1,1,1709633472,with a CR\r\n"
    rows[300 + number] = b"T%d,C1,none,2024-03-05,rejected\n" % number
    return b"".join(rows)


@pytest.fixture(scope="module")
def mixed() -> bytes:
    """A file just large enough, of two different blocks in turns."""
    blocks = [block(0), block(1)]
    turns = SIZE // sum(map(len, blocks)) + 1
    return COLUMNS + b"".join(blocks) * turns


@pytest.fixture(scope="module")
def misleading(mixed) -> bytes:
    """Its middle, where it would be cut, lies in one quoted field that is full of what looks like rows."""
    looks = (b"T,C1,1.00,2024-03-05,note\n" * (900_000 // 26)).rstrip(b"\n")
    row = b'T,C1,1.00,2024-03-05,"' + looks + b'"\n'
    half = len(mixed) // 2
    before = mixed[: mixed.rindex(b"\nT", 0, half - len(row) // 2) + 1]
    return before + row + mixed[mixed.index(b"\nT1-", half) + 1 :]


def in_one_piece(file: bytes) -> tuple[bytes, list[tuple[int, str]]]:
    """The output, and offset and reason of each reject, that one conversion gives."""
    found, rejects = header.read(file[:1000], complete=False), io.BytesIO()
    conversion = Conversion(found, rejects.write, offset=found.length)
    step = 8 << 20
    pieces = (file[at : at + step] for at in range(found.length, len(file), step))
    output = found.text + b"".join(conversion.convert(pieces))
    return output, [(each["byte_offset"], each["reason"]) for each in map(json.loads, rejects.getvalue().splitlines())]


# --- what is looked at -----------------------------------------------------------------------------------------------


@dataclass
class Large:
    """The uploads of this file, and what the bucket and the machine hold for it."""

    aws: object
    etl: object

    def children(self, record: dict) -> list[dict]:
        """Executions of the ranges, as ListExecutions tells them."""
        states = self.aws.client("stepfunctions")
        runs = states.list_map_runs(executionArn=record["execution_arn"])["mapRuns"]
        return [each for run in runs for each in states.list_executions(mapRunArn=run["mapRunArn"])["executions"]]

    def failures(self, child: dict) -> int:
        """How many attempts of a range failed."""
        pages = self.aws.client("stepfunctions").get_paginator("get_execution_history")
        events = [event for page in pages.paginate(executionArn=child["executionArn"]) for event in page["events"]]
        return sum(event["type"] in ("TaskFailed", "LambdaFunctionFailed") for event in events)

    def running(self, name: str) -> list[dict]:
        """Children of the file's execution, once they all run."""
        records = self.etl.records(name)
        found = self.children(records[0]) if records else []
        return found if len(found) == 2 and all(each["status"] == "RUNNING" for each in found) else []

    def uploads(self, name: str) -> list[dict]:
        s3 = self.aws.client("s3")
        return s3.list_multipart_uploads(Bucket=self.etl.bucket, Prefix=f"processed/{name}").get("Uploads", [])

    def rejects(self, record: dict) -> list[tuple[int, str]]:
        return [(each["byte_offset"], each["reason"]) for each in self.etl.rejects(record)]

    def states(self, record: dict) -> list[str]:
        return [each.name for each in self.etl.execution(record["execution_arn"]).states]

    def forget(self, prefix: str) -> None:
        """Remove every version: the embedded AWS holds them in memory."""
        s3 = self.aws.client("s3")
        for place in ("raw/", "processed/", "failed/"):
            told = s3.list_object_versions(Bucket=self.etl.bucket, Prefix=place + prefix)
            for each in told.get("Versions", []) + told.get("DeleteMarkers", []):
                s3.delete_object(Bucket=self.etl.bucket, Key=each["Key"], VersionId=each["VersionId"])
        for each in self.uploads(prefix):
            s3.abort_multipart_upload(Bucket=self.etl.bucket, Key=each["Key"], UploadId=each["UploadId"])


@pytest.fixture
def large(aws, etl):
    found = Large(aws, etl)
    yield found
    found.forget("large/")


WAY = [
    *("RecordProcessing", "Validate", "IsValid", "Plan", "IsPlanned", "ConvertRanges", "Complete", "IsConverted"),
    *("AnnounceRejects", "RecordOutcome"),
]


# --- tests -----------------------------------------------------------------------------------------------------------


def test_ranges_give_what_one_piece_gives(aws, etl, large, mixed):
    """E12: byte for byte, with the same rejects by offset and reason; one range's worker is killed and that range alone tried
    again, which leaves no trace in what comes out."""
    name = "large/mixed.csv"
    etl.upload(name, mixed)
    until(lambda: large.running(name))
    pid = until(lambda: busy_worker(aws))
    os.kill(pid, signal.SIGKILL)
    output, rejects = in_one_piece(mixed)
    [record] = etl.wait(name)
    etl.wait_until_idle()
    assert large.states(record) == WAY
    assert sorted(large.failures(child) for child in large.children(record)) == [0, 1]
    assert record["status"] == "SUCCEEDED" and record["output_key"] == f"processed/{name}"
    assert etl.read(record["output_key"]) == output
    assert large.rejects(record) == rejects and len(rejects) == record["rows_rejected"] > 100
    assert len(etl.keys(record["rejects_prefix"])) == 2
    assert etl.keys(f"raw/{name}") == [] == large.uploads(name)


def busy_worker(aws) -> int | None:
    """The process id of a Lambda worker that is computing, and not just starting: MiniStack gives up all workers of a function
    when one does not start."""
    table = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat=,time="], check=True, capture_output=True, text=True).stdout
    busy = [int(pid) for pid, parent, state, cpu in map(str.split, table.splitlines())
            if int(parent) == aws.pid and state[0] == "R" and float(cpu.rpartition(":")[2]) >= 1]
    return busy[0] if busy else None


def test_wrong_cut_is_never_published(etl, large, misleading):
    """E12: the range before the cut ends elsewhere, so the plan is discarded and the file converted in one piece; the rejects
    of the ranges lie apart from those that count."""
    name = "large/misleading.csv"
    etl.upload(name, misleading)
    output, rejects = in_one_piece(misleading)
    [record] = etl.wait(name)
    etl.wait_until_idle()
    assert large.states(record) == [*WAY[:-2], "Transform", "IsConverted", *WAY[-2:]]
    assert record["status"] == "SUCCEEDED" and record["rejects_prefix"].endswith("/whole/")
    assert etl.read(record["output_key"]) == output
    assert large.rejects(record) == rejects
    assert large.uploads(name) == []


@pytest.mark.usefixtures("quick_retries")
def test_denied_map(etl, inbox, denied, large, mixed):
    """E12, E7a, E11: the machine's own right to start its ranges is needed; without it the upload is given up, the file set
    aside, announced once and recorded."""
    name = "large/denied.csv"
    with denied(etl.machine_arn.rsplit(":", 1)[1], "states:StartExecution", etl.machine_arn):
        etl.upload(name, mixed)
        [record] = etl.wait(name)
    etl.wait_until_idle()
    assert large.states(record) == [*WAY[:6], "AbandonUpload", "SetAside", "NotifyFailure", "RecordFailed", "Failed"]
    assert record["status"] == "FAILED" and "states:StartExecution" in record["error_message"]
    assert record["failed_key"] in etl.keys(f"failed/{name}")
    assert etl.keys(f"raw/{name}") == [] == etl.keys(f"processed/{name}")
    assert large.uploads(name) == []
    assert len(inbox.messages(f"raw/{name}")) == 1


def test_aborted_map(aws, etl, inbox, large, mixed):
    """E7b, E12: the recovery sets the file aside; ranges that still run publish nothing. Their upload is for the lifecycle."""
    name = "large/aborted.csv"
    etl.upload(name, mixed)
    until(lambda: large.running(name))
    [record] = etl.records(name)
    aws.client("stepfunctions").stop_execution(executionArn=record["execution_arn"], error="Operator", cause="by hand")
    [record] = etl.wait(name)
    assert record["status"] == "FAILED" and "ABORTED" in record["error_message"]
    assert etl.read(record["failed_key"]) == mixed
    until(lambda: all(each["status"] != "RUNNING" for each in large.children(record)))
    assert etl.keys(f"processed/{name}") == [] == etl.keys(f"raw/{name}")
    assert len(inbox.messages(f"raw/{name}")) == 1
