"""Who may do what in the pet detector (P2, C8): the whole matrix. One line more or less in any role fails here."""

import pytest

from tests.synth.permissions import MACHINE_RUNTIME, function_runtime

ARN = "arn:aws:{}:us-east-1:111122223333:{}"
BUCKET = "arn:aws:s3:::serverlessapp-pet-detector"
TABLE = ARN.format("dynamodb", "table/serverlessapp-DetectionLogs")
TOPIC = ARN.format("sns", "serverlessapp-pet-alerts")
KEY = "<aws_kms_key pets/alerts/key arn>"
PIPELINE = ARN.format("states", "stateMachine:serverlessapp-pet-detector")
RECOVERY = ARN.format("states", "stateMachine:serverlessapp-pet-recovery")
API, PROCESSOR, FILER, NOTIFIER = (
    ARN.format("lambda", f"function:serverlessapp-{name}")
    for name in ("image-api", "image-processor", "file-manager", "notification-service")
)
FILED = ("cats", "dogs", "others")

GRANTS = {
    "pets/image_api/role": {
        ("s3:PutObject", f"{BUCKET}/input/*"),
        *(("s3:GetObjectVersion", f"{BUCKET}/{folder}/*") for folder in FILED),
        ("dynamodb:GetItem", TABLE),
        ("dynamodb:Query", f"{TABLE}/index/animal-time-index"),
    },
    "pets/image_processor/role": {
        ("s3:ListBucket", BUCKET),
        *((f"s3:{action}", f"{BUCKET}/input/*") for action in ("GetObject", "GetObjectVersion")),
        ("rekognition:DetectLabels", "*"),
        *((f"dynamodb:{action}Item", TABLE) for action in ("Get", "Put", "Update")),
    },
    "pets/file_manager/role": {
        ("s3:ListBucket", BUCKET),
        *((f"s3:{action}", f"{BUCKET}/input/*") for action in ("GetObjectVersion", "GetObject", "DeleteObject")),
        *((f"s3:{action}", f"{BUCKET}/{folder}/*") for folder in FILED for action in ("GetObject", "PutObject")),
    },
    "pets/notification_service/role": {
        ("sns:Publish", TOPIC),
        ("kms:Decrypt", KEY),
        ("kms:GenerateDataKey", KEY),
    },
    "pets/pipeline/role": {
        *(("lambda:InvokeFunction", function) for function in (PROCESSOR, FILER, NOTIFIER)),
        ("dynamodb:UpdateItem", TABLE),
    },
    "pets/recovery/role": {
        ("lambda:InvokeFunction", PROCESSOR),
    },
    "pets/uploaded/role": {
        ("states:StartExecution", PIPELINE),
    },
    "pets/not_succeeded/role": {
        ("states:StartExecution", RECOVERY),
    },
    # CodeDeploy: this function's alias, and the alarms that roll a release back.
    "pets/live/role": {
        *(
            (f"lambda:{action}", function)
            for action in ("GetAlias", "GetProvisionedConcurrencyConfig", "UpdateAlias")
            for function in (API, f"{API}:*")
        ),
        ("cloudwatch:DescribeAlarms", "*"),
    },
}

FUNCTIONS = {
    f"pets/{name}/role": f"serverlessapp-{name.replace('_', '-')}"
    for name in ("image_api", "image_processor", "file_manager", "notification_service")
}
TRAIL_STREAM = "log-group:/aws/cloudtrail/serverlessapp-trail:log-stream:111122223333_CloudTrail_us-east-1*"
RUNTIME = {
    **{role: function_runtime(name) for role, name in FUNCTIONS.items()},
    "pets/pipeline/role": MACHINE_RUNTIME,
    "pets/recovery/role": MACHINE_RUNTIME,
    "pets/trail/role": {
        (f"logs:{action}", ARN.format("logs", TRAIL_STREAM)) for action in ("CreateLogStream", "PutLogEvents")
    },
}
# In a private network Lambda puts an interface there for each function; interfaces get their ids when they are made.
NETWORK = {
    (f"ec2:{action}", "*")
    for action in (
        *("AssignPrivateIpAddresses", "CreateNetworkInterface", "DeleteNetworkInterface", "DescribeNetworkInterfaces"),
        *("DescribeSubnets", "UnassignPrivateIpAddresses"),
    )
}
FLOWS = ARN.format("logs", "log-group:/aws/vpc/serverlessapp-pets:*")
IN_A_NETWORK = {
    **RUNTIME,
    **{role: RUNTIME[role] | NETWORK for role in FUNCTIONS},
    "pets/network/flow_logs_role": {
        *((f"logs:{action}", FLOWS) for action in ("CreateLogStream", "DescribeLogStreams", "PutLogEvents")),
        ("logs:DescribeLogGroups", "*"),
    },
}


@pytest.mark.parametrize("role", GRANTS)
def test_grants(pets, pets_switched, role):
    """C8, P2: what the code does; the switches add nothing to it."""
    assert pets.permissions(role, "grants") == GRANTS[role]
    assert pets_switched.permissions(role, "grants") == GRANTS[role]


@pytest.mark.parametrize("role", RUNTIME)
def test_runtime(pets, role):
    """C8, C9: logs, tracing, dead letters. Functions may not create log groups."""
    assert pets.permissions(role, "runtime") == RUNTIME[role]


