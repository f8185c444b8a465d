"""Each construct of modules.py alone: two of them in one stack, its grants, what it refuses."""

import inspect
import json
import re
from decimal import Decimal

import pytest
from constructs import Construct

import modules
from lambda_packaging import package
from modules import (
    AccessLogBucket,
    Alarm,
    AwsStack,
    Bucket,
    Dashboard,
    DeadLetterQueue,
    EventRule,
    Function,
    Key,
    LifecycleRule,
    LogGroup,
    LogMetric,
    LogsQuery,
    Metric,
    NotSucceededRule,
    Parameter,
    Place,
    PolicyDocument,
    Region,
    Role,
    Schedule,
    SearchCollection,
    StateMachine,
    StreamMapping,
    Table,
    Topic,
    fill_placeholders,
    name_of_part,
)
from settings import CommonSettings
from tests.synth.alarms import fires
from tests.synth.reading import Synthesised, app

METRIC = Metric("errors", "AWS/Lambda", "Errors", {"FunctionName": "f"})
MACHINE = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed", "Comment": "${What}"}}}


class Parts:
    """A stack and the parts that constructs want; each maker takes a number and makes another instance."""

    def __init__(self, tmp_path):
        self.stack = AwsStack(app(), "test", settings=CommonSettings(), project="Test")
        self.tmp_path = tmp_path
        self.topic = Topic(self.stack, "topic", name="topic")
        code = tmp_path / "code"
        code.mkdir()
        (code / "code.py").write_text("def handler(event, context): ...\n")
        self.package = package(code.name, tmp_path, tmp_path / "build")
        self.definition = tmp_path / "machine.asl.json"
        self.definition.write_text(json.dumps(MACHINE))

    def synthesise(self):
        return Synthesised.of(self.stack)

    def policy_document(self, n):
        document = PolicyDocument(self.stack, f"document{n}")
        document.allow("A", ["s3:GetObject"], [f"arn:aws:s3:::bucket{n}/*"])
        return document

    def role(self, n):
        role = Role(self.stack, f"role{n}", name=f"role{n}", service="states.amazonaws.com", description="d")
        role.allow_runtime("A", ["logs:PutLogEvents"], ["arn:aws:logs:::x"])
        role.allow("B", ["s3:GetObject"], ["arn:aws:s3:::x/*"])
        return role

    def alarm(self, n):
        return Alarm(
            self.stack,
            f"alarm{n}",
            name=f"alarm{n}",
            description="d",
            expression="errors",
            metrics=[METRIC],
            topic=self.topic,
            above=1,
            period_seconds=60,
            of_periods=1,
            label="l",
            runbook="r",
        )

    def dashboard(self, n):
        return Dashboard(self.stack, f"dashboard{n}", name=f"dashboard{n}", rows=[[("Title", [METRIC])]])

    def log_group(self, n):
        return LogGroup(self.stack, f"logs{n}", name=f"/logs/{n}")

    def log_metric(self, n):
        group = LogGroup(self.stack, f"counted{n}", name=f"/counted/{n}")
        return LogMetric(self.stack, f"metric{n}", name=f"Metric{n}", namespace="own", group=group, pattern='{ $.a = "1" }')

    def logs_query(self, n):
        group = LogGroup(self.stack, f"queried{n}", name=f"/queried/{n}")
        return LogsQuery(self.stack, f"query{n}", name=f"query{n}", groups=[group], query="fields @timestamp")

    def topic_(self, n):
        return Topic(self.stack, f"topic{n}", name=f"topic{n}", emails=["a@example.com"])

    def dead_letter_queue(self, n):
        return DeadLetterQueue(self.stack, f"queue{n}", name=f"queue{n}", of="something", topic=self.topic)

    def access_log_bucket(self, n):
        return AccessLogBucket(self.stack, f"logs_bucket{n}", name=f"logs{n}")

    def bucket(self, n):
        logs = AccessLogBucket(self.stack, f"logs_of{n}", name=f"logs-of-{n}")
        return Bucket(self.stack, f"bucket{n}", name=f"bucket{n}", access_logs=logs, lifecycle=[LifecycleRule("tidy")])

    def table(self, n):
        return Table(self.stack, f"table{n}", name=f"table{n}", key=Key("a", "b"), indexes={"i": Key("c")})

    def function(self, n):
        return Function(
            self.stack,
            f"function{n}",
            name=f"function{n}",
            description="d",
            package=self.package,
            handler="code.handler",
            environment={"A": "b"},
            timeout_seconds=3,
            memory_mb=128,
            error_rate_percent=Decimal(5),
            topic=self.topic,
        )

    def state_machine(self, n):
        return StateMachine(
            self.stack,
            f"machine{n}",
            name=f"machine{n}",
            definition=self.definition,
            substitutions={"What": f"w{n}"},
            topic=self.topic,
        )

    def event_rule(self, n):
        return EventRule(
            self.stack,
            f"rule{n}",
            name=f"rule{n}",
            description="d",
            pattern={"source": ["aws.states"]},
            target=self.state_machine(f"of_rule{n}"),
            topic=self.topic,
        )

    def not_succeeded_rule(self, n):
        return NotSucceededRule(
            self.stack,
            f"not_succeeded{n}",
            name=f"not-succeeded{n}",
            description="d",
            of=self.state_machine(f"watched{n}"),
            target=self.state_machine(f"recovery{n}"),
            topic=self.topic,
        )

    def search_collection(self, n):
        return SearchCollection(
            self.stack,
            f"collection{n}",
            name=f"collection{n}",
            description="d",
            dashboard_users=[f"arn:aws:iam::111122223333:role/reader{n}"],
            standby_replicas=False,
            retention_days=n,
        )

    def region(self, n):
        region = Region(self.stack, f"region{n}", region=f"eu-west-{n}")
        LogGroup(region, "logs", name="/logs")
        return region

    def stream_mapping(self, n):
        table = Table(self.stack, f"followed{n}", name=f"followed{n}", key=Key("a"), stream=True)
        pattern = {"eventName": ["INSERT"]}
        return StreamMapping(
            self.stack, f"stream{n}", table=table, function=self.function(f"-follows{n}"), topic=self.topic, pattern=pattern
        )

    def schedule(self, n):
        return Schedule(
            self.stack, f"beat{n}", name=f"beat{n}", description="d", rate="1 minute", target=self.function(f"-beats{n}")
        )

    def parameter(self, n):
        return Parameter(self.stack, f"parameter{n}", name=f"/parameter/{n}", description="d", initial="{}")


