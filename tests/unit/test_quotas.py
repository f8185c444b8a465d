"""The arithmetic of docs/reliability.md, "Quotas", done again from the state machines, the retries and the settings (C13, C14).

The quotas themselves are AWS's, and stand here as they stand there.
"""

import itertools
import json
import re
from pathlib import Path

import pytest

from lambdas.common import aws
from ops import cost
from settings import PetSettings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("\n## Quotas: the first limit of each system\n")[2].partition("\n## ")[0]
STATES = {
    name: json.loads((ROOT / "workflows" / f"{name}.asl.json").read_text(encoding="utf-8"))["States"]
    for name in ("etl", "metadata", "pet_detector")
}
# The states that a small, valid file goes through.
PATHS = {
    "etl": ["RecordProcessing", "Validate", "IsValid", "Transform", "IsConverted", "RecordOutcome"],
    "metadata": ["CheckSize", "Fetch", "Index"],
    "pet_detector": ["IsFolder", "Analyse", "IsAnalysed", "Classify", "File", "Record", "IsUncertain", "Done"],
}
SECONDS = cost.load().assumed["billed_seconds_per_invocation"]

FRESH, DEFAULT = 10, 1000  # concurrent executions of Lambda
TRANSITIONS, TRANSITIONS_BUCKET = 1500, 5000
STARTS, STARTS_BUCKET = 300, 1300
PARTITION_WRITES = 1000
S3_WRITES = 3500
DETECT_LABELS = 50
EVENT_SECONDS = 6 * 3600


def invocations(system: str) -> int:
    """Of functions, for one file: the machine's, and the one that claims or promises an upload."""
    from_machine = sum("lambda:invoke" in STATES[system][state].get("Resource", "") for state in PATHS[system])
    return from_machine + (system in ("etl", "pet_detector"))


def rate(system: str, concurrency: int) -> float:
    """Files a second that so many executions at once are enough for."""
    return concurrency / (invocations(system) * SECONDS)


def patience(system: str, state: str, error: str) -> float:
    """Seconds that the retries of an error last on average: full jitter halves each pause."""
    [retrier] = [each for each in STATES[system][state]["Retry"] if error in each["ErrorEquals"]]
    assert retrier["JitterStrategy"] == "FULL"
    pauses = [retrier["IntervalSeconds"] * retrier["BackoffRate"] ** attempt for attempt in range(retrier["MaxAttempts"])]
    return sum(min(pause, retrier["MaxDelaySeconds"]) for pause in pauses) / 2


THROTTLED = "Lambda.TooManyRequestsException"


def row(*words: str) -> list[str]:
    """The cells of the table's row whose first two cells hold these words."""
    found = [line for line in SECTION.splitlines() if line.startswith("| ") and all(
        word in cell for word, cell in zip(words, line.split("|")[1:3], strict=True))]
    assert len(found) == 1, (words, found)
    return [cell.strip() for cell in found[0].strip("|").split("|")]


def number(text: str) -> float:
    """The first number of a cell."""
    return float(re.search(r"[\d,]+(?:\.\d+)?", text)[0].replace(",", ""))


def test_paths_are_ways_through_the_machines():
    for system, path in PATHS.items():
        for state, following in itertools.pairwise(path):
            each = STATES[system][state]
            assert following in (each.get("Next"), each.get("Default"), *(way["Next"] for way in each.get("Choices", ())))
        assert STATES[system][path[-1]].get("End") or STATES[system][path[-1]]["Type"] == "Succeed"


@pytest.mark.parametrize("system, shown, state", [("etl", "ETL", "Validate"), ("metadata", "Metadata", "Index"),
                                                  ("pet_detector", "Pets", "Analyse")])
def test_fresh_accounts(system, shown, state):
    """E6: how much ten executions at once can do, and what burst the retries outlast."""
    _, limit, sustained, burst, *_ = row(f"{shown}, fresh account", "Lambda concurrency")
    assert f"{invocations(system)} invocation" in limit
    assert number(sustained) == round(rate(system, FRESH))
    assert number(burst) == pytest.approx(rate(system, FRESH) * patience(system, state, THROTTLED), rel=0.02)


