"""The environment variables of each function as one typed object."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ..common.environment import name, read, region
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


_PARSERS = {
    contract.ENV_TABLE_NAME: name,
    contract.ENV_REGION: region,
    contract.ENV_OTHER_REGION: region,
    contract.ENV_METRICS_NAMESPACE: name,
}


def _read(environ: Mapping[str, str], names: tuple[str, ...]) -> list[str]:
    return read(environ, {each: _PARSERS[each] for each in names})
