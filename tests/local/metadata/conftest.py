"""The deployed metadata pipeline, and what its tests do to it."""

import pytest

from local.metadata import Metadata
from tests.local.conftest import quick_waits


@pytest.fixture(scope="session")
def metadata(aws, deployment):
    """The deployed pipeline, as its users see it."""
    return Metadata(aws, deployment.outputs["tap"])


@pytest.fixture(scope="package", autouse=True)
def quick_retries(aws):
    """The waits between Step Functions' retries, minutes together, take a hundredth of their time in this folder's tests."""
    with quick_waits(aws):
        yield
