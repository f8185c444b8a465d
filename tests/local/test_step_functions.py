"""L1: Step Functions behaves on the embedded AWS as on AWS where this project depends on it."""

import json

import pytest
from botocore.exceptions import ClientError

INVOKE = "arn:aws:states:::lambda:invoke"
WAIT = {"Wait": {"Type": "Wait", "Seconds": 30, "End": True}}
ECHO = "def handler(event, context):\n    return event\n"


class TestTasksAreCallsOfTheMachinesRole:
    """L1, E11: IAM is enforced on what a machine does."""

    def test_lambda_invoke_needs_the_permission(self, make):
        function = make.function(ECHO)
        denied = make.run(make.task(make.role(), INVOKE, {"FunctionName": function, "Payload": {"a": 1}}))
        assert denied["status"] == "FAILED"
        assert denied["error"] == "Lambda.AWSLambdaException"
        assert "AccessDeniedException" in denied["cause"] and "lambda:InvokeFunction" in denied["cause"]

        allowed = make.run(make.task(make.role(("lambda:InvokeFunction", function)), INVOKE,
                                     {"FunctionName": function, "Payload": {"a": 1.5, "b": ["ü", None]}}))
        assert allowed["output"]["Payload"] == {"a": 1.5, "b": ["ü", None]}
        assert allowed["output"]["StatusCode"] == 200

    def test_function_arn_as_resource(self, make):
        function = make.function(ECHO)
        assert make.run(make.task(make.role(("lambda:InvokeFunction", function)), function, {"a": 1}))["output"] == {"a": 1}

    @pytest.mark.parametrize("resource, unmet, denied", [
        ("arn:aws:states:::dynamodb:putItem", "DynamoDB.ConditionalCheckFailedException", "DynamoDB.AmazonDynamoDBException"),
        ("arn:aws:states:::aws-sdk:dynamodb:putItem", "DynamoDb.ConditionalCheckFailedException", "DynamoDb.DynamoDbException"),
    ])
    def test_dynamodb_errors_have_the_integrations_names(self, make, resource, unmet, denied):
        table = make.table()
        put = {"TableName": table, "Item": {"id": {"S": "1"}}, "ConditionExpression": "attribute_not_exists(id)"}
        role = make.role(("dynamodb:PutItem", f"arn:aws:dynamodb:us-east-1:000000000000:table/{table}"))
        machine = make.task(role, resource, put)
        assert make.run(machine)["status"] == "SUCCEEDED"
        assert make.run(machine)["error"] == unmet
        assert make.run(make.task(make.role(), resource, put))["error"] == denied

    def test_s3_read_needs_the_version_permission(self, make, aws):
        bucket, s3 = make.bucket(), aws.client("s3")
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        version = s3.put_object(Bucket=bucket, Key="k", Body="{\"ä\": 1}".encode())["VersionId"]
        get = {"Bucket": bucket, "Key": "k", "VersionId": version}
        objects = f"arn:aws:s3:::{bucket}/*"
        read = make.run(make.task(make.role(("s3:GetObjectVersion", objects)), "arn:aws:states:::aws-sdk:s3:getObject", get))
        assert read["output"]["Body"] == "{\"ä\": 1}"
        denied = make.run(make.task(make.role(("s3:GetObject", objects)), "arn:aws:states:::aws-sdk:s3:getObject", get))
        assert denied["error"] == "S3.S3Exception" and "AccessDenied" in denied["cause"]

    def test_s3_missing_object(self, make):
        bucket = make.bucket()
        role = make.role(("s3:GetObject", f"arn:aws:s3:::{bucket}/*"), ("s3:ListBucket", f"arn:aws:s3:::{bucket}"))
        for action in ("getObject", "headObject"):
            failed = make.run(make.task(role, f"arn:aws:states:::aws-sdk:s3:{action}", {"Bucket": bucket, "Key": "absent"}))
            assert failed["error"] == "S3.NoSuchKeyException"

    def test_sns_and_sqs(self, make, aws):
        topic = aws.client("sns").create_topic(Name=make.name("topic"))["TopicArn"]
        url, queue = make.queue()
        publish = {"TopicArn": topic, "Subject": "s", "Message": {"a": 1}}  # JSON where the API takes text
        send = {"QueueUrl": url, "MessageBody": {"a": 1}}
        for resource, right, arguments, error in (
            ("arn:aws:states:::sns:publish", ("sns:Publish", topic), publish, "SNS.AuthorizationErrorException"),
            ("arn:aws:states:::sqs:sendMessage", ("sqs:SendMessage", queue), send, "SQS.AmazonSQSException"),
        ):
            assert make.run(make.task(make.role(right), resource, arguments))["output"]["MessageId"]
            assert make.run(make.task(make.role(), resource, arguments))["error"] == error
        message = aws.client("sqs").receive_message(QueueUrl=url)["Messages"][0]
        assert json.loads(message["Body"]) == {"a": 1}

    def test_a_nested_execution_runs_under_its_own_machines_role(self, make):
        function = make.function(ECHO)
        inner = make.task(make.role(("lambda:InvokeFunction", function)), INVOKE, {"FunctionName": function, "Payload": {"x": 1}})
        executions = inner.replace("stateMachine", "execution") + ":*"
        may = make.role(("states:StartExecution", inner), ("states:DescribeExecution", executions))
        arguments = {"StateMachineArn": inner, "Input": {"a": 1}}
        done = make.run(make.task(may, "arn:aws:states:::states:startExecution.sync:2", arguments))
        assert done["output"]["Output"]["Payload"] == {"x": 1}
        started = make.run(make.task(may, "arn:aws:states:::states:startExecution", arguments))
        assert started["output"]["ExecutionArn"].startswith(executions[:-1])
        denied = make.run(make.task(make.role(), "arn:aws:states:::states:startExecution", arguments))
        assert denied["error"] == "StepFunctions.AWSStepFunctionsException" and "states:StartExecution" in denied["cause"]

    def test_the_role_holds_in_every_branch(self, make):
        """Map, Parallel and time-outs run in threads of their own."""
        function = make.function(ECHO)
        task = {"Type": "Task", "Resource": INVOKE, "TimeoutSeconds": 20, "End": True,
                "Arguments": {"FunctionName": function, "Payload": "{% $states.input %}"},
                "Output": "{% $states.result.Payload %}"}
        states = {
            "Each": {"Type": "Map", "Items": [1, 2, 3], "Next": "Both",
                     "ItemProcessor": {"StartAt": "T", "States": {"T": task}}},
            "Both": {"Type": "Parallel", "End": True, "Branches": [{"StartAt": "T", "States": {"T": task}}] * 2},
        }
        assert make.run(make.machine(make.role(("lambda:InvokeFunction", function)), states))["output"] == [[1, 2, 3]] * 2
        assert make.run(make.machine(make.role(), states))["error"] == "Lambda.AWSLambdaException"

    def test_timeout_seconds_of_a_state(self, make):
        function = make.function("import time\ndef handler(event, context):\n    time.sleep(10)\n")
        machine = make.task(make.role(("lambda:InvokeFunction", function)), INVOKE, {"FunctionName": function}, TimeoutSeconds=1)
        assert make.run(machine)["error"] == "States.Timeout"

    def test_a_throttled_function(self, make, aws):
        function = make.function(ECHO)
        aws.client("lambda").put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
        machine = make.task(make.role(("lambda:InvokeFunction", function)), INVOKE, {"FunctionName": function})
        assert make.run(machine)["error"] == "Lambda.TooManyRequestsException"

    def test_a_role_that_does_not_trust_step_functions_is_refused(self, make, aws):
        for role in (make.role(service="lambda"), "arn:aws:iam::000000000000:role/absent"):
            with pytest.raises(ClientError):
                make.machine(role, {"Done": {"Type": "Succeed"}})

    def test_a_role_that_has_gone_fails_the_execution(self, make, aws):
        role = make.role()
        machine = make.machine(role, {"Done": {"Type": "Succeed"}})
        assert make.run(machine)["status"] == "SUCCEEDED"
        aws.client("iam").delete_role(RoleName=role.rsplit("/", 1)[-1])
        assert make.run(machine)["status"] == "FAILED"


