"""Stream consumer, called with what was written to the table in this region and, through replication, in others (R5)."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord, DynamoDBRecordEventName

from ..common import log
from . import contract, environment, metrics
from .downstream import downstream

_WRITTEN = {DynamoDBRecordEventName.INSERT, DynamoDBRecordEventName.MODIFY}


@log.failures
def handler(event: dict[str, Any], context: Any) -> Mapping[str, Any]:
    """A batch of the stream → ``batchItemFailures``, the sequence numbers of the records that failed.

    Lambda gives the batch again from the first of these on. Every record is handled in each of these attempts all the same: when
    attempts run out, what comes after the poisonous one has been handled. So downstream code, and the metric, may see a record
    more than once.
    """
    settings = environment.consumer()
    handled: Counter[str] = Counter()

    def handle(record: DynamoDBRecord) -> None:
        try:
            item = _own(record, settings.region)
            if item:
                downstream(item)
                handled[item[contract.STATUS]] += 1
        except Exception:  # logged, and reported by the batch processor
            log.error("a record failed", sequence_number=record.dynamodb and record.dynamodb.sequence_number)
            raise

    processor = BatchProcessor(EventType.DynamoDBStreams, raise_on_entire_batch_failure=False)
    with processor(event["Records"], handle):
        processor.process()
    for status, count in handled.items():
        metrics.records(settings.metrics_namespace, status, count)
    response = processor.response()
    log.info("done", records=len(event["Records"]), failed=len(response["batchItemFailures"]), **handled)
    return response


def _own(record: DynamoDBRecord, region: str) -> dict[str, Any] | None:
    """The item if it is a record that this region's processor wrote; else None."""
    if record.event_name not in _WRITTEN:
        return None
    change = record.dynamodb
    if change is None or not change.new_image:
        raise ValueError("the stream shows no new image: its view must be NEW_IMAGE or NEW_AND_OLD_IMAGES")
    item = change.new_image
    ours = item.get(contract.REGION) == region and item.get(contract.STATUS) in (contract.VALID, contract.INVALID)
    return item if ours else None
