"""Which region is active (R8): what the parameters say, and that any number of operators at once leave one answer."""

import json
import threading

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ops import active
from ops.active import Active, Reading, Undecided
from ops.regions import NoAnswer
from tests.unit.ops.fakes import EAST, WEST, World, refusal

INITIAL = Active(EAST, 1)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "region must be us-east-1 or us-west-2, not null"),
        ('{"region": "eu-west-1", "epoch": 1}', 'not "eu-west-1"'),
        ('{"region": ["us-east-1"], "epoch": 1}', "region must be"),
        ('{"region": "us-east-1", "epoch": true}', "not true"),
        ('{"region": "us-east-1", "epoch": 1.0}', "not 1.0"),
        ('{"region": "us-east-1", "epoch": 0}', "not 0"),
        ('{"region": "us-east-1", "epoch": "2"}', 'not "2"'),
        ('{"region": "us-east-1"}', "epoch must be a whole number"),
    ],
)
def test_nonsense_is_named(text, fault):
    """R8."""
    with pytest.raises(ValueError, match=fault.replace("[", r"\[")):
        active.parse(text)
    world = World()
    world.say(WEST, text)
    reading = active.read(world.regions()[WEST])
    assert reading.value is None and "holds nonsense" in reading.why and WEST in reading.why


def test_higher_epoch_is_believed():
    """R8."""
    low, high = Reading(INITIAL), Reading(Active(WEST, 2))
    assert active.believed([low, high]) == active.believed([high, low]) == Active(WEST, 2)
    assert active.believed([low, low]) == INITIAL
    assert active.believed([low, Reading(why="unknown", silent=True)]) == INITIAL


def test_tie_is_not_guessed():
    """R8."""
    with pytest.raises(Undecided, match="epoch 2 names us-east-1 and us-west-2"):
        active.believed([Reading(Active(EAST, 2)), Reading(Active(WEST, 2))])


@pytest.mark.parametrize("fault", [refusal("InternalServerError", 500), refusal("AccessDeniedException")])
def test_region_that_does_not_answer_is_unknown(fault):
    """R8: so is one that refuses; if both are, nobody guesses."""
    world = World()
    world.faults[EAST, "get_parameter"] = fault
    readings = active.read_all(world.regions())
    assert readings[EAST].silent and active.believed(readings.values()) == INITIAL
    world.dead.add(WEST)
    with pytest.raises(Undecided, match=r"(?s)us-east-1.*us-west-2"):
        active.believed(active.read_all(world.regions()).values())


def test_missing_parameter_is_not_silent():
    """R8: nothing is hidden there."""
    world = World()
    world.faults[EAST, "get_parameter"] = world.faults[EAST, "get_parameter_history"] = refusal("ParameterNotFound")
    reading = active.examine(world.regions()[EAST])
    assert (reading.value, reading.silent) == (None, False) and "does not exist" in reading.why


@given(st.integers(1, 10**6), st.booleans())
def test_epoch_names_its_region(seen, blind):
    """R8: so no two regions ever share one."""
    epochs = {region: active.next_epoch(region, seen, blind=blind) for region in (EAST, WEST)}
    assert epochs[EAST] % 2 == 1 and epochs[WEST] % 2 == 0
    assert min(epochs.values()) > seen + (active.LEAP - 1 if blind else 0)
    assert max(epochs.values()) <= seen + (active.LEAP if blind else 1) + 1


def test_plan_finishes_what_was_left_half_done():
    """R8."""
    half = {EAST: Reading(INITIAL), WEST: Reading(Active(WEST, 2))}
    assert active.plan(WEST, half) == Active(WEST, 2)
    assert active.plan(EAST, half) == Active(EAST, 3)
    tie = {EAST: Reading(Active(EAST, 2)), WEST: Reading(Active(WEST, 2))}
    assert active.plan(EAST, tie) == Active(EAST, 3)
    assert active.plan(WEST, tie) == Active(WEST, 4)


def test_plan_leaps_over_what_a_silent_region_may_hold():
    """R8: a switch that reached the silent region alone must not come back to life with it."""
    assert active.plan(WEST, {EAST: Reading(why="unknown", silent=True), WEST: Reading(Active(WEST, 2))}) == Active(WEST, 102)


def test_long_history_is_read_to_its_end():
    """R8: Systems Manager gives fifty values at a time."""
    world = World()
    for number in range(70):
        world.say(EAST, (EAST, 1) if number != 60 else (EAST, 9))
    assert active.examine(world.regions()[EAST]).highest == Active(EAST, 9)


def test_lower_epoch_never_stays_over_a_higher_one():
    """R8: an operator who was slow puts back what it has overwritten, and says so."""
    world = World()
    regions = world.regions()
    readings = active.read_all(regions, active.examine)
    world.say(WEST, (EAST, 3))
    with pytest.raises(active.Overtaken, match="us-east-1, epoch 3"):
        active.switch(Active(WEST, 2), regions, readings, lambda name, what: None)
    assert world.said(WEST) == {"region": EAST, "epoch": 3}
    assert world.said(EAST) == {"region": EAST, "epoch": 1}


