"""Reusable constructs. Each owns its AWS resource whole.

Encryption, log group, dead-letter queue, alarm and tags come with the resource; defaults are secure; permissions leave
through ``grant_*`` methods that take a role; what others need are attributes. Precedence of every property: the defaults
here, then the caller, then what the construct must force.

A role carries two policies. *Runtime* holds what the service itself needs to start (logs, traces, dead letters): AWS
checks it while it creates a function, which therefore depends on it. *Grants* holds what the code does and stays outside
the function's dependencies, so that a function and a state machine may know each other without a cycle. ARNs are built
from names where possible: a first ``terraform plan`` then shows policies a person can read.
"""

from __future__ import annotations

import aws_provider  # noqa: F401  (first: it works before CDKTF is imported, or not at all)

# isort: split
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import jsii
from cdktf import (
    Aspects,
    AssetType,
    Fn,
    IAspect,
    LocalBackend,
    S3Backend,
    TerraformAsset,
    TerraformDataSource,
    TerraformOutput,
    TerraformProvider,
    TerraformResource,
    TerraformResourceLifecycle,
    TerraformStack,
)
from cdktf_cdktf_provider_aws import (
    cloudwatch_dashboard,
    cloudwatch_event_rule,
    cloudwatch_event_target,
    cloudwatch_log_group,
    cloudwatch_log_metric_filter,
    cloudwatch_metric_alarm,
    cloudwatch_query_definition,
    data_aws_caller_identity,
    data_aws_iam_policy_document,
    data_aws_iam_session_context,
    data_aws_partition,
    dynamodb_table,
    iam_role,
    iam_role_policy,
    kms_alias,
    kms_key,
    lambda_event_source_mapping,
    lambda_function,
    lambda_permission,
    opensearchserverless_access_policy,
    opensearchserverless_collection,
    opensearchserverless_lifecycle_policy,
    opensearchserverless_security_policy,
    provider,
    s3_bucket,
    s3_bucket_cors_configuration,
    s3_bucket_lifecycle_configuration,
    s3_bucket_logging,
    s3_bucket_notification,
    s3_bucket_ownership_controls,
    s3_bucket_policy,
    s3_bucket_public_access_block,
    s3_bucket_server_side_encryption_configuration,
    s3_bucket_versioning,
    sfn_state_machine,
    sns_topic,
    sns_topic_policy,
    sns_topic_subscription,
    sqs_queue,
    sqs_queue_policy,
    ssm_parameter,
)
from constructs import Construct, IConstruct

from lambda_packaging import LambdaPackage
from settings import CommonSettings, name_of_part

Statement = data_aws_iam_policy_document.DataAwsIamPolicyDocumentStatement
Condition = data_aws_iam_policy_document.DataAwsIamPolicyDocumentStatementCondition
Principals = data_aws_iam_policy_document.DataAwsIamPolicyDocumentStatementPrincipals

DAY = 24 * 3600
CONSOLES = {"cn-": "console.amazonaws.cn", "us-gov-": "console.amazonaws-us-gov.com"}


# --- Stacks ---------------------------------------------------------------------------------------------------------


class Place:
    """Where constructs stand: one environment in one region of one account. Asked for names, ARNs and the retention of data, so
    that no construct is told twice."""

    settings: CommonSettings
    region: str
    account_id: str
    partition: str

    @staticmethod
    def around(construct: IConstruct) -> Place:
        """The nearest one around a construct: a Region, or the stack. Raises TypeError outside an AwsStack."""
        for scope in reversed(construct.node.scopes):
            if isinstance(scope, Place):
                return scope
        raise TypeError(f"{construct.node.path}: these constructs need an AwsStack around them")

    def name(self, base: str, limit: int = 64) -> str:
        """``base`` as this environment calls it, in at most ``limit`` characters (C5c)."""
        return self.settings.name(base, limit)

    def global_name(self, base: str, limit: int = 64) -> str:
        """The same for what every region of the account sees, such as roles."""
        return self.name(base, limit)

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of this account and region, built from its name."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account_id}:{resource}"

    def ops(self, command: str) -> str:
        """What an operator of this environment types (O1–O4): ``python -m ops COMMAND``."""
        return f"python -m ops {command} --suffix {self.settings.environment_suffix}"

    def console_url(self, page: str, fragment: str) -> str:
        """A page of the AWS console in this region, such as ``cloudwatch/home`` and what follows its ``#``."""
        domain = next((domain for start, domain in CONSOLES.items() if self.region.startswith(start)), "console.aws.amazon.com")
        return f"https://{self.region}.{domain}/{page}?region={self.region}#{fragment}"


class AwsStack(TerraformStack, Place):
    """A stack with its AWS provider, its remote state and its tags (C3, C6)."""

    def __init__(self, scope: Construct, id_: str, *, settings: CommonSettings, project: str, remote_state: bool = True) -> None:
        """``project`` is the value of the tag ``Project``; ``remote_state`` False keeps the state in a local file."""
        super().__init__(scope, id_)
        self.settings = settings
        self.region = settings.aws_region
        self._path_style = settings.s3_use_path_style or None
        self._providers: dict[str, TerraformProvider] = {}
        provider.AwsProvider(self, "aws", region=self.region, s3_use_path_style=self._path_style)
        if remote_state:
            backend = S3Backend(
                self,
                bucket=settings.state_bucket,
                region=settings.state_bucket_region,
                key=f"{settings.environment_suffix}/{id_}.tfstate",
                dynamodb_table=settings.state_lock_table,
                encrypt=True,
            )
            if self._path_style:
                backend.add_override("use_path_style", True)
        else:
            # Where CDKTF itself would put it: in the folder from which the app runs, outside of what synthesis replaces.
            LocalBackend(self, path=str(Path.cwd() / f"terraform.{id_}.tfstate"))
        self._caller = data_aws_caller_identity.DataAwsCallerIdentity(self, "account")
        self.account_id = self._caller.account_id
        self.partition = data_aws_partition.DataAwsPartition(self, "partition").partition
        Aspects.of(self).add(
            _Tags(
                {
                    **settings.default_tags,
                    "Environment": settings.environment_title,
                    "Project": project,
                    "Owner": settings.owner,
                }
            )
        )

    @cached_property
    def deployer_arn(self) -> str:
        """The ARN of whoever deploys: of the role itself where a session of a role does."""
        return data_aws_iam_session_context.DataAwsIamSessionContext(self, "deployer", arn=self._caller.arn).issuer_arn

    def provider_of(self, region: str) -> TerraformProvider | None:
        """The AWS provider of another region; None, which means the stack's own, for its own region."""
        if region != self.region and region not in self._providers:
            alias = region.replace("-", "_")
            self._providers[region] = provider.AwsProvider(
                self, f"aws_{alias}", alias=alias, region=region, s3_use_path_style=self._path_style
            )
        return self._providers.get(region)

    def output(self, name: str, value: str, description: str) -> None:
        """An output of the stack: an interface, so its name is exactly ``name`` (C11)."""
        TerraformOutput(self, name, value=value, description=description)


class Region(Construct, Place):
    """A region of a stack: what stands below it, stands there. Names that the whole account sees carry the region."""

    def __init__(self, scope: Construct, id_: str, *, region: str) -> None:
        """Raises TypeError outside an AwsStack."""
        super().__init__(scope, id_)
        stack = TerraformStack.of(self)
        if not isinstance(stack, AwsStack):
            raise TypeError(f"{self.node.path}: a region needs an AwsStack around it")
        self.settings = stack.settings
        self.region = region
        self.account_id = stack.account_id
        self.partition = stack.partition
        if other := stack.provider_of(region):
            Aspects.of(self).add(_Provider(other))

    def global_name(self, base: str, limit: int = 64) -> str:
        return self.name(name_of_part(base, self.region), limit)


