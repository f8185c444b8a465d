"""One region is cut off, or lost: what is late, what is not, and how operators and producers move over and back (R4, R8, O4)."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from lambdas.ingestion import contract
from local.emulator import ROOT
from local.executions import wait_for
from local.ingestion import REGIONS, File, records_of
from ops.producer import Producer
from ops.regions import Names, pair
from tests.local.conftest import configure
from tests.local.ingestion.conftest import lines, numbered, record

EAST, WEST = REGIONS


@pytest.fixture
def cut_off(aws):
    """`with cut_off():` nothing is replicated meanwhile; afterwards everything is."""

    @contextmanager
    def hold():
        configure(aws, {"replication": "held"})
        try:
            yield
        finally:
            configure(aws, {"replication": "flows"})

    return hold


def test_records_of_a_region_that_is_cut_off_arrive_later(ingestion, name, cut_off):
    """R4, R8: they are stored in their region, and in the other one as soon as it hears of them."""
    with cut_off():
        file = ingestion.upload(EAST, f"{name}.json", lines(numbered(name, 3)))
        ingestion.wait([file])
        assert len(records_of(file, ingestion.records(EAST))) == 3
        assert records_of(file, ingestion.records(WEST)) == [] and ingestion.checkpoint(file, WEST) is None
    assert len(records_of(file, ingestion.records(WEST))) == 3 and ingestion.checkpoint(file, WEST)


def test_later_write_stays_if_both_regions_store_one_key(ingestion, name, cut_off):
    """R3b: conditions hold in one region. Other content under one key in each, before replication has carried either over: both
    are stored, and after that the later one alone, everywhere."""
    with cut_off():
        for region in REGIONS:
            file = ingestion.upload(region, f"{name}.json", lines([record(name, value=region)]))
            assert ingestion.wait([file])[file][contract.COUNTS[1]] == 1
    kept = [item for region in REGIONS for item in ingestion.records(region) if item[contract.RECORD_ID] == name]
    assert [json.loads(item[contract.DATA])["value"] for item in kept] == [WEST, WEST]


@pytest.fixture
def operate(aws):
    """`operate("--status")` is what an operator types after `python -m ops failover`; its output."""

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "ops", "failover", *arguments, "--suffix", "local"], cwd=ROOT, env=aws.environment(),
            check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def producer(aws, monkeypatch):
    """The reference producer, which asks for the active region each time."""
    for variable, value in aws.environment().items():
        monkeypatch.setenv(variable, value)
    return Producer(pair(Names.read("local")), keep_seconds=0)


@contextmanager
def disabled(ingestion, region):
    """The processor of a region runs no more."""
    client, function = ingestion.client("lambda", region), ingestion.output("function_name", region)
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    try:
        yield
    finally:
        client.delete_function_concurrency(FunctionName=function)


def test_failover_drill(ingestion, name, producer, operate, cut_off, capsys):
    """R8, O4: the east neither processes nor replicates; producers move to the west and, when the east is back, move back; what
    the east had left is resumed. The table holds every record exactly once, in both regions.

    Prints what docs/disaster-recovery.md cites.
    """
    wait_for(lambda: all(has_beaten(ingestion, region) for region in REGIONS), 180, lambda: "no heartbeats")
    sent: dict[File, list[str]] = {}
    seconds: dict[str, float] = {}

    def send(part: str) -> File:
        records = numbered(f"{name}-{part}", 5)
        answer = producer.send(lines(records), f"{name}/{part}.json")
        file = File(answer.region, answer.key, answer.version_id)
        sent[file] = [each["recordId"] for each in records]
        return file

    operate("--to", EAST, "--yes")  # wherever an earlier test has left it
    before = send("before")
    ingestion.wait([before])

    with cut_off():
        unseen = send("not-replicated")
        ingestion.wait([unseen])
        with disabled(ingestion, EAST):
            failed = time.monotonic()
            late = [send("late-1"), send("late-2")]
            assert {file.region for file in late} == {EAST}
            told = operate("--to", WEST, "--yes")
            seconds["from the decision to the end of the command, probe included"] = time.monotonic() - failed
            during = send("during")
            ingestion.wait([during])
            seconds["from the decision to the first record that a producer sends to the west (RTO)"] = time.monotonic() - failed
            assert during.region == WEST and "probe" in told
            assert not any(ingestion.checkpoint(file) for file in late)
            assert records_of(unseen, ingestion.records(WEST)) == []
    seconds["the east was away"] = time.monotonic() - failed

    operate("--back", "--yes")
    after = send("after")
    ingestion.wait([after])
    assert after.region == EAST and producer.active().region == EAST
    stored = {item[contract.RECORD_ID] for item in ingestion.records(EAST)}
    delayed = [each for ids in sent.values() for each in ids if each not in stored]
    assert delayed == [each for file in late for each in sent[file]]
    resumed = time.monotonic()
    told = operate("--resume", EAST, "--yes")
    assert "Not finished in" in told and "are stored" in told, told
    assert all(ingestion.checkpoint(file)[contract.DONE] == "true" for file in late)
    seconds["--resume"] = time.monotonic() - resumed
    assert "is done" in operate("--resume", EAST, "--yes")

    everyone = sorted(each for ids in sent.values() for each in ids)
    for region in REGIONS:
        own = [item for item in ingestion.records(region) if item[contract.RECORD_ID].startswith(f"{name}-")]
        assert sorted(item[contract.RECORD_ID] for item in own) == everyone
        for file in sent:
            assert {item[contract.REGION] for item in records_of(file, own)} == {file.region}
    with capsys.disabled():
        print(f"\nFailover drill: {len(everyone)} records sent, {len(everyone)} in the table, none lost, none twice")
        print(f"  {len(delayed)} delayed until --resume, {len(sent[unseen])} until replication went on")
        for what, took in seconds.items():
            print(f"  {took:5.1f} s  {what}")


def has_beaten(ingestion, region) -> bool:
    beats = (item for item in ingestion.items(region) if item[contract.STATUS] == contract.HEARTBEAT)
    return any(item[contract.REGION] == region for item in beats)
