"""Each construct of modules_guard.py alone: two of them in one stack, what it forces, what it refuses."""

import inspect
import re
from decimal import Decimal

import pytest
from constructs import Construct

import modules_guard
from checks import iam
from modules import AccessLogBucket, AwsStack, Bucket, Role, Topic
from modules_guard import Budget, Endpoint, PrivateNetwork, Trail, WebAcl
from settings import CommonSettings
from tests.synth.reading import Synthesised, app

ACCOUNT = "111122223333"
EVERYBODY = [{"type": "*", "identifiers": ["*"]}]
S3 = Endpoint("s3", ["s3:GetObject"], ["arn:aws:s3:::data/*"])
TABLES = Endpoint("dynamodb", ["dynamodb:PutItem"], [f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/t"])
REKOGNITION = Endpoint("rekognition", ["rekognition:DetectLabels"], ["*"])


class Parts:
    """A stack and the parts that constructs want; each maker takes a number and makes another instance."""

    def __init__(self, **settings):
        self.stack = AwsStack(app(), "test", settings=CommonSettings(**settings), project="Test")
        self.topic = Topic(self.stack, "topic", name="topic")
        self.logs = AccessLogBucket(self.stack, "logs", name="logs")

    def synthesise(self):
        return Synthesised.of(self.stack)

    def web_acl(self, n=1, **properties):
        return WebAcl(self.stack, f"acl{n}", name=f"acl{n}", requests_per_five_minutes=500, **properties)

    def trail(self, n=1, **properties):
        return Trail(
            self.stack,
            f"trail{n}",
            name=f"trail{n}",
            bucket_name=f"trail-bucket{n}",
            access_logs=self.logs,
            topic=self.topic,
            **properties,
        )

    def budget(self, n=1, **properties):
        return Budget(
            self.stack, f"budget{n}", name=f"budget{n}", monthly_usd=Decimal("12.50"), topic=self.topic, **properties
        )

    def private_network(self, n=1, endpoints=(S3, TABLES, REKOGNITION), **properties):
        return PrivateNetwork(self.stack, f"net{n}", name=f"net{n}", endpoints=endpoints, **properties)


MAKERS = {WebAcl: Parts.web_acl, Trail: Parts.trail, Budget: Parts.budget, PrivateNetwork: Parts.private_network}


@pytest.fixture
def parts():
    return Parts()


def test_every_construct_has_a_maker():
    """C2: each construct of modules_guard.py has a test with two instances in one stack."""
    constructs = {
        each
        for each in vars(modules_guard).values()
        if inspect.isclass(each) and issubclass(each, Construct) and each.__module__ == "modules_guard"
    }
    assert constructs == set(MAKERS)


@pytest.mark.parametrize("construct", MAKERS, ids=lambda each: each.__name__)
def test_two_instances_in_one_stack(parts, construct):
    """C2: neither ids nor names clash, and the second adds as many resources as the first."""

    def count():
        found = parts.synthesise()
        return {kind: len(found.all(kind)) for kind in found.kinds()}

    before = count()
    MAKERS[construct](parts, 1)
    between = count()
    MAKERS[construct](parts, 2)
    after = count()
    assert after != before
    for kind, number in after.items():
        assert number - between.get(kind, 0) == between.get(kind, 0) - before.get(kind, 0), kind
    found = parts.synthesise()
    for kind in found.kinds():
        for field in ("name", "alarm_name", "bucket", "policy_name"):
            names = [body[field] for body in found.all(kind).values() if field in body and not kind.startswith("aws_s3_bucket_")]
            if kind != "aws_iam_role_policy":
                assert len(names) == len(set(names)), f"{kind}: {names}"


@pytest.mark.parametrize("construct", MAKERS, ids=lambda each: each.__name__)
def test_permissions_are_exact(parts, construct):
    """C8, P8a: what `make lint` asks of every stack."""
    MAKERS[construct](parts)
    assert iam.faults(parts.synthesise().json, "test") == []


@pytest.mark.parametrize("construct", MAKERS, ids=lambda each: each.__name__)
def test_names_carry_the_suffix(construct):
    """C5c: two environments of one account share no name."""
    parts = Parts(environment_suffix="dev")
    MAKERS[construct](parts)
    for kind, path, body in parts.synthesise().every():
        named = body.get("name") or body.get("alarm_name")
        if named and kind not in ("aws_iam_role_policy", "aws_wafv2_web_acl") and not kind.startswith("aws_s3"):
            assert "-dev" in named, f"{kind} {path}: {named}"


# --- firewall -------------------------------------------------------------------------------------------------------


def rules(acl):
    return {rule["name"]: rule for rule in sorted(acl["rule"], key=lambda rule: rule["priority"])}


def test_acl_blocks_known_attacks_and_limits_each_address(parts):
    """P8a: three groups of AWS that block, and a limit; all counted and sampled."""
    parts.web_acl()
    acl = parts.synthesise().one("aws_wafv2_web_acl")
    assert acl["scope"] == "REGIONAL"
    assert acl["default_action"] == {"allow": {}}
    rate = rules(acl).pop("requests-per-address")
    assert rate["action"] == {"block": {}}
    assert rate["statement"]["rate_based_statement"] == {
        "aggregate_key_type": "IP", "evaluation_window_sec": 300, "limit": 500,
    }
    groups = {name: rule for name, rule in rules(acl).items() if name != "requests-per-address"}
    assert set(groups) == {
        "AWSManagedRulesAmazonIpReputationList", "AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet",
    }
    for name, rule in groups.items():
        assert rule["override_action"] == {"none": {}}, "count would let everything through"
        assert rule["statement"]["managed_rule_group_statement"]["name"] == name
    assert len({rule["priority"] for rule in acl["rule"]}) == 4
    for visible in (acl, *acl["rule"]):
        assert visible["visibility_config"]["cloudwatch_metrics_enabled"] is True


def test_only_large_bodies_are_let_through(parts):
    """P1b, P8a: an inline image is larger than 8 KB; no other rule is weakened."""
    parts.web_acl()
    weakened = {
        (name, override["name"], *override["action_to_use"])
        for name, rule in rules(parts.synthesise().one("aws_wafv2_web_acl")).items()
        for override in rule["statement"].get("managed_rule_group_statement", {}).get("rule_action_override", [])
    }
    assert weakened == {("AWSManagedRulesCommonRuleSet", "SizeRestrictions_BODY", "count")}


def test_what_is_blocked_is_logged_without_keys(parts):
    """P8a: to a group that WAF accepts by its name, by a policy for this account's deliveries only."""
    parts.web_acl()
    found = parts.synthesise()
    logging = found.readable(found.one("aws_wafv2_web_acl_logging_configuration"))
    assert logging["log_destination_configs"] == ["<aws_cloudwatch_log_group acl1/logs/group arn>"]
    assert found.one("aws_cloudwatch_log_group", "acl1")["name"] == "aws-waf-logs-acl1"
    assert found.one("aws_cloudwatch_log_group", "acl1")["retention_in_days"] == 90
    assert {each["single_header"]["name"] for each in logging["redacted_fields"]} == {"x-api-key", "authorization"}
    assert logging["logging_filter"]["default_behavior"] == "DROP"
    (kept,) = logging["logging_filter"]["filter"]
    assert (kept["behavior"], kept["condition"]) == ("KEEP", [{"action_condition": {"action": "BLOCK"}}])
    policy = found.one("aws_cloudwatch_log_resource_policy")
    assert logging["depends_on"] == [found.address("aws_cloudwatch_log_resource_policy", "acl1/delivery_policy")]
    (statement,) = found.readable(found.statements(policy["policy_document"]))
    assert statement["resources"] == [f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:aws-waf-logs-acl1:*"]
    assert {each["variable"]: each["values"] for each in statement["condition"]} == {
        "aws:SourceAccount": [ACCOUNT], "aws:SourceArn": [f"arn:aws:logs:us-east-1:{ACCOUNT}:*"],
    }


def test_acl_protects_what_it_is_put_before(parts):
    """P8a: without ``protect`` it stands before nothing."""
    acl = parts.web_acl()
    assert not parts.synthesise().all("aws_wafv2_web_acl_association")
    for stage in ("one", "two"):
        acl.protect(f"arn:aws:apigateway:us-east-1::/restapis/{stage}/stages/v1", stage)
    found = parts.synthesise()
    associations = [found.readable(body) for body in found.all("aws_wafv2_web_acl_association").values()]
    assert {each["web_acl_arn"] for each in associations} == {"<aws_wafv2_web_acl acl1/acl arn>"}
    assert {each["resource_arn"].split("/")[2] for each in associations} == {"one", "two"}


def test_metric_of_blocked_requests_is_the_one_that_waf_writes(parts):
    """P7: its dimension WebACL is the metric name of the ACL's visibility."""
    acl = parts.web_acl()
    body = parts.synthesise().one("aws_wafv2_web_acl")
    assert acl.blocked.dimensions == {
        "WebACL": body["visibility_config"]["metric_name"], "Region": "us-east-1", "Rule": "ALL",
    }


# --- audit ----------------------------------------------------------------------------------------------------------


TRAIL = f"arn:aws:cloudtrail:us-east-1:{ACCOUNT}:trail/trail1"


def test_trail_covers_every_region_and_proves_its_files(parts):
    """P7, P8a: one trail for all regions and the global services, validated, under a key of its own."""
    parts.trail()
    found = parts.synthesise()
    trail = found.readable(found.one("aws_cloudtrail"))
    assert all(trail[each] is True for each in (
        "is_multi_region_trail", "include_global_service_events", "enable_log_file_validation", "enable_logging",
    ))
    assert trail["kms_key_id"] == "<aws_kms_key trail1/key arn>"
    assert found.one("aws_kms_key", "trail1")["enable_key_rotation"] is True
    assert trail["event_selector"] == [{"include_management_events": True, "read_write_type": "All"}]
    assert set(trail["depends_on"]) == {
        found.address("aws_s3_bucket_policy", "trail1/bucket/bucket_policy"),
        found.address("aws_iam_role_policy", "trail1/role/runtime_policy"),
    }


def test_trail_may_record_the_objects_of_one_bucket(parts):
    """P8a: of that bucket, and of no other."""
    data = Bucket(parts.stack, "data", name="data", access_logs=parts.logs, lifecycle=[])
    parts.trail(objects_of=data)
    found = parts.synthesise()
    (selector,) = found.readable(found.one("aws_cloudtrail"))["event_selector"]
    assert selector["include_management_events"] is True
    assert selector["data_resource"] == [{"type": "AWS::S3::Object", "values": ["arn:aws:s3:::data/"]}]


def test_only_this_trail_writes_its_bucket_and_uses_its_key(parts):
    """P8a: each statement for CloudTrail names the trail; its place in the bucket is its account's."""
    parts.trail()
    found = parts.synthesise()
    of_trail = [{"type": "Service", "identifiers": ["cloudtrail.amazonaws.com"]}]
    statements = [
        statement
        for kind in ("aws_s3_bucket_policy", "aws_kms_key")
        for statement in found.readable(found.statements(found.one(kind, "trail1")["policy"]))
        if statement.get("principals") == of_trail
    ]
    assert {(action, resource) for each in statements for action in each["actions"] for resource in each["resources"]} == {
        ("s3:GetBucketAcl", "arn:aws:s3:::trail-bucket1"),
        ("s3:PutObject", f"arn:aws:s3:::trail-bucket1/AWSLogs/{ACCOUNT}/*"),
        ("kms:GenerateDataKey", "*"),
        ("kms:DescribeKey", "*"),
    }
    for each in statements:
        assert {"test": "StringEquals", "variable": "aws:SourceArn", "values": [TRAIL]} in each["condition"]
    (encrypts,) = [each for each in statements if each["actions"] == ["kms:GenerateDataKey"]]
    context = {"test": "StringLike", "variable": "kms:EncryptionContext:aws:cloudtrail:arn"}
    assert {**context, "values": [TRAIL.replace("us-east-1", "*")]} in encrypts["condition"]


def test_trails_bucket_keeps_and_is_logged(parts):
    """P8a: kept for the time that is asked, with access logs as every bucket of data."""
    parts.trail(keep_days=400)
    found = parts.synthesise()
    (rule,) = found.one("aws_s3_bucket_lifecycle_configuration", "trail1")["rule"]
    assert rule["expiration"] == [{"days": 400}]
    assert found.one("aws_s3_bucket_logging", "trail1/bucket")["target_prefix"] == "trail-bucket1/"


def test_trail_delivers_to_the_group_that_its_alarms_read(parts):
    """P7: by a role that may write the trail's own streams."""
    parts.trail()
    found = parts.synthesise()
    trail = found.readable(found.one("aws_cloudtrail"))
    assert trail["cloud_watch_logs_group_arn"] == "<aws_cloudwatch_log_group trail1/logs/group arn>:*"
    streams = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/cloudtrail/trail1:log-stream:{ACCOUNT}_CloudTrail_us-east-1*"
    assert found.permissions("trail1/role", "runtime") == {
        ("logs:CreateLogStream", streams), ("logs:PutLogEvents", streams),
    }
    (trust,) = found.readable(found.statements(found.one("aws_iam_role", "trail1")["assume_role_policy"]))
    # CloudTrail may leave the account out, but never name another.
    assert trust["condition"] == [{"test": "StringEqualsIfExists", "variable": "aws:SourceAccount", "values": [ACCOUNT]}]


def test_security_alarms_reach_the_topic_and_name_a_command(parts):
    """P7: denied calls, changes of IAM and of buckets' policies, use of the root user."""
    parts.trail()
    found = parts.synthesise()
    filters = {each["name"].removeprefix("trail1-"): each for each in found.all("aws_cloudwatch_log_metric_filter").values()}
    alarms = {
        each["alarm_name"].removeprefix("trail1-"): found.readable(each)
        for each in found.all("aws_cloudwatch_metric_alarm").values()
    }
    assert set(filters) == set(alarms) == {"denied-calls", "iam-changes", "bucket-policy-changes", "root-use"}
    for name, alarm in alarms.items():
        written = filters[name]["metric_transformation"]
        (metric,) = [query["metric"] for query in alarm["metric_query"] if "metric" in query]
        assert (metric["namespace"], metric["metric_name"]) == (written["namespace"], written["name"])
        assert not metric["dimensions"]
        assert alarm["alarm_actions"] == alarm["ok_actions"] == [f"arn:aws:sns:us-east-1:{ACCOUNT}:topic"]
        assert "Look: aws logs tail /aws/cloudtrail/trail1 --region us-east-1" in alarm["alarm_description"]
        assert filters[name]["pattern"] in alarm["alarm_description"]
        assert len(alarm["alarm_description"]) <= 1024, "AWS refuses more"
        assert alarm["threshold"] == (10 if name == "denied-calls" else 0)


def test_patterns_are_well_formed(parts):
    """P7: AWS tells of a broken pattern only when it is applied: brackets and quotes pair up, terms have CloudTrail's fields."""
    parts.trail()
    fields = {"managementEvent", "errorCode", "eventSource", "readOnly", "eventName", "userIdentity", "eventType"}
    for each in parts.synthesise().all("aws_cloudwatch_log_metric_filter").values():
        pattern = each["pattern"]
        assert pattern.startswith("{ ") and pattern.endswith(" }")
        assert pattern.count("(") == pattern.count(")")
        assert pattern.count('"') % 2 == 0
        assert "'" not in pattern, "the alarm's command quotes it"
        assert set(re.findall(r"\$\.(\w+)", pattern)) <= fields
        term = r'\(\$\.[\w.]+ (?:(?:=|!=) "[^"]+"|IS TRUE|IS FALSE|NOT EXISTS)\)'
        assert not re.sub(rf"{term}|&&|\|\||[{{}}() ]", "", pattern), pattern


def test_expired_links_are_no_denied_calls(parts):
    """P1b, P7: with the bucket's objects recorded, each use of an expired link is a denied event of data."""
    parts.trail()
    filters = parts.synthesise().all("aws_cloudwatch_log_metric_filter")
    (denied,) = [each["pattern"] for each in filters.values() if each["name"] == "trail1-denied-calls"]
    assert denied.startswith("{ ($.managementEvent IS TRUE) && (")


# --- cost -----------------------------------------------------------------------------------------------------------


def test_budget_tells_the_topic_before_the_money_is_spent(parts):
    """P7: 80 % spent, 100 % foreseen, of the whole account."""
    parts.budget()
    found = parts.synthesise()
    budget = found.readable(found.one("aws_budgets_budget"))
    assert (budget["limit_amount"], budget["limit_unit"], budget["time_unit"]) == ("12.50", "USD", "MONTHLY")
    assert {(each["notification_type"], each["threshold"]) for each in budget["notification"]} == {
        ("ACTUAL", 80), ("FORECASTED", 100),
    }
    for each in budget["notification"]:
        assert (each["threshold_type"], each["comparison_operator"]) == ("PERCENTAGE", "GREATER_THAN")
        assert each["subscriber_sns_topic_arns"] == [f"arn:aws:sns:us-east-1:{ACCOUNT}:topic"]
    assert "cost_filter" not in budget
    assert budget["depends_on"] == [found.address("aws_sns_topic_policy", "topic/topic_policy")]


def test_budget_of_a_project_counts_its_tag(parts):
    """P7: ``user:KEY$VALUE`` is how Budgets writes a tag, and no reference for Terraform."""
    parts.budget(project="Pet-Detector")
    budget = parts.synthesise().one("aws_budgets_budget")
    assert budget["cost_filter"] == [{"name": "TagKeyValue", "values": ["user:Project$Pet-Detector"]}]


def test_topic_takes_messages_of_this_accounts_budgets(parts):
    """P7: topic and key both let budgets in, once, however many there are; without a budget neither does."""

    def of_budgets():
        found = parts.synthesise()
        return [
            statement
            for kind in ("aws_sns_topic_policy", "aws_kms_key")
            for statement in found.readable(found.statements(found.one(kind, "topic")["policy"]))
            if {"type": "Service", "identifiers": ["budgets.amazonaws.com"]} in statement["principals"]
        ]

    assert not of_budgets()
    parts.budget(1)
    parts.budget(2)
    publish, encrypt = of_budgets()
    assert publish["actions"] == ["sns:Publish"]
    assert set(encrypt["actions"]) == {"kms:Decrypt", "kms:GenerateDataKey"}
    for each in (publish, encrypt):
        assert {condition["variable"]: condition["values"] for condition in each["condition"]} == {
            "aws:SourceAccount": [ACCOUNT], "aws:SourceArn": [f"arn:aws:budgets::{ACCOUNT}:*"],
        }


# --- network --------------------------------------------------------------------------------------------------------


def test_network_has_no_way_out(parts):
    """P8a: no internet or NAT gateway, no route but those of gateway endpoints, no public address."""
    parts.private_network()
    found = parts.synthesise()
    assert not found.kinds() & {
        "aws_internet_gateway", "aws_egress_only_internet_gateway", "aws_nat_gateway", "aws_route", "aws_eip",
    }
    assert "route" not in found.one("aws_route_table")
    assert all(each["map_public_ip_on_launch"] is False for each in found.all("aws_subnet").values())
    (group,) = found.all("aws_default_security_group").values()
    assert not {"ingress", "egress"} & set(group)


def test_subnets_stand_in_two_zones_and_share_the_routes(parts):
    """P8a: two halves of the network, both associated with the table that the gateway endpoints write."""
    network = parts.private_network(cidr="10.0.0.0/16")
    found = parts.synthesise()
    subnets = found.all("aws_subnet")
    assert [each["cidr_block"] for each in subnets.values()] == ["10.0.0.0/17", "10.0.128.0/17"]
    assert len({each["availability_zone"] for each in subnets.values()}) == 2
    assert len(found.all("aws_route_table_association")) == 2
    assert (len(network.subnet_ids), len(network.security_group_ids)) == (2, 1)


@pytest.mark.parametrize("cidr", ["10.0.0.0/28", "10.0.0.0/8", "10.0.0.1/24", "pets"])
def test_network_refuses_what_is_none(parts, cidr):
    """P8a: at synth, not when AWS refuses it."""
    with pytest.raises(ValueError, match=re.escape(cidr)):
        parts.private_network(cidr=cidr)


def test_functions_reach_the_endpoints_over_https_and_nothing_else(parts):
    """P8a: every rule is of port 443 and names a group or a prefix list, never an address."""
    parts.private_network()
    found = parts.synthesise()
    inside, functions = (f"<aws_security_group net1/{each} id>" for each in ("endpoints", "functions"))
    out = [found.readable(each) for each in found.all("aws_vpc_security_group_egress_rule").values()]
    into = [found.readable(each) for each in found.all("aws_vpc_security_group_ingress_rule").values()]
    for rule in (*out, *into):
        assert (rule["ip_protocol"], rule["from_port"], rule["to_port"]) == ("tcp", 443, 443)
        assert not {"cidr_ipv4", "cidr_ipv6"} & set(rule)
    assert {each["security_group_id"] for each in out} == {functions}
    assert {each.get("referenced_security_group_id") or each["prefix_list_id"] for each in out} == {
        inside,
        "<aws_vpc_endpoint net1/s3_endpoint prefix_list_id>",
        "<aws_vpc_endpoint net1/dynamodb_endpoint prefix_list_id>",
    }
    ((rule),) = into
    assert (rule["security_group_id"], rule["referenced_security_group_id"]) == (inside, functions)
    for group in found.all("aws_security_group").values():
        assert not {"ingress", "egress"} & set(group)


def test_endpoints_are_of_the_kind_that_each_service_has(parts):
    """P8a: gateways for S3 and DynamoDB, in the route table; interfaces with private names for the rest."""
    parts.private_network()
    found = parts.synthesise()
    endpoints = {each["service_name"]: found.readable(each) for each in found.all("aws_vpc_endpoint").values()}
    assert set(endpoints) == {f"com.amazonaws.us-east-1.{each}" for each in ("s3", "dynamodb", "rekognition")}
    for service in ("s3", "dynamodb"):
        gateway = endpoints[f"com.amazonaws.us-east-1.{service}"]
        assert gateway["vpc_endpoint_type"] == "Gateway"
        assert gateway["route_table_ids"] == ["<aws_route_table net1/routes id>"]
    interface = endpoints["com.amazonaws.us-east-1.rekognition"]
    assert interface["vpc_endpoint_type"] == "Interface"
    assert interface["private_dns_enabled"] is True
    assert interface["security_group_ids"] == ["<aws_security_group net1/endpoints id>"]
    assert len(interface["subnet_ids"]) == 2
    vpc = found.one("aws_vpc")
    assert vpc["enable_dns_support"] is vpc["enable_dns_hostnames"] is True, "private names need both"


def test_endpoints_let_through_what_is_named(parts):
    """P8a: the calls named, by this account's principals; entries of one service add up in one endpoint."""
    more = Endpoint("s3", ["s3:PutObject"], ["arn:aws:s3:::data/cats/*"])
    parts.private_network(endpoints=[S3, more])
    found = parts.synthesise()
    statements = found.readable(found.statements(found.one("aws_vpc_endpoint")["policy"]))
    assert [(each["actions"], each["resources"]) for each in statements] == [
        (["s3:GetObject"], ["arn:aws:s3:::data/*"]), (["s3:PutObject"], ["arn:aws:s3:::data/cats/*"]),
    ]
    for each in statements:
        assert each["principals"] == EVERYBODY
        assert each["condition"] == [{"test": "StringEquals", "variable": "aws:PrincipalAccount", "values": [ACCOUNT]}]


def test_network_without_endpoints_has_none(parts):
    """P8a: nothing is billed by the hour that was not asked for."""
    parts.private_network(endpoints=())
    assert not parts.synthesise().all("aws_vpc_endpoint")


def test_flows_are_logged(parts):
    """P8a: all of them, to a group with retention, by a role that may write that group."""
    parts.private_network()
    found = parts.synthesise()
    log = found.readable(found.one("aws_flow_log"))
    assert (log["traffic_type"], log["vpc_id"]) == ("ALL", "<aws_vpc net1/vpc id>")
    assert log["log_destination"] == "<aws_cloudwatch_log_group net1/flow_logs/group arn>"
    assert found.one("aws_cloudwatch_log_group", "net1")["retention_in_days"] == 90
    streams = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/vpc/net1:*"
    assert found.permissions("net1/flow_logs_role", "runtime") == {
        *((action, streams) for action in ("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents")),
        ("logs:DescribeLogGroups", "*"),
    }


def test_network_lets_a_functions_role_attach(parts):
    """P8a: before Lambda makes the function, which is when it asks."""
    network = parts.private_network()
    role = Role(parts.stack, "role", name="role", service="lambda.amazonaws.com", description="d")
    network.grant_attach_at_runtime(role)
    assert parts.synthesise().permissions("role", "runtime") == {(action, "*") for action in PrivateNetwork.ATTACH}
