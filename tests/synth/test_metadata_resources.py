"""The metadata pipeline's resources as the JSON shows them: bucket, rule, function, collection, table, alarm, outputs (M)."""

import json
import re
import zipfile

import pytest

from lambda_packaging import package
from lambdas.metadata import contract, environment
from modules import AwsStack, SearchCollection
from settings import CommonSettings
from tap_stack import TapStack
from tests.synth.alarms import fires, metrics
from tests.synth.events import matches, object_event, pattern, status_event
from tests.synth.reading import Synthesised, app, root, synthesise

ARN = "arn:aws:{}:us-east-1:111122223333:{}"
BUCKET = "iac-rlhf-aws-release"
COLLECTION = "iac-rlhf-metadata-collection"
PIPELINE = ARN.format("states", "stateMachine:metadata-pipeline")
ALICE, BOB = "arn:aws:iam::111122223333:role/team/alice", "arn:aws:iam::111122223333:user/bob"


@pytest.fixture(scope="module")
def chosen():
    """The metadata pipeline of prod with everything chosen that can be chosen."""
    return synthesise(
        TapStack,
        "tap",
        metadata_bucket_name="my-releases",
        metadata_index_name="my-index",
        metadata_dashboard_principals=f"{ALICE},{BOB}",
        metadata_standby_replicas=False,
        metadata_retention_days=30,
        metadata_indexing_memory_mb=256,
        metadata_indexing_timeout_seconds=300,
        metadata_indexing_reserved_concurrency=3,
        retain_data=False,
    ).under("metadata")


# --- bucket ---------------------------------------------------------------------------------------------------------


def test_name_of_the_bucket(metadata, staging, chosen):
    """M1, C5c: fixed for prod, with the suffix elsewhere; global, hence a setting."""
    names = [stack.one("aws_s3_bucket", "metadata/releases")["bucket"] for stack in (metadata, staging, chosen)]
    assert names == [BUCKET, f"{BUCKET}-staging", "my-releases"]


def test_bucket_sends_all_its_events_to_the_default_bus(metadata):
    """M1: and to nobody else."""
    notification = metadata.readable(metadata.one("aws_s3_bucket_notification"))
    assert notification["bucket"] == "<aws_s3_bucket metadata/releases/bucket id>"
    assert notification["eventbridge"] is True
    assert not {"lambda_function", "queue", "topic"} & set(notification)
    assert not metadata.all("aws_lambda_permission")


def test_releases_are_versioned_and_no_version_ever_expires(metadata):
    """M1: releases are other people's; only unfinished uploads and delete markers without a version are tidied up."""
    versioning = metadata.one("aws_s3_bucket_versioning", "metadata/releases")
    assert versioning["versioning_configuration"] == {"status": "Enabled"}
    (rule,) = metadata.one("aws_s3_bucket_lifecycle_configuration", "metadata/releases")["rule"]
    assert rule == {
        "id": "tidy",
        "status": "Enabled",
        "filter": [{"prefix": ""}],
        "expiration": [{"expired_object_delete_marker": True}],
        "abort_incomplete_multipart_upload": [{"days_after_initiation": 7}],
    }


def test_first_event_finds_everything_in_its_place(metadata):
    """M1, M2: versioning (else the version id is null), what the machines know by name only, both rules' targets, and what
    every role may do."""
    assert set(metadata.one("aws_s3_bucket_notification")["depends_on"]) >= {
        metadata.address("aws_s3_bucket_versioning", "metadata/releases/versioning"),
        metadata.address("aws_lambda_function", "metadata/indexing/function"),
        metadata.address("aws_dynamodb_table", "metadata/failures/table"),
        metadata.address("aws_opensearchserverless_access_policy", "metadata/collection/data"),
        metadata.address("aws_cloudwatch_event_target", "metadata/created/target"),
        metadata.address("aws_cloudwatch_event_target", "metadata/not_succeeded/target"),
        *(
            metadata.address("aws_iam_role_policy", f"metadata/{each}/role/{policy}_policy")
            for each in ("indexing", "pipeline", "recovery")
            for policy in ("runtime", "grants")
        ),
    }


# --- rules ----------------------------------------------------------------------------------------------------------


