"""The ETL pipeline, deployed once per test session by the real Terraform onto the embedded AWS, IAM enforced."""

import json
import subprocess
from contextlib import contextmanager

import pytest

from local.deployment import Deployment
from local.etl import Etl, Inbox
from local.terraform import find_provider


@pytest.fixture(scope="session")
def provider_source():
    """Where Terraform takes the AWS provider from (L4)."""
    return find_provider()


@pytest.fixture(scope="session")
def deployment(aws, provider_source):
    """Both stacks, deployed."""
    deployed = Deployment(aws, provider_source)
    deployed.deploy()
    yield deployed
    deployed.remove_files()  # the emulator, and all in it, goes with the `aws` fixture


@pytest.fixture(scope="session")
def etl(aws, deployment):
    """The deployed pipeline, as its users see it."""
    return Etl(aws, deployment.outputs["tap"])


@pytest.fixture(scope="session")
def inbox(aws, etl):
    """A subscriber of the failure topic."""
    return Inbox(aws, etl.topic_arn)


@pytest.fixture
def denied(aws):
    """`with denied(role, action, resource):` takes one permission away from a role for a while."""

    @contextmanager
    def deny(role: str, action: str, resource: str):
        iam = aws.client("iam")
        statement = {"Effect": "Deny", "Action": action, "Resource": resource}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_role_policy(RoleName=role, PolicyName="broken", PolicyDocument=policy)
        try:
            yield
        finally:
            iam.delete_role_policy(RoleName=role, PolicyName="broken")

    return deny


@pytest.fixture
def workers(aws):
    """`workers()` gives the process ids of the emulator's Lambda workers."""

    def find() -> list[int]:
        table = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
        return [int(pid) for pid, parent in map(str.split, table.splitlines()) if int(parent) == aws.pid]

    return find
