"""How the samples of all systems are exercised (L1), and how documents are shown (M3b)."""

import json
import threading

import pytest

from lambdas.ingestion.table import Source
from local import ingestion
from local.executions import PipelineTimeout
from local.exercise import SAMPLES, Outcome, Sample, SamplesError, exercise, read_samples
from local.ingestion import File, Ingestion
from local.ingestion_exercise import PARTLY, STORED, UNREADABLE, IngestionOutcome
from local.ingestion_exercise import faults_of as ingestion_faults
from local.metadata import Number, parsed, pretty, version_in
from local.metadata_exercise import FAILED, IGNORED, INDEXED, LOST, MetadataOutcome, faults_of
from local.pets import place_of, type_of
from local.pets_exercise import PetOutcome
from local.pets_exercise import faults_of as pet_faults
from local.systems import SYSTEMS


def test_every_folder_of_samples_is_a_systems():
    assert {path.name for path in SAMPLES.iterdir()} == {system.name for system in SYSTEMS}
    assert all(system.samples() for system in SYSTEMS)


@pytest.mark.parametrize("expected, message", [("", "'a.csv' is not in"), ('["a.csv"]\n["b.csv"]', "'b.csv' is in")])
def test_samples_and_their_list_must_agree(tmp_path, expected, message):
    (tmp_path / "a.csv").write_text("")
    (tmp_path / "expected.toml").write_text(expected)
    with pytest.raises(SamplesError, match=f"{message}.*Remedy"):
        read_samples(tmp_path)


class Fake:
    """A system whose samples end once the other system's have begun."""

    def __init__(self, meeting, stack="tap"):
        self.meeting, self.stack = meeting, stack

    def exercise(self, aws, outputs, samples, progress):
        assert outputs == {"of": self.stack}
        self.meeting.wait(10)
        for number, _ in enumerate(samples, 1):
            progress(number)
        return [Outcome(sample, None, ()) for sample in samples]


def test_systems_are_exercised_side_by_side():
    """L1: none waits for another; progress counts all; each gets the outputs of its stack."""
    meeting, told = threading.Barrier(2), []
    one, two = Fake(meeting), Fake(meeting, "pet-detector")
    outputs = {stack: {"of": stack} for stack in ("tap", "pet-detector")}
    samples = [Sample(str(number), b"", {}) for number in range(3)]
    results = exercise({one: samples, two: samples[:1]}, None, outputs, lambda done, total: told.append((done, total)))
    assert [(result.system, len(result.outcomes)) for result in results] == [(one, 3), (two, 1)]
    assert max(told) == (4, 4)


def test_what_goes_wrong_in_one_system_is_told():
    """L1: in words, not as a hang."""

    class Late(Fake):
        def exercise(self, *_):
            raise PipelineTimeout("after 180 s still running")

    with pytest.raises(PipelineTimeout, match="still running"):
        exercise({Late(None): []}, None, {"tap": {}}, lambda *_: None)


DOCUMENT = {"ingest": {"id": "1" * 64}}
FAILURE = {"error": "InvalidMetadata", "cause": "it is empty"}


@pytest.mark.parametrize("expected, status, found, counted, faults", [
    ({"outcome": INDEXED}, INDEXED, {"document": DOCUMENT}, (1, 0, 1), []),
    ({"outcome": INDEXED}, INDEXED, {"document": DOCUMENT}, (2, 0, 1), ["it has 2 documents"]),
    ({"outcome": INDEXED}, FAILED, {"failure": FAILURE}, (0, 1, 1), ["outcome is failed", "it has 0 documents"]),
    ({"outcome": FAILED, "error": "InvalidMetadata", "says": "empty"}, FAILED, {"failure": FAILURE}, (0, 1, 1), []),
    ({"outcome": FAILED, "error": "X", "says": "full"}, FAILED, {"failure": FAILURE}, (0, 1, 1), ["error is", "cause does not"]),
    ({"outcome": FAILED}, FAILED, {"failure": FAILURE}, (1, 1, 1), ["it has 1 documents, 1 items"]),
    ({"outcome": IGNORED}, IGNORED, {}, (0, 0, 0), []),
    ({"outcome": IGNORED}, LOST, {}, (0, 0, 1), ["outcome is lost", "1 executions"]),
])
def test_faults_of_metadata_files(expected, status, found, counted, faults):
    """L1: what is not as expected.toml says is told."""
    sample = Sample("metadata.json", b"", expected)
    outcome = MetadataOutcome(sample, None, (), status, found.get("document"), found.get("failure"), 1.0)
    told = faults_of(outcome, dict(zip(("documents", "items in the table of failures", "executions"), counted, strict=True)))
    assert len(told) == len(faults) and all(words in fault for words, fault in zip(faults, told, strict=True))