MAKERS = {
    PolicyDocument: Parts.policy_document,
    Role: Parts.role,
    Alarm: Parts.alarm,
    Dashboard: Parts.dashboard,
    LogGroup: Parts.log_group,
    LogMetric: Parts.log_metric,
    LogsQuery: Parts.logs_query,
    Topic: Parts.topic_,
    DeadLetterQueue: Parts.dead_letter_queue,
    AccessLogBucket: Parts.access_log_bucket,
    Bucket: Parts.bucket,
    Table: Parts.table,
    Function: Parts.function,
    StateMachine: Parts.state_machine,
    EventRule: Parts.event_rule,
    NotSucceededRule: Parts.not_succeeded_rule,
    SearchCollection: Parts.search_collection,
    Region: Parts.region,
    StreamMapping: Parts.stream_mapping,
    Schedule: Parts.schedule,
    Parameter: Parts.parameter,
}


@pytest.fixture
def parts(tmp_path):
    return Parts(tmp_path)


# --- two of each ----------------------------------------------------------------------------------------------------


def test_every_construct_has_a_maker():
    """C2: each construct of modules.py has a test with two instances in one stack."""
    constructs = {
        each
        for each in vars(modules).values()
        if inspect.isclass(each) and issubclass(each, Construct) and each.__module__ == "modules" and each is not AwsStack
    }
    assert constructs == set(MAKERS)