@jsii.implements(IAspect)
class _Provider:
    """Has every resource made by one provider."""

    def __init__(self, other: TerraformProvider) -> None:
        self._provider = other

    def visit(self, node: IConstruct) -> None:
        if isinstance(node, TerraformResource | TerraformDataSource):
            node.provider = self._provider


@jsii.implements(IAspect)
class _Tags:
    """Writes the stack's tags into every taggable resource, where a reader of the JSON sees them (C6)."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        self._tags = dict(tags)

    def visit(self, node: IConstruct) -> None:
        if hasattr(type(node), "tags_input"):
            resource: Any = node
            resource.tags = self._tags | (resource.tags_input or {})


# --- IAM ------------------------------------------------------------------------------------------------------------


class PolicyDocument(Construct):
    """A policy as a data source, which policy scanners can read, and to which statements may be added at any time."""

    def __init__(self, scope: Construct, id_: str) -> None:
        super().__init__(scope, id_)
        self._statements: list[Statement] = []
        self._document = data_aws_iam_policy_document.DataAwsIamPolicyDocument(self, "document")
        self.json = self._document.json

    def allow(
        self,
        sid: str,
        actions: Sequence[str],
        resources: Sequence[str],
        *,
        principals: Principals | None = None,
        conditions: Sequence[Condition] = (),
    ) -> None:
        """``sid`` gets a number if the document has it already: AWS wants each once, and no caller knows the others'."""
        taken = [each.sid for each in self._statements]
        unique = next(each for each in (sid, *(f"{sid}{number}" for number in range(2, len(taken) + 3))) if each not in taken)
        self._add(Statement(sid=unique, actions=list(actions), resources=list(resources), **_optional(principals, conditions)))

    def deny_without_tls(self, actions: Sequence[str], resources: Sequence[str]) -> None:
        """Refuse every request that does not come over TLS (C7)."""
        self._add(
            Statement(
                sid="DenyWithoutTls",
                effect="Deny",
                actions=list(actions),
                resources=list(resources),
                **_optional(
                    Principals(type="*", identifiers=["*"]),
                    [Condition(test="Bool", variable="aws:SecureTransport", values=["false"])],
                ),
            )
        )

    def _add(self, statement: Statement) -> None:
        self._statements.append(statement)
        self._document.put_statement(self._statements)


def _optional(principals: Principals | None, conditions: Sequence[Condition]) -> dict[str, Any]:
    return {
        **({"principals": [principals]} if principals else {}),
        **({"condition": list(conditions)} if conditions else {}),
    }


class Role(Construct):
    """A role for one AWS service principal in this account, with its runtime and its grants policy.

    Each policy appears with its first statement.
    """

    def __init__(self, scope: Construct, id_: str, *, name: str, service: str, description: str) -> None:
        """``service`` is the principal, such as ``lambda.amazonaws.com``. Names: 64 characters."""
        super().__init__(scope, id_)
        place = Place.around(self)
        trust = PolicyDocument(self, "trust")
        # Lambda alone sends no aws:SourceAccount when it assumes an execution role; every other service must act for
        # this account (the confused deputy, IAM user guide). Whether these two send it, their user guides leave open.
        unsure = ("apigateway.amazonaws.com", "cloudtrail.amazonaws.com")
        test = "StringEqualsIfExists" if service in unsure else "StringEquals"
        own_account = Condition(test=test, variable="aws:SourceAccount", values=[place.account_id])
        trust._add(
            Statement(
                sid="Assume",
                actions=["sts:AssumeRole"],
                **_optional(
                    Principals(type="Service", identifiers=[service]),
                    [] if service == "lambda.amazonaws.com" else [own_account],
                ),
            )
        )
        self.role = iam_role.IamRole(
            self, "role", name=place.global_name(name), description=description, assume_role_policy=trust.json
        )
        self.arn = self.role.arn
        self.arn_by_name = f"arn:{place.partition}:iam::{place.account_id}:role/{place.global_name(name)}"
        self._policies: dict[str, PolicyDocument] = {}
        self._attachments: dict[str, iam_role_policy.IamRolePolicy] = {}

    @property
    def runtime(self) -> list[TerraformResource]:
        """What must stand before AWS is asked whether the role suffices to start."""
        return [attachment for kind, attachment in self._attachments.items() if kind == "runtime"]

    @property
    def policies(self) -> list[TerraformResource]:
        """Everything permitted so far: what must stand before the first call."""
        return list(self._attachments.values())

    def allow_runtime(self, sid: str, actions: Sequence[str], resources: Sequence[str]) -> None:
        """Permit what the service needs to start and to report."""
        self._policy("runtime").allow(sid, actions, resources)

    def allow(
        self, sid: str, actions: Sequence[str], resources: Sequence[str], *, conditions: Sequence[Condition] = ()
    ) -> None:
        """Permit what the code does. Called by the ``grant_*`` methods."""
        self._policy("grants").allow(sid, actions, resources, conditions=conditions)

    def _policy(self, kind: Literal["runtime", "grants"]) -> PolicyDocument:
        if kind not in self._policies:
            self._policies[kind] = PolicyDocument(self, kind)
            self._attachments[kind] = iam_role_policy.IamRolePolicy(
                self, f"{kind}_policy", name=kind, role=self.role.id, policy=self._policies[kind].json
            )
        return self._policies[kind]


# --- Alarms and what people look at ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Metric:
    """A CloudWatch metric. ``id_`` names it in an alarm's expression."""

    id_: str
    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str = "Sum"

    def named(self, id_: str) -> Metric:
        """The same under another name."""
        return replace(self, id_=id_)

    def by(self, statistic: str) -> Metric:
        """The same by another statistic."""
        return replace(self, statistic=statistic)


