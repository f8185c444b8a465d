"""`python -m ops status`: what runs, failed, is stuck, or waits in a dead-letter queue, per system (O1). Changes nothing."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.text import Text

from lambdas.etl import contract as etl
from lambdas.pets import contract as pets
from ops import looking, replay, resume
from ops.readiness import duration
from ops.regions import NoAnswer, OpsError, Refused
from ops.systems import Estate, System
from ops.telling import Teller, shown

SHOWN = 5
"""Of what was found, so many are named."""
SHOWN_CHARACTERS = 300
"""Of an error: a denial names the action that was denied behind some 150."""
RECORDS = 500
"""Records of one status that are looked at."""
ENDED_BADLY = ("FAILED", "TIMED_OUT", "ABORTED")
MARKS = {True: ("✗", "red"), False: ("✓", "green")}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    part: str
    found: str
    count: int = 0
    needs_person: bool = False
    remedy: str = ""
    items: tuple[str, ...] = ()
    """What was counted, each once: a file may have failed often. The first SHOWN are told."""


@dataclass(frozen=True)
class Report:
    """A system in one region."""

    system: str
    region: str
    deployed: bool | None  # None: there was no answer
    findings: tuple[Finding, ...]

    @property
    def needs_person(self) -> bool:
        return any(finding.needs_person for finding in self.findings)


@dataclass
class Status(Teller):
    """The command, over all systems of an environment."""

    estate: Estate
    console: Console
    since: timedelta = timedelta(days=1)
    """What failed longer ago is not told."""
    grace: timedelta = timedelta(minutes=40)
    """What is younger is not stuck yet: the sweep, every 15 minutes, takes what is older than 15 (E7c)."""
    limit: int = 1000
    """So many objects of a bucket are looked at."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    clock: Callable[[], float] = time.monotonic

    def run(self, names: Sequence[str] = (), *, as_json: bool = False) -> int:
        """0 if all is well; 1 if something needs a person, or nothing of what was asked for is there."""
        systems = self.estate.of(*names)
        if as_json:
            reports = self._reports(systems)
            print(json.dumps(self._plain(reports), indent=2, ensure_ascii=True))
        else:
            with self.working(f"asking {', '.join(system.title for system in systems)}"):
                reports = self._reports(systems)
            for report in reports:
                self._show(report)
        absent = all(report.deployed is False for report in reports)
        if absent and not as_json:
            self.say("Nothing is deployed under these names. Another environment: --suffix. Another account: AWS_PROFILE. "
                     "Another region: AWS_REGION.", "red")
        return 1 if absent or any(report.needs_person for report in reports) else 0

    def _plain(self, reports: Iterable[Report]) -> dict[str, Any]:
        told = [{**asdict(report), "needs_person": report.needs_person,
                 "findings": [{**asdict(each), "items": each.items[:SHOWN]} for each in report.findings]} for report in reports]
        return {"suffix": self.estate.suffix, "account": self.estate.account, "at": self.now().isoformat(timespec="seconds"),
                "needs_person": any(report["needs_person"] for report in told), "systems": told}

    def _show(self, report: Report) -> None:
        title = f"{report.system} ({report.region})"
        if report.deployed is False:
            self.say(f"{title}: not deployed under the suffix {self.estate.suffix}.\n")
            return
        rows = []
        for finding in report.findings:
            mark, style = MARKS[finding.needs_person]
            named = "".join(f"\n  {shown(item)}" for item in finding.items[:SHOWN])
            if len(finding.items) > SHOWN:
                named += f"\n  … and {len(finding.items) - SHOWN} more"
            rows.append([Text(mark, style), finding.part, Text(finding.found + named), finding.remedy])
        self.table(title, ["", "part", "found", "remedy"], rows)

    # --- asking -------------------------------------------------------------------------------------------------------

    def _reports(self, systems: Sequence[System]) -> list[Report]:
        with ThreadPoolExecutor(len(systems)) as pool:
            return list(pool.map(self._report, systems))

    def _report(self, system: System) -> Report:
        try:
            deployed = system.is_deployed()
        except (NoAnswer, Refused) as error:
            return Report(system.name, system.region, None, (_unknown("system", error),))
        if not deployed:
            return Report(system.name, system.region, False, ())
        images = functools.cache(lambda: looking.image_records(system, RECORDS))
        parts: dict[str, list[tuple[str, Callable[[System], Finding]]]] = {
            "etl": [("stuck", self._stuck_files), ("failed", self._failed_files), ("invalid", self._invalid_files),
                    ("raw objects", self._raw_objects)],
            "metadata": [("failed", self._failed_metadata)],
            "pets": [("images", lambda system: self._images(system, *images())),
                     ("refused", lambda system: self._refused_images(*images())), ("input objects", self._input_objects)],
            "ingestion": [("files", self._ingested)],
        }
        machines = [("executions", self._executions), ("recovery", self._recovery)] if system.pipeline else []
        around = [("dead letters", self._dead_letters), ("alarms", self._alarms)]
        findings = [self._told(part, question, system) for part, question in [*machines, *parts[system.name], *around]]
        return Report(system.name, system.region, True, tuple(findings))

    def _told(self, part: str, question: Callable[[System], Finding], system: System) -> Finding:
        """The answer; silence and refusals are answers, too."""
        try:
            return question(system)
        except OpsError as error:
            return _unknown(part, error)

    @property
    def _suffix(self) -> str:
        return f"--suffix {self.estate.suffix}"

    # --- state machines -----------------------------------------------------------------------------------------------

    def _executions(self, system: System) -> Finding:
        page = system.ask("stepfunctions", "list_executions", stateMachineArn=system.machine_arn(system.pipeline),
                          statusFilter="RUNNING", maxResults=1000)
        running = page["executions"]
        if not running:
            return Finding("executions", "none runs")
        oldest = min(each["startDate"] for each in running)
        more = " or more" if page.get("nextToken") else ""
        return Finding("executions", f"{len(running)}{more} run, the oldest for {duration(self._age(oldest))}", len(running))

    def _recovery(self, system: System) -> Finding:
        """One that failed leaves its record as it was; one that was redriven with success is no longer among them."""
        failed = []
        for status in ENDED_BADLY:
            page = system.ask("stepfunctions", "list_executions", stateMachineArn=system.machine_arn(system.recovery),
                              statusFilter=status, maxResults=100)
            failed += [each for each in page["executions"] if each["startDate"] >= self.now() - self.since]
        if not failed:
            return Finding("recovery", "none failed")
        return Finding("recovery", f"{len(failed)} of {system.recovery} failed", len(failed), True,
                       f"aws stepfunctions redrive-execution --region {system.region} --execution-arn ARN",
                       _each_once(each["executionArn"] for each in failed))

    # --- ETL ----------------------------------------------------------------------------------------------------------

    def _stuck_files(self, system: System) -> Finding:
        before = (self.now() - self.grace).isoformat(timespec="microseconds").replace("+00:00", "Z")
        found, more = looking.of_status(system, "PROCESSING", RECORDS, oldest_first=True)
        old = [record for record in found if record["process_start_time"] <= before]
        stuck = [record for record in old if not self._runs(system, record["execution_arn"])]
        note = f" (of the oldest {RECORDS})" if more else ""
        if not stuck:
            return Finding("stuck", f"no record waits for an execution that has ended{note}")
        return Finding("stuck", f"{len(stuck)} records say PROCESSING, but their executions have ended{note}", len(stuck), True,
                       f"docs/runbook.md, stuck; python -m ops explain FILE --system etl {self._suffix}",
                       _each_once(f"{record['file_name']}, since {record['process_start_time']}" for record in stuck))

    def _runs(self, system: System, arn: str) -> bool:
        told = looking.execution(system, arn)
        return told is not None and told["status"] == "RUNNING"

    def _failed_files(self, system: System) -> Finding:
        found, more = looking.of_status(system, "FAILED", RECORDS, since=self._since())
        still = [record for record in found if looking.is_newest(system, record)]
        answered = f", {len(found) - len(still)} of them answered by a later upload" if len(found) > len(still) else ""
        said = f"{len(found)}{' or more' if more else ''} in {self._window}{answered}"
        if not still:
            return Finding("failed", said if found else f"none in {self._window}", len(found))
        return Finding("failed", said, len(still), True, f"mend the cause, then python -m ops replay files {self._suffix}",
                       _files(still))

    def _invalid_files(self, system: System) -> Finding:
        """The senders' business, and announced to whoever talks to them."""
        found, more = looking.of_status(system, "INVALID", RECORDS, since=self._since())
        return Finding("invalid", f"{len(found)}{' or more' if more else ''} in {self._window}", len(found), False,
                       "their senders correct them" if found else "",
                       _files(found))

    def _raw_objects(self, system: System) -> Finding:
        def has_record(key: str, version_id: str) -> bool:
            name = key.removeprefix(etl.RAW)
            return any(record["version_id"] == version_id for record in looking.records(system, name, 100))

        return self._without_record(system, "raw objects", etl.RAW, has_record, "files")

    def _without_record(
        self, system: System, part: str, prefix: str, has_record: Callable[[str, str], bool], replayed: str
    ) -> Finding:
        cut = looking.Cut()
        lost: list[str] = []
        for each in looking.objects(system, prefix, self.limit, cut):
            if self._age(each["LastModified"]) < self.grace.total_seconds():
                continue
            version = looking.current(system, each["Key"])
            if version and not has_record(version.key, version.version_id):
                lost.append(f"{each['Key']}, since {each['LastModified']:%Y-%m-%d %H:%M:%S}")
        if not lost:
            return Finding(part, f"none without a record{cut.note}")
        return Finding(part, f"{len(lost)} without a record{cut.note}", len(lost), True,
                       f"their events were lost: python -m ops replay {replayed} KEY {self._suffix}", _each_once(lost))

    # --- metadata -----------------------------------------------------------------------------------------------------

    def _failed_metadata(self, system: System) -> Finding:
        found, more = looking.scan(system, RECORDS)
        recent = [item for item in found if looking.not_before(item, "failed_at", self.now() - self.since)]
        still = [item for item in recent if not replay.has_succeeded(system, item)]
        answered = f", {len(recent) - len(still)} of them replayed with success" if len(recent) > len(still) else ""
        note = f" (looked at the first {RECORDS} only)" if more else ""
        if not still:
            return Finding("failed", f"{len(recent) or 'none'} in {self._window}{answered}{note}", len(recent))
        return Finding("failed", f"{len(recent)} in {self._window}{answered}{note}", len(still), True,
                       f"correct and upload again; after an outage: python -m ops replay metadata {self._suffix}",
                       _each_once(f"{item['object_key']}: {item['error']}: {item['cause'][:SHOWN_CHARACTERS]}"
                              for item in sorted(still, key=lambda item: item["failed_at"], reverse=True)))

    # --- pets ---------------------------------------------------------------------------------------------------------

    def _images(self, system: System, found: Sequence[Mapping[str, Any]], more: bool) -> Finding:
        old = [item for item in found if item[pets.STATUS] == pets.PROCESSING
               and looking.not_before(item, pets.TIMESTAMP, datetime.min.replace(tzinfo=UTC))
               and not looking.not_before(item, pets.TIMESTAMP, self.now() - self.grace)]
        stuck = [item for item in old if not self._runs(system, item[pets.EXECUTION])]
        ours = [item for item in found if item[pets.STATUS] == pets.FAILED
                and item.get(pets.FAILURE_CODE) == pets.PROCESSING_FAILED
                and looking.not_before(item, pets.TIMESTAMP, self.now() - self.since)]
        still = [item for item in ours if replay.image_is_open(system, item)]
        note = f" (looked at the first {RECORDS} only)" if more else ""
        answered = f", {len(ours) - len(still)} of them answered since" if len(ours) > len(still) else ""
        said = f"{len(stuck)} stuck; in {self._window} {len(ours)} failed{answered}{note}"
        remedy = f"docs/runbook.md, stuck; python -m ops explain ID --system pets {self._suffix}" if stuck else ""
        if still:
            remedy = f"mend the cause, then python -m ops replay images {self._suffix}"
        named = [f"{item[pets.SOURCE_KEY]}: {item.get(pets.FAILURE_REASON, 'its execution has ended')[:SHOWN_CHARACTERS]}"
                 for item in [*stuck, *still]]
        return Finding("images", said, len(named), bool(named), remedy, _each_once(named))

    def _refused_images(self, found: Sequence[Mapping[str, Any]], more: bool) -> Finding:
        """Their senders' business: the API tells them."""
        refused = [item for item in found if item[pets.STATUS] == pets.FAILED
                   and item.get(pets.FAILURE_CODE) != pets.PROCESSING_FAILED
                   and looking.not_before(item, pets.TIMESTAMP, self.now() - self.since)]
        note = f" (looked at the first {RECORDS} only)" if more else ""
        return Finding("refused", f"{len(refused) or 'none'} in {self._window}{note}", len(refused), False,
                       "their senders send better ones" if refused else "",
                       _each_once(f"{item[pets.SOURCE_KEY]}: {item.get(pets.FAILURE_REASON, '')[:SHOWN_CHARACTERS]}"
                              for item in refused))

    def _input_objects(self, system: System) -> Finding:
        def has_record(key: str, version_id: str) -> bool:
            return looking.image_record(system, key, version_id) is not None

        return self._without_record(system, "input objects", pets.INPUT, has_record, "images")

    # --- ingestion ----------------------------------------------------------------------------------------------------

    def _ingested(self, system: System) -> Finding:
        region = self.estate.regions[system.region]
        looked, late, unreadable, more = 0, [], [], False
        for page in resume.pages(region):
            if looked >= self.limit:
                more = True
                break
            looked += len(page)
            uploads = resume.examine(region, resume.uploads(region, page))
            late += [each for each in uploads if not each.done and self._age(each.uploaded) >= self.grace.total_seconds()]
            unreadable += [each for each in uploads if each.failure and each.uploaded >= self.now() - self.since]
        note = f" (looked at the first {looked} versions only)" if more else ""
        said = f"{len(late)} not finished, {len(unreadable)} unreadable in {self._window}{note}"
        remedy = f"python -m ops failover --resume {system.region} {self._suffix}" if late else (
            "their senders correct them" if unreadable else "")
        return Finding("files", said, len(late) + len(unreadable), bool(late), remedy,
                       _each_once(f"{each.key}: {each.progress}" for each in [*late, *unreadable]))

    # --- around -------------------------------------------------------------------------------------------------------

    def _dead_letters(self, system: System) -> Finding:
        waiting = {queue.name: looking.waiting(system, queue.name) for queue in system.queues}
        missing = [name for name, depth in waiting.items() if depth is None]
        filled = {name: depth for name, depth in waiting.items() if depth}
        if not missing and not filled:
            return Finding("dead letters", f"none in {len(waiting)} queues")
        named = [*(f"{name}: {depth}" for name, depth in filled.items()), *(f"{name} does not exist" for name in missing)]
        count = sum(filled.values())
        return Finding("dead letters", f"{count} wait", count, True, f"python -m ops replay letters {self._suffix}", tuple(named))

    def _alarms(self, system: System) -> Finding:
        found = system.ask("cloudwatch", "describe_alarms", AlarmNames=list(system.alarms))["MetricAlarms"]
        ringing = [alarm for alarm in found if alarm["StateValue"] == "ALARM"]
        if not ringing:
            return Finding("alarms", f"none of {len(found)} rings")
        return Finding("alarms", f"{len(ringing)} of {len(found)} ring", len(ringing), True, "docs/runbook.md",
                       tuple(alarm["AlarmName"] for alarm in ringing))

    # --- times --------------------------------------------------------------------------------------------------------

    def _age(self, at: datetime) -> float:
        return (self.now() - at).total_seconds()

    def _since(self) -> str:
        return (self.now() - self.since).isoformat(timespec="microseconds").replace("+00:00", "Z")

    @property
    def _window(self) -> str:
        return f"the last {duration(self.since.total_seconds())}"


def _files(records: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return _each_once(f"{record['file_name']}: {record.get('error_message', '')[:SHOWN_CHARACTERS]}" for record in records)


def _each_once(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))


def _unknown(part: str, error: OpsError) -> Finding:
    return Finding(part, f"unknown: {error}", 0, True, error.remedy.removeprefix("Remedy: ") or "try again")
