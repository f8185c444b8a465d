"""The rule of conftest.py holds."""

import socket

import pytest
from pytest_socket import SocketBlockedError


def test_unit_tests_cannot_reach_the_network():
    """C13."""
    with pytest.raises(SocketBlockedError), pytest.warns(UserWarning, match="tried to use"):
        socket.create_connection(("127.0.0.1", 9), timeout=1)
