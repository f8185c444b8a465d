"""The dashboard fits the index, and the command that imports it says what happened (M5b, M3b)."""

import hashlib
import json
import re
from base64 import b64decode
from email import message_from_bytes
from itertools import combinations
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError, SSLError

from dashboards.__main__ import main, target
from dashboards.saved_objects import SOURCE, STRINGS, ndjson, saved_objects
from lambdas.metadata.index import INDEX
from settings import TapSettings

COLLECTION = "https://abc123.eu-central-1.aoss.amazonaws.com/_dashboards"
META_FIELDS = {"_id": "string", "_index": "string", "_source": "_source"}
"""What every index has without a mapping."""


def parsed(value):
    """An object with the JSON in its strings spelt out; fails if a string is none."""
    if isinstance(value, list):
        return [parsed(item) for item in value]
    if isinstance(value, dict):
        return {name: parsed(json.loads(item) if name in STRINGS else item) for name, item in value.items()}
    return value


def members(value, name):
    """Every value under this name, at any depth."""
    if isinstance(value, dict):
        yield from (item for key, item in value.items() if key == name)
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from members(item, name)


OBJECTS = parsed(saved_objects())
BY_ID = {found["id"]: found for found in OBJECTS}
VISUALIZATIONS = [found for found in OBJECTS if found["type"] == "visualization"]
(INDEX_PATTERN,) = (found for found in OBJECTS if found["type"] == "index-pattern")
(DASHBOARD,) = (found for found in OBJECTS if found["type"] == "dashboard")

every_object = pytest.mark.parametrize("found", OBJECTS, ids=BY_ID)
every_visualization = pytest.mark.parametrize("found", VISUALIZATIONS, ids=[found["id"] for found in VISUALIZATIONS])


def mapped(properties, prefix=""):
    """Every field of a mapping that can be searched: name and type."""
    for name, mapping in properties.items():
        if "properties" in mapping:
            yield from mapped(mapping["properties"], f"{prefix}{name}.")
        elif mapping.get("enabled", True):
            yield f"{prefix}{name}", mapping["type"]


FIELDS = dict(mapped(INDEX["mappings"]["properties"]))

# --- the objects ----------------------------------------------------------------------------------------------------


def test_source_is_one_readable_file():
    """M5b: no JSON in strings, no line that a review would have to scroll."""
    text = SOURCE.read_text(encoding="utf-8")
    assert '\\"' not in text
    assert json.loads(text) == OBJECTS
    assert max(map(len, text.splitlines())) <= 160


def test_ids_are_unique_and_ours():
    """M5b: importing again replaces the same objects and no others."""
    ids = [found["id"] for found in OBJECTS]
    assert len(ids) == len(set(ids))
    assert all(id_.startswith("release-metadata-") for id_ in ids)


@every_object
def test_references_resolve_and_are_used(found):
    """M5b: an import with a reference into nothing is refused; an unused one is left over from something."""
    for reference in found["references"]:
        assert BY_ID[reference["id"]]["type"] == reference["type"]
    names = [*members(found["attributes"], "panelRefName"), *members(found["attributes"], "indexRefName")]
    assert sorted(names) == sorted(reference["name"] for reference in found["references"])


@pytest.mark.parametrize("raw", saved_objects(), ids=BY_ID)
def test_strings_hold_json(raw):
    """M5b: what Dashboards' own mapping takes as text is a string of JSON; the few members that are none are told here."""
    attributes = raw["attributes"] | raw["attributes"].get("kibanaSavedObjectMeta", {})
    strings = {
        "index-pattern": {"fields"},
        "visualization": {"visState", "uiStateJSON", "searchSourceJSON"},
        "search": {"searchSourceJSON"},
        "dashboard": {"panelsJSON", "optionsJSON", "searchSourceJSON"},
    }[raw["type"]]
    assert all(isinstance(json.loads(attributes[name]), dict | list) for name in strings)
    structured = {name for name, value in attributes.items() if isinstance(value, dict | list)}
    assert structured <= {"kibanaSavedObjectMeta", "refreshInterval", "columns", "sort"}


