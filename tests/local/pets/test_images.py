"""What becomes of a picture (P3–P6, P9), from its upload to its folder: once, whatever happens twice or fails."""

import json
import re
import uuid
from datetime import UTC, datetime

import pytest
from botocore.config import Config

from lambdas.pets import contract
from local.executions import Pipeline, wait_for
from local.pets import place_of
from local.pets_exercise import PetSystem
from tests.local.pets.conftest import picture

MEGABYTE = 1_000_000
ATTRIBUTES = {contract.IMAGE_ID, contract.ANIMAL, contract.CONFIDENCE, contract.TIMESTAMP, contract.LOCATION, contract.STATUS,
              contract.FILE_SIZE, contract.FORMAT, contract.LOCATION_VERSION, contract.SOURCE_KEY, contract.SOURCE_VERSION,
              contract.EXECUTION, contract.EXPIRES_AT}


def seen(pets, image, **expected):
    """The record of an image at its end, after these attributes have been compared."""
    record = pets.wait([image])[image]
    names = {"status": contract.STATUS, "animal": contract.ANIMAL, "code": contract.FAILURE_CODE}
    assert {name: record.get(names[name]) for name in expected} == expected
    return record


def event_of(pets, record) -> dict:
    """What started the execution of a record."""
    return json.loads(pets.execution(record[contract.EXECUTION]).input)


def test_every_sample_ends_as_it_must(aws, deployment):
    """P1–P9, L1: what `make local` shows."""
    system = PetSystem()
    outcomes = system.exercise(aws, deployment.outputs[system.stack], system.samples())
    assert {outcome.sample.file_name: outcome.faults for outcome in outcomes if outcome.faults} == {}


