"""What operators do when something was left: see it, replay it, understand it (O1–O3), as they type it."""

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Mapping
from urllib.parse import quote_plus

import pytest

from lambdas.ingestion import contract
from local.emulator import ROOT
from local.executions import wait_for
from local.ingestion import REGIONS
from tests.local.etl.files import rows
from tests.local.ingestion.conftest import lines, record

EAST, _ = REGIONS


@pytest.fixture
def name():
    """What no other test uses."""
    return f"operating-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def ops(aws):
    """`ops("status", "etl")` is what an operator types after `python -m ops`: exit code and output. `environment` may hold the
    credentials of somebody else."""

    def run(*arguments: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "ops", *arguments, "--suffix", "local"], cwd=ROOT, check=False,
            env={**aws.environment(), "COLUMNS": "500", **(environment or {})}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=300)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def findings(ops):
    """What `status --json` finds of a system in its first region, by part."""

    def found(system: str, *options: str) -> dict[str, dict]:
        _, told = ops("status", system, "--json", *options)
        return {each["part"]: each for each in json.loads(told)["systems"][0]["findings"]}

    return found


class Letters:
    """A dead-letter queue, as one who puts messages there sees it."""

    def __init__(self, aws, queue: str, region: str = EAST):
        self._sqs = aws.client("sqs", region)
        self._url = self._sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        self.name = queue

    def put(self, message) -> str:
        return self._sqs.send_message(QueueUrl=self._url, MessageBody=json.dumps(message))["MessageId"]

    def bodies(self) -> list[str]:
        """All that can be received; they can be again at once."""
        found = {}
        while messages := self._sqs.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=10, VisibilityTimeout=2).get("Messages", []):
            found |= {each["MessageId"]: each for each in messages}
        for each in found.values():
            self._sqs.change_message_visibility(QueueUrl=self._url, ReceiptHandle=each["ReceiptHandle"], VisibilityTimeout=0)
        return [each["Body"] for each in found.values()]

    def empty(self) -> None:
        while messages := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages", []):
            for each in messages:
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=each["ReceiptHandle"])


def s3_event(bucket: str, key: str, version: str, size: int) -> dict:
    """As S3 gives it to functions."""
    return {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {
        "bucket": {"name": bucket},
        "object": {"key": quote_plus(key), "versionId": version, "size": size, "sequencer": "00AA"}}}]}


def test_file_that_was_set_aside_is_replayed_once_its_cause_is_mended(etl, ops, findings, denied, name):
    """O1, O2, E9: status names the failed file and the command; the announcement's own command replays it, with success. A second
    replay is refused, since it would put older content over newer; the object below failed/ stays."""
    file = f"{name}/it's may.csv"
    with denied(etl.transformation, "s3:PutObject", f"arn:aws:s3:::{etl.bucket}/processed/*"):
        etl.upload(file, rows(3))
        [failed] = etl.wait(file)
    failing = findings("etl")["failed"]
    assert failing["needs_person"] and any(file in item for item in failing["items"])
    assert "replay files --suffix local" in failing["remedy"]

    code, told = ops("replay", "files", f"failed/{file}", "--dry-run")
    assert code == 0 and "AccessDenied" in told and len(etl.records(file)) == 1
    code, told = ops("replay", "files", f"failed/{file}")
    assert code == 1 and "--yes" in told and len(etl.records(file)) == 1
    code, told = ops("replay", "files", f"failed/{file}", "--yes")
    assert code == 0 and "SUCCEEDED" in told
    [replayed, before] = sorted(etl.records(file), key=lambda each: each["process_start_time"], reverse=True)
    assert before == failed and replayed["status"] == "SUCCEEDED" and etl.read(f"processed/{file}") == rows(3)
    assert etl.read(f"failed/{file}") == rows(3)

    code, told = ops("replay", "files", f"failed/{file}", "--yes")
    assert code == 1 and "later upload succeeded" in told and len(etl.records(file)) == 2
    assert not any(file in item for item in findings("etl")["failed"]["items"])


