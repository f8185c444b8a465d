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
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import report
from bench.bursts import REGIONS, SENDERS, SYSTEMS, System, dead_letters
from bench.pipeline import cpu_seconds
from local.deployment import Deployment, SynthesisError, files_of
from local.emulator import Emulator, EmulatorError
from local.pets import ApiError
from local.terraform import TerraformError, find_provider

RESULTS = report.ROOT / "bench" / "load.json"
PAGE = report.ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- written by python -m bench.load --write -->\n", "<!-- end -->\n"

FRESH_ACCOUNT = 10
"""Concurrent Lambda executions of a new account."""
LOOK_SECONDS = 2.0
STALLED_SECONDS = 240
"""Without a further end for so long, nothing is waited for any more: the longest pause between two attempts is a minute."""
SHOWN_FAULTS = 20


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
    emulator_cpu, functions_cpu, others = meter.used()
    sent, ends = [each for job in sending for each in job.result()], system.ends()
    faults = [*system.faults(sent), *dead_letters(aws)]
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
    print()
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
                    bursts.append(each := burst(aws, SYSTEMS[name](aws, deployment.outputs), count))
                    print(f"{each.system}: {each.sent:,} uploads in {each.seconds:.0f} s, p95 {each.p95:.0f} s, "
                          f"{len(each.faults)} not accounted for", flush=True)
        finally:
            shutil.rmtree(files_of(aws), ignore_errors=True)  # what synthesis and Terraform wrote
    return bursts


if __name__ == "__main__":
    sys.exit(main())
