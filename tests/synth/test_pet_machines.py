"""The two state machines of the pet detector as they would be deployed: whole executions, from the event to the record (P3, P4),
on a small model of Step Functions (states.py), of the functions and of the table."""

import json
import re

import pytest

from checks.asl import WITHOUT_CATCH_ALL
from lambdas.pets import contract
from tests.synth.events import object_event, status_event
from tests.synth.states import Failure, causes, execute, lambda_error, pauses, takes, ways

FUNCTION = "arn:aws:lambda:us-east-1:111122223333:function:serverlessapp-"
MACHINE = "arn:aws:states:us-east-1:111122223333:stateMachine:serverlessapp-pet-detector"
EXECUTION = "arn:aws:states:us-east-1:111122223333:execution:serverlessapp-pet-detector:4f1c8f0e"
BUCKET = "serverlessapp-pet-detector"
ID = "6f1c2f6e-6d1b-4b57-9a3c-2f0f0f6f9d11"
KEY = f"input/{ID}/it's 100 % größer.jpg"
EVENT = object_event(KEY, bucket=BUCKET)
OBJECT = {"bucket": BUCKET, "key": KEY, "version_id": EVENT["detail"]["object"]["version-id"]}
LABELS = [{"name": "Dog", "confidence": 97.4, "parents": ["Animal"]}]
DOG = {"animal": "dog", "confidence": 97.4, "status": contract.COMPLETED, "folder": contract.DOGS}
DOUBTFUL = {"animal": "dog", "confidence": 55.5, "status": contract.UNCERTAIN, "folder": contract.OTHERS}
REFUSAL = {"outcome": "refused", "image_id": ID, "code": "truncated", "reason": "the file ends in the middle"}
NORMAL = ["IsFolder", "Analyse", "IsAnalysed", "Classify", "File", "Record", "IsUncertain", "Done"]
STEPS = ["Analyse", "Classify", "File", "Record", "Notify"]
FILES = {"pipeline": "pet_detector.asl.json", "recovery": "pet_recovery.asl.json"}
LOST = "DynamoDB.ConditionalCheckFailedException"
THROTTLED_FUNCTION = "Lambda.TooManyRequestsException"


@pytest.fixture(params=FILES)
def machine(request, pets):
    return pets.machine(f"pets/{request.param}")


@pytest.fixture
def pipeline(pets):
    return pets.machine("pets/pipeline")


@pytest.fixture
def recovery(pets):
    return pets.machine("pets/recovery")


def tasks(machine):
    return {name: state for name, state in machine["States"].items() if state["Type"] == "Task"}


