"""Who may do what in the metadata pipeline (M2–M6, C8): the whole matrix. One line more or less in any role fails here."""

import json

import pytest

from tests.synth.permissions import MACHINE_RUNTIME, function_runtime

BUCKET = "arn:aws:s3:::iac-rlhf-aws-release"
ARN = "arn:aws:{}:us-east-1:111122223333:{}"
TABLE = ARN.format("dynamodb", "table/metadata-processing-failures")
PIPELINE = ARN.format("states", "stateMachine:metadata-pipeline")
RECOVERY = ARN.format("states", "stateMachine:metadata-recovery")
INDEXING = ARN.format("lambda", "function:metadata-indexing")
COLLECTION = "<aws_opensearchserverless_collection metadata/collection/collection arn>"

GRANTS = {
    "metadata/indexing/role": {
        ("aoss:APIAccessAll", COLLECTION),
    },
    "metadata/pipeline/role": {
        ("s3:ListBucket", BUCKET),
        ("s3:GetObjectVersion", f"{BUCKET}/metadata.json"),
        ("s3:GetObjectVersion", f"{BUCKET}/*/metadata.json"),
        ("lambda:InvokeFunction", INDEXING),
        ("dynamodb:PutItem", TABLE),
    },
    "metadata/recovery/role": {
        ("dynamodb:Query", TABLE),
        ("dynamodb:PutItem", TABLE),
    },
    "metadata/created/role": {
        ("states:StartExecution", PIPELINE),
    },
    "metadata/not_succeeded/role": {
        ("states:StartExecution", RECOVERY),
    },
}

RUNTIME = {
    "metadata/indexing/role": function_runtime("metadata-indexing"),
    "metadata/pipeline/role": MACHINE_RUNTIME,
    "metadata/recovery/role": MACHINE_RUNTIME,
}


@pytest.mark.parametrize("role", GRANTS)
def test_grants(metadata, role):
    """C8: what the code does; the indexer reads neither S3 nor DynamoDB, the pipeline only what is called metadata.json."""
    assert metadata.permissions(role, "grants") == GRANTS[role]


@pytest.mark.parametrize("role", RUNTIME)
def test_runtime(metadata, role):
    """C8, C9: logs, tracing, dead letters. Functions may not create log groups."""
    assert metadata.permissions(role, "runtime") == RUNTIME[role]


def test_no_other_policy_and_no_other_role(metadata):
    """C8: the tables above are complete."""
    assert set(metadata.all("aws_iam_role")) == {f"{role}/role" for role in GRANTS}
    assert set(metadata.all("aws_iam_role_policy")) == {
        *(f"{role}/grants_policy" for role in GRANTS),
        *(f"{role}/runtime_policy" for role in RUNTIME),
    }
    assert not [
        kind for kind in metadata.kinds() if kind.startswith("aws_iam") and kind not in ("aws_iam_role", "aws_iam_role_policy")
    ]
    roles = metadata.all("aws_iam_role")
    assert not [path for path, body in roles.items() if {"managed_policy_arns", "inline_policy"} & set(body)]


def test_data_policy_lets_the_indexer_neither_read_nor_delete(metadata):
    """M5a, C8: aoss:APIAccessAll only opens the door; what the indexer may do behind it stands in the data policy."""
    policy = json.loads(metadata.readable(metadata.one("aws_opensearchserverless_access_policy")["policy"]))
    role = f"arn:aws:iam::111122223333:role/{metadata.one('aws_iam_role', 'metadata/indexing/role')['name']}"
    allowed = {
        (permission, resource)
        for statement in policy
        if role in statement["Principal"]
        for rule in statement["Rules"]
        for permission in rule["Permission"]
        for resource in rule["Resource"]
    }
    index = "index/iac-rlhf-metadata-collection/release-metadata"
    assert allowed == {(f"aoss:{action}", index) for action in ("CreateIndex", "DescribeIndex", "UpdateIndex", "WriteDocument")}
    everything = {permission for statement in policy for rule in statement["Rules"] for permission in rule["Permission"]}
    assert not [each for each in everything if "Delete" in each or "*" in each]


def test_buckets_and_queues_let_in_nobody_else(metadata):
    """C7, C8: what is allowed by a resource's own policy: access logs, EventBridge's dead letters, alarms."""
    allowed = {
        (path.split("/")[1], action, principal)
        for kind in ("aws_s3_bucket_policy", "aws_sqs_queue_policy", "aws_sns_topic_policy")
        for path, body in metadata.all(kind).items()
        for statement in metadata.statements(body["policy"])
        if statement.get("effect", "Allow") == "Allow"
        for action in statement["actions"]
        for each in statement["principals"]
        for principal in each["identifiers"]
    }
    assert allowed == {
        ("access_logs", "s3:PutObject", "logging.s3.amazonaws.com"),
        ("created", "sqs:SendMessage", "events.amazonaws.com"),
        ("not_succeeded", "sqs:SendMessage", "events.amazonaws.com"),
        ("alarms", "sns:Publish", "cloudwatch.amazonaws.com"),
    }


def test_permissions_follow_the_environment(staging):
    """C5c, C8: another environment's roles name its own resources only."""
    for path in GRANTS:
        for action, resource in staging.permissions(path, "grants"):
            assert "staging" in resource or resource == COLLECTION, f"{path} may {action} on {resource}"
