"""The services that the pet detector's functions call, in memory, and how the functions are called in tests."""

import io
import json
import re
from types import SimpleNamespace

from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from lambdas.pets import contract, image_api, image_processor

BUCKET, TABLE = "pets-bucket", "DetectionLogs"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:uncertain"
ENVIRONMENT = {
    contract.ENV_BUCKET_NAME: BUCKET,
    contract.ENV_TABLE_NAME: TABLE,
    contract.ENV_TOPIC_ARN: TOPIC,
    contract.ENV_METRICS_NAMESPACE: "PetDetector",
    contract.ENV_CONFIDENCE_THRESHOLD: "80",
    contract.ENV_MAX_IMAGE_BYTES: "15000000",
    contract.ENV_RECORD_RETENTION_DAYS: "30",
    contract.ENV_LINK_SECONDS: "900",
    contract.ENV_ALLOWED_ORIGIN: "https://pets.example",
    "AWS_ACCESS_KEY_ID": "AKID",
    "AWS_SECRET_ACCESS_KEY": "the-secret-key",
    "AWS_DEFAULT_REGION": "eu-west-1",
}
CONTEXT = SimpleNamespace(function_name="pets", aws_request_id="request-1")
ID, OTHER_ID = "6f1c2f6e-6d1b-4b57-9a3c-2f0f0f6f9d11", "0d0d0d0d-6d1b-4b57-9a3c-2f0f0f6f9d11"
KEY = f"input/{ID}/dog123.jpg"
TIME = "2025-08-04T11:42:00Z"
EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:pets:1"
OTHER_EXECUTION = EXECUTION[:-1] + "2"


