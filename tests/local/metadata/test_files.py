"""What becomes of metadata files: the way of one upload, end to end, IAM enforced (M2, M3a, M3b, M5a, M5b)."""

import hashlib
import json
from types import SimpleNamespace

import boto3
import pytest

from local.metadata import Metadata, Number
from local.metadata_exercise import MetadataSystem

NAMES = [
    "metadata.json", "names/metadata.json", "names/a/b/metadata.json", "names/a b/metadata.json", "names/a+b/metadata.json",
    "names/100 %/metadata.json", "names/a%2Bb/metadata.json", "names/Zürich/東京 €/metadata.json",
    "names/it's \"quoted\"/metadata.json", "names/.metadata.json/metadata.json",
]
OTHER_NAMES = [
    "xmetadata.json", "metadata.json.bak", "Metadata.json", "METADATA.JSON", "metadata.jsonl", "metadata.json/other",
    "others/xmetadata.json", "others/metadata.json.bak", "others/Metadata.json", "others/metadata.json/", "metadata",
]
EXACT = {"whole": "9007199254740993", "larger": "340282366920938463463374607431768211457", "negative": "-0",
         "decimal": "0.1000000000000000055511151231257827", "trailing": "1.10", "exponent": "1E400", "small": "-1.5e-400"}
OWN_STAMP = {"@timestamp": "1999-12-31T23:59:59Z", "ingest": {"id": "mine"}, "ingest.id": "1", "original_ingest": {"by": "me"}}
FILES = {
    "exact/metadata.json": "{" + ", ".join(f'"{name}": {number}' for name, number in EXACT.items()) + "}",
    "own-stamp/metadata.json": json.dumps(OWN_STAMP),
    "many/metadata.json": json.dumps({f"m{number}": number for number in range(900)}),
    "too-many/metadata.json": json.dumps({f"t{number}": number for number in range(1001)}),
    **{name: json.dumps({"key": name, "null": None, "list": ["a", "b"], "nested": {"n": [{}, {"n": 1}]}}) for name in NAMES},
}


@pytest.fixture(scope="module")
def ends(metadata):
    """What became of each of FILES, by name; all uploaded at once."""
    versions = {name: (name, metadata.upload(name, body.encode())) for name, body in FILES.items()}
    ended = metadata.wait_for_all(versions.values())
    return {name: (version[1], ended[version]) for name, version in versions.items()}


def stored(metadata, key: str, *bodies: dict) -> list[dict]:
    """The documents of these versions of a key, uploaded at once."""
    versions = [(key, metadata.upload(key, json.dumps(body).encode())) for body in bodies]
    ended = metadata.wait_for_all(versions)
    return [ended[version].document for version in versions]


def test_every_sample_ends_as_it_must(aws, deployment):
    """M2–M6, L1: what `make local` shows."""
    system = MetadataSystem()
    outcomes = system.exercise(aws, deployment.outputs["tap"], system.samples())
    assert {outcome.sample.file_name: outcome.faults for outcome in outcomes if outcome.faults} == {}


@pytest.mark.parametrize("name", NAMES)
def test_names(metadata, ends, name):
    """M2, M3b: in any folder, keys as they are; the document is the content and its stamp, and nothing else."""
    version, ended = ends[name]
    [document] = metadata.documents(name, version)
    execution = metadata.execution(ended.execution_arn)
    assert execution.status == "SUCCEEDED"
    assert document == {
        "@timestamp": json.loads(execution.input)["time"],
        "ingest": {
            "id": hashlib.sha256(f"{metadata.bucket}\n{name}\n{version}".encode()).hexdigest(),
            "bucket": metadata.bucket, "key": name, "version_id": version, "execution_id": execution.arn},
        "key": name, "null": None, "list": ["a", "b"], "nested": {"n": [{}, {"n": Number("1")}]}}


def test_other_names_start_nothing(metadata):
    """M2: only objects named exactly metadata.json."""
    earlier = {each["executionArn"] for each in metadata.executions()}
    for name in OTHER_NAMES:
        metadata.upload(name, b"{}")
    last = "others/metadata.json", metadata.upload("others/metadata.json", b"{}")
    metadata.wait(*last)
    metadata.wait_until_idle()
    assert metadata.executed(earlier) == [last]


def test_the_way_of_a_file(metadata, ends):
    """M3a: size, fetch, index; the time of the creation event is the time of the document."""
    version, ended = ends["names/metadata.json"]
    execution = metadata.execution(ended.execution_arn)
    assert [run.name for run in execution.states] == ["CheckSize", "Fetch", "Index"]
    event = json.loads(execution.input)
    assert event["detail"]["object"]["version-id"] == version and event["detail-type"] == "Object Created"
    assert metadata.failures_of("names/metadata.json") == []


def test_numbers_are_exact(metadata, ends):
    """M3b: digit by digit in the index, also those that no double holds."""
    _, ended = ends["exact/metadata.json"]
    assert {name: ended.document[name] for name in EXACT} == EXACT
    assert all(isinstance(ended.document[name], Number) for name in EXACT)
    query = {"query": {"term": {"ingest.id": ended.document["ingest"]["id"]}}}
    status, text = metadata.request("POST", f"/{metadata.index}/_search", json.dumps(query))
    assert status == 200 and all(f'"{name}":{number}' in text.replace(": ", ":") for name, number in EXACT.items())


