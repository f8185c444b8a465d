"""Stacks synthesised once for all tests of this folder; a test that needs another one calls ``synthesise``."""

import aws_provider  # noqa: F401  (first: it works before CDKTF is imported, or not at all)

# isort: split
import json
import os

os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "20")

import pytest

from tests.synth.reading import Synthesised, shapes, synthesise


@pytest.fixture(scope="session")
def tap() -> Synthesised:
    """TapStack of prod, as ``TapStack(app, "tap")`` makes it."""
    from tap_stack import TapStack

    return synthesise(TapStack, "tap")


@pytest.fixture(scope="session")
def etl(tap) -> Synthesised:
    """The ETL pipeline's part of TapStack."""
    return tap.under("etl")


@pytest.fixture(scope="session")
def metadata(tap) -> Synthesised:
    """The metadata pipeline's part of TapStack."""
    return tap.under("metadata")


@pytest.fixture(scope="session", params=["etl", "metadata", "ingestion_east", "ingestion_west"])
def system(request: pytest.FixtureRequest) -> Synthesised:
    """Each system of TapStack in turn, and each region of the ingestion, for what must hold in each."""
    return request.getfixturevalue(request.param)


def pet_detector(**settings: object) -> Synthesised:
    from pet_detector_stack import PetDetectorStack

    return synthesise(PetDetectorStack, "pet-detector", **settings)


@pytest.fixture(scope="session")
def pets() -> Synthesised:
    """PetDetectorStack of prod: firewall, trail and CodeDeploy are on, data is retained."""
    return pet_detector()


@pytest.fixture(scope="session")
def pets_dev() -> Synthesised:
    """The pet detector without what costs: no firewall, no trail, no CodeDeploy, no data retained."""
    return pet_detector(environment_suffix="dev")


@pytest.fixture(scope="session")
def pets_staging() -> Synthesised:
    """The pet detector as in prod, but without retained data, and with e-mails subscribed."""
    return pet_detector(environment_suffix="staging", pet_alert_emails="d@example.com")


@pytest.fixture(scope="session")
def pets_switched() -> Synthesised:
    """The pet detector of prod with every switch on: private network, warm instances, a domain name of its own."""
    return pet_detector(
        pet_vpc=True,
        pet_provisioned_concurrency=2,
        pet_domain_name="pets.example.com",
        pet_certificate_arn="arn:aws:acm:us-east-1:111122223333:certificate/0f4b2d0e",
        pet_allowed_origin="https://www.example.com",
    )


@pytest.fixture(scope="session")
def staging() -> Synthesised:
    """TapStack of another environment, where data is not retained and e-mails are subscribed."""
    from tap_stack import TapStack

    return synthesise(
        TapStack,
        "tap",
        environment_suffix="staging",
        aws_region="eu-central-1",
        etl_alert_emails="a@example.com,b@example.com",
        metadata_alert_emails="c@example.com",
    )


@pytest.fixture(scope="session")
def state_backend() -> Synthesised:
    """StateBackendStack of prod."""
    from state_backend_stack import StateBackendStack

    return synthesise(StateBackendStack, "state-backend")


@pytest.fixture(scope="session")
def ingestion() -> Synthesised:
    """IngestionStack of prod."""
    from ingestion_stack import IngestionStack

    return synthesise(IngestionStack, "ingestion")


@pytest.fixture(scope="session")
def ingestion_dev() -> Synthesised:
    """IngestionStack of another environment, where data is not retained and e-mails are subscribed."""
    from ingestion_stack import IngestionStack

    return synthesise(IngestionStack, "ingestion", environment_suffix="dev", ingestion_alert_emails="e@example.com")


@pytest.fixture(scope="session")
def ingestion_east(ingestion) -> Synthesised:
    """The regional ingestion's part in us-east-1."""
    return ingestion.under("us_east_1")


@pytest.fixture(scope="session")
def ingestion_west(ingestion) -> Synthesised:
    """The regional ingestion's part in us-west-2."""
    return ingestion.under("us_west_2")


STACKS = ["tap", "staging", "state_backend", "pets", "pets_dev", "pets_staging", "pets_switched", "ingestion", "ingestion_dev"]


@pytest.fixture(params=STACKS)
def any_stack(request: pytest.FixtureRequest) -> Synthesised:
    """Each stack in turn, for what must hold everywhere."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["tap", "pets", "pets_dev", "pets_switched", "ingestion_east", "ingestion_west"])
def workload(request: pytest.FixtureRequest) -> Synthesised:
    """Each stack in turn that has functions and machines; of one in two regions each region's part."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def payloads():
    """Reads a payload of a system's newest shape: ``payloads("etl", "convert.request")``."""
    return lambda system, name: json.loads((shapes(system)[-1] / f"{name}.json").read_text(encoding="utf-8"))
