"""`python -m ops explain FILE`: the whole story of one file: event, executions and their states, record, rejects, where its
objects are now, log lines (O3). Changes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console

from lambdas.etl import contract as etl
from lambdas.ingestion import contract as ingestion
from lambdas.pets import contract as pets
from lambdas.pets.uploads import is_image_id
from ops import looking, resume
from ops.readiness import duration
from ops.regions import OpsError, plain
from ops.systems import Estate, System, is_metadata
from ops.telling import Teller

VERSIONS = 5
"""The newest so many uploads of a file are told."""
LINES = 40
"""Log lines of one upload."""
REJECTS = 3
STATES = 100
PAGES = 10
"""Of logs and histories that are read."""
SLACK = timedelta(minutes=15)
"""Before an upload's beginning and after its end, logs are read too."""


@dataclass(frozen=True)
class Step:
    """One state that an execution went through."""

    name: str
    entered: datetime
    seconds: float
    faults: tuple[str, ...]


@dataclass
class Explain(Teller):
    """The command. Returns 0 if something is known about the file, else 1."""

    estate: Estate
    console: Console
    version: str = ""
    """This upload alone."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    clock: Callable[[], float] = time.monotonic
    _step: Callable[[str], None] = lambda text: None
    _unasked: dict[str, str] = field(default_factory=dict)
    """Systems that could not be asked, with what to do about it."""
    _asked: bool = False
    _absent: list[str] = field(default_factory=list)
    """Systems that are not deployed."""

    def run(self, file: str, names: Sequence[str] = ()) -> int:
        with self.working(f"looking for {plain(file)}") as self._step:
            known = self._tell(file, names)
        for remedy in dict.fromkeys(filter(None, self._unasked.values())):
            self.say(remedy)
        if known and names and self._absent:
            self.say(f"Not deployed under the suffix {self.estate.suffix}: {', '.join(self._absent)}.")
        if not known:
            self.say(self._unknown(file, names), "red")
        return 0 if known else 1

    def _unknown(self, file: str, names: Sequence[str]) -> str:
        called = plain(file) + (f", version {plain(self.version)}" if self.version else "")
        if self._unasked:
            return f"Whether anything is known of {called}, {' and '.join(self._unasked)} did not tell."
        buckets = [system.bucket for system in self.estate.systems]
        if file.startswith("s3://") and file[5:].partition("/")[0] not in buckets:
            of = ", ".join(buckets)
            return f"{called} is in no bucket of the environment {self.estate.suffix}, which are {of}.\nRemedy: --suffix?"
        if not self._asked:
            if names:
                return f"{called} is no name of a file of {', '.join(dict.fromkeys(names))}.\nRemedy: leave out --system."
            return f"{called} is no name of a file that a system takes."
        lines = [f"Nothing is known of {called} under the suffix {self.estate.suffix} in the account {self.estate.account}."]
        if self._absent:
            lines.append(f"Not deployed there: {', '.join(self._absent)}. Remedy: --suffix, AWS_PROFILE or AWS_REGION of where "
                         "they are.")
        return "\n".join([*lines, "FILE is a path below raw/ (or processed/, failed/), an object's key, an image's id, or "
                                  "s3://BUCKET/KEY."])

    def _tell(self, file: str, names: Sequence[str]) -> int:
        """In how many systems it is known."""
        known = 0
        of = {"etl": self._etl, "metadata": self._metadata, "pets": self._pets, "ingestion": self._ingestion}
        for system in self.estate.of(*names):
            key = file.removeprefix(f"s3://{system.bucket}/")
            if key.startswith("s3://") or not _may_know(system, key):
                continue
            self._step(f"asking {system.title}")
            self._asked = True
            try:
                if system.is_deployed():
                    known += of[system.name](system, key)
                else:
                    self._absent.append(system.title)
            except OpsError as error:
                self._unasked[system.title] = error.remedy
                self.say(f"{system.title}: {error}", "red")
        return known

    # --- the systems --------------------------------------------------------------------------------------------------

    def _etl(self, system: System, key: str) -> int:
        folder = next((folder for folder in (etl.RAW, etl.PROCESSED, etl.FAILED) if key.startswith(folder)), "")
        name = key.removeprefix(folder)
        if not name:
            return 0
        told = looking.records(system, name, 100)
        records = [each for each in told if self.version in ("", each["version_id"])]
        folders = (etl.RAW, etl.PROCESSED, etl.FAILED)
        if self.version and not records and not any(self.version in self._ids(system, each + name) for each in folders):
            if told:
                self.say(f"{plain(name)} in {system.title} has records of other versions: "
                         f"{', '.join(dict.fromkeys(each['version_id'] for each in told))}")
            return 0
        places = [place for folder in folders for place in self._places(system, folder + name)]
        if not records and not places:
            return 0
        self._title(system, name, len(records))
        if not records:
            self.say("  No record: its event was lost, or is on its way. python -m ops status tells which objects have none.")
        for record in records[:VERSIONS]:
            self.say(f"\n  Upload of version {record['version_id']}: {record['status']}", "bold")
            self._facts(record, ("version_id", "status"))
            given = self._execution(system, record["execution_arn"])
            self._facts({f"event: {field}": given["file"][field] for field in ("sequencer", "size")} if "file" in given else {})
            with self._as_far_as_may_be():
                self._rejects(system, record.get("rejects_prefix", ""))
            self._logs(system, record["version_id"], record["process_start_time"], record.get("process_end_time"))
        self._now(places)
        return 1

    def _metadata(self, system: System, key: str) -> int:
        failures, more = looking.scan(system, 500, FilterExpression="object_key = :k",
                                      ExpressionAttributeValues={":k": {"S": key[:1024]}})
        versions = [each for each in self._versions(system, key) if self.version in ("", each["VersionId"])]
        places = self._places(system, key)
        failures = [each for each in failures if self.version in ("", _version_of(each["input"]))]
        if not failures and not versions:
            return 0
        self._title(system, key, len(versions))
        if more:
            self.say("  Not all recorded failures were looked at.")
        for version in versions[:VERSIONS]:
            began = version["LastModified"].isoformat()
            self.say(f"\n  Upload of version {version['VersionId']}, {began[:19]}, {version['Size']} bytes", "bold")
            lines = self._logs(system, version["VersionId"], began, None)
            arns = {str(line["execution"]) for line in lines if str(line.get("execution", "")).startswith("arn:")}
            own = [each for each in failures if _version_of(each["input"]) == version["VersionId"]]
            arns |= {each["execution_id"] for each in own}
            for arn in sorted(arns):
                self._execution(system, arn)
            if not arns:
                self.say("    No execution is known: it is under way, its logs are gone, or its event was lost.")
            for each in own:
                self.say(f"    recorded failure, {each['failed_at']}: {each['error']}: {plain(each['cause'])}", "red")
        there = {version["VersionId"] for version in versions}
        for each in (each for each in failures if _version_of(each["input"]) not in there):
            self.say(f"\n  A version that is gone failed, {each['failed_at']}: {each['error']}: {plain(each['cause'])}", "red")
        self._now(places)
        return 1

    def _pets(self, system: System, key: str) -> int:
        if is_image_id(key):
            item = system.ask("dynamodb", "get_item", TableName=system.table, Key={pets.IMAGE_ID: {"S": key}}).get("Item")
            found, more = ([looking.plain_item(item)] if item else []), False
        else:
            path = key.partition("/")[2]
            found, more = looking.scan(system, 100, FilterExpression="SourceKey = :k",
                                       ExpressionAttributeValues={":k": {"S": pets.INPUT + path}})
        found = [each for each in found if self.version in ("", each[pets.SOURCE_VERSION])]
        if not found:
            return 0
        self._title(system, key, len(found))
        if more:
            self.say("  Not all records were looked at: name an id to be sure.")
        for record in sorted(found, key=lambda each: each[pets.TIMESTAMP], reverse=True)[:VERSIONS]:
            self.say(f"\n  Image {record[pets.IMAGE_ID]}: {record[pets.STATUS]}", "bold")
            self._facts(record, (pets.IMAGE_ID, pets.STATUS))
            self._execution(system, record[pets.EXECUTION])
            self._logs(system, record[pets.IMAGE_ID], record[pets.TIMESTAMP], None)
            filed = record.get(pets.LOCATION, "").removeprefix(f"s3://{system.bucket}/")
            self._now([place for each in (record[pets.SOURCE_KEY], filed) if each for place in self._places(system, each)])
        return 1

    def _ingestion(self, system: System, key: str) -> int:
        region = self.estate.regions[system.region]
        versions = [each for each in self._versions(system, key) if self.version in ("", each["VersionId"])]
        uploads = resume.examine(region, resume.uploads(region, versions[:VERSIONS]))
        places = self._places(system, key)
        if not uploads:
            return 0
        self._title(system, key, len(versions))
        for upload in uploads:
            self.say(f"\n  Upload of version {upload.version_id}, {upload.uploaded:%Y-%m-%dT%H:%M:%S}, {upload.size} bytes: "
                     f"{'done' if upload.done and not upload.failure else plain(upload.progress)}", "bold")
            item = system.ask("dynamodb", "get_item", TableName=system.table, ConsistentRead=True, Key={
                ingestion.RECORD_ID: {"S": upload.checkpoint}, ingestion.TIMESTAMP: {"S": ingestion.NO_TIMESTAMP}}).get("Item")
            checkpoint = looking.plain_item(item) if item else {}
            told = (*ingestion.COUNTS, ingestion.OFFSET, ingestion.LINE, ingestion.PROCESSED_AT, ingestion.FAILURE)
            self._facts({name: checkpoint[name] for name in told if name in checkpoint})
            if checkpoint.get("recordsInvalid"):
                self.say("    which records are invalid, and why: docs/ingestion.md, Records", "yellow")
            self._logs(system, upload.version_id, upload.uploaded.isoformat(), None)
        self._now(places)
        return 1

    # --- parts of a story ---------------------------------------------------------------------------------------------

    def _title(self, system: System, name: str, uploads: int) -> None:
        more = f", the newest {VERSIONS} of {uploads} uploads" if uploads > VERSIONS else ""
        self.say(f"\n{plain(name)} in {system.title}{more}", "bold cyan")

    def _facts(self, facts: Mapping[str, Any], but: Iterable[str] = ()) -> None:
        for name, value in facts.items():
            if name not in but:
                self.say(f"    {name}: {plain(str(value))}")

    def _execution(self, system: System, arn: str) -> dict[str, Any]:
        """Tell an execution and its states; its input as far as it is a JSON object."""
        with self._as_far_as_may_be():
            return self._told_execution(system, arn)
        return {}

    @contextmanager
    def _as_far_as_may_be(self) -> Iterator[None]:
        """What cannot be asked is said; the rest of the story goes on."""
        try:
            yield
        except OpsError as error:
            self.say(f"    {error}", "red")

    def _told_execution(self, system: System, arn: str) -> dict[str, Any]:
        told = looking.execution(system, arn)
        if told is None:
            self.say(f"    execution {arn}: Step Functions knows it no more (it forgets after 90 days)")
            return {}
        stopped = told.get("stopDate") or self.now()
        took = duration((stopped - told["startDate"]).total_seconds())
        self.say(f"    execution {arn.rpartition(':')[2]}: {told['status']}, {told['startDate']:%Y-%m-%d %H:%M:%S}, {took}")
        if told.get("error"):
            self.say(f"      {told['error']}: {_cause(told.get('cause', ''))}", "red")
        self._step("reading its history")
        events, more = self._history(system, arn)
        for step in list(steps(events))[:STATES]:
            self.say(f"      {step.entered:%H:%M:%S} {step.name}, {step.seconds:.1f} s")
            for fault in step.faults:
                self.say(f"        {fault}", "yellow")
        if more:
            self.say("      … and more: aws stepfunctions get-execution-history")
        try:
            given = json.loads(told.get("input") or "{}")
        except ValueError:
            return {}
        return given if isinstance(given, dict) else {}

    def _history(self, system: System, arn: str) -> tuple[list[dict[str, Any]], bool]:
        events: list[dict[str, Any]] = []
        token: dict[str, str] = {}
        for _ in range(PAGES):
            page = system.ask("stepfunctions", "get_execution_history", executionArn=arn, maxResults=1000, **token)
            events += page["events"]
            if not page.get("nextToken"):
                return events, False
            token = {"nextToken": page["nextToken"]}
        return events, True

    def _rejects(self, system: System, prefix: str) -> None:
        """The first rejected rows."""
        if not prefix:
            return
        parts = system.ask("s3", "list_objects_v2", Bucket=system.bucket, Prefix=prefix).get("Contents", [])
        self.say(f"    rejected rows: {len(parts)} objects below {prefix}")
        if not parts:
            return
        begin = system.ask("s3", "get_object", Bucket=system.bucket, Key=parts[0]["Key"], Range="bytes=0-16383")["Body"].read()
        for line in begin.decode("utf-8", "replace").splitlines()[:REJECTS]:
            try:
                row = json.loads(line)
            except ValueError:  # cut off
                self.say(f"      {plain(line)}")
                continue
            kept = plain(str(row.get("row", row.get("row_base64"))))
            self.say(f"      at byte {row['byte_offset']}: {plain(row['reason'])}: {kept}")

    def _logs(self, system: System, word: str, began: str, ended: str | None) -> list[dict[str, Any]]:
        """Tell, and give, the lines of the system's functions that hold this word. Logs are kept for as long as is set."""
        start = datetime.fromisoformat(began.replace("Z", "+00:00")) - SLACK
        end = datetime.fromisoformat(ended.replace("Z", "+00:00")) + SLACK if ended else start + timedelta(hours=8)
        found: list[tuple[int, str, str]] = []
        self._step("reading the logs")
        with self._as_far_as_may_be():
            for function in system.functions:
                found += self._lines(system, function, word, start, end)
        found.sort(key=lambda line: line[0])
        self.say(f"    log lines: {len(found) or 'none: their retention is over, or none was written'}")
        parsed = []
        for at, function, text in found[:LINES]:
            line = _parsed(text)
            parsed.append(line)
            said = plain(f"{line.get('level', '')} {line.get('message', text)}".strip())
            more = [str(line[name]) for name in ("action", "reason") if line.get(name)]
            more += str(line.get("exception", "")).splitlines()[-1:]  # what a traceback ends with
            written = datetime.fromtimestamp(at / 1000, UTC)
            self.say(f"      {written:%H:%M:%S} {function}: {': '.join([said, *map(plain, more)])}")
        if len(found) > LINES:
            self.say(f"      … and {len(found) - LINES} more")
        return parsed

    def _lines(self, system: System, function: str, word: str, start: datetime, end: datetime) -> Iterator[tuple[int, str, str]]:
        token: dict[str, str] = {}
        for _ in range(PAGES):
            page = system.find(
                "logs", "filter_log_events", logGroupName=f"/aws/lambda/{function}", filterPattern=f'"{word}"',
                startTime=int(start.timestamp() * 1000), endTime=int(end.timestamp() * 1000), **token)
            if page is None:
                return
            yield from ((event["timestamp"], function, event["message"]) for event in page["events"])
            if not page.get("nextToken"):
                return
            token = {"nextToken": page["nextToken"]}

    def _versions(self, system: System, key: str) -> list[dict[str, Any]]:
        """Of one key, newest first, at most a thousand."""
        page = system.ask("s3", "list_object_versions", Bucket=system.bucket, Prefix=key)
        return [each for each in page.get("Versions", []) if each["Key"] == key]

    def _ids(self, system: System, key: str) -> list[str]:
        return [each["VersionId"] for each in self._versions(system, key)]

    def _places(self, system: System, key: str) -> list[str]:
        """What a key holds now: its current version, or that it is hidden and until when it can be had back."""
        versions = self._versions(system, key)
        if not versions:
            return []
        newest = versions[0]
        said = f"s3://{system.bucket}/{plain(key)}: "
        if newest["IsLatest"]:
            return [f"{said}version {newest['VersionId']}, {newest['Size']} bytes, {newest['LastModified']:%Y-%m-%d %H:%M:%S}"]
        return [f"{said}deleted; of older versions ({len(versions)}) the newest is {newest['VersionId']}"]

    def _now(self, places: Sequence[str]) -> None:
        self.say("\n  Its objects now")
        for place in places or ["none"]:
            self.say(f"    {place}")


