"""The four systems under faults: what is sent to each, and what is looked at afterwards.

Every file's name holds its tag, `fault-SEED-SYSTEM-NUMBER`, by which faults are drawn and findings are told.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from lambdas.ingestion import contract as ingestion_contract
from lambdas.pets import contract as pets_contract
from local.emulator import Emulator
from local.etl import ENDED, Etl
from local.inbox import Inbox
from local.ingestion import REGIONS, File, Ingestion
from local.metadata import Metadata, version_in
from local.pets import ENDED as PETS_ENDED
from local.pets import Pets
from local.pictures import averaged, cat, png
from tests.faults import audit
from tests.faults.audit import Audit, Csv, Document, Injected, Picture, Records, digest

SUBJECT = r"fault-\d+-[a-z]+-\d+"
Outputs = Mapping[str, Mapping[str, str]]

HEADER = b"transaction_id,customer_id,amount,timestamp\n"
GOOD, BAD = b"%s-%d,C1,%d.50,2024-03-05T10:11:12Z\n", b"%s-%d,C1,none,2024-03-05T10:11:12Z\n"
FAN_OUT_BYTES = 130 << 20
"""Of a file above the deployment's ETL_FAN_OUT_BYTES."""


class Under:
    """A system under faults. `sends` are the uploads, one each; the numbers of the rest are for those that have been made."""

    kind: str
    title: str

    def __init__(self, seed: int, count: int):
        self.tags = [f"fault-{seed}-{self.kind}-{number:04d}" for number in range(count)]

    def sends(self) -> Iterator[Callable[[], None]]:
        raise NotImplementedError

    def ended(self) -> int:
        """How many uploads are at an end."""
        raise NotImplementedError

    def sent(self) -> int:
        """How many there are."""
        raise NotImplementedError

    def audit(self, injected: Injected) -> Audit:
        raise NotImplementedError


