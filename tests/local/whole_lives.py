"""For tests that deploy and destroy an environment, each on an AWS of its own: `make test` runs them beside the others, for
Terraform's provider waits a minute in each apply."""

from contextlib import contextmanager

from local.deployment import LOCAL_SETTINGS
from local.emulator import Emulator

SETTINGS = {"TERRAFORM_STATE_LOCK_TABLE": "locks"}


@contextmanager
def with_place_for_state(folder):
    """An embedded AWS that has nothing but the bucket and the table of the remote state."""
    with Emulator(folder=folder) as aws:
        aws.client("s3").create_bucket(Bucket=LOCAL_SETTINGS["TERRAFORM_STATE_BUCKET"])
        aws.client("dynamodb").create_table(
            TableName=SETTINGS["TERRAFORM_STATE_LOCK_TABLE"], BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "LockID", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "LockID", "AttributeType": "S"}])
        yield aws


def existing(aws, region: str) -> dict[str, list[str]]:
    """Names of everything a deployment makes in a region; buckets and roles are of all regions."""

    def names(service: str, operation: str, key: str, name: str, **arguments) -> list[str]:
        answer = getattr(aws.client(service, region), operation)(**arguments)
        return sorted(each[name] for each in answer.get(key, []))

    keys = aws.client("kms", region)
    return {
        "buckets": names("s3", "list_buckets", "Buckets", "Name"),
        "tables": aws.client("dynamodb", region).list_tables()["TableNames"],
        "functions": names("lambda", "list_functions", "Functions", "FunctionName"),
        "mappings": names("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID"),
        "machines": names("stepfunctions", "list_state_machines", "stateMachines", "name"),
        "topics": names("sns", "list_topics", "Topics", "TopicArn"),
        "queues": sorted(aws.client("sqs", region).list_queues().get("QueueUrls", [])),
        "roles": names("iam", "list_roles", "Roles", "RoleName"),
        "rules": names("events", "list_rules", "Rules", "Name"),
        "parameters": names("ssm", "describe_parameters", "Parameters", "Name"),
        "alarms": names("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
        "log groups": names("logs", "describe_log_groups", "logGroups", "logGroupName"),
        "saved queries": names("logs", "describe_query_definitions", "queryDefinitions", "name"),
        "dashboards": names("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
        "keys": [each["KeyId"] for each in keys.list_keys()["Keys"]
                 if keys.describe_key(KeyId=each["KeyId"])["KeyMetadata"]["KeyState"] == "Enabled"],
    }
