"""The ETL pipeline's resources as the JSON shows them: bucket, notification, functions, table, topic, alarms, outputs (E)."""

import ast
import json
from decimal import Decimal
from fractions import Fraction

import pytest

from lambda_packaging import package
from lambdas.etl import contract, environment
from tap_stack import TapStack
from tests.synth.reading import root, synthesise

ARN = "arn:aws:{}:us-east-1:111122223333:{}"


# --- bucket ---------------------------------------------------------------------------------------------------------


def lifecycle(stack):
    return {rule["id"]: rule for rule in stack.one("aws_s3_bucket_lifecycle_configuration", "etl/data")["rule"]}


def test_prefixes():
    """E1a: what the functions and the infrastructure call the three places."""
    assert (contract.RAW, contract.PROCESSED, contract.FAILED) == ("raw/", "processed/", "failed/")


def test_processed_files_are_archived_after_90_days_small_ones_too(tap):
    """E1b: storage class GLACIER; the filter by size lifts S3's default minimum of 128 KB."""
    rule = lifecycle(tap)["archive-processed"]
    assert rule["transition"] == [{"days": 90, "storage_class": "GLACIER"}]
    assert rule["filter"] == [{"and": [{"prefix": "processed/", "object_size_greater_than": 1}]}]
    assert "expiration" not in rule


def test_bucket_is_tidied(tap):
    """E1b: unfinished uploads after 1 day, old versions after 30, expired delete markers."""
    rule = lifecycle(tap)["tidy"]
    assert rule["abort_incomplete_multipart_upload"] == [{"days_after_initiation": 1}]
    assert rule["noncurrent_version_expiration"] == [{"noncurrent_days": 30}]
    assert rule["expiration"] == [{"expired_object_delete_marker": True}]
    assert rule["filter"] == [{"prefix": ""}]


def test_failed_files_are_kept_for_a_settable_time(tap):
    """E1b."""
    assert lifecycle(tap)["expire-failed"]["expiration"] == [{"days": 180}]
    rule = lifecycle(synthesise(TapStack, "x", etl_failed_retention_days=7))["expire-failed"]
    assert (rule["expiration"], rule["filter"]) == ([{"days": 7}], [{"prefix": "failed/"}])


def test_every_lifecycle_rule_is_on_and_nothing_expires_raw_or_processed(tap):
    """E1b: only what is named above ever goes."""
    rules = lifecycle(tap)
    assert {rule["status"] for rule in rules.values()} == {"Enabled"}
    assert [id_ for id_, rule in rules.items() if any("days" in each for each in rule.get("expiration", []))] == ["expire-failed"]


def test_lifecycle_waits_for_versioning(tap):
    """E1b: rules on old versions need a versioned bucket."""
    assert tap.one("aws_s3_bucket_lifecycle_configuration", "etl/data")["depends_on"] == [
        tap.address("aws_s3_bucket_versioning", "etl/data/versioning")
    ]


def test_bucket_name_is_a_setting():
    """C5a: bucket names are global."""
    assert synthesise(TapStack, "x", etl_bucket_name="my-etl").one("aws_s3_bucket", "etl/data")["bucket"] == "my-etl"


# --- notification ---------------------------------------------------------------------------------------------------


def test_every_object_under_raw_invokes_the_validation(tap):
    """E2: whatever its suffix."""
    notification = tap.readable(tap.one("aws_s3_bucket_notification"))
    assert notification["bucket"] == "<aws_s3_bucket etl/data/bucket id>"
    assert notification["lambda_function"] == [
        {
            "events": ["s3:ObjectCreated:*"],
            "filter_prefix": "raw/",
            "lambda_function_arn": ARN.format("lambda", "function:etl-validation"),
        }
    ]
    assert "eventbridge" not in notification


def test_only_this_bucket_may_invoke_the_validation(tap):
    """E2, C8."""
    permission = tap.readable(tap.one("aws_lambda_permission"))
    assert permission["function_name"] == "<aws_lambda_function etl/validation/function function_name>"
    assert (permission["principal"], permission["action"]) == ("s3.amazonaws.com", "lambda:InvokeFunction")
    assert permission["source_arn"] == "arn:aws:s3:::etl-pipeline-111122223333"
    assert permission["source_account"] == "111122223333"


