"""A state machine's executions as its users see them: which there are, what happened in each, waiting for their end.

`Etl`, `Metadata` and `Pets` are pipelines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from boto3.dynamodb.types import TypeDeserializer

from local.emulator import Emulator

WAIT_SECONDS = 180
POLL_SECONDS = 0.2

T = TypeVar("T")


class PipelineTimeout(Exception):
    """What was waited for did not happen in time; the message says what is there instead."""


@dataclass(frozen=True)
class StateRun:
    """One state that an execution went through."""

    name: str
    kind: str
    """`Task`, `Choice`, `Succeed`, …"""
    entered: datetime
    seconds: float
    failed: bool
    """Whether an attempt in it failed, though a retry or a catch may have helped."""


@dataclass(frozen=True)
class Execution:
    """One execution of a state machine."""

    arn: str
    status: str
    started: datetime
    seconds: float
    states: tuple[StateRun, ...]
    error: str | None = None
    input: str = "{}"


class Pipeline:
    """A deployed state machine."""

    def __init__(self, aws: Emulator, machine_arn: str):
        self.aws = aws
        self.machine_arn = machine_arn

    def executions(self, status: str | None = None) -> list[dict]:
        """Executions of the machine, as ListExecutions tells them."""
        pages = self.aws.client("stepfunctions").get_paginator("list_executions").paginate(
            stateMachineArn=self.machine_arn, **({"statusFilter": status} if status else {}))
        return [each for page in pages for each in page["executions"]]

    def wait_until_idle(self, seconds: float = WAIT_SECONDS) -> None:
        """Wait until no execution runs. Raises PipelineTimeout."""
        wait_for(lambda: not self.executions("RUNNING"), seconds,
                 lambda: f"still running: {[each['name'] for each in self.executions('RUNNING')]}")

    def execution(self, arn: str) -> Execution:
        """What happened in one execution, state by state."""
        states = self.aws.client("stepfunctions")
        told = states.describe_execution(executionArn=arn)
        pages = states.get_paginator("get_execution_history").paginate(executionArn=arn)
        runs, entered, failed = [], None, False
        for event in (event for page in pages for event in page["events"]):
            kind = event["type"]
            if kind.endswith("StateEntered"):
                entered, failed = event, False
            elif kind.endswith(("TaskFailed", "TaskTimedOut", "LambdaFunctionFailed")):
                failed = True
            elif (kind.endswith("StateExited") or kind.startswith("Execution")) and entered:
                runs.append(StateRun(
                    entered["stateEnteredEventDetails"]["name"], entered["type"].removesuffix("StateEntered"),
                    entered["timestamp"], (event["timestamp"] - entered["timestamp"]).total_seconds(), failed))
                entered = None
        stopped = told.get("stopDate") or datetime.now(told["startDate"].tzinfo)
        return Execution(arn, told["status"], told["startDate"], (stopped - told["startDate"]).total_seconds(), tuple(runs),
                         told.get("error"), told["input"])


def wait_for(found: Callable[[], T | None], seconds: float, instead: Callable[[], str]) -> T:
    """What `found()` gives, as soon as that is true. Raises PipelineTimeout, which says what is there `instead`."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        if time.monotonic() > deadline:
            raise PipelineTimeout(f"after {seconds} s {instead()}")
        time.sleep(POLL_SECONDS)
    return result


def plain(item: Mapping) -> dict:
    """A DynamoDB item of texts and numbers as plain values."""
    decoded = {name: TypeDeserializer().deserialize(value) for name, value in item.items()}
    return {name: value if isinstance(value, str) else int(value) if value == int(value) else float(value)
            for name, value in decoded.items()}


def items(aws: Emulator, table: str, region: str | None = None) -> list[dict]:
    """Every item of a DynamoDB table, as a region has them; default: the emulator's own."""
    pages = aws.client("dynamodb", region).get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [plain(item) for page in pages for item in page["Items"]]