class Alarm(Construct):
    """An alarm on an expression over metrics; missing data is no alarm. Fires and recovers to the topic."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        description: str,
        expression: str,
        metrics: Sequence[Metric],
        topic: Topic,
        above: float | Decimal,
        period_seconds: int,
        of_periods: int,
        label: str,
        runbook: str,
        missing_is_alarm: bool = False,
    ) -> None:
        """In alarm when ``expression`` is strictly above ``above`` in any of the latest ``of_periods`` periods, since metrics
        come late. ``description`` names the command that answers it, ``runbook`` the section of docs/runbook.md (E10).
        ``missing_is_alarm`` is for a sign of life: no data is an alarm, too."""
        super().__init__(scope, id_)
        self.name = Place.around(self).name(name, 255)
        query = cloudwatch_metric_alarm.CloudwatchMetricAlarmMetricQuery
        metric = cloudwatch_metric_alarm.CloudwatchMetricAlarmMetricQueryMetric
        cloudwatch_metric_alarm.CloudwatchMetricAlarm(
            self,
            "alarm",
            alarm_name=self.name,
            alarm_description=f"{description} (docs/runbook.md#{runbook})",
            comparison_operator="GreaterThanThreshold",
            threshold=float(above),
            evaluation_periods=of_periods,
            datapoints_to_alarm=1,
            treat_missing_data="breaching" if missing_is_alarm else "notBreaching",
            alarm_actions=[topic.arn],
            ok_actions=[topic.arn],
            metric_query=[
                query(id="result", expression=expression, label=label, return_data=True),
                *(
                    query(
                        id=each.id_,
                        metric=metric(
                            namespace=each.namespace,
                            metric_name=each.name,
                            dimensions=dict(each.dimensions),
                            period=period_seconds,
                            stat=each.statistic,
                        ),
                    )
                    for each in metrics
                ),
            ],
        )


class Dashboard(Construct):
    """A CloudWatch dashboard: rows of graphs, each a title and the metrics it draws."""

    _WIDTH, _HEIGHT = 24, 6

    def __init__(
        self, scope: Construct, id_: str, *, name: str, rows: Sequence[Sequence[tuple[str, Sequence[Metric]]]]
    ) -> None:
        super().__init__(scope, id_)
        place = Place.around(self)
        full_name = place.global_name(name, 255)
        widgets = []
        for y, row in enumerate(rows):
            width = self._WIDTH // len(row)
            for x, (title, metrics) in enumerate(row):
                widgets.append(
                    {
                        "type": "metric",
                        "x": x * width,
                        "y": y * self._HEIGHT,
                        "width": width,
                        "height": self._HEIGHT,
                        "properties": {
                            "title": title,
                            "region": place.region,
                            "period": 300,
                            "view": "timeSeries",
                            "metrics": [
                                [
                                    *(m.namespace, m.name),
                                    *(part for pair in m.dimensions.items() for part in pair),
                                    {"stat": m.statistic},
                                ]
                                for m in metrics
                            ],
                        },
                    }
                )
        cloudwatch_dashboard.CloudwatchDashboard(
            self, "dashboard", dashboard_name=full_name, dashboard_body=json.dumps({"widgets": widgets})
        )
        self.url = place.console_url("cloudwatch/home", f"dashboards/dashboard/{full_name}")


class LogGroup(Construct):
    """A log group with retention, made by Terraform so that it is never made without (C9)."""

    def __init__(self, scope: Construct, id_: str, *, name: str) -> None:
        super().__init__(scope, id_)
        place = Place.around(self)
        self.group = cloudwatch_log_group.CloudwatchLogGroup(
            self, "group", name=name, retention_in_days=place.settings.log_retention_days
        )
        self.name = name
        self.streams_arn = place.arn("logs", f"log-group:{name}:*")

    def grant_create(self, role: Role) -> None:
        """Make the group again, if somebody has deleted it; without retention, until the next apply. IAM knows a group by the
        ARN that ends in ``:*``, save for its tags (CloudWatch Logs API reference, "LogGroup")."""
        role.allow_runtime("LogGroup", ["logs:CreateLogGroup"], [self.streams_arn])


class LogMetric(Construct):
    """Counts the lines of a log group that match a pattern, as a CloudWatch metric."""

    def __init__(self, scope: Construct, id_: str, *, name: str, namespace: str, group: LogGroup, pattern: str) -> None:
        """``pattern`` in the syntax of CloudWatch Logs filters; ``name`` is the metric's."""
        super().__init__(scope, id_)
        cloudwatch_log_metric_filter.CloudwatchLogMetricFilter(
            self,
            "filter",
            name=f"{namespace.rpartition('/')[2]}-{name}",
            log_group_name=group.group.name,
            pattern=pattern,
            metric_transformation=cloudwatch_log_metric_filter.CloudwatchLogMetricFilterMetricTransformation(
                name=name, namespace=namespace, value="1", default_value="0"
            ),
        )
        self.metric = Metric("matches", namespace, name, {})


class LogsQuery(Construct):
    """A saved Logs Insights query over some log groups (C9)."""

    def __init__(self, scope: Construct, id_: str, *, name: str, groups: Sequence[LogGroup], query: str) -> None:
        super().__init__(scope, id_)
        cloudwatch_query_definition.CloudwatchQueryDefinition(
            self,
            "query",
            name=Place.around(self).name(name, 255),
            log_group_names=[group.name for group in groups],
            query_string=query,
        )


# --- SNS and SQS ----------------------------------------------------------------------------------------------------


class Topic(Construct):
    """A topic encrypted with its own key, which CloudWatch alarms and granted publishers may use (E9).

    The key is customer-managed because an alarm silently fails to publish to a topic under ``alias/aws/sns`` (CloudWatch
    user guide, "Notifying users on alarm changes").
    """

    def __init__(self, scope: Construct, id_: str, *, name: str, emails: Sequence[str] = ()) -> None:
        """Topic names: 256 characters. Each address of ``emails`` must confirm its subscription once."""
        super().__init__(scope, id_)
        place = Place.around(self)
        full_name = place.name(name, 256)
        own_account = Condition(test="StringEquals", variable="aws:SourceAccount", values=[place.account_id])
        alarms = Principals(type="Service", identifiers=["cloudwatch.amazonaws.com"])

        self._key_policy = PolicyDocument(self, "key_policy")
        # In a key policy the resource "*" is this key alone. The account may administer and delegate it; no action is
        # a wildcard, and PutKeyPolicy keeps the key from locking its owner out (KMS developer guide).
        self._key_policy.allow(
            "AccountAdministersAndDelegates",
            KEY_ADMINISTRATION,
            ["*"],
            principals=Principals(type="AWS", identifiers=[f"arn:{place.partition}:iam::{place.account_id}:root"]),
        )
        self._key_policy.allow(
            "AlarmsEncrypt", ["kms:Decrypt", "kms:GenerateDataKey"], ["*"], principals=alarms, conditions=[own_account]
        )
        self._key = kms_key.KmsKey(
            self,
            "key",
            description=f"Encrypts the topic {full_name}",
            enable_key_rotation=True,
            deletion_window_in_days=7,
            policy=self._key_policy.json,
        )
        kms_alias.KmsAlias(self, "key_alias", name=f"alias/{full_name}", target_key_id=self._key.key_id)

        self._topic = sns_topic.SnsTopic(self, "topic", name=full_name, kms_master_key_id=self._key.arn)
        self.name = full_name
        self.arn = place.arn("sns", full_name)
        self._policy = PolicyDocument(self, "policy")
        self._policy.allow("AlarmsPublish", ["sns:Publish"], [self.arn], principals=alarms, conditions=[own_account])
        self._policy.deny_without_tls(["sns:Publish"], [self.arn])
        self._attached_policy = sns_topic_policy.SnsTopicPolicy(
            self, "topic_policy", arn=self._topic.arn, policy=self._policy.json
        )
        self._takes_budgets = False
        for email in dict.fromkeys(email.casefold() for email in emails):
            # Named by the address: another one more or less lets everybody else's confirmed subscription stand.
            digest = hashlib.sha256(email.encode()).hexdigest()[:8]
            sns_topic_subscription.SnsTopicSubscription(
                self, f"email_{digest}", topic_arn=self._topic.arn, protocol="email", endpoint=email
            )

    def grant_publish(self, role: Role) -> None:
        """Publishing to an encrypted topic takes the topic and its key."""
        role.allow("Announce", ["sns:Publish"], [self.arn])
        role.allow("AnnounceEncrypted", ["kms:Decrypt", "kms:GenerateDataKey"], [self._key.arn])

    def accept_from_budgets(self) -> TerraformResource:
        """Let this account's budgets publish (Cost Management user guide, "Creating an Amazon SNS topic for budget
        notifications"). Returns what must stand before a budget names the topic."""
        if not self._takes_budgets:
            place = Place.around(self)
            budgets = Principals(type="Service", identifiers=["budgets.amazonaws.com"])
            own_budgets = [
                Condition(test="StringEquals", variable="aws:SourceAccount", values=[place.account_id]),
                Condition(
                    test="ArnLike",
                    variable="aws:SourceArn",
                    values=[f"arn:{place.partition}:budgets::{place.account_id}:*"],
                ),
            ]
            self._policy.allow("BudgetsPublish", ["sns:Publish"], [self.arn], principals=budgets, conditions=own_budgets)
            encrypt = ["kms:Decrypt", "kms:GenerateDataKey"]
            self._key_policy.allow("BudgetsEncrypt", encrypt, ["*"], principals=budgets, conditions=own_budgets)
            self._takes_budgets = True
        return self._attached_policy


KEY_ADMINISTRATION = (
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:Decrypt",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GenerateDataKey",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListAliases",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
)


