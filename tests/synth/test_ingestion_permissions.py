"""Who may do what in the regional ingestion (R6, C8): the whole matrix, in both regions. One line more or less fails here."""

import re

import pytest

from ingestion_stack import IngestionStack
from tests.synth.permissions import function_runtime
from tests.synth.reading import synthesise

REGIONS = {
    "us_east_1": ("us-east-1", "arn:aws:s3:::serverless-data-ingestion-prod"),
    "us_west_2": ("us-west-2", "arn:aws:s3:::serverless-data-ingestion-dr-prod"),
}
"""Where each part stands, and its bucket."""


def arn(region, service, resource):
    return f"arn:aws:{service}:{region}:111122223333:{resource}"


def grants(region, bucket):
    table = arn(region, "dynamodb", "table/serverless-processed-data-prod")
    return {
        "processor": {
            *((f"s3:{action}", f"{bucket}/*") for action in ("GetObject", "GetObjectVersion")),
            *((f"dynamodb:{action}Item", table) for action in ("Get", "Put", "Update")),
        },
        "heartbeat": {(f"dynamodb:{action}Item", table) for action in ("Get", "Put")},
    }


def runtime(region):
    stream = arn(region, "dynamodb", "table/serverless-processed-data-prod/stream/*")
    reads = ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")
    log_group = arn(region, "logs", "log-group:/aws/lambda/serverless-data-processor-prod:*")
    return {
        "processor": function_runtime("serverless-data-processor-prod", region) | {("logs:CreateLogGroup", log_group)},
        "consumer": function_runtime("serverless-stream-consumer-prod", region)
        | {(f"dynamodb:{action}", stream) for action in reads}
        | {("sqs:SendMessage", arn(region, "sqs", "serverless-stream-consumer-stream-dlq-prod"))},
        "heartbeat": function_runtime("serverless-replication-heartbeat-prod", region),
    }


GRANTS = {
    f"{part}/{function}/role": pairs
    for part, (region, bucket) in REGIONS.items()
    for function, pairs in grants(region, bucket).items()
}
RUNTIME = {
    f"{part}/{function}/role": pairs for part, (region, _) in REGIONS.items() for function, pairs in runtime(region).items()
}


@pytest.mark.parametrize("role", GRANTS)
def test_grants(ingestion, role):
    """R6, C8: what the code does. The consumer calls nothing."""
    assert ingestion.permissions(role, "grants") == GRANTS[role]


@pytest.mark.parametrize("role", RUNTIME)
def test_runtime(ingestion, role):
    """R5, R6, C9: logs, tracing, dead letters, the stream. The processor alone may make its log group again."""
    assert ingestion.permissions(role, "runtime") == RUNTIME[role]


def test_no_other_policy_and_no_other_role(ingestion):
    """C8: the tables above are complete."""
    assert set(ingestion.all("aws_iam_role")) == {f"{role}/role" for role in RUNTIME}
    assert set(ingestion.all("aws_iam_role_policy")) == {
        *(f"{role}/grants_policy" for role in GRANTS),
        *(f"{role}/runtime_policy" for role in RUNTIME),
    }
    assert {kind for kind in ingestion.kinds() if kind.startswith("aws_iam")} == {"aws_iam_role", "aws_iam_role_policy"}
    roles = ingestion.all("aws_iam_role")
    assert not [path for path, body in roles.items() if {"managed_policy_arns", "inline_policy"} & set(body)]


def allowed(stack, role):
    """Every resource that the role may reach, whatever it may do with it."""
    return {
        resource
        for path, body in stack.all("aws_iam_role_policy").items()
        if path.startswith(f"{role}/")
        for statement in stack.readable(stack.statements(body["policy"]))
        for resource in statement["resources"]
    }


@pytest.mark.parametrize("stack", ["ingestion", "ingestion_dev"])
def test_no_role_reaches_into_the_other_region(request, stack):
    """R6, C8: neither its table, nor its queues, nor its bucket; but for tracing, which knows no resource, no ARN is open."""
    found = request.getfixturevalue(stack)
    for role in RUNTIME:
        part = role.split("/")[0]
        region, _ = REGIONS[part]
        bucket = found.one("aws_s3_bucket", f"{part}/data")["bucket"]
        for resource in allowed(found, role) - {"*"}:
            at = re.fullmatch(r"arn:aws:(\w+):([\w-]*):(\d*):(.+)", resource)
            assert at, resource
            service, where, account, name = at.groups()
            expected = ("", "", f"{bucket}/*") if service == "s3" else (region, "111122223333", name)
            assert (where, account, name) == expected, f"{role} reaches {resource}"


def test_all_that_is_open_is_tracing(ingestion):
    """C8: X-Ray knows no narrower resource than *."""
    for role, pairs in RUNTIME.items():
        assert {action for action, resource in pairs | GRANTS.get(role, set()) if resource == "*"} == {
            "xray:PutTelemetryRecords",
            "xray:PutTraceSegments",
        }


def test_permissions_follow_the_environment(ingestion_dev):
    """C5c, C8: another environment's roles name its own resources only."""
    for role in RUNTIME:
        resources = allowed(ingestion_dev, role) - {"*"}
        assert resources
        assert all(re.search(r"-dev(/|:|$)", resource) for resource in resources), resources


def test_permissions_follow_the_names_of_the_buckets():
    """R1, R6: each region's processor reads the bucket of its own setting."""
    found = synthesise(IngestionStack, "ingestion", ingestion_bucket_name="my-east", ingestion_dr_bucket_name="my-west")
    for part, bucket in (("us_east_1", "my-east"), ("us_west_2", "my-west")):
        objects = {each for each in allowed(found, f"{part}/processor/role") if each.startswith("arn:aws:s3:")}
        assert objects == {f"arn:aws:s3:::{bucket}/*"}


@pytest.mark.parametrize("part", REGIONS)
def test_resources_let_in_nobody_else(request, part):
    """C7, C8: what is allowed by a resource's own policy: access logs, the schedule's dead letters, alarms; the bucket and the
    schedule of the same region may invoke."""
    found = request.getfixturevalue("ingestion").under(part)
    region, bucket = REGIONS[part]
    let_in = {
        (path.split("/")[1], action, principal)
        for kind in ("aws_s3_bucket_policy", "aws_sqs_queue_policy", "aws_sns_topic_policy")
        for path, body in found.all(kind).items()
        for statement in found.statements(body["policy"])
        if statement.get("effect", "Allow") == "Allow"
        for action in statement["actions"]
        for each in statement["principals"]
        for principal in each["identifiers"]
    }
    assert let_in == {
        ("access_logs", "s3:PutObject", "logging.s3.amazonaws.com"),
        ("heartbeat", "sqs:SendMessage", "events.amazonaws.com"),
        ("alarms", "sns:Publish", "cloudwatch.amazonaws.com"),
    }
    invokers = {
        (path.split("/")[1], body["principal"], body["source_arn"], body["source_account"])
        for path, body in found.readable(found.all("aws_lambda_permission")).items()
    }
    beat = arn(region, "events", "rule/serverless-replication-heartbeat-prod")
    assert invokers == {
        ("processor", "s3.amazonaws.com", bucket, "111122223333"),
        ("heartbeat", "events.amazonaws.com", beat, "111122223333"),
    }
