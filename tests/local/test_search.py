"""L1, M5: collections of OpenSearch Serverless are guarded as AWS guards them, and served by an engine of their own."""

import hashlib
import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from local.emulator import Emulator

from .conftest import ACCOUNT, Maker

ROOT_KEYS = ("test", "test", None)


@pytest.fixture(scope="module")
def aws(tmp_path_factory):
    """An embedded AWS whose collections have engines of their own; that of the other tests has one elsewhere."""
    with Emulator(folder=tmp_path_factory.mktemp("aws")) as emulator:
        yield emulator


class Collection:
    """A time-series collection that a network policy makes public, unless told otherwise; requests to it."""

    def __init__(self, make, *, public: bool = True):
        self.make, self.aws, self.name = make, make.aws, make.name("collection")
        self.api = self.aws.client("opensearchserverless")
        self.api.create_security_policy(name=self.name, type="encryption", policy=json.dumps(
            {"Rules": [{"ResourceType": "collection", "Resource": [f"collection/{self.name}"]}], "AWSOwnedKey": True}))
        if public:
            self.open()
        created = self.api.create_collection(name=self.name, type="TIMESERIES")["createCollectionDetail"]
        self.id, self.arn = created["id"], created["arn"]
        self.endpoint = make.poll(self.active)["collectionEndpoint"]

    def active(self):
        [found] = self.api.batch_get_collection(ids=[self.id])["collectionDetails"]
        return found["status"] == "ACTIVE" and found

    def open(self, name: str | None = None, **statement):
        rules = [{"ResourceType": "collection", "Resource": [f"collection/{name or self.name}"]}]
        self.api.create_security_policy(name=self.make.name("network"), type="network", policy=json.dumps(
            [{"Rules": rules, **(statement or {"AllowFromPublic": True})}]))

    def allow(self, principal: str, *permissions: str, index: str = "*"):
        rule = {"ResourceType": "index", "Resource": [f"index/{self.name}/{index}"],
                "Permission": [f"aoss:{permission}" for permission in permissions]}
        self.api.create_access_policy(name=self.make.name("data"), type="data", policy=json.dumps(
            [{"Principal": [principal], "Rules": [rule]}]))

    def __call__(self, method: str, path: str, body: object = None, *, keys=ROOT_KEYS, service="aoss", region="us-east-1",
                 signed=True, with_hash=True):
        """Status and answer."""
        text = b"" if body is None else json.dumps(body).encode()
        request = AWSRequest(method, self.endpoint + path, data=text, headers={"Content-Type": "application/json"})
        if with_hash:
            request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(text).hexdigest()
        if signed:
            SigV4Auth(botocore.credentials.Credentials(*keys), service, region).add_auth(request)
        connection = http.client.HTTPConnection("127.0.0.1", self.aws.port, timeout=30)
        host = self.endpoint.removeprefix("http://")
        connection.request(method, path, text, {**dict(request.headers.items()), "Host": host})
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else None


@pytest.fixture
def collection(make):
    return Collection(make)


def session(make, *grants) -> tuple[str, tuple]:
    """ARN of a role with these permissions, and the keys of a session of it."""
    role = make.role(*grants, service="lambda")
    name = role.rsplit("/", 1)[-1]
    trust = {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}]}
    make.aws.client("iam").update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
    keys = make.aws.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    return role, (keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])


FORBIDDEN = {"reason": "403 Forbidden", "type": "Forbidden"}


def refused(answer) -> bool:
    """Whether the answer is a refusal in the shape of OpenSearch Serverless."""
    status, body = answer
    assert (status == 403) == (body is not None and body.get("error") == FORBIDDEN)
    return status == 403


# --- served ----------------------------------------------------------------------------------------------------------------


def test_a_collection_stores_and_finds(collection):
    assert collection.endpoint == f"http://{collection.id}.us-east-1.aoss.localhost:{collection.aws.port}"
    assert collection("PUT", "/logs", {"mappings": {"properties": {"a": {"type": "keyword"}}}})[0] == 200
    assert collection("POST", "/logs/_doc", {"a": "ü +%"})[0] == 201
    status, found = collection("POST", "/logs/_search?size=5", {"query": {"term": {"a": "ü +%"}}})
    assert status == 200 and [hit["_source"] for hit in found["hits"]["hits"]] == [{"a": "ü +%"}]
    assert collection("HEAD", "/nowhere")[0] == 404


