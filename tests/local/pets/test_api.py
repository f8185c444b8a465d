"""P1: the API as its callers meet it, behind API Gateway: uploads, records, lists, and every refusal with its code."""

import json
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from lambdas.pets import contract
from local.emulator import ROOT
from tests.local.pets.conftest import picture

DOCUMENT = json.loads((ROOT / "apis" / "pet-detector.openapi.json").read_text(encoding="utf-8"))
MEGABYTE = 1_000_000
UPLOAD = {"filename": "a.png", "content_type": "image/png", "size": 100}
UNKNOWN = "7c1e4a52-90d3-4b6f-8f1a-2d5b6c7e8f90"
"""An id that no image has."""


@pytest.fixture(scope="module")
def stale(pets):
    """A form of the beginning of these tests, which expires before their end."""
    return pets.form("stale.png", 100)["upload"]


@pytest.fixture(scope="module")
def shown(pets, stale):
    """What the API tells of a dog; its record; its picture."""
    body = picture(Dog=97.4)
    image_id = pets.upload("My dog, März.png", body)
    record = pets.wait([image_id])[image_id]
    return pets.image(image_id), record, body


def refused(answer, status: int, code: str) -> dict:
    """The body of an error, after all has been looked at that errors have in common."""
    assert (answer.status, answer.body.get("code")) == (status, code), answer
    assert set(answer.body) == {"code", "message", "request_id"} and answer.body["message"]
    assert answer.body["request_id"] == answer.headers["x-amzn-requestid"]
    return answer.body


def documented(answer, path: str, method: str) -> None:
    """That the OpenAPI document allows this answer."""
    operation = DOCUMENT["paths"][path][method]
    response = resolved(operation["responses"][str(answer.status)])
    fits(answer.body, response["content"]["application/json"]["schema"])


