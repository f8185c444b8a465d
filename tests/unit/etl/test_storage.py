"""S3 (E4b, E4c, E4d, E3c): all or nothing, never an older output over a newer, whoever else is at work."""

from datetime import timedelta

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError, ResponseStreamingError
from fake_s3 import BUCKET, EPOCH, FakeS3, client_error

from lambdas.etl import contract, files, storage
from lambdas.etl.files import File

MIB = 1 << 20
SMALL, LARGE = b"small", b"x" * (17 * MIB)
LOST = ReadTimeoutError(endpoint_url="s3")


def file_of(version_id="v-own", sequencer="0055", name="a/b.csv", size=100, **other):
    return File(bucket=BUCKET, key="raw/" + name, file_name=name, version_id=version_id, sequencer=sequencer, size=size, **other)


OWN = file_of()


@pytest.fixture
def s3():
    fake = FakeS3()
    fake.add(OWN.key, b"uploaded", version_id=OWN.version_id)
    return fake


def publish(s3, body, file=OWN):
    with storage.output_upload(s3, file, "execution") as upload:
        upload.write(body)
        return storage.publish(s3, file, upload, "execution")


def output_of(s3, version_id, sequencer, body=b"theirs"):
    s3.add(OWN.processed_key, body, Metadata={"source-version-id": version_id, "source-sequencer": sequencer})


# --- publishing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [SMALL, LARGE, b""])
def test_publish(s3, body):
    """E4b: small in one request, large in parts; the metadata says what it was made from."""
    assert publish(s3, body) is None
    assert s3.body(OWN.processed_key) == body
    assert s3.metadata(OWN.processed_key) == {
        "source-version-id": "v-own",
        "source-sequencer": "0055",
        "execution-name": "execution",
    }
    assert s3.head_object(Bucket=BUCKET, Key=OWN.processed_key)["ContentType"] == "text/csv; charset=utf-8"
    assert ("create_multipart_upload" in s3.operations()) is (body is LARGE)
    assert s3.uploads == {}


@pytest.mark.parametrize("body", [SMALL, LARGE])
def test_older_output_is_replaced(s3, body):
    """E4c: a newer upload replaces an older one's output, also one of unknown origin."""
    output_of(s3, "v-old", "0054FF")
    assert publish(s3, body) is None
    s3.add(OWN.processed_key, b"by hand")
    assert publish(s3, body) is None
    assert s3.body(OWN.processed_key) == body


@pytest.mark.parametrize("sequencer", ["0056", "00550001", "1"])
@pytest.mark.parametrize("body", [SMALL, LARGE])
def test_newer_output_stays(s3, body, sequencer):
    """E4c: an older upload never replaces a newer one's output; the loser knows by which it is superseded."""
    output_of(s3, "v-new", sequencer)
    assert publish(s3, body) == "v-new"
    assert s3.body(OWN.processed_key) == b"theirs"
    assert s3.uploads == {}


def test_sequencers_are_compared_after_padding():
    """E4c: hexadecimal, any case, padded on the right."""
    assert not files.is_newer("00550000", than="0055")
    assert files.is_newer("0055a", than="00559F")
    assert not files.is_newer("", than="0")


SECOND = timedelta(seconds=1)
SWEPT = file_of(sequencer="")


@pytest.mark.parametrize(
    ("file", "sequencer", "uploaded", "expected"),
    [
        (SWEPT, "0056", -SECOND, None),
        (SWEPT, "0054", SECOND, "v-other"),
        (SWEPT, "0056", 0 * SECOND, None),  # swept: current in a later second than that of its upload
        (OWN, "", -SECOND, None),
        (OWN, "", SECOND, "v-other"),
        (OWN, "", 0 * SECOND, "v-other"),
        (SWEPT, "", -SECOND, None),
        (SWEPT, "", SECOND, "v-other"),
    ],
)
def test_without_a_sequencer_the_times_of_the_uploads_decide(s3, file, sequencer, uploaded, expected):
    """E4c, E7c: the sweep knows no sequencer; S3 knows when each version was uploaded, whoever publishes first."""
    s3.add(OWN.key, b"other", version_id="v-other", LastModified=EPOCH + uploaded)
    made_from = {"source-version-id": "v-other"} | ({"source-sequencer": sequencer} if sequencer else {})
    s3.add(OWN.processed_key, b"theirs", Metadata=made_from, LastModified=EPOCH + 60 * SECOND)
    assert publish(s3, SMALL, file) == expected
    assert s3.body(OWN.processed_key) == (b"theirs" if expected else SMALL)


