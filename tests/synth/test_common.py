"""What holds for every stack: provider, state, settings, names, tags, encryption, tracing, dead letters, retention (C)."""

import ast
import json
import re

import pytest

from ingestion_stack import IngestionStack
from lambda_packaging import package
from modules import cloudwatch_event_rule
from pet_detector_stack import PetDetectorStack
from settings import SettingsError
from state_backend_stack import StateBackendStack
from tap_stack import TapStack
from tests.synth.alarms import fires, metrics
from tests.synth.reading import Synthesised, app, root, synthesise

SYSTEMS = ("etl", "metadata")
PETS = "serverlessapp-pet-alerts"
TAGS = {"Environment": "Production", "Project": "ETL-Pipeline", "Owner": "data-platform"}


def tags(stack: Synthesised) -> set[tuple[tuple[str, str], ...]]:
    """The different sets of tags in a stack."""
    return {tuple(sorted(body["tags"].items())) for _, _, body in stack.every() if "tags" in body}


def construct(path: str) -> str:
    """Where the construct stands that owns the resource at this path."""
    return path.rsplit("/", 1)[0]


def test_every_resource_and_output_belongs_to_a_system(tap, etl, metadata):
    """The tests that look at one system's part would miss what stands beside them."""
    assert {path.split("/", 1)[0] for _, path, _ in tap.every()} == set(SYSTEMS)
    assert {path for _, path, _ in tap.every()} == {path for part in (etl, metadata) for _, path, _ in part.every()}
    assert set(tap.json["output"]) == set(etl.json["output"]) | set(metadata.json["output"])
    assert not set(etl.json["output"]) & set(metadata.json["output"])


# --- provider, state ------------------------------------------------------------------------------------------------


def test_provider_version_is_pinned(any_stack):
    """C1: the synthesised JSON pins AWS provider 5.100.0."""
    assert any_stack.json["terraform"]["required_providers"] == {"aws": {"source": "aws", "version": "5.100.0"}}


def test_provider_stands_in_the_region_of_the_settings(tap, staging):
    """C5c: AWS_REGION moves TapStack."""
    assert tap.json["provider"]["aws"] == [{"region": "us-east-1"}]
    assert staging.json["provider"]["aws"] == [{"region": "eu-central-1"}]
    assert "us-east-1" not in re.sub(r'"backend": \{.*?\}\s*\}', "", staging.text, flags=re.DOTALL)


def test_pet_detector_does_not_move():
    """C5c: AWS_REGION moves the others; this one stands in us-east-1."""
    with pytest.raises(SettingsError, match="must be us-east-1"):
        PetDetectorStack(app(), "x", aws_region="eu-west-1")


def test_ingestion_stands_in_its_two_regions(ingestion):
    """C5c, R1: AWS_REGION moves the others; its own region is the table's, the other has a provider of its own."""
    assert ingestion.json["provider"]["aws"] == [{"region": "us-east-1"}, {"region": "us-west-2", "alias": "us_west_2"}]
    with pytest.raises(SettingsError, match="must be us-east-1"):
        IngestionStack(app(), "x", aws_region="us-west-2")


def test_state_is_remote_and_locked(tap, staging, pets, pets_dev, ingestion, ingestion_dev):
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
    assert pets.json["terraform"]["backend"] == {"s3": {**expected, "key": "prod/pet-detector.tfstate"}}
    assert pets_dev.json["terraform"]["backend"] == {"s3": {**expected, "key": "dev/pet-detector.tfstate"}}
    assert ingestion.json["terraform"]["backend"] == {"s3": {**expected, "key": "prod/ingestion.tfstate"}}
    assert ingestion_dev.json["terraform"]["backend"] == {"s3": {**expected, "key": "dev/ingestion.tfstate"}}


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
    assert stack.json["provider"]["aws"][0] == {"region": "us-west-2"}


# --- keyword arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TapStack, PetDetectorStack, IngestionStack])
def test_stack_alone_synthesises(kind):
    """C5b: every keyword argument is optional."""
    assert synthesise(kind, "x").json["terraform"]["backend"]["s3"]["key"] == "prod/x.tfstate"


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


