"""What holds for every stack: provider, state, settings, names, tags, encryption, tracing, dead letters, retention (C)."""

import ast
import re

import pytest

from modules import cloudwatch_event_rule
from settings import SettingsError
from state_backend_stack import StateBackendStack
from tap_stack import TapStack
from tests.synth.reading import Synthesised, app, root, synthesise

TAGS = {"Environment": "Production", "Project": "ETL-Pipeline", "Owner": "data-platform"}


def tags(stack: Synthesised) -> set[tuple[tuple[str, str], ...]]:
    """The different sets of tags in a stack."""
    return {tuple(sorted(body["tags"].items())) for _, _, body in stack.every() if "tags" in body}


# --- provider, state ------------------------------------------------------------------------------------------------


def test_provider_version_is_pinned(any_stack):
    """C1: the synthesised JSON pins AWS provider 5.100.0."""
    assert any_stack.json["terraform"]["required_providers"] == {"aws": {"source": "aws", "version": "5.100.0"}}


def test_provider_stands_in_the_region_of_the_settings(tap, staging):
    """C5c: AWS_REGION moves TapStack."""
    assert tap.json["provider"]["aws"] == [{"region": "us-east-1"}]
    assert staging.json["provider"]["aws"] == [{"region": "eu-central-1"}]
    assert "us-east-1" not in re.sub(r'"backend": \{.*?\}\s*\}', "", staging.text, flags=re.DOTALL)


def test_state_is_remote_and_locked(tap, staging):
    """C3: bucket, lock table, encryption; key SUFFIX/STACK-ID.tfstate."""
    expected = {
        "bucket": "iac-rlhf-tf-states",
        "dynamodb_table": "iac-rlhf-tf-locks",
        "encrypt": True,
        "key": "prod/tap.tfstate",
        "region": "us-east-1",
    }
    assert tap.json["terraform"]["backend"] == {"s3": expected}
    assert staging.json["terraform"]["backend"] == {"s3": {**expected, "key": "staging/tap.tfstate"}}


def test_state_backend_creates_what_the_other_stacks_name(tap, state_backend):
    """C3: a versioned, encrypted, private bucket and a lock table; its own state is local."""
    backend = tap.json["terraform"]["backend"]["s3"]
    assert state_backend.one("aws_s3_bucket", "state")["bucket"] == backend["bucket"]
    locks = state_backend.one("aws_dynamodb_table")
    assert (locks["name"], locks["hash_key"]) == (backend["dynamodb_table"], "LockID")
    assert "range_key" not in locks
    assert list(state_backend.json["terraform"]["backend"]) == ["local"]
    assert set(state_backend.json["output"]) == {"state_bucket_name", "state_lock_table_name"}


def test_state_backend_is_one_for_all_environments():
    """C3, C5c: its names carry no suffix, and it stands in the region that the backends name."""
    stack = synthesise(
        StateBackendStack, "state-backend", environment_suffix="staging", aws_region="eu-west-1", state_bucket_region="us-west-2"
    )
    assert stack.one("aws_s3_bucket", "state")["bucket"] == "iac-rlhf-tf-states"
    assert stack.one("aws_dynamodb_table")["name"] == "iac-rlhf-tf-locks"
    assert stack.json["provider"]["aws"] == [{"region": "us-west-2"}]


# --- keyword arguments ----------------------------------------------------------------------------------------------


def test_stack_alone_synthesises():
    """C5b: every keyword argument is optional."""
    assert Synthesised.of(TapStack(app(), "x")).json["terraform"]["backend"]["s3"]["key"] == "prod/x.tfstate"