def test_pattern_of_the_rule(metadata):
    """M2: exactly this."""
    assert pattern(metadata, "metadata/created") == {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": [BUCKET]}, "object": {"key": [{"suffix": "/metadata.json"}, "metadata.json"]}},
    }


NAMED_EXACTLY = ["metadata.json", "a/b/metadata.json", "a b/ü/metadata.json", "/metadata.json", "metadata.json/metadata.json"]


@pytest.mark.parametrize("key", NAMED_EXACTLY)
def test_objects_that_start_the_pipeline(metadata, key):
    """M2: named exactly metadata.json, in any folder; keys in these events are not encoded."""
    assert matches(pattern(metadata, "metadata/created"), object_event(key))


@pytest.mark.parametrize(
    "event",
    [
        *map(
            object_event,
            [
                *("xmetadata.json", "a/xmetadata.json", "metadata.json.bak", "a/metadata.json.bak", "Metadata.json"),
                *("a/Metadata.json", "metadata.json/", "metadata.json/a", "metadata", "metadata_json", "a%2Fmetadata.json", ""),
            ],
        ),
        object_event("metadata.json", bucket="other"),
        object_event("metadata.json", bucket=f"{BUCKET}-staging"),
        object_event("metadata.json", kind="Object Deleted"),
        object_event("metadata.json", kind="Object Tags Added"),
        {**object_event("metadata.json"), "source": "mine.s3"},
        status_event(PIPELINE, "FAILED"),
    ],
    ids=lambda each: each["detail"].get("object", {}).get("key", "status") + " " + each["detail-type"],
)
def test_events_that_start_nothing(metadata, event):
    """M2: other names, other buckets, other happenings."""
    assert not matches(pattern(metadata, "metadata/created"), event)


def test_rule_watches_the_bucket_of_the_settings(chosen, staging):
    """M1, M2."""
    assert matches(pattern(chosen, "metadata/created"), object_event("metadata.json", bucket="my-releases"))
    assert not matches(pattern(chosen, "metadata/created"), object_event("metadata.json"))
    assert matches(pattern(staging, "metadata/created"), object_event("metadata.json", bucket=f"{BUCKET}-staging"))


@pytest.mark.parametrize(("rule", "machine"), [("created", "pipeline"), ("not_succeeded", "recovery")])
def test_rules_start_their_machine(metadata, rule, machine):
    """M2, M6: under a role of their own, which is ready before; the whole event is the input (see test_common for retries)."""
    target = metadata.one("aws_cloudwatch_event_target", f"metadata/{rule}")
    assert metadata.readable(target)["arn"] == f"<aws_sfn_state_machine metadata/{machine}/machine arn>"
    assert metadata.readable(target)["role_arn"] == f"<aws_iam_role metadata/{rule}/role/role arn>"
    assert metadata.readable(target)["dead_letter_config"] == {
        "arn": ARN.format("sqs", f"metadata-{rule.replace('_', '-')}-dlq")
    }
    assert set(target["depends_on"]) >= {
        metadata.address("aws_sqs_queue", f"metadata/{rule}/dead_letters/queue"),
        metadata.address("aws_iam_role_policy", f"metadata/{rule}/role/grants_policy"),
    }


@pytest.mark.parametrize(
    ("machine", "status", "starts"),
    [
        ("metadata-pipeline", "FAILED", True),
        ("metadata-pipeline", "TIMED_OUT", True),
        ("metadata-pipeline", "ABORTED", True),
        ("metadata-pipeline", "SUCCEEDED", False),
        ("metadata-pipeline", "RUNNING", False),
        ("metadata-recovery", "FAILED", False),  # else it would chase its own tail
        ("etl-pipeline", "FAILED", False),
    ],
)
def test_executions_that_the_recovery_sees(metadata, machine, status, starts):
    """M6."""
    event = status_event(ARN.format("states", f"stateMachine:{machine}"), status)
    assert matches(pattern(metadata, "metadata/not_succeeded"), event) is starts


# --- function -------------------------------------------------------------------------------------------------------


