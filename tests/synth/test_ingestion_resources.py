"""The regional ingestion's resources as the JSON shows them, in both regions (R1, R2, R4, R5, R7-R9)."""

import json
import re

import pytest

from ingestion_stack import IngestionStack
from lambdas.ingestion import contract, environment
from ops.regions import Names
from settings import INGESTION_REGIONS, IngestionSettings
from tests.synth.alarms import fires, metrics
from tests.synth.events import matches, stream_record
from tests.synth.reading import synthesise

EAST, WEST = "us_east_1", "us_west_2"
REGIONS = {EAST: ("us-east-1", "us-west-2"), WEST: ("us-west-2", "us-east-1")}
"""Of each part: its own region, and the other."""
BUCKETS = {EAST: "serverless-data-ingestion-prod", WEST: "serverless-data-ingestion-dr-prod"}
TABLE = "serverless-processed-data-prod"
NAMESPACE = "serverless-ingestion-prod"
FUNCTIONS = {
    "processor": "serverless-data-processor-prod",
    "consumer": "serverless-stream-consumer-prod",
    "heartbeat": "serverless-replication-heartbeat-prod",
}
each_region = pytest.mark.parametrize("part", REGIONS)


@pytest.fixture(scope="module")
def chosen():
    """The regional ingestion of prod with everything chosen that can be chosen."""
    return synthesise(
        IngestionStack,
        "ingestion",
        ingestion_bucket_name="my-east",
        ingestion_dr_bucket_name="my-west",
        ingestion_alert_emails="a@example.com,b@example.com",
        ingestion_object_retention_days=30,
        ingestion_memory_mb=512,
        ingestion_error_rate_percent="2.5",
        ingestion_duration_alarm_seconds=100,
        ingestion_lag_alarm_seconds=90,
        state_bucket_region="eu-west-1",
    )


# --- two regions ----------------------------------------------------------------------------------------------------


def normalised(stack, part):
    """What stands in a region, (type, path) → body, its outputs among it: with words for its own region, the other one and its
    bucket, paths for logical ids, and without the name of the provider."""
    here, there = REGIONS[part]
    text = json.dumps(stack.json)
    for id_, path in stack.paths.items():
        text = text.replace(id_, path)
    text = text.replace(BUCKETS[part], "BUCKET").replace("${aws_dynamodb_table.records/table.stream_arn}", "STREAM")
    text = re.sub(r"\$\{element\((tolist\()+aws_dynamodb_table\.records/table\.replica\)+, 0\)\.stream_arn\}", "STREAM", text)
    text = re.sub(r"assets/(\w+)_[0-9A-F]{8}/", r"assets/\1/", text)
    for region, word in ((here, "HERE"), (there, "THERE")):
        text = text.replace(region, word).replace(region.replace("-", "_"), word)
    found = json.loads(text)
    bodies = {
        (kind, path): {name: value for name, value in body.items() if name != "provider"}
        for block in ("resource", "data")
        for kind, each in found[block].items()
        for path, body in each.items()
        if path.startswith("HERE/")
    }
    outputs = {("output", name): body for name, body in found["output"].items() if name.endswith("_HERE")}
    return bodies | outputs


def test_regions_differ_in_nothing_but_region_and_names(ingestion):
    """R2: the identical function, and all around it, stands in us-west-2; but for the parameter's value, the same in both (R8),
    and the names of the buckets (R1)."""
    east, west = (normalised(ingestion, part) for part in REGIONS)
    for bodies in (east, west):
        bodies["aws_ssm_parameter", "HERE/active_region/parameter"].pop("value")
    assert len(east) > 80
    assert set(east) == set(west)
    for address, body in east.items():
        assert body == west[address], address


def test_each_region_is_made_by_its_own_provider(ingestion):
    """R1: every resource and every data source in us-west-2 by the one with the alias, and nothing else."""
    documents = ingestion.json["data"]["aws_iam_policy_document"]
    bodies = [*((path, body) for _, path, body in ingestion.every()), *((ingestion.paths[i], b) for i, b in documents.items())]
    assert {path.split("/")[0] for path, _ in bodies} == {EAST, WEST, "records"}
    for path, body in bodies:
        assert body.get("provider") == ("aws.us_west_2" if path.startswith(f"{WEST}/") else None), path


