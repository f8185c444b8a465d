"""Bursts of small files for every system, and the audit of what became of them: each upload has exactly one outcome, and it is
the right one, byte by byte.
"""

from __future__ import annotations

import base64
import itertools
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from lambdas.ingestion import contract as ingestion_contract
from lambdas.pets import contract as pet_contract
from local import pictures
from local.emulator import Emulator
from local.etl import Etl
from local.executions import Pipeline
from local.inbox import Inbox
from local.ingestion import REGIONS, Ingestion
from local.metadata import Metadata, parsed, version_in
from local.pets import ApiError, Pets, place_of

SENDERS = 32
ANSWER_SECONDS = 600
"""How long a sender goes on asking an API that has no room."""


@dataclass(frozen=True)
class Sent:
    """One uploaded version of a file. Of a picture that the API took, `name` is its id and `version` its file name."""

    name: str
    version: str
    body: bytes
    wanted: Any
    """What shall become of it; what that is differs from system to system."""
    at: float
    """When its upload began, in seconds since 1970."""


class System(Protocol):
    """A deployed system under load."""

    title: str
    functions: Sequence[str]
    """Names of those that take part."""

    def jobs(self, count: int) -> list[Callable[[], list[Sent]]]:
        """So many uploads. One job sends what must go one after the other."""
        ...

    def progress(self) -> tuple[int, int]:
        """How many uploads are at an end, and how many are known to be under way."""
        ...

    def ends(self) -> dict[tuple[str, str], float]:
        """When each version came to its end, in seconds since 1970."""
        ...

    def faults(self, sent: Sequence[Sent]) -> list[str]:
        """What is not as it should be."""
        ...


# --- ETL ---------------------------------------------------------------------------------------------------------------------

ETL_HEADER = "transaction_id,customer_id,amount,timestamp\n"


def csv_file(number: int) -> tuple[bytes, bytes | None]:
    """A file of 20 to 49 rows and what shall come out of it (E4a); None for each twentieth, which lacks a column (E3b)."""
    if number % 20 == 7:
        return f"transaction_id,customer_id,amount\nT{number},C,1.00\n".encode(), None
    given, wanted = [ETL_HEADER], [ETL_HEADER]
    for row in range(20 + number % 30):
        whole, day = 1000 + number * 50 + row, 1 + row % 28
        given.append(f'T{number}-{row},C{row},"${whole:,}.5",11/{day:02}/2026 10:{row:02}\n')
        wanted.append(f"T{number}-{row},C{row},{whole}.50,2026-11-{day:02}T10:{row:02}:00Z\n")
    return "".join(given).encode(), "".join(wanted).encode()


class EtlLoad:
    """Each tenth upload is a new version of the file before it, which it must prevail over (E4c)."""

    title = "ETL"

    def __init__(self, aws: Emulator, outputs: Mapping[str, Mapping[str, str]]):
        self._etl = Etl(aws, outputs["tap"])
        self._inbox = Inbox(aws, self._etl.topic_arn)
        self.functions = (self._etl.validation, self._etl.transformation)

    def jobs(self, count: int) -> list[Callable[[], list[Sent]]]:
        files: dict[str, list[int]] = defaultdict(list)
        for number in range(count):
            files[f"load/{number - (number % 10 == 9):05}.csv"].append(number)
        return [lambda name=name, numbers=numbers: [self._send(name, number) for number in numbers]
                for name, numbers in files.items()]

    def _send(self, name: str, number: int) -> Sent:
        body, wanted = csv_file(number)
        began = time.time()
        return Sent(name, self._etl.upload(name, body), body, wanted, began)

    def progress(self) -> tuple[int, int]:
        return executions(self._etl)

    def ends(self) -> dict[tuple[str, str], float]:
        stopped = stops(self._etl)
        return {(record["file_name"], record["version_id"]): stopped[record["execution_arn"]]
                for record in self._etl.all_records() if record["execution_arn"] in stopped}

    def faults(self, sent: Sequence[Sent]) -> list[str]:
        keys = self._etl.keys()
        with ThreadPoolExecutor(SENDERS) as threads:
            objects = dict(zip(keys, threads.map(self._etl.read, keys), strict=True))
        return etl_faults(sent, self._etl.all_records(), objects, len(self._inbox.messages()))


