"""P1a, P1b: REST APIs and presigned uploads behave here as on AWS, where the pet detector would notice."""

import http.client
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
import urllib3
from botocore.config import Config

from tests.local.conftest import Maker

MEGABYTE = 1024 * 1024
FUNCTION = """
import json, time
def handler(event, context):
    time.sleep(float((event["queryStringParameters"] or {}).get("sleep", 0)))
    wanted = json.loads(event["body"] or "{}") if event["body"] and event["body"][0] == "{" else {}
    if "fail" in wanted:
        raise ValueError("a secret")
    if "answer" in wanted:
        return wanted["answer"]
    told = {"id": event["requestContext"]["requestId"], "query": event["queryStringParameters"],
            "length": len(event["body"] or "")}
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": json.dumps(told)}
"""
SCHEMA = {"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "required": ["name"],
          "properties": {"name": {"type": "string", "maxLength": 3}, "size": {"type": "integer", "minimum": 1}},
          "additionalProperties": False}
OWN_ERRORS = {"BAD_REQUEST_BODY": "400", "INVALID_API_KEY": "403", "MISSING_AUTHENTICATION_TOKEN": "404", "THROTTLED": "429",
              "REQUEST_TOO_LARGE": "413", "UNSUPPORTED_MEDIA_TYPE": "415", "DEFAULT_4XX": None, "DEFAULT_5XX": None,
              "QUOTA_EXCEEDED": "429", "INTEGRATION_TIMEOUT": "504"}


