"""Checks every state machine of ``workflows/``: the validator's rules (npm ``asl-validator``) and our own.

Ours are what AWS refuses although the embedded AWS and the validator accept it (JSONPath under a JSONata top level), what
fails only at run time (an expression that does not parse, a variable nobody assigns), and what the house demands: every
task has a time-out, a retry and a catch for everything, unless it stands in ``WITHOUT_CATCH_ALL`` with its reason.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = ROOT / "workflows"

WITHOUT_CATCH_ALL = {
    "etl.asl.json": {"ConvertRange": "its failure is the child's, hence the map's, whose catch gives the upload up"},
    "etl_recovery.asl.json": {
        "Claim": "who could not claim must not act on the file: the execution fails, and its alarm calls somebody",
        "RecordFailed": "nothing comes after it: its failure is the execution's, which the alarm tells",
    },
    "metadata_recovery.asl.json": {
        "FindRecord": "who cannot look must not write a second record: the execution fails, and its alarm calls somebody",
        "RecordFailure": "nothing comes after it: its failure is the execution's, which the alarm tells",
    },
    "pet_recovery.asl.json": {"GiveUp": "nothing comes after it: its failure is the execution's, which the alarm tells"},
}
"""Tasks without a catch of ``States.ALL``, by file, each with the reason why."""

JSONPATH_FIELDS = frozenset(
    {
        *("InputPath", "OutputPath", "ResultPath", "Parameters", "ResultSelector", "ItemsPath", "Variable"),
        *("SecondsPath", "TimestampPath", "TimeoutSecondsPath", "HeartbeatSecondsPath", "MaxConcurrencyPath", "ErrorPath"),
        *("CausePath", "ToleratedFailureCountPath", "ToleratedFailurePercentagePath", "MaxItemsPath"),
        *("MaxItemsPerBatchPath", "MaxInputBytesPerBatchPath"),
    }
)
_OWN_DATA = frozenset({"Arguments", "Output", "Assign", "Items", "ItemSelector", "BatchInput"})
"""Fields whose content is the author's: a key called ``Parameters`` inside them may be an argument of an AWS API."""

_EXPRESSION = re.compile(r"^\{%(.*)%\}$", re.DOTALL)

States = Mapping[str, Mapping[str, Any]]


def faults(paths: Iterable[Path]) -> list[str]:
    """What is wrong with these files, one line each: file, state, fault, remedy."""
    found: list[str] = []
    machines: dict[str, dict[str, Any]] = {}
    for path in paths:
        try:
            machines[path.name] = json.loads(_filled(path.read_text(encoding="utf-8")))
        except ValueError as error:
            found.append(f"{path.name}: is not JSON ({error}); correct the syntax there")
    for name, machine in machines.items():
        found += _own_faults(name, machine)
    return found + _faults_of_node_tools(machines)


def _filled(text: str) -> str:
    """The definition with a plausible value for each placeholder, since the validator checks the form of ARNs."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name == "Partition":
            return "aws"
        for ending, arn in (
            ("FunctionArn", "lambda:us-east-1:123456789012:function:"),
            ("TopicArn", "sns:us-east-1:123456789012:"),
            ("MachineArn", "states:us-east-1:123456789012:stateMachine:"),
        ):
            if name.endswith(ending):
                return f"arn:aws:{arn}{name}"
        return name

    return re.sub(r"\$\{(\w+)\}", value, text)


def _own_faults(name: str, machine: Mapping[str, Any]) -> Iterator[str]:
    reasons = WITHOUT_CATCH_ALL.get(name, {})
    tasks: set[str] = set()
    if machine.get("QueryLanguage") == "JSONata":
        for where, what in _jsonpath(machine):
            yield f"{name}: {where}: {what}; AWS refuses JSONPath under a JSONata top level: write it in JSONata"
        for where, text in _texts(machine):
            if ("{%" in text or "%}" in text) and not _EXPRESSION.match(text):
                yield f"{name}: {where}: {text!r} is plain text; an expression begins with {{% and ends with %}}: write it so"
    for scope in _scopes(machine):
        states: States = scope.get("States", {})
        for state in sorted(set(states) - _reachable(scope)):
            yield f"{name}: {state}: no way leads here; point a Next, Default or Catch to it or remove it"
        for state, definition in states.items():
            if definition.get("Type") != "Task":
                continue
            tasks.add(state)
            if not {"TimeoutSeconds", "TimeoutSecondsPath"} & set(definition):
                yield f"{name}: {state}: has no TimeoutSeconds, so a lost answer would hold it for a year; give it one"
            if not definition.get("Retry"):
                yield f"{name}: {state}: has no Retry; add one, exponential with jitter (E7a)"
            if _catches_all(definition) and state in reasons:
                yield f"{name}: {state}: catches States.ALL; take it off the list WITHOUT_CATCH_ALL"
            if not _catches_all(definition) and state not in reasons:
                yield (
                    f"{name}: {state}: has no Catch of States.ALL; add one that leads to the next step of the error path (E7a), "
                    "or list the state in checks/asl.py, WITHOUT_CATCH_ALL, with the reason"
                )
            yield from (f"{name}: {state}: {fault}" for fault in _misplaced_all(definition))
    for state in sorted(set(reasons) - tasks):
        yield f"{name}: {state}: is listed in checks/asl.py, WITHOUT_CATCH_ALL, but is no task; take it off the list"


def _scopes(machine: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The machine and every machine inside it (Map, Parallel)."""
    yield machine
    for state in machine.get("States", {}).values():
        inner = [state[field] for field in ("ItemProcessor", "Iterator") if field in state]
        for each in [*inner, *state.get("Branches", [])]:
            yield from _scopes(each)


