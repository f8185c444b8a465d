"""Environment variables as typed values; a fault names the variable and what it should be."""

import re
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


def name(text: str) -> str:
    """Of a bucket, a table, a namespace of metrics: what AWS gives such things to be called."""
    if not re.fullmatch(r"[A-Za-z0-9./_#:-]{1,255}", text):
        raise ValueError("a name of 1 to 255 characters A-Z, a-z, 0-9, '.', '/', '_', '#', ':', '-'")
    return text


def region(text: str) -> str:
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]", text):
        raise ValueError("an AWS region, such as eu-west-1")
    return text
