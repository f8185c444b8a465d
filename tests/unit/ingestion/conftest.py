"""The services that the functions call, in memory."""

import json
from types import SimpleNamespace

import pytest
from ingestion_aws import ENVIRONMENT, FakeDynamoDb, FakeS3

from lambdas.common import aws as calls
from lambdas.ingestion import table


@pytest.fixture
def aws(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(table, "_FIRST_WAIT", 0)  # and so every later one
    clients = SimpleNamespace(s3=FakeS3(), dynamodb=FakeDynamoDb())
    monkeypatch.setattr(calls, "client", lambda service, *_: getattr(clients, service))
    return clients


@pytest.fixture
def lines(capsys):
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]
