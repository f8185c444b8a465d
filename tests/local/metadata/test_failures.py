"""Every failure leaves exactly one item in the table, whatever failed (M6), and nothing in the index."""

import json
import re
from contextlib import ExitStack

import pytest

from local.executions import Pipeline

ATTRIBUTES = {"execution_id", "failed_at", "input", "error", "cause", "object_key"}
LIMIT = 100 * 1024

BAD = {  # body, words of the cause
    "array": (b'[{"a": 1}]', "an array"),
    "number": (b"7", "a number"),
    "text": (b'"metadata"', "a text"),
    "truncated": (b'{"a": {"b": 1', "ends in the middle"),
    "binary": (b'{"a": "\x89PNG\xff\xfe"}', "not UTF-8"),
    "empty": (b"", "empty"),
    "large": (b'{"a": "' + b"x" * LIMIT + b'"}', f"the limit is {LIMIT}"),
    "bom": (b'\xef\xbb\xbf{"a": 1}', "byte-order mark"),
    "duplicate-keys": (b'{"a": 1, "b": {"c": 1, "c": 2}}', '"c" stands twice'),
    "lone-surrogate": (rb'{"a": "\ud800"}', "surrogate"),
    "nan": (b'{"a": NaN}', "NaN"),
    "deep": (b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "nested deeper"),
    "trailing": (b'{"a": 1} {"b": 2}', "follows after the end"),
}


@pytest.fixture(scope="module")
def roles(metadata):
    """Names of the roles; each is called as what it belongs to."""
    machine = metadata.machine_arn.rsplit(":", 1)[1]
    return {each: machine.replace("pipeline", each) for each in ("pipeline", "recovery", "indexing")}


@pytest.fixture(scope="module")
def recovery(aws, metadata):
    """The machine that records what no catch of the pipeline sees."""
    return Pipeline(aws, metadata.machine_arn.replace("metadata-pipeline", "metadata-recovery"))


