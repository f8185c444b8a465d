"""Files of growing size through the whole deployed pipeline on an embedded AWS: time, workers' memory, executions, transitions.

Starts an embedded AWS of its own, deploys, uploads one file after the other, and takes everything away again. Two gigabytes take
about 10 GiB of memory, since the embedded AWS holds its objects there. Needs Linux (/proc). Writes into `bench/results.json`.

    python -m bench.pipeline [--quick]        small files only; prints only
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from boto3.s3.transfer import TransferConfig

from bench import data, report
from local.deployment import Deployment, SynthesisError, files_of
from local.emulator import Emulator, EmulatorError
from local.etl import Etl
from local.executions import PipelineTimeout
from local.terraform import TerraformError, find_provider

MIB = 1 << 20
FILES = (
    ("clean", MIB), ("clean", 10 * MIB), ("clean", 100 * MIB), ("messy", 100 * MIB), ("clean", 1024 * MIB), ("clean", 2048 * MIB),
)
WAIT_SECONDS = 900
SAMPLE_SECONDS = 0.2
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Workers:
    """CPU time and peak memory of the embedded AWS and of its Lambda workers, while a file is on its way."""

    pid: int
    cpu: dict[int, float] = field(default_factory=dict)
    before: dict[int, float] = field(default_factory=dict)
    peak: dict[int, int] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Workers:
        for pid in (self.pid, *children(self.pid)):
            self.before[pid] = cpu_seconds(pid) or 0
            forget_peak(pid)
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            over = self._over.wait(SAMPLE_SECONDS)
            for pid in (self.pid, *children(self.pid)):
                seconds, peak = cpu_seconds(pid), peak_bytes(pid)
                if seconds is not None and peak is not None:  # it may have ended meanwhile
                    self.cpu[pid], self.peak[pid] = seconds, peak
            if over:
                return

    def seconds(self, pid: int) -> float:
        """CPU time since the beginning."""
        return self.cpu[pid] - self.before.get(pid, 0)


def children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # a thread has ended while we looked
        return []


def cpu_seconds(pid: int) -> float | None:
    """User and system time of a process; None if it is gone. Fields 14 and 15 of proc(5)'s stat."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_bytes(pid: int) -> int | None:
    """The most memory it held; None if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def forget_peak(pid: int) -> None:
    """Start a process's peak anew (proc(5), clear_refs)."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:  # gone
        pass


def send(aws: Emulator, etl: Etl, name: str, kind: str, size: int) -> dict:
    """One file through the pipeline, and what that took."""
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        for piece in data.repeated(kind, size):
            file.write(piece)
        file.flush()
        length = file.tell()
        assert aws.pid
        with Workers(aws.pid) as workers:
            s3 = aws.client("s3")
            s3.upload_file(file.name, etl.bucket, f"raw/{name}", Config=TransferConfig(
                multipart_threshold=256 * MIB, multipart_chunksize=256 * MIB, use_threads=False))
            uploaded, other_before = time.monotonic(), cpu_seconds(aws.pid) or 0
            [record] = etl.wait(name, seconds=WAIT_SECONDS)
            seconds = time.monotonic() - uploaded
            other_cpu = (cpu_seconds(aws.pid) or 0) - other_before
    assert record["status"] == "SUCCEEDED", record
    executions = [record["execution_arn"], *ranges(aws, record["execution_arn"])]
    found = {
        "kind": kind, "bytes": length, "rows": record["rows_read"], "seconds": round(seconds, 1),
        "worker_cpu": round(sum(workers.seconds(pid) for pid in workers.cpu if pid != aws.pid), 1),
        "other_cpu": round(other_cpu, 1),
        "peak": max(peak for pid, peak in workers.peak.items() if pid != aws.pid),
        "executions": len(executions), "transitions": sum(transitions(aws, arn) for arn in executions),
    }
    forget(aws, etl, name)
    return found


def ranges(aws: Emulator, execution: str) -> list[str]:
    """Executions of a file's ranges."""
    states = aws.client("stepfunctions")
    found = []
    for run in states.list_map_runs(executionArn=execution)["mapRuns"]:
        for page in states.get_paginator("list_executions").paginate(mapRunArn=run["mapRunArn"]):
            found += [each["executionArn"] for each in page["executions"]]
    return found


def transitions(aws: Emulator, execution: str) -> int:
    """How many states an execution has entered. The embedded AWS tells of a range's execution only what its tasks did."""
    pages = aws.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=execution)
    kinds = [event["type"] for page in pages for event in page["events"]]
    return sum(kind.endswith("StateEntered") for kind in kinds) or kinds.count("TaskScheduled")


def forget(aws: Emulator, etl: Etl, name: str) -> None:
    """Remove every version: the embedded AWS holds them in memory."""
    s3 = aws.client("s3")
    for place in ("raw/", "processed/", "failed/"):
        told = s3.list_object_versions(Bucket=etl.bucket, Prefix=place + name)
        for each in told.get("Versions", []) + told.get("DeleteMarkers", []):
            s3.delete_object(Bucket=etl.bucket, Key=each["Key"], VersionId=each["VersionId"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.pipeline", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small files only; prints only")
    quick = parser.parse_args().quick
    if not Path("/proc/self/clear_refs").exists():
        print("The way through the pipeline is not measured: workers are looked at through /proc, which this system lacks.")
        return 0
    try:
        files = measured(FILES[:2] if quick else FILES)
    except (EmulatorError, PipelineTimeout, SynthesisError, TerraformError) as error:
        print(error, file=sys.stderr)
        return 1
    if not quick:
        report.update({"pipeline": {"when": time.strftime("%Y-%m-%d"), "machine": report.machine(), "files": files}})
    return 0


def measured(wanted: Sequence[tuple[str, int]]) -> list[dict]:
    """Every file through a pipeline deployed for it. Raises EmulatorError, PipelineTimeout, SynthesisError or TerraformError."""
    source, files = find_provider(), []
    with Emulator(name="bench") as aws:
        try:
            print("deploying, about two minutes …", flush=True)
            deployment = Deployment(aws, source)
            deployment.deploy()
            etl = Etl(aws, deployment.outputs["tap"])
            send(aws, etl, "first.csv", "clean", MIB)  # not counted: the first workers start, the first clients are made
            for kind, size in wanted:
                found = send(aws, etl, f"{kind}-{size // MIB}.csv", kind, size)
                files.append(found)
                print(f"{size // MIB:5} MiB {kind:<5} {found['rows']:>12,} rows {found['seconds']:7.1f} s, "
                      f"workers {found['worker_cpu']:6.1f} s CPU, embedded AWS {found['other_cpu']:6.1f} s CPU, "
                      f"largest worker {found['peak'] / MIB:4.0f} MiB, {found['executions']} executions, "
                      f"{found['transitions']} states", flush=True)
        finally:
            shutil.rmtree(files_of(aws), ignore_errors=True)  # what synthesis and Terraform wrote
    return files


if __name__ == "__main__":
    sys.exit(main())
