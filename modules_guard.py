"""Constructs that guard what the others build: firewall, audit trail, budget, private network. Same rules as modules.py."""

from __future__ import annotations

import aws_provider  # noqa: F401  (first: it works before CDKTF is imported, or not at all)

# isort: split
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cdktf import Fn, TerraformResourceLifecycle
from cdktf_cdktf_provider_aws import (
    budgets_budget,
    cloudtrail,
    cloudwatch_log_resource_policy,
    data_aws_availability_zones,
    default_security_group,
    flow_log,
    kms_alias,
    kms_key,
    route_table,
    route_table_association,
    security_group,
    subnet,
    vpc,
    vpc_endpoint,
    vpc_security_group_egress_rule,
    vpc_security_group_ingress_rule,
    wafv2_web_acl,
    wafv2_web_acl_association,
    wafv2_web_acl_logging_configuration,
)
from constructs import Construct

from modules import (
    KEY_ADMINISTRATION,
    AccessLogBucket,
    Alarm,
    Bucket,
    Condition,
    LifecycleRule,
    LogGroup,
    LogMetric,
    Metric,
    Place,
    PolicyDocument,
    Principals,
    Role,
    Topic,
)

# --- Firewall -------------------------------------------------------------------------------------------------------


class WebAcl(Construct):
    """A regional web ACL: AWS's rules against known attacks, and a limit of requests per address (P8a).

    What it blocks is logged, without API keys. It inspects the first 16 KB of a body (WAF developer guide, "Body inspection
    limits"). ``AWSManagedRulesCommonRuleSet`` also blocks query strings above 2,048 bytes and requests without a User-Agent.
    """

    _MANAGED: Mapping[str, Sequence[str]] = {
        "AWSManagedRulesAmazonIpReputationList": (),
        "AWSManagedRulesKnownBadInputsRuleSet": (),
        # The rule blocks bodies above 8 KB; an inline image is larger, and API Gateway refuses what is above 10 MB.
        "AWSManagedRulesCommonRuleSet": ("SizeRestrictions_BODY",),
    }
    """Rule groups, cheapest verdict first, and the rules of each that only count."""

    def __init__(self, scope: Construct, id_: str, *, name: str, requests_per_five_minutes: int) -> None:
        """``requests_per_five_minutes`` is the limit of each address, from 10 on. Names: 114 characters, since the log group
        must be called ``aws-waf-logs-NAME``."""
        super().__init__(scope, id_)
        place = Place.around(self)
        self.name = place.name(name, 114)
        # The provider's classes take anything for a statement: its keys are Terraform's own.
        rate = {"aggregate_key_type": "IP", "evaluation_window_sec": 300, "limit": requests_per_five_minutes}
        of = wafv2_web_acl
        rules = [
            of.Wafv2WebAclRule(
                name="requests-per-address",
                priority=0,
                action=of.Wafv2WebAclRuleAction(block=of.Wafv2WebAclRuleActionBlock()),
                statement={"rate_based_statement": rate},
                visibility_config=of.Wafv2WebAclRuleVisibilityConfig(**self._visible("requests-per-address")),
            ),
            *(
                of.Wafv2WebAclRule(
                    name=group,
                    priority=priority,
                    override_action=of.Wafv2WebAclRuleOverrideAction(none=of.Wafv2WebAclRuleOverrideActionNone()),
                    statement={
                        "managed_rule_group_statement": {
                            "vendor_name": "AWS",
                            "name": group,
                            "rule_action_override": [{"name": rule, "action_to_use": {"count": {}}} for rule in counted],
                        }
                    },
                    visibility_config=of.Wafv2WebAclRuleVisibilityConfig(**self._visible(group)),
                )
                for priority, (group, counted) in enumerate(self._MANAGED.items(), start=1)
            ),
        ]
        self._acl = of.Wafv2WebAcl(
            self,
            "acl",
            name=self.name,
            description=f"Guards {self.name}",
            scope="REGIONAL",
            default_action=of.Wafv2WebAclDefaultAction(allow=of.Wafv2WebAclDefaultActionAllow()),
            rule=rules,
            visibility_config=of.Wafv2WebAclVisibilityConfig(**self._visible(self.name)),
        )
        self.arn = self._acl.arn
        dimensions = {"WebACL": self.name, "Region": place.region, "Rule": "ALL"}
        self.blocked = Metric("blocked", "AWS/WAFV2", "BlockedRequests", dimensions)
        self.allowed = Metric("allowed", "AWS/WAFV2", "AllowedRequests", dimensions)

        self.log_group = LogGroup(self, "logs", name=f"aws-waf-logs-{self.name}")
        # Without it AWS adds every web ACL of the account to one shared policy, until that is full (5,120 characters).
        delivery = PolicyDocument(self, "delivery")
        delivery.allow(
            "Deliver",
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            [self.log_group.streams_arn],
            principals=Principals(type="Service", identifiers=["delivery.logs.amazonaws.com"]),
            conditions=[
                Condition(test="StringEquals", variable="aws:SourceAccount", values=[place.account_id]),
                Condition(test="ArnLike", variable="aws:SourceArn", values=[place.arn("logs", "*")]),
            ],
        )
        policy = cloudwatch_log_resource_policy.CloudwatchLogResourcePolicy(
            self, "delivery_policy", policy_name=self.log_group.name, policy_document=delivery.json
        )
        by = wafv2_web_acl_logging_configuration
        by.Wafv2WebAclLoggingConfiguration(
            self,
            "logging",
            resource_arn=self.arn,
            log_destination_configs=[self.log_group.group.arn],
            redacted_fields=[
                by.Wafv2WebAclLoggingConfigurationRedactedFields(
                    single_header=by.Wafv2WebAclLoggingConfigurationRedactedFieldsSingleHeader(name=header)
                )
                for header in ("x-api-key", "authorization")
            ],
            # What is let through stands in the API's own access logs.
            logging_filter=by.Wafv2WebAclLoggingConfigurationLoggingFilter(
                default_behavior="DROP",
                filter=[
                    by.Wafv2WebAclLoggingConfigurationLoggingFilterFilter(
                        behavior="KEEP",
                        requirement="MEETS_ANY",
                        condition=[
                            by.Wafv2WebAclLoggingConfigurationLoggingFilterFilterCondition(
                                action_condition=by.Wafv2WebAclLoggingConfigurationLoggingFilterFilterConditionActionCondition(
                                    action="BLOCK"
                                )
                            )
                        ],
                    )
                ],
            ),
            depends_on=[policy],
        )

    def protect(self, resource_arn: str, id_: str) -> None:
        """Put the ACL before a regional resource, such as ``stage.arn`` of a REST API."""
        wafv2_web_acl_association.Wafv2WebAclAssociation(
            self, f"before_{id_}", resource_arn=resource_arn, web_acl_arn=self.arn
        )

    @staticmethod
    def _visible(metric: str) -> dict[str, Any]:
        return {"metric_name": metric, "cloudwatch_metrics_enabled": True, "sampled_requests_enabled": False}


