"""The pipeline's way of a large file (E12): whole executions, with the functions' answers made up."""

import json

import pytest

from lambdas.etl import ranges
from lambdas.etl.files import MAX_FILE_NAME_BYTES
from settings import TapSettings
from tap_stack import TapStack
from tests.synth.reading import synthesise
from tests.synth.states import STATE_LIMIT, Failure, evaluate, execute, ways

FAN_OUT = 256 * 1024**2
SMALL_WAY = ["RecordProcessing", "Validate", "IsValid", "Transform", "IsConverted", "RecordOutcome"]
LARGE_WAY = [
    *("RecordProcessing", "Validate", "IsValid", "Plan", "IsPlanned", "ConvertRanges", "Complete", "IsConverted"),
    "RecordOutcome",
]
ERROR_WAY = ["AbandonUpload", "SetAside", "NotifyFailure", "RecordFailed", "Failed"]
DONE = {"valid": True, "rows_read": 9, "rows_written": 9, "rows_rejected": 0, "output_key": "processed/a.csv"}
WHY = "range 1 ends at byte 54, but its last record at byte 60"
COUNT = 3


@pytest.fixture(scope="session")
def pipeline(etl):
    return etl.machine("etl/pipeline")


def given(size=FAN_OUT + 1, **file):
    known = {"bucket": "b", "key": "raw/a.csv", "file_name": "a.csv", "version_id": "v", "sequencer": "0A", "size": size}
    return {"file": known | file, "process_start_time": "2026-01-31T23:59:59.123456Z"}


def part(payload):
    """What a range answers."""
    number = payload["range"]["index"]
    return {**payload["range"], "reached": payload["range"]["end"], "rows_read": 3, "stored": {"ETag": f'"{number}"'}}


def functions(**answers):
    """The machine's tasks: each answer is what a function gives, an exception that it raises, or a function of its payload."""
    planned = [{"index": index, "start": index * 100, "end": index * 100 + 100} for index in range(COUNT)]
    known = {
        "RecordProcessing": {},
        "Validate": {"valid": True},
        "Plan": {"ranges": planned, "upload_id": "u1", "header_length": 44},
        "ConvertRange": part,
        "Complete": DONE,
        "Transform": DONE,
        "AbandonUpload": {},
        "Reject": {"failed_key": "failed/a.csv"},
        "SetAside": {"failed_key": "failed/a.csv"},
        **{name: {} for name in ("AnnounceRejects", "NotifyFailure", "RecordOutcome", "RecordFailed")},
    } | answers

    def call(answer):
        def answered(arguments):
            said = answer(arguments["Payload"]) if callable(answer) else answer
            if isinstance(said, Exception):
                raise said
            return {"Payload": said}

        return answered

    return {name: call(answer) for name, answer in known.items()}


def run(machine, input_=None, **answers):
    return execute(machine, input_ or given(), functions(**answers))


def asked(execution, state):
    """The payloads of every call of a state's function."""
    return [arguments["Payload"] for name, arguments in execution.calls if name == state]


def recorded(execution, state="RecordOutcome"):
    values = execution.arguments(state)["ExpressionAttributeValues"]
    return {name.removeprefix(":"): next(iter(value.values())) for name, value in values.items()}


def once(answer, error="Runtime.ExitError"):
    """The answer of a function that fails the first time."""
    said = [Failure(error, "killed")]
    return lambda payload: said.pop() if said else answer(payload)


def of_range(number, answer):
    """``ConvertRange`` with another answer for this range."""
    return lambda payload: answer(payload) if payload["range"]["index"] == number else part(payload)


# --- who goes which way ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "way"),
    [(0, SMALL_WAY), (FAN_OUT - 1, SMALL_WAY), (FAN_OUT, SMALL_WAY), (FAN_OUT + 1, LARGE_WAY), (2**40, LARGE_WAY)],
)
def test_way_of_a_file_by_its_size(pipeline, size, way):
    """E12: a small file enters 6 states, each of which is paid for: whoever adds one to its way changes this number. A large
    one enters 9, and one more for each range."""
    execution = run(pipeline, given(size))
    assert (execution.status, execution.states) == ("SUCCEEDED", way)
    assert [child.states for child in execution.children] == [["ConvertRange"]] * (COUNT if way == LARGE_WAY else 0)
    assert (len(SMALL_WAY), len(LARGE_WAY)) == (6, 9)


@pytest.mark.parametrize("count", [2, 5])
def test_plan_of_two_ranges_is_a_plan(pipeline, count):
    """E12."""
    planned = [{"index": index, "start": index, "end": index + 1} for index in range(count)]
    execution = run(pipeline, Plan={"ranges": planned, "upload_id": "u1", "header_length": 44})
    assert (execution.states, len(execution.children)) == (LARGE_WAY, count)


