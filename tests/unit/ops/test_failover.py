"""The command failover (O4, R8): what makes a region not ready, what is written in which order, what is told and resumed."""

import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ConnectTimeoutError, NoCredentialsError, ReadTimeoutError
from rich.console import Console

from lambdas.ingestion import contract
from ops import commands as command
from ops import readiness, regions, resume
from ops.failover import Failover
from ops.readiness import State
from ops.regions import Names, NoAnswer, OpsError, Refused, Region
from settings import INGESTION_REGIONS, IngestionSettings, SettingsError
from tests.unit.ops.fakes import EAST, NAMES, NOW, WEST, WRITES, World, notification, refusal

ROOT = Path(__file__).resolve().parents[3]


class Case:
    """The command over a world in memory, with its time and what it said."""

    def __init__(self, world=None, *, answer=True):
        self.world = world or World()
        self.asked = []
        self.seconds = 0.0
        self.output = io.StringIO()
        self.command = Failover(
            self.world.regions(), Console(file=self.output, width=500), wait_seconds=60,
            confirm=lambda question: self.asked.append(question) or answer, clock=lambda: self.seconds, pause=self.pause)

    def pause(self, seconds):
        self.seconds += seconds

    @property
    def said(self):
        return self.output.getvalue()


@pytest.fixture(autouse=True)
def at_night(monkeypatch):
    """Heartbeats in the fakes are as old as NOW."""
    original = readiness.check
    monkeypatch.setattr(readiness, "check", lambda region: original(region, now=lambda: NOW))


# --- names ------------------------------------------------------------------------------------------------------------


def test_names_are_those_that_the_stack_gives():
    """R8: from names, not from Terraform's state."""
    stack = (ROOT / "ingestion_stack.py").read_text(encoding="utf-8")
    for name in (regions.PROCESSOR, regions.CONSUMER, regions.HEARTBEAT, regions.TABLE, *regions.BUCKETS.values()):
        assert f'"{name}"' in stack
    functions = [regions.PROCESSOR, regions.CONSUMER, regions.HEARTBEAT]
    stems = [name.removesuffix("-prod") for name in functions]
    assert set(functions) == set(re.findall(r'Function\(\s*self,\s*"\w+",\s*name="([\w-]+)"', stack))
    of_functions = {f"{stem}-{part}-prod" for stem in stems for part in ("error-rate", "dlq-not-empty")}
    own = set(re.findall(r'Alarm\(\s*self,\s*"\w+",\s*name="([\w-]+)"', stack))
    assert set(regions.ALARMS) == of_functions | own | {"serverless-stream-consumer-stream-dlq-not-empty-prod"}
    assert f"{stems[0]}-dlq-prod" == regions.DEAD_LETTERS


def test_names_follow_the_suffix_and_the_settings(tmp_path):
    """C5c, R8: and no other setting can keep anybody from failing over."""
    context = tmp_path / "cdktf.json"
    context.write_text(json.dumps({"context": {"environment_suffix": "dev", "etl_max_reject_ratio": "nonsense"}}))
    names = Names.read(None, {"INGESTION_DR_BUCKET_NAME": "my-own", "ENVIRONMENT_SUFFIX": " "}, context)
    assert names.processor == "serverless-data-processor-dev"
    assert names.dead_letters == "serverless-data-processor-dlq-dev"
    assert names.parameter == "/serverless-ingestion/active-region-dev"
    assert names.buckets == {EAST: "serverless-data-ingestion-dev", WEST: "my-own"}
    assert Names.read("x", {"ENVIRONMENT_SUFFIX": "y"}, context).table == "serverless-processed-data-x"
    assert Names.read(None, {}, tmp_path / "none").parameter == "/serverless-ingestion/active-region-prod"
    with pytest.raises(SettingsError, match="environment_suffix"):
        Names.read("Not good", {}, context)


