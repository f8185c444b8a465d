"""What was measured, kept in `bench/results.json` and told in `bench/RESULTS.md`, `docs/performance.svg`, the tables of
`docs/performance.md` and the measured figures of `ops/cost.toml`. What the document says in words is left to a person.

    python -m bench.report        writes all of it once more, from what is kept
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ops import cost

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results.json"
PAGE = ROOT / "bench" / "RESULTS.md"
PLOT = ROOT / "docs" / "performance.svg"
DOCUMENT = ROOT / "docs" / "performance.md"
MIB, GIB = 1 << 20, 1 << 30

NAMES = {
    "ours": "this ETL", "copy": "floor: copy the bytes", "csv.reader": "floor: split with `csv.reader`, no judgement, no output",
    "dictreader": "`csv.DictReader`, `Decimal`, `datetime`", "pandas": "pandas", "pandas-map": "pandas, value by value",
    "polars": "polars", "duckdb": "DuckDB", "pyarrow": "pyarrow",
}

# Times a peer's CPU time a row that ours may take, by kind of file; bytes above the bare interpreter; share.
BARS: Mapping[tuple[str, str], float] = {
    ("pandas", "clean"): 0.25, ("pandas", "messy"): 0.25, ("polars", "clean"): 1.1, ("polars", "messy"): 2.0,
}
MEMORY_BAR = 64 * MIB
MEMORY_LEEWAY = 0.10

Results = dict[str, Any]


def machine() -> dict[str, str | int]:
    """What the measurements were taken on."""
    model = re.search(r"^model name\s*:\s*(.+)$", _text("/proc/cpuinfo"), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB$", _text("/proc/meminfo"), re.MULTILINE)
    return {
        "processor": f"{model[1] if model else platform.processor()}, {platform.machine()}",
        "cores": os.cpu_count() or 1, "memory_gib": round(int(memory[1]) / 2**20) if memory else 0,
        "system": f"{platform.system()} {platform.release().split('-')[0]}", "python": platform.python_version(),
    }


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:  # not on this system
        return ""


# --- figures ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """One contestant on one file: medians above the bare interpreter."""

    contestant: str
    kind: str
    rows: int
    microseconds: float
    """CPU time a row."""
    peak: float
    """Bytes."""
    turns: int


def figures(measured: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """What each contestant took, without the interpreter that stands beside it in the same turns."""
    bare = {(each["kind"], each["rows"]): each for each in measured if each["contestant"] == "nothing"}
    found = []
    for each in measured:
        if each["contestant"] != "nothing":
            nothing = bare[each["kind"], each["rows"]]
            cpu = statistics.median(each["cpu"]) - statistics.median(nothing["cpu"])
            peak = statistics.median(each["peak"]) - statistics.median(nothing["peak"])
            found.append(Figure(each["contestant"], each["kind"], each["rows"], cpu / each["rows"] * 1e6, peak, len(each["cpu"])))
    return found


@dataclass(frozen=True)
class Bar:
    """A bar and what stands against it, both in the same unit."""

    name: str
    measured: float
    at_most: float

    @property
    def met(self) -> bool:
        return self.measured <= self.at_most


def bars(measured: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """Every bar, on every file it is about."""
    found = figures(measured)
    ours = {(each.kind, each.rows): each for each in found if each.contestant == "ours"}
    result = []
    for each in found:
        if at_most := BARS.get((each.contestant, each.kind)):
            mine = ours[each.kind, each.rows]
            result.append(Bar(f"CPU time a row, {each.kind}, {each.rows:,} rows: times {each.contestant}",
                              mine.microseconds / each.microseconds, at_most))
    result += [Bar(f"MiB above the interpreter, {kind}, {rows:,} rows", each.peak / MIB, MEMORY_BAR / MIB)
               for (kind, rows), each in ours.items()]
    for kind in sorted({kind for kind, _ in ours}):
        peaks = [each.peak for (of, _), each in ours.items() if of == kind]
        result.append(Bar(f"largest / smallest peak over the sizes, {kind}", max(peaks) / min(peaks), 1 + MEMORY_LEEWAY))
    return result


def as_text(bar: Bar) -> str:
    return f"{'met   ' if bar.met else 'MISSED'} {bar.name}: {bar.measured:.3g}, at most {bar.at_most:g}"


# --- the page --------------------------------------------------------------------------------------------------------


def update(measured: Results) -> None:
    """Keep what was measured, and tell it. What another program measured before stays."""
    kept = load() if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**kept, **measured}, indent=1) + "\n", encoding="utf-8")
    main()


def load() -> Results:
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def main() -> None:
    results = load()
    PAGE.write_text(page(results), encoding="utf-8")
    PLOT.write_text(plot(results), encoding="utf-8")
    if "rows" in results and "pipeline" in results:
        text = cost.TABLE.read_text(encoding="utf-8")
        for name, value in measured_for_cost(results).items():
            text, count = re.subn(rf"^{name} = (?:\{{[^}}]*\}}|-?[\d.]+)", f"{name} = {value}", text, flags=re.MULTILINE)
            assert count == 1, f"{cost.TABLE} has {count} lines of {name}"
        cost.TABLE.write_text(text, encoding="utf-8")
        document = DOCUMENT.read_text(encoding="utf-8")
        for each in (summary(results), pipeline_table(results["pipeline"]), *_TABLE.findall(cost.page())):
            document = with_table(document, each)
        DOCUMENT.write_text(document, encoding="utf-8")


_TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)


def with_table(document: str, written: str) -> str:
    """The document with this table in place of the one that has its columns."""
    head = "".join(written.splitlines(keepends=True)[:2])
    text, count = re.subn(rf"^{re.escape(head)}(?:\|.*\n)*", lambda _: written, document, flags=re.MULTILINE)
    assert count == 1, f"{DOCUMENT} has {count} tables that begin with {head}"
    return text


def measured_for_cost(results: Results) -> dict[str, str]:
    """What `ops/cost.toml` has under ``[measured]``, as it stands there: of 1,000,000 rows, and of 1 GiB through the pipeline."""
    found = {(each.contestant, each.kind): each for each in figures(results["rows"]) if each.rows == 1_000_000}
    size = {each["kind"]: each["bytes"] for each in results["rows"] if each["rows"] == 1_000_000}
    [gib] = [each for each in results["pipeline"]["files"] if each["kind"] == "clean" and 1 <= each["bytes"] / GIB < 1.5]
    beside = gib["worker_cpu"] - gib["rows"] * found["ours", "clean"].microseconds / 1e6
    return {
        "bytes_per_row": f"{statistics.mean(size.values()) / 1e6:.1f}",
        **{f"{who}_microseconds": f"{{ clean = {found[contestant, 'clean'].microseconds:.2f}, "
                                  f"messy = {found[contestant, 'messy'].microseconds:.2f} }}"
           for who, contestant in (("etl", "ours"), ("polars", "polars"), ("pandas", "pandas"))},
        "pandas_peak_per_byte": f"{found['pandas', 'messy'].peak / size['messy']:.1f}",
        "io_cpu_seconds_per_gib": f"{beside / (gib['bytes'] / GIB):.1f}",
    }


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', '¦') for cell in line)} |\n" for line in lines)


def page(results: Results) -> str:
    """RESULTS.md."""
    sections = [
        "# Results of the benchmarks\n\n"
        "Written by `make bench`; [docs/performance.md](../docs/performance.md) tells what follows.\n",
        *(_rows_section(results) if "rows" in results else ()),
        *(_pipeline_section(results["pipeline"]) if "pipeline" in results else ()),
    ]
    return "\n".join(sections)


def _described(machine: Mapping[str, Any], when: str) -> str:
    return (f"{when}, {machine['processor']}, {machine['cores']} cores shared with other work, {machine['memory_gib']} GiB, "
            f"{machine['system']}, Python {machine['python']}")


def _rows_section(results: Results) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    found = figures(results["rows"])
    introduction = (
        "## What a row costs\n\n"
        f"{_described(results['machine'], results['when'])}; {versions}.\n\n"
        "CPU time is user and system time of the whole process, imports included. Every measurement is a process of its own, the "
        "contestants take turns, medians count, and the bare interpreter is subtracted from time and memory. Everybody does the "
        "same job on one thread: amounts exact, timestamps ISO 8601 UTC, rejected rows with their reason in a second file. "
        "*pandas, value by value* is how pandas is mostly written: columns read and written whole, converted by a function for "
        "each value. Slow peers convert the larger files less often (runs), or not at all.\n"
    )
    sizes = [(rows, kind) for rows in sorted({each.rows for each in found}) for kind in ("clean", "messy")]
    return [
        introduction,
        *(_figures_table(results["rows"], [each for each in found if (each.rows, each.kind) == size]) for size in sizes),
        "### The bars\n\n" + bars_table(results),
        _sameness(results),
        "### A file that is broken as CSV\n\n100,000 messy records, one in 150 of which has a column too few or too many, bare "
        "quotes, a quote that never closes, or bytes that are not UTF-8.\n\n" + _outcomes(results["harsh"], "What becomes of it"),
        _cold_start(results["cold_start"]),
    ]


def bars_table(results: Results) -> str:
    """What was wanted, and what is."""
    rows = [(bar.name, f"{bar.measured:.2f}", f"{bar.at_most:g}", "met" if bar.met else "**missed**")
            for bar in bars(results["rows"])]
    return table(("Bar", "measured", "at most", ""), rows)


def summary(results: Results) -> str:
    """All contestants on all files, for docs/performance.md."""
    found = {(each.contestant, each.kind, each.rows): each for each in figures(results["rows"])}
    sizes = sorted({rows for _, _, rows in found})

    def cells(name: str) -> list[str]:
        times = [found.get((name, kind, rows)) for kind in ("clean", "messy") for rows in sizes]
        peaks = [found.get((name, "messy", rows)) for rows in sizes]
        return [*(f"{each.microseconds:.2f}" if each else "–" for each in times),
                *(f"{each.peak / MIB:,.0f}" if each else "–" for each in peaks)]

    head = ["", *(f"{kind}, {rows / 1e6:g} M rows" for kind in ("clean", "messy") for rows in sizes),
            *(f"MiB, {rows / 1e6:g} M messy rows" for rows in sizes)]
    return table(head, [(NAMES[name], *cells(name)) for name in NAMES])


def _figures_table(measured: Sequence[Mapping[str, Any]], found: Sequence[Figure]) -> str:
    """All contestants on one file, the fastest first."""
    [ours] = [each for each in found if each.contestant == "ours"]
    [size] = {each["bytes"] for each in measured if (each["kind"], each["rows"]) == (ours.kind, ours.rows)}
    head = ("Contestant", "CPU µs a row", "this ETL takes, times that", "peak memory, MiB", "runs")
    return f"### {ours.rows:,} rows, {ours.kind}, {size / 1e6:,.0f} MB\n\n" + table(head, [
        (NAMES[each.contestant], f"{each.microseconds:.2f}", f"{ours.microseconds / each.microseconds:.2f}",
         f"{each.peak / MIB:,.0f}", each.turns)
        for each in sorted(found, key=lambda each: each.microseconds)])


def _sameness(results: Results) -> str:
    differing = [(pair, "; ".join(f"{count:,} × {kind}" for kind, count in kinds.items()))
                 for pair, kinds in results["differences"].items() if kinds]
    return (
        "### Is it the same?\n\nOutputs and rejects of the peers were compared with ours row by row, in "
        f"{len(results['differences'])} pairs of files. "
        + (f"These differ.\n\n{table(('Pair', 'Differences'), differing)}" if differing else "No row differs.\n")
        + f"\nThe norm, `tests/unit/etl/values.csv`, as a file of {results['norm_cases']} rows:\n\n"
        + _outcomes(results["norm"], "Otherwise than ours")
    )


def _outcomes(told: Mapping[str, str], title: str) -> str:
    return table(("Contestant", title), [(NAMES[name], escape(text, quote=False)) for name, text in told.items()])


def _cold_start(start: Mapping[str, Mapping[str, Any]]) -> str:
    handlers = [name for name in start if f"{name} alone" in start]
    rows: list[Sequence[object]] = [("`boto3`, the runtime's own", _ms(start["boto3"]), start["boto3"]["modules"], "", "")]
    for name in handlers:
        each, alone = start[name], start[f"{name} alone"]
        rows.append((f"`{name}`", _ms(each), each["modules"], _ms(alone), alone["modules"]))
    return (
        "## Cold start\n\nCPU time of imports in a fresh interpreter, medians of 7, with our code as it is deployed: a "
        "zip without bytecode, which each cold start compiles. *Ours* is what a handler's import takes once boto3 is there.\n\n"
        + table(("Import", "CPU ms", "modules", "ours, CPU ms", "ours, modules"), rows)
        + f"\nThe first client for S3, which the first invocation makes, takes {_ms(start['the client for S3'])} CPU ms more: "
        "botocore reads the description of the service.\n"
    )


def _ms(each: Mapping[str, float]) -> str:
    return f"{each['cpu'] * 1000:.0f}"


def pipeline_table(pipeline: Results) -> str:
    """Files through the whole pipeline."""
    head = ("File", "kind", "rows", "s", "workers' CPU s", "embedded AWS's CPU s", "largest worker, MiB", "executions",
            "states entered")
    rows = [
        (_bytes(each["bytes"]), each["kind"], f"{each['rows']:,}", f"{each['seconds']:.1f}", f"{each['worker_cpu']:.1f}",
         f"{each['other_cpu']:.1f}", f"{each['peak'] / MIB:.0f}", each["executions"], each["transitions"])
        for each in pipeline["files"]
    ]
    return table(head, rows)


def _pipeline_section(pipeline: Results) -> list[str]:
    return [
        "## Through the whole pipeline\n\n"
        f"{_described(pipeline['machine'], pipeline['when'])}. The deployed stack on the embedded AWS, IAM enforced: from the "
        "end of the upload to the record's `SUCCEEDED`, once for each file. The embedded AWS shares the cores with its workers "
        "and holds every object in memory, so that the time says little about AWS; memory and counts hold there, too. A worker's "
        "memory includes the interpreter, boto3 and the frame that the embedded AWS runs it in; workers serve several ranges, "
        "one after the other.\n\n" + pipeline_table(pipeline)]


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


# --- the plot --------------------------------------------------------------------------------------------------------

_STYLE = """
    .performance { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
    .performance .page { fill: #ffffff; }
    .performance text { fill: #1f2328; }
    .performance .title { font-weight: 600; }
    .performance .quiet { fill: #59636e; }
    .performance .bar { fill: #b6bfca; }
    .performance .ours { fill: #0969da; }
    .performance .floor { fill: none; stroke: #8c959f; stroke-dasharray: 4 3; }
    @media (prefers-color-scheme: dark) {
      .performance .page { fill: #0d1117; }
      .performance text { fill: #e6edf3; }
      .performance .quiet { fill: #9198a1; }
      .performance .bar { fill: #4d5661; }
      .performance .ours { fill: #4493f8; }
    }
"""


def plot(results: Results) -> str:
    """CPU time a row and peak memory, on the smallest size, which everybody converted: bars, side by side."""
    found = figures(results["rows"])
    rows = min(each.rows for each in found)
    times = {kind: [(each.contestant, each.microseconds, f"{each.microseconds:.2f}") for each in _of(found, kind, rows)]
             for kind in ("clean", "messy")}
    panels = [(f"CPU µs a row, {kind}", lines) for kind, lines in times.items()]
    panels.append((f"peak memory, MiB, {rows:,} messy rows", [
        (each.contestant, each.peak / MIB, f"{each.peak / MIB:,.0f}") for each in _of(found, "messy", rows)]))
    line, left, wide, gap = 24, 130, 250, 60
    height = 60 + line * max(len(bars) for _, bars in panels) + 20
    width = left + len(panels) * (wide + gap)
    drawn = []
    for number, (title, lines) in enumerate(panels):
        x = left + number * (wide + gap)
        largest = max(value for _, value, _ in lines)
        drawn.append(f'<text class="title" x="{x}" y="34">{escape(title)}</text>')
        for index, (name, value, shown) in enumerate(lines):
            y = 52 + index * line
            length = max(2, value / largest * wide)
            kind = "ours" if name == "ours" else "floor" if name in ("copy", "csv.reader") else "bar"
            if number == 0:
                drawn.append(f'<text class="quiet" x="{x - 8}" y="{y + 13}" text-anchor="end">{escape(_SHORT[name])}</text>')
            drawn.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{length:.1f}" height="{line - 7}" rx="2"/>')
            drawn.append(f'<text x="{x + length + 6:.1f}" y="{y + 13}">{escape(shown)}</text>')
    said = "; ".join(
        f"{title}: {', '.join(f'{_SHORT[name]} {shown}' for name, _, shown in lines)}" for title, lines in panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="performance" viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="performance-title performance-desc">\n'
        f'  <title id="performance-title">What a row costs</title>\n  <desc id="performance-desc">{escape(said)}</desc>\n'
        f"  <style>{_STYLE}  </style>\n"
        f'  <rect class="page" width="{width}" height="{height}"/>\n'
        + "".join(f"  {each}\n" for each in drawn) + "</svg>\n"
    )


_SHORT = {"ours": "this ETL", "copy": "copy", "csv.reader": "csv.reader", "dictreader": "DictReader", "pandas": "pandas",
          "pandas-map": "pandas, by value", "polars": "polars", "duckdb": "DuckDB", "pyarrow": "pyarrow"}


def _of(found: Sequence[Figure], kind: str, rows: int) -> list[Figure]:
    """In one order for all panels: that of the names."""
    of = [each for each in found if (each.kind, each.rows) == (kind, rows)]
    return sorted(of, key=lambda each: list(_SHORT).index(each.contestant))


if __name__ == "__main__":
    main()