class DeadLetterQueue(Construct):
    """Where undeliverable events wait, 14 days, encrypted by SQS (EventBridge cannot use ``alias/aws/sqs``), with an
    alarm on the first visible message (C10)."""

    def __init__(self, scope: Construct, id_: str, *, name: str, of: str, topic: Topic) -> None:
        """``of`` says in words whose dead letters these are. Queue names: 80 characters."""
        super().__init__(scope, id_)
        place = Place.around(self)
        full_name = place.name(name, 80)
        self.arn = place.arn("sqs", full_name)
        self.name = full_name
        self.queue = sqs_queue.SqsQueue(
            self, "queue", name=full_name, message_retention_seconds=14 * DAY, sqs_managed_sse_enabled=True
        )
        self._policy = PolicyDocument(self, "policy")
        self._policy.deny_without_tls(["sqs:*"], [self.arn])
        sqs_queue_policy.SqsQueuePolicy(self, "queue_policy", queue_url=self.queue.url, policy=self._policy.json)
        self.depth = Metric(
            # Counts failed deliveries too, which NumberOfMessagesSent does not (SQS developer guide).
            "depth", "AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": full_name}, "Maximum"
        )
        Alarm(
            self,
            "alarm",
            name=name_of_part(name, "not-empty"),
            description=f"Events of {of} could not be delivered. Look, and send them again: "
            f"{place.ops(f'replay letters {full_name}')}",
            expression="depth",
            metrics=[self.depth],
            topic=topic,
            above=0,
            period_seconds=60,
            of_periods=1,
            label="dead letters",
            runbook="dead-letters",
        )

    def grant_send_at_runtime(self, role: Role) -> None:
        role.allow_runtime("DeadLetters", ["sqs:SendMessage"], [self.arn])

    def accept_from_rule(self, rule_arn: str) -> None:
        """Let one EventBridge rule put here what it cannot deliver."""
        self._policy.allow(
            "UndeliverableEvents",
            ["sqs:SendMessage"],
            [self.arn],
            principals=Principals(type="Service", identifiers=["events.amazonaws.com"]),
            conditions=[Condition(test="ArnEquals", variable="aws:SourceArn", values=[rule_arn])],
        )


# --- S3 -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LifecycleRule:
    """One lifecycle rule on a prefix. Days count from creation, for old versions from being replaced."""

    id_: str
    prefix: str = ""
    expire_after_days: int | None = None
    archive_after_days: int | None = None
    """Move to storage class GLACIER, small objects too: a filter by size lifts S3's default of 128 KB."""
    old_versions_after_days: int | None = None
    abort_uploads_after_days: int | None = None
    remove_expired_delete_markers: bool = False

    def __post_init__(self) -> None:
        if self.expire_after_days and self.remove_expired_delete_markers:
            raise ValueError(f"lifecycle rule {self.id_}: S3 wants expiry by days and of delete markers in two rules")


class Bucket(Construct):
    """A private bucket: versioned, SSE-S3, TLS only, public access blocked, owner-enforced, with access logs (C7)."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        lifecycle: Sequence[LifecycleRule],
        access_logs: AccessLogBucket | None,
    ) -> None:
        """``name`` is final, since bucket names are global. ``access_logs`` None is for a log bucket itself."""
        super().__init__(scope, id_)
        place = Place.around(self)
        keep = place.settings.keeps_data
        self.name = name
        self.arn = f"arn:{place.partition}:s3:::{name}"
        self._bucket = s3_bucket.S3Bucket(
            self,
            "bucket",
            bucket=name,
            force_destroy=not keep,
            lifecycle=TerraformResourceLifecycle(prevent_destroy=True) if keep else None,
        )
        bucket = self.id = self._bucket.id
        self._versioning = s3_bucket_versioning.S3BucketVersioningA(
            self,
            "versioning",
            bucket=bucket,
            versioning_configuration=s3_bucket_versioning.S3BucketVersioningVersioningConfiguration(status="Enabled"),
        )
        by_default = s3_bucket_server_side_encryption_configuration
        by_default.S3BucketServerSideEncryptionConfigurationA(
            self,
            "encryption",
            bucket=bucket,
            rule=[
                by_default.S3BucketServerSideEncryptionConfigurationRuleA(
                    apply_server_side_encryption_by_default=by_default.S3BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultA(
                        sse_algorithm="AES256"
                    )
                )
            ],
        )
        s3_bucket_public_access_block.S3BucketPublicAccessBlock(
            self,
            "public_access",
            bucket=bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
        )
        s3_bucket_ownership_controls.S3BucketOwnershipControls(
            self,
            "ownership",
            bucket=bucket,
            rule=s3_bucket_ownership_controls.S3BucketOwnershipControlsRule(object_ownership="BucketOwnerEnforced"),
        )
        self.policy = PolicyDocument(self, "policy")
        self.policy.deny_without_tls(["s3:*"], [self.arn, f"{self.arn}/*"])
        self.attached_policy = s3_bucket_policy.S3BucketPolicy(self, "bucket_policy", bucket=bucket, policy=self.policy.json)
        if lifecycle:
            s3_bucket_lifecycle_configuration.S3BucketLifecycleConfiguration(
                self,
                "lifecycle",
                bucket=bucket,
                rule=[_lifecycle_rule(rule) for rule in lifecycle],
                depends_on=[self._versioning],
            )
        if access_logs:
            s3_bucket_logging.S3BucketLoggingA(
                self,
                "logging",
                bucket=bucket,
                target_bucket=access_logs.id,
                target_prefix=f"{name}/",
                depends_on=[access_logs.attached_policy],
            )
            access_logs.accept_from(self)
        self._notify_after: list[str] = [_address(self._versioning)]
        self._notified: list[s3_bucket_notification.S3BucketNotificationLambdaFunction] = []
        self._notification: s3_bucket_notification.S3BucketNotification | None = None

    # S3's conditional writes and deletes on an ETag need GetObject beside PutObject or DeleteObject (S3 user guide,
    # "How to perform conditional deletes"), and so does HEAD of the current version.

    def grant_read_version(self, role: Role, keys: str) -> None:
        role.allow("ReadVersions" + _sid(keys), ["s3:GetObjectVersion"], [f"{self.arn}/{keys}"])

    def grant_remove_if_current(self, role: Role, keys: str) -> None:
        """Hide the current version behind a delete marker, if it is still the one seen. No version can be deleted."""
        role.allow("RemoveIfCurrent" + _sid(keys), ["s3:DeleteObject", "s3:GetObject"], [f"{self.arn}/{keys}"])

    def grant_look(self, role: Role, keys: str) -> None:
        """See what the current version is. S3 has no narrower action than reading it."""
        role.allow("Look" + _sid(keys), ["s3:GetObject"], [f"{self.arn}/{keys}"])

    def grant_read(self, role: Role, keys: str) -> None:
        """Read current and old versions."""
        role.allow("Read" + _sid(keys), ["s3:GetObject", "s3:GetObjectVersion"], [f"{self.arn}/{keys}"])

    def grant_write(self, role: Role, keys: str) -> None:
        role.allow("Write" + _sid(keys), ["s3:PutObject"], [f"{self.arn}/{keys}"])

    def grant_file(self, role: Role, keys: str) -> None:
        """Write, after a look at what is there."""
        role.allow("File" + _sid(keys), ["s3:GetObject", "s3:PutObject"], [f"{self.arn}/{keys}"])

    def grant_publish(self, role: Role, keys: str) -> None:
        """Write conditionally, in one piece or in parts, and give an unfinished upload up."""
        actions = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
        role.allow("Publish" + _sid(keys), actions, [f"{self.arn}/{keys}"])

    def grant_list(self, role: Role) -> None:
        """With it a missing object is 404; without it 403, as if it were denied."""
        role.allow("MissingIsNotDenied", ["s3:ListBucket"], [self.arn])

    def notify(
        self,
        function: Function,
        *,
        prefix: str | None = None,
        suffixes: Sequence[str | None] = (None,),
        after: Sequence[TerraformResource] = (),
    ) -> None:
        """Invoke ``function`` for every object created under ``prefix`` whose name ends in one of ``suffixes``, if given;
        ``after`` must stand before the first event.

        Without versioning an event's version id would be ``null`` and every replacement look like a duplicate.
        """
        place = Place.around(self)
        permission = function.permit("s3.amazonaws.com", source_arn=self.arn, source_account=place.account_id)
        self._notified += (
            s3_bucket_notification.S3BucketNotificationLambdaFunction(
                lambda_function_arn=function.arn, events=["s3:ObjectCreated:*"], filter_prefix=prefix, filter_suffix=suffix
            )
            for suffix in suffixes
        )
        self._notification_after(permission, *after).put_lambda_function(self._notified)

    def allow_browsers(self, origin: str) -> None:
        """Let pages of ``origin`` use presigned uploads and downloads (CORS)."""
        s3_bucket_cors_configuration.S3BucketCorsConfiguration(
            self,
            "browsers",
            bucket=self.id,
            cors_rule=[
                s3_bucket_cors_configuration.S3BucketCorsConfigurationCorsRule(
                    allowed_methods=["GET", "POST"], allowed_origins=[origin], allowed_headers=["*"], max_age_seconds=3600
                )
            ],
        )

    def send_events(self, *, after: Sequence[TerraformResource] = ()) -> None:
        """Send all of the bucket's events to the default event bus; ``after`` must stand before the first."""
        self._notification_after(*after).eventbridge = True

    def _notification_after(self, *resources: TerraformResource) -> s3_bucket_notification.S3BucketNotification:
        """The bucket's notification configuration, of which it can have one only."""
        if self._notification is None:
            self._notification = s3_bucket_notification.S3BucketNotification(self, "notification", bucket=self._bucket.id)
        self._notify_after += [_address(each) for each in resources]
        self._notification.depends_on = self._notify_after
        return self._notification