def test_output_of_a_swept_upload_has_no_sequencer(s3):
    """E4c: rather than one that looks like the oldest."""
    assert publish(s3, SMALL, SWEPT) is None
    assert s3.metadata(OWN.processed_key) == {"source-version-id": "v-own", "execution-name": "execution"}
    assert publish(s3, SMALL, SWEPT) is None  # by a retry
    assert len(s3.versions[OWN.processed_key]) == 1


@pytest.mark.parametrize("published", [-SECOND, SECOND])
def test_output_of_a_version_that_is_gone_is_older(s3, published):
    """E4c, E7c: old versions are kept for 30 days; what was published before the upload need not be looked at."""
    s3.add(OWN.processed_key, b"theirs", Metadata={"source-version-id": "gone"}, LastModified=EPOCH + published)
    assert publish(s3, SMALL, SWEPT) is None
    assert s3.body(OWN.processed_key) == SMALL
    looks = [key for call, key in s3.calls if call == "head_object"]
    assert looks.count(OWN.key) == (1 if published < 0 * SECOND else 2)


def test_denied_look_at_an_upload_is_no_order(s3):
    """E4c: no guess."""
    s3.add(OWN.processed_key, b"theirs", Metadata={"source-version-id": "v-other"})
    s3.hook("after", "head_object", lambda: s3.hook("before", "head_object", client_error("403")))
    with pytest.raises(ClientError, match="403"):
        publish(s3, SMALL, SWEPT)


@pytest.mark.parametrize("body", [SMALL, LARGE])
@pytest.mark.parametrize("replacing", [False, True])
@pytest.mark.parametrize(("sequencer", "expected"), [("0054", None), ("0056", "v-other")])
def test_another_writer_between_the_look_and_the_write(s3, body, replacing, sequencer, expected):
    """E4c: the write is conditional (412): look again, then decide again."""
    if replacing:
        output_of(s3, "v-old", "0001", b"oldest")
    operation = "complete_multipart_upload" if body is LARGE else "put_object"
    s3.hook("before", operation, lambda: output_of(s3, "v-other", sequencer))
    assert publish(s3, body) == expected
    assert s3.body(OWN.processed_key) == (b"theirs" if expected else body)
    assert s3.uploads == {}


@pytest.mark.parametrize("body", [SMALL, LARGE])
def test_output_deleted_between_the_look_and_the_write(s3, body):
    """E4c: If-Match on what is gone is a 404: look again."""
    output_of(s3, "v-old", "0001")
    operation = "complete_multipart_upload" if body is LARGE else "put_object"
    s3.hook("before", operation, lambda: s3.add(OWN.processed_key, None))
    assert publish(s3, body) is None
    assert s3.body(OWN.processed_key) == body


@pytest.mark.parametrize("body", [SMALL, LARGE])
@pytest.mark.parametrize("lost", [LOST, *map(client_error, ("InternalError", "PreconditionFailed", "NoSuchUpload"))])
def test_lost_answer_to_a_successful_publish(s3, body, lost):
    """E4b: the object is there and ours: success, whatever the answer (to a retried request) was."""
    s3.hook("after", "complete_multipart_upload" if body is LARGE else "put_object", lost)
    assert publish(s3, body) is None
    assert s3.body(OWN.processed_key) == body
    assert len(s3.versions[OWN.processed_key]) == 1


@pytest.mark.parametrize("body", [SMALL, LARGE])
@pytest.mark.parametrize("fault", [LOST, client_error("InternalError"), client_error("AccessDenied")])
def test_failed_publish_leaves_nothing(s3, body, fault):
    """E4b: no object, no forgotten upload, and the error for the state machine to retry."""
    s3.hook("before", "complete_multipart_upload" if body is LARGE else "put_object", fault)
    with pytest.raises(type(fault)):
        publish(s3, body)
    assert s3.keys() == [OWN.key]
    assert s3.uploads == {}


def test_conflict_of_a_small_object_is_tried_again(s3):
    """E4b: 409 means that somebody else was writing at the same moment."""
    s3.hook("before", "put_object", client_error("ConditionalRequestConflict"))
    assert publish(s3, SMALL) is None


def test_conflict_of_a_multipart_upload_starts_over(s3):
    """E4b: after a 409 the multipart upload must be redone: the state machine's retry does that."""
    s3.hook("before", "complete_multipart_upload", client_error("ConditionalRequestConflict"))
    with pytest.raises(storage.PublishConflict):
        publish(s3, LARGE)
    assert s3.uploads == {}
    assert publish(s3, LARGE) is None


def test_endless_conflicts_end(s3):
    """E4b: no endless loop."""
    for _ in range(50):
        s3.hook("before", "put_object", client_error("ConditionalRequestConflict"))
    with pytest.raises(storage.PublishConflict):
        publish(s3, SMALL)


