"""One embedded AWS, IAM enforced, with the stacks deployed, and without the permissions that nothing here can prove."""

import pytest

from local.deployment import Deployment
from local.emulator import Emulator
from local.terraform import find_provider
from tests.local.conftest import quick_waits
from tests.permissions.flows import World
from tests.permissions.rights import Deployed, unproved


@pytest.fixture(scope="session")
def aws(tmp_path_factory):
    """The embedded AWS; retries of state machines wait a hundredth of their time."""
    with Emulator(folder=tmp_path_factory.mktemp("aws")) as emulator, quick_waits(emulator):
        yield emulator


@pytest.fixture(scope="session")
def world(aws):
    deployment = Deployment(aws, find_provider(), settings={"ETL_FAN_OUT_BYTES": str(128 << 20)})
    deployment.deploy()
    yield World(aws, deployment.outputs)
    deployment.remove_files()  # the emulator, and all in it, goes with the `aws` fixture


@pytest.fixture(scope="session")
def deployed(aws, world):
    """The roles, without the permissions of unproved.toml: what works all the same needs none of them."""
    roles = Deployed(aws)
    with roles.without({each for each in roles.permissions() if any(entry.covers(each) for entry in unproved())}):
        yield roles