class AccessLogBucket(Bucket):
    """The bucket that receives the access logs of the stack's other buckets; they expire."""

    def __init__(self, scope: Construct, id_: str, *, name: str, keep_days: int = 90) -> None:
        super().__init__(
            scope,
            id_,
            name=name,
            access_logs=None,
            lifecycle=[
                LifecycleRule("expire", expire_after_days=keep_days, old_versions_after_days=1, abort_uploads_after_days=1)
            ],
        )

    def accept_from(self, bucket: Bucket) -> None:
        """Let S3's log delivery write the logs of one bucket of this account, under that bucket's name."""
        account = Place.around(self).account_id
        self.policy.allow(
            "AccessLogs" + _sid(bucket.node.id),
            ["s3:PutObject"],
            [f"{self.arn}/{bucket.name}/*"],
            principals=Principals(type="Service", identifiers=["logging.s3.amazonaws.com"]),
            conditions=[
                Condition(test="ArnEquals", variable="aws:SourceArn", values=[bucket.arn]),
                Condition(test="StringEquals", variable="aws:SourceAccount", values=[account]),
            ],
        )


def _address(resource: TerraformResource) -> str:
    """``type.name``, as ``depends_on`` wants it."""
    return f"{resource.terraform_resource_type}.{resource.friendly_unique_id}"


def _sid(text: str) -> str:
    """A statement id from a pattern: letters and digits only."""
    return "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", text))


def _lifecycle_rule(rule: LifecycleRule) -> s3_bucket_lifecycle_configuration.S3BucketLifecycleConfigurationRule:
    of = s3_bucket_lifecycle_configuration
    parts: dict[str, Any] = {}
    if rule.expire_after_days or rule.remove_expired_delete_markers:
        parts["expiration"] = [
            of.S3BucketLifecycleConfigurationRuleExpiration(
                days=rule.expire_after_days, expired_object_delete_marker=rule.remove_expired_delete_markers or None
            )
        ]
    if rule.old_versions_after_days:
        parts["noncurrent_version_expiration"] = [
            of.S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration(noncurrent_days=rule.old_versions_after_days)
        ]
    if rule.abort_uploads_after_days:
        parts["abort_incomplete_multipart_upload"] = [
            of.S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload(
                days_after_initiation=rule.abort_uploads_after_days
            )
        ]
    matching = of.S3BucketLifecycleConfigurationRuleFilter(prefix=rule.prefix)
    if rule.archive_after_days:
        parts["transition"] = [
            of.S3BucketLifecycleConfigurationRuleTransition(days=rule.archive_after_days, storage_class="GLACIER")
        ]
        any_size = of.S3BucketLifecycleConfigurationRuleFilterAnd(prefix=rule.prefix, object_size_greater_than=1)
        matching = of.S3BucketLifecycleConfigurationRuleFilter(and_=[any_size])
    return of.S3BucketLifecycleConfigurationRule(id=rule.id_, status="Enabled", filter=[matching], **parts)


# --- DynamoDB -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """Partition and sort key, both strings."""

    partition: str
    sort: str | None = None

    @property
    def names(self) -> list[str]:
        return [self.partition] + ([self.sort] if self.sort else [])


class TableGrants:
    """What may be permitted on a table in one region, and who it is there."""

    name: str
    arn: str
    stream_arn: str
    table: dynamodb_table.DynamodbTable
    """What must stand before the first call, in whichever region: it is made with its replicas, which takes minutes."""
    _id: str

    def grant_get(self, role: Role) -> None:
        role.allow("Get" + self._id, ["dynamodb:GetItem"], [self.arn])

    def grant_put(self, role: Role) -> None:
        role.allow("Put" + self._id, ["dynamodb:PutItem"], [self.arn])

    def grant_update(self, role: Role) -> None:
        role.allow("Update" + self._id, ["dynamodb:UpdateItem"], [self.arn])

    def grant_query(self, role: Role, index: str | None = None) -> None:
        """Query the table, or one of its indexes only."""
        resource = f"{self.arn}/index/{index}" if index else self.arn
        role.allow("Query" + (_sid(index) if index else self._id), ["dynamodb:Query"], [resource])

    def grant_stream_at_runtime(self, role: Role) -> None:
        """Read the stream. Lambda asks for it when it is told to (Lambda developer guide, "Using Lambda with DynamoDB")."""
        actions = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"]
        role.allow_runtime("Stream", actions, [f"{self.arn}/stream/*"])


class Replica(TableGrants):
    """A global table in another region than its own."""

    def __init__(self, table: Table, region: str, stream_arn: str) -> None:
        self.name = table.name
        self.table = table.table
        self.arn = table.arn.replace(f":{Place.around(table).region}:", f":{region}:")
        self.stream_arn = stream_arn
        self._id = table._id


