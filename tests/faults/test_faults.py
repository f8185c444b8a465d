"""Hundreds of files through all four systems under faults; then everything is accounted for (`make test-faults`)."""

import itertools
import json
import os
import time
from collections import Counter

import pytest
from rich.console import Console
from rich.table import Table

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


def dead_letters(aws, region: str) -> list[tuple[str, dict]]:
    """URL and message of what waits in the dead-letter queues of a region; taken out of sight, not deleted."""
    sqs = aws.client("sqs", region)
    found = []
    for url in sqs.list_queues().get("QueueUrls", []):
        while "-dlq" in url and (messages := sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]).get("Messages")):
            found += [(url, message) for message in messages]
    return found


def replay(aws) -> int:
    """Send every dead letter once more to where it was going; how many there were."""
    letters = 0
    for region in REGIONS:
        functions = aws.client("lambda", region)
        owners = {each["DeadLetterConfig"]["TargetArn"].rpartition(":")[2]: each["FunctionName"]
                  for page in functions.get_paginator("list_functions").paginate() for each in page["Functions"]
                  if "DeadLetterConfig" in each}
        for url, message in dead_letters(aws, region):
            letters += 1
            if function := owners.get(url.rpartition("/")[2]):
                functions.invoke(FunctionName=function, InvocationType="Event", Payload=message["Body"])
            else:
                target = message["MessageAttributes"]["TARGET_ARN"]["StringValue"]
                aws.client("stepfunctions", region).start_execution(stateMachineArn=target, input=message["Body"])
            aws.client("sqs", region).delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return letters


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
            letters = replay(aws)
            replayed += letters
            settle(aws, under)
            if not letters:
                break
    audits = {each.title: each.audit(injected) for each in under}
    findings = [f"{title}: {finding}" for title, each in audits.items() for finding in each.findings]
    findings += [f"a dead letter is left: {url}" for region in REGIONS for url, _ in dead_letters(aws, region)]
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
