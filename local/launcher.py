"""Start MiniStack, the embedded AWS, bent back to AWS's behaviour where it differs and this project would notice.

    python -m local.launcher          configured by MiniStack's environment variables; `local.emulator` sets them

Each shim is one function, named after the behaviour of AWS that it restores, and stands in `SHIMS` beside the MiniStack
function it wraps: it receives the original and then the call's own arguments. MiniStack is pinned, since the shims know its
insides: another version, or a function that is gone, stops the start with a message. Restored here, hence relied upon by the
tests of the local run; what stays different is listed in docs/local.md.

The names of Step Functions errors follow AWS's own: optimized integrations speak the first Java SDK (`DynamoDB.…`,
`Lambda.AWSLambdaException`), `aws-sdk:` integrations the second (`DynamoDb.…`, `S3.S3Exception`); an error the service's model
doesn't know, a denied permission above all, carries the service's general name. The denial of a Lambda and S3's missing key
were seen in published executions, the other names in the definitions and tests of public repositories; those of Step Functions
and EventBridge are formed by analogy.
"""

from __future__ import annotations

import asyncio
import contextvars
import datetime
import functools
import hashlib
import importlib.metadata
import ipaddress
import itertools
import json
import math
import os
import random
import re
import threading
import time
import uuid
from collections import Counter
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote
from xml.sax.saxutils import escape, unescape

import botocore.session
import h11
import urllib3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from botocore.model import Shape
from hypercorn.events import RawData
from hypercorn.protocol.h11 import H11Protocol
from ministack import app
from ministack.core import iam_actions, iam_evaluator, lambda_runtime, router
from ministack.core.responses import (
    AccountRegionScopedDict,
    error_response_json,
    error_response_xml,
    get_account_id,
    get_region,
    json_response,
    request_scope,
)
from ministack.core.router import extract_access_key_id
from ministack.services import (
    apigateway_v1,
    cloudwatch,
    cloudwatch_logs,
    dynamodb,
    eventbridge,
    iam,
    kms,
    lambda_svc,
    opensearchserverless,
    s3,
    sns,
    sqs,
    stepfunctions,
    sts,
)

from local import faults
from local.rekognition import PREFIX, Rekognition
from local.search import Engine, wanted

MINISTACK_VERSION = "1.5.33"
STATE_PAYLOAD_BYTES = 256 * 1024  # what a state may take in or give out (Step Functions quotas)
LAMBDA_SECONDS = 900  # longest a Lambda may run, hence longest a client of Lambda may have to wait
OPENSEARCH_URL = os.environ.pop("OPENSEARCH_URL", "")  # of a real OpenSearch; may hold a password, so no function inherits it

TaskError = stepfunctions._ExecutionError


# --- Step Functions: tasks are calls of the state machine's role -----------------------------------------------------------

_running: contextvars.ContextVar[dict | None] = contextvars.ContextVar("running execution", default=None)
_session = botocore.session.Session()
_clients: dict[tuple[str, str, str], Any] = {}
_clients_lock = threading.Lock()

_BOTO_SERVICES = {"states": "stepfunctions", "sfn": "stepfunctions", "cloudwatchlogs": "logs", "eventbridge": "events"}
# Optimized integration: prefix of its errors, and the name of an error that the service's model doesn't know.
_OPTIMIZED_ERRORS = {
    "lambda": ("Lambda", "AWSLambdaException"),
    "dynamodb": ("DynamoDB", "AmazonDynamoDBException"),
    "sns": ("SNS", "AmazonSNSException"),
    "sqs": ("SQS", "AmazonSQSException"),
    "states": ("StepFunctions", "AWSStepFunctionsException"),
    "events": ("EventBridge", "AmazonEventBridgeException"),
}
# The second Java SDK translates a HEAD's bare 404 (its ExceptionTranslationInterceptor).
_HEAD_NOT_FOUND = {"HeadObject": "NoSuchKey", "HeadBucket": "NoSuchBucket"}
_TASK = re.compile(r"arn:aws[\w-]*:states:::(?P<sdk>aws-sdk:)?(?P<service>[\w-]+):(?P<action>\w+)(?P<sync>\.sync(?::2)?)?")
_FUNCTION = re.compile(r"arn:aws[\w-]*:lambda:[\w-]+:\d{12}:function:.+")


def role_cannot_be_assumed(role_arn: str, service: str, source_arn: str) -> str | None:
    """Why `service` (such as `states.amazonaws.com`) may not assume the role on behalf of `source_arn`; None if it may."""
    role = iam._roles.get(role_arn.rsplit("/", 1)[-1])
    if role is None or role["Arn"] != role_arn:
        return f"The role {role_arn} does not exist"
    trust = json.loads(role["AssumeRolePolicyDocument"])
    statements = trust["Statement"] if isinstance(trust["Statement"], list) else [trust["Statement"]]
    caller = iam_evaluator.EvalContext(
        principal_arn=service, principal_type="Service", principal_account=get_account_id(), action="sts:AssumeRole",
        resource_arn=role_arn, region=get_region(),
        service_context={"aws:sourceaccount": get_account_id(), "aws:sourcearn": source_arn},
    )
    for statement in statements:
        if (statement["Effect"] == "Allow" and iam_evaluator._service_principal_matches(statement.get("Principal"), service)
                and iam_evaluator._conditions_met(statement.get("Condition", {}), caller)):
            return None
    return f"Neither the global service principal {service}, nor the regional one is authorized to assume {role_arn}"


def role_credentials(role_arn: str) -> dict[str, str]:
    """Credentials of a session of the role that IAM knows and evaluates; the same ones for every session of a role."""
    digest = hashlib.sha256(f"{get_account_id()} {role_arn}".encode()).hexdigest()
    name, key, secret, token = role_arn.rsplit("/", 1)[-1], "ASIA" + digest[:16].upper(), digest[16:56], digest[::-1]
    sts.register_session(key, {
        "Arn": f"arn:aws:sts::{get_account_id()}:assumed-role/{name}/{digest[:32]}", "UserId": f"{name}:{digest[:32]}",
        "SecretAccessKey": secret, "SessionToken": token, "AccountId": get_account_id(), "PrincipalType": "AssumedRole",
    })
    return {"aws_access_key_id": key, "aws_secret_access_key": secret, "aws_session_token": token}


def client_of_role(service: str, role_arn: str):
    """A client of the emulator itself that signs as the role. Retries are the state machine's business, not the client's."""
    credentials = role_credentials(role_arn)  # registered each time: a reset of the emulator forgets sessions
    key = (service, credentials["aws_access_key_id"], get_region())
    with _clients_lock:  # a botocore session doesn't make clients in several threads at once
        if key not in _clients:
            _clients[key] = _session.create_client(
                service, region_name=get_region(), endpoint_url=f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}",
                config=Config(retries={"total_max_attempts": 1}, read_timeout=LAMBDA_SECONDS + 60, max_pool_connections=256,
                              proxies={}, s3={"addressing_style": "path"}),
                **credentials)
        return _clients[key]


def tasks_are_calls_of_the_machines_role(original, resource: str, arguments):
    """AWS: a task is a call of the service's API, signed by the machine's role, with the API's permissions, parameters, answers
    and errors (Developer Guide, "Integrating services"). MiniStack calls its own functions and asks IAM nothing; several S3
    actions are missing. Here: the call is made with botocore against the emulator's own endpoint. Activities, task tokens and
    services unknown to botocore stay with MiniStack.
    """
    execution, optimized_lambda = _running.get(), _FUNCTION.fullmatch(resource)
    task = _TASK.fullmatch(resource)
    if execution is None or not (task or optimized_lambda):
        return original(resource, arguments)
    if execution["status"] != "RUNNING":  # stopped or timed out meanwhile: its branches take no further step
        raise TaskError("States.Runtime", f"The execution has ended as {execution['status']}")
    if optimized_lambda:  # the function's ARN in the place of the resource
        return _call(execution, None, "lambda", "invoke", {"FunctionName": resource, "Payload": arguments})["Payload"]
    service, action = task["service"], task["action"]
    if _BOTO_SERVICES.get(service, service) not in _session.get_available_services():
        return original(resource, arguments)
    result = _call(execution, task["sdk"], service, action, arguments or {})
    if task["sync"] and not task["sdk"] and service == "states":
        result = _wait_for_execution(execution, result["ExecutionArn"], parsed=task["sync"].endswith(":2"))
    refuse_large_payload(result, "The task")
    return result


def _call(execution: dict, sdk: str | None, service: str, action: str, arguments: dict):
    """Call the API and answer as Step Functions does; errors under the names that Retry and Catch match."""
    client = client_of_role(_BOTO_SERVICES.get(service, service), execution["roleArn"])
    name = action[0].upper() + action[1:]
    if name not in client.meta.service_model.operation_names:
        raise TaskError("States.Runtime", f"The service {service} has no action {action}")
    operation = client.meta.service_model.operation_model(name)
    try:
        parameters = to_api(operation.input_shape, arguments)
        answer = getattr(client, xform_name(name))(**parameters)
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        code = _HEAD_NOT_FOUND.get(name, code) if code == "404" else code
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        cause = f"{message} (Service: {service}; Status Code: {status}; Error Code: {code})"
        raise TaskError(error_name(client, sdk, service, code), cause) from None
    except ParamValidationError as error:
        raise TaskError("States.Runtime", str(error)) from None
    except BotoCoreError as error:  # no answer
        raise TaskError(f"{error_prefix(client, sdk, service)}.SdkClientException", str(error)) from None
    answer.pop("ResponseMetadata")
    if service == "lambda" and action == "invoke" and not sdk:
        payload = answer["Payload"].read().decode()
        if answer.get("FunctionError"):
            raise TaskError(json.loads(payload).get("errorType", "Exception"), payload)
        return {"ExecutedVersion": answer.get("ExecutedVersion", "$LATEST"), "Payload": json.loads(payload or "{}"),
                "StatusCode": answer["StatusCode"]}
    return from_api(operation.output_shape, answer)


