"""The pet detector's resources as the JSON shows them: names, bucket, rule, table, functions, alarms, dashboard, budget, outputs
(P2, P4–P7, P11)."""

import json
import re
import zipfile
from decimal import Decimal

import pytest

from lambda_packaging import package
from lambdas.pets import classification, contract, environment, image_processor, metrics
from pet_detector_stack import PetDetectorStack
from tests.synth.alarms import fires
from tests.synth.events import matches, object_event, pattern, status_event
from tests.synth.reading import root, synthesise

ARN = "arn:aws:{}:us-east-1:111122223333:{}"
BUCKET = "serverlessapp-pet-detector"
PIPELINE = ARN.format("states", "stateMachine:serverlessapp-pet-detector")
TOPIC = ARN.format("sns", "serverlessapp-pet-alerts")
FUNCTIONS = ("image_api", "image_processor", "file_manager", "notification_service")


@pytest.fixture(scope="module")
def chosen():
    """The pet detector of prod with everything chosen that can be chosen."""
    return synthesise(
        PetDetectorStack,
        "pet-detector",
        pet_bucket_name="my-pets",
        pet_alert_emails="a@example.com,b@example.com",
        pet_confidence_threshold="72.5",
        pet_max_image_bytes=5_000_000,
        pet_allowed_origin="https://pets.example.com",
        pet_link_seconds=60,
        pet_input_retention_days=3,
        pet_image_retention_days=4,
        pet_record_retention_days=5,
        pet_error_rate_percent="0.5",
        pet_latency_alarm_ms=1500,
        pet_refused_alarm=7,
        pet_blocked_alarm=8,
        pet_monthly_budget_usd="12.50",
        pet_api_memory_mb=256,
        pet_processor_memory_mb=2048,
        log_retention_days=7,
    )


# --- names ----------------------------------------------------------------------------------------------------------

FIXED = {
    "aws_cloudwatch_log_group": r"/aws/(lambda|apigateway|cloudtrail|vpc|vendedlogs/states)/|aws-waf-logs-",
    "aws_cloudwatch_log_resource_policy": "aws-waf-logs-",
    "aws_kms_alias": "alias/",
}
"""What AWS fixes at the beginning of a name."""
INSIDE = {
    **dict.fromkeys(("aws_api_gateway_model", "aws_api_gateway_request_validator", "aws_api_gateway_stage"), "in the API"),
    "aws_iam_role_policy": "in the role",
    "aws_lambda_alias": "in the function",
    "aws_api_gateway_domain_name": "the user's own",
    "aws_api_gateway_base_path_mapping": "the user's own",
}
"""Names that nothing else of the account can meet."""
NAMES = (
    *("name", "function_name", "bucket", "alarm_name", "dashboard_name", "app_name", "deployment_group_name"),
    *("policy_name", "stage_name", "domain_name"),
)


def own_names(stack):
    """(type, path, name) of everything named: what is a reference is named elsewhere."""
    for kind, path, body in stack.every():
        for field in NAMES:
            name = stack.readable(body.get(field, "<"))
            if kind not in INSIDE and not name.startswith("<") and not name.startswith("API-Gateway-Execution-Logs_<"):
                yield kind, path, name


@pytest.mark.parametrize("stack", ["pets", "pets_dev", "pets_switched"])
def test_every_name_begins_with_the_applications(request, stack):
    """Section P: after what AWS fixes."""
    found = list(own_names(request.getfixturevalue(stack)))
    assert len(found) > 50
    for kind, path, name in found:
        assert re.match(f"({FIXED.get(kind, '')})serverlessapp-", name), f"{kind} {path}: {name}"


def test_namespaces_of_metrics_do_too(pets):
    """Section P: save for those of AWS; CloudTrail's is told apart by its trail."""
    namespaces = {
        query["metric"]["namespace"]
        for alarm in pets.all("aws_cloudwatch_metric_alarm").values()
        for query in alarm["metric_query"]
        if "metric" in query
    } | {body["metric_transformation"]["namespace"] for body in pets.all("aws_cloudwatch_log_metric_filter").values()}
    own = {each for each in namespaces if not each.startswith("AWS/")}
    assert own == {BUCKET, "CloudTrail/serverlessapp-trail"}


def test_named_as_specified(pets, pets_staging):
    """P2, P5, P6, C5c: the fixed names, and another environment's."""
    for stack, suffix in ((pets, ""), (pets_staging, "-staging")):
        assert stack.one("aws_s3_bucket", "pets/images")["bucket"] == f"serverlessapp-pet-detector{suffix}"
        assert stack.one("aws_dynamodb_table")["name"] == f"serverlessapp-DetectionLogs{suffix}"
        names = {body["function_name"] for body in stack.all("aws_lambda_function").values()}
        assert names == {f"serverlessapp-{name.replace('_', '-')}{suffix}" for name in FUNCTIONS}


