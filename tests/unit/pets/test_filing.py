"""The file manager and the notification service as the state machine calls them (P2, P4, P6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pets_aws import BUCKET, CONTEXT, ID, KEY, OTHER_ID, TOPIC, client_error, stored

from lambdas.common.environment import BadEnvironment
from lambdas.pets import contract, file_manager, notification_service

FILED = f"dogs/{ID}/dog123.jpg"


def file(place, image_id=ID, folder="dogs/"):
    return file_manager.handler({"image_id": image_id, "object": place, "folder": folder}, CONTEXT)


# --- file manager ----------------------------------------------------------------------------------------------------


def test_filed(aws):
    """P6: under the same path in its folder, with its type and where it came from; gone from input/."""
    place = stored(aws, b"dog", ContentType="image/jpeg")
    assert file(place) == {"location": f"s3://{BUCKET}/{FILED}", "version_id": "v2"}
    filed = aws.s3.current(FILED)
    assert (filed["Body"], filed["ContentType"]) == (b"dog", "image/jpeg")
    assert filed["Metadata"] == {"image-id": ID, "source-version-id": "v1"}
    assert aws.s3.keys() == [FILED]
    assert len(aws.s3.versions[KEY]) == 2  # a delete marker, nothing is gone for good


@pytest.mark.parametrize("operation", ["head_object", "copy_object", "delete_object"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_tried_again(aws, operation, moment):
    """P3: whatever broke off, one copy is made, and input/ is tidied."""
    place = stored(aws, b"dog")
    aws.s3.hook(moment, operation, client_error("InternalError", 500))
    with pytest.raises(Exception, match="InternalError"):
        file(place)
    assert file(place)["version_id"] == aws.s3.current(FILED)["VersionId"]
    assert len(aws.s3.versions[FILED]) == 1 and aws.s3.keys() == [FILED]


def test_newer_upload_stays(aws):
    """P6: what arrived under the same name in the meantime is another run's."""
    place = stored(aws, b"old")
    aws.s3.hook("after", "copy_object", lambda: aws.s3.add(KEY, b"new"))
    file(place)
    assert aws.s3.current(KEY)["Body"] == b"new" and aws.s3.current(FILED)["Body"] == b"old"


def test_newer_upload_in_the_last_moment_stays(aws):
    """P6: between the look and the deletion."""
    place = stored(aws, b"old")
    aws.s3.hook("before", "delete_object", lambda: aws.s3.add(KEY, b"new"))
    file(place)
    assert aws.s3.current(KEY)["Body"] == b"new"


def test_two_images_of_one_name(aws):
    """P6: each has its own version, and neither is taken for the other."""
    first, second = (stored(aws, body, "input/dog123.jpg") for body in (b"one", b"two"))
    versions = [file(place, image_id)["version_id"] for place, image_id in ((first, ID), (second, OTHER_ID))]
    assert [aws.s3._find("dogs/dog123.jpg", version)["Body"] for version in versions] == [b"one", b"two"]


@pytest.mark.parametrize("folder", ["", "input/", "birds/", "../"])
def test_odd_folders(aws, folder):
    """A mistake in the state machine is an error."""
    with pytest.raises(ValueError, match="no folder for images"):
        file(stored(aws, b"dog"), folder=folder)
    assert aws.s3.calls == []


# --- notification service --------------------------------------------------------------------------------------------


def notify(**other):
    event = {
        "image_id": ID, "object": {"bucket": BUCKET, "key": KEY, "version_id": "v1"}, "animal": "dog", "confidence": 61.5,
        "location": f"s3://{BUCKET}/others/{ID}/dog123.jpg", **other,
    }  # fmt: skip
    return notification_service.handler(event, CONTEXT)


def test_alert(aws):
    """P4: which image, what it may be, where it is, what to do."""
    assert notify() == {"message_id": "m1"}
    (message,) = aws.sns.messages
    assert message["TopicArn"] == TOPIC and message["Subject"] == notification_service.SUBJECT
    for text in (ID, "dog, 61.5 %", f"s3://{BUCKET}/others/{ID}/dog123.jpg", "What to do:"):
        assert text in message["Message"]


def test_subject():
    """P4: what SNS takes: ASCII, one line, at most 100 characters."""
    subject = notification_service.SUBJECT
    assert subject.isascii() and subject.isprintable() and len(subject) <= 100


@given(st.text())
def test_hostile_names(name):
    """P4: a name cannot forge lines of the alert, nor turn its direction."""
    event = {
        "image_id": ID, "object": {"bucket": BUCKET, "key": "input/" + name, "version_id": "v1"}, "animal": "dog",
        "confidence": 61.5, "location": f"s3://{BUCKET}/others/{name}",
    }  # fmt: skip
    text = notification_service._message(event)
    nameless = {**event, "location": "", "object": {**event["object"], "key": ""}}
    assert text.count("\n") == notification_service._message(nameless).count("\n")
    assert not set(text) & set("\r\x00\x1b\x85\u2028\u2029\u202e\u2066") and text.encode()


def test_bad_topic(aws, monkeypatch):
    """P2."""
    monkeypatch.setenv(contract.ENV_TOPIC_ARN, "uncertain")
    with pytest.raises(BadEnvironment, match="TOPIC_ARN is 'uncertain', should be an ARN"):
        notify()