class Api:
    """A deployed REST API of a few methods, made by boto3."""

    def __init__(self, aws, make):
        self.aws, self.client, self.function = aws, aws.client("apigateway"), make.function(FUNCTION)
        self.id = self.client.create_rest_api(name=make.name("api"))["id"]
        [root] = self.client.get_resources(restApiId=self.id)["items"]
        self.root = root["id"]
        self.alias = self._alias()
        for response, status in OWN_ERRORS.items():
            self.client.put_gateway_response(
                restApiId=self.id, responseType=response, **({"statusCode": status} if status else {}),
                responseTemplates={"application/json": '{"type": "$context.error.responseType", "id": "$context.requestId", '
                                                       '"said": $context.error.messageString}'},
                responseParameters={"gatewayresponse.header.Access-Control-Allow-Origin": "'https://pets.example.com'"})

    def _alias(self) -> str:
        functions = self.aws.client("lambda")
        version = functions.publish_version(FunctionName=self.function)["Version"]
        return functions.create_alias(FunctionName=self.function, Name="live", FunctionVersion=version)["AliasArn"]

    def permit(self, source: str, qualifier: str | None = "live") -> None:
        """Let a source ARN (after the API's id) invoke the function."""
        self.aws.client("lambda").add_permission(
            FunctionName=self.function, **({"Qualifier": qualifier} if qualifier else {}),
            StatementId=re.sub(r"\W", "-", f"{self.id}{source}{qualifier}"), Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com", SourceArn=f"arn:aws:execute-api:us-east-1:000000000000:{self.id}/{source}")

    def path(self, part: str) -> str:
        return self.client.create_resource(restApiId=self.id, parentId=self.root, pathPart=part)["id"]

    def method(self, resource: str, http_method: str, *, integration: dict | None = None, **method) -> None:
        here = {"restApiId": self.id, "resourceId": resource, "httpMethod": http_method}
        self.client.put_method(**here, authorizationType="NONE", **method)
        uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{self.alias}/invocations"
        self.client.put_integration(
            **here, **{"type": "AWS_PROXY", "integrationHttpMethod": "POST", "uri": uri, **(integration or {})})

    def deploy(self, stage: str = "test") -> None:
        self.client.create_deployment(restApiId=self.id, stageName=stage)

    def key(self, name: str, *, plan: bool = True, **limits) -> str:
        """Value of a key of its own plan."""
        key = self.client.create_api_key(name=name, enabled=True)
        if plan:
            plan = self.client.create_usage_plan(name=name, apiStages=[{"apiId": self.id, "stage": "test"}], **limits)["id"]
            self.client.create_usage_plan_key(usagePlanId=plan, keyId=key["id"], keyType="API_KEY")
        return self.client.get_api_key(apiKey=key["id"], includeValue=True)["value"]

    def ask(self, method: str, path: str, body: bytes | str | None = None, *, stage: str = "test", **headers):
        """Status, headers (names in small letters), and body, as JSON if it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.aws.port, timeout=60)
        try:
            connection.request(method, f"/_aws/execute-api/{self.id}/{stage}{path}", body,
                               {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            text, told = answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()
        return answer.status, told, json.loads(text) if text[:1] in (b"{", b"[") else text


@pytest.fixture(scope="module")
def api(aws):
    """GET and POST /things with a key, a model and a preflight; /open without, /slow with a timeout of a second."""
    api = Api(aws, Maker(aws))
    api.permit("test/*")
    things, client = api.path("things"), api.client
    client.create_model(restApiId=api.id, name="Thing", contentType="application/json", schema=json.dumps(SCHEMA))
    validator = client.create_request_validator(
        restApiId=api.id, name="all", validateRequestBody=True, validateRequestParameters=True)["id"]
    api.method(things, "GET", apiKeyRequired=True, requestValidatorId=validator,
               requestParameters={"method.request.querystring.page": True})
    api.method(things, "POST", apiKeyRequired=True, requestValidatorId=validator, requestModels={"application/json": "Thing"})
    opened = api.path("open")
    api.method(opened, "ANY")
    api.method(api.path("default"), "POST", requestValidatorId=validator, requestModels={"$default": "Thing"})
    api.method(api.path("slow"), "GET", integration={"timeoutInMillis": 1000})
    api.method(api.path("json"), "POST", integration={
        "type": "MOCK", "passthroughBehavior": "NEVER", "requestTemplates": {"application/json": '{"statusCode": 200}'}})
    preflight = {"restApiId": api.id, "resourceId": things, "httpMethod": "OPTIONS"}
    headers = {"Access-Control-Allow-Origin": "https://pets.example.com", "Access-Control-Allow-Methods": "GET,POST,OPTIONS"}
    api.method(things, "OPTIONS", integration={"type": "MOCK", "requestTemplates": {"application/json": '{"statusCode": 204}'}})
    client.put_method_response(**preflight, statusCode="204", responseParameters={
        f"method.response.header.{name}": True for name in headers})
    client.put_integration_response(**preflight, statusCode="204", responseParameters={
        f"method.response.header.{name}": f"'{value}'" for name, value in headers.items()})
    api.deploy()
    return api


@pytest.fixture(scope="module")
def key(api):
    return api.key("plenty", throttle={"rateLimit": 10_000, "burstLimit": 5_000})


def refused(answer, status: int, response_type: str) -> str:
    """The gateway response's message, after the rest of it has been looked at."""
    told, headers, body = answer
    assert (told, body["type"]) == (status, response_type)
    assert body["id"] == headers["x-amzn-requestid"] and headers["access-control-allow-origin"] == "https://pets.example.com"
    return body["said"]


# --- keys, paths, preflight --------------------------------------------------------------------------------------------


def test_keys(api, key, make):
    """P1a: a key of a plan for this stage, or 403 with the gateway response of ours."""
    assert api.ask("GET", "/things?page=1", x_api_key=key)[0] == 200
    for headers in ({}, {"x_api_key": "wrong"}, {"x_api_key": api.key(make.name("key"), plan=False)}):
        assert refused(api.ask("GET", "/things?page=1", **headers), 403, "INVALID_API_KEY") == "Forbidden"
    [shown] = [each for each in api.client.get_api_keys(nameQuery="plenty")["items"] if each["name"] == "plenty"]
    assert "value" not in shown and "value" not in api.client.get_api_key(apiKey=shown["id"])


@pytest.mark.parametrize("method, path", [("GET", "/nothing"), ("DELETE", "/things"), ("HEAD", "/things"), ("GET", "/")])
def test_unknown_paths(api, method, path):
    """P1a: API Gateway takes them for calls that lack a token."""
    status, headers, body = api.ask(method, path)
    assert status == 404 and headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"
    assert body == b"" if method == "HEAD" else body["said"] == "Missing Authentication Token"


def test_unknown_stages(api):
    """P1a: no gateway response, since there is no deployment."""
    status, headers, body = api.ask("GET", "/things", stage="other")
    assert (status, body, headers["x-amzn-errortype"]) == (403, {"message": "Forbidden"}, "ForbiddenException")


def test_preflight(api):
    """P1a: what the method OPTIONS says, and no more; nobody needs a key for it."""
    status, headers, _ = api.ask("OPTIONS", "/things", origin="https://pets.example.com")
    told = {name: value for name, value in headers.items() if name.startswith("access-control")}
    assert status == 204 and told == {
        "access-control-allow-origin": "https://pets.example.com", "access-control-allow-methods": "GET,POST,OPTIONS"}


# --- validation --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["", "{", "[]", "{}", '{"name": "long"}', '{"name": "a", "size": 0}', '{"name": "a", "b": 1}',
                                  '{"name": 1}', '"text"'])
