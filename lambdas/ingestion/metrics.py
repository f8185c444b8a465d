"""The functions' own metrics (R7): lines in the log from which CloudWatch makes them (embedded metric format)."""

from collections.abc import Mapping

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

from . import contract


def file_done(namespace: str, conflicts: int) -> None:
    _write(namespace, {contract.METRIC_FILES: 1, contract.METRIC_CONFLICTS: conflicts})


def file_failed(namespace: str) -> None:
    _write(namespace, {contract.METRIC_FAILED_FILES: 1})


def records(namespace: str, status: str, count: int) -> None:
    _write(namespace, {contract.METRIC_RECORDS: count}, status=status)


def lag(namespace: str, seconds: float) -> None:
    _write(namespace, {contract.METRIC_LAG: round(seconds, 3)}, MetricUnit.Seconds)


def _write(namespace: str, values: Mapping[str, float], unit: MetricUnit = MetricUnit.Count, **dimensions: str) -> None:
    metrics = AmazonCloudWatchEMFProvider(namespace=namespace, service=contract.METRICS_SERVICE)
    for name, value in dimensions.items():
        metrics.add_dimension(name, value)
    for name, value in values.items():
        metrics.add_metric(name, unit, value)
    metrics.flush_metrics()
