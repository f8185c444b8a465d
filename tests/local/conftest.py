"""One embedded AWS for all tests of this folder with the stacks deployed into it once, and a maker of the tiny things that
tests need in it."""

import http.client
import io
import itertools
import json
import subprocess
import textwrap
import time
import zipfile
from contextlib import contextmanager

import pytest

from local.deployment import Deployment
from local.emulator import Emulator
from local.etl import Etl
from local.ingestion import Ingestion
from local.metadata import Metadata
from local.pets import Pets
from local.terraform import find_provider
from tests.local.search_engine import SearchEngine

ACCOUNT = "000000000000"


@pytest.fixture(scope="session")
def search_engine():
    """The OpenSearch behind the collections' data plane; it can be told to fail."""
    with SearchEngine() as engine:
        yield engine


@pytest.fixture(scope="session")
def aws(tmp_path_factory, search_engine):
    """The embedded AWS, IAM enforced, started once per test session, in a folder of its own: sessions may run side by side.

    Between the attempts of an event that a function has failed to take lie tenths of a second.
    """
    settings = {"OPENSEARCH_URL": search_engine.url, "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.1"}
    with Emulator(folder=tmp_path_factory.mktemp("aws"), settings=settings) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def provider_source():
    """Where Terraform takes the AWS provider from (L4)."""
    return find_provider()


@pytest.fixture(scope="session")
def deployment(aws, provider_source):
    """All stacks, deployed by the real Terraform; files fan out as early as may be (E12), links expire as early (P1b)."""
    settings = {"ETL_FAN_OUT_BYTES": str(128 << 20), "PET_LINK_SECONDS": "30"}
    deployed = Deployment(aws, provider_source, settings=settings)
    deployed.deploy()
    yield deployed
    deployed.remove_files()  # the emulator, and all in it, goes with the `aws` fixture


@pytest.fixture(scope="session")
def etl(aws, deployment):
    """Each system as its users see it."""
    return Etl(aws, deployment.outputs["tap"])


@pytest.fixture(scope="session")
def metadata(aws, deployment):
    return Metadata(aws, deployment.outputs["tap"])


@pytest.fixture(scope="session")
def pets(aws, deployment):
    return Pets(aws, deployment.outputs["pet-detector"])


@pytest.fixture(scope="session")
def ingestion(aws, deployment):
    return Ingestion(aws, deployment.outputs["ingestion"])


@contextmanager
def quick_waits(aws):
    """The waits between Step Functions' retries, minutes together, take a hundredth of their time."""

    def scale(factor: float) -> None:
        assert "stepfunctions._SFN_WAIT_SCALE" in configure(aws, {"stepfunctions._SFN_WAIT_SCALE": factor})["applied"]

    scale(0.01)
    yield
    scale(1)


def throttled(aws, region: str, table: str, calls: int) -> int:
    """The next so many PutItem calls of a table are refused; how many of those asked for before have not been made."""
    return configure(aws, {"throttle": {"region": region, "table": table, "calls": calls}})["left"]


def configure(aws, settings: dict) -> dict:
    """Change how the emulator behaves; its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", aws.port, timeout=10)
    connection.request("POST", "/_ministack/config", json.dumps(settings))
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


@pytest.fixture(scope="session")
def send(aws):
    """Send an event to the default bus as if it came from an AWS service."""

    def put(source: str, kind: str, detail: dict, times: int = 1, **more) -> None:
        entry = {"Source": f"injected:aws.{source}", "DetailType": kind, "Detail": json.dumps(detail), **more}
        assert aws.client("events").put_events(Entries=[entry] * times)["FailedEntryCount"] == 0

    return put


@pytest.fixture
def denied(aws):
    """`with denied(role, action, resource):` takes one permission away from a role for a while."""

    @contextmanager
    def deny(role: str, action: str | list[str], resource: str):
        iam = aws.client("iam")
        statement = {"Effect": "Deny", "Action": action, "Resource": resource}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_role_policy(RoleName=role, PolicyName="broken", PolicyDocument=policy)
        try:
            yield
        finally:
            iam.delete_role_policy(RoleName=role, PolicyName="broken")

    return deny


@pytest.fixture
def workers(aws):
    """`workers()` gives the process ids of the emulator's Lambda workers."""

    def find() -> list[int]:
        table = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
        return [int(pid) for pid, parent in map(str.split, table.splitlines()) if int(parent) == aws.pid]

    return find


