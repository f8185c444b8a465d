"""What Terraform does with the ETL's stack (C3, C4)."""

import json
from pathlib import Path

KNOWN_CHANGES = Path(__file__).with_name("known_changes.json")


def test_second_plan_shows_only_the_known_changes(deployment):
    """C4: right after apply nothing is left to change; what the embedded AWS cannot keep stands in known_changes.json, with the
    reason."""
    known = json.loads(KNOWN_CHANGES.read_text())
    for stack in ("state-backend", "tap"):
        assert set(deployment.plan(stack).changes) == {each["address"] for each in known if each["stack"] == stack}


def test_state_lies_in_the_remote_backend(aws, deployment):
    """C3: SUFFIX/STACK-ID.tfstate, versioned and encrypted, with a lock table beside it."""
    backend = deployment.outputs["state-backend"]
    s3 = aws.client("s3")
    head = s3.head_object(Bucket=backend["state_bucket_name"], Key="local/tap.tfstate")
    assert head["ServerSideEncryption"] == "AES256" and head["VersionId"]
    assert json.loads(s3.get_object(Bucket=backend["state_bucket_name"], Key="local/tap.tfstate")["Body"].read())["resources"]
    table = aws.client("dynamodb").describe_table(TableName=backend["state_lock_table_name"])["Table"]
    assert table["KeySchema"] == [{"AttributeName": "LockID", "KeyType": "HASH"}]