def etl_faults(sent: Sequence[Sent], records: Iterable[Mapping], objects: Mapping[str, bytes], notices: int) -> list[str]:
    """Each version has one record; valid files came out as they should, the newest version of each; invalid ones were set aside
    and announced; nothing else lies in the bucket.
    """
    faults = []
    found: dict[tuple[str, str], list[Mapping]] = defaultdict(list)
    for record in records:
        found[record["file_name"], record["version_id"]].append(record)
    expected: dict[str, bytes] = {}
    for each in sent:
        own = found.pop((each.name, each.version), [])
        status = "INVALID" if each.wanted is None else "SUCCEEDED"
        if [record["status"] for record in own] != [status]:
            faults.append(f"{each.name} {each.version}: its records are {[record['status'] for record in own]}, not one {status}")
        for record in own:
            if each.wanted is not None and record.get("output_key") and record["rows_written"] != each.wanted.count(b"\n") - 1:
                faults.append(f"{each.name} {each.version}: {record['rows_written']} rows are said to be written")
        folder, content = ("failed/", each.body) if each.wanted is None else ("processed/", each.wanted)
        expected[folder + each.name] = content  # a later version takes the place of an earlier one
    faults += [f"{name} {version}: a record of what nobody uploaded" for name, version in found]
    faults += object_faults(objects, expected)
    if notices != (invalid := sum(each.wanted is None for each in sent)):
        faults.append(f"{notices} notices for {invalid} invalid files")
    return faults


# --- metadata ----------------------------------------------------------------------------------------------------------------


def metadata_file(number: int) -> tuple[bytes, bool]:
    """A `metadata.json`, and whether it is valid; each fiftieth is not."""
    if number % 50 == 13:
        return b'{"name": ', False
    return (f'{{"name": "load-{number}", "version": "1.{number}", "tags": ["load", "{number % 7}"], '
            f'"files": {number}, "size": 12345678901234567890.{number:05}0}}').encode(), True


class MetadataLoad:
    """One file in each folder."""

    title = "metadata"

    def __init__(self, aws: Emulator, outputs: Mapping[str, Mapping[str, str]]):
        self._metadata = Metadata(aws, outputs["tap"])
        self.functions = named(aws, "metadata-indexing")

    def jobs(self, count: int) -> list[Callable[[], list[Sent]]]:
        return [lambda number=number: [self._send(number)] for number in range(count)]

    def _send(self, number: int) -> Sent:
        key, (body, wanted) = f"load/{number:05}/metadata.json", metadata_file(number)
        began = time.time()
        return Sent(key, self._metadata.upload(key, body), body, wanted, began)

    def progress(self) -> tuple[int, int]:
        return executions(self._metadata)

    def ends(self) -> dict[tuple[str, str], float]:
        stopped = stops(self._metadata)
        executed = {(each["ingest"]["key"], each["ingest"]["version_id"]): each["ingest"]["execution_id"]
                    for each in self._documents()}
        executed |= {version_in(item["input"]): item["execution_id"] for item in self._metadata.failures()}
        return {version: stopped[execution] for version, execution in executed.items() if execution in stopped}

    def _documents(self) -> list[dict]:
        return [hit["_source"] for hit in self._metadata.search({"size": 10_000, "query": {"match_all": {}}})]

    def faults(self, sent: Sequence[Sent]) -> list[str]:
        return metadata_faults(sent, self._documents(), [version_in(item["input"]) for item in self._metadata.failures()])