def test_own_fields_of_the_stamps_names_are_kept(metadata, ends):
    """M3b: as original_timestamp and original_ingest, or with one more prefix if that is taken."""
    version, ended = ends["own-stamp/metadata.json"]
    assert ended.document["@timestamp"].startswith("20") and ended.document["ingest"]["version_id"] == version
    assert ended.document["original_timestamp"] == "1999-12-31T23:59:59Z"
    assert ended.document["original_ingest"] == {"by": "me"}
    assert ended.document["original_original_ingest"] == {"id": "mine"}
    assert ended.document["original_ingest.id"] == "1"
    assert len(ended.document) == 6


def test_many_fields(metadata, ends):
    """M5b: 900 fields are searchable; a file with more than 1,000 is stored whole, without using up the index."""
    _, many = ends["many/metadata.json"]
    assert "unindexed" not in many.document
    assert many.document in [hit["_source"] for hit in metadata.search({"query": {"term": {"m899": 899}}})]
    _, too_many = ends["too-many/metadata.json"]
    assert too_many.document["unindexed"] == {f"t{number}": str(number) for number in range(1001)}
    assert "1,000 fields" in too_many.document["ingest"]["unindexed_reason"]
    status, mapping = metadata.request("GET", f"/{metadata.index}/_mapping")
    assert status == 200 and '"m899"' in mapping and '"t899"' not in mapping


@pytest.mark.parametrize("first, second", [(7, "seven"), ("2026-01-31", "soon"), (True, "perhaps"), (1, 1.5), (["a"], 1)])
def test_scalars_of_conflicting_types_are_both_searchable(metadata, first, second):
    """M5b: malformed values are ignored, and no text is taken for a date."""
    field = f"scalar-{type(first).__name__}-{second}"
    [one] = stored(metadata, "types/metadata.json", {field: first, "one": field})
    [two] = stored(metadata, "types/metadata.json", {field: second, "two": field})
    for document, name in ((one, "one"), (two, "two")):
        assert "unindexed_reason" not in document["ingest"]
        assert [hit["_source"] for hit in metadata.search({"query": {"term": {name: field}}})] == [document]


def test_an_object_where_others_have_a_scalar_is_kept_unindexed(metadata):
    """M5b: both are stored, the second one whole, with OpenSearch's reason."""
    [one] = stored(metadata, "conflict/metadata.json", {"conflicting": {"a": 1}})
    [two] = stored(metadata, "conflict/metadata.json", {"conflicting": 5, "more": 2**60})
    assert one["conflicting"] == {"a": "1"} and "unindexed" not in one
    assert two["unindexed"] == {"conflicting": "5", "more": str(2**60)} and "conflicting" not in two
    assert "conflicting" in two["ingest"]["unindexed_reason"]


def test_two_versions_are_two_documents(metadata):
    """M3b: each upload of a key is a document of its own, even of the same bytes."""
    documents = stored(metadata, "versions/metadata.json", {"n": 1}, {"n": 2}, {"n": 2})
    assert [document["n"] for document in documents] == ["1", "2", "2"]
    assert len({document["ingest"]["id"] for document in documents}) == 3
    assert len(metadata.documents("versions/metadata.json")) == 3


def test_one_event_delivered_twice(aws, metadata, make):
    """M3b: perhaps a duplicate, but of the same ingest.id, time and content. EventBridge starts an execution each time."""
    key = "twice/metadata.json"
    version = metadata.upload(key, b'{"n": 1}')
    event = metadata.execution(metadata.wait(key, version).execution_arn).input
    aws.client("stepfunctions").start_execution(stateMachineArn=metadata.machine_arn, input=event)
    make.poll(lambda: len(metadata.documents(key, version)) == 2)
    documents = metadata.documents(key, version)
    assert len({document["ingest"].pop("execution_id") for document in documents}) == 2
    assert documents[0] == documents[1]


def test_a_burst_is_accounted_for(metadata):
    """M2, M3a: 50 files at once, one document each."""
    versions = []
    for number in range(50):
        key = f"burst/{number}/metadata.json"
        versions.append((key, metadata.upload(key, b'{"number": %d}' % number)))
    ended = metadata.wait_for_all(versions)
    assert [ended[version].document["number"] for version in versions] == [str(number) for number in range(50)]
    metadata.wait_until_idle()
    assert len(metadata.search({"size": 100, "query": {"range": {"number": {"gte": 0}}}})) == 50


def test_the_index_is_mapped_explicitly(metadata, ends):
    """M5b: the stamp's types are given, dates are not guessed."""
    status, text = metadata.request("GET", f"/{metadata.index}/_mapping")
    mapping = json.loads(text)[metadata.index]["mappings"]
    assert status == 200 and mapping["date_detection"] is False
    assert mapping["properties"]["@timestamp"]["type"] == "date"
    assert mapping["properties"]["ingest"]["properties"]["id"] == {"type": "keyword"}


def test_strangers_are_refused(aws, make, deployment):
    """M5a: who is not named by the data policy may not search, whatever IAM allows."""
    role = make.role(("aoss:APIAccessAll", "*"), service="lambda")
    credentials = aws.client("sts").assume_role(RoleArn=role, RoleSessionName="stranger")["Credentials"]
    session = boto3.Session(credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])
    stranger = Metadata(SimpleNamespace(session=lambda: session, region=aws.region, port=aws.port), deployment.outputs["tap"])
    assert stranger.request("POST", f"/{stranger.index}/_search", "{}")[0] == 403