def test_size_and_concurrency_are_settings():
    """E12, C5a."""
    machine = synthesise(TapStack, "x", etl_fan_out_bytes=2**28 + 7, etl_max_concurrency=7).machine("etl/pipeline")
    assert run(machine, given(2**28 + 7)).states == SMALL_WAY
    assert run(machine, given(2**28 + 8)).states == LARGE_WAY
    assert machine["States"]["ConvertRanges"]["MaxConcurrency"] == "{% 7 %}"


def test_invalid_file_is_never_planned(pipeline):
    """E3c: whatever its size."""
    execution = run(pipeline, Validate={"valid": False, "reason": "no header"})
    assert execution.states == ["RecordProcessing", "Validate", "IsValid", "Reject", "RecordOutcome"]


def test_children_are_executions_of_their_own(pipeline):
    """E12: distributed, standard (exactly once, 15 minutes and more), of a fixed label, which names them."""
    map_ = pipeline["States"]["ConvertRanges"]
    assert map_["ItemProcessor"]["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    assert map_["Label"] == "Ranges"
    assert not any(name.startswith("Tolerated") for name in map_)  # one range less is no output


# --- what is passed on -----------------------------------------------------------------------------------------------


def test_children_are_given_all_they_need(pipeline):
    """E12: a child sees neither the parent's variables nor its context."""
    execution = run(pipeline)
    plan = functions()["Plan"]({"Payload": {}})["Payload"]
    shared = {"file": given()["file"], "execution_name": "4f1c8f0e", "upload_id": "u1", "header_length": 44}
    expected = [{"action": "convert_range", **shared, "range": each} for each in plan["ranges"]]
    assert asked(execution, "ConvertRange") == expected
    assert [set(each) for each in asked(execution, "Plan")] == [{"action", "file", "execution_name"}]


def test_parts_come_together(pipeline):
    """E12: in the order of the ranges, as the functions answered them."""
    execution = run(pipeline)
    (payload,) = asked(execution, "Complete")
    parts = [part(each) for each in asked(execution, "ConvertRange")]
    shared = {"file": given()["file"], "execution_name": "4f1c8f0e", "upload_id": "u1", "header_length": 44}
    assert payload == {"action": "complete", **shared, "parts": parts}
    assert recorded(execution).items() >= {"status": "SUCCEEDED", "rows_read": "9", "output_key": "processed/a.csv"}.items()


def test_results_of_the_most_ranges_fit_into_a_state(pipeline):
    """E12: 400 ranges with the largest plausible numbers, a file name as long and as much escaped as can be: a state holds
    256 KiB."""
    assert ranges.MAX_RANGES == 400
    most = TapSettings.model_fields["etl_max_file_bytes"].metadata[-1].le
    assert most > 2 * 10**12
    name = "\x01" * MAX_FILE_NAME_BYTES
    file = given(most, key=f"raw/{name}", file_name=name, bucket="b" * 63, version_id="v" * 1024, sequencer="F" * 32)["file"]
    counts = dict.fromkeys(("rows_read", "rows_written", "rows_rejected", "bytes", "reached"), most)
    stored = {"ETag": '"' + "f" * 32 + '"', "ChecksumCRC32": "abcdef=="}
    parts = [{"index": index, "start": most, "end": most, **counts, "stored": stored} for index in range(ranges.MAX_RANGES)]
    results = len(json.dumps(parts).encode())
    payload = {"file": file, "header_length": 2**20, "upload_id": "u" * 512, "parts": parts}
    assert results < STATE_LIMIT / 2
    assert len(json.dumps({"FunctionName": "f" * 140, "Payload": payload}).encode()) < STATE_LIMIT
    carried = evaluate(pipeline["States"]["ConvertRanges"]["Output"], result=parts, input={"ranges": parts})
    assert carried == {"parts": parts}  # and nothing else


# --- plans that come to nothing --------------------------------------------------------------------------------------


def test_file_that_cannot_be_cut_is_converted_in_one_piece(pipeline):
    """E12."""
    execution = run(pipeline, Plan={"ranges": []})
    assert execution.status == "SUCCEEDED"
    assert execution.states == [*LARGE_WAY[:5], *SMALL_WAY[3:]]
    assert asked(execution, "Transform")[0]["discarded"] == ""


def test_discarded_plan_is_converted_in_one_piece(pipeline):
    """E12: once; the reason goes along, which tells where rejects go and why a file is too large."""
    execution = run(pipeline, Complete={"discarded": WHY})
    assert execution.status == "SUCCEEDED"
    assert execution.states == [*LARGE_WAY[:-1], *SMALL_WAY[3:]]
    (payload,) = asked(execution, "Transform")
    assert payload["discarded"] == WHY
    assert payload["range"] == {"index": 0, "start": 0, "end": FAN_OUT + 1}
    assert recorded(execution)["output_key"] == "processed/a.csv"


def test_small_file_was_never_discarded(pipeline):
    """E12."""
    assert asked(run(pipeline, given(10)), "Transform")[0]["discarded"] == ""


def test_too_large_for_one_piece_is_invalid(pipeline):
    """E12, E3c: a person's business, no incident."""
    answer = {"valid": False, "reason": "split it", "rows_read": 0, "rows_written": 0, "rows_rejected": 0}
    execution = run(pipeline, Plan={"ranges": []}, Transform=answer)
    assert (execution.status, execution.states[-2:]) == ("SUCCEEDED", ["Reject", "RecordOutcome"])
    assert recorded(execution).items() >= {"status": "INVALID", "error_message": "split it"}.items()


@pytest.mark.parametrize(
    ("answer", "way"),
    [
        ({**DONE, "rows_rejected": 1, "rejects_prefix": "failed/a.csv.rejects/e/"}, ["AnnounceRejects", "RecordOutcome"]),
        ({**DONE, "valid": False, "reason": "too many"}, ["Reject", "RecordOutcome"]),
    ],
)
def test_rejects_of_ranges(pipeline, answer, way):
    """E5a, E5c, E12: announced once for the file, or INVALID, as after one piece."""
    assert run(pipeline, Complete=answer).states == [*LARGE_WAY[:-1], *way]


# --- what breaks -----------------------------------------------------------------------------------------------------


def test_range_is_retried_alone(pipeline):
    """E12, E7a: a killed worker costs its own range a second attempt, and nobody else anything."""
    execution = run(pipeline, ConvertRange=of_range(1, once(part)))
    assert (execution.status, execution.states) == ("SUCCEEDED", LARGE_WAY)
    assert [each["range"]["index"] for each in asked(execution, "ConvertRange")] == [0, 1, 1, 2]


BROKEN = {
    "a range": {"ConvertRange": of_range(1, lambda _: Failure("Boom", "it broke"))},
    "completing": {"Complete": Failure("Boom", "it broke")},
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("abandon", [{}, Failure("Boom", "too")], ids=["abandoned", "not even that"])
def test_failure_gives_the_upload_up(pipeline, what, abandon):
    """E12, E7a: abandoned, set aside, announced, recorded FAILED, whatever of these fails."""
    execution = run(pipeline, **BROKEN[what], AbandonUpload=abandon)
    assert execution.status == "FAILED"
    assert execution.states == [*LARGE_WAY[: 6 if what == "a range" else 7], *ERROR_WAY]
    shared = {"file": given()["file"], "execution_name": "4f1c8f0e", "upload_id": "u1"}
    assert asked(execution, "AbandonUpload")[0] == {"action": "abandon", **shared}
    assert len(asked(execution, "AbandonUpload")) == (1 if abandon == {} else 4)
    assert asked(execution, "SetAside")[0]["execution_name"] == "4f1c8f0e"
    error = "States.ExceedToleratedFailureThreshold" if what == "a range" else "Boom"
    assert execution.error == error and error in recorded(execution, "RecordFailed")["error_message"]


def test_failing_range_is_tried_four_times(pipeline):
    """E7a, E12: three more attempts, with growing random pauses; then the map ends."""
    execution = run(pipeline, **BROKEN["a range"])
    assert [each["range"]["index"] for each in asked(execution, "ConvertRange")] == [0, 1, 1, 1, 1]
    assert execution.children[1].pauses == [2, 4, 8]
    assert execution.children[1].status == "FAILED"


def test_failing_plan_has_no_upload_to_give_up(pipeline):
    """E12, E7a."""
    execution = run(pipeline, Plan=Failure("Boom"))
    assert execution.states == [*LARGE_WAY[:4], *ERROR_WAY[1:]]


def test_denied_map_gives_the_upload_up(pipeline):
    """E12: whatever error the map itself reports."""
    assert ways(pipeline["States"]["ConvertRanges"]) == {"Next": "Complete", "States.ALL": "AbandonUpload"}


def test_children_of_a_map_are_not_the_recoverys_business(etl):
    """E7b: a failed child is an event of the machine ``NAME/LABEL``; its parent's error path, or event, is what counts."""
    from tests.synth.events import matches, pattern, status_event

    machine = "arn:aws:states:us-east-1:111122223333:stateMachine:etl-pipeline"
    assert matches(pattern(etl, "etl/not_succeeded"), status_event(machine, "FAILED"))
    assert not matches(pattern(etl, "etl/not_succeeded"), status_event(f"{machine}/Ranges", "FAILED"))