class World:
    """The functions by their contract, and the table. ``failing`` says what a state's call raises: always, or once each of a
    list."""

    def __init__(self, classified=DOG, analysed=None, **failing):
        self.records, self.classified, self.failing = {}, classified, failing
        self.analysed = analysed or {"outcome": "analysed", "image_id": ID, "labels": LABELS}
        self.sent = []

    def tasks(self, machine):
        acts = {"lambda:invoke": self.invoke, "dynamodb:updateItem": self.update}

        def call(name, act):
            def answer(arguments):
                raised = self.failing.get(name)
                if isinstance(raised, list):
                    raised = raised.pop(0) if raised else None
                if raised:
                    raise raised
                return act(arguments)

            return answer

        return {
            name: call(name, acts[state["Resource"].removeprefix("arn:aws:states:::")]) for name, state in tasks(machine).items()
        }

    def invoke(self, call):
        assert set(call) == {"FunctionName", "Payload"}
        function, payload = call["FunctionName"].removeprefix(FUNCTION), call["Payload"]
        action = payload.get("action", function)
        return {"StatusCode": 200, "Payload": getattr(self, action.replace("-", "_"))(function, **payload)}

    def analyse(self, function, action, object, time, execution):
        assert (function, object, time) == ("image-processor", OBJECT, EVENT["time"])
        if self.analysed["outcome"] != "duplicate":
            self.records.setdefault(ID, {contract.EXECUTION: execution, contract.STATUS: contract.PROCESSING})
        return self.analysed

    def classify(self, function, action, image_id, labels, execution):
        assert (function, image_id, labels, execution) == ("image-processor", ID, LABELS, EXECUTION)
        self.records[ID] |= {contract.ANIMAL: self.classified["animal"], contract.CONFIDENCE: self.classified["confidence"]}
        return self.classified

    def file_manager(self, function, image_id, object, folder):
        assert (function, image_id, object, folder) == ("file-manager", ID, OBJECT, self.classified["folder"])
        return {"location": f"s3://{BUCKET}/{folder}{KEY.removeprefix('input/')}", "version_id": "filed-1"}

    def notification_service(self, function, **payload):
        assert set(payload) == {"image_id", "object", "animal", "confidence", "location"}
        self.sent.append(payload)
        return {"message_id": "m1"}

    def give_up(self, function, action, object, time, execution, error=None, cause=None):
        """Records the failure of this execution's record if it is in the making, and of one that has none."""
        assert (function, object, time) == ("image-processor", OBJECT, EVENT["time"])
        new = {contract.EXECUTION: execution, contract.STATUS: contract.PROCESSING}
        record = self.records.setdefault(ID, new)
        ours = record[contract.EXECUTION] == execution and record[contract.STATUS] == contract.PROCESSING
        if ours:
            record |= {contract.STATUS: contract.FAILED, contract.FAILURE_REASON: (error, cause)}
        return {"image_id": ID, "recorded": ours}

    def update(self, call):
        """UpdateItem of these machines: SET only, under the one condition, every name and value used."""
        assert call["TableName"] == "serverlessapp-DetectionLogs"
        assert set(call["Key"]) == {contract.IMAGE_ID}
        names = call["ExpressionAttributeNames"]
        values = {name: value["S"] for name, value in call["ExpressionAttributeValues"].items()}
        assert all(isinstance(value, str) for value in values.values())
        pairs = dict(re.findall(r"(#\w+) = (:\w+)", call["UpdateExpression"]))
        assert call["UpdateExpression"] == "SET " + ", ".join(f"{name} = {value}" for name, value in pairs.items())
        assert call["ConditionExpression"] == "#execution = :execution"
        assert names["#execution"] == contract.EXECUTION
        assert {*pairs, "#execution"} == set(names)
        assert {*pairs.values(), ":execution"} == set(values)
        record = self.records.get(call["Key"][contract.IMAGE_ID]["S"], {})
        if record.get(contract.EXECUTION) != values[":execution"]:
            raise Failure(LOST, "The conditional request failed")
        record |= {names[name]: values[value] for name, value in pairs.items()}
        return {}

    @property
    def record(self):
        return self.records[ID]


def run(pipeline, world, event=EVENT):
    """One execution of the pipeline."""
    return execute(pipeline, event, world.tasks(pipeline), arn=EXECUTION)


def recover(recovery, world, event):
    """One execution of the recovery."""
    return execute(recovery, event, world.tasks(recovery), arn=EXECUTION.replace("pet-detector:", "pet-recovery:"))


def ended(execution, event=EVENT, **detail):
    """The event about the end of an execution."""
    told = {"executionArn": EXECUTION, "input": json.dumps(event), "error": execution.error, "cause": execution.cause}
    return status_event(MACHINE, execution.status, **{**told, **detail})


def called(execution):
    return [state for state, _ in execution.calls]


# --- definition -----------------------------------------------------------------------------------------------------


def test_definitions_are_complete(pets, machine):
    """P3: JSONata, every placeholder filled, bounded in time; standard machines."""
    assert machine["QueryLanguage"] == "JSONata"
    assert "${" not in json.dumps(machine)
    assert machine["TimeoutSeconds"] > 0
    assert not any("type" in body for body in pets.all("aws_sfn_state_machine").values())


def test_definitions_are_written_without_white_space(pets):
    """C4: a change of white space in the file is no change of the machine."""
    for body in pets.all("aws_sfn_state_machine").values():
        assert "\n" not in body["definition"]
        assert '": ' not in body["definition"]


