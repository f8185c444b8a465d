"""Heartbeat, called by a schedule: says that its region is alive, and how long ago the other was last heard of (R7).

A beat travels as any item does. So its age is the delay of replication, and at most one period of the schedule more.
"""

from datetime import UTC, datetime
from typing import Any

from ..common import log
from . import environment, metrics
from .table import Table


@log.failures
def handler(_: dict[str, Any], context: Any) -> None:
    settings = environment.heartbeat()
    table = Table.connected(settings.table_name, settings.region, lambda: context.get_remaining_time_in_millis() / 1000)
    now = datetime.now(UTC)
    table.beat(now)
    beat = table.last_beat(settings.other_region)
    if beat is None:
        log.warning("no heartbeat of the other region was ever seen", other_region=settings.other_region)
        return
    seconds = max((now - beat).total_seconds(), 0)  # clocks differ
    metrics.lag(settings.metrics_namespace, seconds)
    log.info("heard of the other region", other_region=settings.other_region, seconds=seconds)
