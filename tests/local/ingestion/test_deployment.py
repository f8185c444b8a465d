"""What Terraform does with the ingestion's stack (C3, C4): in both regions."""

import json

from local.deployment import Deployment
from local.ingestion import REGIONS


def test_a_second_plan_changes_nothing(deployment):
    """C4: right after apply."""
    assert deployment.plan("ingestion").changes == {}


def test_state_lies_in_the_remote_backend(aws, deployment):
    """C3: beside that of the other stacks."""
    backend = deployment.outputs["state-backend"]
    state = aws.client("s3").get_object(Bucket=backend["state_bucket_name"], Key="local/ingestion.tfstate")["Body"].read()
    assert json.loads(state)["resources"]


def test_destroying_leaves_nothing_in_either_region(aws, deployment, provider_source, tmp_path):
    """C4: another environment, deployed and destroyed beside the first one; Terraform empties its buckets."""
    before = {region: existing(aws, region) for region in REGIONS}
    other = Deployment(aws, provider_source, settings={"ENVIRONMENT_SUFFIX": "other"}, folder=tmp_path)
    other.synthesise()
    other.apply("ingestion")
    for region in REGIONS:
        there = existing(aws, region)
        assert all(len(there[kind]) > len(before[region][kind]) for kind in there), region
        bucket = other.outputs["ingestion"][f"ingestion_bucket_name_{region.replace('-', '_')}"]
        aws.client("s3", region).put_object(Bucket=bucket, Key="left behind.txt", Body=b"not empty")
    other.terraform("ingestion").destroy()
    assert {region: existing(aws, region) for region in REGIONS} == before


def existing(aws, region) -> dict[str, list[str]]:
    """Names of everything a deployment makes in a region; buckets and roles are of all regions."""

    def names(service: str, operation: str, key: str, name: str, **arguments) -> list[str]:
        answer = getattr(aws.client(service, region), operation)(**arguments)
        return sorted(each[name] for each in answer.get(key, []))

    return {
        "buckets": names("s3", "list_buckets", "Buckets", "Name"),
        "tables": aws.client("dynamodb", region).list_tables()["TableNames"],
        "functions": names("lambda", "list_functions", "Functions", "FunctionName"),
        "mappings": names("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID"),
        "topics": names("sns", "list_topics", "Topics", "TopicArn"),
        "queues": sorted(aws.client("sqs", region).list_queues().get("QueueUrls", [])),
        "roles": names("iam", "list_roles", "Roles", "RoleName"),
        "rules": names("events", "list_rules", "Rules", "Name"),
        "parameters": names("ssm", "describe_parameters", "Parameters", "Name"),
        "alarms": names("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
        "log groups": names("logs", "describe_log_groups", "logGroups", "logGroupName"),
        "saved queries": names("logs", "describe_query_definitions", "queryDefinitions", "name"),
        "dashboards": names("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
        "keys": [each["KeyId"] for each in aws.client("kms", region).list_keys()["Keys"]
                 if aws.client("kms", region).describe_key(KeyId=each["KeyId"])["KeyMetadata"]["KeyState"] == "Enabled"],
    }
