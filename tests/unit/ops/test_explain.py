"""`python -m ops explain` (O3)."""

import io
import json
from datetime import timedelta

import pytest

from lambdas.ingestion import contract as ingestion
from ops.explain import Explain, steps
from ops.resume import Upload
from tests.unit.ops.estate import BUCKET, Aws, Client, Screen
from tests.unit.ops.fakes import NOW, refusal

TABLES = ("etl-file-metadata", "metadata-processing-failures", "serverlessapp-DetectionLogs", "serverless-processed-data-prod")


def entered(name, second):
    return {"type": "TaskStateEntered", "timestamp": NOW + timedelta(seconds=second), "stateEnteredEventDetails": {"name": name}}


HISTORY = [
    entered("Validate", 0),
    {"type": "LambdaFunctionFailed", "timestamp": NOW, "lambdaFunctionFailedEventDetails": {
        "error": "Throttled", "cause": json.dumps({"errorMessage": "too many", "stackTrace": ["x"]})}},
    {"type": "TaskStateExited", "timestamp": NOW + timedelta(seconds=3)},
    entered("Transform", 3),
    {"type": "ExecutionAborted", "timestamp": NOW + timedelta(seconds=5)},
]


def test_states_of_an_execution():
    """O3: those that were retried, and the one in which it ended, too."""
    first, second = steps(HISTORY)
    assert (first.name, first.seconds, first.faults) == ("Validate", 3.0, ("Throttled: too many",))
    assert (second.name, second.seconds) == ("Transform", 2.0)
    [waits] = steps(HISTORY[3:4])
    assert "still in it" in waits.name


@pytest.fixture
def aws(monkeypatch):
    log = [{"timestamp": int(NOW.timestamp() * 1000), "message": json.dumps({"level": "INFO", "message": "claimed"})},
           {"timestamp": int(NOW.timestamp() * 1000), "message": "Task timed out v1"}]
    monkeypatch.setattr(Client, "_filter_log_events", lambda self, logGroupName, **_: {
        "events": log if logGroupName.endswith("etl-validation") else []}, raising=False)
    monkeypatch.setattr(Client, "_get_execution_history", lambda self, **_: {"events": HISTORY}, raising=False)
    monkeypatch.setattr(Client, "_get_object", lambda self, **_: {"Body": io.BytesIO(
        b'{"byte_offset": 7, "reason": "bad amount", "row": "a,\\u001b[2Jb"}\n{"byte_off')}, raising=False)
    return Aws()


def explain(aws, file, *names, version=""):
    screen = Screen()
    return Explain(aws.estate(), screen, version=version, now=lambda: NOW).run(file, names), screen.told


def told_file(aws):
    item = aws.record("a/b.csv", "FAILED", error_message="aborted", rejects_prefix="failed/a/b.csv.rejects/e/")
    aws.executions[item["execution_arn"]] = {
        "status": "ABORTED", "startDate": NOW, "stopDate": NOW + timedelta(seconds=5),
        "input": json.dumps({"file": {"sequencer": "00AA", "size": 5}})}
    aws.store("raw/a/b.csv")
    aws.hidden.add((BUCKET, "raw/a/b.csv"))
    aws.store("failed/a/b.csv", version="f1")
    aws.store("failed/a/b.csv.rejects/e/part-00000.jsonl")


@pytest.mark.parametrize("file", ["a/b.csv", "raw/a/b.csv", "failed/a/b.csv", f"s3://{BUCKET}/processed/a/b.csv"])
def test_whole_story(aws, file):
    """O3: record, event, execution and states, rejects, log lines, places; nothing that could command the terminal."""
    told_file(aws)
    code, told = explain(aws, file)
    assert code == 0
    for part in ("Upload of version v1: FAILED", "error_message: aborted", "sequencer: 00AA", "ABORTED", "Validate, 3.0 s",
                 "Throttled: too many", "at byte 7: bad amount: a, [2Jb", "INFO claimed", "Task timed out",
                 "raw/a/b.csv: deleted", "failed/a/b.csv: version f1"):
        assert part in told, part
    assert "\x1b" not in told