def test_first_event_finds_everything_in_its_place(tap):
    """E2: versioning (else the version id is null and every replacement a duplicate), permission, machine, policies."""
    assert set(tap.one("aws_s3_bucket_notification")["depends_on"]) >= {
        tap.address("aws_s3_bucket_versioning", "etl/data/versioning"),
        tap.address("aws_lambda_permission", "etl/validation/permit_s3"),
        tap.address("aws_sfn_state_machine", "etl/pipeline/machine"),
        *(
            tap.address("aws_iam_role_policy", f"etl/{each}/role/{policy}_policy")
            for each in ("validation", "transformation", "pipeline")
            for policy in ("runtime", "grants")
        ),
    }


# --- functions ------------------------------------------------------------------------------------------------------


def test_functions_run_the_same_code_each_by_its_handler(tap):
    """E6, departures: Python 3.13; the zip is compared by its own hash."""
    functions = tap.all("aws_lambda_function")
    assert {path: body["handler"] for path, body in functions.items()} == {
        "etl/validation/function": contract.VALIDATION_HANDLER,
        "etl/transformation/function": contract.TRANSFORMATION_HANDLER,
    }
    assert {body["runtime"] for body in functions.values()} == {"python3.13"}
    assert len({body["source_code_hash"] for body in functions.values()}) == 1


def test_code_is_compared_by_the_hash_that_lambda_reports(tap, tmp_path):
    """C4: cdktf's own asset hash is another one, and the plan would never settle."""
    expected = package("etl", root() / "lambdas", tmp_path)
    for body in tap.all("aws_lambda_function").values():
        assert body["source_code_hash"] == expected.source_code_hash
        assert body["filename"].endswith(expected.path.name)


def test_memory_timeout_and_concurrency_are_settings(tap):
    """E6: reserved concurrency unset by default, since fresh accounts refuse any."""
    assert not any("reserved_concurrent_executions" in body for body in tap.all("aws_lambda_function").values())
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


def test_environment_is_exactly_what_the_functions_read(tap):
    """Design: the infrastructure sets those variables and no other."""

    def variables(name):
        return tap.readable(tap.one("aws_lambda_function", f"etl/{name}")["environment"]["variables"])

    assert set(variables("validation")) == set(contract.VALIDATION_ENVIRONMENT)
    assert set(variables("transformation")) == set(contract.TRANSFORMATION_ENVIRONMENT)
    assert variables("validation")[contract.ENV_STATE_MACHINE_ARN] == ARN.format("states", "stateMachine:etl-pipeline")
    assert variables("validation")[contract.ENV_TOPIC_ARN] == ARN.format("sns", "etl-failures")


def test_functions_accept_the_environment_that_is_set(tap, staging):
    """Design: one typed object at start; whatever the infrastructure sets must be readable by it."""
    for stack in (tap, staging):
        values = {
            name: stack.readable(body["environment"]["variables"]) for name, body in stack.all("aws_lambda_function").items()
        }
        assert environment.validation(values["etl/validation/function"]).max_file_bytes == 5 * 1024**3
        assert environment.transformation(values["etl/transformation/function"]).max_reject_ratio == Fraction(1, 100)


def test_thresholds_reach_the_functions():
    """E5c, E12: settings, passed on exactly."""
    stack = synthesise(TapStack, "x", etl_max_reject_ratio="0.125", etl_max_file_bytes=1000)
    assert stack.one("aws_lambda_function", "etl/transformation")["environment"]["variables"] == {"MAX_REJECT_RATIO": "0.125"}
    assert stack.one("aws_lambda_function", "etl/validation")["environment"]["variables"]["MAX_FILE_BYTES"] == "1000"


def test_machine_the_function_starts_is_the_machine_there_is(tap, staging):
    """Design: the ARN is built from the name, so that function and machine may know each other."""
    for stack in (tap, staging):
        arn = stack.one("aws_lambda_function", "etl/validation")["environment"]["variables"]["STATE_MACHINE_ARN"]
        assert arn.endswith(":stateMachine:" + stack.one("aws_sfn_state_machine", "etl/pipeline")["name"])