# --- a region that is gone --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (ConnectTimeoutError(endpoint_url="https://x"), NoAnswer),
        (ReadTimeoutError(endpoint_url="https://x"), NoAnswer),
        (refusal("ServiceUnavailable", 503), NoAnswer),
        (refusal("AccessDeniedException"), Refused),
        (NoCredentialsError(), OpsError),
    ],
)
def test_faults_are_told_in_words(fault, kind):
    """R8: silence is not a refusal, and neither is a lack of credentials."""
    world = World()
    world.faults[WEST, "get_parameter"] = fault
    with pytest.raises(OpsError) as raised:
        world.regions()[WEST].ask("ssm", "get_parameter", Name=NAMES.parameter)
    assert type(raised.value) is kind


def test_dead_region_costs_seconds():
    """R8: two attempts, with short time-outs."""
    assert regions.CONFIG.connect_timeout <= 3 and regions.CONFIG.read_timeout <= 10
    assert regions.CONFIG.retries["total_max_attempts"] == 2


# --- readiness --------------------------------------------------------------------------------------------------------

HOUR_AGO = NOW - timedelta(hours=1)
NO_CSV = notification(WEST, [".json"])
STRANGER = notification(WEST, function="other")
DISABLED = {"EventSourceMappings": [{"State": "Disabled", "UUID": "u"}]}
UNREADY = {
    "throttled": (("get_function_concurrency", {"ReservedConcurrentExecutions": 0}), "throttling", "reserved concurrency 0"),
    "pending": (("get_function_configuration", {"State": "Pending", "StateReason": "\x1b[2J"}), "processor", "is Pending"),
    "update": (("get_function_configuration", {"State": "Active", "LastUpdateStatus": "Failed"}), "processor", "update failed"),
    "unversioned": (("get_bucket_versioning", {}), "versioning", "versioning is off"),
    "suspended": (("get_bucket_versioning", {"Status": "Suspended"}), "versioning", "Suspended"),
    "no notification": (("get_bucket_notification_configuration", {}), "notification", ".json and .csv"),
    "json only": (("get_bucket_notification_configuration", NO_CSV), "notification", "for .csv"),
    "stranger": (("get_bucket_notification_configuration", STRANGER), "notification", ".json and .csv"),
    "table": (("describe_table", {"Table": {"TableStatus": "CREATING"}}), "table", "CREATING"),
    "no stream": (("list_event_source_mappings", {"EventSourceMappings": []}), "stream", "no stream calls"),
    "stream": (("list_event_source_mappings", DISABLED), "stream", "Disabled"),
}


@pytest.mark.parametrize("name", UNREADY)
def test_region_that_is_not_ready_is_refused(name):
    """O4: with what is wrong and a remedy; --force goes on, loudly."""
    (operation, answer), part, found = UNREADY[name]
    case = Case()
    case.world.answers[WEST, operation] = answer
    assert case.command.to(WEST) == 1
    assert case.world.written() == []
    bad = [check for check in readiness.check(case.world.regions()[WEST]) if check.hinders]
    assert [check.part for check in bad] == [part]
    assert found in bad[0].found and bad[0].remedy and bad[0].state == State.BAD
    assert f"not ready: {part}" in case.said and "\x1b[2J" not in case.said
    forced = Case(case.world)
    assert forced.command.to(WEST, force=True) == 0
    assert f"FORCED: {WEST} IS NOT READY ({part})" in forced.said
    assert case.world.said(WEST) == {"region": WEST, "epoch": 2}


@pytest.mark.parametrize(
    ("operation", "code", "part"),
    [
        ("get_function_configuration", "ResourceNotFoundException", "processor"),
        ("head_bucket", "404", "bucket"),
        ("describe_table", "ResourceNotFoundException", "table"),
    ],
)
def test_missing_part_cannot_be_forced(operation, code, part):
    """O4."""
    case = Case()
    case.world.faults[WEST, operation] = refusal(code, 404)
    assert case.command.to(WEST, force=True) == 1
    assert case.world.written() == []
    assert f"no {part}. --force does not help" in case.said