def test_json_inside_json_is_a_string_too():
    """M5b: the advanced JSON of an aggregation."""
    metric = next(found for found in saved_objects() if found["id"] == "release-metadata-files")
    assert json.loads(metric["attributes"]["visState"])["aggs"][0]["params"]["json"] == '{"precision_threshold": 40000}'


def test_ndjson_is_one_object_a_line():
    """M5b: as the import reads it."""
    text = ndjson(saved_objects())
    assert text.endswith("\n") and "\n\n" not in text
    assert [json.loads(line) for line in text.splitlines()] == saved_objects()


def test_index_pattern_is_the_index():
    """M5b: the same name as the setting's default, the same fields and types as the mapping."""
    attributes = INDEX_PATTERN["attributes"]
    assert attributes["title"] == TapSettings.model_fields["metadata_index_name"].default
    assert FIELDS[attributes["timeFieldName"]] == "date"
    kinds = {"date": "date", "keyword": "string"}  # of the index, of Dashboards
    assert {field["name"]: field["type"] for field in attributes["fields"]} == {
        **{name: kinds[type_] for name, type_ in FIELDS.items()}, **META_FIELDS}
    assert all(field["aggregatable"] and field["readFromDocValues"] for field in attributes["fields"] if field["name"] in FIELDS)


@every_object
def test_used_fields_are_mapped(found):
    """M5b: a panel over a field that the index does not have shows an error instead."""
    attributes = found["attributes"]
    filters = [filter_["meta"]["key"] for group in members(attributes, "filter") if isinstance(group, list) for filter_ in group]
    sorted_by = [name for name, _ in attributes.get("sort", [])]
    used = {*members(attributes, "field"), *filters, *attributes.get("columns", []), *sorted_by}
    assert used or found["type"] in {"index-pattern", "dashboard"}
    assert used <= FIELDS.keys()


@every_visualization
def test_panels_count_versions_never_documents(found):
    """M3b: a redelivered event may store a duplicate."""
    aggregations = found["attributes"]["visState"]["aggs"]
    metrics = [aggregation for aggregation in aggregations if aggregation["schema"] == "metric"]
    assert (metrics[0]["type"], metrics[0]["params"]["field"]) == ("cardinality", "ingest.id")
    assert {metric["type"] for metric in metrics} <= {"cardinality", "max"}  # a maximum of duplicates is the same maximum
    assert "count" not in {aggregation["type"] for aggregation in aggregations}


@every_visualization
def test_aggregations_name_each_other_rightly(found):
    """M5b: rows are ordered, and series are drawn, by the distinct count."""
    state = found["attributes"]["visState"]
    ids = [aggregation["id"] for aggregation in state["aggs"]]
    assert len(ids) == len(set(ids))
    (count,) = (aggregation["id"] for aggregation in state["aggs"] if aggregation["type"] == "cardinality")
    assert {*members(state["aggs"], "orderBy")} <= {count}
    assert {series["data"]["id"] for series in state["params"].get("seriesParams", [])} <= {count}
    assert state["title"] == found["attributes"]["title"]


def test_unindexed_versions_have_a_panel():
    """M5b: by reason, and only those that have one."""
    attributes = BY_ID["release-metadata-unindexed"]["attributes"]
    (only,) = attributes["kibanaSavedObjectMeta"]["searchSourceJSON"]["filter"]
    assert only["exists"]["field"] == only["meta"]["key"] == "ingest.unindexed_reason"
    assert not only["meta"]["negate"] and not only["meta"]["disabled"]


def test_search_lists_newest_first():
    """M5b: Dashboards itself puts the time before the columns."""
    attributes = BY_ID["release-metadata-latest"]["attributes"]
    assert attributes["sort"] == [["@timestamp", "desc"]]
    assert attributes["columns"] == ["ingest.key", "ingest.version_id", "ingest.execution_id"]