def test_functions_depend_on_their_runtime_policy_and_not_on_their_grants(tap):
    """Design: AWS checks the runtime policy at creation; grants inside the dependencies would close a cycle."""
    for name in ("validation", "transformation"):
        depends_on = tap.one("aws_lambda_function", f"etl/{name}")["depends_on"]
        assert tap.address("aws_iam_role_policy", f"etl/{name}/role/runtime_policy") in depends_on
        assert tap.address("aws_iam_role_policy", f"etl/{name}/role/grants_policy") not in depends_on
        assert tap.address("aws_cloudwatch_log_group", f"etl/{name}/logs/group") in depends_on
        assert tap.address("aws_sqs_queue", f"etl/{name}/dead_letters/queue") in depends_on
    for name in ("pipeline", "recovery"):
        depends_on = tap.one("aws_sfn_state_machine", f"etl/{name}")["depends_on"]
        assert tap.address("aws_iam_role_policy", f"etl/{name}/role/runtime_policy") in depends_on
        assert tap.address("aws_iam_role_policy", f"etl/{name}/role/grants_policy") not in depends_on


# --- table ----------------------------------------------------------------------------------------------------------


def test_table_of_records(tap):
    """E8a, E8b: keys, and the index by status."""
    table = tap.one("aws_dynamodb_table")
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


def test_topic_has_a_key_of_its_own(tap):
    """E9: CloudWatch alarms silently fail to publish to a topic under alias/aws/sns."""
    assert tap.readable(tap.one("aws_sns_topic")["kms_master_key_id"]) == "<aws_kms_key etl/failures/key arn>"
    key = tap.one("aws_kms_key")
    assert key["enable_key_rotation"] is True
    alarms = {"type": "Service", "identifiers": ["cloudwatch.amazonaws.com"]}
    own_account = {"test": "StringEquals", "variable": "aws:SourceAccount", "values": ["111122223333"]}
    account, encrypt = tap.readable(tap.statements(key["policy"]))
    assert (encrypt["actions"], encrypt["principals"]) == (["kms:Decrypt", "kms:GenerateDataKey"], [alarms])
    assert encrypt["condition"] == [own_account]
    assert account["principals"] == [{"type": "AWS", "identifiers": ["arn:aws:iam::111122223333:root"]}]
    assert {"kms:PutKeyPolicy", "kms:DescribeKey", "kms:ScheduleKeyDeletion"} <= set(account["actions"])
    publish = tap.readable(tap.statements(tap.one("aws_sns_topic_policy")["policy"]))[0]
    assert (publish["actions"], publish["principals"], publish["condition"]) == (["sns:Publish"], [alarms], [own_account])


def test_delegating_the_key_covers_what_publishers_are_granted(tap):
    """E9: a role's permission on the key counts only for actions that the key policy leaves to the account."""
    account = tap.statements(tap.one("aws_kms_key")["policy"])[0]["actions"]
    for path in ("etl/validation/role", "etl/pipeline/role", "etl/recovery/role"):
        on_key = {action for action, _ in tap.permissions(path, "grants") if action.startswith("kms:")}
        assert on_key == {"kms:Decrypt", "kms:GenerateDataKey"}
        assert on_key <= set(account)


def test_email_subscriptions_are_settings(tap, staging):
    """E9."""
    assert not tap.all("aws_sns_topic_subscription")
    assert {(body["protocol"], body["endpoint"]) for body in staging.all("aws_sns_topic_subscription").values()} == {
        ("email", "a@example.com"),
        ("email", "b@example.com"),
    }


def test_email_subscriptions_stand_on_their_own(staging):
    """E9: one address less replaces nobody else's confirmed subscription; an address named twice is one."""
    fewer = synthesise(TapStack, "tap", etl_alert_emails="B@example.com,b@example.com")
    assert set(fewer.all("aws_sns_topic_subscription")) < set(staging.all("aws_sns_topic_subscription"))
    assert len(fewer.all("aws_sns_topic_subscription")) == 1


def test_subjects_are_constant_ascii_and_short():
    """E9: SNS refuses others, and a file name in a subject would make the failure notice itself fail."""
    for subject in (contract.SUBJECT_INVALID, contract.SUBJECT_REJECTS, contract.SUBJECT_FAILED):
        assert subject.isascii()
        assert len(subject) < 100