def _reachable(scope: Mapping[str, Any]) -> set[str]:
    states: States = scope.get("States", {})
    reached: set[str] = set()
    todo: list[str | None] = [scope.get("StartAt")]
    while todo:
        name = todo.pop()
        if name is None or name not in states or name in reached:
            continue
        reached.add(name)
        state = states[name]
        ways = [state, *state.get("Choices", []), *state.get("Catch", [])]
        todo += [state.get("Default"), *(way.get("Next") for way in ways)]
    return reached


def _catches_all(state: Mapping[str, Any]) -> bool:
    return any("States.ALL" in catch.get("ErrorEquals", []) for catch in state.get("Catch", []))


def _misplaced_all(state: Mapping[str, Any]) -> Iterator[str]:
    for field in ("Retry", "Catch"):
        entries: Sequence[Mapping[str, Any]] = state.get(field, [])
        for number, entry in enumerate(entries):
            errors = entry.get("ErrorEquals", [])
            if "States.ALL" in errors and (len(errors) > 1 or number < len(entries) - 1):
                yield f"States.ALL must stand alone in the last entry of {field}; move it there"


def _jsonpath(node: Any, where: str = "top level", own_data: bool = False) -> Iterator[tuple[str, str]]:
    """Every trace of JSONPath, with the state it stands in."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key.endswith(".$"):
                yield where, f"the field {key!r} takes a JSONPath"
            elif key in JSONPATH_FIELDS and not own_data:
                yield where, f"the field {key} exists in JSONPath only"
            elif key == "QueryLanguage" and value != "JSONata" and not own_data:
                yield where, f"QueryLanguage is {value}"
            if key == "States" and not own_data and isinstance(value, Mapping):
                for state, definition in value.items():
                    yield from _jsonpath(definition, state)
            else:
                yield from _jsonpath(value, where, own_data or key in _OWN_DATA)
    elif isinstance(node, list):
        for item in node:
            yield from _jsonpath(item, where, own_data)
    elif isinstance(node, str) and re.match(r"\$\$?[.\[]|States\.[A-Z][A-Za-z0-9]+\(", node):
        yield where, f"{node!r} is a JSONPath, which JSONata takes for plain text"


def _texts(node: Any, where: str = "top level") -> Iterator[tuple[str, str]]:
    """Every text, with the state it stands in."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "States" and isinstance(value, Mapping):
                for state, definition in value.items():
                    yield from _texts(definition, state)
            else:
                yield from _texts(value, where)
    elif isinstance(node, list):
        for item in node:
            yield from _texts(item, where)
    elif isinstance(node, str):
        yield where, node


def _assigned(node: Any) -> set[str]:
    """The names of every variable that the machine assigns anywhere."""
    if isinstance(node, Mapping):
        own = set(node["Assign"]) if isinstance(node.get("Assign"), Mapping) else set()
        return own.union(*(_assigned(value) for value in node.values()))
    return set().union(*(_assigned(item) for item in node)) if isinstance(node, list) else set()


def _faults_of_node_tools(machines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """asl-validator and the JSONata parser it brings, in one run of Node for all files."""
    question = [
        {
            "name": name,
            "definition": machine,
            "expressions": [
                {"state": state, "text": match[1]} for state, text in _texts(machine) if (match := _EXPRESSION.match(text))
            ],
            "variables": sorted(_assigned(machine)),
        }
        for name, machine in machines.items()
    ]
    run = subprocess.run(
        ["node", str(Path(__file__).with_name("asl.cjs"))],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if run.returncode:
        return [f"asl-validator did not run; install the Node tools (make does) and look at this:\n{run.stderr.strip()}"]
    return json.loads(run.stdout)


def main() -> int:
    found = faults(sorted(WORKFLOWS.glob("*.asl.json")))
    print("".join(f"{fault}\n" for fault in found), end="")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
