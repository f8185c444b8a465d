"""Hundreds of files through all four systems under faults; then everything is accounted for (`make test-faults`)."""

import itertools
import json
import os
import subprocess
import sys
import time
from collections import Counter

import pytest
from rich.console import Console
from rich.table import Table

from local.deployment import LOCAL_SETTINGS
from local.ingestion import REGIONS
from tests.faults import systems
from tests.local.conftest import configure, quick_waits

FILES = int(os.environ.get("FAULTS_FILES", "300"))
RATE = float(os.environ.get("FAULTS_RATE", "1"))
"""Times the rates below."""
SHARES = {systems.EtlUnder: 0.4, systems.MetadataUnder: 0.27, systems.PetsUnder: 0.13, systems.IngestionUnder: 0.2}
PACE_SECONDS = 0.2  # between two uploads
QUIET_SECONDS = 30  # nothing runs, and nothing came to its end, for so long: what is left needs the sweep, or a replay
STUCK_SECONDS = 180  # something runs, but for so long nothing came to its end
LONGEST_SECONDS = 900
ROUNDS = 4  # of sweep and replay

CALLS = {"throttled": 0.05, "failed": 0.02, "lost": 0.01, "slow": 0.03, "killed": 0.004, "killed after": 0.004}
EVENTS = {"twice": 0.1, "late": 0.1, "dropped": 0.04}
SCHEDULE = {
    "subject": systems.SUBJECT,
    "calls": {"*": {name: RATE * rate for name, rate in CALLS.items()}},
    "events": {name: RATE * rate for name, rate in EVENTS.items()},
    "vanishing": ":function:etl-validation|:stateMachine:etl-recovery",  # the sweep finds what it tells of (E7c)
    "aborts": RATE * 0.015,
    "machines": "^(etl-pipeline|metadata-pipeline|serverlessapp-pet-detector)",
}


def faults(aws, schedule: dict | None) -> list[dict]:
    """Begin or end a schedule; what the one before has injected."""
    return configure(aws, {"faults": schedule})["injected"]


def running(aws) -> int:
    """How many executions run, of all machines."""
    states = aws.client("stepfunctions")
    machines = states.list_state_machines()["stateMachines"]
    return sum(len(states.list_executions(stateMachineArn=each["stateMachineArn"], statusFilter="RUNNING")["executions"])
               for each in machines)


def settle(aws, under) -> None:
    """Wait until all uploads are at an end and nothing runs, or nothing has moved for a while."""
    began = moved = time.monotonic()
    before = None
    while time.monotonic() - began < LONGEST_SECONDS:
        now = ends, runs = [(each.ended(), each.sent()) for each in under], running(aws)
        if now != before:
            before, moved = now, time.monotonic()
        at_an_end = all(ended >= sent for ended, sent in ends) and not runs
        if at_an_end or time.monotonic() - moved > (STUCK_SECONDS if runs else QUIET_SECONDS):
            return
        time.sleep(2)


def dead_letters(aws, region: str) -> list[str]:
    """Names of the dead-letter queues of a region in which messages are, visible or not."""
    sqs = aws.client("sqs", region)
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return [url.rpartition("/")[2] for url in sqs.list_queues().get("QueueUrls", []) if "-dlq" in url and any(
        int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=counts)["Attributes"][name]) for name in counts)]


def replay(aws) -> tuple[int, list[str]]:
    """Replay every dead letter as an operator does (O2): how many there were, and what the command says of those that stay."""
    environment = {**aws.environment(), "ENVIRONMENT_SUFFIX": LOCAL_SETTINGS["ENVIRONMENT_SUFFIX"]}
    done = subprocess.run([sys.executable, "-m", "ops", "replay", "letters", "--yes"], env=environment, capture_output=True,
                          text=True, check=False)
    stays = [line for line in (done.stdout + done.stderr).splitlines() if "✗" in line]
    return done.stdout.count("; deleted"), stays or ([done.stdout + done.stderr] if done.returncode else [])


def sweep(aws) -> None:
    """Have the sweep look for all that is older than now."""
    functions = aws.client("lambda")
    [name] = [each["FunctionName"] for page in functions.get_paginator("list_functions").paginate()
              for each in page["Functions"] if each["FunctionName"].startswith("etl-sweep")]
    answer = functions.invoke(FunctionName=name, Payload=b'{"older_than_seconds": 0}')
    assert "FunctionError" not in answer, answer["Payload"].read()


@pytest.fixture
def under(aws, outputs, seed):
    """The four systems, and what this seed sends to them."""
    return [system(aws, outputs, seed, max(int(FILES * share), 10)) for system, share in SHARES.items()]


def test_every_upload_is_accounted_for(aws, under, seed):
    """E3 to E7, M3, M6, P3 to P5, R3, R4: under faults, each upload comes to exactly one end, and nothing is half done."""
    began = time.monotonic()
    with quick_waits(aws):
        faults(aws, {**SCHEDULE, "seed": seed})
        for sends in itertools.zip_longest(*(each.sends() for each in under)):
            for send in filter(None, sends):
                send()
                time.sleep(PACE_SECONDS)
        settle(aws, under)
        injected = faults(aws, None)
        replayed = 0
        for _ in range(ROUNDS):
            sweep(aws)
            letters, stays = replay(aws)
            replayed += letters
            settle(aws, under)
            if not letters:
                break
    audits = {each.title: each.audit(injected) for each in under}
    findings = [f"{title}: {finding}" for title, each in audits.items() for finding in each.findings]
    findings += [f"a dead letter is left in {queue}" for region in REGIONS for queue in dead_letters(aws, region)]
    findings += [f"a dead letter cannot be replayed: {line}" for line in stays]
    report(seed, under, audits, injected, replayed, findings, time.monotonic() - began)
    assert not findings


def report(seed, under, audits, injected, replayed, findings, seconds) -> None:
    """The figures, for the terminal."""
    console = Console(width=150)
    table = Table(title=f"Faults, seed {seed}: {seconds:.0f} s, {replayed} dead letters replayed", title_justify="left")
    for column in ("system", "uploads", "faults", "what became of them", "findings"):
        table.add_column(column)
    for each in under:
        own = Counter(fault["fault"] for fault in injected if f"-{each.kind}-" in fault["subject"])
        told = ", ".join(f"{count} {name}" for name, count in sorted(own.items()))
        ends = ", ".join(f"{count} {name}" for name, count in sorted(audits[each.title].outcomes.items()) if count)
        table.add_row(each.title, str(each.sent()), told, ends, str(len(audits[each.title].findings)))
    console.print(table)
    for finding in findings:
        console.print(f"✗ {finding}", markup=False)
    if folder := os.environ.get("FAULTS_LOG"):
        with open(f"{folder}/faults-{seed}.json", "w", encoding="utf-8") as file:
            json.dump({"findings": findings, "injected": injected}, file, indent=1)