@pytest.mark.parametrize("operation", ["get_function_configuration", "head_bucket", "describe_table"])
def test_silent_service_is_not_a_missing_part(operation):
    """O4: in a partial outage, a person may know better."""
    case = Case()
    case.world.faults[WEST, operation] = refusal("ServiceUnavailable", 503)
    assert case.command.to(WEST) == 1 and case.world.written() == []
    assert Case(case.world).command.to(WEST, force=True) == 0


def test_warnings_do_not_hinder():
    """O4: the failed region's silence, its alarms and old dead letters are told, and that is all."""
    case = Case()
    world = case.world
    world.beat(WEST, EAST, HOUR_AGO)
    world.answers[WEST, "describe_alarms"] = {"MetricAlarms": [
        {"AlarmName": name, "StateValue": "ALARM" if name == NAMES.lag_alarm else "OK"} for name in NAMES.alarms]}
    world.answers[WEST, "get_queue_attributes"] = {"Attributes": {"ApproximateNumberOfMessages": "7"}}
    assert case.command.to(WEST) == 0
    for words in ("us-east-1 beat 60 min ago", f"in alarm: {NAMES.lag_alarm}", "7 files wait"):
        assert words in case.said
    world.answers[WEST, "describe_alarms"] = {"MetricAlarms": []}
    world.faults[WEST, "get_queue_url"] = refusal("AWS.SimpleQueueService.NonExistentQueue")
    again = Case(world)
    assert again.command.to(WEST) == 0
    assert "missing: serverless-data-processor-error-rate-prod" in again.said and "does not exist" in again.said


@pytest.mark.parametrize("at", [None, HOUR_AGO])
def test_own_heartbeat_must_be_fresh(at):
    """O4, R7: a region that cannot write its own heartbeat cannot write records."""
    case = Case()
    case.world.beat(WEST, WEST, at or NOW)
    if at is None:
        del case.world.items[WEST][contract.HEARTBEAT_PREFIX + WEST]
    assert case.command.to(WEST) == 1
    assert "not ready: own heartbeat" in case.said


def test_permission_that_lacks_is_named():
    """O4."""
    case = Case()
    case.world.faults[WEST, "describe_alarms"] = refusal("AccessDenied", 403)
    assert case.command.to(WEST) == 0
    assert "refuses describe_alarms: AccessDenied" in case.said and "permissions in docs/disaster-recovery.md" in case.said


# --- switching --------------------------------------------------------------------------------------------------------


def test_target_is_written_first_then_the_other_then_the_probe():
    """R8, O4."""
    case = Case()
    assert case.command.to(WEST) == 0
    assert case.world.written() == [(WEST, "put_parameter"), (EAST, "put_parameter"), (WEST, "put_object")]
    assert case.world.said(EAST) == case.world.said(WEST) == {"region": WEST, "epoch": 2}
    (put,) = [arguments for _, operation, arguments in case.world.calls if operation == "put_object"]
    assert re.fullmatch(r"failover-probes/probe-[0-9a-f-]{36}\.json", put["Key"])
    assert json.loads(put["Body"])["recordId"] in put["Key"]
    assert "The probe was processed in us-west-2" in case.said


def test_dry_run_writes_nothing():
    """O4: and tells what it would do."""
    for given in (lambda case: case.command.to(WEST, dry_run=True), lambda case: case.command.to(EAST, dry_run=True, back=True),
                  lambda case: case.command.resume(EAST, dry_run=True)):
        case = Case()
        case.world.store(EAST, "a.json")
        assert given(case) == 0
        assert case.world.written() == [] and case.asked == []
        assert "Dry run: nothing was" in case.said
    case = Case()
    case.command.to(WEST, dry_run=True)
    assert 'write {"region": "us-west-2", "epoch": 2} to the parameter in us-west-2' in case.said