def test_each_collection_has_its_own_documents(make):
    first, second = Collection(make), Collection(make)
    first("POST", "/logs/_doc", {"a": 1})
    assert second("GET", "/logs/_count")[0] == 404


def test_documents_go_with_their_collection(collection):
    collection("POST", "/logs/_doc", {})
    collection.api.delete_collection(id=collection.id)
    assert collection("GET", "/logs/_count")[0] == 404
    again = collection.api.create_collection(name=collection.name, type="TIMESERIES")["createCollectionDetail"]
    collection.endpoint = collection.endpoint.replace(collection.id, again["id"])
    collection.make.poll(lambda: collection("GET", "/_search")[0] == 200)
    assert collection("GET", "/logs/_count")[0] == 404


def test_what_time_series_collections_do_not_take(collection):
    """Documents under ids of the caller's, and refreshes."""
    for method, path in (("PUT", "/logs/_doc/1"), ("POST", "/logs/_create/1"), ("POST", "/logs/_refresh")):
        assert collection(method, path, {})[0] == 404, path


# --- guarded ---------------------------------------------------------------------------------------------------------------


def test_requests_are_signed_for_the_service_and_region(make, collection):
    _, keys = session(make, ("aoss:APIAccessAll", collection.arn))
    for wrong in ({"signed": False}, {"with_hash": False}, {"service": "es"}, {"region": "eu-west-1"},
                  {"keys": (keys[0], "wrong", keys[2])}, {"keys": ("AKIAUNKNOWN", "x", None)}):
        assert refused(collection("GET", "/_search", **wrong)), wrong
    assert not refused(collection("GET", "/_search"))


def test_a_collection_is_reached_only_through_a_network_policy(make):
    collection = Collection(make, public=False)
    assert refused(collection("GET", "/_search"))
    collection.open(SourceVPCEs=["vpce-1"])
    collection.open(name="other")
    assert refused(collection("GET", "/_search"))
    collection.open(name=collection.name[:-1] + "*")
    assert not refused(collection("GET", "/_search"))


def test_iam_and_a_data_policy_must_both_allow_the_caller(make, collection):
    allowed_by_both, keys = session(make, ("aoss:APIAccessAll", collection.arn))
    allowed_by_data, other_keys = session(make, ("aoss:*", collection.arn[:-3] + "xyz"))
    collection.allow(allowed_by_data, "ReadDocument")
    assert refused(collection("GET", "/_search", keys=keys)), "the policy is for another role"
    assert refused(collection("GET", "/_search", keys=other_keys)), "its role may not use this collection"
    collection.allow(allowed_by_both, "ReadDocument")
    assert not refused(collection("GET", "/_search", keys=keys))


def test_a_user_is_a_principal_too(make, collection):
    iam, name = make.aws.client("iam"), make.name("user")
    user = iam.create_user(UserName=name)["User"]["Arn"]
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(
        {"Statement": [{"Effect": "Allow", "Action": "aoss:APIAccessAll", "Resource": "*"}]}))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    keys = (key["AccessKeyId"], key["SecretAccessKey"], None)
    assert refused(collection("GET", "/_search", keys=keys))
    collection.allow(user, "*")
    assert not refused(collection("GET", "/_search", keys=keys))


REQUESTS = [
    ("CreateIndex", "PUT", "/new", {}), ("DescribeIndex", "GET", "/logs", None), ("DescribeIndex", "HEAD", "/logs", None),
    ("DescribeIndex", "GET", "/logs/_mapping", None), ("UpdateIndex", "PUT", "/logs/_mapping", {}),
    ("WriteDocument", "POST", "/logs/_doc", {}), ("ReadDocument", "POST", "/logs/_search", {}),
    ("ReadDocument", "GET", "/logs/_count", None), ("DeleteIndex", "DELETE", "/logs", None),
]


@pytest.mark.parametrize("permission", sorted({permission for permission, *_ in REQUESTS}))
def test_each_permission_allows_its_requests_and_no_others(make, collection, permission):
    role, keys = session(make, ("aoss:APIAccessAll", collection.arn))
    collection("PUT", "/logs")
    collection.allow(role, permission)
    for needed, method, path, body in REQUESTS:
        status, _ = collection(method, path, body, keys=keys)
        assert (status == 403) == (needed != permission), (method, path)