def test_other_environments_never_share_a_name(pets, pets_staging):
    """C5c: prod carries the fixed names, any other suffix is appended, so that both live in one account."""
    prod, other = ({(kind, path): name for kind, path, name in own_names(stack)} for stack in (pets, pets_staging))
    assert set(other) - set(prod) == {(kind, path) for kind, path in other if kind == "aws_sns_topic_subscription"}
    assert not set(prod.values()) & set(other.values())
    assert all("staging" in name for name in other.values())


def test_longest_suffix_stays_within_the_limits_of_aws():
    """C5c: names are shortened before AWS refuses them."""
    limits = {
        "aws_api_gateway_usage_plan": 128,
        "aws_cloudtrail": 128,
        "aws_cloudwatch_event_rule": 64,
        "aws_codedeploy_app": 100,
        "aws_iam_role": 64,
        "aws_lambda_function": 64,
        "aws_s3_bucket": 63,
        "aws_security_group": 255,
        "aws_sfn_state_machine": 80,
        "aws_sqs_queue": 80,
        "aws_wafv2_web_acl": 128,
    }
    switches = {"pet_waf": True, "pet_cloudtrail": True, "pet_code_deploy": True, "pet_vpc": True}
    stack = synthesise(PetDetectorStack, "pet-detector", environment_suffix="a123456789012345", **switches)
    found = {kind: [name for each, _, name in own_names(stack) if each == kind] for kind in limits}
    for kind, names in found.items():
        assert names, kind
        assert len(set(names)) == len(names), kind
        assert all(len(name) <= limits[kind] for name in names), names


# --- bucket ---------------------------------------------------------------------------------------------------------


def lifecycle(stack):
    rules = stack.one("aws_s3_bucket_lifecycle_configuration", "pets/images")["rule"]
    assert {rule["status"] for rule in rules} == {"Enabled"}
    return {rule["id"]: rule for rule in rules}


def test_bucket_name_is_a_setting(pets, chosen):
    """P6, C5a: bucket names are global; everything follows it."""
    assert chosen.one("aws_s3_bucket", "pets/images")["bucket"] == "my-pets"
    assert BUCKET not in json.dumps(chosen.readable(list(chosen.all("aws_s3_bucket").values())))
    assert chosen.one("aws_lambda_function", "pets/image_api")["environment"]["variables"]["BUCKET_NAME"] == "my-pets"
    assert matches(pattern(chosen, "pets/uploaded"), object_event("input/a.jpg", bucket="my-pets"))


def test_each_prefix_has_its_lifecycle_rule(pets, chosen):
    """P6: what was refused or failed stays under input/ for a while, filed images longer; both are settings."""
    assert contract.INPUT == "input/" and contract.FOLDERS == {"cat": "cats/", "dog": "dogs/", "other": "others/"}
    for stack, days_of_input, days_of_images in ((pets, 30, 730), (chosen, 3, 4)):
        days = {contract.INPUT: days_of_input} | dict.fromkeys(contract.FOLDERS.values(), days_of_images)
        rules = lifecycle(stack)
        expiring = {rule["filter"][0]["prefix"]: rule["expiration"] for id_, rule in rules.items() if id_ != "tidy"}
        assert expiring == {prefix: [{"days": number}] for prefix, number in days.items()}
        assert set(rules) == {"tidy", "expire-input", "expire-cats", "expire-dogs", "expire-others"}


def test_bucket_is_tidied(pets):
    """P6: old versions after 30 days, unfinished uploads after 1, expired delete markers, under every prefix."""
    assert lifecycle(pets)["tidy"] == {
        "id": "tidy",
        "status": "Enabled",
        "filter": [{"prefix": ""}],
        "expiration": [{"expired_object_delete_marker": True}],
        "noncurrent_version_expiration": [{"noncurrent_days": 30}],
        "abort_incomplete_multipart_upload": [{"days_after_initiation": 1}],
    }


@pytest.mark.parametrize(("stack", "origin"), [("pets", "*"), ("chosen", "https://pets.example.com")])
def test_browsers_may_use_presigned_links(request, stack, origin):
    """P1a, P1b, P6: POST for uploads and GET for downloads, of pages of the origin of the settings."""
    found = request.getfixturevalue(stack)
    cors = found.readable(found.one("aws_s3_bucket_cors_configuration"))
    assert cors["bucket"] == "<aws_s3_bucket pets/images/bucket id>"
    (rule,) = cors["cors_rule"]
    assert (set(rule["allowed_methods"]), rule["allowed_origins"]) == ({"GET", "POST"}, [origin])
    assert rule["allowed_headers"] == ["*"]


