"""The API's document and its function say the same (P1a). The document also makes API Gateway's resources and models."""

import json
import re
from pathlib import Path

import pytest
from pets_aws import BUCKET, ID, KEY, TIME, client_error, request

from lambdas.pets import contract, listing, requests

DOCUMENT = json.loads((Path(__file__).parents[3] / "apis" / "pet-detector.openapi.json").read_text(encoding="utf-8"))
SCHEMAS = DOCUMENT["components"]["schemas"]
UPLOAD = SCHEMAS["UploadRequest"]
DRAFT_4 = {
    "title", "description", "type", "required", "properties", "additionalProperties", "oneOf", "minLength", "maxLength",
    "pattern", "enum", "minimum", "maximum",
}  # fmt: skip


def resolved(part):
    return resolved(DOCUMENT["components"][part["$ref"].split("/")[2]][part["$ref"].split("/")[3]]) if "$ref" in part else part


def operations():
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def subschemas(schema):
    yield schema
    for inner in (*schema.get("properties", {}).values(), *schema.get("oneOf", ())):
        yield from subschemas(inner)


def faults(value, schema, where="$"):
    """What is wrong with a value: only as much of JSON Schema as the document uses."""
    schema = resolved(schema)
    kind = schema.get("type")
    types = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}
    if kind and (not isinstance(value, types[kind]) or isinstance(value, bool)):
        return [f"{where}: not of type {kind}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: {value!r} is not in the list")
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            found.append(f"{where}: length")
        if "pattern" in schema and not re.search(schema["pattern"], value):
            found.append(f"{where}: pattern")
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{where}: range")
    if isinstance(value, list):
        found += [fault for number, item in enumerate(value) for fault in faults(item, schema["items"], f"{where}[{number}]")]
    if isinstance(value, dict):
        found += [f"{where}: {name} is missing" for name in schema.get("required", ()) if name not in value]
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        for name, item in value.items():
            if name in known or isinstance(others, dict):
                found += faults(item, known.get(name, others), f"{where}.{name}")
            elif not others:
                found.append(f"{where}: {name} is unknown")
    if "oneOf" in schema and sum(not faults(value, choice) for choice in schema["oneOf"]) != 1:
        found.append(f"{where}: not just one of the choices")
    return found


def test_endpoints():
    """P1a."""
    assert DOCUMENT["openapi"] == "3.0.3"
    assert {(method, path): operation["operationId"] for method, path, operation in operations()} == {
        ("POST", "/upload"): "uploadImage", ("GET", "/images/{id}"): "getImage", ("GET", "/images"): "listImages",
    }  # fmt: skip


