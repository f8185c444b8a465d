"""The two state machines of the metadata pipeline as they would be deployed: whole executions, from the event to the record
(M3a, M6), on a small model of Step Functions (states.py) and of the table."""

import json
import re

import pytest

from checks.asl import WITHOUT_CATCH_ALL
from lambdas.metadata import contract
from tap_stack import TapStack
from tests.synth.events import object_event, status_event
from tests.synth.reading import synthesise
from tests.synth.states import EXPRESSION, Failure, causes, execute, lambda_error, pauses, takes, ways

MACHINE = "arn:aws:states:us-east-1:111122223333:stateMachine:metadata-pipeline"
EXECUTION = "arn:aws:states:us-east-1:111122223333:execution:metadata-pipeline:4f1c8f0e"
KEY = "releases/a b/it's 100 % größer/metadata.json"
EVENT = object_event(KEY)
LIMIT = 100 * 1024
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
FILES = {"pipeline": "metadata.asl.json", "recovery": "metadata_recovery.asl.json"}


@pytest.fixture(params=FILES)
def machine(request, metadata):
    return metadata.machine(f"metadata/{request.param}")


@pytest.fixture
def pipeline(metadata):
    return metadata.machine("metadata/pipeline")


@pytest.fixture
def recovery(metadata):
    return metadata.machine("metadata/recovery")


def tasks(machine):
    return {name: state for name, state in machine["States"].items() if state["Type"] == "Task"}


class Table:
    """The table of failures: what the two machines ask of it, with the keys that the stack gives it. ``broken`` fails all."""

    def __init__(self, broken=False):
        self.items, self.broken = {}, broken

    def put(self, call):
        self._check(call)
        assert call["ConditionExpression"] == "attribute_not_exists(execution_id)"
        assert set(call) == {"TableName", "Item", "ConditionExpression"}
        assert all(set(value) == {"S"} and isinstance(value["S"], str) for value in call["Item"].values()), call["Item"]
        item = {name: value["S"] for name, value in call["Item"].items()}
        assert all(item[name] for name in ("execution_id", "failed_at")), "a key must not be empty"
        if (item["execution_id"], item["failed_at"]) in self.items:
            raise Failure("DynamoDB.ConditionalCheckFailedException", "The conditional request failed")
        self.items[item["execution_id"], item["failed_at"]] = item
        return {}

    def query(self, call):
        self._check(call)
        assert call["ConsistentRead"] is True, "what the pipeline has just written must be seen"
        ((name, value),) = call["ExpressionAttributeValues"].items()
        assert call["KeyConditionExpression"] == f"execution_id = {name}"
        return {"Count": sum(execution == value["S"] for execution, _ in self.items)}

    def _check(self, call):
        if self.broken:
            raise Failure("DynamoDB.InternalServerErrorException", "Internal server error")
        assert call["TableName"] == "metadata-processing-failures"

    @property
    def one(self):
        (only,) = self.items.values()
        return only


@pytest.fixture
def table():
    return Table()


def raising(error, cause=None):
    def fail(arguments):
        raise Failure(error, cause)

    return fail


FETCHED = {"Body": '{"a": 1}', "ContentLength": 8, "ETag": '"9fc2"', "ContentType": "application/json"}
ANSWER = {"ingest_id": "0a", "indexed": True}


def run(pipeline, table, event=EVENT, fetch=lambda _: FETCHED, index=lambda _: {"StatusCode": 200, "Payload": ANSWER}):
    """One execution of the pipeline."""
    return execute(pipeline, event, {"Fetch": fetch, "Index": index, "RecordFailure": table.put}, arn=EXECUTION)


def recover(recovery, table, event):
    """One execution of the recovery."""
    return execute(recovery, event, {"FindRecord": table.query, "RecordFailure": table.put})


