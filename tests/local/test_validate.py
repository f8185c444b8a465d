"""The real Terraform and the real provider accept every synthesised stack, before anything is deployed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.terraform import Terraform, TerraformError, find_provider

ROOT = Path(__file__).resolve().parents[2]
STACKS = ["ingestion", "pet-detector", "state-backend", "tap"]


@pytest.fixture(scope="module")
def stacks(tmp_path_factory):
    """The folder of each stack, as main.py writes it."""
    folder = tmp_path_factory.mktemp("stacks")
    environment = {**os.environ, "CDKTF_OUTDIR": str(folder), "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20"}
    subprocess.run([sys.executable, "main.py"], cwd=ROOT, env=environment, check=True)
    return folder / "stacks"


@pytest.fixture(scope="module")
def provider():
    return find_provider()


def prepared(folder, provider, change=lambda configuration: None):
    """Terraform in the stack's folder, with the provider installed and no backend to ask for."""
    file = folder / "cdk.tf.json"
    configuration = json.loads(file.read_text())
    configuration["terraform"].pop("backend", None)
    change(configuration)
    file.write_text(json.dumps(configuration))
    terraform = Terraform(folder, os.environ, provider)
    terraform.init()
    return terraform


@pytest.mark.parametrize("stack", STACKS)
def test_terraform_accepts_the_stack(stacks, provider, stack):
    """C1, issue: `terraform validate` passes against provider 5.100.0."""
    prepared(stacks / stack, provider).validate()


def test_every_stack_is_validated(stacks):
    """A new stack belongs into the list above."""
    assert sorted(each.name for each in stacks.iterdir()) == STACKS


def test_terraform_refuses_what_the_provider_does_not_know(stacks, provider):
    """The test above would be worth nothing if this passed."""

    def misspell(configuration):
        for table in configuration["resource"]["aws_dynamodb_table"].values():
            table["billing_mod"] = table.pop("billing_mode")

    with pytest.raises(TerraformError, match="billing_mod"):
        prepared(stacks / "state-backend", provider, misspell).validate()
