"""The operators' commands know the systems by the names that the stacks give them (O1–O3), and the runbook answers every
alarm (E10)."""

import re
from pathlib import Path

import pytest

from ops.systems import Estate
from tests.synth.reading import ACCOUNT

RUNBOOK = (Path(__file__).resolve().parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8")


class Session:
    """Knows who asks, and nothing else."""

    def client(self, service, region_name, config):
        assert service == "sts"
        return self

    def get_caller_identity(self):
        return {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/operator"}


def estate(suffix, monkeypatch, region="us-east-1"):
    monkeypatch.setenv("AWS_REGION", region)
    return Estate.read(suffix, Session())


CASES = [
    ("etl", "etl", "us-east-1", "prod"),
    ("metadata", "metadata", "us-east-1", "prod"),
    ("pets", "pets", "us-east-1", "prod"),
    ("pets_dev", "pets", "us-east-1", "dev"),
    ("ingestion_east", "ingestion", "us-east-1", "prod"),
    ("ingestion_west", "ingestion", "us-west-2", "prod"),
]
each_system = pytest.mark.parametrize(("fixture", "name", "region", "suffix"), CASES)


@pytest.fixture
def pair(request, monkeypatch, fixture, name, region, suffix):
    """A system as its stack has it, and as the commands know it."""
    (known,) = [each for each in estate(suffix, monkeypatch).of(name) if each.region == region]
    return request.getfixturevalue(fixture), known


def named(stack, kind, attribute):
    return {stack.readable(body)[attribute] for body in stack.all(kind).values()}


@each_system
def test_names_are_those_of_the_stack(pair):
    """O1: queues, functions, machines, bucket; and every alarm but those that the stage has switched off."""
    stack, known = pair
    assert {queue.name for queue in known.queues} == named(stack, "aws_sqs_queue", "name")
    assert set(known.functions) == named(stack, "aws_lambda_function", "function_name")
    assert {each for each in (known.pipeline, known.recovery) if each} == named(stack, "aws_sfn_state_machine", "name")
    assert known.bucket in named(stack, "aws_s3_bucket", "bucket")
    alarms = named(stack, "aws_cloudwatch_metric_alarm", "alarm_name")
    assert alarms <= set(known.alarms)
    switched = {alarm for alarm in known.alarms if re.search("-trail-|-blocked|-live-failing", alarm)}
    assert set(known.alarms) - alarms <= (switched if known.name == "pets" else set())


OWNERS = [("tap", "etl", "prod"), ("tap", "metadata", "prod"), ("pets_dev", "pets", "dev"), ("ingestion", "ingestion", "prod")]


@pytest.mark.parametrize(("fixture", "name", "suffix"), OWNERS)
def test_table_is_that_of_the_stack(request, monkeypatch, fixture, name, suffix):
    """O1."""
    assert estate(suffix, monkeypatch).of(name)[0].table in named(request.getfixturevalue(fixture), "aws_dynamodb_table", "name")


def test_tap_may_stand_elsewhere(staging, monkeypatch):
    """C5c, O1."""
    etl, metadata = estate("staging", monkeypatch, "eu-central-1").of("etl", "metadata")
    assert etl.region == metadata.region == "eu-central-1"
    assert {queue.name for each in (etl, metadata) for queue in each.queues} == named(staging, "aws_sqs_queue", "name")


@each_system
def test_dead_letters_go_back_to_where_they_were_meant_for(pair):
    """O2: the rule's target, or the function itself."""
    stack, known = pair
    belongs = {queue.name: queue.of for queue in known.queues}
    machines = {path: stack.readable(body)["name"] for path, body in stack.all("aws_sfn_state_machine").items()}
    targets = [stack.readable(body) for body in stack.all("aws_cloudwatch_event_target").values()]
    rules = {each["dead_letter_config"]["arn"].rpartition(":")[2]: each["arn"] for each in targets}
    for queue, target in rules.items():
        machine = re.fullmatch(r"<aws_sfn_state_machine (.+) arn>", target)
        assert belongs[queue] == (machines[machine[1]] if machine else target.rpartition(":")[2])
    functions = {
        body["dead_letter_config"]["target_arn"].rpartition(":")[2]: body["function_name"]
        for body in map(stack.readable, stack.all("aws_lambda_function").values())
    }
    for queue, function in functions.items():
        assert belongs[queue] in (function, "")


def test_every_alarm_has_a_section_in_the_runbook(request):
    """E10: the one that its description refers to, which names it."""
    sections = {anchor(title): text for title, text in re.findall(r"^## (.+)\n((?:(?!^## ).*\n)*)", RUNBOOK, re.MULTILINE)}
    seen = 0
    for fixture in ("etl", "metadata", "pets", "ingestion_east", "ingestion_west"):
        stack = request.getfixturevalue(fixture)
        for alarm in map(stack.readable, stack.all("aws_cloudwatch_metric_alarm").values()):
            section = re.findall(r"\(docs/runbook\.md#([a-z-]+)\)$", alarm["alarm_description"])[0]
            assert f"`{alarm['alarm_name'].removesuffix('-prod')}`" in sections[section], alarm["alarm_name"]
            for part in ("**It means**", "**Look**", "**Mend**", "**Verify**"):
                assert part in sections[section], (section, part)
            seen += 1
    assert seen > 40


def anchor(title):
    return re.sub(r"[^a-z0-9-]", "", title.lower().replace(" ", "-"))