def test_bucket_sends_all_its_events_to_the_default_bus(pets):
    """P6: and to nobody else."""
    notification = pets.readable(pets.one("aws_s3_bucket_notification"))
    assert notification["bucket"] == "<aws_s3_bucket pets/images/bucket id>"
    assert notification["eventbridge"] is True
    assert not {"lambda_function", "queue", "topic"} & set(notification)


def test_first_event_finds_everything_in_its_place(pets):
    """P3: versioning (else the version id is null), what the machines know by name only, both rules' targets, and what every
    role may do."""
    after = set(pets.one("aws_s3_bucket_notification")["depends_on"])
    assert after >= {
        pets.address("aws_s3_bucket_versioning", "pets/images/versioning"),
        *(pets.address("aws_lambda_function", f"pets/{name}/function") for name in FUNCTIONS[1:]),
        pets.address("aws_dynamodb_table", "pets/detections/table"),
        pets.address("aws_cloudwatch_event_target", "pets/uploaded/target"),
        pets.address("aws_cloudwatch_event_target", "pets/not_succeeded/target"),
        *(
            pets.address("aws_iam_role_policy", f"pets/{each}/role/{policy}_policy")
            for each in (*FUNCTIONS[1:], "pipeline", "recovery")
            for policy in ("runtime", "grants")
        ),
    }


# --- rules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["input/dog.jpg", "input/a b/ü.png", "input/", "input/text.txt", "input/input/x"])
def test_objects_that_start_the_pipeline(pets, key):
    """P3: every object under input/, whatever it is called: what it is, its content says (P9)."""
    assert matches(pattern(pets, "pets/uploaded"), object_event(key, bucket=BUCKET))


@pytest.mark.parametrize(
    "event",
    [
        *(object_event(f"{folder}a.jpg", bucket=BUCKET) for folder in contract.FOLDERS.values()),
        *(object_event(key, bucket=BUCKET) for key in ("a.jpg", "input", "Input/a.jpg", "cats/input/a.jpg", "inputs/a")),
        object_event("input/a.jpg", bucket="other"),
        object_event("input/a.jpg", bucket=f"{BUCKET}-staging"),
        object_event("input/a.jpg", bucket=BUCKET, kind="Object Deleted"),
        {**object_event("input/a.jpg", bucket=BUCKET), "source": "mine.s3"},
        status_event(PIPELINE, "FAILED"),
    ],
    ids=lambda each: each["detail"].get("object", {}).get("key", "status") + " " + each["detail-type"],
)
def test_events_that_start_nothing(pets, event):
    """P3: filing an image must not start it anew."""
    assert not matches(pattern(pets, "pets/uploaded"), event)


@pytest.mark.parametrize(("rule", "machine"), [("uploaded", "pipeline"), ("not_succeeded", "recovery")])
def test_rules_start_their_machine(pets, rule, machine):
    """P3: under a role of their own, which is ready before; the whole event is the input (see test_common for retries)."""
    target = pets.readable(pets.one("aws_cloudwatch_event_target", f"pets/{rule}"))
    assert target["arn"] == f"<aws_sfn_state_machine pets/{machine}/machine arn>"
    assert target["role_arn"] == f"<aws_iam_role pets/{rule}/role/role arn>"
    queue = f"serverlessapp-pet-{rule.replace('_', '-')}-dlq"
    assert target["dead_letter_config"] == {"arn": ARN.format("sqs", queue)}
    assert set(target["depends_on"]) >= {
        pets.address("aws_sqs_queue", f"pets/{rule}/dead_letters/queue"),
        pets.address("aws_iam_role_policy", f"pets/{rule}/role/grants_policy"),
    }


@pytest.mark.parametrize(
    ("machine", "status", "starts"),
    [
        (BUCKET, "FAILED", True),
        (BUCKET, "TIMED_OUT", True),
        (BUCKET, "ABORTED", True),
        (BUCKET, "SUCCEEDED", False),
        (BUCKET, "RUNNING", False),
        ("serverlessapp-pet-recovery", "FAILED", False),  # else it would chase its own tail
        ("etl-pipeline", "FAILED", False),
    ],
)
def test_executions_that_the_recovery_sees(pets, machine, status, starts):
    """P3."""
    event = status_event(ARN.format("states", f"stateMachine:{machine}"), status)
    assert matches(pattern(pets, "pets/not_succeeded"), event) is starts


