"""A burst of small files through every deployed system on an embedded AWS: is each accounted for, and how long did it take?

    python -m bench.load [--etl N] [--metadata N] [--uploads N] [--ingestion N] [--concurrency N] [--write]

Starts an embedded AWS of its own, deploys, and sends each system its burst, one system after the other, with 32 senders at once.
Then it looks at everything that is there: records, documents, objects byte by byte, notices, dead letters. Exit code 1 if any
upload is not accounted for exactly once. `--write` keeps the figures in `bench/load.json` and puts the table into
`docs/reliability.md`. Needs Linux (/proc).

The account of the embedded AWS has 10 concurrent Lambda executions, as a fresh one on AWS: the bursts are throttled, and that
this loses nothing is part of what is shown.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import math
import os
import random
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from bench import report
from bench.pipeline import cpu_seconds
from lambdas.ingestion import contract as ingestion_contract
from lambdas.pets import contract as pet_contract
from local import pictures
from local.deployment import Deployment, SynthesisError, files_of
from local.emulator import Emulator, EmulatorError
from local.etl import Etl
from local.executions import Pipeline
from local.inbox import Inbox
from local.ingestion import REGIONS, Ingestion
from local.metadata import Metadata, parsed, version_in
from local.pets import ApiError, Pets, place_of
from local.terraform import TerraformError, find_provider

RESULTS = report.ROOT / "bench" / "load.json"
PAGE = report.ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- written by python -m bench.load --write -->\n", "<!-- end -->\n"

SENDERS = 32
FRESH_ACCOUNT = 10
"""Concurrent Lambda executions of a new account."""
LOOK_SECONDS = 2.0
STALLED_SECONDS = 240
"""Without a further end for so long, nothing is waited for any more: the longest pause between two attempts is a minute."""
ANSWER_SECONDS = 600
"""How long a sender goes on asking an API that has no room."""
SHOWN_FAULTS = 20


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


@dataclass
class Burst:
    """What one system made of its burst."""

    system: str
    sent: int
    sending: float
    """Seconds until the last one was uploaded."""
    seconds: float
    """From the first upload's beginning until the last end."""
    p50: float
    """From an upload's beginning to its recorded end."""
    p95: float
    p99: float
    refused: int
    """Requests that the API answered with 429 or 5xx, each of them sent again."""
    doubled: int
    """Pictures that the API took although its answer was 5xx, so that they are there twice."""
    throttled: int
    """Attempts at invoking a function that found no free concurrency."""
    failed_attempts: int
    """Invocations that ended with an error."""
    emulator_cpu: float
    """CPU seconds of the embedded AWS's process, until the last end."""
    functions_cpu: float
    """CPU seconds of the workers that the functions run in."""
    others_cores: float
    """Cores that were busy with neither these nor the senders, on average."""
    faults: list[str] = field(default_factory=list)


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


def metric(aws: Emulator, name: str, functions: Sequence[str]) -> int:
    """Sum of a metric of Lambda over these functions and both regions, in the last day."""
    now = time.time()
    return round(sum(
        point["Sum"] for region in REGIONS for function in functions
        for point in aws.client("cloudwatch", region).get_metric_statistics(
            Namespace="AWS/Lambda", MetricName=name, Dimensions=[{"Name": "FunctionName", "Value": function}],
            StartTime=now - 86400, EndTime=now + 60, Period=3600, Statistics=["Sum"])["Datapoints"]))


class Meter:
    """CPU seconds of the embedded AWS, of its workers and of the whole machine since the beginning."""

    def __init__(self, pid: int):
        self._pid = pid
        self._began, self._busy, self._own = time.monotonic(), busy_seconds(), time.process_time()
        self._before = self._now = group_cpu(pid)

    def look(self) -> None:
        """A worker that ends later counts with what it has used by now."""
        self._now = self._now | group_cpu(self._pid)

    def used(self) -> tuple[float, float, float]:
        """CPU seconds of the embedded AWS and of the workers; cores busy with something else, but for the senders."""
        self.look()
        used = {pid: seconds - self._before.get(pid, 0) for pid, seconds in self._now.items()}
        emulator, everybody = used[self._pid], busy_seconds() - self._busy
        others = everybody - sum(used.values()) - (time.process_time() - self._own)
        return emulator, sum(used.values()) - emulator, max(others, 0) / (time.monotonic() - self._began)


