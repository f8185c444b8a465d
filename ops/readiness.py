"""Is a region ready to take over? One question for each part, all at the same time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from lambdas.ingestion import contract
from ops.regions import NoAnswer, OpsError, Refused, Region, other, plain

FRESH_SECONDS = 300
"""A heartbeat older than this is late; one is due each minute."""

DEPLOY = "npx cdktf deploy ingestion"


class State(Enum):
    """Of a check: all is well; look at it; the region should not take over; it cannot."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    MISSING = "missing"  # --force does not help


@dataclass(frozen=True)
class Check:
    """What was looked at, what was found, and what to do about it."""

    part: str
    state: State
    found: str
    remedy: str = ""

    @property
    def hinders(self) -> bool:
        return self.state in (State.BAD, State.MISSING)


def check(region: Region, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> list[Check]:
    """Everything about one region, in a fixed order."""
    parts: list[tuple[str, Callable[[], Check]]] = [
        ("processor", lambda: _processor(region)),
        ("throttling", lambda: _throttling(region)),
        ("bucket", lambda: _bucket(region)),
        ("versioning", lambda: _versioning(region)),
        ("notification", lambda: _notification(region)),
        ("table", lambda: _table(region)),
        ("stream", lambda: _stream(region)),
        ("own heartbeat", lambda: _beat(region, region.name, now())),
        ("other's heartbeat", lambda: _beat(region, other(region.name), now())),
        ("alarms", lambda: _alarms(region)),
        ("dead letters", lambda: _dead_letters(region)),
    ]
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(lambda part: _told(*part), parts))


LOOKS_ONLY = ("other's heartbeat", "alarms", "dead letters")
"""Parts that a region can take over without; what is wrong with them is a warning."""


def _told(part: str, question: Callable[[], Check]) -> Check:
    """The answer; silence and refusals are answers, too."""
    state = State.WARN if part in LOOKS_ONLY else State.BAD
    try:
        return question()
    except NoAnswer as error:
        return Check(part, state, str(error), "wait, or choose the other region")
    except Refused as error:
        return Check(part, state, str(error), "the permissions in docs/disaster-recovery.md")


def _processor(region: Region) -> Check:
    name = region.names.processor
    found = region.find("lambda", "get_function_configuration", FunctionName=name)
    if found is None:
        return Check("processor", State.MISSING, f"the function {name} does not exist", DEPLOY)
    if found.get("State", "Active") != "Active":  # the embedded AWS may leave it out
        why = f"{name} is {found['State']} {plain(found.get('StateReason', ''))}".rstrip()
        return Check("processor", State.BAD, why, "wait until it is Active, or deploy it again")
    if found.get("LastUpdateStatus") == "Failed":
        why = plain(found.get("LastUpdateStatusReason", ""))
        return Check("processor", State.BAD, f"{name}'s latest update failed: {why}", DEPLOY)
    return Check("processor", State.GOOD, f"{name} is active")


def _throttling(region: Region) -> Check:
    name = region.names.processor
    answer = region.find("lambda", "get_function_concurrency", FunctionName=name)
    if answer is None:
        return Check("throttling", State.BAD, f"the function {name} does not exist", DEPLOY)
    reserved = answer.get("ReservedConcurrentExecutions")
    if reserved == 0:
        remedy = f"aws lambda delete-function-concurrency --region {region.name} --function-name {name}"
        return Check("throttling", State.BAD, f"{name} is throttled to nothing (reserved concurrency 0)", remedy)
    return Check("throttling", State.GOOD, "no limit of its own" if reserved is None else f"at most {reserved} at once")


def _bucket(region: Region) -> Check:
    try:
        region.ask("s3", "head_bucket", Bucket=region.bucket)
    except Refused as error:
        if error.code in ("404", "NoSuchBucket"):  # the answer to HEAD has no body that could hold a code
            remedy = f"{DEPLOY}; or the name that it was deployed with: INGESTION_BUCKET_NAME, INGESTION_DR_BUCKET_NAME"
            return Check("bucket", State.MISSING, f"the bucket {region.bucket} does not exist", remedy)
        raise
    return Check("bucket", State.GOOD, region.bucket)


def _versioning(region: Region) -> Check:
    status = region.ask("s3", "get_bucket_versioning", Bucket=region.bucket).get("Status", "off")
    if status != "Enabled":
        remedy = (
            f"aws s3api put-bucket-versioning --region {region.name} --bucket {region.bucket} "
            "--versioning-configuration Status=Enabled"
        )
        return Check("versioning", State.BAD, f"versioning is {status}: files of one name would count as one", remedy)
    return Check("versioning", State.GOOD, "enabled")


def _notification(region: Region) -> Check:
    found = region.ask("s3", "get_bucket_notification_configuration", Bucket=region.bucket)
    served = set()
    for each in found.get("LambdaFunctionConfigurations", []):
        rules = {rule["Name"].lower(): rule["Value"] for rule in each.get("Filter", {}).get("Key", {}).get("FilterRules", [])}
        ours = each["LambdaFunctionArn"].split(":function:")[-1] == region.names.processor
        if ours and not rules.get("prefix") and {"s3:ObjectCreated:*"} & set(each["Events"]):
            served.add(rules.get("suffix", ""))
    missing = [suffix for suffix in contract.SUFFIXES if not any(suffix.endswith(end) for end in served)]
    if missing:
        return Check("notification", State.BAD, f"nothing calls {region.names.processor} for {' and '.join(missing)}", DEPLOY)
    return Check("notification", State.GOOD, f"{' and '.join(contract.SUFFIXES)} call {region.names.processor}")