def mentions(value, words, at=()):
    """Where in a body one of the words stands."""
    if isinstance(value, dict):
        return {each for name, part in value.items() for each in mentions(part, words, (*at, name))}
    if isinstance(value, list):
        return {each for number, part in enumerate(value) for each in mentions(part, words, (*at, str(number)))}
    return {at} if isinstance(value, str) and any(word in value for word in words) else set()


@each_region
def test_a_region_knows_the_other_by_its_heartbeat_only(ingestion, part):
    """R2, R8: each works when the other is gone. Both hold the same parameter, and the table is the one thing they share."""
    _, there = REGIONS[part]
    (other,) = set(REGIONS) - {part}
    here = ingestion.under(part)
    words = (there, other, BUCKETS[other])
    found = {(path, *where) for _, path, body in here.every() for where in mentions(here.readable(body), words)}
    parameter = {(f"{WEST}/active_region/parameter", "value")} if part == WEST else set()
    assert found == {(f"{part}/heartbeat/function", "environment", "variables", "OTHER_REGION"), *parameter}
    for document in here.json["data"]["aws_iam_policy_document"].values():
        assert not mentions(here.readable(document), words)
    text = json.dumps(here.json["resource"])
    used = {path for id_, path in here.paths.items() if "/" in path and id_ in text}
    assert {path for path in used if not path.startswith(f"{part}/")} == {"records/table"}


def test_state_lies_where_the_settings_say(ingestion, chosen):
    """R8: in neither of the two regions, if somebody wants it so; nothing else moves with it."""
    assert chosen.json["terraform"]["backend"]["s3"]["region"] == "eu-west-1"
    assert chosen.json["provider"] == ingestion.json["provider"]
    assert "eu-west-1" not in json.dumps({block: chosen.json[block] for block in ("resource", "data", "output")})


# --- names ----------------------------------------------------------------------------------------------------------

SEEN_BY_THE_ACCOUNT = {"aws_iam_role", "aws_cloudwatch_dashboard", "aws_s3_bucket"}
"""Whose names both regions share; the rest is counted by region."""
NAME_FIELDS = ("name", "function_name", "bucket", "alarm_name", "dashboard_name")


def names(stack, part):
    """(type, path below the region) → name, of everything that AWS knows by name."""
    return {
        (kind, path.removeprefix(f"{part}/")): name
        for kind, path, body in stack.under(part).every()
        for field in NAME_FIELDS
        if not (name := stack.readable(body.get(field, "<"))).startswith(("<", "arn:")) and kind != "aws_iam_role_policy"
    }


def test_named_as_specified(ingestion):
    """R1, R2, R4: the fixed names."""
    assert ingestion.one("aws_dynamodb_table")["name"] == TABLE
    for part in REGIONS:
        assert ingestion.one("aws_s3_bucket", f"{part}/data")["bucket"] == BUCKETS[part]
        for path, name in FUNCTIONS.items():
            assert ingestion.one("aws_lambda_function", f"{part}/{path}")["function_name"] == name
        assert ingestion.one("aws_sqs_queue", f"{part}/processor")["name"] == "serverless-data-processor-dlq-prod"


@each_region
def test_every_name_begins_and_ends_as_specified(ingestion, part):
    """Section R: serverless-RESOURCE-prod, after what AWS fixes; the bucket of the logs ends in the account, since names of
    buckets are global."""
    found = names(ingestion, part)
    assert len(found) >= 30
    for (kind, path), name in found.items():
        assert re.fullmatch(r"(/|/aws/lambda/|alias/)?serverless-[a-z0-9/-]+-prod(-\d{12})?", name), f"{kind} {path}: {name}"
        assert name.endswith("-111122223333") == (path == "access_logs/bucket")


@pytest.mark.parametrize("stack", ["ingestion", "ingestion_dev"])
def test_only_what_the_account_sees_is_named_by_region(request, stack):
    """R1, R7: roles, dashboards and buckets would meet; all else has the same name in both, which the operator's commands and
    people count on."""
    east, west = (names(request.getfixturevalue(stack), part) for part in REGIONS)
    assert set(east) == set(west)
    assert {kind for kind, _ in east} > SEEN_BY_THE_ACCOUNT
    for (kind, path), name in east.items():
        assert (name != west[kind, path]) == (kind in SEEN_BY_THE_ACCOUNT), f"{kind} {path}: {name}"


