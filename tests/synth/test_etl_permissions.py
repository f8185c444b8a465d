"""Who may do what in the ETL pipeline (E11, C8): the whole matrix. One line more or less in any role fails here."""

import pytest

from tests.synth.permissions import MACHINE_RUNTIME, function_runtime

BUCKET = "arn:aws:s3:::etl-pipeline-111122223333"
ARN = "arn:aws:{}:us-east-1:111122223333:{}"
TABLE = ARN.format("dynamodb", "table/etl-file-metadata")
TOPIC = ARN.format("sns", "etl-failures")
KEY = "<aws_kms_key etl/failures/key arn>"
PIPELINE = ARN.format("states", "stateMachine:etl-pipeline")
PIPELINE_EXECUTIONS = ARN.format("states", "execution:etl-pipeline")
RECOVERY = ARN.format("states", "stateMachine:etl-recovery")
RECOVERY_EXECUTIONS = ARN.format("states", "execution:etl-recovery")
VALIDATION = ARN.format("lambda", "function:etl-validation")
TRANSFORMATION = ARN.format("lambda", "function:etl-transformation")

ANNOUNCE = {("sns:Publish", TOPIC), ("kms:Decrypt", KEY), ("kms:GenerateDataKey", KEY)}

# One addition to E11: GetObject on raw/*. S3's conditional delete by ETag takes it beside DeleteObject, and HEAD of the current
# version is it (S3 user guide, "How to perform conditional deletes"); without the condition a newer upload would be hidden.
GRANTS = {
    "etl/validation/role": {
        ("s3:GetObjectVersion", f"{BUCKET}/raw/*"),
        ("s3:GetObject", f"{BUCKET}/raw/*"),
        ("s3:DeleteObject", f"{BUCKET}/raw/*"),
        ("s3:PutObject", f"{BUCKET}/failed/*"),
        ("s3:ListBucket", BUCKET),
        ("states:StartExecution", PIPELINE),
        *ANNOUNCE,
    },
    "etl/transformation/role": {
        ("s3:GetObjectVersion", f"{BUCKET}/raw/*"),
        ("s3:GetObject", f"{BUCKET}/raw/*"),
        ("s3:DeleteObject", f"{BUCKET}/raw/*"),
        ("s3:GetObject", f"{BUCKET}/processed/*"),
        ("s3:PutObject", f"{BUCKET}/processed/*"),
        ("s3:AbortMultipartUpload", f"{BUCKET}/processed/*"),
        ("s3:PutObject", f"{BUCKET}/failed/*.rejects/*"),
        ("s3:ListBucket", BUCKET),
    },
    "etl/pipeline/role": {
        ("lambda:InvokeFunction", VALIDATION),
        ("lambda:InvokeFunction", TRANSFORMATION),
        ("dynamodb:PutItem", TABLE),
        ("dynamodb:UpdateItem", TABLE),
        ("states:StartExecution", PIPELINE),
        *(
            (f"states:{action}Execution", PIPELINE_EXECUTIONS + names)
            for action in ("Describe", "Stop")
            for names in (":*", "/*")  # its own, and those of its map (E12)
        ),
        *ANNOUNCE,
    },
    "etl/recovery/role": {
        ("lambda:InvokeFunction", VALIDATION),
        ("dynamodb:UpdateItem", TABLE),
        *ANNOUNCE,
    },
    "etl/sweep/role": {
        ("s3:ListBucket", BUCKET),
        ("s3:GetObject", f"{BUCKET}/raw/*"),
        ("dynamodb:Query", TABLE),
        ("dynamodb:Query", f"{TABLE}/index/status-index"),
        ("states:StartExecution", PIPELINE),
        ("states:StartExecution", RECOVERY),
        ("states:DescribeExecution", PIPELINE_EXECUTIONS + ":*"),
        ("states:DescribeExecution", RECOVERY_EXECUTIONS + ":*"),
    },
    "etl/not_succeeded/role": {
        ("states:StartExecution", RECOVERY),
    },
}


RUNTIME = {
    "etl/validation/role": function_runtime("etl-validation"),
    "etl/transformation/role": function_runtime("etl-transformation"),
    "etl/sweep/role": function_runtime("etl-sweep"),
    "etl/pipeline/role": MACHINE_RUNTIME,
    "etl/recovery/role": MACHINE_RUNTIME,
}


@pytest.mark.parametrize("role", GRANTS)
def test_grants(etl, role):
    """E11: what the code does."""
    assert etl.permissions(role, "grants") == GRANTS[role]


@pytest.mark.parametrize("role", RUNTIME)
def test_runtime(etl, role):
    """E11: logs, tracing, dead letters. Functions may not create log groups (C9)."""
    assert etl.permissions(role, "runtime") == RUNTIME[role]


def test_no_other_policy_and_no_other_role(etl):
    """E11: the tables above are complete."""
    assert set(etl.all("aws_iam_role")) == {f"{role}/role" for role in GRANTS}
    assert set(etl.all("aws_iam_role_policy")) == {
        *(f"{role}/grants_policy" for role in GRANTS),
        *(f"{role}/runtime_policy" for role in RUNTIME),
    }
    assert not [
        kind for kind in etl.kinds() if kind.startswith("aws_iam") and kind not in ("aws_iam_role", "aws_iam_role_policy")
    ]
    assert not [path for path, body in etl.all("aws_iam_role").items() if {"managed_policy_arns", "inline_policy"} & set(body)]


def test_nobody_can_delete_a_version(any_stack):
    """E4d."""
    assert "DeleteObjectVersion" not in any_stack.text


def test_permissions_follow_the_environment(staging):
    """C5c, C8: another environment's roles name its own resources only."""
    for path in GRANTS:
        for action, resource in staging.permissions(path, "grants"):
            assert "staging" in resource or resource == KEY, f"{path} may {action} on {resource}"