def test_nothing_happens_without_consent():
    """O4."""
    case = Case(answer=False)
    assert case.command.to(WEST) == 1
    assert case.asked and case.world.written() == []
    case.world.store(EAST, "a.json")
    assert case.command.resume(EAST) == 1
    assert case.world.written() == []


def test_status_writes_nothing():
    """O4: 0 if there is one active region and it is ready."""
    case = Case()
    assert case.command.status() == 0
    assert f"{EAST} (active)" in case.said and case.asked == []
    case.world.dead.add(WEST)
    assert Case(case.world).command.status() == 0
    case.world.dead = {EAST}
    assert Case(case.world).command.status() == 1
    assert not case.world.written()


def test_status_shows_a_tie_and_nonsense():
    """R8."""
    case = Case()
    case.world.say(EAST, (EAST, 4))
    case.world.say(WEST, (WEST, 4))
    assert case.command.status() == 1
    assert "contradict each other" in case.said
    case.world.say(WEST, "nonsense")
    again = Case(case.world)
    assert again.command.status() == 0
    assert "holds nonsense, 'nonsense': it is not JSON" in again.said


def test_dead_region_is_left_behind():
    """R8: its parameter keeps a lower epoch, which is ignored when it is back."""
    case = Case()
    case.world.dead.add(EAST)
    assert case.command.to(WEST) == 0
    assert case.world.said(WEST) == {"region": WEST, "epoch": 102}
    assert case.world.said(EAST) == {"region": EAST, "epoch": 1}
    assert "could not be written" in case.said and "ignored because its epoch is lower" in case.said
    case.world.dead.clear()
    again = Case(case.world)
    assert again.command.to(WEST) == 0
    assert case.world.said(EAST) == {"region": WEST, "epoch": 102}
    assert len(case.world.parameters[WEST]) == 2, "what says so already is not written again"


def test_dead_target_is_not_chosen():
    """R8: even by force."""
    case = Case()
    case.world.dead.add(WEST)
    assert case.command.to(WEST, force=True) == 1
    assert case.world.written() == [] and "cannot take over" in case.said


@pytest.mark.parametrize("step", range(1, 4))
def test_interrupted_switch_says_what_is_the_case_and_is_finished_by_the_next(step):
    """O4: Ctrl-C at each of the three writes."""
    case = Case()
    writes = iter(range(1, 10))

    def before(region, operation):
        if operation in WRITES and next(writes) == step:
            raise KeyboardInterrupt

    case.world.before = before
    with pytest.raises(KeyboardInterrupt):
        case.command.to(WEST)
    assert ["not known whether", "us-west-2's parameter says us-west-2, epoch 2; us-east-1's may not yet", "has not been seen"][
        step - 1] in case.command.case
    case.world.before = lambda region, operation: None
    assert Case(case.world).command.to(WEST) == 0
    assert case.world.said(EAST) == case.world.said(WEST) == {"region": WEST, "epoch": 2}


def test_probe_that_does_not_arrive_is_told():
    """O4: the switch stands, and a person has to look."""
    case = Case()
    case.world.processes = False
    assert case.command.to(WEST) == 1
    assert "is not in the table after" in case.said and "aws logs tail /aws/lambda/serverless-data-processor-prod" in case.said
    assert case.world.said(WEST)["region"] == WEST
    assert 60 < case.seconds < 70


def test_back_waits_for_replication():
    """O4: how far the first region is behind, from heartbeats in both replicas."""
    case = Case()
    assert case.command.to(WEST) == 0
    case.world.beat(EAST, WEST, NOW - timedelta(seconds=400))
    refused = Case(case.world)
    assert refused.command.to(EAST, back=True) == 1
    assert "us-east-1 is 6 min behind us-west-2" in refused.said and "not ready: replication" in refused.said
    case.world.beat(EAST, WEST, NOW - timedelta(seconds=60))
    back = Case(case.world)
    assert back.command.to(EAST, back=True) == 0
    assert "us-east-1 is 60 s behind us-west-2" in back.said
    assert case.world.said(EAST) == case.world.said(WEST) == {"region": EAST, "epoch": 3}


