"""C8, E11, R6: every permission of every deployed role is needed, or listed as one that only AWS enforces.

``tests/synth/test_permission_matrix.py`` holds that each is in exactly one of the two places, and what nobody may do.
"""

import json
import re
import uuid

import pytest

from local.executions import wait_for
from settings import INGESTION_REGIONS
from tests.local.etl.files import rows
from tests.local.pets.conftest import picture
from tests.permissions.flows import FLOWS, SUFFIX, created

DENIED = re.compile(r"AccessDenied|not authorized|AuthorizationError|\(403\)|Forbidden")
PROOFS = [(flow, permission) for flow in FLOWS for permission in flow.proves]


def test_triggers_need_nothing_that_only_aws_enforces(aws, world, deployed):
    """C8: notifications, rules, the stream: with nothing of unproved.toml, what arrives is brought to its end all the same. If
    this fails, the emulator has begun to enforce something: give it a flow."""
    states = aws.client("stepfunctions")
    arn = world.etl.machine_arn.rpartition(":")[0]

    def executions(machine: str) -> int:
        return len(states.list_executions(stateMachineArn=f"{arn}:{machine}-{SUFFIX}")["executions"])

    key = f"{uuid.uuid4()}/metadata.json"
    ingested = [world.ingestion.upload(region, f"{uuid.uuid4()}.json", json.dumps({"recordId": region}).encode())
                for region in INGESTION_REGIONS]
    dropped = world.pets.drop("x.png", picture(Cat=99))
    world.etl.upload("x.csv", rows(1))
    assert world.metadata.wait(key, world.metadata.upload(key, b"{}")).document
    assert world.pets.wait([dropped])
    assert world.etl.wait("x.csv")[0]["status"] == "SUCCEEDED"
    assert world.ingestion.wait(ingested)
    for region in INGESTION_REGIONS:
        wait_for(lambda: world.ingestion.followed(region), 60, lambda: "the consumer has counted nothing")  # noqa: B023  as below

    for machine, recovery, missing in (
        ("etl-pipeline", "etl-recovery", {"file": {}}),
        ("metadata-pipeline", "metadata-recovery", created("x", "x", "x", 1)),
        ("serverlessapp-pet-detector", "serverlessapp-pet-recovery", created("x", "x", "x", 1)),
    ):
        before = executions(recovery)
        world.run(machine, missing)
        wait_for(lambda: executions(recovery) > before, 60, lambda: f"{recovery} has not begun")  # noqa: B023  called at once


@pytest.fixture(scope="session")
def silence(aws, world, deployed):
    """No notification and no rule is at work any more, so that a flow is alone."""
    nothing: dict = {"NotificationConfiguration": {}}
    aws.client("s3").put_bucket_notification_configuration(Bucket=world.etl.bucket, **nothing)
    for region in INGESTION_REGIONS:
        bucket = world.ingestion.output("bucket_name", region)
        aws.client("s3", region).put_bucket_notification_configuration(Bucket=bucket, **nothing)
        events = aws.client("events", region)
        for rule in events.list_rules()["Rules"]:
            events.disable_rule(Name=rule["Name"])


@pytest.fixture(scope="session")
def works(world, silence):
    """`works(flow)`: it does its work with all that it says it needs, and nothing of unproved.toml. Once for each flow."""
    tried = {}

    def check(flow) -> None:
        trouble = tried[flow] = tried[flow] if flow in tried else flow.run(world)
        assert not trouble, "it fails with all its rights; or something of unproved.toml is enforced here after all"

    return check


@pytest.mark.parametrize("flow, permission", PROOFS, ids=[str(permission) for _, permission in PROOFS])
def test_is_necessary(world, deployed, works, flow, permission):
    """C8, E11: without this one permission the flow is denied."""
    works(flow)
    with deployed.without([permission]):
        trouble = flow.run(world)
    assert DENIED.search(trouble), trouble or "it works without: take the permission from the stack"