def test_tasks_call_what_the_stack_made(machine):
    """P3: the functions and the table of this stack; nothing else. No machine reaches the API's function."""
    told = json.dumps([state["Arguments"] for state in tasks(machine).values()])
    functions = {f"{FUNCTION}{name}" for name in ("image-processor", "file-manager", "notification-service")}
    assert set(re.findall(r"arn:aws:[^\"\\' ]+", told)) <= functions
    assert set(re.findall(r'"TableName": "([^"]+)"', told)) <= {"serverlessapp-DetectionLogs"}
    resources = {state["Resource"] for state in tasks(machine).values()}
    assert resources <= {"arn:aws:states:::lambda:invoke", "arn:aws:states:::dynamodb:updateItem"}


@pytest.mark.parametrize("name", FILES)
def test_every_task_catches_everything_but_those_with_a_reason(pets, name):
    """P3: every task, save for those of which checks/asl.py tells why; every catch leads to the record, and that one's on."""
    machine = pets.machine(f"pets/{name}")
    without = {task for task, state in tasks(machine).items() if "States.ALL" not in ways(state)}
    assert without == set(WITHOUT_CATCH_ALL.get(FILES[name], ()))
    if name == "pipeline":
        expected = dict.fromkeys(tasks(machine), "GiveUp") | {"GiveUp": "Failed"}
        assert {task: ways(state)["States.ALL"] for task, state in tasks(machine).items()} == expected


# --- the way of an image --------------------------------------------------------------------------------------------


def test_way_of_an_image(pipeline):
    """P3: analysed, classified, filed, recorded. It enters 8 states, each of which is paid for: whoever adds one changes this
    number."""
    world = World()
    done = run(pipeline, world)
    assert (done.status, done.states, len(done.states)) == ("SUCCEEDED", NORMAL, 8)
    assert called(done) == ["Analyse", "Classify", "File", "Record"]
    assert world.record == {
        contract.EXECUTION: EXECUTION,
        contract.STATUS: contract.COMPLETED,
        contract.ANIMAL: "dog",
        contract.CONFIDENCE: 97.4,
        contract.LOCATION: f"s3://{BUCKET}/dogs/{KEY.removeprefix('input/')}",
        contract.LOCATION_VERSION: "filed-1",
    }
    assert world.sent == []


def test_record_says_where_the_image_is_only_once_it_is_there(pipeline):
    """P5: until then it is being processed."""
    world = World(File=Failure("Boom", "no"))
    seen = []
    give_up = world.give_up
    world.give_up = lambda *given, **payload: (seen.append(dict(world.record)), give_up(*given, **payload))[1]
    run(pipeline, world)
    assert seen[0][contract.STATUS] == contract.PROCESSING
    assert not {contract.LOCATION, contract.LOCATION_VERSION} & set(world.record)


def test_an_uncertain_image_is_announced_once(pipeline):
    """P4: recorded with the best guess, filed under others/, one alert with all that a person must know."""
    world = World(DOUBTFUL)
    done = run(pipeline, world)
    assert (done.status, done.states) == ("SUCCEEDED", [*NORMAL[:-1], "Notify", "Done"])
    location = f"s3://{BUCKET}/others/{KEY.removeprefix('input/')}"
    assert (world.record[contract.STATUS], world.record[contract.LOCATION]) == (contract.UNCERTAIN, location)
    expected = {"image_id": ID, "object": OBJECT, "animal": "dog", "confidence": 55.5, "location": location}
    assert world.sent == [expected]


@pytest.mark.parametrize("animal", contract.ANIMALS)
def test_a_certain_image_is_not_announced(pipeline, animal):
    """P4: neither animal is certain, too."""
    world = World({**DOG, "animal": animal, "folder": contract.FOLDERS[animal]})
    assert run(pipeline, world).status == "SUCCEEDED"
    assert world.sent == []


def test_a_refused_image_is_no_incident(pipeline):
    """P9: recorded as failed with code and reason; the execution succeeds, and nothing is filed or announced."""
    world = World(analysed=REFUSAL)
    done = run(pipeline, world)
    assert done.status == "SUCCEEDED"
    assert done.states == ["IsFolder", "Analyse", "IsAnalysed", "RecordRefusal", "Refused"]
    assert world.record == {
        contract.EXECUTION: EXECUTION,
        contract.STATUS: contract.FAILED,
        contract.FAILURE_CODE: "truncated",
        contract.FAILURE_REASON: "the file ends in the middle",
    }


