"""A pair of regions in memory, as far as the operators' commands ask for it."""

import io
import json
from datetime import UTC, datetime
from urllib.parse import unquote_plus

from botocore.exceptions import ClientError, EndpointConnectionError

from lambdas.ingestion import contract
from ops.regions import Names, Region
from settings import INGESTION_REGIONS, IngestionSettings

EAST, WEST = INGESTION_REGIONS
NAMES = Names.of(IngestionSettings())
NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
WRITES = ("put_parameter", "put_object", "invoke")


def refusal(code, status=400):
    return ClientError({"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Operation")


class World:
    """What both regions hold; healthy, with the first one active. Also the session that gives its clients."""

    def __init__(self):
        self.calls = []  # (region, operation, arguments), in their order
        self.dead = set()  # regions
        self.faults = {}  # (region, operation): exception
        self.answers = {}  # (region, operation): answer
        self.before = lambda region, operation: None
        self.parameters = {region: [json.dumps({"region": EAST, "epoch": 1})] for region in INGESTION_REGIONS}
        self.items = {region: {} for region in INGESTION_REGIONS}
        self.objects = {region: [] for region in INGESTION_REGIONS}
        self.processes = True
        for seen in INGESTION_REGIONS:
            for beating in INGESTION_REGIONS:
                self.beat(seen, beating, NOW)

    def client(self, service, region_name, config):
        return Client(self, region_name)

    def regions(self):
        return {name: Region(name, NAMES, self) for name in INGESTION_REGIONS}

    def beat(self, seen, beating, at):
        name = contract.HEARTBEAT_PREFIX + beating
        self.items[seen][name] = {contract.RECORD_ID: {"S": name}, contract.BEAT_AT: {"S": at.isoformat()}}

    def store(self, region, key, *, version=None, at=NOW, size=100):
        version = version or f"v{len(self.objects[region])}"
        self.objects[region].append({"Key": key, "VersionId": version, "Size": size, "LastModified": at, "ETag": '"e"'})
        return version

    def checkpoint(self, region, name, *, done=True, offset=0, failure=None):
        said = "true" if done else "false"
        item = {contract.RECORD_ID: {"S": name}, contract.OFFSET: {"N": str(offset)}, contract.DONE: {"S": said}}
        if failure:
            item[contract.FAILURE] = {"S": failure}
        self.items[region][name] = item

    def say(self, region, text):
        self.parameters[region].append(text if isinstance(text, str) else json.dumps({"region": text[0], "epoch": text[1]}))

    def said(self, region):
        return json.loads(self.parameters[region][-1])

    def written(self):
        return [(region, operation) for region, operation, _ in self.calls if operation in WRITES]


class Client:
    def __init__(self, world, region):
        self.world, self.region = world, region

    def __getattr__(self, operation):
        def ask(**arguments):
            world = self.world
            world.before(self.region, operation)
            world.calls.append((self.region, operation, arguments))
            if self.region in world.dead:
                raise EndpointConnectionError(endpoint_url=f"https://x.{self.region}.example")
            if fault := world.faults.get((self.region, operation)):
                raise fault
            if (self.region, operation) in world.answers:
                return world.answers[self.region, operation]
            return getattr(self, f"_{operation}")(**arguments)

        return ask

    def _get_parameter(self, Name):
        assert Name == NAMES.parameter
        return {"Parameter": {"Value": self.world.parameters[self.region][-1]}}

    def _get_parameter_history(self, Name, MaxResults, NextToken="0"):
        values = self.world.parameters[self.region]
        start = int(NextToken)
        page = [{"Version": number, "Value": value} for number, value in enumerate(values, 1)][start : start + MaxResults]
        more = {"NextToken": str(start + MaxResults)} if start + MaxResults < len(values) else {}
        return {"Parameters": page, **more}

    def _put_parameter(self, Name, Value, Type, Overwrite):
        self.world.parameters[self.region].append(Value)
        return {"Version": len(self.world.parameters[self.region])}

    def _get_function_configuration(self, FunctionName):
        return {"State": "Active", "LastUpdateStatus": "Successful"}

    def _get_function_concurrency(self, FunctionName):
        return {}

    def _list_event_source_mappings(self, FunctionName):
        return {"EventSourceMappings": [{"State": "Enabled", "UUID": "u"}]}

    def _head_bucket(self, Bucket):
        assert Bucket == NAMES.buckets[self.region]
        return {}

    def _get_bucket_versioning(self, Bucket):
        return {"Status": "Enabled"}

    def _get_bucket_notification_configuration(self, Bucket):
        return notification(self.region)

    def _describe_table(self, TableName):
        return {"Table": {"TableStatus": "ACTIVE"}}

    def _describe_alarms(self, AlarmNames):
        return {"MetricAlarms": [{"AlarmName": name, "StateValue": "OK"} for name in AlarmNames]}

    def _get_queue_url(self, QueueName):
        return {"QueueUrl": f"https://sqs/{QueueName}"}

    def _get_queue_attributes(self, QueueUrl, AttributeNames):
        return {"Attributes": {AttributeNames[0]: "0"}}

    def _get_item(self, TableName, Key, ConsistentRead):
        assert ConsistentRead
        item = self.world.items[self.region].get(Key[contract.RECORD_ID]["S"])
        return {"Item": item} if item else {}

    def _batch_get_item(self, RequestItems):
        keys = RequestItems[NAMES.table]["Keys"]
        assert len(keys) <= 100
        names = [key[contract.RECORD_ID]["S"] for key in keys]
        items = self.world.items[self.region]
        return {"Responses": {NAMES.table: [items[name] for name in names if name in items]}}

    def _put_object(self, Bucket, Key, Body):
        assert Bucket == NAMES.buckets[self.region]
        content = Body if isinstance(Body, bytes) else Body.read()
        version = self.world.store(self.region, Key, size=len(content))
        if self.world.processes:
            name = json.load(io.BytesIO(content)).get("recordId", "r")
            self.world.items[self.region][name] = {contract.RECORD_ID: {"S": name}, contract.STATUS: {"S": contract.VALID}}
        return {"VersionId": version}

    def _query(self, ExpressionAttributeValues, **_):
        item = self.world.items[self.region].get(ExpressionAttributeValues[":id"]["S"])
        return {"Items": [item] if item else []}

    def _list_object_versions(self, Bucket, KeyMarker="", VersionIdMarker=""):
        start = int(VersionIdMarker or 0)
        objects = self.world.objects[self.region]
        more = {"IsTruncated": start + 3 < len(objects), "NextKeyMarker": "k", "NextVersionIdMarker": str(start + 3)}
        return {"Versions": objects[start : start + 3], **more}

    def _invoke(self, FunctionName, InvocationType, Payload):
        from ops.resume import Upload

        assert (FunctionName, InvocationType) == (NAMES.processor, "Event")
        for record in json.loads(Payload)["Records"]:
            where, what = record["s3"]["bucket"]["name"], record["s3"]["object"]
            upload = Upload(where, unquote_plus(what["key"]), what["versionId"], what["size"], NOW)
            if self.world.processes:
                self.world.checkpoint(self.region, upload.checkpoint)
        return {"StatusCode": 202}


def notification(region, suffixes=contract.SUFFIXES, function=NAMES.processor):
    arn = f"arn:aws:lambda:{region}:111122223333:function:{function}"
    return {
        "LambdaFunctionConfigurations": [
            {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"],
             "Filter": {"Key": {"FilterRules": [{"Name": "Suffix", "Value": suffix}]}}}
            for suffix in suffixes
        ]
    }
