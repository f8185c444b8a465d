"""The sweep (E7c): what no event brought to an end is found, claimed as an event claims it, or handed to the recovery."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from calls import ENVIRONMENT, MACHINE, FakeStates
from fake_s3 import BUCKET, FakeS3

from lambdas.common.environment import BadEnvironment
from lambdas.etl import contract, environment, storage, sweep, validation
from lambdas.etl.files import execution_name

RECOVERY = MACHINE.replace(":etl", ":etl-recovery")
TABLE = "records"
SWEEP_ENVIRONMENT = {
    contract.ENV_STATE_MACHINE_ARN: MACHINE,
    contract.ENV_RECOVERY_ARN: RECOVERY,
    contract.ENV_BUCKET_NAME: BUCKET,
    contract.ENV_TABLE_NAME: TABLE,
}
OLD, YOUNG = timedelta(hours=1), timedelta(minutes=10)
EXECUTION = MACHINE.replace("stateMachine", "execution") + ":" + "e" * 64
DEAD = RECOVERY.replace("stateMachine", "execution") + ":dead"


def ago(age):
    return (datetime.now(UTC) - age).replace(microsecond=0)


class States(FakeStates):
    """Also the recovery, and how executions stand."""

    class exceptions(FakeStates.exceptions):
        class ExecutionDoesNotExist(Exception):
            pass

    def __init__(self):
        super().__init__()
        self.told, self.recoveries = {}, []

    def start_execution(self, stateMachineArn, input, name=None):
        if stateMachineArn == RECOVERY:
            assert name is None
            self.recoveries.append(json.loads(input))
            return {"executionArn": f"{RECOVERY}:{len(self.recoveries)}"}
        return super().start_execution(stateMachineArn, name, input)

    def describe_execution(self, executionArn):
        if executionArn not in self.told:
            raise self.exceptions.ExecutionDoesNotExist
        return {"executionArn": executionArn, "startDate": "unfit for JSON", **self.told[executionArn]}


class Table:
    """Records, by pages of two, after a real look at what is asked."""

    def __init__(self):
        self.items = []

    def add(self, file_name, start, status="PROCESSING", **more):
        record = {"file_name": file_name, "process_start_time": start, "status": status, **more}
        self.items.append({name: {"S": value} for name, value in record.items()})

    def get_paginator(self, operation):
        assert operation == "query"
        return SimpleNamespace(paginate=self._paginate)

    def _paginate(self, TableName, KeyConditionExpression, ExpressionAttributeValues, **other):
        assert TableName == TABLE
        values = {name: value["S"] for name, value in ExpressionAttributeValues.items()}
        if "IndexName" in other:
            assert other["IndexName"] == "status-index"
            assert KeyConditionExpression == "#status = :processing AND process_start_time < :before"
            found = [
                each
                for each in sorted(self.items, key=lambda item: item["process_start_time"]["S"])
                if each["status"]["S"] == values[":processing"] and each["process_start_time"]["S"] < values[":before"]
            ]
        else:
            assert other["ConsistentRead"]
            assert KeyConditionExpression == "file_name = :name AND process_start_time >= :since"
            found = [
                each
                for each in self.items
                if each["file_name"]["S"] == values[":name"] and each["process_start_time"]["S"] >= values[":since"]
            ]
        for start in range(0, max(len(found), 1), 2):
            yield {"Items": found[start : start + 2]}


@pytest.fixture
def aws(monkeypatch):
    for name, value in {**ENVIRONMENT, **SWEEP_ENVIRONMENT}.items():
        monkeypatch.setenv(name, value)
    clients = SimpleNamespace(s3=FakeS3(), stepfunctions=States(), dynamodb=Table(), sns=None)
    monkeypatch.setattr(storage, "client", lambda service: getattr(clients, service))
    return clients


def run(event=None, seconds=840.0):
    context = SimpleNamespace(
        function_name="etl-sweep", aws_request_id="r", get_remaining_time_in_millis=lambda: int(seconds * 1000)
    )
    return sweep.handler(event or {"source": "aws.events"}, context)


def put(aws, name, age=OLD, body=b"x", version=None):
    return aws.s3.add("raw/" + name, body, version_id=version, LastModified=ago(age))["VersionId"]


def execution_of(name, version):
    return MACHINE.replace("stateMachine", "execution") + ":" + execution_name(BUCKET, version, "raw/" + name)


def stamp(age):
    return ago(age).isoformat(timespec="microseconds").replace("+00:00", "Z")


# --- objects without a record ---------------------------------------------------------------------------------------


def test_object_without_a_record_is_claimed_once(aws):
    """E7c, E3a: by the claim of S3's event, which is done when it comes late; a second sweep does no more."""
    version = put(aws, "a b/größer.csv", body=b"12345")
    assert run() == {"records": {}, "objects": {sweep.CLAIMED: 1}}
    ((name, started),) = aws.stepfunctions.started.items()
    assert name == execution_name(BUCKET, version, "raw/a b/größer.csv")
    assert started["file"] == {
        **{"bucket": BUCKET, "key": "raw/a b/größer.csv", "file_name": "a b/größer.csv", "version_id": version},
        **{"sequencer": "", "size": 5},
    }
    late = {"key": "raw/a+b/gr%C3%B6%C3%9Fer.csv", "versionId": version, "sequencer": "0A", "size": 5}
    validation.handler({"Records": [{"s3": {"bucket": {"name": BUCKET}, "object": late}}]}, SimpleNamespace())
    aws.stepfunctions.told[execution_of("a b/größer.csv", version)] = {"status": "RUNNING"}
    assert run()["objects"] == {sweep.RUNS: 1}
    assert len(aws.stepfunctions.started) == 1
    assert aws.stepfunctions.recoveries == []


