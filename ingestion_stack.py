"""IngestionStack: files of records into one global table, active in one region, ready in another. One construct for each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from constructs import Construct

from lambda_packaging import package
from lambdas.ingestion import contract
from modules import (
    AccessLogBucket,
    Alarm,
    AwsStack,
    Bucket,
    Dashboard,
    Function,
    Key,
    LifecycleRule,
    LogsQuery,
    Metric,
    Parameter,
    Region,
    Schedule,
    StreamMapping,
    Table,
    TableGrants,
    Topic,
)
from settings import INGESTION_REGIONS, IngestionSettings

HERE = Path(__file__).parent
BUCKET_NAMES = ("serverless-data-ingestion-prod", "serverless-data-ingestion-dr-prod")


class IngestionStack(AwsStack):
    """The global table, and in each of its regions what fills it and what follows it (R1–R9)."""

    settings: IngestionSettings

    def __init__(self, scope: Construct, id_: str, *, settings: IngestionSettings | None = None, **overrides: object) -> None:
        """``settings``, and any field of IngestionSettings as a keyword over them, all optional (C5b).

        Raises SettingsError with every fault in one message.
        """
        settings = IngestionSettings.of(settings, **overrides)
        super().__init__(scope, id_, settings=settings, project="Regional-Ingestion")
        active, ready = INGESTION_REGIONS
        table = Table(
            self,
            "records",
            name="serverless-processed-data-prod",
            key=Key(contract.RECORD_ID, contract.TIMESTAMP),
            indexes={contract.INDEX: Key(contract.STATUS, contract.TIMESTAMP)},
            projection="KEYS_ONLY",  # nearly all records are VALID, so the index has one hot partition: keep what it holds small
            stream=True,
            replicas=[ready],
        )
        names = (settings.ingestion_bucket_name, settings.ingestion_dr_bucket_name)
        buckets = [name or self.name(default, 63) for name, default in zip(names, BUCKET_NAMES, strict=True)]
        RegionalIngestion(self, region=active, other_region=ready, bucket_name=buckets[0], table=table)
        RegionalIngestion(self, region=ready, other_region=active, bucket_name=buckets[1], table=table.replica(ready))


class RegionalIngestion(Region):
    """A bucket, the processor that files its records, the consumer of the table's stream, and who watches them, in one region."""

    def __init__(
        self,
        stack: IngestionStack,
        *,
        region: str,
        other_region: str,
        bucket_name: str,
        table: TableGrants,
    ) -> None:
        here = region.replace("-", "_")
        super().__init__(stack, here, region=region)
        settings = stack.settings
        namespace = stack.name("serverless-ingestion-prod", 255)

        topic = Topic(self, "alarms", name="serverless-ingestion-alarms-prod", emails=settings.ingestion_alert_emails)
        logs = AccessLogBucket(
            self, "access_logs", name=f"{self.global_name('serverless-ingestion-logs-prod', 50)}-{self.account_id}"
        )
        bucket = Bucket(
            self,
            "data",
            name=bucket_name,
            access_logs=logs,
            lifecycle=[
                LifecycleRule(
                    "expire",
                    expire_after_days=settings.ingestion_object_retention_days,
                    old_versions_after_days=30,
                    abort_uploads_after_days=1,
                )
            ],
        )
        code = package("ingestion", HERE / "lambdas", HERE / ".build", distributions=["aws-lambda-powertools"])
        of_region = {contract.ENV_REGION: region, contract.ENV_METRICS_NAMESPACE: namespace}
        processor = Function(
            self,
            "processor",
            name="serverless-data-processor-prod",
            description="Files the records of an uploaded file",
            package=code,
            handler=contract.PROCESSOR_HANDLER,
            environment={contract.ENV_TABLE_NAME: table.name, **of_region},
            timeout_seconds=300,
            memory_mb=settings.ingestion_memory_mb,
            error_rate_percent=settings.ingestion_error_rate_percent,
            topic=topic,
        )
        consumer = Function(
            self,
            "consumer",
            name="serverless-stream-consumer-prod",
            description="Follows the records that this region has filed",
            package=code,
            handler=contract.CONSUMER_HANDLER,
            environment=of_region,
            timeout_seconds=60,
            memory_mb=256,
            error_rate_percent=settings.ingestion_error_rate_percent,
            topic=topic,
        )
        heartbeat = Function(
            self,
            "heartbeat",
            name="serverless-replication-heartbeat-prod",
            description="Beats for this region and listens for the other",
            package=code,
            handler=contract.HEARTBEAT_HANDLER,
            environment={contract.ENV_TABLE_NAME: table.name, contract.ENV_OTHER_REGION: other_region, **of_region},
            timeout_seconds=30,
            memory_mb=256,
            error_rate_percent=settings.ingestion_error_rate_percent,
            topic=topic,
        )
        functions = (processor, consumer, heartbeat)

        bucket.grant_read(processor.role, "*")
        table.grant_put(processor.role)
        table.grant_update(processor.role)
        table.grant_get(processor.role)
        processor.log_group.grant_create(processor.role)
        table.grant_put(heartbeat.role)
        table.grant_get(heartbeat.role)

        stream = StreamMapping(
            self,
            "stream",
            table=table,
            function=consumer,
            topic=topic,
            # Each region's stream carries every region's writes (DynamoDB developer guide, "Global tables").
            pattern={
                "eventName": ["INSERT", "MODIFY"],
                "dynamodb": {
                    "NewImage": {
                        contract.REGION: {"S": [region]},
                        contract.STATUS: {"S": [contract.VALID, contract.INVALID]},
                    }
                },
            },
        )
        Schedule(
            self,
            "beat",
            name="serverless-replication-heartbeat-prod",
            description="The region's sign of life (R7)",
            rate="1 minute",
            target=heartbeat,
            after=[table.table, *heartbeat.role.policies],
        )
        Parameter(
            self,
            "active_region",
            name=stack.name(contract.ACTIVE_REGION_PARAMETER + "-prod", 512),
            description="Where producers send to: the command failover changes it, and the higher epoch counts (R8)",
            initial=json.dumps({"region": INGESTION_REGIONS[0], "epoch": 1}),
        )
        # Last of all, so that the first event finds everything in its place.
        bucket.notify(processor, suffixes=contract.SUFFIXES, after=[table.table, *processor.role.policies])

        dashboard = self._watch(settings, topic, namespace, functions, stream)
        LogsQuery(
            self,
            "story_of_a_file",
            name="serverless-ingestion/story-of-a-file-prod",
            groups=[processor.log_group],
            query="fields @timestamp, level, message, key, version_id, request_id\n"
            '| filter key = "REPLACE-ME.json"\n| sort @timestamp asc',
        )

        outputs = {
            "bucket_name": (bucket.name, "Upload .json and .csv here"),
            "bucket_arn": (bucket.arn, "The bucket"),
            "function_name": (processor.name, "Files the records of a file"),
            "function_arn": (processor.arn, "The processor"),
            "table_name": (table.name, "The records, in both regions"),
            "table_arn": (table.arn, "The table in this region"),
            "stream_arn": (table.stream_arn, "The table's stream in this region"),
            "topic_arn": (topic.arn, "Announces alarms"),
            "dlq_url": (processor.dead_letters.queue.url, "Files that could not be finished"),
            "dlq_arn": (processor.dead_letters.arn, "Files that could not be finished"),
            "dashboard_url": (dashboard.url, "CloudWatch dashboard"),
        }
        for name, (value, description) in outputs.items():
            stack.output(f"ingestion_{name}_{here}", value, f"{description} ({region})")

    def _watch(
        self,
        settings: IngestionSettings,
        topic: Topic,
        namespace: str,
        functions: Sequence[Function],
        stream: StreamMapping,
    ) -> Dashboard:
        """Alarms and the dashboard of this region (R7)."""
        processor, *_ = functions

        def own(name: str, statistic: str = "Sum", **dimensions: str) -> Metric:
            return Metric(name.lower(), namespace, name, {"service": contract.METRICS_SERVICE, **dimensions}, statistic)

        longest = processor.duration.by("Maximum")
        Alarm(
            self,
            "duration",
            name="serverless-data-processor-duration-prod",
            description=f"A file took {processor.name} longer than {settings.ingestion_duration_alarm_seconds} of its 300 "
            f"seconds. Look: aws logs tail {processor.log_group.name} --region {self.region} --since 1h",
            expression="duration / 1000",
            metrics=[longest],
            topic=topic,
            above=settings.ingestion_duration_alarm_seconds,
            period_seconds=300,
            of_periods=3,
            label="longest run in seconds",
            runbook="duration",
        )
        Alarm(
            self,
            "lag",
            name="serverless-replication-lag-prod",
            description="The other region's heartbeat is late or missing: it is down, or replication is. "
            f"Look: {self.ops('failover --status')}",
            expression="lag",
            metrics=[own(contract.METRIC_LAG, "Maximum").named("lag")],
            topic=topic,
            above=settings.ingestion_lag_alarm_seconds,
            period_seconds=60,
            of_periods=5,
            label="seconds since the last heartbeat",
            runbook="replication-lag",
            missing_is_alarm=True,
        )
        return Dashboard(
            self,
            "dashboard",
            name="serverless-ingestion-prod",
            rows=[
                [
                    ("Files", [own(contract.METRIC_FILES), own(contract.METRIC_FAILED_FILES)]),
                    (
                        "Records followed",
                        [own(contract.METRIC_RECORDS, status=status) for status in (contract.VALID, contract.INVALID)],
                    ),
                    ("Conflicts", [own(contract.METRIC_CONFLICTS)]),
                    ("Seconds since the other region's heartbeat", [own(contract.METRIC_LAG, "Maximum")]),
                ],
                [
                    ("Functions: invocations", [function.invocations for function in functions]),
                    ("Functions: errors, throttles", [m for each in functions for m in (each.errors, each.throttles)]),
                    ("Processor in ms: p95, longest", [processor.duration, longest]),
                    (
                        "Waiting in dead-letter queues",
                        [each.depth for each in (*(function.dead_letters for function in functions), stream.dead_letters)],
                    ),
                ],
            ],
        )