def test_dashboard_shows_everything_without_overlap():
    """M5b: each panel once, within 48 columns, over the last 30 days."""
    attributes = DASHBOARD["attributes"]
    shown = {reference["id"] for reference in DASHBOARD["references"]}
    assert shown == {found["id"] for found in OBJECTS if found["type"] in {"visualization", "search"}}
    assert (attributes["timeRestore"], attributes["timeFrom"], attributes["timeTo"]) == (True, "now-30d", "now")
    grids = [panel["gridData"] for panel in attributes["panelsJSON"]]
    assert all(panel["gridData"]["i"] == panel["panelIndex"] for panel in attributes["panelsJSON"])
    assert all(grid["x"] + grid["w"] <= 48 for grid in grids)
    for one, other in combinations(grids, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)


def test_another_index_changes_the_index_pattern_alone():
    """M5b: METADATA_INDEX_NAME."""
    (changed,) = (found for found in parsed(saved_objects("release-metadata-dev")) if found not in OBJECTS)
    assert changed == {**INDEX_PATTERN, "attributes": {**INDEX_PATTERN["attributes"], "title": "release-metadata-dev"}}


# --- the request ----------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def credentials(monkeypatch, tmp_path):
    """Temporary ones from the environment, and nothing else to be found on this machine."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")


def answer(status=200, body=None, **headers):
    content = body if isinstance(body, bytes) else json.dumps({"success": True} if body is None else body).encode()
    return SimpleNamespace(status_code=status, content=content, headers=headers)


def sent(*arguments, answered=None):
    """The one request that the command sends."""
    requests = []

    def sender(prepared):
        requests.append(prepared)
        return answered or answer()

    assert main(arguments, sender) == 0
    (request,) = requests
    return request


def test_import_is_one_multipart_request():
    """M5b: POST, overwriting; the part's name and the file's ending are what Dashboards looks for."""
    request = sent("--url", COLLECTION)
    assert (request.method, request.url) == ("POST", f"{COLLECTION}/api/saved_objects/_import?overwrite=true")
    assert request.headers["osd-xsrf"] == "true"
    message = message_from_bytes(b"Content-Type: " + request.headers["Content-Type"].encode() + b"\r\n\r\n" + request.body)
    assert message.get_content_type() == "multipart/form-data"
    (part,) = message.get_payload()
    assert part.get_param("name", header="content-disposition") == "file"
    assert part.get_filename().endswith(".ndjson")
    assert part.get_payload(decode=True).decode().strip() == ndjson(saved_objects()).strip()


def test_collection_gets_a_signed_request():
    """M5b: for aoss, with the hash of the body, and without Content-Length among what is signed, which aoss refuses."""
    request = sent("--url", COLLECTION)
    signature = request.headers["Authorization"]
    assert signature.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-central-1/aoss/aws4_request" in signature
    signed = re.search(r"SignedHeaders=([^,]+)", signature)[1].split(";")
    assert {"host", "osd-xsrf", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"} <= set(signed)
    assert "content-length" not in signed
    assert request.headers["X-Amz-Content-SHA256"] == hashlib.sha256(request.body).hexdigest()
    assert request.headers["X-Amz-Security-Token"] == "token"


def test_region_can_be_given():
    """M5b; without it the URL's region counts, whatever AWS_REGION says of other work."""
    assert "/us-east-1/aoss/" in sent("--url", COLLECTION, "--region", "us-east-1").headers["Authorization"]


def test_environment_cannot_sign_for_a_wrong_region(monkeypatch):
    """M5b: a collection answers in its own region only, and its URL names it."""
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert "/eu-central-1/aoss/" in sent("--url", COLLECTION).headers["Authorization"]


