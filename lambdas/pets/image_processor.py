"""Image processor, called by the state machine: checks an image, has it analysed, decides what it shows (P2, P4, P9)."""

import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from ..common import aws, log
from . import classification, contract, environment, images, metrics, recognition
from .images import Refused
from .records import Begun, NotOurs, Records, Run
from .uploads import MAX_KEY_BYTES, Upload, timestamp

_MAX_REASON_CHARACTERS = 1_000


class _Job(NamedTuple):
    """What every action is given."""

    event: dict[str, Any]
    settings: environment.ProcessorEnvironment
    records: Records

    @property
    def execution(self) -> str:
        return self.event["execution"]

    @property
    def run(self) -> Run:
        return Run(Upload.from_payload(self.event["object"]), timestamp(self.event["time"]), self.execution)


@log.failures
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """An action of ``contract`` → its result. An exception is an outage or a bug: try again."""
    settings = environment.processor()
    action = _ACTIONS.get(event.get("action", ""))
    if action is None:
        raise ValueError(f"the image processor knows no action {event.get('action')!r}")
    known = {name: event[name] for name in ("image_id", "execution") if name in event}
    log.start(context, action=event["action"], **known, **event.get("object", {}))
    result = action(_Job(event, settings, Records(aws.client("dynamodb"), settings.table_name)))
    log.info("done", **{key: len(value) if isinstance(value, list) else value for key, value in result.items()})
    return result


# --- analyse ---------------------------------------------------------------------------------------------------------


def _analyse(job: _Job) -> dict[str, Any]:
    image_id, begun = job.records.begin(job.run, job.settings.record_retention_days)
    log.add(image_id=image_id)
    if begun is Begun.DUPLICATE:
        return {"outcome": "duplicate", "image_id": image_id}
    try:
        _check(job, image_id)
        labels = _labels(job)
    except Refused as refusal:
        return {"outcome": "refused", "image_id": image_id, "code": refusal.code, "reason": refusal.reason}
    return {"outcome": "analysed", "image_id": image_id, "labels": labels}


def _check(job: _Job, image_id: str) -> None:
    """Read the version once, record what it is, and refuse what it should not be."""
    upload, limit = job.run.upload, job.settings.max_image_bytes
    if not upload.can_be_filed:
        raise Refused("key_too_long", f"its name is too long: with its folder it may have {MAX_KEY_BYTES:,} bytes at most")
    try:
        answer = aws.client("s3").get_object(Bucket=upload.bucket, Key=upload.key, VersionId=upload.version_id)
    except ClientError as error:
        if aws.error_code(error) in aws.VERSION_GONE:
            raise Refused("gone", "the file was deleted before it could be analysed: upload it again") from None
        raise
    with answer["Body"] as body:
        known = {contract.FILE_SIZE: answer["ContentLength"]}
        try:
            images.check_size(answer["ContentLength"], limit)
            facts = images.check(body.read())
            known[contract.FORMAT] = facts.format
        finally:
            job.records.describe(image_id, job.execution, **known)
    log.info("checked", size=answer["ContentLength"], format=facts.format, width=facts.width, height=facts.height)


def _labels(job: _Job) -> list[dict[str, Any]]:
    client = aws.client("rekognition", recognition.ATTEMPTS, recognition.READ_SECONDS)
    start = time.perf_counter()
    labels = recognition.detect_labels(client, job.run.upload, job.settings.confidence_threshold)
    metrics.latency(job.settings.metrics_namespace, (time.perf_counter() - start) * 1000)
    return labels


# --- classify --------------------------------------------------------------------------------------------------------


def _classify(job: _Job) -> dict[str, Any]:
    decision = classification.decide(job.event["labels"], job.settings.confidence_threshold)
    if job.records.classified(job.event["image_id"], job.execution, decision):
        metrics.classified(job.settings.metrics_namespace, decision)
    return {
        "animal": decision.animal, "confidence": decision.confidence, "status": decision.status, "folder": decision.folder,
    }


# --- give up ---------------------------------------------------------------------------------------------------------


def _give_up(job: _Job) -> dict[str, Any]:
    """Also for an execution of which this function has never heard, since no call of it succeeded."""
    reason = _reason(job.event.get("error"), job.event.get("cause"))
    failure = {contract.FAILURE_CODE: contract.PROCESSING_FAILED, contract.FAILURE_REASON: reason}
    image_id, begun = job.records.begin(job.run, job.settings.record_retention_days, contract.FAILED, **failure)
    log.add(image_id=image_id)
    recorded = begun is Begun.NEW
    if begun is Begun.RESUMED:
        try:
            job.records.failed(image_id, job.execution, contract.PROCESSING_FAILED, reason)
            recorded = True
        except NotOurs:
            log.info("finished before")
    return {"image_id": image_id, "recorded": recorded}


def _reason(error: Any, cause: Any) -> str:
    """What an operator can read: Lambda's cause is JSON, with the message somewhere between the type and the traceback."""
    message = cause if isinstance(cause, str) else ""
    try:
        message = json.loads(message)["errorMessage"]
    except (ValueError, KeyError, TypeError, RecursionError):
        pass  # the words of Step Functions itself
    reason = ": ".join(str(part) for part in (error, message) if part) or "the execution was ended without a reason"
    return reason if len(reason) <= _MAX_REASON_CHARACTERS else reason[: _MAX_REASON_CHARACTERS - 1] + "…"


_ACTIONS: dict[str, Callable[[_Job], dict[str, Any]]] = {"analyse": _analyse, "classify": _classify, "give_up": _give_up}