def test_logs_that_may_not_be_read_do_not_hide_the_rest(aws):
    """O3: a permission lacks."""
    told_file(aws)
    aws.faults["filter_log_events"] = refusal("AccessDeniedException")
    code, told = explain(aws, "a/b.csv")
    assert code == 0 and "refuses filter_log_events" in told and "failed/a/b.csv: version f1" in told


def test_one_version(aws):
    """O3: --version."""
    told_file(aws)
    aws.record("a/b.csv", version="v2", ago=timedelta())
    assert explain(aws, "a/b.csv")[1].count("Upload of version") == 2
    assert explain(aws, "a/b.csv", version="v2")[1].count("Upload of version") == 1
    code, told = explain(aws, "a/b.csv", version="v3")
    assert code == 1 and "has records of other versions: v2, v1" in told and "No record" not in told


def test_execution_that_step_functions_has_forgotten(aws):
    """O3: after 90 days the record remains."""
    aws.record("a/b.csv")
    code, told = explain(aws, "a/b.csv")
    assert code == 0 and "knows it no more" in told


def test_object_without_a_record(aws):
    """O3: the event was lost."""
    aws.store("raw/a.csv")
    code, told = explain(aws, "a.csv")
    assert code == 0 and "No record" in told and "raw/a.csv: version v1" in told


def test_nothing_is_known(aws):
    """O3: exit code 1; what FILE may be."""
    code, told = explain(aws, "a.csv")
    assert code == 1 and "Nothing is known of a.csv under the suffix prod" in told and "s3://BUCKET/KEY" in told
    assert "Not deployed" not in told
    code, told = explain(aws, "s3://another/a.csv")
    assert code == 1 and "in no bucket of the environment prod" in told and BUCKET in told


def test_file_that_the_named_system_cannot_have(aws):
    """O3: it was not asked, so nothing is said of what it knows."""
    for file, system in (("a.csv", "pets"), (f"s3://{BUCKET}/raw/a.csv", "pets")):
        code, told = explain(aws, file, system)
        assert code == 1 and "is no name of a file of pets" in told and "Nothing is known" not in told


def test_named_system_that_is_not_deployed_is_told(aws):
    """O3: beside what another one knows."""
    aws.store("a.json", bucket="serverless-data-ingestion-prod")
    aws.absent.add("etl-file-metadata")
    code, told = explain(aws, "a.json", "etl", "ingestion")
    assert code == 0 and "Not deployed under the suffix prod: etl (us-east-1)." in told


def test_nothing_can_be_known_where_nothing_is_deployed(aws):
    """O3: a forgotten --suffix, another region."""
    aws.absent |= set(TABLES)
    code, told = explain(aws, "a.csv")
    assert code == 1 and "Not deployed there: etl (us-east-1)" in told and "AWS_REGION" in told


def test_what_may_not_be_asked_is_not_unknown(aws):
    """O3: without permissions, nothing is said about the file."""
    aws.faults["query"] = refusal("AccessDeniedException", 400)
    code, told = explain(aws, "a.csv")
    assert code == 1 and "Whether anything is known of a.csv, etl (us-east-1) did not tell." in told
    assert "Nothing is known" not in told and "docs/operating.md" in told


def test_invalid_records_of_the_ingestion(aws):
    """O3, R2: where their reasons stand."""
    aws.store("a.json", bucket="serverless-data-ingestion-prod")
    upload = Upload("serverless-data-ingestion-prod", "a.json", "v1", 1, NOW)
    aws.tables["us-east-1", "serverless-processed-data-prod"] = [
        {"recordId": upload.checkpoint, "timestamp": ingestion.NO_TIMESTAMP, "done": "true", "recordsInvalid": 1}]
    code, told = explain(aws, "a.json")
    assert code == 0 and "docs/ingestion.md, Records" in told


def test_what_may_not_be_read_is_said_and_the_rest_is_told(aws):
    """O3."""
    aws.store("a.json", bucket="serverless-data-ingestion-prod")
    aws.faults["query"] = refusal("AccessDenied", 403)
    code, told = explain(aws, "a.json")
    assert code == 0 and "a.json in ingestion (us-east-1)" in told
    assert "etl (us-east-1): dynamodb in us-east-1 refuses query" in told