# --- operators at the same time ---------------------------------------------------------------------------------------


class Turns:
    """Lets threads make one request each, in a given order; the same every time."""

    def __init__(self, order, count):
        self.order, self.running = iter(order), set(range(count))
        self.turn = threading.Condition()
        self.waiting = set()
        self.next = None

    def wait(self, number):
        with self.turn:
            self.waiting.add(number)
            self._choose()
            assert self.turn.wait_for(lambda: self.next == number, timeout=60)
            self.waiting.remove(number)
            self.next = None

    def leave(self, number):
        with self.turn:
            self.running.discard(number)
            self._choose()

    def _choose(self):
        if self.next is None and self.waiting and self.waiting == self.running:
            ready = sorted(self.waiting)
            self.next = ready[next(self.order, 0) % len(ready)]
            self.turn.notify_all()


class Killed(BaseException):
    pass


def operate(world, number, target, turns, kill_at, cut, ends):
    """One operator, who reads and switches; killed before request number ``kill_at``, if it comes to that, and unable to reach
    the region ``cut``."""
    mine = threading.local()
    mine.requests = 0

    def before(region, operation):
        mine.requests += 1
        if mine.requests == kill_at:
            raise Killed
        turns.wait(number)
        if region == cut:
            raise EndpointConnectionError(endpoint_url=f"https://{region}")

    world.before_of[threading.get_ident()] = before
    try:
        regions = world.regions()
        readings = {name: active.examine(region) for name, region in regions.items()}
        value = active.plan(target, readings)
        active.switch(value, regions, readings, lambda name, what: None)
        ends[number] = value
    except NoAnswer:
        ends[number] = None
    except active.Overtaken as error:
        ends[number] = error.theirs
    except Killed:
        ends[number] = None
    finally:
        turns.leave(number)


def race(targets, order, kills=None, cuts=None):
    world, kills, cuts = World(), kills or {}, cuts or {}
    world.before_of = {}

    def before(region, operation):
        world.before_of[threading.get_ident()](region, operation)

    world.before = before
    ends = {}
    turns = Turns(order, len(targets))
    threads = [
        threading.Thread(target=operate, args=(world, number, target, turns, kills.get(number, 0), cuts.get(number), ends))
        for number, target in enumerate(targets)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ends) == len(targets)
    world.before = lambda region, operation: None
    return world, ends


ORDERS = st.lists(st.integers(0, 2), max_size=40)
REGIONS = st.sampled_from([EAST, WEST])
TARGETS = st.lists(REGIONS, min_size=2, max_size=3)


@settings(max_examples=150, deadline=None)
@given(TARGETS, ORDERS)
def test_any_interleaving_of_operators_has_one_winner(targets, order):
    """R8: both parameters hold it, every reader believes it, and every operator who is told of success was told of an epoch that
    the winner's is not below."""
    world, ends = race(targets, order)
    assert world.said(EAST) == world.said(WEST)
    winner = active.believed(active.read_all(world.regions()).values())
    assert winner.region in (*targets, EAST)
    assert all(end.epoch <= winner.epoch for end in ends.values())
    assert winner in ends.values()
    highest = max(json.loads(text)["epoch"] for texts in world.parameters.values() for text in texts)
    assert winner.epoch == highest


@settings(max_examples=100, deadline=None)
@given(TARGETS, ORDERS, st.dictionaries(st.integers(0, 2), st.integers(1, 12), min_size=1), REGIONS)
def test_operators_who_are_killed_can_be_followed(targets, order, kills, last):
    """R8: whatever a command left behind when it was interrupted, the next one ends with one region, with no tie on the way."""
    world, _ = race(targets, order, kills)
    follow(world, last)


@settings(max_examples=100, deadline=None)
@given(TARGETS, ORDERS, st.dictionaries(st.integers(0, 2), REGIONS, min_size=1), REGIONS)
@example([WEST, EAST], [0, 1] * 10, {0: EAST, 1: WEST}, EAST)  # each sees its own region alone, and takes the work there
def test_operators_who_do_not_reach_both_regions_make_no_tie(targets, order, cuts, last):
    """R8: the network between them may be what is broken."""
    world, _ = race(targets, order, cuts=cuts)
    follow(world, last)


def follow(world, last):
    """There is no tie; and an operator who comes alone and reaches both regions has the last word in both."""
    active.believed(active.read_all(world.regions()).values())
    regions = world.regions()
    readings = active.read_all(regions, active.examine)
    value = active.plan(last, readings)
    active.switch(value, regions, readings, lambda name, what: None)
    assert world.said(EAST) == world.said(WEST) == {"region": last, "epoch": value.epoch}
    highest = max(json.loads(text)["epoch"] for texts in world.parameters.values() for text in texts)
    assert value.epoch == highest