@pytest.mark.parametrize("kind", [TapStack, IngestionStack])
def test_local_endpoints_get_path_style(kind):
    """C4: plain Terraform reaches an endpoint without a host name per bucket, every provider and the backend alike."""
    stack = synthesise(kind, "x", s3_use_path_style=True)
    assert all(each["s3_use_path_style"] is True for each in stack.json["provider"]["aws"])
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
        "aws_cloudwatch_event_rule": 64,
        "aws_iam_role": 64,
        "aws_lambda_function": 64,
        "aws_opensearchserverless_access_policy": 32,
        "aws_opensearchserverless_collection": 32,
        "aws_opensearchserverless_lifecycle_policy": 32,
        "aws_opensearchserverless_security_policy": 32,
        "aws_s3_bucket": 63,
        "aws_sqs_queue": 80,
        "aws_sfn_state_machine": 80,
    }
    stack = synthesise(TapStack, "tap", environment_suffix="a123456789012345")
    for kind, limit in limits.items():
        assert stack.all(kind), kind
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


def test_values_of_the_tags(tap, staging, state_backend, pets, pets_dev, ingestion, ingestion_dev):
    """C6: Production, Staging, …; one project per system; the owner."""
    assert tags(tap) == {tuple(sorted(TAGS.items()))}
    assert tags(staging) == {tuple(sorted({**TAGS, "Environment": "Staging"}.items()))}
    assert tags(state_backend) == {tuple(sorted({**TAGS, "Project": "State-Backend"}.items()))}
    assert tags(pets) == {tuple(sorted({**TAGS, "Project": "Pet-Detector"}.items()))}
    assert tags(pets_dev) == {tuple(sorted({**TAGS, "Project": "Pet-Detector", "Environment": "Development"}.items()))}
    regional = {**TAGS, "Project": "Regional-Ingestion"}
    assert tags(ingestion) == {tuple(sorted(regional.items()))}
    assert tags(ingestion_dev) == {tuple(sorted({**regional, "Environment": "Development"}.items()))}


def test_own_tags_win_over_default_tags():
    """C6: a default tag cannot hide the three."""
    stack = synthesise(TapStack, "x", default_tags={"Project": "other", "Team": "a"}, owner="me")
    assert tags(stack) == {tuple(sorted({**TAGS, "Owner": "me", "Team": "a"}.items()))}


# --- secure defaults ------------------------------------------------------------------------------------------------


def test_every_bucket_is_private_encrypted_and_versioned(any_stack):
    """C7: SSE, versioning, public access blocked, bucket-owner-enforced."""
    for path in any_stack.all("aws_s3_bucket"):
        bucket = construct(path)
        encryption = any_stack.one("aws_s3_bucket_server_side_encryption_configuration", bucket)
        assert encryption["rule"][0]["apply_server_side_encryption_by_default"]["sse_algorithm"] == "AES256"
        versioning = any_stack.one("aws_s3_bucket_versioning", bucket)
        assert versioning["versioning_configuration"]["status"] == "Enabled"
        block = any_stack.one("aws_s3_bucket_public_access_block", bucket)
        assert all(
            block[each] is True
            for each in ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
        )
        ownership = any_stack.one("aws_s3_bucket_ownership_controls", bucket)
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
        statements = any_stack.statements(any_stack.one(policy_kind, construct(path))["policy"])
        (deny,) = [each for each in statements if each.get("effect") == "Deny"]
        assert deny["actions"] == actions
        assert deny["principals"] == [{"type": "*", "identifiers": ["*"]}]
        assert deny["condition"] == [{"test": "Bool", "variable": "aws:SecureTransport", "values": ["false"]}]
        assert len(deny["resources"]) == whole


