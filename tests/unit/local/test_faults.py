"""The fault injector decides by seed alone, in AWS's own shapes; the audit finds what faults may break (L1)."""

import asyncio
import dataclasses
import random

import pytest
from botocore.parsers import create_parser
from botocore.session import Session

from lambdas.etl.contract import SUBJECT_FAILED, SUBJECT_INVALID
from local import faults
from local.faults import FAILED, KILLED_BEFORE, LOST, THROTTLED, Injector, Schedule, call_name, refusal
from tests.faults import audit

SCHEDULE = Schedule(7, r"file-\d+", {"*": {THROTTLED: 0.1, FAILED: 0.1}, "sns": {LOST: 0.5}, "sns:Publish": {LOST: 1.0}},
                    events={"twice": 0.2}, aborts=0.5, machines="^etl")
CALLS = [(service, call, f"file-{number}") for service, call in (("s3", "PutObject"), ("dynamodb", "PutItem"))
         for number in range(200)]


# --- decisions -------------------------------------------------------------------------------------------------------


def decisions(calls):
    """What goes wrong with each of these calls, made in this order; each is made three times."""
    injector = Injector()
    injector.set(SCHEDULE)
    return sorted((call, number, injector.call(*call) or "") for number in range(3) for call in calls)


def test_a_seed_decides_the_same_in_any_order():
    """L1: whatever the interleaving, the n-th call about a file meets the same fault."""
    shuffled = random.Random(1).sample(CALLS, len(CALLS))
    assert decisions(CALLS) == decisions(shuffled)
    other = dataclasses.replace(SCHEDULE, seed=8)
    assert [SCHEDULE.draw(1), SCHEDULE.draw(2)] != [other.draw(1), other.draw(2)]


def test_rates_are_met():
    """L1: a rate of a tenth is a tenth of the calls, the most exact name counts, and the next occurrence is drawn anew."""
    kinds = [kind for _, _, kind in decisions(CALLS)]
    assert 80 < kinds.count(THROTTLED) < 160 and 80 < kinds.count(FAILED) < 160
    assert SCHEDULE.fault_of_call("sns", "Publish", "file-1", 1) == LOST
    assert len({SCHEDULE.fault_of_call("s3", "GetObject", "file-1", number) for number in range(1, 40)}) == 3
    assert sum(SCHEDULE.is_aborted("etl-pipeline", "Transform", f"file-{number}", 1) for number in range(100)) in range(30, 70)
    assert not any(SCHEDULE.is_aborted("metadata-pipeline", "Index", f"file-{number}", 1) for number in range(100))


def test_nothing_happens_by_default():
    """L1: off, the injector neither decides nor counts."""
    injector = Injector()
    assert [injector.call(*call) for call in CALLS[:9]] == [None] * 9
    assert injector.event("arn", "file-1") == (None, 0) and injector.set(None) == []


def test_only_functions_are_killed():
    """L1: a state machine's call has no process that could end."""
    injector = Injector()
    injector.set(Schedule(1, "x", {"*": {KILLED_BEFORE: 1.0}}))
    assert injector.call("s3", "PutObject", "x", by_function=False) is None
    assert injector.call("s3", "PutObject", "x") == KILLED_BEFORE and len(injector.set(None)) == 1


def test_switch():
    """L1: a schedule begins and ends by the emulator's configuration, which then tells what was injected."""
    async def post(body: bytes):
        return await faults.faults_are_switched(lambda *_: asyncio.sleep(0, "MiniStack's"), "/_ministack/config", "POST", body)

    try:
        assert b'"injected": []' in asyncio.run(post(b'{"faults": {"seed": 1, "subject": "x", "calls": {"*": {"lost": 1}}}}'))[2]
        assert faults._injector.call("s3", "PutObject", "x") == LOST
        assert b'"subject": "x"' in asyncio.run(post(b'{"faults": null}'))[2]
        assert faults._injector.call("s3", "PutObject", "x") is None
        assert asyncio.run(post(b'{"other": 1}')) == "MiniStack's"
    finally:
        faults.forget()


# --- shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service, operation", [
    ("s3", "PutObject"), ("dynamodb", "PutItem"), ("stepfunctions", "StartExecution"), ("lambda", "Invoke"), ("sns", "Publish"),
    ("rekognition", "DetectLabels")])
