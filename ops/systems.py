"""What the four systems consist of, under the names that an environment gives them, and how to ask each of them.

As in ``regions.py``, names come from the environment's suffix and few settings, never from Terraform's state. Only the account's
number has to be asked for, since it stands in ARNs and in one bucket's name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from lambdas.etl import contract as etl
from lambdas.metadata import contract as metadata
from lambdas.pets import contract as pets
from ops import regions
from ops.regions import PATIENT, Aws, Names, OpsError, Region, chosen, new_session
from settings import INGESTION_REGIONS, PET_REGION, CommonSettings, PetSettings, TapSettings, name_of_part

NAMES = ("etl", "metadata", "pets", "ingestion")


@dataclass(frozen=True)
class Queue:
    """A dead-letter queue, and where its messages belong."""

    base: str
    """Its name in ``prod``."""
    name: str
    of: str
    """The function or state machine that takes a message once more; empty if nothing does."""
    how: str
    """``invoke`` the function, ``start`` the machine, ``resume`` the file at the processor; else what a person does instead."""
    fault: Callable[[Any], str]
    """Why a message, parsed, cannot be one of this queue's; empty if it can."""

    @property
    def is_replayed(self) -> bool:
        return bool(self.of)


@dataclass(frozen=True)
class System:
    """One of the systems, in one region."""

    name: str
    aws: Aws
    account: str
    partition: str
    bucket: str
    table: str
    pipeline: str
    """Of the state machine; empty where there is none, as of the next one."""
    recovery: str
    functions: tuple[str, ...]
    queues: tuple[Queue, ...]
    alarms: tuple[str, ...]

    @property
    def region(self) -> str:
        return self.aws.name

    @property
    def title(self) -> str:
        return f"{self.name} ({self.region})"

    def machine_arn(self, name: str) -> str:
        return f"arn:{self.partition}:states:{self.region}:{self.account}:stateMachine:{name}"

    def execution_arn(self, machine: str, name: str) -> str:
        return f"arn:{self.partition}:states:{self.region}:{self.account}:execution:{machine}:{name}"

    @property
    def patient(self) -> Aws:
        """The same region, for what takes a while to answer."""
        return Aws(self.region, self.aws.session, PATIENT)

    def ask(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        return self.aws.ask(service, operation, **arguments)

    def find(self, service: str, operation: str, **arguments: Any) -> dict[str, Any] | None:
        return self.aws.find(service, operation, **arguments)

    def is_deployed(self) -> bool:
        return self.find("dynamodb", "describe_table", TableName=self.table) is not None


class Estate:
    """All systems of one environment in one account."""

    def __init__(self, tap: TapSettings, pet: PetSettings, names: Names, session: Any) -> None:
        """Raises OpsError without credentials."""
        self.suffix = tap.environment_suffix
        aws = {region: Aws(region, session) for region in (tap.aws_region, PET_REGION)}
        who = aws[tap.aws_region].ask("sts", "get_caller_identity")
        self.account = who["Account"]
        self.regions = {name: Region(name, names, session) for name in INGESTION_REGIONS}
        of = _Builder(self.account, who["Arn"].split(":")[1])
        self.systems: tuple[System, ...] = (
            of.etl(tap, aws[tap.aws_region]),
            of.metadata(tap, aws[tap.aws_region]),
            of.pets(pet, aws[PET_REGION]),
            *(of.ingestion(region) for region in self.regions.values()),
        )

    @staticmethod
    def read(suffix: str | None = None, session: Any = None) -> Estate:
        """Of the environment that ``suffix``, the environment variables or ``cdktf.json`` name, in that order. Raises
        SettingsError, and OpsError without credentials."""
        fields = ("environment_suffix", "aws_region", "etl_bucket_name", "metadata_bucket_name")
        tap = TapSettings.of(None, **chosen(fields, suffix))
        pet = PetSettings.of(None, **chosen(("environment_suffix", "pet_bucket_name"), suffix))
        return Estate(tap, pet, Names.read(suffix), session or new_session())

    def of(self, *names: str) -> list[System]:
        """Those called so; all if none is named."""
        return [system for system in self.systems if not names or system.name in names]

    def deployed(self, name: str) -> System:
        """The one of this name (not the ingestion, which is two). Raises OpsError if it is not there."""
        (system,) = self.of(name)
        if not system.is_deployed():
            raise OpsError(f"{system.title} is not deployed under the suffix {self.suffix} in the account {self.account}.\n"
                           "Remedy: --suffix, AWS_PROFILE or AWS_REGION of where it is.")
        return system


class _Builder:
    """Names each part as its stack does; a test compares."""

    def __init__(self, account: str, partition: str) -> None:
        self._account, self._partition = account, partition

    def etl(self, settings: TapSettings, aws: Aws) -> System:
        bucket = settings.etl_bucket_name or f"{settings.name('etl-pipeline', 50)}-{self._account}"
        pipeline, recovery = "etl-pipeline", "etl-recovery"
        functions = ("etl-validation", "etl-transformation", "etl-sweep")
        return self._system("etl", settings, aws, bucket, "etl-file-metadata", pipeline, recovery, functions, [
            ("etl-validation-dlq", "etl-validation", "invoke", _of_bucket(bucket, etl.RAW)),
            ("etl-transformation-dlq", "", BY_HAND, _nothing),
            ("etl-sweep-dlq", "etl-sweep", "invoke", _beat),
            ("etl-not-succeeded-dlq", recovery, "start", self._not_succeeded(settings, aws, pipeline)),
        ])

    def metadata(self, settings: TapSettings, aws: Aws) -> System:
        bucket = settings.metadata_bucket_name or settings.name("iac-rlhf-aws-release", 63)
        pipeline, recovery = "metadata-pipeline", "metadata-recovery"
        queues = [
            ("metadata-created-dlq", pipeline, "start", _created(bucket, is_metadata)),
            ("metadata-not-succeeded-dlq", recovery, "start", self._not_succeeded(settings, aws, pipeline)),
            ("metadata-indexing-dlq", "", BY_HAND, _nothing),
        ]
        return self._system("metadata", settings, aws, bucket, "metadata-processing-failures", pipeline, recovery,
                            ("metadata-indexing",), queues)

    def pets(self, settings: PetSettings, aws: Aws) -> System:
        name = "serverlessapp-pet-detector"
        bucket = settings.pet_bucket_name or settings.name(name, 63)
        functions = tuple(
            f"serverlessapp-{each}" for each in ("image-api", "image-processor", "file-manager", "notification-service"))
        recovery = "serverlessapp-pet-recovery"
        queues = [
            ("serverlessapp-pet-uploaded-dlq", name, "start", _created(bucket, lambda key: key.startswith(pets.INPUT))),
            ("serverlessapp-pet-not-succeeded-dlq", recovery, "start", self._not_succeeded(settings, aws, name)),
            *((f"{function}-dlq", "", BY_HAND, _nothing) for function in functions),
        ]
        return self._system("pets", settings, aws, bucket, "serverlessapp-DetectionLogs", name, recovery, functions, queues,
                            PET_ALARMS)

    def ingestion(self, region: Region) -> System:
        settings = regions.IngestionSettings.of(None, environment_suffix=region.names.suffix)
        consumer, heartbeat = regions.CONSUMER, regions.HEARTBEAT
        queues = [
            (regions.DEAD_LETTERS, regions.PROCESSOR, "resume", _of_bucket(region.bucket)),
            (name_of_part(consumer, "dlq"), "", BY_HAND, _nothing),
            (name_of_part(consumer, "stream-dlq"), "", IN_THE_STREAM, _nothing),
            (name_of_part(heartbeat, "dlq"), heartbeat, "invoke", _beat),
        ]
        functions = (regions.PROCESSOR, consumer, heartbeat)
        return self._system("ingestion", settings, region, region.bucket, regions.TABLE, "", "", functions, queues,
                            ("serverless-data-processor-duration-prod", regions.LAG_ALARM))

    def _system(
        self, name: str, settings: CommonSettings, aws: Aws, bucket: str, table: str, pipeline: str, recovery: str,
        functions: tuple[str, ...], queues: list[tuple[str, str, str, Callable[[Any], str]]], more_alarms: tuple[str, ...] = (),
    ) -> System:
        alarms = [
            *(name_of_part(function, "error-rate") for function in functions if function != "metadata-indexing"),
            *(name_of_part(machine, "executions-failed") for machine in (pipeline, recovery) if machine),
            *(name_of_part(base, "not-empty") for base, *_ in queues),
            *more_alarms,
        ]
        return System(
            name, aws, self._account, self._partition, bucket, settings.name(table, 255), settings.name(pipeline, 80) if pipeline
            else "", settings.name(recovery, 80) if recovery else "", tuple(settings.name(each) for each in functions),
            tuple(Queue(base, settings.name(base, 80), of and settings.name(of, 64 if how == "invoke" else 80), how, fault)
                  for base, of, how, fault in queues),
            tuple(settings.name(alarm, 255) for alarm in alarms),
        )

    def _not_succeeded(self, settings: CommonSettings, aws: Aws, pipeline: str) -> Callable[[Any], str]:
        name = settings.name(pipeline, 80)
        machine = f"arn:{self._partition}:states:{aws.name}:{self._account}:stateMachine:{name}"

        def fault(message: Any) -> str:
            detail = message.get("detail")
            if message.get("source") != "aws.states" or not isinstance(detail, dict):
                return "it is no status change of an execution"
            return "" if detail.get("stateMachineArn") == machine else f"it is of another machine than {name}"

        return fault


BY_HAND = "nobody invokes that function so: somebody did by hand; read it, then delete it"

IN_THE_STREAM = "it names a place in the stream: correct the code, then read the item from the table (docs/runbook.md)"

PET_ALARMS = (
    "serverlessapp-pet-api-errors",
    "serverlessapp-pet-api-latency",
    "serverlessapp-pet-api-refused",
    "serverlessapp-pet-api-blocked",
    "serverlessapp-image-api-live-failing",
    "serverlessapp-trail-denied-calls",
    "serverlessapp-trail-iam-changes",
    "serverlessapp-trail-bucket-policy-changes",
    "serverlessapp-trail-root-use",
)


# --- what a message must be ------------------------------------------------------------------------------------------


def is_metadata(key: str) -> bool:
    """Whether the metadata pipeline takes an object of this name (M2)."""
    return key.rpartition("/")[2] == metadata.OBJECT_NAME


def _nothing(message: Any) -> str:
    return ""


def _of_bucket(bucket: str, prefix: str = "") -> Callable[[Any], str]:
    """S3's own events, as functions get them: keys are form-encoded."""

    def fault(message: Any) -> str:
        try:
            objects = [(record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"]), record["eventSource"])
                       for record in message["Records"]]
        except (KeyError, TypeError):
            return "it is no event of S3"
        if not objects or any(source != "aws:s3" for *_, source in objects):
            return "it is no event of S3"
        strange = [f"{where}/{key}" for where, key, _ in objects if where != bucket or not key.startswith(prefix)]
        return f"it is about {strange[0]}, not about s3://{bucket}/{prefix}" if strange else ""

    return fault


def _created(bucket: str, takes: Callable[[str], bool]) -> Callable[[Any], str]:
    """EventBridge's event of a new object: keys are not encoded."""

    def fault(message: Any) -> str:
        try:
            where, key = message["detail"]["bucket"]["name"], message["detail"]["object"]["key"]
        except (KeyError, TypeError):
            where, key = "", ""
        if message.get("source") != "aws.s3" or message.get("detail-type") != "Object Created" or not isinstance(key, str):
            return "it is no event of a created object"
        return "" if where == bucket and takes(key) else f"it is about {where}/{key}, which that rule does not match"

    return fault


def _beat(message: Any) -> str:
    return "" if message.get("detail-type") == "Scheduled Event" else "it is no beat of a schedule"


def parse(body: str) -> dict[str, Any] | None:
    """A message's JSON object; None if it is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
