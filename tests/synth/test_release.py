"""LiveAlias alone: with and without CodeDeploy, warm and cold."""

import json
from decimal import Decimal

import pytest

from checks import iam
from lambda_packaging import package
from modules import Alarm, AwsStack, Function, Metric, Role, Topic
from modules_release import LiveAlias
from settings import CommonSettings
from tests.synth.alarms import fires, metrics
from tests.synth.reading import Synthesised, app

ACCOUNT = "111122223333"
FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:function1"


class Parts:
    """A stack and functions that publish versions."""

    def __init__(self, tmp_path, **settings):
        self.stack = AwsStack(app(), "test", settings=CommonSettings(**settings), project="Test")
        self.topic = Topic(self.stack, "topic", name="topic")
        code = tmp_path / "code"
        code.mkdir()
        (code / "code.py").write_text("def handler(event, context): ...\n")
        self.package = package(code.name, tmp_path, tmp_path / "build")

    def synthesise(self):
        return Synthesised.of(self.stack)

    def function(self, n=1, publish=True):
        function = Function(
            self.stack,
            f"function{n}",
            name=f"function{n}",
            description="d",
            package=self.package,
            handler="code.handler",
            environment={"A": "b"},
            timeout_seconds=3,
            memory_mb=128,
            error_rate_percent=None,
            topic=self.topic,
        )
        function.function.publish = publish
        return function

    def alias(self, n=1, code_deploy=True, **properties):
        return LiveAlias(
            self.stack,
            f"live{n}",
            name=f"live{n}",
            function=self.function(n),
            topic=self.topic,
            code_deploy=code_deploy,
            **properties,
        )


@pytest.fixture
def parts(tmp_path):
    return Parts(tmp_path)


OF_CODE_DEPLOY = {"aws_codedeploy_app", "aws_codedeploy_deployment_group"}
OF_WARMTH = {"aws_lambda_provisioned_concurrency_config", "aws_appautoscaling_target", "aws_appautoscaling_policy"}


def test_two_instances_in_one_stack(parts):
    """C2: all switched on, neither ids nor names clash."""
    for number in (1, 2):
        parts.alias(number, min_concurrency=1).permit("apigateway.amazonaws.com", source_arn="arn:x", source_account=ACCOUNT)
    found = parts.synthesise()
    for kind in (*OF_CODE_DEPLOY, *OF_WARMTH, "aws_lambda_alias", "aws_lambda_permission"):
        assert len(found.all(kind)) == 2, kind
    for kind, field in (
        ("aws_codedeploy_app", "name"),
        ("aws_appautoscaling_policy", "name"),
        ("aws_iam_role", "name"),
        ("aws_cloudwatch_metric_alarm", "alarm_name"),
    ):
        names = [body[field] for body in found.all(kind).values()]
        assert len(names) == len(set(names)), kind
    assert iam.faults(found.json, "test") == []


def test_without_code_deploy_the_alias_follows_each_version(parts):
    """P10: and nothing of CodeDeploy, no alarm of its own and no warm environment is there."""
    alias = parts.alias(code_deploy=False)
    found = parts.synthesise()
    body = found.readable(found.one("aws_lambda_alias"))
    assert (body["name"], body["function_version"]) == ("live", "<aws_lambda_function function1/function version>")
    assert "lifecycle" not in body
    assert not found.kinds() & (OF_CODE_DEPLOY | OF_WARMTH)
    assert alias.release is None
    assert {path for path in found.all("aws_cloudwatch_metric_alarm") if path.startswith("live1")} == set()
    assert {path for path in found.all("aws_iam_role") if path.startswith("live1")} == set()


def test_with_code_deploy_a_plan_leaves_the_alias_where_it_is(parts):
    """P10: only its version and weights are CodeDeploy's; Terraform keeps the rest."""
    parts.alias()
    alias = parts.synthesise().one("aws_lambda_alias")
    assert alias["lifecycle"] == {"ignore_changes": ["function_version", "routing_config"]}


def test_deployment_goes_step_by_step_and_back(parts):
    """P10: a tenth for five minutes; back when an alarm fires, when it fails, and when the alarms cannot be seen."""
    more = Alarm(
        parts.stack,
        "more",
        name="more",
        description="d",
        expression="m",
        metrics=[Metric("m", "n", "m", {"a": "b"})],
        topic=parts.topic,
        above=1,
        period_seconds=60,
        of_periods=1,
        label="l",
        runbook="r",
    )
    parts.alias(alarms=[more])
    found = parts.synthesise()
    group = found.readable(found.one("aws_codedeploy_deployment_group"))
    assert found.one("aws_codedeploy_app")["compute_platform"] == "Lambda"
    assert group["deployment_config_name"] == "CodeDeployDefault.LambdaCanary10Percent5Minutes"
    assert group["deployment_style"] == {"deployment_option": "WITH_TRAFFIC_CONTROL", "deployment_type": "BLUE_GREEN"}
    assert group["auto_rollback_configuration"] == {
        "enabled": True, "events": ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"],
    }
    assert group["alarm_configuration"] == {
        "alarms": ["live1-failing", "more"], "enabled": True, "ignore_poll_alarm_failure": False,
    }
    existing = {each["alarm_name"] for each in found.all("aws_cloudwatch_metric_alarm").values()}
    assert set(group["alarm_configuration"]["alarms"]) <= existing


def test_configuration_is_a_parameter(parts):
    """P10."""
    parts.alias(configuration="LambdaLinear10PercentEvery1Minute")
    group = parts.synthesise().one("aws_codedeploy_deployment_group")
    assert group["deployment_config_name"] == "CodeDeployDefault.LambdaLinear10PercentEvery1Minute"