class Table(Construct, TableGrants):
    """An on-demand table, encrypted with the AWS-managed KMS key, with point-in-time recovery (E8b)."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        key: Key,
        indexes: Mapping[str, Key] | None = None,
        projection: Literal["ALL", "KEYS_ONLY"] = "ALL",
        stream: bool = False,
        expires_at: str | None = None,
        replicas: Sequence[str] = (),
    ) -> None:
        """``projection`` is what the ``indexes`` hold, and hence what is written, and paid for, twice; ``stream`` carries old and
        new images; ``expires_at`` names the attribute with the epoch second after which DynamoDB removes an item; ``replicas``
        are other regions that hold the same table, which takes a stream. Names: 255 characters."""
        super().__init__(scope, id_)
        place = Place.around(self)
        keep = place.settings.keeps_data
        indexes = indexes or {}
        full_name = place.name(name, 255)
        attributes = dict.fromkeys([*key.names, *(name for index in indexes.values() for name in index.names)])
        self.name = full_name
        self.arn = place.arn("dynamodb", f"table/{full_name}")
        self._id = _sid(self.node.id)
        self._replicas = [
            dynamodb_table.DynamodbTableReplica(region_name=region, point_in_time_recovery=True, propagate_tags=True)
            for region in replicas
        ]
        self.table = dynamodb_table.DynamodbTable(
            self,
            "table",
            name=full_name,
            billing_mode="PAY_PER_REQUEST",
            hash_key=key.partition,
            range_key=key.sort,
            attribute=[dynamodb_table.DynamodbTableAttribute(name=attribute, type="S") for attribute in attributes],
            global_secondary_index=[
                dynamodb_table.DynamodbTableGlobalSecondaryIndex(
                    name=index_name, hash_key=index.partition, range_key=index.sort, projection_type=projection
                )
                for index_name, index in indexes.items()
            ]
            or None,
            server_side_encryption=dynamodb_table.DynamodbTableServerSideEncryption(enabled=True),
            point_in_time_recovery=dynamodb_table.DynamodbTablePointInTimeRecovery(enabled=True),
            stream_enabled=True if stream else None,
            stream_view_type="NEW_AND_OLD_IMAGES" if stream else None,
            replica=self._replicas or None,
            ttl=dynamodb_table.DynamodbTableTtl(attribute_name=expires_at, enabled=True) if expires_at else None,
            deletion_protection_enabled=keep,
            lifecycle=TerraformResourceLifecycle(prevent_destroy=True) if keep else None,
        )
        self.stream_arn = self.table.stream_arn

    def replica(self, region: str) -> Replica:
        """The table in another of its regions."""
        replicas = {each.region_name: number for number, each in enumerate(self._replicas)}
        # In Terraform replicas are a set, which tolist sorts by region, their first attribute that differs.
        number = sorted(replicas).index(region)
        return Replica(self, region, Fn.lookup(Fn.element(Fn.tolist(self.table.replica), number), "stream_arn", ""))


# --- Systems Manager ------------------------------------------------------------------------------------------------


class Parameter(Construct):
    """A parameter of Systems Manager that others change: Terraform gives it its first value, and leaves it alone from then on."""

    def __init__(self, scope: Construct, id_: str, *, name: str, description: str, initial: str) -> None:
        """No secret: whoever may read parameters reads it. Names: 512 characters."""
        super().__init__(scope, id_)
        self.name = name
        ssm_parameter.SsmParameter(
            self,
            "parameter",
            name=name,
            description=description,
            type="String",
            value=initial,
            lifecycle=TerraformResourceLifecycle(ignore_changes=["value"]),
        )


# --- OpenSearch Serverless ------------------------------------------------------------------------------------------


class SearchCollection(Construct):
    """A time-series collection with the policies without which it is neither made nor reached (M5a).

    Its network policy opens endpoint and dashboard to every network. That opens no data: each request must be signed by an
    AWS identity that both IAM (``aoss:…AccessAll``) and the data policy allow (OpenSearch Serverless developer guide).
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        description: str,
        dashboard_users: Sequence[str],
        standby_replicas: bool,
        retention_days: int,
    ) -> None:
        """``dashboard_users`` are ARNs of roles and users, who may read everything and keep dashboards. ``standby_replicas``
        False halves what the idle collection costs and stores in one availability zone. Names: 32 characters.
        """
        super().__init__(scope, id_)
        place = Place.around(self)
        keep = place.settings.keeps_data
        self.name = place.name(name, 32)
        resource = [f"collection/{self.name}"]
        encryption = opensearchserverless_security_policy.OpensearchserverlessSecurityPolicy(
            self,
            "encryption",
            name=self.name,
            type="encryption",
            description=f"Encrypts the collection {self.name} with a key of AWS",
            policy=json.dumps({"Rules": [{"ResourceType": "collection", "Resource": resource}], "AWSOwnedKey": True}),
        )
        reached = [{"ResourceType": kind, "Resource": resource} for kind in ("collection", "dashboard")]
        network = opensearchserverless_security_policy.OpensearchserverlessSecurityPolicy(
            self,
            "network",
            name=self.name,
            type="network",
            description=f"Lets signed requests reach the collection {self.name} and its dashboard from every network",
            policy=json.dumps([{"Rules": reached, "AllowFromPublic": True}]),
        )
        self._collection = opensearchserverless_collection.OpensearchserverlessCollection(
            self,
            "collection",
            name=self.name,
            description=description,
            type="TIMESERIES",
            standby_replicas="ENABLED" if standby_replicas else "DISABLED",
            lifecycle=TerraformResourceLifecycle(prevent_destroy=True) if keep else None,
            depends_on=[encryption, network],  # AWS refuses a collection that no encryption policy matches
        )
        opensearchserverless_lifecycle_policy.OpensearchserverlessLifecyclePolicy(
            self,
            "retention",
            name=self.name,
            type="retention",
            description=f"Keeps the documents of the collection {self.name}",
            policy=json.dumps(
                {
                    "Rules": [
                        {
                            "ResourceType": "index",
                            "Resource": [f"index/{self.name}/*"],
                            "MinIndexRetention": f"{retention_days}d",
                        }
                    ]
                }
            ),
        )
        self.endpoint = self._collection.collection_endpoint
        self.dashboard_url = self._collection.dashboard_endpoint
        self._access: list[dict[str, Any]] = []
        self.data_policy = opensearchserverless_access_policy.OpensearchserverlessAccessPolicy(
            self, "data", name=self.name, type="data", description=f"Who does what in the collection {self.name}", policy="[]"
        )
        self._let(
            "Use the dashboard",
            dashboard_users,
            {
                "collection": ("aoss:CreateCollectionItems", "aoss:DescribeCollectionItems", "aoss:UpdateCollectionItems"),
                "index": ("aoss:DescribeIndex", "aoss:ReadDocument"),
            },
        )

    def grant_index(self, role: Role, index: str) -> None:
        """Make the index, change its mapping, and write documents; reading is not among it."""
        role.allow("Index" + _sid(self.node.id), ["aoss:APIAccessAll"], [self._collection.arn])
        write = ("aoss:CreateIndex", "aoss:DescribeIndex", "aoss:UpdateIndex", "aoss:WriteDocument")
        self._let(f"Fill the index {index}", [role.arn_by_name], {"index": write}, index)
        self.data_policy.depends_on = [*(self.data_policy.depends_on or []), _address(role.role)]

    def _let(
        self, description: str, principals: Sequence[str], permissions: Mapping[str, Sequence[str]], index: str = "*"
    ) -> None:
        resources = {"collection": f"collection/{self.name}", "index": f"index/{self.name}/{index}"}
        rules = [
            {"ResourceType": kind, "Resource": [resources[kind]], "Permission": list(allowed)}
            for kind, allowed in permissions.items()
        ]
        self._access.append({"Description": description, "Rules": rules, "Principal": list(principals)})
        self.data_policy.policy = json.dumps(self._access)


# --- Lambda ---------------------------------------------------------------------------------------------------------


class Network(Protocol):
    """Where functions stand that stand in a VPC."""

    @property
    def subnet_ids(self) -> list[str]: ...

    @property
    def security_group_ids(self) -> list[str]: ...

    def grant_attach_at_runtime(self, role: Role) -> None: ...