@pytest.mark.parametrize(
    ("name", "logs_of"),
    [
        ("tap", {"etl/data": "etl/access_logs", "metadata/releases": "metadata/access_logs"}),
        ("state_backend", {"state": "access_logs"}),
        ("pets_dev", {"pets/images": "pets/access_logs"}),
        ("pets", {"pets/images": "pets/access_logs", "pets/trail/bucket": "pets/access_logs"}),
        ("ingestion", {f"{region}/data": f"{region}/access_logs" for region in ("us_east_1", "us_west_2")}),
    ],
)
def test_every_data_bucket_has_access_logs(request, name, logs_of):
    """C7: logged to a bucket that accepts logs of that bucket only."""
    stack = request.getfixturevalue(name)
    assert {construct(path) for path in stack.all("aws_s3_bucket")} == {*logs_of, *logs_of.values()}
    assert {construct(path) for path in stack.all("aws_s3_bucket_logging")} == set(logs_of)
    for data, logs in logs_of.items():
        logging = stack.readable(stack.one("aws_s3_bucket_logging", data))
        assert logging["bucket"] == f"<aws_s3_bucket {data}/bucket id>"
        assert logging["target_bucket"] == f"<aws_s3_bucket {logs}/bucket id>"
        name = stack.readable(stack.one("aws_s3_bucket", data)["bucket"])
        assert logging["target_prefix"] == f"{name}/"
        policy = stack.readable(stack.statements(stack.one("aws_s3_bucket_policy", logs)["policy"]))
        accepts = [each for each in policy if each.get("effect", "Allow") == "Allow"]
        assert len(accepts) == list(logs_of.values()).count(logs)
        place = f"arn:aws:s3:::{stack.readable(stack.one('aws_s3_bucket', logs)['bucket'])}/{name}/*"
        (accept,) = [each for each in accepts if each["resources"] == [place]]
        assert accept["actions"] == ["s3:PutObject"]
        assert {condition["variable"]: condition["values"] for condition in accept["condition"]} == {
            "aws:SourceArn": [f"arn:aws:s3:::{name}"],
            "aws:SourceAccount": ["111122223333"],
        }
        (rule,) = stack.one("aws_s3_bucket_lifecycle_configuration", logs)["rule"]
        assert (rule["status"], rule["filter"], rule["expiration"]) == ("Enabled", [{"prefix": ""}], [{"days": 90}])


def test_lifecycle_waits_for_versioning(any_stack):
    """E1b: rules on old versions need a versioned bucket."""
    for path, body in any_stack.all("aws_s3_bucket_lifecycle_configuration").items():
        assert body["depends_on"] == [any_stack.address("aws_s3_bucket_versioning", f"{construct(path)}/versioning")]


def test_every_table_is_encrypted_and_recoverable(any_stack):
    """C7, E8b: the AWS-managed key (no ARN given), point-in-time recovery, on demand."""
    for body in any_stack.all("aws_dynamodb_table").values():
        assert body["server_side_encryption"] == {"enabled": True}
        assert body["point_in_time_recovery"] == {"enabled": True}
        assert body["billing_mode"] == "PAY_PER_REQUEST"


USERS = {
    "aws_lambda_function": ("role", "lambda"),
    "aws_sfn_state_machine": ("role_arn", "states"),
    "aws_cloudwatch_event_target": ("role_arn", "events"),
    "aws_cloudtrail": ("cloud_watch_logs_role_arn", "cloudtrail"),
    "aws_codedeploy_deployment_group": ("service_role_arn", "codedeploy"),
    "aws_flow_log": ("iam_role_arn", "vpc-flow-logs"),
    "aws_api_gateway_account": ("cloudwatch_role_arn", "apigateway"),
}
"""What has a role: where it names it, and the service that assumes it."""
UNSURE = ("cloudtrail", "apigateway")
"""Whether these send aws:SourceAccount their guides leave open."""


def test_one_role_for_each_that_acts(any_stack):
    """C8: nobody shares a role, and each trusts its own service only, for this account."""
    users = [
        (any_stack.readable(body[field]), service)
        for kind, (field, service) in USERS.items()
        for body in any_stack.all(kind).values()
        if field in body or kind != "aws_cloudwatch_event_target"  # a rule invokes a function without one
    ]
    roles = any_stack.all("aws_iam_role")
    assert sorted(role for role, _ in users) == sorted(f"<aws_iam_role {path} arn>" for path in roles)
    for role, service in users:
        body = roles[role.split(" ")[1]]
        (statement,) = any_stack.readable(any_stack.statements(body["assume_role_policy"]))
        assert statement["actions"] == ["sts:AssumeRole"]
        assert statement["principals"] == [{"type": "Service", "identifiers": [f"{service}.amazonaws.com"]}]
        test = "StringEqualsIfExists" if service in UNSURE else "StringEquals"
        own_account = [{"test": test, "variable": "aws:SourceAccount", "values": ["111122223333"]}]
        assert statement.get("condition") == (None if service == "lambda" else own_account), "Lambda sends no SourceAccount"