def recorded(aws, metadata, key: str, version: str | None = None, status: str = "FAILED") -> dict:
    """The one item of a failed key, after everything about it has been looked at."""
    [item] = metadata.failures_of(key, version)
    execution = aws.client("stepfunctions").describe_execution(executionArn=item["execution_id"])
    assert execution["status"] == status
    assert set(item) == ATTRIBUTES and item["object_key"] == key
    assert json.loads(item["input"]) == json.loads(execution["input"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", item["failed_at"])
    assert item["error"] and item["cause"]
    if status == "FAILED":
        assert (item["error"], item["cause"]) == (execution["error"], execution["cause"])
    assert metadata.documents(key, version) == []
    return item


def fail(aws, metadata, key: str, body: bytes = b"[]", status: str = "FAILED") -> dict:
    """Upload what cannot be stored, wait for its end, and give its item."""
    version = metadata.upload(key, body)
    metadata.wait(key, version)
    metadata.wait_until_idle()
    return recorded(aws, metadata, key, version, status)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bad(metadata):
    """Versions of the files that are not what they must be, all uploaded at once and at their end."""
    versions = {kind: (f"bad/{kind}/metadata.json", metadata.upload(f"bad/{kind}/metadata.json", body))
                for kind, (body, _) in BAD.items()}
    metadata.wait_for_all(versions.values())
    metadata.wait_until_idle()
    return versions


@pytest.mark.parametrize("kind", BAD)
def test_files_that_are_not_what_they_must_be(aws, metadata, bad, kind):
    """M6, M3a: InvalidMetadata, with a reason a person can act on."""
    item = recorded(aws, metadata, *bad[kind])
    assert item["error"] == "InvalidMetadata" and BAD[kind][1] in item["cause"]
    attempts = [run for run in metadata.execution(item["execution_id"]).states if run.name == "Index"]
    assert len(attempts) == (kind != "large")  # which is not even fetched


def test_exactly_the_limit_is_not_above_it(metadata):
    """M3a: 100 KiB are stored."""
    body = b'{"a": "' + b"x" * (LIMIT - 9) + b'"}'
    version = metadata.upload("limit/metadata.json", body)
    assert len(body) == LIMIT and metadata.wait("limit/metadata.json", version).document["a"] == "x" * (LIMIT - 9)


def test_a_state_that_holds_too_much(aws, metadata):
    """M6: control characters take six bytes each when escaped: States.DataLimitExceeded, which no catch sees."""
    item = fail(aws, metadata, "escaped/metadata.json", b"\x01" * 90 * 1024)
    assert item["error"] == "States.DataLimitExceeded"


# --- events ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [{"size": 10, "version-id": "0" * 32}, {"size": 10}, {"version-id": "0" * 32}, {}],
                         ids=["no such version", "without version", "without size", "without both"])
def test_forged_events(aws, metadata, send, make, told):
    """M6: an event of an object that never was, or that tells too little."""
    key = f"forged/{'-'.join(told)}/metadata.json"
    send("s3", "Object Created", {"bucket": {"name": metadata.bucket}, "object": {"key": key, **told}})
    make.poll(lambda: metadata.failures_of(key))
    metadata.wait_until_idle()
    assert recorded(aws, metadata, key)["error"].startswith(("S3.", "States."))


# --- permissions -----------------------------------------------------------------------------------------------------


def test_denied_fetch(aws, metadata, denied, roles):
    """M6: retried, then recorded."""
    key = "denied/fetch/metadata.json"
    with denied(roles["pipeline"], "s3:GetObjectVersion", f"arn:aws:s3:::{metadata.bucket}/denied/*"):
        item = fail(aws, metadata, key, b"{}")
    assert item["error"] == "S3.S3Exception" and "AccessDenied" in item["cause"]
    fetch = metadata.execution(item["execution_id"]).states[1]
    assert fetch.name == "Fetch" and fetch.failed


def test_denied_index(aws, metadata, denied, roles):
    """M6: 403 is retried, as a data policy takes time to apply, then recorded."""
    with denied(roles["indexing"], "aoss:APIAccessAll", "*"):
        item = fail(aws, metadata, "denied/index/metadata.json", b"{}")
    assert item["error"] == "IndexForbidden" and "403" in item["cause"]


def test_denied_record_is_made_by_the_recovery(aws, metadata, denied, roles):
    """M6: the pipeline's own write fails; its error and cause are recorded all the same, once."""
    table = f"arn:aws:dynamodb:{aws.region}:000000000000:table/{metadata.table}"
    with denied(roles["pipeline"], "dynamodb:PutItem", table):
        item = fail(aws, metadata, "denied/record/metadata.json")
    assert item["error"] == "InvalidMetadata" and "an array" in item["cause"]


# --- OpenSearch ------------------------------------------------------------------------------------------------------

RECOVERING = {"403": (403, 5), "429": (429, 6), "500": (500, 4), "503": (503, 6)}  # status; for how many requests
REFUSING = {"400": (400, "DocumentRefused"), "403": (403, "IndexForbidden"), "413": (413, "DocumentRefused"),
            "429": (429, "IndexThrottled"), "503": (503, "IndexUnavailable")}  # status; error


@pytest.fixture(scope="module")
def answered(metadata, search_engine):
    """Files whose indexing OpenSearch answers with an error, for some time or for ever: version, end and fault of each."""
    plan = {f"recovers/{name}": each for name, each in RECOVERING.items()}
    plan |= {f"refuses/{name}": (status, float("inf")) for name, (status, *_) in REFUSING.items()}
    with ExitStack() as faults:
        keys = {name: f"{name}/metadata.json" for name in plan}
        met = {name: faults.enter_context(search_engine.failing(keys[name], status, times=times, reason=f"says {name}"))
               for name, (status, times) in plan.items()}
        versions = {name: (key, metadata.upload(key, b'{"a": 1}')) for name, key in keys.items()}
        ended = metadata.wait_for_all(versions.values())
        metadata.wait_until_idle()
    return {name: (version, ended[version], met[name]) for name, version in versions.items()}


@pytest.mark.parametrize("name", RECOVERING)
def test_what_passes_is_retried(metadata, answered, name):
    """M6: 403, 429, 5xx for a while: indexed, once, and no failure."""
    version, ended, fault = answered[f"recovers/{name}"]
    assert fault.met == RECOVERING[name][1]
    assert metadata.documents(*version) == [ended.document] and metadata.failures_of(*version) == []
    execution = metadata.execution(ended.execution_arn)
    assert execution.status == "SUCCEEDED" and [run.name for run in execution.states if run.failed] == ["Index"]


@pytest.mark.parametrize("name", REFUSING)
def test_what_does_not_pass_is_recorded(aws, metadata, answered, name):
    """M6: after its retries, or at once if they cannot help, with OpenSearch's own reason."""
    version, _, fault = answered[f"refuses/{name}"]
    item = recorded(aws, metadata, *version)
    status, error = REFUSING[name]
    assert item["error"] == error and f"OpenSearch says {status}" in item["cause"] and f"says refuses/{name}" in item["cause"]
    definition = aws.client("stepfunctions").describe_state_machine(stateMachineArn=metadata.machine_arn)["definition"]
    retries = {name: each["MaxAttempts"] for each in json.loads(definition)["States"]["Index"]["Retry"]
               for name in each["ErrorEquals"]}
    forms = 2 if status == 400 else 1  # refused, a document is stored unindexed
    assert fault.met == forms * (1 + retries[error])


# --- what no catch sees ----------------------------------------------------------------------------------------------


@pytest.fixture
def hanging(metadata, search_engine, make):
    """Upload a file whose indexing hangs and then fails; gives key, version and ARN of the running execution."""
    with ExitStack() as faults:

        def upload(key: str) -> tuple[str, str, str]:
            fault = faults.enter_context(search_engine.failing(key, 503, seconds=4))
            version = metadata.upload(key, b"{}")
            make.poll(lambda: fault.met)
            [arn] = [each["executionArn"] for each in metadata.executions("RUNNING")]
            return key, version, arn

        yield upload


def test_aborted_execution(aws, metadata, hanging, recovery):
    """M6: stopped by hand while OpenSearch hangs; recorded by the recovery."""
    key, version, arn = hanging("aborted/metadata.json")
    aws.client("stepfunctions").stop_execution(executionArn=arn)
    assert metadata.wait(key, version).failure
    recovery.wait_until_idle()
    item = recorded(aws, metadata, key, version, "ABORTED")
    assert item["execution_id"] == arn and item["error"] == "ABORTED" and "ABORTED" in item["cause"]


def test_timed_out_execution(aws, metadata, hanging, recovery):
    """M6: the machine's time-out, here of a second instead of hours, runs no catch."""
    states = aws.client("stepfunctions")
    definition = states.describe_state_machine(stateMachineArn=metadata.machine_arn)["definition"]
    impatient = json.dumps({**json.loads(definition), "TimeoutSeconds": 1})
    states.update_state_machine(stateMachineArn=metadata.machine_arn, definition=impatient)
    try:
        key, version, arn = hanging("timed-out/metadata.json")
    finally:
        states.update_state_machine(stateMachineArn=metadata.machine_arn, definition=definition)
    metadata.wait(key, version)
    recovery.wait_until_idle()
    item = recorded(aws, metadata, key, version, "TIMED_OUT")
    assert item["execution_id"] == arn and "TIMED_OUT" in item["cause"]


@pytest.fixture
def tell(aws, metadata, send, recovery, make):
    """Send the status event of an ended execution several times, and wait until the recovery has dealt with each."""

    def tell(arn: str, times: int) -> None:
        told = aws.client("stepfunctions").describe_execution(executionArn=arn)
        before = len(recovery.executions())
        send("states", "Step Functions Execution Status Change", times=times, detail={
            **{name: told.get(name) for name in ("executionArn", "stateMachineArn", "name", "status", "input", "error", "cause")},
            **{name: int(told[name].timestamp() * 1000) for name in ("startDate", "stopDate")}, "output": None})
        make.poll(lambda: len(recovery.executions()) >= before + times)
        recovery.wait_until_idle()
        assert {each["status"] for each in recovery.executions()} == {"SUCCEEDED"}

    return tell


@pytest.fixture
def settled(metadata, recovery, make):
    """Wait until the recovery has seen every execution that did not succeed."""

    def wait() -> list[str]:
        metadata.wait_until_idle()
        failed = [each["executionArn"] for each in metadata.executions() if each["status"] != "SUCCEEDED"]
        make.poll(lambda: len(recovery.executions()) >= len(failed))
        recovery.wait_until_idle()
        return failed

    return wait


def test_status_events_of_what_is_recorded_change_nothing(aws, metadata, tell, settled):
    """M6: the pipeline's own item stands, however often the event comes."""
    item = fail(aws, metadata, "status/recorded/metadata.json")
    settled()
    tell(item["execution_id"], times=3)
    assert metadata.failures_of("status/recorded/metadata.json") == [item]


def test_status_events_side_by_side_are_recorded_once(aws, metadata, tell, settled):
    """M6: nothing is recorded yet, and the event comes three times at once, then once more."""
    key = "status/twice/metadata.json"
    item = fail(aws, metadata, key)
    settled()
    forget(aws, metadata, item)
    for times in (3, 1):
        tell(item["execution_id"], times)
    again = recorded(aws, metadata, key)
    assert all(again[name] == item[name] for name in ("execution_id", "error", "cause"))


def test_the_reason_of_an_abort_is_recorded(aws, metadata, hanging, tell, settled):
    """M6: who stops an execution may say why; AWS's event repeats it, the embedded AWS's own does not."""
    key, version, arn = hanging("aborted/why/metadata.json")
    aws.client("stepfunctions").stop_execution(executionArn=arn, error="Operator", cause="by hand")
    settled()
    forget(aws, metadata, recorded(aws, metadata, key, version, "ABORTED"))
    tell(arn, times=1)
    item = recorded(aws, metadata, key, version, "ABORTED")
    assert (item["error"], item["cause"]) == ("Operator", "by hand")


def forget(aws, metadata, item: dict) -> None:
    """Take an item out of the table."""
    key = {name: {"S": item[name]} for name in ("execution_id", "failed_at")}
    aws.client("dynamodb").delete_item(TableName=metadata.table, Key=key)


# --- all of it -------------------------------------------------------------------------------------------------------


def test_everything_is_accounted_for(metadata, settled):
    """M6: as many items as executions that did not succeed, one each; a document for every one that did."""
    failed = settled()
    assert len(failed) > len(BAD) and sorted(item["execution_id"] for item in metadata.failures()) == sorted(failed)
    succeeded = [each["executionArn"] for each in metadata.executions("SUCCEEDED")]
    stored = metadata.search({"size": 10_000, "query": {"match_all": {}}})
    assert sorted(hit["_source"]["ingest"]["execution_id"] for hit in stored) == sorted(succeeded)
