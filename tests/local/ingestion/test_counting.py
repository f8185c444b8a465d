"""R5: who counts what. In a module of its own, before those that kill workers: then a record may be counted twice."""

from collections import Counter

import pytest

from lambdas.ingestion import contract
from local.executions import wait_for
from local.ingestion import REGIONS
from tests.local.ingestion.conftest import lines, numbered


def test_each_region_counts_only_its_own(ingestion, name):
    """R5: both streams carry all writes; each consumer counts the records of its own region, and no checkpoint or heartbeat."""
    files = [
        ingestion.upload("us-east-1", f"{name}.json", lines([*numbered(f"{name}-east", 5), {"recordId": f"{name}-broken"}])),
        ingestion.upload("us-west-2", f"{name}.json", lines(numbered(f"{name}-west", 3))),
    ]
    ingestion.wait(files)
    for region in REGIONS:
        stored = ingestion.records(region)
        own = Counter(item[contract.STATUS] for item in stored if item[contract.REGION] == region)
        assert 0 < own.total() < len(stored)
        wait_for(lambda region=region, own=own: ingestion.followed(region) == own, 60,
                 lambda region=region, own=own: f"{region} has counted {ingestion.followed(region)}, not {own}")


@pytest.mark.parametrize("region", REGIONS)
def test_heartbeats_are_heard_in_the_other_region(ingestion, region):
    """R7: each region's table shows both regions' beats."""
    beats = wait_for(
        lambda: (found := [item for item in ingestion.items(region) if item[contract.STATUS] == contract.HEARTBEAT])
        and len(found) == len(REGIONS) and found, 120, lambda: "no two heartbeats")
    assert {item[contract.REGION] for item in beats} == set(REGIONS)