def test_published_before(s3):
    """E4b: a retry after a crash finds its own output and changes nothing, although the raw object is gone by now."""
    assert publish(s3, SMALL) is None
    storage.remove(s3, OWN)
    assert publish(s3, SMALL) is None
    assert len(s3.versions[OWN.processed_key]) == 1


def test_file_set_aside_meanwhile(s3):
    """E7b: a recovery has given this execution up, whose function still runs: nothing is published."""
    storage.withdraw(s3, OWN, "execution")
    with pytest.raises(storage.Withdrawn, match="v-own"):
        publish(s3, LARGE)
    assert s3.keys() == [OWN.withdrawal_key("execution"), OWN.key]
    assert s3.uploads == {}


def test_another_version_set_aside_meanwhile(s3):
    """E4c: that a newer upload was invalid, and left nothing in raw/, is no reason to lose this one's output."""
    storage.withdraw(s3, OWN, "other")
    s3.add(OWN.key, None)
    assert publish(s3, SMALL) is None
    assert s3.body(OWN.processed_key) == SMALL


def fail_while_writing(s3):
    with storage.output_upload(s3, OWN, "execution") as upload:
        upload.write(LARGE)
        raise ZeroDivisionError


def test_failure_while_writing_aborts_the_upload(s3):
    """E4b: an exception between two parts leaves no upload behind."""
    with pytest.raises(ZeroDivisionError):
        fail_while_writing(s3)
    assert s3.uploads == {}
    assert s3.keys() == [OWN.key]


def test_failed_part_fails_the_upload(s3):
    """E4b: a part that could not be sent, in the background, is not overlooked."""
    s3.hook("before", "upload_part", client_error("SlowDown"))
    with pytest.raises(storage.ClientError):
        publish(s3, LARGE)
    assert s3.keys() == [OWN.key]


def test_rejects_are_never_aborted(s3):
    """E11: the function may not abort uploads under failed/; the lifecycle rule does."""
    with storage.rejects_upload(s3, OWN, "failed/x") as upload:
        upload.write(LARGE)
    assert "abort_multipart_upload" not in s3.operations()


def test_impossible_abort_does_not_hide_the_error(s3):
    """E4b: the reason for the failure is what counts."""
    s3.hook("before", "abort_multipart_upload", client_error("AccessDenied"))
    with pytest.raises(ZeroDivisionError):
        fail_while_writing(s3)


# --- an upload that others fill --------------------------------------------------------------------------------------


def begun(s3, *bodies, file=OWN):
    """An upload with these parts, as the invocation sees it that completes it."""
    upload = storage.BegunUpload.begin(s3, file, "execution")
    answers = [storage.BegunUpload(s3, file, upload.id).put_part(index, body) for index, body in enumerate(bodies)]
    return storage.BegunUpload(s3, file, upload.id, answers)


def test_begun_upload(s3):
    """E12, E4b: invisible until it is complete; then one object with the same attributes as one written in one piece."""
    parts = [b"a" * 5 * MIB, b"b" * 5 * MIB, b"c"]
    upload = begun(s3, *parts)
    assert s3.keys() == [OWN.key]
    assert storage.publish(s3, OWN, upload, "execution") is None
    assert s3.body(OWN.processed_key) == b"".join(parts)
    in_parts = s3.versions[OWN.processed_key][0]
    publish(s3, b"", file_of("v-newer", "0056"))
    in_one_piece = s3.versions[OWN.processed_key][1]
    assert in_parts["ContentType"] == in_one_piece["ContentType"]
    assert in_parts["Metadata"] == in_one_piece["Metadata"] | {"source-version-id": "v-own", "source-sequencer": "0055"}


def test_part_sent_again_replaces_itself(s3):
    """E12: a retried range."""
    upload = begun(s3, b"half-done")
    upload.put_part(0, b"done")
    storage.publish(s3, OWN, upload, "execution")
    assert s3.body(OWN.processed_key) == b"done"


@pytest.mark.parametrize("lost", [LOST, *map(client_error, ("InternalError", "PreconditionFailed", "NoSuchUpload"))])
def test_lost_answer_to_a_completed_upload(s3, lost):
    """E4b, E12: the object is there and ours: success."""
    upload = begun(s3, SMALL)
    s3.hook("after", "complete_multipart_upload", lost)
    assert storage.publish(s3, OWN, upload, "execution") is None
    assert len(s3.versions[OWN.processed_key]) == 1


@pytest.mark.parametrize(("sequencer", "expected"), [("0054", None), ("0056", "v-other")])
def test_another_writer_before_the_upload_is_completed(s3, sequencer, expected):
    """E4c, E12: conditional: look again, then decide again."""
    upload = begun(s3, SMALL)
    s3.hook("before", "complete_multipart_upload", lambda: output_of(s3, "v-other", sequencer))
    assert storage.publish(s3, OWN, upload, "execution") == expected
    assert s3.body(OWN.processed_key) == (b"theirs" if expected else SMALL)


