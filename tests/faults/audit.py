"""What must hold of every upload after the faults, the sweep and the replays: what was sent is held against what is there.

An audit is a pure function: files, what is seen of the system, and the faults that were injected → findings and outcomes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lambdas.etl import contract as etl_contract
from lambdas.ingestion import contract as ingestion_contract
from lambdas.pets import contract as pets_contract

Injected = Sequence[Mapping]
"""Faults, as `local.faults` notes them."""

ANNOUNCING = ("sns:Publish", "lambda:Invoke")
"""Calls after whose effect a lost answer means another announcement: the publication itself, and the function that does it."""


@dataclass
class Audit:
    """What is wrong, a sentence each, and how many uploads came to which end."""

    findings: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)

    def expect(self, holds: object, finding: str) -> None:
        if not holds:
            self.findings.append(finding)


def digest(content: bytes) -> str:
    """Of a file: large ones are not kept."""
    return hashlib.sha256(content).hexdigest()


def repeats(tag: str, injected: Injected) -> int:
    """How many announcements more than one this file may have: one for each time that an announcement was made, and who made it
    did not learn of it, or was stopped before it could note it."""
    return sum(each["subject"] == tag and (
        each["fault"] == "aborted" or (each["fault"] in ("lost", "killed after") and each["what"] in ANNOUNCING))
        for each in injected)


def _is_injected(fault: str, tag: str, injected: Injected) -> bool:
    return any((each["fault"], each["subject"]) == (fault, tag) for each in injected)


def by(items: Iterable[Mapping], *names: str) -> dict[tuple, list[Mapping]]:
    """Items by the values of some of their keys."""
    grouped = defaultdict(list)
    for item in items:
        grouped[tuple(item.get(name) for name in names)].append(item)
    return grouped


def announcements(audit: Audit, tag: str, counts: Mapping[str, int], expected: str | None, injected: Injected) -> None:
    """One of the kind that is expected, none of another, save for what lost answers explain."""
    if expected:
        audit.expect(counts.get(expected), f"{tag}: not announced as {expected!r}")
    surplus = sum(counts.values()) - bool(expected and counts.get(expected))
    audit.expect(surplus <= repeats(tag, injected), f"{tag}: announced {dict(counts)}, expected {expected!r} once")
    if 0 < surplus <= repeats(tag, injected):
        audit.outcomes["announced again, the answer lost"] += surplus


# --- ETL -------------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Csv:
    """An uploaded version. Those of one name are listed in the order of their uploads."""

    tag: str
    name: str
    version: str
    body: str
    """Digest."""
    output: str | None
    """Digest of what must be published; None if the file is invalid."""
    read: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class EtlSeen:
    """The ETL's table, bucket and topic."""

    records: Sequence[Mapping]
    objects: Mapping[str, str]
    """Digests of current objects, by key."""
    rejects: Mapping[str, int]
    """Lines of rejects, by prefix."""
    notices: Sequence[Mapping]
    uploads: Sequence[str] = ()
    """Keys of multipart uploads that were never ended, and that no lifecycle rule removes."""


def etl(files: Sequence[Csv], seen: EtlSeen, injected: Injected = ()) -> Audit:
    """E3 to E9: one record an upload, at its end; a whole output or none; the original set aside or gone; one announcement."""
    audit = Audit()
    records = by(seen.records, "version_id")
    rivals: dict[str, list[Csv]] = defaultdict(list)
    for file in files:
        rivals[file.name].append(file)
    for file in files:
        own = records.get((file.version,), [])
        if not own and file is not rivals[file.name][-1] and _is_injected("dropped", file.tag, injected):
            audit.outcomes["replaced, its event lost"] += 1  # the sweep sees what is there, not what was
            continue
        if len(own) != 1:
            audit.findings.append(f"{file.tag}: {len(own)} records of version {file.version}")
            continue
        _etl_end(audit, file, own[0], rivals[file.name], seen, injected)
    for name, versions in rivals.items():
        _etl_output(audit, versions, {file.version: records.get((file.version,), [{}])[0] for file in versions},
                    seen.objects.get(f"processed/{name}"))
        audit.expect(f"raw/{name}" not in seen.objects, f"{versions[0].tag}: still under raw/")
    for key in seen.uploads:
        audit.findings.append(f"an upload of {key} was never ended, and no lifecycle rule removes it")
    return audit


