"""The image processor's own metrics (P7): lines in the log from which CloudWatch makes them (embedded metric format)."""

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

from . import contract
from .classification import Decision


def latency(namespace: str, milliseconds: float) -> None:
    metrics = AmazonCloudWatchEMFProvider(namespace=namespace, service=contract.METRICS_SERVICE)
    metrics.add_metric(contract.METRIC_LATENCY, MetricUnit.Milliseconds, round(milliseconds, 1))
    metrics.flush_metrics()


def classified(namespace: str, decision: Decision) -> None:
    metrics = AmazonCloudWatchEMFProvider(namespace=namespace, service=contract.METRICS_SERVICE)
    metrics.add_dimension("animal", decision.animal)
    metrics.add_metric(contract.METRIC_IMAGES, MetricUnit.Count, 1)
    metrics.add_metric(contract.METRIC_CONFIDENCE, MetricUnit.Percent, decision.confidence)
    metrics.flush_metrics()