def test_what_runs_depends_on_its_runtime_policy_and_not_on_its_grants(workload):
    """Design: AWS checks the runtime policy at creation; grants inside the dependencies would close a cycle."""
    for kind in ("aws_lambda_function", "aws_sfn_state_machine"):
        for path, body in workload.all(kind).items():
            at = construct(path)
            assert workload.address("aws_iam_role_policy", f"{at}/role/runtime_policy") in body["depends_on"]
            assert not [each for each in body["depends_on"] if "grants_policy" in each]
            assert workload.address("aws_cloudwatch_log_group", f"{at}/logs/group") in body["depends_on"]
            if kind == "aws_lambda_function":
                assert workload.address("aws_sqs_queue", f"{at}/dead_letters/queue") in body["depends_on"]


BROUGHT = {"pets": ["aws-lambda-powertools"], "ingestion": ["aws-lambda-powertools"]}
"""What a system's zip holds beside our own code."""


@pytest.mark.parametrize("name", ["tap", "pets", "ingestion"])
def test_code_is_compared_by_the_hash_that_lambda_reports(request, name, tmp_path):
    """C4: cdktf's own asset hash is another one, and the plan would never settle. Each function has its own system's code."""
    for path, body in request.getfixturevalue(name).all("aws_lambda_function").items():
        system = name if name == "ingestion" else path.split("/", 1)[0]
        expected = package(system, root() / "lambdas", tmp_path, distributions=BROUGHT.get(system, []))
        assert body["source_code_hash"] == expected.source_code_hash
        assert body["filename"].endswith(expected.path.name)


# --- topics ---------------------------------------------------------------------------------------------------------


def test_topic_has_a_key_of_its_own(system):
    """C7, E9: CloudWatch alarms silently fail to publish to a topic under alias/aws/sns."""
    ((path, topic),) = system.all("aws_sns_topic").items()
    assert system.readable(topic["kms_master_key_id"]) == f"<aws_kms_key {construct(path)}/key arn>"
    key = system.one("aws_kms_key")
    assert key["enable_key_rotation"] is True
    alarms = {"type": "Service", "identifiers": ["cloudwatch.amazonaws.com"]}
    own_account = {"test": "StringEquals", "variable": "aws:SourceAccount", "values": ["111122223333"]}
    account, encrypt = system.readable(system.statements(key["policy"]))
    assert (encrypt["actions"], encrypt["principals"]) == (["kms:Decrypt", "kms:GenerateDataKey"], [alarms])
    assert encrypt["condition"] == [own_account]
    assert account["principals"] == [{"type": "AWS", "identifiers": ["arn:aws:iam::111122223333:root"]}]
    assert {"kms:PutKeyPolicy", "kms:DescribeKey", "kms:ScheduleKeyDeletion"} <= set(account["actions"])
    publish = system.readable(system.statements(system.one("aws_sns_topic_policy")["policy"]))[0]
    assert (publish["actions"], publish["principals"], publish["condition"]) == (["sns:Publish"], [alarms], [own_account])


def test_delegating_the_key_covers_what_publishers_are_granted(etl):
    """E9: a role's permission on the key counts only for actions that the key policy leaves to the account."""
    account = etl.statements(etl.one("aws_kms_key")["policy"])[0]["actions"]
    for path in ("etl/validation/role", "etl/pipeline/role", "etl/recovery/role"):
        on_key = {action for action, _ in etl.permissions(path, "grants") if action.startswith("kms:")}
        assert on_key == {"kms:Decrypt", "kms:GenerateDataKey"}
        assert on_key <= set(account)


# --- tracing, logs, dead letters ------------------------------------------------------------------------------------


def test_everything_that_runs_is_traced(workload):
    """C9: X-Ray on every Lambda, state machine and stage of an API."""
    assert all(body["tracing_config"] == {"mode": "Active"} for body in workload.all("aws_lambda_function").values())
    assert all(body["tracing_configuration"] == {"enabled": True} for body in workload.all("aws_sfn_state_machine").values())
    assert all(body["xray_tracing_enabled"] is True for body in workload.all("aws_api_gateway_stage").values())