@pytest.mark.parametrize(
    "text", ["{}", "[]", "7", '{"a": 1E400, "b": [1.10, -0, {"c": [], "d": null}], "ü": "\\n\\"", "e": true}'])
def test_documents_are_shown_exactly(text):
    """M3b: pretty JSON with every number as it is stored, and nothing else changed."""
    shown = pretty(parsed(text))
    assert parsed(shown) == parsed(text) and json.loads(shown) == json.loads(text)
    assert ("1E400" in shown) == ("1E400" in text)


def test_a_number_is_no_text():
    assert pretty([Number("1"), "1"]) == '[\n  1,\n  "1"\n]'


@pytest.mark.parametrize("given", ["", "{}", '{"detail": {}}', '{"detail": {"object": {}}}'])
def test_inputs_that_name_no_version(given):
    assert version_in(given) == ("", "")


RECORD = {"ImageID": "1", "ProcessingStatus": "completed", "DetectedAnimal": "dog", "ConfidenceScore": 97.4,
          "SourceKey": "input/1/a", "S3Location": "s3://pets/dogs/1/a", "SourceVersionId": "v"}
EXPECTED = {"via": "s3", "status": "completed", "animal": "dog", "folder": "dogs", "alerts": 0}
SHOWN = {"status": "completed", "download": {"url": "u"}}


def faults_of_a_picture(*, sent=(), shown=SHOWN, records=1, keys=("dogs/1/a",), **expected):
    outcome = PetOutcome(Sample("a", b"", {**EXPECTED, **expected}), None, (), RECORD, sent, shown, 1.0)
    return pet_faults(outcome, records, keys)


def test_a_picture_that_ended_as_it_must():
    """P4, P5."""
    assert faults_of_a_picture() == [] == faults_of_a_picture(sent=({},), alerts=1)


@pytest.mark.parametrize("given, fault", [
    ({"status": "uncertain"}, "status is completed instead of uncertain"),
    ({"animal": "cat"}, "animal is dog instead of cat"),
    ({"folder": "cats"}, "folder is dogs instead of cats"),
    ({"alerts": 1}, "alerts is 0 instead of 1"),
    ({"sent": ({},)}, "alerts is 1 instead of 0"),
    ({"keys": ()}, "dogs/1/a does not exist"),
    ({"code": "too_small"}, "code is – instead of too_small"),
    ({"says": "80"}, "its reason does not say '80'"),
    ({"records": 2}, "2 records instead of one"),
    ({"shown": {}}, "the API shows nothing"),
    ({"shown": {"status": "completed"}}, "the API shows no download"),
])
def test_each_difference_of_a_picture_is_a_fault(given, fault):
    """P4, P5."""
    assert any(fault in each for each in faults_of_a_picture(**given))


def test_a_refused_picture():
    """P9: it stays where it was, and nothing was detected in it."""
    record = {"ImageID": "1", "ProcessingStatus": "failed", "FailureCode": "too_small", "FailureReason": "64 x 48",
              "SourceKey": "input/1/a", "SourceVersionId": "v"}
    expected = {"via": "s3", "status": "failed", "code": "too_small", "says": "48", "folder": "input", "alerts": 0}
    refused = PetOutcome(Sample("a", b"", expected), None, (), record, (), {"status": "failed"}, 1.0)
    assert pet_faults(refused, 1, ["input/1/a"]) == []
    detected = PetOutcome(refused.sample, None, (), {**record, "DetectedAnimal": "dog"}, (), {"status": "failed"}, 1.0)
    assert pet_faults(detected, 1, ["input/1/a"]) == ["dog was detected in it"]


def test_places_and_types_of_pictures():
    assert place_of(RECORD) == "dogs/1/a" and place_of({"SourceKey": "input/x"}) == "input/x"
    assert (type_of("A.PNG"), type_of("a.jpg"), type_of("a")) == ("image/png", "image/jpeg", "image/jpeg")