def test_api_key():
    """P1a: for every endpoint."""
    (scheme,) = DOCUMENT["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "header", "x-api-key")
    assert DOCUMENT["security"] == [{"api_key": []}]
    assert not any("security" in operation for _, _, operation in operations())


def test_the_request_model_is_one_of_api_gateway():
    """P1a: JSON Schema draft 4, whole in itself: no references, nothing that is OpenAPI's alone."""
    for schema in subschemas(UPLOAD):
        assert set(schema) <= DRAFT_4
    assert UPLOAD["additionalProperties"] is False


def test_every_object_is_closed():
    """P1a: the document says all that there is."""
    objects = [name for name, schema in SCHEMAS.items() if schema["type"] == "object"]
    assert [name for name in objects if SCHEMAS[name]["additionalProperties"] is not False] == []


def test_references_lead_somewhere():
    """P1a."""
    references = re.findall(r'"#/components/(\w+)/(\w+)"', json.dumps(DOCUMENT))
    assert references and all(name in DOCUMENT["components"][kind] for kind, name in references)
    used = {name for _, name in references}
    assert used >= set(SCHEMAS) | set(DOCUMENT["components"]["responses"])


def test_examples_are_what_they_show():
    """P1a: whoever copies one is not misled."""
    contents = [operation["requestBody"]["content"] for _, _, operation in operations() if "requestBody" in operation]
    contents += [resolved(answer)["content"] for _, _, operation in operations() for answer in operation["responses"].values()]
    for content in contents:
        media = content["application/json"]
        assert media["examples"]
        for example in media["examples"].values():
            assert faults(example["value"], media["schema"]) == []


def test_limits_are_those_of_the_function():
    """P1a, P1b."""
    properties = UPLOAD["properties"]
    assert properties["content_type"]["enum"] == list(requests.CONTENT_TYPES)
    assert properties["image"]["maxLength"] * 3 // 4 == requests.MAX_INLINE_BYTES
    parameters = {each["name"]: each["schema"] for each in DOCUMENT["paths"]["/images"]["get"]["parameters"]}
    assert parameters["animal"]["enum"] == list(contract.ANIMALS)
    assert (parameters["limit"]["default"], parameters["limit"]["maximum"]) == (requests.DEFAULT_LIMIT, requests.MAX_LIMIT)
    assert parameters["cursor"]["maxLength"] == listing.MAX_CURSOR_CHARACTERS
    assert SCHEMAS["Failure"]["properties"]["code"]["enum"] == [*contract.REFUSALS, contract.PROCESSING_FAILED]
    assert SCHEMAS["Image"]["properties"]["status"]["enum"] == [
        contract.PROCESSING, contract.COMPLETED, contract.UNCERTAIN, contract.FAILED,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {}, [], {"filename": "a"}, {"filename": "a", "content_type": "image/png"},
        {"filename": "a", "content_type": "image/png", "size": 0},
        {"filename": "a", "content_type": "image/png", "size": 15_000_001},
        {"filename": "a", "content_type": "image/gif", "size": 1}, {"filename": "", "content_type": "image/png", "size": 1},
        {"filename": "a/b", "content_type": "image/png", "size": 1}, {"filename": "a\tb", "content_type": "image/png", "size": 1},
        {"filename": "a", "content_type": "image/png", "size": 1, "image": "AAAA"},
        {"filename": "a", "content_type": "image/png", "image": ""},
        {"filename": "a", "content_type": "image/png", "size": 1, "x": 1},
    ],
    ids=str,
)  # fmt: skip
def test_what_the_model_refuses_the_function_refuses_too(aws, body):
    """P1a: API Gateway looks at a body only if its content type is the model's."""
    assert faults(body, UPLOAD)
    assert request("POST", "/upload", body)[0] == 400


def answers(aws):
    """Some of everything that the function answers: operation, status, body."""
    record = {
        contract.IMAGE_ID: ID, contract.STATUS: "completed", contract.ANIMAL: "dog", contract.CONFIDENCE: 97.4,
        contract.TIMESTAMP: TIME, contract.FILE_SIZE: 5, contract.FORMAT: "jpg", contract.SOURCE_KEY: KEY,
        contract.SOURCE_VERSION: "v1", contract.LOCATION: f"s3://{BUCKET}/dogs/a", contract.LOCATION_VERSION: "v2",
    }  # fmt: skip
    upload, get, list_ = (DOCUMENT["paths"][path] for path in ("/upload", "/images/{id}", "/images"))
    yield upload["post"], *request("POST", "/upload", {"filename": "a", "content_type": "image/png", "size": 1})[:2]
    yield upload["post"], *request("POST", "/upload", {"filename": "a", "content_type": "image/png", "image": "AAAA"})[:2]
    yield upload["post"], *request("POST", "/upload", {})[:2]
    yield upload["post"], *request("POST", "/upload", {}, Content_Type="text/plain")[:2]
    yield get["get"], *request("GET", f"/images/{ID}")[:2]
    aws.dynamodb.add(**record)
    yield get["get"], *request("GET", f"/images/{ID}")[:2]
    yield list_["get"], *request("GET", "/images")[:2]
    yield list_["get"], *request("GET", "/images", query={"limit": ["0"]})[:2]
    yield list_["get"], *request("GET", "/images", query={"cursor": ["0"]})[:2]
    aws.dynamodb.add(**{**record, contract.STATUS: "failed", contract.FAILURE_CODE: "empty", contract.FAILURE_REASON: "x"})
    yield get["get"], *request("GET", f"/images/{ID}")[:2]
    aws.dynamodb.hook("before", "get_item", client_error("InternalServerError", 500))
    yield get["get"], *request("GET", f"/images/{ID}")[:2]


def test_answers_are_what_the_document_says(aws):
    """P1a: status and shape of every kind of answer."""
    seen = set()
    for operation, status, body in answers(aws):
        described = resolved(operation["responses"][str(status)])["content"]["application/json"]
        assert faults(body, described["schema"]) == []
        seen.add(status)
    assert seen == {200, 201, 400, 404, 415, 500}