# --- alarms ---------------------------------------------------------------------------------------------------------


def evaluate(alarm, **data):
    """Whether an alarm fires on these values of its metrics in one period. A metric that is not given has no value there.

    "+" takes a missing value for 0, unless both are missing (CloudWatch user guide, "Using math expressions"); what has no
    value follows treat_missing_data.
    """
    queries = {query["id"]: query for query in alarm["metric_query"]}
    (result,) = [query for query in queries.values() if query.get("return_data")]
    assert set(data) <= {id_ for id_, query in queries.items() if "metric" in query}, "no such metric"

    def value(node):
        match node:
            case ast.Expression(body=body):
                return value(body)
            case ast.Constant(value=number):
                return Decimal(number)
            case ast.Name(id=name):
                assert name in queries, f"{name} is no metric of the alarm"
                return Decimal(data[name]) if name in data else None
            case ast.BinOp(left=left, op=operation, right=right):
                a, b = value(left), value(right)
                if isinstance(operation, ast.Add) and not (a is None and b is None):
                    return (a or 0) + (b or 0)
                if a is None or b is None:
                    return None
                match operation:
                    case ast.Mult():
                        return a * b
                    case ast.Div():
                        return a / b if b else None
            case ast.Compare(left=left, ops=[ast.Gt()], comparators=[right]):
                a, b = value(left), value(right)
                return None if a is None or b is None else Decimal(a > b)
            case ast.Call(func=ast.Name(id="IF"), args=[condition, then, otherwise]):
                chosen = value(condition)
                return None if chosen is None else value(then if chosen else otherwise)
        raise AssertionError(f"the test cannot evaluate {ast.dump(node)}")

    found = value(ast.parse(result["expression"], mode="eval"))
    assert alarm["comparison_operator"] == "GreaterThanThreshold"
    assert alarm["treat_missing_data"] == "notBreaching"
    return found is not None and found > Decimal(str(alarm["threshold"]))


