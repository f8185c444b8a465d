"""R5, R3b: streams of tables and throttled tables as the ingestion meets them on AWS."""

import json

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import throttled

SAYS_WHAT_IT_SEES = """
    import json

    def handler(event, context):
        ids = [record["dynamodb"]["Keys"]["id"]["S"] for record in event["Records"]]
        print(json.dumps({"sees": ids}))
"""
RAISES = SAYS_WHAT_IT_SEES + """
        if "poison" in ids:
            raise ValueError("poison")
"""
REPORTS = SAYS_WHAT_IT_SEES + """
        return {"batchItemFailures": [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]} for record in event["Records"]
                                      if record["dynamodb"]["Keys"]["id"]["S"] == "poison"]}
"""


@pytest.fixture
def follow(aws, make):
    """`follow(code)` has a function follow a table that already holds a, b, poison, c, with one retry, and gives what it sees,
    invocation by invocation, and the on-failure queue's messages."""

    def start(code: str):
        table, function, (url, arn) = make.table(), make.function(code), make.queue()
        dynamodb, functions = aws.client("dynamodb"), aws.client("lambda")
        stream = dynamodb.update_table(TableName=table, StreamSpecification={
            "StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})["TableDescription"]["LatestStreamArn"]
        for name in ("a", "b", "poison", "c"):
            dynamodb.put_item(TableName=table, Item={"id": {"S": name}})
        functions.create_event_source_mapping(
            EventSourceArn=stream, FunctionName=function, StartingPosition="TRIM_HORIZON", MaximumRetryAttempts=1,
            BisectBatchOnFunctionError=True, FunctionResponseTypes=["ReportBatchItemFailures"],
            DestinationConfig={"OnFailure": {"Destination": arn}})
        [message] = make.poll(lambda: aws.client("sqs").receive_message(QueueUrl=url).get("Messages"))
        dynamodb.put_item(TableName=table, Item={"id": {"S": "later"}})
        make.poll(lambda: ["later"] in seen(function))
        return seen(function), json.loads(message["Body"])

    def seen(function: str) -> list[list[str]]:
        events = aws.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{function.rpartition(':')[2]}")["events"]
        return [json.loads(event["message"])["sees"] for event in events if event["message"].startswith('{"sees"')]

    return start


def test_batch_whose_function_raises_is_halved(follow):
    """R5: until the poisonous record is alone; after its retry it is in the queue, and the others have been handled."""
    seen, failure = follow(RAISES)
    assert seen == [["a", "b", "poison", "c"], ["a", "b"], ["poison", "c"], ["poison"], ["poison"], ["c"], ["later"]]
    assert failure["requestContext"]["condition"] == "RetryAttemptsExhausted" and failure["DDBStreamBatchInfo"]["batchSize"] == 1


def test_reported_records_are_tried_again_with_what_follows(follow):
    """R5: what comes before the first reported one does not come again; the rest goes to the queue after its retry."""
    seen, failure = follow(REPORTS)
    assert seen == [["a", "b", "poison", "c"], ["poison", "c"], ["poison", "c"], ["later"]]
    assert failure["DDBStreamBatchInfo"]["batchSize"] == 2


def test_tables_are_throttled_on_demand(aws, make):
    """R3b: so many writes are refused, in one region, and no more."""
    write = {"TableName": make.table(), "Item": {"id": {"S": "1"}}}
    dynamodb = aws.client("dynamodb")
    throttled(aws, "us-west-2", write["TableName"], 10)
    dynamodb.put_item(**write)
    throttled(aws, "us-east-1", write["TableName"], 1_000)
    with pytest.raises(ClientError, match="ThrottlingException"):  # after botocore's own attempts
        dynamodb.put_item(**write)
    assert 0 < throttled(aws, "us-east-1", write["TableName"], 2) < 1_000
    dynamodb.put_item(**write)
    assert throttled(aws, "us-east-1", write["TableName"], 0) == 0
    assert throttled(aws, "us-west-2", write["TableName"], 0) == 10