def ended(execution, event=EVENT, **detail):
    """The event about the end of an execution."""
    told = {"executionArn": EXECUTION, "input": json.dumps(event), "error": execution.error, "cause": execution.cause}
    return status_event(MACHINE, execution.status, **{**told, **detail})


# --- definition -----------------------------------------------------------------------------------------------------


def test_definitions_are_complete(metadata, machine):
    """M3a, M6: JSONata, every placeholder filled, bounded in time; standard machines."""
    assert machine["QueryLanguage"] == "JSONata"
    assert "${" not in json.dumps(machine)
    assert machine["TimeoutSeconds"] > 0
    assert not any("type" in body for body in metadata.all("aws_sfn_state_machine").values())


def test_definitions_are_written_without_white_space(metadata):
    """C4: a change of white space in the file is no change of the machine."""
    for body in metadata.all("aws_sfn_state_machine").values():
        assert "\n" not in body["definition"]
        assert '": ' not in body["definition"]


def test_tasks_call_what_the_stack_made(machine):
    """M3a, M6: the function and the table of this system, and S3 for that version; nothing else."""
    told = json.dumps([state["Arguments"] for state in tasks(machine).values()])
    assert set(re.findall(r"arn:aws:[^\"\\' ]+", told)) <= {"arn:aws:lambda:us-east-1:111122223333:function:metadata-indexing"}
    assert set(re.findall(r'"TableName": "([^"]+)"', told)) == {"metadata-processing-failures"}
    assert {state["Resource"] for state in tasks(machine).values()} <= {
        "arn:aws:states:::aws-sdk:s3:getObject",
        "arn:aws:states:::lambda:invoke",
        "arn:aws:states:::dynamodb:putItem",
        "arn:aws:states:::aws-sdk:dynamodb:query",
    }


@pytest.mark.parametrize("name", FILES)
def test_every_task_catches_everything_but_those_with_a_reason(metadata, name):
    """M6: every task, save for those of which checks/asl.py tells why; on the way in, a catch leads to the record."""
    machine = metadata.machine(f"metadata/{name}")
    without = {task for task, state in tasks(machine).items() if "States.ALL" not in ways(state)}
    assert without == set(WITHOUT_CATCH_ALL.get(FILES[name], ()))
    if name == "pipeline":
        caught = {task: ways(state)["States.ALL"] for task, state in tasks(machine).items()}
        assert caught == {"Fetch": "RecordFailure", "Index": "RecordFailure", "RecordFailure": "Failed"}


# --- the way of a file ----------------------------------------------------------------------------------------------


def test_way_of_a_file(pipeline, table):
    """M3a: that version is fetched, stamped with the time of the event, and indexed; the answer is the output."""
    done = run(pipeline, table)
    assert (done.status, done.output) == ("SUCCEEDED", ANSWER)
    assert [state for state, _ in done.calls] == ["Fetch", "Index"]
    version = EVENT["detail"]["object"]["version-id"]
    assert done.arguments("Fetch") == {"Bucket": "iac-rlhf-aws-release", "Key": KEY, "VersionId": version}
    assert done.arguments("Index") == {
        "FunctionName": "arn:aws:lambda:us-east-1:111122223333:function:metadata-indexing",
        "Payload": {
            "body": FETCHED["Body"],
            "content_length": FETCHED["ContentLength"],
            "etag": FETCHED["ETag"],
            "timestamp": EVENT["time"],
            "object": {"bucket": "iac-rlhf-aws-release", "key": KEY, "version_id": version},
            "execution_id": EXECUTION,
        },
    }
    assert not table.items


def sized(size):
    """The event of an object of this size; None for an event without one."""
    event = object_event(KEY)
    del event["detail"]["object"]["size"]
    event["detail"]["object"] |= {} if size is None else {"size": size}
    return event


