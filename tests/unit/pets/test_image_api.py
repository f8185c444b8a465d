"""The API's function as API Gateway calls it (P1): requests in, responses out, and never a traceback."""

import base64
import json
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pets_aws import BUCKET, ID, KEY, OTHER_ID, TIME, answer, client_error, request
from pictures import png

from lambdas.common.environment import BadEnvironment
from lambdas.pets import contract, image_api, links, requests, uploads

PRESIGNED = {"filename": "dog123.jpg", "content_type": "image/jpeg", "size": 1_024_000}
INLINE = {"filename": "cat.png", "content_type": "image/png", "image": base64.b64encode(png()).decode()}
RECORD = {
    contract.IMAGE_ID: ID, contract.STATUS: "completed", contract.ANIMAL: "dog", contract.CONFIDENCE: 97.4,
    contract.TIMESTAMP: TIME, contract.FILE_SIZE: 1_024_000, contract.FORMAT: "jpg", contract.SOURCE_KEY: KEY,
    contract.SOURCE_VERSION: "v1", contract.LOCATION: f"s3://{BUCKET}/dogs/{ID}/dog123.jpg", contract.LOCATION_VERSION: "v2",
    contract.EXECUTION: "arn:…", contract.EXPIRES_AT: 1,
}  # fmt: skip


def policy(fields):
    return json.loads(base64.b64decode(fields["policy"]))


# --- POST /upload ----------------------------------------------------------------------------------------------------


def test_presigned_upload(aws):
    """P1a, P1b: an id, and a form for just this key, type and size. Nothing is stored or recorded yet."""
    status, body, headers = request("POST", "/upload", PRESIGNED)
    assert status == 201 and set(body) == {"id", "status_path", "upload"} and uploads.is_image_id(body["id"])
    assert body["status_path"] == f"/images/{body['id']}" and headers["Location"] == f"images/{body['id']}"
    upload = body["upload"]
    assert upload["url"] == f"https://{BUCKET}.s3.eu-west-1.amazonaws.com/"
    key = f"input/{body['id']}/dog123.jpg"
    assert upload["fields"]["key"] == key and upload["fields"]["Content-Type"] == "image/jpeg"
    conditions = policy(upload["fields"])["conditions"]
    for condition in ({"bucket": BUCKET}, {"key": key}, {"Content-Type": "image/jpeg"}):
        assert condition in conditions
    assert ["content-length-range", 1_024_000, 1_024_000] in conditions
    assert not [condition for condition in conditions if isinstance(condition, list) and condition[0] == "starts-with"]
    assert upload["fields"]["x-amz-algorithm"] == "AWS4-HMAC-SHA256"
    assert policy(upload["fields"])["expiration"][:16] == upload["expires_at"][:16]
    assert aws.s3.calls == aws.dynamodb.calls == []


def test_inline_upload(aws):
    """P1b: stored at once, under a key of the same shape."""
    status, body, _ = request("POST", "/upload", INLINE)
    assert status == 201 and set(body) == {"id", "status_path"}
    (key,) = aws.s3.keys()
    assert key == f"input/{body['id']}/cat.png"
    assert (aws.s3.current(key)["Body"], aws.s3.current(key)["ContentType"]) == (png(), "image/png")


def test_inline_upload_whose_answer_is_lost(aws):
    """P1b: botocore tries again, and the object is there already."""
    aws.s3.hook("before", "put_object", client_error("PreconditionFailed"))
    assert request("POST", "/upload", INLINE)[0] == 201


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "APPLICATION/JSON"])
def test_content_types(aws, content_type):
    """P1a."""
    assert request("POST", "/upload", PRESIGNED, Content_Type=content_type)[0] == 201


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
def test_content_types_that_api_gateway_does_not_validate(aws, content_type):
    """P1a: such a body has met no model."""
    status, body, _ = request("POST", "/upload", PRESIGNED, Content_Type=content_type)
    assert (status, body["code"]) == (415, "unsupported_media_type")