class TestFunctionErrors:
    """L1, E7a: Retry and Catch match on the names AWS gives a function's failures."""

    @pytest.mark.parametrize("body, error", [
        ("class Broken(Exception): pass\n    raise Broken('why')", "Broken"),
        ("import json; json.loads('{')", "JSONDecodeError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "Runtime.ExitError"),
        ("import sys; sys.exit(3)", "Runtime.ExitError"),
        ("import time; time.sleep(5)", "Sandbox.Timedout"),
    ])
    def test_error_type_is_what_error_equals_matches(self, make, aws, body, error):
        function = make.function(f"def handler(event, context):\n    {body}\n", timeout=1)
        role = make.role(("lambda:InvokeFunction", function))
        answer = aws.client("lambda").invoke(FunctionName=function)
        payload = json.loads(answer["Payload"].read())
        assert (answer["FunctionError"], payload["errorType"]) == ("Unhandled", error)
        caught = make.run(make.machine(role, {
            "Task": {"Type": "Task", "Resource": INVOKE, "Arguments": {"FunctionName": function}, "End": True,
                     "Catch": [{"ErrorEquals": [error], "Next": "Caught", "Output": "{% $states.errorOutput %}"}]},
            "Caught": {"Type": "Succeed"}}))
        assert caught["output"]["Error"] == error
        assert json.loads(caught["output"]["Cause"])["errorType"] == error

    @pytest.mark.parametrize("code, error", [
        ("import nothing_of_that_name", "Runtime.ImportModuleError"),
        ("def other(event, context): pass", "Runtime.HandlerNotFound"),
        ("raise KeyError('x')", "KeyError"),
    ])
    def test_code_that_does_not_load(self, make, aws, code, error):
        answer = aws.client("lambda").invoke(FunctionName=make.function(code))
        assert json.loads(answer["Payload"].read())["errorType"] == error


def test_a_function_has_its_roles_rights_and_no_others(make, aws):
    """L1: IAM is enforced on Lambda code; R6."""
    bucket = make.bucket()
    put = ("import boto3\ndef handler(event, context):\n"
           f"    boto3.client('s3').put_object(Bucket='{bucket}', Key=event['key'], Body=b'1')\n")
    function = make.function(put, ("s3:PutObject", f"arn:aws:s3:::{bucket}/allowed/*"))
    invoke = lambda key: aws.client("lambda").invoke(FunctionName=function, Payload=json.dumps({"key": key}))
    assert "FunctionError" not in invoke("allowed/1")
    denied = json.loads(invoke("other/1")["Payload"].read())
    assert "(AccessDenied) when calling the PutObject operation" in denied["errorMessage"]


def test_tls_only_policies_let_loopback_in(make, aws):
    """C7, L1: a bucket that denies requests without TLS still serves a Lambda, which reaches the emulator over loopback."""
    bucket = make.bucket()
    aws.client("s3").put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
         "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]}))
    function = make.function("import boto3\ndef handler(event, context):\n"
                             f"    boto3.client('s3').put_object(Bucket='{bucket}', Key='k', Body=b'1')\n",
                             ("s3:PutObject", f"arn:aws:s3:::{bucket}/*"))
    assert "FunctionError" not in aws.client("lambda").invoke(FunctionName=function)


class TestExecutions:
    """L1: an execution starts once, ends once, and within limits."""

    def test_starting_twice_with_the_same_input_is_once(self, make, aws):
        """E3a: a claim that comes twice meets the running execution, or *already exists*."""
        sfn, machine = aws.client("stepfunctions"), make.machine(make.role(), WAIT)
        start = lambda given: sfn.start_execution(stateMachineArn=machine, name="claim", input=given)
        first = start('{"a": 1}')
        again = start('{"a": 1}')
        assert (again["executionArn"], again["startDate"]) == (first["executionArn"], first["startDate"])
        with pytest.raises(sfn.exceptions.ExecutionAlreadyExists):
            start('{"a": 2}')
        sfn.stop_execution(executionArn=first["executionArn"])
        with pytest.raises(sfn.exceptions.ExecutionAlreadyExists):
            start('{"a": 1}')

    @pytest.mark.parametrize("name", ["a b", "a/b", "x" * 81])
    def test_names_that_aws_refuses(self, make, aws, name):
        sfn, machine = aws.client("stepfunctions"), make.machine(make.role(), WAIT)
        with pytest.raises(sfn.exceptions.InvalidName):
            sfn.start_execution(stateMachineArn=machine, name=name)

    def test_a_machine_times_out_and_no_catch_runs(self, make):
        """E7b: what no catch sees."""
        function = make.function("import time\ndef handler(event, context):\n    time.sleep(4)\n")
        ended = make.run(make.machine(make.role(("lambda:InvokeFunction", function)), {
            "Task": {"Type": "Task", "Resource": INVOKE, "Arguments": {"FunctionName": function}, "End": True,
                     "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]},
            "Caught": {"Type": "Succeed"}}, TimeoutSeconds=1))
        assert ended["status"] == "TIMED_OUT"

    def test_an_aborted_execution_stays_aborted(self, make, aws):
        """The task that was running when it was stopped fails later; the status must not change."""
        function = make.function("import time\ndef handler(event, context):\n    time.sleep(1)\n    raise KeyError\n")
        sfn = aws.client("stepfunctions")
        machine = make.task(make.role(("lambda:InvokeFunction", function)), INVOKE, {"FunctionName": function})
        execution = sfn.start_execution(stateMachineArn=machine)["executionArn"]
        happened = lambda: {event["type"] for event in sfn.get_execution_history(executionArn=execution)["events"]}
        make.poll(lambda: "TaskScheduled" in happened())
        sfn.stop_execution(executionArn=execution)
        make.poll(lambda: "TaskFailed" in happened())
        assert sfn.describe_execution(executionArn=execution)["status"] == "ABORTED"

    @pytest.mark.parametrize("size, status", [(200_000, "SUCCEEDED"), (300_000, "FAILED")])
    def test_large_payloads_escape_states_all(self, make, size, status):
        """E7b: 256 KiB is the limit, and `States.ALL` doesn't catch what exceeds it."""
        function = make.function("def handler(event, context):\n    return 'x' * event['size']\n")
        ended = make.run(make.machine(make.role(("lambda:InvokeFunction", function)), {
            "Task": {"Type": "Task", "Resource": INVOKE, "Arguments": {"FunctionName": function, "Payload": {"size": size}},
                     "End": True, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]},
            "Caught": {"Type": "Succeed"}}))
        assert ended["status"] == status
        assert ended.get("error") == (None if status == "SUCCEEDED" else "States.DataLimitExceeded")

    def test_history_tells_states_and_times(self, make, aws):
        """O3: `explain` reads the states from the history."""
        ended = make.run(make.machine(make.role(), {"First": {"Type": "Pass", "Next": "Last"}, "Last": {"Type": "Succeed"}}))
        history = aws.client("stepfunctions").get_execution_history(executionArn=ended["executionArn"])["events"]
        entered = [event["stateEnteredEventDetails"]["name"] for event in history if event["type"].endswith("StateEntered")]
        assert entered == ["First", "Last"]
        assert all(event["timestamp"].tzinfo for event in history)


class TestDistributedMap:
    """E12, L1: pure JSONata, children that are executions of their own."""

    def machine(self, make, *statements):
        child = {"Type": "Pass", "End": True,
                 "Output": {"item": "{% $states.input.item %}", "id": "{% $states.context.Execution.Id %}",
                            "sees_outer": "{% $exists($outer) %}"}}
        return make.machine(make.role(*statements), {
            "Set": {"Type": "Pass", "Assign": {"outer": 1, "factor": 10}, "Next": "Map"},
            "Map": {"Type": "Map", "Items": "{% $states.input.items %}", "MaxConcurrency": "{% $states.input.at_once %}",
                    "ItemSelector": {"item": "{% $states.context.Map.Item.Value * $factor %}"},
                    "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                                      "StartAt": "Child", "States": {"Child": child}},
                    "Assign": {"count": "{% $count($states.result) %}"}, "Output": "{% $states.result %}", "Next": "Last"},
            "Last": {"Type": "Pass", "Output": {"results": "{% $states.input %}", "count": "{% $count %}"}, "End": True},
        })

    def test_fields_are_evaluated_and_children_are_alone(self, make):
        ended = make.run(self.machine(make, ("states:StartExecution", "*")), {"items": [1, 2, 3], "at_once": 2})
        results = ended["output"]["results"]
        assert [result["item"] for result in results] == [10, 20, 30]
        assert ended["output"]["count"] == 3
        assert not any(result["sees_outer"] for result in results)
        assert len({result["id"] for result in results} | {ended["executionArn"]}) == 4

    def test_the_role_must_be_allowed_to_start_the_children(self, make):
        """E11: the machine's role has rights for its own Map runs."""
        ended = make.run(self.machine(make), {"items": [1], "at_once": 1})
        assert ended["status"] == "FAILED" and "states:StartExecution" in ended["cause"]
