"""The environment variables of each function as one typed object; a fault names the variable and what it should be."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from . import contract


class BadEnvironment(Exception):
    """The function is set up wrongly; the message lists every fault."""


@dataclass(frozen=True)
class ValidationEnvironment:
    state_machine_arn: str
    failure_topic_arn: str
    max_file_bytes: int


@dataclass(frozen=True)
class TransformationEnvironment:
    max_reject_ratio: Fraction  # exact: 1 of 100 is not above 0.01


def validation(environ: Mapping[str, str] = os.environ) -> ValidationEnvironment:
    """The validation function's variables. Raises BadEnvironment."""
    return ValidationEnvironment(
        *_read(
            environ,
            {
                contract.ENV_STATE_MACHINE_ARN: _arn,
                contract.ENV_TOPIC_ARN: _arn,
                contract.ENV_MAX_FILE_BYTES: _positive_integer,
            },
        )
    )


def transformation(environ: Mapping[str, str] = os.environ) -> TransformationEnvironment:
    """The transformation function's variables. Raises BadEnvironment."""
    return TransformationEnvironment(*_read(environ, {contract.ENV_MAX_REJECT_RATIO: _ratio}))


def _read(environ: Mapping[str, str], variables: dict[str, Callable[[str], Any]]) -> list[Any]:
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


def _arn(text: str) -> str:
    if not text.startswith("arn:"):
        raise ValueError("an ARN")
    return text


def _positive_integer(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError("a positive whole number")
    return int(text)


def _ratio(text: str) -> Fraction:
    fault = "a decimal number from 0 to 1, such as 0.01"
    try:
        ratio = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(fault) from None
    if not 0 <= ratio <= 1:
        raise ValueError(fault)
    return ratio