def test_only_what_is_old_enough_counts(aws):
    """E7c: 15 minutes, or what an operator asks for."""
    put(aws, "young.csv", YOUNG)
    assert run()["objects"] == {}
    assert run({"older_than_seconds": 300})["objects"] == {sweep.CLAIMED: 1}


def test_what_is_no_file_is_left_alone(aws):
    """E2: folder markers; an object named exactly raw/ can have no record."""
    put(aws, "folder/", body=b"")
    put(aws, "")
    put(aws, "folder/with content/")
    assert run()["objects"] == {sweep.CLAIMED: 1}


@pytest.mark.parametrize("body", [b"newer", None], ids=["replaced", "deleted"])
def test_object_that_changes_while_the_sweep_looks(aws, body):
    """E7c: a newer upload's own event may still come."""
    put(aws, "a.csv")
    aws.s3.hook("before", "head_object", lambda: put(aws, "a.csv", YOUNG, body))
    assert run()["objects"] == {sweep.CHANGED: 1}
    assert aws.stepfunctions.started == {}


def test_any_record_of_the_version_is_an_end_or_on_the_way_to_one(aws):
    """E7c: whatever its status; a record of another version does not count."""
    for status in ("PROCESSING", "SUCCEEDED", "INVALID", "FAILED"):
        aws.dynamodb.add(f"{status}.csv", stamp(YOUNG), status, version_id=put(aws, f"{status}.csv"))
    for number in range(3):
        aws.dynamodb.add("again.csv", stamp(OLD - timedelta(minutes=number)), "SUCCEEDED", version_id=f"older{number}")
    version = put(aws, "again.csv")
    assert run()["objects"] == {sweep.RECORDED: 4, sweep.CLAIMED: 1}
    assert [started["file"]["version_id"] for started in aws.stepfunctions.started.values()] == [version]


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"])
def test_claimed_and_ended_without_a_record(aws, status):
    """E7c, E7b: the recovery is told what EventBridge would have told, with the execution's own time of the claim."""
    version = put(aws, "a.csv")
    name, given = execution_name(BUCKET, version, "raw/a.csv"), json.dumps({"file": {}, "process_start_time": "then"})
    aws.stepfunctions.started[name] = {}
    arn = execution_of("a.csv", version)
    aws.stepfunctions.told[arn] = {"status": status, "input": given, "error": "Boom", "cause": "it broke"}
    assert run()["objects"] == {sweep.RECOVERED: 1}
    detail = {"executionArn": arn, "status": status, "input": given, "error": "Boom", "cause": "it broke"}
    assert aws.stepfunctions.recoveries == [{"detail": detail}]


def test_claim_that_is_forgotten_meanwhile_is_left_to_the_next_sweep(aws):
    """E7c: Step Functions forgets a name and its execution after 90 days, not necessarily at once."""
    aws.stepfunctions.started[execution_name(BUCKET, put(aws, "a.csv"), "raw/a.csv")] = {}
    assert run()["objects"] == {sweep.RUNS: 1}


# --- records in PROCESSING ------------------------------------------------------------------------------------------


def stuck(aws, name="a.csv", age=OLD, status="ABORTED", execution=EXECUTION, **more):
    aws.dynamodb.add(name, stamp(age), version_id="v1", execution_arn=execution, **more)
    if status:
        aws.stepfunctions.told[execution] = {"status": status, "input": json.dumps({"file": {}, "process_start_time": "then"})}


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"])
def test_record_whose_execution_has_ended(aws, status):
    """E7c, E7b: the recovery gets the record's own time, which two uploads of one microsecond do not share."""
    stuck(aws, "a/é.csv", status=status)
    assert run()["records"] == {sweep.RECOVERED: 1}
    (event,) = aws.stepfunctions.recoveries
    given = json.loads(event["detail"].pop("input"))
    assert event == {"detail": {"executionArn": EXECUTION, "status": status}}
    assert given["process_start_time"] == aws.dynamodb.items[0]["process_start_time"]["S"]
    assert given["file"].items() >= {"bucket": BUCKET, "key": "raw/a/é.csv", "file_name": "a/é.csv", "version_id": "v1"}.items()


