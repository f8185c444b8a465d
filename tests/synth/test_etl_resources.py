"""The ETL pipeline's resources as the JSON shows them: bucket, notification, functions, table, topic, alarms, outputs (E)."""

import json
from fractions import Fraction

import pytest

from lambdas.etl import contract, environment
from tap_stack import TapStack
from tests.synth.alarms import fires, metrics
from tests.synth.reading import synthesise

ARN = "arn:aws:{}:us-east-1:111122223333:{}"


# --- bucket ---------------------------------------------------------------------------------------------------------


def lifecycle(stack):
    return {rule["id"]: rule for rule in stack.one("aws_s3_bucket_lifecycle_configuration", "etl/data")["rule"]}


def test_prefixes():
    """E1a: what the functions and the infrastructure call the three places."""
    assert (contract.RAW, contract.PROCESSED, contract.FAILED) == ("raw/", "processed/", "failed/")


def test_processed_files_are_archived_after_90_days_small_ones_too(etl):
    """E1b: storage class GLACIER; the filter by size lifts S3's default minimum of 128 KB."""
    rule = lifecycle(etl)["archive-processed"]
    assert rule["transition"] == [{"days": 90, "storage_class": "GLACIER"}]
    assert rule["filter"] == [{"and": [{"prefix": "processed/", "object_size_greater_than": 1}]}]
    assert "expiration" not in rule


def test_bucket_is_tidied(etl):
    """E1b: unfinished uploads after 1 day, old versions after 30, expired delete markers."""
    rule = lifecycle(etl)["tidy"]
    assert rule["abort_incomplete_multipart_upload"] == [{"days_after_initiation": 1}]
    assert rule["noncurrent_version_expiration"] == [{"noncurrent_days": 30}]
    assert rule["expiration"] == [{"expired_object_delete_marker": True}]
    assert rule["filter"] == [{"prefix": ""}]


def test_failed_files_are_kept_for_a_settable_time(etl):
    """E1b."""
    assert lifecycle(etl)["expire-failed"]["expiration"] == [{"days": 180}]
    rule = lifecycle(synthesise(TapStack, "x", etl_failed_retention_days=7))["expire-failed"]
    assert (rule["expiration"], rule["filter"]) == ([{"days": 7}], [{"prefix": "failed/"}])


def test_every_lifecycle_rule_is_on_and_nothing_expires_raw_or_processed(etl):
    """E1b: only what is named above ever goes."""
    rules = lifecycle(etl)
    assert {rule["status"] for rule in rules.values()} == {"Enabled"}
    assert [id_ for id_, rule in rules.items() if any("days" in each for each in rule.get("expiration", []))] == ["expire-failed"]


def test_bucket_name_is_a_setting():
    """C5a: bucket names are global."""
    assert synthesise(TapStack, "x", etl_bucket_name="my-etl").one("aws_s3_bucket", "etl/data")["bucket"] == "my-etl"


# --- notification ---------------------------------------------------------------------------------------------------


def test_every_object_under_raw_invokes_the_validation(etl):
    """E2: whatever its suffix."""
    notification = etl.readable(etl.one("aws_s3_bucket_notification"))
    assert notification["bucket"] == "<aws_s3_bucket etl/data/bucket id>"
    assert notification["lambda_function"] == [
        {
            "events": ["s3:ObjectCreated:*"],
            "filter_prefix": "raw/",
            "lambda_function_arn": ARN.format("lambda", "function:etl-validation"),
        }
    ]
    assert "eventbridge" not in notification


def test_only_this_bucket_may_invoke_the_validation(etl):
    """E2, C8."""
    permission = etl.readable(etl.one("aws_lambda_permission", "etl/validation"))
    assert permission["function_name"] == "<aws_lambda_function etl/validation/function function_name>"
    assert (permission["principal"], permission["action"]) == ("s3.amazonaws.com", "lambda:InvokeFunction")
    assert permission["source_arn"] == "arn:aws:s3:::etl-pipeline-111122223333"
    assert permission["source_account"] == "111122223333"


