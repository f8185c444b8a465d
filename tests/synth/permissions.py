"""What every function and every state machine needs to start and to report (C8, C9, C10), as (action, resource) pairs."""

import re


def function_runtime(name: str, region: str = "us-east-1") -> set[tuple[str, str]]:
    """The runtime policy of the function of this name."""
    account = f"{region}:111122223333"
    dead_letters = re.sub(r"(-prod)?$", r"-dlq\1", name, count=1)
    return {
        ("logs:CreateLogStream", f"arn:aws:logs:{account}:log-group:/aws/lambda/{name}:*"),
        ("logs:PutLogEvents", f"arn:aws:logs:{account}:log-group:/aws/lambda/{name}:*"),
        ("xray:PutTraceSegments", "*"),
        ("xray:PutTelemetryRecords", "*"),
        ("sqs:SendMessage", f"arn:aws:sqs:{account}:{dead_letters}"),
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