def test_bodies_against_the_model(api, key, body):
    """P1a: 400."""
    assert refused(api.ask("POST", "/things", body, x_api_key=key), 400, "BAD_REQUEST_BODY") == "Invalid request body"


def test_parameters(api, key):
    status, _, body = api.ask("GET", "/things", x_api_key=key)
    assert status == 400 and body["type"] == "BAD_REQUEST_PARAMETERS" and "[page]" in body["said"]


@pytest.mark.parametrize("content_type, status", [
    ("application/json", 400), ("application/json; charset=utf-8", 400), ("APPLICATION/JSON", 400), ("text/plain", 200)])
def test_only_bodies_of_the_models_type_are_validated(api, key, content_type, status):
    """P1a: so that the function has to look itself."""
    assert api.ask("POST", "/things", "[]", x_api_key=key, content_type=content_type)[0] == status


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_a_default_model_is_for_all_types(api, content_type):
    assert api.ask("POST", "/default", "[]", content_type=content_type)[0] == 400
    assert api.ask("POST", "/default", '{"name": "abc"}', content_type=content_type)[0] == 200


def test_unsupported_media_type(api):
    """P1a: 415 where no template takes the type."""
    assert api.ask("POST", "/json", "{}", content_type="application/json")[0] == 200
    assert refused(api.ask("POST", "/json", "x", content_type="text/plain"), 415, "UNSUPPORTED_MEDIA_TYPE")


def test_sizes(api):
    """P1b: 10 MB for API Gateway, in plain text; 6 MB for the function, as an error of ours."""
    status, headers, body = api.ask("POST", "/open", b"x" * (10 * MEGABYTE + 1))
    assert (status, body) == (413, b"HTTP content length exceeded 10485760 bytes.")
    assert headers["content-type"].startswith("text")
    assert refused(api.ask("POST", "/open", b"x" * (6 * MEGABYTE)), 413, "REQUEST_TOO_LARGE") == "Request Too Long"
    assert api.ask("POST", "/open", b"x" * (5 * MEGABYTE))[2]["length"] == 5 * MEGABYTE


# --- limits ------------------------------------------------------------------------------------------------------------


def test_rate(api, make):
    """P1a: a plan's burst, then its rate; each key has its own."""
    one, two = (api.key(make.name("key"), throttle={"rateLimit": 0.2, "burstLimit": 3}) for _ in range(2))
    answers = [api.ask("GET", "/things?page=1", x_api_key=one) for _ in range(5)]
    assert [status for status, *_ in answers] == [200] * 3 + [429] * 2
    assert refused(answers[-1], 429, "THROTTLED") == "Too Many Requests"
    assert api.ask("GET", "/things?page=1", x_api_key=two)[0] == 200


def test_quota(api, make):
    """P1a: a day's requests."""
    key = api.key(make.name("key"), quota={"limit": 2, "period": "DAY"})
    answers = [api.ask("GET", "/things?page=1", x_api_key=key) for _ in range(3)]
    assert [status for status, *_ in answers] == [200, 200, 429]
    assert refused(answers[-1], 429, "QUOTA_EXCEEDED") == "Limit Exceeded"