def test_a_second_execution_of_one_version_stops(pipeline):
    """P3: events come twice; the other execution's record is not touched."""
    world = World(analysed={"outcome": "duplicate", "image_id": ID})
    world.records[ID] = {contract.EXECUTION: f"{EXECUTION}-other", contract.STATUS: contract.PROCESSING}
    before = dict(world.record)
    done = run(pipeline, world)
    assert (done.status, done.states[-1], called(done)) == ("SUCCEEDED", "AlreadyBegun", ["Analyse"])
    assert world.record == before


@pytest.mark.parametrize("key", ["input/", "input/holiday/", "input/a b/ü/"])
def test_folder_markers_are_ignored(pipeline, key):
    """P3: the console makes folders of empty objects; they are no images, and nothing is asked of them."""
    done = run(pipeline, World(), object_event(key, bucket=BUCKET))
    assert (done.status, done.states, done.calls) == ("SUCCEEDED", ["IsFolder", "Ignored"], [])


def test_every_outcome_and_status_of_the_contract_is_known(pipeline):
    """P3: the words that the choices compare are the contract's."""
    text = json.dumps(pipeline)
    outcomes = set(re.findall(r'"outcome": "(\w+)"', contract.__doc__))
    assert outcomes == {"analysed", "refused", "duplicate"}
    assert {each for each in outcomes if f"outcome = '{each}'" in text} == outcomes - {"analysed"}
    assert f"status = '{contract.UNCERTAIN}'" in text


# --- retries --------------------------------------------------------------------------------------------------------


def retrier(state, error):
    """The first retrier that takes an error: the one Step Functions uses."""
    return next(each for each in state["Retry"] if takes(each, error))


def test_throttling_is_waited_out(pipeline):
    """P3: refused twice by Rekognition, then answered: nothing of it is seen but the time it took."""
    world = World(Analyse=[Failure(contract.ERROR_THROTTLED, "slow down")] * 2)
    done = run(pipeline, world)
    assert (done.status, done.states) == ("SUCCEEDED", NORMAL)
    assert called(done) == ["Analyse"] * 3 + ["Classify", "File", "Record"]
    assert done.pauses == pauses(retrier(pipeline["States"]["Analyse"], contract.ERROR_THROTTLED))[:2]
    assert world.record[contract.STATUS] == contract.COMPLETED


def test_every_attempt_asks_the_same(pipeline):
    """P3: so that the functions know a retry from a duplicate."""
    done = run(pipeline, World(DOUBTFUL, **{name: [Failure("States.Timeout")] for name in STEPS}))
    assert done.status == "SUCCEEDED"
    for name in STEPS:
        first, second = [arguments for state, arguments in done.calls if state == name]
        assert first == second


def test_every_error_of_the_contract_has_a_retrier(pipeline):
    """P3: none is left to the one for everything else."""
    errors = {value for name, value in vars(contract).items() if name.startswith("ERROR_")}
    named = {error for each in pipeline["States"]["Analyse"]["Retry"] for error in each["ErrorEquals"]}
    assert errors == {error for error in named if "." not in error}


@pytest.mark.parametrize("error", [contract.ERROR_THROTTLED, contract.ERROR_UNAVAILABLE])
def test_throttling_and_outages_are_sat_out_for_minutes(pipeline, error):
    """P3: on the average of full jitter, half of the longest pauses; each at least a minute and a half."""
    expected = retrier(pipeline["States"]["Analyse"], error)
    assert expected["JitterStrategy"] == "FULL"
    assert sum(pauses(expected)) / 2 >= 90


def test_throttled_functions_are_tried_for_many_minutes(machine):
    """P3: a backlog of uploads is no fault of an image."""
    invoking = [state for state in tasks(machine).values() if state["Resource"].endswith("lambda:invoke")]
    assert invoking
    for state in invoking:
        throttled = retrier(state, THROTTLED_FUNCTION)
        assert throttled["ErrorEquals"] == [THROTTLED_FUNCTION]
        assert sum(pauses(throttled)) / 2 >= 600


def test_every_task_retries_everything_else_a_little(machine):
    """P3: growing, random pauses, and an end to them."""
    for name, state in tasks(machine).items():
        retriers = [each for each in state["Retry"] if each["MaxAttempts"]]
        assert retriers[-1]["ErrorEquals"] == ["States.ALL"], name
        assert 2 <= retriers[-1]["MaxAttempts"] <= 6, name
        assert all(each["BackoffRate"] > 1 and each["JitterStrategy"] == "FULL" for each in retriers), name
        assert retrier(state, "Lambda.ServiceException")["MaxAttempts"] >= 2, name