@pytest.mark.parametrize(
    ("size", "fetched"),
    [(0, True), (LIMIT - 1, True), (LIMIT, True), (LIMIT + 1, False), (5 * 1024**3, False), (None, True)],
    ids=["empty", "below", "equal", "above", "huge", "absent"],
)
def test_size_is_checked_before_fetching(pipeline, table, size, fetched):
    """M3a: strictly above the limit is refused unread, with both numbers and the setting; an event without a size is not."""
    done = run(pipeline, table, sized(size))
    assert [state for state, _ in done.calls] == (["Fetch", "Index"] if fetched else ["RecordFailure"])
    assert done.status == ("SUCCEEDED" if fetched else "FAILED")
    if not fetched:
        assert (done.error, table.one["error"]) == (contract.ERROR_INVALID,) * 2
        assert done.cause == table.one["cause"]
        assert done.cause == f"the file has {size} bytes; the limit is {LIMIT} (setting METADATA_MAX_FILE_BYTES)"


def test_size_limit_is_a_setting(table):
    """C5a."""
    machine = synthesise(TapStack, "x", metadata_max_file_bytes=10).machine("metadata/pipeline")
    assert run(machine, table, sized(10)).status == "SUCCEEDED"
    assert run(machine, table, sized(11)).status == "FAILED"
    assert "the limit is 10 " in table.one["cause"]


def test_an_empty_object_is_for_the_function_to_refuse(pipeline, table):
    """M3a: whether S3's integration gives an empty body or none is not documented; both reach the function as empty."""
    fetched = {"ContentLength": 0, "ContentType": "application/json"}
    given = [
        run(pipeline, table, fetch=lambda _, answer=answer: answer).arguments("Index")["Payload"]
        for answer in (fetched, {**fetched, "Body": "", "ETag": ""})
    ]
    assert given[0] == given[1]
    assert (given[0]["body"], given[0]["content_length"], given[0]["etag"]) == ("", 0, "")


def test_a_retry_stamps_the_same(pipeline, table):
    """M3b: so that what is stored twice has one ingest.id and one @timestamp."""
    answers = iter([Failure(contract.ERROR_UNAVAILABLE, "503"), None])

    def index(arguments):
        if failure := next(answers):
            raise failure
        return {"Payload": ANSWER}

    done = run(pipeline, table, index=index)
    first, second = [arguments for state, arguments in done.calls if state == "Index"]
    assert first == second
    assert (done.status, table.items) == ("SUCCEEDED", {})


# --- failures -------------------------------------------------------------------------------------------------------


CAUSES = causes(8000)


@pytest.mark.parametrize("where", ["Fetch", "Index"])
@pytest.mark.parametrize(("cause", "text"), CAUSES.values(), ids=CAUSES)
def test_every_failure_is_recorded_once(pipeline, recovery, table, where, cause, text):
    """M6: six attributes; the cause is Lambda's message if there is one; the execution fails with the same words; and the
    recovery, which sees its end, adds nothing."""
    event = object_event(KEY)
    done = run(pipeline, table, event, **{where.lower(): raising("Boom", cause)})
    item = table.one
    assert set(item) == {"execution_id", "failed_at", "input", "error", "cause", "object_key"}
    assert (item["execution_id"], item["error"], item["cause"], item["object_key"]) == (EXECUTION, "Boom", text, KEY)
    assert re.fullmatch(TIME, item["failed_at"])
    assert json.loads(item["input"]) == event
    assert (done.status, done.error, done.cause) == ("FAILED", "Boom", text)
    recovered = recover(recovery, table, ended(done))
    assert recovered.status == "SUCCEEDED"
    assert [state for state, _ in recovered.calls] == ["FindRecord"]
    assert list(table.items.values()) == [item]


def test_item_stays_below_what_a_table_holds(pipeline, recovery, table):
    """M6: an input may have 256 KiB, and an item 400 KB, with the input in it; the key is not in it twice."""
    event = object_event("k" * 230_000)
    done = run(pipeline, table, event, fetch=raising("Boom", "x" * 32768))
    recovered = dict(table.one)
    table.items.clear()
    assert recover(recovery, table, ended(done, event)).status == "SUCCEEDED"
    for item in (recovered, table.one):
        assert sum(len(name) + len(value.encode()) for name, value in item.items()) < 400_000
        assert (item["object_key"], len(item["cause"])) == ("k" * 1024, 8000)