def test_everything_that_runs_has_a_log_group_with_retention(workload):
    """C9: made by Terraform under the name that the service uses; machine groups under /aws/vendedlogs/states/."""
    groups = {body["name"]: body["retention_in_days"] for body in workload.all("aws_cloudwatch_log_group").values()}
    functions = [f"/aws/lambda/{body['function_name']}" for body in workload.all("aws_lambda_function").values()]
    machines = [f"/aws/vendedlogs/states/{body['name']}" for body in workload.all("aws_sfn_state_machine").values()]
    others = [
        *(
            name
            for body in workload.all("aws_api_gateway_stage").values()
            for name in (
                "/aws/apigateway/" + workload.one("aws_api_gateway_rest_api")["name"],
                f"API-Gateway-Execution-Logs_{body['rest_api_id']}/{body['stage_name']}",
            )
        ),
        *(f"aws-waf-logs-{body['name']}" for body in workload.all("aws_wafv2_web_acl").values()),
        *(f"/aws/cloudtrail/{body['name']}" for body in workload.all("aws_cloudtrail").values()),
        *("/aws/vpc/serverlessapp-pets" for _ in workload.all("aws_flow_log")),
    ]
    assert groups == dict.fromkeys([*functions, *machines, *others], 90)


def test_machines_log_every_state_with_its_data(workload):
    """C9, E7a: to their own group."""
    for path, body in workload.all("aws_sfn_state_machine").items():
        group = workload.one("aws_cloudwatch_log_group", construct(path))["name"]
        assert workload.readable(body["logging_configuration"]) == {
            "level": "ALL",
            "include_execution_data": True,
            "log_destination": workload.arn("logs", f"log-group:{group}:*"),
        }


@pytest.mark.parametrize("kind", [TapStack, PetDetectorStack, IngestionStack])
def test_log_retention_is_a_setting(kind):
    """C5a, C9."""
    stack = synthesise(kind, "x", log_retention_days=7)
    assert {body["retention_in_days"] for body in stack.all("aws_cloudwatch_log_group").values()} == {7}


QUERIES = {
    "etl": ({"etl/story-of-a-file", "etl/errors"}, ("file_name", "execution")),
    "metadata": ({"metadata/story-of-a-file"}, ("key", "execution")),
}
"""The saved queries of each system, and the fields of its log lines that tell the file and the execution."""


@pytest.mark.parametrize("name", SYSTEMS)
def test_saved_queries_read_the_functions_logs(request, name):
    """C9: Logs Insights queries over the groups of all functions of the system, by the fields that every log line carries."""
    system = request.getfixturevalue(name)
    groups = {f"/aws/lambda/{body['function_name']}" for body in system.all("aws_lambda_function").values()}
    expected, fields = QUERIES[name]
    queries = system.all("aws_cloudwatch_query_definition").values()
    assert {body["name"] for body in queries} == expected
    for body in queries:
        assert set(body["log_group_names"]) == groups
        assert all(re.search(rf"\b{field}\b", body["query_string"]) for field in fields)


def test_every_function_and_rule_has_a_dead_letter_queue(workload):
    """C10: SSE-SQS, 14 days. So has what reads a stream; a rule that invokes a function puts its own to the function's."""
    functions = workload.readable(workload.all("aws_lambda_function"))
    targets = workload.readable(workload.all("aws_cloudwatch_event_target"))
    mappings = workload.readable(workload.all("aws_lambda_event_source_mapping"))
    holders = {
        **{path: body["dead_letter_config"]["target_arn"] for path, body in functions.items()},
        **{path: body["dead_letter_config"]["arn"] for path, body in targets.items() if "role_arn" in body},
        **{path: body["destination_config"]["on_failure"]["destination_arn"] for path, body in mappings.items()},
    }
    assert len(holders) == len(set(holders.values())) == len(workload.all("aws_sqs_queue"))
    for path, arn in holders.items():
        queue = workload.one("aws_sqs_queue", construct(path))
        assert arn == workload.arn("sqs", queue["name"])
        assert queue["sqs_managed_sse_enabled"] is True
        assert queue["message_retention_seconds"] == 14 * 24 * 3600
    names = {path: body["function_name"] for path, body in functions.items()}
    queues = {workload.arn("lambda", f"function:{name}"): holders[path] for path, name in names.items()}
    for path in set(targets) - set(holders):
        assert targets[path]["dead_letter_config"]["arn"] == queues[targets[path]["arn"]]


