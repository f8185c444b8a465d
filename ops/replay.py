"""`python -m ops replay`: once more, what was set aside, could not be delivered, or failed (O2).

Everything is listed first, then asked for. What is sent is confirmed before anything is deleted, and may be sent twice without
harm: a file that was replayed is recognised by its newer record, an execution by its name, a claim by the upload's. So every
command here can be interrupted anywhere, and repeated.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

from boto3.s3.transfer import TransferConfig
from rich.console import Console

from lambdas.etl import contract as etl
from lambdas.pets import contract as pets
from lambdas.pets.uploads import Upload as Image
from ops import looking, resume
from ops.looking import Version
from ops.readiness import duration
from ops.regions import NoAnswer, OpsError, Refused
from ops.systems import Estate, Queue, System, parse
from ops.telling import Teller

HOLD_SECONDS = 300
"""A message that was received is shown to nobody else for so long; renewed right before it is sent."""
FAILURES = 500
"""Failed files, failures or images that are looked at."""
NO_FILE = re.compile(r".*(\.rejects/[0-9a-f]{64}/(whole/)?part-[0-9]{5,}\.jsonl|\.withdrawn/[0-9a-f]{64})", re.DOTALL)
"""What the pipeline itself leaves beside the files that it sets aside."""
COPY = TransferConfig(multipart_threshold=256 << 20, multipart_chunksize=256 << 20)
"""A managed copy does what CopyObject cannot: more than 5 GB."""


@dataclass
class Choice:
    """Something that was asked for; ``fault`` says why it is not replayed."""

    name: str
    note: str = ""
    fault: str = ""


@dataclass(kw_only=True)
class File(Choice):
    """A file below ``failed/``, or one that has stayed in ``raw/``."""

    version: Version
    raw_key: str


@dataclass(kw_only=True)
class Failure(Choice):
    """An item of the metadata pipeline's failures, or a record of an image."""

    item: Mapping[str, Any]


@dataclass(kw_only=True)
class Letter(Choice):
    """A dead letter, held for HOLD_SECONDS since it was received."""

    system: System
    queue: Queue
    url: str
    receipt: str
    body: str
    message_id: str
    is_deleted: bool = False


class Kept(Exception):
    """It stays where it is; the message says why."""