# --- Audit ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Watched:
    """Calls that somebody should be told about: more than ``above`` in five minutes."""

    name: str
    what: str
    pattern: str
    above: int = 0


class Trail(Construct):
    """The account's calls to AWS in every region, kept in a bucket under a key of its own, with alarms (P7, P8a).

    A deployment changes roles and buckets: it raises those two alarms, too. Management events of an account's first trail are
    free of charge, those of a second are not: one environment of an account needs it.
    """

    # After the CIS AWS Foundations Benchmark, section "Monitoring", which lists single calls of IAM and S3; these patterns
    # hold all that change something. Objects' calls do not count as denied: each expired link would.
    _WATCHED = (
        _Watched(
            "denied-calls",
            "Many calls to AWS were denied: somebody tries doors, or something lacks a right",
            '{ ($.managementEvent IS TRUE) && (($.errorCode = "*UnauthorizedOperation") || ($.errorCode = "AccessDenied*")) }',
            above=10,
        ),
        _Watched(
            "iam-changes",
            "Roles, users or policies were changed",
            '{ ($.eventSource = "iam.amazonaws.com") && ($.readOnly IS FALSE) }',
        ),
        _Watched(
            "bucket-policy-changes",
            "Policy or configuration of a bucket was changed, or a bucket removed",
            '{ ($.eventSource = "s3.amazonaws.com") && (($.eventName = "PutBucket*") || ($.eventName = "DeleteBucket*")) }',
        ),
        _Watched(
            "root-use",
            "The account's root user was used",
            '{ ($.userIdentity.type = "Root") && ($.userIdentity.invokedBy NOT EXISTS)'
            ' && ($.eventType != "AwsServiceEvent") }',
        ),
    )

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        bucket_name: str,
        access_logs: AccessLogBucket,
        topic: Topic,
        objects_of: Bucket | None = None,
        keep_days: int = 365,
    ) -> None:
        """``bucket_name`` is final, since bucket names are global. ``objects_of`` is a bucket whose objects' reads and writes are
        recorded as well, at a price for each. ``keep_days`` counts for the bucket; what the alarms read stays as long as other
        logs. Names: 50 characters."""
        super().__init__(scope, id_)
        place = Place.around(self)
        self.name = place.name(name, 50)
        self.arn = place.arn("cloudtrail", f"trail/{self.name}")
        by_trail: dict[str, Any] = {"principals": Principals(type="Service", identifiers=["cloudtrail.amazonaws.com"])}
        own_trail = Condition(test="StringEquals", variable="aws:SourceArn", values=[self.arn])

        key_policy = PolicyDocument(self, "key_policy")
        # As for a topic's key: "*" is this key alone, and the account may administer and delegate it. Reading the trail takes
        # the key beside the bucket, which a right to read buckets does not give.
        key_policy.allow(
            "AccountAdministersAndDelegates",
            KEY_ADMINISTRATION,
            ["*"],
            principals=Principals(type="AWS", identifiers=[f"arn:{place.partition}:iam::{place.account_id}:root"]),
        )
        every_region = f"arn:{place.partition}:cloudtrail:*:{place.account_id}:trail/{self.name}"
        encrypting = Condition(test="StringLike", variable="kms:EncryptionContext:aws:cloudtrail:arn", values=[every_region])
        key_policy.allow("TrailEncrypts", ["kms:GenerateDataKey"], ["*"], conditions=[own_trail, encrypting], **by_trail)
        key_policy.allow("TrailSeesItsKey", ["kms:DescribeKey"], ["*"], conditions=[own_trail], **by_trail)
        key = kms_key.KmsKey(
            self,
            "key",
            description=f"Encrypts the trail {self.name}",
            enable_key_rotation=True,
            deletion_window_in_days=30 if place.settings.keeps_data else 7,
            policy=key_policy.json,
        )
        kms_alias.KmsAlias(self, "key_alias", name=f"alias/{self.name}", target_key_id=key.key_id)

        self.bucket = Bucket(
            self,
            "bucket",
            name=bucket_name,
            access_logs=access_logs,
            lifecycle=[
                LifecycleRule("expire", expire_after_days=keep_days, old_versions_after_days=30, abort_uploads_after_days=1)
            ],
        )
        self.bucket.policy.allow("TrailLooks", ["s3:GetBucketAcl"], [self.bucket.arn], conditions=[own_trail], **by_trail)
        self.bucket.policy.allow(
            "TrailWrites",
            ["s3:PutObject"],
            [f"{self.bucket.arn}/AWSLogs/{place.account_id}/*"],
            conditions=[own_trail, Condition(test="StringEquals", variable="s3:x-amz-acl", values=["bucket-owner-full-control"])],
            **by_trail,
        )

        self.log_group = LogGroup(self, "logs", name=f"/aws/cloudtrail/{self.name}")
        role = Role(
            self,
            "role",
            name=f"{name}-trail",
            service="cloudtrail.amazonaws.com",
            description=f"Delivers the trail {self.name} to CloudWatch Logs",
        )
        stream = f"{place.account_id}_CloudTrail_{place.region}*"  # the names that CloudTrail gives its streams
        role.allow_runtime(
            "Deliver",
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            [place.arn("logs", f"log-group:{self.log_group.name}:log-stream:{stream}")],
        )
        selector = cloudtrail.CloudtrailEventSelector(
            include_management_events=True,
            read_write_type="All",
            data_resource=[
                cloudtrail.CloudtrailEventSelectorDataResource(type="AWS::S3::Object", values=[f"{objects_of.arn}/"])
            ]
            if objects_of
            else None,
        )
        cloudtrail.Cloudtrail(
            self,
            "trail",
            name=self.name,
            s3_bucket_name=self.bucket.id,
            kms_key_id=key.arn,
            is_multi_region_trail=True,
            include_global_service_events=True,
            enable_log_file_validation=True,
            enable_logging=True,
            cloud_watch_logs_group_arn=f"{self.log_group.group.arn}:*",
            cloud_watch_logs_role_arn=role.arn,
            event_selector=[selector],
            depends_on=[self.bucket.attached_policy, *role.runtime],  # CloudTrail tries both before it makes the trail
        )
        for watched in self._WATCHED:
            self._watch(name, watched, topic)

    def _watch(self, name: str, watched: _Watched, topic: Topic) -> None:
        place = Place.around(self)
        id_ = watched.name.replace("-", "_")
        calls = LogMetric(
            self,
            f"{id_}_filter",
            name=watched.name,
            namespace=f"CloudTrail/{self.name}",
            group=self.log_group,
            pattern=watched.pattern,
        )
        Alarm(
            self,
            id_,
            name=f"{name}-{watched.name}",
            description=f"{watched.what}. Look: aws logs tail {self.log_group.name} --region {place.region} --since 1h "
            f"--filter-pattern '{watched.pattern}'",
            expression="calls",
            metrics=[calls.metric.named("calls")],
            topic=topic,
            above=watched.above,
            period_seconds=300,
            of_periods=4,  # CloudTrail delivers within about five minutes of the call (its user guide), not always
            label="calls",
            runbook="audit-trail",
        )