def client_error(code, status=400, operation="Operation"):
    return ClientError({"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)


class Fake:
    """Calls are named in order; what stands in ``before`` and ``after`` happens (or is raised) once, at the next such call. What
    is raised after the act is a lost answer."""

    def __init__(self):
        self.calls: list[str] = []
        self.before: dict[str, list] = {}
        self.after: dict[str, list] = {}

    def hook(self, moment, operation, action):
        getattr(self, moment).setdefault(operation, []).append(action)

    def __getattr__(self, operation):
        act = getattr(type(self), f"_{operation}", None)
        if act is None:
            raise AttributeError(operation)

        def call(**arguments):
            self.calls.append(operation)
            self._run(self.before, operation)
            answer = act(self, **arguments)
            self._run(self.after, operation)
            return answer

        return call

    @staticmethod
    def _run(hooks, operation):
        if hooks.get(operation):
            action = hooks[operation].pop(0)
            if isinstance(action, Exception):
                raise action
            action()


class FakeDynamoDb(Fake):
    """One table; understands the conditions that the functions use: comparisons and ``attribute_not_exists``, joined by AND."""

    def __init__(self):
        super().__init__()
        self.items: dict[str, dict] = {}

    def add(self, **item):
        self.items[item[contract.IMAGE_ID]] = {
            name: {"S": value} if isinstance(value, str) else {"N": str(value)} for name, value in item.items()
        }

    def record(self, image_id):
        """A record's attributes as texts."""
        return {name: value.get("S", value.get("N")) for name, value in self.items[image_id].items()}

    def _holds(self, item, expression, names, values):
        for part in expression.split(" AND "):
            if absent := re.fullmatch(r"attribute_not_exists\((\w+)\)", part):
                if absent[1] in item:
                    return False
                continue
            name, operator, value = part.split(" ")
            assert name.lower() not in ("timestamp", "status"), "a reserved word"
            name = names[name] if name.startswith("#") else name
            found = item.get(name)
            holds = found is not None and (found == values[value] if operator == "=" else found["S"] <= values[value]["S"])
            if not holds:
                return False
        return True

    def _get_item(self, TableName, Key, ConsistentRead):
        assert TableName == TABLE and ConsistentRead
        item = self.items.get(Key[contract.IMAGE_ID]["S"])
        return {"Item": dict(item)} if item else {}

    def _put_item(self, TableName, Item, ConditionExpression, ExpressionAttributeValues=None):
        assert TableName == TABLE
        image_id = Item[contract.IMAGE_ID]["S"]
        if not self._holds(self.items.get(image_id, {}), ConditionExpression, {}, ExpressionAttributeValues):
            raise client_error("ConditionalCheckFailedException")
        self.items[image_id] = dict(Item)

    def _update_item(
        self, TableName, Key, UpdateExpression, ConditionExpression, ExpressionAttributeNames, ExpressionAttributeValues,
        ReturnValues,
    ):  # fmt: skip
        assert TableName == TABLE and ReturnValues == "UPDATED_OLD"
        item = self.items.get(Key[contract.IMAGE_ID]["S"], {})
        if not self._holds(item, ConditionExpression, ExpressionAttributeNames, ExpressionAttributeValues):
            raise client_error("ConditionalCheckFailedException")
        old = {}
        for part in UpdateExpression.removeprefix("SET ").split(", "):
            name, value = part.split(" = ")
            if ExpressionAttributeNames[name] in item:
                old[ExpressionAttributeNames[name]] = item[ExpressionAttributeNames[name]]
            item[ExpressionAttributeNames[name]] = ExpressionAttributeValues[value]
        return {"Attributes": old} if old else {}

    page = 1_000_000  # items of one answer at most, as DynamoDB's 1 MB would have it

    def _query(
        self, TableName, IndexName, KeyConditionExpression, ExpressionAttributeValues, ScanIndexForward, Limit,
        ExclusiveStartKey=None, ExpressionAttributeNames=None,
    ):  # fmt: skip
        assert (TableName, IndexName, ScanIndexForward) == (TABLE, contract.INDEX, False)
        values = json.loads(json.dumps(ExpressionAttributeValues))
        condition = KeyConditionExpression
        used = set(re.findall(r":\w+", condition)), set(re.findall(r"#\w+", condition))
        assert (set(values), set(ExpressionAttributeNames or {})) == used  # DynamoDB refuses what is not used
        found = [item for item in self.items.values() if self._holds(item, condition, ExpressionAttributeNames, values)]

        def order(item):
            return item[contract.TIMESTAMP]["S"], item[contract.IMAGE_ID]["S"]

        found.sort(key=order, reverse=True)
        if ExclusiveStartKey:
            assert set(ExclusiveStartKey) == {contract.IMAGE_ID, contract.ANIMAL, contract.TIMESTAMP}
            found = [item for item in found if order(item) < order(ExclusiveStartKey)]
        answer = found[: min(Limit, self.page)]
        last = {}
        if len(answer) == min(Limit, self.page):  # also if nothing follows
            keys = (contract.IMAGE_ID, contract.ANIMAL, contract.TIMESTAMP)
            last = {"LastEvaluatedKey": {name: answer[-1][name] for name in keys}}
        return {"Items": answer, **last}


class FakeS3(Fake):
    """A versioned bucket with S3's conditional writes."""

    def __init__(self):
        super().__init__()
        self.versions: dict[str, list[dict]] = {}  # the current one last; a delete marker has no Body
        self._number = 0

    def add(self, key, body, ContentType="binary/octet-stream", Metadata=None):
        self._number += 1
        version = {
            "VersionId": f"v{self._number}", "Body": body, "ETag": f'"e{self._number}"', "ContentType": ContentType,
            "Metadata": Metadata or {}, "ContentLength": len(body or b""),
        }  # fmt: skip
        self.versions.setdefault(key, []).append(version)
        return version["VersionId"]

    def current(self, key):
        versions = self.versions.get(key)
        return versions[-1] if versions and versions[-1]["Body"] is not None else None

    def keys(self):
        return sorted(key for key in self.versions if self.current(key))

    def _find(self, Key, VersionId=None):
        if VersionId is None:
            if not (found := self.current(Key)):
                raise client_error("404")
            return found
        for version in self.versions.get(Key, ()):
            if version["VersionId"] == VersionId:
                return version
        raise client_error("NoSuchVersion")

    def _head_object(self, Bucket, **which):
        assert Bucket == BUCKET
        return {name: value for name, value in self._find(**which).items() if name != "Body"}

    def _get_object(self, Bucket, Key, VersionId):
        assert Bucket == BUCKET
        found = self._find(Key, VersionId)
        return {**found, "Body": StreamingBody(io.BytesIO(found["Body"]), len(found["Body"]))}

    def _put_object(self, Bucket, Key, Body, ContentType, IfNoneMatch):
        assert Bucket == BUCKET and IfNoneMatch == "*"
        if self.current(Key):
            raise client_error("PreconditionFailed")
        self.add(Key, Body, ContentType)

    def _copy_object(self, Bucket, Key, CopySource, MetadataDirective, Metadata, ContentType, TaggingDirective):
        assert Bucket == CopySource["Bucket"] == BUCKET
        assert MetadataDirective == TaggingDirective == "REPLACE"
        body = self._find(CopySource["Key"], CopySource["VersionId"])["Body"]
        return {"VersionId": self.add(Key, body, ContentType, Metadata)}

    def _delete_object(self, Bucket, Key, IfMatch):
        assert Bucket == BUCKET
        if not (current := self.current(Key)):
            raise client_error("NoSuchKey")
        if current["ETag"] != IfMatch:
            raise client_error("PreconditionFailed")
        self.add(Key, None)


class FakeRekognition(Fake):
    """Sees the same in every picture."""

    def __init__(self):
        super().__init__()
        self.labels: list[dict] = []
        self.requests: list[dict] = []

    def sees(self, **confidences):
        self.labels = [
            {"Name": name, "Confidence": confidence, "Parents": [{"Name": "Animal"}]} for name, confidence in confidences.items()
        ]

    def _detect_labels(self, **arguments):
        self.requests.append(arguments)
        return {"Labels": self.labels}


class FakeSns(Fake):
    def __init__(self):
        super().__init__()
        self.messages: list[dict] = []

    def _publish(self, **message):
        self.messages.append(message)
        return {"MessageId": "m1"}


# --- calls -----------------------------------------------------------------------------------------------------------


def process(action, **payload):
    return image_processor.handler({"action": action, "execution": EXECUTION, **payload}, CONTEXT)


def stored(aws, body, key=KEY, **attributes):
    """Upload → contract's object."""
    return {"bucket": BUCKET, "key": key, "version_id": aws.s3.add(key, body, **attributes)}


def request(method, path, body=None, query=None, **headers):
    """A call of the API → status, parsed body, headers."""
    headers = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    event = {
        "httpMethod": method,
        "path": path,
        "resource": path,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {name: values[-1] for name, values in query.items()} if query else None,
        "multiValueQueryStringParameters": query,
        "body": body if body is None or isinstance(body, str) else json.dumps(body),
        "isBase64Encoded": False,
        "requestContext": {"requestId": "api-request-1", "stage": "v1", "path": "/v1" + path},
    }
    return answer(event)


def answer(event):
    response = image_api.handler(event, CONTEXT)
    found = {name: values[0] for name, values in response["multiValueHeaders"].items()}
    return response["statusCode"], json.loads(response["body"] or "null"), found
