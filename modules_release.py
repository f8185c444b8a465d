"""How a new version of a function reaches its callers. Same rules as modules.py."""

from __future__ import annotations

import aws_provider  # noqa: F401  (first: it works before CDKTF is imported, or not at all)

# isort: split
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from cdktf import TerraformResource, TerraformResourceLifecycle
from cdktf_cdktf_provider_aws import (
    appautoscaling_policy,
    appautoscaling_target,
    codedeploy_app,
    codedeploy_deployment_group,
    lambda_alias,
    lambda_permission,
    lambda_provisioned_concurrency_config,
)
from constructs import Construct

from modules import Alarm, Function, Metric, Place, Role, Topic


class LiveAlias(Construct):
    """The alias ``live`` of a function, which must publish versions; who calls it gets the released one (P10).

    Without CodeDeploy it follows each new version at once. With CodeDeploy an apply only publishes: the alias moves when
    somebody runs ``.github/scripts/release.py``, first for a tenth of the calls, and back if an alarm fires or the deployment
    fails.
    """

    ALIAS = "live"

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        function: Function,
        topic: Topic,
        code_deploy: bool,
        alarms: Sequence[Alarm] = (),
        configuration: str = "LambdaCanary10Percent5Minutes",
        error_rate_percent: Decimal = Decimal(1),
        min_concurrency: int = 0,
        max_concurrency: int = 10,
        utilization: Decimal = Decimal("0.7"),
    ) -> None:
        """``alarms`` roll a deployment back, beside the alias's own: more than ``error_rate_percent`` of its calls fail within a
        minute. A canary gets a tenth of them, so 10 and more would not see it fail entirely: ValueError.

        ``configuration`` is one of CodeDeploy's for Lambda, without ``CodeDeployDefault.``. ``min_concurrency`` to
        ``max_concurrency`` environments are kept warm, more where more than ``utilization`` of them are busy; 0 keeps none.
        Names: 56 characters. Raises ValueError for numbers that cannot be, and for a function that publishes no versions.
        """
        super().__init__(scope, id_)
        if code_deploy and not 0 <= error_rate_percent < 10:
            raise ValueError(f"error_rate_percent={error_rate_percent}: must be below 10, the share of a canary")
        if not 0 <= min_concurrency <= max_concurrency:
            raise ValueError(f"min_concurrency={min_concurrency}: must be 0 to max_concurrency={max_concurrency}")
        if not function.function.publish_input:
            raise ValueError(f"{function.name}: publishes no versions, which an alias needs")
        place = Place.around(self)
        self.function = function
        self.name = f"{function.name}:{self.ALIAS}"
        self.arn = f"{function.arn}:{self.ALIAS}"
        # What API Gateway calls (its developer guide, "Set up Lambda proxy integrations").
        path = f"2015-03-31/functions/{self.arn}/invocations"
        self.invoke_arn = f"arn:{place.partition}:apigateway:{place.region}:lambda:path/{path}"
        # CodeDeploy moves the alias; a plan must not move it back.
        moved = TerraformResourceLifecycle(ignore_changes=["function_version", "routing_config"])
        self.alias = lambda_alias.LambdaAlias(
            self,
            "alias",
            name=self.ALIAS,
            description="What callers get",
            function_name=function.function.function_name,
            function_version=function.function.version,
            lifecycle=moved if code_deploy else None,
        )
        self._permits: list[str] = []
        of_alias = {"FunctionName": function.name, "Resource": self.name}
        self.errors, self.invocations = (
            Metric(metric.lower(), "AWS/Lambda", metric, of_alias) for metric in ("Errors", "Invocations")
        )
        self.release: str | None = None
        """What ``.github/scripts/release.py`` must know, as JSON; None without CodeDeploy."""
        if code_deploy:
            self._release_by_code_deploy(place, name, topic, alarms, configuration, error_rate_percent)
        if min_concurrency:
            self._keep_warm(min_concurrency, max_concurrency, utilization)

    def permit(self, service: str, *, source_arn: str, source_account: str) -> TerraformResource:
        """Let an AWS service invoke the alias, whatever version that is, on behalf of one resource of this account."""
        self._permits.append(service)
        number = str(len(self._permits)) if len(self._permits) > 1 else ""
        kind = service.partition(".")[0]
        return lambda_permission.LambdaPermission(
            self,
            f"permit_{kind}{number}",
            statement_id=f"{kind.capitalize()}{number}",
            action="lambda:InvokeFunction",
            function_name=self.function.function.function_name,
            qualifier=self.alias.name,
            principal=service,
            source_arn=source_arn,
            source_account=source_account,
        )

    def grant_invoke(self, role: Role) -> None:
        role.allow("InvokeReleased", ["lambda:InvokeFunction"], [self.arn])

    def _release_by_code_deploy(
        self,
        place: Place,
        name: str,
        topic: Topic,
        alarms: Sequence[Alarm],
        configuration: str,
        error_rate_percent: Decimal,
    ) -> None:
        full_name = place.name(name)
        alarm = Alarm(
            self,
            "failing",
            name=f"{name}-failing",
            description=f"More than {error_rate_percent} % of the calls of {self.name} fail. A running deployment goes back by "
            f"itself. Look: aws logs tail {self.function.log_group.name} --region {place.region} --since 1h "
            "--filter-pattern '?ERROR ?\"timed out\" ?exited'",
            expression="IF(invocations > 0, 100 * errors / invocations, 0)",
            metrics=[self.errors, self.invocations],
            topic=topic,
            above=error_rate_percent,
            period_seconds=60,
            of_periods=3,
            label="errors / invocations, per cent",
            runbook="release-failing",
        )
        role = Role(
            self,
            "role",
            name=f"{name}-release",
            service="codedeploy.amazonaws.com",
            description=f"Moves the alias {self.name}",
        )
        # What AWSCodeDeployRoleForLambdaLimited has, on one function, and without S3 and hooks: the revision is sent along.
        role.allow(
            "MoveAlias",
            ["lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias"],
            [self.function.arn, f"{self.function.arn}:*"],
        )
        role.allow("SeeAlarms", ["cloudwatch:DescribeAlarms"], ["*"])  # with less it sees no composite alarm
        application = codedeploy_app.CodedeployApp(self, "application", name=full_name, compute_platform="Lambda")
        of = codedeploy_deployment_group
        of.CodedeployDeploymentGroup(
            self,
            "group",
            app_name=application.name,
            deployment_group_name=full_name,
            service_role_arn=role.arn,
            deployment_config_name=f"CodeDeployDefault.{configuration}",
            deployment_style=of.CodedeployDeploymentGroupDeploymentStyle(
                deployment_option="WITH_TRAFFIC_CONTROL", deployment_type="BLUE_GREEN"
            ),
            auto_rollback_configuration=of.CodedeployDeploymentGroupAutoRollbackConfiguration(
                enabled=True, events=["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"]
            ),
            alarm_configuration=of.CodedeployDeploymentGroupAlarmConfiguration(
                enabled=True,
                alarms=[each.name for each in (alarm, *alarms)],
                ignore_poll_alarm_failure=False,  # who cannot see the alarms must not go on
            ),
            depends_on=role.policies,
        )
        self.release = json.dumps(
            {
                "function": self.function.name,
                "alias": self.ALIAS,
                "application": full_name,
                "group": full_name,
            }
        )

    def _keep_warm(self, least: int, most: int, utilization: Decimal) -> None:
        """Provisioned concurrency, whose number Application Auto Scaling moves between ``least`` and ``most``."""
        warm = lambda_provisioned_concurrency_config.LambdaProvisionedConcurrencyConfig(
            self,
            "warm",
            function_name=self.function.function.function_name,
            qualifier=self.alias.name,
            provisioned_concurrent_executions=least,
            lifecycle=TerraformResourceLifecycle(ignore_changes=["provisioned_concurrent_executions"]),
        )
        resource: dict[str, Any] = {
            "resource_id": f"function:{self.name}",
            "scalable_dimension": "lambda:function:ProvisionedConcurrency",
            "service_namespace": "lambda",
        }
        target = appautoscaling_target.AppautoscalingTarget(
            self, "scaled", min_capacity=least, max_capacity=most, depends_on=[warm], **resource
        )
        of = appautoscaling_policy
        appautoscaling_policy.AppautoscalingPolicy(
            self,
            "scaling",
            name=f"{self.function.name}-{self.ALIAS}",
            policy_type="TargetTrackingScaling",
            target_tracking_scaling_policy_configuration=of.AppautoscalingPolicyTargetTrackingScalingPolicyConfiguration(
                target_value=float(utilization),
                predefined_metric_specification=of.AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecification(
                    predefined_metric_type="LambdaProvisionedConcurrencyUtilization"
                ),
            ),
            depends_on=[target],
            **resource,
        )
