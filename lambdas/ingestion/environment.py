"""The environment variables of each function as one typed object."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..common.environment import read
from . import contract


@dataclass(frozen=True)
class ProcessorEnvironment:
    table_name: str
    region: str
    metrics_namespace: str


@dataclass(frozen=True)
class ConsumerEnvironment:
    region: str
    metrics_namespace: str


@dataclass(frozen=True)
class HeartbeatEnvironment:
    table_name: str
    region: str
    other_region: str
    metrics_namespace: str


def processor(environ: Mapping[str, str] = os.environ) -> ProcessorEnvironment:
    """The processor's variables. Raises BadEnvironment."""
    return ProcessorEnvironment(*_read(environ, contract.PROCESSOR_ENVIRONMENT))


def consumer(environ: Mapping[str, str] = os.environ) -> ConsumerEnvironment:
    """The stream consumer's variables. Raises BadEnvironment."""
    return ConsumerEnvironment(*_read(environ, contract.CONSUMER_ENVIRONMENT))


def heartbeat(environ: Mapping[str, str] = os.environ) -> HeartbeatEnvironment:
    """The heartbeat's variables. Raises BadEnvironment."""
    return HeartbeatEnvironment(*_read(environ, contract.HEARTBEAT_ENVIRONMENT))


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9./_#:-]{1,255}", text):
        raise ValueError("a name of 1 to 255 characters A-Z, a-z, 0-9, '.', '/', '_', '#', ':', '-'")
    return text


def _region(text: str) -> str:
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]", text):
        raise ValueError("a region, such as us-east-1")
    return text


_PARSERS = {
    contract.ENV_TABLE_NAME: _name,
    contract.ENV_REGION: _region,
    contract.ENV_OTHER_REGION: _region,
    contract.ENV_METRICS_NAMESPACE: _name,
}


def _read(environ: Mapping[str, str], names: tuple[str, ...]) -> list[str]:
    return read(environ, {name: _PARSERS[name] for name in names})
