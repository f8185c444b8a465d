"""The ETL pipeline in the local run: CSV files in, a record of each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from local.emulator import ROOT, Emulator
from local.etl import ENDED, Etl
from local.executions import POLL_SECONDS, WAIT_SECONDS
from local.exercise import Outcome, Outputs, Sample, System
from local.inbox import Inbox

NO_RECORD = "NO RECORD"
_COLOURS = {"SUCCEEDED": "green", "INVALID": "yellow"}
_ROWS = ("rows_read", "rows_written", "rows_rejected")


@dataclass(frozen=True)
class EtlOutcome(Outcome):
    """What became of one CSV file."""

    record: dict
    """Its metadata record; empty if there is none."""
    announcements: tuple[dict, ...]
    """The notices about it, `{"Subject", "Message"}`."""
    location: str
    """Key at which its result, or the file itself, is now."""

    @property
    def status(self) -> str:
        """What the record says, if there is one."""
        return self.record.get("status", NO_RECORD)

    @property
    def seconds(self) -> float:
        """How long its execution took; 0 if there was none."""
        return self.execution.seconds if self.execution else 0.0

    def found(self, name: str) -> str:
        """What is there for a key of expected.toml."""
        if name == "announced":
            return str(len(self.announcements))
        key = {"status": "status", "says": "error_message"}.get(name, f"rows_{name}")
        return str(self.record.get(key, "–"))


class EtlSystem(System[EtlOutcome]):
    """Uploads under raw/, looks at records, notices and where the files went."""

    name = "etl"
    stack = "tap"
    title = "ETL pipeline"
    architecture = ROOT / "docs" / "etl-architecture.svg"

    def exercise(
        self, aws: Emulator, outputs: Outputs, samples: Sequence[Sample], progress: Callable[[int], None] = lambda done: None
    ) -> list[EtlOutcome]:
        etl = Etl(aws, outputs)
        inbox = Inbox(aws, etl.topic_arn)
        try:
            for sample in samples:
                etl.upload(sample.file_name, sample.body)
            deadline = time.monotonic() + WAIT_SECONDS
            waiting = {sample.file_name for sample in samples}
            while waiting and time.monotonic() < deadline:
                waiting = {name for name in waiting if not any(record["status"] in ENDED for record in etl.records(name))}
                progress(len(samples) - len(waiting))
                time.sleep(POLL_SECONDS)
            etl.wait_until_idle()
            return [_outcome(etl, inbox, sample) for sample in samples]
        finally:
            inbox.close()

    def table(self, outcomes: Sequence[EtlOutcome]) -> Table:
        table = Table(title="What became of each CSV file", title_justify="left", header_style="bold", box=box.SIMPLE_HEAD)
        table.add_column("file", overflow="fold")
        table.add_column("status", no_wrap=True)
        for kind in ("read", "written", "rejected"):
            table.add_column(kind, justify="right", no_wrap=True)
        table.add_column("where it is now", overflow="fold")
        table.add_column("time", justify="right", no_wrap=True)
        table.add_column("announced, and why", overflow="fold")
        for outcome in outcomes:
            told = [*map(subject, outcome.announcements), outcome.record.get("error_message", "")]
            table.add_row(
                Text(outcome.sample.file_name), Text(outcome.status, style=_COLOURS.get(outcome.status, "red")),
                *(str(outcome.record.get(rows, "")) for rows in _ROWS),
                Text(outcome.location), f"{outcome.seconds:.1f} s",
                Text("; ".join(filter(None, told)) or "–"))
        return table

    def facts(self, outcomes: Sequence[EtlOutcome]) -> dict[str, object]:
        return {
            "statuses": Counter(outcome.status for outcome in outcomes),
            "totals": {name: sum(outcome.record.get(name, 0) for outcome in outcomes) for name in _ROWS},
            "announced": sum(len(outcome.announcements) for outcome in outcomes),
            "seconds": sum(outcome.seconds for outcome in outcomes),
            "subject": subject,
        }

    def hint(self, outputs: Outputs) -> str:
        bucket = outputs["etl_bucket_name"]
        return f"aws s3 cp samples/etl/good.csv s3://{bucket}/raw/ && sleep 8 && aws s3 ls --recursive s3://{bucket}/"


def subject(notice: Mapping) -> str:
    """A notice's subject without the system's name, which is the same for all."""
    return str(notice.get("Subject") or "(no subject)").removeprefix("ETL: ")


def _outcome(etl: Etl, inbox: Inbox, sample: Sample) -> EtlOutcome:
    records = etl.records(sample.file_name)
    record = records[0] if records else {}
    execution = etl.execution(record["execution_arn"]) if "execution_arn" in record else None
    announcements = tuple(inbox.messages(f" raw/{sample.file_name}\n"))
    location = record.get("output_key") or record.get("failed_key") or f"raw/{sample.file_name}"
    faults = _faults(etl, sample, records, len(announcements), location)
    return EtlOutcome(sample, execution, tuple(faults), record, announcements, location)


def _faults(etl: Etl, sample: Sample, records: list[dict], announced: int, location: str) -> list[str]:
    expected = sample.expected
    if len(records) != 1:
        return [f"it has {len(records)} records instead of one"]
    [record] = records
    found = {
        "status": record["status"],
        "read": record.get("rows_read"),
        "written": record.get("rows_written"),
        "rejected": record.get("rows_rejected"),
        "announced": announced,
    }
    wrong = [name for name in found if expected.get(name, found[name]) != found[name]]
    faults = [f"{name} is {found[name]} instead of {expected[name]}" for name in wrong]
    if expected.get("says", "") not in record.get("error_message", ""):
        faults.append(f"error_message does not say {expected['says']!r}: {record.get('error_message')!r}")
    if location not in etl.keys(location):
        faults.append(f"{location} does not exist")
    if etl.keys(f"raw/{sample.file_name}"):
        faults.append("it is still under raw/")
    if (rejected := len(etl.rejects(record))) != record.get("rows_rejected", 0):
        faults.append(f"{rejected} rejected rows are kept, the record counts {record.get('rows_rejected', 0)}")
    return faults
