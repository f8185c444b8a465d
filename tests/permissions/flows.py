"""The smallest piece of work that needs each permission. Nothing but the flow itself is at work: no notification, no rule.

A flow does its work as the deployed function or machine does it and returns what went wrong, in the words of whom it went wrong
for; nothing if all is well. It names the permissions without which it must fail.
"""

from __future__ import annotations

import base64
import itertools
import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lambdas.pets import contract as pet_contract
from local.deployment import LOCAL_SETTINGS
from local.emulator import Emulator
from local.etl import Etl
from local.executions import wait_for
from local.ingestion import Ingestion
from local.metadata import Metadata
from local.pets import Pets
from settings import INGESTION_REGIONS
from tests.local.etl.files import large, rows
from tests.local.pets.conftest import picture
from tests.permissions.rights import Permission

SUFFIX = LOCAL_SETTINGS["ENVIRONMENT_SUFFIX"]
NOW = "2026-01-31T23:59:59Z"


class World:
    """The deployed systems, and how their parts are called one by one."""

    def __init__(self, aws: Emulator, outputs: Mapping[str, Mapping[str, str]]):
        self.aws = aws
        self.etl, self.metadata = Etl(aws, outputs["tap"]), Metadata(aws, outputs["tap"])
        self.pets, self.ingestion = Pets(aws, outputs["pet-detector"]), Ingestion(aws, outputs["ingestion"])
        self.s3 = aws.client("s3")

    def call(self, function: str, payload: Any, region: str | None = None) -> tuple[Any, str]:
        """What a function answers (None if it fails), and what it says beside: its error and its log."""
        answer = self.aws.client("lambda", region).invoke(
            FunctionName=f"{function}-{SUFFIX}", Payload=json.dumps(payload), LogType="Tail")
        body, log = answer["Payload"].read().decode(), base64.b64decode(answer.get("LogResult", "")).decode()
        return (None if "FunctionError" in answer else json.loads(body or "null")), body + log

    def run(self, machine: str, given: Any) -> tuple[str, str]:
        """How an execution ends, and what failed on its way."""
        states = self.aws.client("stepfunctions")
        arn = self.etl.machine_arn.rpartition(":")[0] + f":{machine}-{SUFFIX}"
        execution = states.start_execution(stateMachineArn=arn, input=json.dumps(given))["executionArn"]

        def ended() -> dict | None:
            found = states.describe_execution(executionArn=execution)
            return found if found["status"] != "RUNNING" else None

        told = wait_for(ended, 120, lambda: f"{execution} runs on")
        pages = states.get_paginator("get_execution_history").paginate(executionArn=execution)
        failed = [event for page in pages for event in page["events"] if "Failed" in event["type"]]
        return told["status"], json.dumps(failed, default=str)

    # --- what flows begin with

    def raw(self, body: bytes) -> dict:
        """A file under raw/, as the ETL's payloads name it."""
        name = f"{uuid.uuid4()}.csv"
        version = self.etl.upload(name, body)
        return {"bucket": self.etl.bucket, "key": f"raw/{name}", "file_name": name, "version_id": version,
                "sequencer": f"{time.time_ns():016X}", "size": len(body)}

    def release(self, key: str, body: bytes = b'{"a": 1}') -> dict:
        """The event of a metadata.json."""
        return created(self.metadata.bucket, key, self.metadata.upload(key, body), len(body))

    def image(self, body: bytes | None = None) -> dict:
        """A picture under input/, as the pet detector's payloads name it."""
        dropped = self.pets.drop(f"{uuid.uuid4()}.png", picture(Dog=99) if body is None else body)
        return {"bucket": self.pets.bucket, "key": dropped.key, "version_id": dropped.version}

    def recorded(self, folder: str) -> str:
        """The id of an image that is filed in this folder and recorded."""
        image_id, key = str(uuid.uuid4()), f"{folder}{uuid.uuid4()}.png"
        version = self.s3.put_object(Bucket=self.pets.bucket, Key=key, Body=b"a picture")["VersionId"]
        texts = {
            pet_contract.IMAGE_ID: image_id, pet_contract.STATUS: pet_contract.COMPLETED, pet_contract.ANIMAL: "cat",
            pet_contract.TIMESTAMP: NOW, pet_contract.SOURCE_KEY: "input/x.png", pet_contract.SOURCE_VERSION: "v",
            pet_contract.LOCATION: f"s3://{self.pets.bucket}/{key}", pet_contract.LOCATION_VERSION: version,
        }  # fmt: skip
        self.aws.client("dynamodb").put_item(TableName=self.pets.table, Item={name: {"S": text} for name, text in texts.items()})
        return image_id


