"""`python -m ops failover`: which region is active; move the work to the other and back; finish what was left (R8, O4)."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lambdas.ingestion import contract
from ops import active, readiness, resume
from ops.readiness import Check, State, duration
from ops.regions import Region, other
from ops.telling import Teller, shown

MARKS = {State.GOOD: ("✓", "green"), State.WARN: ("!", "yellow"), State.BAD: ("✗", "red"), State.MISSING: ("✗", "bold red")}
SHOWN = 20
"""How many unfinished files are listed."""
PROBES = "failover-probes/"
"""Where probe files go."""


@dataclass
class Failover(Teller):
    """The command, over a pair of regions. Every method returns the exit code: 0, or 1 if something needs a person."""

    regions: Mapping[str, Region]
    console: Console
    wait_seconds: float = 180
    confirm: Callable[[str], bool] = lambda question: False
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    case: str = "Nothing was changed."
    """What is the case now: told if somebody interrupts."""

    # --- looking ------------------------------------------------------------------------------------------------------

    def status(self) -> int:
        """Which region is active, and how both are. 0 if the parameters agree on a region that could do the work."""
        readings = self._readings()
        try:
            now = active.believed(readings.values())
        except active.Undecided as error:
            self.say(str(error), "red")
            now = None
        good = now is not None
        for name, region in self.regions.items():
            checks = self._checked(region)
            self._show(f"{name}{' (active)' if now and now.region == name else ''}", checks)
            if now and now.region == name:
                good = not any(check.hinders for check in checks)
        return 0 if good else 1

    def _readings(self) -> dict[str, active.Reading]:
        with self.working("reading the parameters"):
            readings = active.read_all(self.regions, active.examine)
        table = Table(title="Active region", title_justify="left", header_style="bold", box=box.SIMPLE_HEAD)
        for column in ("parameter in", "names", "epoch", ""):
            table.add_column(column)
        try:
            now = active.believed(readings.values())
        except active.Undecided:
            now = None
        for name, reading in readings.items():
            value = reading.value
            note = reading.why
            if value:
                note = "counts" if value == now else "is ignored: its epoch is lower" if now else "contradicts the other"
                if reading.highest and reading.highest.epoch > value.epoch:
                    note += f"; it held {reading.highest} before: a slower switch overwrote that"
            table.add_row(name, value.region if value else "–", str(value.epoch) if value else "–", Text(note))
        self.console.print(table)
        return readings

    def _checked(self, region: Region, more: Iterable[Callable[[], Check]] = ()) -> list[Check]:
        with self.working(f"asking {region.name}"):
            return [*readiness.check(region), *(question() for question in more)]

    def _show(self, title: str, checks: Iterable[Check]) -> None:
        table = Table(title=title, title_justify="left", header_style="bold", box=box.SIMPLE_HEAD)
        for column in ("", "part", "found", "remedy"):
            table.add_column(column, overflow="fold")
        for check in checks:
            mark, style = MARKS[check.state]
            table.add_row(Text(mark, style), check.part, Text(check.found), Text(check.remedy))
        self.console.print(table)

    # --- switching ----------------------------------------------------------------------------------------------------

    def to(self, target: str, *, force: bool = False, dry_run: bool = False, back: bool = False) -> int:
        """Have producers send to ``target``, if it is ready, and prove with a probe that files are processed there."""
        readings = self._readings()
        if readings[target].silent:
            self.say(f"{readings[target].why}\n{target} cannot take over: not even its parameter answers.", "red")
            return 1
        region, partner = self.regions[target], self.regions[other(target)]
        more = [lambda: readiness.replication(region, partner)] if back else []
        checks = self._checked(region, more)
        self._show(f"Is {target} ready?", checks)
        if not self._may(target, checks, force):
            return 1
        value = active.plan(target, readings)
        steps = self._steps(value, readings)
        if dry_run:
            self.say("Dry run: nothing was written. It would\n" + "\n".join(f"  {step}" for step in steps))
            return 0
        self.say("This will\n" + "\n".join(f"  {step}" for step in steps))
        if not self.confirm(f"Make {target} the active region?"):
            self.say("Nothing was changed.")
            return 1
        self.case = (f"It is not known whether {target}'s parameter was written. Look: python -m ops failover --status. "
                     "The same command again finishes it.")
        active.switch(value, self.regions, readings, lambda name, what: self._switched(value, name, what))
        return self._probe(region)

    def _steps(self, value: active.Active, readings: Mapping[str, active.Reading]) -> list[str]:
        steps = []
        silent = [name for name, reading in readings.items() if reading.silent]
        if silent:
            steps.append(
                f"leap ahead to epoch {value.epoch}: {silent[0]} is silent and may hold a higher one than is known here"
            )
        for name in (value.region, other(value.region)):
            if active.holds(readings[name], value):
                steps.append(f"leave the parameter in {name}: it says {value} already")
            else:
                steps.append(f"write {value.text} to the parameter in {name}"
                             f"{', which does not answer: that may fail, and does no harm' if readings[name].silent else ''}")
        return [*steps, f"send a probe file to {self.regions[value.region].bucket}, and wait for its record in the table"]

    def _may(self, target: str, checks: Iterable[Check], force: bool) -> bool:
        """Whether to go on; says why not."""
        missing = [check.part for check in checks if check.state == State.MISSING]
        bad = [check.part for check in checks if check.state == State.BAD]
        if missing:
            self.say(f"{target} cannot take over: no {', no '.join(missing)}. --force does not help with that.", "red")
            return False
        if bad and not force:
            self.say(f"{target} is not ready: {', '.join(bad)}. Remedies stand above; --force goes on all the same.", "red")
            return False
        if bad:
            self.say(
                f"FORCED: {target} IS NOT READY ({', '.join(bad)}). Files sent there may wait until that is repaired.", "bold red"
            )
        return True

    def _switched(self, value: active.Active, name: str, what: str) -> None:
        """Say what became of one region's parameter."""
        if what in ("written", "already"):
            self.say(f"✓ The parameter in {name} says {value}{'' if what == 'written' else ' already'}.", "green")
        else:
            self.say(
                f"! The parameter in {name} could not be written: {what}\n  What it holds will be ignored because its epoch is "
                "lower. Repeat the command when the region is back: then both say the same.", "yellow"
            )
        if name == value.region:
            self.case = (f"{name}'s parameter says {value}; {other(name)}'s may not yet. Producers that read both send to {name} "
                         "already. The same command again finishes it.")
        else:
            self.case = f"{value.region} is active ({value}); the probe has not been seen. The same command again sends another."

    def _probe(self, region: Region) -> int:
        """Send a record through the bucket, and wait until the table has it."""
        name = f"probe-{uuid.uuid4()}"
        record = {"recordId": name, "timestamp": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")}
        began = self.clock()
        region.ask("s3", "put_object", Bucket=region.bucket, Key=f"{PROBES}{name}.json", Body=json.dumps(record).encode())
        with self.working(f"waiting for {name} in {region.names.table}") as step:
            while True:
                status = self._status_of(region, name)
                passed = self.clock() - began
                if status or passed > self.wait_seconds:
                    break
                step(f"waiting for {name} in {region.names.table}, {duration(passed)}")
                self.pause(1)
        if not status:
            self.say(
                f"✗ The probe {region.bucket}/{PROBES}{name}.json is not in the table after {duration(passed)}. "
                f"{region.name} IS ACTIVE, but does not process files in time.\n{self._look(region)}", "red"
            )
            return 1
        self.say(f"✓ The probe was processed in {region.name} after {duration(passed)} ({status}).", "green")
        self.say(f"{region.name} is active. Producers follow within the seconds for which they keep what they read.")
        return 0

    def _status_of(self, region: Region, record_id: str) -> str:
        """The processing status of a record, empty if it is not there."""
        found = region.ask(
            "dynamodb",
            "query",
            TableName=region.names.table,
            KeyConditionExpression="#id = :id",
            ExpressionAttributeNames={"#id": contract.RECORD_ID},
            ExpressionAttributeValues={":id": {"S": record_id}},
            ConsistentRead=True,
            Limit=1,
        )["Items"]
        return found[0].get(contract.STATUS, {}).get("S", "?") if found else ""

    # --- finishing ----------------------------------------------------------------------------------------------------

    def resume(self, name: str, *, since: datetime | None = None, dry_run: bool = False) -> int:
        """Send again what ``name`` has not finished of its own bucket, and wait until it is done."""
        region, looked = self.regions[name], 0
        with self.working(f"comparing {region.bucket} with its checkpoints") as step:
            def told(count: int) -> None:
                nonlocal looked
                looked = count
                step(f"comparing {region.bucket}: {count} versions")

            pending = resume.unfinished(region, since, told)
        if not pending:
            begun = f" that was uploaded since {since:%Y-%m-%dT%H:%M:%S%z}" if since else ""
            self.say(f"✓ Every file in {region.bucket}{begun} is done ({looked} versions were looked at).", "green")
            return 0
        self._list(f"Not finished in {name} ({len(pending)})", pending)
        if dry_run:
            self.say(f"Dry run: nothing was sent. It would invoke {region.names.processor} in {name} for each version.")
            return 0
        if not self.confirm(f"Send {len(pending)} again to {region.names.processor} in {name}?"):
            self.say("Nothing was sent.")
            return 1
        with self.working("sending") as step:
            for number, upload in enumerate(pending, 1):
                self.case = (f"{number - 1} of {len(pending)} are sent and go on by themselves. The same command again shows "
                             "what is not done; sending twice does no harm.")
                resume.send_again(region, upload)
                step(f"sent {number} of {len(pending)}")
        self.case = f"All {len(pending)} are sent and go on by themselves. The same command again shows what is not done."
        return self._finish(region, pending)

    def _finish(self, region: Region, sent: list[resume.Upload]) -> int:
        """Wait until all are done, be it as unreadable; gives up when nothing has moved for ``wait_seconds``."""
        moved, progress = self.clock(), None
        with self.working("waiting for the checkpoints") as step:
            while True:
                seen = resume.examine(region, sent)
                pending = [upload for upload in seen if not upload.done]
                if seen != progress:
                    progress, moved = seen, self.clock()
                step(f"{len(sent) - len(pending)} of {len(sent)} done")
                if not pending or self.clock() - moved > self.wait_seconds:
                    break
                self.pause(2)
        unreadable = [upload for upload in seen if upload.failure]
        if unreadable:
            self._list(f"Cannot be read ({len(unreadable)})", unreadable)
        if pending:
            self._list(f"Still not done ({len(pending)})", pending)
            self.say(f"Nothing has moved for {duration(self.wait_seconds)}.\n{self._look(region)}", "red")
            return 1
        self.say(f"✓ {len(sent) - len(unreadable)} of {len(sent)} are stored.", "green")
        return 0

    def _list(self, title: str, uploads: list[resume.Upload]) -> None:
        table = Table(title=title, title_justify="left", header_style="bold", box=box.SIMPLE_HEAD)
        for column in ("key", "version", "uploaded", "bytes", "progress"):
            table.add_column(column, overflow="fold", justify="right" if column == "bytes" else "left")
        for each in uploads[:SHOWN]:
            table.add_row(Text(shown(each.key)), each.version_id, f"{each.uploaded:%Y-%m-%d %H:%M:%S}", str(each.size),
                          Text(shown(each.progress)))
        self.console.print(table)
        if len(uploads) > SHOWN:
            self.say(f"… and {len(uploads) - SHOWN} more")

    # --- telling ------------------------------------------------------------------------------------------------------

    def _look(self, region: Region) -> str:
        return f"Look: aws logs tail /aws/lambda/{region.names.processor} --region {region.name} --since 15m"