@dataclass
class Replay(Teller):
    """The command. Every method returns the exit code: 0 if all that was chosen is done, 1 if something needs a person."""

    estate: Estate
    console: Console
    confirm: Callable[[str], bool] = lambda question: False
    dry_run: bool = False
    limit: int = 100
    """So many messages of a queue are received."""
    wait_seconds: float = 120
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    # --- files that were set aside ------------------------------------------------------------------------------------

    def files(self, keys: Sequence[str] = (), *, force: bool = False) -> int:
        """Copy back to ``raw/``: a new version, a new execution, a new record. The object below ``failed/`` stays until it
        expires. Without keys: the latest of what failed; a file that is invalid must be named. A key below ``raw/`` is copied
        onto itself: it has not been set aside, or its event was lost."""
        system = self.estate.deployed("etl")
        with self.working(f"asking {system.table}"):
            chosen = [self._file(system, key, force) for key in dict.fromkeys(keys or self._failed_keys(system))]
        stop = self._asked("Files", chosen, f"Copy {{}} to s3://{system.bucket}/{etl.RAW}?", named=bool(keys))
        if stop is not None:
            return stop
        sent: dict[str, str] = {}
        for each in (each for each in chosen if isinstance(each, File) and not each.fault):
            with self.working(f"copying {each.name}") as step:
                sent[each.raw_key] = self._copy(system, each, step)
            self.say(f"✓ {each.name} → {each.raw_key}, version {sent[each.raw_key]}", "green")
        ended = self._outcomes(sent, lambda key: self._outcome(system, key.removeprefix(etl.RAW), sent[key]))
        return max(_left(chosen) if keys else 0, ended)

    def _failed_keys(self, system: System) -> list[str]:
        found, more = looking.of_status(system, "FAILED", FAILURES)
        if more:
            self.say(f"Only the latest {FAILURES} failures are looked at.")
        return [record.get("failed_key") or etl.RAW + record["file_name"] for record in found
                if looking.is_newest(system, record)]

    def _file(self, system: System, key: str, force: bool) -> Choice:
        key = key.removeprefix(f"s3://{system.bucket}/")
        if key.startswith("s3://"):
            return Choice(key, "", f"not in {system.bucket}, the bucket of the environment {self.estate.suffix}: --suffix?")
        folder = next((folder for folder in (etl.FAILED, etl.RAW) if key.startswith(folder) and key != folder), None)
        if folder is None:
            meant = "" if key.startswith((etl.FAILED, etl.RAW, etl.PROCESSED)) else f"; is {etl.FAILED}{key} meant?"
            return Choice(key, "", f"no key below {etl.FAILED} or {etl.RAW}{meant}")
        if NO_FILE.fullmatch(key):
            return Choice(key, "", "no file: the pipeline's own note about one")
        version = looking.current(system, key)
        if version is None:
            return Choice(key, "", "there is no such object: it has expired, or was never there")
        file_name = key.removeprefix(folder)
        newest = next(iter(looking.records(system, file_name, 1)), None)
        found = File(key, f"{newest['status']}: {newest.get('error_message', '')[:120]}" if newest else "it has no record",
                     version=version, raw_key=etl.RAW + file_name)
        if force:
            return found
        if folder != etl.RAW and looking.current(system, found.raw_key):
            found.fault = f"{found.raw_key} is there: a newer upload, which this would replace (--force)"
        elif newest and newest["status"] == "PROCESSING":
            found.fault = "an upload of that name, or a replay, is under way (--force)"
        elif newest and newest["status"] == "SUCCEEDED":
            found.fault = f"a later upload succeeded, {newest['process_start_time']}, which this would replace (--force)"
        return found

    def _copy(self, system: System, file: File, step: Callable[[str], None]) -> str:
        """The new version's id."""
        copied = 0

        def progress(more: int) -> None:
            nonlocal copied
            copied += more
            step(f"copying {file.name}: {copied >> 20} of {file.version.size >> 20} MiB")

        system.patient.ask(
            "s3", "copy", CopySource={"Bucket": system.bucket, "Key": file.name, "VersionId": file.version.version_id},
            Bucket=system.bucket, Key=file.raw_key, Config=COPY, Callback=progress,
            # S3 copies an object onto itself only if something changes. Copying tags would need tagging rights.
            ExtraArgs={"MetadataDirective": "REPLACE", "TaggingDirective": "REPLACE"})
        return looking.newest_version(system, file.raw_key)

    def _outcomes(self, names: Iterable[str], outcome_of: Callable[[str], str]) -> int:
        """Wait for the ends of what was sent; gives up after ``wait_seconds``, which stops nothing."""
        began, outcomes = self.clock(), dict.fromkeys(names, "")
        with self.working("waiting for the outcome") as step:
            while True:
                for name in (name for name, outcome in outcomes.items() if not outcome):
                    outcomes[name] = outcome_of(name)
                if all(outcomes.values()) or self.clock() - began > self.wait_seconds:
                    break
                step(f"{sum(map(bool, outcomes.values()))} of {len(outcomes)} are at an end")
                self.pause(1)
        for name, outcome in outcomes.items():
            if _is_good(outcome):
                self.say(f"✓ {name}: {outcome}", "green")
            else:
                late = f"not at an end after {duration(self.wait_seconds)}; it goes on by itself"
                self.say(f"✗ {name}: {outcome or late}", "red")
        return 0 if all(map(_is_good, outcomes.values())) else 1

    def _outcome(self, system: System, file_name: str, version_id: str) -> str:
        found = [record for record in looking.records(system, file_name, 5) if record["version_id"] == version_id]
        if not found or found[0]["status"] == "PROCESSING":
            return ""
        return f"{found[0]['status']} {found[0].get('error_message', '')}".strip()

    # --- failures of the metadata pipeline ----------------------------------------------------------------------------

    def metadata(self, names: Sequence[str] = ()) -> int:
        """Start the pipeline again with the input of what failed. ``names`` are keys of objects or ARNs of executions; without
        any: all that is recorded. The item stays: it tells what happened then."""
        system = self.estate.deployed("metadata")
        names = [name.removeprefix(f"s3://{system.bucket}/") for name in names]
        with self.working(f"reading {system.table}"):
            found, more = looking.scan(system, FAILURES)
            if more:
                self.say(f"Only {FAILURES} failures are looked at.")
            of = [item for item in found if not names or {item["object_key"], item["execution_id"]} & set(names)]
            ordered = sorted(of, key=lambda item: item["failed_at"])
            chosen: list[Choice] = [self._failure(system, item, bool(names)) for item in ordered]
        known = {name for item in of for name in (item["object_key"], item["execution_id"])}
        chosen += [Choice(name, "", "no such failure is recorded") for name in names if name not in known]
        stop = self._asked("Failures of the metadata pipeline", chosen, f"Start {system.pipeline} {{}} times?", named=bool(names))
        if stop is not None:
            return stop
        started = {}
        for each in (each for each in chosen if isinstance(each, Failure) and not each.fault):
            name = replay_name(each.item)
            self.say(f"✓ {each.name} → {self._start(system, system.pipeline, name, each.item['input'])}", "green")
            started[f"{each.name} ({name})"] = system.execution_arn(system.pipeline, name)
        ended = self._outcomes(started, lambda told: self._end(system, started[told]))
        return max(_left(chosen) if names else 0, ended)

    def _end(self, system: System, arn: str) -> str:
        """How an execution ended; empty as long as it runs."""
        told = looking.execution(system, arn)
        if told is None or told["status"] == "RUNNING":
            return ""
        return f"{told['status']} {told.get('error', '')}".strip()

    def _failure(self, system: System, item: Mapping[str, Any], named: bool) -> Failure:
        found = Failure(item["object_key"] or item["execution_id"], f"{item['failed_at'][:19]} {item['error']}: "
                        f"{item['cause'][:100]}", item=item)
        if parse(item["input"]) is None:
            found.fault = "its input is not recorded"
        elif replayed := looking.execution(system, system.execution_arn(system.pipeline, replay_name(item))):
            found.fault = f"was replayed before: {replayed['status']}"
        elif not named and item["error"] in ("InvalidMetadata", "DocumentRefused"):
            found.fault = "the file itself is at fault: correct it and upload it again (or name it here)"
        return found

    # --- images -------------------------------------------------------------------------------------------------------

    def images(self, names: Sequence[str] = ()) -> int:
        """Copy an image onto itself below ``input/``: a new version, a new attempt, which takes over a promised id. ``names`` are
        ids, or keys of images that have no record; without any: all that failed through no fault of theirs."""
        system = self.estate.deployed("pets")
        with self.working(f"reading {system.table}"):
            found, more = looking.image_records(system, FAILURES)
            if more:
                self.say("Not all records are looked at; name an id to be sure.")
            failed = {item[pets.IMAGE_ID]: item for item in found if item[pets.STATUS] == pets.FAILED}
            ours = [each for each, item in failed.items() if item.get(pets.FAILURE_CODE) == pets.PROCESSING_FAILED]
            chosen = [self._image(system, name, failed.get(name)) for name in dict.fromkeys(names or ours)]
        stop = self._asked("Images", chosen, "Copy {} onto themselves?", named=bool(names))
        if stop is not None:
            return stop
        sent: dict[str, str] = {}
        for each in (each for each in chosen if isinstance(each, Failure) and not each.fault):
            source = {"Bucket": system.bucket, "Key": each.item[pets.SOURCE_KEY]}
            version = each.item[pets.SOURCE_VERSION]
            head = system.ask("s3", "head_object", **source, VersionId=version)
            system.ask(
                "s3", "copy_object", **source, CopySource={**source, "VersionId": version}, MetadataDirective="REPLACE",
                TaggingDirective="REPLACE", ContentType=head.get("ContentType", "application/octet-stream"))
            sent[source["Key"]] = looking.newest_version(system, source["Key"])
            self.say(f"✓ {each.name}: {source['Key']}, version {sent[source['Key']]}", "green")
        ended = self._outcomes(sent, lambda key: self._answer(system, key, sent[key]))
        return max(_left(chosen) if names else 0, ended)

    def _answer(self, system: System, key: str, version_id: str) -> str:
        """What became of a version of an image; empty as long as it is under way."""
        record = looking.image_record(system, key, version_id)
        if record is None or record[pets.STATUS] == pets.PROCESSING:
            return ""
        return f"{record[pets.STATUS]} {record.get(pets.FAILURE_REASON, '')}".strip()

    def _image(self, system: System, name: str, item: Mapping[str, Any] | None) -> Choice:
        name = name.removeprefix(f"s3://{system.bucket}/")
        if name.startswith(pets.INPUT):
            return self._image_without_record(system, name)
        if item is None:
            return Choice(name, "", "no failed image has this id")
        found = Failure(name, f"{item[pets.SOURCE_KEY]}: {item.get(pets.FAILURE_REASON, '')[:100]}", item=item)
        if item.get(pets.FAILURE_CODE) != pets.PROCESSING_FAILED:
            found.fault = "the picture itself was refused: upload a better one"
        elif not image_is_open(system, item):
            found.fault = "a newer version was uploaded, or filed, since"
        return found

    def _image_without_record(self, system: System, key: str) -> Choice:
        version = looking.current(system, key)
        if version is None:
            return Choice(key, "", "there is no such object")
        if record := looking.image_record(system, key, version.version_id):
            return Choice(key, "", f"it has a record: name its id, {record[pets.IMAGE_ID]}")
        return Failure(key, "it has no record", item={pets.SOURCE_KEY: key, pets.SOURCE_VERSION: version.version_id})

    # --- dead letters -------------------------------------------------------------------------------------------------

    def letters(self, queues: Sequence[str] = ()) -> int:
        """Give dead letters to what they were meant for, see that it has taken them, then delete them. Without names: all
        queues of all systems. A queue that is none of them is refused; a message that is not its queue's stays there."""
        known = {queue.name for system in self.estate.systems for queue in system.queues}
        if strange := [name for name in queues if name not in known]:
            raise OpsError(f"{', '.join(strange)}: no dead-letter queue of the environment {self.estate.suffix}. These are:\n"
                           + "\n".join(f"  {name}" for name in sorted(known)))
        wanted = [(system, queue) for system in self.estate.systems for queue in system.queues
                  if not queues or queue.name in queues]
        chosen: list[Choice] = []
        try:
            with self.working(f"receiving from {len(wanted)} queues"), ThreadPoolExecutor(8) as pool:
                for received in pool.map(lambda where: self._received(*where), wanted):
                    chosen += received
            stop = self._asked("Dead letters", chosen, "Send {} to what they were meant for, and delete what was taken?",
                               named=True)
            if stop is not None:
                return stop
            for letter in (each for each in chosen if isinstance(each, Letter) and not each.fault):
                try:
                    self._deliver(letter)
                except (Kept, OpsError) as error:
                    letter.fault = str(error)
                    self.say(f"✗ {letter.name} stays: {error}", "red")
            return _left(chosen)
        finally:
            for letter in (each for each in chosen if isinstance(each, Letter) and not each.is_deleted):
                self._give_back(letter)

    def _received(self, system: System, queue: Queue) -> Sequence[Choice]:
        """What a queue holds; if it cannot be asked, just that. Others can still be replayed."""
        try:
            return self._receive(system, queue)
        except OpsError as error:
            return [Choice(queue.name, system.region, f"it cannot be read: {error}")]

    def _receive(self, system: System, queue: Queue) -> list[Letter]:
        answer = system.find("sqs", "get_queue_url", QueueName=queue.name)
        if answer is None:
            return []
        url = answer["QueueUrl"]
        found: dict[str, Letter] = {}
        while len(found) < self.limit:
            messages = system.ask(
                "sqs", "receive_message", QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, VisibilityTimeout=HOLD_SECONDS,
                MessageAttributeNames=["All"]).get("Messages", [])
            new = {each["MessageId"]: each for each in messages if each["MessageId"] not in found}
            if not new:
                break
            for message_id, each in new.items():
                said = each.get("MessageAttributes", {})
                why = next((said[name]["StringValue"] for name in ("ErrorMessage", "ERROR_MESSAGE") if name in said), "")
                found[message_id] = Letter(
                    f"{queue.name} {message_id}", f"{system.region}: {_gist(each['Body'])}{f' ({why[:100]})' if why else ''}",
                    _misfit(queue, each["Body"]), system=system, queue=queue, url=url, receipt=each["ReceiptHandle"],
                    body=each["Body"], message_id=message_id)
        else:
            self.say(f"{queue.name} in {system.region} may hold more than {self.limit}: repeat the command for the rest.")
        return list(found.values())

    def _deliver(self, letter: Letter) -> None:
        """Raises Kept if it was not taken."""
        system, queue = letter.system, letter.queue
        try:  # held anew: the question may have waited for longer
            system.ask("sqs", "change_message_visibility", QueueUrl=letter.url, ReceiptHandle=letter.receipt,
                       VisibilityTimeout=HOLD_SECONDS + int(self.wait_seconds))
        except Refused as error:
            raise Kept(f"it is no longer held: repeat the command ({error})") from error
        said = {"invoke": self._invoke, "start": self._start_with, "resume": self._resume}[queue.how](letter)
        system.ask("sqs", "delete_message", QueueUrl=letter.url, ReceiptHandle=letter.receipt)
        letter.is_deleted = True
        self.say(f"✓ {letter.name} → {queue.of}: {said}; deleted", "green")

    def _invoke(self, letter: Letter) -> str:
        """Synchronously: what the function answers is the confirmation."""
        function = letter.queue.of
        answer = letter.system.patient.ask(
            "lambda", "invoke", FunctionName=function, InvocationType="RequestResponse", Payload=letter.body.encode())
        if answer.get("FunctionError"):
            raise Kept(f"{function} fails on it: {answer['Payload'].read().decode('utf-8', 'replace')[:300]}")
        return "taken"

    def _start_with(self, letter: Letter) -> str:
        return self._start(letter.system, letter.queue.of, f"replay-{letter.message_id}", letter.body)

    def _start(self, system: System, machine: str, name: str, given: str) -> str:
        """The execution's ARN. Its name belongs to what is replayed: a repetition meets it, and starts nothing."""
        try:
            return system.ask("stepfunctions", "start_execution", stateMachineArn=system.machine_arn(machine), name=name,
                              input=given)["executionArn"]
        except Refused as error:
            if error.code != "ExecutionAlreadyExists":
                raise
            return f"{system.execution_arn(machine, name)} (started before)"

    def _resume(self, letter: Letter) -> str:
        """A file takes up to three attempts of five minutes: its checkpoint is the confirmation."""
        region, function = self.estate.regions[letter.system.region], letter.queue.of
        uploads = [_upload(record) for record in json.loads(letter.body)["Records"]]
        seen = resume.examine(region, uploads)
        if all(each.done for each in seen):
            return "done before"
        region.ask("lambda", "invoke", FunctionName=function, InvocationType="Event", Payload=letter.body.encode())
        began = self.clock()
        with self.working(f"waiting for {function}") as step:
            while not all(each.done for each in seen):
                progress = ", ".join(each.progress for each in seen)
                if self.clock() - began > self.wait_seconds:
                    raise Kept(f"{function} has it, but is not done after {duration(self.wait_seconds)} ({progress}); "
                               "repeat later")
                step(f"waiting for {function}: {progress}")
                self.pause(1)
                seen = resume.examine(region, uploads)
        return "; ".join(each.progress if each.failure else "done" for each in seen)

    def _give_back(self, letter: Letter) -> None:
        try:
            letter.system.ask("sqs", "change_message_visibility", QueueUrl=letter.url, ReceiptHandle=letter.receipt,
                              VisibilityTimeout=0)
        except (Refused, NoAnswer):
            self.say(f"{letter.name} can be seen again in {duration(HOLD_SECONDS)}.")

    # --- asking -------------------------------------------------------------------------------------------------------

    def _asked(self, title: str, chosen: Sequence[Choice], question: str, *, named: bool) -> int | None:
        """Lists everything and asks whether to go on. None: go on; else the exit code. What was not ``named`` may be left."""
        if chosen:
            self.table(f"{title} ({len(chosen)})", ["", "what", "about it", "not replayed, since"],
                       [["✗" if each.fault else "·", each.name, each.note, each.fault] for each in chosen])
        count = sum(not each.fault for each in chosen)
        if not count:
            self.say("Nothing to replay.")
            return _left(chosen) if named else 0
        if self.dry_run:
            self.say(f"Dry run: nothing was sent; {count} would be.")
            return 0
        if self.confirm(question.format(count)):
            return None
        self.say("Nothing was sent.")
        return 1


