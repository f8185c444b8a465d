"""What the indexing function and the infrastructure must agree on. Imports nothing, so that both sides can import it.

Payload (all JSON): one fetched version of one ``metadata.json``, stamped by the state machine.

``body``
    its text, as the S3 integration of Step Functions gives it
``content_length``, ``etag``
    what S3 says of the object: its bytes, and their MD5 in quotes if it was uploaded in one piece
``timestamp``
    time of the creation event, ISO 8601 UTC: the document's ``@timestamp``
``object``
    ``{"bucket", "key", "version_id"}``
``execution_id``
    ARN of the execution

Result: ``{"ingest_id": str, "indexed": true}``, or ``{"ingest_id": str, "indexed": false, "reason": str}`` for a document that
the index's mapping cannot take and that was stored without being searchable by its own fields.
"""

OBJECT_NAME = "metadata.json"

HANDLER = "lambdas.metadata.indexing.handler"

# Environment variables.
ENV_COLLECTION_ENDPOINT = "COLLECTION_ENDPOINT"  # https://… of the collection
ENV_INDEX_NAME = "INDEX_NAME"
ENVIRONMENT = (ENV_COLLECTION_ENDPOINT, ENV_INDEX_NAME)

# Names of the function's exceptions, which are the names of errors for Retry and Catch (M6).
ERROR_INVALID = "InvalidMetadata"  # not JSON, not an object, … : never retried
ERROR_REFUSED = "DocumentRefused"  # OpenSearch says 4xx: never retried
ERROR_FORBIDDEN = "IndexForbidden"  # 401, 403: the data policy takes about a minute to apply
ERROR_THROTTLED = "IndexThrottled"  # 429
ERROR_UNAVAILABLE = "IndexUnavailable"  # 5xx, no answer, time-out