@pytest.mark.parametrize("name", ["validation", "transformation"])
@pytest.mark.parametrize(
    ("data", "fires"),
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
def test_alarm_on_the_error_rate(tap, name, data, fires):
    """E10: errors / invocations above 5 % over 5 minutes, for each Lambda."""
    alarm = tap.one("aws_cloudwatch_metric_alarm", f"etl/{name}/error_rate")
    assert evaluate(alarm, **data) is fires
    assert metrics(alarm) == {
        ("AWS/Lambda", metric, "FunctionName", f"etl-{name}", 300, "Sum") for metric in ("Errors", "Invocations")
    }


def test_error_rate_of_the_alarm_is_a_setting():
    """C5a."""
    alarm = synthesise(TapStack, "x", etl_error_rate_percent="0.5").one(
        "aws_cloudwatch_metric_alarm", "etl/validation/error_rate"
    )
    assert evaluate(alarm, errors=1, invocations=199)
    assert not evaluate(alarm, errors=1, invocations=200)


@pytest.mark.parametrize("name", ["pipeline", "recovery"])
@pytest.mark.parametrize(
    ("data", "fires"),
    [
        ({}, False),
        ({"failed": 0, "timedout": 0, "aborted": 0}, False),
        ({"failed": 1, "timedout": 0, "aborted": 0}, True),
        ({"failed": 0, "timedout": 1, "aborted": 0}, True),
        ({"failed": 0, "timedout": 0, "aborted": 1}, True),
        ({"failed": 1}, True),
        ({"timedout": 1}, True),
        ({"aborted": 1}, True),
    ],
)
def test_alarm_on_executions(tap, name, data, fires):
    """E10: one failed, timed-out or aborted execution within a minute, whether or not the other metrics have a value."""
    alarm = tap.one("aws_cloudwatch_metric_alarm", f"etl/{name}/not_succeeded")
    assert evaluate(alarm, **data) is fires
    arn = ARN.format("states", f"stateMachine:etl-{name}")
    assert metrics(tap.readable(alarm)) == {
        ("AWS/States", f"Executions{metric}", "StateMachineArn", arn, 60, "Sum") for metric in ("Failed", "TimedOut", "Aborted")
    }


@pytest.mark.parametrize("name", ["validation", "transformation", "not_succeeded"])
def test_alarm_on_dead_letters(tap, name):
    """C10, E10: the first visible message; NumberOfMessagesSent would not count failed deliveries."""
    alarm = tap.one("aws_cloudwatch_metric_alarm", f"etl/{name}/dead_letters")
    assert evaluate(alarm, depth=1)
    assert not evaluate(alarm, depth=0)
    assert not evaluate(alarm)
    queue = tap.one("aws_sqs_queue", f"etl/{name}/dead_letters")["name"]
    assert metrics(alarm) == {("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue, 60, "Maximum")}


def metrics(alarm):
    """(namespace, name, dimension, value, period, statistic) of each metric of an alarm."""
    return {
        (each["namespace"], each["metric_name"], *next(iter(each["dimensions"].items())), each["period"], each["stat"])
        for query in alarm["metric_query"]
        if (each := query.get("metric"))
    }


def test_every_alarm_reaches_the_topic_and_names_a_command(tap):
    """E10: all to the topic, each description naming the command that answers it; one period suffices."""
    alarms = tap.readable(tap.all("aws_cloudwatch_metric_alarm"))
    assert len(alarms) == 2 + 2 + 3
    for alarm in alarms.values():
        assert alarm["alarm_actions"] == alarm["ok_actions"] == [ARN.format("sns", "etl-failures")]
        assert "Look: aws " in alarm["alarm_description"]
        assert "--region us-east-1" in alarm["alarm_description"]
        assert alarm["datapoints_to_alarm"] == 1
        assert "actions_enabled" not in alarm


def test_alarms_wait_for_late_metrics(tap):
    """E10: an error counts in the period in which its invocation began, fifteen minutes before a time-out; a state machine's
    metrics may come a minute late."""
    periods = {alarm["alarm_name"]: alarm["evaluation_periods"] for alarm in tap.all("aws_cloudwatch_metric_alarm").values()}
    seconds = max(each["timeout"] for each in tap.all("aws_lambda_function").values())
    assert all(300 * count > seconds + 300 for name, count in periods.items() if name.endswith("error-rate"))
    assert all(count >= 3 for name, count in periods.items() if name.endswith("executions-failed"))


# --- dashboard, outputs ---------------------------------------------------------------------------------------------


def test_dashboard_draws_what_exists(tap):
    """E10: every metric belongs to a function, machine or queue of this stack."""
    body = json.loads(tap.readable(tap.one("aws_cloudwatch_dashboard")["dashboard_body"]))
    drawn = {(metric[0], metric[3]) for widget in body["widgets"] for metric in widget["properties"]["metrics"]}
    functions = {("AWS/Lambda", each["function_name"]) for each in tap.all("aws_lambda_function").values()}
    names = [each["name"] for each in tap.all("aws_sfn_state_machine").values()]
    machines = {("AWS/States", ARN.format("states", f"stateMachine:{name}")) for name in names}
    queues = {("AWS/SQS", each["name"]) for each in tap.all("aws_sqs_queue").values()}
    assert drawn == functions | machines | queues
    assert all(widget["properties"]["title"] and widget["properties"]["region"] == "us-east-1" for widget in body["widgets"])
    assert all(widget["x"] + widget["width"] <= 24 for widget in body["widgets"])


def test_outputs(tap):
    """E13, C11: an interface: exactly these."""
    assert {name: tap.readable(each["value"]) for name, each in tap.json["output"].items()} == {
        "etl_bucket_name": "etl-pipeline-111122223333",
        "etl_state_machine_arn": ARN.format("states", "stateMachine:etl-pipeline"),
        "etl_metadata_table_name": "etl-file-metadata",
        "etl_failure_topic_arn": ARN.format("sns", "etl-failures"),
        "etl_validation_function_name": "etl-validation",
        "etl_transformation_function_name": "etl-transformation",
        "etl_dashboard_url": "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#dashboards/dashboard/etl-pipeline",
    }
    assert all(each["description"] for each in tap.json["output"].values())
