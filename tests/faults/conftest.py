"""An embedded AWS of its own for the faults, with all stacks deployed."""

import os

import pytest

from local.deployment import Deployment
from local.emulator import Emulator
from local.terraform import find_provider

SETTINGS = {"ETL_FAN_OUT_BYTES": str(128 << 20)}  # as early as may be (E12)
RETRIES = {"LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.5"}  # on AWS a minute, then two


@pytest.fixture(scope="session")
def aws(tmp_path_factory):
    """IAM is enforced; Lambda's retries come quickly."""
    with Emulator(folder=tmp_path_factory.mktemp("aws"), settings=RETRIES) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def outputs(aws):
    """Outputs of every stack."""
    deployed = Deployment(aws, find_provider(), settings=SETTINGS)
    deployed.deploy()
    yield deployed.outputs
    deployed.remove_files()


def pytest_generate_tests(metafunc):
    """One test a seed: FAULTS_SEED="1 2 3"."""
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", [int(seed) for seed in os.environ.get("FAULTS_SEED", "1").split()])