def ingested(*, expected=None, checkpoint=None, records=2, elsewhere=2, region="us-east-1", reason=None):
    """A file's outcome, and what is wrong with it."""
    counts = {"recordsRead": 4, "recordsStored": 2, "recordsKnown": 1, "recordsInvalid": 0, "recordsConflicting": 1}
    items = tuple({"processingRegion": region, "processingStatus": "INVALID" if reason else "VALID", "reason": reason,
                   "sourceLine": 3} for _ in range(records))
    sample = Sample("a.json", b"", {"region": "us-east-1", **(expected or {})})
    told = {} if checkpoint is None else {**counts, **checkpoint}
    outcome = IngestionOutcome(sample, None, (), "us-east-1", told, items, 1.0)
    return outcome, ingestion_faults(outcome, elsewhere)


@pytest.mark.parametrize("given, status, faults", [
    ({"checkpoint": {}, "expected": {"outcome": STORED, "read": 4, "stored": 2, "known": 1, "conflicting": 1}}, STORED, []),
    ({"checkpoint": {}, "expected": {"read": 5}}, STORED, ["read is 4 instead of 5"]),
    ({"checkpoint": {"recordsStored": 3}, "records": 3, "elsewhere": 3}, STORED, ["4 records are read, but 3 stored, 1 known"]),
    ({"checkpoint": {}, "records": 1}, STORED, ["the table has 1 records of it in its region, stored are 2"]),
    ({"checkpoint": {}, "elsewhere": 0}, STORED, ["the table has 0 records of it in the other region"]),
    ({"checkpoint": {}, "region": "us-west-2"}, STORED, ["said to be of us-west-2"]),
    ({"checkpoint": {"recordsInvalid": 2}, "reason": "no time", "expected": {"says": "line 3: no time"}}, PARTLY, []),
    ({"checkpoint": {"failure": "a picture"}, "expected": {"outcome": UNREADABLE, "says": "picture"}}, UNREADABLE, []),
    ({"checkpoint": {}, "expected": {"says": "picture"}}, STORED, ["nothing says 'picture'"]),
    ({}, "not done", ["it was never done"]),
])
def test_faults_of_ingested_files(given, status, faults):
    """L1, R3b: what is not as expected.toml says, or does not add up, is told."""
    outcome, told = ingested(**given)
    assert outcome.status == status
    assert len(told) == len(faults) and all(words in fault for words, fault in zip(faults, told, strict=True)), told


def test_checkpoints_are_found_where_the_processor_writes_them():
    """R3b: by bucket, key and version."""
    assert ingestion.checkpoint_id("b", "k ü", "v") == Source("b", "k ü", "v").checkpoint_id


class Logs:
    """A client of everything that finds one consumer, whose log holds these lines."""

    def __init__(self, *lines):
        self.lines = lines

    def client(self, service, region=None):
        return self

    def list_event_source_mappings(self, **_):
        return {"EventSourceMappings": [{"FunctionArn": "arn:aws:lambda:us-east-1:1:function:consumer"}]}

    def get_paginator(self, _):
        return self

    def paginate(self, *, logGroupName, **_):
        assert logGroupName == "/aws/lambda/consumer"
        return [{"events": [{"message": line}]} for line in self.lines]


def test_what_a_consumer_counts_is_read_from_its_metrics():
    """R5: sums by status; other metrics and lines that only look like some count nothing."""
    lines = ['{"_aws": {}, "status": "VALID", "Records": [2.0]}', '{"_aws": {}, "status": "VALID", "Records": [1.0, 1.0]}',
             '{"_aws": {}, "status": "INVALID", "Records": [1.0]}', '{"_aws": {}, "Conflicts": [7.0]}', '{"_aws"', '["_aws"]',
             'a "_aws" of somebody', '{"status": "VALID", "Records": [9]}']
    outputs = {f"ingestion_{name}_us_east_1": "x" for name in ("table_name", "stream_arn")}
    assert Ingestion(Logs(*lines), outputs).followed("us-east-1") == {"VALID": 4, "INVALID": 1}


def test_events_name_files_as_s3_does():
    """R2: form-encoded, save for the slash."""
    found = Ingestion(None, {f"ingestion_{name}_us_east_1": name for name in ("table_name", "bucket_name")})
    [told] = found.event(File("us-east-1", "März/50 % + more.json", "v"))["Records"]
    assert told["s3"] == {"bucket": {"name": "bucket_name"},
                          "object": {"key": "M%C3%A4rz/50+%25+%2B+more.json", "versionId": "v"}}