def test_first_event_finds_everything_in_its_place(etl):
    """E2: versioning (else the version id is null and every replacement a duplicate), permission, machine, policies."""
    assert set(etl.one("aws_s3_bucket_notification")["depends_on"]) >= {
        etl.address("aws_s3_bucket_versioning", "etl/data/versioning"),
        etl.address("aws_lambda_permission", "etl/validation/permit_s3"),
        etl.address("aws_sfn_state_machine", "etl/pipeline/machine"),
        *(
            etl.address("aws_iam_role_policy", f"etl/{each}/role/{policy}_policy")
            for each in ("validation", "transformation", "pipeline")
            for policy in ("runtime", "grants")
        ),
    }


# --- functions ------------------------------------------------------------------------------------------------------


def test_functions_run_the_same_code_each_by_its_handler(etl):
    """E6, departures: Python 3.13; the zip is compared by its own hash."""
    functions = etl.all("aws_lambda_function")
    assert {path: body["handler"] for path, body in functions.items()} == {
        "etl/validation/function": contract.VALIDATION_HANDLER,
        "etl/transformation/function": contract.TRANSFORMATION_HANDLER,
        "etl/sweep/function": contract.SWEEP_HANDLER,
    }
    assert {body["runtime"] for body in functions.values()} == {"python3.13"}
    assert len({body["source_code_hash"] for body in functions.values()}) == 1


def test_memory_timeout_and_concurrency_are_settings(etl):
    """E6: reserved concurrency unset by default, since fresh accounts refuse any."""
    assert not any("reserved_concurrent_executions" in body for body in etl.all("aws_lambda_function").values())
    settings = {
        "etl_validation_memory_mb": 256,
        "etl_validation_timeout_seconds": 60,
        "etl_validation_reserved_concurrency": 3,
        "etl_transformation_memory_mb": 1024,
        "etl_transformation_timeout_seconds": 120,
        "etl_transformation_reserved_concurrency": 4,
    }
    stack = synthesise(TapStack, "x", **settings)
    for name in ("validation", "transformation"):
        body = stack.one("aws_lambda_function", f"etl/{name}")
        assert body["memory_size"] == settings[f"etl_{name}_memory_mb"]
        assert body["timeout"] == settings[f"etl_{name}_timeout_seconds"]
        assert body["reserved_concurrent_executions"] == settings[f"etl_{name}_reserved_concurrency"]


def test_only_the_transformation_has_room_for_a_part(etl):
    """E12: the output of a range lies in its ephemeral storage; Lambda's own 512 MB need no mention."""
    storage = {path: body.get("ephemeral_storage") for path, body in etl.all("aws_lambda_function").items()}
    assert storage.pop("etl/transformation/function") == {"size": 10240}
    assert storage == {"etl/validation/function": None, "etl/sweep/function": None}
    least = synthesise(TapStack, "x", etl_transformation_ephemeral_storage_mb=512)
    assert "ephemeral_storage" not in least.one("aws_lambda_function", "etl/transformation")


def test_environment_is_exactly_what_the_functions_read(etl):
    """Design: the infrastructure sets those variables and no other."""

    def variables(name):
        return etl.readable(etl.one("aws_lambda_function", f"etl/{name}")["environment"]["variables"])

    assert set(variables("validation")) == set(contract.VALIDATION_ENVIRONMENT)
    assert set(variables("transformation")) == set(contract.TRANSFORMATION_ENVIRONMENT)
    assert set(variables("sweep")) == set(contract.SWEEP_ENVIRONMENT)
    assert variables("validation")[contract.ENV_STATE_MACHINE_ARN] == ARN.format("states", "stateMachine:etl-pipeline")
    assert variables("validation")[contract.ENV_TOPIC_ARN] == ARN.format("sns", "etl-failures")