@pytest.mark.parametrize("construct", MAKERS, ids=lambda each: each.__name__)
def test_two_instances_in_one_stack(parts, construct):
    """Neither logical ids nor names clash, and the second adds as many resources as the first."""

    def count():
        found = parts.synthesise()
        return {kind: len(found.all(kind)) for kind in found.kinds()}, len(found.json["data"]["aws_iam_policy_document"])

    before, documents_before = count()
    first = MAKERS[construct](parts, 1)
    between, documents_between = count()
    second = MAKERS[construct](parts, 2)
    after, documents_after = count()
    assert isinstance(first, construct)
    assert first.node.path != second.node.path
    for kind, number in after.items():
        assert number - between.get(kind, 0) == between.get(kind, 0) - before.get(kind, 0), kind
    assert documents_after - documents_between == documents_between - documents_before
    assert sum(after.values()) + documents_after > sum(before.values()) + documents_before
    found = parts.synthesise()
    for kind, field in NAMES.items():
        names = [(body.get("provider"), body[field]) for body in found.all(kind).values()]
        assert len(names) == len(set(names)), f"{kind}: {names}"


NAMES = {
    "aws_cloudwatch_event_rule": "name",
    "aws_cloudwatch_log_group": "name",
    "aws_cloudwatch_log_metric_filter": "name",
    "aws_cloudwatch_metric_alarm": "alarm_name",
    "aws_cloudwatch_dashboard": "dashboard_name",
    "aws_dynamodb_table": "name",
    "aws_iam_role": "name",
    "aws_kms_alias": "name",
    "aws_lambda_function": "function_name",
    "aws_opensearchserverless_access_policy": "name",
    "aws_opensearchserverless_collection": "name",
    "aws_opensearchserverless_lifecycle_policy": "name",
    "aws_s3_bucket": "bucket",
    "aws_sfn_state_machine": "name",
    "aws_sns_topic": "name",
    "aws_sqs_queue": "name",
    "aws_ssm_parameter": "name",
}


# --- grants ---------------------------------------------------------------------------------------------------------


def test_grants_of_a_bucket_name_the_keys(parts):
    """C8: granted through construct methods, by prefix."""
    bucket, role = parts.bucket(1), parts.role(1)
    bucket.grant_read_version(role, "in/*")
    bucket.grant_write(role, "out/*")
    found = parts.synthesise().permissions("role1", "grants")
    assert found == {
        ("s3:GetObject", "arn:aws:s3:::x/*"),
        ("s3:GetObjectVersion", "arn:aws:s3:::bucket1/in/*"),
        ("s3:PutObject", "arn:aws:s3:::bucket1/out/*"),
    }


def test_grants_to_two_roles_stay_apart(parts):
    """C8."""
    table = parts.table(1)
    table.grant_put(parts.role(1))
    table.grant_update(parts.role(2))
    found = parts.synthesise()
    arn = "arn:aws:dynamodb:us-east-1:111122223333:table/table1"
    assert ("dynamodb:PutItem", arn) in found.permissions("role1", "grants")
    assert ("dynamodb:UpdateItem", arn) not in found.permissions("role1", "grants")
    assert ("dynamodb:UpdateItem", arn) in found.permissions("role2", "grants")


def test_role_without_grants_has_no_empty_policy(parts):
    """IAM refuses a policy without statements."""
    Role(parts.stack, "bare", name="bare", service="lambda.amazonaws.com", description="d")
    assert not [path for path in parts.synthesise().all("aws_iam_role_policy") if path.startswith("bare/")]


def data_policy(found, n=1):
    """The data policy of a collection: description → (principals, {resource type: (resources, permissions)})."""
    policy = json.loads(found.readable(found.one("aws_opensearchserverless_access_policy", f"collection{n}")["policy"]))
    assert all(set(each) == {"Description", "Rules", "Principal"} for each in policy)
    assert len({each["Description"] for each in policy}) == len(policy)
    return {
        each["Description"]: (
            each["Principal"],
            {rule["ResourceType"]: (rule["Resource"], rule["Permission"]) for rule in each["Rules"]},
        )
        for each in policy
    }


WRITE = ["aoss:CreateIndex", "aoss:DescribeIndex", "aoss:UpdateIndex", "aoss:WriteDocument"]


