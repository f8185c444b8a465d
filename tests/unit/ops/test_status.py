"""`python -m ops status` (O1)."""

import json
from datetime import timedelta

import pytest

from lambdas.pets import contract as pets
from ops.replay import replay_name
from ops.status import Status
from tests.unit.ops.estate import ACCOUNT, PIPELINE, Aws, Screen, s3_event
from tests.unit.ops.fakes import EAST, NOW, WEST, refusal

TABLES = ("etl-file-metadata", "metadata-processing-failures", "serverlessapp-DetectionLogs", "serverless-processed-data-prod")


@pytest.fixture
def aws():
    return Aws()


def status(aws, *names, **options):
    """Exit code, and what was said."""
    screen = Screen()
    return Status(aws.estate(), screen, now=lambda: NOW, **options).run(names), screen.told


def test_all_is_well(aws):
    """O1: exit code 0, each system and region named."""
    aws.record("a.csv")
    code, told = status(aws)
    assert code == 0
    for name in ("etl", "metadata", "pets", "ingestion"):
        assert f"{name} ({EAST})" in told
    assert f"ingestion ({WEST})" in told
    assert "✗" not in told


def test_what_runs_is_no_fault(aws):
    """O1."""
    aws.executions[PIPELINE.replace("stateMachine", "execution") + ":x"] = {"status": "RUNNING"}
    code, told = status(aws, "etl")
    assert code == 0 and "1 run, the oldest for 60 s" in told


@pytest.mark.parametrize("later", [False, True])
def test_failed_file_needs_a_person_until_a_later_upload_answers_it(aws, later):
    """O1."""
    aws.record("a.csv", "FAILED", error_message="AccessDenied: no")
    if later:
        aws.record("a.csv", version="v2", ago=timedelta(minutes=1))
    code, told = status(aws, "etl")
    assert code == (0 if later else 1)
    assert ("answered by a later upload" if later else "python -m ops replay files --suffix prod") in told
    assert ("AccessDenied" in told) is not later


def test_what_failed_long_ago_is_left_out(aws):
    """O1: unless asked for."""
    aws.record("a.csv", "FAILED", ago=timedelta(days=2))
    assert status(aws, "etl")[0] == 0
    assert status(aws, "etl", since=timedelta(days=3))[0] == 1


def test_invalid_file_is_no_incident(aws):
    """E3c, O1."""
    aws.record("a.csv", "INVALID", error_message="the header has 1 column")
    code, told = status(aws, "etl")
    assert code == 0 and "the header has 1 column" in told


@pytest.mark.parametrize(("ends", "ago", "stuck"), [
    ("FAILED", timedelta(hours=1), True),
    (None, timedelta(hours=1), True),  # Step Functions has forgotten it
    ("RUNNING", timedelta(hours=1), False),
    ("FAILED", timedelta(minutes=39), False),  # its recovery may be on the way
])
def test_stuck_record(aws, ends, ago, stuck):
    """O1: PROCESSING, though its execution has ended."""
    item = aws.record("a.csv", "PROCESSING", ago=ago)
    if ends:
        aws.executions[item["execution_arn"]] = {"status": ends}
    code, told = status(aws, "etl")
    assert (code, "1 records say PROCESSING" in told) == ((1, True) if stuck else (0, False))


def test_raw_object_without_a_record(aws):
    """O1: of that very version, and not before its event has had time; the listing is bounded, and says so."""
    aws.store("raw/known.csv", version="v1")
    aws.record("known.csv", version="v1")
    aws.store("raw/late.csv", ago=timedelta(minutes=39))
    assert status(aws, "etl")[0] == 0
    aws.store("raw/known.csv", version="v2")
    code, told = status(aws, "etl")
    assert code == 1 and "raw/known.csv" in told and "python -m ops replay files KEY" in told
    code, told = status(aws, "etl", limit=1)
    assert "looked at the first 1 only" in told


def test_dead_letters_and_alarms(aws):
    """O1: in every region."""
    aws.letter("serverless-data-processor-dlq-prod", s3_event("a.json"), "us-west-2")
    code, told = status(aws, "ingestion")
    assert code == 1 and "serverless-data-processor-dlq-prod: 1" in told and "python -m ops replay letters" in told
    aws.queues.clear()
    aws.ringing.add("etl-validation-error-rate")
    code, told = status(aws, "etl")
    assert code == 1 and "etl-validation-error-rate" in told