def metadata_faults(sent: Sequence[Sent], documents: Iterable[Mapping], failures: Iterable[tuple[str, str]]) -> list[str]:
    """Each version is one document with the file's own content, digit by digit, or, if it is invalid, one failure."""
    faults = []
    found: dict[tuple[str, str], list[Mapping]] = defaultdict(list)
    for document in documents:
        found[document["ingest"]["key"], document["ingest"]["version_id"]].append(document)
    failed = Counter(failures)
    for each in sent:
        own, failures_of = found.pop((each.name, each.version), []), failed.pop((each.name, each.version), 0)
        if (len(own), failures_of) != ((1, 0) if each.wanted else (0, 1)):
            faults.append(f"{each.name} {each.version}: {len(own)} documents and {failures_of} failures")
        for document in own if each.wanted else ():
            if {name: document[name] for name in document if name not in ("@timestamp", "ingest")} != parsed(each.body.decode()):
                faults.append(f"{each.name} {each.version}: its document is {document}")
    return faults + [f"{name} {version}: not of this burst" for name, version in (*found, *failed)]


# --- pets --------------------------------------------------------------------------------------------------------------------

PICTURES = {"cat": {"Cat": 97.0}, "dog": {"Dog": 96.0}, "other": {"Landscape": 95.0}, "unsure": {"Cat": 60.0}}


class PetLoad:
    """Pictures through the API, every second one inline; each tenth one is doubtful."""

    title = "pets"

    def __init__(self, aws: Emulator, outputs: Mapping[str, Mapping[str, str]]):
        self._pets = Pets(aws, outputs["pet-detector"])
        self._inbox = Inbox(aws, self._pets.topic_arn)
        self.functions = named(aws, "serverlessapp-")
        self.refused: list[str] = []
        self.doubled = 0
        self._unknown: set[str] = set()
        self._pixels = {"cat": pictures.cat(), "dog": pictures.dog(), "other": pictures.landscape(), "unsure": pictures.cat()}

    def picture(self, number: int) -> tuple[bytes, tuple[str, str, str]]:
        """A picture unlike all others; status, animal and folder that it shall have."""
        kind = ("cat", "dog", "cat", "dog", "other", "cat", "dog", "cat", "dog", "unsure")[number % 10]
        body = pictures.png(self._pixels[kind], {"labels": {name: at + number / 1e6 for name, at in PICTURES[kind].items()}})
        if kind == "unsure":
            return body, (pet_contract.UNCERTAIN, "cat", pet_contract.OTHERS)
        return body, (pet_contract.COMPLETED, kind, pet_contract.FOLDERS[kind])

    def jobs(self, count: int) -> list[Callable[[], list[Sent]]]:
        drawn = [self.picture(number) for number in range(count)]
        return [lambda number=number, body=body, wanted=wanted: [self._send(number, body, wanted)]
                for number, (body, wanted) in enumerate(drawn)]

    def _send(self, number: int, body: bytes, wanted: tuple[str, str, str]) -> Sent:
        name, began = f"load-{number}.png", time.time()
        content = {"image": base64.b64encode(body).decode()} if number % 2 else {"size": len(body)}
        taken = self._ask(name, {"filename": name, "content_type": "image/png", **content})
        if "upload" in taken and (answer := self._pets.post(taken["upload"], body)).status >= 300:
            raise ApiError(f"{name}: S3 says {answer.status}: {answer.body!r}")
        return Sent(taken["id"], name, body, wanted, began)

    def _ask(self, name: str, request: Mapping[str, Any]) -> dict:
        """Ask until there is room, as a well-behaved client does. Raises ApiError."""
        deadline = time.monotonic() + ANSWER_SECONDS
        for attempt in itertools.count():
            answer = self._pets.request("POST", "/upload", request, patient=False)
            if answer.status < 300:
                return answer.body
            if (answer.status != 429 and answer.status < 500) or time.monotonic() > deadline:
                raise ApiError(f"{name}: the API says {answer.status}: {answer.body}")
            self.refused.append(name)
            if answer.status >= 500:
                self._unknown.add(name)
            time.sleep(random.uniform(0, min(2**attempt / 4, 8)))
        raise AssertionError

    def progress(self) -> tuple[int, int]:
        return executions(self._pets)

    def ends(self) -> dict[tuple[str, str], float]:
        stopped = stops(self._pets)
        return {(record[pet_contract.IMAGE_ID], file_of(record)): stopped[record[pet_contract.EXECUTION]]
                for record in self._pets.records() if record[pet_contract.EXECUTION] in stopped}

    def faults(self, sent: Sequence[Sent]) -> list[str]:
        records = self._pets.records()
        places = {place_of(record) for record in records}.intersection(keys := self._pets.keys())

        def read(key: str) -> bytes:
            return self._pets.aws.client("s3").get_object(Bucket=self._pets.bucket, Key=key)["Body"].read()

        with ThreadPoolExecutor(SENDERS) as threads:
            objects = dict.fromkeys(keys, b"") | dict(zip(places, threads.map(read, places), strict=True))
        twice = doubled(sent, records, self._unknown)
        self.doubled = len(twice)
        return pet_faults([*sent, *twice], records, objects, len(self._inbox.messages()))