def test_permissions_are_for_the_indexes_named(make, collection):
    role, keys = session(make, ("aoss:APIAccessAll", collection.arn))
    collection.allow(role, "ReadDocument", "CreateIndex", index="logs-*")
    assert collection("PUT", "/logs-1", keys=keys)[0] == 200
    assert collection("GET", "/logs-*/_search", keys=keys)[0] == 200
    for method, path in (("PUT", "/other"), ("GET", "/other/_search"), ("GET", "/logs-1,other/_search"), ("GET", "/_search")):
        assert refused(collection(method, path, keys=keys)), path


def test_the_first_document_of_an_index_also_creates_it(make, collection):
    role, keys = session(make, ("aoss:APIAccessAll", collection.arn))
    collection.allow(role, "WriteDocument", index="logs")
    assert refused(collection("POST", "/logs/_doc", {}, keys=keys))
    collection("PUT", "/logs")
    assert collection("POST", "/logs/_doc", {}, keys=keys)[0] == 201


INDEX = """
import hashlib, json, os
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session

def handler(event, context):
    body = json.dumps(event).encode()
    request = AWSRequest("POST", os.environ["ENDPOINT"] + "/logs/_doc", data=body, headers={
        "Content-Type": "application/json", "X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()})
    SigV4Auth(botocore.session.Session().get_credentials(), "aoss", "us-east-1").add_auth(request)
    answer = URLLib3Session().send(request.prepare())
    return [answer.status_code, answer.text, sorted(name for name in os.environ if "OPENSEARCH" in name or "_PROXY" in name)]
"""


def test_a_function_stores_a_document_under_its_role(make, collection):
    """Its process resolves the collection's name; no variable of the environment sends it elsewhere."""
    function, lambdas = make.function(INDEX, ("aoss:APIAccessAll", collection.arn)), make.aws.client("lambda")
    lambdas.update_function_configuration(FunctionName=function, Environment={"Variables": {"ENDPOINT": collection.endpoint}})
    role = lambdas.get_function_configuration(FunctionName=function)["Role"]

    def store():
        return json.load(lambdas.invoke(FunctionName=function, Payload=b'{"a": 1}')["Payload"])

    assert store()[0] == 403
    collection.allow(role, "CreateIndex", "WriteDocument", index="logs")
    status, text, variables = store()
    assert status == 201, text
    assert variables == ["NO_PROXY"]
    [hit] = collection("GET", "/logs/_search")[1]["hits"]["hits"]
    assert hit["_source"] == {"a": 1}


# --- lifecycle policies ----------------------------------------------------------------------------------------------------


def test_lifecycle_policies(make):
    api, name = make.aws.client("opensearchserverless"), make.name("keep")
    document = lambda **rule: json.dumps({"Rules": [{"ResourceType": "index", "Resource": [f"index/{name}/*"], **rule}]})
    made = api.create_lifecycle_policy(
        type="retention", name=name, policy=document(MinIndexRetention="30d"))["lifecyclePolicyDetail"]
    assert "description" not in made and made["policy"]["Rules"][0]["MinIndexRetention"] == "30d"
    asked = [{"type": "retention", "name": name}, {"type": "retention", "name": "nowhere"}]
    found = api.batch_get_lifecycle_policy(identifiers=asked)
    assert found["lifecyclePolicyDetails"] == [made]
    assert [(each["name"], each["errorCode"]) for each in found["lifecyclePolicyErrorDetails"]] == [("nowhere", "NOT_FOUND")]
    change = {"type": "retention", "name": name, "policyVersion": made["policyVersion"], "description": "why"}
    assert api.update_lifecycle_policy(**{**change, "description": ""})["lifecyclePolicyDetail"] == made, "nothing has changed"
    changed = api.update_lifecycle_policy(**change, policy=document(NoMinIndexRetention=True))["lifecyclePolicyDetail"]
    assert changed["description"] == "why" and changed["policyVersion"] != made["policyVersion"]
    with pytest.raises(api.exceptions.ValidationException, match="older version"):
        api.update_lifecycle_policy(**change)
    with pytest.raises(api.exceptions.ConflictException):
        api.create_lifecycle_policy(type="retention", name=name, policy=document(MinIndexRetention="30d"))
    listed = api.list_lifecycle_policies(type="retention", resources=[f"index/{name}/*"])["lifecyclePolicySummaries"]
    assert [each["name"] for each in listed] == [name] and "policy" not in listed[0]
    api.delete_lifecycle_policy(type="retention", name=name)
    with pytest.raises(api.exceptions.ResourceNotFoundException):
        api.delete_lifecycle_policy(type="retention", name=name)