def test_lost_conditions_are_not_retried(pipeline):
    """P3: a condition that failed once fails again."""
    conditional = {name: state for name, state in tasks(pipeline).items() if "ConditionExpression" in state["Arguments"]}
    assert set(conditional) == {"Record", "RecordRefusal"}
    for state in conditional.values():
        assert state["Retry"][0] == {"ErrorEquals": [LOST], "MaxAttempts": 0}


def test_tasks_outlast_their_functions(pets, machine):
    """P3: Lambda ends a function before the machine gives it up."""
    seconds = {body["function_name"]: body["timeout"] for body in pets.all("aws_lambda_function").values()}
    for name, state in tasks(machine).items():
        if function := state["Arguments"].get("FunctionName"):
            assert state["TimeoutSeconds"] > seconds[function.rpartition(":")[2]], name


def longest(state, retrier_, seconds):
    """The longest that a task may take if this retrier is used up and no other one, each attempt at its limit."""
    attempt = 1 if retrier_["ErrorEquals"] == [THROTTLED_FUNCTION] else seconds  # rejected at once
    return sum(pauses(retrier_)) + attempt * (1 + retrier_["MaxAttempts"])


def test_machines_outlast_every_single_cause(pets, pipeline, recovery):
    """P3: an error that persists ends in its own name and not as TIMED_OUT: each retrier of each task alone, on top of one
    attempt of every other task and of a GiveUp that needs all attempts it has for everything else. Several causes at once may
    take longer; the recovery then records TIMED_OUT."""
    seconds = {body["function_name"]: body["timeout"] for body in pets.all("aws_lambda_function").values()}

    def limit(state):
        function = state["Arguments"].get("FunctionName", "").rpartition(":")[2]
        return seconds.get(function, state["TimeoutSeconds"])

    give_up = tasks(pipeline)["GiveUp"]
    after = longest(give_up, retrier(give_up, "States.Timeout"), limit(give_up))
    for name, state in tasks(pipeline).items():
        beside = sum(limit(each) for other, each in tasks(pipeline).items() if other not in (name, "GiveUp"))
        for each in state["Retry"]:
            taken = longest(state, each, limit(state)) + beside + (0 if name == "GiveUp" else after)
            assert taken < pipeline["TimeoutSeconds"], (name, each["ErrorEquals"])
    for each in tasks(recovery)["GiveUp"]["Retry"]:
        assert longest(tasks(recovery)["GiveUp"], each, limit(give_up)) < recovery["TimeoutSeconds"]


# --- failures -------------------------------------------------------------------------------------------------------


def test_rekognition_is_down(pipeline, recovery):
    """P3: tried as long as its retrier says; then the record and the execution fail with the same words, the image stays where
    it is, and the recovery adds nothing."""
    cause = lambda_error(contract.ERROR_UNAVAILABLE, "no answer: it's \"down\"")
    world = World(Analyse=Failure(contract.ERROR_UNAVAILABLE, cause))
    done = run(pipeline, world)
    expected = retrier(pipeline["States"]["Analyse"], contract.ERROR_UNAVAILABLE)
    assert called(done) == ["Analyse"] * (1 + expected["MaxAttempts"]) + ["GiveUp"]
    assert done.pauses == pauses(expected)
    words = (contract.ERROR_UNAVAILABLE, "no answer: it's \"down\"")
    assert (done.status, done.error, done.cause) == ("FAILED", *words)
    assert (world.record[contract.STATUS], world.record[contract.FAILURE_REASON]) == (contract.FAILED, words)
    before = dict(world.record)
    recovered = recover(recovery, world, ended(done))
    assert (recovered.status, recovered.output["recorded"]) == ("SUCCEEDED", False)
    assert world.record == before


CAUSES = causes(2000)