def resolved(part: dict) -> dict:
    while "$ref" in part:
        target = DOCUMENT
        for name in part["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        part = target
    return part


def fits(value, schema: dict, where: str = "$") -> None:
    """As much of JSON Schema as the document uses in answers."""
    schema = resolved(schema)
    types = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
    if "type" in schema:
        assert isinstance(value, types[schema["type"]]), where
    assert value in schema.get("enum", [value]), where
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        assert set(schema.get("required", ())) <= set(value), where
        if schema.get("additionalProperties", True) is False or properties:
            extra = schema.get("additionalProperties", False)
            assert extra or set(value) <= set(properties), f"{where}: {set(value) - set(properties)}"
        for name, item in value.items():
            if name in properties:
                fits(item, properties[name], f"{where}.{name}")
    for number, item in enumerate(value if isinstance(value, list) else ()):
        fits(item, schema.get("items", {}), f"{where}[{number}]")


# --- uploads -----------------------------------------------------------------------------------------------------------


def test_a_promised_upload(pets):
    """P1b: an id, a form for just this file, and where to look."""
    answer = pets.request("POST", "/upload", {"filename": "rex.jpg", "content_type": "image/jpeg", "size": 1024000})
    documented(answer, "/upload", "post")
    assert answer.status == 201 and str(uuid.UUID(answer.body["id"])) == answer.body["id"]
    assert answer.body["status_path"] == f"/images/{answer.body['id']}"
    fields = answer.body["upload"]["fields"]
    assert fields["key"] == f"input/{answer.body['id']}/rex.jpg" and fields["Content-Type"] == "image/jpeg"
    assert pets.record(answer.body["id"]) is None
    refused(pets.request("GET", answer.body["status_path"]), 404, "image_not_found")


def test_an_image_inside_of_the_request(pets):
    """P1b: up to 3 MB; no form."""
    answer = pets.request("POST", "/upload", {
        "filename": "a.png", "content_type": "image/png", "image": "iVBORw0KGgo="})
    documented(answer, "/upload", "post")
    assert answer.status == 201 and "upload" not in answer.body
    assert pets.wait([answer.body["id"]])[answer.body["id"]][contract.FAILURE_CODE] == "truncated"


@pytest.mark.parametrize("body, fields, status, code", [
    (99, {}, 400, "EntityTooSmall"), (101, {}, 400, "EntityTooLarge"), (100, {"Content_Type": "image/jpeg"}, 403, "AccessDenied"),
    (100, {"Content_Type": "text/html"}, 403, "AccessDenied"), (100, {"key": "cats/a.png"}, 403, "AccessDenied"),
    (100, {"x_amz_signature": "0" * 64}, 403, "SignatureDoesNotMatch"), (100, {"acl": "public-read"}, 403, "AccessDenied"),
])
def test_forms_filled_in_otherwise(pets, body, fields, status, code):
    """P1b: another size, type, place or signature: S3 refuses."""
    promised = pets.form("a.png", 100)
    answer = pets.post(promised["upload"], b"x" * body, **fields)
    assert answer.status == status and f"<Code>{code}</Code>".encode() in answer.body
    assert pets.keys(f"input/{promised['id']}/") == []


BAD_BODIES = {
    "nothing": None, "text": "text", "list": [], "empty": {}, "no name": {"content_type": "image/png", "size": 1},
    "no type": {"filename": "a.png", "size": 1}, "neither": {"filename": "a.png", "content_type": "image/png"},
    "both": {**UPLOAD, "image": "AAAA"}, "more": {**UPLOAD, "owner": "me"}, "type": {**UPLOAD, "content_type": "image/gif"},
    "size 0": {**UPLOAD, "size": 0}, "size large": {**UPLOAD, "size": 15 * MEGABYTE + 1}, "size text": {**UPLOAD, "size": "1"},
    "size fraction": {**UPLOAD, "size": 1.5}, "name empty": {**UPLOAD, "filename": ""},
    "name folder": {**UPLOAD, "filename": "a/b"},
    "name long": {**UPLOAD, "filename": "a" * 256}, "name control": {**UPLOAD, "filename": "a\n"},
    "name number": {**UPLOAD, "filename": 1}, "name variable": {**UPLOAD, "filename": "${filename}"},
    "name dots": {**UPLOAD, "filename": ".."},
    "image short": {"filename": "a", "content_type": "image/png", "image": ""},
    "image bad": {"filename": "a", "content_type": "image/png", "image": "%%%%"},
    "image large": {"filename": "a", "content_type": "image/png", "image": "A" * 4_000_004},
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_bodies_against_the_schema(pets, body):
    """P1a: 400 with a code, whoever finds the fault: API Gateway by the model, or the function."""
    answer = pets.request("POST", "/upload", json.dumps(body).encode() if body is not None else b"")
    refused(answer, 400, "invalid_request")
    documented(answer, "/upload", "post")


def test_bodies_that_are_no_json(pets):
    for body in (b"{", b"\xff", b"[" * 10_000):
        refused(pets.request("POST", "/upload", body), 400, "invalid_request")


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded"])
def test_other_types(pets, content_type):
    """P1a: 415, although API Gateway validates no body of another type than the model's."""
    answer = pets.request("POST", "/upload", json.dumps(UPLOAD).encode(), content_type=content_type)
    refused(answer, 415, "unsupported_media_type")
    documented(answer, "/upload", "post")


def test_large_bodies(pets):
    """P1b: beyond what the function takes; beyond 10 MB API Gateway itself answers, without a code."""
    body = {"filename": "a.png", "content_type": "image/png", "image": "A" * 6_400_000}
    answer = pets.request("POST", "/upload", json.dumps(body).encode(), content_type="text/plain")
    refused(answer, 413, "request_too_large")
    assert pets.request("POST", "/upload", b" " * (11 << 20)).status == 413


# --- keys, paths, browsers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "wrong"])
@pytest.mark.parametrize("method, path", [("POST", "/upload"), ("GET", "/images"), ("GET", f"/images/{UNKNOWN}")])
def test_keys(pets, key, method, path):
    """P1a: nothing without one."""
    answer = pets.request(method, path, UPLOAD if method == "POST" else None, key=key)
    refused(answer, 403, "invalid_api_key")
    documented(answer, re.sub(r"/images/.+", "/images/{id}", path), method.lower())


@pytest.mark.parametrize("method, path", [("GET", "/"), ("GET", "/upload"), ("DELETE", "/images"), ("GET", "/images/a/b"),
                                          ("PUT", f"/images/{UNKNOWN}")])
def test_unknown_endpoints(pets, method, path):
    refused(pets.request(method, path), 404, "no_such_endpoint")


@pytest.mark.parametrize("image_id", [UNKNOWN, UNKNOWN.upper(), "x", "a" * 2000, "';%20drop%20table"])
def test_unknown_ids(pets, image_id):
    """P1a: 404."""
    refused(pets.request("GET", f"/images/{image_id}"), 404, "image_not_found")


@pytest.mark.parametrize("image_id", ["..", "%00", "%F0%9F%90%B1", "%"])
def test_what_no_id_looks_like(pets, image_id):
    """P1a: 404 too, with one code or the other."""
    answer = pets.request("GET", f"/images/{image_id}")
    assert answer.status == 404 and answer.body["code"] in ("image_not_found", "no_such_endpoint")


@pytest.mark.parametrize("path, methods", [("/upload", "POST"), ("/images", "GET"), ("/images/x", "GET")])
def test_preflight(pets, path, methods):
    """P1a: a browser asks without a key, from any page unless set otherwise."""
    answer = pets.request("OPTIONS", path, key=None, origin="https://pets.example.com", access_control_request_method=methods)
    assert answer.status == 204 and answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == f"{methods},OPTIONS"
    assert "x-api-key" in answer.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in answer.headers


def test_browsers_may_read_every_answer(pets, shown):
    """P1a: also refusals, whoever utters them."""
    origin = "https://pets.example.com"
    answers = [pets.request("GET", f"/images/{shown[0]['id']}", origin=origin), pets.request("GET", "/images/x", origin=origin),
               pets.request("GET", "/images", key=None, origin=origin), pets.request("POST", "/upload", {}, origin=origin),
               pets.request("GET", "/nothing", origin=origin), pets.request("GET", "/images?limit=0", origin=origin)]
    assert [answer.status for answer in answers] == [200, 404, 403, 400, 404, 400]
    assert {answer.headers.get("access-control-allow-origin") for answer in answers} == {"*"}


def test_the_rate_is_limited(pets):
    """P1a: 429 for those who ask too often; a moment later all is well."""
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: pets.request("POST", "/upload", b"{}", patient=False), range(400)))
    assert {answer.status for answer in answers} == {400, 429}
    refused(next(answer for answer in answers if answer.status == 429), 429, "throttled")
    assert "images" in pets.images(limit=1)  # patient