def _wait_for_execution(execution: dict, child_arn: str, parsed: bool) -> dict:
    """`startExecution.sync`: the child's description once it has ended; `:2` gives input and output as JSON, not as text."""
    while (child := _call(execution, None, "states", "describeExecution", {"ExecutionArn": child_arn}))["Status"] == "RUNNING":
        time.sleep(0.1)
    if child["Status"] != "SUCCEEDED":
        raise TaskError("States.TaskFailed", json.dumps(child))
    return {**child, **{part: json.loads(child[part]) for part in ("Input", "Output") if parsed}}


def to_api(shape: Shape | None, value):
    """Step Functions' parameters (`StateMachineArn`; JSON where the API takes text or bytes) as the API's model has them."""
    if shape is None:
        return {}
    if shape.type_name == "structure" and isinstance(value, dict):
        members = {name.lower(): name for name in shape.members}
        known = {members.get(key.lower(), key): item for key, item in value.items()}
        return {key: to_api(shape.members[key], item) if key in shape.members else item for key, item in known.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [to_api(shape.member, item) for item in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {key: to_api(shape.value, item) for key, item in value.items()}
    text_wanted = shape.type_name == "blob" or (shape.type_name == "string" and isinstance(value, (dict, list)))
    if text_wanted and not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False)
    return value.encode() if shape.type_name == "blob" else value


def from_api(shape: Shape | None, value):
    """The API's answer as JSON: members begin with a capital, times are ISO 8601, a body is text."""
    if shape is None:
        return {}
    if shape.type_name == "structure":
        return {key[0].upper() + key[1:]: from_api(shape.members[key], item) for key, item in value.items()
                if key in shape.members}
    if shape.type_name == "list":
        return [from_api(shape.member, item) for item in value]
    if shape.type_name == "map":
        return {key: from_api(shape.value, item) for key, item in value.items()}
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if hasattr(value, "read"):
        value = value.read()
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def error_prefix(client, sdk: str | None, service: str) -> str:
    """`DynamoDB` for the optimized integration, `DynamoDb` for the SDK's."""
    if not sdk and service in _OPTIMIZED_ERRORS:
        return _OPTIMIZED_ERRORS[service][0]
    return java_name(client.meta.service_model.service_id.replace(" ", ""))


def error_name(client, sdk: str | None, service: str, code: str) -> str:
    """The error as Retry and Catch of a deployed machine see it, from the wire's error code."""
    prefix = error_prefix(client, sdk, service)
    optimized = not sdk and service in _OPTIMIZED_ERRORS
    modelled = client.exceptions.from_code(code).__name__
    if modelled in ("ClientError", "AccessDenied"):  # S3 has modelled AccessDenied only lately; AWS still says S3Exception
        return f"{prefix}.{_OPTIMIZED_ERRORS[service][1] if optimized else prefix + 'Exception'}"
    name = modelled if modelled.endswith("Exception") else modelled + "Exception"
    return f"{prefix}.{name if optimized else java_name(name)}"


def java_name(name: str) -> str:
    """Acronyms as the second Java SDK writes them: `KMSAccessDenied` → `KmsAccessDenied`, `SQS` → `Sqs`."""
    return re.sub(r"[A-Z]+(?![a-z])", lambda acronym: acronym[0].capitalize(), name)


def executions_run_under_their_machines_role(original, execution_arn: str):
    """AWS: an execution assumes its own machine's role, and fails if it can't; a nested one that of the nested machine.
    MiniStack has no role at run time. Here: the role is noted where every thread of the execution finds it, and must exist
    and trust Step Functions.
    """
    execution = stepfunctions._executions.get(execution_arn)
    machine = stepfunctions._state_machines.get(execution["stateMachineArn"]) if execution else None
    if machine is None:
        return original(execution_arn)
    if refusal := role_cannot_be_assumed(machine["roleArn"], "states.amazonaws.com", machine["stateMachineArn"]):
        return stepfunctions._fail_execution(execution, "States.Runtime", refusal)
    execution["roleArn"] = machine["roleArn"]
    _running.set(execution)
    return original(execution_arn)


def machines_need_a_role_that_trusts_step_functions(original, data: dict):
    """AWS refuses to create or update a machine whose role Step Functions cannot assume (CreateStateMachine, AccessDenied), and
    remembers the machine's tracing; MiniStack checks no trust and forgets `tracingConfiguration`, which Terraform then wants to
    set again with every plan.
    """
    arn = data.get("stateMachineArn") or f"arn:aws:states:{get_region()}:{get_account_id()}:stateMachine:{data.get('name')}"
    if "roleArn" in data and (refusal := role_cannot_be_assumed(data["roleArn"], "states.amazonaws.com", arn)):
        return error_response_json("AccessDeniedException", refusal, 400)
    response = original(data)
    if response[0] == 200 and "tracingConfiguration" in data:
        stepfunctions._state_machines[arn]["tracingConfiguration"] = data["tracingConfiguration"]
    return response


# --- Step Functions: executions --------------------------------------------------------------------------------------------

def starting_twice_is_once(original, data: dict):
    """AWS: StartExecution under the name of a running execution with the same input answers with that execution; with another
    input, or after its end, *ExecutionAlreadyExists*; names have 1 to 80 characters, without white space, brackets, wildcards
    and other specials (API reference). MiniStack refuses a name that exists in any case, and takes any name.
    """
    name = data.get("name")
    if name is not None and (not 0 < len(name) <= 80 or re.search(r'[\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]', name)):
        return error_response_json("InvalidName", f"Invalid Name: '{name}'", 400)
    machine = stepfunctions._state_machines.get(stepfunctions._resolve_state_machine_arn(data.get("stateMachineArn", "")))
    if machine and name:
        running = stepfunctions._executions.get(machine["stateMachineArn"].replace(":stateMachine:", ":execution:") + f":{name}")
        if running and running["status"] == "RUNNING" and running["input"] == data.get("input", "{}"):
            return json_response({"executionArn": running["executionArn"], "startDate": running["startDate"]})
    return original(data)


def machines_time_out(original, execution_arn: str):
    """AWS: the machine's `TimeoutSeconds` ends the execution as TIMED_OUT, with no Catch run, and emits the status change.
    MiniStack ignores it. Here: a timer ends the record; running tasks are abandoned, later ones refused.
    """
    execution = stepfunctions._executions.get(execution_arn)
    machine = stepfunctions._state_machines.get(execution["stateMachineArn"]) if execution else None
    seconds = json.loads(machine["definition"]).get("TimeoutSeconds") if machine else None
    if seconds is None:
        return original(execution_arn)

    def expire():
        if execution["status"] == "RUNNING":
            execution.update(status="TIMED_OUT", stopDate=stepfunctions.now_iso(), error="States.Timeout")
            stepfunctions._add_event(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {}})
            stepfunctions._emit_execution_status_event(execution)

    timer = threading.Timer(seconds, contextvars.copy_context().run, [expire])
    timer.daemon = True
    timer.start()
    try:
        return original(execution_arn)
    finally:
        timer.cancel()


def ended_executions_stay_ended(original, execution: dict, error: str, cause: str):
    """AWS: an execution that was aborted or timed out is never failed afterwards. MiniStack lets a late task do that."""
    if execution["status"] == "RUNNING":
        original(execution, error, cause)


def payloads_are_limited(original, *arguments):
    """AWS: a state that gives out more than 256 KiB ends the execution with `States.DataLimitExceeded` (Step Functions quotas).
    MiniStack has no limit. Tasks' own results are checked where they arise.
    """
    output, following = original(*arguments)
    refuse_large_payload(output, "The state")
    return output, following


def refuse_large_payload(payload, source: str):
    """Raise `States.DataLimitExceeded` if the payload's JSON exceeds what a state may hold."""
    if len(json.dumps(payload, ensure_ascii=False).encode()) > STATE_PAYLOAD_BYTES:
        raise TaskError("States.DataLimitExceeded",
                        f"{source} returned a result with a size exceeding the maximum number of bytes service limit.")


def some_errors_escape_the_wildcards(original, error_equals: list, error: str) -> bool:
    """AWS: `States.ALL` and `States.TaskFailed` catch neither `States.DataLimitExceeded` nor `States.Runtime` (Developer Guide,
    "Error names"). MiniStack lets them.
    """
    if error in ("States.DataLimitExceeded", "States.Runtime"):
        return error in error_equals
    return original(error_equals, error)


def retries_wait_as_their_retrier_says(original, retriers: list[dict], error: str, retry_counts: dict):
    """AWS waits at most `MaxDelaySeconds`, and with the jitter strategy FULL for a random time between 0 and that (Amazon States
    Language, "Retrier"). MiniStack knows neither: after a burst all that were throttled would come back at the same moment.
    """
    retrier, index = original(retriers, error, retry_counts)
    if retrier is None:
        return retrier, index
    wait = min(retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** retry_counts.get(index, 0),
               retrier.get("MaxDelaySeconds", math.inf))
    if retrier.get("JitterStrategy") == "FULL":
        wait = random.uniform(0, wait)
    return {**retrier, "IntervalSeconds": wait, "BackoffRate": 1}, index


