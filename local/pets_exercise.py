"""The pet detector in the local run: pictures in, a record and a folder for each."""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup
from rich import box
from rich.table import Table
from rich.text import Text

from lambdas.pets import contract
from local.emulator import ROOT, Emulator
from local.executions import WAIT_SECONDS
from local.exercise import Outcome, Outputs, Sample, System
from local.inbox import Inbox
from local.pets import ApiError, Pets, Uploaded, place_of
from local.rekognition import picture_of

NO_RECORD = "NO RECORD"
PRESIGNED, INLINE, DIRECT = "api presigned", "api inline", "s3"
"""Ways of a sample into the system (`via`)."""

_COLOURS = {contract.COMPLETED: "green", contract.UNCERTAIN: "yellow", contract.FAILED: "yellow"}


@dataclass(frozen=True)
class PetOutcome(Outcome):
    """What became of one picture."""

    record: dict
    """Its record; empty if there is none."""
    alerts: tuple[dict, ...]
    """The alerts about it, `{"Subject", "Message"}`."""
    shown: dict
    """What the API tells of it; empty if it does not know it."""
    seconds: float | None
    """From the upload until its record was at an end."""

    @property
    def status(self) -> str:
        """What the record says, if there is one."""
        return self.record.get(contract.STATUS, NO_RECORD)

    @property
    def animal(self) -> str:
        """What was detected; nothing if it was refused."""
        return self.record.get(contract.ANIMAL, "")

    @property
    def confidence(self) -> float | None:
        """Per cent."""
        return self.record.get(contract.CONFIDENCE)

    @property
    def place(self) -> str:
        """Key at which the picture is now."""
        return place_of(self.record) if self.record else ""

    @property
    def reason(self) -> str:
        """Why it was refused, or failed; nothing if neither."""
        return self.record.get(contract.FAILURE_REASON, "")

    @property
    def picture(self) -> Markup | None:
        """The picture as a `data:` URI; None if it is none."""
        if picture_of(self.sample.body) is None:
            return None
        kind = "png" if self.sample.body.startswith(b"\x89PNG") else "jpeg"
        return Markup(f"data:image/{kind};base64,{base64.b64encode(self.sample.body).decode()}")

    def found(self, name: str) -> str:
        """What is there for a key of expected.toml."""
        return {
            "via": self.sample.expected.get("via"), "status": self.status, "animal": self.animal,
            "folder": self.place.partition("/")[0], "code": self.record.get(contract.FAILURE_CODE), "says": self.reason,
            "alerts": str(len(self.alerts)),
        }.get(name) or "–"


class PetSystem(System[PetOutcome]):
    """Uploads through the API and without it, looks at records, folders, alerts and what the API tells."""

    name = "pets"
    stack = "pet-detector"
    title = "Pet detector"
    architecture = ROOT / "docs" / "pet-detector-architecture.svg"

    def exercise(
        self, aws: Emulator, outputs: Outputs, samples: Sequence[Sample], progress: Callable[[int], None] = lambda done: None
    ) -> list[PetOutcome]:
        pets = Pets(aws, outputs)
        inbox = Inbox(aws, pets.topic_arn)
        try:
            sent, began = {}, {}
            for sample in samples:
                began[sample.file_name] = time.monotonic()
                sent[sample.file_name] = _send(pets, sample)
            names = {image: name for name, image in sent.items()}
            records: dict[str, dict] = {}
            seconds: dict[str, float] = {}

            def ended(image: str | Uploaded, record: dict) -> None:
                records[names[image]], seconds[names[image]] = record, time.monotonic() - began[names[image]]
                progress(len(records))

            pets.follow(names, ended, WAIT_SECONDS)
            pets.wait_until_idle()
            return [_outcome(pets, inbox, sample, records.get(sample.file_name, {}), seconds.get(sample.file_name))
                    for sample in samples]
        finally:
            inbox.close()

    def table(self, outcomes: Sequence[PetOutcome]) -> Table:
        table = Table(title="What became of each picture", title_justify="left", header_style="bold", box=box.SIMPLE_HEAD)
        table.add_column("picture", overflow="fold")
        table.add_column("status", no_wrap=True)
        table.add_column("animal", no_wrap=True)
        table.add_column("confidence", justify="right", no_wrap=True)
        table.add_column("where it is now, or why", overflow="fold")
        table.add_column("time", justify="right", no_wrap=True)
        table.add_column("alerts", justify="right", no_wrap=True)
        for outcome in outcomes:
            table.add_row(
                Text(outcome.sample.file_name), Text(outcome.status, style=_COLOURS.get(outcome.status, "red")),
                Text(outcome.animal or "–"), "–" if outcome.confidence is None else f"{outcome.confidence:.1f} %",
                Text(outcome.reason or outcome.place), "–" if outcome.seconds is None else f"{outcome.seconds:.1f} s",
                str(len(outcome.alerts) or "–"))
        return table

    def facts(self, outcomes: Sequence[PetOutcome]) -> dict[str, object]:
        return {
            "statuses": Counter(outcome.status for outcome in outcomes),
            "animals": Counter(outcome.animal for outcome in outcomes if outcome.animal),
            "alerts": sum(len(outcome.alerts) for outcome in outcomes),
        }

    def hint(self, outputs: Outputs) -> str:
        bucket, table = outputs["pet_bucket_name"], outputs["pet_table_name"]
        return (f"aws s3 cp samples/pets/cat.jpg s3://{bucket}/input/cat.jpg && sleep 8 && "
                f"aws dynamodb scan --table-name {table} --query 'Items[].[DetectedAnimal.S, S3Location.S]'")


