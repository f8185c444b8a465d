"""The regional ingestion in the local run: files of records in, items of the global table and a checkpoint of each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.table import Table
from rich.text import Text

from lambdas.ingestion import contract
from local.emulator import ROOT, Emulator
from local.executions import POLL_SECONDS, WAIT_SECONDS
from local.exercise import Outcome, Outputs, Sample, System
from local.ingestion import REGIONS, File, Ingestion, records_of

STORED, PARTLY, UNREADABLE, LOST = "stored", "some invalid", "unreadable", "not done"
"""Outcomes: every record is valid; some are not; the file is none of records; nothing was heard of its end."""
READ, STORED_COUNT, KNOWN, INVALID, CONFLICTING = contract.COUNTS

_COLOURS = {STORED: "green", PARTLY: "yellow", UNREADABLE: "yellow"}
_COUNTS = {"read": READ, "stored": STORED_COUNT, "known": KNOWN, "conflicting": CONFLICTING, "invalid": INVALID}
"""Keys of expected.toml, and the table's attributes."""
_SHOWN_REASON = 90


@dataclass(frozen=True)
class IngestionOutcome(Outcome):
    """What became of one file."""

    region: str
    """Where it was uploaded."""
    checkpoint: Mapping
    """The item that tells how far the file is stored; empty if there is none that is done."""
    records: tuple[Mapping, ...]
    """The items that it has brought, in the order of the file."""
    seconds: float | None
    """From the upload until it was done."""

    @property
    def status(self) -> str:
        """One of the outcomes."""
        if not self.checkpoint:
            return LOST
        return UNREADABLE if self.failure else PARTLY if self.count("invalid") else STORED

    @property
    def failure(self) -> str:
        """Why the file as a whole could not be read; nothing if it could."""
        return self.checkpoint.get(contract.FAILURE, "")

    @property
    def invalid(self) -> list[Mapping]:
        """Those of its records that break the schema."""
        return [item for item in self.records if item[contract.STATUS] == contract.INVALID]

    @property
    def reasons(self) -> str:
        """Why the file, or some of its records, are not as they should be; nothing if all is well."""
        return self.failure or "; ".join(f"line {item[contract.SOURCE_LINE]}: {item[contract.REASON]}" for item in self.invalid)

    def count(self, name: str) -> int | None:
        """One of expected.toml's counts, as the checkpoint has it."""
        return self.checkpoint.get(_COUNTS[name])

    def found(self, name: str) -> str:
        """What is there for a key of expected.toml."""
        if name in _COUNTS:
            count = self.count(name)
            return "–" if count is None else str(count)
        return {"region": self.region, "outcome": self.status, "says": self.reasons}.get(name) or "–"


