"""The image processor as the state machine calls it (P3, P4, P9): payloads in, results and named exceptions out."""

import json
import time

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st
from pets_aws import (
    CONTEXT,
    EXECUTION,
    ID,
    KEY,
    OTHER_EXECUTION,
    OTHER_ID,
    TABLE,
    TIME,
    FakeDynamoDb,
    client_error,
    process,
    stored,
)  # fmt: skip
from pictures import jpeg, png

from lambdas.common.environment import BadEnvironment
from lambdas.pets import contract, image_processor, recognition, records, uploads
from lambdas.pets.uploads import Upload

DIRECT = "input/dog123.jpg"


def analyse(place, **other):
    return process("analyse", object=place, time=TIME, **other)


def give_up(place, **other):
    return process("give_up", object=place, time=TIME, **{"error": "States.Timeout", "cause": None, **other})


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def metrics(capsys):
    """Name → (value, dimensions) of each metric in the log."""
    found = {}
    for line in lines(capsys):
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", ()):
            assert directive["Namespace"] == "PetDetector"
            (dimensions,) = directive["Dimensions"]
            for metric in directive["Metrics"]:
                (value,) = line[metric["Name"]]
                found[metric["Name"]] = value, metric["Unit"], {name: line[name] for name in dimensions}
    return found


# --- analyse ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("draw", "format_"), [(jpeg, "jpg"), (png, "png")])
def test_analysed(aws, draw, format_, capsys):
    """P3, P5, P9: the record says `processing`, and what the image is; the labels go on to the state machine."""
    aws.rekognition.sees(Animal=99.0, Dog=97.39999)
    place = stored(aws, draw())
    assert analyse(place) == {
        "outcome": "analysed",
        "image_id": ID,
        "labels": [
            {"name": "Animal", "confidence": 99.0, "parents": ["Animal"]},
            {"name": "Dog", "confidence": 97.39999, "parents": ["Animal"]},
        ],
    }
    record = aws.dynamodb.record(ID)
    expires_at = int(record.pop("ExpiresAt"))
    assert abs(expires_at - time.time() - 30 * 86400) < 3600
    assert record == {
        "ImageID": ID, "Timestamp": TIME, "ProcessingStatus": "processing", "SourceKey": KEY, "SourceVersionId": "v1",
        "ExecutionArn": EXECUTION, "FileSize": str(len(draw())), "ImageFormat": format_,
    }  # fmt: skip
    (request,) = aws.rekognition.requests
    assert request["Image"] == {"S3Object": {"Bucket": place["bucket"], "Name": KEY, "Version": "v1"}}
    assert request["MinConfidence"] == 20
    value, unit, dimensions = metrics(capsys)["AnalysisLatency"]
    assert value >= 0 and unit == "Milliseconds" and dimensions == {"service": "image-processor"}


def test_every_line_names_the_image(aws, capsys):
    """P2: logs can be searched by image, execution and request."""
    analyse(stored(aws, png()))
    for line in lines(capsys):
        if "_aws" not in line:
            assert (line["image_id"], line["execution"], line["request_id"]) == (ID, EXECUTION, "request-1")
            assert (line["key"], line["version_id"]) == (KEY, "v1")


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"", "empty"), (b"Dear dog,\n", "not_an_image"), (jpeg()[:-9], "truncated"), (png(79, 80), "too_small"),
     (jpeg(10_001, 80), "too_many_pixels"), (bytes(15_000_001), "too_large")],
)  # fmt: skip
def test_refused(aws, body, code):
    """P9: refused with a reason, without asking Rekognition; the record knows the size."""
    result = analyse(stored(aws, body))
    assert (result["outcome"], result["image_id"], result["code"]) == ("refused", ID, code)
    assert result["reason"] and aws.rekognition.calls == []
    record = aws.dynamodb.record(ID)
    assert record["FileSize"] == str(len(body)) and record["ProcessingStatus"] == "processing"


def test_large_objects_are_not_read(aws):
    """P9: not one byte of them."""
    place = stored(aws, bytes(15_000_001))
    aws.s3._find(KEY, "v1")["Body"] = b"short"  # reading it would say that it is no image
    assert analyse(place)["code"] == "too_large"


@pytest.mark.parametrize("code", ["NoSuchVersion", "NoSuchKey", "MethodNotAllowed"])
def test_gone(aws, code):
    """P9: a version that was deleted in the meantime is nobody's outage."""
    place = stored(aws, png())
    aws.s3.hook("before", "get_object", client_error(code))
    assert analyse(place)["code"] == "gone"


