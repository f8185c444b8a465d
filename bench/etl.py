"""What a row costs: CPU time and peak memory of the ETL's conversion, against others that do the same job, and against the floor.

Every measurement is a process of its own, all contestants in turns; medians count, the bare interpreter is subtracted. What comes
out is compared row by row. Then: what becomes of a file that is broken as CSV, and how long the handlers take to import. Writes
`bench/results.json`, `bench/RESULTS.md` and `docs/performance.svg`; exits with 1 if a bar is missed.

    python -m bench.etl [--quick]        small files and three turns; prints only
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import lambda_packaging
from bench import data, report
from bench.report import ROOT

PEERS_PYTHON = ROOT / ".tools" / "bench" / ".venv" / "bin" / "python"
NORM = ROOT / "tests" / "unit" / "etl" / "values.csv"
HANDLERS = ("lambdas.etl.validation", "lambdas.etl.transformation", "lambdas.metadata.indexing")

CONTESTANTS: Mapping[str, tuple[str, str]] = {  # name → module and argument
    "nothing": ("bench.ours", "nothing"),
    "copy": ("bench.ours", "copy"),
    "csv.reader": ("bench.ours", "parse"),
    "ours": ("bench.ours", "etl"),
    "polars": ("bench.peers", "polars"),
    "pyarrow": ("bench.peers", "pyarrow"),
    "duckdb": ("bench.peers", "duckdb"),
    "pandas": ("bench.peers", "pandas"),
    "pandas-map": ("bench.peers", "pandas-map"),
    "dictreader": ("bench.peers", "dictreader"),
}
COMPARED = [name for name in CONTESTANTS if name not in ("nothing", "copy", "csv.reader", "ours")]


@dataclass(frozen=True)
class Size:
    """How many rows, and how often each contestant converts them; who is not named does not."""

    rows: int
    turns: Mapping[str, int]


EVERYBODY_OFTEN = dict.fromkeys(CONTESTANTS, 5)
LARGE = {"nothing": 5, "ours": 5, "copy": 1, "csv.reader": 1, "polars": 3, "pyarrow": 1, "duckdb": 1, "pandas": 1}
FULL = (Size(1_000_000, EVERYBODY_OFTEN), Size(5_000_000, LARGE))
QUICK = (Size(100_000, dict.fromkeys(CONTESTANTS, 3)), Size(500_000, {name: min(turns, 2) for name, turns in LARGE.items()}))


# --- one measurement -------------------------------------------------------------------------------------------------


class Failed(Exception):
    """A contestant did not end well; the message is the exception's first line."""


def run(name: str, source: Path, folder: Path) -> tuple[float, int]:
    """CPU seconds, user and system, and peak memory in bytes of one conversion in a process of its own. Raises Failed."""
    module, argument = CONTESTANTS[name]
    python = str(PEERS_PYTHON) if module == "bench.peers" else sys.executable
    for path in outputs(name, folder):
        path.unlink(missing_ok=True)
    command = [python, "-m", module, argument, str(source), *map(str, outputs(name, folder))]
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=complained, env=environment())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        complained.seek(0)
        if process.returncode:
            text = complained.read()
            error = re.search(r"^[\w.]+(?:Error|Exception|Invalid): .*", text, re.MULTILINE)
            raise Failed(error[0] if error else f"exit code {process.returncode}: {text[-200:]}")
        return usage.ru_utime + usage.ru_stime, int(said.read())


def outputs(name: str, folder: Path) -> tuple[Path, Path]:
    """Where a contestant's accepted and rejected rows go."""
    return folder / f"{name}.accepted", folder / f"{name}.rejected"


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONHASHSEED": "0", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}


def measure(kind: str, size: Size, source: Path, folder: Path) -> list[dict]:
    """All turns of all contestants on one file, as `bench/results.json` keeps them."""
    found: dict[str, dict] = {
        name: {"kind": kind, "rows": size.rows, "bytes": source.stat().st_size, "contestant": name, "cpu": [], "peak": []}
        for name in size.turns
    }
    for turn in range(max(size.turns.values())):
        for name, turns in size.turns.items():
            if turn >= turns:
                continue
            cpu, peak = run(name, source, folder)
            found[name]["cpu"].append(round(cpu, 3))
            found[name]["peak"].append(peak)
            say(f"{size.rows:>9,} rows {kind:<5} turn {turn + 1}  {name:<10} {cpu:7.2f} s CPU {peak / 2**20:7.0f} MiB")
    return list(found.values())


def say(text: str) -> None:
    print(text, flush=True)


# --- what came out ---------------------------------------------------------------------------------------------------

_ID = re.compile(r"T\d{9}").fullmatch