def test_failure_of_the_metadata_pipeline_counts_until_it_was_replayed_with_success(aws):
    """O1."""
    item = {"execution_id": "e", "failed_at": NOW.isoformat(), "object_key": "a/metadata.json", "error": "IndexThrottled",
            "cause": "429", "input": "{}"}
    aws.tables["us-east-1", "metadata-processing-failures"] = [item]
    code, told = status(aws, "metadata")
    assert code == 1 and "a/metadata.json: IndexThrottled: 429" in told
    machine = f"arn:aws:states:us-east-1:{ACCOUNT}:execution:metadata-pipeline"
    aws.executions[f"{machine}:{replay_name(item)}"] = {"status": "SUCCEEDED"}
    assert status(aws, "metadata")[0] == 0


def image(state, ago, **more):
    return {pets.IMAGE_ID: "i", pets.STATUS: state, pets.SOURCE_KEY: "input/a.jpg", pets.SOURCE_VERSION: "v1",
            pets.EXECUTION: f"arn:aws:states:us-east-1:{ACCOUNT}:execution:serverlessapp-pet-detector:x",
            pets.TIMESTAMP: (NOW - ago).strftime("%Y-%m-%dT%H:%M:%SZ"), **more}


@pytest.mark.parametrize(("state", "more", "code"), [
    ("processing", {}, 1),
    ("failed", {pets.FAILURE_CODE: pets.PROCESSING_FAILED, pets.FAILURE_REASON: "throttled"}, 1),
    ("failed", {pets.FAILURE_CODE: "truncated"}, 0),  # a bad picture is no incident
])
def test_images(aws, state, more, code):
    """O1, P3."""
    aws.tables["us-east-1", "serverlessapp-DetectionLogs"] = [image(state, timedelta(hours=1), **more)]
    aws.store("input/a.jpg", bucket="serverlessapp-pet-detector", ago=timedelta())
    told = status(aws, "pets")
    assert told[0] == code and "input/a.jpg: " in told[1]


def test_unfinished_file_of_the_ingestion(aws):
    """O1: no checkpoint after so long."""
    aws.store("a.json", bucket="serverless-data-ingestion-dr-prod")
    code, told = status(aws, "ingestion")
    assert code == 1 and "a.json: not begun" in told and "python -m ops failover --resume us-west-2" in told


def test_nothing_is_deployed(aws):
    """O1: said, no traceback; a system that is missing beside others is no fault."""
    aws.absent |= {"etl-file-metadata"}
    code, told = status(aws)
    assert code == 0 and "etl (us-east-1): not deployed under the suffix prod" in told
    aws.absent |= set(TABLES)
    code, told = status(aws)
    assert code == 1 and "--suffix" in told and "AWS_REGION" in told


def test_what_may_not_be_asked_is_unknown_and_the_rest_is_told(aws):
    """O1: a missing permission is named."""
    aws.faults["list_objects_v2"] = refusal("AccessDenied", 403)
    code, told = status(aws, "etl")
    assert code == 1 and "unknown: s3 in us-east-1 refuses list_objects_v2: AccessDenied" in told and "docs/operating.md" in told
    assert "none in 4 queues" in told


def test_json(aws, capsys):
    """O1: for machines: nothing else on the standard output."""
    aws.record("a.csv", "FAILED", error_message="no")
    assert Status(aws.estate(), Screen(), now=lambda: NOW).run(["etl"], as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["suffix"], told["account"], told["needs_person"]) == ("prod", ACCOUNT, True)
    [system] = told["systems"]
    [failed] = [each for each in system["findings"] if each["part"] == "failed"]
    assert (system["system"], system["region"], system["deployed"]) == ("etl", "us-east-1", True)
    assert failed["needs_person"] and failed["count"] == 1 and failed["items"] == ["a.csv: no"]


def test_names_cannot_command_the_terminal(aws):
    """O1, security: keys are other people's."""
    aws.store("raw/\x1b[2Ja.csv")
    assert "\x1b[2J" not in status(aws, "etl")[1]