def doubled(sent: Sequence[Sent], records: Iterable[Mapping], unknown: Container[str]) -> list[Sent]:
    """Images that the API took though it answered 5xx: the caller cannot know, sends again, and has them under two ids."""
    files, ids = {each.version: each for each in sent}, {each.name for each in sent}
    extra = {record[pet_contract.IMAGE_ID]: file_of(record) for record in records if record[pet_contract.IMAGE_ID] not in ids}
    return [replace(files[file], name=image_id) for image_id, file in extra.items() if file in unknown]


def file_of(record: Mapping) -> str:
    """The name under which a picture was uploaded."""
    return record[pet_contract.SOURCE_KEY].rpartition("/")[2]


def pet_faults(sent: Sequence[Sent], records: Iterable[Mapping], objects: Mapping[str, bytes], notices: int) -> list[str]:
    """Each image has one record with its status and animal, and lies where that belongs; the doubtful ones were announced;
    nothing else lies in the bucket.
    """
    faults, expected = [], {}
    found: dict[str, list[Mapping]] = defaultdict(list)
    for record in records:
        found[record[pet_contract.IMAGE_ID]].append(record)
    for each in sent:
        own = found.pop(each.name, [])
        told = [(record[pet_contract.STATUS], record.get(pet_contract.ANIMAL), place_of(record).partition("/")[0] + "/")
                for record in own]
        if told != [each.wanted]:
            faults.append(f"{each.name}: its records are {told}, not one {each.wanted}")
        expected |= {place_of(record): each.body for record in own}
    faults += [f"{name}: a record of what nobody uploaded" for name in found]
    faults += object_faults(objects, expected)
    if notices != (doubtful := sum(each.wanted[0] == pet_contract.UNCERTAIN for each in sent)):
        faults.append(f"{notices} notices for {doubtful} doubtful images")
    return faults


# --- ingestion ---------------------------------------------------------------------------------------------------------------


def records_file(number: int) -> tuple[bytes, list[dict]]:
    """Five records, as JSON lines."""
    records = [{"recordId": f"load-{number}-{row}", "timestamp": f"2026-11-21T10:00:{row:02}Z", "total": number + row}
               for row in range(5)]
    return "".join(json.dumps(record) + "\n" for record in records).encode(), records