@pytest.mark.parametrize("default_tags", [{"Team": "a"}, {"tags": {"Team": "a"}}], ids=["flat", "as a Terraform block"])
def test_keyword_arguments(default_tags):
    """C5b: suffix, region, state bucket, its region, default tags in both shapes."""
    stack = synthesise(
        TapStack,
        "TapStack",
        environment_suffix="qa",
        aws_region="us-west-2",
        state_bucket="my-states",
        state_bucket_region="eu-west-1",
        default_tags=default_tags,
    )
    backend = stack.json["terraform"]["backend"]["s3"]
    assert (backend["bucket"], backend["region"], backend["key"]) == ("my-states", "eu-west-1", "qa/TapStack.tfstate")
    assert stack.json["provider"]["aws"] == [{"region": "us-west-2"}]
    assert tags(stack) == {tuple(sorted({**TAGS, "Environment": "qa", "Team": "a"}.items()))}


def test_bad_keyword_arguments_give_one_message():
    """C5b: every fault at once."""
    with pytest.raises(SettingsError) as caught:
        TapStack(app(), "x", environment_suffix="No!", aws_region="here", tgas={})
    assert len(caught.value.faults) == 3
    assert all(name in str(caught.value) for name in ("environment_suffix", "aws_region", "tgas"))


def test_local_endpoints_get_path_style():
    """C4: plain Terraform reaches an endpoint without a host name per bucket, provider and backend alike."""
    stack = synthesise(TapStack, "tap", s3_use_path_style=True)
    assert stack.json["provider"]["aws"][0]["s3_use_path_style"] is True
    assert stack.json["terraform"]["backend"]["s3"]["use_path_style"] is True


# --- names and tags -------------------------------------------------------------------------------------------------


def names(stack: Synthesised) -> dict[str, str]:
    """Construct path → the name that AWS sees, of everything named."""
    fields = ("name", "bucket", "function_name", "alarm_name", "dashboard_name")
    return {
        path: next(body[field] for field in fields if field in body)
        for kind, path, body in stack.every()
        if any(field in body for field in fields)
        and not kind.startswith(("aws_s3_bucket_", "aws_iam_role_policy", "aws_lambda_permission"))
    }


def test_other_environments_never_share_a_name(tap, staging):
    """C5c: prod carries the fixed names, any other suffix is appended, so that both live in one account."""
    prod, other = names(tap), names(staging)
    assert set(prod) == set(other)
    assert not set(prod.values()) & set(other.values())
    assert all("staging" in name for name in other.values())
    assert other["etl/validation/function"] == "etl-validation-staging"
    assert staging.readable(other["etl/data/bucket"]) == "etl-pipeline-staging-111122223333"


def test_longest_suffix_stays_within_the_limits_of_aws():
    """C5c: names are shortened before AWS refuses them."""
    limits = {
        "aws_iam_role": 64,
        "aws_lambda_function": 64,
        "aws_s3_bucket": 63,
        "aws_sqs_queue": 80,
        "aws_sfn_state_machine": 80,
    }
    stack = synthesise(TapStack, "tap", environment_suffix="a123456789012345")
    for kind, limit in limits.items():
        for body in stack.all(kind).values():
            name = stack.readable(next(body[field] for field in ("name", "function_name", "bucket") if field in body))
            assert len(name) <= limit, f"{kind} {name}"


def test_every_taggable_resource_is_tagged(any_stack):
    """C6: driven by the provider's own classes: what has tags, has ours, visibly."""
    untagged = [f"{kind} {path}" for kind, path, body in any_stack.every() if taggable(kind) and "tags" not in body]
    assert not untagged
    assert len(tags(any_stack)) == 1
    for _, _, body in any_stack.every():
        assert {"Environment", "Project", "Owner"} <= set(body.get("tags", TAGS))


def taggable(kind: str) -> bool:
    """Whether the provider's class of this resource type takes tags."""
    import importlib

    name = kind.removeprefix("aws_")
    module = importlib.import_module(f"cdktf_cdktf_provider_aws.{name}")
    classes = [each for each in vars(module).values() if isinstance(each, type) and hasattr(each, "TF_RESOURCE_TYPE")]
    (resource,) = [each for each in classes if kind == each.TF_RESOURCE_TYPE]
    return hasattr(resource, "tags_input")


