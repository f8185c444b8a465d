"""The architecture pictures, resource by resource, by cdktf's own matchers (C13). They answer with a bool: assert it."""

import pytest
from cdktf import Testing as Matchers

OF_TAP = [
    ("aws_s3_bucket", {"force_destroy": False}),
    ("aws_s3_bucket_notification", {"lambda_function": [{"events": ["s3:ObjectCreated:*"], "filter_prefix": "raw/"}]}),
    ("aws_lambda_function", {"function_name": "etl-validation", "runtime": "python3.13", "tracing_config": {"mode": "Active"}}),
    ("aws_lambda_function", {"function_name": "etl-transformation", "architectures": ["arm64"]}),
    ("aws_sfn_state_machine", {"name": "etl-pipeline", "tracing_configuration": {"enabled": True}}),
    ("aws_sfn_state_machine", {"name": "etl-recovery"}),
    ("aws_dynamodb_table", {"name": "etl-file-metadata", "hash_key": "file_name", "range_key": "process_start_time"}),
    ("aws_sns_topic", {"name": "etl-failures", "tags": {"Project": "ETL-Pipeline"}}),
    ("aws_sqs_queue", {"name": "etl-validation-dlq", "sqs_managed_sse_enabled": True}),
    ("aws_sqs_queue", {"name": "etl-transformation-dlq", "message_retention_seconds": 1209600}),
    ("aws_cloudwatch_event_rule", {"name": "etl-not-succeeded"}),
    ("aws_cloudwatch_dashboard", {"dashboard_name": "etl-pipeline"}),
    ("aws_s3_bucket", {"bucket": "iac-rlhf-aws-release", "force_destroy": False}),
    ("aws_s3_bucket_notification", {"eventbridge": True}),
    ("aws_cloudwatch_event_rule", {"name": "metadata-created"}),
    ("aws_sfn_state_machine", {"name": "metadata-pipeline", "tracing_configuration": {"enabled": True}}),
    ("aws_lambda_function", {"function_name": "metadata-indexing", "runtime": "python3.13", "architectures": ["arm64"]}),
    ("aws_opensearchserverless_collection", {"name": "iac-rlhf-metadata-collection", "type": "TIMESERIES"}),
    ("aws_dynamodb_table", {"name": "metadata-processing-failures", "hash_key": "execution_id", "range_key": "failed_at"}),
    ("aws_cloudwatch_event_rule", {"name": "metadata-not-succeeded"}),
    ("aws_sfn_state_machine", {"name": "metadata-recovery"}),
    ("aws_cloudwatch_metric_alarm", {"alarm_name": "metadata-pipeline-executions-failed"}),
    ("aws_sns_topic", {"name": "metadata-alarms"}),
    ("aws_sqs_queue", {"name": "metadata-created-dlq"}),
    ("aws_cloudwatch_dashboard", {"dashboard_name": "metadata-pipeline"}),
]


@pytest.mark.parametrize(("kind", "properties"), OF_TAP, ids=[f"{kind} {properties}" for kind, properties in OF_TAP])
def test_tap_has(tap, kind, properties):
    """C2: each box of the pictures."""
    assert Matchers.to_have_resource_with_properties(tap.text, kind, properties)


def test_matchers_tell_no_from_yes(tap):
    """The tests above would be worth nothing otherwise."""
    assert not Matchers.to_have_resource_with_properties(tap.text, "aws_sns_topic", {"name": "other"})
    assert not Matchers.to_have_resource(tap.text, "aws_kinesis_firehose_delivery_stream")
    assert Matchers.to_have_data_source(tap.text, "aws_iam_policy_document")
    assert Matchers.to_have_provider_with_properties(tap.text, "aws", {"region": "us-east-1"})