def test_exactly_one_function_with_its_own_code_only(metadata, tmp_path):
    """M4: its zip holds this system's folder and what the systems share, and the handler is in it."""
    function = metadata.one("aws_lambda_function")
    assert (function["function_name"], function["handler"]) == ("metadata-indexing", contract.HANDLER)
    assert (function["runtime"], function["architectures"]) == ("python3.13", ["arm64"])
    built = package("metadata", root() / "lambdas", tmp_path)
    assert function["source_code_hash"] == built.source_code_hash
    names = zipfile.ZipFile(built.path).namelist()
    assert {name.rsplit("/", 1)[0] for name in names} == {"lambdas/metadata", "lambdas/common"}
    assert f"{contract.HANDLER.rpartition('.')[0].replace('.', '/')}.py" in names


def test_memory_timeout_and_concurrency_are_settings(metadata, chosen):
    """C5a: reserved concurrency unset by default, since fresh accounts refuse any."""
    by_default, other = metadata.one("aws_lambda_function"), chosen.one("aws_lambda_function")
    assert (by_default["memory_size"], by_default["timeout"]) == (512, 240)
    assert "reserved_concurrent_executions" not in by_default
    assert (other["memory_size"], other["timeout"], other["reserved_concurrent_executions"]) == (256, 300, 3)


def test_environment_is_exactly_what_the_function_reads(metadata, chosen):
    """M4, M5a: the endpoint of the collection and the name of the index, as the function accepts them."""
    reference = "<aws_opensearchserverless_collection metadata/collection/collection collection_endpoint>"
    for stack, name in ((metadata, "release-metadata"), (chosen, "my-index")):
        variables = stack.readable(stack.one("aws_lambda_function")["environment"]["variables"])
        assert variables == {contract.ENV_COLLECTION_ENDPOINT: reference, contract.ENV_INDEX_NAME: name}
        assert set(variables) == set(contract.ENVIRONMENT)
        endpoint = {contract.ENV_COLLECTION_ENDPOINT: "https://abc123.us-east-1.aoss.amazonaws.com", "AWS_REGION": "us-east-1"}
        assert environment.indexing({**variables, **endpoint}).index_name == name


# --- collection -----------------------------------------------------------------------------------------------------


def policy(stack, kind, path):
    """A policy of the collection: its type and its document."""
    body = stack.one(f"aws_opensearchserverless_{kind}", f"metadata/collection/{path}")
    return body["type"], json.loads(stack.readable(body["policy"]))


def test_collection(metadata):
    """M5a: time series; made after the encryption policy, without which AWS refuses it, and after the network policy."""
    body = metadata.one("aws_opensearchserverless_collection")
    assert (body["name"], body["type"]) == (COLLECTION, "TIMESERIES")
    assert set(body["depends_on"]) == {
        metadata.address("aws_opensearchserverless_security_policy", "metadata/collection/encryption"),
        metadata.address("aws_opensearchserverless_security_policy", "metadata/collection/network"),
    }


def test_nothing_else_of_opensearch(metadata):
    """M5a: no policy beside those tested here, and no VPC endpoint."""
    found = {kind: len(metadata.all(kind)) for kind in metadata.kinds() if "opensearch" in kind}
    assert found == {
        "aws_opensearchserverless_collection": 1,
        "aws_opensearchserverless_security_policy": 2,
        "aws_opensearchserverless_access_policy": 1,
        "aws_opensearchserverless_lifecycle_policy": 1,
    }


def test_collection_is_encrypted(metadata):
    """M5a, C7: with a key of AWS; this collection alone."""
    assert policy(metadata, "security_policy", "encryption") == (
        "encryption",
        {"Rules": [{"ResourceType": "collection", "Resource": [f"collection/{COLLECTION}"]}], "AWSOwnedKey": True},
    )


def test_collection_and_dashboard_are_public(metadata):
    """M5a: for signed requests of those whom the data policy names."""
    resource = [f"collection/{COLLECTION}"]
    assert policy(metadata, "security_policy", "network") == (
        "network",
        [
            {
                "Rules": [
                    {"ResourceType": "collection", "Resource": resource},
                    {"ResourceType": "dashboard", "Resource": resource},
                ],
                "AllowFromPublic": True,
            }
        ],
    )


