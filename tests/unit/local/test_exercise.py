"""How the samples of all systems are exercised (L1), and how documents are shown (M3b)."""

import json
import threading

import pytest

from local.executions import PipelineTimeout
from local.exercise import SAMPLES, Outcome, Sample, SamplesError, exercise, read_samples
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
