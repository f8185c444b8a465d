"""What the ETL functions and the infrastructure must agree on. Imports nothing, so that both sides can import it.

Payload shapes (all JSON):

``file``
    ``{"bucket", "key", "file_name", "version_id", "sequencer", "size"}``: one uploaded version.
    ``key`` is decoded, ``file_name`` is the path below ``raw/``, ``sequencer`` is S3's order of events for one key, empty for
    an upload that the sweep found, since only events carry it.
execution input
    ``{"file": file, "process_start_time": "2026-01-31T23:59:59.123456Z"}``, fixed at the claim.
recovery's input
    a status change as EventBridge tells it, of which ``detail``'s ``executionArn``, ``status``, ``input`` (text), ``error`` and
    ``cause`` count; from the sweep also ``"takes_over"``: the recovery that claimed the record and died, if one did.
sweep's event
    ``{"older_than_seconds": 0}`` instead of 15 minutes; every other field is ignored, such as a schedule's.
"""

# Prefixes of the data bucket (E1a).
RAW = "raw/"
PROCESSED = "processed/"
FAILED = "failed/"
REJECTS_SUFFIX = ".rejects/"
WHOLE = "whole/"  # below it and the execution: rejects of a file whose ranges were given up
WITHDRAWN_SUFFIX = ".withdrawn/"

# Handlers, as Lambda names them.
VALIDATION_HANDLER = "lambdas.etl.validation.handler"
TRANSFORMATION_HANDLER = "lambdas.etl.transformation.handler"
SWEEP_HANDLER = "lambdas.etl.sweep.handler"

# The table's index by status (E8b).
STATUS_INDEX = "status-index"

# Environment variables of the functions.
ENV_STATE_MACHINE_ARN = "STATE_MACHINE_ARN"  # validation, sweep: the machine a claim starts
ENV_TOPIC_ARN = "FAILURE_TOPIC_ARN"  # validation: where an invalid file is announced
ENV_SUFFIX = "ENVIRONMENT_SUFFIX"  # validation: of the environment, for the command that replays a file
ENV_MAX_FILE_BYTES = "MAX_FILE_BYTES"  # validation: the largest file that is converted at all
ENV_MAX_REJECT_RATIO = "MAX_REJECT_RATIO"  # transformation: rejected / read above this makes a file INVALID (E5c)
ENV_MAX_PIECE_BYTES = "MAX_PIECE_BYTES"  # transformation: the largest file one invocation converts in time
ENV_RECOVERY_ARN = "RECOVERY_ARN"  # sweep: the machine that ends what the pipeline did not
ENV_BUCKET_NAME = "BUCKET_NAME"  # sweep
ENV_TABLE_NAME = "TABLE_NAME"  # sweep

VALIDATION_ENVIRONMENT = (ENV_STATE_MACHINE_ARN, ENV_TOPIC_ARN, ENV_SUFFIX, ENV_MAX_FILE_BYTES)
TRANSFORMATION_ENVIRONMENT = (ENV_MAX_REJECT_RATIO, ENV_MAX_PIECE_BYTES)
SWEEP_ENVIRONMENT = (ENV_STATE_MACHINE_ARN, ENV_RECOVERY_ARN, ENV_BUCKET_NAME, ENV_TABLE_NAME)

# Actions the state machine asks for.
#
# validation function
#   {"action": "validate", "file": file}
#       -> {"valid": true} | {"valid": false, "reason": str}
#   {"action": "reject", "file": file, "reason": str, "execution_arn": str}   move to failed/ and announce (E3c)
#   {"action": "set_aside", "file": file, "execution_name": str}              move to failed/, publish nothing, say nothing
#       -> {"failed_key": str}, or {} if that key would be too long for S3: the file stays in raw/
# transformation function
#   {"action": "convert", "file": file, "execution_name": str, "range": {"index": 0, "start": 0, "end": size},
#    "discarded": why the ranges of this file were given up before, if they were}   the whole file in one piece
#       -> {"valid": true, "rows_read", "rows_written", "rows_rejected"  (int),
#           "output_key": str | "superseded_by": version id,  "rejects_prefix": str if any row was rejected}
#        | {"valid": false, "reason": str, "rows_read", "rows_written": 0, "rows_rejected",
#           "rejects_prefix": str if any row was rejected}
#   {"action": "plan", "file": file, "execution_name": str}       choose ranges, begin the output (E12)
#       -> {"ranges": [range, …], "upload_id": str, "header_length": int}, or {"ranges": []} for a file that cannot be cut
#   {"action": "convert_range", "file": file, "execution_name": str, "upload_id": str, "header_length": int, "range": range}
#       -> part: {**range, "reached": where its last record ends, "bytes", "rows_read", "rows_written", "rows_rejected",
#                 "stored": S3's answer to the part, "other_header": where the header of another table is, if there is one}
#   {"action": "complete", "file": file, "execution_name": str, "upload_id": str, "header_length": int, "parts": [part, …]}
#       -> what convert answers, or {"discarded": why} if the ranges prove nothing: convert it in one piece
#   {"action": "abandon", "file": file, "execution_name": str, "upload_id": str} -> {}   after a failure of any of them
#
# ``range``: ``{"index", "start", "end"}``, bytes of the file; the first starts after the header.
ACTION_VALIDATE = "validate"
ACTION_REJECT = "reject"
ACTION_SET_ASIDE = "set_aside"
ACTION_CONVERT = "convert"
ACTION_PLAN = "plan"
ACTION_CONVERT_RANGE = "convert_range"
ACTION_COMPLETE = "complete"
ACTION_ABANDON = "abandon"

# SNS subjects are ASCII, under 100 characters, and must not carry a file name (E9).
SUBJECT_INVALID = "ETL: a file is invalid and was set aside"
SUBJECT_REJECTS = "ETL: rows of a file were rejected"
SUBJECT_FAILED = "ETL: a file failed"
