"""TapStack: the ETL and the metadata pipeline, composed from modules.py. Reads like the architecture pictures: a line per box
and per arrow."""

from __future__ import annotations

from pathlib import Path

from constructs import Construct

from lambda_packaging import package
from lambdas.etl import contract
from lambdas.metadata import contract as metadata_contract
from modules import (
    AccessLogBucket,
    AwsStack,
    Bucket,
    Dashboard,
    EventRule,
    Function,
    Key,
    LifecycleRule,
    LogsQuery,
    NotSucceededRule,
    Schedule,
    SearchCollection,
    StateMachine,
    Table,
    Topic,
)
from settings import TapSettings

HERE = Path(__file__).parent
WORKFLOWS = HERE / "workflows"


class TapStack(AwsStack):
    """The ETL pipeline for CSV transactions (E1–E13), and the pipeline of release metadata into a search index (M1–M8)."""

    settings: TapSettings

    def __init__(self, scope: Construct, id_: str, *, settings: TapSettings | None = None, **overrides: object) -> None:
        """``settings``, and any field of TapSettings as a keyword over them, all optional: ``TapStack(app, "TapStack",
        environment_suffix=…, aws_region=…, state_bucket=…, state_bucket_region=…, default_tags=…)`` (C5b).

        Raises SettingsError with every fault in one message.
        """
        super().__init__(scope, id_, settings=TapSettings.of(settings, **overrides), project="ETL-Pipeline")
        EtlPipeline(self, "etl")
        MetadataPipeline(self, "metadata")


