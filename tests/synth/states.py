"""Evaluates the JSONata of a state machine's definition, with what Step Functions adds to it."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonata

EXPRESSION = re.compile(r"^\{%(.*)%\}$", re.DOTALL)
EXECUTION = "arn:aws:states:us-east-1:111122223333:execution:etl-pipeline:4f1c8f0e"


def evaluate(template: Any, variables: dict[str, Any] | None = None, **states: Any) -> Any:
    """A field of a state (``Arguments``, ``Output``, …) as Step Functions would fill it. ``states`` become ``$states.…``.

    A field whose expression has no value is left out, as within one expression.
    """
    if isinstance(template, dict):
        filled = {key: evaluate(value, variables, **states) for key, value in template.items()}
        return {key: value for key, value in filled.items() if value is not None}
    if isinstance(template, list):
        return [evaluate(item, variables, **states) for item in template]
    match = EXPRESSION.match(template) if isinstance(template, str) else None
    if not match:
        return template
    expression = jsonata.Jsonata(match[1])
    expression.assign("states", states)
    for name, value in (variables or {}).items():
        expression.assign(name, value)
    expression.register_lambda("parse", json.loads)
    return expression.evaluate({})


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