def test_grants_on_two_indexes_of_one_collection_stay_apart(parts):
    """M5a, C8: two statements of the data policy, each for its role and its index; the readers' own stays."""
    collection = parts.search_collection(1)
    roles = [parts.role(number) for number in (1, 2)]
    for role, index in zip(roles, ("first", "second"), strict=True):
        collection.grant_index(role, index)
    found = parts.synthesise()
    policy = data_policy(found)
    readers, rules = policy.pop("Use the dashboard")
    assert (readers, set(rules)) == (["arn:aws:iam::111122223333:role/reader1"], {"collection", "index"})
    arn = "arn:aws:iam::111122223333:role/"
    assert policy == {
        f"Fill the index {index}": ([arn + role], {"index": ([f"index/collection1/{index}"], WRITE)})
        for role, index in (("role1", "first"), ("role2", "second"))
    }
    for role in ("role1", "role2"):
        assert ("aoss:APIAccessAll", "<aws_opensearchserverless_collection collection1/collection arn>") in found.permissions(
            role, "grants"
        )
    depends_on = found.one("aws_opensearchserverless_access_policy", "collection1")["depends_on"]
    assert set(depends_on) == {found.address("aws_iam_role", f"{role}/role") for role in ("role1", "role2")}


def test_one_role_may_fill_two_indexes(parts):
    """M5a: both statements stand in the data policy, and the ids of the role's own are unique."""
    collection, role = parts.search_collection(1), parts.role(1)
    for index in ("first", "second"):
        collection.grant_index(role, index)
    found = parts.synthesise()
    assert {"Fill the index first", "Fill the index second"} < set(data_policy(found))
    sids = [each["sid"] for each in found.statements(found.one("aws_iam_role_policy", "role1/grants_policy")["policy"])]
    assert len(sids) == len(set(sids))


def test_two_collections_are_reached_and_encrypted_by_their_own_policies(parts):
    """M5a: no policy of one collection names the other."""
    for number in (1, 2):
        parts.search_collection(number).grant_index(parts.role(number), "index")
    found = parts.synthesise()
    kinds = [kind for kind in found.kinds() if kind.endswith(("_security_policy", "_access_policy", "_lifecycle_policy"))]
    assert len(kinds) == 3
    for kind in kinds:
        for path, body in found.all(kind).items():
            own, other = ("1", "2") if path.startswith("collection1/") else ("2", "1")
            assert f"/collection{own}" in body["policy"]
            assert f"collection{other}" not in body["policy"]


def test_a_bucket_sends_events_and_notifies_in_one_configuration(parts):
    """A bucket has one notification configuration, which waits for what both kinds of receivers need."""
    bucket, rule = parts.bucket(1), parts.event_rule(1)
    bucket.notify(parts.function(1), prefix="in/")
    bucket.send_events(after=[rule.target])
    found = parts.synthesise()
    notification = found.one("aws_s3_bucket_notification")
    assert notification["eventbridge"] is True
    assert [each["filter_prefix"] for each in notification["lambda_function"]] == ["in/"]
    assert set(notification["depends_on"]) >= {
        found.address("aws_lambda_permission", "function1/permit_s3"),
        found.address("aws_cloudwatch_event_target", "rule1/target"),
        found.address("aws_s3_bucket_versioning", "bucket1/versioning"),
    }


def test_two_functions_share_a_buckets_one_notification(parts):
    """A bucket has one notification configuration; a second resource would overwrite the first."""
    bucket = parts.bucket(1)
    for number in (1, 2):
        bucket.notify(parts.function(number), prefix=f"in{number}/")
    found = parts.synthesise()
    notification = found.one("aws_s3_bucket_notification")
    assert [each["filter_prefix"] for each in notification["lambda_function"]] == ["in1/", "in2/"]
    assert {found.address("aws_lambda_permission", f"function{number}/permit_s3") for number in (1, 2)} <= set(
        notification["depends_on"]
    )


def test_two_buckets_share_an_access_log_bucket(parts):
    """C7: each writes under its own name."""
    logs = parts.access_log_bucket(1)
    for number in (1, 2):
        Bucket(parts.stack, f"b{number}", name=f"b{number}", access_logs=logs, lifecycle=[])
    found = parts.synthesise()
    allows = [
        each
        for each in found.readable(found.statements(found.one("aws_s3_bucket_policy", "logs_bucket1")["policy"]))
        if each.get("effect") != "Deny"
    ]
    assert [each["resources"] for each in allows] == [["arn:aws:s3:::logs1/b1/*"], ["arn:aws:s3:::logs1/b2/*"]]
    assert len({each["sid"] for each in allows}) == 2


