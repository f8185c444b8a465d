"""What Terraform does with the pet detector's stack (C3, C4)."""

import json


def test_a_second_plan_changes_nothing(deployment):
    """C4: right after apply."""
    assert deployment.plan("pet-detector").changes == {}


def test_state_lies_in_the_remote_backend(aws, deployment):
    """C3: beside that of the other stack."""
    backend = deployment.outputs["state-backend"]
    state = aws.client("s3").get_object(Bucket=backend["state_bucket_name"], Key="local/pet-detector.tfstate")["Body"].read()
    assert json.loads(state)["resources"]


def test_addresses_can_be_reached(aws, deployment):
    """L3: what is told of the API works here."""
    assert deployment.outputs["pet-detector"]["pet_api_url"].startswith(f"{aws.endpoint}/_aws/execute-api/")
