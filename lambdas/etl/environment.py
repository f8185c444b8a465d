"""The environment variables of each function as one typed object."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from ..common.environment import arn, name, positive_integer, read
from . import contract


@dataclass(frozen=True)
class ValidationEnvironment:
    state_machine_arn: str
    failure_topic_arn: str
    suffix: str
    max_file_bytes: int


@dataclass(frozen=True)
class TransformationEnvironment:
    max_reject_ratio: Fraction  # exact: 1 of 100 is not above 0.01
    max_piece_bytes: int


@dataclass(frozen=True)
class SweepEnvironment:
    state_machine_arn: str
    recovery_arn: str
    bucket: str
    table: str


def validation(environ: Mapping[str, str] = os.environ) -> ValidationEnvironment:
    """The validation function's variables. Raises BadEnvironment."""
    variables = {
        contract.ENV_STATE_MACHINE_ARN: arn,
        contract.ENV_TOPIC_ARN: arn,
        contract.ENV_SUFFIX: name,
        contract.ENV_MAX_FILE_BYTES: positive_integer,
    }
    return ValidationEnvironment(*read(environ, variables))


def transformation(environ: Mapping[str, str] = os.environ) -> TransformationEnvironment:
    """The transformation function's variables. Raises BadEnvironment."""
    variables = {contract.ENV_MAX_REJECT_RATIO: _ratio, contract.ENV_MAX_PIECE_BYTES: positive_integer}
    return TransformationEnvironment(*read(environ, variables))


def sweep(environ: Mapping[str, str] = os.environ) -> SweepEnvironment:
    """The sweep's variables. Raises BadEnvironment."""
    variables = {
        contract.ENV_STATE_MACHINE_ARN: arn,
        contract.ENV_RECOVERY_ARN: arn,
        contract.ENV_BUCKET_NAME: name,
        contract.ENV_TABLE_NAME: name,
    }
    return SweepEnvironment(*read(environ, variables))


def _ratio(text: str) -> Fraction:
    fault = "a decimal number from 0 to 1, such as 0.01"
    try:
        ratio = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(fault) from None
    if not 0 <= ratio <= 1:
        raise ValueError(fault)
    return ratio