def differences(name: str, folder: Path) -> Counter[str]:
    """How what a contestant wrote differs from what we wrote, by kind. Empty if every row is the same, the rejects too."""
    (our_rows, our_rejects), (their_rows, their_rejects) = outputs("ours", folder), outputs(name, folder)
    if _same_bytes(our_rows, their_rows):
        found: Counter[str] = Counter()
    else:
        found = compare(_rows(our_rows), _rows(their_rows))
    ours, theirs = Counter(_our_reasons(our_rejects)), Counter(_their_reasons(their_rejects))
    found.update({f"rejected by us alone: {reason}": count for reason, count in _by_reason(ours - theirs).items()})
    found.update({f"rejected by it alone: {reason}": count for reason, count in _by_reason(theirs - ours).items()})
    return found


def _same_bytes(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as mine, other.open("rb") as yours:
        while block := mine.read(1 << 20):
            if block != yours.read(1 << 20):
                return False
    return True


def _rows(path: Path) -> Iterator[list[str]]:
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        yield from csv.reader(file)


def compare(ours: Iterator[list[str]], theirs: Iterator[list[str]]) -> Counter[str]:
    """The kinds of differences between two outputs whose rows stand in the order of their ids."""
    found: Counter[str] = Counter()
    columns = next(ours)
    if next(theirs, None) != columns:
        found["another header"] += 1
    mine, yours = next(ours, None), _next(theirs, found)
    while mine is not None or yours is not None:
        if mine == yours:
            mine, yours = next(ours, None), _next(theirs, found)
        elif yours is None or (mine is not None and mine[0] < yours[0]):
            found["a row is missing"] += 1
            mine = next(ours, None)
        elif mine is None or mine[0] > yours[0]:
            found["a row more than ours"] += 1
            yours = _next(theirs, found)
        else:
            differing = [column for column, a, b in zip(columns, mine, yours, strict=False) if a != b]
            found[f"another {' and '.join(differing) or 'number of fields'}"] += 1
            mine, yours = next(ours, None), _next(theirs, found)
    return found


def _next(rows: Iterator[list[str]], found: Counter[str]) -> list[str] | None:
    """The next row that can be compared: with an id."""
    for row in rows:
        if row and _ID(row[0]):
            return row
        found["a row without an id"] += 1
    return None


def _our_reasons(path: Path) -> Iterator[tuple[str, str]]:
    """Id and kind of reason of each rejected row."""
    for line in path.read_bytes().splitlines():
        reject = json.loads(line)
        fields = next(csv.reader([reject.get("row", "").replace("\n", " ")]), [])
        yield (fields[0] if fields else "", _kind(reject["reason"]))


def _their_reasons(path: Path) -> Iterator[tuple[str, str]]:
    if path.exists():
        rows = _rows(path)
        next(rows, None)
        yield from ((row[0], _kind(row[-1])) for row in rows)


def _kind(reason: str) -> str:
    return reason.split(" '", 1)[0].split(' "', 1)[0].removesuffix(" is blank")


def _by_reason(rejects: Mapping[tuple[str, str], int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for (_, reason), count in rejects.items():
        found[reason] += count
    return found


def norm_file(path: Path) -> list[str]:
    """Every case of the norm as a row of its own; the values."""
    with NORM.open(newline="", encoding="utf-8") as norm, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["transaction_id", "customer_id", "amount", "timestamp"])
        cases = list(csv.DictReader(norm))
        for number, case in enumerate(cases):
            value = case["input"]
            canonical = {"amount": "1.00", "timestamp": "2024-01-01T00:00:00Z", case["kind"]: value}
            writer.writerow([f"T{number:09}", "C", canonical["amount"], canonical["timestamp"]])
    return [case["input"] for case in cases]


def norm_outcome(name: str, source: Path, folder: Path, values: Sequence[str]) -> str:
    """Which cases of the norm a contestant converts otherwise, in words."""
    run(name, source, folder)
    ours, theirs = ({row[0]: row[2:] for row in _rows(outputs(each, folder)[0])} for each in ("ours", name))
    other = []
    for number, value in enumerate(values):
        key = f"T{number:09}"
        if ours.get(key) != theirs.get(key):
            said = " ".join(cell for cell in theirs[key] if cell not in ("1.00", "2024-01-01T00:00:00Z")) if key in theirs else ""
            other.append(f"`{value}` {f'becomes `{said}`' if said else 'is rejected'}")
    return "; ".join(other) or "the same"


def outcome(name: str, source: Path, folder: Path) -> str:
    """What becomes of a file, in words."""
    try:
        run(name, source, folder)
    except Failed as failure:
        return f"fails as a whole: {str(failure)[:160]}"
    found = differences(name, folder)
    kinds = "; ".join(f"{count:,} × {kind}" for kind, count in found.most_common(4))
    return f"ends, with {sum(found.values()):,} differences: {kinds}" if found else "the same, row by row"


# --- cold start ------------------------------------------------------------------------------------------------------

IMPORTED = """
import sys, time
start, cpu, before = time.perf_counter(), time.process_time(), len(sys.modules)
{what}
print(time.perf_counter() - start, time.process_time() - cpu, len(sys.modules) - before)
"""


def cold_start(turns: int) -> dict[str, dict]:
    """Seconds, CPU seconds and modules that an import takes in a fresh interpreter; medians.

    ``alone`` is a handler's import after boto3, which is the runtime's: what is ours of it. Ours is unpacked from the zips that
    are deployed, which hold no bytecode, and leaves none behind: each cold start compiles it.
    """
    with tempfile.TemporaryDirectory() as folder:
        for system in sorted({handler.split(".")[1] for handler in HANDLERS}):
            with zipfile.ZipFile(lambda_packaging.package(system, ROOT / "lambdas", Path(folder)).path) as archive:
                archive.extractall(folder)
        return _imports(turns, Path(folder))


def _imports(turns: int, folder: Path) -> dict[str, dict]:
    """``cold_start`` with what is imported in this folder."""
    boto3 = "import boto3, botocore.config, botocore.exceptions"
    programs = {"boto3": IMPORTED.format(what=boto3)}
    for handler in HANDLERS:
        programs[handler] = IMPORTED.format(what=f"import {handler}")
        programs[f"{handler} alone"] = boto3 + IMPORTED.format(what=f"import {handler}")
    programs["the client for S3"] = boto3 + IMPORTED.format(what="boto3.client('s3')")
    times: dict[str, list[tuple[float, ...]]] = {name: [] for name in programs}
    for turn in range(turns + 1):
        for name, program in programs.items():
            said = subprocess.run([sys.executable, "-B", "-c", program], cwd=folder, env=environment(), check=True,
                                  capture_output=True, text=True).stdout
            if turn:
                times[name].append(tuple(map(float, said.split())))
    found = {}
    for name, measured in times.items():
        seconds, cpu, modules = (statistics.median(each) for each in zip(*measured, strict=True))
        found[name] = {"seconds": round(seconds, 4), "cpu": round(cpu, 4), "modules": int(modules)}
        say(f"import {name:<38} {seconds * 1000:6.1f} ms {cpu * 1000:6.1f} ms CPU {int(modules):4} modules")
    return found


# --- all of it -------------------------------------------------------------------------------------------------------


def write(path: Path, pieces: Iterable[bytes]) -> Path:
    with path.open("wb") as file:
        file.writelines(pieces)
    return path


def measured(sizes: tuple[Size, ...], folder: Path) -> dict:
    """Everything this program finds out."""
    versions = subprocess.run(
        [PEERS_PYTHON, "-c", "import pandas, polars, duckdb, pyarrow as a; print(pandas.__version__, polars.__version__,"
         " duckdb.__version__, a.__version__)"], check=True, capture_output=True, text=True).stdout.split()
    found: dict = {
        "when": time.strftime("%Y-%m-%d"), "machine": report.machine(),
        "versions": dict(zip(("pandas", "polars", "duckdb", "pyarrow"), versions, strict=True)),
        "cold_start": cold_start(7), "rows": [], "differences": {},
    }
    for size in sizes:
        for kind in ("clean", "messy"):
            source = write(folder / "source.csv", data.file(kind, size.rows))
            found["rows"] += measure(kind, size, source, folder)
            for name in COMPARED:
                if name in size.turns:
                    differing = differences(name, folder)
                    found["differences"][f"{kind}, {size.rows:,} rows: {name}"] = dict(differing)
                    say(f"{name:<10} {f'differs: {dict(differing)}' if differing else 'the same, row by row'}")
    norm = norm_file(folder / "source.csv")
    run("ours", folder / "source.csv", folder)
    found["norm_cases"] = len(norm)
    found["norm"] = {name: norm_outcome(name, folder / "source.csv", folder, norm) for name in COMPARED}
    source = write(folder / "source.csv", data.file("harsh", 100_000))
    run("ours", source, folder)
    rejected = sum(1 for _ in outputs("ours", folder)[1].open("rb"))
    found["harsh"] = {"ours": f"{100_000:,} records, {rejected:,} lines rejected, each with its reason"}
    for name in COMPARED:
        found["harsh"][name] = outcome(name, source, folder)
        say(f"norm:  {name:<10} {found['norm'][name]}")
        say(f"harsh: {name:<10} {found['harsh'][name]}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.etl", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small files and few turns; prints only")
    quick = parser.parse_args().quick
    if not PEERS_PYTHON.exists():
        print(f"{PEERS_PYTHON.relative_to(ROOT)} is missing. Remedy: make bench", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        found = measured(QUICK if quick else FULL, Path(folder))
    if not quick:
        report.update(found)
    bars = report.bars(found["rows"])
    for bar in bars:
        say(report.as_text(bar))
    return 0 if all(bar.met for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
