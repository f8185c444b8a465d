"""The metadata pipeline in the local run: metadata.json files in, a document or a recorded failure of each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from local.emulator import ROOT, Emulator
from local.executions import WAIT_SECONDS
from local.exercise import Outcome, Outputs, Sample, System
from local.metadata import Ended, Metadata, Version, pretty

INDEXED, FAILED, IGNORED, LOST = "indexed", "failed", "ignored", "lost"
"""Outcomes: a document; an item in the table of failures; no execution at all; nothing of these."""

_COLOURS = {INDEXED: "green", FAILED: "yellow", IGNORED: "dim"}
_SHOWN_ID = 12
_SHOWN_CAUSE = 90


@dataclass(frozen=True)
class MetadataOutcome(Outcome):
    """What became of one file."""

    status: str
    document: dict | None
    """The document in the index."""
    failure: dict | None
    """The item in the table of failures."""
    seconds: float | None
    """From the upload until it could be found by a search, or stood in the table."""

    @property
    def error(self) -> str:
        """Name of the recorded error; nothing if there is none."""
        return self.failure["error"] if self.failure else ""

    @property
    def cause(self) -> str:
        """Why it failed, or why it is not searchable by its own fields; nothing if all is well."""
        if self.failure:
            return self.failure["cause"]
        return self.document["ingest"].get("unindexed_reason", "") if self.document else ""

    @property
    def ingest_id(self) -> str:
        """Id of its document, shortened; nothing if there is none."""
        return self.document["ingest"]["id"][:_SHOWN_ID] + "…" if self.document else ""

    def found(self, name: str) -> str:
        """What is there for a key of expected.toml."""
        return {"outcome": self.status, "error": self.error, "says": self.cause}.get(name) or "–"


class MetadataSystem(System[MetadataOutcome]):
    """Uploads at their own paths, looks into the index and the table of failures."""

    name = "metadata"
    stack = "tap"
    title = "Metadata pipeline"
    architecture = ROOT / "docs" / "metadata-architecture.svg"

    def exercise(
        self, aws: Emulator, outputs: Outputs, samples: Sequence[Sample], progress: Callable[[int], None] = lambda done: None
    ) -> list[MetadataOutcome]:
        metadata = Metadata(aws, outputs)
        earlier = {each["executionArn"] for each in metadata.executions()}
        # Those to be ignored first: if they were not, their executions would have begun before the last of the others.
        ignored = [sample for sample in samples if sample.expected["outcome"] == IGNORED]
        others = [sample for sample in samples if sample not in ignored]
        uploads, began = {}, {}
        for sample in (*ignored, *others):
            began[sample.file_name] = time.monotonic()
            uploads[sample.file_name] = sample.file_name, metadata.upload(sample.file_name, sample.body)
        ends: dict[Version, Ended] = {}
        seconds: dict[Version, float] = {}

        def ended(version: Version, end: Ended) -> None:
            ends[version], seconds[version] = end, time.monotonic() - began[version[0]]
            progress(len(ignored) + len(ends))

        metadata.follow([uploads[sample.file_name] for sample in others], ended, WAIT_SECONDS)
        metadata.wait_until_idle()
        started = Counter(metadata.executed(earlier))
        return [_outcome(metadata, sample, version, ends.get(version), started[version], seconds.get(version))
                for sample in samples for version in [uploads[sample.file_name]]]

    def table(self, outcomes: Sequence[MetadataOutcome]) -> Table:
        table = Table(title="What became of each metadata file", title_justify="left", header_style="bold", box=box.SIMPLE_HEAD)
        table.add_column("file", overflow="fold")
        table.add_column("outcome", no_wrap=True)
        table.add_column("error, or ingest.id", no_wrap=True)
        table.add_column("time", justify="right", no_wrap=True)
        table.add_column("cause", overflow="fold")
        for outcome in outcomes:
            table.add_row(
                Text(outcome.sample.file_name), Text(outcome.status, style=_COLOURS.get(outcome.status, "red")),
                Text(outcome.error or outcome.ingest_id or "–"),
                "–" if outcome.seconds is None else f"{outcome.seconds:.1f} s", Text(_brief(outcome.cause)))
        return table

    def facts(self, outcomes: Sequence[MetadataOutcome]) -> dict[str, object]:
        documents = [outcome for outcome in outcomes if outcome.document]
        return {
            "statuses": Counter(outcome.status for outcome in outcomes),
            "failures": [outcome for outcome in outcomes if outcome.failure],
            "shown": documents[0] if documents else None,
            "pretty": pretty,
        }

    def hint(self, outputs: Outputs) -> str:
        bucket = outputs["metadata_bucket_name"]
        return f"aws s3 cp samples/metadata/metadata.json s3://{bucket}/ && sleep 8 && .venv/bin/python -m local search"


def _outcome(
    metadata: Metadata, sample: Sample, version: Version, end: Ended | None, executions: int, seconds: float | None
) -> MetadataOutcome:
    documents, failures = metadata.documents(*version), metadata.failures_of(*version)
    status = INDEXED if documents else FAILED if failures else LOST if executions else IGNORED
    execution = metadata.execution(end.execution_arn) if end else None
    document, failure = (found[0] if found else None for found in (documents, failures))
    outcome = MetadataOutcome(sample, execution, (), status, document, failure, seconds)
    counted = {"documents": len(documents), "items in the table of failures": len(failures), "executions": executions}
    return MetadataOutcome(sample, execution, tuple(faults_of(outcome, counted)), status, document, failure, seconds)


def faults_of(outcome: MetadataOutcome, counted: dict[str, int]) -> list[str]:
    """What is not as expected.toml says; `counted` are its documents, failures and executions."""
    expected = outcome.sample.expected
    wrong = [name for name in ("outcome", "error") if name in expected and outcome.found(name) != expected[name]]
    faults = [f"{name} is {outcome.found(name)} instead of {expected[name]}" for name in wrong]
    if expected.get("says", "") not in outcome.cause:
        faults.append(f"cause does not say {expected['says']!r}: {outcome.cause!r}")
    right = {INDEXED: (1, 0, 1), FAILED: (0, 1, 1), IGNORED: (0, 0, 0)}[expected["outcome"]]
    if tuple(counted.values()) != right:
        faults.append("it has " + ", ".join(f"{number} {what}" for what, number in counted.items()))
    status = {INDEXED: "SUCCEEDED", FAILED: "FAILED"}.get(expected["outcome"])
    if outcome.execution and outcome.execution.status != status:
        faults.append(f"its execution ended as {outcome.execution.status} instead of {status}")
    return faults


def _brief(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CAUSE else line[:_SHOWN_CAUSE - 1] + "…"
