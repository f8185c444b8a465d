"""The stack that holds everybody's Terraform state, and what an account can have but one of (C3). Its own state is a local file;
the guide tells how to import it."""

from __future__ import annotations

from constructs import Construct

from modules import AccessLogBucket, AwsStack, Bucket, Key, LifecycleRule, Table
from modules_api import ApiGatewayLogging
from settings import PET_REGION, StateBackendSettings


class StateBackendStack(AwsStack):
    """The S3 bucket and the DynamoDB lock table that the other stacks' backends name."""

    def __init__(self, scope: Construct, id_: str, *, settings: StateBackendSettings | None = None, **overrides: object) -> None:
        """``settings``, and any field of StateBackendSettings as a keyword over them. Raises SettingsError with every fault."""
        settings = StateBackendSettings.of(settings, **overrides)
        # Every environment shares one state bucket, so its names carry no suffix; it stands where the backends look.
        settings = settings.model_copy(update={"environment_suffix": "prod", "aws_region": settings.state_bucket_region})
        super().__init__(scope, id_, settings=settings, project="State-Backend", remote_state=False)
        logs = AccessLogBucket(self, "access_logs", name=f"{settings.state_bucket[:58].rstrip('.-')}-logs")
        state = Bucket(
            self,
            "state",
            name=settings.state_bucket,
            access_logs=logs,
            lifecycle=[LifecycleRule("old-states", old_versions_after_days=365, abort_uploads_after_days=1)],
        )
        locks = Table(self, "locks", name=settings.state_lock_table, key=Key("LockID"))
        ApiGatewayLogging(self, "api_gateway_logging", name="api-gateway-logging", region=PET_REGION)
        self.output("state_bucket_name", state.name, "Bucket of the Terraform state of every stack")
        self.output("state_lock_table_name", locks.name, "Table that keeps two applies of one stack apart")