@pytest.mark.parametrize("role", IN_A_NETWORK)
def test_runtime_in_a_private_network(pets_switched, role):
    """C8, P8a: the functions' interfaces, and the flow logs of the network."""
    assert pets_switched.permissions(role, "runtime") == IN_A_NETWORK[role]


@pytest.mark.parametrize(("stack", "runtime"), [("pets", RUNTIME), ("pets_switched", IN_A_NETWORK)])
def test_no_other_policy_and_no_other_role(request, stack, runtime):
    """C8: the tables above are complete."""
    found = request.getfixturevalue(stack)
    assert set(found.all("aws_iam_role")) == {f"{role}/role" for role in {*GRANTS, *runtime}}
    assert set(found.all("aws_iam_role_policy")) == {
        *(f"{role}/grants_policy" for role in GRANTS),
        *(f"{role}/runtime_policy" for role in runtime),
    }
    assert {kind for kind in found.kinds() if kind.startswith("aws_iam")} == {"aws_iam_role", "aws_iam_role_policy"}
    roles = found.all("aws_iam_role")
    assert not [path for path, body in roles.items() if {"managed_policy_arns", "inline_policy"} & set(body)]


def test_dev_has_the_same_without_what_it_leaves_out(pets_dev):
    """P8a, C8: neither CodeDeploy nor CloudTrail is there, and so are not their roles."""
    left_out = {"pets/live/role", "pets/trail/role"}
    assert set(pets_dev.all("aws_iam_role")) == {f"{role}/role" for role in {*GRANTS, *RUNTIME} - left_out}
    for role in set(GRANTS) - left_out:
        found = pets_dev.permissions(role, "grants")
        assert {action for action, _ in found} == {action for action, _ in GRANTS[role]}


def test_permissions_follow_the_environment(pets_staging):
    """C5c, C8: another environment's roles name its own resources only."""
    for path in GRANTS:
        for action, resource in pets_staging.permissions(path, "grants"):
            assert "staging" in resource or resource in (KEY, "*"), f"{path} may {action} on {resource}"


def test_only_the_processor_reaches_rekognition(pets):
    """P2: the API's function has no right to it, nor has anybody else."""
    actions = {role: {action for action, _ in pets.permissions(role, "grants")} for role in GRANTS}
    assert [role for role, own in actions.items() if any(each.startswith("rekognition:") for each in own)] == [
        "pets/image_processor/role"
    ]


def test_resources_let_in_nobody_else(pets):
    """C7, C8: what is allowed by a resource's own policy: access logs, the trail, dead letters, alarms, the budget, the API."""
    allowed = {
        (path.rsplit("/", 1)[0].removeprefix("pets/"), action, principal)
        for kind in ("aws_s3_bucket_policy", "aws_sqs_queue_policy", "aws_sns_topic_policy")
        for path, body in pets.all(kind).items()
        for statement in pets.statements(body["policy"])
        if statement.get("effect", "Allow") == "Allow"
        for action in statement["actions"]
        for each in statement["principals"]
        for principal in each["identifiers"]
    }
    assert allowed == {
        ("access_logs", "s3:PutObject", "logging.s3.amazonaws.com"),
        ("trail/bucket", "s3:GetBucketAcl", "cloudtrail.amazonaws.com"),
        ("trail/bucket", "s3:PutObject", "cloudtrail.amazonaws.com"),
        ("uploaded/dead_letters", "sqs:SendMessage", "events.amazonaws.com"),
        ("not_succeeded/dead_letters", "sqs:SendMessage", "events.amazonaws.com"),
        ("alerts", "sns:Publish", "cloudwatch.amazonaws.com"),
        ("alerts", "sns:Publish", "budgets.amazonaws.com"),
    }
    assert {body["principal"] for body in pets.all("aws_lambda_permission").values()} == {"apigateway.amazonaws.com"}


CALLS = {
    "s3": {
        *((f"s3:{action}Object", f"{BUCKET}/*") for action in ("Delete", "Get", "Put")),
        ("s3:GetObjectVersion", f"{BUCKET}/*"),
        ("s3:ListBucket", BUCKET),
    },
    "dynamodb": {
        *((f"dynamodb:{action}Item", TABLE) for action in ("Get", "Put", "Update")),
        ("dynamodb:Query", f"{TABLE}/index/*"),
    },
    "rekognition": {("rekognition:DetectLabels", "*")},
    "sns": {("sns:Publish", TOPIC)},
}


def test_what_may_leave_the_private_network(pets_switched):
    """P8a: these calls of this account, and all that the functions are granted but encryption, which SNS itself asks for."""
    endpoints = pets_switched.all("aws_vpc_endpoint")
    assert set(endpoints) == {f"pets/network/{service}_endpoint" for service in CALLS}
    for service, calls in CALLS.items():
        statements = pets_switched.readable(pets_switched.statements(endpoints[f"pets/network/{service}_endpoint"]["policy"]))
        found = {(action, resource) for each in statements for action in each["actions"] for resource in each["resources"]}
        assert found == calls
        for each in statements:
            own = {"test": "StringEquals", "variable": "aws:PrincipalAccount", "values": ["111122223333"]}
            assert each["condition"] == [own]
    may_leave = {action for calls in CALLS.values() for action, _ in calls}
    granted = {action for role in FUNCTIONS for action, _ in GRANTS[role]}
    assert granted - may_leave == {"kms:Decrypt", "kms:GenerateDataKey"}
    assert may_leave <= granted