def test_etl():
    """E2, E8b: state transitions come first, then starts, the index, Lambda."""
    _, limit, sustained, burst, *_ = row("ETL ", "state transitions")
    assert f"{len(PATHS['etl'])} a file" in limit
    assert number(sustained) == TRANSITIONS / len(PATHS["etl"]) < STARTS < PARTITION_WRITES / 2 < rate("etl", DEFAULT)
    assert number(burst) == TRANSITIONS_BUCKET // len(PATHS["etl"])
    for words in (f"at {STARTS} files/s", f"`status-index` at {PARTITION_WRITES // 2}", f"Lambda at {rate('etl', DEFAULT):,.0f}",
                  f"{S3_WRITES // 2:,} files/s"):
        assert words in SECTION


def test_claims_in_a_lasting_backlog():
    """E3a: as many claims at once as Lambda allows, each asking as often as the client does, share 300 starts a second."""
    attempts = 5
    assert aws.client.__wrapped__.__defaults__[0] == attempts

    def lost(concurrency: int) -> float:
        """Share of claims that fail in all three of Lambda's attempts, by bisection of the share of requests refused."""
        low, high = 0.0, 1.0
        for _ in range(60):
            refused = (low + high) / 2
            # Botocore's standard mode pauses for a random part of 1, 2, 4, … seconds.
            lasts = SECONDS + sum(2**again / 2 * refused ** (again + 1) for again in range(attempts - 1))
            granted = concurrency / lasts * (1 - refused**attempts)
            low, high = (refused, high) if granted > STARTS else (low, refused)
        return low ** (3 * attempts)

    assert f"about {lost(DEFAULT):.1%} end".replace("%", " %") in SECTION
    assert "`etl_validation_reserved_concurrency=100`" in SECTION and lost(100) < 1e-6


def test_metadata():
    """M2."""
    _, _, sustained, burst, *_ = row("Metadata ", "StartExecution")
    assert number(sustained) == STARTS < TRANSITIONS / len(PATHS["metadata"])
    assert number(burst) == STARTS_BUCKET
    assert f"Metadata: {TRANSITIONS // len(PATHS['metadata'])} by state transitions" in SECTION
    assert f"for {patience('metadata', 'Index', 'IndexThrottled') / 60:.0f} minutes on average" in SECTION


def test_pets():
    """P1a, P3."""
    settings = PetSettings()
    *_, sustained, burst, _, moved_by = row("Pets, API", "usage plan")
    assert sustained == f"{settings.pet_requests_per_second} requests/s; {settings.pet_requests_per_day / 86400:.1f}/s all day"
    assert number(burst) == settings.pet_burst
    assert all(f"`{name}`" in moved_by for name in ("pet_requests_per_second", "pet_burst", "pet_requests_per_day"))
    assert f"the stage's own throttle ({50 * settings.pet_requests_per_second:,}/s)" in SECTION
    *_, sustained, burst, _, _ = row("Pets, S3", "Rekognition")
    assert number(sustained) == DETECT_LABELS < TRANSITIONS // len(PATHS["pet_detector"])
    assert number(burst) == pytest.approx(DETECT_LABELS * patience("pet_detector", "Analyse", "RekognitionThrottled"), rel=0.02)
    assert f"Pets: {TRANSITIONS // len(PATHS['pet_detector'])} by state transitions" in SECTION


def test_ingestion():
    """R2, R4: one invocation a file; Lambda keeps an event for six hours."""
    _, _, sustained, burst, *_ = row("Ingestion, fresh account", "Lambda concurrency")
    assert number(sustained) == round(FRESH / SECONDS)
    assert number(burst) == FRESH / SECONDS * EVENT_SECONDS
    _, _, sustained, *_ = row("Ingestion ", "status-index")
    assert number(sustained) == PARTITION_WRITES
