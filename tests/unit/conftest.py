"""Unit tests reach no network: a test that tries fails, instead of passing here and hanging elsewhere."""

import pytest
from hypothesis import HealthCheck, settings
from pytest_socket import disable_socket, enable_socket

# A busy machine is no fault of the code. `make test` draws the same examples each time, so what is red was made red by a change;
# `make test-examples` draws new ones.
settings.register_profile("new", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("new"), derandomize=True, database=None)
if settings.get_current_profile_name() != "new":
    settings.load_profile("same")


@pytest.fixture(autouse=True)
def _no_network():
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()
