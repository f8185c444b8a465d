"""A small model of CloudWatch alarms on metric math: does this alarm fire on these values?"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def fires(alarm: Mapping[str, Any], **data: float) -> bool:
    """Whether an alarm fires on these values of its metrics in one period. A metric that is not given has no value there.

    "+" takes a missing value for 0, unless both are missing (CloudWatch user guide, "Using math expressions"); what has no
    value follows treat_missing_data.
    """
    queries = {query["id"]: query for query in alarm["metric_query"]}
    (result,) = [query for query in queries.values() if query.get("return_data")]
    assert set(data) <= {id_ for id_, query in queries.items() if "metric" in query}, "no such metric"

    def value(node: ast.AST) -> Decimal | None:
        match node:
            case ast.Expression(body=body):
                return value(body)
            case ast.Constant(value=number):
                return Decimal(number)
            case ast.Name(id=name):
                assert name in queries, f"{name} is no metric of the alarm"
                return Decimal(data[name]) if name in data else None
            case ast.BinOp(left=left, op=operation, right=right):
                a, b = value(left), value(right)
                if isinstance(operation, ast.Add) and not (a is None and b is None):
                    return (a or 0) + (b or 0)
                if a is None or b is None:
                    return None
                match operation:
                    case ast.Mult():
                        return a * b
                    case ast.Div():
                        return a / b if b else None
            case ast.Compare(left=left, ops=[ast.Gt()], comparators=[right]):
                a, b = value(left), value(right)
                return None if a is None or b is None else Decimal(a > b)
            case ast.Call(func=ast.Name(id="IF"), args=[condition, then, otherwise]):
                chosen = value(condition)
                return None if chosen is None else value(then if chosen else otherwise)
        raise AssertionError(f"the test cannot evaluate {ast.dump(node)}")

    found = value(ast.parse(result["expression"], mode="eval"))
    assert alarm["comparison_operator"] == "GreaterThanThreshold"
    missing = {"notBreaching": False, "breaching": True}[alarm["treat_missing_data"]]
    return missing if found is None else found > Decimal(str(alarm["threshold"]))


def metrics(alarm: Mapping[str, Any]) -> set[tuple[Any, ...]]:
    """(namespace, name, dimension, value, period, statistic) of each metric of an alarm."""
    return {
        (each["namespace"], each["metric_name"], *next(iter(each["dimensions"].items())), each["period"], each["stat"])
        for query in alarm["metric_query"]
        if (each := query.get("metric"))
    }