def test_functions_accept_the_environment_that_is_set(etl, staging):
    """Design: one typed object at start; whatever the infrastructure sets must be readable by it."""
    for stack in (etl, staging.under("etl")):
        values = {
            name: stack.readable(body["environment"]["variables"]) for name, body in stack.all("aws_lambda_function").items()
        }
        assert environment.validation(values["etl/validation/function"]).max_file_bytes == 1024**4
        transformation = environment.transformation(values["etl/transformation/function"])
        assert transformation == environment.TransformationEnvironment(Fraction(1, 100), max_piece_bytes=5 * 1024**3)
        sweep = environment.sweep(values["etl/sweep/function"])
        assert sweep.table == stack.one("aws_dynamodb_table")["name"]
        assert sweep.bucket == stack.readable(stack.one("aws_s3_bucket", "etl/data")["bucket"])
        for machine, arn in (("pipeline", sweep.state_machine_arn), ("recovery", sweep.recovery_arn)):
            assert arn.endswith(":stateMachine:" + stack.one("aws_sfn_state_machine", f"etl/{machine}")["name"])


def test_thresholds_reach_the_functions():
    """E5c, E12: settings, passed on exactly."""
    stack = synthesise(TapStack, "x", etl_max_reject_ratio="0.125", etl_max_file_bytes=1000, etl_max_piece_bytes=3 * 1024**3)
    assert stack.one("aws_lambda_function", "etl/transformation")["environment"]["variables"] == {
        "MAX_REJECT_RATIO": "0.125",
        "MAX_PIECE_BYTES": str(3 * 1024**3),
    }
    assert stack.one("aws_lambda_function", "etl/validation")["environment"]["variables"]["MAX_FILE_BYTES"] == "1000"


def test_machine_the_function_starts_is_the_machine_there_is(etl, staging):
    """Design: the ARN is built from the name, so that function and machine may know each other."""
    for stack in (etl, staging.under("etl")):
        arn = stack.one("aws_lambda_function", "etl/validation")["environment"]["variables"]["STATE_MACHINE_ARN"]
        assert arn.endswith(":stateMachine:" + stack.one("aws_sfn_state_machine", "etl/pipeline")["name"])


# --- sweep ----------------------------------------------------------------------------------------------------------


def test_sweep_comes_every_15_minutes(etl):
    """E7c: by a schedule of its own, which finds everything in its place; no sweep meets the next."""
    assert etl.one("aws_cloudwatch_event_rule", "etl/sweeps")["schedule_expression"] == "rate(15 minutes)"
    target = etl.one("aws_cloudwatch_event_target", "etl/sweeps")
    assert etl.readable(target["arn"]) == ARN.format("lambda", "function:etl-sweep")
    assert set(target["depends_on"]) == {
        etl.address("aws_lambda_permission", "etl/sweep/permit_events"),
        etl.address("aws_dynamodb_table", "etl/metadata/table"),
        etl.address("aws_sfn_state_machine", "etl/pipeline/machine"),
        etl.address("aws_sfn_state_machine", "etl/recovery/machine"),
        etl.address("aws_iam_role_policy", "etl/sweep/role/runtime_policy"),
        etl.address("aws_iam_role_policy", "etl/sweep/role/grants_policy"),
    }
    permission = etl.readable(etl.one("aws_lambda_permission", "etl/sweep"))
    assert (permission["principal"], permission["source_account"]) == ("events.amazonaws.com", "111122223333")
    assert permission["source_arn"] == ARN.format("events", "rule/etl-sweep")
    assert etl.one("aws_lambda_function", "etl/sweep")["timeout"] < 15 * 60


def test_dashboard_shows_the_sweep(etl):
    """E7c, E10."""
    body = json.loads(etl.readable(etl.one("aws_cloudwatch_dashboard")["dashboard_body"]))
    drawn = [metric for widget in body["widgets"] for metric in widget["properties"]["metrics"]]
    shown = {metric[1] for metric in drawn if "etl-sweep" in metric}
    assert shown == {"Invocations", "Errors", "Throttles", "Duration"}
    assert any("etl-sweep-dlq" in metric for metric in drawn)
    assert all(widget["x"] + widget["width"] <= 24 for widget in body["widgets"])