@pytest.mark.parametrize("fault", [THROTTLED, FAILED])
def test_refusals_are_those_of_aws(service, operation, fault):
    """L1: botocore reads code and message from each protocol's refusal, and its standard retries know them."""
    from botocore.retries.standard import (
        RetryContext,
        ThrottledRetryableChecker,
        TransientRetryableChecker,
    )

    model = Session().get_service_model(service)
    status, headers, body = refusal(service, fault)
    response = {"status_code": status, "headers": {name.lower(): value for name, value in headers.items()}, "body": body}
    parsed = create_parser(model.metadata["protocol"]).parse(response, model.operation_model(operation).output_shape)
    assert parsed["Error"]["Code"] and parsed["Error"]["Message"]
    met = RetryContext(1, model.operation_model(operation), parsed, type("Answer", (), {"status_code": status})())
    assert (ThrottledRetryableChecker() if fault == THROTTLED else TransientRetryableChecker()).is_retryable(met) \
        or (service == "s3" and status == 503)


@pytest.mark.parametrize("method, query, headers, name", [
    ("GET", {}, {}, "GetObject"), ("GET", {"list-type": ["2"]}, {}, "ListObjectsV2"), ("PUT", {}, {}, "PutObject"),
    ("PUT", {}, {"x-amz-copy-source": "b/k"}, "CopyObject"), ("POST", {"uploads": [""]}, {}, "CreateMultipartUpload"),
    ("PUT", {"uploadId": ["1"]}, {}, "UploadPart"), ("POST", {"uploadId": ["1"]}, {}, "CompleteMultipartUpload"),
    ("HEAD", {}, {}, "HeadObject")])
def test_names_of_calls(method, query, headers, name):
    """L1: rates can be given for a call by the name that its API has."""
    assert call_name("s3", method, "/bucket/key", headers, b"", query) == name
    assert call_name("dynamodb", "POST", "/", {"x-amz-target": "DynamoDB_20120810.PutItem"}, b"", {}) == "PutItem"
    assert call_name("sns", "POST", "/", {}, b"Action=Publish&TopicArn=x", {}) == "Publish"


# --- the audit -------------------------------------------------------------------------------------------------------

GOOD = audit.Csv("file-1", "file-1.csv", "v1", "body", "output", read=10)
INVALID = audit.Csv("file-2", "file-2.csv", "v2", "wrong", None)
RECORDS = [
    {"version_id": "v1", "status": "SUCCEEDED", "rows_read": 10, "rows_written": 10, "rows_rejected": 0,
     "output_key": "processed/file-1.csv"},
    {"version_id": "v2", "status": "INVALID", "failed_key": "failed/file-2.csv"},
]
OBJECTS = {"processed/file-1.csv": "output", "failed/file-2.csv": "wrong"}
NOTICES = [{"Subject": SUBJECT_INVALID, "Message": "Version: v2"}]


def findings(records=RECORDS, objects=OBJECTS, notices=NOTICES, injected=(), uploads=()):
    seen = audit.EtlSeen(records, objects, {}, notices, uploads)
    return audit.etl([GOOD, INVALID], seen, injected).findings


def test_audit_of_what_is_right():
    """E8a, E9: nothing is found where nothing is wrong."""
    assert findings() == []


FAILED_RECORD = {"version_id": "v1", "status": "FAILED", "failed_key": "failed/file-1.csv"}
SET_ASIDE = {"failed/file-1.csv": "body", "failed/file-2.csv": "wrong"}


@pytest.mark.parametrize("given, finding", [
    ({"records": RECORDS[:1]}, "0 records"),
    ({"records": [*RECORDS, RECORDS[0]]}, "2 records"),
    ({"records": [{**RECORDS[0], "status": "PROCESSING"}, RECORDS[1]]}, "stuck"),
    ({"objects": {**OBJECTS, "processed/file-1.csv": "half of it"}}, "not whole"),
    ({"objects": {"failed/file-2.csv": "wrong"}}, "nothing is published"),
    ({"objects": {**OBJECTS, "raw/file-1.csv": "body"}}, "still under raw/"),
    ({"objects": {**OBJECTS, "failed/file-2.csv": "half"}}, "not set aside"),
    ({"records": [{**RECORDS[0], "rows_written": 9}, RECORDS[1]]}, "rows read"),
    ({"notices": []}, "not announced"),
    ({"notices": NOTICES * 2}, "announced"),
    ({"notices": [*NOTICES, {"Subject": SUBJECT_FAILED, "Message": "Version: v1"}]}, "announced"),
    ({"records": [FAILED_RECORD, RECORDS[1]], "objects": SET_ASIDE}, "not announced"),
    ({"uploads": ["processed/file-1.csv"]}, "never ended"),
])
def test_audit_finds(given, finding):
    """E3 to E9: each way in which faults could break the pipeline's promises."""
    [found] = findings(**given)
    assert finding in found


