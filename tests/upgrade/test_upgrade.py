"""An upgrade in place from the release before, and the removal of everything. One story: its tests run in this order."""

import re
from collections import Counter

import pytest

from local.deployment import BACKEND_STACK, STACKS
from local.ingestion import REGIONS
from local.terraform import TerraformError
from tests.local.inventory import INVENTORIED, inventory, keys, listed
from tests.synth.test_snapshots import STATEFUL
from tests.upgrade.conftest import FILES, actions, known_changes, tell, timed

HOLD_DATA = {"aws_s3_bucket", "aws_dynamodb_table", "aws_opensearchserverless_collection"}


def test_nothing_stateful_is_replaced_or_removed(upgrade):
    """C4, C15: what holds data, keys, messages, an address or a place in a stream stays."""
    assert upgrade.plans.keys() >= upgrade.outputs.keys()
    lost = []
    for stack, plan in upgrade.plans.items():
        changes = actions(plan)
        counts = Counter("replaced" if "delete" in what and "create" in what else what[0] for _, _, what in changes)
        tell(f"{stack}: {', '.join(f'{count} {what}' for what, count in sorted(counts.items())) or 'no changes'}")
        for kind, address, what in changes:
            if "delete" in what:
                tell(f"  {'/'.join(what):<14} {address}")
                if STATEFUL.fullmatch(kind):
                    lost.append(address)
    assert lost == []


def test_outputs_of_the_release_before_are_still_there(upgrade):
    """C11: with the values they had."""
    for stack, outputs in upgrade.outputs.items():
        assert outputs.items() <= upgrade.deployment.outputs[stack].items()


def test_every_file_is_done_once(upgrade):
    """C15: sent before, during and after the upgrade, or half-way through when it came."""
    assert {type(each).__name__: faults for each in upgrade.traffic if (faults := list(each.faults()))} == {}


def test_executions_ran_across_the_upgrade(upgrade):
    """C15: those that it met half-way ended well, in the definition they began with."""
    for each in upgrade.traffic:
        held = upgrade.held.get(type(each).__name__, [])
        runs = [each.pipeline.execution(arn) for arn in held]
        assert all(run.started.timestamp() < upgrade.began < run.started.timestamp() + run.seconds for run in runs)
        assert [run.status for run in runs] == ["SUCCEEDED"] * len(runs)
        if runs:
            longest = max(run.seconds for run in runs)
            tell(f"{type(each).__name__}: {len(runs)} executions across the upgrade, the longest {longest:.0f} s")
    assert all(len(held) >= FILES for held in upgrade.held.values()) and upgrade.held


@pytest.mark.parametrize("stack", [BACKEND_STACK, *STACKS])
def test_a_second_plan_changes_nothing(upgrade, stack):
    """C4: right after the upgrade, save for the known changes."""
    assert upgrade.deployment.plan(stack).changes.keys() == known_changes(stack)


def test_the_inventory_knows_every_type(aws, upgrade):
    """C12: what the next tests look for is all there is."""
    there = {line.split(" ", 1)[0] for region in REGIONS for line in inventory(aws, region)}
    made = {kind for plan in upgrade.plans.values() for kind in resources_of(plan).values()}
    assert {kind for kind in made if not listed(kind)} == set()
    assert made & INVENTORIED <= there


def test_protected_data_is_not_destroyed(aws, upgrade):
    """C12: with `retain_data`, destroy stops before it removes anything and names every bucket, table and collection."""
    deployment = upgrade.deployment
    before = {region: inventory(aws, region) for region in REGIONS}
    synthesise(deployment, retain_data="true")
    assert {what for _, _, (what, *_) in actions(deployment.apply("tap"))} == {"update"}
    for stack in (BACKEND_STACK, *STACKS):
        with pytest.raises(TerraformError, match="Instance cannot be destroyed") as told:
            deployment.terraform(stack).destroy()
        resources = resources_of(upgrade.plans[stack])
        protected = {address for address, kind in resources.items() if kind in HOLD_DATA}
        assert {address for address in resources if re.search(rf"{re.escape(address)}\s+has", str(told.value))} == protected
        tell(f"{stack}: destroy refused for the sake of {len(protected)} buckets, tables and collections")
    assert {region: inventory(aws, region) for region in REGIONS} == before
    tables = aws.client("dynamodb")
    described = [tables.describe_table(TableName=deployment.outputs["tap"][f"{name}_table_name"])["Table"]
                 for name in ("etl_metadata", "metadata_failures")]
    assert all(each["DeletionProtectionEnabled"] for each in described)


def test_destroying_leaves_nothing_in_either_region(aws, upgrade):
    """C4, C12: in two steps, as the guide says; full buckets and tables go, and keys wait for their deletion."""
    deployment = upgrade.deployment
    before = {region: inventory(aws, region) for region in REGIONS}
    synthesise(deployment, retain_data="false")
    deployment.apply("tap")
    with timed("destroyed"):
        deployment.destroy()
    for region in REGIONS:
        left = inventory(aws, region)
        states = dict(Counter(keys(aws, region).values()))
        tell(f"{region}: {len(before[region])} things before, {len(left)} after; keys: {states}")
        assert left == upgrade.empty[region]


def synthesise(deployment, *, retain_data: str) -> None:
    """Synthesise and initialise every stack anew."""
    deployment.environment["RETAIN_DATA"] = retain_data
    deployment.synthesise()
    for stack in (BACKEND_STACK, *STACKS):
        deployment.terraform(stack).init()


def resources_of(plan) -> dict[str, str]:
    """Address → type of what there is once the plan is applied."""
    planned = plan.content["planned_values"]["root_module"]["resources"]
    return {each["address"]: each["type"] for each in planned if each["mode"] == "managed"}
