"""What docs/ingestion.md, docs/disaster-recovery.md and docs/operating.md say of the commands is so (C14, O1–O4)."""

import re
from pathlib import Path

import pytest

from lambdas.ingestion import contract
from ops import active, producer, readiness
from ops.commands import _parser
from ops.regions import ALARMS, BUCKETS, CONFIG, DEAD_LETTERS, PROCESSOR, TABLE
from tests.unit.ops.fakes import NAMES, World

DOCS = Path(__file__).resolve().parents[3] / "docs"
INGESTION = (DOCS / "ingestion.md").read_text(encoding="utf-8")
OPERATING = (DOCS / "operating.md").read_text(encoding="utf-8")
RECOVERY = (DOCS / "disaster-recovery.md").read_text(encoding="utf-8")


def quoted(text):
    return set(re.findall(r"`([^`\n]+)`", text))


def test_every_alarm_is_answered():
    """R7."""
    assert {alarm.removesuffix("-prod") for alarm in ALARMS} <= quoted(INGESTION.split("\n## Operating\n")[1])


def test_every_attribute_is_explained():
    """R3a, R3b."""
    records = INGESTION.split("\n## Records\n")[1].split("\n## ")[0]
    checkpoints = INGESTION.split("\n## Checkpoint and counts\n")[1].split("\n## ")[0]
    of_records = {
        contract.RECORD_ID, contract.TIMESTAMP, contract.STATUS, contract.DATA, contract.CHECKSUM, contract.REASON,
        contract.SOURCE_BUCKET, contract.SOURCE_KEY, contract.SOURCE_VERSION, contract.SOURCE_OFFSET, contract.SOURCE_LINE,
        contract.REGION, contract.PROCESSED_AT,
    }  # fmt: skip
    statuses = {contract.VALID, contract.INVALID, contract.CHECKPOINT, contract.HEARTBEAT}
    assert of_records | statuses | {contract.NO_TIMESTAMP, contract.INDEX} <= quoted(records)
    of_checkpoints = {contract.OFFSET, contract.LINE, *contract.COUNTS, contract.DONE, contract.FAILURE}
    assert of_checkpoints | {contract.CHECKPOINT_PREFIX} <= quoted(checkpoints)
    metrics = {getattr(contract, name) for name in dir(contract) if name.startswith("METRIC_")}
    assert metrics <= quoted(INGESTION)


def test_names_and_figures_are_those_of_the_code():
    """O4."""
    for name in (*BUCKETS.values(), TABLE, PROCESSOR, DEAD_LETTERS, NAMES.parameter):
        assert f"`{name}`" in INGESTION
    assert "two attempts of three seconds to connect" in RECOVERY
    assert (CONFIG.connect_timeout, CONFIG.retries["total_max_attempts"]) == (3, 2)
    assert "more than five minutes are refused" in RECOVERY and readiness.FRESH_SECONDS == 300
    assert "leaps ahead by a hundred" in (DOCS / "decisions" / "0030-active-region-with-an-epoch.md").read_text(encoding="utf-8")
    assert active.LEAP == 100
    assert "for some seconds (30)" in RECOVERY and producer.Producer(World().regions())._keep_seconds == 30


def test_commands_that_the_guides_show_can_be_typed():
    """O4."""
    lines = re.findall(r"^\.venv/bin/python -m ops (.+)$", RECOVERY + OPERATING, re.MULTILINE)
    assert len(lines) >= 18
    for line in lines:
        _parser().parse_args(line.split())


PERMISSIONS = {
    "get_caller_identity": [],
    "get_function_configuration": ["lambda:GetFunctionConfiguration"],
    "get_function_concurrency": ["lambda:GetFunctionConcurrency"],
    "list_event_source_mappings": ["lambda:ListEventSourceMappings"],
    "invoke": ["lambda:InvokeFunction"],
    "head_bucket": ["s3:ListBucket"],
    "list_objects_v2": ["s3:ListBucket"],
    "get_bucket_versioning": ["s3:GetBucketVersioning"],
    "get_bucket_notification_configuration": ["s3:GetBucketNotification"],
    "list_object_versions": ["s3:ListBucketVersions"],
    "put_object": ["s3:PutObject"],
    "get_object": ["s3:GetObject"],
    "head_object": ["s3:GetObjectVersion"],  # of a version
    "copy_object": ["s3:GetObjectVersion", "s3:PutObject"],
    "copy": ["s3:GetObjectVersion", "s3:PutObject", "s3:AbortMultipartUpload"],
    "describe_table": ["dynamodb:DescribeTable"],
    "get_item": ["dynamodb:GetItem"],
    "batch_get_item": ["dynamodb:BatchGetItem"],
    "query": ["dynamodb:Query"],
    "scan": ["dynamodb:Scan"],
    "describe_alarms": ["cloudwatch:DescribeAlarms"],
    "get_queue_url": ["sqs:GetQueueUrl"],
    "get_queue_attributes": ["sqs:GetQueueAttributes"],
    "receive_message": ["sqs:ReceiveMessage"],
    "change_message_visibility": ["sqs:ChangeMessageVisibility"],
    "delete_message": ["sqs:DeleteMessage"],
    "list_executions": ["states:ListExecutions"],
    "describe_execution": ["states:DescribeExecution"],
    "get_execution_history": ["states:GetExecutionHistory"],
    "start_execution": ["states:StartExecution"],
    "filter_log_events": ["logs:FilterLogEvents"],
    "get_parameter": ["ssm:GetParameter"],
    "get_parameter_history": ["ssm:GetParameterHistory"],
    "put_parameter": ["ssm:PutParameter"],
}
"""The permissions that each request needs (service authorization reference)."""

FAILOVER = ("active", "failover", "producer", "readiness", "regions", "resume")
OTHERS = ("status", "replay", "explain", "looking", "systems", "resume")


def test_every_part_of_the_commands_has_its_list_of_permissions():
    """O1–O4."""
    silent = {"__init__", "__main__", "commands", "cost", "telling"}
    assert {*FAILOVER, *OTHERS} == {path.stem for path in Path(active.__file__).parent.glob("*.py")} - silent


@pytest.mark.parametrize(("modules", "guide"), [(FAILOVER, RECOVERY), (OTHERS, OPERATING)])
def test_operator_s_permissions_are_those_of_the_requests(modules, guide):
    """O1–O4: all of them, and no more."""
    folder = Path(active.__file__).parent
    sources = "".join((folder / f"{module}.py").read_text(encoding="utf-8") for module in modules)
    asked = set(re.findall(r'\.(?:ask|find)\(\s*"\w+",\s*"(\w+)"', sources))
    section = guide.split("## What the operator may do")[1]
    listed = {name for name in quoted(section) if re.fullmatch(r"[a-z0-9]+:[A-Z]\w+", name)} - {"sts:GetCallerIdentity"}
    assert {permission for each in asked for permission in PERMISSIONS[each]} == listed
