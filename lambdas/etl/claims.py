"""The claim of an upload (E3a): the start of the state machine under a name that only this upload has."""

import json
from dataclasses import asdict
from datetime import UTC, datetime

from ..common import log
from . import storage
from .files import File, execution_name


def claim(state_machine_arn: str, file: File) -> bool:
    """Start the state machine for an upload, once; whether this call did it, and not one before."""
    states = storage.client("stepfunctions")
    name = execution_name(file.bucket, file.version_id, file.key)
    details = {"file_name": file.file_name, "version_id": file.version_id, "execution": name}
    try:
        states.start_execution(
            stateMachineArn=state_machine_arn, name=name, input=execution_input(file, timestamp(datetime.now(UTC)))
        )
    except states.exceptions.ExecutionAlreadyExists:
        log.info("claimed before", **details)
        return False
    log.info("claimed", **details)
    return True


def execution_input(file: File, process_start_time: str) -> str:
    """``contract``'s *execution input*."""
    return json.dumps({"file": asdict(file), "process_start_time": process_start_time})


def timestamp(moment: datetime) -> str:
    """As records carry it: UTC, with microseconds (E8a)."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