# --- table ----------------------------------------------------------------------------------------------------------


def test_table_of_records(pets):
    """P5: by image, with an index by animal and time; streams carry old and new; records expire. Encryption and recovery see
    test_common."""
    table = pets.one("aws_dynamodb_table")
    assert (table["hash_key"], "range_key" in table) == ("ImageID", False)
    assert table["global_secondary_index"] == [
        {"name": "animal-time-index", "hash_key": "DetectedAnimal", "range_key": "Timestamp", "projection_type": "ALL"}
    ]
    keys = {"ImageID": "S", "DetectedAnimal": "S", "Timestamp": "S"}
    assert {each["name"]: each["type"] for each in table["attribute"]} == keys
    assert (table["stream_enabled"], table["stream_view_type"]) == (True, "NEW_AND_OLD_IMAGES")
    assert table["ttl"] == {"attribute_name": contract.EXPIRES_AT, "enabled": True}
    assert table["billing_mode"] == "PAY_PER_REQUEST"
    assert contract.INDEX == "animal-time-index"


# --- functions ------------------------------------------------------------------------------------------------------


def variables(stack, name):
    return stack.readable(stack.one("aws_lambda_function", f"pets/{name}").get("environment", {}).get("variables", {}))


HANDLERS = {
    "image_api": contract.API_HANDLER,
    "image_processor": contract.PROCESSOR_HANDLER,
    "file_manager": contract.FILE_MANAGER_HANDLER,
    "notification_service": contract.NOTIFICATION_HANDLER,
}


def test_four_functions_run_the_same_code_each_by_its_handler(pets, tmp_path):
    """P2: and the zip holds it, what the systems share and the library that the functions import."""
    functions = pets.all("aws_lambda_function")
    assert {path: body["handler"] for path, body in functions.items()} == {
        f"pets/{name}/function": handler for name, handler in HANDLERS.items()
    }
    assert {(body["runtime"], *body["architectures"]) for body in functions.values()} == {("python3.13", "arm64")}
    built = package("pets", root() / "lambdas", tmp_path, distributions=["aws-lambda-powertools"])
    names = set(zipfile.ZipFile(built.path).namelist())
    assert {f"{handler.rpartition('.')[0].replace('.', '/')}.py" for handler in HANDLERS.values()} <= names
    assert {"lambdas/common/log.py", "aws_lambda_powertools/__init__.py"} <= names
    assert not [name for name in names if name.startswith(("lambdas/etl/", "lambdas/metadata/", "boto"))]


def test_environment_is_exactly_what_the_functions_read(pets, chosen):
    """P2: the contract's variables and no other."""
    for stack in (pets, chosen):
        assert set(variables(stack, "image_api")) == set(contract.API_ENVIRONMENT)
        assert set(variables(stack, "image_processor")) == set(contract.PROCESSOR_ENVIRONMENT)
        assert set(variables(stack, "file_manager")) == set(contract.FILE_MANAGER_ENVIRONMENT) == set()
        assert set(variables(stack, "notification_service")) == set(contract.NOTIFICATION_ENVIRONMENT)


def test_functions_accept_the_environment_that_is_set(pets, pets_dev, chosen):
    """P2, P4, C5a: one typed object at start, from whatever the settings are."""
    api = environment.api(variables(pets, "image_api"))
    assert api == environment.ApiEnvironment(BUCKET, "serverlessapp-DetectionLogs", 15_000_000, 900, "*")
    other = environment.api(variables(chosen, "image_api"))
    assert other == environment.ApiEnvironment(
        "my-pets", "serverlessapp-DetectionLogs", 5_000_000, 60, "https://pets.example.com"
    )
    table = "serverlessapp-DetectionLogs"
    assert environment.processor(variables(pets, "image_processor")) == environment.ProcessorEnvironment(
        table, BUCKET, 80.0, 15_000_000, 730
    )
    assert environment.processor(variables(chosen, "image_processor")) == environment.ProcessorEnvironment(
        table, BUCKET, 72.5, 5_000_000, 5
    )
    assert environment.processor(variables(pets_dev, "image_processor")).metrics_namespace == f"{BUCKET}-dev"
    for stack, topic in ((pets, TOPIC), (pets_dev, f"{TOPIC}-dev")):
        assert environment.notification(variables(stack, "notification_service")).topic_arn == topic