class EtlUnder(Under):
    """CSV files: good, with rejects, invalid in several ways, uploaded twice under one name, and two that fan out."""

    kind, title = "etl", "ETL"

    def __init__(self, aws: Emulator, outputs: Outputs, seed: int, count: int, fan_out: int = 2):
        super().__init__(seed, count)
        self._etl = Etl(aws, outputs["tap"])
        self._inbox = Inbox(aws, self._etl.topic_arn)
        self._fan_out = fan_out
        self.files: list[Csv] = []

    def sends(self) -> Iterator[Callable[[], None]]:
        for number, tag in enumerate(self.tags):
            name, mark = f"{tag}.csv", tag.encode()
            good = [GOOD % (mark, row, row) for row in range(20 + number)]
            if number < self._fan_out:
                block = b"".join(GOOD % (mark, row, row) for row in range(20_000))
                times = FAN_OUT_BYTES // len(block) + 1
                yield self._send(tag, name, HEADER + block * times, 20_000 * times)
            elif number % 10 == 3:
                bad = BAD % (mark, 999, )
                rows = good * 10
                yield self._send(tag, name, HEADER + b"".join(rows) + bad, len(rows) + 1, rejected=bad)
            elif number % 10 == 5:
                broken = (b"", b"a;b\n1;2\n", HEADER + b"".join(BAD % (mark, row) for row in range(30)))[number // 10 % 3]
                yield self._send(tag, name, broken, None)
            elif number % 10 == 7:
                yield self._send(tag, name, HEADER + b"".join(good), len(good))
                yield self._send(tag, name, HEADER + b"".join(good[:10]), 10)
            else:
                yield self._send(tag, name, HEADER + b"".join(good), len(good))

    def _send(self, tag: str, name: str, body: bytes, read: int | None, *, rejected: bytes = b"") -> Callable[[], None]:
        def send() -> None:
            version = self._etl.upload(name, body)
            output = None if read is None else digest(body.removesuffix(rejected))
            self.files.append(Csv(tag, name, version, digest(body), output, read or 0, 1 if rejected else 0))
        return send

    def sent(self) -> int:
        return len(self.files)

    def _records(self) -> list[dict]:
        versions = {file.version for file in self.files}
        return [record for record in self._etl.all_records() if record["version_id"] in versions]

    def ended(self) -> int:
        return sum(record["status"] in ENDED for record in self._records())

    def audit(self, injected: Injected) -> Audit:
        records, s3 = self._records(), self._etl.aws.client("s3")
        tags = set(self.tags)
        keys = [key for prefix in ("raw/", "processed/", "failed/") for key in self._etl.keys(prefix)
                if key.split("/")[1].split(".")[0] in tags]
        objects = {key: digest(self._etl.read(key)) for key in keys if ".rejects/" not in key}
        rejects = {record["rejects_prefix"]: len(self._etl.rejects(record)) for record in records if "rejects_prefix" in record}
        rules = s3.get_bucket_lifecycle_configuration(Bucket=self._etl.bucket)["Rules"]
        swept = any("AbortIncompleteMultipartUpload" in rule and rule.get("Filter", {}) in ({}, {"Prefix": ""}) for rule in rules)
        uploads = [each["Key"] for each in s3.list_multipart_uploads(Bucket=self._etl.bucket).get("Uploads", [])]
        found = audit.etl(self.files, audit.EtlSeen(
            records, objects, rejects, self._inbox.messages(), () if swept else uploads), injected)
        found.outcomes["unfinished uploads that the lifecycle rule removes"] += len(uploads)
        return found


class MetadataUnder(Under):
    """Documents, one in seven of them invalid."""

    kind, title = "meta", "metadata"

    def __init__(self, aws: Emulator, outputs: Outputs, seed: int, count: int):
        super().__init__(seed, count)
        self._metadata = Metadata(aws, outputs["tap"])
        self._known: dict[str, tuple[str, str]] = {}
        self.files: list[Document] = []

    def sends(self) -> Iterator[Callable[[], None]]:
        for number, tag in enumerate(self.tags):
            content = {"name": tag, "size": str(number)} if number % 7 else None
            body = json.dumps(content).encode() if content else (b"[1]", b'{"a": ', b"")[number // 7 % 3]
            yield self._send(tag, content, body)

    def _send(self, tag: str, content: dict | None, body: bytes) -> Callable[[], None]:
        def send() -> None:
            key = f"{tag}/metadata.json"
            self.files.append(Document(tag, key, self._metadata.upload(key, body), content))
        return send

    def sent(self) -> int:
        return len(self.files)

    def ended(self) -> int:
        versions = {(file.key, file.version) for file in self.files}
        return len(self._metadata._ends(versions))

    def audit(self, injected: Injected) -> Audit:
        executions = []
        for each in self._metadata.executions():
            arn = each["executionArn"]
            key, version = version_in(self._metadata.execution(arn).input)
            executions.append({"arn": arn, "version": version, "status": each["status"], "key": key})
        documents = [hit["_source"] for hit in self._metadata.search({"size": 10_000, "query": {"match_all": {}}})]
        seen = audit.MetadataSeen(executions, documents, self._metadata.failures())
        return audit.metadata(self.files, seen, injected)


class PetsUnder(Under):
    """Pictures, most of them put into the bucket, some sent through the API, some of them none."""

    kind, title = "pet", "pets"
    ENDS = (("completed", "dog", {"Dog": 97.0}), ("completed", "cat", {"Cat": 96.0}), ("uncertain", None, {"Cat": 60.0}),
            ("completed", "other", {"Bird": 90.0}), ("failed", None, None))

    def __init__(self, aws: Emulator, outputs: Outputs, seed: int, count: int):
        super().__init__(seed, count)
        self._pets = Pets(aws, outputs["pet-detector"])
        self._alerts = Inbox(aws, self._pets.topic_arn)
        self._pixels = averaged(cat(), 2)
        self._expected: dict[str, tuple] = {}

    def sends(self) -> Iterator[Callable[[], None]]:
        for number, tag in enumerate(self.tags):
            status, animal, labels = self.ENDS[number % len(self.ENDS)]
            body = png(self._pixels, {"labels": labels, "tag": tag}) if labels else f"no picture: {tag}".encode()
            self._expected[tag] = status, animal, digest(body)
            through_api = bool(labels) and number % 4 == 1
            yield lambda tag=tag, body=body, through_api=through_api: self._send(f"{tag}.png", body, through_api)

    def _send(self, name: str, body: bytes, through_api: bool) -> None:
        if not through_api:
            self._pets.drop(name, body)
            return
        for _ in range(5):  # a client tries again after a 5xx; each attempt that got through is an upload
            if self._pets.request("POST", "/upload", {"filename": name, "content_type": "image/png",
                                                      "image": base64.b64encode(body).decode()}).status < 300:
                return

    def files(self) -> list[Picture]:
        """Every version that ever was below input/."""
        pages = self._pets.aws.client("s3").get_paginator("list_object_versions").paginate(
            Bucket=self._pets.bucket, Prefix=pets_contract.INPUT)
        versions = [each for page in pages for each in page.get("Versions", [])]
        found = []
        for each in versions:
            tag = each["Key"].rpartition("/")[2].removesuffix(".png")
            if tag in self._expected:
                status, animal, body = self._expected[tag]
                found.append(Picture(tag, each["Key"], each["VersionId"], body, status, animal))
        return found

    def sent(self) -> int:
        return len(self.files())

    def _records(self) -> list[dict]:
        tags = set(self.tags)
        return [record for record in self._pets.records()
                if record[pets_contract.SOURCE_KEY].rpartition("/")[2].removesuffix(".png") in tags]

    def ended(self) -> int:
        return sum(record[pets_contract.STATUS] in PETS_ENDED for record in self._records())

    def audit(self, injected: Injected) -> Audit:
        s3, tags = self._pets.aws.client("s3"), set(self.tags)
        keys = [key for key in self._pets.keys("") if key.rpartition("/")[2].removesuffix(".png") in tags]
        objects = {key: digest(s3.get_object(Bucket=self._pets.bucket, Key=key)["Body"].read()) for key in keys}
        seen = audit.PetsSeen(self._records(), objects, self._alerts.messages())
        files = self.files()
        found = audit.pets(files, seen, injected)
        for tag in sorted(tags - {file.tag for file in files}):
            found.findings.append(f"{tag}: never arrived")
        return found


class IngestionUnder(Under):
    """Files of records, in both regions in turns."""

    kind, title = "ing", "ingestion"

    def __init__(self, aws: Emulator, outputs: Outputs, seed: int, count: int):
        super().__init__(seed, count)
        self._ingestion = Ingestion(aws, outputs["ingestion"])
        self._ended: dict[File, dict] = {}
        self.files: list[tuple[File, Records]] = []

    def sends(self) -> Iterator[Callable[[], None]]:
        for tag, region, number in zip(self.tags, itertools.cycle(REGIONS), itertools.count()):
            ids = [f"{tag}-r{record}" for record in range(5 + number % 20)]
            records = [{"recordId": name, "timestamp": "2026-03-01T00:00:00Z"} for name in ids]
            if number % 5 == 2:
                del records[-1]["timestamp"]
            body = b"".join(json.dumps(each).encode() + b"\n" for each in records)
            yield lambda tag=tag, region=region, ids=ids, body=body: self._send(tag, region, ids, body)

    def _send(self, tag: str, region: str, ids: Sequence[str], body: bytes) -> None:
        file = self._ingestion.upload(region, f"{tag}.json", body)
        self.files.append((file, Records(tag, region, file.key, file.version, ids)))

    def sent(self) -> int:
        return len(self.files)

    def ended(self) -> int:
        waiting = [file for file, _ in self.files if file not in self._ended]
        self._ingestion.follow(waiting, self._ended.__setitem__, 0)
        return len(self._ended)

    def audit(self, injected: Injected) -> Audit:
        checkpoints = {file.version: self._ingestion.checkpoint(file) for file, _ in self.files}
        items = {region: [item for item in self._ingestion.items(region)
                          if item[ingestion_contract.STATUS] in (ingestion_contract.VALID, ingestion_contract.INVALID)]
                 for region in REGIONS}
        return audit.ingestion([records for _, records in self.files], audit.IngestionSeen(checkpoints, items), injected)