def test_only_its_rule_may_fill_a_rules_queue(workload):
    """C10: EventBridge delivers dead letters by the queue's policy, which names the rule; a function's queue lets in nobody
    but by the function's role, and the rule that invokes it."""
    rules = {f"<aws_cloudwatch_event_rule {path} name>": body for path, body in workload.all("aws_cloudwatch_event_rule").items()}
    assert rules
    targets = workload.readable(list(workload.all("aws_cloudwatch_event_target").values()))
    fillers = {body["dead_letter_config"]["arn"]: rules.pop(body["rule"])["name"] for body in targets}
    assert not rules, "rules without a queue"
    for path, body in workload.all("aws_sqs_queue_policy").items():
        policy = workload.readable(workload.statements(body["policy"]))
        allowed = [each for each in policy if each.get("effect", "Allow") == "Allow"]
        queue = workload.arn("sqs", workload.one("aws_sqs_queue", construct(path))["name"])
        rule = fillers.pop(queue, None)
        if rule is None:
            assert not allowed
            continue
        (allow,) = allowed
        assert (allow["actions"], allow["principals"][0]["identifiers"]) == (["sqs:SendMessage"], ["events.amazonaws.com"])
        assert allow["resources"] == [queue]
        arn = workload.arn("events", f"rule/{rule}")
        assert allow["condition"] == [{"test": "ArnEquals", "variable": "aws:SourceArn", "values": [arn]}]
    assert not fillers, "rules whose queue takes nothing"


def test_rules_do_not_give_up(workload):
    """C10, E7b, M2: each rule has one target; a day of retries, then the dead-letter queue; the whole event is passed on. A
    schedule comes again by itself before a retry would (R7)."""
    targets = workload.readable(workload.all("aws_cloudwatch_event_target"))
    rules = {construct(path): body for path, body in workload.all("aws_cloudwatch_event_rule").items()}
    assert {construct(path) for path in targets} == set(rules)
    for path, target in targets.items():
        assert target["rule"] == f"<aws_cloudwatch_event_rule {construct(path)}/rule name>"
        seconds, attempts = (60, 1) if "schedule_expression" in rules[construct(path)] else (86400, 185)
        assert target["retry_policy"] == {"maximum_event_age_in_seconds": seconds, "maximum_retry_attempts": attempts}
        assert not {"input", "input_path", "input_transformer"} & set(target)


# --- alarms and dashboards ------------------------------------------------------------------------------------------


def test_machines_alarm_on_every_execution_that_did_not_succeed(workload):
    """E10, M7: one failed, timed-out or aborted execution within a minute, whether or not the other metrics have a value."""
    for path, machine in workload.all("aws_sfn_state_machine").items():
        alarm = workload.readable(workload.one("aws_cloudwatch_metric_alarm", f"{construct(path)}/not_succeeded"))
        assert not fires(alarm)
        assert not fires(alarm, failed=0, timedout=0, aborted=0)
        for metric in ("failed", "timedout", "aborted"):
            assert fires(alarm, **{metric: 1}), metric
            assert fires(alarm, **{"failed": 0, "timedout": 0, "aborted": 0, metric: 1}), metric
        arn = workload.arn("states", f"stateMachine:{machine['name']}")
        assert metrics(alarm) == {
            ("AWS/States", f"Executions{each}", "StateMachineArn", arn, 60, "Sum") for each in ("Failed", "TimedOut", "Aborted")
        }


def test_dead_letter_queues_alarm_on_the_first_message(workload):
    """C10, E10: visible messages; NumberOfMessagesSent would not count failed deliveries."""
    for path, queue in workload.all("aws_sqs_queue").items():
        alarm = workload.one("aws_cloudwatch_metric_alarm", construct(path))
        assert fires(alarm, depth=1)
        assert not fires(alarm, depth=0)
        assert not fires(alarm)
        name = queue["name"]
        assert metrics(alarm) == {("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", name, 60, "Maximum")}