def test_memory_is_a_setting_and_the_api_answers_in_time(pets, chosen):
    """P2, C5a: API Gateway waits for 29 seconds, and its answer shall be the one that the caller gets."""
    sizes = {name: pets.one("aws_lambda_function", f"pets/{name}") for name in FUNCTIONS}
    assert {name: (body["memory_size"], body["timeout"]) for name, body in sizes.items()} == {
        "image_api": (512, 30), "image_processor": (1024, 120), "file_manager": (256, 60), "notification_service": (256, 30),
    }  # fmt: skip
    assert not [name for name, body in sizes.items() if "reserved_concurrent_executions" in body], "fresh accounts refuse any"
    assert chosen.one("aws_lambda_function", "pets/image_api")["memory_size"] == 256
    assert chosen.one("aws_lambda_function", "pets/image_processor")["memory_size"] == 2048


def test_only_the_api_publishes_versions(pets):
    """P8b: the alias points at one; nobody would ever delete those of the others."""
    published = {path: body.get("publish") for path, body in pets.all("aws_lambda_function").items()}
    assert published == {f"pets/{name}/function": True if name == "image_api" else None for name in FUNCTIONS}


# --- alarms ---------------------------------------------------------------------------------------------------------


def alarm(stack, name):
    return stack.one("aws_cloudwatch_metric_alarm", f"pets/{name}")


def queried(alarm_):
    return {
        each["id"]: (each["metric"]["namespace"], each["metric"]["metric_name"], each["metric"]["period"], each["metric"]["stat"])
        for each in alarm_["metric_query"]
        if "metric" in each
    }


RATES = [
    ({}, False),
    ({"errors": 0}, False),
    ({"errors": 0, "{}": 100}, False),
    ({"errors": 5, "{}": 100}, False),
    ({"errors": 51, "{}": 1000}, True),
    ({"errors": 1, "{}": 1}, True),
    ({"errors": 0, "{}": 0}, False),
]


