"""Faults in the embedded AWS: throttling, errors, lost answers, latency, killed functions, wayward events, aborted executions.

Off until `POST /_ministack/config` with `{"faults": {…}}` sets a `Schedule`; `{"faults": null}` ends it. Both answer
`{"injected": […]}`, the faults of the schedule before. Only calls of functions and state machines go wrong, never root's.

A seed makes the same decisions however calls and events interleave: each is drawn from the hash of the seed, what happens, which
file it is about, and how many times this has happened before for that file; no stream of random numbers is shared. What a retry
does next depends on timing all the same, so a seed repeats the faults of each file's first steps, and of later ones as far as
the file takes the same way.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import h11
from hypercorn.events import Closed
from ministack import app
from ministack.core import iam_evaluator, lambda_runtime
from ministack.core.arn import parse_arn
from ministack.core.responses import get_account_id, json_response, request_scope
from ministack.core.router import detect_service, extract_access_key_id
from ministack.services import eventbridge, lambda_svc, sqs, stepfunctions

THROTTLED, FAILED, LOST, SLOW = "throttled", "failed", "lost", "slow"
KILLED_BEFORE, KILLED_AFTER = "killed", "killed after"
"""Of calls: refused for the rate; refused with a 5xx; done, but no answer comes; late; the calling function dies, before the
call has taken effect or after it."""
TWICE, LATE, DROPPED = "twice", "late", "dropped"
"""Of events. Late ones are overtaken: that is the reordering. A dropped one goes to the dead-letter queue, or is gone."""
ABORTED = "aborted"

_LOOKED_AT = 32 << 10  # bytes of a request's body in which the file it is about is looked for
_LOST_ANSWER = "x-lost-answer"  # header between the two halves of this: the connection closes instead
_AGENT = re.compile(r"app/worker-(\d+)")

# Code, status and words as the services' API references have them; every other service's are those of JSON.
_THROTTLING = {
    "s3": (503, "SlowDown", "Please reduce your request rate."),
    "lambda": (429, "TooManyRequestsException", "Rate Exceeded."),
    "sns": (400, "Throttling", "Rate exceeded"),
    "aoss": (429, "rejected_execution_exception", "Too many requests"),
    "dynamodb": (400, "ThrottlingException", "Throughput exceeds the current capacity of your table or index."),
}
_ERRORS = {
    "s3": (500, "InternalError", "We encountered an internal error. Please try again."),
    "lambda": (500, "ServiceException", "The Lambda service encountered an internal error."),
    "aoss": (503, "unavailable", "Service Unavailable"),
    "dynamodb": (500, "InternalServerError", "The request processing has failed because of an unknown error."),
    "rekognition": (500, "InternalServerError", "Amazon Rekognition experienced a service issue. Try your call again."),
}
_PLAIN_THROTTLING = (400, "ThrottlingException", "Rate exceeded")
_PLAIN_ERROR = (500, "InternalFailure", "The request processing has failed because of an unknown error, exception or failure.")


@dataclass(frozen=True)
class Schedule:
    """What goes wrong, how often (rates from 0 to 1), and for which seed."""

    seed: int
    subject: str
    """A regular expression: which file a call or an event is about. Only what is about one goes wrong."""
    calls: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Rates of faults by `service:Call`, by `service`, and for all others by `*`: `{"*": {"throttled": 0.05}}`."""
    slow_seconds: float = 1.0
    """At most."""
    events: Mapping[str, float] = field(default_factory=dict)
    late_seconds: float = 3.0
    """At most."""
    vanishing: str = r"(?!)"
    """A regular expression of targets' ARNs: what is dropped on the way to them is gone. Of other targets, the DLQ has it."""
    aborts: float = 0.0
    """Of entered states."""
    abort_seconds: float = 0.5
    """At most, after the state was entered."""
    machines: str = r"(?!)"
    """A regular expression: names of the state machines whose executions may be aborted."""

    def draw(self, *what: Any) -> float:
        """A number from 0 to below 1 that depends on the seed and on `what` alone."""
        digest = hashlib.blake2b(json.dumps([self.seed, *what]).encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    def fault_of_call(self, service: str, call: str, subject: str, number: int) -> str | None:
        """What goes wrong with the `number`-th call of this kind about this file, if anything does."""
        rates = next((self.calls[name] for name in (f"{service}:{call}", service, "*") if name in self.calls), {})
        return _chosen(rates, self.draw(service, call, subject, number))

    def fault_of_event(self, target: str, subject: str, number: int) -> str | None:
        """What goes wrong with the `number`-th event about this file for a target."""
        return _chosen(self.events, self.draw("event", target, subject, number))

    def is_aborted(self, machine: str, state: str, subject: str, number: int) -> bool:
        """Whether the execution is aborted in the state that it enters, or soon after."""
        return bool(re.search(self.machines, machine)) and self.draw("abort", machine, state, subject, number) < self.aborts


def _chosen(rates: Mapping[str, float], drawn: float) -> str | None:
    for name, rate in rates.items():
        if drawn < rate:
            return name
        drawn -= rate
    return None


class Injector:
    """The schedule at work: counts what happens, decides, and notes what it has injected. For many threads."""

    def __init__(self):
        self.schedule: Schedule | None = None
        self._seen: Counter[tuple] = Counter()
        self._injected: list[dict] = []
        self._lock = threading.Lock()

    def set(self, schedule: Schedule | None) -> list[dict]:
        """Begin anew with this schedule, or end; what was injected under the one before."""
        with self._lock:
            before, self._injected, self.schedule = self._injected, [], schedule
            self._seen.clear()
            return before

    def number(self, *what: str) -> int:
        """How many times this has happened, this time included."""
        with self._lock:
            self._seen[what] += 1
            return self._seen[what]

    def note(self, fault: str, what: str, subject: str, number: int) -> None:
        """Remember a fault for the report."""
        with self._lock:
            self._injected.append({"fault": fault, "what": what, "subject": subject, "number": number, "time": time.time()})

    def call(self, service: str, call: str, subject: str, *, by_function: bool = True) -> str | None:
        """The fault of a call that is about to be made. Only functions can be killed."""
        if not (schedule := self.schedule):
            return None
        number = self.number(service, call, subject)
        fault = schedule.fault_of_call(service, call, subject, number)
        if fault in (KILLED_BEFORE, KILLED_AFTER) and not by_function:
            return None
        if fault:
            self.note(fault, f"{service}:{call}", subject, number)
        return fault

    def event(self, target: str, subject: str) -> tuple[str | None, float]:
        """The fault of an event that is about to be delivered, and how late it, or its second copy, comes."""
        if not (schedule := self.schedule):
            return None, 0
        number = self.number("event", target, subject)
        if fault := schedule.fault_of_event(target, subject, number):
            self.note(fault, target.rpartition(":")[2], subject, number)
        return fault, schedule.late_seconds * schedule.draw("late", target, subject, number)


_injector = Injector()


def subject_in(schedule: Schedule, *texts: str | bytes) -> str | None:
    """Which file these are about: the first that is named."""
    for text in texts:
        found = re.search(schedule.subject, text.decode(errors="replace") if isinstance(text, bytes) else text)
        if found:
            return found[0]
    return None


# --- the switch ------------------------------------------------------------------------------------------------------------

async def faults_are_switched(original, path: str, method: str, body: bytes):
    """Nothing of AWS: see the module."""
    try:
        wanted = json.loads(body or b"{}") if (path, method) == ("/_ministack/config", "POST") else {}
    except ValueError:
        wanted = {}
    if not isinstance(wanted, dict) or "faults" not in wanted:
        return await original(path, method, body)
    schedule = Schedule(**wanted["faults"]) if wanted["faults"] else None
    return json_response({"injected": _injector.set(schedule)})


def forget() -> None:
    """What a reset of the emulator does to faults."""
    _injector.set(None)


# --- calls -----------------------------------------------------------------------------------------------------------------

def workers_tell_their_process(script: str) -> str:
    """MiniStack's worker script, which names its process in the user agent of its calls: whom to kill."""
    return 'import os\nos.environ.setdefault("AWS_SDK_UA_APP_ID", f"worker-{os.getpid()}")\n' + script


async def calls_go_wrong(original, method: str, path: str, headers: dict, body: bytes, query_params: dict, *more):
    """AWS: a call is refused, fails, is late, or is made without an answer; a function may end at any of its calls (Lambda
    Developer Guide, "Understanding retry behavior"). MiniStack does none of it. Before and after IAM makes no difference.
    """
    async def call():
        return await original(method, path, headers, body, query_params, *more)

    schedule = _injector.schedule
    function = _caller(headers) if schedule else None
    if not schedule or not function:
        return await call()
    service = detect_service(method, path, headers, app._routing_params(method, path, headers, body, query_params))
    texts = unquote(path), json.dumps(query_params), unquote(headers.get("x-amz-copy-source", "")), unquote_form(service, body)
    if not (subject := subject_in(schedule, *texts)):
        return await call()
    name = call_name(service, method, path, headers, body, query_params)
    fault = _injector.call(service, name, subject, by_function=_AGENT.search(headers.get("user-agent", "")) is not None)
    if fault == SLOW:
        await asyncio.sleep(schedule.slow_seconds * schedule.draw(SLOW, service, name, subject))
    elif fault in (THROTTLED, FAILED):
        return refusal(service, fault, head=method == "HEAD")
    elif fault == KILLED_BEFORE:
        _kill(headers, function)
        return _lost((500, {}, b""))
    answer = await call()
    if fault == KILLED_AFTER:
        _kill(headers, function)
    return _lost(answer) if fault in (LOST, KILLED_AFTER) else answer


def unquote_form(service: str, body: bytes) -> bytes | str:
    """The beginning of a body as its sender wrote it."""
    text = body[:_LOOKED_AT]
    return unquote(text.decode(errors="replace")) if service in ("sns", "sqs") else text


def _caller(headers: dict) -> str | None:
    """Name of the function that calls, or of the execution's session; None for all that is not a role's."""
    session = iam_evaluator.resolve_principal(extract_access_key_id(headers, {}), get_account_id())
    arn = getattr(session, "arn", "")
    return arn.rsplit("/", 1)[-1] if ":assumed-role/" in arn else None


def call_name(service: str, method: str, path: str, headers: Mapping, body: bytes, query: Mapping) -> str:
    """The operation as its API calls it: `PutItem`, `Publish`, `UploadPart`."""
    if target := headers.get("x-amz-target"):
        return target.rpartition(".")[2]
    if service == "lambda":
        return "Invoke" if path.endswith("/invocations") else method
    if service != "s3":
        action = re.search(rb"(?:^|&)Action=(\w+)", body)
        return action[1].decode() if action else method
    if "uploadId" in query:
        return {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}.get(method, "ListParts")
    if "uploads" in query:
        return "CreateMultipartUpload" if method == "POST" else "ListMultipartUploads"
    if method == "GET" and "list-type" in query:
        return "ListObjectsV2"
    if method == "PUT" and "x-amz-copy-source" in headers:
        return "CopyObject"
    return f"{method.capitalize()}Object"


def refusal(service: str, fault: str, *, head: bool = False) -> tuple[int, dict, bytes]:
    """An answer of AWS in the protocol of the service; a HEAD has no body."""
    known, plain = (_THROTTLING, _PLAIN_THROTTLING) if fault == THROTTLED else (_ERRORS, _PLAIN_ERROR)
    status, code, words = known.get(service, plain)
    if service == "s3":
        text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{words}</Message></Error>"
        return status, {"Content-Type": "application/xml"}, b"" if head else text.encode()
    if service == "sns":
        side = "Sender" if status < 500 else "Receiver"
        text = f"<ErrorResponse><Error><Type>{side}</Type><Code>{code}</Code><Message>{words}</Message></Error></ErrorResponse>"
        return status, {"Content-Type": "text/xml"}, text.encode()
    if service == "aoss":
        return status, {"Content-Type": "application/json"}, json.dumps({"error": {"type": code, "reason": words}}).encode()
    names = {"__type": code, "message": words, **({"Type": "Service"} if service == "lambda" else {})}
    return status, {"Content-Type": "application/x-amz-json-1.0", "x-amzn-errortype": code}, json.dumps(names).encode()


def _lost(answer: tuple[int, dict, Any]) -> tuple[int, dict, Any]:
    status, headers, body = answer
    return status, {**headers, _LOST_ANSWER: "1"}, body


async def answers_get_lost(original, protocol, event) -> None:
    """Second half of a lost answer: the connection closes where the answer would begin."""
    if isinstance(event, h11.Response) and any(name == _LOST_ANSWER.encode() for name, _ in event.headers):
        protocol.answer_is_lost = True
        await protocol.send(Closed())
    if not getattr(protocol, "answer_is_lost", False):
        await original(protocol, event)


def _kill(headers: Mapping, function: str) -> None:
    """End the function's process as the lack of memory would; where the user agent names none, one that is at work."""
    told = _AGENT.search(headers.get("user-agent", ""))
    with lambda_runtime._lock:
        workers = [worker for entries in lambda_runtime._workers.values() for worker in entries
                   if getattr(worker, "_proc", None) and worker.in_use]
        pids = [worker._proc.pid for worker in workers
                if (worker._proc.pid == int(told[1]) if told else worker.config.get("FunctionName", "")[:64] == function)]
    for pid in pids[:1]:
        os.kill(pid, signal.SIGKILL)


def searches_go_wrong(original, served, method: str, target: str, headers: dict, body: bytes):
    """The same for the data plane of OpenSearch Serverless, whose answers MiniStack doesn't dispatch with the others."""
    schedule, function = _injector.schedule, _caller(headers)
    subject = subject_in(schedule, body[:_LOOKED_AT]) if schedule and function else None
    if not schedule or not function or not subject:
        return original(served, method, target, headers, body)
    fault = _injector.call("aoss", method, subject)
    if fault == SLOW:
        time.sleep(schedule.slow_seconds * schedule.draw(SLOW, "aoss", method, subject))
    elif fault in (THROTTLED, FAILED):
        return refusal("aoss", fault)
    elif fault == KILLED_BEFORE:
        _kill(headers, function)
        return refusal("aoss", FAILED)
    answer = original(served, method, target, headers, body)
    if fault == KILLED_AFTER:
        _kill(headers, function)
    return refusal("aoss", FAILED) if fault in (LOST, KILLED_AFTER) else answer


# --- events ----------------------------------------------------------------------------------------------------------------

def notifications_go_astray(original, arn: str, payload: dict, region: str) -> None:
    """S3 tells a function of an object at least once, in no order (S3 User Guide, "Event notification types and destinations").
    MiniStack does so at once, once.
    """
    def dead_letter() -> None:
        spec = parse_arn(arn)
        with request_scope(spec.account_id, spec.region):
            _, config, name = lambda_svc._get_func_record_for_ref(arn)
            queue = (config or {}).get("DeadLetterConfig", {}).get("TargetArn", "")
            lambda_svc._route_async_failure(queue, name, payload, {"error": True, "body": {"errorMessage": "injected"}})

    _astray(arn, json.dumps(payload), lambda: original(arn, payload, region), dead_letter)


def targets_are_missed(original, target: dict, event: dict, rule: dict, view=None) -> None:
    """EventBridge delivers at least once, in no order, and gives what it could not deliver to the target's dead-letter queue
    (User Guide, "Using dead-letter queues"). MiniStack delivers at once, once. Only events of S3 and Step Functions go astray.
    """
    def deliver() -> None:
        original(target, event, rule, view)

    def dead_letter() -> None:
        queue = parse_arn(target["DeadLetterConfig"]["Arn"])
        eventbridge._dispatch_to_sqs(queue, json.dumps(eventbridge._pattern_event_view(event).event_with_detail()))
        told = {"RULE_ARN": rule.get("Arn", ""), "TARGET_ARN": target["Arn"], "ERROR_CODE": "THROTTLING",
                "ERROR_MESSAGE": "injected", "RETRY_ATTEMPTS": "185"}
        message = sqs._queue_by_arn(str(queue))["messages"][-1]
        message["message_attributes"] = {name: {"DataType": "String", "StringValue": text} for name, text in told.items()}

    if event.get("Source") not in ("aws.s3", "aws.states"):
        return deliver()
    return _astray(target["Arn"], json.dumps(event, default=str), deliver, dead_letter)


def _astray(target: str, text: str, deliver: Callable[[], None], dead_letter: Callable[[], None]) -> None:
    schedule = _injector.schedule
    subject = subject_in(schedule, unquote(text)) if schedule else None
    fault, seconds = _injector.event(target, subject) if schedule and subject else (None, 0.0)
    if fault == DROPPED:
        if schedule and not re.search(schedule.vanishing, target):
            dead_letter()
        return
    if fault != LATE:
        deliver()
    if fault in (LATE, TWICE):
        _later(seconds, deliver)


def _later(seconds: float, work: Callable[[], Any]) -> None:
    timer = threading.Timer(seconds, contextvars.copy_context().run, [work])
    timer.daemon = True
    timer.start()


# --- executions ------------------------------------------------------------------------------------------------------------

def executions_are_aborted(original, execution: dict, event_type: str, details: dict | None = None):
    """Somebody stops an execution, in whatever state it is."""
    answer = original(execution, event_type, details)
    schedule = _injector.schedule
    arn = execution["executionArn"]
    if not schedule or not event_type.endswith("StateEntered") or stepfunctions._executions.get(arn) is not execution:
        return answer
    machine, state = execution["stateMachineArn"].rpartition(":")[2], (details or {})["stateEnteredEventDetails"]["name"]
    subject = subject_in(schedule, execution["input"])
    if not subject or execution.get("mapRunArn"):
        return answer
    number = _injector.number("abort", machine, state, subject)
    if schedule.is_aborted(machine, state, subject, number):
        _injector.note(ABORTED, f"{machine} {state}", subject, number)
        stop = {"executionArn": arn, "error": "Injected", "cause": f"aborted in the state {state}"}
        _later(schedule.abort_seconds * schedule.draw("abort after", machine, state, subject, number),
               lambda: stepfunctions._stop_execution(stop))
    return answer
