"""From the OpenAPI document to API Gateway (P1a, P8b, P9): operations, models, parameters, CORS, errors, logs, limits."""

import copy
import json
import re

import pytest

import modules_api
from modules import AwsStack
from modules_api import ERRORS, ApiKey, RestApi
from pet_detector_stack import PetDetectorStack
from settings import CommonSettings
from state_backend_stack import StateBackendStack
from tests.synth.reading import Synthesised, app, root, synthesise

DOCUMENT = root() / "apis" / "pet-detector.openapi.json"
SPEC = json.loads(DOCUMENT.read_text(encoding="utf-8"))
METHODS = ("get", "put", "post", "delete", "patch", "head", "trace", "options")
OPERATIONS = {
    (path, method.upper()): operation
    for path, item in SPEC["paths"].items()
    for method, operation in item.items()
    if method in METHODS
}
API = "<aws_api_gateway_rest_api pets/api/api {}>"
ORIGIN = "https://www.example.com"


def path_of(stack, body):
    """The path of the resource that a method, an integration, … belongs to, such as ``/images/{id}``."""
    found = stack.all("aws_api_gateway_resource")
    resources = {f"<aws_api_gateway_resource {at} id>": stack.readable(each) for at, each in found.items()}
    here, path = stack.readable(body)["resource_id"], ""
    while here in resources:
        path = f"/{resources[here]['path_part']}{path}"
        here = resources[here]["parent_id"]
    assert here == API.format("root_resource_id")
    return path


def by_operation(stack, kind):
    """(path, HTTP method) → body of every resource of this kind."""
    methods = {at: body["http_method"] for at, body in stack.all("aws_api_gateway_method").items()}

    def method(body):
        reference = re.fullmatch(r"<aws_api_gateway_method (\S+) http_method>", stack.readable(body)["http_method"])
        return methods[reference[1]] if reference else body["http_method"]

    found = {(path_of(stack, body), method(body)): stack.readable(body) for body in stack.all(kind).values()}
    assert len(found) == len(stack.all(kind))
    return found