class IngestionLoad:
    """Files of records, each tenth one sent to the other region."""

    title = "ingestion"

    def __init__(self, aws: Emulator, outputs: Mapping[str, Mapping[str, str]]):
        self._ingestion = Ingestion(aws, outputs["ingestion"])
        self.functions = (self._ingestion.output("function_name", REGIONS[0]),)

    def jobs(self, count: int) -> list[Callable[[], list[Sent]]]:
        return [lambda number=number: [self._send(number)] for number in range(count)]

    def _send(self, number: int) -> Sent:
        key, (body, wanted) = f"load/{number:05}.json", records_file(number)
        began = time.time()
        return Sent(key, self._ingestion.upload(REGIONS[number % 10 == 9], key, body).version, body, wanted, began)

    def progress(self) -> tuple[int, int]:
        return len(self.ends()), 0

    def ends(self) -> dict[tuple[str, str], float]:
        return {(item[ingestion_contract.SOURCE_KEY], item[ingestion_contract.SOURCE_VERSION]):
                datetime.fromisoformat(item[ingestion_contract.PROCESSED_AT]).timestamp()
                for item in self._ingestion.items(REGIONS[0]) if item.get(ingestion_contract.DONE) == "true"}

    def faults(self, sent: Sequence[Sent]) -> list[str]:
        done = Counter((item[ingestion_contract.SOURCE_KEY], item[ingestion_contract.SOURCE_VERSION])
                       for item in self._ingestion.items(REGIONS[0]) if item.get(ingestion_contract.DONE) == "true")
        return [fault for region in REGIONS for fault in ingestion_faults(sent, done, self._ingestion.records(region), region)]


def ingestion_faults(
    sent: Sequence[Sent], done: Mapping[tuple[str, str], int], records: Iterable[Mapping], region: str
) -> list[str]:
    """Each file is done; each of its records is there once in the region, as it was sent, and no other."""
    faults = []
    found: dict[tuple[str, str], list[Mapping]] = defaultdict(list)
    for record in records:
        found[record[ingestion_contract.SOURCE_KEY], record[ingestion_contract.SOURCE_VERSION]].append(record)
    for each in sent:
        own = sorted(found.pop((each.name, each.version), []), key=lambda record: record[ingestion_contract.SOURCE_OFFSET])
        if done.get((each.name, each.version)) != 1:
            faults.append(f"{each.name} {each.version}: {done.get((each.name, each.version), 0)} checkpoints that are done")
        if [json.loads(record[ingestion_contract.DATA]) for record in own] != each.wanted:
            faults.append(f"{each.name} {each.version}: {region} has {len(own)} records of it, not its {len(each.wanted)}")
    return faults + [f"{name} {version}: {region} has records of what nobody uploaded" for name, version in found]


# --- what all have in common -------------------------------------------------------------------------------------------------

SYSTEMS: Mapping[str, type] = {"etl": EtlLoad, "metadata": MetadataLoad, "uploads": PetLoad, "ingestion": IngestionLoad}


def executions(pipeline: Pipeline) -> tuple[int, int]:
    """How many have ended, and how many run."""
    running = Counter(each["status"] == "RUNNING" for each in pipeline.executions())
    return running[False], running[True]


def stops(pipeline: Pipeline) -> dict[str, float]:
    """When each execution ended, by its ARN, in seconds since 1970."""
    return {each["executionArn"]: each["stopDate"].timestamp() for each in pipeline.executions() if "stopDate" in each}


def named(aws: Emulator, prefix: str) -> list[str]:
    """Names of the functions that begin so."""
    pages = aws.client("lambda").get_paginator("list_functions").paginate()
    return [each["FunctionName"] for page in pages for each in page["Functions"] if each["FunctionName"].startswith(prefix)]


def object_faults(objects: Mapping[str, bytes], expected: Mapping[str, bytes]) -> list[str]:
    """Where the objects of a bucket are not the expected ones, byte by byte."""
    return ([f"{key} is missing" for key in expected if key not in objects]
            + [f"{key} has other content" for key in expected if key in objects and objects[key] != expected[key]]
            + [f"{key} is left over" for key in objects if key not in expected])


def dead_letters(aws: Emulator) -> list[str]:
    """What waits in dead-letter queues, in both regions."""
    faults = []
    for region in REGIONS:
        sqs = aws.client("sqs", region)
        urls = [url for page in sqs.get_paginator("list_queues").paginate() for url in page.get("QueueUrls", [])]
        for url in (url for url in urls if "-dlq" in url):
            count = int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
                        ["Attributes"]["ApproximateNumberOfMessages"])
            if count:
                faults.append(f"{region} {url.rpartition('/')[2]}: {count} dead letters")
    return faults
