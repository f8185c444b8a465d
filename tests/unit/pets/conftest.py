"""The services that the functions call, in memory."""

from types import SimpleNamespace

import pytest
from pets_aws import ENVIRONMENT, FakeDynamoDb, FakeRekognition, FakeS3, FakeSns

from lambdas.common import aws as calls


@pytest.fixture
def aws(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    clients = SimpleNamespace(s3=FakeS3(), dynamodb=FakeDynamoDb(), rekognition=FakeRekognition(), sns=FakeSns())
    monkeypatch.setattr(calls, "client", lambda service, *_: getattr(clients, service))
    return clients
