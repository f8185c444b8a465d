"""The systems of an environment in memory, as far as status, replay and explain ask for them."""

import io
import json
import re
from datetime import timedelta

from rich.console import Console

from ops.looking import plain_item
from ops.regions import Names
from ops.systems import Estate
from settings import IngestionSettings, PetSettings, TapSettings
from tests.unit.ops.fakes import NOW, refusal

ACCOUNT = "111122223333"
BUCKET = f"etl-pipeline-{ACCOUNT}"
PIPELINE = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:etl-pipeline"


class Aws:
    """Everything in every region; also the session that gives its clients."""

    def __init__(self):
        self.calls = []  # (region, operation, arguments)
        self.faults = {}  # operation, or (region, operation): exception
        self.tables = {}  # (region, table): [item as plain texts]
        self.absent = set()  # tables
        self.objects = {}  # (bucket, key): [{"VersionId", "Size", "LastModified"}], oldest first
        self.hidden = set()  # (bucket, key) with a delete marker
        self.executions = {}  # arn: {"status", "input"}
        self.queues = {}  # (region, queue): {message id: body}
        self.ringing = set()
        self.function_error = ""

    def client(self, service, region_name, config):
        return Client(self, region_name)

    def estate(self):
        return Estate(TapSettings(), PetSettings(), Names.of(IngestionSettings()), self)

    def operations(self, *wanted):
        return [operation for _, operation, _ in self.calls if operation in wanted]

    # --- what there is ---

    def record(self, file_name, status="SUCCEEDED", *, ago=timedelta(hours=1), version="v1", **more):
        start = (NOW - ago).isoformat(timespec="microseconds").replace("+00:00", "Z")
        arn = PIPELINE.replace("stateMachine", "execution") + f":{file_name}-{version}"
        item = {"file_name": file_name, "process_start_time": start, "status": status, "version_id": version,
                "execution_arn": arn, **more}
        self.tables.setdefault(("us-east-1", "etl-file-metadata"), []).append(item)
        return item

    def store(self, key, *, bucket=BUCKET, version="v1", ago=timedelta(hours=1), size=100):
        found = self.objects.setdefault((bucket, key), [])
        found.append({"VersionId": version, "Size": size, "LastModified": NOW - ago})
        self.hidden.discard((bucket, key))

    def letter(self, queue, message, region="us-east-1"):
        waiting = self.queues.setdefault((region, queue), {})
        id_ = f"m{len(waiting)}"
        waiting[id_] = message if isinstance(message, str) else json.dumps(message)
        return id_