def test_taggable_tells_classes_apart():
    """The test above would be worth nothing if this did not differ."""
    assert taggable("aws_s3_bucket")
    assert not taggable("aws_s3_bucket_policy")
    assert hasattr(cloudwatch_event_rule.CloudwatchEventRule, "tags_input")


def test_values_of_the_tags(tap, staging, state_backend):
    """C6: Production, Staging, …; one project per system; the owner."""
    assert tags(tap) == {tuple(sorted(TAGS.items()))}
    assert tags(staging) == {tuple(sorted({**TAGS, "Environment": "Staging"}.items()))}
    assert tags(state_backend) == {tuple(sorted({**TAGS, "Project": "State-Backend"}.items()))}


def test_own_tags_win_over_default_tags():
    """C6: a default tag cannot hide the three."""
    stack = synthesise(TapStack, "x", default_tags={"Project": "other", "Team": "a"}, owner="me")
    assert tags(stack) == {tuple(sorted({**TAGS, "Owner": "me", "Team": "a"}.items()))}


# --- secure defaults ------------------------------------------------------------------------------------------------


def test_every_bucket_is_private_encrypted_and_versioned(any_stack):
    """C7: SSE, versioning, public access blocked, bucket-owner-enforced."""
    for path in any_stack.all("aws_s3_bucket"):
        construct = path.removesuffix("/bucket")
        encryption = any_stack.one("aws_s3_bucket_server_side_encryption_configuration", construct)
        assert encryption["rule"][0]["apply_server_side_encryption_by_default"]["sse_algorithm"] == "AES256"
        versioning = any_stack.one("aws_s3_bucket_versioning", construct)
        assert versioning["versioning_configuration"]["status"] == "Enabled"
        block = any_stack.one("aws_s3_bucket_public_access_block", construct)
        assert all(
            block[each] is True
            for each in ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
        )
        ownership = any_stack.one("aws_s3_bucket_ownership_controls", construct)
        assert ownership["rule"]["object_ownership"] == "BucketOwnerEnforced"


@pytest.mark.parametrize(
    ("kind", "policy_kind", "actions", "whole"),
    [
        ("aws_s3_bucket", "aws_s3_bucket_policy", ["s3:*"], 2),
        ("aws_sqs_queue", "aws_sqs_queue_policy", ["sqs:*"], 1),
        ("aws_sns_topic", "aws_sns_topic_policy", ["sns:Publish"], 1),
    ],
)
def test_nothing_is_reached_without_tls(any_stack, kind, policy_kind, actions, whole):
    """C7: buckets (and their objects), queues and topics deny requests without TLS, to everybody."""
    for path in any_stack.all(kind):
        statements = any_stack.statements(any_stack.one(policy_kind, path.rsplit("/", 1)[0])["policy"])
        (deny,) = [each for each in statements if each.get("effect") == "Deny"]
        assert deny["actions"] == actions
        assert deny["principals"] == [{"type": "*", "identifiers": ["*"]}]
        assert deny["condition"] == [{"test": "Bool", "variable": "aws:SecureTransport", "values": ["false"]}]
        assert len(deny["resources"]) == whole


def test_every_data_bucket_has_access_logs(tap, state_backend):
    """C7: logged to a bucket that accepts logs of that bucket only, for a limited time."""
    for stack, data, logs in ((tap, "etl/data", "etl/access_logs"), (state_backend, "state", "access_logs")):
        logging = stack.readable(stack.one("aws_s3_bucket_logging"))
        assert logging["bucket"] == f"<aws_s3_bucket {data}/bucket id>"
        assert logging["target_bucket"] == f"<aws_s3_bucket {logs}/bucket id>"
        name = stack.readable(stack.one("aws_s3_bucket", data)["bucket"])
        assert logging["target_prefix"] == f"{name}/"
        policy = stack.readable(stack.statements(stack.one("aws_s3_bucket_policy", logs)["policy"]))
        (accept,) = [each for each in policy if each.get("effect", "Allow") == "Allow"]
        assert accept["actions"] == ["s3:PutObject"]
        assert accept["resources"] == [f"arn:aws:s3:::{stack.readable(stack.one('aws_s3_bucket', logs)['bucket'])}/{name}/*"]
        assert {condition["variable"]: condition["values"] for condition in accept["condition"]} == {
            "aws:SourceArn": [f"arn:aws:s3:::{name}"],
            "aws:SourceAccount": ["111122223333"],
        }