def _table(region: Region) -> Check:
    name = region.names.table
    answer = region.find("dynamodb", "describe_table", TableName=name)
    if answer is None:
        return Check("table", State.MISSING, f"the table {name} has no replica here", DEPLOY)
    found = answer["Table"]
    if found["TableStatus"] not in ("ACTIVE", "UPDATING"):
        return Check("table", State.BAD, f"{name} is {found['TableStatus']}", "wait until it is ACTIVE")
    return Check("table", State.GOOD, f"{name} is {found['TableStatus']}")


def _stream(region: Region) -> Check:
    name = region.names.consumer
    answer = region.find("lambda", "list_event_source_mappings", FunctionName=name)
    if answer is None:
        return Check("stream", State.BAD, f"the function {name} does not exist", DEPLOY)
    found = answer["EventSourceMappings"]
    if not found:
        return Check("stream", State.BAD, f"no stream calls {name}", DEPLOY)
    for each in found:
        if each["State"] not in ("Enabled", "Enabling", "Updating"):
            remedy = f"aws lambda update-event-source-mapping --region {region.name} --uuid {each['UUID']} --enabled"
            return Check("stream", State.BAD, f"the stream that calls {name} is {each['State']}", remedy)
    return Check("stream", State.GOOD, f"calls {name}")


def beat(region: Region, of: str) -> datetime | None:
    """The newest heartbeat of the region ``of`` that stands in ``region``'s table; None if there is none that can be read."""
    key = {contract.RECORD_ID: {"S": contract.HEARTBEAT_PREFIX + of}, contract.TIMESTAMP: {"S": contract.NO_TIMESTAMP}}
    item = region.ask("dynamodb", "get_item", TableName=region.names.table, Key=key, ConsistentRead=True).get("Item", {})
    try:
        found = datetime.fromisoformat(item[contract.BEAT_AT]["S"])
    except (KeyError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _beat(region: Region, of: str, now: datetime) -> Check:
    own = of == region.name
    part = "own heartbeat" if own else "other's heartbeat"
    logs = f"aws logs tail /aws/lambda/{region.names.heartbeat} --region {of} --since 15m"
    state = State.BAD if own else State.WARN
    found = beat(region, of)
    if found is None:
        return Check(part, state, f"{of} has never beaten, as seen here", logs)
    age = (now - found).total_seconds()
    if age > FRESH_SECONDS:
        means = "its function does not run, or cannot write" if own else "that region is down, or replication is"
        return Check(part, state, f"{of} beat {duration(age)} ago: {means}", logs)
    return Check(part, State.GOOD, f"{of} beat {duration(age)} ago")


def replication(back: Region, fro: Region) -> Check:
    """Before a fail-back: how far the replica in ``back`` is behind what ``fro`` wrote, by the newest heartbeat of each."""
    part = "replication"
    try:
        written, arrived = beat(fro, fro.name), beat(back, fro.name)
    except OpsError as error:
        return Check(part, State.WARN, f"it cannot be compared: {error}", "")
    if written is None or arrived is None:
        return Check(part, State.WARN, f"no heartbeat of {fro.name} to compare", "wait a minute")
    behind = max(0.0, (written - arrived).total_seconds())
    if behind:
        state = State.BAD if behind > FRESH_SECONDS else State.WARN
        return Check(part, state, f"{back.name} is {duration(behind)} behind {fro.name}", "wait until replication has caught up")
    return Check(part, State.GOOD, f"{back.name} has {fro.name}'s newest heartbeat")


def _alarms(region: Region) -> Check:
    wanted = region.names.alarms
    found = region.ask("cloudwatch", "describe_alarms", AlarmNames=list(wanted)).get("MetricAlarms", [])
    states = {alarm["AlarmName"]: alarm["StateValue"] for alarm in found}
    missing = [name for name in wanted if name not in states]
    ringing = [name for name in wanted if states.get(name) == "ALARM"]
    if missing:
        return Check("alarms", State.WARN, f"missing: {', '.join(missing)}", DEPLOY)
    if ringing:
        return Check("alarms", State.WARN, f"in alarm: {', '.join(ringing)}", "each alarm's description says where to look")
    return Check("alarms", State.GOOD, f"{len(wanted)}, none in alarm")


def _dead_letters(region: Region) -> Check:
    name = region.names.dead_letters
    answer = region.find("sqs", "get_queue_url", QueueName=name)
    if answer is None:
        return Check("dead letters", State.WARN, f"the queue {name} does not exist", DEPLOY)
    url = answer["QueueUrl"]
    attribute = "ApproximateNumberOfMessages"
    found = region.ask("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=[attribute])
    depth = int(found.get("Attributes", {}).get(attribute, 0))
    if depth:
        return Check("dead letters", State.WARN, f"{depth} files wait in {name}", "docs/ingestion.md, failures and replay")
    return Check("dead letters", State.GOOD, "none")


def duration(seconds: float) -> str:
    """For a person: ``40 s``, ``3 min``, ``2 h``."""
    seconds = max(0, round(seconds))
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