def test_other_dashboards_get_an_unsigned_request(monkeypatch):
    """M5b: no AWS credentials leave, and none are needed."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    request = sent("--url", "http://localhost:5601")
    assert request.url == "http://localhost:5601/api/saved_objects/_import?overwrite=true"
    assert not {name.lower() for name in request.headers} & {"authorization", "x-amz-security-token", "x-amz-content-sha256"}


def test_login_of_the_url_is_sent_as_such():
    """M5b: percent-encoding undone, and out of the URL."""
    request = sent("--url", "https://ad%40min:p%3Ass%2Fw@dash.example.com:5601/base/app/home#/")
    assert request.url == "https://dash.example.com:5601/base/api/saved_objects/_import?overwrite=true"
    scheme, _, encoded = request.headers["Authorization"].partition(" ")
    assert (scheme, b64decode(encoded)) == ("Basic", b"ad@min:p:ss/w")


@pytest.mark.parametrize(("url", "address"), [
    (COLLECTION, COLLECTION),
    (f"{COLLECTION}/app/dashboards#/view/x", COLLECTION),
    (f" {COLLECTION}/\n", COLLECTION),
    ("https://abc123.eu-central-1.aoss.amazonaws.com", COLLECTION),
    ("https://x.cn-north-1.aoss.amazonaws.com.cn/_dashboards", "https://x.cn-north-1.aoss.amazonaws.com.cn/_dashboards"),
    ("http://localhost:5601/app/home", "http://localhost:5601"),
    ("http://localhost:5601/application/", "http://localhost:5601/application"),
])
def test_url_may_be_copied_from_anywhere(url, address):
    """M5b: from the output, the browser, the collection."""
    assert target(url).address == address


@pytest.mark.parametrize("url", [
    "https://abc.eu-central-1.aoss.amazonaws.com.evil.example", "https://evil.example/x.eu-central-1.aoss.amazonaws.com",
    "https://abc.eu-central-1.aoss.amazonaws.com@evil.example", "https://aoss.amazonaws.com",
])
def test_only_collections_get_a_signature(url):
    """M5b: nobody else sees a session token."""
    assert target(url).region is None


def test_print_imports_nothing(capsys):
    """M5b: for an import by hand."""
    assert main(["--print", "--index", "other"], sender=None) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == saved_objects("other")


# --- what the command says ------------------------------------------------------------------------------------------


def test_success_is_told(capsys):
    """M5b: what was imported, and where to look."""
    sent("--url", COLLECTION)
    out = capsys.readouterr().out
    for found in OBJECTS:
        assert re.search(rf"{found['type']} +{re.escape(found['attributes']['title'])}", out), found["id"]
    assert f"{COLLECTION}/app/dashboards#/view/{DASHBOARD['id']}" in out


def said(capsys, answered, url=COLLECTION):
    """What the command says of a failure."""

    def sender(_):
        if isinstance(answered, Exception):
            raise answered
        return answered

    assert main(["--url", url], sender) == 1
    captured = capsys.readouterr()
    assert not captured.out
    return captured.err


ELSEWHERE = "http://admin:geheim@localhost:5601"
EXPIRED = {"message": "The security token included in the request is expired"}
FAILURES = {
    "not a principal": (answer(403, {"status": 403, "error": {"reason": "403 Forbidden"}}), COLLECTION,
                        ["answered 403", "403 Forbidden", "METADATA_DASHBOARD_PRINCIPALS", "aoss:DashboardsAccessAll"]),
    "unauthorized": (answer(401, {}), COLLECTION, ["METADATA_DASHBOARD_PRINCIPALS"]),
    "sent to sign in": (answer(302, b"", Location="/_login"), COLLECTION, ["METADATA_DASHBOARD_PRINCIPALS"]),
    "expired": (answer(403, EXPIRED), COLLECTION, ["credentials have expired", "Log in again"]),
    "no login": (answer(401, {"message": "Unauthorized"}), ELSEWHERE, ["answered 401", "user:password@host"]),
    "login page": (answer(302, b"", Location="/app/login"), ELSEWHERE, ["/app/login", "user:password@host"]),
    "no Dashboards": (answer(404, b"not found"), COLLECTION, ["answered 404: not found", "metadata_dashboard_url"]),
    "busy": (answer(429, b""), COLLECTION, ["answered 429", "Repeat in a minute"]),
    "unavailable": (answer(503, b"OpenSearch Dashboards server is not ready yet"), ELSEWHERE, ["not ready yet", "Repeat"]),
    "refused": (answer(400, {"message": "Invalid file extension"}), ELSEWHERE, ["Invalid file extension", "--print"]),
    "a page": (answer(200, b"<html>Hello</html>"), ELSEWHERE, ["did not answer as OpenSearch Dashboards", "<html>Hello"]),
    "no object": (answer(200, 1), ELSEWHERE, ["did not answer as OpenSearch Dashboards"]),
    "no connection in time": (ConnectTimeoutError(endpoint_url="x"), COLLECTION, ["no answer within 30 seconds", "no harm"]),
    "no answer in time": (ReadTimeoutError(endpoint_url="x"), COLLECTION, ["no answer within 30 seconds", "no harm"]),
    "unreachable": (EndpointConnectionError(endpoint_url="https://gone"), COLLECTION, ["https://gone", "Is the URL right"]),
    "certificate": (SSLError(endpoint_url="https://x", error="self-signed"), ELSEWHERE, ["self-signed", "AWS_CA_BUNDLE"]),
}


@pytest.mark.parametrize(("answered", "url", "expected"), FAILURES.values(), ids=FAILURES)
def test_failure_says_what_to_do(capsys, answered, url, expected):
    """M5b: exit code 1, no traceback, no password."""
    err = said(capsys, answered, url)
    for text in expected:
        assert text in err
    assert "Traceback" not in err and "geheim" not in err
    assert ("METADATA_DASHBOARD_PRINCIPALS" in err) == ("METADATA_DASHBOARD_PRINCIPALS" in expected)


def test_partial_import_names_each_object(capsys):
    """M5b: every error, whatever its kind."""
    errors = [
        {"type": "visualization", "id": "a", "meta": {"title": "Files"}, "error": {"type": "conflict"}},
        {"type": "dashboard", "id": "b", "meta": {},
         "error": {"type": "missing_references", "references": [{"type": "search", "id": "c"}]}},
        {"type": "search", "id": "c", "error": {"type": "unknown", "message": "mapping\x1b[31m set to strict"}},
    ]
    err = said(capsys, answer(200, {"success": False, "successCount": 4, "errors": errors}))
    assert "visualization Files: conflict\n" in err
    assert "dashboard b: missing references search c\n" in err
    assert "search c: mapping [31m set to strict\n" in err  # and no escape that reaches the terminal


@pytest.mark.parametrize(("name", "value", "expected"), [
    ("AWS_ACCESS_KEY_ID", None, "There are no AWS credentials"),
    ("AWS_PROFILE", "nobody", "The config profile (nobody) could not be found"),
    ("AWS_SECRET_ACCESS_KEY", None, "Partial credentials"),
])
def test_missing_credentials_are_told(capsys, monkeypatch, name, value, expected):
    """M5b: before anything is sent."""
    if name == "AWS_PROFILE":
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    assert expected in said(capsys, AssertionError("sent"))


def test_role_that_cannot_be_assumed_is_told(capsys, monkeypatch):
    """M5b: a profile with a role asks AWS for credentials, and AWS may refuse."""

    def refused(_):
        raise ClientError({"Error": {"Code": "ExpiredToken", "Message": "The token has expired"}}, "AssumeRole")

    monkeypatch.setattr("botocore.session.Session.get_credentials", refused)
    err = said(capsys, AssertionError("sent"))
    assert "The token has expired" in err and "Log in again" in err


@pytest.mark.parametrize(("arguments", "expected"), [
    ([], "one of the arguments --url --print is required"),
    (["--url", ""], "it must be https://HOST"),
    (["--url", "localhost:5601"], "it must be https://HOST"),
    (["--url", "ftp://u:geheim@host"], "it must be https://HOST"),
    (["--url", "https://[::1"], "--url: "),
    (["--url", "http://abc.eu-central-1.aoss.amazonaws.com"], "https:// only"),
    (["--print", "--index", "Release Metadata"], "must be an index name"),
    (["--print", "--index", ""], "must be an index name"),
])
def test_bad_arguments_are_told(capsys, arguments, expected):
    """M5b: exit code 2."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments, sender=None)
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert expected in err and "geheim" not in err
