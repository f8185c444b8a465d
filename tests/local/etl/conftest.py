"""The deployed ETL pipeline, and what its tests look at."""

import subprocess

import pytest

from local.etl import Etl
from local.inbox import Inbox


@pytest.fixture(scope="session")
def etl(aws, deployment):
    """The deployed pipeline, as its users see it."""
    return Etl(aws, deployment.outputs["tap"])


@pytest.fixture(scope="session")
def inbox(aws, etl):
    """A subscriber of the failure topic."""
    return Inbox(aws, etl.topic_arn)


@pytest.fixture
def workers(aws):
    """`workers()` gives the process ids of the emulator's Lambda workers."""

    def find() -> list[int]:
        table = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
        return [int(pid) for pid, parent in map(str.split, table.splitlines()) if int(parent) == aws.pid]

    return find