def test_key_that_no_folder_can_take(aws):
    """P6: others/ is longer than input/; refused before any work is done, rather than failing at the end."""
    fits, too_long = ("input/" + letter * (1024 - len("others/")) for letter in "ab")
    assert analyse(stored(aws, png(), fits))["outcome"] == "analysed"
    assert analyse(stored(aws, png(), too_long + "b"))["code"] == "key_too_long"


def test_errors_of_s3_are_errors(aws):
    """P3: tried again, and then it works."""
    place = stored(aws, png())
    aws.s3.hook("before", "get_object", client_error("InternalError", 500))
    with pytest.raises(Exception, match="InternalError"):
        analyse(place)
    assert analyse(place)["outcome"] == "analysed"


@pytest.mark.parametrize(
    ("error", "exception"),
    [
        (client_error("ThrottlingException"), recognition.RekognitionThrottled),
        (client_error("ProvisionedThroughputExceededException"), recognition.RekognitionThrottled),
        (client_error("LimitExceededException"), recognition.RekognitionThrottled),
        (client_error("InternalServerError", 500), recognition.RekognitionUnavailable),
        (client_error("Anything", 503), recognition.RekognitionUnavailable),
        (EndpointConnectionError(endpoint_url="x"), recognition.RekognitionUnavailable),
        (ReadTimeoutError(endpoint_url="x"), recognition.RekognitionUnavailable),
    ],
)
def test_troubles_of_rekognition(aws, error, exception):
    """P3: named for the state machine, which tries again; the record is resumed, not taken for a duplicate."""
    assert {contract.ERROR_THROTTLED, contract.ERROR_UNAVAILABLE} >= {exception.__name__}
    place = stored(aws, png())
    aws.rekognition.hook("before", "detect_labels", error)
    with pytest.raises(exception):
        analyse(place)
    assert analyse(place)["outcome"] == "analysed"


@pytest.mark.parametrize(
    ("error", "code"), [("InvalidImageFormatException", "unsupported"), ("ImageTooLargeException", "too_large")]
)
def test_rekognition_refuses(aws, error, code):
    """P9: what passes our check but not Rekognition's."""
    place = stored(aws, png())
    aws.rekognition.hook("before", "detect_labels", client_error(error))
    assert analyse(place)["code"] == code


def test_rekognition_may_not_read(aws):
    """P3: a wrong permission is not the customer's fault: an error, seen by an operator."""
    place = stored(aws, png())
    aws.rekognition.hook("before", "detect_labels", client_error("InvalidS3ObjectException"))
    with pytest.raises(Exception, match="InvalidS3ObjectException"):
        analyse(place)


# --- ids and duplicates ----------------------------------------------------------------------------------------------


def test_direct_uploads(aws):
    """P3: without a promised id, one that only this version has."""
    first, second = (analyse(stored(aws, png(), DIRECT))["image_id"] for _ in range(2))
    assert first != second and uploads.is_image_id(first)
    assert len(aws.dynamodb.items) == 2


@pytest.mark.parametrize(
    "key", [f"input/{ID}", f"input/{ID}/", f"input/{ID}/a/b", f"input/{ID.upper()}/a", f"input/x/{ID}/a", f"input/{ID}x/a"]
)
def test_keys_without_a_promised_id(key):
    """P3."""
    assert Upload("b", key, "v").promised_id is None


@given(st.lists(st.text("ab\n", max_size=3), min_size=6, max_size=6))
def test_derived_ids(parts):
    """P3: two versions have one id only if they are one. Buckets and version ids hold no line ends."""
    one, two = (
        Upload(bucket.replace("\n", ""), key, version.replace("\n", "")) for bucket, key, version in (parts[:3], parts[3:])
    )
    assert (one.derived_id == two.derived_id) == (one == two)


def test_duplicate(aws):
    """P3: another execution for this version stops here, and changes nothing."""
    place = stored(aws, png())
    analyse(place)
    before = dict(aws.dynamodb.items[ID])
    assert analyse(place, execution=OTHER_EXECUTION) == {"outcome": "duplicate", "image_id": ID}
    assert aws.dynamodb.items == {ID: before}
    assert aws.s3.calls == ["get_object"]