def created(bucket: str, key: str, version: str, size: int) -> dict:
    """What EventBridge tells of a new object."""
    return {"time": NOW, "detail": {"bucket": {"name": bucket}, "object": {"key": key, "version-id": version, "size": size}}}


def aborted(given: Mapping[str, Any]) -> dict:
    """What EventBridge tells of an execution that was stopped before it did anything."""
    arn = f"arn:aws:states:us-east-1:000000000000:execution:somebody:{uuid.uuid4()}"
    return {"detail": {"executionArn": arn, "status": "ABORTED", "stopDate": time.time_ns() // 10**6, "input": json.dumps(given)}}


class Flow(NamedTuple):
    name: str
    proves: tuple[Permission, ...]
    run: Callable[[World], str]


FLOWS: list[Flow] = []
Work = Callable[[World], str]


def proves(role: str, *permissions: str) -> Callable[[Work], Work]:
    """The flow below fails without any of these permissions (`action on`) of the role."""
    def note(run: Work) -> Work:
        FLOWS.append(Flow(f"{role}: {run.__name__}", tuple(Permission(role, *each.split(" ", 1)) for each in permissions), run))
        return run

    return note


def unless(well: bool, trouble: str) -> str:
    return "" if well else trouble or "otherwise than it must"


# --- ETL: validation -------------------------------------------------------------------------------------------------

ANNOUNCE = ("kms:Decrypt key", "kms:GenerateDataKey key")


@proves("etl-validation", "states:StartExecution stateMachine:etl-pipeline")
def claim(world: World) -> str:
    file = world.raw(rows(1))
    uploaded = {"key": file["key"], "versionId": file["version_id"], "sequencer": file["sequencer"], "size": file["size"]}
    _, said = world.call("etl-validation", {"Records": [{"s3": {"bucket": {"name": file["bucket"]}, "object": uploaded}}]})
    return unless("ClaimFailed" not in said, said)


@proves("etl-validation", "s3:GetObjectVersion raw/*")
def validate(world: World) -> str:
    answer, said = world.call("etl-validation", {"action": "validate", "file": world.raw(rows(1))})
    return unless(answer == {"valid": True}, said)


@proves("etl-validation", "s3:PutObject failed/*", "s3:GetObject raw/*", "s3:DeleteObject raw/*", "sns:Publish etl-failures",
        *ANNOUNCE)
def reject(world: World) -> str:
    file = world.raw(b"")
    given = {"action": "reject", "file": file, "reason": "it is empty", "execution_arn": world.etl.machine_arn}
    answer, said = world.call("etl-validation", given)
    return unless(answer == {"failed_key": f"failed/{file['file_name']}"} and not world.etl.keys(file["key"]), said)


@proves("etl-validation", "s3:ListBucket bucket")
def set_aside_what_is_gone_from_raw(world: World) -> str:
    file = world.raw(rows(1))
    world.s3.delete_object(Bucket=file["bucket"], Key=file["key"])
    answer, said = world.call("etl-validation", {"action": "set_aside", "file": file, "execution_name": "x"})
    return unless(answer is not None, said)


# --- ETL: transformation ---------------------------------------------------------------------------------------------


def conversion(file: Mapping[str, Any]) -> dict:
    return {"action": "convert", "file": file, "execution_name": "x", "range": {"index": 0, "start": 0, "end": file["size"]}}


@proves("etl-transformation", "s3:GetObjectVersion raw/*", "s3:GetObject processed/*", "s3:PutObject processed/*",
        "s3:GetObject raw/*", "s3:DeleteObject raw/*", "s3:ListBucket bucket")
def convert(world: World) -> str:
    file = world.raw(rows(1))
    answer, said = world.call("etl-transformation", conversion(file))
    return unless(answer is not None and answer["valid"] and not world.etl.keys(file["key"]), said)


@proves("etl-transformation", "s3:PutObject failed/*.rejects/*")
def keep_rejects(world: World) -> str:
    answer, said = world.call("etl-transformation", conversion(world.raw(rows(2, bad=1))))
    return unless(answer is not None and answer["rows_rejected"] == 1, said)


@proves("etl-transformation", "s3:AbortMultipartUpload processed/*")
def abandon(world: World) -> str:
    file = world.raw(rows(1))
    place = {"Bucket": file["bucket"], "Key": f"processed/{file['file_name']}"}
    upload = world.s3.create_multipart_upload(**place)["UploadId"]
    _, said = world.call("etl-transformation", {"action": "abandon", "file": file, "execution_name": "x", "upload_id": upload})
    return unless(not world.s3.list_multipart_uploads(Bucket=file["bucket"], Prefix=place["Key"]).get("Uploads"), said)


# --- ETL: state machines ---------------------------------------------------------------------------------------------

_times = itertools.count()


def claimed(file: Mapping[str, Any]) -> dict:
    """What an execution of the pipeline is given."""
    return {"file": file, "process_start_time": f"2026-01-31T23:59:59.{next(_times):06d}Z"}


@proves("etl-pipeline", "lambda:InvokeFunction function:etl-validation", "lambda:InvokeFunction function:etl-transformation",
        "dynamodb:PutItem table/etl-file-metadata", "dynamodb:UpdateItem table/etl-file-metadata")
def process(world: World) -> str:
    status, failed = world.run("etl-pipeline", claimed(world.raw(rows(1))))
    return unless(status == "SUCCEEDED" and failed == "[]", failed)


@proves("etl-pipeline", "sns:Publish etl-failures", *ANNOUNCE)
def announce_rejects(world: World) -> str:
    status, failed = world.run("etl-pipeline", claimed(world.raw(rows(200, bad=1))))
    return unless(status == "SUCCEEDED" and failed == "[]", failed)


@proves("etl-pipeline", "states:StartExecution stateMachine:etl-pipeline")
def fan_out(world: World) -> str:
    status, failed = world.run("etl-pipeline", claimed(world.raw(large(129))))
    return unless(status == "SUCCEEDED" and failed == "[]", failed)


@proves("etl-recovery", "lambda:InvokeFunction function:etl-validation", "dynamodb:UpdateItem table/etl-file-metadata",
        "sns:Publish etl-failures", *ANNOUNCE)
def recover_file(world: World) -> str:
    status, failed = world.run("etl-recovery", aborted(claimed(world.raw(rows(1)))))
    return unless(status == "SUCCEEDED" and failed == "[]", failed)


# --- ETL: sweep ------------------------------------------------------------------------------------------------------


def swept(world: World) -> str:
    """The sweep looks at what is older than the last whole second."""
    time.sleep(1)
    answer, said = world.call("etl-sweep", {"older_than_seconds": 0})
    return unless(answer is not None, said)


def stuck(world: World, **more: str) -> None:
    """A record in PROCESSING whose execution nobody knows."""
    record = {"file_name": f"{uuid.uuid4()}.csv", "process_start_time": "2026-01-31T23:59:59.000000Z", "status": "PROCESSING",
              "version_id": "v", "execution_arn": execution("etl-pipeline", world), **more}
    world.aws.client("dynamodb").put_item(TableName=world.etl.table, Item={name: {"S": text} for name, text in record.items()})


def execution(machine: str, world: World) -> str:
    """The ARN of an execution that never was."""
    machines = world.etl.machine_arn.rpartition(":")[0]
    return f"{machines.replace(':stateMachine', ':execution')}:{machine}-{SUFFIX}:{uuid.uuid4()}"


@proves("etl-sweep", "s3:ListBucket bucket", "s3:GetObject raw/*", "dynamodb:Query table/etl-file-metadata",
        "states:StartExecution stateMachine:etl-pipeline")
def sweep_objects(world: World) -> str:
    world.raw(rows(1))
    return swept(world)


@proves("etl-sweep", "dynamodb:Query table/etl-file-metadata/index/status-index",
        "states:StartExecution stateMachine:etl-recovery", "states:DescribeExecution execution:etl-pipeline:*")
def sweep_records(world: World) -> str:
    stuck(world)
    return swept(world)


@proves("etl-sweep", "states:DescribeExecution execution:etl-recovery:*")
def sweep_recoveries(world: World) -> str:
    stuck(world, recovered_by=execution("etl-recovery", world))
    return swept(world)


# --- metadata --------------------------------------------------------------------------------------------------------


@proves("metadata-pipeline", "s3:GetObjectVersion metadata.json", "lambda:InvokeFunction function:metadata-indexing")
def index_metadata_at_the_top(world: World) -> str:
    return unless(*indexed(world, "metadata.json"))


@proves("metadata-pipeline", "s3:GetObjectVersion */metadata.json")
def index_metadata_in_a_folder(world: World) -> str:
    return unless(*indexed(world, f"{uuid.uuid4()}/metadata.json"))


def indexed(world: World, key: str) -> tuple[bool, str]:
    status, failed = world.run("metadata-pipeline", world.release(key))
    return status == "SUCCEEDED", failed


@proves("metadata-pipeline", "dynamodb:PutItem table/metadata-processing-failures")
def record_bad_metadata(world: World) -> str:
    key = f"{uuid.uuid4()}/metadata.json"
    _, failed = world.run("metadata-pipeline", world.release(key, b"[]"))
    return unless(len(world.metadata.failures_of(key)) == 1, failed)


@proves("metadata-indexing", "aoss:APIAccessAll collection")
def index(world: World) -> str:
    body, key = '{"a": 1}', f"{uuid.uuid4()}/metadata.json"
    answer, said = world.call("metadata-indexing", {
        "body": body, "content_length": len(body), "etag": "", "timestamp": NOW, "execution_id": "x",
        "object": {"bucket": world.metadata.bucket, "key": key, "version_id": "v"}})
    return unless(answer is not None and answer["indexed"], said)


@proves("metadata-recovery", "dynamodb:Query table/metadata-processing-failures",
        "dynamodb:PutItem table/metadata-processing-failures")
def recover_metadata(world: World) -> str:
    status, failed = world.run("metadata-recovery", aborted(created(world.metadata.bucket, "metadata.json", "v", 1)))
    return unless(status == "SUCCEEDED", failed)


# --- pets: functions -------------------------------------------------------------------------------------------------


def ask(world: World, method: str, path: str, body: Any = None) -> tuple[int, Any, str]:
    """Status and body of the API's answer, and what its function says beside."""
    headers = {"content-type": "application/json"}
    answer, said = world.call("serverlessapp-image-api", {
        "httpMethod": method, "path": path, "resource": path, "headers": headers, "isBase64Encoded": False,
        "multiValueHeaders": {name: [value] for name, value in headers.items()}, "queryStringParameters": None,
        "multiValueQueryStringParameters": None, "body": body and json.dumps(body),
        "requestContext": {"requestId": "x", "stage": "x", "path": path}})
    return (answer or {}).get("statusCode", 0), json.loads((answer or {}).get("body") or "null"), said


@proves("serverlessapp-image-api", "s3:PutObject input/*")
def upload_inline(world: World) -> str:
    image = base64.b64encode(picture(Dog=99)).decode()
    status, _, said = ask(world, "POST", "/upload", {"filename": "x.png", "content_type": "image/png", "image": image})
    return unless(status == 201, said)


@proves("serverlessapp-image-api", "dynamodb:GetItem table/serverlessapp-DetectionLogs")
def show_image(world: World) -> str:
    status, _, said = ask(world, "GET", f"/images/{world.recorded(pet_contract.CATS)}")
    return unless(status == 200, said)


@proves("serverlessapp-image-api", "dynamodb:Query table/serverlessapp-DetectionLogs/index/animal-time-index")
def list_images(world: World) -> str:
    status, _, said = ask(world, "GET", "/images")
    return unless(status == 200, said)


def download_from(folder: str) -> None:
    @proves("serverlessapp-image-api", f"s3:GetObjectVersion {folder}*")
    def download(world: World) -> str:
        _, image, _ = ask(world, "GET", f"/images/{world.recorded(folder)}")
        answer = world.pets.fetch(image["download"]["url"])
        return unless(answer.status == 200, str(answer.body))


def file_into(folder: str) -> None:
    @proves("serverlessapp-file-manager", f"s3:GetObject {folder}*", f"s3:PutObject {folder}*")
    def file(world: World) -> str:
        answer, said = world.call("serverlessapp-file-manager", {"image_id": "x", "object": world.image(), "folder": folder})
        return unless(answer is not None, said)


for each_folder in pet_contract.FOLDERS.values():
    download_from(each_folder)
    file_into(each_folder)


@proves("serverlessapp-file-manager", "s3:ListBucket bucket", "s3:GetObjectVersion input/*", "s3:GetObject input/*",
        "s3:DeleteObject input/*")
def take_out_of_input(world: World) -> str:
    image = world.image()
    given = {"image_id": "x", "object": image, "folder": pet_contract.DOGS}
    _, said = world.call("serverlessapp-file-manager", given)
    return unless(not world.pets.keys(image["key"]), said)


@proves("serverlessapp-image-processor", "s3:GetObjectVersion input/*", "rekognition:DetectLabels *",
        "dynamodb:GetItem table/serverlessapp-DetectionLogs", "dynamodb:PutItem table/serverlessapp-DetectionLogs",
        "dynamodb:UpdateItem table/serverlessapp-DetectionLogs")
def analyse(world: World) -> str:
    given = {"action": "analyse", "object": world.image(), "time": NOW, "execution": str(uuid.uuid4())}
    answer, said = world.call("serverlessapp-image-processor", given)
    return unless(answer is not None and answer["outcome"] == "analysed", said)


@proves("serverlessapp-notification-service", "sns:Publish serverlessapp-pet-alerts", *ANNOUNCE)
def alert(world: World) -> str:
    image = {"bucket": world.pets.bucket, "key": "input/x.png", "version_id": "v"}
    given = {"image_id": "x", "object": image, "animal": "cat", "confidence": 50, "location": "s3://x"}
    answer, said = world.call("serverlessapp-notification-service", given)
    return unless(answer is not None, said)


# --- pets: state machines --------------------------------------------------------------------------------------------


def seen(world: World) -> dict:
    """The event of a picture that is uncertain."""
    image = world.image(picture(Cat=50))
    return created(image["bucket"], image["key"], image["version_id"], 1)


@proves("serverlessapp-pet-detector", *(f"lambda:InvokeFunction function:serverlessapp-{function}" for function in (
        "image-processor", "file-manager", "notification-service")), "dynamodb:UpdateItem table/serverlessapp-DetectionLogs")
def detect(world: World) -> str:
    status, failed = world.run("serverlessapp-pet-detector", seen(world))
    return unless(status == "SUCCEEDED", failed)


@proves("serverlessapp-pet-recovery", "lambda:InvokeFunction function:serverlessapp-image-processor")
def recover_image(world: World) -> str:
    status, failed = world.run("serverlessapp-pet-recovery", aborted(seen(world)))
    return unless(status == "SUCCEEDED", failed)


# --- ingestion -------------------------------------------------------------------------------------------------------


def ingestion_in(region: str) -> None:
    @proves(f"serverless-data-processor-{region}", "s3:GetObjectVersion *", "dynamodb:GetItem table/serverless-processed-data",
            "dynamodb:PutItem table/serverless-processed-data")
    def store(world: World) -> str:
        record = {"recordId": str(uuid.uuid4()), "timestamp": NOW}
        file = world.ingestion.upload(region, f"{uuid.uuid4()}.json", json.dumps(record).encode())
        answer, said = world.call("serverless-data-processor", world.ingestion.event(file), region)
        return unless(answer is not None and answer["files"][0]["recordsStored"] == 1, said)

    @proves(f"serverless-replication-heartbeat-{region}", "dynamodb:GetItem table/serverless-processed-data",
            "dynamodb:PutItem table/serverless-processed-data")
    def beat(world: World) -> str:
        _, said = world.call("serverless-replication-heartbeat", {}, region)
        return unless("errorMessage" not in said, said)


for each_region in INGESTION_REGIONS:
    ingestion_in(each_region)