# --- one image ---------------------------------------------------------------------------------------------------------


def test_an_image(pets, shown):
    """P1a, P1b, P5: what is known of it, for its caller; the picture itself, under its name, as a file to be saved."""
    told, record, body = shown
    documented(pets.request("GET", f"/images/{told['id']}"), "/images/{id}", "get")
    assert told == {
        "id": record[contract.IMAGE_ID], "status": "completed", "animal": "dog", "confidence": 97.4, "size": len(body),
        "format": "png", "uploaded_at": record[contract.TIMESTAMP], "location": record[contract.LOCATION],
        "filename": "My dog, März.png", "download": told["download"]}
    fetched = pets.fetch(pets.image(told["id"])["download"]["url"])
    assert (fetched.status, fetched.body, fetched.headers["content-type"]) == (200, body, "image/png")
    assert fetched.headers["content-disposition"].startswith("attachment;")
    assert "filename*=UTF-8''My%20dog%2C%20M%C3%A4rz.png" in fetched.headers["content-disposition"]


def test_an_image_that_is_processed(aws, pets):
    """P1a: `processing` until it is at its end; no animal, no download."""
    image_id = str(uuid.uuid4())
    item = {contract.IMAGE_ID: image_id, contract.STATUS: "processing", contract.TIMESTAMP: "2026-01-31T23:59:59Z",
            contract.SOURCE_KEY: f"input/{image_id}/a.png", contract.SOURCE_VERSION: "v", contract.EXECUTION: "e"}
    aws.client("dynamodb").put_item(TableName=pets.table, Item={name: {"S": value} for name, value in item.items()})
    answer = pets.request("GET", f"/images/{image_id}")
    documented(answer, "/images/{id}", "get")
    assert answer.body == {
        "id": image_id, "status": "processing", "uploaded_at": "2026-01-31T23:59:59Z", "filename": "a.png"}
    aws.client("dynamodb").delete_item(TableName=pets.table, Key={contract.IMAGE_ID: {"S": image_id}})


# --- lists -------------------------------------------------------------------------------------------------------------