def test_second_version_of_a_promised_key(aws):
    """P3: one record per version: the second one has an id of its own, again and again."""
    analyse(stored(aws, png()))
    place = stored(aws, jpeg())
    results = [analyse(place, execution=OTHER_EXECUTION) for _ in range(2)]
    assert results[0] == results[1] and results[0]["image_id"] not in (ID, None)
    assert set(aws.dynamodb.items) == {ID, results[0]["image_id"]}
    assert analyse(place, execution=EXECUTION)["outcome"] == "duplicate"


def test_replay(aws):
    """P3: a version whose processing failed makes way; what it left is gone, and late events about it change nothing."""
    first = stored(aws, png())
    analyse(first)
    process("classify", image_id=ID, labels=[])
    give_up(first)
    second = stored(aws, png())
    assert analyse(second, execution=OTHER_EXECUTION)["image_id"] == ID
    record = aws.dynamodb.record(ID)
    assert (record["ProcessingStatus"], record["SourceVersionId"]) == ("processing", "v2")
    assert not {"FailureCode", "FailureReason", "DetectedAnimal"} & set(record)
    assert analyse(first, execution="again") == {"outcome": "duplicate", "image_id": ID}
    assert give_up(first) == {"image_id": ID, "recorded": False}
    assert aws.dynamodb.record(ID) == record and len(aws.dynamodb.items) == 1


def test_two_replays_race(aws):
    """P3: one takes over the id, the other one gets its own."""
    give_up(stored(aws, png()))
    second, third = stored(aws, png()), stored(aws, png())
    aws.dynamodb.hook("before", "put_item", lambda: analyse(second, execution=OTHER_EXECUTION))
    result = analyse(third)
    assert aws.dynamodb.record(ID)["SourceVersionId"] == "v2"
    assert result["image_id"] != ID and aws.dynamodb.record(result["image_id"])["SourceVersionId"] == "v3"


def test_two_starts_race(aws):
    """P3: one begins, the other one is a duplicate."""
    place = stored(aws, png())
    aws.dynamodb.hook("before", "put_item", lambda: analyse(place, execution=OTHER_EXECUTION))
    assert analyse(place)["outcome"] == "duplicate"
    assert aws.dynamodb.record(ID)["ExecutionArn"] == OTHER_EXECUTION


def test_lost_answer(aws):
    """P3: the record was written, but nobody heard of it."""
    place = stored(aws, png())
    aws.dynamodb.hook("after", "put_item", EndpointConnectionError(endpoint_url="x"))
    with pytest.raises(EndpointConnectionError):
        analyse(place)
    assert analyse(place)["outcome"] == "analysed"


def test_endless_races_end():
    """P3: an error, to be tried again later."""
    table = FakeDynamoDb()
    for _ in range(100):
        table.hook("before", "put_item", client_error("ConditionalCheckFailedException"))
    run = records.Run(Upload("b", KEY, "v1"), TIME, EXECUTION)
    with pytest.raises(records.RecordConflict):
        records.Records(table, TABLE).begin(run, 30)


# --- classify --------------------------------------------------------------------------------------------------------

DOG = [{"name": "Dog", "confidence": 97.39999, "parents": ["Animal"]}]


def test_classified(aws, capsys):
    """P4, P7: the record, the result and the metrics say the same; the status is left to the state machine."""
    analyse(stored(aws, png()))
    capsys.readouterr()
    result = process("classify", image_id=ID, labels=DOG)
    assert result == {"animal": "dog", "confidence": 97.4, "status": "completed", "folder": "dogs/"}
    record = aws.dynamodb.record(ID)
    assert (record["DetectedAnimal"], record["ConfidenceScore"], record["ProcessingStatus"]) == ("dog", "97.4", "processing")
    dimensions = {"service": "image-processor", "animal": "dog"}
    assert metrics(capsys) == {"Images": (1, "Count", dimensions), "Confidence": (97.4, "Percent", dimensions)}
    assert process("classify", image_id=ID, labels=DOG) == result
    assert metrics(capsys) == {}  # counted once


@pytest.mark.parametrize(
    "change", [{"ExecutionArn": OTHER_EXECUTION}, {"ProcessingStatus": "failed"}, {"ProcessingStatus": "completed"}]
)
def test_records_of_others_are_not_classified(aws, change, capsys):
    """P3: neither another execution's, nor one that is finished."""
    analyse(stored(aws, png()))
    capsys.readouterr()
    for name, value in change.items():
        aws.dynamodb.items[ID][name] = {"S": value}
    before = aws.dynamodb.record(ID)
    with pytest.raises(records.NotOurs):
        process("classify", image_id=ID, labels=DOG)
    assert aws.dynamodb.record(ID) == before and metrics(capsys) == {}