class Function(Construct):
    """A Lambda function with its role, log group, traces, dead-letter queue and error-rate alarm (C9, C10, E6, E10)."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        description: str,
        package: LambdaPackage,
        handler: str,
        environment: Mapping[str, str],
        timeout_seconds: int,
        memory_mb: int,
        error_rate_percent: Decimal | None,
        topic: Topic,
        reserved_concurrency: int | None = None,
        ephemeral_storage_mb: int = 512,
        versions: bool = False,
        network: Network | None = None,
    ) -> None:
        """``timeout_seconds`` up to 900; ``memory_mb`` 1,769 is one vCPU; ``error_rate_percent`` None where the alarm of the
        machine that calls the function says all; ``versions`` publishes one at every change, for an alias to point at.
        Names: 64 characters."""
        super().__init__(scope, id_)
        place = Place.around(self)
        full_name = place.name(name)
        self.base_name = name
        self.name = full_name
        self.arn = place.arn("lambda", f"function:{full_name}")
        self.log_group = LogGroup(self, "logs", name=f"/aws/lambda/{full_name}")
        self.dead_letters = DeadLetterQueue(
            self, "dead_letters", name=name_of_part(name, "dlq"), of=f"the function {full_name}", topic=topic
        )
        self.role = Role(
            self, "role", name=name, service="lambda.amazonaws.com", description=f"Runs the function {full_name}"
        )
        self.role.allow_runtime("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], [self.log_group.streams_arn])
        self.role.allow_runtime("Traces", X_RAY_WRITE, ["*"])  # X-Ray knows no narrower resource
        self.dead_letters.grant_send_at_runtime(self.role)
        if network:
            network.grant_attach_at_runtime(self.role)
        code = TerraformAsset(self, "code", path=str(package.path), type=AssetType.FILE)
        self.function = lambda_function.LambdaFunction(
            self,
            "function",
            function_name=full_name,
            description=description,
            role=self.role.arn,
            runtime="python3.13",
            architectures=["arm64"],
            handler=handler,
            filename=code.path,
            source_code_hash=package.source_code_hash,
            timeout=timeout_seconds,
            memory_size=memory_mb,
            reserved_concurrent_executions=reserved_concurrency,
            ephemeral_storage=lambda_function.LambdaFunctionEphemeralStorage(size=ephemeral_storage_mb)
            if ephemeral_storage_mb > 512
            else None,
            environment=lambda_function.LambdaFunctionEnvironment(variables=dict(environment)),
            dead_letter_config=lambda_function.LambdaFunctionDeadLetterConfig(target_arn=self.dead_letters.arn),
            tracing_config=lambda_function.LambdaFunctionTracingConfig(mode="Active"),
            publish=versions or None,
            vpc_config=lambda_function.LambdaFunctionVpcConfig(
                subnet_ids=network.subnet_ids, security_group_ids=network.security_group_ids
            )
            if network
            else None,
            depends_on=[*self.role.runtime, self.log_group.group, self.dead_letters.queue],
        )
        self._permits: list[str] = []
        self.errors, self.invocations, self.throttles = (
            Metric(metric.lower(), "AWS/Lambda", metric, {"FunctionName": full_name})
            for metric in ("Errors", "Invocations", "Throttles")
        )
        self.duration = Metric("duration", "AWS/Lambda", "Duration", {"FunctionName": full_name}, "p95")
        if error_rate_percent is None:
            return
        Alarm(
            self,
            "error_rate",
            name=name_of_part(name, "error-rate"),
            description=f"More than {error_rate_percent} % of the invocations of {full_name} fail. Look: aws logs tail "
            f"{self.log_group.name} --region {place.region} --since 1h --filter-pattern '?ERROR ?\"timed out\" ?exited'",
            expression="IF(invocations > 0, 100 * errors / invocations, 0)",
            metrics=[self.errors, self.invocations],
            topic=topic,
            above=error_rate_percent,
            period_seconds=300,
            # Lambda counts an error in the minute in which the invocation began (Lambda developer guide, "Viewing metrics").
            of_periods=math.ceil(timeout_seconds / 300) + 2,
            label="errors / invocations, per cent",
            runbook="error-rate",
        )

    def grant_invoke(self, role: Role) -> None:
        role.allow("Invoke" + _sid(self.node.id), ["lambda:InvokeFunction"], [self.arn])

    def permit(self, service: str, *, source_arn: str, source_account: str) -> TerraformResource:
        """Let an AWS service invoke the function on behalf of one resource of this account."""
        self._permits.append(service)
        number = str(len(self._permits)) if len(self._permits) > 1 else ""
        return lambda_permission.LambdaPermission(
            self,
            f"permit_{service.partition('.')[0]}{number}",
            statement_id=_sid(service) + number,
            action="lambda:InvokeFunction",
            function_name=self.function.function_name,
            principal=service,
            source_arn=source_arn,
            source_account=source_account,
        )


X_RAY_WRITE = ("xray:PutTelemetryRecords", "xray:PutTraceSegments")


class StreamMapping(Construct):
    """Hands a table's stream to a function: what it reports as failed is tried again alone, then waits in a queue (R5)."""

    def __init__(
        self, scope: Construct, id_: str, *, table: TableGrants, function: Function, topic: Topic, pattern: Mapping[str, Any]
    ) -> None:
        """``pattern`` filters the stream's records. What waits in the queue is where a record stands in the stream, which keeps
        it for 24 hours."""
        super().__init__(scope, id_)
        queue_name = name_of_part(function.base_name, "stream-dlq")
        self.dead_letters = DeadLetterQueue(
            self, "dead_letters", name=queue_name, of=f"the stream of {table.name}", topic=topic
        )
        table.grant_stream_at_runtime(function.role)
        self.dead_letters.grant_send_at_runtime(function.role)
        of = lambda_event_source_mapping
        self.mapping = of.LambdaEventSourceMapping(
            self,
            "mapping",
            function_name=function.arn,
            event_source_arn=table.stream_arn,
            starting_position="TRIM_HORIZON",
            batch_size=100,
            maximum_batching_window_in_seconds=1,
            maximum_retry_attempts=5,
            maximum_record_age_in_seconds=6 * 3600,
            bisect_batch_on_function_error=True,
            function_response_types=["ReportBatchItemFailures"],
            destination_config=of.LambdaEventSourceMappingDestinationConfig(
                on_failure=of.LambdaEventSourceMappingDestinationConfigOnFailure(destination_arn=self.dead_letters.arn)
            ),
            filter_criteria=of.LambdaEventSourceMappingFilterCriteria(
                filter=[of.LambdaEventSourceMappingFilterCriteriaFilter(pattern=json.dumps(pattern))]
            ),
            depends_on=[function.function, self.dead_letters.queue, *function.role.runtime],
        )


# --- Step Functions and EventBridge ---------------------------------------------------------------------------------


