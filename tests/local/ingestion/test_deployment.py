"""What Terraform does with the ingestion's stack (C3, C4)."""

import json


def test_a_second_plan_changes_nothing(deployment):
    """C4: right after apply."""
    assert deployment.plan("ingestion").changes == {}


def test_state_lies_in_the_remote_backend(aws, deployment):
    """C3: beside that of the other stacks."""
    backend = deployment.outputs["state-backend"]
    state = aws.client("s3").get_object(Bucket=backend["state_bucket_name"], Key="local/ingestion.tfstate")["Body"].read()
    assert json.loads(state)["resources"]
