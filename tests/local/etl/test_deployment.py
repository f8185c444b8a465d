"""What Terraform and the cdktf command line do with the stacks (C3, C4, C12)."""

import json
import subprocess
from pathlib import Path

from local.emulator import ROOT
from local.terraform import terraform_environment

KNOWN_CHANGES = Path(__file__).with_name("known_changes.json")


def test_second_plan_shows_only_the_known_changes(deployment):
    """C4: right after apply nothing is left to change; what the embedded AWS cannot keep stands in known_changes.json, with the
    reason."""
    known = json.loads(KNOWN_CHANGES.read_text())
    for stack in ("state-backend", "tap"):
        assert set(deployment.plan(stack).changes) == {each["address"] for each in known if each["stack"] == stack}


def test_state_lies_in_the_remote_backend(aws, deployment):
    """C3: SUFFIX/STACK-ID.tfstate, versioned and encrypted, with a lock table beside it."""
    backend = deployment.outputs["state-backend"]
    s3 = aws.client("s3")
    head = s3.head_object(Bucket=backend["state_bucket_name"], Key="local/tap.tfstate")
    assert head["ServerSideEncryption"] == "AES256" and head["VersionId"]
    assert json.loads(s3.get_object(Bucket=backend["state_bucket_name"], Key="local/tap.tfstate")["Body"].read())["resources"]
    table = aws.client("dynamodb").describe_table(TableName=backend["state_lock_table_name"])["Table"]
    assert table["KeySchema"] == [{"AttributeName": "LockID", "KeyType": "HASH"}]


def test_cdktf_deploys_diffs_and_destroys(aws, deployment, provider_source, tmp_path):
    """C4, C5c: the commands of the deployment guide, as another environment beside the first one; it leaves nothing behind."""
    environment = terraform_environment({**deployment.environment, "ENVIRONMENT_SUFFIX": "guide"}, provider_source)

    # `terraform providers lock`, which cdktf would run, asks the registry even where a mirror is configured.
    def cdktf(*arguments: str) -> str:
        done = subprocess.run(
            [ROOT / "node_modules" / ".bin" / "cdktf", *arguments, "--skip-provider-lock", "--output", tmp_path / "cdktf.out"],
            check=False, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    machines = aws.client("stepfunctions")
    before = existing(aws)
    cdktf("deploy", "tap", "--auto-approve")
    assert "etl-pipeline-guide" in [each["name"] for each in machines.list_state_machines()["stateMachines"]]
    assert "No changes" in cdktf("diff", "tap")
    cdktf("destroy", "tap", "--auto-approve")
    assert existing(aws) == before


def existing(aws) -> dict[str, list[str]]:
    """Names of everything a deployment makes."""
    return {
        "buckets": sorted(each["Name"] for each in aws.client("s3").list_buckets()["Buckets"]),
        "tables": sorted(aws.client("dynamodb").list_tables()["TableNames"]),
        "functions": sorted(each["FunctionName"] for each in aws.client("lambda").list_functions()["Functions"]),
        "machines": sorted(each["name"] for each in aws.client("stepfunctions").list_state_machines()["stateMachines"]),
        "topics": sorted(each["TopicArn"] for each in aws.client("sns").list_topics()["Topics"]),
        "queues": sorted(aws.client("sqs").list_queues().get("QueueUrls", [])),
        "roles": sorted(each["RoleName"] for each in aws.client("iam").list_roles()["Roles"]),
        "rules": sorted(each["Name"] for each in aws.client("events").list_rules()["Rules"]),
        "alarms": sorted(each["AlarmName"] for each in aws.client("cloudwatch").describe_alarms()["MetricAlarms"]),
        "log groups": sorted(each["logGroupName"] for each in aws.client("logs").describe_log_groups()["logGroups"]),
        "dashboards": sorted(each["DashboardName"] for each in aws.client("cloudwatch").list_dashboards()["DashboardEntries"]),
    }