def test_rejects_are_no_files(etl, ops, name):
    """O2."""
    file = f"{name}/rejects.csv"
    etl.upload(file, rows(1000, bad=2))
    [done] = etl.wait(file)
    code, told = ops("replay", "files", etl.keys(done["rejects_prefix"])[0], "--yes")
    assert code == 1 and "no file" in told and etl.keys(f"raw/{file}") == []


def test_explain_tells_the_story_of_a_file_with_rejected_rows(etl, ops, name):
    """O3: record, execution, states, rejects, log lines, places."""
    file = f"{name}/rejects.csv"
    version = etl.upload(file, rows(1000, bad=2))
    [done] = etl.wait(file)
    etl.wait_until_idle()
    code, told = ops("explain", file)
    assert code == 0
    for part in (version, "rows_rejected: 2", "SUCCEEDED", " Transform, ", "amount 'none' is not an amount", "INFO claimed",
                 f"processed/{file}: version", f"raw/{file}: deleted", done["execution_arn"].rpartition(":")[2]):
        assert part in told, part
    for other in (f"s3://{etl.bucket}/raw/{file}", f"failed/{file}"):
        assert ops("explain", other, "--system", "etl")[1].count(version) >= 1
    code, told = ops("explain", f"{name}/nothing.csv")
    assert code == 1 and "Nothing is known" in told


def test_dead_letter_is_claimed_and_gone(aws, etl, ops, findings, denied, name):
    """O1, O2: an event that the validation function could not claim; mended, replayed, processed, deleted. What is not of that
    queue stays there and is named, and so is a queue that is none of ours."""
    letters, file = Letters(aws, f"{etl.validation}".replace("-local", "-dlq-local")), f"{name}.csv"
    letters.empty()
    with denied(etl.validation, "states:StartExecution", "*"):
        version = etl.upload(file, rows(2))
        wait_for(letters.bodies, 180, lambda: "no dead letter")
    stranger = s3_event("another-bucket", "raw/x.csv", "v", 1)
    letters.put(stranger)
    found = findings("etl", "--minutes", "0")
    assert found["dead letters"]["count"] == 2 and found["dead letters"]["needs_person"]
    assert any(file in item for item in found["raw objects"]["items"])

    code, told = ops("replay", "letters", letters.name, "--dry-run")
    assert code == 0 and file in told and "another-bucket" in told and len(letters.bodies()) == 2
    code, told = ops("replay", "letters", letters.name, "--yes")
    assert code == 1 and "deleted" in told and "not about s3://" in told
    assert list(map(json.loads, letters.bodies())) == [stranger]
    [done] = etl.wait(file)
    assert (done["status"], done["version_id"]) == ("SUCCEEDED", version)

    code, told = ops("replay", "letters", "somebody-elses-queue", "--yes")
    assert code == 1 and "no dead-letter queue" in told and letters.name in told
    letters.empty()


def test_crash_between_sending_and_deleting_does_nothing_twice(aws, etl, metadata, ops, name):
    """O2: the message is still there, and is sent again: the claim absorbs it; a machine's second start meets the first."""
    letters, file = Letters(aws, etl.validation.replace("-local", "-dlq-local")), f"{name}.csv"
    letters.empty()
    version = etl.upload(file, rows(2))
    etl.wait(file)
    claims = len(etl.executions())
    event = s3_event(etl.bucket, f"raw/{file}", version, len(rows(2)))
    aws.client("lambda").invoke(FunctionName=etl.validation, Payload=json.dumps(event).encode())  # sent, and then the crash
    letters.put(event)
    assert ops("replay", "letters", letters.name, "--yes")[0] == 0
    etl.wait_until_idle()
    assert len(etl.records(file)) == 1 and len(etl.executions()) == claims and letters.bodies() == []

    created = Letters(aws, "metadata-created-dlq-local")
    created.empty()
    key = f"{name}/metadata.json"
    message = {"source": "aws.s3", "detail-type": "Object Created", "time": "2026-11-21T00:00:00Z",
               "detail": {"bucket": {"name": metadata.bucket}, "object": {"key": key, "version-id": "none", "size": 2}}}
    id_ = created.put(message)
    machine = metadata.machine_arn
    aws.client("stepfunctions").start_execution(stateMachineArn=machine, name=f"replay-{id_}", input=json.dumps(message))
    started = len(metadata.executions())
    code, told = ops("replay", "letters", created.name, "--yes")
    assert code == 0 and "deleted" in told and created.bodies() == []
    assert len(metadata.executions()) == started