def _is_good(outcome: str) -> bool:
    """Whether an execution, or an image, ended as it should."""
    return outcome.startswith(("SUCCEEDED", pets.COMPLETED, pets.UNCERTAIN))


def _left(chosen: Iterable[Choice]) -> int:
    return 1 if any(each.fault for each in chosen) else 0


# --- what was replayed -----------------------------------------------------------------------------------------------


def replay_name(item: Mapping[str, Any]) -> str:
    """Of the execution that replays a failure: one failure, one name."""
    return "replay-" + hashlib.sha256(f"{item['execution_id']}\n{item['failed_at']}".encode()).hexdigest()[:64]


def has_succeeded(system: System, item: Mapping[str, Any]) -> bool:
    """Whether a failure of the metadata pipeline was replayed with success."""
    told = looking.execution(system, system.execution_arn(system.pipeline, replay_name(item)))
    return told is not None and told["status"] == "SUCCEEDED"


def image_is_open(system: System, item: Mapping[str, Any]) -> bool:
    """Whether a failed image waits for another attempt. A promised id is taken over by one, so its record would say so."""
    now = looking.current(system, item[pets.SOURCE_KEY])
    if now is None:
        return Image(system.bucket, item[pets.SOURCE_KEY], item[pets.SOURCE_VERSION]).promised_id is not None
    return now.version_id == item[pets.SOURCE_VERSION]