def test_other_environments_never_share_a_name(ingestion, ingestion_dev):
    """C5c: another suffix replaces -prod, in every name."""
    for part in REGIONS:
        prod, dev = (names(stack, part) for stack in (ingestion, ingestion_dev))
        assert dev == {address: re.sub(r"-prod(-\d{12})?$", r"-dev\1", name) for address, name in prod.items()}
    assert ingestion_dev.one("aws_dynamodb_table")["name"] == "serverless-processed-data-dev"
    namespaces = {
        query["metric"]["namespace"]
        for alarm in ingestion_dev.all("aws_cloudwatch_metric_alarm").values()
        for query in alarm["metric_query"]
        if "metric" in query
    }
    assert namespaces == {"AWS/Lambda", "AWS/SQS", "serverless-ingestion-dev"}


def test_longest_suffix_stays_within_the_limits_of_aws():
    """C5c: names are shortened before AWS refuses them, and stay apart where both regions see them."""
    limits = {
        "aws_cloudwatch_dashboard": 255,
        "aws_cloudwatch_event_rule": 64,
        "aws_cloudwatch_metric_alarm": 255,
        "aws_iam_role": 64,
        "aws_lambda_function": 64,
        "aws_s3_bucket": 63,
        "aws_sns_topic": 256,
        "aws_sqs_queue": 80,
        "aws_ssm_parameter": 512,
    }
    suffix = "a123456789012345"
    stack = synthesise(IngestionStack, "ingestion", environment_suffix=suffix)
    east, west = (names(stack, part) for part in REGIONS)
    for kind, limit in limits.items():
        for found in (east, west):
            own = [name for (each, _), name in found.items() if each == kind]
            assert own, kind
            assert len(set(own)) == len(own), kind
            assert all(len(name) <= limit and suffix in name for name in own), own
    for (kind, path), name in east.items():
        assert (name != west[kind, path]) == (kind in SEEN_BY_THE_ACCOUNT), f"{kind} {path}: {name}"


@pytest.mark.parametrize(
    "settings",
    [{}, {"environment_suffix": "dev"}, {"ingestion_bucket_name": "my-east", "ingestion_dr_bucket_name": "my-west"}],
    ids=["prod", "dev", "buckets of one's own"],
)
def test_commands_find_what_is_deployed(settings):
    """R8, C5c: they know the system by its names, not by Terraform's state."""
    stack = synthesise(IngestionStack, "ingestion", **settings)
    known = Names.of(IngestionSettings.of(**settings))
    assert known.table == stack.one("aws_dynamodb_table")["name"]
    for part, (region, _) in REGIONS.items():
        functions = {path: stack.one("aws_lambda_function", f"{part}/{path}")["function_name"] for path in FUNCTIONS}
        assert functions == {"processor": known.processor, "consumer": known.consumer, "heartbeat": known.heartbeat}
        assert stack.one("aws_sqs_queue", f"{part}/processor")["name"] == known.dead_letters
        assert stack.one("aws_ssm_parameter", part)["name"] == known.parameter
        assert stack.one("aws_s3_bucket", f"{part}/data")["bucket"] == known.buckets[region]
        alarms = {body["alarm_name"] for body in stack.under(part).all("aws_cloudwatch_metric_alarm").values()}
        assert alarms == {known.lag_alarm, *known.alarms}


# --- buckets --------------------------------------------------------------------------------------------------------


def test_buckets_stand_in_their_regions(ingestion, chosen):
    """R1: one for data and one for its logs in each; bucket names are global, hence settings."""
    for part in REGIONS:
        here = ingestion.under(part)
        assert set(here.all("aws_s3_bucket")) == {f"{part}/data/bucket", f"{part}/access_logs/bucket"}
        assert here.region == REGIONS[part][0]
    assert [chosen.one("aws_s3_bucket", f"{part}/data")["bucket"] for part in REGIONS] == ["my-east", "my-west"]