@pytest.mark.parametrize("where", ["Fetch", "Index"])
@pytest.mark.parametrize("cause", ['{"errorMessage": "cut off }'])
def test_a_cause_that_only_looks_like_json_costs_no_record(pipeline, recovery, table, where, cause):
    """M6: whatever a cause is, the execution fails and one item tells of it, by the pipeline or by the recovery."""
    done = run(pipeline, table, **{where.lower(): raising("Boom", cause)})
    assert done.status == "FAILED"
    assert recover(recovery, table, ended(done)).status == "SUCCEEDED"
    assert (table.one["execution_id"], table.one["error"], table.one["object_key"]) == (EXECUTION, done.error, KEY)


NO_EVENTS = {
    "an empty object": {},
    "an empty array": [],
    "a text": "text",
    "a number": 7,
    "null": None,
    "true": True,
    "null inside": {"detail": None},
    "a text inside": {"detail": {"object": "x"}},
    "a size in words": {"detail": {"object": {"size": "large"}}},
    "two events": [EVENT, EVENT],
}


@pytest.mark.parametrize("event", NO_EVENTS.values(), ids=NO_EVENTS)
def test_inputs_that_are_no_events_are_recorded_too(pipeline, recovery, table, event):
    """M6: somebody starts the machine by hand. The input is kept as JSON text, a missing key as an empty text."""
    done = run(pipeline, table, event, fetch=raising("S3.S3Exception", "no"))
    assert done.status == "FAILED"
    recover(recovery, table, ended(done, event))
    item = table.one
    assert item["execution_id"] == EXECUTION
    assert event == (item["input"] if isinstance(event, str) else json.loads(item["input"]))
    if event != [EVENT, EVENT]:
        assert item["object_key"] == ""


@pytest.mark.parametrize("missing", ["version-id", "time"])
def test_events_without_what_the_stamp_needs_are_recorded(pipeline, recovery, table, missing):
    """M6: an object from before versioning, an input made by hand: the record names the object."""
    event = object_event(KEY)
    event.pop(missing, None)
    event["detail"]["object"].pop(missing, None)
    done = run(pipeline, table, event)
    assert (done.status, done.error) == ("FAILED", "States.QueryEvaluationError")
    if missing == "version-id":
        assert not done.pauses, "it would be missing the next time, too"
    assert (table.one["error"], table.one["object_key"]) == ("States.QueryEvaluationError", KEY)
    assert recover(recovery, table, ended(done, event)).status == "SUCCEEDED"
    assert len(table.items) == 1


def test_files_that_grow_beyond_a_states_limit_are_recorded(pipeline, recovery, table):
    """M6: escaped text may double, and no catch sees States.DataLimitExceeded; the recovery records what it was."""
    grown = run(pipeline, table, fetch=lambda _: {**FETCHED, "Body": "\x01" * LIMIT})
    assert (grown.status, grown.error, table.items) == ("FAILED", "States.DataLimitExceeded", {})
    recover(recovery, table, ended(grown))
    assert (table.one["error"], table.one["object_key"]) == ("States.DataLimitExceeded", KEY)


def test_the_largest_file_fits_into_a_state(pipeline, table):
    """M3a: as many bytes as the default limit allows, each of which JSON escapes."""
    assert run(pipeline, table, fetch=lambda _: {**FETCHED, "Body": '"' * LIMIT}).status == "SUCCEEDED"


