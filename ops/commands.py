"""Commands for those who operate the pipelines: `python -m ops status | replay | explain | failover | send | cost`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.text import Text

from ops import cost, systems
from ops.explain import Explain
from ops.failover import Failover
from ops.producer import Producer
from ops.regions import PATIENT, Names, OpsError, pair
from ops.replay import Replay
from ops.status import Status
from ops.systems import Estate
from settings import INGESTION_REGIONS, SettingsError

# Without a terminal, rich would take it for 80 characters wide.
WIDE = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 150
console = Console(highlight=False, width=WIDE, soft_wrap=not sys.stdout.isatty())


def status(given: argparse.Namespace) -> int:
    """What runs, failed, is stuck or waits in a queue, per system. Ends with 1 if something needs a person, else with 0."""
    work = Status(Estate.read(given.suffix), console, since=timedelta(hours=given.hours), limit=given.limit,
                  grace=timedelta(minutes=given.minutes))
    return work.run(given.names, as_json=given.json)


def replay(given: argparse.Namespace) -> int:
    """Once more, what was set aside, could not be delivered, or failed. Lists it, asks, sends it, confirms, then deletes."""
    work = Replay(Estate.read(given.suffix), console, confirm=lambda question: given.yes or _yes(question), dry_run=given.dry_run,
                  limit=given.limit, wait_seconds=given.wait)
    what = {"files": lambda names: work.files(names, force=given.force), "letters": work.letters, "metadata": work.metadata,
            "images": work.images}[given.what]
    try:
        return what(given.names)
    except KeyboardInterrupt:
        console.print(Text("\nInterrupted. What is ticked above is done; the rest is as it was. The same command again goes on."))
        return 130


def explain(given: argparse.Namespace) -> int:
    """The whole story of one file: event, executions and their states, record, rejects, where its objects are now, log lines."""
    return Explain(Estate.read(given.suffix), console, version=given.version).run(given.file, given.system)


def failover(given: argparse.Namespace) -> int:
    """Which region is active; make the other one active, or the first one again; finish what a failed region has left."""
    regions = pair(Names.read(given.suffix))
    work = Failover(regions, console, wait_seconds=given.wait, confirm=lambda question: given.yes or _yes(question))
    try:
        if given.resume:
            return max(work.resume(name, since=given.since, dry_run=given.dry_run) for name in _regions(given.resume))
        if given.status:
            return work.status()
        target = INGESTION_REGIONS[0] if given.back else given.to
        return work.to(target, force=given.force, dry_run=given.dry_run, back=given.back)
    except OpsError as error:
        console.print(Text("\n".join(filter(None, (str(error), error.remedy, work.case))), "red"))
        return 1
    except KeyboardInterrupt:
        console.print(Text(f"\nInterrupted. {work.case}"))
        return 130


def send(given: argparse.Namespace) -> int:
    """Send files to the active region, as producers should; each under its own name, after --prefix."""
    producer = Producer(pair(Names.read(given.suffix), config=PATIENT))
    failed = 0
    for file in given.files:
        try:
            sent = producer.send(file, given.prefix + file.name)
        except (OpsError, OSError) as error:
            console.print(Text(" ".join(filter(None, (f"✗ {file}: {error}", getattr(error, "remedy", "")))), "red"))
            failed += 1
        else:
            where = f"s3://{sent.bucket}/{sent.key} version {sent.version_id}"
            console.print(Text(f"✓ {file} → {where} ({sent.region}, epoch {sent.epoch})"))
    return 1 if failed else 0


def _regions(given: str) -> Sequence[str]:
    return INGESTION_REGIONS if given == "both" else [given]


GUIDE = "What it needs and says: docs/operating.md"


def _yes(question: str) -> bool:
    if not sys.stdin.isatty():
        console.print(Text("There is no terminal to ask. Remedy: --yes."))
        return False
    try:
        return input(f"{question} Type yes: ").strip().lower() == "yes"
    except EOFError:  # Ctrl-D
        console.print()
        return False


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no time; such as 2026-11-21T03:00:00+00:00") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _number_of(unit: str, most: int) -> Callable[[str], float]:
    def number(text: str) -> float:
        if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text} is no number of {unit} up to {most:,}")
        return float(text)

    return number


_seconds = _number_of("seconds", 86_400)
_minutes = _number_of("minutes", 525_600)
_hours = _number_of("hours", 87_600)  # ten years


def _file(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1 on")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ops", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("cost", help="what files and an idle month cost, from measured CPU time and published prices")

    looking = commands.add_parser("status", help=status.__doc__, description=status.__doc__, epilog=GUIDE)
    looking.add_argument("names", nargs="*", metavar="SYSTEM",
                         help=f"{', '.join(systems.NAMES)}; default: all")
    looking.add_argument("--json", action="store_true", help="for machines")
    looking.add_argument("--hours", type=_hours, default=24.0, help="what failed longer ago is left out; default: 24")
    looking.add_argument("--minutes", type=_minutes, default=40.0, help="what is younger is not stuck yet; default: 40")
    looking.add_argument("--limit", type=_count, default=1000, help="so many objects of a bucket are looked at; default: 1000")

    again = commands.add_parser("replay", help=replay.__doc__, description=replay.__doc__, epilog=GUIDE)
    again.add_argument("what", choices=["files", "letters", "metadata", "images"],
                       help="files: of the ETL pipeline; letters: dead letters of all; metadata, images: what failed there")
    again.add_argument("names", nargs="*", metavar="NAME",
                       help="key below failed/; queue; object's key or execution; image's id; without any: all")
    again.add_argument("--dry-run", action="store_true", help="list, send nothing")
    again.add_argument("--yes", action="store_true", help="do not ask")
    again.add_argument("--force", action="store_true", help="files: also if a later upload has succeeded")
    again.add_argument("--limit", type=_count, default=100, help="letters: so many of each queue; default: 100")
    again.add_argument("--wait", type=_seconds, default=120.0, metavar="SECONDS", help="for the outcome; default: 120")

    telling = commands.add_parser("explain", help=explain.__doc__, description=explain.__doc__, epilog=GUIDE)
    telling.add_argument("file", type=_file, metavar="FILE", help="path below raw/, an object's key, an image's id, or s3://BUCKET/KEY")
    telling.add_argument("--system", action="append", default=[], choices=systems.NAMES, help="look there alone; may be repeated")
    telling.add_argument("--version", default="", metavar="ID", help="that upload alone")

    switching = commands.add_parser("failover", help=failover.__doc__, description=failover.__doc__,
                                    epilog="Step by step: docs/disaster-recovery.md")
    what = switching.add_mutually_exclusive_group(required=True)
    what.add_argument("--status", action="store_true", help="which region is active, and how both are; changes nothing")
    what.add_argument("--to", choices=INGESTION_REGIONS, metavar="REGION", help=f"make active {' or '.join(INGESTION_REGIONS)}")
    what.add_argument(
        "--back", action="store_true", help=f"make {INGESTION_REGIONS[0]} active again once replication has caught up")
    what.add_argument("--resume", choices=[*INGESTION_REGIONS, "both"], nargs="?", const="both", metavar="REGION",
                      help="send what a region has not finished again to its processor; default: both regions'")
    switching.add_argument("--dry-run", action="store_true", help="check and tell, write nothing")
    switching.add_argument("--yes", action="store_true", help="do not ask")
    switching.add_argument("--force", action="store_true", help="switch to a region that is not ready, if it lacks no part")
    switching.add_argument("--since", type=_time, metavar="TIME", help="--resume: leave out what was uploaded before")
    switching.add_argument("--wait", type=_seconds, default=180.0, metavar="SECONDS",
                           help="for the probe, or for progress of --resume; default: 180")

    sending = commands.add_parser("send", help=send.__doc__, description=send.__doc__)
    sending.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".json or .csv")
    sending.add_argument("--prefix", default="", help="before each name, such as orders/")
    for command in (looking, again, telling, switching, sending):
        command.add_argument("--suffix", help="of the environment; default: ENVIRONMENT_SUFFIX, cdktf.json, prod")
    return parser


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    arguments = sys.argv[1:] if arguments is None else arguments
    for text in arguments:
        if not _is_text(text):  # such as a name that was pasted from a terminal of another encoding
            parser.error(f"{text.encode(errors='backslashreplace').decode()} is not UTF-8")
    given, more = parser.parse_known_args(arguments)
    if more and (given.command not in ("status", "replay") or any(each.startswith("-") for each in more)):
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    if given.command in ("status", "replay"):
        given.names += more  # argparse ends a list of names at the first option
        if "" in given.names:
            parser.error("one of the names is empty")
    if given.command == "status" and (strange := [name for name in given.names if name not in systems.NAMES]):
        parser.error(f"{', '.join(strange)}: no system; these are: {', '.join(systems.NAMES)}")
    if given.command == "failover" and given.since and not given.resume:
        parser.error("--since goes with --resume")
    if given.command == "replay" and given.force and given.what != "files":
        parser.error("--force goes with files")
    if given.command == "failover" and given.force and not (given.to or given.back):
        parser.error("--force goes with --to or --back")
    if given.command == "cost":
        print(cost.page(), end="")
        return 0
    try:
        return {"status": status, "replay": replay, "explain": explain, "failover": failover, "send": send}[given.command](given)
    except SettingsError as error:
        console.print(Text(str(error), "red"))
        return 2
    except OpsError as error:
        console.print(Text("\n".join(filter(None, (str(error), error.remedy))), "red"))
        return 1
    except KeyboardInterrupt:
        return 130