def data_policy(collection, index, users, indexer):
    """All that anybody may do with the data."""
    return [
        {
            "Description": "Use the dashboard",
            "Rules": [
                {
                    "ResourceType": "collection",
                    "Resource": [f"collection/{collection}"],
                    "Permission": [
                        "aoss:CreateCollectionItems",
                        "aoss:DescribeCollectionItems",
                        "aoss:UpdateCollectionItems",
                    ],
                },
                {
                    "ResourceType": "index",
                    "Resource": [f"index/{collection}/*"],
                    "Permission": ["aoss:DescribeIndex", "aoss:ReadDocument"],
                },
            ],
            "Principal": users,
        },
        {
            "Description": f"Fill the index {index}",
            "Rules": [
                {
                    "ResourceType": "index",
                    "Resource": [f"index/{collection}/{index}"],
                    "Permission": ["aoss:CreateIndex", "aoss:DescribeIndex", "aoss:UpdateIndex", "aoss:WriteDocument"],
                }
            ],
            "Principal": [f"arn:aws:iam::111122223333:role/{indexer}"],
        },
    ]


DEPLOYER = "${data.aws_iam_session_context.deployer.issuer_arn}"


def test_data_policy(metadata, staging):
    """M5a, C8: the indexer fills its index and reads nothing; by default whoever deploys may use the dashboard."""
    for stack, suffix in ((metadata, ""), (staging, "-staging")):
        name = stack.one("aws_opensearchserverless_collection")["name"]
        expected = data_policy(name, "release-metadata", [DEPLOYER], f"metadata-indexing{suffix}")
        assert policy(stack, "access_policy", "data") == ("data", expected)
        role = stack.one("aws_iam_role", "metadata/indexing/role")["name"]
        assert expected[1]["Principal"] == [f"arn:aws:iam::111122223333:role/{role}"]


def test_deployer_is_the_role_and_not_its_session(tap):
    """M5a: a data policy that names a session would shut the next one out."""
    (context,) = tap.json["data"]["aws_iam_session_context"].values()
    assert context == {"arn": "${data.aws_caller_identity.account.arn}"}


def test_dashboard_principals_are_a_setting(chosen, metadata):
    """M5a: instead of the deployer."""
    expected = data_policy(COLLECTION, "my-index", [ALICE, BOB], "metadata-indexing")
    assert policy(chosen, "access_policy", "data") == ("data", expected)
    assert DEPLOYER in metadata.text
    assert "session_context" not in chosen.text


def test_retention(metadata, chosen):
    """M5a: of every index of this collection."""
    for stack, days in ((metadata, 365), (chosen, 30)):
        rule = {"ResourceType": "index", "Resource": [f"index/{COLLECTION}/*"], "MinIndexRetention": f"{days}d"}
        assert policy(stack, "lifecycle_policy", "retention") == ("retention", {"Rules": [rule]})


@pytest.mark.parametrize(
    ("settings", "replicas"),
    [
        ({}, "ENABLED"),
        ({"environment_suffix": "dev"}, "DISABLED"),
        ({"metadata_standby_replicas": False}, "DISABLED"),
        ({"environment_suffix": "dev", "metadata_standby_replicas": True}, "ENABLED"),
    ],
    ids=["prod", "dev", "prod, without", "dev, with"],
)
def test_standby_replicas(settings, replicas):
    """M5a: for prod only, unless chosen otherwise."""
    assert synthesise(TapStack, "x", **settings).one("aws_opensearchserverless_collection")["standby_replicas"] == replicas


@pytest.mark.parametrize("suffix", ["prod", *("abcdefghijklmnop"[:length] for length in range(1, 17)), "a-b-c-d-e-f-g-hi"])
def test_names_of_the_collection_in_every_environment(metadata, suffix):
    """M5a, C5c: AWS takes 3 to 32 small letters, digits and hyphens, a letter first; collection and policies have one name."""
    stack = AwsStack(app(), "test", settings=CommonSettings(environment_suffix=suffix), project="Test")
    base = metadata.one("aws_opensearchserverless_collection")["name"]
    SearchCollection(
        stack, "collection", name=base, description="d", dashboard_users=[ALICE], standby_replicas=False, retention_days=1
    )
    found = Synthesised.of(stack)
    (name,) = {body["name"] for _, _, body in found.every()}
    assert re.fullmatch(r"[a-z][a-z0-9-]{2,31}", name)
    assert name == base if suffix == "prod" else name.endswith(f"-{suffix}")


