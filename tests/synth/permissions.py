"""What every function and every state machine needs to start and to report (C8, C9, C10), as (action, resource) pairs."""

ARN = "arn:aws:{}:us-east-1:111122223333:{}"


def function_runtime(name: str) -> set[tuple[str, str]]:
    """The runtime policy of the function of this name."""
    return {
        ("logs:CreateLogStream", ARN.format("logs", f"log-group:/aws/lambda/{name}:*")),
        ("logs:PutLogEvents", ARN.format("logs", f"log-group:/aws/lambda/{name}:*")),
        ("xray:PutTraceSegments", "*"),
        ("xray:PutTelemetryRecords", "*"),
        ("sqs:SendMessage", ARN.format("sqs", f"{name}-dlq")),
    }


MACHINE_RUNTIME = {
    *((f"logs:{action}LogDelivery", "*") for action in ("Create", "Delete", "Get", "Update")),
    ("logs:ListLogDeliveries", "*"),
    ("logs:DescribeLogGroups", "*"),
    ("logs:DescribeResourcePolicies", "*"),
    ("logs:PutResourcePolicy", "*"),
    *(
        (f"xray:{action}", "*")
        for action in ("PutTraceSegments", "PutTelemetryRecords", "GetSamplingRules", "GetSamplingTargets")
    ),
}