# --- functions ---------------------------------------------------------------------------------------------------------


def test_one_id(api):
    """P1a: who reports a request's id is understood."""
    _, headers, body = api.ask("GET", "/open?a=1&a=2&b=%20x")
    assert body["id"] == headers["x-amzn-requestid"] and body["query"] == {"a": "2", "b": " x"}


@pytest.mark.parametrize("body", [
    '{"fail": 1}', '{"answer": "text"}', '{"answer": {"body": "x"}}', '{"answer": {"statusCode": 200, "body": {"a": 1}}}',
    '{"answer": null}', '{"answer": {"statusCode": "none"}}'])
def test_functions_that_fail(api, body):
    """P1a: 502, a stable code, and none of the function's words."""
    assert refused(api.ask("POST", "/open", body), 502, "DEFAULT_5XX") == "Internal server error"


def test_functions_that_are_slow(api):
    """P1a: 504 after the integration's timeout."""
    assert refused(api.ask("GET", "/slow?sleep=3"), 504, "INTEGRATION_TIMEOUT") == "Endpoint request timed out"
    assert api.ask("GET", "/slow?sleep=0.1")[0] == 200


@pytest.mark.parametrize("source, qualifier, status", [
    ("test/GET/open", "live", 200), ("*", "live", 200), ("test/*/open", "live", 200), ("test/POST/open", "live", 500),
    ("other/GET/open", "live", 500), ("test/GET/open", None, 500), (None, None, 500)])
def test_functions_let_apis_in(aws, make, source, qualifier, status):
    """P1a: by the policy of the alias that the integration names."""
    api = Api(aws, make)
    api.method(api.path("open"), "GET")
    if source:
        api.permit(source, qualifier)
    api.deploy()
    answer = api.ask("GET", "/open")
    assert answer[0] == status
    if status == 500:
        assert refused(answer, 500, "API_CONFIGURATION_ERROR") == "Internal server error"


def test_aliases(aws, make):
    """P8b: the version that the alias names, not the newest code."""
    api = Api(aws, make)
    api.method(api.path("open"), "GET")
    api.permit("*")
    api.deploy()
    other = make.function("def handler(event, context):\n    return {'statusCode': 200, 'body': '{}'}\n")
    archive = aws.client("lambda").get_function(FunctionName=other)["Code"]["Location"]
    code = urllib3.request("GET", archive).data
    aws.client("lambda").update_function_code(FunctionName=api.function, ZipFile=code)
    assert "query" in api.ask("GET", "/open")[2]
    version = aws.client("lambda").publish_version(FunctionName=api.function)["Version"]
    aws.client("lambda").update_alias(FunctionName=api.function, Name="live", FunctionVersion=version)
    assert api.ask("GET", "/open")[2] == {}


def test_access_logs(aws, api, key, make):
    """P1a: a line of JSON for each request, refused ones too; whatever a path holds, JSON it stays."""
    logs, group = aws.client("logs"), make.name("/aws/apigateway/test")
    logs.create_log_group(logGroupName=group)
    names = {"id": "requestId", "path": "path", "status": "status", "error": "error.responseType",
             "key": "identity.apiKeyId", "method": "httpMethod", "resource": "resourcePath", "latency": "responseLatency",
             "nothing": "authorizer.principalId"}
    line = json.dumps({name: f"$context.{variable}" for name, variable in names.items()})
    api.client.update_stage(restApiId=api.id, stageName="test", patchOperations=[
        {"op": "replace", "path": "/accessLogSettings/format", "value": line},
        {"op": "replace", "path": "/accessLogSettings/destinationArn",
         "value": f"arn:aws:logs:us-east-1:000000000000:log-group:{group}"}])
    answers = [api.ask("GET", "/things?page=1", x_api_key=key), api.ask("GET", '/no%22thing%0a{"a"}')]
    events = make.poll(lambda: len(found := logs.filter_log_events(logGroupName=group)["events"]) == 2 and found)
    good, bad = (json.loads(event["message"]) for event in events)
    assert [good["id"], bad["id"]] == [headers["x-amzn-requestid"] for _, headers, _ in answers]
    assert (good["status"], good["error"], good["resource"], good["path"]) == ("200", "-", "/things", "/test/things")
    assert good["key"] != "-" and good["nothing"] == "-" and int(good["latency"]) >= 0
    assert (bad["status"], bad["error"], bad["key"], bad["method"]) == ("404", "MISSING_AUTHENTICATION_TOKEN", "-", "GET")