def test_record_whose_execution_is_forgotten(aws):
    """E7c: executions are kept for 90 days."""
    stuck(aws, status=None)
    assert run()["records"] == {sweep.RECOVERED: 1}
    (event,) = aws.stepfunctions.recoveries
    assert event["detail"]["status"] == "UNKNOWN"
    assert "90 days" in event["detail"]["cause"]
    assert json.loads(event["detail"]["input"])["file"]["version_id"] == "v1"


@pytest.mark.parametrize("status", ["RUNNING", "PENDING_REDRIVE"])
def test_record_whose_execution_runs_is_left_alone(aws, status):
    """E7c."""
    stuck(aws, status=status)
    stuck(aws, "young.csv", YOUNG, execution=EXECUTION + "2")
    assert run() == {"records": {sweep.RUNS: 1}, "objects": {}}
    assert aws.stepfunctions.recoveries == []


@pytest.mark.parametrize(("status", "fate"), [("RUNNING", sweep.RUNS), ("ABORTED", sweep.RECOVERED), (None, sweep.RECOVERED)])
def test_record_of_a_recovery_that_died(aws, status, fate):
    """E7c: another takes over, and says from whom; one that runs is left alone."""
    stuck(aws, recovered_by=DEAD)
    if status:
        aws.stepfunctions.told[DEAD] = {"status": status}
    assert run()["records"] == {fate: 1}
    assert [event["takes_over"] for event in aws.stepfunctions.recoveries] == [DEAD] * (fate == sweep.RECOVERED)


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_one_bad_thing_does_not_stop_the_others(aws, capsys):
    """E7c: named in the log; the sweep fails in the end, so that its alarm sees it."""
    aws.dynamodb.add("by hand.csv", stamp(OLD), version_id="v1")
    stuck(aws)
    put(aws, "good.csv")
    put(aws, "bad.csv")
    real = aws.stepfunctions.start_execution

    def start(**arguments):
        if "bad.csv" in arguments["input"]:
            raise RuntimeError("no")
        return real(**arguments)

    aws.stepfunctions.start_execution = start
    with pytest.raises(sweep.SweepFailed, match="^2 could not"):
        run()
    assert len(aws.stepfunctions.started) == len(aws.stepfunctions.recoveries) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    bad = [line["file_name"] for line in lines if line["message"] == "could not be brought to an end"]
    assert bad == ["by hand.csv", "bad.csv"]
    (summary,) = [line for line in lines if line["message"] == "swept"]
    assert summary["objects"] == {sweep.CLAIMED: 1, sweep.FAILED: 1}


def test_without_time_nothing_is_begun(aws, capsys):
    """E7c: what is left is taken by the next sweep, and the log says so."""
    for name in ("a", "b", "c"):
        put(aws, name)
    assert run(seconds=30)["objects"] == {sweep.LEFT: 2}  # one page was listed, and nothing begun
    assert aws.stepfunctions.started == {}
    assert "no time to list" in capsys.readouterr().out


def test_records_take_half_of_the_time(aws):
    """E7c: so that objects have theirs."""
    for number in range(3):
        stuck(aws, f"{number}.csv", OLD + timedelta(minutes=number), execution=f"{EXECUTION}{number}")
    times = iter([800.0, 700.0, 600.0, 300.0])
    found = sweep._Sweep(environment.sweep(), ago(YOUNG), lambda: next(times))
    assert found.end_records() == {sweep.RECOVERED: 2, sweep.LEFT: 1}
    assert [event["detail"]["executionArn"][-1] for event in aws.stepfunctions.recoveries] == ["2", "1"]  # the oldest first


def test_listing_takes_half_of_the_time(aws, capsys):
    """E7c: so that what was listed can be looked at, however much there is."""
    for name in "abcdef":
        put(aws, name)
    times = iter([800.0, 500.0, 399.0, *[300.0] * 4])
    found = sweep._Sweep(environment.sweep(), ago(YOUNG), lambda: next(times))
    assert found.end_objects() == {sweep.CLAIMED: 4}
    assert "no time to list" in capsys.readouterr().out


def test_every_object_has_its_turn():
    """E7c: a sweep takes a random choice of more objects than it can; all, in no order, if they are few."""
    assert {"".join(sweep._sample("abc", 5)) for _ in range(500)} == {"abc", "acb", "bac", "bca", "cab", "cba"}
    taken = [sweep._sample(map(str, range(20)), 5) for _ in range(500)]
    assert all(len(set(each)) == 5 for each in taken)
    counts = Counter(key for each in taken for key in each)
    assert len(counts) == 20
    assert all(60 < count < 200 for count in counts.values())  # 125 each on average


@pytest.mark.parametrize("seconds", [-1, 1.5, True, "60", None, 10**12])
def test_age_is_checked(aws, seconds):
    """E7c: a mistake of who invokes it says what it should be."""
    with pytest.raises(ValueError, match="older_than_seconds is .* should be a whole number from 0"):
        run({"older_than_seconds": seconds})


def test_environment_is_checked(monkeypatch):
    """Design: every fault at once."""
    for name in SWEEP_ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadEnvironment) as caught:
        run()
    assert all(name in str(caught.value) for name in SWEEP_ENVIRONMENT)
