"""The deployed metadata pipeline, and what its tests do to it."""

import pytest

from tests.local.conftest import quick_waits


@pytest.fixture(scope="package", autouse=True)
def quick_retries(aws):
    """The waits between Step Functions' retries, minutes together, take a hundredth of their time in this folder's tests."""
    with quick_waits(aws):
        yield
