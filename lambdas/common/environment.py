"""Environment variables as typed values; a fault names the variable and what it should be."""

from collections.abc import Callable, Mapping
from typing import Any


class BadEnvironment(Exception):
    """The function is set up wrongly; the message lists every fault."""


def read(environ: Mapping[str, str], variables: Mapping[str, Callable[[str], Any]]) -> list[Any]:
    """The value of each variable, in order. A parser says by ValueError what the text should be. Raises BadEnvironment."""
    values, faults = [], []
    for name, parse in variables.items():
        text = environ.get(name, "")
        try:
            values.append(parse(text))
        except ValueError as error:
            faults.append(f"{name} {f'is {text!r}' if text else 'is missing'}, should be {error}")
    if faults:
        raise BadEnvironment("; ".join(faults))
    return values


def arn(text: str) -> str:
    if not text.startswith("arn:"):
        raise ValueError("an ARN")
    return text


def positive_integer(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError("a positive whole number")
    return int(text)