BAD_BODIES = [
    None, "", "{", "[]", "null", '"x"', "NaN", "[" * 100_000, "1" * 10_000, {},
    {"filename": "a.jpg"}, {"size": 1, "content_type": "image/jpeg"}, {"filename": "a.jpg", "content_type": "image/jpeg"},
    {**PRESIGNED, "image": "AAAA"}, {**PRESIGNED, "more": 1}, {**PRESIGNED, "content_type": "image/gif"},
    {**PRESIGNED, "content_type": None}, {**PRESIGNED, "content_type": ["image/jpeg"]},
    *({**PRESIGNED, "size": size} for size in (0, -1, 15_000_001, 1.5, 1.0, True, "1", None, 1e400, [1])),
    *({**INLINE, "image": image} for image in ("", "AAA", "A===", "A A=", "%%%%", "ÄÄÄÄ", None, 1, ["AAAA"])),
]  # fmt: skip


@pytest.mark.parametrize("body", BAD_BODIES, ids=lambda body: str(body)[:60])
def test_bad_bodies(aws, body):
    """P1a: 400 with a code and a message, whether or not a schema could say it."""
    status, error, _ = request("POST", "/upload", body)
    assert (status, error["code"], error["request_id"]) == (400, "invalid_request", "api-request-1")
    assert error["message"] and aws.s3.calls == []


def test_body_that_is_no_text(aws):
    """P1a: bytes that API Gateway hands over in base64."""
    event = {
        "httpMethod": "POST", "path": "/upload", "headers": {"content-type": "application/json"}, "isBase64Encoded": True,
        "body": base64.b64encode(b"\xff\xfe").decode(), "requestContext": {"requestId": "r"},
    }  # fmt: skip
    status, body, _ = answer(event)
    assert (status, body["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "name",
    ["", "a" * 256, "a/b", "/", "..", ".", "a\n", "\0", "\x7f", "a\x85", "\ud800", "${filename}", "a${filename}.jpg", "𝄞" * 250,
     None, 1],
)  # fmt: skip
def test_bad_file_names(aws, name):
    """P1b: ${filename} would let S3 put another name in its place, and boto3 loosens the policy for it."""
    status, body, _ = request("POST", "/upload", {**PRESIGNED, "filename": name})
    assert (status, body["code"]) == (400, "invalid_request") and "filename" in body["message"]


@given(st.text(min_size=1, max_size=255))
def test_file_names(name):
    """P1b, P6: what is taken fits into a key of every folder."""
    try:
        wanted = requests.upload(json.dumps({**PRESIGNED, "filename": name}), 15_000_000)
    except requests.InvalidRequest:
        return
    assert wanted.file_name == name
    upload = uploads.Upload("b", uploads.upload_key(ID, name), "v")
    assert upload.promised_id == ID and upload.can_be_filed and uploads.file_name(upload.key) == name


NAMES = st.sampled_from(["filename", "content_type", "size", "image"]) | st.text()
SCALARS = st.none() | st.booleans() | st.floats() | st.integers() | st.text()


@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner)))
def test_any_json(content):
    """P1a: understood or refused."""
    try:
        requests.upload(json.dumps(content), 15_000_000)
    except requests.InvalidRequest:
        pass


def test_largest_inline_image():
    """P1b: 3,000,000 bytes, not one more; also if larger images are allowed in S3."""
    for size, fits in ((3_000_000, True), (3_000_001, False)):
        body = json.dumps({**INLINE, "image": base64.b64encode(bytes(size)).decode()})
        if fits:
            assert requests.upload(body, 15_000_000).size == size
        else:
            with pytest.raises(requests.InvalidRequest, match="1 to 3000000 bytes"):
                requests.upload(body, 15_000_000)


# --- GET /images/{id} ------------------------------------------------------------------------------------------------