# --- table of failures ----------------------------------------------------------------------------------------------


def test_table_of_failures(metadata, chosen):
    """M6: keys, on demand, encrypted, recoverable; protected if data is retained."""
    table = metadata.one("aws_dynamodb_table")
    assert table["name"] == "metadata-processing-failures"
    assert (table["hash_key"], table["range_key"]) == ("execution_id", "failed_at")
    assert table["attribute"] == [{"name": "execution_id", "type": "S"}, {"name": "failed_at", "type": "S"}]
    assert table["billing_mode"] == "PAY_PER_REQUEST"
    assert table["server_side_encryption"] == {"enabled": True}
    assert table["point_in_time_recovery"] == {"enabled": True}
    assert not {"global_secondary_index", "local_secondary_index", "ttl"} & set(table)
    assert table["deletion_protection_enabled"] is True
    assert chosen.one("aws_dynamodb_table")["deletion_protection_enabled"] is False


# --- alarm ----------------------------------------------------------------------------------------------------------


def test_one_alarm_on_the_pipelines_executions(metadata):
    """M7: one alarm on what failed, timed out or was aborted, at least one within a minute, to the topic."""
    alarms = metadata.readable(metadata.all("aws_cloudwatch_metric_alarm"))
    of_pipeline = [each for each in alarms.values() if PIPELINE in [metric[3] for metric in metrics(each)]]
    (alarm,) = of_pipeline
    names = ("Failed", "TimedOut", "Aborted")
    assert metrics(alarm) == {("AWS/States", f"Executions{name}", "StateMachineArn", PIPELINE, 60, "Sum") for name in names}
    assert fires(alarm, failed=1) and fires(alarm, timedout=1) and fires(alarm, aborted=1)
    assert fires(alarm, failed=0, timedout=1, aborted=0) and fires(alarm, failed=5, timedout=3, aborted=2)
    assert not fires(alarm) and not fires(alarm, failed=0, timedout=0, aborted=0)
    assert (alarm["evaluation_periods"], alarm["datapoints_to_alarm"], alarm["threshold"]) == (5, 1, 0)
    assert alarm["alarm_actions"] == [ARN.format("sns", "metadata-alarms")]
    assert alarm["alarm_name"] == metadata.json["output"]["metadata_alarm_name"]["value"]
    assert "python -m ops replay metadata --suffix prod" in alarm["alarm_description"]


def test_no_alarm_of_the_functions_own(metadata):
    """M7: each error that counts ends an execution; one that a retry mends calls nobody."""
    alarms = metadata.all("aws_cloudwatch_metric_alarm")
    assert {metric[0] for alarm in alarms.values() for metric in metrics(alarm)} == {"AWS/States", "AWS/SQS"}
    assert not [path for path in alarms if "error_rate" in path]


def test_email_subscriptions_are_settings(metadata, staging):
    """M7: this system's own; the ETL's addresses hear nothing of it."""
    assert not metadata.all("aws_sns_topic_subscription")
    subscriptions = staging.under("metadata").readable(staging.under("metadata").all("aws_sns_topic_subscription"))
    assert [(each["protocol"], each["endpoint"], each["topic_arn"]) for each in subscriptions.values()] == [
        ("email", "c@example.com", "<aws_sns_topic metadata/alarms/topic arn>")
    ]


# --- outputs --------------------------------------------------------------------------------------------------------


def test_outputs(metadata):
    """M8, C11: an interface: exactly these."""
    collection = "<aws_opensearchserverless_collection metadata/collection/collection {}>"
    assert {name: metadata.readable(each["value"]) for name, each in metadata.json["output"].items()} == {
        "metadata_bucket_name": BUCKET,
        "metadata_state_machine_arn": PIPELINE,
        "metadata_failures_table_name": "metadata-processing-failures",
        "metadata_collection_name": COLLECTION,
        "metadata_collection_endpoint": collection.format("collection_endpoint"),
        "metadata_index_name": "release-metadata",
        "metadata_dashboard_url": collection.format("dashboard_endpoint"),
        "metadata_alarm_name": "metadata-pipeline-executions-failed",
        "metadata_alarm_topic_arn": ARN.format("sns", "metadata-alarms"),
    }
    assert all(each["description"] for each in metadata.json["output"].values())