def test_failure_of_the_metadata_pipeline_is_replayed_once(aws, metadata, ops, findings, denied, name):
    """O2: with its recorded input, after the cause is mended; the item stays, a second replay starts nothing."""
    key = f"{name}/metadata.json"
    role = metadata.machine_arn.rsplit(":", 1)[1]
    with denied(role, "s3:GetObjectVersion", "*"):
        aws.client("s3").put_object(Bucket=metadata.bucket, Key=key, Body=b'{"release": "1"}')
        wait_for(lambda: any(item["object_key"] == key for item in metadata.failures()), 180, lambda: "no failure")
    metadata.wait_until_idle()
    assert any(key in item for item in findings("metadata")["failed"]["items"])
    before = len(metadata.executions())
    assert ops("replay", "metadata", key, "--yes")[0] == 0
    metadata.wait_until_idle()
    assert len(metadata.executions()) == before + 1
    assert not any(key in item for item in findings("metadata")["failed"]["items"])
    code, told = ops("replay", "metadata", key, "--yes")
    assert code == 1 and "replayed before: SUCCEEDED" in told and len(metadata.executions()) == before + 1


def test_dead_letter_of_the_ingestion_is_done_before_it_is_deleted(aws, ingestion, ops, denied, name):
    """O2, R6: the processor goes on from the checkpoint, which is the confirmation; without it the message stays."""
    letters, function = Letters(aws, "serverless-data-processor-dlq-local"), ingestion.output("function_name", EAST)
    letters.empty()
    role = ingestion.client("lambda", EAST).get_function_configuration(FunctionName=function)["Role"].rpartition("/")[2]
    with denied(role, "dynamodb:PutItem", "*"):
        file = ingestion.upload(EAST, f"{name}.json", lines([record(name)]))
        wait_for(letters.bodies, 120, lambda: "no dead letter")
        code, told = ops("replay", "letters", letters.name, "--yes", "--wait", "2")
        assert code == 1 and "not begun" in told and letters.bodies()

    def replayed() -> bool:  # what was sent in vain may come back meanwhile
        return ops("replay", "letters", letters.name, "--yes")[0] == 0 and not letters.bodies()

    wait_for(replayed, 120, lambda: "the dead letter is still there")
    assert ingestion.wait([file])[file][contract.DONE] == "true"
    code, told = ops("explain", file.key, "--system", "ingestion")
    assert code == 0 and f"version {file.version}" in told and "recordsStored: 1" in told


def test_stuck_record_is_seen(aws, etl, findings, name):
    """O1: PROCESSING, though its execution has ended."""
    aws.client("dynamodb").put_item(TableName=etl.table, Item={
        "file_name": {"S": f"{name}.csv"}, "process_start_time": {"S": "2026-01-01T00:00:00.000000Z"}, "version_id": {"S": "v"},
        "status": {"S": "PROCESSING"}, "execution_arn": {"S": etl.machine_arn.replace("stateMachine", "execution") + ":gone"}})
    try:
        stuck = findings("etl")["stuck"]
        assert stuck["needs_person"] and any(f"{name}.csv" in item for item in stuck["items"])
    finally:
        aws.client("dynamodb").delete_item(TableName=etl.table, Key={
            "file_name": {"S": f"{name}.csv"}, "process_start_time": {"S": "2026-01-01T00:00:00.000000Z"}})