# --- resuming ---------------------------------------------------------------------------------------------------------


def upload(world, key, version, region=EAST):
    (found,) = [each for each in world.objects[region] if (each["Key"], each["VersionId"]) == (key, version)]
    return resume.Upload(NAMES.buckets[region], key, version, found["Size"], found["LastModified"])


def test_resume_finds_exactly_the_unfinished():
    """O4, R3b: by version; over pages of the listing."""
    case = Case()
    world = case.world
    pending = []
    for number in range(12):
        key = f"orders/{number // 2} ü+&.json"
        version = world.store(EAST, key, at=NOW + timedelta(seconds=number))
        name = upload(world, key, version).checkpoint
        if number % 4 == 0:
            world.checkpoint(EAST, name)
        elif number % 4 == 1:
            world.checkpoint(EAST, name, done=False, offset=40)
            pending.append(version)
        elif number % 4 == 2:
            pending.append(version)
        else:
            world.checkpoint(EAST, name, failure="the file is not CSV")
    world.store(EAST, "readme.txt")
    world.store(WEST, "elsewhere.json")
    assert [each.version_id for each in resume.unfinished(world.regions()[EAST])] == pending
    assert case.command.resume(EAST) == 0
    sent = [json.loads(arguments["Payload"])["Records"][0]["s3"]["object"] for _, operation, arguments in world.calls
            if operation == "invoke"]
    assert [each["versionId"] for each in sent] == pending
    assert sent[0]["key"] == "orders/0+%C3%BC%2B%26.json"
    assert [operation for _, operation in world.written()] == ["invoke"] * len(pending), "never by copying"
    assert "40 of 100 bytes" in case.said and "not begun" in case.said and "6 of 6 are stored" in case.said
    again = Case(world)
    assert again.command.resume(EAST) == 0
    assert "Every file in serverless-data-ingestion-prod is done (12 versions were looked at)." in again.said
    assert again.asked == []


def test_resume_tells_what_turns_out_to_be_unreadable():
    """O4: that is the end of a file, too."""
    case = Case()
    version = case.world.store(EAST, "a\x1b[2J.json")
    name = upload(case.world, "a\x1b[2J.json", version).checkpoint
    case.world.processes = False
    case.command.pause = lambda seconds: case.world.checkpoint(EAST, name, failure="not \x1b[2J text")
    assert case.command.resume(EAST) == 0
    assert "Cannot be read (1)" in case.said and "0 of 1 are stored" in case.said and "\x1b" not in case.said


def test_resume_since():
    """O4."""
    world = World()
    world.store(EAST, "old.csv", at=HOUR_AGO)
    world.store(EAST, "new.csv")
    assert [each.key for each in resume.unfinished(world.regions()[EAST], NOW - timedelta(minutes=1))] == ["new.csv"]


def test_resume_asks_again_for_checkpoints_that_it_did_not_get():
    """O4: a throttled table is not a lack of checkpoints."""
    world = World()
    region = world.regions()[EAST]
    version = world.store(EAST, "a.json")
    world.checkpoint(EAST, upload(world, "a.json", version).checkpoint)
    request = {NAMES.table: {"Keys": [{contract.RECORD_ID: {"S": upload(world, "a.json", version).checkpoint}}]}}
    world.answers[EAST, "batch_get_item"] = {"Responses": {}, "UnprocessedKeys": request}
    with pytest.raises(OpsError, match="throttled"):
        resume.unfinished(region)
    del world.answers[EAST, "batch_get_item"]
    assert resume.unfinished(region) == []