def test_the_way_of_an_image(aws, pets, alerts):
    """P3, P5, P6: one execution; one record, whole; one picture, in its folder, under its path, with its id."""
    body = picture(Dog=97.4)
    image_id = pets.upload("dog123.png", body)
    record = seen(pets, image_id, status="completed", animal="dog")
    pets.wait_until_idle()
    assert set(record) == ATTRIBUTES
    assert (record[contract.CONFIDENCE], record[contract.FILE_SIZE], record[contract.FORMAT]) == (97.4, len(body), "png")
    assert record[contract.LOCATION] == f"s3://{pets.bucket}/dogs/{image_id}/dog123.png"
    assert record[contract.TIMESTAMP] == event_of(pets, record)["time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record[contract.TIMESTAMP])
    age = record[contract.EXPIRES_AT] - datetime.fromisoformat(record[contract.TIMESTAMP]).timestamp()
    assert age == pytest.approx(730 * 24 * 3600, abs=3600)
    execution = pets.execution(record[contract.EXECUTION])
    assert execution.status == "SUCCEEDED"
    tasks = [run.name for run in execution.states if run.kind == "Task"]
    assert tasks == ["Analyse", "Classify", "File", "Record"]
    filed = aws.client("s3").get_object(Bucket=pets.bucket, Key=place_of(record), VersionId=record[contract.LOCATION_VERSION])
    assert (filed["Body"].read(), filed["ContentType"], filed["Metadata"]["image-id"]) == (body, "image/png", image_id)
    assert pets.keys(record[contract.SOURCE_KEY]) == []
    kept = aws.client("s3").get_object(
        Bucket=pets.bucket, Key=record[contract.SOURCE_KEY], VersionId=record[contract.SOURCE_VERSION])
    assert kept["Body"].read() == body
    assert alerts.messages(image_id) == []


@pytest.fixture(scope="module")
def decided(pets):
    """Records by what was seen, all uploaded at once."""
    sights = {
        "just": {"Cat": 80}, "barely": {"Cat": 79.99}, "kitten": {"Kitten": 91}, "puppy": {"Puppy": 88.5, "Dog": 95},
        "both": {"Cat": 90, "Dog": 99}, "hint": {"Cat": 97, "Dog": 40}, "neither": {"Bird": 99}, "nothing": {"Chair": 10},
    }
    sent = {name: pets.send(f"{name}.png", picture(**labels)) for name, labels in sights.items()}
    records = pets.wait(sent.values())
    pets.wait_until_idle()
    return {name: pets.record(image_id) or records[image_id] for name, image_id in sent.items()}


@pytest.mark.parametrize("name, status, animal, confidence, folder", [
    ("just", "completed", "cat", 80, "cats"), ("barely", "uncertain", "cat", 79.99, "others"),
    ("kitten", "completed", "cat", 91, "cats"), ("puppy", "completed", "dog", 95, "dogs"),
    ("both", "uncertain", "dog", 99, "others"), ("hint", "completed", "cat", 97, "cats"),
    ("neither", "completed", "other", 99, "others"), ("nothing", "completed", "other", 0, "others"),
])
def test_decisions(pets, alerts, decided, name, status, animal, confidence, folder):
    """P4: the threshold is 80 per cent; uncertain ones under others/ with one alert; neither animal is no alert."""
    record = decided[name]
    assert (record[contract.STATUS], record[contract.ANIMAL], record[contract.CONFIDENCE]) == (status, animal, confidence)
    key = place_of(record)
    assert key == f"{folder}/{record[contract.IMAGE_ID]}/{name}.png" and pets.keys(key) == [key]
    told = alerts.messages(record[contract.IMAGE_ID])
    assert len(told) == (status == "uncertain")
    assert all(animal in notice["Message"] and record[contract.LOCATION] in notice["Message"] for notice in told)


# --- what is no picture ------------------------------------------------------------------------------------------------


REFUSED = {
    "not_an_image": b"a text", "truncated": picture(Cat=99)[:-30], "empty": b"",
    "too_large": picture(Cat=99) + bytes(15 * MEGABYTE), "unsupported": picture(Cat=99, always="InvalidImageFormatException"),
}


@pytest.fixture(scope="module")
def refused(pets):
    """Records of what was refused, all put directly into the bucket at once."""
    sent = {code: pets.drop(f"refused/{code}.jpg", body) for code, body in REFUSED.items()}
    records = pets.wait(sent.values())
    pets.wait_until_idle()
    return {code: records[uploaded] for code, uploaded in sent.items()}


@pytest.mark.parametrize("code", REFUSED)
def test_what_is_refused(pets, alerts, refused, code):
    """P9: with a code and a reason, shown by the API too; it stays where it is; no incident, no alert."""
    record = refused[code]
    assert (record[contract.STATUS], record[contract.FAILURE_CODE]) == ("failed", code) and record[contract.FAILURE_REASON]
    assert contract.ANIMAL not in record and contract.LOCATION not in record
    assert pets.keys(record[contract.SOURCE_KEY]) == [record[contract.SOURCE_KEY]]
    assert pets.execution(record[contract.EXECUTION]).status == "SUCCEEDED"
    shown = pets.image(record[contract.IMAGE_ID])
    assert shown["failure"] == {"code": code, "message": record[contract.FAILURE_REASON]} and "download" not in shown
    assert alerts.messages(record[contract.IMAGE_ID]) == []


def test_folders_of_the_console_are_no_pictures(pets):
    """P3: an empty object whose name ends in a slash."""
    marker = pets.drop("folder/", b"")
    last = pets.drop("folder/a.png", picture(Cat=99))
    seen(pets, last, status="completed")
    pets.wait_until_idle()
    assert pets.records_of(marker) == []


def test_other_folders_start_nothing(pets):
    """P3: only input/; filing an image does not begin anew."""
    earlier = len(pets.executions())
    pets.aws.client("s3").put_object(Bucket=pets.bucket, Key="others/a.png", Body=picture(Cat=99))
    seen(pets, pets.drop("last.png", picture(Cat=99)), status="completed")
    pets.wait_until_idle()
    assert len(pets.executions()) == earlier + 1


# --- twice -------------------------------------------------------------------------------------------------------------


def test_an_event_delivered_twice(aws, pets, alerts, make):
    """P3: a second execution, which stops at once: one record, one alert, one copy."""
    image_id = pets.send("twice.png", picture(Cat=50))
    record = seen(pets, image_id, status="uncertain")
    event = event_of(pets, record)
    again = make.ended(aws.client("stepfunctions").start_execution(
        stateMachineArn=pets.machine_arn, input=json.dumps(event))["executionArn"])
    assert again["status"] == "SUCCEEDED" and again["output"]["outcome"] == "duplicate"
    assert pets.record(image_id) == record
    versions = aws.client("s3").list_object_versions(Bucket=pets.bucket, Prefix=place_of(record))["Versions"]
    assert len(versions) == 1 and len(alerts.messages(image_id)) == 1


def test_two_uploads_of_one_name(pets):
    """P3, P6: a record each, of ids of their own; each points to its own version."""
    bodies = picture(Dog=99), picture(Dog=98)
    sent = [pets.drop("same/rex.png", body) for body in bodies]
    records = pets.wait(sent)
    assert len({record[contract.IMAGE_ID] for record in records.values()}) == 2
    for uploaded, body in zip(sent, bodies, strict=True):
        record = records[uploaded]
        assert uuid.UUID(record[contract.IMAGE_ID]).version == 5 and place_of(record) == "dogs/same/rex.png"
        assert pets.filed(record) == body


def test_an_id_is_used_once(pets):
    """P5: who uploads again to the place of a finished image gets a record beside it, not in its place."""
    image_id = pets.send("first.png", picture(Cat=99))
    first = seen(pets, image_id, status="completed")
    second = pets.drop(first[contract.SOURCE_KEY].removeprefix("input/"), picture(Dog=99))
    record = seen(pets, second, status="completed", animal="dog")
    assert record[contract.IMAGE_ID] != image_id and pets.record(image_id) == first


# --- Rekognition fails -------------------------------------------------------------------------------------------------


def test_throttled_twice(pets):
    """P3: the machine waits and tries again."""
    body = picture(Cat=96, errors=("ThrottlingException",) * 2 + ("ProvisionedThroughputExceededException",) * 2)
    record = seen(pets, pets.send("throttled.png", body), status="completed", animal="cat")
    execution = pets.execution(record[contract.EXECUTION])
    assert next(run for run in execution.states if run.name == "Analyse").failed and execution.status == "SUCCEEDED"


def test_rekognition_down(aws, pets, alerts):
    """P3: `failed`, the image stays; copied onto itself when all is well again, it is completed under the promised id."""
    body = picture(Dog=99, errors=("InternalServerError",) * 200)
    image_id = pets.upload("down.png", body)
    record = seen(pets, image_id, status="failed", code="processing_failed")
    pets.wait_until_idle()
    execution = pets.execution(record[contract.EXECUTION])
    assert (execution.status, execution.error) == ("FAILED", contract.ERROR_UNAVAILABLE)
    assert contract.ERROR_UNAVAILABLE in record[contract.FAILURE_REASON]
    shown = pets.image(image_id)
    assert shown["failure"]["code"] == "processing_failed" and "Rekognition" not in shown["failure"]["message"]
    key = record[contract.SOURCE_KEY]
    assert pets.keys(key) == [key]
    place = {"Bucket": pets.bucket, "Name": key}
    at_once = Config(retries={"total_max_attempts": 1})
    rekognition = aws.session().client("rekognition", endpoint_url=aws.endpoint, config=at_once)
    for _ in range(200):  # the outage passes
        try:
            rekognition.detect_labels(Image={"S3Object": place})
            break
        except rekognition.exceptions.InternalServerError:
            pass
    copied = aws.client("s3").copy_object(Bucket=pets.bucket, Key=key, CopySource={"Bucket": pets.bucket, "Key": key},
                                          MetadataDirective="REPLACE", ContentType="image/png")

    def replayed():
        found = pets.record(image_id)
        return found and found[contract.STATUS] == "completed" and found

    record = wait_for(replayed, 60, lambda: f"the record is {pets.record(image_id)}")
    assert record[contract.SOURCE_VERSION] == copied["VersionId"] and record[contract.ANIMAL] == "dog"
    assert contract.FAILURE_CODE not in record and pets.filed(record) == body
    assert alerts.messages(image_id) == []


# --- others fail -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function, action, place, status", [
    ("image-processor", "rekognition:DetectLabels", "*", "failed"),
    ("image-processor", "s3:GetObjectVersion", "arn:aws:s3:::*", "failed"),
    ("file-manager", "s3:PutObject", "arn:aws:s3:::*", "failed"),
    ("notification-service", "sns:Publish", "*", "uncertain"),  # all was done but the alert
])
def test_denied(pets, denied, role_of, function, action, place, status):
    """P2, P3: what a function may not do fails the execution after its retries, and is recorded; the image lies where it says."""
    with denied(role_of(function), action, place):
        image_id = pets.send("denied.png", picture(Cat=50))
        pets.wait([image_id])
        pets.wait_until_idle()
    record = pets.record(image_id)
    assert record[contract.STATUS] == status
    assert pets.execution(record[contract.EXECUTION]).status == "FAILED"
    assert pets.keys(place_of(record)) == [place_of(record)]


def test_aborted(aws, pets, denied, role_of, make):
    """P3: no catch sees an abort; the recovery machine records it."""
    with denied(role_of("file-manager"), "s3:*", "arn:aws:s3:::*"):
        image_id = pets.send("aborted.png", picture(Cat=99))
        record = make.poll(lambda: pets.record(image_id))
        aws.client("stepfunctions").stop_execution(executionArn=record[contract.EXECUTION], error="Operator", cause="enough")
        record = seen(pets, image_id, status="failed", code="processing_failed")
    recovery = Pipeline(aws, pets.machine_arn.replace("pet-detector", "pet-recovery"))
    recovery.wait_until_idle()
    assert pets.keys(record[contract.SOURCE_KEY]) == [record[contract.SOURCE_KEY]]
    assert datetime.fromisoformat(record[contract.TIMESTAMP]) <= datetime.now(UTC)