class Client:
    def __init__(self, aws, region):
        self.aws, self.region = aws, region

    def __getattr__(self, operation):
        def ask(**arguments):
            self.aws.calls.append((self.region, operation, arguments))
            for key in (operation, (self.region, operation)):
                if key in self.aws.faults:
                    raise self.aws.faults[key]
            return getattr(self, f"_{operation}")(**arguments)

        return ask

    def _get_caller_identity(self):
        return {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/o"}

    def _describe_table(self, TableName):
        if TableName in self.aws.absent:
            raise refusal("ResourceNotFoundException")
        return {}

    def _describe_alarms(self, AlarmNames):
        return {"MetricAlarms": [
            {"AlarmName": each, "StateValue": "ALARM" if each in self.aws.ringing else "OK"} for each in AlarmNames]}

    # --- DynamoDB ---

    def _items(self, table):
        return self.aws.tables.get((self.region, table), [])

    def _query(self, TableName, ExpressionAttributeValues, ScanIndexForward, Limit, IndexName="", **_):
        values = plain_item(ExpressionAttributeValues)
        if IndexName:
            found = [each for each in self._items(TableName)
                     if each["status"] == values[":s"] and each["process_start_time"] >= values.get(":t", "")]
        else:
            found = [each for each in self._items(TableName) if each["file_name"] == values[":f"]]
        found.sort(key=lambda each: each["process_start_time"], reverse=not ScanIndexForward)
        return {"Items": [typed(each) for each in found[:Limit]]}

    def _scan(self, TableName, **_):
        return {"Items": [typed(each) for each in self._items(TableName)]}

    def _get_item(self, TableName, Key, **_):
        wanted = plain_item(Key)
        found = [each for each in self._items(TableName) if all(each.get(name) == value for name, value in wanted.items())]
        return {"Item": typed(found[0])} if found else {}

    def _batch_get_item(self, RequestItems):
        [(table, wanted)] = RequestItems.items()
        names = {key["recordId"]["S"] for key in wanted["Keys"]}
        return {"Responses": {table: [
            {"recordId": {"S": each["recordId"]}, "offset": {"N": "1"}, "done": {"S": each["done"]}}
            for each in self._items(table) if each.get("recordId") in names]}}

    # --- S3 ---

    def _list_objects_v2(self, Bucket, Prefix):
        now = [(key, versions[-1]) for (bucket, key), versions in sorted(self.aws.objects.items())
               if bucket == Bucket and key.startswith(Prefix) and (bucket, key) not in self.aws.hidden]
        return {"Contents": [{"Key": key, "Size": each["Size"], "LastModified": each["LastModified"]} for key, each in now]}

    def _list_object_versions(self, Bucket, Prefix="", MaxKeys=1000):
        found = [
            {"Key": key, "IsLatest": number == 0 and (bucket, key) not in self.aws.hidden, **each}
            for (bucket, key), versions in sorted(self.aws.objects.items())
            if bucket == Bucket and key.startswith(Prefix)
            for number, each in enumerate(reversed(versions))
        ]
        return {"Versions": found[:MaxKeys]}

    def _copy(self, CopySource, Bucket, Key, Callback, **_):
        assert any(each["VersionId"] == CopySource["VersionId"] for each in self.aws.objects[Bucket, CopySource["Key"]])
        Callback(100)
        version = f"copy{len(self.aws.calls)}"
        self.aws.store(Key, version=version)
        self.aws.record(Key.removeprefix("raw/"), version=version, ago=timedelta())

    # --- Step Functions, Lambda ---

    def _list_executions(self, stateMachineArn, statusFilter, maxResults):
        machine = stateMachineArn.replace("stateMachine", "execution")
        return {"executions": [
            {"executionArn": arn, "startDate": NOW - timedelta(minutes=1)} for arn, each in self.aws.executions.items()
            if arn.startswith(f"{machine}:") and each["status"] == statusFilter]}

    def _describe_execution(self, executionArn):
        if executionArn not in self.aws.executions:
            raise refusal("ExecutionDoesNotExist")
        return self.aws.executions[executionArn]

    def _start_execution(self, stateMachineArn, name, input):
        arn = f"{stateMachineArn.replace('stateMachine', 'execution')}:{name}"
        if arn in self.aws.executions:
            raise refusal("ExecutionAlreadyExists")
        self.aws.executions[arn] = {"status": "SUCCEEDED", "input": input}
        return {"executionArn": arn}

    def _invoke(self, FunctionName, InvocationType, Payload):
        error = {"FunctionError": "Unhandled"} if self.aws.function_error else {}
        return {"StatusCode": 200, "Payload": io.BytesIO(self.aws.function_error.encode()), **error}

    # --- SQS ---

    def _get_queue_url(self, QueueName):
        return {"QueueUrl": QueueName}

    def _get_queue_attributes(self, QueueUrl, AttributeNames):
        return {"Attributes": {AttributeNames[0]: str(len(self.aws.queues.get((self.region, QueueUrl), {})))}}

    def _receive_message(self, QueueUrl, **_):
        waiting = self.aws.queues.get((self.region, QueueUrl), {})
        return {"Messages": [{"MessageId": id_, "ReceiptHandle": id_, "Body": body} for id_, body in waiting.items()]}

    def _change_message_visibility(self, QueueUrl, ReceiptHandle, VisibilityTimeout):
        return {}

    def _delete_message(self, QueueUrl, ReceiptHandle):
        del self.aws.queues[self.region, QueueUrl][ReceiptHandle]


def typed(item):
    return {name: {"S": value} if isinstance(value, str) else {"N": str(value)} for name, value in item.items()}


class Screen(Console):
    """Keeps what is said."""

    def __init__(self):
        super().__init__(file=io.StringIO(), width=500)

    @property
    def told(self):
        return re.sub(r" +", " ", self.file.getvalue())


def s3_event(key, bucket=BUCKET):
    return {"Records": [{"eventSource": "aws:s3", "s3": {"bucket": {"name": bucket}, "object": {"key": key, "versionId": "v"}}}]}


