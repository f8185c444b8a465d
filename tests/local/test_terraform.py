"""L4: where the provider comes from; L1: what must be installed; C4: Terraform's commands."""

import http.server
import json
import os
import threading
from pathlib import Path

import pytest

from local.prerequisites import prerequisites
from local.terraform import (
    ProviderMissing,
    ProviderSource,
    Terraform,
    TerraformError,
    find_provider,
    implied_folders,
    platform_name,
    terraform_environment,
)

NO_REGISTRY = "http://127.0.0.1:9"  # the discard port: nothing answers


def unpacked(mirror: Path, version: str = "5.100.0", platform: str = "") -> Path:
    """A mirror in the unpacked layout; not a real provider."""
    folder = mirror / "registry.terraform.io" / "hashicorp" / "aws" / version / (platform or platform_name())
    folder.mkdir(parents=True)
    (folder / f"terraform-provider-aws_v{version}_x5").write_text("")
    return mirror


def packed(mirror: Path) -> Path:
    """A mirror in the packed layout, as `terraform providers mirror` writes it."""
    folder = mirror / "registry.terraform.io" / "hashicorp" / "aws"
    folder.mkdir(parents=True)
    (folder / f"terraform-provider-aws_5.100.0_{platform_name()}.zip").write_text("")
    return mirror


