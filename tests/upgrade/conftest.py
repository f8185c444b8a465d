"""One upgrade of everything, tried once per session; the tests look at what it did."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from local.deployment import BACKEND_STACK, Deployment, each_of
from local.emulator import Emulator
from local.executions import wait_for
from local.ingestion import REGIONS
from local.terraform import Plan, find_provider
from tests.local.etl.files import large
from tests.local.inventory import inventory
from tests.local.search_engine import SearchEngine
from tests.upgrade import release
from tests.upgrade.traffic import KINDS, PATIENCE_SECONDS, EtlFiles

FILES = 3
"""Of each kind, before the upgrade, half-way when it comes, and after it."""
LARGE_MEGABYTES = 200
"""Three ranges of at least 64 MiB."""
SETTINGS = {"ETL_FAN_OUT_BYTES": str(128 << 20), "ETL_MAX_CONCURRENCY": "1"}
"""Large files are converted in ranges, one after the other, so that an upgrade can come between two of them."""
PACE_SECONDS = 5
"""Between files of one kind while the upgrade goes on."""

_told: list[str] = []


def tell(line: str) -> None:
    """Say something in the summary at the end."""
    _told.append(line)


def pytest_terminal_summary(terminalreporter):
    if _told:
        terminalreporter.section("upgrade and removal")
        for line in _told:
            terminalreporter.write_line(line)


@contextmanager
def timed(what: str):
    start = time.monotonic()
    yield
    tell(f"{what}: {time.monotonic() - start:.0f} s")


@dataclass
class Upgrade:
    """What was tried and what came of it."""

    deployment: Deployment
    empty: dict[str, set[str]]
    """What there was before the first deployment, by region."""
    plans: dict[str, Plan] = field(default_factory=dict)
    """What the upgrade changed in each stack of the earlier release."""
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of the earlier release."""
    traffic: list = field(default_factory=list)
    held: dict[str, list[str]] = field(default_factory=dict)
    """Kind of file → executions that ran when the upgrade began."""
    began: float = 0
    ended: float = 0
    """Of the upgrade, in seconds since the epoch."""


@pytest.fixture(scope="session")
def aws(tmp_path_factory):
    with (
        SearchEngine() as engine,
        Emulator(folder=tmp_path_factory.mktemp("aws"), settings={"OPENSEARCH_URL": engine.url}) as emulator,
    ):
        yield emulator


@pytest.fixture(scope="session")
def upgrade(aws, tmp_path_factory):
    """Deploy the earlier release, send files, upgrade while executions wait half-way and files go on arriving."""
    name = release.chosen()
    try:
        project = release.check_out(name, tmp_path_factory.mktemp("release"))
    except release.NoRelease as error:
        pytest.fail(str(error), pytrace=False)
    deployment = Deployment(aws, find_provider(), settings=SETTINGS, folder=tmp_path_factory.mktemp("stacks"), project=project)
    tried = Upgrade(deployment, {region: inventory(aws, region) for region in REGIONS})
    with timed(f"{name} deployed"):
        deployment.deploy()
    tried.outputs = {stack: dict(outputs) for stack, outputs in deployment.outputs.items()}
    tried.traffic = [kind(aws, tried.outputs) for kind, stack in KINDS.items() if stack in tried.outputs]
    send(tried, "before")
    for each in tried.traffic:
        each.wait()
    hold(aws, tried)
    deployment.project = release.ROOT
    deployment.synthesise()
    tried.began = time.time()
    with sending(tried), timed("upgraded"):
        tried.plans[BACKEND_STACK] = deployment.apply(BACKEND_STACK)  # first, as docs/upgrades.md says
        each_of(deployment.stacks(), lambda stack, _: tried.plans.update({stack: deployment.apply(stack)}), lambda *_: None)
    tried.ended = time.time()
    present = {type(each) for each in tried.traffic}
    tried.traffic += [kind(aws, deployment.outputs) for kind in KINDS if kind not in present]
    send(tried, "after")
    with timed("then the last file at its end"):
        for each in tried.traffic:
            each.wait()
            if each.pipeline:
                each.pipeline.wait_until_idle(PATIENCE_SECONDS)
    return tried


def send(tried: Upgrade, phase: str) -> None:
    for each in tried.traffic:
        for number in range(FILES):
            each.send(f"{phase}-{number}")


def hold(aws, tried: Upgrade) -> None:
    """Let executions wait half-way: their functions may not run until the upgrade takes the reservation of none away."""
    functions = aws.client("lambda")
    files = next(each for each in tried.traffic if isinstance(each, EtlFiles))
    files.send("large", large(LARGE_MEGABYTES))
    wait_for(lambda: parts_written(aws, files.etl, "processed/large.csv"), PATIENCE_SECONDS, lambda: "no part is written")
    for each in tried.traffic:
        if each.function:
            functions.put_function_concurrency(FunctionName=each.function, ReservedConcurrentExecutions=0)
    send(tried, "held")
    for each in tried.traffic:
        if each.pipeline:
            tried.held[type(each).__name__] = [execution["executionArn"] for execution in waiting(each, FILES + (each is files))]


def waiting(kind, count: int) -> list[dict]:
    """So many running executions."""
    def enough() -> list[dict]:
        running = kind.pipeline.executions("RUNNING")
        return running if len(running) >= count else []

    return wait_for(enough, PATIENCE_SECONDS, lambda: f"fewer than {count} executions run")


def parts_written(aws, etl, key: str) -> bool:
    """Whether some of the output's parts have been written."""
    s3 = aws.client("s3")
    uploads = s3.list_multipart_uploads(Bucket=etl.bucket, Prefix=key).get("Uploads", [])
    return any(s3.list_parts(Bucket=etl.bucket, Key=key, UploadId=upload["UploadId"]).get("Parts") for upload in uploads)


@contextmanager
def sending(tried: Upgrade):
    """Files of each kind meanwhile. Raises what sending raised."""
    enough = threading.Event()

    def go_on() -> int:
        count = 0
        while not enough.wait(PACE_SECONDS):
            for each in tried.traffic:
                each.send(f"during-{count}")
            count += 1
        return count

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(go_on)
        try:
            yield
        finally:
            enough.set()
    tell(f"meanwhile {running.result()} files of each kind")


def actions(plan: Plan) -> list[tuple[str, str, list[str]]]:
    """Type, address and actions of every resource that a plan changes."""
    return [(each["type"], each["address"], each["change"]["actions"]) for each in plan.content.get("resource_changes", [])
            if each["mode"] == "managed" and each["change"]["actions"] != ["no-op"]]


def known_changes(stack: str) -> set[str]:
    """Addresses that a second plan may show on the embedded AWS (C4)."""
    listed = json.loads((release.ROOT / "tests" / "local" / "etl" / "known_changes.json").read_text())
    return {each["address"] for each in listed if each["stack"] == stack}
