"""For tests that deploy and destroy an environment, each on an AWS of its own: `make test` runs them beside the others, for
Terraform's provider waits a minute in each apply."""

from contextlib import contextmanager

from local.deployment import LOCAL_SETTINGS
from local.emulator import Emulator

SETTINGS = {"TERRAFORM_STATE_LOCK_TABLE": "locks"}


@contextmanager
def with_place_for_state(folder):
    """An embedded AWS that has nothing but the bucket and the table of the remote state."""
    with Emulator(folder=folder) as aws:
        aws.client("s3").create_bucket(Bucket=LOCAL_SETTINGS["TERRAFORM_STATE_BUCKET"])
        aws.client("dynamodb").create_table(
            TableName=SETTINGS["TERRAFORM_STATE_LOCK_TABLE"], BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "LockID", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "LockID", "AttributeType": "S"}])
        yield aws
