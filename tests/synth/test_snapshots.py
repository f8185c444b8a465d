"""Snapshots of every stack: a change of what is deployed is seen in review. Update with ``pytest --snapshot-update``.

A change of Lambda code alone changes none of them: the hash and the path of the code are replaced by words.
"""

import json
import re
from pathlib import Path

import pytest
from syrupy.extensions.json import JSONSnapshotExtension

STATEFUL = re.compile(
    r"aws_(s3_bucket|dynamodb_table|opensearchserverless_collection|kms_key|sqs_queue|sns_topic|cloudwatch_log_group"
    r"|api_gateway_rest_api|api_gateway_api_key|ssm_parameter|lambda_event_source_mapping)"
)
"""What holds data, keys, messages, subscriptions, an address or a place in a stream: another logical id would destroy it and make
an empty one."""


@pytest.fixture
def json_snapshot(snapshot):
    return snapshot.use_extension(JSONSnapshotExtension)


def without_code(stack):
    """The stack's JSON with words in the place of what follows from the code of the functions or from the folder; definitions
    and patterns, which are JSON in a string, unfolded, so that their changes can be read."""
    text = re.sub(r'"assets/(\w+)/[0-9A-F]{32}/[\w.-]+\.zip"', r'"assets/\1/HASH/CODE.zip"', stack.text)
    text = re.sub(r'"source_code_hash": "[^"]+"', '"source_code_hash": "HASH OF THE CODE"', text)
    text = text.replace(json.dumps(str(Path.cwd()))[1:-1], "FOLDER")
    return json.loads(text, object_hook=_unfolded)


def _unfolded(fields):
    folded = {name for name, value in fields.items() if isinstance(value, str) and value.startswith(('{"', '[{"'))}
    return {name: json.loads(value) if name in folded else value for name, value in fields.items()}


# One with every switch on would say again what those of the stages say, and the tests of the constructs test the rest.
each_stack = pytest.mark.parametrize(
    "any_stack", ["tap", "staging", "state_backend", "pets", "pets_staging", "pets_dev", "ingestion"], indirect=True
)


@each_stack
def test_stack(any_stack, json_snapshot):
    """C13: a snapshot of every stack."""
    assert without_code(any_stack) == json_snapshot


@each_stack
def test_logical_ids_of_what_must_not_be_recreated(any_stack, json_snapshot):
    """C13: moving or renaming a construct changes its logical id, and Terraform destroys what the old one stood for."""
    ids = {kind: sorted(resources) for kind, resources in sorted(any_stack.json["resource"].items()) if STATEFUL.fullmatch(kind)}
    assert ids
    assert ids == json_snapshot


def test_snapshots_leave_the_code_out(tap):
    """The test above would change with every edit of a handler otherwise."""
    functions = without_code(tap)["resource"]["aws_lambda_function"].values()
    assert {body["source_code_hash"] for body in functions} == {"HASH OF THE CODE"}
    assert all(re.fullmatch(r"assets/\w+/HASH/CODE\.zip", body["filename"]) for body in functions)
    assert all(body["source_code_hash"] != "HASH OF THE CODE" for body in tap.all("aws_lambda_function").values())