def test_an_execution_fails_with_its_own_error_if_the_record_cannot_be_written(pipeline, recovery, table):
    """M6: and the recovery writes the item, with the same words."""
    done = run(pipeline, Table(broken=True), index=raising("DocumentRefused", lambda_error("DocumentRefused", "no")))
    assert (done.status, done.error, done.cause) == ("FAILED", "DocumentRefused", "no")
    assert [state for state, _ in done.calls].count("RecordFailure") == 6
    assert recover(recovery, table, ended(done)).status == "SUCCEEDED"
    assert (table.one["error"], table.one["cause"], table.one["object_key"]) == ("DocumentRefused", "no", KEY)


def test_a_retried_record_meets_itself(pipeline, table):
    """M6: written, but the answer got lost: the item stays one, and the execution fails with its own error."""
    lost = []

    def put(call):
        table.put(call)
        lost.append(call)
        raise Failure("States.Timeout")

    tasks_ = {"Fetch": raising("Boom", "why"), "RecordFailure": put}
    done = execute(pipeline, EVENT, tasks_, arn=EXECUTION)
    assert (done.error, done.cause, len(lost)) == ("Boom", "why", 1)
    assert [state for state, _ in done.calls if state == "RecordFailure"] == ["RecordFailure"] * 2
    assert table.one["error"] == "Boom"


# --- recovery -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "detail", "error", "cause"),
    [
        ("ABORTED", {"error": None, "cause": None}, "ABORTED", "the execution ended ABORTED"),
        ("TIMED_OUT", {}, "TIMED_OUT", "the execution ended TIMED_OUT"),
        ("FAILED", {"error": "States.DataLimitExceeded", "cause": "too much"}, "States.DataLimitExceeded", "too much"),
        ("FAILED", {"error": "States.Runtime", "cause": None}, "States.Runtime", "the execution ended FAILED"),
        ("ABORTED", {"error": "Mine", "cause": "because"}, "Mine", "because"),
        ("ABORTED", {"error": "", "cause": ""}, "", ""),
    ],
)
@pytest.mark.parametrize("absent", [False, True], ids=["null", "absent"])
def test_recovery_records_what_no_catch_saw(recovery, table, status, detail, error, cause, absent):
    """M6: the same six attributes; the time is that of the end, in the same form; missing words are those of the status."""
    event = status_event(MACHINE, status, executionArn=EXECUTION, input=json.dumps(EVENT), stopDate=1769904000123, **detail)
    if absent:
        event["detail"] = {name: value for name, value in event["detail"].items() if value is not None}
    done = recover(recovery, table, event)
    assert (done.status, done.output) == ("SUCCEEDED", {})
    assert table.one == {
        "execution_id": EXECUTION,
        "failed_at": "2026-02-01T00:00:00.123Z",
        "input": json.dumps(EVENT),
        "error": error,
        "cause": cause,
        "object_key": KEY,
    }
    assert re.fullmatch(TIME, table.one["failed_at"])


@pytest.mark.parametrize(
    ("input_", "object_key"),
    [
        (None, ""),
        ("null", ""),
        ('"text"', ""),
        ("[]", ""),
        ("{}", ""),
        ('{"detail": null}', ""),
        ('{"detail": {"object": {"key": 7}}}', "7"),
        (json.dumps(EVENT), KEY),
    ],
)
def test_recovery_takes_every_input(recovery, table, input_, object_key):
    """M6: an input above EventBridge's limit is left out of the event (null); others may be no event of S3."""
    event = status_event(MACHINE, "ABORTED", input=input_, inputDetails={"included": input_ is not None})
    assert recover(recovery, table, event).status == "SUCCEEDED"
    assert (table.one["input"], table.one["object_key"]) == (input_ or "", object_key)


def test_recovery_without_an_input_field(recovery, table):
    """M6: absent counts as null."""
    event = status_event(MACHINE, "TIMED_OUT")
    del event["detail"]["input"]
    recover(recovery, table, event)
    assert (table.one["input"], table.one["object_key"]) == ("", "")


