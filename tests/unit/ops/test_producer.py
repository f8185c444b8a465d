"""The reference producer (R8): one region at a time, and only the one that the parameters name."""

import pytest

from ops import producer
from ops.active import Undecided
from ops.producer import NotSent, Producer
from tests.unit.ops.fakes import EAST, WEST, World, refusal

FILE = b'{"recordId": "r"}'


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def case():
    world, clock = World(), Clock()
    return world, clock, Producer(world.regions(), keep_seconds=30, clock=clock)


def reads(world):
    return len([1 for _, operation, _ in world.calls if operation == "get_parameter"])


def test_sends_to_the_active_region(case):
    """R8."""
    world, _, sender = case
    sent = sender.send(FILE, "a.json")
    assert (sent.region, sent.bucket, sent.version_id, sent.epoch) == (EAST, "serverless-data-ingestion-prod", "v0", 1)
    assert world.written() == [(EAST, "put_object")]


def test_keeps_what_it_read_for_some_seconds(case):
    """R8."""
    world, clock, sender = case
    sender.send(FILE, "a.json")
    world.say(WEST, (WEST, 2))
    clock.now = 29
    assert sender.send(FILE, "a.json").region == EAST and reads(world) == 2
    clock.now = 31
    assert sender.send(FILE, "a.json").region == WEST and reads(world) == 4


def test_goes_to_the_other_region_only_if_the_parameter_says_so(case):
    """R8."""
    world, _, sender = case
    sender.send(FILE, "a.json")
    world.dead.add(EAST)
    with pytest.raises(NotSent, match="still name us-east-1"):
        sender.send(FILE, "b.json")
    assert world.objects[WEST] == []
    world.say(WEST, (WEST, 102))
    assert sender.send(FILE, "b.json").region == WEST
    assert [each["Key"] for each in world.objects[EAST]] == ["a.json"]


def test_refused_bucket_is_not_avoided(case):
    """R8: a missing permission is no reason to write elsewhere."""
    world, _, sender = case
    world.faults[EAST, "put_object"] = refusal("AccessDenied", 403)
    with pytest.raises(NotSent, match="AccessDenied"):
        sender.send(FILE, "a.json")
    assert world.objects[WEST] == []


def test_never_believes_a_lower_epoch_again(case):
    """R8: the region with the higher one has fallen silent, or a slow operator is about to put it back."""
    world, clock, sender = case
    world.say(WEST, (WEST, 2))
    assert sender.send(FILE, "a.json").region == WEST
    world.dead.add(WEST)
    clock.now = 60
    with pytest.raises(NotSent):
        sender.send(FILE, "b.json")
    assert world.objects[EAST] == []


def test_silence_of_both_parameters_changes_nothing_for_who_knows(case):
    """R8: Systems Manager may be down where S3 is not."""
    world, clock, sender = case
    sender.send(FILE, "a.json")
    for region in (EAST, WEST):
        world.faults[region, "get_parameter"] = refusal("InternalServerError", 500)
    clock.now = 60
    assert sender.send(FILE, "b.json").region == EAST
    with pytest.raises(Undecided):
        Producer(world.regions()).send(FILE, "c.json")


def test_failure_in_the_second_region_is_told(case):
    """R8."""
    world, _, sender = case
    sender.send(FILE, "a.json")
    world.say(WEST, (WEST, 2))
    for region in (EAST, WEST):
        world.faults[region, "put_object"] = refusal("SlowDown", 503)
    with pytest.raises(NotSent, match="us-west-2"):
        sender.send(FILE, "b.json")


def test_what_nothing_would_process_is_not_sent(case, tmp_path, monkeypatch):
    """R2."""
    world, _, sender = case
    for key in ("a.txt", "a.JSON", "json", ""):
        with pytest.raises(NotSent, match="nothing would process it"):
            sender.send(FILE, key)
    file = tmp_path / "a.json"
    file.write_bytes(FILE)
    assert sender.send(file, "a.json").region == EAST
    monkeypatch.setattr(producer, "MAX_BYTES", 3)
    with pytest.raises(NotSent, match="5 GiB"):
        sender.send(file, "a.json")
    assert len(world.objects[EAST]) == 1