@pytest.mark.parametrize(
    ("name", "topic", "count"),
    [
        ("etl", "etl-failures", 3 + 2 + 4),
        ("metadata", "metadata-alarms", 2 + 3),
        ("pets", PETS, 4 + 2 + 6 + 4 + 4 + 1),  # functions, machines, queues, API, trail, release
        ("pets_dev", f"{PETS}-dev", 4 + 2 + 6 + 3),
        ("ingestion_east", "serverless-ingestion-alarms-prod", 3 + 4 + 1 + 1),  # functions, queues, duration, lag
        ("ingestion_west", "serverless-ingestion-alarms-prod", 3 + 4 + 1 + 1),
    ],
)
def test_every_alarm_reaches_the_topic_and_names_a_command(request, name, topic, count):
    """E10, M7: all to the system's topic, each description naming the command that answers it; one period suffices."""
    system = request.getfixturevalue(name)
    alarms = system.readable(system.all("aws_cloudwatch_metric_alarm"))
    assert len(alarms) == count
    for alarm in alarms.values():
        assert alarm["alarm_actions"] == alarm["ok_actions"] == [system.arn("sns", topic)]
        command = rf"(aws .+ --region {system.region}|python -m ops .+ --suffix {'dev' if name == 'pets_dev' else 'prod'})"
        assert re.search(rf": {command}\b.* \(docs/runbook\.md#[a-z-]+\)$", alarm["alarm_description"])
        assert alarm["datapoints_to_alarm"] == 1
        assert "actions_enabled" not in alarm


def test_alarms_wait_for_late_metrics(workload):
    """E10: an error counts in the period in which its invocation began, up to fifteen minutes before a time-out; a state
    machine's metrics may come a minute late."""
    periods = {path: alarm["evaluation_periods"] for path, alarm in workload.all("aws_cloudwatch_metric_alarm").items()}
    seconds = max(each["timeout"] for each in workload.all("aws_lambda_function").values())
    assert all(300 * count > seconds + 300 for path, count in periods.items() if "/error_rate/" in path)
    assert all(count >= 3 for path, count in periods.items() if "/not_succeeded/alarm" in path)


def test_dashboard_draws_what_exists(system):
    """E10: every metric belongs to a function, machine or queue of this system, and none is missing."""
    body = json.loads(system.readable(system.one("aws_cloudwatch_dashboard")["dashboard_body"]))
    all_drawn = {(metric[0], metric[3]) for widget in body["widgets"] for metric in widget["properties"]["metrics"]}
    drawn = {(namespace, value) for namespace, value in all_drawn if namespace.startswith("AWS/")}
    functions = {("AWS/Lambda", each["function_name"]) for each in system.all("aws_lambda_function").values()}
    names = [each["name"] for each in system.all("aws_sfn_state_machine").values()]
    machines = {("AWS/States", system.arn("states", f"stateMachine:{name}")) for name in names}
    queues = {("AWS/SQS", each["name"]) for each in system.all("aws_sqs_queue").values()}
    assert drawn == functions | machines | queues
    assert all(widget["properties"]["title"] and widget["properties"]["region"] == system.region for widget in body["widgets"])
    assert all(widget["x"] + widget["width"] <= 24 for widget in body["widgets"])


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
@pytest.mark.parametrize("kind", [TapStack, StateBackendStack, PetDetectorStack, IngestionStack])
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
    for body in stack.all("aws_opensearchserverless_collection").values():
        assert body.get("lifecycle") == protected


# --- the house ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["tap_stack.py", "state_backend_stack.py", "pet_detector_stack.py", "ingestion_stack.py"])
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
    assert '"Version"' not in text
    assert "Statement" not in text


def test_only_what_is_used_of_the_provider_is_imported():
    """The package's own __init__ would import every resource (27 s); modules*.py go round it."""
    import sys

    used = {
        alias.name
        for path in root().glob("modules*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "cdktf_cdktf_provider_aws"
        for alias in node.names
    }
    loaded = {name.rpartition(".")[2] for name in sys.modules if re.fullmatch(r"cdktf_cdktf_provider_aws\.[a-z]\w+", name)}
    assert loaded
    assert loaded <= used