def test_every_table_is_encrypted_and_recoverable(any_stack):
    """C7, E8b: the AWS-managed key (no ARN given), point-in-time recovery, on demand."""
    for body in any_stack.all("aws_dynamodb_table").values():
        assert body["server_side_encryption"] == {"enabled": True}
        assert body["point_in_time_recovery"] == {"enabled": True}
        assert body["billing_mode"] == "PAY_PER_REQUEST"


def test_one_role_for_each_function_and_machine(tap):
    """C8: nobody shares a role, and each trusts its own service only."""
    users = {
        path: tap.readable(body.get("role") or body.get("role_arn"))
        for kind in ("aws_lambda_function", "aws_sfn_state_machine", "aws_cloudwatch_event_target")
        for path, body in tap.all(kind).items()
    }
    assert users == {path: f"<aws_iam_role {path.rsplit('/', 1)[0]}/role/role arn>" for path in users}
    assert len(users) == len(tap.all("aws_iam_role")) == 5
    for path, body in tap.all("aws_iam_role").items():
        (statement,) = tap.statements(body["assume_role_policy"])
        expected = {"validation": "lambda", "transformation": "lambda", "not_succeeded": "events"}.get(
            path.split("/")[1], "states"
        )
        assert statement["actions"] == ["sts:AssumeRole"]
        assert statement["principals"] == [{"type": "Service", "identifiers": [f"{expected}.amazonaws.com"]}]


# --- tracing, logs, dead letters ------------------------------------------------------------------------------------


def test_everything_that_runs_is_traced(tap):
    """C9: X-Ray on every Lambda and state machine."""
    assert all(body["tracing_config"] == {"mode": "Active"} for body in tap.all("aws_lambda_function").values())
    assert all(body["tracing_configuration"] == {"enabled": True} for body in tap.all("aws_sfn_state_machine").values())


def test_everything_that_runs_has_a_log_group_with_retention(tap):
    """C9: made by Terraform under the name that the service uses; machine groups under /aws/vendedlogs/states/."""
    groups = {body["name"]: body["retention_in_days"] for body in tap.all("aws_cloudwatch_log_group").values()}
    functions = [f"/aws/lambda/{body['function_name']}" for body in tap.all("aws_lambda_function").values()]
    machines = [f"/aws/vendedlogs/states/{body['name']}" for body in tap.all("aws_sfn_state_machine").values()]
    assert groups == dict.fromkeys([*functions, *machines], 90)


def test_machines_log_every_state_with_its_data(tap):
    """C9, E7a: to their own group."""
    for path, body in tap.all("aws_sfn_state_machine").items():
        group = tap.one("aws_cloudwatch_log_group", path.rsplit("/", 1)[0])["name"]
        assert tap.readable(body["logging_configuration"]) == {
            "level": "ALL",
            "include_execution_data": True,
            "log_destination": f"arn:aws:logs:us-east-1:111122223333:log-group:{group}:*",
        }


def test_log_retention_is_a_setting():
    """C5a, C9."""
    stack = synthesise(TapStack, "x", log_retention_days=7)
    assert {body["retention_in_days"] for body in stack.all("aws_cloudwatch_log_group").values()} == {7}


