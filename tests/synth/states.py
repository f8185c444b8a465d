"""Evaluates the JSONata of a state machine's definition, with what Step Functions adds to it, and runs whole machines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jsonata

EXPRESSION = re.compile(r"^\{%(.*)%\}$", re.DOTALL)
EXECUTION = "arn:aws:states:us-east-1:111122223333:execution:etl-pipeline:4f1c8f0e"


class QueryEvaluationError(Exception):
    """``States.QueryEvaluationError``: an expression that fails, or has no value (Step Functions developer guide)."""


def evaluate(template: Any, variables: dict[str, Any] | None = None, **states: Any) -> Any:
    """A field of a state (``Arguments``, ``Output``, …) as Step Functions would fill it. ``states`` become ``$states.…``.

    Raises QueryEvaluationError. Within one expression, an object's field without a value is left out.
    """
    if isinstance(template, dict):
        return {key: evaluate(value, variables, **states) for key, value in template.items()}
    if isinstance(template, list):
        return [evaluate(item, variables, **states) for item in template]
    match = EXPRESSION.match(template) if isinstance(template, str) else None
    if not match:
        return template
    if not _run(f"$exists(({match[1]}))", variables, states):
        raise QueryEvaluationError(f"{match[1]}: has no value")
    return _run(match[1], variables, states)


def _run(text: str, variables: dict[str, Any] | None, states: dict[str, Any]) -> Any:
    expression = jsonata.Jsonata(text)
    expression.assign("states", states)
    for name, value in (variables or {}).items():
        expression.assign(name, value)
    expression.register_lambda("parse", json.loads)
    try:
        return expression.evaluate({})
    except (jsonata.JException, ValueError) as error:
        raise QueryEvaluationError(f"{text}: {error}") from error


def context(execution_input: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The context object of an execution."""
    return {
        "Execution": {"Id": EXECUTION, "Name": EXECUTION.rsplit(":", 1)[1], "Input": execution_input},
        "State": {"EnteredTime": "2026-02-01T00:00:00.456Z"},
        **more,
    }


def ways(state: dict[str, Any]) -> dict[str, str]:
    """Where a state leads: ``Next``, ``Default``, each choice, each caught error."""
    found = {field: state[field] for field in ("Next", "Default") if field in state}
    found |= {f"choice {number}": choice["Next"] for number, choice in enumerate(state.get("Choices", []))}
    return found | {error: catch["Next"] for catch in state.get("Catch", []) for error in catch["ErrorEquals"]}


# --- whole executions -----------------------------------------------------------------------------------------------

STATE_LIMIT = 256 * 1024
"""Bytes that the output of a state may have (Step Functions developer guide, "Quotas")."""
UNCATCHABLE = ("States.DataLimitExceeded", "States.Runtime")
"""What ``States.ALL`` does not match ("Handling errors")."""


class Failure(Exception):
    """An error that a task reports, or that ends an execution."""

    def __init__(self, error: str, cause: str | None = None) -> None:
        super().__init__(error)
        self.error, self.cause = error, cause

    @property
    def output(self) -> dict[str, str]:
        """``$states.errorOutput``: without ``Cause`` if there is none."""
        return {"Error": self.error, **({} if self.cause is None else {"Cause": self.cause})}


@dataclass
class Execution:
    """How an execution went."""

    status: str = "RUNNING"
    error: str | None = None
    cause: str | None = None
    output: Any = None
    states: list[str] = field(default_factory=list)
    """Every state that was entered, in order; those of a map's children stand in ``children``."""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    """State and arguments of every call, retries and children included."""
    children: list[Execution] = field(default_factory=list)
    """A map's child executions, in the order of its items."""
    pauses: list[float] = field(default_factory=list)
    """The longest that each retry may have waited, in seconds."""

    def arguments(self, state: str) -> Any:
        """Those of the one call of a state."""
        (only,) = [arguments for name, arguments in self.calls if name == state]
        return only


def execute(machine: dict[str, Any], input_: Any, tasks: Mapping[str, Callable[[Any], Any]], arn: str = EXECUTION) -> Execution:
    """Run a machine of Pass, Choice, Task, Fail, Succeed and (distributed) Map states. ``tasks`` answer the calls: state →
    function of the arguments, which gives the result or raises Failure."""
    run = Execution()
    environment = context(input_, Execution={"Id": arn, "Name": arn.rsplit(":", 1)[1], "Input": input_})
    variables: dict[str, Any] = {}
    name, data = machine["StartAt"], input_
    try:
        while True:
            state = machine["States"][name]
            run.states.append(name)
            fields = {"input": data, "context": environment}
            if state["Type"] == "Succeed":
                run.status, run.output = "SUCCEEDED", data
                return run
            if state["Type"] == "Fail":
                raise Failure(_filled(state["Error"], variables, fields), _filled(state["Cause"], variables, fields))
            if state["Type"] == "Choice":
                chosen = (each["Next"] for each in state["Choices"] if _condition(each["Condition"], variables, fields))
                name = next(chosen, state["Default"])  # those behind it are not evaluated (States Language, "Choice State")
                continue
            way = state
            if state["Type"] in ("Task", "Map"):
                result, caught = _tried(name, state, variables, fields, tasks, run)
                way = state if caught is None else caught
                fields["result" if caught is None else "errorOutput"] = result
            else:
                result = data
            output = _filled(way["Output"], variables, fields) if "Output" in way else result
            variables = variables | _filled(way.get("Assign", {}), variables, fields)
            data = _within_the_limit(output)
            if state.get("End") and way is state:
                run.status, run.output = "SUCCEEDED", data
                return run
            name = way["Next"]
    except Failure as failure:
        run.status, run.error, run.cause = "FAILED", failure.error, failure.cause
        return run