def group_cpu(group: int) -> dict[int, float]:
    """CPU seconds of every process of a group, user and system time. Field 5 of proc(5)'s stat is the group."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            if int(fields[2]) == group and (seconds := cpu_seconds(int(entry.name))) is not None:
                found[int(entry.name)] = seconds
    return found


def busy_seconds() -> float:
    """CPU seconds that all cores have been busy since the machine started: user, nice, system, irq, softirq of proc(5)'s stat."""
    fields = [int(ticks) for ticks in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return sum(fields[at] for at in (0, 1, 2, 5, 6)) / os.sysconf("SC_CLK_TCK")


def burst(aws: Emulator, system: System, count: int) -> Burst:
    """Send so many at once, wait for their ends, and look at all that is there."""
    assert aws.pid
    jobs, meter, began = system.jobs(count), Meter(aws.pid), time.time()
    with ThreadPoolExecutor(SENDERS) as senders:
        sending = [senders.submit(job) for job in jobs]
        wait(system, count, meter, lambda: all(each.done() for each in sending))
    sent = [each for job in sending for each in job.result()]
    faults = [*system.faults(sent), *dead_letters(aws)]
    emulator_cpu, functions_cpu, others = meter.used()
    ends = system.ends()
    took = sorted(ends[each.name, each.version] - each.at for each in sent if (each.name, each.version) in ends) or [math.nan]
    return Burst(
        system.title, len(sent), max(each.at for each in sent) - began, max(ends.values(), default=math.nan) - began,
        percentile(took, 50), percentile(took, 95), percentile(took, 99),
        len(getattr(system, "refused", ())), getattr(system, "doubled", 0),
        metric(aws, "Throttles", system.functions), metric(aws, "Errors", system.functions),
        emulator_cpu, functions_cpu, others, faults)


def wait(system: System, count: int, meter: Meter, all_sent: Callable[[], bool]) -> None:
    """Until so many have ended, or none has for long."""
    before, changed = (0, 0), time.monotonic()
    while time.monotonic() - changed < STALLED_SECONDS:
        time.sleep(LOOK_SECONDS)
        meter.look()
        now = ended, running = system.progress()
        print(f"\r{system.title}: {ended:,} of {count:,} at an end ", end="", flush=True)
        if all_sent() and ended >= count and not running:
            break
        if now != before or not all_sent():
            before, changed = now, time.monotonic()
    print()


def percentile(ordered: Sequence[float], share: int) -> float:
    """The smallest value that so many per cent do not exceed."""
    return ordered[max(math.ceil(len(ordered) * share / 100) - 1, 0)]


# --- the table ---------------------------------------------------------------------------------------------------------------


def table(results: Mapping[str, Any]) -> str:
    """What `docs/reliability.md` shows."""
    head = ("System", "uploads", "files/s", "p50 s", "p95 s", "p99 s", "not accounted for", "throttled, tried again",
            "API said 429 or 5xx", "taken twice", "failed attempts", "CPU ms a file: functions", "emulator", "its share",
            "cores busy otherwise")
    rows = []
    for each in results["bursts"]:
        emulator, functions = each["emulator_cpu"], each["functions_cpu"]
        rows.append((
            each["system"], f"{each['sent']:,}", f"{each['sent'] / each['seconds']:.1f}",
            *(f"{each[name]:.1f}" for name in ("p50", "p95", "p99")), len(each["faults"]),
            *(f"{each[name]:,}" for name in ("throttled", "refused", "doubled", "failed_attempts")),
            *(f"{seconds / each['sent'] * 1000:.0f}" for seconds in (functions, emulator)),
            f"{100 * emulator / (emulator + functions):.0f} %", f"{each['others_cores']:.1f}"))
    machine = results["machine"]
    return (f"{results['when']}, {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
            f"{machine['system']}, Python {machine['python']}; {results['concurrency']} Lambda executions at once.\n\n"
            + report.table(head, rows))


def written(page: str, results: Mapping[str, Any]) -> str:
    """The page with the table of these results between its marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for the table: {BEGIN.strip()} and {END.strip()}")
    return f"{before}{begin}\n{table(results)}\n{end}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, count in (("etl", 2000), ("metadata", 2000), ("uploads", 500), ("ingestion", 1000)):
        parser.add_argument(f"--{name}", type=int, default=count, metavar="N", help=f"{count} unless told; 0 leaves it out")
    parser.add_argument("--concurrency", type=int, default=FRESH_ACCOUNT, metavar="N", help="of Lambda; 10 unless told")
    parser.add_argument("--write", action="store_true", help="keep the figures, and put them into docs/reliability.md")
    options = parser.parse_args()
    if not Path("/proc/stat").exists():
        parser.error("the CPU time of others is read from /proc, which this system lacks")
    if not all(0 <= getattr(options, name) <= 10_000 for name in SYSTEMS):
        parser.error("each burst has 0 to 10,000 files: a search gives no more documents")
    try:
        bursts = measured({name: getattr(options, name) for name in SYSTEMS}, options.concurrency)
    except (ApiError, EmulatorError, SynthesisError, TerraformError) as error:
        print(error, file=sys.stderr)
        return 1
    results = {"when": time.strftime("%Y-%m-%d"), "machine": report.machine(), "concurrency": options.concurrency,
               "bursts": [asdict(each) for each in bursts]}
    print(table(results))
    for each in bursts:
        for fault in each.faults[:SHOWN_FAULTS]:
            print(f"{each.system}: {fault}", file=sys.stderr)
    if options.write:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    return 1 if any(each.faults for each in bursts) else 0


def measured(counts: Mapping[str, int], concurrency: int) -> list[Burst]:
    """The bursts, on systems deployed for them. Raises ApiError, EmulatorError, SynthesisError or TerraformError."""
    source, bursts = find_provider(), []
    with Emulator(name="load", settings={"LAMBDA_ACCOUNT_CONCURRENCY": str(concurrency)}) as aws:
        try:
            print("deploying, about two minutes …", flush=True)
            deployment = Deployment(aws, source)
            deployment.deploy()
            for name, count in counts.items():
                if count:
                    bursts.append(burst(aws, SYSTEMS[name](aws, deployment.outputs), count))
        finally:
            shutil.rmtree(files_of(aws), ignore_errors=True)  # what synthesis and Terraform wrote
    return bursts


if __name__ == "__main__":
    sys.exit(main())
