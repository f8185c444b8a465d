"""Everything that the stacks make, as the embedded AWS lists it, by the names of Terraform's types."""

from __future__ import annotations

from collections.abc import Iterator

# Type → service, operation, key of the answer, key of the name (None: the answer lists names), arguments.
LISTED = {
    "aws_api_gateway_api_key": ("apigateway", "get_api_keys", "items", "name", {}),
    "aws_api_gateway_rest_api": ("apigateway", "get_rest_apis", "items", "name", {}),
    "aws_api_gateway_usage_plan": ("apigateway", "get_usage_plans", "items", "name", {}),
    "aws_cloudtrail": ("cloudtrail", "describe_trails", "trailList", "Name", {}),
    "aws_cloudwatch_dashboard": ("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName", {}),
    "aws_cloudwatch_event_rule": ("events", "list_rules", "Rules", "Name", {}),
    "aws_cloudwatch_log_group": ("logs", "describe_log_groups", "logGroups", "logGroupName", {}),
    "aws_cloudwatch_log_resource_policy": ("logs", "describe_resource_policies", "resourcePolicies", "policyName", {}),
    "aws_cloudwatch_metric_alarm": ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName", {}),
    "aws_cloudwatch_query_definition": ("logs", "describe_query_definitions", "queryDefinitions", "name", {}),
    "aws_dynamodb_table": ("dynamodb", "list_tables", "TableNames", None, {}),
    "aws_iam_role": ("iam", "list_roles", "Roles", "RoleName", {}),
    "aws_kms_alias": ("kms", "list_aliases", "Aliases", "AliasName", {}),
    "aws_lambda_event_source_mapping": ("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID", {}),
    "aws_lambda_function": ("lambda", "list_functions", "Functions", "FunctionName", {}),
    "aws_opensearchserverless_access_policy": (
        "opensearchserverless", "list_access_policies", "accessPolicySummaries", "name", {"type": "data"}),
    "aws_opensearchserverless_collection": ("opensearchserverless", "list_collections", "collectionSummaries", "name", {}),
    "aws_opensearchserverless_lifecycle_policy": (
        "opensearchserverless", "list_lifecycle_policies", "lifecyclePolicySummaries", "name", {"type": "retention"}),
    "aws_s3_bucket": ("s3", "list_buckets", "Buckets", "Name", {}),
    "aws_sfn_state_machine": ("stepfunctions", "list_state_machines", "stateMachines", "name", {}),
    "aws_sns_topic": ("sns", "list_topics", "Topics", "TopicArn", {}),
    "aws_sqs_queue": ("sqs", "list_queues", "QueueUrls", None, {}),
    "aws_ssm_parameter": ("ssm", "describe_parameters", "Parameters", "Name", {}),
    "aws_wafv2_web_acl": ("wafv2", "list_web_acls", "WebACLs", "Name", {"Scope": "REGIONAL"}),
}
GLOBAL = {"aws_budgets_budget": ("budgets", "describe_budgets", "Budgets", "BudgetName", {"AccountId": "0" * 12})}
"""Of all regions."""
PARTS = ("aws_api_gateway_", "aws_cloudwatch_event_target", "aws_cloudwatch_log_metric_filter", "aws_iam_role_policy",
         "aws_lambda_alias", "aws_lambda_permission", "aws_s3_bucket_", "aws_sns_topic_policy", "aws_sqs_queue_policy",
         "aws_wafv2_web_acl_")
"""Beginnings of types that live and die with one that is listed."""


def listed(kind: str) -> bool:
    """Whether what Terraform calls so would be found here."""
    return kind in INVENTORIED or kind.startswith(PARTS)


def inventory(aws, region: str) -> set[str]:
    """`TYPE NAME` of everything in a region, save keys that are about to be deleted; buckets and roles are of all regions."""
    return set(_inventory(aws, region))


def _inventory(aws, region: str) -> Iterator[str]:
    for kind, (service, operation, key, name, arguments) in (LISTED | (GLOBAL if region == aws.region else {})).items():
        answer = getattr(aws.client(service, region), operation)(**arguments)
        assert not {"NextToken", "nextToken", "position"} & answer.keys(), f"{kind}: there are more"
        yield from (f"{kind} {each[name] if name else each}" for each in answer.get(key, []))
    for of in ("encryption", "network"):
        found = aws.client("opensearchserverless", region).list_security_policies(type=of)["securityPolicySummaries"]
        yield from (f"aws_opensearchserverless_security_policy {of} {each['name']}" for each in found)
    if role := aws.client("apigateway", region).get_account().get("cloudwatchRoleArn"):
        yield f"aws_api_gateway_account {role}"
    yield from (f"aws_kms_key {key}" for key, state in keys(aws, region).items() if state != "PendingDeletion")


INVENTORIED = LISTED.keys() | GLOBAL.keys() | {"aws_opensearchserverless_security_policy", "aws_kms_key"}


def keys(aws, region: str) -> dict[str, str]:
    """Key id → state of every KMS key."""
    kms = aws.client("kms", region)
    ids = [each["KeyId"] for each in kms.list_keys()["Keys"]]
    return {each: kms.describe_key(KeyId=each)["KeyMetadata"]["KeyState"] for each in ids}