def test_lost_answers_explain_a_second_announcement():
    """E9: an announcement made twice is allowed for each answer to it that was lost, and for none other."""
    lost = {"subject": "file-2", "fault": LOST, "what": "sns:Publish"}
    assert findings(notices=NOTICES * 2, injected=[lost]) == []
    assert findings(notices=NOTICES * 3, injected=[lost])
    for other in ({**lost, "subject": "file-1"}, {**lost, "fault": THROTTLED}, {**lost, "what": "s3:PutObject"}):
        assert findings(notices=NOTICES * 2, injected=[other])


def test_a_replaced_upload_may_lose_its_event():
    """E7c: the sweep sees what is current; only for a lost event of an older upload is there no record."""
    older, newer = dataclasses.replace(GOOD, version="v0", output="old"), GOOD
    seen = audit.EtlSeen(RECORDS[:1], {"processed/file-1.csv": "output"}, {}, [])
    dropped = [{"subject": "file-1", "fault": "dropped", "what": "etl-validation"}]
    assert audit.etl([older, newer], seen, dropped).findings == []
    assert audit.etl([older, newer], seen).findings and audit.etl([newer, older], seen, dropped).findings


def test_audit_of_metadata_finds():
    """M3, M6: an execution without its document or its failure, a failure recorded twice, other content."""
    file = audit.Document("file-1", "file-1/metadata.json", "v1", {"a": "1"})
    document = {"a": "1", "@timestamp": "t", "ingest": {"version_id": "v1", "id": "i", "execution_id": "e1"}}
    done, failed = {"version": "v1", "arn": "e1", "status": "SUCCEEDED"}, {"version": "v1", "arn": "e2", "status": "ABORTED"}
    failure = {"execution_id": "e2"}

    def found(executions, documents, failures=()):
        return audit.metadata([file], audit.MetadataSeen(executions, documents, failures)).findings

    assert found([done], [document]) == [] == found([done, failed], [document], [failure])
    for wrong in (found([], []), found([done], []), found([failed], []), found([failed], [], [failure] * 2),
                  found([done], [{**document, "a": "2"}]), found([{**done, "status": "RUNNING"}], [document])):
        assert len(wrong) == 1


def test_audit_of_pictures_finds():
    """P3 to P5: a record missing or twice, an image in two folders or in none, an alert too few."""
    file = audit.Picture("file-1", "input/file-1.png", "v1", "body", "uncertain", None)
    record = {"SourceKey": "input/file-1.png", "SourceVersionId": "v1", "ProcessingStatus": "uncertain",
              "S3Location": "s3://bucket/others/file-1.png", "DetectedAnimal": "cat"}
    objects, alerts = {"others/file-1.png": "body"}, [{"Subject": "Pet detector: an image needs a look", "Message": "v1"}]

    def found(records, objects, alerts, injected=()):
        return audit.pets([file], audit.PetsSeen(records, objects, alerts), injected).findings

    assert found([record], objects, alerts) == []
    assert found([], objects, alerts) and found([record] * 2, objects, alerts)
    assert found([{**record, "ProcessingStatus": "processing"}], objects, alerts)
    assert found([record], {**objects, "input/file-1.png": "body"}, alerts) and found([record], {}, alerts)
    assert found([record], objects, []) and found([record], objects, alerts * 2)
    assert found([record], objects, [], [{"subject": "file-1", "fault": "aborted", "what": "Record"}]) == []
    assert found([record], objects, [], [{"subject": "file-2", "fault": "aborted", "what": "Record"}])


def test_audit_of_ingestion_finds():
    """R3, R4: a file that is not done, a record that is missing in a region, counts that do not add up."""
    file = audit.Records("file-1", "us-east-1", "file-1.json", "v1", ["file-1-r0"])
    counts = {"recordsRead": 1, "recordsStored": 1, "recordsKnown": 0, "recordsInvalid": 0, "recordsConflicting": 0}
    done, item = {"done": "true", **counts}, {"recordId": "file-1-r0", "sourceVersionId": "v1"}

    def found(checkpoint, *regions):
        return audit.ingestion([file], audit.IngestionSeen({"v1": checkpoint}, dict(enumerate(regions)))).findings

    assert found(done, [item], [item]) == []
    assert found(None, [item], [item]) and found({**done, "done": "false"}, [item], [item])
    assert found(done, [item], []) and found(done, [item] * 2, [item])
    assert found({**done, "recordsStored": 0, "recordsKnown": 1}, [item], [item])