@pytest.mark.parametrize("where", STEPS)
@pytest.mark.parametrize(("cause", "text"), CAUSES.values(), ids=CAUSES)
def test_every_failure_ends_in_the_same_words(pipeline, where, cause, text):
    """P3: at every step: one call of GiveUp, and the execution fails with what it was told."""
    done = run(pipeline, World(DOUBTFUL, **{where: Failure("Boom", cause)}))
    assert (done.status, done.error, done.cause) == ("FAILED", "Boom", text)
    assert done.arguments("GiveUp")["Payload"] == {
        "action": "give_up",
        "object": OBJECT,
        "time": EVENT["time"],
        "execution": EXECUTION,
        "error": "Boom",
        "cause": text,
    }


def test_a_refusal_that_cannot_be_recorded_is_a_failure(pipeline):
    """P9: else the record would be processing for ever."""
    world = World(analysed=REFUSAL, RecordRefusal=Failure("DynamoDB.Down", "no"))
    assert run(pipeline, world).status == "FAILED"
    assert (world.record[contract.STATUS], world.record[contract.FAILURE_REASON]) == (contract.FAILED, ("DynamoDB.Down", "no"))


@pytest.mark.parametrize("where", STEPS)
def test_a_cause_that_only_looks_like_json_costs_no_record(pipeline, recovery, where):
    """P3: whatever a cause is, the execution fails and the record tells of it, by the pipeline or by the recovery."""
    world = World(DOUBTFUL, **{where: Failure("Boom", '{"errorMessage": "cut off }')})
    done = run(pipeline, world)
    assert done.status == "FAILED"
    assert recover(recovery, world, ended(done)).status == "SUCCEEDED"
    finished = {"Notify": contract.UNCERTAIN}  # all is done but the alert: the alarm on the execution calls somebody
    assert world.record[contract.STATUS] == finished.get(where, contract.FAILED)


@pytest.mark.parametrize(("where", "analysed"), [("Record", None), ("RecordRefusal", REFUSAL)])
def test_another_executions_record_is_not_overwritten(pipeline, recovery, where, analysed):
    """P3: whose record was taken over meanwhile has lost it: it fails, is not tried again and changes nothing."""
    world = World(analysed=analysed)
    world.records[ID] = {contract.EXECUTION: f"{EXECUTION}-other", contract.STATUS: contract.PROCESSING}
    done = run(pipeline, world)
    assert (done.status, done.error, done.pauses) == ("FAILED", LOST, [])
    assert called(done)[-2:] == [where, "GiveUp"]
    assert recover(recovery, world, ended(done)).status == "SUCCEEDED"
    assert {name: world.record[name] for name in (contract.EXECUTION, contract.STATUS)} == {
        contract.EXECUTION: f"{EXECUTION}-other",
        contract.STATUS: contract.PROCESSING,
    }
    assert not {contract.LOCATION, contract.FAILURE_CODE, contract.FAILURE_REASON} & set(world.record)


def test_a_lost_answer_of_the_record_changes_nothing(pipeline):
    """P3: written, but the answer got lost: written again, the same."""
    world = World()
    update, lost = world.update, []

    def written(call):
        update(call)
        if not lost:
            lost.append(call)
            raise Failure("States.Timeout")
        return {}

    world.update = written
    done = run(pipeline, world)
    assert (done.status, called(done).count("Record")) == ("SUCCEEDED", 2)
    assert world.record[contract.STATUS] == contract.COMPLETED


def test_giving_up_fails_too(pipeline, recovery):
    """P3: the execution still fails with the original error, and the recovery records it."""
    world = World(Classify=Failure("Boom", lambda_error("Boom", "why")), GiveUp=Failure("Lambda.Unknown", "down"))
    done = run(pipeline, world)
    assert (done.status, done.error, done.cause) == ("FAILED", "Boom", "why")
    assert called(done).count("GiveUp") == 6
    assert world.record[contract.STATUS] == contract.PROCESSING
    del world.failing["GiveUp"]
    assert recover(recovery, world, ended(done)).output == {"image_id": ID, "recorded": True}
    assert (world.record[contract.STATUS], world.record[contract.FAILURE_REASON]) == (contract.FAILED, ("Boom", "why"))