class EtlPipeline(Construct):
    """CSV files under ``raw/`` come out under ``processed/`` or ``failed/``, each with one record (section E)."""

    def __init__(self, stack: TapStack, id_: str) -> None:
        super().__init__(stack, id_)
        settings = stack.settings

        topic = Topic(self, "failures", name="etl-failures", emails=settings.etl_alert_emails)
        bucket_name = settings.etl_bucket_name or f"{stack.name('etl-pipeline', 50)}-{stack.account_id}"
        logs = AccessLogBucket(self, "access_logs", name=f"{stack.name('etl-access-logs', 50)}-{stack.account_id}")
        bucket = Bucket(
            self,
            "data",
            name=bucket_name,
            access_logs=logs,
            lifecycle=[
                LifecycleRule("archive-processed", contract.PROCESSED, archive_after_days=90),
                LifecycleRule("expire-failed", contract.FAILED, expire_after_days=settings.etl_failed_retention_days),
                LifecycleRule(
                    "tidy", old_versions_after_days=30, abort_uploads_after_days=1, remove_expired_delete_markers=True
                ),
            ],
        )
        table = Table(
            self,
            "metadata",
            name="etl-file-metadata",
            key=Key("file_name", "process_start_time"),
            indexes={contract.STATUS_INDEX: Key("status", "process_start_time")},
        )

        code = package("etl", HERE / "lambdas", HERE / ".build")
        validation = Function(
            self,
            "validation",
            name="etl-validation",
            description="Claims uploads, decides whether a file is valid, sets files aside",
            package=code,
            handler=contract.VALIDATION_HANDLER,
            environment={
                contract.ENV_STATE_MACHINE_ARN: StateMachine.arn_of(stack, "etl-pipeline"),
                contract.ENV_TOPIC_ARN: topic.arn,
                contract.ENV_SUFFIX: settings.environment_suffix,
                contract.ENV_MAX_FILE_BYTES: str(settings.etl_max_file_bytes),
            },
            timeout_seconds=settings.etl_validation_timeout_seconds,
            memory_mb=settings.etl_validation_memory_mb,
            reserved_concurrency=settings.etl_validation_reserved_concurrency,
            error_rate_percent=settings.etl_error_rate_percent,
            topic=topic,
        )
        transformation = Function(
            self,
            "transformation",
            name="etl-transformation",
            description="Converts a file's rows and publishes the result",
            package=code,
            handler=contract.TRANSFORMATION_HANDLER,
            environment={
                contract.ENV_MAX_REJECT_RATIO: str(settings.etl_max_reject_ratio),
                contract.ENV_MAX_PIECE_BYTES: str(settings.etl_max_piece_bytes),
            },
            timeout_seconds=settings.etl_transformation_timeout_seconds,
            memory_mb=settings.etl_transformation_memory_mb,
            reserved_concurrency=settings.etl_transformation_reserved_concurrency,
            ephemeral_storage_mb=settings.etl_transformation_ephemeral_storage_mb,
            error_rate_percent=settings.etl_error_rate_percent,
            topic=topic,
        )
        known_to_both = {
            "Partition": stack.partition,
            "TableName": table.name,
            "FailureTopicArn": topic.arn,
            "Suffix": settings.environment_suffix,
            "ExecutionsUrl": stack.console_url("states/home", "/v2/executions/details/"),
            "ValidationFunctionArn": validation.arn,
        }
        pipeline = StateMachine(
            self,
            "pipeline",
            name="etl-pipeline",
            definition=WORKFLOWS / "etl.asl.json",
            substitutions={
                **known_to_both,
                "TransformationFunctionArn": transformation.arn,
                "FanOutBytes": str(settings.etl_fan_out_bytes),
                "MaxConcurrency": str(settings.etl_max_concurrency),
            },
            topic=topic,
            advice=f"; mend the cause, then {stack.ops('replay files')}",
        )
        recovery = StateMachine(
            self,
            "recovery",
            name="etl-recovery",
            definition=WORKFLOWS / "etl_recovery.asl.json",
            substitutions=known_to_both,
            topic=topic,
            advice="; a sweep takes over soon, or go on where it failed: aws stepfunctions redrive-execution --execution-arn ARN",
        )
        sweep = Function(
            self,
            "sweep",
            name="etl-sweep",
            description="Brings to an end what no event did (E7c)",
            package=code,
            handler=contract.SWEEP_HANDLER,
            environment={
                contract.ENV_STATE_MACHINE_ARN: pipeline.arn,
                contract.ENV_RECOVERY_ARN: recovery.arn,
                contract.ENV_BUCKET_NAME: bucket.name,
                contract.ENV_TABLE_NAME: table.name,
            },
            timeout_seconds=840,  # less than from one to the next
            memory_mb=1024,
            error_rate_percent=settings.etl_error_rate_percent,
            topic=topic,
        )

        pipeline.grant_start(validation.role)
        topic.grant_publish(validation.role)
        bucket.grant_list(validation.role)
        bucket.grant_read_version(validation.role, f"{contract.RAW}*")
        bucket.grant_remove_if_current(validation.role, f"{contract.RAW}*")
        bucket.grant_write(validation.role, f"{contract.FAILED}*")

        bucket.grant_list(transformation.role)
        bucket.grant_read_version(transformation.role, f"{contract.RAW}*")
        bucket.grant_remove_if_current(transformation.role, f"{contract.RAW}*")
        bucket.grant_publish(transformation.role, f"{contract.PROCESSED}*")
        bucket.grant_write(transformation.role, f"{contract.FAILED}*{contract.REJECTS_SUFFIX}*")

        validation.grant_invoke(pipeline.role)
        transformation.grant_invoke(pipeline.role)
        pipeline.grant_own_map_runs()
        table.grant_put(pipeline.role)
        table.grant_update(pipeline.role)
        topic.grant_publish(pipeline.role)

        not_succeeded = NotSucceededRule(
            self,
            "not_succeeded",
            name="etl-not-succeeded",
            description="Executions whose end no catch saw go to the recovery (E7b)",
            of=pipeline,
            target=recovery,
            topic=topic,
        )
        validation.grant_invoke(recovery.role)
        table.grant_update(recovery.role)
        topic.grant_publish(recovery.role)

        bucket.grant_list(sweep.role)
        bucket.grant_look(sweep.role, f"{contract.RAW}*")
        table.grant_query(sweep.role)
        table.grant_query(sweep.role, contract.STATUS_INDEX)
        for machine in (pipeline, recovery):
            machine.grant_start(sweep.role)
            machine.grant_describe(sweep.role)
        Schedule(
            self,
            "sweeps",
            name="etl-sweep",
            description="Looks for uploads that no event brought to an end (E7c)",
            rate="15 minutes",
            target=sweep,
            after=[table.table, pipeline.machine, recovery.machine, *sweep.role.policies],
        )

        # Last of all, so that the first event finds everything in its place.
        roles = [each.role for each in (validation, transformation, pipeline, recovery)]
        bucket.notify(
            validation,
            prefix=contract.RAW,
            after=[pipeline.machine, not_succeeded.target, *(policy for role in roles for policy in role.policies)],
        )

        dashboard = Dashboard(
            self,
            "dashboard",
            name="etl-pipeline",
            rows=[
                [
                    ("Files", [pipeline.succeeded, pipeline.failed, pipeline.timed_out, pipeline.aborted]),
                    ("Recoveries", [recovery.succeeded, recovery.failed, recovery.timed_out, recovery.aborted]),
                    (
                        "Waiting in dead-letter queues",
                        [each.dead_letters.depth for each in (validation, transformation, sweep, not_succeeded)],
                    ),
                ],
                *(
                    [
                        (f"{title}: {metric}", metrics)
                        for title, function in row
                        for metric, metrics in (
                            ("invocations, errors, throttles", [function.invocations, function.errors, function.throttles]),
                            ("duration, p95 in ms", [function.duration]),
                        )
                    ]
                    for row in ([("Validation", validation), ("Transformation", transformation)], [("Sweep", sweep)])
                ),
            ],
        )
        LogsQuery(
            self,
            "story_of_a_file",
            name="etl/story-of-a-file",
            groups=[each.log_group for each in (validation, transformation, sweep)],
            query="fields @timestamp, level, message, execution, version_id\n"
            '| filter file_name = "REPLACE-ME.csv"\n| sort @timestamp asc',
        )
        LogsQuery(
            self,
            "errors",
            name="etl/errors",
            groups=[each.log_group for each in (validation, transformation, sweep)],
            query="fields @timestamp, message, file_name, execution, request_id\n"
            # The last three are the Lambda service's own words about what did not come to an end.
            '| filter level = "ERROR" or @message like /Task timed out|Runtime exited|\\[ERROR\\]/\n| sort @timestamp desc',
        )

        stack.output("etl_bucket_name", bucket.name, "Upload under raw/; results under processed/ and failed/")
        stack.output("etl_state_machine_arn", pipeline.arn, "The state machine that takes one upload through")
        stack.output("etl_metadata_table_name", table.name, "One record per uploaded version")
        stack.output("etl_failure_topic_arn", topic.arn, "Announces invalid and failed files, and alarms")
        stack.output("etl_validation_function_name", validation.name, "Claims, validates and sets aside")
        stack.output("etl_transformation_function_name", transformation.name, "Converts and publishes")
        stack.output("etl_dashboard_url", dashboard.url, "CloudWatch dashboard")