def test_resume_gives_up_when_nothing_moves():
    """O4: 1, and says which."""
    case = Case()
    case.world.store(EAST, "a.json")
    case.world.processes = False
    assert case.command.resume(EAST) == 1
    assert "Still not done (1)" in case.said and "Nothing has moved for 60 s" in case.said


def test_resume_is_interruptible():
    """O4: says how many are sent."""
    case = Case()
    for number in range(3):
        case.world.store(EAST, f"{number}.json")
    invocations = iter(range(9))

    def before(region, operation):
        if operation == "invoke" and next(invocations) == 2:
            raise KeyboardInterrupt

    case.world.before = before
    with pytest.raises(KeyboardInterrupt):
        case.command.resume(EAST)
    assert case.command.case.startswith("2 of 3 are sent")


def test_checkpoint_is_named_after_the_version():
    """R3b: bucket, key and version, each on its own line."""
    name = resume.Upload("b", "k", "v", 1, datetime.now(UTC)).checkpoint
    assert name == "checkpoint#43c8881cbc68e8d8a898b3f59c3234a4a9207b7e0d925417703574f9e5ebbee1"  # sha256sum


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(monkeypatch):
    """`python -m ops …` over a world; exit code and text."""
    world = World()
    output = io.StringIO()
    monkeypatch.setattr(command, "console", Console(file=output, width=300))
    monkeypatch.setattr(command, "pair", lambda names, config=None: {
        name: Region(name, names, world) for name in INGESTION_REGIONS})
    monkeypatch.delenv("ENVIRONMENT_SUFFIX", raising=False)
    return world, output


def test_exit_codes(shell, monkeypatch):
    """O4: 0 done, 1 not done, 2 asked wrongly, 130 interrupted; never a traceback."""
    world, output = shell
    assert command.main(["failover", "--to", WEST, "--yes"]) == 0
    assert command.main(["failover", "--back"]) == 1, "nobody to ask"
    assert "--yes" in output.getvalue()
    assert command.main(["failover", "--status", "--suffix", "NOT GOOD"]) == 2
    world.faults[EAST, "list_object_versions"] = refusal("AccessDenied", 403)
    assert command.main(["failover", "--resume", EAST]) == 1
    assert "Nothing was changed." in output.getvalue()
    for wrong in ([], ["failover"], ["failover", "--to", "eu-west-1"], ["failover", "--to", WEST, "--back"],
                  ["failover", "--resume", "--since", "yesterday"], ["failover", "--status", "--since", "2026-11-21"],
                  ["failover", "--resume", "--force"], ["send"]):
        with pytest.raises(SystemExit) as left:
            command.main(wrong)
        assert left.value.code == 2
    monkeypatch.setattr(Failover, "status", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    assert command.main(["failover", "--status"]) == 130


def test_resume_looks_at_both_regions(shell):
    """O4."""
    world, _ = shell
    world.store(EAST, "a.json")
    world.store(WEST, "b.json")
    assert command.main(["failover", "--resume", "--yes"]) == 0
    assert world.written() == [(EAST, "invoke"), (WEST, "invoke")]


def test_send(shell, tmp_path):
    """O4: every file, each told; 1 if one could not be sent."""
    world, output = shell
    good = tmp_path / "a.json"
    good.write_text('{"recordId": "r"}')
    (tmp_path / "b.txt").write_text("x")
    assert command.main(["send", str(good), "--prefix", "orders/"]) == 0
    assert world.objects[EAST][0]["Key"] == "orders/a.json"
    assert command.main(["send", str(tmp_path / "b.txt"), str(tmp_path / "none.json"), str(good)]) == 1
    assert [each["Key"] for each in world.objects[EAST]] == ["orders/a.json", "a.json"]
    assert "nothing would process it" in output.getvalue() and "No such file" in output.getvalue()


def test_settings_are_the_ingestion_s():
    """C5c."""
    assert Names.of(IngestionSettings()) == NAMES