class StateMachine(Construct):
    """A standard state machine from an Amazon States Language file, with its role, log group, traces and alarm."""

    _LOG_DELIVERY = (
        "logs:CreateLogDelivery",
        "logs:DeleteLogDelivery",
        "logs:DescribeLogGroups",
        "logs:DescribeResourcePolicies",
        "logs:GetLogDelivery",
        "logs:ListLogDeliveries",
        "logs:PutResourcePolicy",
        "logs:UpdateLogDelivery",
    )
    _X_RAY = (*X_RAY_WRITE, "xray:GetSamplingRules", "xray:GetSamplingTargets")

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        definition: Path,
        substitutions: Mapping[str, str],
        topic: Topic,
        advice: str = "",
    ) -> None:
        """``substitutions`` fill the file's ``${Placeholders}``. Raises ValueError for one too many or too few. ``advice`` ends
        the alarm's description.

        Names: 80 characters. The ARN is built from the name, so that a function the machine calls may know it.
        """
        super().__init__(scope, id_)
        place = Place.around(self)
        full_name = place.name(name, 80)
        self.name = full_name
        self.arn = self.arn_of(place, name)
        # Log delivery writes one shared resource policy, and only this prefix keeps it from growing past its limit
        # (Step Functions developer guide, "Logging using CloudWatch Logs").
        self.log_group = LogGroup(self, "logs", name=f"/aws/vendedlogs/states/{full_name}")
        self.role = Role(
            self, "role", name=name, service="states.amazonaws.com", description=f"Runs the state machine {full_name}"
        )
        self.role.allow_runtime("LogDelivery", self._LOG_DELIVERY, ["*"])  # log delivery knows no narrower resource
        self.role.allow_runtime("Traces", self._X_RAY, ["*"])  # nor does X-Ray
        self.machine = sfn_state_machine.SfnStateMachine(
            self,
            "machine",
            name=full_name,
            role_arn=self.role.arn,
            definition=fill_placeholders(definition, substitutions),
            tracing_configuration=sfn_state_machine.SfnStateMachineTracingConfiguration(enabled=True),
            logging_configuration=sfn_state_machine.SfnStateMachineLoggingConfiguration(
                level="ALL",
                include_execution_data=True,
                log_destination=self.log_group.streams_arn,
            ),
            # Deleting waits for running executions, and these for the function that they have called.
            timeouts=sfn_state_machine.SfnStateMachineTimeouts(delete="20m"),
            depends_on=[*self.role.runtime, self.log_group.group],
        )
        self.succeeded, self.failed, self.timed_out, self.aborted = (
            Metric(metric.lower(), "AWS/States", f"Executions{metric}", {"StateMachineArn": self.arn})
            for metric in ("Succeeded", "Failed", "TimedOut", "Aborted")
        )
        self.alarm = Alarm(
            self,
            "not_succeeded",
            name=name_of_part(name, "executions-failed"),
            description=f"Executions of {full_name} failed, timed out or were aborted. Look: {place.ops('status')}{advice}",
            # "+" takes a missing value for 0. FILL would do so for the latest minute for ever, if metrics come late (CloudWatch
            # user guide, "Using math expressions").
            expression="failed + timedout + aborted",
            metrics=[self.failed, self.timed_out, self.aborted],
            topic=topic,
            above=0,
            period_seconds=60,
            of_periods=5,
            label="executions that did not succeed",
            runbook="executions-failed",
        )

    @staticmethod
    def arn_of(place: Place, name: str) -> str:
        """The ARN of the machine that is, or will be, called ``name``: breaks the cycle machine ↔ function."""
        return place.arn("states", f"stateMachine:{place.name(name, 80)}")

    def grant_start(self, role: Role) -> None:
        role.allow("Start" + _sid(self.node.id), ["states:StartExecution"], [self.arn])

    def grant_describe(self, role: Role) -> None:
        """See how executions of the machine ended."""
        executions = self.arn.replace(":stateMachine:", ":execution:")
        role.allow("Describe" + _sid(self.node.id), ["states:DescribeExecution"], [f"{executions}:*"])

    def grant_own_map_runs(self) -> None:
        """What a Distributed Map takes: its items are executions of the machine itself (Step Functions developer guide,
        "IAM policies for using Distributed Map states"), named ``machine/label:id``."""
        self.grant_start(self.role)
        executions = self.arn.replace(":stateMachine:", ":execution:")
        actions = ["states:DescribeExecution", "states:StopExecution"]
        self.role.allow("OwnMapRuns", actions, [f"{executions}:*", f"{executions}/*"])


def fill_placeholders(definition: Path, substitutions: Mapping[str, str]) -> str:
    """The text of an ASL file with every ``${Placeholder}`` replaced.

    Raises ValueError if the file is not JSON, names a placeholder that has no value, or a value has no placeholder.
    """
    text = definition.read_text(encoding="utf-8")
    wanted = set(re.findall(r"\$\{(\w+)\}", text))
    if wanted != set(substitutions):
        raise ValueError(
            f"{definition.name}: placeholders {sorted(wanted)} and substitutions {sorted(substitutions)} must be the same"
        )
    try:
        document = json.loads(text)  # compact and validated: a change of white space in the file is no change of the machine
    except ValueError as error:
        raise ValueError(f"{definition.name}: is not JSON: {error}") from None
    compact = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return re.sub(r"\$\{(\w+)\}", lambda match: substitutions[match[1]], compact)


class EventRule(Construct):
    """An EventBridge rule that starts a state machine; what cannot be delivered waits in a dead-letter queue (C10)."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        description: str,
        pattern: Mapping[str, Any],
        target: StateMachine,
        topic: Topic,
    ) -> None:
        """``pattern`` is matched on the default event bus. Names: 64 characters."""
        super().__init__(scope, id_)
        place = Place.around(self)
        full_name = place.name(name)
        rule_arn = place.arn("events", f"rule/{full_name}")
        rule = cloudwatch_event_rule.CloudwatchEventRule(
            self, "rule", name=full_name, description=description, event_pattern=json.dumps(pattern)
        )
        self.dead_letters = DeadLetterQueue(
            self, "dead_letters", name=name_of_part(name, "dlq"), of=f"the rule {full_name}", topic=topic
        )
        self.dead_letters.accept_from_rule(rule_arn)
        role = Role(
            self,
            "role",
            name=name_of_part(name, "rule"),
            service="events.amazonaws.com",
            description=f"Delivers for the rule {full_name}",
        )
        target.grant_start(role)
        self.target = cloudwatch_event_target.CloudwatchEventTarget(
            self,
            "target",
            rule=rule.name,
            arn=target.machine.arn,
            role_arn=role.arn,
            dead_letter_config=cloudwatch_event_target.CloudwatchEventTargetDeadLetterConfig(arn=self.dead_letters.arn),
            retry_policy=cloudwatch_event_target.CloudwatchEventTargetRetryPolicy(
                maximum_event_age_in_seconds=DAY, maximum_retry_attempts=185
            ),
            depends_on=[self.dead_letters.queue, *role.policies],  # the queue's creation also gives IAM time to spread the role
        )


class Schedule(Construct):
    """An EventBridge rule that invokes a function again and again."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        description: str,
        rate: str,
        target: Function,
        after: Sequence[TerraformResource] = (),
    ) -> None:
        """``rate`` as EventBridge writes it, such as ``1 minute``; ``after`` must stand before the first beat. The function's own
        dead-letter queue takes what fails, and the next beat comes anyway: nothing is tried again for long. Names: 64
        characters."""
        super().__init__(scope, id_)
        place = Place.around(self)
        full_name = place.name(name)
        rule = cloudwatch_event_rule.CloudwatchEventRule(
            self, "rule", name=full_name, description=description, schedule_expression=f"rate({rate})"
        )
        permission = target.permit(
            "events.amazonaws.com", source_arn=place.arn("events", f"rule/{full_name}"), source_account=place.account_id
        )
        target.dead_letters.accept_from_rule(place.arn("events", f"rule/{full_name}"))
        cloudwatch_event_target.CloudwatchEventTarget(
            self,
            "target",
            rule=rule.name,
            arn=target.arn,
            dead_letter_config=cloudwatch_event_target.CloudwatchEventTargetDeadLetterConfig(arn=target.dead_letters.arn),
            retry_policy=cloudwatch_event_target.CloudwatchEventTargetRetryPolicy(
                maximum_event_age_in_seconds=60, maximum_retry_attempts=1
            ),
            depends_on=[permission, *after],
        )


class NotSucceededRule(EventRule):
    """Hands every execution that failed, timed out or was aborted to another machine.

    No catch sees a time-out of the whole execution, an abort, ``States.DataLimitExceeded`` or ``States.Runtime``: only the
    status event does (Step Functions developer guide, "Handling errors"). ``target`` finds out what is already recorded.
    """

    def __init__(
        self, scope: Construct, id_: str, *, name: str, description: str, of: StateMachine, target: StateMachine, topic: Topic
    ) -> None:
        """Names: 64 characters."""
        pattern = {
            "source": ["aws.states"],
            "detail-type": ["Step Functions Execution Status Change"],
            "detail": {"stateMachineArn": [of.arn], "status": ["FAILED", "TIMED_OUT", "ABORTED"]},
        }
        super().__init__(scope, id_, name=name, description=description, pattern=pattern, target=target, topic=topic)
