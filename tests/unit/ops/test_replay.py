"""`python -m ops replay` (O2)."""

import json
from datetime import timedelta

import pytest

from lambdas.pets import contract as pets
from lambdas.pets.uploads import Upload
from ops.regions import OpsError
from ops.replay import HOLD_SECONDS, Replay, replay_name
from tests.unit.ops.estate import ACCOUNT, BUCKET, PIPELINE, Aws, Screen, s3_event
from tests.unit.ops.fakes import NOW, refusal

WRITES = ("copy", "copy_object", "start_execution", "invoke", "delete_message")
EXECUTION = "e" * 64


@pytest.fixture
def aws():
    return Aws()


class Clock:
    """Passes when somebody waits."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


@pytest.fixture
def replay(aws):
    """`replay("files", "failed/a.csv")`: exit code, and what was said. Agrees to everything."""

    def run(what, *names, yes=True, dry_run=False, **more):
        screen, clock = Screen(), Clock()
        work = Replay(aws.estate(), screen, confirm=lambda question: yes, dry_run=dry_run, clock=clock, pause=clock.wait)
        return getattr(work, what)(names, **more), screen.told

    return run


# --- files -----------------------------------------------------------------------------------------------------------


def failed(aws, name="a.csv", status="FAILED", **more):
    aws.record(name, status, failed_key=f"failed/{name}", error_message="AccessDenied", **more)
    aws.store(f"failed/{name}", version="f1")


def test_failed_file_is_copied_back_and_stays(aws, replay):
    """O2: that very version; the object below failed/ is not touched."""
    failed(aws)
    code, told = replay("files")
    assert code == 0 and "raw/a.csv: SUCCEEDED" in told
    [(_, _, copied)] = [call for call in aws.calls if call[1] in WRITES]
    assert copied["CopySource"] == {"Bucket": BUCKET, "Key": "failed/a.csv", "VersionId": "f1"}
    assert (copied["Bucket"], copied["Key"]) == (BUCKET, "raw/a.csv")


def test_managed_copy_does_what_one_request_cannot(aws, replay):
    """O2: above 5 GB, in parts."""
    failed(aws)
    replay("files")
    [(_, _, copied)] = [call for call in aws.calls if call[1] == "copy"]
    assert copied["Config"].multipart_threshold < 5 * 10**9
    assert 10_000 * copied["Config"].multipart_chunksize > 2_000 * 1024**3


def test_second_replay_does_nothing(aws, replay):
    """O2: neither without names nor by name."""
    failed(aws)
    replay("files")
    aws.hidden.add((BUCKET, "raw/a.csv"))
    assert replay("files")[0] == 0
    code, told = replay("files", "failed/a.csv")
    assert code == 1 and "a later upload succeeded" in told
    assert aws.operations(*WRITES) == ["copy"]
    assert replay("files", "failed/a.csv", force=True)[0] == 0
    assert aws.operations(*WRITES) == ["copy"] * 2


def test_newer_upload_is_not_replaced(aws, replay):
    """O2: the user must lose nothing."""
    failed(aws)
    aws.store("raw/a.csv", version="newer")
    code, told = replay("files", "failed/a.csv")
    assert code == 1 and "raw/a.csv is there" in told
    aws.hidden.add((BUCKET, "raw/a.csv"))
    aws.record("a.csv", "PROCESSING", version="newer", ago=timedelta())
    code, told = replay("files", "failed/a.csv")
    assert code == 1 and "under way" in told
    assert aws.operations(*WRITES) == []


def test_invalid_file_is_replayed_only_by_name(aws, replay):
    """O2: it would be invalid again."""
    failed(aws, status="INVALID")
    assert replay("files") [1].count("Nothing to replay") == 1
    assert replay("files", "failed/a.csv")[0] == 0


@pytest.mark.parametrize(("key", "why"), [
    (f"failed/a.csv.rejects/{EXECUTION}/part-00000.jsonl", "no file"),
    (f"failed/a.csv.rejects/{EXECUTION}/whole/part-00000.jsonl", "no file"),
    (f"failed/a.csv.withdrawn/{EXECUTION}", "no file"),
    ("failed/", "no key below"),
    ("processed/a.csv", "no key below"),
    ("a.csv", "no key below"),
    ("failed/gone.csv", "no such object"),
    ("s3://another/failed/a.csv", "not in etl-pipeline"),
])
def test_what_is_no_file_is_refused(aws, replay, key, why):
    """O2."""
    if EXECUTION in key:
        aws.store(key)
    code, told = replay("files", key)
    assert code == 1 and why in told and aws.operations(*WRITES) == []


def test_file_whose_folder_is_called_like_rejects(aws, replay):
    """O2: only what the pipeline itself writes is refused."""
    failed(aws, "x.rejects/may.csv")
    assert replay("files", f"s3://{BUCKET}/failed/x.rejects/may.csv")[0] == 0


def test_file_that_stayed_in_raw_is_copied_onto_itself(aws, replay):
    """O2: its event was lost, or it could not be set aside."""
    aws.store("raw/a.csv", version="r1")
    assert replay("files", "raw/a.csv")[0] == 0
    [(_, _, copied)] = [call for call in aws.calls if call[1] == "copy"]
    assert copied["CopySource"]["VersionId"] == "r1" and copied["ExtraArgs"]["MetadataDirective"] == "REPLACE"


def test_replay_that_fails_again_is_told(aws, replay):
    """O2: exit code 1, with the reason."""
    failed(aws)
    aws.record("a.csv", "FAILED", version="copy", ago=timedelta(), error_message="still denied")
    original = aws.record

    def record(*arguments, **more):
        original(*arguments, **more | {"status": "FAILED", "error_message": "still denied"})

    aws.record = record
    code, told = replay("files", "failed/a.csv")
    assert code == 1 and "FAILED still denied" in told


@pytest.mark.parametrize("options", [{"yes": False}, {"dry_run": True}])
@pytest.mark.parametrize("what", ["files", "letters", "metadata", "images"])
def test_nothing_is_sent_unless_it_was_agreed_to(aws, replay, what, options):
    """O2: lists first; a dry run is no failure."""
    failed(aws)
    aws.letter("etl-validation-dlq", s3_event("raw/a.csv"))
    aws.tables["us-east-1", "metadata-processing-failures"] = [failure()]
    aws.tables["us-east-1", "serverlessapp-DetectionLogs"] = [failed_image(aws)]
    code, told = replay(what, **options)
    assert code == (0 if "dry_run" in options else 1)
    assert aws.operations(*WRITES) == [] and "(1)" in told


# --- dead letters ----------------------------------------------------------------------------------------------------

STATUS_CHANGE = {"source": "aws.states", "detail": {"stateMachineArn": PIPELINE, "status": "ABORTED", "executionArn": "x"}}
CREATED = {"source": "aws.s3", "detail-type": "Object Created", "detail": {
    "bucket": {"name": "iac-rlhf-aws-release"}, "object": {"key": "a/metadata.json"}}}


def test_letter_is_sent_confirmed_and_then_deleted(aws, replay):
    """O2, E3a: to the function that it was meant for."""
    event = s3_event("raw/it%27s+a.csv")
    aws.letter("etl-validation-dlq", event)
    code, told = replay("letters", "etl-validation-dlq")
    assert code == 0 and "raw/it's a.csv" in told
    assert aws.operations(*WRITES) == ["invoke", "delete_message"]
    [sent] = [arguments for _, operation, arguments in aws.calls if operation == "invoke"]
    assert (sent["FunctionName"], sent["InvocationType"]) == ("etl-validation", "RequestResponse")
    assert json.loads(sent["Payload"]) == event


@pytest.mark.parametrize(("queue", "message", "machine"), [
    ("etl-not-succeeded-dlq", STATUS_CHANGE, "etl-recovery"),
    ("metadata-created-dlq", CREATED, "metadata-pipeline"),
])
def test_event_starts_what_its_rule_would_have_started(aws, replay, queue, message, machine):
    """O2: once, whatever happens between sending and deleting."""
    aws.letter(queue, message)
    aws.faults["delete_message"] = refusal("ServiceUnavailable", 503)
    code, told = replay("letters", queue)
    assert code == 1 and "stays" in told
    aws.faults.clear()
    assert replay("letters", queue)[0] == 0
    [(arn, started)] = aws.executions.items()
    assert f":{machine}:replay-" in arn and json.loads(started["input"]) == message
    assert aws.queues["us-east-1", queue] == {}


@pytest.mark.parametrize(("queue", "message", "why"), [
    ("etl-validation-dlq", s3_event("raw/a.csv", "another"), "not about s3://"),
    ("etl-validation-dlq", s3_event("processed/a.csv"), "not about s3://"),
    ("etl-validation-dlq", STATUS_CHANGE, "no event of S3"),
    ("etl-validation-dlq", {"Records": []}, "no event of S3"),
    ("etl-validation-dlq", "no JSON", "no JSON object"),
    ("etl-validation-dlq", "[1]", "no JSON object"),
    ("etl-not-succeeded-dlq", s3_event("raw/a.csv"), "no status change"),
    ("etl-not-succeeded-dlq", {"source": "aws.states", "detail": {"stateMachineArn": "other"}}, "another machine"),
    ("metadata-created-dlq", STATUS_CHANGE, "no event of a created object"),
    ("metadata-created-dlq", {**CREATED, "detail": {"bucket": {"name": "iac-rlhf-aws-release"}, "object": {"key": "x.json"}}},
     "does not match"),
    ("etl-transformation-dlq", s3_event("raw/a.csv"), "by hand"),
    ("serverless-stream-consumer-stream-dlq-prod", {"DDBStreamBatchInfo": {}}, "a place in the stream"),
])
def test_letter_that_is_not_of_its_queue_stays(aws, replay, queue, message, why):
    """O2: it and the reason are told; the others go on."""
    aws.letter(queue, message)
    aws.letter("metadata-created-dlq", CREATED)
    code, told = replay("letters", queue, "metadata-created-dlq")
    assert code == 1 and why in told
    assert len(aws.queues["us-east-1", queue]) == 1
    assert len(aws.executions) == 1


def test_queue_that_is_none_of_ours_is_refused(aws, replay):
    """O2: before anything is received, with the names of those that are."""
    with pytest.raises(OpsError, match="no dead-letter queue of the environment prod[^$]*etl-validation-dlq"):
        replay("letters", "etl-validation-dlq", "another-dlq")
    assert aws.operations("receive_message") == []


def test_letter_that_is_not_taken_stays_and_can_be_seen_again(aws, replay):
    """O2: a function that fails, as it did before."""
    aws.letter("etl-validation-dlq", s3_event("raw/a.csv"))
    aws.function_error = '{"errorMessage": "denied"}'
    code, told = replay("letters")
    assert code == 1 and "etl-validation fails on it" in told and "denied" in told
    assert aws.operations(*WRITES) == ["invoke"]
    shown = [arguments["VisibilityTimeout"] for _, operation, arguments in aws.calls if operation == "change_message_visibility"]
    assert shown[0] >= HOLD_SECONDS and shown[-1] == 0


def test_letter_that_somebody_else_holds_now_is_not_sent(aws, replay):
    """O2: the question was answered too late."""
    aws.letter("etl-validation-dlq", s3_event("raw/a.csv"))
    aws.faults["change_message_visibility"] = refusal("InvalidParameterValue")
    code, told = replay("letters")
    assert code == 1 and "no longer held" in told and aws.operations(*WRITES) == []


def test_region_that_is_silent_does_not_stop_the_others(aws, replay):
    """O2, R8."""
    aws.letter("etl-validation-dlq", s3_event("raw/a.csv"))
    aws.faults["us-west-2", "get_queue_url"] = refusal("InternalError", 503)
    code, told = replay("letters")
    assert code == 1 and "us-west-2 answers with faults only" in told
    assert aws.operations(*WRITES) == ["invoke", "delete_message"]


@pytest.mark.parametrize("done", ["true", "false"])
def test_file_of_the_ingestion_is_confirmed_by_its_checkpoint(aws, replay, done):
    """O2, R6: in its own region."""
    bucket = "serverless-data-ingestion-dr-prod"
    aws.letter("serverless-data-processor-dlq-prod", s3_event("a.json", bucket), "us-west-2")
    aws.letter("serverless-data-processor-dlq-prod", s3_event("a.json", bucket), "us-east-1")
    from ops.resume import Upload

    checkpoint = Upload(bucket, "a.json", "v", 1, NOW).checkpoint
    aws.tables["us-west-2", "serverless-processed-data-prod"] = [{"recordId": checkpoint, "done": done}]
    code, told = replay("letters")
    assert code == 1 and "us-east-1" in told and "not about s3://serverless-data-ingestion-prod/" in told
    assert aws.operations(*WRITES) == (["delete_message"] if done == "true" else ["invoke"])
    assert ("not done after" in told) is (done == "false")


# --- failures of the metadata pipeline, images -----------------------------------------------------------------------


def failure(error="IndexThrottled", input='{"detail": {}}', execution="e1"):
    return {"execution_id": execution, "failed_at": "2026-11-21T02:00:00Z", "object_key": "a/metadata.json", "error": error,
            "cause": "c", "input": input}


def test_failure_is_started_again_once(aws, replay):
    """O2: with its input, under a name of its own."""
    aws.tables["us-east-1", "metadata-processing-failures"] = [failure()]
    assert replay("metadata")[0] == 0 and replay("metadata")[0] == 0
    [(arn, started)] = aws.executions.items()
    assert arn == f"arn:aws:states:us-east-1:{ACCOUNT}:execution:metadata-pipeline:{replay_name(failure())}"
    assert started["input"] == '{"detail": {}}'
    code, told = replay("metadata", "a/metadata.json")
    assert code == 1 and "was replayed before: SUCCEEDED" in told


@pytest.mark.parametrize(("status", "says"), [("FAILED", "FAILED"), ("RUNNING", "not at an end after")])
def test_outcome_of_each_started_failure_is_waited_for(aws, replay, monkeypatch, status, says):
    """O2: also of two versions of one object that failed in the same second; exit code 1 if one fails again, or takes longer."""
    from tests.unit.ops.estate import Client

    first, second = failure(), failure(execution="e2")
    aws.tables["us-east-1", "metadata-processing-failures"] = [first, second]
    start = Client._start_execution

    def start_execution(self, stateMachineArn, name, input):
        answer = start(self, stateMachineArn, name, input)
        if name == replay_name(first):
            aws.executions[answer["executionArn"]]["status"] = status
        return answer

    monkeypatch.setattr(Client, "_start_execution", start_execution)
    code, told = replay("metadata")
    assert code == 1 and f"a/metadata.json ({replay_name(first)}): {says}" in told
    assert f"a/metadata.json ({replay_name(second)}): SUCCEEDED" in told


@pytest.mark.parametrize(("item", "why"), [(failure("InvalidMetadata"), "at fault"), (failure(input=""), "not recorded")])
def test_failure_that_a_replay_would_not_help(aws, replay, item, why):
    """O2: it is left, and told."""
    aws.tables["us-east-1", "metadata-processing-failures"] = [item]
    code, told = replay("metadata")
    assert code == 0 and why in told and aws.executions == {}
    code, told = replay("metadata", "b/metadata.json")
    assert code == 1 and "no such failure" in told


def failed_image(aws, code=pets.PROCESSING_FAILED, current="v1"):
    aws.store("input/a.jpg", bucket="serverlessapp-pet-detector", version=current)
    return {pets.IMAGE_ID: "i", pets.STATUS: pets.FAILED, pets.FAILURE_CODE: code, pets.SOURCE_KEY: "input/a.jpg",
            pets.SOURCE_VERSION: "v1", pets.FAILURE_REASON: "r", pets.TIMESTAMP: "2026-11-21T02:00:00Z", pets.EXECUTION: "e"}


@pytest.mark.parametrize(("code", "current", "names", "expected"), [
    (pets.PROCESSING_FAILED, "v1", [], (0, ["copy_object"])),
    (pets.PROCESSING_FAILED, "v2", ["i"], (1, [])),  # somebody has uploaded a newer one
    ("truncated", "v1", [], (0, [])),
    ("truncated", "v1", ["i"], (1, [])),
    (pets.PROCESSING_FAILED, "v1", ["unknown"], (1, [])),
])
def test_image_is_copied_onto_itself(aws, replay, code, current, names, expected, monkeypatch):
    """O2, P3: that version, unless the picture itself is at fault."""
    copied_image_becomes(aws, monkeypatch, pets.COMPLETED, code, current)
    assert (replay("images", *names)[0], aws.operations(*WRITES)) == expected
    for _, operation, arguments in aws.calls:
        if operation == "copy_object":
            assert arguments["CopySource"]["VersionId"] == "v1" and arguments["ContentType"] == "image/jpeg"


@pytest.mark.parametrize(("becomes", "code", "says"), [
    (pets.COMPLETED, 0, "completed"), (pets.UNCERTAIN, 0, "uncertain"), (pets.FAILED, 1, "failed r"),
    (pets.PROCESSING, 1, "not at an end after"),
])
def test_outcome_of_an_image_is_waited_for(aws, replay, monkeypatch, becomes, code, says):
    """O2: exit code 1 if it fails again, or takes longer."""
    copied_image_becomes(aws, monkeypatch, becomes)
    found, told = replay("images")
    assert found == code and f"input/a.jpg: {says}" in told


def copied_image_becomes(aws, monkeypatch, becomes, code=pets.PROCESSING_FAILED, current="v1"):
    """What the record of the next version says, of an image that failed."""
    from tests.unit.ops.estate import Client

    monkeypatch.setattr(Client, "_head_object", lambda self, **_: {"ContentType": "image/jpeg"}, raising=False)
    records = aws.tables["us-east-1", "serverlessapp-DetectionLogs"] = [failed_image(aws, code, current)]

    def copy_object(self, Key, **_):
        aws.store(Key, bucket="serverlessapp-pet-detector", version="v3", ago=timedelta())
        image_id = Upload("serverlessapp-pet-detector", Key, "v3").derived_id
        records.append(records[0] | {pets.IMAGE_ID: image_id, pets.STATUS: becomes, pets.SOURCE_VERSION: "v3"})
        return {}

    monkeypatch.setattr(Client, "_copy_object", copy_object, raising=False)