def test_saved_queries_read_the_functions_logs(tap):
    """C9: Logs Insights queries over log groups that exist, by the fields that every log line carries."""
    groups = {body["name"] for body in tap.all("aws_cloudwatch_log_group").values()}
    queries = tap.all("aws_cloudwatch_query_definition").values()
    assert {body["name"] for body in queries} == {"etl/story-of-a-file", "etl/errors"}
    for body in queries:
        assert set(body["log_group_names"]) <= groups
        assert "file_name" in body["query_string"]
        assert "execution" in body["query_string"]


def test_every_function_and_rule_has_a_dead_letter_queue(tap):
    """C10: SSE-SQS, 14 days."""
    holders = {
        **{path: body["dead_letter_config"]["target_arn"] for path, body in tap.all("aws_lambda_function").items()},
        **{path: body["dead_letter_config"]["arn"] for path, body in tap.all("aws_cloudwatch_event_target").items()},
    }
    assert len(set(holders.values())) == len(tap.all("aws_sqs_queue")) == 3
    for path, arn in holders.items():
        queue = tap.one("aws_sqs_queue", path.rsplit("/", 1)[0])
        assert tap.readable(arn) == f"arn:aws:sqs:us-east-1:111122223333:{queue['name']}"
        assert queue["sqs_managed_sse_enabled"] is True
        assert queue["message_retention_seconds"] == 14 * 24 * 3600


def test_only_its_rule_may_fill_a_rules_queue(tap):
    """C10: EventBridge delivers dead letters by the queue's policy, which names the rule."""
    rule = tap.one("aws_cloudwatch_event_rule")["name"]
    policy = tap.readable(tap.statements(tap.one("aws_sqs_queue_policy", "etl/not_succeeded/dead_letters")["policy"]))
    (allow,) = [each for each in policy if each.get("effect", "Allow") == "Allow"]
    assert (allow["actions"], allow["principals"][0]["identifiers"]) == (["sqs:SendMessage"], ["events.amazonaws.com"])
    arn = f"arn:aws:events:us-east-1:111122223333:rule/{rule}"
    assert allow["condition"] == [{"test": "ArnEquals", "variable": "aws:SourceArn", "values": [arn]}]


# --- retention of data ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, True),
        ({"retain_data": False}, False),
        ({"environment_suffix": "dev"}, False),
        ({"environment_suffix": "dev", "retain_data": True}, True),
    ],
    ids=["prod", "prod, given up", "dev", "dev, kept"],
)
@pytest.mark.parametrize("kind", [TapStack, StateBackendStack])
def test_retained_data_survives_destroy(kind, settings, kept):
    """C12: true for prod, false elsewhere; protected, or emptied and removed."""
    if kind is StateBackendStack and settings == {"environment_suffix": "dev"}:
        kept = True  # every environment's state lies there, prod's too
    stack = synthesise(kind, "x", **settings)
    protected = {"prevent_destroy": True} if kept else None
    for body in stack.all("aws_s3_bucket").values():
        assert (body["force_destroy"], body.get("lifecycle")) == (not kept, protected)
    for body in stack.all("aws_dynamodb_table").values():
        assert (body["deletion_protection_enabled"], body.get("lifecycle")) == (kept, protected)


# --- the house ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["tap_stack.py", "state_backend_stack.py"])
def test_stacks_compose_constructs(file):
    """C2: no policy JSON and no raw provider resource in a stack file."""
    text = (root() / file).read_text(encoding="utf-8")
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not [name for name in imported if name and name.startswith(("cdktf", "cdktf_cdktf_provider_aws"))]
    assert "Version" not in text
    assert "Statement" not in text


def test_only_what_is_used_of_the_provider_is_imported():
    """The package's own __init__ would import every resource (27 s); modules.py goes round it."""
    import sys

    loaded = [name for name in sys.modules if re.fullmatch(r"cdktf_cdktf_provider_aws\.\w+", name)]
    assert 0 < len(loaded) < 60