def distributed_maps_speak_jsonata(original, state: dict, raw_input, effective, iterator, execution: dict, ctx: dict):
    """AWS: a Distributed Map under JSONata evaluates Items, ItemSelector, MaxConcurrency, Output and Assign; each child is an
    execution that the machine's role must be allowed to start. MiniStack evaluates none of them and asks for no permission.
    Here: the fields are evaluated before and after MiniStack's own run, which then sees a plain map.
    """
    running = _running.get()
    denied = running and iam_evaluator.evaluate(
        iam_evaluator.EvalContext(
            principal_arn=running["roleArn"], principal_type="AssumedRole", principal_account=get_account_id(),
            action="states:StartExecution", resource_arn=running["stateMachineArn"], region=get_region()),
        iam_evaluator._gather_role_policies(running["roleArn"].rsplit("/", 1)[-1], get_account_id()),
    ).decision != "Allow"
    if denied:
        raise TaskError("StepFunctions.AWSStepFunctionsException",
                        f"{running['roleArn']} is not authorized to perform: states:StartExecution on resource: "
                        f"{running['stateMachineArn']} (Status Code: 400; Error Code: AccessDeniedException)")
    if stepfunctions._state_query_language(state, ctx) != "JSONata":
        return original(state, raw_input, effective, iterator, execution, ctx)
    items = stepfunctions._jsonata_state_field(state, "Items", "array", raw_input, ctx) if "Items" in state else raw_input
    if "ItemSelector" in state:
        items = [
            stepfunctions._apply_jsonata_template(
                state["ItemSelector"], raw_input, {**ctx, "Map": {"Item": {"Index": index, "Value": item}}})
            for index, item in enumerate(items)
        ]
    plain = {key: value for key, value in state.items() if key not in ("Items", "ItemSelector", "Output", "Assign")}
    if isinstance(state.get("MaxConcurrency"), str):
        plain["MaxConcurrency"] = stepfunctions._jsonata_state_field(state, "MaxConcurrency", "number", raw_input, ctx)
    results, following = original(plain, items, items, iterator, execution, ctx)
    output = stepfunctions._apply_jsonata_output(state, raw_input, ctx, result=results, default=results)
    stepfunctions._apply_state_assign(state, raw_input, ctx, result=results)
    return output, following


def map_children_are_executions_of_their_own(original, states, start_at, input_data, execution: dict, ctx: dict):
    """AWS: a child of a Distributed Map has its own execution id and input, and sees none of the parent's variables (Developer
    Guide, "Passing data between states with variables"). MiniStack's children share the parent's.
    """
    if execution.get("mapRunArn") and ctx["Execution"]["Id"] != execution["executionArn"]:
        ctx["Execution"] = {"Id": execution["executionArn"], "Input": input_data, "Name": execution["name"],
                            "StartTime": execution["startDate"]}
        ctx["variables"] = {}
    return original(states, start_at, input_data, execution, ctx)


# --- Lambda ----------------------------------------------------------------------------------------------------------------

class Failure(str):
    """A failed invocation's message, carrying to `functions_fail_under_their_exceptions_name` what MiniStack drops on the way."""

    error_type: str
    trace: list[str]


def workers_report_the_exceptions_class(script: str) -> str:
    """MiniStack's worker script, telling the exception's class beside its message."""
    told = script.replace('"error": str(e), "trace"', '"error": str(e), "type": type(e).__name__, "trace"').replace(
        '"error": str(e)}', '"error": type(e).__name__ + ": " + str(e)}')
    if told.count("type(e).__name__") != 2:
        raise SystemExit("local.launcher: MiniStack's Lambda worker script is not the one this shim was written for.")
    return told


def workers_resolve_names_below_localhost(script: str) -> str:
    """MiniStack's worker script, with `*.localhost` as this machine's name, which Python's resolver doesn't know everywhere
    (RFC 6761). On AWS the functions resolve the names of collections like any other.
    """
    return LOCALHOST_RESOLVER + script


LOCALHOST_RESOLVER = """
import socket

def _resolve_localhost(original):
    def getaddrinfo(host, *arguments, **keywords):
        below = isinstance(host, str) and host.rstrip(".").lower().endswith(".localhost")
        return original("127.0.0.1" if below else host, *arguments, **keywords)
    return getaddrinfo

socket.getaddrinfo = _resolve_localhost(socket.getaddrinfo)
"""


def invocations_keep_the_exceptions_class(original, worker, *arguments, **keywords) -> dict:
    """First half of `functions_fail_under_their_exceptions_name`: put class and traceback into the message that travels on."""
    result = original(worker, *arguments, **keywords)
    if result.get("status") == "error":
        failure = Failure(result["error"])
        if "type" in result:
            failure.error_type, failure.trace = result["type"], result["trace"].splitlines()
        elif lambda_svc._RIE_TIMEOUT_TEXT_RE.fullmatch(failure):
            failure.error_type, failure.trace = "Sandbox.Timedout", []
        else:  # no word from the worker: it is dead
            failure = Failure("RequestId: unknown Error: Runtime exited without providing a reason")
            failure.error_type, failure.trace = "Runtime.ExitError", []
        result["error"] = failure
    return result


def functions_fail_under_their_exceptions_name(original, function: dict, event, request_id: str) -> dict:
    """AWS: `errorType` is the class of the exception; `Runtime.ExitError` if the process died, `Sandbox.Timedout` if it was
    too slow, `Runtime.ImportModuleError` and `Runtime.HandlerNotFound` for code that doesn't load (Lambda Developer Guide,
    "Understanding retry behavior", and Step Functions' ErrorEquals, which match on it). MiniStack says `Runtime.HandlerError`
    for all but the time-out.
    """
    result = original(function, event, request_id)
    body = result.get("body")
    if not result.get("error") or not isinstance(body, dict):
        return result
    message = body["errorMessage"]
    if isinstance(message, Failure):
        body.update(errorMessage=message.replace("unknown", request_id, 1) if message.error_type == "Runtime.ExitError"
                    else str(message), errorType=message.error_type, requestId=request_id, stackTrace=message.trace)
    elif load := re.fullmatch(r"Worker init failed: (\w+): (.*)", message, re.DOTALL):
        missing = {"ImportError": "ImportModuleError", "ModuleNotFoundError": "ImportModuleError",
                   "AttributeError": "HandlerNotFound", "SyntaxError": "UserCodeSyntaxError"}.get(load[1])
        body.update(errorMessage=load[2], errorType=f"Runtime.{missing}" if missing else load[1], requestId=request_id)
    elif message.startswith("Worker process exited immediately"):
        body["errorType"] = "Runtime.ExitError"
    return result


def dead_letters_are_the_bare_event(original, target_arn: str, function_name: str, event, result: dict) -> None:
    """AWS puts the event itself into a dead-letter queue (Lambda Developer Guide, "Dead-letter queues"); the envelope around it
    that MiniStack puts there too belongs to on-failure destinations.
    """
    function = lambda_svc._functions.get(function_name) or {}
    queue = sqs._queue_by_arn(target_arn) if ":sqs:" in target_arn else None
    if queue is None or function.get("config", {}).get("DeadLetterConfig", {}).get("TargetArn") != target_arn:
        return original(target_arn, function_name, event, result)
    before = {message["id"] for message in queue["messages"]}
    original(target_arn, function_name, event, result)
    for message in queue["messages"]:
        if message["id"] not in before and json.loads(message["body"]).get("requestPayload") == event:
            message["body"] = json.dumps(event)
            message["md5_body"] = hashlib.md5(message["body"].encode(), usedforsecurity=False).hexdigest()
    return None


_event_waits: contextvars.ContextVar[bool] = contextvars.ContextVar("event of an asynchronous invocation", default=False)
_LONGEST_WAIT_SECONDS = 30  # between two attempts; AWS's grow to five minutes


def asynchronous_events_can_wait(original, function: dict, event) -> None:
    """First half of `throttled_events_wait`: remember, for the thread that this starts, that nobody waits for the answer."""
    token = _event_waits.set(True)
    try:
        return original(function, event)
    finally:
        _event_waits.reset(token)


def throttled_events_wait(original, function: dict, event) -> dict:
    """AWS keeps an event for which there is no free concurrency, and tries again for up to six hours; only with a reserved
    concurrency of 0 it goes to the dead-letter queue at once (Lambda Developer Guide, "How Lambda handles errors and retries
    with asynchronous invocation"). MiniStack counts it as one of three attempts, so that a burst of uploads would be lost.
    """
    pause, result = 1.0, original(function, event)
    while result.get("throttle") and _event_waits.get() and function.get("concurrency") != 0:
        time.sleep(random.uniform(0, pause))
        pause, result = min(2 * pause, _LONGEST_WAIT_SECONDS), original(function, event)
    if result.get("error") and not result.get("throttle") and _event_waits.get():
        name = (function.get("config") or function).get("FunctionName", "unknown")
        lambda_svc._emit_lambda_metrics(name, duration_ms=0.0, error=True, throttle=False)
    return result


def throttles_are_no_errors(original, function_name: str, duration_ms: float, error: bool, throttle: bool) -> None:
    """AWS counts a throttled invocation as a throttle and as nothing else (Lambda Developer Guide, "Types of metrics for Lambda
    functions"). MiniStack counts it twice if its caller waits, the second time as an error too; a failed event it never counts,
    which `throttled_events_wait` does.
    """
    if not (error and throttle):
        original(function_name, duration_ms=duration_ms, error=error, throttle=throttle)


_mapping: contextvars.ContextVar[dict | None] = contextvars.ContextVar("mapping whose batch is at hand", default=None)
_STREAM_RETRY_SECONDS = 0.2  # MiniStack polls all streams one after the other: who waits has all others wait


def mappings_are_known_by_their_batches(original, records: list[dict], mapping: dict) -> list[dict]:
    """First half of `failed_stream_batches_come_in_parts`: note whose records the poller is about to hand over."""
    _mapping.set(mapping)
    return original(records, mapping)