def test_alarm_sees_a_canary_that_fails(parts):
    """P10: a tenth of the calls of the alias, and nothing of calls to other versions."""
    parts.alias()
    alarm = parts.synthesise().one("aws_cloudwatch_metric_alarm", "live1/failing")
    assert fires(alarm, errors=10, invocations=100)
    assert not fires(alarm, errors=1, invocations=100)
    assert not fires(alarm)
    of_alias = {"FunctionName": "function1", "Resource": "function1:live"}
    queries = [query["metric"] for query in alarm["metric_query"] if "metric" in query]
    assert all(each["dimensions"] == of_alias for each in queries)
    assert {(each[1], each[4]) for each in metrics(alarm)} == {("Errors", 60), ("Invocations", 60)}
    assert "Look: aws logs tail /aws/lambda/function1 --region us-east-1" in alarm["alarm_description"]


@pytest.mark.parametrize(
    ("properties", "named"),
    [
        ({"error_rate_percent": Decimal(10)}, "error_rate_percent"),
        ({"min_concurrency": 3, "max_concurrency": 2}, "min_concurrency"),
        ({"min_concurrency": -1}, "min_concurrency"),
    ],
)
def test_numbers_that_cannot_be_are_refused(parts, properties, named):
    """P10: at synth."""
    with pytest.raises(ValueError, match=named):
        parts.alias(**properties)


def test_function_must_publish(parts):
    """P10: an alias of ``$LATEST`` would change under its callers."""
    with pytest.raises(ValueError, match="publishes no versions"):
        LiveAlias(
            parts.stack,
            "live",
            name="live",
            function=parts.function(publish=False),
            topic=parts.topic,
            code_deploy=False,
        )


def test_code_deploy_may_move_this_alias_only(parts):
    """P10, C8: no S3, no hooks, no other function."""
    parts.alias()
    found = parts.synthesise()
    moving = ("lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias")
    assert found.permissions("live1/role", "grants") == {
        *((action, resource) for action in moving for resource in (FUNCTION, f"{FUNCTION}:*")),
        ("cloudwatch:DescribeAlarms", "*"),
    }
    (trust,) = found.readable(found.statements(found.one("aws_iam_role", "live1/role")["assume_role_policy"]))
    assert trust["principals"] == [{"type": "Service", "identifiers": ["codedeploy.amazonaws.com"]}]
    assert trust["condition"] == [{"test": "StringEquals", "variable": "aws:SourceAccount", "values": [ACCOUNT]}]


def test_callers_call_the_alias(parts):
    """P10: permission, grant and API Gateway's address all carry the qualifier."""
    alias = parts.alias()
    for api in ("one", "two"):
        source = f"arn:aws:execute-api:us-east-1:{ACCOUNT}:{api}/*"
        alias.permit("apigateway.amazonaws.com", source_arn=source, source_account=parts.stack.account_id)
    alias.grant_invoke(Role(parts.stack, "role", name="role", service="states.amazonaws.com", description="d"))
    parts.stack.output("invoke_arn", alias.invoke_arn, "d")
    found = parts.synthesise()
    permissions = [found.readable(each) for each in found.all("aws_lambda_permission").values()]
    assert {each["qualifier"] for each in permissions} == {"<aws_lambda_alias live1/alias name>"}
    assert len({each["statement_id"] for each in permissions}) == 2
    assert {each["source_account"] for each in permissions} == {ACCOUNT}
    assert found.permissions("role", "grants") == {("lambda:InvokeFunction", f"{FUNCTION}:live")}
    path = f"2015-03-31/functions/{FUNCTION}:live/invocations"
    assert found.readable(found.json["output"]["invoke_arn"]["value"]) == f"arn:aws:apigateway:us-east-1:lambda:path/{path}"


def test_warm_environments_are_scaled_and_left_to_the_scaling(parts):
    """P10: from the least to the most, at 70 % busy; a plan does not take the number back."""
    parts.alias(min_concurrency=2, max_concurrency=20)
    found = parts.synthesise()
    warm = found.one("aws_lambda_provisioned_concurrency_config")
    assert warm["provisioned_concurrent_executions"] == 2
    assert warm["lifecycle"] == {"ignore_changes": ["provisioned_concurrent_executions"]}
    assert found.readable(warm["qualifier"]) == "<aws_lambda_alias live1/alias name>"
    target = found.one("aws_appautoscaling_target")
    assert (target["min_capacity"], target["max_capacity"]) == (2, 20)
    policy = found.one("aws_appautoscaling_policy")
    for each in (target, policy):
        assert each["resource_id"] == "function:function1:live"
        assert each["scalable_dimension"] == "lambda:function:ProvisionedConcurrency"
    assert target["depends_on"] == [found.address("aws_lambda_provisioned_concurrency_config", "live1/warm")]
    tracking = policy["target_tracking_scaling_policy_configuration"]
    assert tracking["target_value"] == 0.7
    assert tracking["predefined_metric_specification"] == {"predefined_metric_type": "LambdaProvisionedConcurrencyUtilization"}


def test_none_is_warm_by_default(parts):
    """P10: warm environments are billed while they idle."""
    parts.alias()
    assert not parts.synthesise().kinds() & OF_WARMTH


def test_release_names_what_stands(tmp_path):
    """P10: what release.py is told exists under these names, with the environment's suffix."""
    parts = Parts(tmp_path, environment_suffix="dev")
    release = json.loads(parts.alias().release)
    found = parts.synthesise()
    group = found.one("aws_codedeploy_deployment_group")
    assert release == {
        "function": found.one("aws_lambda_function")["function_name"],
        "alias": found.one("aws_lambda_alias")["name"],
        "application": found.one("aws_codedeploy_app")["name"],
        "group": group["deployment_group_name"],
    }
    assert release["application"] == "live1-dev"