def _etl_end(audit: Audit, file: Csv, record: Mapping, rivals: Sequence[Csv], seen: EtlSeen, injected: Injected) -> None:
    tag, status, rejected = file.tag, record["status"], record.get("rows_rejected", 0)
    audit.outcomes[status] += 1
    if status == "PROCESSING":
        return audit.findings.append(f"{tag}: stuck in PROCESSING")
    audit.expect(status != "SUCCEEDED" or file.output, f"{tag}: SUCCEEDED, though it is invalid")
    audit.expect(status != "INVALID" or not file.output, f"{tag}: INVALID, though it is valid: {record.get('error_message')}")
    if status == "SUCCEEDED":
        counted = record.get("rows_read"), record.get("rows_written", 0) + rejected, rejected
        audit.expect(counted == (file.read, file.read, file.rejected), f"{tag}: rows read, accounted for, rejected: {counted}")
        newer = [rival.version for rival in rivals[rivals.index(file) + 1:]]
        superseded = record.get("error_message", "").removeprefix("superseded by ") in newer
        audit.expect(superseded or record.get("output_key") == f"processed/{file.name}", f"{tag}: no output, and no newer one")
    else:
        audit.expect(seen.objects.get(record.get("failed_key", "")) in {rival.body for rival in rivals},
                     f"{tag}: {status}, but not set aside")
    if prefix := record.get("rejects_prefix"):
        audit.expect(seen.rejects.get(prefix) == rejected, f"{tag}: {seen.rejects.get(prefix)} rejects kept, {rejected} counted")
    kinds = {"FAILED": etl_contract.SUBJECT_FAILED, "INVALID": etl_contract.SUBJECT_INVALID,
             "SUCCEEDED": etl_contract.SUBJECT_REJECTS if rejected else None}
    counts = Counter(each["Subject"] for each in seen.notices if file.version in each["Message"])
    announcements(audit, tag, counts, kinds[status], injected)
    return None


def _etl_output(audit: Audit, versions: Sequence[Csv], records: Mapping[str, Mapping], output: str | None) -> None:
    """What is published of a name is the whole output of its newest version that succeeded, or of a newer one that was given up
    after it had published."""
    statuses = [records[version.version].get("status") for version in versions]
    newest = max((number for number, status in enumerate(statuses) if status == "SUCCEEDED"), default=-1)
    allowed = {version.output: status for version, status in zip(versions, statuses, strict=True)
               if version.output and versions.index(version) >= newest}
    if output is None:
        audit.expect(newest == -1, f"{versions[0].tag}: SUCCEEDED, but nothing is published")
    else:
        audit.expect(output in allowed, f"{versions[0].tag}: what is published is not the newest output, or not whole")
        if allowed.get(output) == "FAILED":
            audit.outcomes["FAILED after it was published"] += 1


# --- metadata --------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Document:
    """An uploaded metadata.json."""

    tag: str
    key: str
    version: str
    content: Mapping | None
    """None if it is not valid."""


@dataclass(frozen=True)
class MetadataSeen:
    """The executions (`version`, `arn`, `status`), the index and the table of failures."""

    executions: Sequence[Mapping]
    documents: Sequence[Mapping]
    failures: Sequence[Mapping]


def metadata(files: Sequence[Document], seen: MetadataSeen, injected: Injected = ()) -> Audit:
    """M3, M6: every version has executions; each has stored the document, or one failure; documents are whole, of one id."""
    audit = Audit()
    executions = by(seen.executions, "version")
    failures = by(seen.failures, "execution_id")
    documents = defaultdict(list)
    for document in seen.documents:
        documents[document["ingest"]["version_id"]].append(document)
    for file in files:
        found, stored = executions.get((file.version,), []), documents[file.version]
        audit.expect(found, f"{file.tag}: no execution of version {file.version}")
        storing = {document["ingest"]["execution_id"] for document in stored}
        for execution in found:
            arn, status = execution["arn"], execution["status"]
            audit.expect(status != "RUNNING", f"{file.tag}: still running")
            audit.expect(status != "SUCCEEDED" or arn in storing, f"{file.tag}: SUCCEEDED without a document")
            recorded = len(failures.get((arn,), []))
            failed = status not in ("SUCCEEDED", "RUNNING")
            audit.expect(recorded == failed, f"{file.tag}: {status}, {recorded} failures recorded")
        audit.expect(file.content is not None or not stored, f"{file.tag}: stored, though it is invalid")
        for document in stored:
            own = {name: value for name, value in document.items() if name not in ("@timestamp", "ingest")}
            audit.expect(json.loads(json.dumps(own)) == file.content, f"{file.tag}: stored with other content")
        audit.expect(len({document["ingest"]["id"] for document in stored}) < 2, f"{file.tag}: documents of several ids")
        if found:
            audit.outcomes["indexed" if stored else "failed, recorded"] += 1
        if len(stored) > 1:
            audit.outcomes["indexed again, same id"] += len(stored) - 1
    return audit