@pytest.fixture
def registry():
    """A registry that offers our provider; its `broken` makes the download place answer 404."""
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            system, machine = platform_name().split("_")
            assert self.path == f"/v1/providers/hashicorp/aws/5.100.0/download/{system}/{machine}"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"download_url": f"http://{self.headers['Host']}/provider.zip"}).encode())

        def do_HEAD(self):
            self.send_response(404 if self.server.broken else 200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.broken, server.url = False, f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class TestProviderSearch:
    """L4: mirror variable, registry, implied folders, conventional places, in this order."""

    def find(self, tmp_path, registry=NO_REGISTRY, **environment):
        return find_provider(environment, registry=registry, implied=[tmp_path / "implied"], conventional=[tmp_path / "opt"])

    def test_the_named_mirror_comes_first(self, tmp_path, registry):
        unpacked(tmp_path / "implied")
        mirror = packed(tmp_path / "mine")
        found = self.find(tmp_path, registry.url, TERRAFORM_PROVIDER_MIRROR=str(mirror))
        assert found.mirror == mirror and "TERRAFORM_PROVIDER_MIRROR" in found.description
        inner = self.find(tmp_path, registry.url, TERRAFORM_PROVIDER_MIRROR=str(mirror / "registry.terraform.io"))
        assert inner.mirror == mirror

    def test_a_named_mirror_without_the_provider_is_an_error(self, tmp_path, registry):
        with pytest.raises(ProviderMissing, match="TERRAFORM_PROVIDER_MIRROR names .* doesn't hold"):
            self.find(tmp_path, registry.url, TERRAFORM_PROVIDER_MIRROR=str(tmp_path))

    def test_then_the_registry(self, tmp_path, registry):
        unpacked(tmp_path / "implied")
        found = self.find(tmp_path, registry.url)
        assert found.mirror is None and "registry" in found.description

    def test_a_registry_whose_downloads_are_out_of_reach_does_not_count(self, tmp_path, registry):
        registry.broken = True
        implied = unpacked(tmp_path / "implied")
        assert self.find(tmp_path, registry.url).mirror == implied

    def test_then_the_implied_folders(self, tmp_path):
        unpacked(tmp_path / "opt")
        implied = unpacked(tmp_path / "implied")
        assert self.find(tmp_path).mirror == implied

    @pytest.mark.parametrize("place", ["", "plugins", "terraform/mirror"])
    def test_then_conventional_places(self, tmp_path, place):
        mirror = packed(tmp_path / "opt" / place)
        assert self.find(tmp_path).mirror == mirror

    def test_three_levels_are_too_deep(self, tmp_path):
        packed(tmp_path / "opt" / "a" / "b" / "c")
        with pytest.raises(ProviderMissing):
            self.find(tmp_path)

    @pytest.mark.parametrize("other", [{"version": "5.99.0"}, {"platform": "plan9_mips"}])
    def test_another_version_or_platform_does_not_count(self, tmp_path, other):
        unpacked(tmp_path / "implied", **other)
        with pytest.raises(ProviderMissing) as missing:
            self.find(tmp_path)
        for word in ("5.100.0", platform_name(), NO_REGISTRY, str(tmp_path / "implied"), "terraform providers mirror",
                     "TERRAFORM_PROVIDER_MIRROR"):
            assert word in str(missing.value)

    @pytest.mark.parametrize("system, folders", [
        ("linux", ["/home/x/.terraform.d/plugins", "/home/x/.local/share/terraform/plugins",
                   "/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins"]),
        ("darwin", ["/home/x/.terraform.d/plugins", "/home/x/Library/Application Support/io.terraform/plugins",
                    "/Library/Application Support/io.terraform/plugins"]),
    ])
    def test_the_implied_folders_are_terraforms(self, system, folders):
        assert [str(folder) for folder in implied_folders({"HOME": "/home/x"}, system)] == folders


class TestEnvironment:
    """L4: the user's own Terraform configuration is left alone."""

    @pytest.mark.parametrize("exists", [True, False])
    def test_our_configuration_takes_the_place_of_the_users(self, tmp_path, exists):
        users = tmp_path / "users.terraformrc"
        if exists:
            users.write_text("of the user")
        source = ProviderSource("the mirror", tmp_path / "mirror")
        environment = terraform_environment({"TF_CLI_CONFIG_FILE": str(users), "TF_CLI_ARGS_apply": "-target=x", "PATH": "/bin"},
                                            source, tmp_path)
        ours = Path(environment["TF_CLI_CONFIG_FILE"])
        assert ours != users and str(tmp_path / "mirror") in ours.read_text()
        assert "TF_CLI_ARGS_apply" not in environment and environment["PATH"] == "/bin"
        assert users.exists() is exists and (not exists or users.read_text() == "of the user")

    def test_the_registry_is_asked_directly(self):
        assert "direct {}" in ProviderSource("the registry").cli_configuration()


class TestPrerequisites:
    """L1: a missing prerequisite is named with its remedy."""

    @staticmethod
    def programs(folder: Path, **versions: str) -> str:
        for program, told in versions.items():
            (folder / program).write_text(f"#!/bin/sh\necho '{told}'\n")
            (folder / program).chmod(0o755)
        return str(folder)

    def test_all_is_well(self, tmp_path):
        path = self.programs(tmp_path, terraform="Terraform v1.9.0\non linux_amd64", node="v20.1.0")
        assert prerequisites(path, (3, 11, 0)) == []

    def test_old_ones_are_named(self, tmp_path):
        path = self.programs(tmp_path, terraform="Terraform v1.8.5", node="v18.20.4")
        python, terraform, node = prerequisites(path, (3, 10, 12))
        assert "Python 3.10.12 is too old, 3.11" in python and "Remedy" in python
        assert "Terraform 1.8.5" in terraform and "1.9 or newer" in terraform and "Remedy" in terraform
        assert "Node.js 18.20.4" in node and "20 or newer" in node and "Remedy" in node

    def test_missing_and_mute_ones_are_named(self, tmp_path):
        terraform, node = prerequisites(self.programs(tmp_path, node="what?"))
        assert "Terraform is missing" in terraform and "Remedy" in terraform
        assert "doesn't tell its version" in node


MAIN = """
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
  backend "s3" {
    key    = "tests/terraform.tfstate"
    region = "us-east-1"
  }
}
provider "aws" {
  s3_use_path_style = true
}
"""
ALARM = """
  comparison_operator = "GreaterThanThreshold"
  evaluation_periods  = 1
  threshold           = 5
  treat_missing_data  = "notBreaching"
  alarm_description   = "errors & rate < 5 %"
"""
RESOURCES = """
resource "aws_iam_role" "machine" {
  name               = "terraform-machine"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [{
    Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "states.amazonaws.com" } }] })
}
resource "aws_cloudwatch_log_group" "machine" {
  name = "/aws/vendedlogs/states/terraform-machine"
}
resource "aws_sfn_state_machine" "machine" {
  name       = "terraform-machine"
  role_arn   = aws_iam_role.machine.arn
  definition = jsonencode({ QueryLanguage = "JSONata", StartAt = "Done", States = { Done = { Type = "Succeed" } } })
  tracing_configuration {
    enabled = true
  }
  logging_configuration {
    log_destination        = "${aws_cloudwatch_log_group.machine.arn}:*"
    level                  = "ALL"
    include_execution_data = true
  }
}
resource "aws_sns_topic" "alarms" {
  name = "terraform-alarms"
}
resource "aws_cloudwatch_metric_alarm" "rate" {
  alarm_name    = "terraform-rate"
  alarm_actions = [aws_sns_topic.alarms.arn]
  ALARM
  metric_query {
    id          = "rate"
    expression  = "IF(invocations > 0, 100 * errors / invocations, 0)"
    label       = "error rate"
    return_data = true
  }
  metric_query {
    id = "errors"
    metric {
      namespace   = "AWS/Lambda"
      metric_name = "Errors"
      period      = 300
      stat        = "Sum"
      dimensions  = { FunctionName = "f" }
    }
  }
  metric_query {
    id = "invocations"
    metric {
      namespace   = "AWS/Lambda"
      metric_name = "Invocations"
      period      = 300
      stat        = "Sum"
      dimensions  = { FunctionName = "f" }
    }
  }
}
resource "aws_cloudwatch_metric_alarm" "queue" {
  alarm_name          = "terraform-queue"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  datapoints_to_alarm = 1
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = "q" }
  statistic           = "Maximum"
  period              = 60
  ALARM
}
resource "aws_cloudwatch_metric_alarm" "duration" {
  alarm_name         = "terraform-duration"
  namespace          = "AWS/Lambda"
  metric_name        = "Duration"
  extended_statistic = "p95"
  period             = 60
  ALARM
}
resource "aws_cloudwatch_dashboard" "dashboard" {
  dashboard_name = "terraform-dashboard"
  dashboard_body = jsonencode({ widgets = [] })
}
resource "aws_cloudwatch_query_definition" "query" {
  name            = "terraform/query"
  log_group_names = [aws_cloudwatch_log_group.machine.name]
  query_string    = "fields @timestamp | limit 5"
}
resource "aws_opensearchserverless_security_policy" "network" {
  name   = "terraform-network"
  type   = "network"
  policy = jsonencode([{ AllowFromPublic = true, Rules = [
    { ResourceType = "collection", Resource = ["collection/terraform"] },
    { ResourceType = "dashboard", Resource = ["collection/terraform"] }] }])
}
output "machine" {
  value = aws_sfn_state_machine.machine.arn
}
""".replace("  ALARM\n", ALARM)


class TestCommands:
    """C4: apply, an empty second plan, outputs, destroy, against the embedded AWS, state in its S3."""

    @pytest.fixture
    def terraform(self, tmp_path, aws, make):
        """Terraform in a folder with provider and backend, initialised."""
        folder = tmp_path / "stack"
        folder.mkdir()
        (folder / "main.tf").write_text(MAIN)
        terraform = Terraform(folder, aws.environment(), find_provider(), folder=tmp_path / "local")
        terraform.init({"bucket": make.bucket(), "use_path_style": "true"})
        return terraform

    def test_a_second_plan_finds_no_change(self, terraform, aws):
        (terraform.directory / "resources.tf").write_text(RESOURCES)
        terraform.validate()
        told = []
        plan = terraform.plan()
        assert set(map(tuple, plan.changes.values())) == {("create",)}
        terraform.apply(progress=lambda text, done, total: told.append((text, done, total)))
        assert told[-1][1:] == (10, 10) and any("aws_sns_topic.alarms: Creation complete" in text for text, *_ in told)
        assert terraform.output() == {"machine": "arn:aws:states:us-east-1:000000000000:stateMachine:terraform-machine"}
        assert terraform.plan().changes == {}
        rate, = aws.client("cloudwatch").describe_alarms(AlarmNames=["terraform-rate"])["MetricAlarms"]
        assert {query["Id"] for query in rate["Metrics"]} == {"rate", "errors", "invocations"}
        terraform.destroy()
        assert aws.client("cloudwatch").describe_alarms(AlarmNamePrefix="terraform-")["MetricAlarms"] == []

    def test_a_saved_plan_is_applied(self, terraform, aws):
        (terraform.directory / "queue.tf").write_text('resource "aws_sns_topic" "t" {\n  name = "terraform-planned"\n}\n')
        told = []
        terraform.apply(terraform.plan(), progress=lambda *step: told.append(step))
        assert told[-1][1:] == (1, 1)
        assert terraform.plan(destroy=True).changes == {"aws_sns_topic.t": ["delete"]}

    def test_faults_are_told_in_terraforms_words(self, terraform):
        (terraform.directory / "bad.tf").write_text('resource "aws_s3_bucket" "b" {\n  bucket = "Not A Name"\n  colour = 1\n}\n')
        for command in (terraform.validate, terraform.plan):
            with pytest.raises(TerraformError, match="Unsupported argument"):
                command()

    def test_a_refusal_by_aws_names_the_resource(self, terraform):
        (terraform.directory / "bad.tf").write_text('resource "aws_sns_topic_policy" "p" {\n'
                                                    '  arn    = "arn:aws:sns:us-east-1:000000000000:absent"\n'
                                                    '  policy = jsonencode({ Version = "2012-10-17", Statement = [] })\n}\n')
        with pytest.raises(TerraformError, match=r"aws_sns_topic_policy\.p"):
            terraform.apply()

    def test_a_failing_init_is_told(self, tmp_path, aws):
        (tmp_path / "main.tf").write_text(MAIN.replace("5.100.0", "0.0.1"))
        source = ProviderSource("an empty mirror", tmp_path / "nothing")
        with pytest.raises(TerraformError, match="terraform init .* failed") as failed:
            Terraform(tmp_path, aws.environment(), source, folder=tmp_path / "local").init({"bucket": "b"})
        assert "│" not in str(failed.value)
        assert "hashicorp/aws" in str(failed.value) or "bucket" in str(failed.value)
        assert os.environ.get("TF_CLI_CONFIG_FILE") != str(tmp_path / "local" / "terraform.rc")