# --- presigned uploads -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uploads(aws):
    """Name of a versioned bucket, and a client of a role that may write below input/ there, as a function signs."""
    make = Maker(aws)
    bucket = make.bucket()
    aws.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    role = make.role(("s3:PutObject", f"arn:aws:s3:::{bucket}/input/*"), service="lambda")
    keys = aws.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    client = boto3.client("s3", region_name=aws.region, endpoint_url=aws.endpoint, aws_access_key_id=keys["AccessKeyId"],
                          aws_secret_access_key=keys["SecretAccessKey"], aws_session_token=keys["SessionToken"],
                          config=Config(signature_version="s3v4", s3={"addressing_style": "path"}))
    return bucket, client


def form(uploads, *, key="input/1/a.jpg", seconds=60, least=1, most=10):
    bucket, client = uploads
    return client.generate_presigned_post(
        bucket, key, Fields={"Content-Type": "image/jpeg"}, ExpiresIn=seconds,
        Conditions=[{"Content-Type": "image/jpeg"}, ["content-length-range", least, most]])


def post(given, content=b"12345", **fields):
    """Status and error code."""
    told = {**given["fields"], **{name.replace("_", "-"): value for name, value in fields.items()}}
    parts = {name: value for name, value in told.items() if value is not None}
    answer = urllib3.request("POST", given["url"], fields={**parts, "file": ("a.jpg", content)}, retries=False)
    code = re.search(rb"<Code>(\w+)<", answer.data)
    return answer.status, code and code[1].decode()


def test_an_upload_as_it_was_signed(aws, uploads):
    """P1b: any size within the range."""
    for content in (b"1", b"1234567890"):
        assert post(form(uploads), content) == (204, None)
        found = aws.client("s3").get_object(Bucket=uploads[0], Key="input/1/a.jpg")
        assert found["Body"].read() == content and found["ContentType"] == "image/jpeg"


@pytest.mark.parametrize("content, fields, code", [
    (b"", {}, "EntityTooSmall"), (b"12345678901", {}, "EntityTooLarge"), (b"1", {"Content_Type": "image/png"}, "AccessDenied"),
    (b"1", {"Content_Type": None}, "AccessDenied"), (b"1", {"key": "input/1/b.jpg"}, "AccessDenied"),
    (b"1", {"x_amz_meta_a": "1"}, "AccessDenied"), (b"1", {"x_amz_signature": "0" * 64}, "SignatureDoesNotMatch"),
    (b"1", {"policy": "e30="}, "SignatureDoesNotMatch")])
def test_uploads_otherwise(uploads, content, fields, code):
    """P1b: another size, type, name, field or signature is refused."""
    status, told = post(form(uploads), content, **fields)
    assert told == code and status == (400 if code.startswith("Entity") else 403)


def test_an_expired_upload(uploads):
    """P1b: 403."""
    assert post(form(uploads, seconds=-1)) == (403, "AccessDenied")


def test_an_upload_where_the_signer_may_not_write(uploads):
    """P1b: a form gives no more rights than its signer has."""
    assert post(form(uploads, key="cats/a.jpg")) == (403, "AccessDenied")


def test_expired_downloads(aws, uploads):
    """P1b: a link works for its time."""
    bucket, _ = uploads
    s3 = aws.client("s3")
    s3.put_object(Bucket=bucket, Key="cats/a b.jpg", Body=b"1")
    signer = boto3.client("s3", region_name=aws.region, endpoint_url=aws.endpoint, aws_access_key_id="test",
                          aws_secret_access_key="test", config=Config(signature_version="s3v4", s3={"addressing_style": "path"}))
    link = signer.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "cats/a b.jpg"}, ExpiresIn=2)
    assert urllib3.request("GET", link).data == b"1"
    forged = link.replace("a%20b", "c")
    assert urllib3.request("GET", forged).status == 403
    deadline = time.monotonic() + 10
    while urllib3.request("GET", link).status == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert urllib3.request("GET", link).status == 403