@pytest.mark.parametrize(("data", "expected"), RATES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_alarm_on_the_error_rate_of_each_function(pets, name, data, expected):
    """P7: errors / invocations above 5 % over 5 minutes."""
    found = alarm(pets, f"{name}/error_rate")
    assert fires(found, **{key.format("invocations"): value for key, value in data.items()}) is expected
    dimensions = [each["metric"]["dimensions"] for each in found["metric_query"] if "metric" in each]
    assert dimensions == [{"FunctionName": f"serverlessapp-{name.replace('_', '-')}"}] * 2


@pytest.mark.parametrize(("data", "expected"), RATES)
def test_alarm_on_the_errors_of_the_api(pets, data, expected):
    """P7: what failed on our side, of all requests, also where no function was reached; a client's mistakes count for nothing."""
    found = alarm(pets, "api_errors")
    assert fires(found, **{key.format("count"): value for key, value in data.items()}) is expected
    assert queried(found) == {
        "errors": ("AWS/ApiGateway", "5XXError", 300, "Sum"),
        "count": ("AWS/ApiGateway", "Count", 300, "Sum"),
    }


def test_alarm_on_the_latency_of_the_api(pets, chosen):
    """P7: of one request in twenty, as the client sees it; the limit is a setting."""
    for stack, limit in ((pets, 3000), (chosen, 1500)):
        found = alarm(stack, "api_latency")
        assert fires(found, latency=limit + 1, count=20)
        assert not fires(found, latency=limit, count=20) and not fires(found)
        assert not fires(found, latency=limit + 1, count=19), "one cold start at night is its own percentile"
        assert queried(found) == {
            "latency": ("AWS/ApiGateway", "Latency", 300, "p95"),
            "count": ("AWS/ApiGateway", "Count", 300, "Sum"),
        }


@pytest.mark.parametrize("name", ["api_errors", "api_latency"])
def test_alarms_of_the_api_look_at_this_stage(pets, pets_dev, name):
    """P7, C5c: by the dimensions that API Gateway writes for a stage."""
    for stack, suffix, stage in ((pets, "", "prod"), (pets_dev, "-dev", "dev")):
        for each in alarm(stack, name)["metric_query"]:
            if "metric" in each:
                assert each["metric"]["dimensions"] == {"ApiName": f"serverlessapp-pet-api{suffix}", "Stage": stage}


def test_refused_requests_are_counted(pets, pets_dev):
    """P7: from the access logs, by status; a wrong key is 403, and what no other names count."""
    for stack, namespace in ((pets, BUCKET), (pets_dev, f"{BUCKET}-dev")):
        body = stack.readable(stack.one("aws_cloudwatch_log_metric_filter", "pets/refused"))
        assert body["log_group_name"] == "<aws_cloudwatch_log_group pets/api/access_logs/group name>"
        assert body["metric_transformation"] == {
            "name": "Refused", "namespace": namespace, "value": "1", "default_value": "0",
        }  # fmt: skip
        line = json.loads(stack.one("aws_api_gateway_stage")["access_log_settings"]["format"])
        assert line["status"] == "$context.status", "quoted: a text for the filter, too"
        assert [status for status in ("200", "400", "401", "403", "404", "429", "500") if selects(body["pattern"], status)] == [
            "401",
            "403",
        ]
        found = alarm(stack, "refused_spike")
        assert queried(found) == {"matches": (namespace, "Refused", 300, "Sum")}
        (metric,) = [each["metric"] for each in found["metric_query"] if "metric" in each]
        assert not metric.get("dimensions"), "the filter gives its metric none"


def selects(filter_pattern, status):
    """Whether a filter of alternatives on ``$.status``, but for what the firewall blocks, selects a line with this one."""
    alternatives = r'\(\$\.status = "\d+"\)( \|\| \(\$\.status = "\d+"\))*'
    assert re.fullmatch(rf'\{{ \({alternatives}\) && \(\$\.error != "WAF_FILTERED"\) \}}', filter_pattern)
    return status in re.findall(r'"(\d+)"', filter_pattern)


@pytest.mark.parametrize(
    ("name", "metric", "setting"), [("refused_spike", "matches", "refused"), ("blocked_spike", "blocked", "blocked")]
)
def test_alarms_on_refused_and_blocked_requests(pets, chosen, name, metric, setting):
    """P7: more than so many in five minutes, a setting."""
    for stack, limit in ((pets, 100), (chosen, {"refused": 7, "blocked": 8}[setting])):
        assert fires(alarm(stack, name), **{metric: limit + 1})
        assert not fires(alarm(stack, name), **{metric: limit}) and not fires(alarm(stack, name))


def test_firewall_stands_before_the_api(pets):
    """P9: before the stage; its alarm counts what this ACL blocked, by the metric that it writes."""
    association = pets.readable(pets.one("aws_wafv2_web_acl_association"))
    assert association["resource_arn"] == "<aws_api_gateway_stage pets/api/stage arn>"
    assert association["web_acl_arn"] == "<aws_wafv2_web_acl pets/firewall/acl arn>"
    metric = pets.one("aws_wafv2_web_acl")["visibility_config"]["metric_name"]
    (query,) = [each["metric"] for each in alarm(pets, "blocked_spike")["metric_query"] if "metric" in each]
    assert (query["namespace"], query["metric_name"]) == ("AWS/WAFV2", "BlockedRequests")
    assert query["dimensions"] == {"WebACL": metric, "Region": "us-east-1", "Rule": "ALL"}


def test_firewall_lets_a_key_use_what_it_may(pets):
    """P1a, P9: the limit of one address is not below what a key may ask for in five minutes."""
    (rate,) = [
        rule["statement"]["rate_based_statement"]
        for rule in pets.one("aws_wafv2_web_acl")["rule"]
        if "rate_based_statement" in rule["statement"]
    ]
    plan = pets.one("aws_api_gateway_usage_plan")["throttle_settings"]
    assert rate["limit"] >= rate["evaluation_window_sec"] * plan["rate_limit"]


def test_alarms_of_the_trail(pets):
    """P7: on denied calls, changes of IAM and bucket policies, and the use of root; each counted by its own filter."""
    expected = {"denied_calls": 10, "iam_changes": 0, "bucket_policy_changes": 0, "root_use": 0}
    for name, limit in expected.items():
        found = alarm(pets, f"trail/{name}")
        assert fires(found, calls=limit + 1) and not fires(found, calls=limit) and not fires(found)
        transformation = pets.one("aws_cloudwatch_log_metric_filter", f"pets/trail/{name}_filter")["metric_transformation"]
        (counted,) = queried(found).values()
        assert counted[:2] == (transformation["namespace"], transformation["name"])
    trail = pets.readable(pets.one("aws_cloudtrail"))
    (selector,) = trail["event_selector"]
    assert selector["data_resource"] == [{"type": "AWS::S3::Object", "values": [f"arn:aws:s3:::{BUCKET}/"]}]


def test_email_subscriptions_are_settings(pets, chosen, pets_staging):
    """P7: one topic for doubtful images and alarms."""
    assert not pets.all("aws_sns_topic_subscription")
    addresses = {body["endpoint"] for body in chosen.all("aws_sns_topic_subscription").values()}
    assert addresses == {"a@example.com", "b@example.com"}
    (one,) = pets_staging.readable(list(pets_staging.all("aws_sns_topic_subscription").values()))
    assert (one["protocol"], one["endpoint"]) == ("email", "d@example.com")
    assert one["topic_arn"] == "<aws_sns_topic pets/alerts/topic arn>"


# --- dashboard ------------------------------------------------------------------------------------------------------


def drawn(stack):
    """(namespace, metric, dimensions, statistic) of every line of the dashboard, by the title of its graph."""
    body = json.loads(stack.readable(stack.one("aws_cloudwatch_dashboard")["dashboard_body"]))
    found = {}
    for widget in body["widgets"]:
        lines = widget["properties"]["metrics"]
        found[widget["properties"]["title"]] = [
            (line[0], line[1], dict(zip(line[2:-1:2], line[3:-1:2], strict=True)), line[-1]["stat"]) for line in lines
        ]
    return found


def test_dashboard_shows_what_people_ask(pets):
    """P7: classes, confidence, throughput, throttles, errors, and latencies at the median and for one in twenty."""
    found = drawn(pets)
    named = {title: {(metric, statistic) for _, metric, _, statistic in lines} for title, lines in found.items()}
    assert named == {
        "Images by class": {("Images", "Sum")},
        "Confidence in per cent: p10, p50, p90": {("Confidence", each) for each in ("p10", "p50", "p90")},
        "Rekognition in ms: p50, p95": {("AnalysisLatency", each) for each in ("p50", "p95")},
        "Requests, 4xx, 5xx": {(each, "Sum") for each in ("Count", "4XXError", "5XXError")},
        "API in ms: p50, p95": {("Latency", each) for each in ("p50", "p95")},
        "Executions": {(f"Executions{each}", "Sum") for each in ("Succeeded", "Failed", "TimedOut", "Aborted")},
        "Functions: invocations": {("Invocations", "Sum")},
        "Functions: errors, throttles": {("Errors", "Sum"), ("Throttles", "Sum")},
        "Waiting in dead-letter queues": {("ApproximateNumberOfMessagesVisible", "Maximum")},
    }
    assert {line[2]["animal"] for line in found["Images by class"]} == set(contract.ANIMALS)
    assert {line[2]["animal"] for line in found["Confidence in per cent: p10, p50, p90"]} == {"cat", "dog"}
    throttled = {line[2]["FunctionName"] for line in found["Functions: errors, throttles"] if line[1] == "Throttles"}
    assert throttled == {body["function_name"] for body in pets.all("aws_lambda_function").values()}
    queues = {line[2]["QueueName"] for line in found["Waiting in dead-letter queues"]}
    assert queues == {body["name"] for body in pets.all("aws_sqs_queue").values()}
    assert {line[2]["StateMachineArn"] for line in found["Executions"]} == {PIPELINE}


def test_dashboard_fits_its_page(pets):
    """P7."""
    widgets = json.loads(pets.readable(pets.one("aws_cloudwatch_dashboard")["dashboard_body"]))["widgets"]
    assert all(widget["properties"]["region"] == "us-east-1" for widget in widgets)
    assert all(widget["x"] + widget["width"] <= 24 for widget in widgets)
    assert len({(widget["x"], widget["y"]) for widget in widgets}) == len(widgets)


def test_own_metrics_are_those_that_the_processor_writes(pets, capsys):
    """P7: namespace, names and dimensions to the letter: CloudWatch draws nothing for others, and says nothing about it."""
    namespace = environment.processor(variables(pets, "image_processor")).metrics_namespace
    metrics.latency(namespace, 12.5)
    for animal in contract.ANIMALS:
        metrics.classified(namespace, classification.Decision(animal, 90.0, contract.COMPLETED))
    written = set()
    for line in map(json.loads, capsys.readouterr().out.splitlines()):
        for directive in line["_aws"]["CloudWatchMetrics"]:
            (dimensions,) = directive["Dimensions"]
            values = frozenset((name, line[name]) for name in dimensions)
            written |= {(directive["Namespace"], each["Name"], values) for each in directive["Metrics"]}
    own = {
        (line[0], line[1], frozenset(line[2].items()))
        for lines in drawn(pets).values()
        for line in lines
        if not line[0].startswith("AWS/")
    }
    not_drawn = {(namespace, contract.METRIC_CONFIDENCE, values) for *_, values in written if ("animal", "other") in values}
    assert own == written - not_drawn


# --- queries, budget ------------------------------------------------------------------------------------------------


def test_saved_queries(pets):
    """C9, P7: the story of an image over all functions, by the field that every line carries; and who was refused."""
    queries = {body["name"]: body for body in pets.readable(list(pets.all("aws_cloudwatch_query_definition").values()))}
    assert set(queries) == {"serverlessapp-pets/story-of-an-image", "serverlessapp-pets/refused-requests"}
    story = queries["serverlessapp-pets/story-of-an-image"]
    functions = pets.all("aws_lambda_function").values()
    assert set(story["log_group_names"]) == {f"/aws/lambda/{body['function_name']}" for body in functions}
    assert all(re.search(rf"\b{field}\b", story["query_string"]) for field in ("image_id", "execution", "level", "message"))
    refused = queries["serverlessapp-pets/refused-requests"]
    assert refused["log_group_names"] == ["/aws/apigateway/serverlessapp-pet-api"]
    line = json.loads(pets.one("aws_api_gateway_stage")["access_log_settings"]["format"])
    fields = re.search(r"fields @timestamp, (.+)", refused["query_string"])[1].split(", ")
    assert set(fields) <= set(line)


def test_budget(pets, chosen, pets_dev):
    """P7: a month's, in dollars, a setting; told at 80 % spent and at all of it foreseen, to a topic that lets budgets in."""
    for stack, amount, suffix in ((pets, "50", ""), (chosen, "12.50", ""), (pets_dev, "50", "-dev")):
        budget = stack.readable(stack.one("aws_budgets_budget"))
        assert budget["name"] == f"serverlessapp-monthly{suffix}"
        assert (budget["budget_type"], budget["time_unit"]) == ("COST", "MONTHLY")
        assert (Decimal(budget["limit_amount"]), budget["limit_unit"]) == (Decimal(amount), "USD")
        told = {
            (each["notification_type"], each["threshold"], each["threshold_type"], *each["subscriber_sns_topic_arns"])
            for each in budget["notification"]
        }
        assert told == {("ACTUAL", 80, "PERCENTAGE", TOPIC + suffix), ("FORECASTED", 100, "PERCENTAGE", TOPIC + suffix)}
        assert budget["depends_on"] == [stack.address("aws_sns_topic_policy", "pets/alerts/topic_policy")]
        policy = stack.readable(stack.statements(stack.one("aws_kms_key", "pets/alerts")["policy"]))
        (encrypt,) = [each for each in policy if each["principals"][0]["identifiers"] == ["budgets.amazonaws.com"]]
        assert set(encrypt["actions"]) == {"kms:Decrypt", "kms:GenerateDataKey"}


# --- outputs, retention ---------------------------------------------------------------------------------------------


def test_outputs(pets):
    """P11, C11: an interface: exactly these."""
    console = "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#dashboards/dashboard/"
    assert {name: pets.readable(each["value"]) for name, each in pets.json["output"].items()} == {
        "pet_api_url": "<aws_api_gateway_stage pets/api/stage invoke_url>",
        "pet_api_key_id": "<aws_api_gateway_api_key pets/api_key/key id>",
        "pet_api_release": '{"function": "serverlessapp-image-api", "alias": "live", '
        '"application": "serverlessapp-image-api-live", "group": "serverlessapp-image-api-live"}',
        "pet_bucket_name": BUCKET,
        "pet_table_name": "serverlessapp-DetectionLogs",
        "pet_state_machine_arn": PIPELINE,
        "pet_alert_topic_arn": TOPIC,
        "pet_dashboard_url": f"{console}serverlessapp-pet-detector",
    }
    assert all(each["description"] for each in pets.json["output"].values())


def test_everything_belongs_to_the_one_system(pets):
    """The tests that look below pets/ would miss what stands beside it."""
    assert {path.split("/", 1)[0] for _, path, _ in pets.every()} == {"pets"}


def test_data_of_prod_survives_destroy_and_dev_leaves_nothing(pets, pets_dev, pets_staging):
    """P8a, C12: images, records, and who did what; a table's and a bucket's protection are both on, or both off."""
    for stack, kept in ((pets, True), (pets_dev, False), (pets_staging, False)):
        protected = {"prevent_destroy": True} if kept else None
        buckets = stack.all("aws_s3_bucket")
        assert {path.removesuffix("/bucket") for path in buckets} >= {"pets/images", "pets/access_logs"}
        assert {(body["force_destroy"], json.dumps(body.get("lifecycle"))) for body in buckets.values()} == {
            (not kept, json.dumps(protected))
        }
        table = stack.one("aws_dynamodb_table")
        assert (table["deletion_protection_enabled"], table.get("lifecycle")) == (kept, protected)


def test_the_processor_knows_every_action_that_the_machines_ask_for(pets):
    """P3: an unknown one would fail every image."""
    asked = {
        state["Arguments"]["Payload"]["action"]
        for machine in ("pipeline", "recovery")
        for state in pets.machine(f"pets/{machine}")["States"].values()
        if "action" in state.get("Arguments", {}).get("Payload", {})
    }
    assert asked == set(image_processor._ACTIONS)
