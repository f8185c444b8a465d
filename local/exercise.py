"""Sends every file of samples/ through a deployed pipeline and holds what became of it against samples/expected.toml."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local.emulator import ROOT
from local.etl import ENDED, POLL_SECONDS, WAIT_SECONDS, Etl, Execution, Inbox

SAMPLES = ROOT / "samples"
EXPECTED = "expected.toml"


class SamplesError(Exception):
    """samples/ is not as it should be; the message says which file and what to do."""


@dataclass(frozen=True)
class Sample:
    """A file and what must become of it (the keys of expected.toml)."""

    file_name: str
    body: bytes
    expected: dict


@dataclass(frozen=True)
class Outcome:
    """What became of one sample."""

    sample: Sample
    record: dict
    """Its metadata record; empty if there is none."""
    execution: Execution | None
    announcements: tuple[dict, ...]
    """The notices about it, `{"Subject", "Message"}`."""
    location: str
    """Key at which its result, or the file itself, is now."""
    faults: tuple[str, ...]
    """What is not as expected.toml says; empty if all is well."""

    @property
    def seconds(self) -> float:
        """How long its execution took; 0 if there was none."""
        return self.execution.seconds if self.execution else 0.0


def read_samples(folder: Path = SAMPLES) -> list[Sample]:
    """Every sample with its expectation, in the order of expected.toml. Raises SamplesError if files and list differ."""
    expected = tomllib.loads((folder / EXPECTED).read_text(encoding="utf-8"))
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != EXPECTED}
    if files != set(expected):
        only = [f"{name!r} is not in {EXPECTED}" for name in sorted(files - set(expected))]
        only += [f"{name!r} is in {EXPECTED} but not there" for name in sorted(set(expected) - files)]
        raise SamplesError(f"{folder.name}/: " + "; ".join(only) + f". Remedy: add or remove entries of {EXPECTED}")
    return [Sample(name, (folder / name).read_bytes(), expectation) for name, expectation in expected.items()]


def exercise(etl: Etl, samples: list[Sample], progress: Callable[[int, int], None] = lambda done, total: None) -> list[Outcome]:
    """Upload all samples at once, wait until each has come to an end, and look at what became of it.

    `progress` is told how many of how many have ended. A sample that never ends is an outcome with a fault.
    """
    inbox = Inbox(etl.aws, etl.topic_arn)
    try:
        for sample in samples:
            etl.upload(sample.file_name, sample.body)
        deadline = time.monotonic() + WAIT_SECONDS
        waiting = {sample.file_name for sample in samples}
        while waiting and time.monotonic() < deadline:
            waiting = {name for name in waiting if not any(record["status"] in ENDED for record in etl.records(name))}
            progress(len(samples) - len(waiting), len(samples))
            time.sleep(POLL_SECONDS)
        etl.wait_until_idle()
        return [_outcome(etl, inbox, sample) for sample in samples]
    finally:
        inbox.close()


def _outcome(etl: Etl, inbox: Inbox, sample: Sample) -> Outcome:
    records = etl.records(sample.file_name)
    record = records[0] if records else {}
    execution = etl.execution(record["execution_arn"]) if "execution_arn" in record else None
    announcements = tuple(inbox.messages(f" raw/{sample.file_name}\n"))
    location = record.get("output_key") or record.get("failed_key") or f"raw/{sample.file_name}"
    faults = _faults(etl, sample, records, len(announcements), location)
    return Outcome(sample, record, execution, announcements, location, tuple(faults))


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