# --- Cost -----------------------------------------------------------------------------------------------------------


class Budget(Construct):
    """A monthly budget in US dollars; the topic is told at 80 % spent and at 100 % foreseen (P7)."""

    def __init__(
        self, scope: Construct, id_: str, *, name: str, monthly_usd: Decimal, topic: Topic, project: str | None = None
    ) -> None:
        """``project`` None counts the whole account. Else only what carries it as tag ``Project``: **the tag must first be
        activated** as a cost allocation tag (Billing console, Cost allocation tags), and counts from then on; until then the
        budget stays at 0 and never alerts. Names: 100 characters."""
        super().__init__(scope, id_)
        place = Place.around(self)
        self.name = place.name(name, 100)
        accepts = topic.accept_from_budgets()
        of = budgets_budget
        of.BudgetsBudget(
            self,
            "budget",
            name=self.name,
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=str(monthly_usd),
            limit_unit="USD",
            cost_filter=[of.BudgetsBudgetCostFilter(name="TagKeyValue", values=[f"user:Project${project}"])] if project else None,
            notification=[
                of.BudgetsBudgetNotification(
                    notification_type=kind,
                    threshold=threshold,
                    threshold_type="PERCENTAGE",
                    comparison_operator="GREATER_THAN",
                    subscriber_sns_topic_arns=[topic.arn],
                )
                for kind, threshold in (("ACTUAL", 80), ("FORECASTED", 100))
            ],
            depends_on=[accepts],
        )


