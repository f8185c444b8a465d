"""Validation Lambda. Called by S3 it claims uploads; called by the state machine it judges, moves and announces (E3, E5c)."""

import re
import shlex
from typing import Any
from urllib.parse import unquote_plus

from ..common import log
from . import claims, contract, environment, header, storage
from .files import File, is_folder_marker

_MAX_REASON_CHARACTERS = 4_000  # in a message; SNS takes 256 KiB
_CONSOLES = {"aws": "console.aws.amazon.com", "aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}


# What a reader does not see as it is: control characters, line ends above all, and those that turn the direction of text. In a
# file's name they could forge lines of a notice, with a command for the reader to paste.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class ClaimFailed(Exception):
    """Some of an event's records could not be claimed; the message names each. Claiming the others again does no harm."""


@log.failures
def handler(event: dict[str, Any], context: Any) -> dict[str, Any] | None:
    """An S3 event, or one of the actions in ``contract``. An exception is an outage or a bug: try again."""
    settings = environment.validation()
    if "Records" in event:
        _claim_each(event["Records"], settings)
        return None
    if event.get("Event") == "s3:TestEvent":  # S3 sends one when the notification is set up
        log.info("test event ignored")
        return None
    if event.get("action") not in _ACTIONS:
        raise ValueError(f"the validation function knows no action {event.get('action')!r}")
    file = File.from_payload(event["file"])
    log.start(context, action=event["action"], file_name=file.file_name, version_id=file.version_id)
    result = _ACTIONS[event["action"]](file, event, settings)
    log.info("done", **result)
    return result


# --- called by S3 ----------------------------------------------------------------------------------------------------


def _claim_each(records: list[dict[str, Any]], settings: environment.ValidationEnvironment) -> None:
    """One bad record does not stop the others."""
    failures = []
    for number, record in enumerate(records, start=1):
        try:
            _claim(record, settings)
        except Exception as error:  # named, logged, and raised below
            log.error("an upload could not be claimed", record=record)
            failures.append(f"record {number} ({_encoded_key(record)}): {error!r}")
    if failures:
        raise ClaimFailed("; ".join(failures))


def _encoded_key(record: Any) -> str:
    try:
        return repr(record["s3"]["object"]["key"])
    except (KeyError, TypeError):
        return "without a key"


def _claim(record: dict[str, Any], settings: environment.ValidationEnvironment) -> None:
    """Start the state machine under a name that only this upload has: the claim (E3a)."""
    bucket, uploaded = record["s3"]["bucket"]["name"], record["s3"]["object"]
    key = unquote_plus(uploaded["key"], errors="strict")
    if is_folder_marker(key, uploaded.get("size", 0)):
        log.info("folder marker ignored", key=key)
        return
    if not key.startswith(contract.RAW) or key == contract.RAW:
        raise ValueError(f"not a file below {contract.RAW}")
    if uploaded.get("versionId", "null") == "null":
        raise ValueError("the event has no version id: the bucket must be versioned")
    claims.claim(
        settings.state_machine_arn,
        File(
            bucket=bucket,
            key=key,
            file_name=key.removeprefix(contract.RAW),
            version_id=uploaded["versionId"],
            sequencer=uploaded["sequencer"],
            size=uploaded.get("size", 0),  # S3 leaves it out of events for empty objects
        ),
    )


# --- called by the state machine -------------------------------------------------------------------------------------


def _validate(file: File, _: dict[str, Any], settings: environment.ValidationEnvironment) -> dict[str, Any]:
    fault = file.name_fault()
    if not fault and file.size > settings.max_file_bytes:
        fault = (
            f"the file has {file.size} bytes; at most {settings.max_file_bytes} are converted:"
            " split it, or raise the limit"
        )
    if fault:
        return {"valid": False, "reason": fault}
    head = storage.read(storage.client("s3"), file, 0, header.HEAD_BYTES)
    try:
        header.read(head, complete=file.size <= header.HEAD_BYTES)
    except header.InvalidFile as reason:
        return {"valid": False, "reason": str(reason)}
    return {"valid": True}


def _set_aside(file: File, event: dict[str, Any], _: Any) -> dict[str, Any]:
    """The error path: a conversion may still be running, which must not publish what is being set aside."""
    if "execution_name" in event and not file.name_fault():  # no conversion runs for a faulty name
        storage.withdraw(storage.client("s3"), file, event["execution_name"])
    return _move(file)


def _move(file: File) -> dict[str, Any]:
    failed_key = storage.set_aside(storage.client("s3"), file)
    return {"failed_key": failed_key} if failed_key else {}


def _reject(file: File, event: dict[str, Any], settings: environment.ValidationEnvironment) -> dict[str, Any]:
    result = _move(file)
    storage.client("sns").publish(
        TopicArn=settings.failure_topic_arn,
        Subject=contract.SUBJECT_INVALID,
        Message=_announcement(file, event["reason"], event["execution_arn"], result.get("failed_key"), settings.suffix),
    )
    return result


def _announcement(file: File, reason: str, execution_arn: str, failed_key: str | None, suffix: str) -> str:
    """What the person who gets this at night needs."""
    if len(reason) > _MAX_REASON_CHARACTERS:
        reason = reason[: _MAX_REASON_CHARACTERS - 1] + "…"
    _, partition, _, region, *_ = execution_arn.split(":")
    console = f"https://{region}.{_CONSOLES.get(partition, _CONSOLES['aws'])}"
    replay = []
    if failed_key and not _UNSEEN.search(file.key):
        replay = [f"Replay:    python -m ops replay files {shlex.quote(failed_key)} --suffix {suffix}"]
    lines = (
        f"File:      {file.file_name}",
        f"Reason:    {reason}",
        f"Bucket:    {file.bucket}",
        f"Key:       {file.key}",
        f"Version:   {file.version_id}",
        f"It is now: {failed_key or file.key}",
        f"Execution: {console}/states/home?region={region}#/v2/executions/details/{execution_arn}",
        *replay,
    )
    return "\n".join(_UNSEEN.sub("?", line) for line in lines)


_ACTIONS = {
    contract.ACTION_VALIDATE: _validate,
    contract.ACTION_REJECT: _reject,
    contract.ACTION_SET_ASIDE: _set_aside,
}
