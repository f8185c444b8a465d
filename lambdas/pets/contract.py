"""What the functions, the state machine and the infrastructure must agree on. Imports nothing, so that all can import it.

An image lies under ``input/``, as ``input/IMAGE-ID/FILE-NAME`` where the API has handed out the id. Once classified, it moves to
``cats/``, ``dogs/`` or ``others/``, under the same path.

Payloads (all JSON). ``object`` is ``{"bucket", "key", "version_id"}`` everywhere, ``execution`` the ARN of the execution.

Image processor, action ``analyse``: ``object``, ``time`` (of the creation event, ISO 8601 UTC), ``execution``. Results:

- ``{"outcome": "analysed", "image_id", "labels": [{"name", "confidence", "parents": [name, …]}, …]}``
- ``{"outcome": "refused", "image_id", "code", "reason"}``: the image is not what it should be, and never will be;
- ``{"outcome": "duplicate", "image_id"}``: another execution has begun with this version.

Image processor, action ``classify``: ``image_id``, ``labels``, ``execution``.
Result: ``{"animal", "confidence", "status", "folder"}``, ``status`` being the one to be recorded once the image is filed.

Image processor, action ``give_up``: ``object``, ``time``, ``execution``, ``error``, ``cause`` (either may be null or missing).
Records the failure of an execution whose error was caught, or that came to its end uncaught.
Result: ``{"image_id", "recorded"}``; false if there is nothing to record.

File manager: ``image_id``, ``object``, ``folder``. Result: ``{"location", "version_id"}`` of the filed image.

Notification service: ``image_id``, ``object``, ``animal``, ``confidence``, ``location``. Result: ``{"message_id"}``.
"""

INPUT = "input/"
CATS, DOGS, OTHERS = "cats/", "dogs/", "others/"
FOLDERS = {"cat": CATS, "dog": DOGS, "other": OTHERS}

# Attributes of the table DetectionLogs (P5).
IMAGE_ID = "ImageID"
ANIMAL = "DetectedAnimal"
CONFIDENCE = "ConfidenceScore"
TIMESTAMP = "Timestamp"
LOCATION = "S3Location"
STATUS = "ProcessingStatus"
FILE_SIZE = "FileSize"
FORMAT = "ImageFormat"
# And for operators.
LOCATION_VERSION = "S3VersionId"  # of the object at S3Location
SOURCE_KEY = "SourceKey"
SOURCE_VERSION = "SourceVersionId"
REPLACED_VERSION = "ReplacedVersionId"  # whose processing had failed, before this one took over its id
EXECUTION = "ExecutionArn"
FAILURE_CODE = "FailureCode"
FAILURE_REASON = "FailureReason"
EXPIRES_AT = "ExpiresAt"  # epoch seconds; DynamoDB removes the item some time after it

INDEX = "animal-time-index"  # DetectedAnimal, Timestamp; projects all attributes

ANIMALS = ("cat", "dog", "other")
PROCESSING, COMPLETED, UNCERTAIN, FAILED = "processing", "completed", "uncertain", "failed"

API_HANDLER = "lambdas.pets.image_api.handler"
PROCESSOR_HANDLER = "lambdas.pets.image_processor.handler"
FILE_MANAGER_HANDLER = "lambdas.pets.file_manager.handler"
NOTIFICATION_HANDLER = "lambdas.pets.notification_service.handler"

# Environment variables.
ENV_BUCKET_NAME = "BUCKET_NAME"
ENV_TABLE_NAME = "TABLE_NAME"
ENV_TOPIC_ARN = "TOPIC_ARN"
ENV_METRICS_NAMESPACE = "METRICS_NAMESPACE"
ENV_CONFIDENCE_THRESHOLD = "CONFIDENCE_THRESHOLD"  # per cent, from which on an animal counts as recognised
ENV_MAX_IMAGE_BYTES = "MAX_IMAGE_BYTES"
ENV_RECORD_RETENTION_DAYS = "RECORD_RETENTION_DAYS"
ENV_LINK_SECONDS = "LINK_SECONDS"  # how long presigned uploads and downloads work
ENV_ALLOWED_ORIGIN = "ALLOWED_ORIGIN"  # of browsers (CORS)
API_ENVIRONMENT = (ENV_BUCKET_NAME, ENV_TABLE_NAME, ENV_MAX_IMAGE_BYTES, ENV_LINK_SECONDS, ENV_ALLOWED_ORIGIN)
PROCESSOR_ENVIRONMENT = (
    ENV_TABLE_NAME, ENV_METRICS_NAMESPACE, ENV_CONFIDENCE_THRESHOLD, ENV_MAX_IMAGE_BYTES, ENV_RECORD_RETENTION_DAYS,
)
FILE_MANAGER_ENVIRONMENT = ()
NOTIFICATION_ENVIRONMENT = (ENV_TOPIC_ARN,)

# Values of FailureCode: of images that are not what they should be, and of everything else.
REFUSALS = (
    "empty", "too_large", "not_an_image", "truncated", "too_small", "too_many_pixels",
    "unsupported",  # Rekognition cannot read what passed our own check
    "gone",  # the version is no longer there
    "key_too_long",  # to be filed under others/
)
PROCESSING_FAILED = "processing_failed"

METRICS_SERVICE = "image-processor"  # value of the dimension "service" of the functions' own metrics
METRIC_IMAGES = "Images"  # count; dimensions service and animal
METRIC_CONFIDENCE = "Confidence"  # per cent; dimensions service and animal
METRIC_LATENCY = "AnalysisLatency"  # milliseconds that Rekognition took; dimension service

# Names of the processor's exceptions, which are the names of errors for Retry and Catch.
ERROR_THROTTLED = "RekognitionThrottled"
ERROR_UNAVAILABLE = "RekognitionUnavailable"
