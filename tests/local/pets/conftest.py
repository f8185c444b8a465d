"""The deployed pet detector, and the pictures that its tests send."""

import itertools

import pytest

from local.inbox import Inbox
from local.pictures import averaged, cat, png
from tests.local.conftest import quick_waits

_SMALL = averaged(cat(), 2)  # 160 by 120 pixels
_numbers = itertools.count()


@pytest.fixture(scope="session")
def alerts(aws, pets):
    """A subscriber of the alerts."""
    return Inbox(aws, pets.topic_arn)


@pytest.fixture(scope="package", autouse=True)
def quick_retries(aws):
    with quick_waits(aws):
        yield


@pytest.fixture
def role_of(aws, pets):
    """Name of a function's role: `role_of("file-manager")`."""
    suffix = pets.machine_arn.rpartition("-")[2]

    def find(function: str) -> str:
        name = f"serverlessapp-{function}-{suffix}"
        return aws.client("lambda").get_function_configuration(FunctionName=name)["Role"].rpartition("/")[2]

    return find


def picture(*, errors: tuple[str, ...] = (), always: str | None = None, **labels: float) -> bytes:
    """A picture in which Rekognition sees these labels, after these errors; each with content of its own."""
    return png(_SMALL, {"labels": labels, "number": next(_numbers), **({"errors": errors} if errors else {}),
                        **({"always": always} if always else {})})