def permissions(listed: str, bucket: str, images: str) -> list[dict]:
    """What a guide's table of permissions says, as a policy's statements."""
    states, tables = "arn:aws:states:*:*", "arn:aws:dynamodb:*:*:table"
    names = ("etl-file-metadata", "metadata-processing-failures", "serverlessapp-DetectionLogs", "serverless-processed-data")
    resources = {
        "the tables": [f"{tables}/{name}-local" for name in names],
        "the tables, and `index/status-index` of `etl-file-metadata`": [
            *(f"{tables}/{name}-local" for name in names), f"{tables}/etl-file-metadata-local/index/status-index"],
        "the data buckets": [f"arn:aws:s3:::{name}" for name in (bucket, images, "iac-rlhf-aws-release-local", *(
            f"serverless-data-ingestion{which}-local" for which in ("", "-dr")))],
        "the state machines": [f"{states}:stateMachine:*-local"],
        "their executions": [f"{states}:execution:*-local:*"],
        "the same": [f"{states}:execution:*-local:*"],
        "`*`: it knows no narrower resource": ["*"],
        "the dead-letter queues": ["arn:aws:sqs:*:*:*-dlq-local"],
        "the functions' log groups, with and without `:*` behind their names": [
            f"arn:aws:logs:*:*:log-group:/aws/lambda/*-local{end}" for end in ("", ":*")],
        "`failed/*` of the ETL bucket": [f"arn:aws:s3:::{bucket}/failed/*"],
        "`etl-validation`, `etl-sweep`, `serverless-data-processor-prod`, `serverless-replication-heartbeat-prod`": [
            f"arn:aws:lambda:*:*:function:{name}-local"
            for name in ("etl-validation", "etl-sweep", "serverless-data-processor", "serverless-replication-heartbeat")],
        "`failed/*` and `raw/*` of the ETL bucket, `input/*` of the image bucket": [
            f"arn:aws:s3:::{bucket}/failed/*", f"arn:aws:s3:::{bucket}/raw/*", f"arn:aws:s3:::{images}/input/*"],
        "`raw/*` of the ETL bucket, `input/*` of the image bucket": [
            f"arn:aws:s3:::{bucket}/raw/*", f"arn:aws:s3:::{images}/input/*"],
    }
    rows = re.findall(r"^\| (`\w+:.+?) \| (.+) \| .+ \|$", listed, re.MULTILINE)
    return [{"Effect": "Allow", "Action": re.findall(r"`([^`]+)`", actions), "Resource": resources[on]} for actions, on in rows]


def test_operator_needs_no_more_than_is_documented(aws, deployment, etl, ops, name):
    """O1–O3, C8: somebody who may do what docs/operating.md lists, and nothing else."""
    guide = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8").split("## What the operator may do")[1]
    statements = permissions(guide, etl.bucket, deployment.outputs["pet-detector"]["pet_bucket_name"])
    assert len(statements) == guide.count("\n| `")
    iam = aws.client("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="operator", PolicyDocument=json.dumps(
        {"Version": "2012-10-17", "Statement": statements}))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    operator = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    good, bad = f"{name}/good.csv", f"{name}/bad.csv"
    version = etl.upload(good, rows(1000, bad=2))
    etl.upload(bad, b"a,b\n")
    etl.wait(good), etl.wait(bad)
    etl.wait_until_idle()
    letters = Letters(aws, etl.validation.replace("-local", "-dlq-local"))
    letters.empty()
    letters.put(s3_event(etl.bucket, f"raw/{good}", version, 1))
    told = [
        ops(*command, environment=operator) for command in (
            ["status"], ["explain", good], ["replay", "letters", "--yes"], ["replay", "files", f"failed/{bad}", "--yes"],
            ["replay", "metadata", "--dry-run"], ["replay", "images", "--dry-run"])
    ]
    for code, text in told:
        assert code in (0, 1) and " refuses " not in text and "unknown" not in text, text
    assert "at byte" in told[1][1] and "INFO claimed" in told[1][1]
    assert told[2][0] == 0 and "deleted" in told[2][1]
    assert "INVALID" in told[3][1] and len(etl.records(bad)) == 2
    code, text = ops("failover", "--to", "us-west-2", "--yes", environment=operator)
    assert code == 1 and "AccessDenied" in text


def test_nothing_is_deployed_under_a_suffix(aws):
    """O1: says so; exit code 1."""
    done = subprocess.run([sys.executable, "-m", "ops", "status", "--suffix", "nobody"], cwd=ROOT, env=aws.environment(),
                          check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "not deployed" in done.stdout and "Traceback" not in done.stderr