def test_an_event_that_comes_twice_is_recorded_once(recovery, table):
    """M6: one after the other, and beside one another, when neither finds the other's item."""
    event = status_event(MACHINE, "ABORTED", input=json.dumps(EVENT))
    first = recover(recovery, table, event)
    assert recover(recovery, table, event).status == "SUCCEEDED"
    beside = execute(recovery, event, {"FindRecord": lambda _: {"Count": 0}, "RecordFailure": table.put})
    assert [first.status, beside.status] == ["SUCCEEDED"] * 2
    assert [state for state, _ in beside.calls] == ["FindRecord", "RecordFailure"], "a lost condition is not tried again"
    assert len(table.items) == 1


def test_other_executions_items_count_for_nothing(recovery, table):
    """M6."""
    recover(recovery, table, status_event(MACHINE, "ABORTED", executionArn=f"{EXECUTION}-other"))
    recover(recovery, table, status_event(MACHINE, "ABORTED", executionArn=EXECUTION))
    assert len(table.items) == 2


@pytest.mark.parametrize("broken", ["FindRecord", "RecordFailure"])
def test_recovery_fails_aloud(recovery, table, broken):
    """M6: who cannot look or write must not end as if all were well; the alarm on failed executions calls somebody."""
    working = {"FindRecord": table.query, "RecordFailure": table.put, broken: Table(broken=True).put}
    done = execute(recovery, status_event(MACHINE, "ABORTED"), {**working, broken: raising("DynamoDB.Down", "no")})
    assert (done.status, done.error) == ("FAILED", "DynamoDB.Down")
    assert [state for state, _ in done.calls].count(broken) == 6
    assert not table.items


# --- retries --------------------------------------------------------------------------------------------------------


def retrier(pipeline, error, task="Index"):
    """The first retrier that takes an error: the one Step Functions uses."""
    return next(each for each in pipeline["States"][task]["Retry"] if takes(each, error))


def test_every_error_of_the_contract_is_named_in_a_retrier(pipeline):
    """M6: none is left to the one for everything else."""
    errors = {value for name, value in vars(contract).items() if name.startswith("ERROR_")}
    named = {error for each in pipeline["States"]["Index"]["Retry"] for error in each["ErrorEquals"]}
    assert errors == {error for error in named if "." not in error}


@pytest.mark.parametrize("error", [contract.ERROR_INVALID, contract.ERROR_REFUSED])
def test_a_files_own_faults_are_not_retried(pipeline, table, error):
    """M6."""
    done = run(pipeline, table, index=raising(error, "no"))
    assert [state for state, _ in done.calls] == ["Fetch", "Index", "RecordFailure"]
    assert table.one["error"] == error


def test_a_missing_object_is_not_retried(pipeline, table):
    """M6."""
    done = run(pipeline, table, fetch=raising("S3.NoSuchKeyException", "no"))
    assert [state for state, _ in done.calls] == ["Fetch", "RecordFailure"]


def test_a_new_data_policy_has_more_than_a_minute_to_apply(pipeline):
    """M6: certainly, so without jitter, which could make any pause 0; twice the minute that AWS speaks of."""
    forbidden = retrier(pipeline, contract.ERROR_FORBIDDEN)
    assert "JitterStrategy" not in forbidden
    assert 120 <= sum(pauses(forbidden)) <= 600


@pytest.mark.parametrize("error", [contract.ERROR_THROTTLED, contract.ERROR_UNAVAILABLE])
def test_throttling_and_outages_are_sat_out_for_minutes(pipeline, table, error):
    """M6: on the average of full jitter, half of the longest pauses."""
    expected = retrier(pipeline, error)
    assert expected["JitterStrategy"] == "FULL"
    assert sum(pauses(expected)) / 2 >= 120
    done = run(pipeline, table, index=raising(error, "no"))
    assert done.pauses == pauses(expected)
    assert table.one["error"] == error