# --- Network --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Endpoint:
    """Calls that may leave a private network for one AWS service, such as ``s3`` or ``rekognition``.

    ``actions`` on ``resources``, by principals of this account; several of one service add up.
    """

    service: str
    actions: Sequence[str]
    resources: Sequence[str]


class PrivateNetwork(Construct):
    """A VPC without a way to the internet: private subnets in two zones, and endpoints to the AWS services named (P8a).

    Functions in it reach these services and nothing else. S3 and DynamoDB have gateway endpoints, free of charge; each other
    service an interface endpoint in both zones, billed by the hour. Lambda itself sends logs and dead letters, on its own way.
    """

    _GATEWAYS = ("s3", "dynamodb")
    _HTTPS: Mapping[str, Any] = {"ip_protocol": "tcp", "from_port": 443, "to_port": 443}
    ATTACH = (
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
    )
    """What Lambda needs to attach a function to the network (its developer guide, "Giving Lambda functions access to resources
    in an Amazon VPC")."""

    def __init__(
        self, scope: Construct, id_: str, *, name: str, endpoints: Sequence[Endpoint], cidr: str = "10.20.0.0/24"
    ) -> None:
        """``cidr`` is split in two; AWS keeps five addresses of each half. Raises ValueError if it is not a network of /16 to
        /27. Names: 50 characters."""
        super().__init__(scope, id_)
        place = Place.around(self)
        full_name = place.name(name, 50)
        network = ipaddress.IPv4Network(cidr)
        if not 16 <= network.prefixlen <= 27:
            raise ValueError(f"{cidr}: a VPC of two subnets needs a prefix of /16 to /27")
        vpc_ = vpc.Vpc(self, "vpc", cidr_block=cidr, enable_dns_support=True, enable_dns_hostnames=True)
        default_security_group.DefaultSecurityGroup(self, "default_group", vpc_id=vpc_.id)  # adopted, and left without rules
        zones = data_aws_availability_zones.DataAwsAvailabilityZones(
            self,
            "zones",
            state="available",
            exclude_zone_ids=["use1-az3"],  # an old zone of us-east-1, without newer Lambda and without most endpoints
            # Local and wavelength zones have neither Lambda nor these endpoints.
            filter=[
                data_aws_availability_zones.DataAwsAvailabilityZonesFilter(
                    name="opt-in-status", values=["opt-in-not-required"]
                )
            ],
        )
        routes = route_table.RouteTable(self, "routes", vpc_id=vpc_.id)
        self.subnet_ids: list[str] = []
        for number, block in enumerate(network.subnets(prefixlen_diff=1)):
            private = subnet.Subnet(
                self,
                f"private{number}",
                vpc_id=vpc_.id,
                cidr_block=str(block),
                availability_zone=Fn.element(zones.names, number),
                map_public_ip_on_launch=False,
                # A zone that AWS adds must not move subnets.
                lifecycle=TerraformResourceLifecycle(ignore_changes=["availability_zone"]),
            )
            route_table_association.RouteTableAssociation(
                self, f"routes{number}", subnet_id=private.id, route_table_id=routes.id
            )
            self.subnet_ids.append(private.id)

        functions = self._group("functions", vpc_, f"{full_name}-functions", "Functions: out to the endpoints, nothing in")
        inside = self._group("endpoints", vpc_, f"{full_name}-endpoints", "Endpoints: in from the functions, nothing out")
        self.security_group_ids = [functions.id]
        vpc_security_group_egress_rule.VpcSecurityGroupEgressRule(
            self,
            "functions_to_endpoints",
            security_group_id=functions.id,
            referenced_security_group_id=inside.id,
            description="HTTPS to the interface endpoints",
            **self._HTTPS,
        )
        vpc_security_group_ingress_rule.VpcSecurityGroupIngressRule(
            self,
            "endpoints_from_functions",
            security_group_id=inside.id,
            referenced_security_group_id=functions.id,
            description="HTTPS from the functions",
            **self._HTTPS,
        )
        for service in dict.fromkeys(each.service for each in endpoints):
            policy = PolicyDocument(self, f"{service}_policy")
            for each in endpoints:
                if each.service == service:
                    policy.allow(
                        "Call",
                        each.actions,
                        each.resources,
                        # A gateway endpoint knows no other way to name roles than everybody and a condition (VPC user guide).
                        principals=Principals(type="*", identifiers=["*"]),
                        conditions=[
                            Condition(test="StringEquals", variable="aws:PrincipalAccount", values=[place.account_id])
                        ],
                    )
            gateway = service in self._GATEWAYS
            placed: dict[str, Any] = (
                {"vpc_endpoint_type": "Gateway", "route_table_ids": [routes.id]}
                if gateway
                else {
                    "vpc_endpoint_type": "Interface",
                    "subnet_ids": self.subnet_ids,
                    "security_group_ids": [inside.id],
                    "private_dns_enabled": True,
                }
            )
            endpoint = vpc_endpoint.VpcEndpoint(
                self,
                f"{service}_endpoint",
                vpc_id=vpc_.id,
                service_name=f"com.amazonaws.{place.region}.{service}",
                policy=policy.json,
                **placed,
            )
            if gateway:
                vpc_security_group_egress_rule.VpcSecurityGroupEgressRule(
                    self,
                    f"functions_to_{service}",
                    security_group_id=functions.id,
                    prefix_list_id=endpoint.prefix_list_id,
                    description=f"HTTPS to {service} through its gateway endpoint",
                    **self._HTTPS,
                )
        self._log_flows(vpc_, name, full_name)

    def grant_attach_at_runtime(self, role: Role) -> None:
        """Let Lambda put network interfaces into the network for the function that runs in ``role``."""
        role.allow_runtime("Network", self.ATTACH, ["*"])  # interfaces get their ids when they are made

    def _group(self, id_: str, vpc_: vpc.Vpc, name: str, description: str) -> security_group.SecurityGroup:
        """A security group without rules: Terraform also takes away the one that AWS gives it."""
        return security_group.SecurityGroup(self, id_, vpc_id=vpc_.id, name=name, description=description)

    def _log_flows(self, vpc_: vpc.Vpc, name: str, full_name: str) -> None:
        self.log_group = LogGroup(self, "flow_logs", name=f"/aws/vpc/{full_name}")
        role = Role(
            self,
            "flow_logs_role",
            name=f"{name}-flow-logs",
            service="vpc-flow-logs.amazonaws.com",
            description=f"Delivers the flow logs of {full_name}",
        )
        actions = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
        role.allow_runtime("Deliver", actions, [self.log_group.streams_arn])
        role.allow_runtime("Find", ["logs:DescribeLogGroups"], ["*"])  # knows no narrower resource
        flow_log.FlowLog(
            self,
            "flows",
            vpc_id=vpc_.id,
            traffic_type="ALL",
            max_aggregation_interval=600,
            log_destination_type="cloud-watch-logs",
            log_destination=self.log_group.group.arn,
            iam_role_arn=role.arn,
            depends_on=role.runtime,
        )
