"""What the cdktf command line does with a stack (C4)."""

import subprocess

from local.deployment import Deployment
from local.emulator import ROOT
from local.terraform import terraform_environment
from tests.local.inventory import inventory
from tests.local.whole_lives import SETTINGS, with_place_for_state


def test_cdktf_deploys_diffs_and_destroys(provider_source, tmp_path):
    """C4, C5c: the commands of the deployment guide; they leave nothing behind."""
    with with_place_for_state(tmp_path) as aws:
        settings = Deployment(aws, provider_source, settings={**SETTINGS, "ENVIRONMENT_SUFFIX": "guide"}).environment
        environment = terraform_environment(settings, provider_source, tmp_path)

        # `terraform providers lock`, which cdktf would run, asks the registry even where a mirror is configured.
        def cdktf(*arguments: str) -> str:
            more = "--skip-provider-lock", "--output", tmp_path / "cdktf.out"
            done = subprocess.run(
                [ROOT / "node_modules" / ".bin" / "cdktf", *arguments, *more],
                check=False, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
            return done.stdout

        before = inventory(aws, aws.region)
        cdktf("deploy", "tap", "--auto-approve")
        assert "aws_sfn_state_machine etl-pipeline-guide" in inventory(aws, aws.region)
        assert "No changes" in cdktf("diff", "tap")
        cdktf("destroy", "tap", "--auto-approve")
        assert inventory(aws, aws.region) == before
