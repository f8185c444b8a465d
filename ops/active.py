"""Which region is active: a parameter in each region, ``{"region": "us-east-1", "epoch": 1}``. The higher epoch counts (R8).

An epoch names its region: odd ones belong to the first, even ones to the second. So two operators who switch different ways at
the same time never write the same epoch, and every reader of both parameters believes the same one.

Systems Manager has no conditional write, so a slow operator can overwrite a higher epoch. Hence ``write`` looks into the
parameter's history after it has written, and puts the highest epoch back that it finds there. Epochs never fall: at the end, each
parameter holds the highest epoch that was ever written to it (docs/decisions/0030).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ops.regions import NoAnswer, OpsError, Refused, Region, other, plain
from settings import INGESTION_REGIONS

LEAP = 100
"""How far ahead an epoch is that is written while the other region is silent: that one may hold a higher one, written by a switch
that did not get through to here."""

_ATTEMPTS = 10


class Undecided(OpsError):
    """The parameters do not say which region is active."""


@dataclass(frozen=True)
class Active:
    """What a parameter says."""

    region: str
    epoch: int

    def __str__(self) -> str:
        return f"{self.region}, epoch {self.epoch}"

    @property
    def text(self) -> str:
        return json.dumps({"region": self.region, "epoch": self.epoch})


@dataclass(frozen=True)
class Reading:
    """A region's parameter: its value, or in words why there is none. ``highest`` is the highest epoch of its history."""

    value: Active | None = None
    why: str = ""
    silent: bool = False  # the region did not answer: there may be a value
    highest: Active | None = None


