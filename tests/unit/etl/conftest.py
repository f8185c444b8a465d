"""The services that the functions call, in memory."""

from types import SimpleNamespace

import pytest
from calls import ENVIRONMENT, FakeSns, FakeStates
from fake_s3 import FakeS3

from lambdas.etl import storage


@pytest.fixture
def aws(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    clients = SimpleNamespace(s3=FakeS3(), stepfunctions=FakeStates(), sns=FakeSns())
    monkeypatch.setattr(storage, "client", lambda service: getattr(clients, service))
    return clients
