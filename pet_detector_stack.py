"""PetDetectorStack: upload an image, know whether it is a cat or a dog. Reads like the architecture picture: a line per box and
per arrow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from constructs import Construct

from lambda_packaging import package
from lambdas.pets import contract
from modules import (
    AccessLogBucket,
    Alarm,
    AwsStack,
    Bucket,
    Dashboard,
    DeadLetterQueue,
    EventRule,
    Function,
    Key,
    LifecycleRule,
    LogMetric,
    LogsQuery,
    Metric,
    NotSucceededRule,
    Place,
    StateMachine,
    Table,
    Topic,
)
from modules_api import ApiKey, RestApi
from modules_guard import Budget, Endpoint, PrivateNetwork, Trail, WebAcl
from modules_release import LiveAlias
from settings import PetSettings

HERE = Path(__file__).parent
WORKFLOWS = HERE / "workflows"
NAME = "serverlessapp-pet-detector"
"""Every name begins with ``serverlessapp-`` (section P)."""


class PetDetectorStack(AwsStack):
    """An API and a bucket for images of cats and dogs, each classified, filed and recorded (P1–P11)."""

    settings: PetSettings

    def __init__(self, scope: Construct, id_: str, *, settings: PetSettings | None = None, **overrides: object) -> None:
        """``settings``, and any field of PetSettings as a keyword over them, all optional (C5b).

        Raises SettingsError with every fault in one message.
        """
        super().__init__(scope, id_, settings=PetSettings.of(settings, **overrides), project="Pet-Detector")
        PetDetector(self, "pets")


class PetDetector(Construct):
    """From the upload to the filed image (P1–P9); what is around it, watching, is below."""

    def __init__(self, stack: PetDetectorStack, id_: str) -> None:
        super().__init__(stack, id_)
        settings = stack.settings

        topic = Topic(self, "alerts", name="serverlessapp-pet-alerts", emails=settings.pet_alert_emails)
        logs = AccessLogBucket(self, "access_logs", name=f"{stack.name('serverlessapp-access-logs', 50)}-{stack.account_id}")
        bucket = Bucket(
            self,
            "images",
            name=settings.pet_bucket_name or stack.name(NAME, 63),
            access_logs=logs,
            lifecycle=[
                LifecycleRule("expire-input", contract.INPUT, expire_after_days=settings.pet_input_retention_days),
                *(
                    LifecycleRule(f"expire-{folder[:-1]}", folder, expire_after_days=settings.pet_image_retention_days)
                    for folder in contract.FOLDERS.values()
                ),
                LifecycleRule(
                    "tidy", old_versions_after_days=30, abort_uploads_after_days=1, remove_expired_delete_markers=True
                ),
            ],
        )
        bucket.allow_browsers(settings.pet_allowed_origin)
        table = Table(
            self,
            "detections",
            name="serverlessapp-DetectionLogs",
            key=Key(contract.IMAGE_ID),
            indexes={contract.INDEX: Key(contract.ANIMAL, contract.TIMESTAMP)},
            stream=True,
            expires_at=contract.EXPIRES_AT,
        )
        network = (
            PrivateNetwork(
                self,
                "network",
                name="serverlessapp-pets",
                endpoints=[
                    Endpoint(
                        "s3", ["s3:DeleteObject", "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"], [f"{bucket.arn}/*"]
                    ),
                    Endpoint("s3", ["s3:ListBucket"], [bucket.arn]),
                    Endpoint("dynamodb", ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"], [table.arn]),
                    Endpoint("dynamodb", ["dynamodb:Query"], [f"{table.arn}/index/*"]),
                    Endpoint("rekognition", ["rekognition:DetectLabels"], ["*"]),
                    Endpoint("sns", ["sns:Publish"], [topic.arn]),
                ],
            )
            if settings.pet_vpc
            else None
        )

        code = package("pets", HERE / "lambdas", HERE / ".build", distributions=["aws-lambda-powertools"])
        image_api = Function(
            self,
            "image_api",
            name="serverlessapp-image-api",
            description="The endpoints of the API: uploads, records, lists",
            package=code,
            handler=contract.API_HANDLER,
            environment={
                contract.ENV_BUCKET_NAME: bucket.name,
                contract.ENV_TABLE_NAME: table.name,
                contract.ENV_MAX_IMAGE_BYTES: str(settings.pet_max_image_bytes),
                contract.ENV_LINK_SECONDS: str(settings.pet_link_seconds),
                contract.ENV_ALLOWED_ORIGIN: settings.pet_allowed_origin,
            },
            timeout_seconds=30,  # API Gateway gives up after 29, and tells the caller so
            memory_mb=settings.pet_api_memory_mb,
            error_rate_percent=settings.pet_error_rate_percent,
            topic=topic,
            versions=True,
            network=network,
        )
        image_processor = Function(
            self,
            "image_processor",
            name="serverlessapp-image-processor",
            description="Checks an image, asks Rekognition, decides and logs",
            package=code,
            handler=contract.PROCESSOR_HANDLER,
            environment={
                contract.ENV_TABLE_NAME: table.name,
                contract.ENV_METRICS_NAMESPACE: stack.name(NAME, 255),
                contract.ENV_CONFIDENCE_THRESHOLD: str(settings.pet_confidence_threshold),
                contract.ENV_MAX_IMAGE_BYTES: str(settings.pet_max_image_bytes),
                contract.ENV_RECORD_RETENTION_DAYS: str(settings.pet_record_retention_days),
            },
            timeout_seconds=120,
            memory_mb=settings.pet_processor_memory_mb,
            error_rate_percent=settings.pet_error_rate_percent,
            topic=topic,
            network=network,
        )
        file_manager = Function(
            self,
            "file_manager",
            name="serverlessapp-file-manager",
            description="Moves an image to the folder of its animal",
            package=code,
            handler=contract.FILE_MANAGER_HANDLER,
            environment={},
            timeout_seconds=60,
            memory_mb=256,
            error_rate_percent=settings.pet_error_rate_percent,
            topic=topic,
            network=network,
        )
        notification_service = Function(
            self,
            "notification_service",
            name="serverlessapp-notification-service",
            description="Announces images of which nobody can be sure",
            package=code,
            handler=contract.NOTIFICATION_HANDLER,
            environment={contract.ENV_TOPIC_ARN: topic.arn},
            timeout_seconds=30,
            memory_mb=256,
            error_rate_percent=settings.pet_error_rate_percent,
            topic=topic,
            network=network,
        )
        functions = (image_api, image_processor, file_manager, notification_service)

        pipeline = StateMachine(
            self,
            "pipeline",
            name=NAME,
            definition=WORKFLOWS / "pet_detector.asl.json",
            substitutions={
                "Partition": stack.partition,
                "TableName": table.name,
                "ProcessorFunctionArn": image_processor.arn,
                "FileManagerFunctionArn": file_manager.arn,
                "NotificationFunctionArn": notification_service.arn,
            },
            topic=topic,
            advice=f"; mend the cause, then {stack.ops('replay images')}",
        )
        recovery = StateMachine(
            self,
            "recovery",
            name="serverlessapp-pet-recovery",
            definition=WORKFLOWS / "pet_recovery.asl.json",
            substitutions={"Partition": stack.partition, "ProcessorFunctionArn": image_processor.arn},
            topic=topic,
            advice="; go on where it failed: aws stepfunctions redrive-execution --execution-arn ARN",
        )

        bucket.grant_write(image_api.role, f"{contract.INPUT}*")
        for folder in contract.FOLDERS.values():
            bucket.grant_read_version(image_api.role, f"{folder}*")
        table.grant_get(image_api.role)
        table.grant_query(image_api.role, contract.INDEX)

        bucket.grant_list(image_processor.role)
        # With a version, S3 asks for GetObjectVersion alone; but Rekognition, which reads with this role, documents GetObject.
        bucket.grant_read(image_processor.role, f"{contract.INPUT}*")
        image_processor.role.allow("Recognise", ["rekognition:DetectLabels"], ["*"])  # Rekognition knows no narrower resource
        table.grant_get(image_processor.role)
        table.grant_put(image_processor.role)
        table.grant_update(image_processor.role)

        bucket.grant_list(file_manager.role)
        bucket.grant_read_version(file_manager.role, f"{contract.INPUT}*")
        bucket.grant_remove_if_current(file_manager.role, f"{contract.INPUT}*")
        for folder in contract.FOLDERS.values():
            bucket.grant_file(file_manager.role, f"{folder}*")

        topic.grant_publish(notification_service.role)

        for function in (image_processor, file_manager, notification_service):
            function.grant_invoke(pipeline.role)
        table.grant_update(pipeline.role)
        image_processor.grant_invoke(recovery.role)

        alias = LiveAlias(
            self,
            "live",
            name="serverlessapp-image-api-live",
            function=image_api,
            topic=topic,
            code_deploy=settings.has_code_deploy,
            min_concurrency=settings.pet_provisioned_concurrency,
            max_concurrency=settings.pet_max_provisioned_concurrency,
        )
        api = RestApi(
            self,
            "api",
            name="serverlessapp-pet-api",
            document=HERE / "apis" / "pet-detector.openapi.json",
            invoke_arn=alias.invoke_arn,
            allowed_origin=settings.pet_allowed_origin,
            requests_per_second=50 * settings.pet_requests_per_second,
            burst=50 * settings.pet_burst,
            domain_name=settings.pet_domain_name,
            certificate_arn=settings.pet_certificate_arn,
        )
        alias.permit("apigateway.amazonaws.com", source_arn=api.source_arn, source_account=stack.account_id)
        key = ApiKey(
            self,
            "api_key",
            name="serverlessapp-pet-api",
            api=api,
            requests_per_second=settings.pet_requests_per_second,
            burst=settings.pet_burst,
            requests_per_day=settings.pet_requests_per_day,
        )

        not_succeeded = NotSucceededRule(
            self,
            "not_succeeded",
            name="serverlessapp-pet-not-succeeded",
            description="Executions whose end no catch saw go to the recovery (P3)",
            of=pipeline,
            target=recovery,
            topic=topic,
        )
        uploaded = EventRule(
            self,
            "uploaded",
            name="serverlessapp-pet-uploaded",
            description=f"Every object created under {contract.INPUT} starts the pipeline (P3)",
            pattern={
                "source": ["aws.s3"],
                "detail-type": ["Object Created"],
                "detail": {"bucket": {"name": [bucket.name]}, "object": {"key": [{"prefix": contract.INPUT}]}},
            },
            target=pipeline,
            topic=topic,
        )
        # Last of all, so that the first event finds everything in its place.
        roles = [*(function.role for function in functions[1:]), pipeline.role, recovery.role]
        bucket.send_events(
            after=[
                *(function.function for function in functions[1:]),
                *(table.table, uploaded.target, not_succeeded.target),
                *(policy for role in roles for policy in role.policies),
            ]
        )

        self._watch(settings, topic, api, bucket, logs)
        dashboard = self._dashboard(stack, api, pipeline, functions, [uploaded.dead_letters, not_succeeded.dead_letters])
        LogsQuery(
            self,
            "story_of_an_image",
            name="serverlessapp-pets/story-of-an-image",
            groups=[function.log_group for function in functions],
            query="fields @timestamp, level, message, image_id, execution\n"
            '| filter image_id = "REPLACE-ME"\n| sort @timestamp asc',
        )
        LogsQuery(
            self,
            "refused_requests",
            name="serverlessapp-pets/refused-requests",
            groups=[api.access_logs],
            query="fields @timestamp, ip, api_key_id, method, path, status, error\n"
            "| filter status >= 400\n| sort @timestamp desc",
        )

        stack.output("pet_api_url", api.url, "The API; it wants a key in the header x-api-key")
        stack.output("pet_api_key_id", key.id, "aws apigateway get-api-key --include-value --api-key ID shows the key")
        stack.output("pet_bucket_name", bucket.name, "Upload under input/; images end in cats/, dogs/ or others/")
        stack.output("pet_table_name", table.name, "One record per uploaded image")
        stack.output("pet_state_machine_arn", pipeline.arn, "The state machine that takes one image through")
        stack.output("pet_alert_topic_arn", topic.arn, "Announces doubtful images, and alarms")
        stack.output("pet_dashboard_url", dashboard.url, "CloudWatch dashboard")
        stack.output("pet_api_release", alias.release or "", "What .github/scripts/release.py must know, if CodeDeploy releases")

    def _watch(
        self, settings: PetSettings, topic: Topic, api: RestApi, bucket: Bucket, logs: AccessLogBucket
    ) -> None:
        """Alarms on the API, and the guards that stages switch on (P7, P8a)."""
        tail = f"aws logs tail {api.access_logs.name} --region {settings.aws_region} --since 1h"
        Alarm(
            self,
            "api_errors",
            name="serverlessapp-pet-api-errors",
            description=f"More than {settings.pet_error_rate_percent} % of the requests failed on our side. Look: {tail}",
            expression="IF(count > 0, 100 * errors / count, 0)",
            metrics=[api.server_errors.named("errors"), api.requests.named("count")],
            topic=topic,
            above=settings.pet_error_rate_percent,
            period_seconds=300,
            of_periods=2,
            label="5xx / requests, per cent",
            runbook="api",
        )
        Alarm(
            self,
            "api_latency",
            name="serverlessapp-pet-api-latency",
            description=f"One request in twenty takes longer than {settings.pet_latency_alarm_ms} ms. Look: {tail}",
            # One cold start at night is one request, and hence its own 95th percentile.
            expression="IF(count > 19, latency, 0)",
            metrics=[api.latency, api.requests.named("count")],
            topic=topic,
            above=settings.pet_latency_alarm_ms,
            period_seconds=300,
            of_periods=2,
            label="latency, p95 in ms",
            runbook="api",
        )
        refused = LogMetric(
            self,
            "refused",
            name="Refused",
            namespace=Place.around(self).name(NAME, 255),
            group=api.access_logs,
            pattern='{ (($.status = "401") || ($.status = "403")) && ($.error != "WAF_FILTERED") }',
        )
        Alarm(
            self,
            "refused_spike",
            name="serverlessapp-pet-api-refused",
            description="Somebody tries keys: many requests were refused (401, 403). From where? Look: "
            f"{tail} --filter-pattern '{{ $.status = \"403\" }}'",
            expression="matches",
            metrics=[refused.metric],
            topic=topic,
            above=settings.pet_refused_alarm,
            period_seconds=300,
            of_periods=2,
            label="requests refused",
            runbook="refused-and-blocked",
        )
        if settings.has_waf:
            firewall = WebAcl(
                self, "firewall", name="serverlessapp-pet-api", requests_per_five_minutes=300 * settings.pet_requests_per_second
            )
            firewall.protect(api.stage_arn, "api")
            Alarm(
                self,
                "blocked_spike",
                name="serverlessapp-pet-api-blocked",
                description="The firewall blocks many requests. Which? Look: aws logs tail "
                f"{firewall.log_group.name} --region {settings.aws_region} --since 1h",
                expression="blocked",
                metrics=[firewall.blocked],
                topic=topic,
                above=settings.pet_blocked_alarm,
                period_seconds=300,
                of_periods=2,
                label="requests blocked",
                runbook="refused-and-blocked",
            )
        if settings.has_cloudtrail:
            place = Place.around(self)
            Trail(
                self,
                "trail",
                name="serverlessapp-trail",
                bucket_name=f"{place.name('serverlessapp-trail', 50)}-{place.account_id}",
                access_logs=logs,
                topic=topic,
                objects_of=bucket,
            )
        Budget(self, "budget", name="serverlessapp-monthly", monthly_usd=settings.pet_monthly_budget_usd, topic=topic)

    def _dashboard(
        self,
        stack: PetDetectorStack,
        api: RestApi,
        pipeline: StateMachine,
        functions: tuple[Function, ...],
        dead_letters: Sequence[DeadLetterQueue],
    ) -> Dashboard:
        """Classes, confidence, throughput, throttles, latencies (P7)."""
        namespace = stack.name(NAME, 255)

        def own(name: str, statistic: str, **dimensions: str) -> Metric:
            return Metric(name.lower(), namespace, name, {"service": contract.METRICS_SERVICE, **dimensions}, statistic)

        return Dashboard(
            self,
            "dashboard",
            name=NAME,
            rows=[
                [
                    ("Images by class", [own(contract.METRIC_IMAGES, "Sum", animal=animal) for animal in contract.ANIMALS]),
                    (
                        "Confidence in per cent: p10, p50, p90",
                        [
                            own(contract.METRIC_CONFIDENCE, statistic, animal=animal)
                            for animal in ("cat", "dog")
                            for statistic in ("p10", "p50", "p90")
                        ],
                    ),
                    ("Rekognition in ms: p50, p95", [own(contract.METRIC_LATENCY, each) for each in ("p50", "p95")]),
                ],
                [
                    ("Requests, 4xx, 5xx", [api.requests, api.client_errors, api.server_errors]),
                    ("API in ms: p50, p95", [api.latency.by("p50"), api.latency]),
                    ("Executions", [pipeline.succeeded, pipeline.failed, pipeline.timed_out, pipeline.aborted]),
                ],
                [
                    ("Functions: invocations", [function.invocations for function in functions]),
                    ("Functions: errors, throttles", [m for each in functions for m in (each.errors, each.throttles)]),
                    (
                        "Waiting in dead-letter queues",
                        [each.depth for each in (*(function.dead_letters for function in functions), *dead_letters)],
                    ),
                ],
            ],
        )
