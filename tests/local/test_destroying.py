"""What Terraform leaves of the ingestion's stack (C4): nothing, in both regions."""

from local.deployment import Deployment
from local.ingestion import REGIONS
from tests.local.whole_lives import SETTINGS, existing, with_place_for_state


def test_destroying_leaves_nothing_in_either_region(provider_source, tmp_path):
    """C4: Terraform empties its buckets."""
    with with_place_for_state(tmp_path) as aws:
        before = {region: existing(aws, region) for region in REGIONS}
        deployment = Deployment(aws, provider_source, settings={**SETTINGS, "ENVIRONMENT_SUFFIX": "other"}, folder=tmp_path)
        deployment.synthesise()
        deployment.apply("ingestion")
        for region in REGIONS:
            there = existing(aws, region)
            assert all(len(there[kind]) > len(before[region][kind]) for kind in there if kind != "machines"), region
            bucket = deployment.outputs["ingestion"][f"ingestion_bucket_name_{region.replace('-', '_')}"]
            aws.client("s3", region).put_object(Bucket=bucket, Key="left behind.txt", Body=b"not empty")
        deployment.terraform("ingestion").destroy()
        assert {region: existing(aws, region) for region in REGIONS} == before
