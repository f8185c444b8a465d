"""The table DetectionLogs (P5): one record per uploaded version of an image, written under conditions, read for the API.

A record belongs to the execution that has begun it. Nothing that this execution did not begin is ever touched for it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

from botocore.exceptions import ClientError

from ..common import aws
from . import contract
from .classification import Decision
from .listing import Position
from .uploads import Upload

_ATTEMPTS = 5
_SECONDS_PER_DAY = 24 * 3600


class Begun(Enum):
    """What came of an attempt to begin a record."""

    NEW = "new"
    RESUMED = "resumed"  # by an earlier attempt of this execution
    DUPLICATE = "duplicate"  # by another execution, for this same version


class NotOurs(Exception):
    """The record is not, or no longer, one that this execution may change."""


class RecordConflict(Exception):
    """Others kept changing the records that this version could have. Nothing is broken: try again."""


@dataclass(frozen=True)
class Run:
    """One execution of the state machine for one uploaded version; ``timestamp`` as ``uploads.timestamp`` gives it."""

    upload: Upload
    timestamp: str
    execution: str


class Records:
    """The table, for one call of a function."""

    def __init__(self, dynamodb: Any, table_name: str):
        self._dynamodb = dynamodb
        self._table = table_name

    # --- writing

    def begin(self, run: Run, retention_days: int, status: str = contract.PROCESSING, **other: Any) -> tuple[str, Begun]:
        """Make this run's record; returns its image id. Raises RecordConflict after too many races.

        The id is the promised one, if the API promised one for the key, unless another version uses it already. A version
        whose processing failed makes way: the id lives on with the replay, or with the corrected upload.
        """
        upload = run.upload
        values = {
            contract.TIMESTAMP: run.timestamp,
            contract.STATUS: status,
            contract.SOURCE_KEY: upload.key,
            contract.SOURCE_VERSION: upload.version_id,
            contract.EXECUTION: run.execution,
            contract.EXPIRES_AT: int(time.time()) + retention_days * _SECONDS_PER_DAY,
            **other,
        }
        for _ in range(_ATTEMPTS):
            image_id = upload.promised_id or upload.derived_id
            existing = self.get(image_id)
            if existing and existing.get(contract.REPLACED_VERSION) == upload.version_id:
                return image_id, Begun.DUPLICATE  # a late event about an attempt that is over
            if existing and not _is_of(existing, upload) and existing[contract.STATUS] != contract.FAILED:
                image_id = upload.derived_id
                existing = self.get(image_id)
            if existing and _is_of(existing, upload):
                return image_id, Begun.RESUMED if existing[contract.EXECUTION] == run.execution else Begun.DUPLICATE
            replaced = {contract.REPLACED_VERSION: existing[contract.SOURCE_VERSION]} if existing else {}
            if self._put({contract.IMAGE_ID: image_id, **values, **replaced}, replacing=existing):
                return image_id, Begun.NEW
        raise RecordConflict(f"others keep changing the record of {upload.key}; trying again will help")

    def describe(self, image_id: str, execution: str, **values: Any) -> None:
        """Add to the record of a running execution. Raises NotOurs."""
        self._update(image_id, execution, values)

    def classified(self, image_id: str, execution: str, decision: Decision) -> bool:
        """Record a decision; returns whether this is the first time, so that it is counted once. Raises NotOurs."""
        values = {contract.ANIMAL: decision.animal, contract.CONFIDENCE: decision.confidence}
        return contract.ANIMAL not in self._update(image_id, execution, values)

    def failed(self, image_id: str, execution: str, code: str, reason: str) -> None:
        """Raises NotOurs, also if the record is finished already."""
        values = {contract.STATUS: contract.FAILED, contract.FAILURE_CODE: code, contract.FAILURE_REASON: reason}
        self._update(image_id, execution, values)

    def _put(self, item: dict[str, Any], replacing: Mapping[str, Any] | None) -> bool:
        """Write a whole record if there is none, or in the place of a failed one as it was read; False if that is not so."""
        condition: dict[str, Any] = {"ConditionExpression": f"attribute_not_exists({contract.IMAGE_ID})"}
        if replacing:
            condition = {
                "ConditionExpression": f"{contract.SOURCE_VERSION} = :version AND {contract.STATUS} = :failed",
                "ExpressionAttributeValues": _typed(
                    {":version": replacing[contract.SOURCE_VERSION], ":failed": contract.FAILED}
                ),
            }
        try:
            self._dynamodb.put_item(TableName=self._table, Item=_typed(item), **condition)
        except ClientError as error:
            if aws.error_code(error) == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _update(self, image_id: str, execution: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Set attributes of a record that this execution processes; returns what they were before. Raises NotOurs."""
        names = {f"#{number}": name for number, name in enumerate(values)}
        arguments = {f":{number}": value for number, value in enumerate(values.values())}
        try:
            answer = self._dynamodb.update_item(
                TableName=self._table,
                Key=_typed({contract.IMAGE_ID: image_id}),
                UpdateExpression="SET " + ", ".join(f"#{number} = :{number}" for number in range(len(values))),
                ConditionExpression=f"{contract.EXECUTION} = :execution AND {contract.STATUS} = :processing",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=_typed(
                    {**arguments, ":execution": execution, ":processing": contract.PROCESSING}
                ),
                ReturnValues="UPDATED_OLD",
            )
        except ClientError as error:
            if aws.error_code(error) == "ConditionalCheckFailedException":
                raise NotOurs(f"the record {image_id} is not being processed by {execution}") from None
            raise
        return _plain(answer.get("Attributes", {}))

    # --- reading

    def get(self, image_id: str) -> dict[str, Any] | None:
        answer = self._dynamodb.get_item(
            TableName=self._table, Key=_typed({contract.IMAGE_ID: image_id}), ConsistentRead=True
        )
        return _plain(answer["Item"]) if "Item" in answer else None

    def newest(self, animal: str, position: Position, limit: int) -> list[dict[str, Any]]:
        """At most ``limit`` records of an animal, newest first, from a position on."""
        condition, values = f"{contract.ANIMAL} = :animal", {":animal": animal}
        start: dict[str, Any] = {}
        if position.image_id:
            key = {contract.ANIMAL: animal, contract.TIMESTAMP: position.timestamp, contract.IMAGE_ID: position.image_id}
            start = {"ExclusiveStartKey": _typed(key)}
        else:
            condition += " AND #time <= :time"
            values[":time"] = position.timestamp
            start = {"ExpressionAttributeNames": {"#time": contract.TIMESTAMP}}  # a reserved word
        found: list[dict[str, Any]] = []
        while len(found) < limit:
            answer = self._dynamodb.query(
                TableName=self._table,
                IndexName=contract.INDEX,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=_typed(values),
                ScanIndexForward=False,
                Limit=limit - len(found),
                **start,
            )
            found += map(_plain, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                break
            start["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        return found


def _is_of(record: Mapping[str, Any], upload: Upload) -> bool:
    return record[contract.SOURCE_VERSION] == upload.version_id and record[contract.SOURCE_KEY] == upload.key


# --- DynamoDB's way of writing values --------------------------------------------------------------------------------


def _typed(values: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    return {name: {"S": value} if isinstance(value, str) else {"N": str(value)} for name, value in values.items()}


def _plain(item: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Texts and numbers; what else an operator may have added to a record is left out."""
    plain: dict[str, Any] = {}
    for name, value in item.items():
        if "S" in value:
            plain[name] = value["S"]
        elif "N" in value:
            number = Decimal(value["N"])
            plain[name] = int(number) if number == number.to_integral_value() else float(number)
    return plain