def test_grants_of_the_same_kind_to_one_role_keep_unique_ids(parts):
    """IAM refuses a document in which two statements have one id; constructs of one name may stand in two systems."""
    role = parts.role(1)
    for number in (1, 2, 3):
        bucket = parts.bucket(number)
        bucket.grant_list(role)
        bucket.grant_read_version(role, "raw/*")
        parts.topic_(number).grant_publish(role)
    found = parts.synthesise()
    sids = [each["sid"] for each in found.statements(found.one("aws_iam_role_policy", "role1/grants_policy")["policy"])]
    assert len(sids) == len(set(sids)) == 1 + 3 * 4


def test_one_function_may_serve_two_buckets(parts):
    """Each gets its own permission, under an id of its own (Lambda keeps one statement per id)."""
    function = parts.function(1)
    for number in (1, 2):
        parts.bucket(number).notify(function, prefix="raw/")
    found = parts.synthesise().all("aws_lambda_permission").values()
    assert {each["source_arn"].rsplit(":", 1)[1] for each in found} == {"bucket1", "bucket2"}
    assert len({each["statement_id"] for each in found}) == 2


def test_statement_ids_are_unique_and_plain(any_stack):
    """IAM takes letters and digits; two statements of one document must differ."""
    for name, document in any_stack.json["data"]["aws_iam_policy_document"].items():
        sids = [statement["sid"] for statement in document["statement"]]
        assert len(sids) == len(set(sids)), name
        assert all(re.fullmatch(r"[A-Za-z0-9]+", sid) for sid in sids), name


def test_constructs_need_an_aws_stack(tmp_path):
    """They ask it for names and retention; the message says so."""
    from cdktf import TerraformStack

    with pytest.raises(TypeError, match="need an AwsStack"):
        LogGroup(TerraformStack(app(), "plain"), "logs", name="x")


# --- places ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "name"),
    [("a-b", "a-b-dlq"), ("a-b-prod", "a-b-dlq-prod"), ("prod", "prod-dlq"), ("a-prod-b", "a-prod-b-dlq")],
)
def test_name_of_part(base, name):
    """C5c: a trailing -prod, which another environment replaces, stays at the end."""
    assert name_of_part(base, "dlq") == name


def test_place_around_a_construct(parts):
    """Design: the nearest one: a region, or the stack."""
    region = Region(parts.stack, "there", region="eu-west-1")
    inside, outside = (Construct(scope, "part") for scope in (Construct(region, "group"), parts.stack))
    assert Place.around(inside) is region
    assert Place.around(region) is region
    assert Place.around(outside) is parts.stack


def test_a_region_has_its_own_arns_and_names(tmp_path):
    """C5c, R1: its ARNs and its console are its own; the name of what the whole account sees carries it, and no other name."""
    stack = AwsStack(app(), "test", settings=CommonSettings(environment_suffix="dev"), project="Test")
    region = Region(stack, "there", region="eu-west-1")
    assert region.arn("sns", "t") == stack.arn("sns", "t").replace("us-east-1", "eu-west-1")
    assert region.console_url("cloudwatch/home", "x").startswith("https://eu-west-1.console.aws.amazon.com/")
    assert (region.name("a-prod"), region.global_name("a-prod")) == ("a-dev", "a-eu-west-1-dev")
    assert stack.global_name("a-prod") == stack.name("a-prod") == "a-dev"
    assert len(region.global_name("a" * 80)) == 64