def test_unknown_records_are_not_classified(aws):
    """P3: no record appears out of nothing."""
    with pytest.raises(records.NotOurs):
        process("classify", image_id=OTHER_ID, labels=DOG)
    assert aws.dynamodb.items == {}


# --- give up ---------------------------------------------------------------------------------------------------------

CAUSE = json.dumps({"errorMessage": "no answer", "errorType": "RekognitionUnavailable", "stackTrace": ["secret.py"]})


@pytest.mark.parametrize("key", [KEY, DIRECT])
@pytest.mark.parametrize("ran", [True, False])
def test_given_up(aws, key, ran):
    """P3: failed with a readable reason, also if the function never ran."""
    place = stored(aws, png(), key)
    image_id = analyse(place)["image_id"] if ran else None
    result = give_up(place, error="RekognitionUnavailable", cause=CAUSE)
    assert result == {"image_id": image_id or result["image_id"], "recorded": True}
    record = aws.dynamodb.record(result["image_id"])
    assert (record["ProcessingStatus"], record["FailureCode"]) == ("failed", "processing_failed")
    assert record["FailureReason"] == "RekognitionUnavailable: no answer"
    assert len(aws.dynamodb.items) == 1
    assert give_up(place)["recorded"] is False  # the recovery machine, after the state machine's own


@pytest.mark.parametrize("status", ["completed", "uncertain", "failed"])
def test_finished_records_stay(aws, status):
    """P3."""
    place = stored(aws, png())
    analyse(place)
    aws.dynamodb.items[ID]["ProcessingStatus"] = {"S": status}
    assert give_up(place) == {"image_id": ID, "recorded": False}
    assert aws.dynamodb.record(ID)["ProcessingStatus"] == status


def test_records_of_other_executions_stay(aws):
    """P3: a duplicate that fails must not fail the image."""
    place = stored(aws, png())
    analyse(place)
    assert give_up(place, execution=OTHER_EXECUTION) == {"image_id": ID, "recorded": False}
    assert aws.dynamodb.record(ID)["ProcessingStatus"] == "processing"


@pytest.mark.parametrize(
    ("error", "cause", "reason"),
    [
        (None, None, "the execution was ended without a reason"),
        ("States.Timeout", "", "States.Timeout"),
        ("E", "in words", "E: in words"),
        (None, '{"errorMessage": null}', "the execution was ended without a reason"),
        ("E", "[1]", "E: [1]"),
        ("E", "[" * 50_000, "E: " + "[" * 996 + "…"),
    ],
)
def test_reasons(aws, error, cause, reason):
    """P3: whatever Step Functions hands over."""
    give_up(stored(aws, png()), error=error, cause=cause)
    assert aws.dynamodb.record(ID)["FailureReason"] == reason


# --- payloads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [{}, {"action": "drop"}])
def test_unknown_actions(aws, event):
    """A mistake in the state machine is an error, not a silence."""
    with pytest.raises(ValueError, match="knows no action"):
        image_processor.handler(event, CONTEXT)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"key": "dogs/a.jpg"}, "not an image below"),
        ({"key": "input/"}, "not an image below"),
        ({"version_id": "null"}, "versioned"),
        ({"version_id": ""}, "versioned"),
    ],
)
def test_odd_objects(aws, change, says):
    """P3: nothing is recorded of what cannot be."""
    with pytest.raises(ValueError, match=says):
        analyse({**stored(aws, png()), **change})
    assert aws.dynamodb.items == {}


@pytest.mark.parametrize("time_", [None, "", "yesterday", "2025-08-04", "2025-13-04T11:42:00Z", "2025-08-04T11:42:00+02:00"])
def test_odd_times(time_):
    """P5: texts that would not sort as times."""
    with pytest.raises(ValueError, match="event's time|month must be"):
        uploads.timestamp(time_)


def test_fractions_of_seconds():
    """P5: the index compares texts of one length."""
    assert uploads.timestamp("2025-08-04T11:42:00.123456Z") == TIME


def test_bad_environment(aws, monkeypatch):
    """P2: every fault at once, by name."""
    monkeypatch.setenv(contract.ENV_CONFIDENCE_THRESHOLD, "101")
    monkeypatch.delenv(contract.ENV_TABLE_NAME)
    with pytest.raises(BadEnvironment, match=r"TABLE_NAME is missing.*CONFIDENCE_THRESHOLD is '101', should be a decimal number"):
        analyse(stored(aws, png()))