def _may_know(system: System, key: str) -> bool:
    """Whether a file of this name can be one of the system's: spares questions and answers about others."""
    match system.name:
        case "metadata":
            return is_metadata(key)
        case "pets":
            return is_image_id(key) or key.startswith((pets.INPUT, *pets.FOLDERS.values()))
        case "ingestion":
            return key.endswith(ingestion.SUFFIXES)
    return True


def _version_of(text: str) -> str:
    """The object's version in an input of the metadata pipeline."""
    try:
        return json.loads(text)["detail"]["object"]["version-id"]
    except (ValueError, KeyError, TypeError):
        return ""


def _cause(text: str) -> str:
    """Of a failure; a function's is JSON with its traceback."""
    return plain(str(_parsed(text).get("errorMessage") or text))


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def steps(events: Iterable[Mapping[str, Any]]) -> Iterator[Step]:
    """The states of a history, each with what failed in it, retries included."""
    name, entered, faults = "", None, []
    for event in events:
        kind = event["type"]
        if kind.endswith("StateEntered"):
            name, entered, faults = event["stateEnteredEventDetails"]["name"], event["timestamp"], []
        elif kind.endswith(("Failed", "TimedOut")) and not kind.startswith("Execution"):
            details = next((value for field, value in event.items() if field.endswith("EventDetails")), {})
            faults.append(f"{details.get('error', kind)}: {_cause(details.get('cause', ''))}")
        elif (kind.endswith("StateExited") or kind.startswith("Execution")) and entered:
            yield Step(name, entered, (event["timestamp"] - entered).total_seconds(), tuple(faults))
            entered = None
    if entered:
        yield Step(f"{name} (still in it)", entered, 0, tuple(faults))