def test_what_stands_in_another_region_is_made_there(parts):
    """R1: every resource and every data source below it, and nothing beside it; two regions of one name share a provider."""
    for name, at in (("first", "eu-west-1"), ("second", "eu-west-1"), ("third", "ap-south-1")):
        region = Region(parts.stack, name, region=at)
        Topic(region, "topic", name=name)
    LogGroup(parts.stack, "beside", name="/beside")
    found = parts.synthesise()
    assert found.json["provider"]["aws"] == [
        {"region": "us-east-1"},
        {"alias": "eu_west_1", "region": "eu-west-1"},
        {"alias": "ap_south_1", "region": "ap-south-1"},
    ]
    expected = {"first": "aws.eu_west_1", "second": "aws.eu_west_1", "third": "aws.ap_south_1"}
    documents = found.json["data"]["aws_iam_policy_document"]
    bodies = [(path, body) for _, path, body in found.every()] + [(found.paths[id_], body) for id_, body in documents.items()]
    assert {path.split("/")[0] for path, _ in bodies} >= {*expected, "beside"}
    for path, body in bodies:
        assert body.get("provider") == expected.get(path.split("/")[0]), path


def test_the_stacks_own_region_adds_no_provider(parts):
    """R1: what stands there is made as if it stood in the stack."""
    LogGroup(Region(parts.stack, "here", region="us-east-1"), "logs", name="/logs")
    found = parts.synthesise()
    assert found.json["provider"]["aws"] == [{"region": "us-east-1"}]
    assert "provider" not in found.one("aws_cloudwatch_log_group")


def test_a_region_needs_an_aws_stack():
    """The message says so."""
    from cdktf import TerraformStack

    with pytest.raises(TypeError, match="needs an AwsStack"):
        Region(TerraformStack(app(), "plain"), "there", region="eu-west-1")


# --- tables in several regions, schedules ---------------------------------------------------------------------------


def test_a_replica_is_known_by_its_own_arns(parts):
    """R4, R5: in each region the table's own ARN is granted; the stream is that of the replica, which Terraform's set holds
    sorted by region, in whatever order they were named."""
    table = Table(parts.stack, "global", name="global", key=Key("a"), stream=True, replicas=["eu-west-1", "ap-south-1"])
    role = parts.role(1)
    table.grant_get(role)
    for region in ("eu-west-1", "ap-south-1"):
        table.replica(region).grant_put(role)
    assert table.replica("eu-west-1").name == table.name
    assert table.replica("eu-west-1").table is table.table, "what waits for the replica waits for the table, which makes it"
    found = parts.synthesise()
    assert {pair for pair in found.permissions("role1", "grants") if pair[0].startswith("dynamodb:")} == {
        ("dynamodb:GetItem", "arn:aws:dynamodb:us-east-1:111122223333:table/global"),
        ("dynamodb:PutItem", "arn:aws:dynamodb:eu-west-1:111122223333:table/global"),
        ("dynamodb:PutItem", "arn:aws:dynamodb:ap-south-1:111122223333:table/global"),
    }
    for region, number in (("ap-south-1", 0), ("eu-west-1", 1)):
        parts.stack.output(f"stream_{number}", table.replica(region).stream_arn, "d")
    outputs = parts.synthesise().json["output"]
    for number in (0, 1):
        reference = outputs[f"stream_{number}"]["value"]
        assert re.fullmatch(rf"\$\{{element\(.*\.replica\)+, {number}\)\.stream_arn\}}", reference), reference


def test_a_table_has_no_replica_elsewhere(parts):
    """At synth, not when Terraform looks for it."""
    with pytest.raises(ValueError, match="eu-west-1"):
        parts.table(1).replica("eu-west-1")


def test_one_function_may_be_invoked_by_two_schedules_and_a_bucket(parts):
    """R7: each under a permission of its own, and its dead letters are let in for both rules."""
    function = parts.function(1)
    for number in (1, 2):
        Schedule(parts.stack, f"beat{number}", name=f"beat{number}", description="d", rate="1 minute", target=function)
    parts.bucket(1).notify(function)
    found = parts.synthesise()
    permissions = found.readable(list(found.all("aws_lambda_permission").values()))
    assert {(each["principal"], each["source_arn"].rsplit(":", 1)[1]) for each in permissions} == {
        ("events.amazonaws.com", "rule/beat1"),
        ("events.amazonaws.com", "rule/beat2"),
        ("s3.amazonaws.com", "bucket1"),
    }
    assert len({each["statement_id"] for each in permissions}) == 3
    statements = found.readable(found.statements(found.one("aws_sqs_queue_policy", "function1/dead_letters")["policy"]))
    rules = {value for each in statements if each.get("effect") != "Deny" for value in each["condition"][0]["values"]}
    assert rules == {f"arn:aws:events:us-east-1:111122223333:rule/beat{number}" for number in (1, 2)}


