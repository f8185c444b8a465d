"""What users send to each system while it is upgraded, remembered until it is proved that nothing is lost or handled twice (C15).

Each kind has `send(name)`, any number of times, and `faults()`: what is not as it must be, in words, once all has ended.
"""

from __future__ import annotations

from lambdas.pets import contract as pets_contract
from local.etl import Etl
from local.ingestion import REGIONS, Ingestion, records_of
from local.metadata import Metadata, Number
from local.pets import Pets
from tests.local.etl.files import rows
from tests.local.ingestion.conftest import lines, numbered
from tests.local.pets.conftest import picture

PATIENCE_SECONDS = 900
"""In which everything comes to its end, on a busy machine too."""


class EtlFiles:
    """CSV files; each has as many rows as its name has letters."""

    def __init__(self, aws, outputs):
        self.etl = self.pipeline = Etl(aws, outputs["tap"])
        self.function = self.etl.transformation
        self._sent: dict[str, tuple[str, bytes]] = {}

    def send(self, name: str, body: bytes | None = None) -> None:
        content = body or rows(len(name))
        self._sent[name] = self.etl.upload(f"{name}.csv", content), content

    def wait(self) -> None:
        for name in self._sent:
            self.etl.wait(f"{name}.csv", seconds=PATIENCE_SECONDS)

    def faults(self):
        for name, (version, body) in self._sent.items():
            records = self.etl.records(f"{name}.csv")
            if [(each["version_id"], each["status"]) for each in records] != [(version, "SUCCEEDED")]:
                yield f"{name}.csv: its records are {records}"
            elif self.etl.read(f"processed/{name}.csv") != body:
                yield f"{name}.csv: the output is not that of the upload"
        if len(self.etl.executions()) != len(self._sent):
            yield f"{len(self.etl.executions())} executions for {len(self._sent)} files"
        if left := self.etl.keys("raw/"):
            yield f"still under raw/: {left}"


class MetadataFiles:
    """A metadata.json each, which says its own number."""

    def __init__(self, aws, outputs):
        self.metadata = self.pipeline = Metadata(aws, outputs["tap"])
        self.function = "metadata-indexing-local"
        self._sent: dict[tuple[str, str], int] = {}

    def send(self, name: str) -> None:
        key, number = f"{name}/metadata.json", len(self._sent)
        self._sent[key, self.metadata.upload(key, b'{"number": %d}' % number)] = number

    def wait(self) -> None:
        self.metadata.wait_for_all(self._sent, seconds=PATIENCE_SECONDS)

    def faults(self):
        for (key, version), number in self._sent.items():
            found = [each["number"] for each in self.metadata.documents(key, version)]
            if found != [Number(number)]:
                yield f"{key}: its documents say {found} instead of {number}"
        if self.metadata.count() != len(self._sent):
            yield f"{self.metadata.count()} documents for {len(self._sent)} files"
        if failures := self.metadata.failures():
            yield f"recorded as failures: {failures}"


class Pictures:
    """Pictures of dogs, by the API and past it in turns."""

    def __init__(self, aws, outputs):
        self.pets = self.pipeline = Pets(aws, outputs["pet-detector"])
        self.function = "serverlessapp-image-processor-local"
        self._sent: dict = {}

    def send(self, name: str) -> None:
        body, file = picture(Dog=97), f"{name}.png"
        self._sent[self.pets.drop(file, body) if len(self._sent) % 2 else self.pets.upload(file, body)] = body

    def wait(self) -> None:
        self.pets.wait(self._sent, seconds=PATIENCE_SECONDS)

    def faults(self):
        for image, record in self.pets.wait(self._sent).items():
            if record[pets_contract.STATUS] != pets_contract.COMPLETED or record[pets_contract.ANIMAL] != "dog":
                yield f"{image}: its record is {record}"
            elif self.pets.filed(record) != self._sent[image]:
                yield f"{image}: not the picture that was sent lies at {record[pets_contract.LOCATION]}"
        if len(self.pets.records()) != len(self._sent):
            yield f"{len(self.pets.records())} records for {len(self._sent)} pictures"


class RecordFiles:
    """Files of ten records, to both regions in turns."""

    pipeline = function = None  # no state machine, nothing to hold up

    def __init__(self, aws, outputs):
        self.ingestion = Ingestion(aws, outputs["ingestion"])
        self._sent: dict = {}

    def send(self, name: str) -> None:
        region = REGIONS[len(self._sent) % len(REGIONS)]
        records = numbered(name, 10)
        self._sent[self.ingestion.upload(region, f"{name}.json", lines(records))] = {each["recordId"] for each in records}

    def wait(self) -> None:
        self.ingestion.wait(self._sent, seconds=PATIENCE_SECONDS)

    def faults(self):
        stored = {region: self.ingestion.records(region) for region in REGIONS}
        for file, ids in self._sent.items():
            found = [each["recordId"] for each in records_of(file, stored[file.region])]
            if sorted(found) != sorted(ids):
                yield f"{file.key}: its records are {sorted(found)}"
        for region, records in stored.items():
            if len(records) != 10 * len(self._sent):
                yield f"{region} has {len(records)} records of {len(self._sent)} files"


KINDS = {EtlFiles: "tap", MetadataFiles: "tap", Pictures: "pet-detector", RecordFiles: "ingestion"}
"""What is sent to which stack."""