def failed_stream_batches_come_in_parts(original, function: dict, event: dict) -> dict:
    """AWS: a failed batch of a table's stream is tried again `MaximumRetryAttempts` times, from the first record on that the
    function reports, and in halves after an exception (halving costs no attempt); what fails to the end goes to the on-failure
    destination, and the rest proceeds (Lambda Developer Guide, "Using Lambda with Amazon DynamoDB", "Configuring partial batch
    response", BisectBatchOnFunctionError). MiniStack repeats the whole batch for ever, and ignores reports. Mappings without a
    limit of attempts stay with it.
    """
    mapping = _mapping.get()
    _mapping.set(None)  # the original may come by here again, in the function's own scope
    records = event.get("Records") if isinstance(event, dict) else None
    of_table = mapping and records and records[0].get("eventSource") == "aws:dynamodb"
    if not mapping or not of_table or mapping.get("MaximumRetryAttempts", -1) < 0:
        return original(function, event)
    waiting, logs = [records], []
    while waiting:
        part, attempts = waiting.pop(0), 0
        while part:
            result = original(function, {"Records": part})
            if result.get("throttle"):
                return result  # the poller comes again with all of them
            logs.append(result.get("log", ""))
            if result.get("error"):
                if mapping.get("BisectBatchOnFunctionError") and len(part) > 1:
                    waiting[:0] = [part[:len(part) // 2], part[len(part) // 2:]]
                    break
            elif (failed := first_reported(mapping, part, result.get("body"))) is None:
                break
            elif failed:
                part, attempts = part[failed:], 0
                continue
            attempts += 1
            if attempts > mapping["MaximumRetryAttempts"]:
                lambda_svc._send_ddb_stream_failure_record(
                    mapping, function, part, mapping["EventSourceArn"], result, "RetryAttemptsExhausted")
                break
            time.sleep(_STREAM_RETRY_SECONDS)
    return {"body": None, "log": "\n".join(filter(None, logs))}


def first_reported(mapping: dict, records: list[dict], answer) -> int | None:
    """Index of the first record that the function reports as failed; 0 for a report that names none of them; None if there is no
    report.
    """
    if "ReportBatchItemFailures" not in mapping.get("FunctionResponseTypes", []):
        return None
    if isinstance(answer, str):
        answer = json.loads(answer or "null")
    reports = answer.get("batchItemFailures") if isinstance(answer, dict) else None
    if not reports:
        return None
    numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
    named = [report.get("itemIdentifier") for report in reports]
    return min((numbers.index(name) for name in named), default=0) if set(named) <= set(numbers) else 0


# --- DynamoDB --------------------------------------------------------------------------------------------------------------

_to_throttle: Counter[tuple[str, str]] = Counter()  # PutItem calls, by region and table
_throttle_lock = threading.Lock()
_held: dict[tuple[str, str, str, str], tuple] = {}  # the last write of each item, by account, table and key
_holding: list[bool] = []  # something in it: writes are held


async def tests_may_disturb_tables(original, path: str, method: str, body: bytes):
    """Nothing of AWS: `POST /_ministack/config` with `{"throttle": {"region": …, "table": …, "calls": 40}}` has the next 40
    PutItem calls of that table refused, and answers how many of those asked for before are `left`. With `{"replication": "held"}`
    no write reaches the other regions, until `{"replication": "flows"}`.
    """
    try:
        wanted = json.loads(body or b"{}") if (path, method) == ("/_ministack/config", "POST") else {}
    except ValueError:
        wanted = {}
    if "throttle" in wanted:
        table = wanted["throttle"]["region"], wanted["throttle"]["table"]
        with _throttle_lock:
            left, _to_throttle[table] = _to_throttle[table], wanted["throttle"]["calls"]
        return json_response({"left": left})
    if "replication" in wanted:
        _held.clear() if wanted["replication"] == "held" else replicate_held()
        _holding[:] = [True] if wanted["replication"] == "held" else []
        return json_response({})
    return await original(path, method, body)


def writes_are_throttled_on_demand(original, data: dict):
    """AWS throttles writes to a table that outgrow its capacity (DynamoDB Developer Guide, "Throttling issues"). MiniStack never
    does; here `tests_may_disturb_tables` says when.
    """
    table = get_region(), data.get("TableName", "")
    with _throttle_lock:
        refused = _to_throttle[table] > 0
        _to_throttle[table] -= refused
    if refused:
        message = "Throughput exceeds the current capacity of your table or index."
        return error_response_json("ThrottlingException", message, 400)
    return original(data)


def replication_waits_on_demand(original, table: dict, event: str, old: dict | None, new: dict | None) -> None:
    """AWS replicates a write to the other regions in a second or so, later if one is cut off; of two writes to one item the
    later stays everywhere (DynamoDB Developer Guide, "Global tables"). MiniStack replicates at once; here
    `tests_may_disturb_tables` says when not.
    """
    item = new if new is not None else old
    if not _holding or item is None or not dynamodb._replica_group(table):
        return original(table, event, old, new)
    keys = [json.dumps(item.get(table[name])) if table[name] else "" for name in ("pk_name", "sk_name")]
    _held[get_account_id(), table["TableName"], *keys] = functools.partial(original, table, event, old, new), get_region()
    return None


def replicate_held() -> None:
    """Carry over what was held: the last write of each item."""
    for (account, *_), (write, region) in list(_held.items()):
        with request_scope(account, region):
            write()
    _held.clear()


# --- API Gateway: REST APIs ------------------------------------------------------------------------------------------------

GATEWAY_BYTES = 10 * 1024 * 1024  # of a request's body (Amazon API Gateway quotas)
INVOCATION_BYTES = 6 * 1024 * 1024  # of an event or answer of a function that is waited for (Lambda quotas)

_api_call: contextvars.ContextVar[dict] = contextvars.ContextVar("request to a REST API")


class RefusedByGateway(Exception):
    """API Gateway answers with a gateway response: its type, the message that it may quote, and the status unless customized."""

    def __init__(self, response_type: str, message: str, error_type: str, status: int | None = None):
        super().__init__(message)
        self.error = apigateway_v1._GatewayError(response_type, message, error_type)
        self.error.status = status


async def requests_have_ten_megabytes_at_most(original, api_id: str, stage: str, method: str, path: str, headers, body, query):
    """AWS refuses a body above 10 MB before anything else, in plain text and by no gateway response (seen in published issues).
    MiniStack takes any.
    """
    if len(body or b"") > GATEWAY_BYTES:
        return 413, {"Content-Type": "text; charset=utf-8"}, f"HTTP content length exceeded {GATEWAY_BYTES} bytes.".encode()
    return await original(api_id, stage, method, path, headers, body, query)


def api_keys_without_a_value_get_one(original, data: dict):
    """AWS: an API key whose value is empty, which is how Terraform's provider says that there is none, gets one made up."""
    return original({name: value for name, value in data.items() if name != "value" or value})


def integrations_have_the_method_they_were_given(original, api_id: str, resource_id: str, http_method: str, data: dict):
    """AWS: an integration that was put without a method, such as MOCK, has none. MiniStack says POST, and every plan differs."""
    return original(api_id, resource_id, http_method, {"httpMethod": None, **data})


async def values_of_keys_are_shown_on_demand(original, method: str, path: str, headers, body, query_parameters: dict):
    """AWS tells the value of an API key to those who say `includeValue` or `includeValues` (API Gateway API reference, GetApiKey,
    GetApiKeys). MiniStack always does.
    """
    status, its_headers, text = await original(method, path, headers, body, query_parameters)
    if method != "GET" or not re.fullmatch("/apikeys(/[^/]+)?", path) or "true" in (
            apigateway_v1._qp(query_parameters, name) for name in ("includeValue", "includeValues")):
        return status, its_headers, text
    answer = json.loads(text)
    for key in answer.get("item", [answer]):
        key.pop("value", None)
    return status, its_headers, json.dumps(answer).encode()


async def apis_write_access_logs(original, api_id: str, stage_name: str, method: str, path: str, headers: dict, *rest):
    """AWS writes a line for each request, in the format of the stage (API Gateway Developer Guide, "Variables for access
    logging"); a variable without value is `-`. MiniStack keeps the format and writes nothing.
    """
    _api_call.set(call := {"request": {}, "error": "-"})
    began = time.time()
    response = await original(api_id, stage_name, method, path, headers, *rest)
    stage = apigateway_v1._stages_v1.get(api_id, {}).get(stage_name) or {}
    if settings := stage.get("accessLogSettings"):
        key = apigateway_v1._resolve_api_key(apigateway_v1._api_key_from_request(headers))
        told = {
            "requestId": call["request"].get("request_id"), "extendedRequestId": call["request"].get("request_id"),
            "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(began)), "requestTimeEpoch": int(began * 1000),
            "identity.sourceIp": "127.0.0.1", "identity.apiKeyId": key and key["id"], "apiId": api_id, "stage": stage_name,
            "httpMethod": method, "path": quote(f"/{stage_name}{path}"), "resourcePath": call["request"].get("resource_path"),
            "protocol": "HTTP/1.1", "status": response[0], "error.responseType": call["error"],
            "responseLatency": int((time.time() - began) * 1000), "responseLength": len(response[2]),
        }
        line = re.sub(r"\$context\.([\w.]*\w)", lambda variable: str(told.get(variable[1]) or "-"), settings["format"])
        group = settings["destinationArn"].partition(":log-group:")[2].removesuffix(":*")
        where = {"logGroupName": group, "logStreamName": hashlib.md5(api_id.encode(), usedforsecurity=False).hexdigest()}
        cloudwatch_logs._create_log_stream(where)  # an error if it is there already
        cloudwatch_logs._put_log_events({**where, "logEvents": [{"timestamp": int(time.time() * 1000), "message": line}]})
    return response


async def requests_to_apis_have_one_id(original, request: dict, *arguments):
    """AWS: `$context.requestId`, the id in the function's event and the header `x-amzn-RequestId` are the same. MiniStack makes
    up another one for each.
    """
    _api_call.get()["request"] = request
    response = await original(request, *arguments)
    if isinstance(response, tuple):
        response[1]["x-amzn-requestid"] = request["request_id"]
    return response


def events_of_apis_are_as_functions_know_them(original, *arguments, **keywords) -> dict:
    """AWS: the event has the request's own id; of a parameter given twice, the last value counts (Lambda Developer Guide, "Using
    API Gateway"); an event above 6 MB is refused as too long. MiniStack takes the first value and any size.
    """
    event = original(*arguments, **keywords)
    event["requestContext"].update(dict.fromkeys(("requestId", "extendedRequestId"), _api_call.get()["request"]["request_id"]))
    several = event["multiValueQueryStringParameters"]
    event["queryStringParameters"] = {name: values[-1] for name, values in several.items()} if several else None
    if len(json.dumps(event)) > INVOCATION_BYTES:
        raise RefusedByGateway("REQUEST_TOO_LARGE", "Request Too Long", "BadRequestException")
    return event


async def apis_invoke_what_lets_them_in(original, integration: dict, api_id: str, stage_name: str, stage, resource: dict,
                                        path: str, method: str, *arguments, **keywords):
    """AWS: the policy of the function, or of the alias that the integration names, must let this method of the API in, else it is
    a configuration error; an answer later than the integration's timeout is none. MiniStack asks nobody and waits for ever.
    """
    function = apigateway_v1._extract_lambda_ref_from_integration_uri(integration.get("uri", ""))
    record = lambda_svc._get_base_func_record_for_ref(function)[0] or {}
    arn = f"arn:aws:execute-api:{get_region()}:{get_account_id()}:{api_id}/{stage_name}/{method}{resource['path']}"
    caller = iam_evaluator.EvalContext(
        principal_arn="apigateway.amazonaws.com", principal_type="Service", principal_account=get_account_id(),
        action="lambda:InvokeFunction", resource_arn=function, region=get_region(),
        service_context={"aws:sourcearn": arn, "aws:sourceaccount": get_account_id()},
    )
    allowed = iam_evaluator.evaluate_resource_policy(record.get("policy"), caller, service="apigateway.amazonaws.com")
    try:
        if record and allowed.decision != "Allow":
            apigateway_v1.logger.warning("%s does not let %s in", function, arn)
            raise RefusedByGateway("API_CONFIGURATION_ERROR", "Internal server error", "InternalServerErrorException")
        answer = asyncio.ensure_future(original(
            integration, api_id, stage_name, stage, resource, path, method, *arguments, **keywords))
        await asyncio.wait({answer}, timeout=int(integration.get("timeoutInMillis") or 29_000) / 1000)
        if not answer.done():
            raise RefusedByGateway("INTEGRATION_TIMEOUT", "Endpoint request timed out", "InternalServerErrorException")
        return answer.result()
    except RefusedByGateway as refusal:
        return refusal.error


def failed_functions_are_a_bad_gateway(original, result: dict):
    """AWS: a function that fails, or whose answer is not one for API Gateway, is a 502 of the response type DEFAULT_5XX, without
    the function's words (Knowledge Center, "malformed-502-api-gateway"). MiniStack tells the error, and takes any answer.
    """
    body = result.get("body")
    try:
        answer = json.loads(body) if isinstance(body, (str, bytes)) else body
    except ValueError:
        answer = None
    fits = (isinstance(answer, dict) and re.fullmatch(r"[1-5]\d\d", str(answer.get("statusCode")))
            and isinstance(answer.get("body"), str | None) and isinstance(answer.get("headers"), dict | None))
    if not result.get("throttle") and (result.get("error") or not fits):
        apigateway_v1.logger.warning("The function's answer is none for API Gateway: %.2000s", body)
        raise RefusedByGateway("DEFAULT_5XX", "Internal server error", "InternalServerErrorException", 502)
    return original(result)


def gateway_responses_keep_their_status(original, error, request: dict):
    """AWS: a function's failure stays a 502 under a DEFAULT_5XX that customizes everything but the status. MiniStack knows 500
    alone.
    """
    if call := _api_call.get(None):
        call["error"] = error.response_type
    status, headers, body = original(error, request)
    own = getattr(error, "status", None)
    customized = apigateway_v1._gateway_responses.get(request["api_id"], {}).get(error.response_type, {})
    return own if own and not customized.get("statusCode") else status, headers, body


def bodies_are_validated_by_their_type(original, method: dict, api_id: str, request: dict, headers: dict, body, query_parameters):
    """AWS: a body is held against the model of its content type, else against that of `$default`; if there is none, it is not
    validated (API Gateway Developer Guide, "Request validation for REST APIs"). MiniStack takes the model of application/json
    for all.
    """
    models = method.get("requestModels") or {}
    kind = (apigateway_v1._header_ci(headers, "content-type") or "application/json").split(";", 1)[0].strip().lower()
    model = {name.lower(): model for name, model in models.items()}.get(kind) or models.get("$default")
    chosen = {**method, "requestModels": {"application/json": model} if model else {}}
    return original(chosen, api_id, request, {**headers, "content-type": "application/json"}, body, query_parameters)


# --- CloudWatch: what Terraform wrote, it reads again ----------------------------------------------------------------------

def alarms_are_kept_whole(original, parameters: dict, data: dict, is_cbor: bool, is_json: bool = False):
    """AWS keeps an alarm's metric math, and no statistic that nobody gave (PutMetricAlarm). MiniStack drops `Metrics` and fills
    in `Statistic`, so that every plan wants to change the alarm.
    """
    response, data = _as_json(original, "PutMetricAlarm", parameters, data, is_cbor, is_json)
    alarm = cloudwatch._alarms.get(data.get("AlarmName"))
    if response[0] == 200 and alarm is not None:
        for key in ("MetricName", "Namespace", "Statistic", "Period"):
            if key not in data:
                alarm.pop(key, None)
        if "Metrics" in data:
            alarm["Metrics"] = [{"ReturnData": True, **query} for query in data["Metrics"]]
    return response


def alarms_are_described_whole(original, parameters: dict, data: dict, is_cbor: bool, is_json: bool = False):
    """AWS describes all of an alarm (DescribeAlarms). MiniStack leaves most of it out in the Query protocol, which Terraform's
    provider speaks.
    """
    return _as_json(original, "DescribeAlarms", parameters, data, is_cbor, is_json)[0]


def _as_json(original, action: str, parameters: dict, data: dict, is_cbor: bool, is_json: bool):
    """The answer to a request, and the request's input; a Query request is put to MiniStack's better JSON side, and back."""
    if is_cbor or is_json:
        return original(parameters, data, is_cbor, is_json), data
    operation = _session.get_service_model("cloudwatch").operation_model(action)
    data = from_query(operation.input_shape, parameters)
    status, _, body = original(parameters, data, False, True)
    answer = json.loads(body)
    if status != 200:
        return cloudwatch._error(answer["__type"], answer["message"], status), data
    result = f"<{action}Result>{to_xml(operation.output_shape, answer)}</{action}Result>" if operation.output_shape else ""
    return cloudwatch._xml(200, f"{action}Response", result), data


def from_query(shape: Shape, parameters: dict, name: str = ""):
    """The input of a Query request (`Metrics.member.1.Id=…`) as its model has it."""
    def given(key):
        return any(each == key or each.startswith(f"{key}.") for each in parameters)

    if shape.type_name == "structure":
        keys = {member: f"{name}.{member}" if name else member for member in shape.members}
        return {member: from_query(shape.members[member], parameters, key) for member, key in keys.items() if given(key)}
    if shape.type_name == "list":
        keys = itertools.takewhile(given, (f"{name}.member.{number}" for number in itertools.count(1)))
        return [from_query(shape.member, parameters, key) for key in keys]
    convert = {"integer": int, "double": float, "boolean": "true".__eq__}.get(shape.type_name, str)
    return convert(cloudwatch._p(parameters, name))


def to_xml(shape: Shape, value) -> str:
    """A value as the Query protocol writes it; what its model doesn't know is left out."""
    if shape.type_name == "structure":
        return "".join(f"<{member}>{to_xml(shape.members[member], item)}</{member}>"
                       for member, item in value.items() if member in shape.members and item is not None)
    if shape.type_name == "list":
        return "".join(f"<member>{to_xml(shape.member, item)}</member>" for item in value)
    if shape.type_name == "timestamp":
        return datetime.datetime.fromtimestamp(value, datetime.UTC).isoformat().replace("+00:00", "Z")
    return str(value).lower() if shape.type_name == "boolean" else escape(str(value))


EVENTS_OF_A_PAGE = 10_000  # of FilterLogEvents, at most


def long_logs_come_in_pages(original, data: dict):
    """AWS: FilterLogEvents gives a `nextToken` as long as there are more events than a page holds (CloudWatch Logs API
    reference). MiniStack leaves out the rest. Here the token is the last event's time, and how many of that time were told.
    """
    moment, _, told_of_it = data.get("nextToken", "").partition("/")
    status, headers, body = original({**data, "startTime": int(moment)} if moment else data)
    if status != 200:
        return status, headers, body
    answer = json.loads(body)
    events = answer["events"]
    answer["events"] = events[int(told_of_it or 0):]
    if len(events) >= min(data.get("limit", EVENTS_OF_A_PAGE), EVENTS_OF_A_PAGE):
        last = events[-1]["timestamp"]
        answer["nextToken"] = f"{last}/{sum(event['timestamp'] == last for event in events)}"
    return json_response(answer)


_saved_queries = AccountRegionScopedDict()


async def saved_queries_are_kept(original, method, path, headers: dict, body: bytes, query_parameters):
    """AWS keeps Logs Insights queries (PutQueryDefinition, DescribeQueryDefinitions, DeleteQueryDefinition); MiniStack doesn't
    know these actions.
    """
    action = headers.get("x-amz-target", "").rpartition(".")[2]
    if not action.endswith(("QueryDefinition", "QueryDefinitions")):
        return await original(method, path, headers, body, query_parameters)
    data = json.loads(body or b"{}")
    if action == "PutQueryDefinition":
        identity = data.get("queryDefinitionId") or str(uuid.uuid4())
        kept = {key: data[key] for key in ("name", "queryString", "logGroupNames", "queryLanguage") if key in data}
        _saved_queries[identity] = {**kept, "queryDefinitionId": identity, "lastModified": int(time.time() * 1000)}
        return json_response({"queryDefinitionId": identity})
    if action == "DeleteQueryDefinition":
        return json_response({"success": _saved_queries.pop(data["queryDefinitionId"], None) is not None})
    prefix = data.get("queryDefinitionNamePrefix", "")
    return json_response({"queryDefinitions": [query for query in _saved_queries.values() if query["name"].startswith(prefix)]})


# --- OpenSearch Serverless -------------------------------------------------------------------------------------------------

def dashboards_are_named_by_their_collection(original, rules, allowed_types, need_permission: bool):
    """AWS: in a network policy, `dashboard` rules name `collection/NAME`, as `collection` rules do (OpenSearch Serverless
    Developer Guide, "Network access"). MiniStack wants `dashboard/NAME`.
    """
    if "dashboard" in allowed_types and isinstance(rules, list):
        rules = [{**rule, "ResourceType": "collection"} if isinstance(rule, dict) and rule.get("ResourceType") == "dashboard"
                 else rule for rule in rules]
    return original(rules, allowed_types, need_permission)


def descriptions_nobody_gave_are_absent(original, *arguments, **keywords) -> dict:
    """AWS leaves out a description that was not given; MiniStack answers with an empty one, which Terraform takes for a fault."""
    answer = original(*arguments, **keywords)
    return {key: value for key, value in answer.items() if key != "description" or value}


class Served(NamedTuple):
    """What serves a collection: its record in MiniStack, with which it goes, and its search engine."""

    record: dict
    engine: Engine


def collections_need_no_docker(original, record: dict) -> None:
    """AWS: a new collection becomes ACTIVE with an empty search engine behind its endpoint. MiniStack wants Docker for that,
    and otherwise answers 503 to every request.
    """
    if opensearchserverless._collections.get(record["id"]) is record:  # not deleted meanwhile
        record.update(status="ACTIVE", _Engine=Served(record, Engine()))


def collections_have_names_of_their_own(original, collection_id: str) -> str:
    """AWS: a collection is reached by a host name of its own. MiniStack puts it before its own host, here an address, before
    which there are no names; names below `localhost` are this machine (RFC 6761).
    """
    return original(collection_id).replace(f".aoss.{opensearchserverless._MINISTACK_HOST}:", ".aoss.localhost:")


def collections_are_guarded_and_served(original, served: Served, method: str, target: str, headers: dict, body: bytes):
    """AWS: a request to a collection needs a valid signature, `aoss:APIAccessAll` in IAM, a network policy that makes the
    collection public, and a data access policy that names its caller (OpenSearch Serverless Developer Guide, "Data access
    control"); then OpenSearch answers it. MiniStack forwards it, unguarded, to a container. Here: an engine in this process,
    or what OPENSEARCH_URL names.
    """
    path, _, query = target.partition("?")
    if refusal := why_not(served, method, path, headers, body):
        opensearchserverless.logger.warning("%s %s of %s is refused: %s", method, target, served.record["name"], refusal)
        return opensearchserverless._aoss_error(403, "403 Forbidden", "Forbidden")
    if OPENSEARCH_URL:
        return from_real_opensearch(method, target, headers, body)
    return served.engine.handle(method, path, query, body)


def why_not(served: Served, method: str, path: str, headers: dict, body: bytes) -> str | None:
    """Why the request is not allowed; None if it is."""
    _, _, _, region, account, _ = (arn := served.record["arn"]).split(":", 5)
    if get_region() != region:
        return f"it is signed for the region {get_region()}"
    if denied(headers, {}, "aoss:APIAccessAll", arn):
        return "its signature is not valid, or its caller lacks aoss:APIAccessAll in IAM"
    name, key = served.record["name"], extract_access_key_id(headers, {})
    with request_scope(account, region):
        if not is_public(name):
            return f"no network policy makes collection/{name} public"
        if iam_evaluator.is_root_access_key(key):
            return None
        caller = role_or_user(iam_evaluator.resolve_principal(key, account).arn)
        wishes = wanted(method, path, body)
        created = {index for action, index in wishes if action == "WriteDocument" and not index_exists(served, index)}
        for action, index in sorted(wishes | {("CreateIndex", index) for index in created}):
            if not data_policy_allows(caller, f"aoss:{action}", f"index/{name}/{index}"):
                return f"no data access policy allows {caller} to aoss:{action} index/{name}/{index}"
    return None


def role_or_user(caller: str) -> str:
    """The ARN that policies name: a session's role instead of the session."""
    if ":assumed-role/" not in caller:
        return caller
    role = iam._roles.get(caller.split("/")[1])
    return role["Arn"] if role else caller


def is_public(name: str) -> bool:
    """Whether a network policy opens the collection to everybody."""
    policies = [each for each in opensearchserverless._security_policies.values() if each["type"] == "network"]
    return any(
        rule["ResourceType"] == "collection" and covers(rule, f"collection/{name}")
        for policy in policies for statement in policy["policy"] if statement.get("AllowFromPublic")
        for rule in statement["Rules"])


def data_policy_allows(caller: str, permission: str, resource: str) -> bool:
    """Whether a data access policy lets the caller do this to the index."""
    return any(
        rule["ResourceType"] == "index" and {permission, "aoss:*"} & set(rule["Permission"]) and covers(rule, resource)
        for policy in opensearchserverless._access_policies.values() for statement in policy["policy"]
        if caller in statement["Principal"] for rule in statement["Rules"])


def covers(rule: dict, resource: str) -> bool:
    """Whether a policy's rule is about the resource."""
    return any(opensearchserverless._pattern_matches(pattern, resource) for pattern in rule["Resource"])


_real_opensearch: list[urllib3.PoolManager] = []


def from_real_opensearch(method: str, target: str, headers: dict, body: bytes) -> tuple[int, dict, bytes]:
    """The answer of the OpenSearch that OPENSEARCH_URL names. Without the caller's signature, which is not for it."""
    url = urllib3.util.parse_url(OPENSEARCH_URL)
    if not _real_opensearch:
        unchecked = {"cert_reqs": "CERT_NONE"} if is_loopback(url.host) else {}
        _real_opensearch.append(urllib3.PoolManager(retries=False, timeout=60, maxsize=32, **unchecked))
    kept = {name: headers[name] for name in ("content-type", "accept") if name in headers}
    if url.auth:
        kept |= urllib3.util.make_headers(basic_auth=unquote(url.auth))
    base = url._replace(auth=None, path=None, query=None).url
    try:
        answer = _real_opensearch[0].request(method, base + target, body=body or None, headers=kept, redirect=False)
    except urllib3.exceptions.HTTPError as error:
        raise OSError(f"OPENSEARCH_URL: {error}") from None  # MiniStack makes 503 of it
    dropped = {*opensearchserverless._HOP_BY_HOP, "content-encoding"}
    return answer.status, {name: value for name, value in answer.headers.items() if name.lower() not in dropped}, answer.data


def is_loopback(host: str) -> bool:
    """Whether the host is this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return f".{host}".endswith(".localhost")


def index_exists(served: Served, name: str) -> bool:
    """Whether the collection has the index."""
    if OPENSEARCH_URL:
        return from_real_opensearch("HEAD", "/" + quote(name, safe=""), {}, b"")[0] == 200
    return served.engine.has(name)


_lifecycle_policies = AccountRegionScopedDict()  # name -> record
LIFECYCLE_ACTIONS = ("CreateLifecyclePolicy", "BatchGetLifecyclePolicy", "UpdateLifecyclePolicy", "DeleteLifecyclePolicy",
                     "ListLifecyclePolicies")


async def lifecycle_policies_are_kept(original, method, path, headers: dict, body: bytes, query_parameters):
    """AWS keeps lifecycle policies, which tell how long documents stay (OpenSearch Serverless API, CreateLifecyclePolicy and
    its siblings); MiniStack doesn't know these actions.
    """
    action = headers.get("x-amz-target", "").rpartition(".")[2]
    if action not in LIFECYCLE_ACTIONS:
        return await original(method, path, headers, body, query_parameters)
    try:
        return json_response(lifecycle_policy(action, json.loads(body or b"{}")))
    except opensearchserverless._Invalid as error:
        return error_response_json(error.code, error.message, 400)


def lifecycle_policy(action: str, data: dict) -> dict:
    """The answer to one of these actions."""
    aoss = opensearchserverless
    if action == "BatchGetLifecyclePolicy":
        asked = [(each["type"], each["name"]) for each in data["identifiers"]]
        found = {name: _lifecycle_policies[name] for kind, name in asked if kind == "retention" and name in _lifecycle_policies}
        return {"lifecyclePolicyDetails": [aoss._policy_detail(each) for each in found.values()],
                "lifecyclePolicyErrorDetails": [
                    {"type": kind, "name": name, "errorCode": "NOT_FOUND", "errorMessage": "The specified policy is not found."}
                    for kind, name in asked if name not in found]}
    aoss._validate_enum(data.get("type"), "type", ("retention",))
    if action == "ListLifecyclePolicies":
        data = {**data, "resource": data.get("resources")}
        return aoss._list_policies(_lifecycle_policies, data, "lifecyclePolicySummaries")
    name, known = data.get("name"), _lifecycle_policies.get(data.get("name"))
    aoss._validate_name(name, "name", 32)
    if action == "CreateLifecyclePolicy":
        if known:
            raise aoss._Invalid(f"Policy with name {name} and type retention already exists", "ConflictException")
        known = {"type": "retention", "name": name, "description": "", "createdDate": aoss._now_ms(), "_revision": 0}
    elif not known:
        raise aoss._Invalid(f"Policy with name {name} and type retention is not found", "ResourceNotFoundException")
    if action == "DeleteLifecyclePolicy":
        _lifecycle_policies.pop(name)
        return {}
    if action == "UpdateLifecyclePolicy" and data.get("policyVersion") != known["policyVersion"]:
        raise aoss._Invalid("Policy version specified in the request refers to an older version and policy has since changed")
    changed = {key: data[key] for key in ("description",) if data.get(key) is not None}
    if data.get("policy") is not None or action == "CreateLifecyclePolicy":
        changed["policy"] = retention(data.get("policy"))
    if action == "CreateLifecyclePolicy" or any(known[key] != value for key, value in changed.items()):
        now, revision = aoss._now_ms(), known["_revision"] + 1
        known = {**known, **changed, "lastModifiedDate": now, "_revision": revision,
                 "policyVersion": aoss._policy_version(now, revision)}
        _lifecycle_policies[name] = known
    return {"lifecyclePolicyDetail": aoss._policy_detail(known)}


def retention(text) -> dict:
    """A lifecycle policy's document, if it is one."""
    aoss = opensearchserverless
    document = aoss._parse_policy_document(text)
    if not isinstance(document, dict):
        raise aoss._Invalid("Policy json is invalid, error: [Lifecycle policy must be a JSON object]")
    aoss._validate_rules(document.get("Rules"), ("index",), False)
    for rule in document["Rules"]:
        least = re.fullmatch(r"(\d{1,6})([dh])", str(rule.get("MinIndexRetention", "")))
        hours = int(least[1]) * (24 if least[2] == "d" else 1) if least else 0
        if (rule.get("NoMinIndexRetention") is True) == (24 <= hours <= 3650 * 24):
            raise aoss._Invalid("Policy json is invalid, error: [Either NoMinIndexRetention must be true or MinIndexRetention "
                                "between 24h and 3650d]")
    return document


# --- Rekognition -----------------------------------------------------------------------------------------------------------

_rekognition = Rekognition()


def serve_rekognition() -> None:
    """AWS: Rekognition. MiniStack has no such service. Here: a stand-in of ours (`local/rekognition.py`) at the emulator's own
    endpoint, behind the same signatures and IAM as every service.
    """
    router.SERVICE_PATTERNS["rekognition"] = {"target_prefixes": [PREFIX]}
    iam_actions.SERVICE_TO_IAM_NAMESPACE["rekognition"] = "rekognition"
    app.SERVICE_HANDLERS["rekognition"] = rekognition_looks_with_its_callers_eyes


async def rekognition_looks_with_its_callers_eyes(method: str, path: str, headers: dict, body: bytes, query_parameters: dict):
    """Rekognition reads an S3 object with its caller's permissions (Developer Guide, "Setting up … Amazon S3 bucket
    permissions"); what the caller may not read is an *InvalidS3ObjectException*.
    """
    def read(bucket: str, key: str, version: str | None) -> bytes | None:
        action = "s3:GetObjectVersion" if version else "s3:GetObject"
        if denied(headers, query_parameters, action, f"arn:aws:s3:::{bucket}/{key}"):
            return None
        return s3._get_object_data(bucket, key, version)

    status, answer = _rekognition.handle(headers.get("x-amz-target", ""), body, read)
    return status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer).encode()


# --- EventBridge -----------------------------------------------------------------------------------------------------------

_told_version: contextvars.ContextVar[str | None] = contextvars.ContextVar("version of the object that S3 tells of", default=None)


def s3_tells_of_versions(original, *arguments, version_id: str | None = None, **keywords) -> None:
    """First half of `events_of_s3_name_the_version`: keep what MiniStack doesn't put into the event."""
    _told_version.set(version_id)  # every notification has a thread and a context of its own
    original(*arguments, version_id=version_id, **keywords)


def events_of_s3_name_the_version(original, event: dict, *arguments) -> None:
    """AWS: an event about an object of a versioned bucket holds its `version-id` (S3 User Guide, "EventBridge event message
    structure"). MiniStack's holds none.
    """
    if event["Source"] == "aws.s3" and (version := _told_version.get()):
        detail = json.loads(event["Detail"])
        detail["object"]["version-id"] = version
        event = {**event, "Detail": json.dumps(detail)}
    original(event, *arguments)


def events_happen_at_whole_seconds(original, event) -> str:
    """AWS: the `time` of an event has no fraction of a second (EventBridge User Guide, "Events"). MiniStack gives those of its
    own services milliseconds.
    """
    return re.sub(r"\.\d+(?=Z$)", "", original(event))


INJECTED = "injected:"


def tests_may_inject_aws_events(original, data: dict, allow_aws_source: bool = False):
    """AWS and MiniStack refuse PutEvents from a source `aws.…`. Tests need such events, of things that hardly ever happen: an
    event whose source is `injected:aws.states` arrives as one of `aws.states`.
    """
    entries = data.get("Entries", [])
    if entries and all(str(entry.get("Source")).startswith(INJECTED + "aws.") for entry in entries):
        return original({"Entries": [{**entry, "Source": entry["Source"].removeprefix(INJECTED)} for entry in entries]}, True)
    return original(data, allow_aws_source)


# --- IAM -------------------------------------------------------------------------------------------------------------------

def loopback_counts_as_tls(original, source_ip: str, secure_transport: bool):
    """AWS: clients come over TLS, and policies deny requests where `aws:SecureTransport` is false. The emulator speaks plain
    HTTP to this machine only; a request that never leaves it is as private as TLS would make it.
    """
    return original(source_ip, secure_transport or ipaddress.ip_address(source_ip).is_loopback)


def wildcards_match_line_ends(original, pattern: str, ignore_case: bool) -> re.Pattern[str]:
    """AWS's `*` and `?` match any character, in names with line ends too. MiniStack's match none of those."""
    compiled = original(pattern, ignore_case)
    return re.compile(compiled.pattern.removesuffix("$") + r"\Z", compiled.flags | re.DOTALL)


def denied(headers: dict, query_parameters: dict, action: str, resource: str) -> bool:
    """Whether IAM denies the request's caller this further action."""
    caller = extract_access_key_id(headers, query_parameters)
    return iam_evaluator.enforce(caller, action, action.partition(":")[0], get_region(), resource_arn=resource) is not None


async def s3_asks_for_the_further_rights(original, method: str, path: str, headers: dict, body, query_parameters, **internal):
    """AWS: a missing object is *denied* to those who may not list the bucket; `If-Match` on a write also needs GetObject, tags
    PutObjectTagging (S3 API reference: GetObject, "Permissions"; PutObject; "Conditional writes"). MiniStack asks for none.
    """
    bucket, _, key = path.lstrip("/").partition("/")
    if key and method in ("PUT", "POST"):
        further = [action for header, action in (("if-match", "s3:GetObject"), ("x-amz-tagging", "s3:PutObjectTagging"))
                   if header in headers]
        if any(denied(headers, query_parameters, action, f"arn:aws:s3:::{bucket}/{key}") for action in further):
            return error_response_xml("AccessDenied", "Access Denied", 403)
    response = await original(method, path, headers, body, query_parameters, **internal)
    missing = response[0] == 404 and key and (method == "HEAD" or (method == "GET" and b"<Code>NoSuchKey<" in response[2]))
    if missing and denied(headers, query_parameters, "s3:ListBucket", f"arn:aws:s3:::{bucket}"):
        status, its_headers, text = error_response_xml("AccessDenied", "Access Denied", 403)
        return status, its_headers, b"" if method == "HEAD" else text
    return response


def ranges_of_versions_are_cut(original, bucket: str, key: str, headers: dict, query_parameters: dict | None = None):
    """AWS honours `Range` with and without a version id (S3 API reference, GetObject). MiniStack ignores it for a version and
    sends the whole object.
    """
    status, its_headers, body = original(bucket, key, headers, query_parameters)
    if status != 200 or "range" not in headers:
        return status, its_headers, body
    wanted = s3._parse_range(headers["range"], len(body))
    if wanted is None:
        return error_response_xml("InvalidRange", "The requested range is not satisfiable", 416)
    start, end = wanted
    cut = body[start:end + 1]
    of_the_whole = "x-amz-checksum-"
    kept = {name: value for name, value in its_headers.items() if not name.lower().startswith(of_the_whole)}
    return 206, {**kept, "Content-Length": str(len(cut)), "Content-Range": f"bytes {start}-{end}/{len(body)}"}, cut


def answers_of_versions_are_as_asked(original, bucket: str, key: str, headers: dict, query_parameters: dict | None = None):
    """AWS: `response-content-disposition` and its siblings set headers of the answer, with and without a version id (S3 API
    reference, GetObject). MiniStack forgets them for a version.
    """
    answer = original(bucket, key, headers, query_parameters)
    if answer[0] in (200, 206):
        s3._apply_response_overrides(answer[1], query_parameters or {})
    return answer


def version_listings_are_url_encoded(original, bucket: str, query_parameters: dict):
    """AWS percent-encodes the keys in a listing that asks for `encoding-type=url` (S3 API reference, ListObjectVersions), as
    Terraform's provider does when it empties a bucket. MiniStack does so for objects, but not for versions.
    """
    status, headers, text = original(bucket, query_parameters)
    if status != 200 or s3._qp(query_parameters, "encoding-type") != "url":
        return status, headers, text

    # Not by an XML parser: a key may hold characters that XML may not.
    def encoded(element: re.Match[bytes]) -> bytes:
        name, key = element[1], unescape(element[2].decode(), {"&#13;": "\r", "&#10;": "\n", "&#09;": "\t"})
        return b"<%b>%b</%b>" % (name, quote(key, safe="/").encode(), name)

    text = re.sub(rb"<(Key|Prefix|Delimiter|KeyMarker|NextKeyMarker)>(.*?)</\1>", encoded, text, flags=re.DOTALL)
    return status, headers, text.replace(b"</Name>", b"</Name><EncodingType>url</EncodingType>", 1)


async def encrypted_topics_need_their_key(original, method: str, path: str, headers: dict, body: bytes, query_parameters):
    """AWS: who publishes to a topic encrypted with a customer-managed key needs `kms:GenerateDataKey` and `kms:Decrypt` on it
    (SNS Developer Guide, "Key management"). MiniStack encrypts nothing and asks for neither.
    """
    form = {name: values[0] for name, values in parse_qs(body.decode(errors="replace")).items()} if body else {}
    topic = sns._topics.get(form.get("TopicArn")) if form.get("Action") in ("Publish", "PublishBatch") else None
    key = topic and kms._resolve_key(topic["attributes"].get("KmsMasterKeyId"))
    if key and any(denied(headers, query_parameters, action, key["Arn"]) for action in ("kms:GenerateDataKey", "kms:Decrypt")):
        return sns._error("KMSAccessDenied", f"The caller is not authorized to use the topic's key {key['Arn']}", 400)
    return await original(method, path, headers, body, query_parameters)


def functions_need_a_role_that_trusts_lambda(original, data: dict):
    """AWS refuses a function whose role Lambda cannot assume (CreateFunction, InvalidParameterValue); MiniStack only wants it to
    exist.
    """
    arn = f"arn:aws:lambda:{get_region()}:{get_account_id()}:function:{data.get('FunctionName')}"
    if role_cannot_be_assumed(data.get("Role", ""), "lambda.amazonaws.com", arn):
        message = "The role defined for the function cannot be assumed by Lambda."
        return error_response_json("InvalidParameterValueException", message, 400)
    return original(data)


async def answers_leave_in_one_piece(original, protocol: H11Protocol, event: h11.Event) -> None:
    """AWS: the head of an answer does not travel alone. MiniStack's server sends it ahead of the body, and when the body is late
    by a tenth of a millisecond, the Go SDK now and then drops the connection and repeats the request: Terraform, whose lock
    was written by the first attempt, then says that somebody holds it.
    """
    pieces = [protocol.__dict__.pop("head", b"")]

    async def keep(piece: RawData) -> None:
        pieces.append(piece.data)

    send, protocol.send = protocol.send, keep
    try:
        await original(protocol, event)
    finally:
        protocol.send = send
    if isinstance(event, h11.Response):
        protocol.head = b"".join(pieces)
    else:
        await send(RawData(b"".join(pieces)))


def resets_forget_all(original) -> None:
    """Nothing of AWS: MiniStack's `/_ministack/reset` also forgets what shims keep."""
    original()
    for kept in (_saved_queries, _lifecycle_policies, _to_throttle, _held, _holding):
        kept.clear()
    _rekognition.forget()
    faults.forget()


SHIMS = (  # outermost last, where one function carries several
    (stepfunctions, "_invoke_resource", tasks_are_calls_of_the_machines_role),
    (stepfunctions, "_run_execution", machines_time_out),
    (stepfunctions, "_run_execution", executions_run_under_their_machines_role),
    (stepfunctions, "_create_state_machine", machines_need_a_role_that_trusts_step_functions),
    (stepfunctions, "_update_state_machine", machines_need_a_role_that_trusts_step_functions),
    (stepfunctions, "_start_execution", starting_twice_is_once),
    (stepfunctions, "_fail_execution", ended_executions_stay_ended),
    (stepfunctions, "_execute_task", payloads_are_limited),
    (stepfunctions, "_execute_pass", payloads_are_limited),
    (stepfunctions, "_execute_map", payloads_are_limited),
    (stepfunctions, "_execute_parallel", payloads_are_limited),
    (stepfunctions, "_error_matches", some_errors_escape_the_wildcards),
    (stepfunctions, "_find_matching_retrier", retries_wait_as_their_retrier_says),
    (stepfunctions, "_run_distributed_map", distributed_maps_speak_jsonata),
    (stepfunctions, "_run_sub_machine", map_children_are_executions_of_their_own),
    (lambda_runtime.Worker, "invoke", invocations_keep_the_exceptions_class),
    (lambda_svc, "_execute_function_warm", functions_fail_under_their_exceptions_name),
    (lambda_svc, "_route_async_failure", dead_letters_are_the_bare_event),
    (lambda_svc, "_apply_filter_criteria", mappings_are_known_by_their_batches),
    (lambda_svc, "_execute_function", failed_stream_batches_come_in_parts),
    (lambda_svc, "_execute_function", throttled_events_wait),
    (lambda_svc, "invoke_async_with_retry", asynchronous_events_can_wait),
    (lambda_svc, "_emit_lambda_metrics", throttles_are_no_errors),
    (lambda_svc, "_create_function", functions_need_a_role_that_trusts_lambda),
    (apigateway_v1, "_create_api_key", api_keys_without_a_value_get_one),
    (apigateway_v1, "_put_integration", integrations_have_the_method_they_were_given),
    (apigateway_v1, "handle_request", values_of_keys_are_shown_on_demand),
    (apigateway_v1, "handle_execute", requests_have_ten_megabytes_at_most),
    (apigateway_v1, "_handle_execute_in_scope", apis_write_access_logs),
    (apigateway_v1, "_execute_in_scope", requests_to_apis_have_one_id),
    (apigateway_v1, "_check_request_validation", bodies_are_validated_by_their_type),
    (apigateway_v1, "_build_lambda_event_v1", events_of_apis_are_as_functions_know_them),
    (apigateway_v1, "_invoke_lambda_proxy_v1", apis_invoke_what_lets_them_in),
    (apigateway_v1, "_lambda_proxy_response", failed_functions_are_a_bad_gateway),
    (apigateway_v1, "_gateway_error_response", gateway_responses_keep_their_status),
    (s3, "handle_request", s3_asks_for_the_further_rights),
    (s3, "_get_object", ranges_of_versions_are_cut),
    (s3, "_get_object", answers_of_versions_are_as_asked),
    (s3, "_list_object_versions", version_listings_are_url_encoded),
    (sns, "handle_request", encrypted_topics_need_their_key),
    (cloudwatch, "_put_metric_alarm", alarms_are_kept_whole),
    (cloudwatch, "_describe_alarms", alarms_are_described_whole),
    (cloudwatch_logs, "handle_request", saved_queries_are_kept),
    (cloudwatch_logs, "_filter_log_events", long_logs_come_in_pages),
    (opensearchserverless, "_validate_rules", dashboards_are_named_by_their_collection),
    (opensearchserverless, "_policy_detail", descriptions_nobody_gave_are_absent),
    (opensearchserverless, "_collection_detail", descriptions_nobody_gave_are_absent),
    (opensearchserverless, "_provision", collections_need_no_docker),
    (opensearchserverless, "_collection_endpoint", collections_have_names_of_their_own),
    (opensearchserverless, "_proxy", collections_are_guarded_and_served),
    (opensearchserverless, "handle_request", lifecycle_policies_are_kept),
    (s3, "_fire_s3_event", s3_tells_of_versions),
    (eventbridge, "_dispatch_event", events_of_s3_name_the_version),
    (eventbridge, "_event_time_string", events_happen_at_whole_seconds),
    (eventbridge, "_put_events", tests_may_inject_aws_events),
    (iam_evaluator, "_fnmatch_compile", wildcards_match_line_ends),
    (H11Protocol, "_send_h11_event", answers_leave_in_one_piece),
    (dynamodb, "_put_item", writes_are_throttled_on_demand),
    (dynamodb, "_replicate_write", replication_waits_on_demand),
    (app, "_handle_admin_config_request", tests_may_disturb_tables),
    (stepfunctions, "_add_event", faults.executions_are_aborted),
    (s3, "_deliver_event_to_lambda", faults.notifications_go_astray),
    (eventbridge, "_invoke_target", faults.targets_are_missed),
    (opensearchserverless, "_proxy", faults.searches_go_wrong),
    (H11Protocol, "_send_h11_event", faults.answers_get_lost),
    (app, "_dispatch_service_request", faults.calls_go_wrong),
    (app, "_handle_admin_config_request", faults.faults_are_switched),
    (app, "pin_request_origin", loopback_counts_as_tls),
    (app, "_reset_all_state", resets_forget_all),
)


def install() -> None:
    """Put every shim in place, or stop with the reason why this MiniStack is not the one they know."""
    if (version := importlib.metadata.version("ministack")) != MINISTACK_VERSION:
        raise SystemExit(f"local.launcher: MiniStack {version} is installed, but the shims are written for {MINISTACK_VERSION}. "
                         f"Remedy: pip install ministack=={MINISTACK_VERSION}")
    serve_rekognition()
    for edit in (workers_report_the_exceptions_class, workers_resolve_names_below_localhost, faults.workers_tell_their_process):
        lambda_runtime._PYTHON_WORKER_SCRIPT = edit(lambda_runtime._PYTHON_WORKER_SCRIPT)
    for owner, name, shim in SHIMS:
        original = getattr(owner, name, None)
        if not callable(original):
            raise SystemExit(f"local.launcher: {owner.__name__}.{name} is gone from MiniStack; {shim.__name__} needs it.")
        setattr(owner, name, wrapped(original, shim))


def wrapped(original, shim):
    """The original behind the shim, for functions and methods alike."""
    @functools.wraps(original)
    def call(*arguments, **keywords):
        return shim(original, *arguments, **keywords)
    return call


def main() -> None:
    """Install the shims and serve until told to stop."""
    install()
    app.main()


if __name__ == "__main__":
    main()
