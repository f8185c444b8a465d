"""P2: the stand-in for Rekognition stands behind the emulator's signatures and IAM, and looks with its caller's permissions."""

import base64
import json

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.emulator import Emulator
from local.pictures import averaged, cat, png

SMALL = averaged(cat(), 2)
PICTURE = png(SMALL, {"labels": {"Cat": 97.4}})


@pytest.fixture
def rekognition_of(aws, make):
    """A client of a role that may do these things and nothing else."""

    def client(*statements):
        role = make.role(*statements, service="lambda")
        keys = aws.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        return boto3.client("rekognition", region_name=aws.region, endpoint_url=aws.endpoint,
                            config=Config(retries={"total_max_attempts": 1}), aws_access_key_id=keys["AccessKeyId"],
                            aws_secret_access_key=keys["SecretAccessKey"], aws_session_token=keys["SessionToken"])

    return client


@pytest.fixture
def stored(aws, make):
    """Two versions of a picture, as `S3Object` names them: a dog's, then a cat's."""
    s3, bucket = aws.client("s3"), make.bucket()
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    place = {"Bucket": bucket, "Key": "a b/ü.png"}
    versions = [s3.put_object(**place, Body=body)["VersionId"] for body in (png(SMALL, {"labels": {"Dog": 91}}), PICTURE)]
    return [{"Bucket": bucket, "Name": place["Key"], "Version": version} for version in versions]


def code_of(call, **arguments):
    with pytest.raises(ClientError) as failure:
        call(**arguments)
    return failure.value.response["Error"]["Code"]


def seen(answer):
    return {label["Name"]: label["Confidence"] for label in answer["Labels"]}


def test_labels_by_version(rekognition_of, stored):
    """P2: with GetObjectVersion for a version; a version is what it is, whatever came later."""
    bucket = f"arn:aws:s3:::{stored[0]['Bucket']}/*"
    client = rekognition_of(("rekognition:DetectLabels", "*"), ("s3:GetObjectVersion", bucket))
    old, new = (client.detect_labels(Image={"S3Object": place}, MinConfidence=50, MaxLabels=2) for place in stored)
    assert seen(old) == {"Animal": 91, "Canine": 91} and seen(new) == {"Animal": 97.4, "Cat": 97.4}
    assert old["LabelModelVersion"] == "3.0" and "OrientationCorrection" not in old
    assert old["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "application/x-amz-json-1.1"


def test_what_the_caller_may_not_read_is_no_object(rekognition_of, stored):
    """P2: GetObject for the current version, GetObjectVersion for a named one, or InvalidS3ObjectException."""
    place, bucket = stored[1], f"arn:aws:s3:::{stored[1]['Bucket']}/*"
    current = {name: place[name] for name in ("Bucket", "Name")}
    for action, image in (("s3:GetObject", place), ("s3:GetObjectVersion", current), ("s3:PutObject", current)):
        client = rekognition_of(("rekognition:DetectLabels", "*"), (action, bucket))
        assert code_of(client.detect_labels, Image={"S3Object": image}) == "InvalidS3ObjectException"
    client = rekognition_of(("rekognition:DetectLabels", "*"), ("s3:GetObject", bucket))
    assert "Cat" in seen(client.detect_labels(Image={"S3Object": current}))
    assert code_of(client.detect_labels, Image={"S3Object": {**current, "Name": "missing.png"}}) == "InvalidS3ObjectException"


def test_the_action_itself_is_needed(rekognition_of):
    """P2: nobody looks without rekognition:DetectLabels."""
    client = rekognition_of(("s3:*", "*"), ("rekognition:DetectFaces", "*"))
    assert code_of(client.detect_labels, Image={"Bytes": PICTURE}) == "AccessDeniedException"
    stranger = boto3.client("rekognition", region_name="us-east-1", endpoint_url=client.meta.endpoint_url,
                            aws_access_key_id="AKIAAAAAAAAAAAAAAAAA", aws_secret_access_key="x")
    assert code_of(stranger.detect_labels, Image={"Bytes": PICTURE}) == "UnrecognizedClientException"


def test_errors_have_their_class(rekognition_of):
    """P3: as `except client.exceptions.…` and Retry match them."""
    client = rekognition_of(("rekognition:*", "*"))
    throttled = png(SMALL, {"labels": {"Cat": 90}, "errors": ["ThrottlingException", "InternalServerError"]})
    with pytest.raises(client.exceptions.ThrottlingException):
        client.detect_labels(Image={"Bytes": throttled})
    with pytest.raises(client.exceptions.InternalServerError):
        client.detect_labels(Image={"Bytes": throttled})
    assert "Cat" in seen(client.detect_labels(Image={"Bytes": throttled}))
    with pytest.raises(client.exceptions.InvalidImageFormatException):
        client.detect_labels(Image={"Bytes": b"no image"})


FUNCTION = """
import base64, boto3
def handler(event, context):
    client = boto3.client("rekognition")
    return client.meta.endpoint_url, client.detect_labels(Image={"Bytes": base64.b64decode(event)})["Labels"][0]["Name"]
"""


def test_functions_reach_it(aws, make):
    """P2: from a Lambda, without any setting."""
    function = make.function(FUNCTION, ("rekognition:DetectLabels", "*"))
    told = aws.client("lambda").invoke(FunctionName=function, Payload=json.dumps(base64.b64encode(PICTURE).decode()))
    assert json.loads(told["Payload"].read()) == [aws.endpoint, "Animal"]


def test_another_stand_in_wins(tmp_path, make, monkeypatch):
    """L1: AWS_ENDPOINT_URL_REKOGNITION of the user's environment is the functions' too; a reset forgets what was counted."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_REKOGNITION", "http://127.0.0.1:1")
    with Emulator(folder=tmp_path) as aws:
        function = type(make)(aws).function("import boto3\ndef handler(event, context):\n"
                                            "    return boto3.client('rekognition').meta.endpoint_url\n")
        assert aws.client("lambda").invoke(FunctionName=function)["Payload"].read() == b'"http://127.0.0.1:1"'
        once = png(SMALL, {"errors": ["AccessDeniedException"]})
        client = aws.client("rekognition")
        assert code_of(client.detect_labels, Image={"Bytes": once}) == "AccessDeniedException"
        assert "Landscape" in seen(client.detect_labels(Image={"Bytes": once}))
        aws.reset()
        assert code_of(client.detect_labels, Image={"Bytes": once}) == "AccessDeniedException"