def test_conflict_of_a_begun_upload_is_an_error(s3):
    """E4b, E12: S3 wants such an upload begun anew; trying again at once would not help."""
    upload = begun(s3, SMALL)
    s3.hook("before", "complete_multipart_upload", client_error("ConditionalRequestConflict"))
    with pytest.raises(storage.PublishConflict):
        storage.publish(s3, OWN, upload, "execution")
    assert s3.keys() == [OWN.key]


def test_abort_of_an_upload_that_is_gone(s3):
    """E12: aborted twice, or completed before: no error."""
    upload = begun(s3, SMALL)
    upload.abort()
    upload.abort()
    assert (s3.uploads, s3.keys()) == ({}, [OWN.key])


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 17 * MIB])
def test_blocks(s3, size):
    """E12: exactly that version, in ranged GETs of 8 MiB."""
    body = bytes(range(251)) * (size // 251 + 1)
    s3.add(OWN.key, body[:size], version_id="v-big")
    s3.add(OWN.key, b"newer")
    blocks = list(storage.blocks(s3, file_of("v-big", size=size), 0, size))
    assert b"".join(blocks) == body[:size]
    assert [len(block) for block in blocks[:-1]] == [8 * MIB] * (len(blocks) - 1)


def test_reading_ahead_stops_with_the_reader(s3):
    """E12: one block ahead, not more; abandoning the blocks ends the reading."""
    s3.add(OWN.key, bytes(40 * MIB), version_id="v-big")
    blocks = storage.blocks(s3, file_of("v-big", size=40 * MIB), 0, 40 * MIB)
    next(blocks)
    blocks.close()
    assert len(s3.operations("get_object")) == 2


def test_broken_answer_is_read_again(s3):
    """E12: an answer that breaks off midway costs one block, not the file."""

    class Broken:
        def read(self):
            raise ResponseStreamingError(error="reset")

    answers = [{"Body": Broken()}, {"Body": Broken()}]
    get_object = s3.get_object
    s3.get_object = lambda **arguments: answers.pop() if answers else get_object(**arguments)
    assert storage.read(s3, file_of(size=8), 0, 99) == b"uploaded"
    answers = [{"Body": Broken()}] * 9
    with pytest.raises(ResponseStreamingError):
        storage.read(s3, file_of(size=8), 0, 99)


# --- removing and setting aside --------------------------------------------------------------------------------------


def test_remove(s3):
    """E4d: a delete marker; the version stays, recoverable."""
    assert storage.remove(s3, OWN)
    assert s3.body(OWN.key) is None
    assert s3.versions[OWN.key][0]["Body"] == b"uploaded"
    assert not storage.remove(s3, OWN)
    assert len(s3.versions[OWN.key]) == 2


def test_newer_upload_is_not_removed(s3):
    """E4d: only if it is still the current version, also if a newer one arrives after the look."""
    s3.hook("before", "delete_object", lambda: s3.add(OWN.key, b"newer"))
    assert not storage.remove(s3, OWN)
    assert not storage.remove(s3, OWN)
    assert s3.body(OWN.key) == b"newer"


def test_set_aside(s3):
    """E3c: moved to failed/<same path>; a second time changes nothing that counts."""
    assert storage.set_aside(s3, OWN) == "failed/a/b.csv"
    assert storage.set_aside(s3, OWN) == "failed/a/b.csv"
    assert s3.body("failed/a/b.csv") == b"uploaded"
    assert s3.body(OWN.key) is None


def test_set_aside_of_an_older_version(s3):
    """E3c: exactly that version is copied; the newer upload stays."""
    s3.add(OWN.key, b"newer")
    storage.set_aside(s3, OWN)
    assert (s3.body("failed/a/b.csv"), s3.body(OWN.key)) == (b"uploaded", b"newer")


@pytest.mark.parametrize(
    ("length", "fault", "failed"), [(921, False, True), (922, True, True), (1017, True, True), (1018, True, False)]
)
def test_long_names(s3, length, fault, failed):
    """E5a, E12: S3 keys have at most 1024 bytes, also below ``whole/``; what does not fit is said, and stays where it is if it
    must."""
    name = "é" * (length // 2) + "x" * (length % 2)
    file = file_of(name=name)
    longest = files.rejects_part(file.rejects_prefix("0" * 64) + contract.WHOLE, 0)
    assert (len(longest.encode()) > 1024) is bool(file.name_fault()) is fault
    if not failed:
        assert "stays in raw/" in file.name_fault()
        assert storage.set_aside(s3, file) is None
        assert s3.calls == []
    else:
        assert len(file.failed_key.encode()) <= 1024