def resolved(value):
    """A part of the document with every reference replaced by what it means, and without examples."""
    if isinstance(value, dict):
        if "$ref" in value:
            target = SPEC
            for part in value["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            return resolved(target)
        return {name: resolved(part) for name, part in value.items() if name != "example"}
    return [resolved(part) for part in value] if isinstance(value, list) else value


# --- operations -----------------------------------------------------------------------------------------------------


def test_every_operation_and_nothing_else_is_there(pets):
    """P1a: the paths and methods of the document, and OPTIONS for browsers on each path."""
    preflight = {(path, "OPTIONS") for path in SPEC["paths"]}
    assert set(by_operation(pets, "aws_api_gateway_method")) == set(OPERATIONS) | preflight
    assert set(by_operation(pets, "aws_api_gateway_integration")) == set(OPERATIONS) | preflight
    assert set(OPERATIONS) == {("/upload", "POST"), ("/images", "GET"), ("/images/{id}", "GET")}
    ids = pets.json["resource"]["aws_api_gateway_resource"]
    assert {path_of(pets, {"resource_id": f"${{aws_api_gateway_resource.{id_}.id}}"}) for id_ in ids} == set(SPEC["paths"])


def test_every_part_belongs_to_the_one_api(pets):
    """P1a."""
    bodies = [body for kind, _, body in pets.every() if kind.startswith("aws_api_gateway_") and "rest_api_id" in body]
    assert len(bodies) > 30
    assert {pets.readable(body["rest_api_id"]) for body in bodies} == {API.format("id")}
    assert len(pets.all("aws_api_gateway_rest_api")) == 1


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_every_operation_wants_the_key_and_is_validated(pets, operation):
    """P1a: whatever the document adds later, too: its own security requires the key of everybody."""
    method = by_operation(pets, "aws_api_gateway_method")[operation]
    assert method["api_key_required"] is True
    assert method["authorization"] == "NONE"
    assert method["request_validator_id"] == "<aws_api_gateway_request_validator pets/api/validator id>"
    assert method["operation_name"] == OPERATIONS[operation]["operationId"]
    assert OPERATIONS[operation].get("security", SPEC["security"]) == [{"api_key": []}]


def test_key_is_sent_as_the_document_says(pets):
    """P1a: in the header that API Gateway looks at."""
    assert pets.one("aws_api_gateway_rest_api")["api_key_source"] == "HEADER"
    scheme = SPEC["components"]["securitySchemes"]["api_key"]
    assert (scheme["type"], scheme["in"], scheme["name"].lower()) == ("apiKey", "header", modules_api.API_KEY_HEADER.lower())


def test_validator_checks_body_and_parameters(pets):
    """P1a."""
    validator = pets.one("aws_api_gateway_request_validator")
    assert validator["validate_request_body"] is True
    assert validator["validate_request_parameters"] is True


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_bodies_are_checked_against_the_documents_schema(pets, operation):
    """P1a: the model is the document's schema, its references resolved and its examples left out, which models do not know."""
    models = by_operation(pets, "aws_api_gateway_method")[operation].get("request_models")
    body = OPERATIONS[operation].get("requestBody")
    if not body:
        assert models is None
        return
    assert list(body["content"]) == list(models) == ["application/json"], "what is not JSON is refused (415)"
    name = re.fullmatch(r"<aws_api_gateway_model (\S+) name>", models["application/json"])[1]
    model = pets.all("aws_api_gateway_model")[name]
    schema = json.loads(model["schema"])
    assert schema.pop("$schema") == "http://json-schema.org/draft-04/schema#"
    assert schema == {"title": model["name"], **resolved(body["content"]["application/json"]["schema"])}
    assert "$ref" not in model["schema"] and '"example' not in model["schema"]
    assert model["content_type"] == "application/json"


def test_models_hold_no_references_and_no_examples(tmp_path):
    """P1a: wherever in the schema they stand, and whatever the reference means refers to."""

    def change(spec):
        schemas = spec["components"]["schemas"]
        schemas["Name"] = {"$ref": "#/components/schemas/Text", "description": "lost beside a reference"}
        schemas["Text"] = {"type": "string", "maxLength": 9, "example": "dog123.jpg"}
        schemas["UploadRequest"]["properties"]["filename"] = {"$ref": "#/components/schemas/Name"}
        schemas["UploadRequest"]["properties"]["size"]["example"] = 1024
        schemas["UploadRequest"]["example"] = {"filename": "dog123.jpg"}

    schema = json.loads(api(tmp_path, change).one("aws_api_gateway_model")["schema"])
    assert schema["properties"]["filename"] == {"type": "string", "maxLength": 9}
    assert "example" not in json.dumps(schema)
    assert schema["properties"]["size"]["maximum"] == 15_000_000


def test_there_is_no_model_that_nobody_uses(pets):
    """P1a."""
    used = [each.get("request_models", {}).values() for each in by_operation(pets, "aws_api_gateway_method").values()]
    names = {f"<aws_api_gateway_model {at} name>" for at in pets.all("aws_api_gateway_model")}
    assert names == {name for each in used for name in each}


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_parameters_are_those_of_the_document(pets, operation):
    """P1a: in query and path; what is required, API Gateway asks for."""
    places = {"query": "querystring", "path": "path", "header": "header"}
    expected = {
        f"method.request.{places[each['in']]}.{each['name']}": each.get("required", False)
        for each in map(resolved, OPERATIONS[operation].get("parameters", []))
    }
    assert by_operation(pets, "aws_api_gateway_method")[operation].get("request_parameters", {}) == expected
    in_path = set(re.findall(r"\{(\w+)\}", operation[0]))
    assert {f"method.request.path.{name}" for name in in_path} == {name for name, required in expected.items() if required}


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_every_operation_invokes_the_released_function(pets, operation):
    """P8b: the alias, not $LATEST; within the time that the function has."""
    integration = by_operation(pets, "aws_api_gateway_integration")[operation]
    function = "arn:aws:lambda:us-east-1:111122223333:function:serverlessapp-image-api:live"
    assert integration["uri"] == f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations"
    assert (integration["type"], integration["integration_http_method"]) == ("AWS_PROXY", "POST")
    assert integration["timeout_milliseconds"] == 29_000 < 1000 * pets.one("aws_lambda_function", "pets/image_api")["timeout"]


def test_only_this_stage_of_this_api_may_invoke_the_alias(pets, pets_dev):
    """P8b, C8."""
    for stack, stage in ((pets, "prod"), (pets_dev, "dev")):
        permission = stack.readable(stack.one("aws_lambda_permission"))
        assert permission["function_name"] == "<aws_lambda_function pets/image_api/function function_name>"
        assert permission["qualifier"] == "<aws_lambda_alias pets/live/alias name>"
        assert (permission["principal"], permission["action"]) == ("apigateway.amazonaws.com", "lambda:InvokeFunction")
        assert permission["source_arn"] == f"arn:aws:execute-api:us-east-1:111122223333:{API.format('id')}/{stage}/*"
        assert permission["source_account"] == "111122223333"
        assert stack.one("aws_api_gateway_stage")["stage_name"] == stage


# --- CORS -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stack", "origin"), [("pets", "*"), ("pets_switched", ORIGIN)])
@pytest.mark.parametrize("path", SPEC["paths"])
def test_preflight(request, stack, origin, path):
    """P1a: every path answers browsers without a key and without a function: its own methods, the headers that clients send,
    the origin of the settings."""
    found, where = request.getfixturevalue(stack), (path, "OPTIONS")
    method = by_operation(found, "aws_api_gateway_method")[where]
    assert method.get("api_key_required", False) is False, "browsers send no key with it"
    integration = by_operation(found, "aws_api_gateway_integration")[where]
    assert (integration["type"], integration["request_templates"]) == ("MOCK", {"application/json": '{"statusCode":204}'})
    response = by_operation(found, "aws_api_gateway_method_response")[where]
    answer = by_operation(found, "aws_api_gateway_integration_response")[where]
    assert response["status_code"] == "204"
    assert set(answer["response_parameters"]) == set(response["response_parameters"])
    headers = {
        name.removeprefix("method.response.header."): value.removeprefix("'").removesuffix("'")
        for name, value in answer["response_parameters"].items()
    }
    assert all(value == f"'{value[1:-1]}'" for value in answer["response_parameters"].values())
    own = {method for other, method in OPERATIONS if other == path}
    assert set(headers.pop("Access-Control-Allow-Methods").split(",")) == own | {"OPTIONS"}
    assert {each.lower() for each in headers.pop("Access-Control-Allow-Headers").split(",")} == {"content-type", "x-api-key"}
    assert headers == {"Access-Control-Allow-Origin": origin, "Access-Control-Max-Age": "3600"}
    name = path.strip("/").replace("/", "_").replace("{", "").replace("}", "")
    integration_address = found.address("aws_api_gateway_integration", f"pets/api/options_{name}_integration")
    (body,) = [
        body
        for at, body in found.all("aws_api_gateway_integration_response").items()
        if at == f"pets/api/options_{name}_integration_response"
    ]
    assert body["depends_on"] == [integration_address]


# --- errors ---------------------------------------------------------------------------------------------------------

CODES = {
    "BAD_REQUEST_BODY": ("400", "invalid_request"),
    "BAD_REQUEST_PARAMETERS": ("400", "invalid_request"),
    "INVALID_API_KEY": ("403", "invalid_api_key"),
    "MISSING_AUTHENTICATION_TOKEN": ("404", "no_such_endpoint"),
    "RESOURCE_NOT_FOUND": ("404", "no_such_endpoint"),
    "REQUEST_TOO_LARGE": ("413", "request_too_large"),
    "UNSUPPORTED_MEDIA_TYPE": ("415", "unsupported_media_type"),
    "THROTTLED": ("429", "throttled"),
    "QUOTA_EXCEEDED": ("429", "quota_exceeded"),
    "WAF_FILTERED": ("403", "blocked"),
    "INTEGRATION_TIMEOUT": ("504", "timeout"),
    "DEFAULT_4XX": (None, "refused"),
    "DEFAULT_5XX": (None, "internal_error"),
}
"""An interface: response type of API Gateway → status (None: as it comes) and code of the body."""
CONTEXT = {"$context.requestId": "5b0f3c52-0d3d-4a9f-8f0e-6a3f0a7d7c55"}
"""What variables of API Gateway stand in the errors, and what they may hold: nothing that JSON would have to escape."""


@pytest.mark.parametrize(("stack", "origin"), [("pets", "*"), ("pets_switched", ORIGIN)])
@pytest.mark.parametrize("kind", CODES)
def test_errors_of_api_gateway_are_json_with_a_stable_code(request, stack, origin, kind):
    """P1a: as those of the function: code, message, request id; with the CORS header, without which a browser hides them."""
    found = request.getfixturevalue(stack)
    bodies = {body["response_type"]: body for body in found.all("aws_api_gateway_gateway_response").values()}
    assert set(bodies) == set(CODES)
    body = bodies[kind]
    assert body["response_parameters"] == {"gatewayresponse.header.Access-Control-Allow-Origin": f"'{origin}'"}
    assert list(body["response_templates"]) == ["application/json"]
    text = body["response_templates"]["application/json"]
    variables = set(re.findall(r"\$[\w.]+", text))
    assert variables == set(CONTEXT), "others may hold quotes, which would break the JSON"
    for variable, value in CONTEXT.items():
        text = text.replace(variable, value)
    error = json.loads(text)
    status, code = CODES[kind]
    assert (body.get("status_code"), error["code"]) == (status, code)
    schema = SPEC["components"]["schemas"]["Error"]
    assert set(error) == set(schema["required"]) == set(schema["properties"])
    assert error["code"] in schema["properties"]["code"]["enum"]
    assert error["request_id"] == CONTEXT["$context.requestId"]
    assert error["message"].endswith(".")


def test_statuses_of_the_errors_are_described(pets):
    """P1a: the document names every status that an operation may answer with by API Gateway's own doing."""
    described = {status for operation in OPERATIONS.values() for status in operation["responses"]}
    assert {status for status, _ in CODES.values() if status} <= described


# --- deployment -----------------------------------------------------------------------------------------------------


def triggers(stack):
    return stack.readable(stack.one("aws_api_gateway_deployment")["triggers"])


def api(tmp_path, change=lambda spec: None, **properties):
    """A RestApi alone, of a document that ``change`` has changed."""
    spec = copy.deepcopy(SPEC)
    change(spec)
    document = tmp_path / "api.json"
    document.write_text(json.dumps(spec))
    stack = AwsStack(app(), "test", settings=CommonSettings(), project="Test")
    known = {"invoke_arn": "arn:1", "allowed_origin": "*", "requests_per_second": 10, "burst": 20}
    RestApi(stack, "api", name="api", document=document, **known | properties)
    return Synthesised.of(stack)


def test_a_deployment_follows_every_change_of_the_api(tmp_path, monkeypatch):
    """P1a: a deployment is a snapshot: without a new one no change would be seen. Whether the default endpoint answers counts
    from the next one on, too."""
    base = triggers(api(tmp_path))

    def described(spec):
        spec["components"]["schemas"]["UploadRequest"]["properties"]["size"]["maximum"] = 1

    certificate = "arn:aws:acm:us-east-1:111122223333:certificate/a"
    changed = [
        triggers(api(tmp_path, described)),
        triggers(api(tmp_path, invoke_arn="arn:2")),
        triggers(api(tmp_path, allowed_origin=ORIGIN)),
        triggers(api(tmp_path, domain_name="pets.example.com", certificate_arn=certificate)),
    ]
    other = modules_api.GatewayError("THROTTLED", 429, "throttled", "Other words.")
    monkeypatch.setattr(modules_api, "ERRORS", tuple(other if each.code == "throttled" else each for each in ERRORS))
    changed.append(triggers(api(tmp_path)))
    assert all(each != base for each in changed)
    assert len({json.dumps(each, sort_keys=True) for each in changed}) == len(changed)


def test_a_deployment_follows_nothing_else(tmp_path, pets, pets_switched):
    """P1a: neither limits of the stage, nor the order in which constructs are made: a new deployment of the same would show in
    every plan."""
    base = triggers(api(tmp_path))
    assert triggers(api(tmp_path, requests_per_second=99, burst=99)) == base
    again = synthesise(PetDetectorStack, "pet-detector", pet_requests_per_second=7, pet_latency_alarm_ms=500)
    assert triggers(again) == triggers(pets)
    assert "TfToken" not in json.dumps(triggers(pets))
    assert triggers(pets_switched)["document"] == triggers(pets)["document"]


def test_a_deployment_holds_everything(pets):
    """P1a: methods, integrations, answers and errors stand before it; the stage shows it, and goes on showing the old one until
    the new one stands."""
    deployment = pets.one("aws_api_gateway_deployment")
    kinds = ("method", "integration", "method_response", "integration_response", "gateway_response")
    parts = {
        pets.address(f"aws_api_gateway_{kind}", at) for kind in kinds for at in pets.all(f"aws_api_gateway_{kind}")
    }
    assert set(deployment["depends_on"]) == parts
    assert deployment["lifecycle"] == {"create_before_destroy": True}
    stage = pets.readable(pets.one("aws_api_gateway_stage"))
    assert stage["deployment_id"] == "<aws_api_gateway_deployment pets/api/deployment id>"


# --- logs, limits ---------------------------------------------------------------------------------------------------


def test_access_logs(pets):
    """P1a: one line of JSON a request, with all that tells one from another, and without the key's value, bodies or query."""
    settings = pets.readable(pets.one("aws_api_gateway_stage"))["access_log_settings"]
    assert settings["destination_arn"] == "<aws_cloudwatch_log_group pets/api/access_logs/group arn>"
    line = json.loads(settings["format"])
    assert "\n" not in settings["format"]
    assert all(re.fullmatch(r"\$context\.[\w.]+", value) for value in line.values())
    assert line["api_key_id"] == "$context.identity.apiKeyId"
    assert line["status"] == "$context.status"
    assert line["request_id"] == "$context.requestId"
    assert {"ip", "method", "path", "latency_ms", "error", "time"} <= set(line)
    assert not {"$context.identity.apiKey", "$context.authorizer"} & set(line.values())


def test_execution_logs_have_retention_and_no_bodies(pets):
    """C9: API Gateway would make the group itself, without retention; errors only, and no data, which would be images."""
    group = pets.one("aws_cloudwatch_log_group", "pets/api/execution_logs")
    assert pets.readable(group["name"]) == f"API-Gateway-Execution-Logs_{API.format('id')}/prod"
    assert group["retention_in_days"] == 90
    address = pets.address("aws_cloudwatch_log_group", "pets/api/execution_logs/group")
    assert pets.one("aws_api_gateway_stage")["depends_on"] == [address]
    settings = pets.one("aws_api_gateway_method_settings")
    assert settings["method_path"] == "*/*"
    assert settings["settings"]["logging_level"] == "ERROR"
    assert settings["settings"]["data_trace_enabled"] is False
    assert settings["settings"]["metrics_enabled"] is False, "those of each method cost money, and nothing looks at them"


def test_a_key_has_limits_and_so_has_the_stage(pets):
    """P1a: rate, burst and quota of each key are settings; the stage takes fifty keys at their limits."""
    chosen = synthesise(PetDetectorStack, "x", pet_requests_per_second=3, pet_burst=5, pet_requests_per_day=70)
    for stack, rate, burst, quota in ((pets, 20, 40, 100_000), (chosen, 3, 5, 70)):
        plan = stack.readable(stack.one("aws_api_gateway_usage_plan"))
        assert plan["throttle_settings"] == {"rate_limit": rate, "burst_limit": burst}
        assert plan["quota_settings"] == {"limit": quota, "period": "DAY"}
        assert plan["api_stages"] == [{"api_id": API.format("id"), "stage": "prod"}]
        assert plan["depends_on"] == [stack.address("aws_api_gateway_stage", "pets/api/stage")], "the plan names it"
        settings = stack.one("aws_api_gateway_method_settings")["settings"]
        assert (settings["throttling_rate_limit"], settings["throttling_burst_limit"]) == (50 * rate, 50 * burst)


def test_the_key_is_of_this_plan_alone(pets):
    """P1a."""
    link = pets.readable(pets.one("aws_api_gateway_usage_plan_key"))
    assert link == {
        "key_id": "<aws_api_gateway_api_key pets/api_key/key id>",
        "key_type": "API_KEY",
        "usage_plan_id": "<aws_api_gateway_usage_plan pets/api_key/plan id>",
    }
    assert len(pets.all("aws_api_gateway_usage_plan")) == 1


def test_nobody_sets_the_keys_value_and_no_output_shows_it(pets, pets_switched):
    """P8b: AWS makes it up; it stands in the state alone."""
    for stack in (pets, pets_switched):
        key = stack.one("aws_api_gateway_api_key")
        assert "value" not in key
        (id_,) = stack.json["resource"]["aws_api_gateway_api_key"]
        assert f"{id_}.value" not in stack.text
        assert stack.readable(stack.json["output"]["pet_api_key_id"]["value"]) == "<aws_api_gateway_api_key pets/api_key/key id>"


def test_two_apis_and_keys_in_one_stack(tmp_path):
    """C2: neither ids nor names clash."""
    stack = AwsStack(app(), "test", settings=CommonSettings(), project="Test")
    for number in (1, 2):
        api_ = RestApi(
            stack, f"api{number}", name=f"api{number}", document=DOCUMENT, invoke_arn="arn:1", allowed_origin="*",
            requests_per_second=10, burst=20,
        )  # fmt: skip
        ApiKey(stack, f"key{number}", name=f"key{number}", api=api_, requests_per_second=1, burst=1, requests_per_day=1)
    found = Synthesised.of(stack)
    for kind in ("rest_api", "deployment", "stage", "api_key", "usage_plan", "usage_plan_key"):
        assert len(found.all(f"aws_api_gateway_{kind}")) == 2, kind
    groups = [found.readable(body["name"]) for body in found.all("aws_cloudwatch_log_group").values()]
    assert len(set(groups)) == len(groups) == 4


# --- address --------------------------------------------------------------------------------------------------------


def test_default_address(pets):
    """P1a, P11: without a domain name of one's own the API answers at the one that AWS gives it."""
    assert pets.one("aws_api_gateway_rest_api")["disable_execute_api_endpoint"] is False
    assert pets.one("aws_api_gateway_rest_api")["endpoint_configuration"] == {"types": ["REGIONAL"]}
    assert not {"aws_api_gateway_domain_name", "aws_api_gateway_base_path_mapping"} & pets.kinds()
    assert pets.readable(pets.json["output"]["pet_api_url"]["value"]) == "<aws_api_gateway_stage pets/api/stage invoke_url>"


def test_own_domain_name(pets_switched):
    """P9: from TLS 1.2 on; the default endpoint, which takes TLS 1.0, is switched off."""
    assert pets_switched.one("aws_api_gateway_rest_api")["disable_execute_api_endpoint"] is True
    domain = pets_switched.one("aws_api_gateway_domain_name")
    assert (domain["domain_name"], domain["security_policy"]) == ("pets.example.com", "TLS_1_2")
    assert domain["regional_certificate_arn"] == "arn:aws:acm:us-east-1:111122223333:certificate/0f4b2d0e"
    assert domain["endpoint_configuration"] == {"types": ["REGIONAL"]}
    assert pets_switched.readable(pets_switched.one("aws_api_gateway_base_path_mapping")) == {
        "api_id": API.format("id"),
        "domain_name": "<aws_api_gateway_domain_name pets/api/domain domain_name>",
        "stage_name": "<aws_api_gateway_stage pets/api/stage stage_name>",
    }
    assert pets_switched.json["output"]["pet_api_url"]["value"] == "https://pets.example.com"


# --- the account's role for logs -------------------------------------------------------------------------------------


def test_account_has_one_role_for_the_logs_of_api_gateway(pets, state_backend):
    """C3: an account and region can have but one, so that no stack which exists twice may own it."""
    assert "aws_api_gateway_account" not in pets.kinds()
    account = state_backend.readable(state_backend.one("aws_api_gateway_account"))
    assert account["cloudwatch_role_arn"] == "<aws_iam_role api_gateway_logging/role/role arn>"
    assert "provider" not in account
    assert account["depends_on"] == [state_backend.address("aws_iam_role_policy", "api_gateway_logging/role/runtime_policy")]
    actions = ("CreateLogGroup", "CreateLogStream", "DescribeLogGroups", "DescribeLogStreams", "FilterLogEvents", "GetLogEvents")
    assert state_backend.permissions("api_gateway_logging/role", "runtime") == {
        (f"logs:{action}", "*") for action in (*actions, "PutLogEvents")
    }


def test_that_role_counts_in_us_east_1_wherever_the_state_lies():
    """C3: the APIs stand there."""
    stack = synthesise(StateBackendStack, "state-backend", state_bucket_region="eu-west-1")
    assert stack.json["provider"]["aws"] == [{"region": "eu-west-1"}, {"alias": "us_east_1", "region": "us-east-1"}]
    assert stack.one("aws_api_gateway_account")["provider"] == "aws.us_east_1"
    elsewhere = {f"{kind} {path}" for kind, path, body in stack.every() if "provider" in body}
    assert elsewhere == {"aws_api_gateway_account api_gateway_logging/there/account"}
