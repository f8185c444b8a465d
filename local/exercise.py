"""Sends every file of samples/ through the deployed systems and holds what became of each against its expected.toml.

A system is a subclass of System in a module of its own (`etl_exercise.py`), with a folder of samples (`samples/etl/`) and a
section of the report (`etl_section.html.j2`); `systems.py` lists them.
"""

from __future__ import annotations

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from rich.table import Table

from local.emulator import ROOT, Emulator
from local.executions import Execution

SAMPLES = ROOT / "samples"
EXPECTED = "expected.toml"

Outputs = Mapping[str, str]
"""Outputs of a system's stack."""


class SamplesError(Exception):
    """samples/ is not as it should be; the message says which file and what to do."""


@dataclass(frozen=True)
class Sample:
    """A file and what must become of it (the keys of expected.toml)."""

    file_name: str
    body: bytes
    expected: dict


@dataclass(frozen=True)
class Outcome:
    """What became of one sample; each system's has more."""

    sample: Sample
    execution: Execution | None
    faults: tuple[str, ...]
    """What is not as expected.toml says; empty if all is well."""


Found = TypeVar("Found", bound=Outcome)


class System(ABC, Generic[Found]):
    """One system of the project, as the local run shows it."""

    name: str
    """Of its folder in samples/, and of its section of the report."""
    stack: str
    """Which one deploys it."""
    title: str
    architecture: Path
    """Its picture, an SVG."""

    def samples(self) -> list[Sample]:
        """Raises SamplesError."""
        return read_samples(SAMPLES / self.name)

    @abstractmethod
    def exercise(
        self, aws: Emulator, outputs: Outputs, samples: Sequence[Sample], progress: Callable[[int], None] = lambda done: None
    ) -> list[Found]:
        """Upload all samples at once, wait until each has come to an end, and look at what became of it.

        `progress` is told how many have ended. A sample that never ends is an outcome with a fault.
        """

    @abstractmethod
    def table(self, outcomes: Sequence[Found]) -> Table:
        """What became of each file, for the terminal."""

    @abstractmethod
    def facts(self, outcomes: Sequence[Found]) -> dict[str, Any]:
        """What its section of the report shows, besides the outcomes."""

    @abstractmethod
    def hint(self, outputs: Outputs) -> str:
        """Commands to try on a running environment, a line each."""


@dataclass(frozen=True)
class Result:
    """What became of a system's samples."""

    system: System
    outcomes: Sequence[Outcome]

    @property
    def faulty(self) -> list[tuple[int, Outcome]]:
        """Outcomes that are not as they must be, each with its number from 1 on."""
        return [(number, outcome) for number, outcome in enumerate(self.outcomes, 1) if outcome.faults]


def read_samples(folder: Path) -> list[Sample]:
    """Every sample with its expectation, in the order of expected.toml. Raises SamplesError if files and list differ."""
    expected = tomllib.loads((folder / EXPECTED).read_text(encoding="utf-8"))
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != EXPECTED}
    if files != set(expected):
        only = [f"{name!r} is not in {EXPECTED}" for name in sorted(files - set(expected))]
        only += [f"{name!r} is in {EXPECTED} but not there" for name in sorted(set(expected) - files)]
        raise SamplesError(f"{folder.name}/: " + "; ".join(only) + f". Remedy: add or remove entries of {EXPECTED}")
    return [Sample(name, (folder / name).read_bytes(), expectation) for name, expectation in expected.items()]


def exercise(
    systems: Mapping[System, Sequence[Sample]],
    aws: Emulator,
    outputs: Mapping[str, Outputs],
    progress: Callable[[int, int], None],
) -> list[Result]:
    """Exercise all systems side by side with their samples; `outputs` are those of every stack. `progress` is told how many of
    how many samples have ended.
    """
    ended = dict.fromkeys(systems, 0)
    total = sum(map(len, systems.values()))

    def run(system: System, samples: Sequence[Sample]) -> Result:
        def told(done: int) -> None:
            ended[system] = done
            progress(sum(ended.values()), total)

        return Result(system, system.exercise(aws, outputs[system.stack], samples, told))

    threads = ThreadPoolExecutor(len(systems))
    try:
        return list(threads.map(run, systems, systems.values()))
    finally:
        threads.shutdown(wait=False)  # after an interruption nobody waits for the others
