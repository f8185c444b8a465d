"""L1, C13: IAM on the embedded AWS denies what AWS denies, so that a right that a test finds sufficient is also necessary."""

import json

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError


@pytest.fixture
def acting(make, aws):
    """`acting(service, *statements)`: a client of a role that may do those and nothing else."""
    def client(service: str, *statements):
        role = make.role(*statements)
        aws.client("iam").update_assume_role_policy(RoleName=role.rsplit("/", 1)[-1], PolicyDocument=json.dumps({
            "Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}}]}))
        keys = aws.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        return boto3.client(service, region_name=aws.region, endpoint_url=aws.endpoint, aws_access_key_id=keys["AccessKeyId"],
                            aws_secret_access_key=keys["SecretAccessKey"], aws_session_token=keys["SessionToken"],
                            config=Config(s3={"addressing_style": "path"}))
    return client


def refusal(call, **arguments) -> str | None:
    """The code of the error that the call meets; None if it succeeds."""
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None


@pytest.fixture
def bucket(make, aws):
    """Name of a versioned bucket with one object `k`, that object's version and ETag."""
    name, s3 = make.bucket(), aws.client("s3")
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    put = s3.put_object(Bucket=name, Key="k", Body=b"1")
    return name, put["VersionId"], put["ETag"]


def test_reading_a_version_is_a_right_of_its_own(acting, bucket):
    """E11: GetObjectVersion on `raw/*`."""
    name, version, _ = bucket
    current, versions = (acting("s3", (f"s3:{action}", f"arn:aws:s3:::{name}/*")) for action in ("GetObject", "GetObjectVersion"))
    assert refusal(current.get_object, Bucket=name, Key="k") is None
    assert refusal(current.get_object, Bucket=name, Key="k", VersionId=version) == "AccessDenied"
    assert refusal(versions.get_object, Bucket=name, Key="k") == "AccessDenied"
    assert refusal(versions.get_object, Bucket=name, Key="k", VersionId=version) is None
    assert refusal(versions.head_object, Bucket=name, Key="k", VersionId=version) is None


def test_deleting_a_version_is_a_right_of_its_own(acting, bucket):
    """E4d: no permission to delete versions exists."""
    name, version, _ = bucket
    s3 = acting("s3", ("s3:DeleteObject", f"arn:aws:s3:::{name}/*"))
    assert refusal(s3.delete_object, Bucket=name, Key="k", VersionId=version) == "AccessDenied"
    assert refusal(s3.delete_object, Bucket=name, Key="k") is None


def test_missing_is_denied_to_those_who_may_not_list(acting, bucket):
    """E11: ListBucket, so that *missing* is not *denied*."""
    name, *_ = bucket
    objects, itself = f"arn:aws:s3:::{name}/*", f"arn:aws:s3:::{name}"
    reader, lister = acting("s3", ("s3:GetObject", objects)), acting("s3", ("s3:GetObject", objects), ("s3:ListBucket", itself))
    for client, get, head in ((reader, "AccessDenied", "403"), (lister, "NoSuchKey", "404")):
        assert refusal(client.get_object, Bucket=name, Key="absent") == get
        assert refusal(client.head_object, Bucket=name, Key="absent") == head


def test_writes_need_what_their_headers_ask_for(acting, bucket):
    """E11: GetObject on `processed/*`, which `If-Match` needs."""
    name, _, etag = bucket
    objects = f"arn:aws:s3:::{name}/*"
    writer = acting("s3", ("s3:PutObject", objects))
    put = {"Bucket": name, "Key": "k", "Body": b"2"}
    assert refusal(writer.put_object, **put, IfMatch=etag) == "AccessDenied"
    assert refusal(writer.put_object, **put, Tagging="a=b") == "AccessDenied"
    assert refusal(writer.put_object, **put, IfNoneMatch="*") == "PreconditionFailed"
    assert refusal(acting("s3", ("s3:PutObject", objects), ("s3:GetObject", objects)).put_object, **put, IfMatch=etag) is None


def test_listing_obeys_the_prefix_condition(acting, bucket):
    name, *_ = bucket
    s3 = acting("s3", ("s3:ListBucket", f"arn:aws:s3:::{name}", {"StringLike": {"s3:prefix": ["raw/*"]}}))
    assert refusal(s3.list_objects_v2, Bucket=name, Prefix="raw/a") is None
    assert refusal(s3.list_objects_v2, Bucket=name, Prefix="processed/") == "AccessDenied"
    assert refusal(s3.list_objects_v2, Bucket=name) == "AccessDenied"


def test_starting_an_execution_is_a_right(acting, make):
    """E3a, E11: StartExecution on its machine."""
    machine = make.machine(make.role(), {"Done": {"Type": "Succeed"}})
    assert refusal(acting("stepfunctions").start_execution, stateMachineArn=machine) == "AccessDeniedException"
    allowed = acting("stepfunctions", ("states:StartExecution", machine))
    assert refusal(allowed.start_execution, stateMachineArn=machine) is None
    assert refusal(allowed.describe_execution, executionArn=machine.replace("stateMachine", "execution") + ":x") == \
        "AccessDeniedException"


def test_an_encrypted_topic_needs_its_key(acting, make, aws):
    """E9, E11: the topic's key."""
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    topic = aws.client("sns").create_topic(Name=make.name("topic"), Attributes={"KmsMasterKeyId": key})["TopicArn"]
    publish = {"TopicArn": topic, "Message": "m"}
    assert refusal(acting("sns").publish, **publish) == "AuthorizationError"
    assert refusal(acting("sns", ("sns:Publish", topic)).publish, **publish) == "KMSAccessDenied"
    rights = [("sns:Publish", topic), ("kms:GenerateDataKey*", key), ("kms:Decrypt", key)]
    assert refusal(acting("sns", *rights).publish, **publish) is None
    states = "arn:aws:states:::sns:publish"
    assert make.run(make.task(make.role(rights[0]), states, publish))["error"] == "SNS.KMSAccessDeniedException"
    assert make.run(make.task(make.role(*rights), states, publish))["status"] == "SUCCEEDED"


def test_a_function_needs_a_role_that_lambda_may_assume(make, aws):
    with pytest.raises(ClientError, match="cannot be assumed by Lambda"):
        aws.client("lambda").create_function(FunctionName=make.name("function"), Runtime="python3.13", Handler="code.handler",
                                             Role=make.role(service="states"), Code={"ZipFile": b"x"})
