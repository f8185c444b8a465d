"""The deployed ETL pipeline, and what its tests look at."""

import pytest

from local.inbox import Inbox
from tests.local.conftest import quick_waits


@pytest.fixture(scope="session")
def inbox(aws, etl):
    """A subscriber of the failure topic."""
    return Inbox(aws, etl.topic_arn)


@pytest.fixture
def quick_retries(aws):
    """For tests that use all retries up. Where a worker is killed, the next attempt must not come before its successor."""
    with quick_waits(aws):
        yield
