"""The architecture pictures, resource by resource, by cdktf's own matchers (C13). They answer with a bool: assert it."""

import pytest
from cdktf import Testing as Matchers

OF_TAP = [
    ("aws_s3_bucket", {"force_destroy": False}),
    ("aws_s3_bucket_notification", {"lambda_function": [{"events": ["s3:ObjectCreated:*"], "filter_prefix": "raw/"}]}),
    ("aws_lambda_function", {"function_name": "etl-validation", "runtime": "python3.13", "tracing_config": {"mode": "Active"}}),
    ("aws_lambda_function", {"function_name": "etl-transformation", "architectures": ["arm64"]}),
    ("aws_lambda_function", {"function_name": "etl-sweep", "timeout": 840}),
    ("aws_cloudwatch_event_rule", {"name": "etl-sweep", "schedule_expression": "rate(15 minutes)"}),
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

OF_PETS = [
    ("aws_api_gateway_rest_api", {"name": "serverlessapp-pet-api"}),
    ("aws_api_gateway_stage", {"stage_name": "prod", "xray_tracing_enabled": True}),
    ("aws_api_gateway_usage_plan", {"name": "serverlessapp-pet-api"}),
    ("aws_api_gateway_api_key", {"name": "serverlessapp-pet-api"}),
    ("aws_wafv2_web_acl", {"name": "serverlessapp-pet-api", "scope": "REGIONAL"}),
    ("aws_lambda_function", {"function_name": "serverlessapp-image-api", "runtime": "python3.13", "publish": True}),
    ("aws_lambda_function", {"function_name": "serverlessapp-image-processor", "architectures": ["arm64"]}),
    ("aws_lambda_function", {"function_name": "serverlessapp-file-manager", "tracing_config": {"mode": "Active"}}),
    ("aws_lambda_function", {"function_name": "serverlessapp-notification-service"}),
    ("aws_lambda_alias", {"name": "live"}),
    ("aws_codedeploy_deployment_group", {"deployment_group_name": "serverlessapp-image-api-live"}),
    ("aws_s3_bucket", {"bucket": "serverlessapp-pet-detector", "force_destroy": False}),
    ("aws_s3_bucket_notification", {"eventbridge": True}),
    ("aws_cloudwatch_event_rule", {"name": "serverlessapp-pet-uploaded"}),
    ("aws_sfn_state_machine", {"name": "serverlessapp-pet-detector", "tracing_configuration": {"enabled": True}}),
    ("aws_dynamodb_table", {"name": "serverlessapp-DetectionLogs", "hash_key": "ImageID", "stream_enabled": True}),
    ("aws_cloudwatch_event_rule", {"name": "serverlessapp-pet-not-succeeded"}),
    ("aws_sfn_state_machine", {"name": "serverlessapp-pet-recovery"}),
    ("aws_sns_topic", {"name": "serverlessapp-pet-alerts", "tags": {"Project": "Pet-Detector"}}),
    ("aws_sqs_queue", {"name": "serverlessapp-pet-uploaded-dlq", "sqs_managed_sse_enabled": True}),
    ("aws_cloudwatch_dashboard", {"dashboard_name": "serverlessapp-pet-detector"}),
    ("aws_cloudtrail", {"name": "serverlessapp-trail", "is_multi_region_trail": True}),
    ("aws_budgets_budget", {"name": "serverlessapp-monthly"}),
]

OF_INGESTION = [
    ("aws_s3_bucket", {"bucket": "serverless-data-ingestion-prod", "force_destroy": False}),
    ("aws_s3_bucket", {"bucket": "serverless-data-ingestion-dr-prod", "provider": "aws.us_west_2"}),
    ("aws_lambda_function", {"function_name": "serverless-data-processor-prod", "timeout": 300}),
    ("aws_lambda_function", {"function_name": "serverless-stream-consumer-prod", "runtime": "python3.13"}),
    ("aws_lambda_function", {"function_name": "serverless-replication-heartbeat-prod", "architectures": ["arm64"]}),
    ("aws_lambda_event_source_mapping", {"function_response_types": ["ReportBatchItemFailures"]}),
    ("aws_cloudwatch_event_rule", {"name": "serverless-replication-heartbeat-prod"}),
    ("aws_ssm_parameter", {"name": "/serverless-ingestion/active-region-prod"}),
    ("aws_sqs_queue", {"name": "serverless-data-processor-dlq-prod", "sqs_managed_sse_enabled": True}),
    ("aws_sns_topic", {"name": "serverless-ingestion-alarms-prod", "tags": {"Project": "Regional-Ingestion"}}),
    ("aws_dynamodb_table", {"name": "serverless-processed-data-prod", "hash_key": "recordId", "range_key": "timestamp"}),
    ("aws_cloudwatch_dashboard", {"dashboard_name": "serverless-ingestion-us-east-1-prod"}),
    ("aws_cloudwatch_dashboard", {"dashboard_name": "serverless-ingestion-us-west-2-prod"}),
]


@pytest.mark.parametrize(("kind", "properties"), OF_TAP, ids=[f"{kind} {properties}" for kind, properties in OF_TAP])
def test_tap_has(tap, kind, properties):
    """C2: each box of the pictures."""
    assert Matchers.to_have_resource_with_properties(tap.text, kind, properties)


@pytest.mark.parametrize(("kind", "properties"), OF_PETS, ids=[f"{kind} {properties}" for kind, properties in OF_PETS])
def test_pet_detector_has(pets, kind, properties):
    """C2: each box of the picture."""
    assert Matchers.to_have_resource_with_properties(pets.text, kind, properties)


@pytest.mark.parametrize(
    ("kind", "properties"), OF_INGESTION, ids=[f"{kind} {properties}" for kind, properties in OF_INGESTION]
)
def test_ingestion_has(ingestion, kind, properties):
    """C2: each box of the picture; that each stands in both regions is proven in test_ingestion_resources."""
    assert Matchers.to_have_resource_with_properties(ingestion.text, kind, properties)


def test_matchers_tell_no_from_yes(tap):
    """The tests above would be worth nothing otherwise."""
    assert not Matchers.to_have_resource_with_properties(tap.text, "aws_sns_topic", {"name": "other"})
    assert not Matchers.to_have_resource(tap.text, "aws_kinesis_firehose_delivery_stream")
    assert Matchers.to_have_data_source(tap.text, "aws_iam_policy_document")
    assert Matchers.to_have_provider_with_properties(tap.text, "aws", {"region": "us-east-1"})