@each_region
def test_data_buckets_are_versioned_encrypted_and_private(ingestion, part):
    """R1: SSE-S3; see test_common for the rest of what every bucket is."""
    encryption = ingestion.one("aws_s3_bucket_server_side_encryption_configuration", f"{part}/data")
    (rule,) = encryption["rule"]
    assert rule["apply_server_side_encryption_by_default"] == {"sse_algorithm": "AES256"}
    assert ingestion.one("aws_s3_bucket_versioning", f"{part}/data")["versioning_configuration"] == {"status": "Enabled"}
    block = ingestion.one("aws_s3_bucket_public_access_block", f"{part}/data")
    assert {name for name, value in block.items() if value is True} == {
        *("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    }


def test_nothing_is_replicated_between_buckets(ingestion):
    """R1."""
    assert not [kind for kind in ingestion.kinds() if "replication" in kind]
    assert not [path for path, body in ingestion.all("aws_s3_bucket").items() if "replication_configuration" in body]


def test_files_expire_as_the_settings_say(ingestion, chosen):
    """R1: a year by default; old versions and unfinished uploads sooner."""
    for stack, days in ((ingestion, 365), (chosen, 30)):
        for part in REGIONS:
            (rule,) = stack.one("aws_s3_bucket_lifecycle_configuration", f"{part}/data")["rule"]
            assert rule == {
                "id": "expire",
                "status": "Enabled",
                "filter": [{"prefix": ""}],
                "expiration": [{"days": days}],
                "noncurrent_version_expiration": [{"noncurrent_days": 30}],
                "abort_incomplete_multipart_upload": [{"days_after_initiation": 1}],
            }


@each_region
def test_created_files_invoke_the_processor(ingestion, part):
    """R2: .json and .csv, in any folder, and nothing else; of its own region."""
    region, _ = REGIONS[part]
    notification = ingestion.readable(ingestion.one("aws_s3_bucket_notification", part))
    assert notification["bucket"] == f"<aws_s3_bucket {part}/data/bucket id>"
    processor = f"arn:aws:lambda:{region}:111122223333:function:serverless-data-processor-prod"
    common = {"lambda_function_arn": processor, "events": ["s3:ObjectCreated:*"]}
    assert notification["lambda_function"] == [{**common, "filter_suffix": suffix} for suffix in (".json", ".csv")]
    assert not {"eventbridge", "queue", "topic"} & set(notification)
    permission = ingestion.readable(ingestion.one("aws_lambda_permission", f"{part}/processor"))
    assert permission["action"] == "lambda:InvokeFunction"
    assert permission["function_name"] == f"<aws_lambda_function {part}/processor/function function_name>"
    assert (permission["principal"], permission["source_arn"], permission["source_account"]) == (
        "s3.amazonaws.com",
        f"arn:aws:s3:::{BUCKETS[part]}",
        "111122223333",
    )


@each_region
def test_first_event_finds_everything_in_its_place(ingestion, part):
    """R2, R7: versioning (else the version id is null), the permission, what the role may do, and the table with its replica,
    which takes minutes to make: meanwhile files and beats would end in the dead-letter queues."""
    table = ingestion.address("aws_dynamodb_table", "records/table")
    assert set(ingestion.one("aws_s3_bucket_notification", part)["depends_on"]) == {
        ingestion.address("aws_s3_bucket_versioning", f"{part}/data/versioning"),
        ingestion.address("aws_lambda_permission", f"{part}/processor/permit_s3"),
        *(ingestion.address("aws_iam_role_policy", f"{part}/processor/role/{policy}_policy") for policy in ("runtime", "grants")),
        table,
    }
    assert set(ingestion.one("aws_cloudwatch_event_target", part)["depends_on"]) == {
        ingestion.address("aws_lambda_permission", f"{part}/heartbeat/permit_events"),
        *(ingestion.address("aws_iam_role_policy", f"{part}/heartbeat/role/{policy}_policy") for policy in ("runtime", "grants")),
        table,
    }


# --- functions ------------------------------------------------------------------------------------------------------

HANDLERS = {
    "processor": contract.PROCESSOR_HANDLER,
    "consumer": contract.CONSUMER_HANDLER,
    "heartbeat": contract.HEARTBEAT_HANDLER,
}
VARIABLES = {
    "processor": contract.PROCESSOR_ENVIRONMENT,
    "consumer": contract.CONSUMER_ENVIRONMENT,
    "heartbeat": contract.HEARTBEAT_ENVIRONMENT,
}


@each_region
def test_functions(ingestion, chosen, part):
    """R2, R5, R7: five minutes for a file; size as the settings say."""
    functions = ingestion.under(part).all("aws_lambda_function")
    sizes = {path: (body["timeout"], body["memory_size"]) for path, body in functions.items()}
    assert sizes == {
        f"{part}/processor/function": (300, 1024),
        f"{part}/consumer/function": (60, 256),
        f"{part}/heartbeat/function": (30, 256),
    }
    for path, handler in HANDLERS.items():
        body = ingestion.one("aws_lambda_function", f"{part}/{path}")
        assert (body["handler"], body["runtime"], body["architectures"]) == (handler, "python3.13", ["arm64"])
        assert "reserved_concurrent_executions" not in body
    assert chosen.one("aws_lambda_function", f"{part}/processor")["memory_size"] == 512


@each_region
def test_functions_get_what_they_read(ingestion, part):
    """R2: exactly the variables of the contract, by the functions' own reading of them."""
    here, there = REGIONS[part]
    given = {path: ingestion.one("aws_lambda_function", f"{part}/{path}")["environment"]["variables"] for path in VARIABLES}
    for path, variables in VARIABLES.items():
        assert set(given[path]) == set(variables)
    assert environment.processor(given["processor"]) == environment.ProcessorEnvironment(TABLE, here, NAMESPACE)
    assert environment.consumer(given["consumer"]) == environment.ConsumerEnvironment(here, NAMESPACE)
    assert environment.heartbeat(given["heartbeat"]) == environment.HeartbeatEnvironment(TABLE, here, there, NAMESPACE)


@each_region
def test_dead_letters_of_the_processor(ingestion, part):
    """R2: a queue of its own region; see test_common for what every queue is."""
    body = ingestion.readable(ingestion.one("aws_lambda_function", f"{part}/processor"))
    queue = f"arn:aws:sqs:{REGIONS[part][0]}:111122223333:serverless-data-processor-dlq-prod"
    assert body["dead_letter_config"] == {"target_arn": queue}


# --- table ----------------------------------------------------------------------------------------------------------


def test_table(ingestion):
    """R4: keys, index, streams. The index holds keys alone: nearly all records are VALID, and one partition would take them."""
    table = ingestion.one("aws_dynamodb_table")
    assert (table["hash_key"], table["range_key"]) == ("recordId", "timestamp")
    assert table["attribute"] == [{"name": name, "type": "S"} for name in ("recordId", "timestamp", "processingStatus")]
    assert table["global_secondary_index"] == [
        {"name": "status-index", "hash_key": "processingStatus", "range_key": "timestamp", "projection_type": "KEYS_ONLY"}
    ]
    assert (table["stream_enabled"], table["stream_view_type"]) == (True, "NEW_AND_OLD_IMAGES")
    assert "ttl" not in table, "records stay"


def test_replica(ingestion):
    """R4: a global table: the same table in us-west-2, recoverable there too, under the same tags. No second resource makes one,
    which would fight with this one over it."""
    table = ingestion.one("aws_dynamodb_table")
    assert table["replica"] == [{"region_name": "us-west-2", "point_in_time_recovery": True, "propagate_tags": True}]
    assert table["point_in_time_recovery"] == {"enabled": True}
    assert {kind for kind in ingestion.kinds() if kind.startswith("aws_dynamodb")} == {"aws_dynamodb_table"}
    assert [region for region, _ in REGIONS.values()] == list(INGESTION_REGIONS)


def test_table_is_kept_in_prod_and_goes_elsewhere(ingestion, ingestion_dev):
    """R4, C12."""
    prod, dev = (stack.one("aws_dynamodb_table") for stack in (ingestion, ingestion_dev))
    assert (prod["deletion_protection_enabled"], prod["lifecycle"]) == (True, {"prevent_destroy": True})
    assert (dev["deletion_protection_enabled"], dev.get("lifecycle")) == (False, None)


# --- stream ---------------------------------------------------------------------------------------------------------


def stream_pattern(stack, part):
    (each,) = stack.one("aws_lambda_event_source_mapping", part)["filter_criteria"]["filter"]
    return json.loads(each["pattern"])


@each_region
def test_stream_mapping(ingestion, part):
    """R5: partial batches, bisected, tried again so often, then a queue; from the stream's beginning, so that no record is
    missed that was written before."""
    region, _ = REGIONS[part]
    mapping = ingestion.readable(ingestion.one("aws_lambda_event_source_mapping", part))
    assert mapping["function_name"] == f"arn:aws:lambda:{region}:111122223333:function:serverless-stream-consumer-prod"
    assert mapping["function_response_types"] == ["ReportBatchItemFailures"]
    assert mapping["bisect_batch_on_function_error"] is True
    assert mapping["maximum_retry_attempts"] == 5
    assert 0 < mapping["maximum_record_age_in_seconds"] < 24 * 3600, "in the stream a record stays for a day"
    assert mapping["starting_position"] == "TRIM_HORIZON"
    queue = f"arn:aws:sqs:{region}:111122223333:serverless-stream-consumer-stream-dlq-prod"
    assert mapping["destination_config"] == {"on_failure": {"destination_arn": queue}}
    assert "enabled" not in mapping
    assert set(mapping["depends_on"]) == {
        ingestion.address("aws_lambda_function", f"{part}/consumer/function"),
        ingestion.address("aws_sqs_queue", f"{part}/stream/dead_letters/queue"),
        ingestion.address("aws_iam_role_policy", f"{part}/consumer/role/runtime_policy"),
    }


def test_each_region_follows_its_own_stream(ingestion):
    """R5: in us-west-2 the replica's, which no name tells."""
    east, west = (ingestion.one("aws_lambda_event_source_mapping", part)["event_source_arn"] for part in REGIONS)
    assert ingestion.readable(east) == "<aws_dynamodb_table records/table stream_arn>"
    table = re.escape(ingestion.address("aws_dynamodb_table", "records/table"))
    assert re.fullmatch(rf"\$\{{element\((tolist\()+{table}\.replica\)+, 0\)\.stream_arn\}}", west)


def image(region, status):
    return {"recordId": "a", "timestamp": "2026-01-31T23:59:59Z", "processingRegion": region, "processingStatus": status}


@each_region
@pytest.mark.parametrize("status", ["VALID", "INVALID"])
def test_records_that_the_consumer_gets(ingestion, part, status):
    """R5: what its region wrote, new or changed; another region's record that this one has written over, too."""
    here, there = REGIONS[part]
    pattern = stream_pattern(ingestion, part)
    assert matches(pattern, stream_record("INSERT", new=image(here, status)))
    assert matches(pattern, stream_record("MODIFY", old=image(here, "VALID"), new=image(here, status)))
    assert matches(pattern, stream_record("MODIFY", old=image(there, status), new=image(here, status)))


@each_region
def test_records_that_the_consumer_never_sees(ingestion, part):
    """R5, R7: the other region's, which its own consumer gets; checkpoints and heartbeats; what is removed or unfinished."""
    here, there = REGIONS[part]
    pattern = stream_pattern(ingestion, part)
    unwanted = [
        stream_record("INSERT", new=image(there, "VALID")),
        stream_record("MODIFY", old=image(here, "VALID"), new=image(there, "VALID")),
        stream_record("INSERT", new=image(here, "CHECKPOINT")),
        stream_record("MODIFY", old=image(here, "CHECKPOINT"), new=image(here, "CHECKPOINT")),
        stream_record("INSERT", new=image(here, "HEARTBEAT")),
        stream_record("MODIFY", old=image(here, "HEARTBEAT"), new=image(here, "HEARTBEAT")),
        stream_record("INSERT", new=image(here, "valid")),
        stream_record("INSERT", new={"recordId": "a"}),
        stream_record("REMOVE", old=image(here, "VALID")),
    ]
    assert [each for each in unwanted if matches(pattern, each)] == []


def test_no_record_is_followed_twice_or_by_nobody(ingestion):
    """R5: of each record that a function writes exactly one region's consumer hears."""
    for region in INGESTION_REGIONS:
        for status in (contract.VALID, contract.INVALID):
            record = stream_record("INSERT", new=image(region, status))
            assert [matches(stream_pattern(ingestion, part), record) for part in REGIONS].count(True) == 1


# --- alarms, topic, dashboard, heartbeat ----------------------------------------------------------------------------


def alarm(stack, part, path):
    return stack.one("aws_cloudwatch_metric_alarm", f"{part}/{path}")


@each_region
@pytest.mark.parametrize(("path", "name"), FUNCTIONS.items())
def test_error_rates(ingestion, chosen, part, path, name):
    """R7: above five per cent of the invocations; nobody is called for none."""
    found = alarm(ingestion, part, f"{path}/error_rate")
    assert fires(found, errors=6, invocations=100)
    assert not fires(found, errors=5, invocations=100)
    assert not fires(found, errors=0, invocations=0)
    assert not fires(found)
    assert metrics(found) == {("AWS/Lambda", each, "FunctionName", name, 300, "Sum") for each in ("Errors", "Invocations")}
    assert fires(alarm(chosen, part, f"{path}/error_rate"), errors=3, invocations=100)
    assert not fires(alarm(chosen, part, f"{path}/error_rate"), errors=2, invocations=100)


@each_region
def test_duration(ingestion, chosen, part):
    """R7: the longest run, in milliseconds as Lambda counts it, before it meets its end at 300 seconds."""
    found = alarm(ingestion, part, "duration")
    assert fires(found, duration=240_001)
    assert not fires(found, duration=240_000)
    assert not fires(found)
    assert metrics(found) == {("AWS/Lambda", "Duration", "FunctionName", FUNCTIONS["processor"], 300, "Maximum")}
    assert fires(alarm(chosen, part, "duration"), duration=100_001)
    assert not fires(alarm(chosen, part, "duration"), duration=100_000)


@each_region
def test_lag(ingestion, chosen, part):
    """R7: five minutes without the other region's heartbeat, or without any word of it: silence is no good sign."""
    found = alarm(ingestion, part, "lag")
    assert fires(found)
    assert fires(found, lag=301)
    assert not fires(found, lag=300)
    assert metrics(found) == {(NAMESPACE, "ReplicationLag", "service", "ingestion", 60, "Maximum")}
    assert fires(alarm(chosen, part, "lag"), lag=91)
    assert not fires(alarm(chosen, part, "lag"), lag=90)


def test_only_silence_of_the_heartbeat_is_an_alarm(ingestion):
    """R7: the others rest while nothing happens."""
    alarms = ingestion.all("aws_cloudwatch_metric_alarm")
    silent = {path for path, body in alarms.items() if body["treat_missing_data"] == "breaching"}
    assert silent == {f"{part}/lag/alarm" for part in REGIONS}


@each_region
def test_topic(ingestion, ingestion_dev, chosen, part):
    """R7: one in each region, to which people subscribe there; see test_common for its key and the alarms that reach it."""
    assert ingestion.one("aws_sns_topic", part)["name"] == "serverless-ingestion-alarms-prod"
    assert not ingestion.all("aws_sns_topic_subscription")
    for stack, expected in ((ingestion_dev, {"e@example.com"}), (chosen, {"a@example.com", "b@example.com"})):
        subscriptions = stack.readable(list(stack.under(part).all("aws_sns_topic_subscription").values()))
        assert {each["endpoint"] for each in subscriptions} == expected
        assert {each["topic_arn"] for each in subscriptions} == {f"<aws_sns_topic {part}/alarms/topic arn>"}


@each_region
def test_dashboard_draws_the_functions_own_metrics(ingestion, part):
    """R7: as the functions write them; see test_common for those of AWS."""
    dashboard = ingestion.one("aws_cloudwatch_dashboard", part)
    assert dashboard["dashboard_name"] == f"serverless-ingestion-{REGIONS[part][0]}-prod"
    widgets = json.loads(dashboard["dashboard_body"])["widgets"]
    drawn = [metric for widget in widgets for metric in widget["properties"]["metrics"]]
    service = ("service", contract.METRICS_SERVICE)
    assert {tuple(each[:-1]) for each in drawn if each[0] == NAMESPACE} == {
        *((NAMESPACE, name, *service) for name in (contract.METRIC_FILES, contract.METRIC_FAILED_FILES)),
        *((NAMESPACE, contract.METRIC_RECORDS, *service, "status", status) for status in (contract.VALID, contract.INVALID)),
        *((NAMESPACE, name, *service) for name in (contract.METRIC_CONFLICTS, contract.METRIC_LAG)),
    }


@each_region
def test_heartbeat_comes_every_minute(ingestion, part):
    """R7: by a rule that may invoke it, and nobody else may; see test_common for the dead letters."""
    region, _ = REGIONS[part]
    rule = ingestion.one("aws_cloudwatch_event_rule", part)
    assert (rule["name"], rule["schedule_expression"]) == ("serverless-replication-heartbeat-prod", "rate(1 minute)")
    assert not {"event_pattern", "state"} & set(rule)
    target = ingestion.readable(ingestion.one("aws_cloudwatch_event_target", part))
    assert target["arn"] == f"arn:aws:lambda:{region}:111122223333:function:serverless-replication-heartbeat-prod"
    queue = f"arn:aws:sqs:{region}:111122223333:serverless-replication-heartbeat-dlq-prod"
    assert target["dead_letter_config"] == {"arn": queue}
    permission = ingestion.readable(ingestion.one("aws_lambda_permission", f"{part}/heartbeat"))
    assert permission["function_name"] == f"<aws_lambda_function {part}/heartbeat/function function_name>"
    assert (permission["principal"], permission["source_arn"]) == (
        "events.amazonaws.com",
        f"arn:aws:events:{region}:111122223333:rule/serverless-replication-heartbeat-prod",
    )


@each_region
def test_saved_query_tells_a_files_story(ingestion, part):
    """C9: by the fields that the processor's log lines carry."""
    query = ingestion.one("aws_cloudwatch_query_definition", part)
    assert query["log_group_names"] == ["/aws/lambda/serverless-data-processor-prod"]
    assert all(re.search(rf"\b{field}\b", query["query_string"]) for field in ("key", "version_id", "request_id"))


# --- active region, outputs -----------------------------------------------------------------------------------------


def test_active_region_is_kept_in_both(ingestion):
    """R8: at first us-east-1, epoch 1, in both; from then on the command failover writes it, and no apply takes it back."""
    for part in REGIONS:
        parameter = ingestion.one("aws_ssm_parameter", part)
        assert parameter["name"] == "/serverless-ingestion/active-region-prod"
        assert (parameter["type"], json.loads(parameter["value"])) == ("String", {"region": "us-east-1", "epoch": 1})
        assert parameter["lifecycle"] == {"ignore_changes": ["value"]}


NAMES = (
    *("bucket_name", "bucket_arn", "function_name", "function_arn", "table_name", "table_arn", "stream_arn"),
    *("topic_arn", "dlq_url", "dlq_arn", "dashboard_url"),
)


def test_outputs(ingestion, ingestion_dev):
    """R9: these and no others, each described; other environments' have the same names."""
    expected = {f"ingestion_{name}_{part}" for name in NAMES for part in REGIONS}
    assert set(ingestion.json["output"]) == set(ingestion_dev.json["output"]) == expected
    assert all(each["description"] for each in ingestion.json["output"].values())


@each_region
def test_values_of_the_outputs(ingestion, part):
    """R9: each of its own region."""
    region, _ = REGIONS[part]
    arn = f"arn:aws:{{}}:{region}:111122223333:{{}}"
    found = {name: ingestion.readable(ingestion.json["output"][f"ingestion_{name}_{part}"]["value"]) for name in NAMES}
    mapping = ingestion.readable(ingestion.one("aws_lambda_event_source_mapping", part))
    assert found == {
        "bucket_name": BUCKETS[part],
        "bucket_arn": f"arn:aws:s3:::{BUCKETS[part]}",
        "function_name": FUNCTIONS["processor"],
        "function_arn": arn.format("lambda", f"function:{FUNCTIONS['processor']}"),
        "table_name": TABLE,
        "table_arn": arn.format("dynamodb", f"table/{TABLE}"),
        "stream_arn": mapping["event_source_arn"],
        "topic_arn": arn.format("sns", "serverless-ingestion-alarms-prod"),
        "dlq_url": f"<aws_sqs_queue {part}/processor/dead_letters/queue url>",
        "dlq_arn": arn.format("sqs", "serverless-data-processor-dlq-prod"),
        "dashboard_url": f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
        f"#dashboards/dashboard/serverless-ingestion-{region}-prod",
    }