def _misfit(queue: Queue, body: str) -> str:
    """Why a message stays in its queue; empty if it may be replayed."""
    if not queue.is_replayed:
        return queue.how
    message = parse(body)
    return queue.fault(message) if message is not None else "it is no JSON object"


def _gist(body: str) -> str:
    """What a message is about, in a few words."""
    message = parse(body) or {}
    try:
        objects = [each["s3"] for each in message["Records"]]
        return ", ".join(f"{each['bucket']['name']}/{unquote_plus(each['object']['key'])}" for each in objects)
    except (KeyError, TypeError):
        detail = message.get("detail")
    if not isinstance(detail, dict):
        return body[:100]
    try:
        return f"{detail['bucket']['name']}/{detail['object']['key']}"
    except (KeyError, TypeError):
        return f"{detail.get('status', '')} {detail.get('executionArn', '')}".strip() or body[:100]


def _upload(record: Mapping[str, Any]) -> resume.Upload:
    """The version that an event of S3 is about. Raises OpsError if it names none."""
    where, what = record["s3"]["bucket"]["name"], record["s3"]["object"]
    if not what.get("versionId"):
        raise OpsError("the event names no version: upload the file again")
    return resume.Upload(where, unquote_plus(what["key"]), what["versionId"], what.get("size", 0), datetime.now(UTC))