def test_paging_while_new_ones_arrive(pets):
    """P1a: through 25 images, none lost, none repeated, newest first, whatever arrives between two pages."""
    wanted = {pets.send("page.png", picture(**{animal: 95})) for animal in ["Cat", "Dog", "Tree"] * 8 + ["Cat"]}
    pets.wait(wanted)
    found, cursor, pages = [], {}, 0
    while True:
        page = pets.images(limit=7, **cursor)
        found += page["images"]
        pages += 1
        if "next_cursor" not in page:
            break
        cursor = {"cursor": page["next_cursor"]}
        pets.wait([pets.send("new.png", picture(Cat=95))])
    ids = [image["id"] for image in found]
    assert pages >= 4 and len(ids) == len(set(ids)) and wanted <= set(ids)
    assert "new.png" not in {image["filename"] for image in found}
    times = [image["uploaded_at"] for image in found]
    assert times == sorted(times, reverse=True)


def test_lists_by_animal(pets, shown):
    """P1a: one animal's images, newest first; a page as the document says."""
    answer = pets.request("GET", "/images?animal=dog&limit=100")
    documented(answer, "/images", "get")
    images = answer.body["images"]
    assert {image["animal"] for image in images} == {"dog"} and shown[0]["id"] in {image["id"] for image in images}
    assert [image["uploaded_at"] for image in images] == sorted((image["uploaded_at"] for image in images), reverse=True)
    assert len(pets.images(limit=1)["images"]) == 1


@pytest.mark.parametrize("query, code", [
    ("animal=bird", "invalid_request"), ("animal=", "invalid_request"), ("limit=0", "invalid_request"),
    ("limit=101", "invalid_request"), ("limit=ten", "invalid_request"), ("limit=1&limit=2", "invalid_request"),
    ("page=2", "invalid_request"), ("cursor=x", "invalid_cursor"), ("cursor=%00", "invalid_cursor"),
    ("cursor=" + "A" * 2000, "invalid_cursor"), ("cursor=e30", "invalid_cursor"),
])
def test_parameters(pets, query, code):
    answer = pets.request("GET", f"/images?{query}")
    refused(answer, 400, code)
    documented(answer, "/images", "get")


def test_a_cursor_belongs_to_its_list(pets, shown):
    """P1a: not to a list of another animal."""
    pets.wait([pets.send("a.png", picture(Dog=99))])
    cursor = pets.images(animal="dog", limit=1)["next_cursor"]
    refused(pets.request("GET", f"/images?animal=cat&cursor={cursor}"), 400, "invalid_cursor")
    refused(pets.request("GET", f"/images?cursor={cursor}"), 400, "invalid_cursor")


# --- what an operator sees ---------------------------------------------------------------------------------------------


def test_a_requests_id_leads_to_its_logs(aws, pets, make):
    """P1a: the id of an error stands in the access log, with the key that asked, and in the function's log."""
    body = refused(pets.request("GET", f"/images/{UNKNOWN}"), 404, "image_not_found")
    logs = aws.client("logs")
    suffix = pets.machine_arn.rpartition("-")[2]
    groups = [each["logGroupName"] for each in logs.describe_log_groups()["logGroups"]]
    [access] = [name for name in groups if name.startswith("/aws/apigateway/") and name.endswith(suffix)]
    function = f"/aws/lambda/serverlessapp-image-api-{suffix}"
    pattern = f'"{body["request_id"]}"'
    events = [make.poll(lambda group=group: logs.filter_log_events(logGroupName=group, filterPattern=pattern)["events"])
              for group in (access, function)]
    line = json.loads(events[0][0]["message"])
    assert line["status"] == "404" and line["method"] == "GET" and line["api_key_id"] not in ("", "-")


# --- later, when half a minute is nearly over --------------------------------------------------------------------------


def test_links_expire(pets, shown, stale):
    """P1b: forms and downloads, when they say."""
    download = shown[0]["download"]
    links = ((stale["expires_at"], lambda: pets.post(stale, b"x" * 101)),
             (download["expires_at"], lambda: pets.fetch(download["url"])))
    for expires_at, ask in links:
        deadline = datetime.fromisoformat(expires_at).timestamp() + 10
        while (answer := ask()).status != 403:  # 400 for the size, or 200, as long as the link works
            assert time.time() < deadline, answer
            time.sleep(0.5)
        assert b"expired" in answer.body