@pytest.fixture
def make(aws):
    """Makes roles, functions, machines with names that no other test uses."""
    return Maker(aws)


class Maker:
    """Roles, functions, machines, executions: created as root, with boto3, directly."""

    _numbers = itertools.count(1)

    def __init__(self, aws):
        self.aws = aws

    @staticmethod
    def poll(found, seconds: float = 30):
        """What `found()` returns as soon as that is true; fails after some seconds."""
        deadline = time.monotonic() + seconds
        while not (result := found()):
            assert time.monotonic() < deadline, f"nothing within {seconds} s"
            time.sleep(0.05)
        return result

    def name(self, kind: str) -> str:
        return f"{kind}-{next(self._numbers)}"

    def role(self, *statements: tuple, service: str = "states") -> str:
        """ARN of a role that trusts the service and may do `(action, resource[, condition])` each, and nothing else."""
        iam, name = self.aws.client("iam"), self.name("role")
        trust = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": f"{service}.amazonaws.com"}}]}
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
        if statements:
            policy = {"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Action": action, "Resource": resource, "Condition": dict(*condition)}
                for action, resource, *condition in statements]}
            iam.put_role_policy(RoleName=name, PolicyName="grants", PolicyDocument=json.dumps(policy))
        return role["Arn"]

    def function(
        self, code: str, *statements: tuple[str, str], timeout: int = 20, name: str | None = None, role: str | None = None
    ) -> str:
        """ARN of a function; `code` defines `handler(event, context)`. Its role, unless there is one, allows the statements."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("code.py", textwrap.dedent(code))
        return self.aws.client("lambda").create_function(
            FunctionName=name or self.name("function"), Runtime="python3.13", Handler="code.handler", Timeout=timeout,
            Role=role or self.role(*statements, service="lambda"), Code={"ZipFile": archive.getvalue()})["FunctionArn"]

    def bucket(self) -> str:
        name = self.name("bucket")
        self.aws.client("s3").create_bucket(Bucket=name)
        return name

    def table(self) -> str:
        """Name of a table with the partition key `id`."""
        name = self.name("table")
        self.aws.client("dynamodb").create_table(
            TableName=name, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}])
        return name

    def queue(self) -> tuple[str, str]:
        """URL and ARN of a queue."""
        sqs = self.aws.client("sqs")
        url = sqs.create_queue(QueueName=self.name("queue"))["QueueUrl"]
        return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def machine(self, role: str, states: dict, *, start: str | None = None, **top) -> str:
        """ARN of a JSONata machine of these states; the first one starts."""
        definition = {"QueryLanguage": "JSONata", "StartAt": start or next(iter(states)), "States": states, **top}
        return self.aws.client("stepfunctions").create_state_machine(
            name=self.name("machine"), definition=json.dumps(definition), roleArn=role)["stateMachineArn"]

    def task(self, role: str, resource: str, arguments: dict, **state) -> str:
        """ARN of a machine of one task."""
        return self.machine(role, {"Task": {"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True, **state}})

    def run(self, machine: str, given=None, *, seconds: float = 30) -> dict:
        """Execute the machine and describe the ended execution, its output parsed."""
        sfn = self.aws.client("stepfunctions")
        arn = sfn.start_execution(stateMachineArn=machine, input=json.dumps(given or {}))["executionArn"]
        return self.ended(arn, seconds=seconds)

    def ended(self, execution: str, *, seconds: float = 30) -> dict:
        sfn = self.aws.client("stepfunctions")
        described = self.poll(
            lambda: (found := sfn.describe_execution(executionArn=execution))["status"] != "RUNNING" and found, seconds)
        if described["status"] == "SUCCEEDED":
            described["output"] = json.loads(described["output"])
        return described