def test_the_first_beat_finds_everything_in_its_place(parts):
    """R7: the permission, and what the schedule is told."""
    schedule, table = {"name": "beat", "description": "d", "rate": "1 minute"}, parts.table(1)
    Schedule(parts.stack, "beat", **schedule, target=parts.function(1), after=[table.table])
    found = parts.synthesise()
    assert set(found.one("aws_cloudwatch_event_target", "beat")["depends_on"]) == {
        found.address("aws_lambda_permission", "function1/permit_events"),
        found.address("aws_dynamodb_table", "table1/table"),
    }


def test_a_notification_for_each_suffix(parts):
    """R2: one permission for all; without suffixes every object counts."""
    parts.bucket(1).notify(parts.function(1), suffixes=(".json", ".csv"))
    parts.bucket(2).notify(parts.function(2))
    found = parts.synthesise()
    notified = {
        path.split("/")[0]: [each.get("filter_suffix") for each in body["lambda_function"]]
        for path, body in found.all("aws_s3_bucket_notification").items()
    }
    assert notified == {"bucket1": [".json", ".csv"], "bucket2": [None]}
    assert len(found.all("aws_lambda_permission")) == 2


@pytest.mark.parametrize("missing_is_alarm", [False, True])
def test_missing_data_of_a_sign_of_life_is_an_alarm(parts, missing_is_alarm):
    """R7: and of nothing else."""
    alarm = {
        "name": "life", "description": "d", "expression": "errors", "metrics": [METRIC], "topic": parts.topic, "above": 1,
        "period_seconds": 60, "of_periods": 1, "label": "l", "runbook": "r",
    }  # fmt: skip
    Alarm(parts.stack, "life", **alarm, missing_is_alarm=missing_is_alarm)
    found = parts.synthesise().one("aws_cloudwatch_metric_alarm", "life")
    assert fires(found) is missing_is_alarm
    assert fires(found, errors=2)
    assert not fires(found, errors=1)


def test_a_role_may_make_its_log_group(parts):
    """R6: by the ARN that IAM compares (CloudWatch Logs API reference, "LogGroup")."""
    group, role = parts.log_group(1), parts.role(1)
    group.grant_create(role)
    assert ("logs:CreateLogGroup", "arn:aws:logs:us-east-1:111122223333:log-group:/logs/1:*") in parts.synthesise().permissions(
        "role1", "runtime"
    )


# --- placeholders ---------------------------------------------------------------------------------------------------


def test_fill_placeholders(tmp_path):
    """A value may be a Terraform reference, and JSONata's own ${ } free text stays."""
    file = tmp_path / "m.asl.json"
    file.write_text('{\n  "A": "${One}",\n  "B": "x ${Two} ${One} größer"\n}')
    assert fill_placeholders(file, {"One": "${aws_x.y.arn}", "Two": "2"}) == (
        '{"A":"${aws_x.y.arn}","B":"x 2 ${aws_x.y.arn} größer"}'
    )


@pytest.mark.parametrize(
    ("substitutions", "named"),
    [({}, "One"), ({"One": "1", "Two": "2"}, "Two"), ({"Other": "1"}, "Other")],
    ids=["one too few", "one too many", "another"],
)
def test_fill_placeholders_names_what_does_not_fit(tmp_path, substitutions, named):
    """At synth, not when AWS refuses the definition."""
    file = tmp_path / "m.asl.json"
    file.write_text('{"A": "${One}"}')
    with pytest.raises(ValueError, match="must be the same") as caught:
        fill_placeholders(file, substitutions)
    assert "m.asl.json" in str(caught.value)
    assert named in str(caught.value)


def test_fill_placeholders_refuses_broken_json(tmp_path):
    """At synth."""
    file = tmp_path / "m.asl.json"
    file.write_text('{"A": ')
    with pytest.raises(ValueError, match=r"m\.asl\.json: is not JSON"):
        fill_placeholders(file, {})