class IngestionSystem(System[IngestionOutcome]):
    """Uploads into the buckets of both regions, looks into the table there and here, and at what the consumers counted."""

    name = "ingestion"
    stack = "ingestion"
    title = "Regional ingestion"
    architecture = ROOT / "docs" / "ingestion-architecture.svg"

    def exercise(
        self, aws: Emulator, outputs: Outputs, samples: Sequence[Sample], progress: Callable[[int], None] = lambda done: None
    ) -> list[IngestionOutcome]:
        ingestion = Ingestion(aws, outputs)
        earlier = {region: ingestion.followed(region) for region in REGIONS}
        files, began = {}, {}
        for sample in samples:
            began[sample.file_name] = time.monotonic()
            files[sample.file_name] = ingestion.upload(sample.expected["region"], sample.file_name, sample.body)
        checkpoints: dict[File, dict] = {}
        seconds: dict[File, float] = {}

        def ended(file: File, checkpoint: dict) -> None:
            checkpoints[file], seconds[file] = checkpoint, time.monotonic() - began[file.key]
            progress(len(checkpoints))

        ingestion.follow(files.values(), ended, WAIT_SECONDS)
        stored = {region: ingestion.records(region) for region in REGIONS}
        outcomes = []
        for sample in samples:
            file = files[sample.file_name]
            own = sorted(records_of(file, stored[file.region]), key=lambda item: item[contract.SOURCE_OFFSET])
            [other] = set(REGIONS) - {file.region}
            outcome = IngestionOutcome(sample, None, (), file.region, checkpoints.get(file, {}), tuple(own), seconds.get(file))
            faults = faults_of(outcome, len(records_of(file, stored[other])))
            outcomes.append(replace(outcome, faults=tuple(faults)))
        return _with_followers(ingestion, outcomes, earlier)

    def table(self, outcomes: Sequence[IngestionOutcome]) -> Table:
        table = Table(title="What became of each file of records", title_justify="left", header_style="bold", box=box.SIMPLE_HEAD)
        table.add_column("file", overflow="fold")
        table.add_column("region", no_wrap=True)
        table.add_column("outcome", no_wrap=True)
        for name in _COUNTS:
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("time", justify="right", no_wrap=True)
        table.add_column("why", overflow="fold")
        for outcome in outcomes:
            table.add_row(
                Text(outcome.sample.file_name), outcome.region, Text(outcome.status, style=_COLOURS.get(outcome.status, "red")),
                *(outcome.found(name) for name in _COUNTS),
                "–" if outcome.seconds is None else f"{outcome.seconds:.1f} s", Text(_brief(outcome.reasons)))
        return table

    def facts(self, outcomes: Sequence[IngestionOutcome]) -> dict[str, object]:
        def totals(those: Sequence[IngestionOutcome]) -> dict[str, int]:
            return {name: sum(outcome.count(name) or 0 for outcome in those) for name in _COUNTS}

        return {
            "statuses": Counter(outcome.status for outcome in outcomes),
            "counts": tuple(_COUNTS),
            "totals": totals(outcomes),
            "regions": {region: (those, totals(those)) for region in REGIONS
                        if (those := [outcome for outcome in outcomes if outcome.region == region])},
            "invalid": [(outcome, item) for outcome in outcomes for item in outcome.invalid],
        }

    def hint(self, outputs: Outputs) -> str:
        bucket, table = (outputs[f"ingestion_{name}_us_west_2"] for name in ("bucket_name", "table_name"))
        return (f"aws s3 cp samples/ingestion/orders.json s3://{bucket}/again.json && sleep 8 && aws dynamodb scan "
                f"--table-name {table} --query 'Items[].[recordId.S, processingStatus.S, processingRegion.S, sourceKey.S]'")


def faults_of(outcome: IngestionOutcome, elsewhere: int) -> list[str]:
    """What is not as expected.toml says, or does not add up; `elsewhere` are its records in the other region."""
    expected = outcome.sample.expected
    if not outcome.checkpoint:
        return ["it was never done"]
    wrong = [name for name in ("outcome", *_COUNTS) if name in expected and outcome.found(name) != str(expected[name])]
    faults = [f"{name} is {outcome.found(name)} instead of {expected[name]}" for name in wrong]
    if expected.get("says", "") not in outcome.reasons:
        faults.append(f"nothing says {expected['says']!r}: {outcome.reasons!r}")
    read, stored, known, conflicting = (outcome.checkpoint[name] for name in (READ, STORED_COUNT, KNOWN, CONFLICTING))
    if read != stored + known + conflicting:
        faults.append(f"{read} records are read, but {stored} stored, {known} known and {conflicting} conflicting")
    faults += [f"the table has {count} records of it in {where}, stored are {stored}"
               for where, count in (("its region", len(outcome.records)), ("the other region", elsewhere)) if count != stored]
    if foreign := {item[contract.REGION] for item in outcome.records} - {outcome.region}:
        faults.append(f"records of it are said to be of {', '.join(sorted(foreign))}")
    return faults


def _with_followers(
    ingestion: Ingestion, outcomes: list[IngestionOutcome], earlier: Mapping[str, Counter[str]]
) -> list[IngestionOutcome]:
    """The outcomes, with the fault that a region's consumer has not counted just the records that its region has stored."""
    faulty = {}
    for region in REGIONS:
        written = Counter(item[contract.STATUS] for outcome in outcomes for item in outcome.records if outcome.region == region)
        deadline = time.monotonic() + WAIT_SECONDS
        while (followed := ingestion.followed(region) - earlier[region]) != written and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if followed != written:
            faulty[region] = f"the consumer of {region} has counted {_numbers(followed)}; stored are {_numbers(written)}"
    return [replace(outcome, faults=(*outcome.faults, faulty[outcome.region])) if outcome.region in faulty else outcome
            for outcome in outcomes]


def _numbers(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {status}" for status, number in sorted(counts.items())) or "none"


def _brief(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_REASON else line[:_SHOWN_REASON - 1] + "…"