def test_completed_image(aws):
    """P1a, P1b, P5: the record as plain JSON, with a link to the version that was filed."""
    aws.dynamodb.add(**RECORD)
    status, body, _ = request("GET", f"/images/{ID}")
    download = body.pop("download")
    assert status == 200
    assert body == {
        "id": ID, "status": "completed", "animal": "dog", "confidence": 97.4, "filename": "dog123.jpg", "size": 1_024_000,
        "format": "jpg", "uploaded_at": TIME, "location": f"s3://{BUCKET}/dogs/{ID}/dog123.jpg",
    }  # fmt: skip
    url = urlsplit(download["url"])
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert (url.hostname, url.path) == (f"{BUCKET}.s3.eu-west-1.amazonaws.com", f"/dogs/{ID}/dog123.jpg")
    assert (query["versionId"], query["X-Amz-Expires"], query["response-content-type"]) == ("v2", "900", "image/jpeg")
    assert query["response-content-disposition"].startswith('attachment; filename="dog123.jpg"')
    assert download["expires_at"].endswith("Z")


def test_processing_image(aws):
    """P1a: what is known so far, without a link."""
    known = (contract.IMAGE_ID, contract.TIMESTAMP, contract.SOURCE_KEY, contract.SOURCE_VERSION)
    aws.dynamodb.add(**{name: RECORD[name] for name in known}, **{contract.STATUS: "processing"})
    assert request("GET", f"/images/{ID}")[1] == {
        "id": ID, "status": "processing", "filename": "dog123.jpg", "uploaded_at": TIME,
    }  # fmt: skip


@pytest.mark.parametrize(("code", "told"), [("too_small", True), ("processing_failed", False), ("anything", False)])
def test_failed_image(aws, code, told):
    """P9: the caller learns of refusals; what operators read of outages stays with them."""
    reason = "RekognitionUnavailable: arn:aws:secret"
    aws.dynamodb.add(**{**RECORD, contract.STATUS: "failed", contract.FAILURE_CODE: code, contract.FAILURE_REASON: reason})
    failure = request("GET", f"/images/{ID}")[1]["failure"]
    assert failure["code"] == (code if told else "processing_failed")
    assert (failure["message"] == reason) is told


@pytest.mark.parametrize("image_id", [ID, "x", ID.upper(), ID + "0", "%00", "..", "a b", "'; DROP"])
def test_unknown_images(aws, image_id):
    """P1a: an id that was never handed out cannot be told from one whose image has not arrived."""
    status, body, _ = request("GET", f"/images/{image_id}")
    assert status == 404
    assert body == {"code": "image_not_found", "message": "no image with this id has arrived", "request_id": "api-request-1"}
    assert aws.dynamodb.calls == (["get_item"] if image_id == ID else [])


@given(st.text(min_size=1))
def test_content_disposition(name):
    """P1b: whatever the name, one header line, which gives back the name."""
    header = links.content_disposition(name)
    assert header.isascii() and header.isprintable() and header.count('"') == 2 and "\\" not in header
    encoded = header.partition("filename*=UTF-8''")[2]
    assert unquote(encoded) == name[-255:].encode(errors="replace").decode()
    assert not set(encoded) & set(" \"';,()<>@:\\/[]?={}")


# --- GET /images -----------------------------------------------------------------------------------------------------


def test_list(aws):
    """P1a: all animals, newest first, with links; by animal if asked."""
    aws.dynamodb.add(**RECORD)
    newer = {contract.IMAGE_ID: OTHER_ID, contract.ANIMAL: "cat", contract.TIMESTAMP: "2026-01-01T00:00:00Z"}
    aws.dynamodb.add(**{**RECORD, **newer})
    status, body, _ = request("GET", "/images")
    assert status == 200 and [image["id"] for image in body["images"]] == [OTHER_ID, ID] and "next_cursor" not in body
    assert all("download" in image for image in body["images"])
    assert [image["animal"] for image in request("GET", "/images", query={"animal": ["dog"]})[1]["images"]] == ["dog"]
    first = request("GET", "/images", query={"limit": ["1"]})[1]
    second = request("GET", "/images", query={"limit": ["1"], "cursor": [first["next_cursor"]]})[1]
    assert ([image["id"] for image in first["images"] + second["images"]], "next_cursor" in second) == ([OTHER_ID, ID], False)


