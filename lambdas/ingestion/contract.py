"""What the functions, the infrastructure and the operator's commands must agree on. Imports nothing, so that all can import it.

A file of records (``.json``: an object, an array or JSON Lines; ``.csv``) becomes items of one global table. An item's key comes
from the record's content alone, so a file that arrives twice changes nothing (R3a).

Three kinds of items share the table, told apart by ``processingStatus``: records (``VALID``, ``INVALID``), the checkpoints of
files (``CHECKPOINT``) and the regions' heartbeats (``HEARTBEAT``). The index holds them all.
"""

# Attributes (R3a, R4).
RECORD_ID = "recordId"
TIMESTAMP = "timestamp"
STATUS = "processingStatus"
DATA = "data"  # the record as JSON text, numbers as they were written, keys sorted; of what is no JSON, its own text
CHECKSUM = "checksum"  # SHA-256 of DATA; of a record too large for an item, whose beginning DATA holds, of the whole
REASON = "reason"  # why a record is INVALID
SOURCE_BUCKET = "sourceBucket"
SOURCE_KEY = "sourceKey"
SOURCE_VERSION = "sourceVersionId"
SOURCE_OFFSET = "sourceOffset"  # bytes of the file before the record: with the version, which of all records made this item
SOURCE_LINE = "sourceLine"  # of the file, in which the record begins, counted from 1
REGION = "processingRegion"  # whose function wrote the item
PROCESSED_AT = "processedAt"

INDEX = "status-index"  # processingStatus, timestamp

VALID, INVALID, CHECKPOINT, HEARTBEAT = "VALID", "INVALID", "CHECKPOINT", "HEARTBEAT"

NO_TIMESTAMP = "1970-01-01T00:00:00Z"
"""Sort key of a record whose own timestamp is missing or unreadable, and of checkpoints."""

# Of a checkpoint, whose recordId is CHECKPOINT_PREFIX and the SHA-256 of bucket, key and version, each on its own line.
CHECKPOINT_PREFIX = "checkpoint#"
OFFSET = "offset"  # bytes of the file whose records are stored
LINE = "line"  # lines of the file before the offset; of a file that is done, before its last records
COUNTS = ("recordsRead", "recordsStored", "recordsKnown", "recordsInvalid", "recordsConflicting")
"""``read = stored + known + conflicting``. Stored: the item is this very record's, by whichever attempt; known: it is another
record's, with the same content; conflicting: with other content, which stays. Invalid ones are counted among these three, and
once more by themselves."""
DONE = "done"  # "true" once the whole file is stored
FAILURE = "failure"  # of a file that cannot be read at all

# Of a heartbeat, whose recordId is HEARTBEAT_PREFIX and the region, and whose timestamp is NO_TIMESTAMP.
HEARTBEAT_PREFIX = "heartbeat#"
BEAT_AT = "beatAt"  # ISO 8601 UTC

SUFFIXES = (".json", ".csv")

PROCESSOR_HANDLER = "lambdas.ingestion.processor.handler"
CONSUMER_HANDLER = "lambdas.ingestion.stream_consumer.handler"
HEARTBEAT_HANDLER = "lambdas.ingestion.heartbeat.handler"

# Environment variables. Lambda itself sets AWS_REGION.
ENV_TABLE_NAME = "TABLE_NAME"
ENV_REGION = "REGION"  # the function's own
ENV_OTHER_REGION = "OTHER_REGION"  # the heartbeat: whose beats it watches
ENV_METRICS_NAMESPACE = "METRICS_NAMESPACE"
PROCESSOR_ENVIRONMENT = (ENV_TABLE_NAME, ENV_REGION, ENV_METRICS_NAMESPACE)
CONSUMER_ENVIRONMENT = (ENV_REGION, ENV_METRICS_NAMESPACE)
HEARTBEAT_ENVIRONMENT = (ENV_TABLE_NAME, ENV_REGION, ENV_OTHER_REGION, ENV_METRICS_NAMESPACE)

# Metrics of the functions' own, each with the dimension "service".
METRICS_SERVICE = "ingestion"
METRIC_FILES, METRIC_FAILED_FILES = "Files", "FailedFiles"
METRIC_RECORDS = "Records"  # and the dimension "status": VALID, INVALID; by the stream consumer
METRIC_CONFLICTS = "Conflicts"
METRIC_LAG = "ReplicationLag"  # seconds since the other region's newest heartbeat

# The parameter that says which region producers send to; one in each region, the higher epoch counts (R8).
ACTIVE_REGION_PARAMETER = "/serverless-ingestion/active-region"
"""With the environment's suffix after it. Value: ``{"region": "us-east-1", "epoch": 1}``."""
