"""What became of every sample, as one HTML file that needs neither network nor JavaScript.

    write_report(Path(".local/report.html"), results, RunFacts(when, phases, versions, "local", deployment.outputs))

The page is `report.html.j2`; every system has a section in a template of its own, made of `report_parts.html.j2`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from local.executions import Execution, StateRun
from local.exercise import Result

# How a status looks: a class of the style sheet and a sign, so that colour alone says nothing.
_LOOKS = {
    "SUCCEEDED": ("good", "✓"),
    "INVALID": ("warn", "!"),
    "PROCESSING": ("busy", "…"),
    "NO RECORD": ("none", "?"),
    "indexed": ("good", "✓"),
    "failed": ("warn", "!"),
    "ignored": ("none", "–"),
    "completed": ("good", "✓"),
    "uncertain": ("warn", "!"),
    "processing": ("busy", "…"),
    "stored": ("good", "✓"),
    "some invalid": ("warn", "!"),
    "unreadable": ("warn", "!"),
}
_OTHERS_LOOK = ("bad", "✕")
# Controls save tab and line ends, directional marks, lone surrogates.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


@dataclass(frozen=True)
class RunFacts:
    """When, where and with what the samples were run."""

    when: datetime
    phases: Mapping[str, float]
    """Seconds of each phase, in order: `{"deploy": 41.2, "samples": 9.8}`."""
    versions: Mapping[str, str]
    """Of what took part: `{"Terraform": "1.9.8", "Python": "3.13.1"}`."""
    suffix: str
    """The environment suffix."""
    outputs: Mapping[str, Mapping[str, str]]
    """Outputs of each stack, as Deployment.outputs."""


@dataclass(frozen=True)
class Bar:
    """Where a state lies on the time axis of its execution, in percent."""

    left: float
    width: float


def write_report(path: Path, results: Sequence[Result], facts: RunFacts) -> None:
    """Write the report, and the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(results, facts), encoding="utf-8")


def render(results: Sequence[Result], facts: RunFacts) -> str:
    """The report as text. File names, reasons, notices and documents are whatever somebody uploaded: everything is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({each.__name__: each for each in (duration, thousands, look, share)})
    environment.globals.update(axis=axis, timeline=timeline)
    sections = [
        environment.get_template(f"{result.system.name}_section.html.j2").render(
            system=result.system,
            outcomes=result.outcomes,
            architecture=Markup(result.system.architecture.read_text(encoding="utf-8")),  # ours: not escaped
            **result.system.facts(result.outcomes),
        )
        for result in results
    ]
    return environment.get_template("report.html.j2").render(
        results=results,
        facts=facts,
        headline=headline(results),
        sections=[Markup(section) for section in sections],  # escaped where they were made
    )


def visible(value: object) -> object:
    """Text with the characters written out that would hide or reorder what stands around them (or, alone, have no UTF-8)."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", value)


def headline(results: Sequence[Result]) -> str:
    """Whether all is well, in one sentence."""
    count = sum(len(result.outcomes) for result in results)
    faulty = sum(len(result.faulty) for result in results)
    files = "1 file" if count == 1 else f"{count} files"
    if not count:
        return "No file was sent"
    if faulty:
        return f"{faulty} of {files} did not end as expected"
    return "The file ended as expected" if count == 1 else f"All {files} ended as expected"


def duration(seconds: float, digits: int = 2) -> str:
    """Seconds for people: `0.04 s`, `1 min 05 s`, `1 h 02 min`."""
    seconds = max(seconds, 0.0)
    if round(seconds, digits) < 60:
        return f"{seconds:.{digits}f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def thousands(number: int | None) -> str:
    """A number with its thousands marked; a dash if there is none."""
    return "–" if number is None else f"{number:,}"


def look(name: str) -> tuple[str, str]:
    """Class and sign of what became of a file or an execution."""
    return _LOOKS.get(name, _OTHERS_LOOK)


def share(part: float, whole: float) -> float:
    """Percent, within 0 and 100 whatever clocks say."""
    return min(max(100 * part / whole, 0.0), 100.0) if whole > 0 else 0.0


def axis(execution: Execution) -> float:
    """Length of an execution's time axis in seconds: all of its states fit."""
    ends = [(state.entered - execution.started).total_seconds() + state.seconds for state in execution.states]
    return max([execution.seconds, *ends])


def timeline(execution: Execution) -> list[tuple[StateRun, Bar]]:
    """The states in order, each with its bar in proportion to its duration."""
    whole = axis(execution)
    rows = []
    for state in execution.states:
        left = share((state.entered - execution.started).total_seconds(), whole)
        rows.append((state, Bar(left, min(share(state.seconds, whole), 100 - left))))
    return rows