def test_throttled_functions_are_tried_for_many_minutes(pipeline):
    """M6: a backlog is no fault of the file; Lambda's own transient errors have a retrier, too."""
    throttled = retrier(pipeline, "Lambda.TooManyRequestsException")
    assert throttled["ErrorEquals"] == ["Lambda.TooManyRequestsException"]
    assert sum(pauses(throttled)) / 2 >= 600
    for error in ("ServiceException", "AWSLambdaException", "SdkClientException"):
        assert retrier(pipeline, f"Lambda.{error}")["MaxAttempts"] >= 6


def test_every_task_retries_everything_else_a_little(machine):
    """M6: growing pauses, random where many may meet, and an end to them."""
    for name, state in tasks(machine).items():
        retriers = [each for each in state["Retry"] if each["MaxAttempts"]]
        assert retriers[-1]["ErrorEquals"] == ["States.ALL"], name
        assert 2 <= retriers[-1]["MaxAttempts"] <= 6, name
        assert all(each["BackoffRate"] > 1 for each in retriers), name
        assert {each.get("JitterStrategy") for each in retriers if each["ErrorEquals"] != [contract.ERROR_FORBIDDEN]} == {"FULL"}


def test_lost_conditions_are_not_retried(machine):
    """M6: a condition that failed once fails again."""
    (state,) = [each for each in tasks(machine).values() if "ConditionExpression" in each["Arguments"]]
    assert state["Retry"][0] == {"ErrorEquals": ["DynamoDB.ConditionalCheckFailedException"], "MaxAttempts": 0}


def longest(retriers, attempt_seconds):
    """The longest that a task may take if these retriers are used up, each attempt at its limit."""
    return sum(map(sum, map(pauses, retriers))) + attempt_seconds * (1 + sum(each["MaxAttempts"] for each in retriers))


def test_machine_outlasts_every_single_cause(tap, pipeline):
    """M6: an error that persists ends in its own name, not as TIMED_OUT: each retrier of Index alone, on top of the longest
    fetch and the longest record. Several causes one after the other, or a function with a longer time-out than the default,
    may take longer than that; the recovery then records TIMED_OUT."""
    seconds = tap.one("aws_lambda_function", "metadata/indexing")["timeout"]
    states = pipeline["States"]
    beside = sum(longest(states[name]["Retry"], states[name]["TimeoutSeconds"]) for name in ("Fetch", "RecordFailure"))
    for each in states["Index"]["Retry"]:
        rejected_at_once = each["ErrorEquals"] == ["Lambda.TooManyRequestsException"]
        assert longest([each], 1 if rejected_at_once else seconds) + beside < pipeline["TimeoutSeconds"], each["ErrorEquals"]


def test_recovery_outlasts_everything(recovery):
    """M6: all retries of both tasks, each attempt at its limit."""
    taken = sum(longest(state["Retry"], state["TimeoutSeconds"]) for state in tasks(recovery).values())
    assert taken < recovery["TimeoutSeconds"]


def test_index_outlasts_its_function(tap, pipeline):
    """M6: whatever the function's time-out is set to, Lambda ends it before the machine gives it up."""
    assert pipeline["States"]["Index"]["TimeoutSeconds"] > 900 >= tap.one("aws_lambda_function", "metadata/indexing")["timeout"]


# --- the model ------------------------------------------------------------------------------------------------------


def test_the_model_fails_what_aws_fails():
    """The tests above would be worth little if a missing value were left out silently."""

    def machine(**fields):
        return {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True, **fields}}}

    assert execute(machine(Output="{% $states.input.none %}"), {}, {}).error == "States.QueryEvaluationError"
    assert execute(machine(Assign={"a": "{% $parse('{') %}"}), {}, {}).error == "States.QueryEvaluationError"
    assert execute(machine(Output="{% $states.input.none != null ? 1 : 2 %}"), {"none": None}, {}).output == 2
    assert EXPRESSION.match("{% 1 %}") and not EXPRESSION.match("1")
