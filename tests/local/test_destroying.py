"""What Terraform leaves of the ingestion's stack (C4): nothing, in both regions."""

from local.deployment import Deployment
from local.ingestion import REGIONS
from tests.local.inventory import inventory
from tests.local.whole_lives import SETTINGS, with_place_for_state

MADE = {
    *("aws_cloudwatch_dashboard", "aws_cloudwatch_event_rule", "aws_cloudwatch_log_group", "aws_cloudwatch_metric_alarm"),
    *("aws_cloudwatch_query_definition", "aws_dynamodb_table", "aws_iam_role", "aws_kms_key", "aws_lambda_event_source_mapping"),
    *("aws_lambda_function", "aws_s3_bucket", "aws_sns_topic", "aws_sqs_queue", "aws_ssm_parameter"),
}
"""In either region."""


def test_destroying_leaves_nothing_in_either_region(provider_source, tmp_path):
    """C4: Terraform empties its buckets."""
    with with_place_for_state(tmp_path) as aws:
        before = {region: inventory(aws, region) for region in REGIONS}
        deployment = Deployment(aws, provider_source, settings={**SETTINGS, "ENVIRONMENT_SUFFIX": "other"}, folder=tmp_path)
        deployment.synthesise()
        deployment.apply("ingestion")
        for region in REGIONS:
            made = inventory(aws, region) - before[region]
            assert {line.split(" ", 1)[0] for line in made} >= MADE, region
            bucket = deployment.outputs["ingestion"][f"ingestion_bucket_name_{region.replace('-', '_')}"]
            aws.client("s3", region).put_object(Bucket=bucket, Key="left behind.txt", Body=b"not empty")
        deployment.terraform("ingestion").destroy()
        assert {region: inventory(aws, region) for region in REGIONS} == before