def _tried(
    name: str,
    state: dict[str, Any],
    variables: dict[str, Any],
    fields: dict[str, Any],
    tasks: Mapping[str, Callable[[Any], Any]],
    run: Execution,
) -> tuple[Any, dict[str, Any] | None]:
    """A task or a map with its retries: its result and None, or its error output and the catch that takes it."""
    retried: dict[int, int] = {}
    while True:
        try:
            if state["Type"] == "Map":
                result = _within_the_limit(_mapped(state, variables, fields, tasks, run))
            else:
                arguments = _filled(state["Arguments"], variables, fields)
                run.calls.append((name, arguments))
                result = _within_the_limit(tasks[name](arguments))
            if "Output" in state:  # what it fails on is retried, too
                _within_the_limit(_filled(state["Output"], variables, {**fields, "result": result}))
            return result, None
        except Failure as failure:
            number, retrier = next(
                ((n, each) for n, each in enumerate(state.get("Retry", [])) if takes(each, failure.error)), (-1, None)
            )
            if retrier and retried.get(number, 0) < retrier.get("MaxAttempts", 3):
                run.pauses.append(pauses(retrier)[retried.get(number, 0)])
                retried[number] = retried.get(number, 0) + 1
                continue
            catch = next((each for each in state.get("Catch", []) if takes(each, failure.error)), None)
            if catch is None:
                raise
            return failure.output, catch


def _mapped(
    state: dict[str, Any],
    variables: dict[str, Any],
    fields: dict[str, Any],
    tasks: Mapping[str, Callable[[Any], Any]],
    run: Execution,
) -> list[Any]:
    """The results of a Distributed Map's children, each an execution with an input of its own and none of the variables; one
    that fails ends the map ("Fail-safe execution and tolerated failures")."""
    results = []
    for index, item in enumerate(_filled(state["Items"], variables, fields)):
        within = fields["context"] | {"Map": {"Item": {"Index": index, "Value": item}}}
        given = _within_the_limit(_filled(state["ItemSelector"], variables, {**fields, "context": within}))
        child = execute(state["ItemProcessor"], given, tasks, f"{fields['context']['Execution']['Id']}/{state['Label']}:{index}")
        run.children.append(child)
        run.calls += child.calls
        if child.status != "SUCCEEDED":
            cause = "The specified tolerated failure threshold was exceeded"
            raise Failure("States.ExceedToleratedFailureThreshold", cause)
        results.append(child.output)
    return results


def takes(entry: dict[str, Any], error: str) -> bool:
    """Whether a retrier or a catcher is for this error."""
    return error in entry["ErrorEquals"] or ("States.ALL" in entry["ErrorEquals"] and error not in UNCATCHABLE)


def pauses(retrier: dict[str, Any]) -> list[float]:
    """The pause before each retry in seconds, at its longest: with full jitter it is anything from 0 to this."""
    rate, longest = retrier.get("BackoffRate", 2), retrier.get("MaxDelaySeconds", float("inf"))
    attempts = range(retrier.get("MaxAttempts", 3))
    return [min(retrier.get("IntervalSeconds", 1) * rate**attempt, longest) for attempt in attempts]


def _filled(template: Any, variables: dict[str, Any], fields: dict[str, Any]) -> Any:
    try:
        return evaluate(template, variables, **fields)
    except QueryEvaluationError as error:
        raise Failure("States.QueryEvaluationError", str(error)) from error


def _condition(template: str, variables: dict[str, Any], fields: dict[str, Any]) -> bool:
    value = _filled(template, variables, fields)
    if not isinstance(value, bool):
        raise Failure("States.QueryEvaluationError", f"{template}: {value!r} is no boolean")
    return value


def _within_the_limit(output: Any) -> Any:
    if len(json.dumps(output, ensure_ascii=False).encode("utf-8", "surrogatepass")) > STATE_LIMIT:
        raise Failure("States.DataLimitExceeded", "The state/task returned a result with a size exceeding the maximum")
    return output


def lambda_error(name: str, message: str) -> str:
    """The cause of a failed Python function."""
    trace = ['  File "/var/task/lambdas/some/module.py", line 19, in handler\n']
    return json.dumps({"errorMessage": message, "errorType": name, "requestId": "7d8e", "stackTrace": trace})


def causes(longest: int) -> dict[str, tuple[str | None, str]]:
    """Causes of failures, and what a machine that keeps so many characters makes of each: Lambda's message, or all of it."""
    lambdas = 'line 3: it\'s "no" JSON\nat all'
    long = "x" * 32768
    plain = {
        "plain": "The table is gone (Service: DynamoDb, Status Code: 400)",
        "empty": "",
        "other JSON": '{"other": 1}',
        "no fields": "{}",
        "a number for a message": '{"errorMessage": 7}',
        "null for a message": '{"errorMessage": null}',
        "only a type": '{"errorType": "Runtime.ExitError"}',
        "cut off": '{"errorMessage": "cut off in the midd',
        "a brace": "{",
        "no JSON in braces": "{no JSON}",
        "Python in braces": "{'a': 1}",
        "an array": "[1, 2]",
    }
    return {
        "of Lambda": (lambda_error("Boom", lambdas), lambdas),
        "of Lambda, without a message": (lambda_error("Boom", ""), ""),
        "none": (None, ""),
        "as long as can be": (long, long[:longest]),
        **{name: (cause, cause) for name, cause in plain.items()},
    }