def test_downloads_of_versions_have_a_name(aws, uploads):
    """P1b: as the link says."""
    bucket, s3 = uploads[0], aws.client("s3")
    version = s3.put_object(Bucket=bucket, Key="dogs/a.jpg", Body=b"1")["VersionId"]
    wanted = {"ResponseContentDisposition": 'attachment; filename="a.jpg"', "ResponseContentType": "image/jpeg"}
    for more in ({}, {"VersionId": version}, {"VersionId": version, "Range": "bytes=0-0"}):
        found = s3.get_object(Bucket=bucket, Key="dogs/a.jpg", **wanted, **more)
        assert (found["ContentDisposition"], found["ContentType"]) == tuple(wanted.values())


# --- what files an image ------------------------------------------------------------------------------------------------


def test_writing_what_must_not_be_there(aws, uploads):
    """P3: `If-None-Match: *` lets one of several writers through."""
    bucket, s3 = uploads[0], aws.client("s3")

    def write(number: int) -> int:
        try:
            answer = s3.put_object(Bucket=bucket, Key="once", Body=str(number).encode(), IfNoneMatch="*")
        except s3.exceptions.ClientError as error:
            answer = error.response
        return answer["ResponseMetadata"]["HTTPStatusCode"]

    with ThreadPoolExecutor(4) as writers:
        assert sorted(writers.map(write, range(4))) == [200, 412, 412, 412]


def test_copying_a_version(aws, uploads):
    """P3: the version that is named, whatever lies there now; with metadata of its own."""
    bucket, s3 = uploads[0], aws.client("s3")
    source = {"Bucket": bucket, "Key": "input/ü 1.jpg"}
    first, _ = (s3.put_object(**source, Body=body, ContentType="image/jpeg")["VersionId"] for body in (b"1", b"2"))
    copied = s3.copy_object(Bucket=bucket, Key="cats/ü 1.jpg", MetadataDirective="REPLACE", Metadata={"image-id": "x"},
                            ContentType="image/jpeg", CopySource={**source, "VersionId": first})
    found = s3.get_object(Bucket=bucket, Key="cats/ü 1.jpg", VersionId=copied["VersionId"])
    assert (found["Body"].read(), found["Metadata"], found["ContentType"]) == (b"1", {"image-id": "x"}, "image/jpeg")


def test_events_of_a_prefix(aws, uploads, make):
    """P3: Object Created for what comes below input/, by form, put or copy, with the version; not for the rest."""
    bucket, s3, events = uploads[0], aws.client("s3"), aws.client("events")
    url, arn = make.queue()
    rule = make.name("rule")
    events.put_rule(Name=rule, EventPattern=json.dumps({
        "source": ["aws.s3"], "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": [bucket]}, "object": {"key": [{"prefix": "input/"}]}}}))
    events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn}])
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    s3.put_object(Bucket=bucket, Key="cats/x.jpg", Body=b"1")
    put = s3.put_object(Bucket=bucket, Key="input/ü.jpg", Body=b"1")["VersionId"]
    assert post(form(uploads, key="input/form.jpg"))[0] == 204
    copy = s3.copy_object(Bucket=bucket, Key="input/ü.jpg", CopySource={"Bucket": bucket, "Key": "input/ü.jpg"},
                          MetadataDirective="REPLACE")["VersionId"]
    sqs, found = aws.client("sqs"), []
    while len(found) < 3:
        received = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10, MaxNumberOfMessages=10).get("Messages")
        assert received, f"only {found}"
        found += [json.loads(message["Body"])["detail"] for message in received]
    told = {(each["object"]["key"], each["object"]["version-id"], each["reason"]) for each in found}
    posted = s3.head_object(Bucket=bucket, Key="input/form.jpg")["VersionId"]
    assert told == {
        ("input/ü.jpg", put, "PutObject"), ("input/form.jpg", posted, "POST Object"), ("input/ü.jpg", copy, "CopyObject")}
    assert not sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages")