@pytest.mark.parametrize("rule", [
    {}, {"MinIndexRetention": "23h"}, {"MinIndexRetention": "9999d"}, {"MinIndexRetention": "month"},
    {"MinIndexRetention": "30d", "NoMinIndexRetention": True},
])
def test_lifecycle_policies_that_say_nothing_sensible(make, rule):
    api = make.aws.client("opensearchserverless")
    policy = json.dumps({"Rules": [{"ResourceType": "index", "Resource": ["index/a/*"], **rule}]})
    with pytest.raises(api.exceptions.ValidationException):
        api.create_lifecycle_policy(type="retention", name=make.name("keep"), policy=policy)


# --- other emulators: a real OpenSearch behind it, and a reset -----------------------------------------------------------


@pytest.fixture
def opensearch():
    """Something that answers like an OpenSearch with a password, and notes what it was asked."""
    asked = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.command, self.path, body, {name.lower(): value for name, value in self.headers.items()}))
            exists = self.command != "HEAD" or "/there" in self.path
            answer = b"" if self.command == "HEAD" else b'{"real": 1.50}'
            self.send_response(200 if exists else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_HEAD = do_PUT = do_POST

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.asked, server.url = asked, f"http://me:p%40ss@localhost:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def elsewhere(tmp_path, opensearch, monkeypatch):
    """An emulator of its own, whose collections are that OpenSearch, as its user's environment says."""
    monkeypatch.setenv("OPENSEARCH_URL", opensearch.url)
    with Emulator(folder=tmp_path) as emulator:
        yield emulator


def test_a_real_opensearch_takes_the_engines_place_and_a_reset_forgets_all(elsewhere, opensearch):
    make = Maker(elsewhere)
    collection = Collection(make)
    assert collection("POST", "/logs/_search?size=1", {"a": 1}) == (200, {"real": 1.50})
    [(method, path, body, headers)] = opensearch.asked
    assert (method, path, body) == ("POST", "/logs/_search?size=1", b'{"a": 1}')
    assert headers["authorization"] == "Basic bWU6cEBzcw==" and headers["content-type"] == "application/json"
    assert not [name for name in headers if name.startswith("x-amz-")] and "aoss" not in headers["host"]

    role, keys = session(make, ("aoss:APIAccessAll", collection.arn))
    assert refused(collection("GET", "/logs/_search", keys=keys))
    collection.allow(role, "WriteDocument")
    assert collection("POST", "/there/_doc", {}, keys=keys)[0] == 200
    assert refused(collection("POST", "/elsewhere/_doc", {}, keys=keys)), "it does not exist there, and may not be created"

    function = make.function("import os\ndef handler(event, context):\n    return dict(os.environ)\n")
    seen = json.load(elsewhere.client("lambda").invoke(FunctionName=function)["Payload"])
    assert "AWS_REGION" in seen and "OPENSEARCH_URL" not in seen, "functions see no password"

    opensearch.shutdown()
    opensearch.server_close()
    assert collection("GET", "/logs/_search")[0] == 503

    api = collection.api
    policy = json.dumps({"Rules": [{"ResourceType": "index", "Resource": ["index/a/*"], "NoMinIndexRetention": True}]})
    api.create_lifecycle_policy(type="retention", name="keep", policy=policy)
    elsewhere.client("logs").put_query_definition(name="q", queryString="fields @message")
    elsewhere.reset()
    assert api.list_lifecycle_policies(type="retention")["lifecyclePolicySummaries"] == []
    assert elsewhere.client("logs").describe_query_definitions()["queryDefinitions"] == []
    assert collection("GET", "/_search")[0] == 404
