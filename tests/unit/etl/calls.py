"""How the two functions are called in tests: their environment, services in memory, payloads."""

import json
from types import SimpleNamespace

from fake_s3 import BUCKET

from lambdas.etl import contract

MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:etl"
EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:etl:" + "e" * 64
TOPIC = "arn:aws:sns:eu-west-1:123456789012:failures"
ENVIRONMENT = {
    contract.ENV_STATE_MACHINE_ARN: MACHINE,
    contract.ENV_TOPIC_ARN: TOPIC,
    contract.ENV_SUFFIX: "dev",
    contract.ENV_MAX_FILE_BYTES: "1000000",
    contract.ENV_MAX_REJECT_RATIO: "0.01",
    contract.ENV_MAX_PIECE_BYTES: "100000000",
}
CONTEXT = SimpleNamespace(function_name="etl", aws_request_id="request-1")
HEADER = b"transaction_id,customer_id,amount,timestamp\n"
ROW = b"t,c,1.00,2024-03-05T10:11:12Z\n"


class FakeStates:
    class exceptions:
        class ExecutionAlreadyExists(Exception):
            pass

    def __init__(self):
        self.started = {}

    def start_execution(self, stateMachineArn, name, input):
        assert stateMachineArn == MACHINE
        if name in self.started:
            raise self.exceptions.ExecutionAlreadyExists
        self.started[name] = json.loads(input)


class FakeSns:
    def __init__(self):
        self.messages = []

    def publish(self, **message):
        self.messages.append(message)


def payload(name, version_id, size):
    """-> contract's file"""
    return {
        "bucket": BUCKET, "key": "raw/" + name, "file_name": name, "version_id": version_id, "sequencer": "0A", "size": size,
    }


def upload(aws, name, body):
    """-> contract's file"""
    key = "raw/" + name
    version = aws.s3.add(key, body)
    return payload(name, version["VersionId"], len(body))