# --- table ----------------------------------------------------------------------------------------------------------


def test_table_of_records(etl):
    """E8a, E8b: keys, and the index by status."""
    table = etl.one("aws_dynamodb_table")
    assert (table["hash_key"], table["range_key"]) == ("file_name", "process_start_time")
    assert table["global_secondary_index"] == [
        {
            "name": "status-index",
            "hash_key": "status",
            "range_key": "process_start_time",
            "projection_type": "ALL",
        }
    ]
    assert {each["name"]: each["type"] for each in table["attribute"]} == {
        "file_name": "S",
        "process_start_time": "S",
        "status": "S",
    }


# --- topic ----------------------------------------------------------------------------------------------------------


def test_email_subscriptions_are_settings(etl, staging):
    """E9."""
    assert not etl.all("aws_sns_topic_subscription")
    assert {(body["protocol"], body["endpoint"]) for body in staging.under("etl").all("aws_sns_topic_subscription").values()} == {
        ("email", "a@example.com"),
        ("email", "b@example.com"),
    }


def test_email_subscriptions_stand_on_their_own(staging):
    """E9: one address less replaces nobody else's confirmed subscription; an address named twice is one."""
    fewer = synthesise(TapStack, "tap", etl_alert_emails="B@example.com,b@example.com")
    assert set(fewer.all("aws_sns_topic_subscription")) < set(staging.under("etl").all("aws_sns_topic_subscription"))
    assert len(fewer.all("aws_sns_topic_subscription")) == 1


def test_subjects_are_constant_ascii_and_short():
    """E9: SNS refuses others, and a file name in a subject would make the failure notice itself fail."""
    for subject in (contract.SUBJECT_INVALID, contract.SUBJECT_REJECTS, contract.SUBJECT_FAILED):
        assert subject.isascii()
        assert len(subject) < 100


# --- alarms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["validation", "transformation", "sweep"])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, False),
        ({"errors": 0, "invocations": 0}, False),
        ({"errors": 0, "invocations": 100}, False),
        ({"errors": 5, "invocations": 100}, False),
        ({"errors": 51, "invocations": 1000}, True),
        ({"errors": 1, "invocations": 1}, True),
        ({"errors": 1, "invocations": 20}, False),
        ({"errors": 1, "invocations": 19}, True),
    ],
)
def test_alarm_on_the_error_rate(etl, name, data, expected):
    """E10: errors / invocations above 5 % over 5 minutes, for each Lambda."""
    alarm = etl.one("aws_cloudwatch_metric_alarm", f"etl/{name}/error_rate")
    assert fires(alarm, **data) is expected
    assert metrics(alarm) == {
        ("AWS/Lambda", metric, "FunctionName", f"etl-{name}", 300, "Sum") for metric in ("Errors", "Invocations")
    }


def test_error_rate_of_the_alarm_is_a_setting():
    """C5a."""
    alarm = synthesise(TapStack, "x", etl_error_rate_percent="0.5").one(
        "aws_cloudwatch_metric_alarm", "etl/validation/error_rate"
    )
    assert fires(alarm, errors=1, invocations=199)
    assert not fires(alarm, errors=1, invocations=200)


# --- outputs ------------------------------------------------------------------------------------------------------


def test_outputs(etl):
    """E13, C11: an interface: exactly these."""
    assert {name: etl.readable(each["value"]) for name, each in etl.json["output"].items()} == {
        "etl_bucket_name": "etl-pipeline-111122223333",
        "etl_state_machine_arn": ARN.format("states", "stateMachine:etl-pipeline"),
        "etl_metadata_table_name": "etl-file-metadata",
        "etl_failure_topic_arn": ARN.format("sns", "etl-failures"),
        "etl_validation_function_name": "etl-validation",
        "etl_transformation_function_name": "etl-transformation",
        "etl_dashboard_url": "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#dashboards/dashboard/etl-pipeline",
    }
    assert all(each["description"] for each in etl.json["output"].values())