def _send(pets: Pets, sample: Sample) -> str | Uploaded:
    """Bring a sample in on its way; the id of its image, or its version."""
    name = sample.file_name.rpartition("/")[2]
    ways = {
        PRESIGNED: lambda: pets.upload(name, sample.body),
        INLINE: lambda: pets.send(name, sample.body),
        DIRECT: lambda: pets.drop(sample.file_name, sample.body),
    }
    return ways[sample.expected["via"]]()


def _outcome(pets: Pets, inbox: Inbox, sample: Sample, record: dict, seconds: float | None) -> PetOutcome:
    if not record:
        return PetOutcome(sample, None, ("it has no record at an end",), {}, (), {}, seconds)
    record = pets.record(record[contract.IMAGE_ID]) or record  # as it is now that all is idle
    try:
        shown = pets.image(record[contract.IMAGE_ID])
    except ApiError:
        shown = {}
    outcome = PetOutcome(sample, pets.execution(record[contract.EXECUTION]), (), record,
                         tuple(inbox.messages(record[contract.IMAGE_ID])), shown, seconds)
    uploaded = Uploaded(record[contract.SOURCE_KEY], record[contract.SOURCE_VERSION])
    faults = faults_of(outcome, len(pets.records_of(uploaded)), pets.keys(outcome.place))
    if "download" in shown and pets.fetch(shown["download"]["url"]).body != sample.body:
        faults.append("its download is another picture")
    return replace(outcome, faults=tuple(faults))


def faults_of(outcome: PetOutcome, records: int, keys: Sequence[str]) -> list[str]:
    """What is not as expected.toml says; `records` are those of its version, `keys` the objects at its place."""
    expected = outcome.sample.expected
    wrong = [name for name in ("status", "animal", "folder", "code", "alerts")
             if name in expected and outcome.found(name) != str(expected[name])]
    faults = [f"{name} is {outcome.found(name)} instead of {expected[name]}" for name in wrong]
    if "animal" not in expected and outcome.animal:
        faults.append(f"{outcome.animal} was detected in it")
    if expected.get("says", "") not in outcome.reason:
        faults.append(f"its reason does not say {expected['says']!r}: {outcome.reason!r}")
    if records != 1:
        faults.append(f"it has {records} records instead of one")
    if outcome.place not in keys:
        faults.append(f"{outcome.place} does not exist")
    if outcome.shown.get("status") != outcome.status:
        faults.append(f"the API shows {outcome.shown.get('status', 'nothing')}")
    if ("download" in outcome.shown) != (outcome.status in (contract.COMPLETED, contract.UNCERTAIN)):
        faults.append("the API shows a download" if "download" in outcome.shown else "the API shows no download")
    if outcome.execution and outcome.execution.status != "SUCCEEDED":
        faults.append(f"its execution ended as {outcome.execution.status}")
    return faults