def test_an_alert_that_cannot_be_sent_calls_somebody(pipeline):
    """P4: the record stays as it is, uncertain and filed; the execution fails, which the alarm tells."""
    world = World(DOUBTFUL, Notify=Failure("SNS.Down", "no"))
    done = run(pipeline, world)
    assert (done.status, done.error) == ("FAILED", "SNS.Down")
    assert (world.record[contract.STATUS], contract.LOCATION in world.record) == (contract.UNCERTAIN, True)


def test_labels_beyond_a_states_limit_are_recorded(pipeline, recovery):
    """P3: no catch sees States.DataLimitExceeded; the recovery records what it was."""
    world = World(analysed={"outcome": "analysed", "image_id": ID, "labels": ["x" * 300_000]})
    done = run(pipeline, world)
    assert (done.status, done.error, called(done)) == ("FAILED", "States.DataLimitExceeded", ["Analyse"])
    recover(recovery, world, ended(done))
    assert world.record[contract.FAILURE_REASON][0] == "States.DataLimitExceeded"


@pytest.mark.parametrize("event", [{}, [], "text", None, {"detail": {"object": {"key": "input/a.jpg"}}}])
def test_inputs_that_are_no_events_fail_aloud(pipeline, recovery, event):
    """P3: somebody starts the machine by hand, or the bucket is not versioned: there is no version that a record could be of.
    Both machines fail, and their alarms call somebody."""
    world = World()
    done = run(pipeline, world, event)
    assert (done.status, done.error, done.calls) == ("FAILED", "States.QueryEvaluationError", [])
    assert recover(recovery, world, ended(done, event)).status == "FAILED"
    assert world.records == {}


# --- recovery -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "detail", "error", "cause"),
    [
        ("ABORTED", {"error": None, "cause": None}, "ABORTED", "the execution ended ABORTED"),
        ("TIMED_OUT", {}, "TIMED_OUT", "the execution ended TIMED_OUT"),
        ("FAILED", {"error": "States.DataLimitExceeded", "cause": "too much"}, "States.DataLimitExceeded", "too much"),
        ("FAILED", {"error": "States.Runtime", "cause": None}, "States.Runtime", "the execution ended FAILED"),
        ("FAILED", {"error": None, "cause": "{no JSON}"}, "FAILED", "{no JSON}"),
        ("ABORTED", {"error": "Mine", "cause": "x" * 32768}, "Mine", "x" * 2000),
        ("ABORTED", {"error": "", "cause": ""}, "", ""),
    ],
)
@pytest.mark.parametrize("absent", [False, True], ids=["null", "absent"])
def test_recovery_gives_up_what_no_catch_saw(recovery, status, detail, error, cause, absent):
    """P3: in the name of the execution that ended; missing words are those of the status."""
    event = status_event(MACHINE, status, executionArn=EXECUTION, input=json.dumps(EVENT), **detail)
    if absent:
        event["detail"] = {name: value for name, value in event["detail"].items() if value is not None}
    world = World()
    done = recover(recovery, world, event)
    assert done.arguments("GiveUp") == {
        "FunctionName": f"{FUNCTION}image-processor",
        "Payload": {
            "action": "give_up",
            "object": OBJECT,
            "time": EVENT["time"],
            "execution": EXECUTION,
            "error": error,
            "cause": cause,
        },
    }
    assert (done.status, done.output) == ("SUCCEEDED", {"image_id": ID, "recorded": True})


def test_an_execution_that_ends_between_record_and_alert_stays_recorded(recovery):
    """P3: the recovery fails no record that is finished."""
    world = World()
    world.records[ID] = {contract.EXECUTION: EXECUTION, contract.STATUS: contract.UNCERTAIN}
    event = status_event(MACHINE, "TIMED_OUT", executionArn=EXECUTION, input=json.dumps(EVENT))
    assert recover(recovery, world, event).output["recorded"] is False
    assert world.record[contract.STATUS] == contract.UNCERTAIN


def test_recovery_fails_aloud(recovery):
    """P3: who cannot record must not end as if all were well; the alarm on failed executions calls somebody."""
    world = World(GiveUp=Failure("Lambda.Down", "no"))
    done = recover(recovery, world, status_event(MACHINE, "ABORTED", executionArn=EXECUTION, input=json.dumps(EVENT)))
    assert (done.status, done.error, called(done)) == ("FAILED", "Lambda.Down", ["GiveUp"] * 6)