# --- pets ------------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Picture:
    """An uploaded version below input/."""

    tag: str
    key: str
    version: str
    body: str
    status: str
    """Which end it comes to if nothing fails."""
    animal: str | None


@dataclass(frozen=True)
class PetsSeen:
    """The table, the bucket and the alerts."""

    records: Sequence[Mapping]
    objects: Mapping[str, str]
    alerts: Sequence[Mapping]


def pets(files: Sequence[Picture], seen: PetsSeen, injected: Injected = ()) -> Audit:
    """P3 to P5: one record a version, at its end; the image filed where the record says, or left under input/; one alert."""
    audit = Audit()
    records = by(seen.records, pets_contract.SOURCE_KEY, pets_contract.SOURCE_VERSION)
    for file in files:
        own = records.get((file.key, file.version), [])
        if len(own) != 1:
            audit.findings.append(f"{file.tag}: {len(own)} records of version {file.version}")
            continue
        [record] = own
        status, location = record[pets_contract.STATUS], record.get(pets_contract.LOCATION, "").split("/", 3)[-1]
        audit.outcomes[status] += 1
        given_up = record.get(pets_contract.FAILURE_CODE) == pets_contract.PROCESSING_FAILED
        audit.expect(status == file.status or given_up, f"{file.tag}: {status} instead of {file.status}")
        filed = [key for key in seen.objects if key.partition("/")[2] == file.key.partition("/")[2]]
        if status in (pets_contract.COMPLETED, pets_contract.UNCERTAIN):
            audit.expect(file.animal is None or record[pets_contract.ANIMAL] == file.animal, f"{file.tag}: {record}")
            audit.expect(filed == [location], f"{file.tag}: filed under {filed} instead of {location}")
        audit.expect(filed and all(seen.objects[key] == file.body for key in filed), f"{file.tag}: {status}, lies at {filed}")
        if given_up and f"input/{file.key.partition('/')[2]}" not in filed:
            audit.outcomes["failed after it was filed"] += 1
        counts = Counter(each["Subject"] for each in seen.alerts if file.version in each["Message"])
        if status == pets_contract.FAILED and file.status == pets_contract.UNCERTAIN and counts:
            counts.subtract(list(counts)[:1])  # alerted, then given up
        expected = "Pet detector: an image needs a look" if status == pets_contract.UNCERTAIN else None
        if expected and not counts and _is_injected("aborted", file.tag, injected):
            audit.outcomes["uncertain, without an alert but the alarm on its aborted execution"] += 1
            continue
        announcements(audit, file.tag, counts, expected, injected)
    return audit


# --- ingestion -------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Records:
    """An uploaded file of records."""

    tag: str
    region: str
    key: str
    version: str
    ids: Sequence[str]


@dataclass(frozen=True)
class IngestionSeen:
    """Checkpoints by version, and the items of each region."""

    checkpoints: Mapping[str, Mapping | None]
    items: Mapping[str, Sequence[Mapping]]


def ingestion(files: Sequence[Records], seen: IngestionSeen, injected: Injected = ()) -> Audit:
    """R3, R4: every file is done and its counts add up; every record is one item, in both regions, of the file it came in."""
    audit = Audit()
    read, stored, known, _, conflicting = ingestion_contract.COUNTS
    for file in files:
        checkpoint = seen.checkpoints.get(file.version)
        if not checkpoint or checkpoint[ingestion_contract.DONE] != "true":
            audit.findings.append(f"{file.tag}: not done: {checkpoint}")
            continue
        audit.outcomes["done"] += 1
        counts = [checkpoint[name] for name in (read, stored, known, conflicting)]
        audit.expect(counts == [len(file.ids), len(file.ids), 0, 0], f"{file.tag}: read, stored, known, conflicting: {counts}")
    for region, items in seen.items.items():
        found = by(items, ingestion_contract.RECORD_ID)
        for file in files:
            own = [item for name in file.ids for item in found.get((name,), [])]
            audit.expect(len(own) == len(file.ids), f"{file.tag}: {len(own)} items of {len(file.ids)} records in {region}")
            audit.expect({item[ingestion_contract.SOURCE_VERSION] for item in own} <= {file.version},
                         f"{file.tag}: items of other versions in {region}")
    return audit


AUDITS: Mapping[str, Callable] = {"ETL": etl, "metadata": metadata, "pets": pets, "ingestion": ingestion}