def parse(text: str) -> Active:
    """Raises ValueError that says what is wrong with it."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")
    region, epoch = found.get("region"), found.get("epoch")
    if region not in INGESTION_REGIONS:
        raise ValueError(f"region must be {' or '.join(INGESTION_REGIONS)}, not {plain(json.dumps(region))}")
    if type(epoch) is not int or epoch < 1:
        raise ValueError(f"epoch must be a whole number from 1 on, not {plain(json.dumps(epoch))}")
    return Active(region, epoch)


def _nonsense(region: Region, text: str, error: ValueError) -> str:
    return f"{region.names.parameter} in {region.name} holds nonsense, {plain(text)!r}: {error}"


def read(region: Region) -> Reading:
    """The parameter of one region as producers read it. A refusal counts as silence: an outage has many faces."""
    try:
        text = region.ask("ssm", "get_parameter", Name=region.names.parameter)["Parameter"]["Value"]
    except NoAnswer as error:
        return Reading(why=f"unknown: {error}", silent=True)
    except Refused as error:
        if error.not_there:
            return Reading(why=f"{region.names.parameter} does not exist in {region.name}")
        return Reading(why=f"unknown: {error}", silent=True)
    try:
        return Reading(parse(text))
    except ValueError as error:
        return Reading(why=_nonsense(region, text, error))


def examine(region: Region) -> Reading:
    """The parameter of one region with its history, as operators read it."""
    now = read(region)
    if now.silent:
        return now
    try:
        highest = max((value for _, value in _history(region)), key=lambda value: value.epoch, default=None)
    except (NoAnswer, Refused) as error:
        return Reading(why=f"unknown: {error}", silent=True)
    return Reading(now.value, now.why, highest=highest)


def _history(region: Region) -> list[tuple[int, Active]]:
    """Version and value of what the parameter ever held; Systems Manager keeps the latest hundred. Nonsense is left out."""
    found: list[tuple[int, Active]] = []
    token: dict[str, str] = {}
    while True:
        try:
            page = region.ask("ssm", "get_parameter_history", Name=region.names.parameter, MaxResults=50, **token)
        except Refused as error:
            if error.not_there:
                return []
            raise
        for each in page["Parameters"]:
            try:
                found.append((each["Version"], parse(each["Value"])))
            except ValueError:
                continue  # `read` names it if it is what counts now
        if not page.get("NextToken"):
            return found
        token = {"NextToken": page["NextToken"]}


def read_all(regions: Mapping[str, Region], how: Callable[[Region], Reading] = read) -> dict[str, Reading]:
    """Both parameters, asked for at the same time."""
    with ThreadPoolExecutor(len(regions)) as pool:
        return dict(zip(regions, pool.map(how, regions.values()), strict=True))


def believed(readings: Iterable[Reading]) -> Active:
    """The value with the higher epoch. Raises Undecided if there is none, or a tie between different regions."""
    readings = list(readings)
    values = {reading.value for reading in readings if reading.value}
    if not values:
        raise Undecided("No region says which one is active:\n" + "\n".join(f"  {reading.why}" for reading in readings))
    highest = max(value.epoch for value in values)
    best = [value for value in values if value.epoch == highest]
    if len(best) > 1:
        raise Undecided(
            f"The parameters contradict each other: epoch {highest} names {' and '.join(sorted(each.region for each in best))}. "
            "No command of ours writes that.\nRemedy: python -m ops failover --to REGION, which writes a higher epoch."
        )
    return best[0]


def next_epoch(region: str, seen: int, *, blind: bool = False) -> int:
    """The lowest epoch above ``seen`` that belongs to ``region``; ``blind`` leaps, as the other region may hold a higher one."""
    above = seen + (LEAP if blind else 1)
    return above if above % len(INGESTION_REGIONS) == (INGESTION_REGIONS.index(region) + 1) % 2 else above + 1


def plan(to: str, readings: Mapping[str, Reading]) -> Active:
    """The value that a switch to ``to`` writes: a new one, or that of a switch which was left half done."""
    seen = [value for reading in readings.values() for value in (reading.value, reading.highest) if value]
    blind = any(reading.silent for reading in readings.values())
    highest = max((value.epoch for value in seen), default=0)
    if not blind and {value.region for value in seen if value.epoch == highest} == {to}:
        return Active(to, highest)
    return Active(to, next_epoch(to, highest, blind=blind))


class Overtaken(OpsError):
    """Another operator has switched meanwhile, with a higher epoch, which stands."""

    def __init__(self, theirs: Active, where: str) -> None:
        self.theirs = theirs
        super().__init__(f"Another switch was made meanwhile, and it stands: {theirs} (seen in {where}).\n"
                         "Remedy: talk to each other; then python -m ops failover --status.")


def write(region: Region, value: Active) -> None:
    """Have the parameter hold ``value``, unless a higher epoch comes to light: that is put back, and Overtaken raised."""
    wanted = value
    for _ in range(_ATTEMPTS):
        version = region.ask(
            "ssm", "put_parameter", Name=region.names.parameter, Value=value.text, Type="String", Overwrite=True
        )["Version"]
        history = _history(region)
        if version not in {number for number, _ in history}:
            continue  # the history is behind: write and look again
        highest = max((found for _, found in history), key=lambda found: found.epoch)
        if highest.epoch <= value.epoch:
            break
        value = highest
    else:
        raise OpsError(f"{region.names.parameter} in {region.name} does not come to rest: others keep writing it.\n"
                       "Remedy: python -m ops failover --status, until it does.")
    if value != wanted:
        raise Overtaken(value, region.name)


def holds(reading: Reading, value: Active) -> bool:
    """Nothing needs to be written there."""
    return reading.value == value and (reading.highest is None or reading.highest.epoch <= value.epoch)


def switch(
    value: Active, regions: Mapping[str, Region], readings: Mapping[str, Reading], told: Callable[[str, str], None]
) -> None:
    """Write ``value`` to its own region first, then to the other, whose silence is tolerated.

    ``told`` hears, with a region, what is the case there: ``written``, ``already``, or why it could not be written. Raises
    Overtaken, and what the first write raises.
    """
    for name in (value.region, other(value.region)):
        if holds(readings[name], value):
            told(name, "already")
            continue
        try:
            write(regions[name], value)
        except (NoAnswer, Refused) as error:
            if name == value.region:
                raise
            told(name, str(error))
        else:
            told(name, "written")
