"""The deployed metadata pipeline, and what its tests do to it."""

import http.client
import json

import pytest

from local.metadata import Metadata

WAIT_SCALE = 0.01


@pytest.fixture(scope="session")
def metadata(aws, deployment):
    """The deployed pipeline, as its users see it."""
    return Metadata(aws, deployment.outputs["tap"])


@pytest.fixture(scope="package", autouse=True)
def quick_retries(aws):
    """The waits between Step Functions' retries, minutes together, take a hundredth of their time in this folder's tests."""
    scale_waits(aws, WAIT_SCALE)
    yield
    scale_waits(aws, 1)


def scale_waits(aws, scale: float) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", aws.port, timeout=10)
    connection.request("POST", "/_ministack/config", json.dumps({"stepfunctions._SFN_WAIT_SCALE": scale}))
    assert b"_SFN_WAIT_SCALE" in connection.getresponse().read()
    connection.close()


@pytest.fixture(scope="module")
def send(aws, metadata):
    """Send an event to the default bus as if it came from an AWS service."""

    def put(source: str, kind: str, detail: dict, times: int = 1, **more) -> None:
        entry = {"Source": f"injected:aws.{source}", "DetailType": kind, "Detail": json.dumps(detail), **more}
        assert aws.client("events").put_events(Entries=[entry] * times)["FailedEntryCount"] == 0

    return put