class MetadataPipeline(Construct):
    """Every ``metadata.json`` of the release bucket becomes a document of the collection, or a recorded failure (section M)."""

    def __init__(self, stack: TapStack, id_: str) -> None:
        super().__init__(stack, id_)
        settings = stack.settings

        topic = Topic(self, "alarms", name="metadata-alarms", emails=settings.metadata_alert_emails)
        logs = AccessLogBucket(self, "access_logs", name=f"{stack.name('metadata-access-logs', 50)}-{stack.account_id}")
        bucket = Bucket(
            self,
            "releases",
            name=settings.metadata_bucket_name or stack.name("iac-rlhf-aws-release", 63),
            access_logs=logs,
            lifecycle=[LifecycleRule("tidy", abort_uploads_after_days=7, remove_expired_delete_markers=True)],
        )
        collection = SearchCollection(
            self,
            "collection",
            name="iac-rlhf-metadata-collection",
            description="Release metadata",
            dashboard_users=settings.metadata_dashboard_principals or [stack.deployer_arn],
            standby_replicas=settings.metadata_has_standby_replicas,
            retention_days=settings.metadata_retention_days,
        )
        failures = Table(self, "failures", name="metadata-processing-failures", key=Key("execution_id", "failed_at"))

        indexing = Function(
            self,
            "indexing",
            name="metadata-indexing",
            description="Merges, signs and indexes one metadata.json",
            package=package("metadata", HERE / "lambdas", HERE / ".build"),
            handler=metadata_contract.HANDLER,
            environment={
                metadata_contract.ENV_COLLECTION_ENDPOINT: collection.endpoint,
                metadata_contract.ENV_INDEX_NAME: settings.metadata_index_name,
            },
            timeout_seconds=settings.metadata_indexing_timeout_seconds,
            memory_mb=settings.metadata_indexing_memory_mb,
            reserved_concurrency=settings.metadata_indexing_reserved_concurrency,
            error_rate_percent=None,  # each of its errors ends an execution, and that alarm is the one (M7)
            topic=topic,
        )
        known_to_both = {"Partition": stack.partition, "TableName": failures.name}
        pipeline = StateMachine(
            self,
            "pipeline",
            name="metadata-pipeline",
            definition=WORKFLOWS / "metadata.asl.json",
            substitutions={
                **known_to_both,
                "IndexingFunctionArn": indexing.arn,
                "MaxFileBytes": str(settings.metadata_max_file_bytes),
            },
            topic=topic,
            advice=f"; after an outage: {stack.ops('replay metadata')}",
        )
        recovery = StateMachine(
            self,
            "recovery",
            name="metadata-recovery",
            definition=WORKFLOWS / "metadata_recovery.asl.json",
            substitutions=known_to_both,
            topic=topic,
            advice="; go on where it failed: aws stepfunctions redrive-execution --execution-arn ARN",
        )

        bucket.grant_list(pipeline.role)
        for keys in (metadata_contract.OBJECT_NAME, f"*/{metadata_contract.OBJECT_NAME}"):
            bucket.grant_read_version(pipeline.role, keys)
        indexing.grant_invoke(pipeline.role)
        failures.grant_put(pipeline.role)
        collection.grant_index(indexing.role, settings.metadata_index_name)

        not_succeeded = NotSucceededRule(
            self,
            "not_succeeded",
            name="metadata-not-succeeded",
            description="Executions whose end no catch saw go to the recovery (M6)",
            of=pipeline,
            target=recovery,
            topic=topic,
        )
        failures.grant_query(recovery.role)
        failures.grant_put(recovery.role)

        created = EventRule(
            self,
            "created",
            name="metadata-created",
            description=f"Every object named exactly {metadata_contract.OBJECT_NAME} starts the pipeline (M2)",
            pattern={
                "source": ["aws.s3"],
                "detail-type": ["Object Created"],
                "detail": {
                    "bucket": {"name": [bucket.name]},
                    "object": {"key": [{"suffix": f"/{metadata_contract.OBJECT_NAME}"}, metadata_contract.OBJECT_NAME]},
                },
            },
            target=pipeline,
            topic=topic,
        )
        # Last of all, so that the first event finds everything in its place.
        roles = [each.role for each in (indexing, pipeline, recovery)]
        bucket.send_events(
            after=[
                *(indexing.function, failures.table, collection.data_policy, created.target, not_succeeded.target),
                *(policy for role in roles for policy in role.policies),
            ]
        )

        Dashboard(
            self,
            "dashboard",
            name="metadata-pipeline",
            rows=[
                [
                    ("Files", [pipeline.succeeded, pipeline.failed, pipeline.timed_out, pipeline.aborted]),
                    ("Recoveries", [recovery.succeeded, recovery.failed, recovery.timed_out, recovery.aborted]),
                    (
                        "Waiting in dead-letter queues",
                        [each.dead_letters.depth for each in (indexing, created, not_succeeded)],
                    ),
                ],
                [
                    ("Indexing: invocations, errors, throttles", [indexing.invocations, indexing.errors, indexing.throttles]),
                    ("Indexing: duration, p95 in ms", [indexing.duration]),
                ],
            ],
        )
        LogsQuery(
            self,
            "story_of_a_file",
            name="metadata/story-of-a-file",
            groups=[indexing.log_group],
            query="fields @timestamp, level, message, execution, version_id, ingest_id\n"
            '| filter key = "REPLACE-ME/metadata.json"\n| sort @timestamp asc',
        )

        stack.output("metadata_bucket_name", bucket.name, "Upload metadata.json here, in any folder")
        stack.output("metadata_state_machine_arn", pipeline.arn, "The state machine that indexes one metadata.json")
        stack.output("metadata_failures_table_name", failures.name, "One item per failed execution")
        stack.output("metadata_collection_name", collection.name, "OpenSearch Serverless collection")
        stack.output("metadata_collection_endpoint", collection.endpoint, "Data plane: signed requests for the service aoss")
        stack.output("metadata_index_name", settings.metadata_index_name, "Index of the documents")
        stack.output("metadata_dashboard_url", collection.dashboard_url, "OpenSearch Dashboards")
        stack.output("metadata_alarm_name", pipeline.alarm.name, "Executions that did not succeed")
        stack.output("metadata_alarm_topic_arn", topic.arn, "Announces alarms")