@pytest.mark.parametrize(
    "query",
    [{"limit": [limit]} for limit in ("", "0", "101", "-1", "1.0", "x", "٣", "1" * 1000)]
    + [{"animal": [""]}, {"animal": ["Dog"]}, {"animal": ["dog", "cat"]}, {"limit": ["1", "1"]}, {"anmial": ["dog"]}],
)
def test_bad_parameters(aws, query):
    """P1a: also a parameter that does not exist: whoever mistypes `animal` does not want them all."""
    status, body, _ = request("GET", "/images", query=query)
    assert (status, body["code"]) == (400, "invalid_request") and aws.dynamodb.calls == []


@pytest.mark.parametrize("cursor", ["", "x", "e30", "!!", "A" * 100_000, "é"])
def test_bad_cursors(aws, cursor):
    """P1a."""
    status, body, _ = request("GET", "/images", query={"cursor": [cursor]})
    assert (status, body["code"]) == (400, "invalid_cursor") and aws.dynamodb.calls == []


# --- every response --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/upload"), ("PUT", "/images"), ("GET", f"/images/{ID}/x")])
def test_no_such_endpoint(aws, method, path):
    """P1a."""
    status, body, _ = request(method, path)
    assert (status, body["code"]) == (404, "no_such_endpoint")


def test_internal_errors(aws, capsys):
    """P1a: the log has the traceback, the caller a code and the id to ask with."""
    aws.dynamodb.hook("before", "get_item", client_error("InternalServerError", 500))
    status, body, headers = request("GET", f"/images/{ID}", Origin="https://pets.example")
    assert (status, body["code"], body["request_id"]) == (500, "internal_error", "api-request-1")
    assert "InternalServerError" not in json.dumps(body)
    assert headers["Access-Control-Allow-Origin"] == "https://pets.example"
    (line,) = [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if line["level"] == "ERROR"]
    assert "Traceback" in line["exception"] and line["api_request_id"] == "api-request-1" and line["image_id"] == ID


@pytest.mark.parametrize(
    ("origin", "allowed"), [("https://pets.example", True), ("https://evil.example", False), ("null", False)]
)
def test_cors(aws, origin, allowed):
    """P1a: browsers of our origin only."""
    for method, path in (("OPTIONS", "/upload"), ("GET", "/images"), ("GET", "/images/x")):
        headers = request(method, path, Origin=origin)[2]
        assert (headers.get("Access-Control-Allow-Origin") == origin) is allowed


def test_nothing_is_kept_on_the_way(aws):
    """P1b: links work for whoever has them."""
    for method, path, body in (("POST", "/upload", PRESIGNED), ("GET", "/images", None), ("GET", "/images/x", None)):
        headers = request(method, path, body)[2]
        assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["GET", "POST"]), st.text(), st.text(), st.dictionaries(st.text(), st.lists(st.text(), min_size=1)))
def test_any_request(aws, method, path, body, query):
    """P1a: an answer in JSON to everything, and none of them our fault."""
    status, content, _ = request(method, "/" + path, body, query)
    assert 200 <= status < 500 and (status < 400 or set(content) == {"code", "message", "request_id"})


def test_bad_environment(aws, monkeypatch):
    """P2: a wrong set-up is no answer to a caller."""
    monkeypatch.setenv(contract.ENV_ALLOWED_ORIGIN, "pets.example")
    monkeypatch.setenv(contract.ENV_LINK_SECONDS, "604801")
    with pytest.raises(BadEnvironment, match=r"LINK_SECONDS is '604801'.*ALLOWED_ORIGIN is 'pets.example', should be an origin"):
        request("GET", "/images")


def test_no_part_in_recognition():
    """P2: the API's function imports nothing of it, so that it needs no rights to it."""
    assert not hasattr(image_api, "recognition")
